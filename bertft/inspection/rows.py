"""Which row is meant: `FILE:LINE`, `FILE:ID`, a text, or stdin. Names in, one row out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from bertft.bundle.store import Bundle
from bertft.console import say
from bertft.data import formats, jsontext
from bertft.data.formats import Input
from bertft.data.row import Place, Row
from bertft.errors import DataError, UsageError
from bertft.tasks.base import Task
from bertft.tasks.context import in_context

_RECORD_LINES = 50
"""Lines that a record of a document may go on for, where the others are shorter."""


class Spot(NamedTuple):
    """A file and what chooses a row of it: the number of a line (or of a row), or an id."""

    path: str
    which: str


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are read."""

    format: str = "auto"
    encoding: str | None = None
    columns: Mapping[str, str] | None = None
    preferred: Mapping[str, str] | None = None

    def open(self, path: str, task: Task[Any, Any, Any], *, labelled: bool, use: Literal["train", "test"]) -> Input:
        """Open an input; raises DataError where it cannot be read."""
        opened = formats.read(
            path,
            wanted=task.wanted,
            format=formats.parse_format(self.format),
            encoding=self.encoding,
            columns=self.columns,
            preferred=self.preferred,
            unit=task.unit,
            labelled=labelled,
            use=use,
        )
        return in_context(opened, task.context)


def spot(given: str) -> Spot:
    """Return what `FILE:LINE` names; raises UsageError where it names no line."""
    path, _, which = given.rpartition(":")
    if os.path.exists(given) or not path or not which:
        raise UsageError(f"{given!r} names no line", help=f"`{given.rstrip(':')}:1` is its first row")
    if path == "-":
        raise UsageError("a line of stdin cannot be named", help="write it to a file first")
    return Spot(path, which)


def spot_or_text(given: str) -> Spot | str:
    """Return what `FILE:LINE` names where there is such a file, else the text itself; raises DataError for a path."""
    path, _, which = given.rpartition(":")
    if path and which and (os.path.exists(path) or path.startswith("hub:") or os.path.exists(path.rpartition(":")[0])):
        return spot(given)
    if os.path.exists(given):
        return spot(given)  # raises: no line of it is named
    if which.isdecimal() and " " not in given and ("." in path or "/" in path):
        raise DataError(f"there is no file {path!r}", place=given)
    return given


def find(where: Spot, rows: Iterator[Row]) -> tuple[int, Row]:
    """Return the row that is meant, and its number from 0; raises DataError that names the nearest rows for none.

    Where rows have lines of their own, a number is a line, any of the row's. Where several share one (a document of
    JSON on one line, a directory), it counts the rows, from 1. Else it is the `id` of a row.
    """
    by_line = where.which.isdecimal()
    number = int(where.which[:18]) if by_line else 0
    before: Row | None = None
    unlined: list[tuple[Place, str | None]] = []
    kept: list[Row] = []
    for index, row in enumerate(rows):
        if not row.lines:
            unlined.append((row.place, _id(row)))
            kept.append(row)
            continue
        if not by_line:
            if _id(row) == where.which:
                return index, row
            continue
        first, last = _span(row)
        if _holds(row, number):
            return index, row
        if first > number:
            raise _no_row(where, before, row)
        if last is not None and row.values.get("tokens") != []:
            before = row
    if kept:
        index = _unlined(where, unlined)
        return index, kept[index]
    if by_line:
        raise _no_row(where, before, None)
    raise DataError(f"no row has the id {where.which!r}", place=where.path, help=f"`{where.path}:LINE` names a line")


def _unlined(where: Spot, rows: list[tuple[Place, str | None]]) -> int:
    """Return the number of the row that is meant, of rows that were not read line by line."""
    by_id = [i for i, (_, name) in enumerate(rows) if name == where.which]
    lines = [place.line for place, _ in rows]
    own = len({place for place, _ in rows}) == len(rows) and len({place.path for place, _ in rows}) == 1
    if not (own and where.which.isdecimal()) and by_id:
        return by_id[0]
    if not where.which.isdecimal():
        raise DataError(
            f"no row has the id {where.which!r}", place=where.path, help=f"`{where.path}:N` is its N-th row"
        )
    number = int(where.which[:18])
    if not own:
        if not 1 <= number <= len(rows):
            raise DataError(f"there is no row {number:,}: the file has {len(rows):,}", place=where.path)
        return number - 1
    before = [i for i, line in enumerate(lines) if line <= number]
    # where a record ends is not known: beyond the last one a line may be its own, if it is not far
    far = bool(before) and number - lines[-1] > max(_RECORD_LINES, lines[-1] - lines[max(len(lines) - 2, 0)])
    if far or not before:
        near = f"the nearest begins on line {lines[-1 if far else 0]:,}"
        raise DataError(f"no row stands on line {number:,}", place=where.path, help=near)
    return before[-1]


def _id(row: Row) -> str | None:
    named = row.get("id") if isinstance(row.roles.get("id", "id"), str) else None
    return None if named is None else str(named)


def _span(row: Row) -> tuple[int, int | None]:
    """Return the first and the last line of a row: of its words, where they have lines; None for no word."""
    numbers = row.numbers
    if numbers:
        return numbers[0], numbers[-1]
    last = None if row.values.get("tokens") == [] and row.error is None else row.lines[-1].number
    return row.place.line if last is not None else row.lines[0].number, last


def _holds(row: Row, number: int) -> bool:
    if row.numbers:
        return number in row.numbers
    first, last = _span(row)
    return last is not None and first <= number <= last


def _no_row(where: Spot, before: Row | None, after: Row | None) -> DataError:
    near = [_lines(row) for row in (before, after) if row is not None]
    advice = f"the nearest {'are' if len(near) > 1 else 'is'} on {' and '.join(near)}" if near else None
    return DataError(f"no row stands on line {int(where.which[:18]):,}", place=where.path, help=advice)


def _lines(row: Row) -> str:
    first, last = _span(row)
    return f"line {first:,}" if last in (first, None) else f"lines {first:,}-{last:,}"


def of_model(bundle: Bundle, given: str, reading: Reading) -> tuple[Any, Row]:
    """Return the example that a model is asked about, and its row: a text, a row of a file, or the first of stdin.

    Where the task reads more than a text, TEXT is a JSON object. Raises DataError or UsageError for what is none.
    """
    task = bundle.task
    found = spot_or_text(given) if given != "-" else given
    if isinstance(found, Spot):
        opened = reading.open(found.path, task, labelled=False, use="test")
        say(opened.describe())
        _, row = find(found, opened.rows)
    elif found == "-":
        if sys.stdin.isatty():
            raise UsageError("there is nothing to read on stdin", help="name a text, or FILE:LINE")
        opened = reading.open("-", task, labelled=False, use="test")
        first = next(opened.rows, None)
        if first is None:
            raise DataError("there is no record on stdin", place="-")
        row = first
    else:
        row = _of_text(task, found)
    return task.parse(row, labelled=False), row


def _of_text(task: Task[Any, Any, Any], text: str) -> Row:
    needs = [roles[:-1] or roles for roles in task.wanted]
    place = Place("-", 1)
    if text.lstrip().startswith("{"):
        try:
            value = jsontext.loads(text)
        except ValueError:
            value = None
        if isinstance(value, dict) and any(all(role in value for role in roles) for roles in needs):
            return Row(place, value)
    if ("text",) in needs:
        return Row(place, {"text": text})
    wanted = ", ".join(f'"{role}": …' for role in needs[0])
    raise UsageError(
        f"this model reads {' and '.join(needs[0])}, and a text is only one of them", help=f"give it as '{{{wanted}}}'"
    )
