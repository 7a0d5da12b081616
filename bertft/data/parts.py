"""The parts (splits) of an input that holds several: which are meant, by name or by what they are needed for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bertft.data.row import Part
from bertft.errors import DataError, did_you_mean, inline

_USUAL = {
    "train": ("train", "training"),
    "dev": ("dev", "val", "valid", "validation", "devel", "development", "eval", "evaluation"),
    "test": ("test", "testing"),
}
_WORDS = frozenset(word for words in _USUAL.values() for word in words)


def is_split(name: str) -> bool:
    """Say whether a name is that of a split: one of its words is `train`, `dev`, `val`, `test`, … (`oos_train`)."""
    return not _WORDS.isdisjoint(re.split(r"[^a-z]+", name.lower()))


def uses(names: Sequence[str]) -> frozenset[str]:
    """Return which of `train`, `dev` and `test` there is a part for."""
    lower = {name.lower() for name in names}
    return frozenset(use for use, usual in _USUAL.items() if not lower.isdisjoint(usual))


def describe(chosen: Sequence[str], names: Sequence[str]) -> str:
    """Return what is said of the `chosen` parts of an input: that they are read, and that the others are not."""
    rest = ", ".join(inline(name) for name in names if name not in chosen)
    return f", {' and '.join(map(inline, chosen))}{f' (not read here: {rest})' if rest else ''}"


def pick(part: Part, names: Sequence[str], path: str) -> tuple[str, ...]:
    """Return those of `names` that `part` means; raises DataError, which lists them, where it means another."""
    listed = f"its parts are {', '.join(names)}"
    if part.name is not None:
        wanted = (part.name,) if part.name in names else tuple(part.name.split("+"))
        unknown = next((name for name in wanted if name not in names), None)
        if unknown is not None:
            fact = f"there is no part {unknown!r}"
            near = did_you_mean(unknown, names)
            raise DataError(fact, place=path, help=f"{near} {listed}" if near else listed)
        return wanted
    lower = {name.lower(): name for name in reversed(names)}
    for usual in _USUAL[part.use]:
        if usual in lower:
            return (lower[usual],)
    fact = f"this holds several parts, and none of them is called `{part.use}`"
    raise DataError(fact, place=path, help=f"{listed}; name one: {path}:{names[0]}")
