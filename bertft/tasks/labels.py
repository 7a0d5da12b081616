"""Labels as files write them: text, numbers, lists, several in a string; and what a file's labels mean together."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from bertft.data.content import as_number
from bertft.data.row import Place
from bertft.errors import DataError, did_you_mean

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]
Raw = str | tuple[str, ...]
"""A label as the file has it: its text, or the texts of a list."""

SEPARATORS = ("|", ";", ",", "\t")

_MANY_VALUES = 20  # more distinct numbers than this, not all of them whole, are measurements
_TOLD = 5  # labels that are named one by one
_POINT_ZERO = re.compile(r"(?<=\d)\.0+$")  # as data frames write the whole numbers of a column with gaps


def raw_label(value: object, place: Place) -> Raw:
    """Return a row's label as text without blanks around it, or as the texts of a list; raises DataError for none."""
    if isinstance(value, list | tuple):
        return tuple(_text(item, place) for item in value)
    return _text(value, place)


def _text(value: object, place: Place) -> str:
    match value:
        case str():
            return value.strip().encode("utf-8", "replace").decode()  # halves of surrogate pairs: no file can hold them
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))  # JSON, and columns with gaps, have 1.0 where 1 is meant
        case int() | float() if not math.isnan(value):  # NaN is how data frames write nothing
            return str(value)
        case None | float():
            advice = "leave the row out, or name another field with `--columns label=…`"
            raise DataError(f"the label is {'null' if value is None else 'NaN'}", place=place, help=advice)
    raise DataError(f"{str(value)[:60]!r} is no label", place=place, help="a label is text, a number or a list of them")


def restored(labels: object) -> tuple[str, ...]:
    """Return the labels that a bundle stores; raises ValueError where they are no names, or one stands twice."""
    if not isinstance(labels, list | tuple) or not all(isinstance(label, str) for label in labels):
        raise ValueError("the labels are no list of names")
    if len({*labels}) != len(labels):
        raise ValueError("a label stands twice")
    return tuple(labels)


def alike(label: str) -> str:
    """Return a label without what programs change about it: case, blanks around it, the `.0` of a whole number."""
    return _POINT_ZERO.sub("", label.strip()).casefold()


def rewritten(seen: Counter[tuple[str, str]]) -> list[str]:
    """Return warnings about labels that a file writes in another way, as (written, read as)."""
    told = [f"label {label!r} ({n} times) is read as {own!r}" for (label, own), n in seen.most_common(_TOLD)]
    return [*told, f"{len(seen) - _TOLD} more labels are written in another way"] if len(seen) > _TOLD else told


def unseen(seen: Counter[str], where: Mapping[str, Place], known: Sequence[str]) -> list[str]:
    """Return warnings about labels that training has not seen: how often each stands in the file, and where first."""
    told = seen.most_common(_TOLD)
    warnings = [
        f"label {label!r} ({n} times, first at {where[label]}) was not in the training data; it cannot be predicted "
        f"and is scored as missed{'; ' + near if (near := did_you_mean(label, known)) else ''}"
        for label, n in told
    ]
    if len(seen) > len(told):
        rest = sum(seen.values()) - sum(n for _, n in told)
        warnings.append(f"{len(seen) - len(told)} more labels ({rest:,} times) were not in the training data either")
    return warnings


def sorted_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Return labels in order: as numbers where all of them are, else as text."""
    found = list(labels)
    numbers = {label: as_number(label) for label in found}
    if all(number is not None for number in numbers.values()):
        return tuple(sorted(found, key=lambda label: (numbers[label], label)))
    return tuple(sorted(found))


def infer_problem_type(raws: Sequence[Raw], separator: str | None) -> tuple[ProblemType, str]:
    """Return what the labels look like, and why."""
    lists = [raw for raw in raws if isinstance(raw, tuple)]
    if lists:
        if all(len(raw) == 1 for raw in lists):
            return "single_label_classification", "every list has one label"
        return "multi_label_classification", "the labels are lists"
    texts = [raw for raw in raws if isinstance(raw, str)]
    if separator is not None:
        return "multi_label_classification", "a separator is given"
    numbers = [number for number in map(as_number, texts) if number is not None]
    if len(numbers) == len(texts):
        distinct = set(numbers)
        fractions = any(not number.is_integer() for number in distinct)
        if fractions and len(distinct) > 2:
            return "regression", "the labels are numbers with fractions"
        if len(distinct) > _MANY_VALUES and len(distinct) > 0.5 * len(texts):
            return "regression", "the labels are numbers, most of them different"
        return "single_label_classification", f"the labels are {len(distinct)} different numbers"
    found = find_separator(texts, strict=True)
    if found is not None:
        return "multi_label_classification", f"many labels are several, with {found!r} between them"
    return "single_label_classification", "every row has one label"


def find_separator(texts: Sequence[str], *, strict: bool) -> str | None:
    """Return what separates labels: a sign that parts some of the texts into labels that also stand elsewhere.

    Not `strict`, the sign that is found most often is enough.
    """
    whole = Counter(texts)
    best: tuple[int, str] | None = None
    for sign in SEPARATORS:
        several = {text: n for text, n in whole.items() if sign in text.strip()}
        if not several:
            continue
        parts = Counter(part.strip() for text, n in whole.items() for _ in range(n) for part in text.split(sign))
        inside = [part.strip() for text in several for part in text.split(sign) if part.strip()]
        familiar = sum(parts[part] > 1 for part in inside)
        alone = any(part in whole for part in inside)
        if strict and not (alone and familiar >= 0.9 * len(inside) and len(parts) < len(whole)):
            continue
        count = sum(several.values())
        if best is None or count > best[0]:
            best = count, sign
    return best[1] if best else None
