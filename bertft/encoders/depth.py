"""An encoder of fewer layers: some of a trained one's, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from bertft.errors import UsageError


def chosen(layers: Sequence[int] | None, config: Any) -> list[int]:
    """Return the layers that are kept of an encoder: those named, or every other one from the first on.

    Raises UsageError for one that it has not, and for an encoder whose layers are one and the same.
    """
    depth = int(config.num_hidden_layers)
    if getattr(config, "num_hidden_groups", None) is not None:
        raise UsageError(
            f"--model teacher: all layers of {config.model_type} are the same weights, so none can be left out",
            help="name a smaller encoder with `--model`",
        )
    if layers is None:
        return list(range(0, depth, 2))
    if missing := [layer for layer in layers if layer >= depth]:
        raise UsageError(
            f"distill.layers: there is no layer {missing[0]}: the teacher has {depth}, from 0 to {depth - 1}",
            help=f"every other one is `--layers {','.join(map(str, range(0, depth, 2)))}`",
        )
    return list(layers)


def keep(model: Any, layers: Sequence[int]) -> None:
    """Leave out all layers of a model's encoder but these; raises UsageError where it would not be one of its family.

    The head, the embeddings and the layers that stay keep their weights.
    """
    config, body = model.config, model.base_model
    depth = config.num_hidden_layers
    lists = [(n, m) for n, m in body.named_modules() if isinstance(m, torch.nn.ModuleList) and len(m) == depth]
    if not lists:
        raise UsageError(f"--model teacher: {config.model_type} has no list of {depth} layers to choose from")
    name, found = lists[0]  # those after it are of parts of a layer
    kept = torch.nn.ModuleList(found[layer] for layer in layers)
    for index, layer in enumerate(kept):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):  # where a prefix's keys and values are looked up
                module.layer_idx = index  # type: ignore[assignment]
    owner = body.get_submodule(name.rpartition(".")[0])
    setattr(owner, name.rpartition(".")[2], kept)
    config.num_hidden_layers = len(layers)
    if getattr(config, "layer_types", None):  # which of them see only their neighbourhood (ModernBERT)
        config.layer_types = [config.layer_types[layer] for layer in layers]
    with torch.device("meta"):
        fresh = type(model)(config)
    names = {key for key in model.state_dict() if not key.startswith("bertft_")}
    if names != fresh.state_dict().keys():
        raise UsageError(
            f"distill.layers: the first layer of {config.model_type} differs from the others and must stay",
            help="name layer 0 too",
        )
