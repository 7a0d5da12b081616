"""Answers to lines: how a record and its prediction are written, in each of the formats that `predict --to` knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from bertft.console import warn
from bertft.data import conll, jsonl, tables
from bertft.data.formats import Format, Input
from bertft.data.row import Place, Row
from bertft.errors import DataError, UsageError, did_you_mean
from bertft.tasks.base import Task

FIELD = "prediction"
"""The default name of the field that is added."""
TARGETS: tuple[Format, ...] = ("jsonl", "csv", "tsv", "conll")
"""What answers are written as."""
_OTHERS = "`--field NAME` names others"


class Writer(Protocol):
    """Writes the answers to one input. Lines end with their line end."""

    @property
    def encoding(self) -> str:
        """The codec of the output."""
        ...

    def head(self, first: Row | None) -> str:
        """Return what stands before the first answer, to the record `first`; None: there is none."""
        ...

    def answer(self, row: Row, example: Any, prediction: Any) -> str:
        """Return the record with its answer; raises DataError for one that the format cannot hold."""
        ...

    def null(self, row: Row) -> str:
        """Return the record of a row that has no answer."""
        ...


def writer(task: Task[Any, Any, Any], opened: Input, to: Format | None, *, field: str, scores: bool) -> Writer:
    """Return the writer of the answers to an input; without `to` in the input's own format where that can be written.

    Raises UsageError for a format that the task's answers do not fit, DataError for a column that is there already.
    """
    chosen = to or default_target(opened.format)
    same = opened.source.encoding if opened.source and chosen == opened.format else "utf-8"
    match chosen:
        case "conll":
            if not task.presplit:
                raise UsageError(f"--to conll: the task {task.name} has no tags", help="`--to jsonl` takes any answer")
            return _Columns(task, opened, same)
        case "csv" | "tsv":
            prefix = "pred" if field == FIELD else field
            names = [f"{prefix}_{name}" for name in task.cell_names]
            dialect = opened.dialect if chosen == opened.format else None
            clash = next((name for name in names if dialect and name in dialect.names), None)
            if clash is not None:
                fact = f"the table has a column {clash!r} already"
                raise DataError(fact, place=Place(opened.path, 1), help=_OTHERS)
            new = tables.Dialect("\t" if chosen == "tsv" else ",", quoted=True)
            return _Table(task, dialect, names, new, same)
        case "jsonl":
            return _Lines(task, field, opened.format == "jsonl", scores, "utf-8")
    raise _not_written(chosen)


def parse_target(name: str) -> Format | None:
    """Return the format of a `--to` value; None for `auto`. Raises UsageError for one that is not written."""
    for known in TARGETS:
        if name == known:
            return known
    if name == "auto":
        return None
    raise _not_written(name)


def _not_written(name: str) -> UsageError:
    fact = f"--to {name}: predictions are written as {', '.join(TARGETS[:-1])} or {TARGETS[-1]}"
    return UsageError(fact, help=did_you_mean(name, TARGETS))


def default_target(format: Format) -> Format:
    """Return the format in which an input of `format` is answered."""
    return format if format in TARGETS else "jsonl"


@dataclass(frozen=True, slots=True)
class _Lines:
    """JSON Lines: the input's own characters and one more field, or the record's values and the field."""

    task: Task[Any, Any, Any]
    field: str
    amends: bool
    scores: bool
    encoding: str

    def head(self, first: Row | None) -> str:
        return ""

    def answer(self, row: Row, example: Any, prediction: Any) -> str:
        fields = {self.field: self.task.render(example, prediction, scores=self.scores)}
        return (jsonl.amend if self.amends else jsonl.write)(row, fields)

    def null(self, row: Row) -> str:
        kept = self.amends and row.values and self.field not in row.values
        return (jsonl.amend if kept else jsonl.write)(row, {self.field: None})


@dataclass(frozen=True, slots=True)
class _Columns:
    """Column files: one more field on every token line."""

    task: Task[Any, Any, Any]
    opened: Input
    encoding: str

    def head(self, first: Row | None) -> str:
        return ""

    def answer(self, row: Row, example: Any, prediction: Any) -> str:
        words, values = self.task.columns(example, prediction) or ([], [])
        if self.opened.layout:
            return conll.write(row, self.opened.layout, values)
        return conll.write_words(row.place, words, values)

    def null(self, row: Row) -> str:
        return conll.write(row, self.opened.layout, None) if self.opened.layout else "\n"


@dataclass(slots=True)
class _Table:
    """Tables: the record's own bytes and more cells in the file's dialect, or a new table of the record's values.

    The columns of a new table are the fields of the first record that is written.
    """

    task: Task[Any, Any, Any]
    dialect: tables.Dialect | None
    names: Sequence[str]
    new: tables.Dialect
    encoding: str
    fields: Sequence[str] = ()
    told: bool = False
    """Whether it was said that a cell was changed."""

    def head(self, first: Row | None) -> str:
        if self.dialect is not None:
            return tables.header(self.dialect, self.names)
        if first is None:
            return ""
        self.fields = list(first.values)
        clash = next((name for name in self.names if name in first.values), None)
        if clash is not None:
            raise DataError(f"the record has a field {clash!r} already", place=first.place, help=_OTHERS)
        return tables.line(self.new, [*self.fields, *self.names])

    def answer(self, row: Row, example: Any, prediction: Any) -> str:
        cells = self.task.cells(example, prediction)
        written = [cells[name] for name in self.task.cell_names]
        inert = list(map(tables.inert, written))
        if inert != written and not self.told:
            self.told = True
            example = next(old for old, new in zip(written, inert, strict=True) if old != new)
            what = f"{row.place}: a spreadsheet would run the answer {example!r:.80}"
            warn(f"{what}: an apostrophe stands before such answers; `--to jsonl` has them as they are")
        return self._with(row, inert)

    def null(self, row: Row) -> str:
        known = replace(row, values={name: row.values[name] for name in self.fields if name in row.values})
        return self._with(row if self.dialect else known, [""] * len(self.names))

    def _with(self, row: Row, cells: Sequence[str]) -> str:
        if self.dialect is not None:
            return tables.write(row, self.dialect, cells)
        extra = next((name for name in row.values if name not in self.fields), None)
        if extra is not None:
            advice = "its columns are the fields of the first record; `--to jsonl` takes any"
            raise DataError(f"the table has no column for the field {extra!r}", place=row.place, help=advice)
        return tables.line(self.new, [*(_cell(row.values.get(name)) for name in self.fields), *cells])


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else jsonl.encode(value)
