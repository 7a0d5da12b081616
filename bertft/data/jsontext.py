"""A JSON text, read whole, as Python values that know on which line they began.

In comes a source, out goes a `Document`: its values (one, or several after one another) and `line_of` a record in them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from bertft.data.row import Place
from bertft.data.source import Source
from bertft.errors import DataError

MAX_DEPTH = 100
"""Lists and objects inside one another: no record needs so many, and Python's own functions cannot walk many more."""

_BLANKS = re.compile(r"[ \t\r\n]*")
_TOO_DEEP = "nested too deeply"


def loads(text: str) -> Any:
    """Return the value of a JSON text; raises ValueError where it is none, or one that is too deep."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if is_deep(value, text.count("[") + text.count("{")):
        raise ValueError(_TOO_DEEP)
    return value


def is_deep(value: object, brackets: int) -> bool:
    """Say whether a value is nested too deeply; `brackets` opened in its text are as deep as it can be."""
    level, depth = [value], 0
    while level and brackets > MAX_DEPTH and depth <= MAX_DEPTH:
        depth += 1
        level = [
            inner
            for outer in level
            if isinstance(outer, list | dict)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, list | dict)
        ]
    return depth > MAX_DEPTH


class Document:
    """The values of a JSON text, and the line of each object and list down to a depth."""

    def __init__(self, source: Source) -> None:
        self._text = source.whole()
        self._path = source.path
        self._lines: dict[int, int] = {}  # by id(): the values live as long as the document
        self._counted, self._line = 0, 1
        self._decode = json.JSONDecoder().raw_decode
        self.values = list(self._all())
        self._text = ""
        if not self.values:
            raise DataError("the file is empty", place=Place(source.path, 1))

    def line_of(self, value: object) -> int:
        """Return the line on which a value starts; 1 for one too deep in the document."""
        return self._lines.get(id(value), 1)

    def _all(self) -> Iterator[Any]:
        at = self._skip(0)
        while at < len(self._text):
            try:
                value, at = self._value(at, "")
            except RecursionError:
                raise self._too_deep() from None
            except json.JSONDecodeError as error:
                torn = error.pos >= len(self._text.rstrip()) or error.msg.startswith("Unterminated")
                advice = "the file is cut off, or is no JSON" if torn else None
                fact = f"not valid JSON: {error.msg} at column {error.colno}"
                raise DataError(fact, place=Place(self._path, error.lineno), help=advice) from None
            except ValueError as error:  # a number of more digits than Python reads
                raise DataError(f"not valid JSON: {error}", place=Place(self._path, self._line)) from None
            yield value
            at = self._skip(at)

    def _too_deep(self) -> DataError:
        return DataError(f"not valid JSON: {_TOO_DEEP}", place=Place(self._path, self._line))

    def _skip(self, at: int) -> int:
        match = _BLANKS.match(self._text, at)
        return match.end() if match else at

    def _value(self, at: int, inside: str) -> tuple[Any, int]:
        """Return the value that starts at `at`, and where it ends.

        The outermost list or object, and a list right inside an object, are walked through here, so that the line of
        each record is known; all else is left to the decoder, which is faster.
        """
        opening = self._text[at : at + 1]
        if opening not in ("{", "["):
            return self._decode(self._text, at)
        line = self._count(at)
        value: Any
        if opening == "{" and not inside:
            value, end = self._object(at + 1)
        elif opening == "[" and (not inside or (inside == "{" and self._holds_containers(at + 1))):
            value, end = self._list(at + 1)
        else:
            value, end = self._decode(self._text, at)
            if is_deep(value, self._text.count("[", at, end) + self._text.count("{", at, end)):
                raise self._too_deep()
        self._lines[id(value)] = line
        return value, end

    def _holds_containers(self, at: int) -> bool:
        return self._text.startswith(("[", "{"), self._skip(at))

    def _count(self, at: int) -> int:
        self._line += self._text.count("\n", self._counted, at)
        self._counted = at
        return self._line

    def _list(self, at: int) -> tuple[list[Any], int]:
        values: list[Any] = []
        at, more = self._skip(at), True
        if self._text[at : at + 1] == "]":
            return values, at + 1
        while more:
            value, at = self._value(at, "[")
            values.append(value)
            at, more = self._next(at, "]")
        return values, at

    def _object(self, at: int) -> tuple[dict[str, Any], int]:
        values: dict[str, Any] = {}
        at = self._skip(at)
        if self._text[at : at + 1] == "}":
            return values, at + 1
        more = True
        while more:
            if self._text[at : at + 1] != '"':
                raise json.JSONDecodeError("Expecting property name enclosed in double quotes", self._text, at)
            key, at = self._decode(self._text, at)
            at = self._skip(at)
            if self._text[at : at + 1] != ":":
                raise json.JSONDecodeError("Expecting ':' delimiter", self._text, at)
            values[key], at = self._value(self._skip(at + 1), "{")
            at, more = self._next(at, "}")
        return values, at

    def _next(self, at: int, closing: str) -> tuple[int, bool]:
        at = self._skip(at)
        mark = self._text[at : at + 1]
        if mark == closing:
            return at + 1, False
        if mark != ",":
            raise json.JSONDecodeError("Expecting ',' delimiter", self._text, at)
        return self._skip(at + 1), True
