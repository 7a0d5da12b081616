"""Rows as a report lists them: what was wrong, the most confident first, with spans marked; bounded in number and size.

A row is `{"at", "of", "kinds", "gold", "predicted", "score", "texts", "answers"}`: `gold` and `predicted` are what it
is filtered by, a text is made of parts `[text]` or `[text, mark, label]`, and an answer is `[who, what]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from bertft.inference.judged import Judged
from bertft.scoring import significance, spans
from bertft.scoring.answers import text_scores
from bertft.scoring.outcomes import Outcomes
from bertft.text.schemes import EntitySpan

LISTED = 1_000
CHARACTERS = 1_200_000
"""Of all texts in a list: at most four bytes each, so that a report stays below 5 MB."""
NONE = "(none)"

_TEXT, _BEFORE, _ANSWER = 1_500, 300, 300
Row = dict[str, Any]


_ERRORS = {"boundary_and_type": "wrong boundary and type", "type": "wrong type", "boundary": "wrong boundary"}
_SURE = {
    "label": "the predicted label",
    "labels": "the most probable of its wrong labels; of one that is missing, that the text has it not",
    "tags": "the most probable of its wrong tags",
    "entities": "the most probable of its wrong tags; where an entity is missed, “no entity” is one",
    "answer": "its answer",
}


class Mark(NamedTuple):
    """Characters of a text, and what they are: right, missed, wrong, gold or predicted."""

    start: int
    end: int
    kind: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """Rows to show, how many there are in all, and what they are: of which file, in which order, with which number."""

    rows: list[Row]
    total: int
    what: str
    order: str
    of: str = ""
    score: str = ""


def error_name(kind: str) -> str:
    """Return what a page calls a kind of error of `scoring`."""
    return _ERRORS.get(kind, kind)


def listed(judged: Sequence[Judged]) -> list[Listed]:
    """Return the list of each file, which share the room; none of masked tokens, of which no row is right or wrong."""
    return [mistakes(one, share=len(judged)) for one in judged if one.outcomes.kind != "masked"]


def mistakes(judged: Judged, *, share: int = 1) -> Listed:
    """Return the rows of a file that are wrong, the most confident first; of values those that are farthest off.

    `share` is among how many lists the room is shared.
    """
    outcomes = judged.outcomes
    if outcomes.kind == "value":
        return _farthest(outcomes, judged.name, share)
    right = significance.rights(outcomes) or []
    wrong = [i for i, one in enumerate(right) if not one]
    scores = {i: _confidence(judged, outcomes, i) for i in wrong}
    ordered = sorted(wrong, key=lambda i: -scores[i])
    kinds = _answer_kinds(outcomes, wrong) if outcomes.kind == "answer" else {}

    def rows() -> Iterator[Row]:
        for i in ordered:
            row = _row(outcomes, i, [("predicted", outcomes.predicted[i])], located=_located(judged, i))
            if outcomes.kind == "answer":
                row["kinds"] = [kinds[i]]
            at = str(judged.pairs[i][0] if outcomes.kind == "answer" else outcomes.places[i])  # many have one place
            yield {**row, "at": at, "of": judged.name, "score": round(scores[i], 4)}

    what = "rows with a mistake" if outcomes.kind in ("tags", "entities") else "rows that are wrong"
    score = f"The confidence of a row is the probability of {_SURE[outcomes.kind]}." if wrong else ""
    return Listed(_bounded(rows(), share), len(wrong), what, "the most confident first", judged.name, score)


def disagreements(names: Sequence[str], found: Sequence[Outcomes]) -> Listed | None:
    """Return the rows that some systems have right and others not, in the file's order; None of values."""
    rights = [significance.rights(one) for one in found]
    if any(one is None for one in rights):
        return None
    each = list(zip(*(one or () for one in rights), strict=True))
    chosen = [i for i, one in enumerate(each) if any(one) and not all(one)]

    def rows() -> Iterator[Row]:
        for i in chosen:
            sides = [(name, outcomes.predicted[i]) for name, outcomes in zip(names, found, strict=True)]
            row = _row(found[0], i, sides, located=None)
            having = [name for name, right in zip(names, each[i], strict=True) if right]
            yield {**row, "of": "", "kinds": [f"only {' and '.join(having)} right"], "score": None}

    return Listed(_bounded(rows(), 1), len(chosen), "rows that only some have right", "in the order of the file")


def _bounded(rows: Iterator[Row], share: int) -> list[Row]:
    kept: list[Row] = []
    room = CHARACTERS // share
    for row in rows:
        room -= _size(row)
        if room < 0 or len(kept) >= LISTED // share:
            break
        kept.append(row)
    return kept


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return 4 + sum(map(_size, inner))


