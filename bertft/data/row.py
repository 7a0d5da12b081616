"""The record that every reader yields: its values by name, where it came from, and the lines it was read from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from typing_extensions import override

from bertft.errors import DataError

OnError = Literal["fail", "skip", "null"]
"""What a bad record does to a stream of them: end it, be left out, or be answered with null."""


_MANY = 64 * 2**20  # characters that are held at a time
_SET = frozenset({"1", "1.0", "true", "yes", "x"})
_UNSET = frozenset({"0", "0.0", "false", "no", ""})


class Place(NamedTuple):
    """A line of a file (1-based); stdin's path is `-`."""

    path: str
    line: int

    @override
    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


class Part(NamedTuple):
    """Which part of an input that holds several is meant: `name` (`train+oos_train`), else the usual one for `use`."""

    name: str | None
    use: Literal["train", "dev", "test"]


def without_end(text: str) -> str:
    """Return a line without what ends it: one that was written in text mode twice ends in two carriage returns."""
    return text.removesuffix("\n").rstrip("\r")


class Line(NamedTuple):
    """One line as read, its line end included; where it could not be decoded, `error` says so."""

    number: int
    text: str
    error: DataError | None = None

    @property
    def content(self) -> str:
        """The line without its end and without the byte order mark that may open a file."""
        text = without_end(self.text)
        return text.removeprefix("\ufeff") if self.number == 1 else text


Words = tuple[str, ...]
"""The words of a sentence."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a file.

    `values` holds the record's fields by name (`text`, `tokens`, `tags`, ...). `lines` are the lines it was read from,
    for a writer that passes them through. A record that could not be read has an `error` and may lack values. Where a
    record has `tokens`, `sentences` may hold the lengths of its sentences and `numbers` the line of each token.
    `document` counts from 1; it is 0 where the file marks no documents. `roles` says under which name each role stands
    (`text` → `sentence`); several names are columns of 0 and 1, one a label. `excluded` is why an annotated row is not
    to be learnt from or scored (an annotator rejected it).
    """

    place: Place
    values: Mapping[str, Any] = field(default_factory=dict)
    lines: tuple[Line, ...] = ()
    error: DataError | None = None
    document: int = 0
    sentences: tuple[int, ...] = ()
    numbers: tuple[int, ...] = ()
    roles: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    excluded: str = ""
    before: tuple[Words, ...] = ()
    """Sentences that precede it in its document, for a task that reads them too."""
    after: tuple[Words, ...] = ()

    def get(self, role: str) -> Any:
        """Return the value of a role, None where there is none; of 0/1 columns, the names of those that are 1.

        Raises DataError where such a column holds anything else.
        """
        name = self.roles.get(role, role)
        if isinstance(name, str):
            return self.values.get(name)
        return [column for column in name if self._is_set(column)]

    def _is_set(self, column: str) -> bool:
        value = self.values.get(column)
        text = str("" if value is None else value).strip().lower()
        if text not in _SET | _UNSET:
            raise DataError(f"{value!r} in the column {column!r} is neither 0 nor 1", place=self.place)
        return text in _SET


class Found(NamedTuple):
    """What a reader found in an input that is no plain lines: what it is, in half a line, and its rows."""

    description: str
    rows: Iterator[Row]


def take(rows: Iterator[Row], count: int) -> list[Row]:
    """Return the next `count` rows; fewer where they are so long that memory would not hold them."""
    taken: list[Row] = []
    size = 0
    while len(taken) < count and size < _MANY and (row := next(rows, None)) is not None:
        taken.append(row)
        size += sum(len(line.text) for line in row.lines)
    return taken
