"""Hold out a share of the training rows, or cut them into folds: by group, so that no text stands on both sides."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from bertft.errors import DataError

E = TypeVar("E")


def groups(examples: Sequence[E], keys: Callable[[E], Iterable[Hashable]]) -> list[list[int]]:
    """Return the examples' indices in groups: those that share a key, directly or through others, are together."""
    parent = list(range(len(examples)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[Hashable, int] = {}
    for i, example in enumerate(examples):
        for key in keys(example):
            parent[root(i)] = root(first.setdefault(key, i))
    members: dict[int, list[int]] = {}
    for i in range(len(examples)):
        members.setdefault(root(i), []).append(i)
    return list(members.values())


def hold_out(
    examples: Sequence[E],
    *,
    share: float,
    seed: int,
    keys: Callable[[E], Iterable[Hashable]],
    labels: Callable[[E], Iterable[str]],
) -> tuple[list[E], list[E]]:
    """Return (train, held out): whole groups, in the file's order, about `share` of the rows held out.

    Each label gives about its share, as far as groups allow, and none is held out whole: a group stays if all that is
    left of one of its labels stands in it. Where that is so of all groups, the smallest is held out. Raises DataError
    where there are fewer than two groups.
    """
    members = groups(examples, keys)
    if len(members) < 2:
        raise DataError("too little data to hold a part of it out", help="name a file with `--dev`")
    random.Random(seed).shuffle(members)
    here = [Counter(label for i in rows for label in labels(examples[i])) for rows in members]
    total = sum(here, Counter())
    taken: Counter[str] = Counter()
    wanted = max(1, round(share * len(examples)))
    held: set[int] = set()
    for strict in (True, False):
        for rows, counts in zip(members, here, strict=True):
            if len(held) >= wanted:
                break
            if rows[0] in held or len(held) + len(rows) > min(2 * wanted, len(examples) - 1):
                continue
            if any(taken[label] + n >= total[label] for label, n in counts.items()):
                continue
            if strict and any(taken[label] + n > max(1, round(share * total[label])) for label, n in counts.items()):
                continue
            taken += counts
            held.update(rows)
    if not held:
        held.update(sorted(members, key=len)[0])
    train = [example for i, example in enumerate(examples) if i not in held]
    return train, [example for i, example in enumerate(examples) if i in held]


def folds(
    examples: Sequence[E],
    *,
    count: int,
    seed: int,
    keys: Callable[[E], Iterable[Hashable]],
    labels: Callable[[E], Iterable[str]],
) -> list[tuple[list[E], list[E]]]:
    """Return (train, held out) for each of `count` folds; every row is held out once, groups and labels as above.

    Raises DataError where there are fewer groups than folds.
    """
    members = groups(examples, keys)
    if len(members) < count:
        raise DataError(f"{len(members)} groups of rows cannot be cut into {count} folds", help="ask for fewer folds")
    random.Random(seed).shuffle(members)
    members.sort(key=len, reverse=True)  # stable: large groups find their place first
    total = Counter(label for example in examples for label in labels(example))
    taken: list[Counter[str]] = [Counter() for _ in range(count)]
    held: list[set[int]] = [set() for _ in range(count)]
    for rows in members:
        here = Counter(label for i in rows for label in labels(examples[i]))

        def crowding(fold: int, here: Counter[str] = here) -> tuple[float, int]:
            return sum(taken[fold][label] * n / total[label] for label, n in here.items()), len(held[fold])

        best = min(range(count), key=crowding)
        taken[best] += here
        held[best].update(rows)
    for fold in range(count):  # labels may have crowded all groups into some of the folds
        while not held[fold]:
            fullest = max(held, key=len)
            moved = next(rows for rows in reversed(members) if rows[0] in fullest)
            if len(moved) == len(fullest):
                raise DataError(f"the rows cannot be cut into {count} folds", help="ask for fewer folds")
            fullest.difference_update(moved)
            held[fold].update(moved)
    return [
        (
            [example for i, example in enumerate(examples) if i not in rows],
            [example for i, example in enumerate(examples) if i in rows],
        )
        for rows in held
    ]


def sample(
    examples: Sequence[E], count: int, *, seed: int, keys: Callable[[E], Iterable[Hashable]] | None = None
) -> list[E]:
    """Return so many of the examples in random order: those of a smaller count are the first of a larger one.

    With `keys` groups stay whole where they are small, so that the last one may exceed the count; rows are drawn one by
    one where a group has more than a tenth of it.
    """
    random_order = random.Random(seed)
    members = groups(examples, keys) if keys is not None else []
    if not members or max(map(len, members)) > count / 10:
        members = [[i] for i in range(len(examples))]
    random_order.shuffle(members)
    chosen: list[E] = []
    for rows in members:
        if len(chosen) >= count:
            break
        chosen += [examples[i] for i in rows]
    return chosen