# -- one row -----------------------------------------------------------------------------------------------------------


def _row(outcomes: Outcomes, i: int, sides: Sequence[tuple[str, Any]], *, located: list[Mark] | None) -> Row:
    """Return a row with what each side, (name, prediction), says of it."""
    gold, row = outcomes.gold[i], {"at": str(outcomes.places[i]), "kinds": []}
    if outcomes.kind in ("tags", "entities"):
        return {**row, **_tagged(outcomes, i, sides)}
    if outcomes.kind == "answer":
        question, context = outcomes.inputs[i]
        marks = located if located is not None else _found(context, gold, [side for _, side in sides])
        told = [("gold", " | ".join(dict.fromkeys(gold)) or "no answer")]
        told += [(name, "no answer" if side is None else str(side)) for name, side in sides]
        return {
            **row,
            "gold": [],
            "predicted": [],
            "texts": [_line("question", question), _line("context", context, marks)],
            "answers": _told(told),
        }
    inputs = outcomes.inputs[i]
    names = ("text",) if len(inputs) == 1 else ("first text", "second text")
    wanted = _labels(gold)
    guessed = [label for _, side in sides for label in _labels(side)]
    if outcomes.kind == "labels":
        missing = [label for label in wanted if label not in guessed]
        more = [label for label in guessed if label not in wanted]
        row["kinds"] = ["missing label"] * bool(missing) + ["superfluous label"] * bool(more)
    return {
        **row,
        "gold": wanted,
        "predicted": list(dict.fromkeys(guessed)),
        "texts": [_line(name, text) for name, text in zip(names, inputs, strict=False)],
        "answers": _told([("gold", _shown(gold)), *((name, _shown(side)) for name, side in sides)]),
    }


def _farthest(outcomes: Outcomes, name: str, share: int) -> Listed:
    errors = [guess - gold for gold, guess in zip(outcomes.gold, outcomes.predicted, strict=True)]
    order = sorted(range(len(errors)), key=lambda i: -abs(errors[i]))

    def rows() -> Iterator[Row]:
        for i in order:
            row = _row(outcomes, i, [("predicted", outcomes.predicted[i])], located=None)
            kind = "too high" if errors[i] > 0 else "too low" if errors[i] < 0 else "right"
            off = ["off by", f"{errors[i]:+.4g}"]
            yield {**row, "of": name, "kinds": [kind], "score": None, "answers": [*row["answers"], off]}

    return Listed(_bounded(rows(), share), len(errors), "rows", "the largest difference first", name)


def _labels(value: Any) -> list[str]:
    if isinstance(value, tuple):
        return list(value) or [NONE]
    return [value] if isinstance(value, str) else []


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or NONE
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _told(answers: Sequence[tuple[str, str]]) -> list[list[str]]:
    return [[name, text if len(text) <= _ANSWER else f"{text[:_ANSWER]}…"] for name, text in answers]


def _tagged(outcomes: Outcomes, i: int, sides: Sequence[tuple[str, Any]]) -> Row:
    """Return a line for the gold entities (or tags) of a row and one for those of each side."""
    words = outcomes.inputs[i]
    starts = list(accumulate((len(word) + 1 for word in words), initial=0))
    text = " ".join(words)
    gold = outcomes.gold[i]
    pairing = _entity_pairs if outcomes.kind == "entities" else _tag_pairs
    kinds: dict[str, None] = {}
    wanted: dict[str, None] = {}
    guessed: dict[str, None] = {}
    lines: dict[str, list[Mark]] = {"gold": []}
    of_gold: dict[EntitySpan, Mark] = {}
    for name, side in sides:
        lines[name] = []
        for kind, a, b in pairing(gold, side):
            right = kind == "right"
            if a is not None:
                mark = Mark(starts[a.start], starts[a.end] - 1, "right" if right else "missed", a.label)
                if a not in of_gold or not right:
                    of_gold[a] = mark
            if b is not None:
                label = b.label if right or outcomes.kind == "tags" else f"{b.label}: {error_name(kind)}"
                lines[name].append(Mark(starts[b.start], starts[b.end] - 1, "right" if right else "wrong", label))
            if not right:
                kinds.setdefault(error_name(kind))
                wanted.setdefault(a.label if a else NONE)
                guessed.setdefault(b.label if b else NONE)
    lines["gold"] = sorted(of_gold.values())
    bad = [mark.start for marks in lines.values() for mark in marks if mark.kind != "right"]
    focus = min(bad, default=0)
    return {
        "kinds": list(kinds),
        "gold": list(wanted),
        "predicted": list(guessed),
        "texts": [_line(name, text, sorted(marks), focus=focus) for name, marks in lines.items()],
        "answers": [],
    }


