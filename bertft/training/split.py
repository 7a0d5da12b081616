"""Hold out a share of the training rows, by group, so that no text stands on both sides."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from bertft.errors import DataError

E = TypeVar("E")


def hold_out(
    examples: Sequence[E],
    *,
    share: float,
    seed: int,
    group: Callable[[E], Hashable],
    labels: Callable[[E], Iterable[str]],
) -> tuple[list[E], list[E]]:
    """Return (train, held out): whole groups, in the file's order, about `share` of the rows held out.

    Labels are kept trainable: a group is not held out if all that is left of one of its labels stands in it. Raises
    DataError where there are fewer than two groups.
    """
    groups: dict[Hashable, list[int]] = {}
    for i, example in enumerate(examples):
        groups.setdefault(group(example), []).append(i)
    if len(groups) < 2:
        raise DataError("too little data to hold a part of it out", help="name a file with `--dev`")
    members = list(groups.values())
    random.Random(seed).shuffle(members)
    left = Counter(label for example in examples for label in labels(example))
    wanted = max(1, round(share * len(examples)))
    held: set[int] = set()
    for rows in members:
        if len(held) >= wanted:
            break
        here = Counter(label for i in rows for label in labels(examples[i]))
        if len(held) + len(rows) > max(2 * wanted, 1) or any(left[label] <= n for label, n in here.items()):
            continue
        left -= here
        held.update(rows)
    if not held:
        held.update(sorted(members, key=len)[0])
    train = [example for i, example in enumerate(examples) if i not in held]
    return train, [example for i, example in enumerate(examples) if i in held]
