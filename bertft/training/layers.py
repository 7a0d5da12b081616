"""The layers of an encoder, from its embeddings up to the head: their learning rates, and which of them are trained.

The embeddings are depth 0, the lowest layer 1, and the head is one above the highest layer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Literal

import torch
from transformers import TrainerCallback
from typing_extensions import override

from bertft.errors import UsageError

_NUMBER = re.compile(r"(?:^|\.)(?:layer|layers|albert_layer_groups)\.(\d+)\.")
_TOP = ("pooler.", "final_norm.")
"""What an encoder has behind its last layer."""
_BEHIND_FIRST = ("encoder.conv.",)
"""DeBERTa-v2's convolution, whose output is added to the first layer's."""


def depths(model: Any) -> dict[str, int]:
    """Return how deep each parameter of a model is; what the layers share, such as relative positions, is embeddings.

    ALBERT's layers are one, as they share their weights.
    """
    prefix = f"{model.base_model_prefix}."
    names = [name for name, _ in model.named_parameters()]
    bodies = {name: name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    found = {name: _depth(body) for name, body in bodies.items()}
    head = 1 + max(depth for depth in found.values() if depth is not None)
    return {name: head if (depth := found.get(name)) is None else depth for name in names}


def _depth(name: str) -> int | None:
    """Return the depth of a parameter of the encoder, None where it stands behind the last layer."""
    if name.startswith(_TOP):
        return None
    if number := _NUMBER.search(name):
        return int(number[1]) + 1
    return 1 if name.startswith(_BEHIND_FIRST) else 0


def freeze(model: Any, lowest: int | Literal["embeddings"] | None) -> None:
    """Keep the embeddings, and so many of the `lowest` layers, as they are; raises UsageError where there are fewer."""
    if lowest is None:
        return
    found = depths(model)
    layers = max(found.values()) - 1
    count = 0 if lowest == "embeddings" else lowest
    if count > layers:
        shared = ", which its encoder goes through several times" if model.config.model_type == "albert" else ""
        raise UsageError(f"freeze: {count} layers, and the encoder has {layers}{shared}")
    for name, parameter in model.named_parameters():
        if found[name] <= count:
            parameter.requires_grad_(False)


def trainable(model: Any) -> str:
    """Return which share of a model's parameters is trained, as a person reads it."""
    parameters = {id(parameter): parameter for parameter in model.parameters()}.values()
    total = sum(parameter.numel() for parameter in parameters)
    share = sum(parameter.numel() for parameter in parameters if parameter.requires_grad) / total
    return f"trainable: {100 * share:.3g} % of {total / 1e6:.3g} M parameters"


def decay_rates(optimizer: torch.optim.Optimizer, model: Any, factor: float) -> None:
    """Give each layer `factor` times the learning rate of the one above it; the head keeps the optimizer's.

    Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification", section 3.2 (with 1/2.6);
    for BERT: Sun et al. 2019, "How to Fine-Tune BERT for Text Classification?" (with 0.95).
    """
    found = depths(model)
    depth_of = {id(parameter): found[name] for name, parameter in model.named_parameters()}
    head = max(found.values())
    optimizer.param_groups[:] = [
        {**group, "params": parameters, "lr": group["lr"] * factor ** (head - depth)}
        for group in optimizer.param_groups
        for depth, parameters in _by_depth(group["params"], depth_of)
    ]


def _by_depth(parameters: list[torch.Tensor], depth_of: dict[int, int]) -> Iterator[tuple[int, list[torch.Tensor]]]:
    for depth in sorted({depth_of[id(parameter)] for parameter in parameters}):
        yield depth, [parameter for parameter in parameters if depth_of[id(parameter)] == depth]


class Unfreezing(TrainerCallback):
    """Trains the head alone in the first epoch, then `step` layers more each epoch, from the top.

    Howard and Ruder 2018, section 3.3, with a step of 1. What is frozen has no gradient, and the optimizer leaves it.
    """

    def __init__(self, model: Any, step: int) -> None:
        found = depths(model)
        self._step = step
        self._head = max(found.values())
        self._trained = [(found[name], p) for name, p in model.named_parameters() if p.requires_grad]

    def never(self, epochs: float) -> str | None:
        """Return which layers so many epochs leave as they are, as a person reads it; None where there are none."""
        lowest = self._head - self._step * (math.ceil(epochs) - 1)
        if lowest <= 0:
            return None
        layers = (
            f"the lowest {lowest - 1} layers and " if lowest > 2 else "the lowest layer and " if lowest == 2 else ""
        )
        return f"unfreeze: {layers}the embeddings are not trained in {epochs:g} epochs"

    @override
    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        lowest = self._head - self._step * int(state.epoch or 0)
        for depth, parameter in self._trained:
            parameter.requires_grad_(depth >= lowest)
