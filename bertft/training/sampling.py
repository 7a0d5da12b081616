"""Which examples make a training batch: like lengths together, about as many tokens in each, other mates every epoch.

The batches of an epoch follow from the seed and the epoch alone: a resumed run and one of several processes see the
same ones. There are as many in every epoch, so that a learning-rate schedule can count them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from bertft.errors import DataError

BATCH = 8
"""Examples of a batch for which the learning rates of `encoders/families.py` are; Trainer's default."""
_MOST_TOKENS = 1024
"""Of a batch, unless 8 windows of mean length have more; see `DECISIONS.md`."""
_LEAST_BATCHES, _LEAST_BATCHES_OF_TAGS = 500, 200
"""Of an epoch, unless batches of 8 are fewer: many classes, one a row, take more steps to learn than tags of words."""
_JITTER = 0.03
"""Lengths are mixed by so much of themselves: more would fill batches with padding, less leave rare lengths no choice
of mates."""


class Batches:
    """Batches of item indices, for `DataLoader(batch_sampler=…)`; this process's part of each."""

    def __init__(
        self,
        lengths: npt.NDArray[np.int64],
        windows: npt.NDArray[np.int64],
        *,
        tokens: int | None,
        items: int,
        seed: int,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        """Plan an epoch. `lengths` (items,) are of each item's longest window, `windows` (items,) how many it has.

        `tokens` is what a batch of all processes holds; None makes batches of `items` items instead, a process.
        Raises DataError where there are fewer items than processes.
        """
        if len(lengths) < processes:
            raise DataError(f"{len(lengths)} training examples cannot be shared by {processes} processes")
        self._lengths = lengths
        self._seed = seed
        self._rank, self._processes = rank, processes
        self._epoch = 0
        if tokens is None:
            self._cuts = list(range(0, len(lengths), items * processes))
        else:
            order = np.argsort(lengths, kind="stable")
            before = np.concatenate(([0], np.cumsum((lengths * windows)[order])))  # tokens of the items before each
            count = -(-int(before[-1]) // tokens)
            wanted = np.linspace(0, before[-1], count + 1)[:-1]  # batches of equal size, not full ones and a rest
            self._cuts = np.unique(np.searchsorted(before[:-1], wanted)).tolist()
        self._cuts = _apart(self._cuts, processes, len(lengths))

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._cuts) - 1

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this process's part of each batch of the epoch, in random order."""
        random = np.random.default_rng([self._seed, self._epoch])
        keys = self._lengths * random.uniform(1, 1 + _JITTER, len(self._lengths))
        order = np.argsort(keys)
        for i in random.permutation(len(self)).tolist():
            yield order[self._cuts[i] : self._cuts[i + 1]][self._rank :: self._processes].tolist()


def _apart(cuts: Sequence[int], least: int, end: int) -> list[int]:
    """Return the cuts without those that would leave a batch fewer than `least` items, and with `end`."""
    kept = [0]
    for cut in cuts[1:]:
        if cut - kept[-1] >= least and end - cut >= least:
            kept.append(cut)
    return [*kept, end]


def batch_tokens(lengths: npt.NDArray[np.int64], windows: npt.NDArray[np.int64], *, tags: bool) -> int:
    """Return the tokens of a batch for such items, when the recipe leaves it open; `tags` are one a word, not a row."""
    total = int((lengths * windows).sum())
    least = _LEAST_BATCHES_OF_TAGS if tags else _LEAST_BATCHES
    return max(min(_MOST_TOKENS, total // least), round(BATCH * total / int(windows.sum())))


def learning_rate(base: float, examples: float) -> float:
    """Return the learning rate for batches of so many examples on average: `base` is for 8 of them.

    It grows with the root of the batch, as Adam's noise does (Malladi et al. 2022, "On the SDEs and scaling rules for
    adaptive gradient algorithms", definition 2).
    """
    return float(f"{base * math.sqrt(max(examples, BATCH) / BATCH):.2g}")
