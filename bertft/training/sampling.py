"""Which examples make a training batch: like lengths together, about as many tokens in each, other mates every epoch.

The batches of an epoch follow from the seed and the epoch alone: a resumed run and one of several processes see the
same ones. There are as many in every epoch, so that a learning-rate schedule can count them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bertft.errors import DataError
from bertft.recipe import Recipe

TRAINERS_OWN = frozenset(
    {
        "auto_find_batch_size",
        "data_seed",
        "dataloader_drop_last",
        "dataloader_prefetch_factor",
        "train_sampling_strategy",
    }
)
"""Settings that leave the batches to transformers' Trainer."""
SIZE = "per_device_train_batch_size"
BATCH = 8
"""Examples of a batch for which the learning rates of `encoders/families.py` are; Trainer's default."""
_MOST_TOKENS = 1024
"""Of a batch, unless 8 windows of mean length have more; see `DECISIONS.md`."""
_LEAST_BATCHES, _LEAST_BATCHES_OF_TAGS = 500, 200
"""Of an epoch, unless batches of 8 are fewer: many classes, one a row, take more steps to learn than tags of words."""
_JITTER = 0.03
"""Lengths are mixed by so much of themselves: more would fill batches with padding, less leave rare lengths no choice
of mates. Of few batches by one over their number, or each epoch would have the same ones."""


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
        self._costs = lengths * windows
        if tokens is None:
            self._count = min(-(-len(lengths) // (items * processes)), len(lengths) // processes)
            self._items: int | None = items * processes
        else:
            self._count = min(-(-int(self._costs.sum()) // tokens), len(lengths) // processes)
            self._items = None

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this process's part of each batch of the epoch, in random order."""
        random = np.random.default_rng([self._seed, self._epoch])
        keys = self._lengths * random.uniform(1, 1 + max(_JITTER, 1 / len(self)), len(self._lengths))
        order = np.argsort(keys)
        cuts = self._cuts(order)
        for i in random.permutation(len(self)).tolist():
            yield order[cuts[i] : cuts[i + 1]][self._rank :: self._processes].tolist()

    def _cuts(self, order: npt.NDArray[np.int64]) -> list[int]:
        """Return where each batch of the items in this order begins, and the end; each has one item a process."""
        number = np.arange(self._count)
        if self._items is not None:
            cuts = number * self._items
        else:
            before = np.cumsum(self._costs[order])  # the tokens of the items up to each
            # batches of equal size, not full ones and a rest
            cuts = np.searchsorted(before, number * before[-1] / self._count)
        least = number * self._processes
        cuts = np.maximum.accumulate(cuts - least) + least
        return [*np.minimum(cuts, len(order) - self._count * self._processes + least).tolist(), len(order)]


def batch_size(
    recipe: Recipe, lengths: npt.NDArray[np.int64], windows: npt.NDArray[np.int64], *, tags: bool
) -> tuple[int | None, float]:
    """Return what a batch holds, in tokens (None: as many examples as the recipe says) and in examples on average."""
    if {SIZE, *TRAINERS_OWN} & recipe.trainer.keys():
        return None, recipe.trainer.get(SIZE, BATCH)
    tokens = recipe.batch_tokens or batch_tokens(lengths, windows, tags=tags)
    return tokens, tokens / float((lengths * windows).mean())


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
