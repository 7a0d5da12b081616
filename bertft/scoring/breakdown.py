"""Where a model fails: which labels it takes for which, what is wrong with its entities, and how it does on which rows.

Outcomes in, JSON values out. Every part of a breakdown has the headline metrics of its rows, with their intervals.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bertft.scoring import spans
from bertft.scoring.answers import text_scores
from bertft.scoring.intervals import intervals
from bertft.scoring.outcomes import Outcomes
from bertft.scoring.resampling import units
from bertft.text.schemes import EntitySpan, write_bio

_BINS = 4
_QUESTION_WORDS = ("how many", "how much", "who", "whom", "whose", "what", "which", "when", "where", "why", "how")
_QUESTION_WORD = re.compile(rf"\b({'|'.join(_QUESTION_WORDS)})\b")

Part = dict[str, Any]


def details(
    outcomes: Outcomes,
    keys: Collection[str],
    *,
    windowed: Sequence[bool] | None = None,
    seen: Collection[str] | None = None,
) -> dict[str, Any]:
    """Return `confusion`, `errors`, `matches` and `breakdown`, those that there are for this kind of outcomes.

    `windowed` says of each row whether it was longer than a window; `seen` are the entities of the training data, as
    `surface_forms` has them.
    """
    found: dict[str, Any] = {}
    if outcomes.kind in ("label", "tags", "entities"):
        found["confusion"] = confusion(outcomes)
    if outcomes.kind == "entities":
        pairs = list(_sentences(outcomes))
        kinds = Counter(kind for gold, guess in pairs for kind, _, _ in spans.aligned(gold, guess))
        found["errors"] = {kind: kinds[kind] for kind in spans.ERRORS}
        found["matches"] = spans.matches(pairs)
    elif outcomes.kind == "answer":
        found["errors"] = _answer_errors(outcomes)
    if outcomes.ranks is not None:  # parts of a question have no rank
        outcomes, keys = replace(outcomes, ranks=None), [key for key in keys if key not in ("mrr", "map")]
    parts = {"length": by_length(outcomes, keys)}
    if windowed is not None and any(windowed):
        parts["windowed"] = _by(outcomes, keys, ["yes" if one else "no" for one in windowed])
    if outcomes.kind == "entities" and seen is not None:
        parts["seen_in_train"] = _by_seen(outcomes, keys, seen)
    if outcomes.kind == "answer":
        parts["question_word"] = _by(outcomes, keys, [question_word(texts[0]) for texts in outcomes.inputs])
        if not all(outcomes.gold):
            parts["answerable"] = _by(outcomes, keys, ["yes" if gold else "no" for gold in outcomes.gold])
    return {**found, "breakdown": parts}


def confusion(outcomes: Outcomes) -> list[dict[str, Any]]:
    """Return how often which label was taken for which, most often first; of entities, None is none.

    An entity stands with the one that it overlaps most.
    """
    cells: Counter[tuple[str | None, str | None]] = Counter()
    match outcomes.kind:
        case "entities":
            for gold, guess in _sentences(outcomes):
                for _, a, b in spans.aligned(gold, guess):
                    cells[a.label if a else None, b.label if b else None] += 1
        case "tags":
            for one, other in zip(outcomes.gold, outcomes.predicted, strict=True):
                for tags, guessed in zip(one, other, strict=True):
                    cells.update(zip(tags, guessed, strict=True))
        case _:
            cells.update(zip(outcomes.gold, outcomes.predicted, strict=True))
    return [{"gold": a, "predicted": b, "count": count} for (a, b), count in cells.most_common()]


def by_length(outcomes: Outcomes, keys: Collection[str]) -> list[Part]:
    """Return the metrics of rows of like length in words, in up to four parts of about as many rows."""
    lengths = np.asarray(outcomes.lengths)
    ends = sorted({int(end) for end in np.quantile(lengths, np.arange(1, _BINS + 1) / _BINS, method="inverted_cdf")})
    which = np.searchsorted(ends, lengths)
    parts = []
    for i in range(len(ends)):
        rows = np.flatnonzero(which == i).tolist()
        words = [int(lengths[rows].min()), int(lengths[rows].max())]
        parts.append({"words": words, **_measured(outcomes.select(rows), keys)})
    return parts


def surface_forms(outcomes: Outcomes) -> set[str]:
    """Return the gold entities of rows as text, in lower case."""
    return {
        _form(words, entity) for row, words in enumerate(outcomes.inputs) for entity in _entities_of(outcomes.gold[row])
    }


def question_word(question: str) -> str:
    """Return what a question asks for, by its first question word (`how many` is one), else `other`."""
    found = _QUESTION_WORD.search(question.lower())
    return found[0] if found else "other"


def _measured(outcomes: Outcomes, keys: Collection[str]) -> Part:
    metrics = units([outcomes]).observed()
    chosen = {key: metrics[key] for key in keys if not math.isnan(metrics.get(key, math.nan))}
    return {"rows": len(outcomes.gold), **chosen, "intervals": intervals(outcomes, chosen)}


def _by(outcomes: Outcomes, keys: Collection[str], names: Sequence[str]) -> list[Part]:
    """Return the metrics of the rows of each name, those with most rows first."""
    rows = {name: [i for i, other in enumerate(names) if other == name] for name, _ in Counter(names).most_common()}
    return [{"is": name, **_measured(outcomes.select(some), keys)} for name, some in rows.items()]


def _by_seen(outcomes: Outcomes, keys: Collection[str], seen: Collection[str]) -> list[Part]:
    """Return the metrics over entities, gold and predicted, that the training data has, and over all others."""
    sides = [[_entities_of(row) for row in side] for side in (outcomes.gold, outcomes.predicted)]
    parts = []
    for name in ("yes", "no"):
        kept = [
            [
                [entity for entity in row if (_form(words, entity) in seen) == (name == "yes")]
                for words, row in zip(outcomes.inputs, side, strict=True)
            ]
            for side in sides
        ]
        gold, predicted = (
            [(tuple(write_bio(row, len(words))),) for words, row in zip(outcomes.inputs, side, strict=True)]
            for side in kept
        )
        part = _measured(replace(outcomes, gold=gold, predicted=predicted), keys)
        parts.append({"is": name, **part, "entities": sum(map(len, kept[0]))})
    return parts


def _sentences(outcomes: Outcomes) -> Iterator[tuple[list[EntitySpan], list[EntitySpan]]]:
    """Yield the gold and predicted entities of each sentence."""
    for gold, guess in zip(outcomes.gold, outcomes.predicted, strict=True):
        yield from zip(spans.entities(gold), spans.entities(guess), strict=True)


def _entities_of(sentences: Sequence[Sequence[str]]) -> list[EntitySpan]:
    """Return the entities of a row, over the words of all its sentences."""
    found, offset = [], 0
    for tags, entities in zip(sentences, spans.entities(sentences), strict=True):
        found += [EntitySpan(start + offset, end + offset, label) for start, end, label in entities]
        offset += len(tags)
    return found


def _form(words: Sequence[str], entity: EntitySpan) -> str:
    return " ".join(words[entity.start : entity.end]).lower()


def _answer_errors(outcomes: Outcomes) -> dict[str, int]:
    """Return how many answers are right, overlap a gold one or are wrong, and how many are missed or invented."""
    counts: Counter[Hashable] = Counter()
    texts = [guess or "" for guess in outcomes.predicted]
    exact, f1 = text_scores(outcomes.gold, texts, version=1 if all(outcomes.gold) else 2)
    for gold, guess, same, overlap in zip(outcomes.gold, outcomes.predicted, exact, f1, strict=True):
        if guess is None or not gold:
            counts["right" if guess is None and not gold else "missed" if gold else "invented"] += 1
        else:
            counts["right" if same else "overlapping" if overlap else "wrong"] += 1
    return {kind: counts[kind] for kind in ("right", "overlapping", "wrong", "missed", "invented")}
