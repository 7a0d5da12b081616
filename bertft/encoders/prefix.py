"""Prefix tuning: keys and values that every layer's attention is given before those of the text, and trained alone.

Li and Liang 2021, "Prefix-Tuning", and for encoders Liu et al. 2022, "P-Tuning v2". They go in where a decoder would
keep the keys and values of past tokens, as peft puts them, and shift the positions of the text by as many tokens.
"""

from __future__ import annotations

from typing import Any

import torch

from bertft.errors import UsageError

_NAME = "prefix_encoder"
_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")


def by_name(args: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs of an encoder by name, as its hooks are given them."""
    return dict(zip(_INPUTS, args, strict=False)) | named


class Prefix(torch.nn.Module):
    """The keys and values of so many tokens, all layers' of a token in one row: as peft stores them."""

    def __init__(self, tokens: int, config: Any) -> None:
        super().__init__()
        self.layers, self.heads = config.num_hidden_layers, config.num_attention_heads
        self.embedding = torch.nn.Embedding(tokens, self.layers * 2 * config.hidden_size)
        torch.nn.init.normal_(self.embedding.weight, std=config.initializer_range)

    def cache(self, rows: int) -> Any:
        """Return keys and values for `rows` texts, as a cache of transformers."""
        from transformers import DynamicCache

        weight = self.embedding.weight
        if torch.is_autocast_enabled(weight.device.type):
            weight = weight.to(torch.get_autocast_dtype(weight.device.type))
        tokens = weight.shape[0]
        each = weight.view(tokens, self.layers, 2, self.heads, -1).permute(1, 2, 3, 0, 4)  # (…, heads, tokens, width)
        past = each.unsqueeze(2).expand(-1, -1, rows, -1, -1, -1)  # (layers, 2, rows, heads, tokens, width)
        return DynamicCache([(past[i, 0], past[i, 1]) for i in range(self.layers)])


def attach(model: Any, tokens: int) -> None:
    """Give a model's encoder a prefix of so many tokens, and freeze the encoder."""
    encoder = model.base_model
    encoder.requires_grad_(False)
    prefix = Prefix(tokens, model.config).to(model.device)
    setattr(model, _NAME, prefix)

    def put(_: Any, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        given = by_name(args, named)
        read = given["input_ids"] if given.get("input_ids") is not None else given["inputs_embeds"]
        mask = given.get("attention_mask")
        if mask is None:
            mask = torch.ones(read.shape[:2], dtype=torch.long, device=read.device)
        given["attention_mask"] = torch.cat((mask.new_ones((mask.shape[0], tokens)), mask), dim=1)
        given["past_key_values"] = prefix.cache(read.shape[0])
        return (), given

    encoder.register_forward_pre_hook(put, with_kwargs=True)


def of(model: Any) -> Prefix | None:
    """Return the prefix of a model, None where it has none."""
    found: Prefix | None = getattr(model, _NAME, None)
    return found


def check_trainer(model: Any, *, gradient_checkpointing: bool) -> None:
    """Raise UsageError where training would leave the prefix out."""
    if gradient_checkpointing and of(model) is not None:
        fact = "trainer.gradient_checkpointing: transformers then drops what a prefix is kept in"
        raise UsageError(fact, help="leave it out, or train adapters of another method: `peft.method=lora`")
