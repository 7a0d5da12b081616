"""One JSON document, in the shapes in which people keep rows.

    [{"text": "…", "label": "a"}, …]           {"data": [{…}, …]}           {"0": {"text": "…"}, "1": {…}}
    {"text": ["…", "…"], "label": ["a", "b"]}   {"train": [["…", "a"], …], "val": […]}
    [["…", "a"], …]   [["…", {"entities": […]}], …]   SQuAD (squad.py)   annotation exports (exports.py)

Objects one after another over several lines, which some tools call JSON Lines, are read too. A document is read whole
and parsed before its first row is given, so that what is wrong with it is said at once; its size is bounded by memory.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from bertft.data import exports, labelstudio, squad
from bertft.data import parts as splits
from bertft.data.jsontext import Document
from bertft.data.row import Found, Part, Place, Row
from bertft.data.source import Source
from bertft.errors import DataError

_WRAPPERS = ("data", "rows", "examples", "instances", "records", "items")


def read(source: Source, part: Part, *, labelled: bool) -> Found:
    """Parse the document and return its rows; `labelled` says that they must carry gold.

    Raises DataError, with the line, for what is no JSON or no rows; where the document has splits, for one it has not.
    """
    document = Document(source)
    value: Any = document.values
    if len(document.values) == 1:
        value = document.values[0]
        found = _splits(value)
        if found:
            names = splits.pick(part, tuple(found), source.path)
            reads = [_read(document, found[name], source.path, labelled=labelled) for name in names]
            what = reads[0].description + splits.describe(names, tuple(found))
            return Found(what, (row for one in reads for row in one.rows))
    if part.name is not None:
        raise DataError(f"there is no part {part.name!r}: the document has none", place=source.path)
    return _read(document, value, source.path, labelled=labelled)


def parts(source: Source) -> tuple[str, ...]:
    """Return the names of the document's splits, () where it has none."""
    first = source.sample(lambda lines: bool(re.search(r"\S", lines[-1].content)))
    head = "".join(line.content for line in first)[:1000].lstrip()
    key = re.match(r'\{\s*"([^"]*)', head)
    if head[:1] != "{" or (key and (key[1].isdigit() or key[1] in ("data", "version"))):
        return ()  # the most common large documents need not be parsed for this
    values = Document(source).values
    return tuple(_splits(values[0])) if len(values) == 1 else ()


def _splits(value: object) -> dict[str, Any]:
    """Return the splits of an object that holds some: a key with the name of one, and rows under it."""
    if not isinstance(value, dict) or not any(splits.is_split(key) and _holds_rows(value[key]) for key in value):
        return {}
    return {key: rows for key, rows in value.items() if _holds_rows(rows)}


def _holds_rows(value: object) -> bool:
    match value:
        case [dict() | [str() | list(), *_], *_]:
            return True
        case dict():
            return _is_keyed(value) or is_columns(value) or any(key in value for key in _WRAPPERS)
    return False


def _is_keyed(value: dict[str, Any]) -> bool:
    """Say whether an object holds a row under each key."""
    return bool(value) and all(isinstance(row, dict) for row in value.values())


def is_columns(value: dict[str, Any]) -> bool:
    """Say whether an object holds a column under each key: lists of one length, and not the tokens of one sentence."""
    return (
        bool(value)
        and all(isinstance(column, list) for column in value.values())
        and not any(value.get(name) and isinstance(value[name][0], str) for name in ("tokens", "words"))
        and len({len(column) for column in value.values()}) == 1
    )


def _read(document: Document, value: Any, path: str, *, labelled: bool) -> Found:
    what, value = ("sequence", value) if value is document.values else _unwrap(value)
    if squad.is_nested(value):
        return _squad(document, value, path, labelled=labelled)
    records: list[tuple[str | None, Any]]
    if isinstance(value, list):
        records = [(None, record) for record in value]
    elif not isinstance(value, dict):
        raise DataError(f"expected a list of objects, found {_sketch(value)}", place=Place(path, 1))
    elif is_columns(value):
        what, columns = "columns", list(value)
        records = [(None, dict(zip(columns, row, strict=True))) for row in zip(*value.values(), strict=True)]
    elif _is_keyed(value) and _is_frame(value):
        what, first = "columns of pandas", next(iter(value.values()))
        records = [(None, {name: column[key] for name, column in value.items()}) for key in first]
    elif _is_keyed(value):
        what, records = "object keyed by row", list(value.items())
    else:
        what, records = "one object", [(None, value)]
    _refuse_bare_texts(records, path, labelled=labelled)
    tools = Counter(exports.is_annotated(record) for _, record in records[:1000] if isinstance(record, dict))
    tool = next((tool for tool, _ in tools.most_common() if tool), "")
    rows = [row for key, record in records for row in _rows(record, key, Place(path, document.line_of(record)))]
    if labelled and rows and all(row.excluded for row in rows):
        reason, _ = Counter(row.excluded for row in rows).most_common(1)[0]
        fact = f"none of the {len(rows)} records can be learnt from or scored: they are {reason}"
        advice = "training and evaluation need labels of texts or of spans in them; `bertft predict` reads them"
        raise DataError(fact, place=rows[0].place, help=advice)
    several = sum(isinstance(record, dict) and labelstudio.annotators(record) > 1 for _, record in records)
    note = f" ({several} with several annotations, of which one is used)" if several else ""
    shape = f"{tool} export, {what}" if tool else what
    return Found(f"JSON, {shape} of {len(rows)} {'record' if len(rows) == 1 else 'records'}{note}", iter(rows))


