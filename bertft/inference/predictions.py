"""Files of predictions, of `bertft predict` or of other tools, as what they say of the rows of a labelled file.

    {"text": "…", "prediction": {"label": "x", …}}      text,label,pred_label      word TAB gold TAB predicted

A file has a record for each row, in order. Fields that both have must be the same. Answers to questions may also be one
object of `{"id": "answer", …}`, as SQuAD's evaluation scripts read them; an empty answer is none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from bertft.data import conll, dialects, jsonl, tables
from bertft.data.row import Place, Row
from bertft.data.source import Source, open_source
from bertft.errors import DataError
from bertft.inference.evaluate import Labelled
from bertft.inference.writers import FIELD
from bertft.scoring.outcomes import Outcomes

_KEYS = ("label", "labels", "value", "tags", "entities", "answer")
_ID = "id"
_TABLES = (".csv", ".tsv", ".tab")

Told = list[tuple[Row, Mapping[str, Any]]]
"""Records, and what each predicts, under the names that the `prediction` field has."""


def read(path: str, *, field: str = FIELD, encoding: str | None = None, limit: int | None = None) -> Told:
    """Return the records of a file of predictions; raises DataError for one that has none, or not in each record."""
    suffix = Path(path.removesuffix(".gz")).suffix.lower()
    if suffix == ".json" and (answers := _by_id(open_source(path, encoding))) is not None:
        return answers
    source = open_source(path, encoding)
    first = next((line.content for line in source.sample(lambda lines: bool(lines[-1].content.strip()))), "")
    told: Iterator[tuple[Row, Mapping[str, Any]]]
    if suffix not in _TABLES and first.lstrip().startswith("{"):
        told = ((row, _of_json(row, field)) for row in _good(jsonl.read(source, labelled=False)))
    elif suffix in _TABLES or not conll.infer(conll.sample(source)):
        told = _of_table(source, "pred" if field == FIELD else field)
    else:
        told = _of_columns(source)
    return list(islice(told, limit))


def _by_id(source: Source) -> Told | None:
    """Return the answers of one object of ids and answers; None where the file is something else."""
    place = Place(source.path, 1)
    try:
        found = json.loads(source.whole())
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not found or not all(isinstance(answer, str) for answer in found.values()):
        return None
    return [(Row(place, {_ID: name}), {"answer": answer or None}) for name, answer in found.items()]


def by_id(told: Told, examples: Sequence[Any]) -> Told:
    """Return records that are known by ids alone in the order of the examples; others as they are.

    Raises DataError for an example that no record answers.
    """
    if not told or set(told[0][0].values) != {_ID}:
        return told
    known = {row.values[_ID]: (row, what) for row, what in told}
    for example in examples:
        if example.id not in known:
            raise DataError(f"no answer to question {example.id!r}", place=told[0][0].place, help=f"it is {example}")
    return [known[example.id] for example in examples]


def _good(rows: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        if row.error is not None:
            raise row.error
        yield row


def _of_json(row: Row, field: str) -> Mapping[str, Any]:
    if field not in row.values:
        fields = ", ".join(map(repr, row.values))
        raise DataError(f"the record has no field {field!r}", place=row.place, help=f"it has {fields}; see `--field`")
    found = row.values[field]
    if isinstance(found, str | int | float) and not isinstance(found, bool):
        return {"label": str(found), "value": found, "answer": found}
    if isinstance(found, Mapping) and any(key in found for key in _KEYS):
        return found
    known = ", ".join(_KEYS)
    raise DataError(f"{str(found)[:60]!r} is no prediction", place=row.place, help=f"one has {known}, or is a label")


def _of_table(source: Source, prefix: str) -> Iterator[tuple[Row, Mapping[str, Any]]]:
    dialect = dialects.dialect_of(source, {}, ",;\t|")
    names = {name: key for key in _KEYS if (name := f"{prefix}_{key}") in dialect.names}
    if not names:
        columns = ", ".join(map(repr, dialect.names))
        advice = f"its columns are {columns}; `--field NAME` reads NAME_label"
        raise DataError(f"the table has no column '{prefix}_label'", place=Place(source.path, 1), help=advice)
    if (score := f"{prefix}_score") in dialect.names:
        names["score"] = score
    for row in _good(tables.read(source, dialect)):
        values = {key: row.values.get(name) for name, key in names.items()}
        yield row, {key: _cell(key, value, row.place) for key, value in values.items()}


def _cell(key: str, value: Any, place: Place) -> Any:
    if key not in ("tags", "entities") or not isinstance(value, str):
        return (value or None) if key == "answer" else value
    try:
        return json.loads(value)
    except ValueError:
        raise DataError(f"{value[:60]!r} is no JSON list of {key}", place=place) from None


def _of_columns(source: Source) -> Iterator[tuple[Row, Mapping[str, Any]]]:
    """Yield the sentences of a column file: its last column is what is predicted."""
    layout = conll.layout_of(source, {})
    layout = conll.with_columns(layout, {"tags": str(layout.columns)})
    for row in _good(conll.read(source, layout, labelled=True)):
        yield row, {"tags": row.values["tags"]}


def matched(told: Told, labelled: Labelled, gold: Outcomes, *, path: str) -> Told:
    """Return the records that belong to the rows of the data.

    Raises DataError where there are more or fewer than the data has, and for the first whose input is another.
    """
    count = labelled.rows[-1] if labelled.rows else len(labelled.examples)
    if gold.kind in ("tags", "entities"):  # a column file may end in a sentence without words
        told = [one for one in told if one[0].values.get("tokens") != []]
    kept = [told[number] for number in labelled.rows[:-1] if number < len(told)]
    for one, inputs, place in zip_longest(kept, gold.inputs, gold.places):
        if one is not None and inputs is not None:
            _check_input(one[0], inputs, place, labelled.roles)
    if len(told) != count:
        fact = f"{path} has {len(told):,} records, the data has {count:,}"
        where = (
            told[count][0].place
            if len(told) > count
            else gold.places[len(kept)]
            if len(kept) < len(gold.gold)
            else path
        )
        raise DataError(
            fact, place=where, help="predictions are compared row by row: all for the same file, in its order"
        )
    return kept


def _check_input(row: Row, inputs: Sequence[str], place: object, roles: Mapping[str, Any]) -> None:
    """Raise DataError where a record and a row of the data have the same fields with other contents."""
    tokens = row.values.get(roles.get("tokens", "tokens"))
    if isinstance(tokens, list):
        shown = (" ".join(map(str, tokens)), " ".join(inputs))
    else:
        names = [roles.get(role, role) for role in ("text_a", "text_b", "text", "question", "context")]
        own = [row.values[name] for name in names if isinstance(name, str) and isinstance(row.values.get(name), str)]
        if len(own) != len(inputs):
            return
        shown = ("\n".join(map(_plain, own)), "\n".join(map(_plain, inputs)))
    if shown[0] != shown[1]:
        at = next((i for i, (a, b) in enumerate(zip(*shown, strict=False)) if a != b), min(map(len, shown)))
        mine, theirs = (text[max(0, at - 20) : at + 40] for text in shown)
        raise DataError(f"the record is not that of {place}: {mine!r} is not {theirs!r}", place=row.place)


def _plain(text: str) -> str:
    return text.strip().encode("utf-8", "replace").decode()
