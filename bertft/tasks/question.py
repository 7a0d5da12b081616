"""Rows to questions: a question, its context, and those gold answers that stand where they say or can be located.

`answers` is what `data/squad.py` reads (`answers_of`); an empty list says that there is no answer. Nothing is mended in
silence: a `Question` carries what was done to its answers, and `tasks/qa.py` says it for the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from bertft.data.row import Place, Row
from bertft.data.squad import Answer, answers_of
from bertft.errors import DataError
from bertft.tasks.classify import text_of


class Gold(NamedTuple):
    """An answer as it stands in the context, from the character `start` on."""

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a context. `answers` is None where no gold is known, empty where there is no answer.

    The counts are of gold answers: `moved` stood elsewhere than their offset says, `located` came without an offset,
    and `lost` stand nowhere, or nobody can say where. `contrary`: the row says itself that its answers are none.
    """

    place: Place
    id: str
    question: str
    context: str
    title: str = ""
    answers: tuple[Gold, ...] | None = None
    moved: int = 0
    located: int = 0
    lost: int = 0
    contrary: bool = False

    def __str__(self) -> str:
        return f"{self.place}, question {self.id!r}"

    @property
    def usable(self) -> bool:
        """Whether the question can be learnt from and scored: not where all of its answers are lost."""
        return not self.contrary and (bool(self.answers) or not self.lost)


def from_row(row: Row, *, labelled: bool) -> Question:
    """Return the row as a question; raises DataError, with the row's place, where it is none."""
    if row.error is not None:
        raise row.error
    # blanks around a question mean nothing, and some tokenizers make tokens of them
    question, context = text_of(row, "question").strip(), text_of(row, "context")
    named, title = row.get("id"), row.get("title")
    name = str(row.place) if named is None else str(named)
    parsed = Question(row.place, name, question, context, "" if title is None else str(title))
    if not labelled:
        return parsed
    written = _written(row)
    impossible = str(row.get("is_impossible")).lower() == "true"
    return replace(_with_answers(parsed, written), contrary=impossible and bool(written))


def _written(row: Row) -> list[Answer]:
    """Return the answers of a labelled row as they are written."""
    if row.roles.get("answers", "answers") not in row.values:
        raise DataError(
            "the row has no `answers`",
            place=row.place,
            help="name the field with `--columns answers=…`; an empty list says that there is no answer",
        )
    try:
        answers = answers_of(row.get("answers"), row.get("answer_start"))
    except DataError as error:
        raise DataError(error.fact, place=row.place, help=error.help) from None
    return [(text.encode("utf-8", "replace").decode(), start) for text, start in answers]  # as the context is read


def _with_answers(example: Question, written: Sequence[Answer]) -> Question:
    """Return the example with those answers that stand in its context."""
    found: list[Gold] = []
    moved = located = 0
    for text, start in written:
        gold = locate(example.context, text, start)
        if gold is None:
            continue
        found.append(gold)
        if start is None:
            located += 1
        elif gold != (text, start):
            moved += 1
    lost = len(written) - len(found)
    return replace(example, answers=tuple(found), moved=moved, located=located, lost=lost)


def locate(context: str, text: str, start: int | None) -> Gold | None:
    """Return where an answer stands: at its offset, else where its text occurs once, as it is or without outer blanks.

    None where it occurs nowhere, or more than once.
    """
    if not text.strip():
        return None
    wanted = tuple(dict.fromkeys((text, text.strip())))
    if start is not None and (here := next((one for one in wanted if context.startswith(one, start)), None)):
        return Gold(here, start)
    for one in wanted:
        at = context.find(one)
        if at >= 0:
            return Gold(one, at) if context.find(one, at + 1) < 0 else None
    return None
