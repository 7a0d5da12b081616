"""JSON Lines: one JSON object a line. What is written is the input's own characters plus one field.

{"tokens": ["Paris", "is", "nice"], "tags": ["B-LOC", "O", "O"]}
{"text": "Paris is nice", "entities": [{"start": 0, "end": 5, "label": "LOC"}]}
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from bertft.data import exports, jsontext
from bertft.data.row import Place, Row
from bertft.data.source import Source
from bertft.errors import DataError

_CONTROL = re.compile("[\x7f-\x9f]")


def read(source: Source, *, labelled: bool = False) -> Iterator[Row]:
    """Yield one row per line that is not blank; a line that holds no JSON object gives a row with an error.

    In `labelled` data the objects of annotation tools also get the fields that tasks read, and may be excluded.
    """
    for line in source.lines():
        place, content = Place(source.path, line.number), line.content
        if not content.strip():
            continue
        if line.error is not None:
            yield Row(place, lines=(line,), error=line.error)
            continue
        try:
            value = jsontext.loads(content)
        except ValueError as error:  # also a number of more digits than Python reads
            where = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            fact = f"not valid JSON: {getattr(error, 'msg', error)}{where}"
            advice = "JSON Lines holds one object on each line; one document over several lines: `--format json`"
            yield Row(place, lines=(line,), error=DataError(fact, place=place, help=advice))
        else:
            if isinstance(value, dict):
                values, excluded = exports.normalise(value) if labelled else (value, "")
                yield Row(place, values, (line,), excluded=excluded)
            else:
                fact = f"expected a JSON object, found a {type(value).__name__}"
                yield Row(place, lines=(line,), error=DataError(fact, place=place))


def encode(value: object) -> str:
    """Return one-line JSON that keeps every character readable; what no text needs is escaped.

    That is what drives a terminal (C1, DEL; JSON itself escapes C0), and half a surrogate pair, which UTF-8 has not.
    """
    dumps = partial(json.dumps, ensure_ascii=False, default=str, allow_nan=False)  # tables have dates and times
    try:
        text = dumps(value)
    except ValueError:
        text = dumps(value := _finite(value))
    text = _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, default=str)
    return text


def _finite(value: object) -> object:
    """Return a value with None for the numbers that JSON has not: NaN and the infinities."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {key: _finite(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_finite(inner) for inner in value]
    return value


def amend(row: Row, fields: Mapping[str, Any]) -> str:
    """Return the line of a row that was read from JSON Lines, its own characters kept, with `fields` at its end."""
    inner = row.lines[0].content.strip()[1:-1].rstrip()
    return f"{{{inner}{', ' if inner.strip() else ''}{encode(dict(fields))[1:]}\n"


def write(row: Row, fields: Mapping[str, Any]) -> str:
    """Return the values of a row of any other format, and `fields`, as one JSON line."""
    return encode({**row.values, **fields}) + "\n"
