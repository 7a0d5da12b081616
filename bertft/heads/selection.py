"""Run the head over some tokens only: a masked language model's has an output for each word of the vocabulary.

Of 1,024 tokens, 15 % of them chosen, a head over 30,522 words computes 19 MB and not 125. What is computed for a token
stays what it was: the heads of all families see one token at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_WANTED = "bertft_wanted"


def select(model: Any) -> None:
    """Make the model's head read no tokens but those of `only`."""
    setattr(model, _WANTED, None)

    def replace(_module: Any, _inputs: Any, found: Any) -> Any:
        wanted: torch.Tensor | None = getattr(model, _WANTED)
        if wanted is not None:
            hidden = found.last_hidden_state.flatten(0, 1)  # (windows * tokens, width)
            found.last_hidden_state = hidden.index_select(0, wanted).unsqueeze(0)  # (1, wanted, width)
        return found

    model.base_model.register_forward_hook(replace)


def selects(model: Any) -> bool:
    """Say whether `select` was called on the model."""
    return hasattr(model, _WANTED)


@contextmanager
def only(model: Any, wanted: torch.Tensor) -> Iterator[None]:
    """Let the model give the logits of the tokens at `wanted` (wanted,), row after row: (1, wanted, outputs)."""
    setattr(model, _WANTED, wanted)
    try:
        yield
    finally:
        setattr(model, _WANTED, None)
