"""Windows to the arrays that a model takes, and its outputs back to one array a window: the same for every backend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bertft.tasks.base import Logits, Window


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


def owned(windows: Sequence[Window]) -> npt.NDArray[np.bool_] | None:
    """Return which tokens the windows own, (windows, tokens); None where they own none."""
    if not any(window.owned for window in windows):
        return None
    marks = np.zeros((len(windows), max(len(window.input_ids) for window in windows)), dtype=np.bool_)
    for i, window in enumerate(windows):
        marks[i, list(window.owned)] = True
    return marks


def by_window(windows: Sequence[Window], logits: Logits) -> list[Logits]:
    """Return each window's logits: (tokens, outputs) without those of padding, or (outputs,) of a head over texts."""
    if logits.ndim == 2:
        return list(logits)
    # a copy, as a view would keep the whole batch in memory
    return [np.ascontiguousarray(logits[i, : len(window.input_ids)]) for i, window in enumerate(windows)]
