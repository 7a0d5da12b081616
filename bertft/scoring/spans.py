"""Predicted entities against gold ones: matches as SemEval-2013 task 9.1 and MUC-5 count them, and the kinds of error.

Entities are (start, end, label), half-open, of one sentence, in order. `matches` gives the figures of `nervaluate`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from bertft.text.schemes import EntitySpan, TagStyle, read_spans

Entities = Sequence[EntitySpan]
ERRORS = ("right", "boundary", "type", "boundary_and_type", "missed", "invented")

_BIO = TagStyle("BIO")
_RIGHT: Mapping[str, Callable[[EntitySpan, EntitySpan], bool]] = {
    "strict": lambda guess, gold: guess == gold,
    "exact": lambda guess, gold: guess[:2] == gold[:2],
    "partial": lambda guess, gold: guess[:2] == gold[:2],
    "type": lambda guess, gold: guess.label == gold.label,
}


def entities(sentences: Iterable[Sequence[str]]) -> list[list[EntitySpan]]:
    """Return the entities of sentences of BIO tags."""
    return [read_spans(tags, _BIO) for tags in sentences]


def counts(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> tuple[int, int, int]:
    """Return how many entities of BIO sentences were found exactly, how many were predicted, and how many there are."""
    if gold == predicted:
        there = sum(tag.startswith("B-") for tags in gold for tag in tags)
        return there, there, there
    right = found = there = 0
    for wanted, guessed in zip(entities(gold), entities(predicted), strict=True):
        right += len({*wanted} & {*guessed})
        found += len(guessed)
        there += len(wanted)
    return right, found, there


def matches(pairs: Iterable[tuple[Entities, Entities]]) -> dict[str, dict[str, Any]]:
    """Return counts, precision, recall and F1 by four rules, over the (gold, predicted) entities of sentences.

    `strict` wants span and type, `exact` the span, `partial` the span (an overlap is worth a half), `type` an overlap
    and the type (Segura-Bedmar et al. 2013, section 4). A predicted entity takes a gold one that fits and is still free
    (by `type` that with the nearest ends), else the first that it overlaps.
    """
    totals: dict[str, Counter[str]] = {rule: Counter() for rule in _RIGHT}
    for gold, predicted in pairs:
        for rule, total in totals.items():
            total.update(_matched(gold, predicted, rule))
    return {rule: _figures(total) for rule, total in totals.items()}


def _matched(gold: Entities, predicted: Entities, rule: str) -> Iterator[str]:
    free = list(gold)
    for guess in predicted:
        near = [one for one in free if _overlap(guess, one)]
        fits = [one for one in near if _RIGHT[rule](guess, one)]
        if fits:
            free.remove(min(fits, key=lambda one: abs(one.start - guess.start) + abs(one.end - guess.end)))
            yield "correct"
        elif near:
            free.remove(near[0])
            yield "partial" if rule == "partial" else "incorrect"
        else:
            yield "spurious"
    yield from ["missed"] * len(free)


def _figures(total: Counter[str]) -> dict[str, Any]:
    hits = total["correct"] + 0.5 * total["partial"]
    there = total["correct"] + total["incorrect"] + total["partial"] + total["missed"]
    found = total["correct"] + total["incorrect"] + total["partial"] + total["spurious"]
    precision, recall = hits / found if found else 0.0, hits / there if there else 0.0
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if hits else 0.0,
        **{name: total[name] for name in ("correct", "incorrect", "partial", "missed", "spurious")},
    }


def aligned(gold: Entities, predicted: Entities) -> Iterator[tuple[str, EntitySpan | None, EntitySpan | None]]:
    """Yield (kind of error, gold, predicted), each entity once: those of equal spans, then those that overlap most."""
    wanted, guessed = dict.fromkeys(gold), dict.fromkeys(predicted)
    shared = [(a, b) for a in gold for b in predicted if _overlap(a, b)]
    shared.sort(key=lambda pair: (pair[0][:2] != pair[1][:2], -_overlap(*pair)))
    for a, b in shared:
        if a in wanted and b in guessed:
            del wanted[a], guessed[b]
            same = a[:2] == b[:2]
            kind = "right" if same and a.label == b.label else "type" if same else "boundary"
            yield kind if same or a.label == b.label else "boundary_and_type", a, b
    yield from (("missed", a, None) for a in wanted)
    yield from (("invented", None, b) for b in guessed)


def _overlap(a: EntitySpan, b: EntitySpan) -> int:
    return max(0, min(a.end, b.end) - max(a.start, b.start))
