"""Rows with their roles: what `roles.guess` says of the first of them, put on all of them.

    {"body": "…", "stars": 5}            →  the same row, text=body, label=stars
    GoEmotions: `…\t4,27`, labels.txt    →  the same row, its label ["approval", "neutral"]

In come rows as a reader gives them, out go rows that `Row.get` finds the roles of, and notes of what was assumed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

from bertft.data import roles
from bertft.data.columnar import NO_LABEL
from bertft.data.roles import Name, Roles, Wanted
from bertft.data.row import Place, Row, take
from bertft.errors import DataError

MAX_FIELDS = 10_000
"""A record with more is none: a line that was split at every comma, a dictionary."""

_IDS = re.compile(r"\s*\d{1,9}\s*(,\s*\d{1,9}\s*)*")


class Assigned(NamedTuple):
    """Rows with roles, the roles, and what is to be said about them."""

    rows: Iterator[Row]
    roles: Mapping[str, Name]
    notes: tuple[str, ...] = ()


def assign(
    rows: Iterator[Row],
    start: Place,
    *,
    wanted: Wanted,
    given: Mapping[str, str],
    preferred: Mapping[str, str] | None = None,
    labelled: bool,
    look_ahead: int,
    columns: Sequence[str] | None = None,
    varied: bool = False,
    label_names: Sequence[str] | None = None,
) -> Assigned:
    """Return the rows with the roles that the first `look_ahead` of them show.

    `columns` are the names of a table's columns. `varied` says that each row may have other fields: what cannot be told
    of the first rows is then no error, nor is a field that they lack. Label numbers become `label_names` where those of
    the first rows all can. Raises what `roles.guess` raises.
    """
    first = take(rows, look_ahead)
    rows = chain(first, rows)
    good = [row for row in first if row.error is None and row.values]
    sample = [row.values for row in good if not row.excluded] or [row.values for row in good]
    fields = list(columns or dict.fromkeys(chain.from_iterable(sample)))
    if len(fields) > MAX_FIELDS:
        advice = "is this the right `--format`?"
        raise DataError(f"the records have {len(fields):,} fields", place=good[0].place if good else start, help=advice)
    if not fields:  # there are no rows, or every one has an error
        return Assigned(_with(rows, dict(given), given), dict(given))
    known = {
        role: name for role, name in (preferred or {}).items() if {*name.split("+")} <= {*fields} or name in fields
    }
    given = {**known, **given}
    if varied:
        fields += [name for name in given.values() if name not in fields]
    try:
        told = roles.guess(
            fields,
            wanted,
            sample,
            given,
            labelled=labelled,
            place=good[0].place if good else start,
            numbered=columns is not None,
            by_content=not varied,
        )
    except DataError:
        if not varied:
            raise
        told = Roles(dict(given))
    notes = [roles.describe(told.names, wanted)]
    if told.guessed:
        notes.append(f"{' and '.join(told.guessed)} told by the values, `--columns` says otherwise")
    rows = _with(rows, told.names, given)
    label = told.names.get("label")
    if label_names and isinstance(label, str):
        ids = [_ids(values.get(label)) for values in sample]
        if ids and all(found and max(found) < len(label_names) for found in ids):
            several = any(len(found) > 1 for found in ids)
            rows = _named(rows, label, label_names, several=several)
            notes.append(f"label numbers as the {len(label_names)} names beside the file ({label_names[0]}, …)")
    return Assigned(rows, told.names, tuple(filter(None, notes)))


def _with(rows: Iterator[Row], names: Mapping[str, Name], given: Mapping[str, str]) -> Iterator[Row]:
    """Yield the rows with their roles; a row without a field that was named has an error.

    A row without a field that was only guessed has that role by its own name, if at all.
    """
    known: dict[tuple[str, ...], tuple[dict[str, Name], str | None]] = {}  # of a row's fields: roles, and one missing
    for row in rows:
        if row.error is not None:
            yield row
            continue
        key = tuple(row.values)
        if key not in known:
            if len(known) > 1000:  # objects that each have other fields
                known.clear()
            shown = {role: name for role, name in names.items() if role in given or _has(key, name)}
            known[key] = shown, next(_missing(key, shown), None)
        shown, missing = known[key]
        if missing is not None and not row.excluded:
            advice = f"the fields of this object are {', '.join(map(repr, row.values))}"
            error = DataError(f"there is no field {missing!r}", place=row.place, help=advice)
            yield replace(row, roles=shown, error=error)
        else:
            yield _judged(replace(row, roles=shown))


def _missing(fields: Sequence[str], shown: Mapping[str, Name]) -> Iterator[str]:
    for name in shown.values():
        for field in name if isinstance(name, tuple) else (name,):
            if field not in fields and field != roles.ABSENT:
                yield field


def _has(fields: Sequence[str], name: Name) -> bool:
    return name == roles.ABSENT or all(one in fields for one in (name if isinstance(name, tuple) else (name,)))


def _judged(row: Row) -> Row:
    """Return the row, excluded where its annotators did not agree: SNLI and MNLI write `-` for the label then.

    One that was excluded for a column of labels that is not the one in question is not.
    """
    name = row.roles.get("label", "label")
    names = name if isinstance(name, tuple) else (name,)
    if row.excluded == NO_LABEL and not any(one in row.values and row.values[one] is None for one in names):
        return replace(row, excluded="")
    if name == "gold_label" and row.values.get(name) == "-" and not row.excluded:
        return replace(row, excluded="without a gold label, as the annotators did not agree")
    return row


def _ids(value: object) -> tuple[int, ...]:
    """Return the label numbers that a value holds (`27`, `4,27`, [4, 27]), () where it is anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,) if value >= 0 else ()
    if isinstance(value, str) and _IDS.fullmatch(value):
        return tuple(map(int, value.split(",")))
    if isinstance(value, list) and all(isinstance(item, int) and not isinstance(item, bool) for item in value):
        return tuple(value) if min(value, default=0) >= 0 else ()
    return ()


def _named(rows: Iterator[Row], label: str, names: Sequence[str], *, several: bool) -> Iterator[Row]:
    """Yield the rows with label numbers as names, in lists where a record may have `several`."""
    for row in rows:
        if row.error is not None:
            yield row
            continue
        found = _ids(value := row.values.get(label))
        if not found or max(found) >= len(names):
            fact = f"the label {value!r} is no number from 0 to {len(names) - 1}"
            advice = "the numbers stand for the names in the file of labels beside this one"
            yield replace(row, error=DataError(fact, place=row.place, help=advice))
            continue
        chosen = [names[i] for i in found]
        yield replace(row, values={**row.values, label: chosen if several or len(chosen) > 1 else chosen[0]})
