"""Rows that stand in two files, or several times in one: leaks, repetition, and conflicts between their labels."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from hashlib import blake2b
from itertools import chain

import numpy as np
import numpy.typing as npt

from bertft.check.findings import SHARE, Finding, Part, Record, Severity, by_share, finding
from bertft.check.similar import LEAST_WORDS, near_duplicates, words
from bertft.errors import cut

Keys = npt.NDArray[np.uint64]

_SAME = 0.9  # of a file's rows: so many in train, and it is no other file
_REPEATED = 0.1  # of train
_CONFLICTS = 0.01
_NEARLY = 0.02  # of dev or test: near-duplicates are not quite as easy as duplicates
_VALUES = 0.5  # standard deviations between two values of one text


def check_leaks(parts: Sequence[Part], *, near: bool = True, conflicts: bool = True) -> list[Finding]:
    """Return what `parts`, train first, have in common, and what train has twice; `near` also compares word by word."""
    train, *others = parts
    known: dict[str, Record] = {}
    repeated = [(record, known.setdefault(_key(record.text), record)) for record in train.records]
    repeated = [(record, first) for record, first in repeated if record is not first]
    found = [*_within(train, repeated)]
    if conflicts:
        found += _conflicts(train, repeated, "conflict-label")
    exact: set[int] = set()
    for part in others:
        same = [(record, known[key]) for record in part.records if (key := _key(record.text)) in known]
        exact |= {id(record) for record, _ in same}
        found += _across(part, same)
        if conflicts:
            found += _conflicts(part, same, "conflict-split")
    return [*found, *(_nearly(parts, known, exact) if near else ())]


def check_contexts(parts: Sequence[Part]) -> list[Finding]:
    """Return the contexts that questions of dev or test share with train; a record is a context."""
    train, *others = parts
    known = {_key(record.text): record for record in reversed(train.records)}
    found = []
    for part in others:
        same = [(record, known[key]) for record in part.records if (key := _key(record.text)) in known]
        if same:
            record, first = same[0]
            message = f"{len(same):,} of {len(part.records):,} contexts of {part.name} stand in train, the first at "
            severity = by_share(len(same), len(part.records))
            found.append(finding("leak-context", severity, f"{message}{first.place}", at=record.place, id=record.id))
    return found


def text_keys(texts: Sequence[str]) -> Keys:
    """Return a number a text, the same for equal texts in every process."""
    digests = b"".join(blake2b(_key(text).encode("utf-8", "replace"), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype=np.uint64)


def check_known(part: Part, known: Keys, *, code: str) -> list[Finding]:
    """Return a finding where texts of a file are among those of train, of which only the `text_keys` are left."""
    met = np.isin(text_keys([record.text for record in part.records]), known)
    same = [record for record, is_met in zip(part.records, met, strict=True) if is_met and _is_long(record)]
    if not same:
        return []
    what = "contexts" if code == "leak-context" else "rows"
    message = f"{len(same):,} of {len(part.records):,} {what} of {part.name} stand in train: {_shown(same[0])}"
    return [finding(code, by_share(len(same), len(part.records)), message, at=same[0].place, id=same[0].id)]


def _key(text: str) -> str:
    return text if " " not in text else " ".join(text.split())


def _is_long(record: Record) -> bool:
    return len(words(record.text)) >= LEAST_WORDS


def _across(part: Part, same: Sequence[tuple[Record, Record]]) -> Iterator[Finding]:
    total = len(part.records)
    if len(same) >= _SAME * total and total > 1:
        message = f"{len(same):,} of {total:,} rows of {part.name} stand in train: it is the same data"
        yield finding("leak-same", "error", message, at=same[0][0].place, id=same[0][0].id)
        return
    long = [(record, first) for record, first in same if _is_long(record)]
    if long:
        record, first = long[0]
        message = f"{len(long):,} of {total:,} rows of {part.name} (of five words and more) stand in train, "
        message += f"the first at {first.place}: {_shown(record)}"
        severity = by_share(len(long), total, least=SHARE)
        yield finding("leak-exact", severity, message, at=record.place, id=record.id)


def _within(train: Part, repeated: Sequence[tuple[Record, Record]]) -> Iterator[Finding]:
    long = [(record, first) for record, first in repeated if record.gold == first.gold and _is_long(record)]
    if long:
        record, first = long[0]
        same = ", with the same label" if record.labels else ""
        message = f"{len(long):,} of {len(train.records):,} rows stand in the file before{same}; "
        message += f"this one at {first.place}: {_shown(record)}"
        severity = by_share(len(long), len(train.records), least=_REPEATED)
        yield finding("leak-within", severity, message, at=record.place, id=record.id)


def _conflicts(part: Part, same: Sequence[tuple[Record, Record]], code: str) -> Iterator[Finding]:
    unlike = [(record, first) for record, first in same if _differ(record.gold, first.gold)]
    severity: Severity = by_share(len(unlike), len(part.records), least=_CONFLICTS)
    for record, first in unlike:
        how = f"with {_gold(first)}, here with {_gold(record)}"
        if isinstance(record.gold, float):
            how = "with another value"
        elif record.labels == first.labels:
            how = "and is tagged otherwise here"
        message = f"the text stands at {first.place} {how}: {_shown(record)}"
        yield finding(code, severity, message, at=record.place, id=record.id)


def _nearly(parts: Sequence[Part], known: dict[str, Record], exact: set[int]) -> Iterator[Finding]:
    """Yield near-duplicates: of rows of dev and test in train, and within train, that are no exact ones."""
    rows = [*known.values()]
    trained = len(rows)
    rows += [record for record in chain(*(part.records for part in parts[1:])) if id(record) not in exact]
    owner = {id(record): part for part in parts for record in part.records}
    pairs: dict[str, list[tuple[Record, Record, float]]] = {}
    for a, b, index in near_duplicates([record.text for record in rows]):
        if a < trained:
            pairs.setdefault(owner[id(rows[b])].name, []).append((rows[b], rows[a], index))
    for part in parts:
        near = sorted(pairs.get(part.name, ()), key=lambda pair: pair[0].place.line)
        if not near:
            continue
        record, first, index = near[0]
        of_train = part.name == "train"
        which = "rows stand in the file before" if of_train else f"rows of {part.name} stand in train"
        message = f"{len(near):,} of {len(part.records):,} {which} with few words changed; this one at {first.place} "
        message += f"({index:.0%} of the pairs of words): {_shown(record)}"
        code, least = ("leak-within", _REPEATED) if of_train else ("leak-near", _NEARLY)
        yield finding(code, by_share(len(near), len(part.records), least=least), message, at=record.place, id=record.id)


def _shown(record: Record) -> str:
    return repr(cut(" ".join(record.text.split()), 60))


def _differ(one: Hashable, other: Hashable) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) > _VALUES
    return one != other


def _gold(record: Record) -> str:
    if not record.labels:
        return "no entity" if record.gold else "no label"  # tags are there where no entity is
    return " + ".join(map(repr, record.labels)) if len(record.labels) <= 3 else f"{len(record.labels)} labels"
