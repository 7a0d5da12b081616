"""What the values of a field look like, in the first records: text, labels, columns of 0 and 1.

In come records as readers give them and the name of a field, out goes whether it can have a role, or stands out for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]

_FEW_ROWS = 8  # in fewer, a label need not have come twice
_ID_ROWS = 20  # so many records, all with values of their own, have no labels in that field
_NUMBER = re.compile(r"\s*[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?\s*", re.ASCII)


def fits(role: str, field: str, sample: Iterable[Record]) -> bool:
    """Say whether the values under a name can be what the name says; without any value they can."""
    values = [value for record in sample if (value := record.get(field)) is not None]
    match role:
        case "tokens" | "tags":
            return not values or any(isinstance(v, list) and not _is_nested(v) for v in values)
        case "entities":
            return not values or any(isinstance(v, list) and all(isinstance(i, list | dict) for i in v) for v in values)
        case "text" | "text_a" | "text_b" | "question" | "context":
            return not values or any(isinstance(value, str) for value in values)
        case "label":  # a list of labels is one; spans, and whatever else is nested, are none
            return not any(map(_is_nested, values))
    return True


def _is_nested(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, list | dict) for v in value))


def texts(count: int, fields: Sequence[str], sample: Sequence[Record]) -> list[str]:
    """Return the `count` fields of running text, in their order; none where another is nearly as long."""
    various = [field for field in fields if len({*_values(field, sample)}) > 0.5 * len(sample)]
    if len(sample) >= _FEW_ROWS and len(various) >= count:  # long names of labels beside short texts
        fields = various
    sizes = {field: size(field, sample) for field in fields if fits("text", field, sample)}
    ranked = sorted((field for field in sizes if sizes[field] > 0), key=lambda field: -sizes[field])
    if len(ranked) < count:
        return []
    rest = [sizes[field] for field in ranked[count:] if is_text(field, sample)]
    longest = ranked[:count]
    shortest = sizes[longest[-1]]
    others = [sizes[field] for field in ranked[count:]]
    clear = shortest >= 1.5 * max(rest, default=0) and shortest > max(others, default=0)
    reads = all(is_text(field, sample) for field in longest)
    return [field for field in fields if field in longest] if clear and reads else []


def _values(field: str, sample: Iterable[Record]) -> list[str]:
    return [str(value) for record in sample if (value := record.get(field)) not in (None, "")]


def size(field: str, sample: Sequence[Record]) -> float:
    """Return the mean length of a field's strings; 0 for numbers, which are no text."""
    texts = [value for record in sample if isinstance(value := record.get(field), str) and as_number(value) is None]
    return sum(map(len, texts)) / max(1, len(sample))


def is_text(field: str, sample: Sequence[Record]) -> bool:
    """Say whether most values are running text; without any they can be."""
    values = _values(field, sample)
    running = sum(len(value.split()) > 1 or (len(value) > 8 and not value.isascii()) for value in values)
    return not values or running > 0.5 * len(values)  # scripts without blanks: Chinese, Japanese, Thai


def is_bits(field: str, sample: Sequence[Record]) -> bool:
    """Say whether every record has 0 or 1 in a field."""
    return bool(values := _values(field, sample)) and {*values} <= {"0", "1"} and len(values) == len(sample)


def is_label(field: str, sample: Sequence[Record]) -> bool:
    """Say whether the values can be labels: they repeat, or are measurements; no long texts, no running numbers."""
    values = _values(field, sample)
    if not values or max(map(len, values)) > 100 or not fits("label", field, sample):
        return False
    distinct = len({*values})
    if distinct == 1 and len(values) >= _FEW_ROWS:  # Prodigy's `accept`
        return False
    numbers = [number for value in values if (number := as_number(value)) is not None]
    if len(numbers) == len(values):
        running = len(numbers) > 2 and numbers == sorted(numbers) and distinct == len(numbers)
        return not running or any("." in value for value in values)
    return len(values) < _ID_ROWS or distinct <= 0.5 * len(values)


def as_number(text: str) -> float | None:
    """Return the number that the text is written as, and nothing else (`nan`, `1_000` and `٣` are text)."""
    number = float(text) if _NUMBER.fullmatch(text) else math.inf
    return number if math.isfinite(number) else None  # 1e999 is no number either