def _entity_pairs(
    gold: Sequence[Sequence[str]], guess: Sequence[Sequence[str]]
) -> Iterator[tuple[str, EntitySpan | None, EntitySpan | None]]:
    offset = 0
    for tags, one, other in zip(gold, spans.entities(gold), spans.entities(guess), strict=True):
        for kind, a, b in spans.aligned(one, other):
            moved = [side and EntitySpan(side.start + offset, side.end + offset, side.label) for side in (a, b)]
            yield kind, moved[0], moved[1]
        offset += len(tags)


def _tag_pairs(
    gold: Sequence[Sequence[str]], guess: Sequence[Sequence[str]]
) -> Iterator[tuple[str, EntitySpan | None, EntitySpan | None]]:
    at = 0
    for tags, others in zip(gold, guess, strict=True):
        for one, other in zip(tags, others, strict=True):
            if one != other:
                yield "wrong tag", EntitySpan(at, at + 1, one), EntitySpan(at, at + 1, other)
            at += 1


# -- texts with marks --------------------------------------------------------------------------------------------------


def _line(name: str, text: str, marks: Sequence[Mark] = (), *, focus: int | None = None) -> dict[str, Any]:
    """Return a text in parts: those of a long one around its first mark, or around `focus`."""
    first = focus if focus is not None else min((mark.start for mark in marks), default=0)
    start = max(0, first - _BEFORE) if len(text) > _TEXT else 0
    end = min(len(text), start + _TEXT)
    edges = {start, end} | {edge for mark in marks for edge in (mark.start, mark.end) if start < edge < end}
    parts: list[list[str]] = [["… "]] if start else []
    for left, right in pairwise(sorted(edges)):
        over = [mark for mark in marks if mark.start <= left and right <= mark.end]
        kinds = " ".join(dict.fromkeys(mark.kind for mark in over))
        # of an entity that is cut the label stands once, at its end
        labels = ", ".join(dict.fromkeys(mark.label for mark in over if mark.label and mark.end == right))
        parts.append([text[left:right], kinds, labels] if over else [text[left:right]])
    if end < len(text):
        parts.append([f" … ({len(text) - end:,} more characters)"])
    return {"name": name, "parts": parts}


def _found(context: str, gold: Sequence[str], guesses: Sequence[str | None]) -> list[Mark]:
    """Return where answers stand that are known by their text alone: the first time each occurs."""
    found = [(text, "gold") for text in dict.fromkeys(gold)] + [(text, "predicted") for text in guesses]
    return [Mark(at, at + len(text), kind) for text, kind in found if text and (at := context.find(text)) >= 0]


def _located(judged: Judged, i: int) -> list[Mark] | None:
    """Return where gold answers and the predicted one stand; None for other tasks."""
    if judged.outcomes.kind != "answer":
        return None
    example, prediction = judged.pairs[i]
    marks = [Mark(one.start, one.start + len(one.text), "gold") for one in dict.fromkeys(example.answers or ())]
    told = judged.task.render(example, prediction, scores=False)
    if told["answer"]:
        marks.append(Mark(told["start"], told["end"], "predicted"))
    return marks


def _answer_kinds(outcomes: Outcomes, rows: Sequence[int]) -> dict[int, str]:
    some = outcomes.select(rows)
    _, f1 = text_scores(some.gold, [guess or "" for guess in some.predicted], version=1 if all(some.gold) else 2)
    kinds = {}
    for i, gold, guess, overlap in zip(rows, some.gold, some.predicted, f1, strict=True):
        if guess is None or not gold:
            kinds[i] = "missed" if gold else "invented"
        else:
            kinds[i] = "overlapping" if overlap else "wrong"
    return kinds


def _confidence(judged: Judged, outcomes: Outcomes, i: int) -> float:
    """Return how probable the model found what is wrong of a row: the most probable of several things."""
    example, prediction = judged.pairs[i]
    gold, guess = outcomes.gold[i], outcomes.predicted[i]
    if outcomes.kind in ("tags", "entities"):
        tags = [(a, b) for one, other in zip(gold, guess, strict=True) for a, b in zip(one, other, strict=True)]
        wrong = [k for k, (a, b) in enumerate(tags) if a != b]
        return float(np.exp(np.asarray(prediction.scores)[wrong].max())) if wrong else 0.0
    if outcomes.kind == "answer":
        return float(judged.task.cells(example, prediction)["score"])
    chances = dict(zip(outcomes.labels, map(float, prediction), strict=True))
    if outcomes.kind == "label":
        return chances.get(guess, 0.0)
    missed = [1 - chances[label] for label in gold if label not in guess and label in chances]
    return max([*(chances[label] for label in guess if label not in gold), *missed], default=0.0)
