"""What training draws batches of, in flat arrays: windows, or the windows of one example where they give one answer.

A window of 25 tokens is 200 bytes here, and 3 KB as Python objects.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from bertft.data.row import Place
from bertft.errors import DataError
from bertft.tasks.base import IGNORED, Objective, Window

_ARRAYS = ("ids", "segments", "targets", "ends", "target_ends", "item_ends", "files", "lines")
_MAX_WINDOWS = 8
"""Of one example in a training step, spread evenly over it; more would make the memory of a step unbounded."""


class Items:
    """Windows with what they are to give, taken by index; added an item at a time."""

    def __init__(self) -> None:
        # of the ids and the targets of each window, and the windows of each item: where the next begins
        self._ids: Any = array("i")
        self._segments: Any = array("b")
        self._targets: Any = array("i")
        self._ends: Any = array("q", [0])
        self._target_ends: Any = array("q", [0])
        self._item_ends: Any = array("q", [0])
        # of each item: where its row stands
        self._files: Any = array("i")
        self._lines: Any = array("q")
        self._paths: list[str] = []
        self._kind = "tuple"

    def __len__(self) -> int:
        return len(self._item_ends) - 1

    def add(self, windows: Sequence[Window], place: Place) -> None:
        """Add one item, of the row that stands at `place`."""
        if place.path not in self._paths[-1:]:
            self._paths.append(place.path)
        self._files.append(len(self._paths) - 1)
        self._lines.append(place.line)
        for window in windows:
            self._ids.extend(window.input_ids)
            self._segments.extend(window.segments)
            self._ends.append(len(self._ids))
            target: Any = window.target
            self._kind = "tuple" if isinstance(target, list | tuple) else type(target).__name__
            values = target if self._kind == "tuple" else (target,)
            if not self._targets and isinstance(values[0], float):
                self._targets = array("d")
            self._targets.extend(values)
            self._target_ends.append(len(self._targets))
        self._item_ends.append(len(self._ends) - 1)

    def __getitem__(self, index: int) -> list[Window]:
        """Return the windows of an item."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return [self._window(i) for i in range(self._item_ends[index], self._item_ends[index + 1])]

    def _window(self, i: int) -> Window:
        own = slice(self._ends[i], self._ends[i + 1])
        values = self._targets[self._target_ends[i] : self._target_ends[i + 1]].tolist()
        target = tuple(values) if self._kind == "tuple" else values[0]
        return Window(0, self._ids[own].tolist(), self._segments[own].tolist(), target)

    def place(self, index: int) -> Place:
        """Return where the row of an item stands."""
        return Place(self._paths[self._files[index]], int(self._lines[index]))

    def moved(self, old: str, new: str) -> None:
        """Say that the file `old` is `new` now."""
        self._paths = [new if path == old else path for path in self._paths]

    @property
    def windows(self) -> npt.NDArray[np.int64]:
        """How many windows each item has, (items,)."""
        ends: npt.NDArray[np.int64] = np.asarray(self._item_ends, dtype=np.int64)
        return ends[1:] - ends[:-1]

    @property
    def longest(self) -> npt.NDArray[np.int64]:
        """The tokens of each item's longest window, (items,)."""
        ends: npt.NDArray[np.int64] = np.asarray(self._ends, dtype=np.int64)
        return np.maximum.reduceat(ends[1:] - ends[:-1], np.asarray(self._item_ends)[:-1])

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Which row, counted from 0, each item is of, (items,): those of a row stand together."""
        where = np.stack([np.asarray(self._files, dtype=np.int64), np.asarray(self._lines, dtype=np.int64)])
        return np.cumsum(np.diff(where, prepend=where[:, :1]).any(axis=0))

    def save(self, folder: Path) -> None:
        """Write the arrays into a folder."""
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", np.asarray(getattr(self, f"_{name}")))
        (folder / "items.json").write_text(json.dumps([self._kind, self._paths]), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Items:
        """Map the arrays of a folder into memory; raises OSError or ValueError where they are not whole."""
        items = cls()
        for name in _ARRAYS:
            setattr(items, f"_{name}", np.load(folder / f"{name}.npy", mmap_mode="r"))
        items._kind, items._paths = json.loads((folder / "items.json").read_text(encoding="utf-8"))
        return items


def collect(
    chunks: Iterable[tuple[Sequence[Place], Sequence[Window]]], objective: Objective, *, path: str
) -> tuple[Items, list[str]]:
    """Return the items of windows that come some examples at a time, and sentences on those that are left out.

    With each come the places of the examples.

    Raises DataError, which names `path`, where there is nothing to learn from.
    """
    items = Items()
    left_out = long = 0
    for places, windows in chunks:
        if objective.per_token:  # a batch of only such windows has no loss: 0/0
            kept = [w for w in windows if any(label != IGNORED for label in cast("Sequence[int]", w.target))]
            left_out += len(windows) - len(kept)
        else:
            kept = [window for window in windows if window.target is not None]
        if objective.over_windows is None:
            for window in kept:
                items.add([window], places[window.example])
            continue
        for _, group in groupby(kept, key=lambda window: window.example):
            own = list(group)
            if len(own) > _MAX_WINDOWS:
                long += 1
                step = (len(own) - 1) / (_MAX_WINDOWS - 1)
                own = [own[round(step * k)] for k in range(_MAX_WINDOWS)]
            items.add(own, places[own[0].example])
    if not len(items):
        if objective.told is not None:
            raise DataError("no document has two sentences, of which a pair is made", place=path)
        raise DataError("no window has anything to learn from", place=path)
    if objective.told == "nsp" and not items.rows.any():
        raise DataError("one document only has two sentences, and second texts of others are needed", place=path)
    notes = []
    if left_out:
        notes.append(f"{left_out:,} windows own no word with a known label and are left out of training")
    if long:
        notes.append(f"training reads {_MAX_WINDOWS} windows of the {long:,} texts that have more")
    return items, notes
