"""JSON Lines: one JSON object a line. What is written is the input's own characters plus one field.

{"tokens": ["Paris", "is", "nice"], "tags": ["B-LOC", "O", "O"]}
{"text": "Paris is nice", "entities": [{"start": 0, "end": 5, "label": "LOC"}]}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from bertft.data.row import Place, Row
from bertft.data.source import Source
from bertft.errors import DataError


def read(source: Source, columns: Mapping[str, str]) -> Iterator[Row]:
    """Yield one row per line that is not blank; a line that holds no JSON object gives a row with an error.

    `columns` maps a role (`tokens`, `tags`, `text`, `entities`) to the field that holds it.
    """
    for line in source.lines():
        place, content = Place(source.path, line.number), line.content
        if not content.strip():
            continue
        if line.error is not None:
            yield Row(place, lines=(line,), error=line.error)
            continue
        try:
            value = json.loads(content)
        except ValueError as error:  # also a number of more digits than Python reads
            where = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            fact = f"not valid JSON: {getattr(error, 'msg', error)}{where}"
            advice = "JSON Lines holds one object on each line; a list over several lines: `jq -c '.[]' FILE`"
            yield Row(place, lines=(line,), error=DataError(fact, place=place, help=advice))
        except RecursionError:
            yield Row(place, lines=(line,), error=DataError("the JSON is nested too deeply", place=place))
        else:
            if isinstance(value, dict):
                yield _with_roles(Row(place, value, (line,)), columns)
            else:
                fact = f"expected a JSON object, found a {type(value).__name__}"
                yield Row(place, lines=(line,), error=DataError(fact, place=place))


def _with_roles(row: Row, columns: Mapping[str, str]) -> Row:
    missing = [name for name in columns.values() if name not in row.values]
    if missing:
        advice = f"the fields of this object are {', '.join(map(repr, row.values))}"
        return replace(row, error=DataError(f"there is no field {missing[0]!r}", place=row.place, help=advice))
    values = {**row.values, **{role: row.values[name] for role, name in columns.items()}}
    if "text" in columns and not {"tokens", "words"} & columns.keys():
        values = {key: value for key, value in values.items() if key not in ("tokens", "words")}
    return replace(row, values=values)


def encode(value: object) -> str:
    """Return one-line JSON that keeps every character readable; half a surrogate pair, which UTF-8 has not, escaped."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value)
    return text


def amend(row: Row, fields: Mapping[str, Any]) -> str:
    """Return the line of a row that was read from JSON Lines, its own characters kept, with `fields` at its end."""
    inner = row.lines[0].content.strip()[1:-1].rstrip()
    return f"{{{inner}{', ' if inner.strip() else ''}{encode(dict(fields))[1:]}\n"


def write(row: Row, fields: Mapping[str, Any]) -> str:
    """Return the values of a row of any other format, and `fields`, as one JSON line."""
    return encode({**row.values, **fields}) + "\n"
