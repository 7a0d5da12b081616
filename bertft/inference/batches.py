"""Windows to the arrays that a model takes, and its outputs back to one array a window: the same for every backend."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bertft.tasks.base import Logits, Window
from bertft.text.masking import draws

OWNED, DRAWS = "owned", "draws"
"""Inputs of a head over the vocabulary: which tokens it is run on, and by what a generator's guesses are drawn."""

OUTPUTS = frozenset({"logits", "pairs", "replaced", "filled"})


def padded(windows: Sequence[Window], pad: int, *, segments: bool) -> dict[str, npt.NDArray[np.int64]]:
    """Return `input_ids`, `attention_mask` and, with `segments`, `token_type_ids`, each (windows, tokens)."""
    shape = (len(windows), max(len(window.input_ids) for window in windows))
    batch = {"input_ids": np.full(shape, pad, dtype=np.int64), "attention_mask": np.zeros(shape, dtype=np.int64)}
    if segments:
        batch["token_type_ids"] = np.zeros(shape, dtype=np.int64)
    for i, window in enumerate(windows):
        length = len(window.input_ids)
        batch["input_ids"][i, :length] = window.input_ids
        batch["attention_mask"][i, :length] = 1
        if segments:
            batch["token_type_ids"][i, :length] = window.segments
    return batch


def inputs(windows: Sequence[Window], pad: int, names: Collection[str]) -> dict[str, npt.NDArray[Any]]:
    """Return the inputs of these names: those of `padded`, `owned` and `draws`."""
    batch: dict[str, npt.NDArray[Any]] = {**padded(windows, pad, segments="token_type_ids" in names)}
    if OWNED in names:
        batch[OWNED] = owned(windows)
    if DRAWS in names:
        batch[DRAWS] = draws_of(windows)
    return batch


def owned(windows: Sequence[Window]) -> npt.NDArray[np.int64]:
    """Return where the tokens that windows own stand in their batch, row after row, (owned,)."""
    longest = max(len(window.input_ids) for window in windows)
    places = [np.asarray(window.owned, dtype=np.int64) + i * longest for i, window in enumerate(windows)]
    return np.concatenate(places)


def draws_of(windows: Sequence[Window]) -> npt.NDArray[np.float32]:
    """Return the number by which each owned token is guessed, (owned,); see `text/masking.py`."""
    return np.concatenate([draws(window.input_ids)[list(window.owned)] for window in windows])


def by_window(windows: Sequence[Window], logits: Logits) -> list[Logits]:
    """Return each window's logits: (tokens, outputs) without those of padding, or (outputs,) of a head over texts."""
    if logits.ndim == 2:
        return list(logits)
    # a copy, as a view would keep the whole batch in memory
    return [np.ascontiguousarray(logits[i, : len(window.input_ids)]) for i, window in enumerate(windows)]


def by_owner(windows: Sequence[Window], found: Mapping[str, npt.NDArray[Any]]) -> list[Logits]:
    """Return the rows of each window's owned tokens, and what stands in them or before them; see `Head`.

    `logits` are (owned tokens of all windows, vocabulary), `pairs` (windows, 2), `replaced` and `filled` (windows,
    tokens).
    """
    rows = np.split(found["logits"], np.cumsum([len(window.owned) for window in windows])[:-1])
    if "pairs" in found:
        for window, row, answer in zip(windows, rows, found["pairs"], strict=True):
            if 0 in window.owned[:1]:
                row[0] = np.pad(answer, (0, row.shape[1] - len(answer)))
    if "filled" in found:
        told = np.stack((found["replaced"], found["filled"].astype(np.float32)), axis=1)  # (windows, 2, tokens)
        rows = [
            row if window.target is None else _below(each[:, : len(window.input_ids)], row)
            for window, each, row in zip(windows, told, rows, strict=True)
        ]
    return rows


def _below(told: Logits, rows: Logits) -> Logits:
    """Return some rows and those that stand below them, as wide as the wider ones."""
    wide = max(told.shape[1], rows.shape[1])
    above = np.pad(told, ((0, 0), (0, wide - told.shape[1])))
    return np.concatenate((above, np.pad(rows, ((0, 0), (0, wide - rows.shape[1])), constant_values=-np.inf)))
