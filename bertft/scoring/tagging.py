"""Scores of tag sequences, counted by seqeval and scikit-learn.

`f1` in seqeval's default mode is conlleval's (Sang and Buchholz 2000) on every sequence that is valid; the caller reads
invalid ones as conlleval does before they come here. `strict` is seqeval's strict mode on the tags as written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bertft.scoring.classification import label_scores, plain

Sequences = Sequence[Sequence[str]]


def entity_scores(gold: Sequences, predicted: Sequences) -> dict[str, Any]:
    """Return micro `f1 precision recall`, their macro averages, token `accuracy`, `support` and scores `per_label`.

    Both sides are valid BIO tags, one list per sentence. All scores are fractions of 1; where nothing is to be found
    or nothing was found, a score is 0.
    """
    from seqeval.metrics import accuracy_score, classification_report

    if not any(tag != "O" for tags in (*gold, *predicted) for tag in tags):
        # seqeval cannot build a report without any entity
        nothing = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
        report: dict[str, dict[str, Any]] = {}
        micro = macro = nothing
    else:
        raw = classification_report(gold, predicted, output_dict=True, zero_division=0)
        report = {label: plain(scores) for label, scores in raw.items()}
        micro, macro = report.pop("micro avg"), report.pop("macro avg")
        report.pop("weighted avg")
    return {
        "f1": micro["f1"],
        "precision": micro["precision"],
        "recall": micro["recall"],
        "macro_f1": macro["f1"],
        "macro_precision": macro["precision"],
        "macro_recall": macro["recall"],
        "accuracy": float(accuracy_score(gold, predicted)),
        "support": micro["support"],
        "per_label": report,
    }


def entity_f1(gold: Sequences, predicted: Sequences) -> float:
    """Return the micro F1 alone."""
    return float(entity_scores(gold, predicted)["f1"])


def strict_f1(gold: Sequences, predicted: Sequences, scheme: str) -> float:
    """Return seqeval's strict micro F1, in which only entities that follow the gold's `scheme` to the letter exist.

    `gold` is as written, in `scheme`; `predicted` is BIO.
    """
    from seqeval import scheme as schemes

    classes = {"BIO": "IOB2", "BIOES": "IOBES"}
    written = schemes.Entities([list(tags) for tags in gold], getattr(schemes, classes.get(scheme, scheme)))
    found = schemes.Entities([list(tags) for tags in predicted], schemes.IOB2)
    pairs = list(zip(written.entities, found.entities, strict=True))
    correct = sum(len({e.to_tuple() for e in a} & {e.to_tuple() for e in b}) for a, b in pairs)
    total = sum(len({e.to_tuple() for e in side}) for pair in pairs for side in pair)
    return 2 * correct / total if total else 0.0


def tag_scores(gold: Sequences, predicted: Sequences) -> dict[str, Any]:
    """Return `accuracy`, `macro_f1`, `support` and scores `per_label` of plain tags, over all words."""
    return label_scores([tag for tags in gold for tag in tags], [tag for tags in predicted for tag in tags])