def _unwrap(value: Any) -> tuple[str, Any]:
    """Return what the shape of the rows is called, and the rows without the object around them."""
    if not isinstance(value, dict):
        return "list", value
    match value:
        case {"columns": list(columns), "data": list(rows)} if all(isinstance(name, str) for name in columns) and all(
            isinstance(row, list) for row in rows
        ):
            named = [dict(zip(columns, row, strict=False)) for row in rows]
            return "table of pandas", named
        case {"rows": [{"row": dict()}, *_] as rows}:  # the answer of the Hub's dataset viewer
            return "`rows`", [row.get("row") if isinstance(row, dict) else row for row in rows]
    if "text" not in value:
        for name in _WRAPPERS:
            inner = value.get(name)
            if isinstance(inner, dict) and (is_columns(inner) or _is_keyed(inner)):
                return f"`{name}`", inner
            if isinstance(inner, list) and all(isinstance(row, dict | list) for row in inner):
                return f"`{name}`", inner
    return "object", value


def _is_frame(value: dict[str, dict[str, Any]]) -> bool:
    """Say whether an object is a table as pandas writes it: per column the cells by row number."""
    first = next(iter(value.values()))
    if not first or not all(key.isdigit() and not isinstance(cell, dict) for key, cell in first.items()):
        return False
    return all(column.keys() == first.keys() for column in value.values())


def _squad(document: Document, articles: list[Any], path: str, *, labelled: bool) -> Found:
    survey = squad.survey(articles)
    if labelled and not survey.gold:
        raise DataError(
            f"none of the {survey.questions} questions has an answer",
            place=Place(path, 1),
            help="this file is for `bertft predict`; training and evaluation need one with answers",
        )
    return Found(f"SQuAD, {survey}", squad.rows(articles, document.line_of, path))


def _refuse_bare_texts(records: list[tuple[str | None, Any]], path: str, *, labelled: bool) -> None:
    if labelled and records and all(isinstance(record, str) for _, record in records):
        raise DataError(
            f"this is a list of {len(records)} texts, without labels",
            place=Place(path, 1),
            help="a list of label names is read where it stands beside the data; name the file with the data",
        )


def _rows(record: Any, key: str | None, place: Place) -> Iterator[Row]:
    values = _values(record)
    if values is None:
        fact = f"expected an object or [text, label], found {_sketch(record)}"
        yield Row(place, error=DataError(fact, place=place))
        return
    if key is not None and "id" not in values:
        values = {"id": key, **values}
    if isinstance(values.get("paragraphs"), list) and (found := list(exports.paragraphs(values))):
        for paragraph, lengths in found:
            yield Row(place, paragraph, sentences=lengths if "tokens" in paragraph else ())
        return
    values, excluded = exports.normalise(values)
    yield Row(place, values, excluded=excluded)


def _values(record: Any) -> dict[str, Any] | None:
    """Return the fields of a record, with names where it is a list; None where it is neither."""
    match record:
        case dict():
            return record
        case str():
            return {"text": record}
        case [str(text), dict(fields)]:
            return {"text": text, **fields}
        case [str(text), str() | int() | float() | None as label]:
            return {"text": text, "label": label}
        case [str(text), list(labels)] if all(isinstance(label, str) for label in labels):
            return {"text": text, "label": labels}
        case [list(tokens), list(tags)] if len(tokens) == len(tags) and all(isinstance(x, str) for x in tokens + tags):
            return {"tokens": tokens, "tags": tags}
        case [str(first), str(second), str() | int() | float() as label]:
            return {"text_a": first, "text_b": second, "label": label}
    return None


def _sketch(value: object) -> str:
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return {str: "a text", int: "a number", float: "a number", bool: "true or false"}.get(type(value), "null")
