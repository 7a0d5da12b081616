"""What measuring a model has shown against it: the metrics of a split in, sentences out, each with its figures.

A part of the rows counts as worse where even the better end of its interval is worse than the score of all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bertft.console import ERRORS, shown

_FEW = 20
"""Rows of a label below which its figures say little: at 20, the interval of a recall of 0.8 is 35 points wide."""
_WIDE = 0.1
_WEAK = 0.1
"""How far below the macro average a label's F1 is worth a sentence."""
_NAMED = 12
_PARTS = {
    "windowed": {"yes": "rows longer than a window", "no": "rows that fit into a window"},
    "seen_in_train": {"yes": "entities that the training data has", "no": "entities that the training data has not"},
    "answerable": {"yes": "questions that have an answer", "no": "questions that have none"},
}

Name = Callable[[str], str]


def sentences(split: str, scores: Mapping[str, Any], *, key: str, name: Name) -> list[str]:
    """Return what the scores of a split, with their details, show against a model whose first metric is `key`.

    `name` writes labels and other words of the data.
    """
    found = [*_labels(split, scores.get("per_label") or {}, name)]
    interval = (scores.get("intervals") or {}).get(key)
    if interval and key not in ERRORS and interval[1] - interval[0] > _WIDE:
        units = f"{scores['bootstrap']['units']:,} {scores['bootstrap']['unit']}s"
        low, high = (shown(key, bound) for bound in interval)
        found.append(f"{key} may be anything from {low} to {high}: it was measured on {units} of {split}.")
    for kind, parts in (scores.get("breakdown") or {}).items():
        found += _parts(kind, parts, key, scores.get(key), name)
    return found


def _labels(split: str, per_label: Mapping[str, Mapping[str, Any]], name: Name) -> Iterator[str]:
    """Yield what is to be said of labels: those with few rows, and the weakest of the others."""
    if few := sorted((s["support"], label) for label, s in per_label.items() if s["support"] < _FEW):
        listed = ", ".join(f"{name(label)} {support:,}" for support, label in few[:_NAMED])
        more = f" and {len(few) - _NAMED:,} more" if len(few) > _NAMED else ""
        yield (
            f"{len(few):,} of {len(per_label):,} labels occur fewer than {_FEW} times in {split}, so their figures say "
            f"little: {listed}{more}."
        )
    often = {label: s["f1"] for label, s in per_label.items() if s["support"] >= _FEW}
    if len(often) > 1:
        weakest = min(often, key=lambda label: often[label])
        mean = sum(often.values()) / len(often)
        if mean - often[weakest] > _WEAK:
            support = per_label[weakest]["support"]
            yield (
                f"The weakest label is {name(weakest)}: F1 {shown('f1', often[weakest])}, of {support:,} occurrences; "
                f"the mean of labels that occur {_FEW} times is {shown('f1', mean)}."
            )


def _parts(kind: str, parts: Sequence[Mapping[str, Any]], key: str, overall: float | None, name: Name) -> Iterator[str]:
    """Yield the parts of a breakdown that are worse than all rows."""
    for part in parts:
        interval = (part.get("intervals") or {}).get(key)
        if kind == "windowed" and part["is"] == "yes" and not interval:
            yield f"{part['rows']:,} rows are longer than a window, too few to say how the model does on them."
        if not interval or overall is None or key not in part:
            continue
        if interval[0] > overall if key in ERRORS else interval[1] < overall:
            count = f"{part['entities']:,}" if "entities" in part else f"{part['rows']:,} rows"
            yield (
                f"{key} is {shown(key, part[key])} {_interval(key, interval)} on {_which(kind, part, name)} ({count}); "
                f"on all rows {shown(key, overall)}."
            )


def _which(kind: str, part: Mapping[str, Any], name: Name) -> str:
    if "words" in part:
        least, most = part["words"]
        return f"rows of {least:,} words" if least == most else f"rows of {least:,} to {most:,} words"
    if kind == "question_word":
        return f"questions that ask {name(part['is'])}"
    return _PARTS[kind][part["is"]] if kind in _PARTS else f"rows whose {kind.replace('_', ' ')} is {name(part['is'])}"


def _interval(key: str, interval: Sequence[float]) -> str:
    return f"({' to '.join(shown(key, bound) for bound in interval)})"
