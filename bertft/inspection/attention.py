"""`inspect attention`: how much each token of a window attends to each other, by layer and head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from bertft.bundle.store import Bundle
from bertft.console import say
from bertft.errors import ModelError, UsageError
from bertft.inference import pytorch
from bertft.inference.batches import padded
from bertft.inspection.pieces import Seen, seen
from bertft.inspection.words import plain
from bertft.tasks.base import Window


def load(bundle: Bundle, device: str) -> Any:
    """Load a model with attention that can be looked into; raises ModelError where it cannot be loaded."""
    where = pytorch.choose_device(device)
    model = bundle.load_model().to(where)
    model.set_attn_implementation("eager")  # fused kernels never hold the weights
    say(f"using {pytorch.describe(where, 'fp32')}")
    return model


def inputs(model: Any, window: Window, pad: int) -> dict[str, torch.Tensor]:
    """Return a window as the tensors that a model takes, a batch of one."""
    arrays = padded([window], pad, segments=pytorch.takes_segments(model))
    return {name: torch.from_numpy(array).to(model.device) for name, array in arrays.items()}


def attention(
    bundle: Bundle, example: Any, *, layers: Sequence[int] = (), heads: Sequence[int] = (), device: str = "auto"
) -> dict[str, Any]:
    """Return the attention weights of an example's windows, (layers, heads, tokens, tokens) each, and their tokens.

    Layers and heads count from 1; without any, the last layer is taken, and all of its heads. A row of weights says
    where a token looks and sums to 1. Raises UsageError for a layer or head that is not there.
    """
    model = load(bundle, device)
    found = seen(bundle.task, example, bundle.tokenizer, bundle.window)
    windows = []
    for window, tokens in zip(found.windows, found.tokens, strict=True):
        weights = _weights(model, window, bundle.tokenizer.pad)  # (layers, heads, tokens, tokens)
        layers = _chosen("layer", layers, weights.shape[0]) if layers else [weights.shape[0]]
        heads = _chosen("head", heads, weights.shape[1]) if heads else list(range(1, weights.shape[1] + 1))
        kept = weights[[n - 1 for n in layers]][:, [n - 1 for n in heads]]
        windows.append({"tokens": [plain(found, token) for token in tokens], "weights": kept.tolist()})
    return {"layers": list(layers), "heads": list(heads), "texts": _texts(found), "windows": windows}


@torch.inference_mode()
def _weights(model: Any, window: Window, pad: int) -> torch.Tensor:
    found = type(model).forward(model, **inputs(model, window, pad), output_attentions=True)
    layers = getattr(found, "attentions", None)
    if not layers or any(one is None for one in layers):
        raise ModelError(f"{type(model).__name__} gives no attention weights")
    return torch.stack([one[0][..., -one.shape[-2] :] for one in layers]).float().cpu()  # but for a prefix


def _chosen(what: str, given: Sequence[int], count: int) -> Sequence[int]:
    wrong = next((number for number in given if not 1 <= number <= count), None)
    if wrong is not None:
        raise UsageError(f"--{what} {wrong}: the model has {what}s 1 to {count}")
    return given


def _texts(found: Seen) -> list[str]:
    return [source.text for source in found.texts]
