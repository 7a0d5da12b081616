"""What makes a training step fast on a CPU: cheap dropout masks, attention that keeps them cheap, kept memory.

torch draws a dropout mask one element at a time, and `scaled_dot_product_attention` with dropout leaves its fused
kernels for a slow path on CPUs. `python -m tests.bench` measures what these replacements give.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from typing_extensions import override

from bertft.inference.pytorch import keep_memory

ATTENTION = "bertft_cpu"
_CHANCES = 2**16


def speed_up(model: Any) -> None:
    """Make the model's training steps faster on a CPU; what it computes in evaluation stays as it is."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p).train(child.training))
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(ATTENTION)
    keep_memory()


class _Dropped(torch.autograd.Function):
    """Dropout by 16 random bits an element, four elements a draw: the chance is `p` to 1 in 65 536."""

    @staticmethod
    @override
    def forward(ctx: Any, x: torch.Tensor, p: float) -> torch.Tensor:
        below = round(p * _CHANCES)
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        keep = words.view(torch.int16)[: x.numel()].view(x.shape) >= below - _CHANCES // 2
        ctx.scale = _CHANCES / (_CHANCES - below)
        ctx.save_for_backward(keep)
        return _kept(x, keep, ctx.scale)

    @staticmethod
    @override
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (keep,) = ctx.saved_tensors
        return _kept(gradients[0], keep, ctx.scale), None


def _kept(x: torch.Tensor, keep: torch.Tensor, scale: float) -> torch.Tensor:
    """Return `x * keep * scale` in one pass; torch has that kernel for dropout's gradient."""
    product: torch.Tensor = torch.ops.aten.native_dropout_backward(x, keep, scale)
    return product


def dropped(x: torch.Tensor, p: float) -> torch.Tensor:
    """Return `x` with each element 0 with chance `p`, and the others divided by 1 - p (Srivastava et al. 2014)."""
    if not 0 < round(p * _CHANCES) < _CHANCES:
        return nn.functional.dropout(x, p)
    result: torch.Tensor = _Dropped.apply(x, p)  # type: ignore[no-untyped-call]
    return result


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` with cheaper masks."""

    @override
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return dropped(input, self.p) if self.training else input


def _attention(  # noqa: PLR0917  (as transformers calls it)
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as `sdpa` does; with dropout, in steps: (windows, heads, tokens, width) to (windows, tokens, heads, …)."""
    special = getattr(module, "num_key_value_groups", 1) > 1 or more.get("softcap") or "position_bias" in more
    causal = more.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    special = special or (causal and attention_mask is None)  # `sdpa` then masks by itself
    if not dropout or special or query.device.type != "cpu":
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **more
        )
    scores = (query * (scaling or query.shape[-1] ** -0.5)) @ key.transpose(2, 3)
    if attention_mask is not None:
        least = torch.finfo(scores.dtype).min
        bias = attention_mask
        if bias.dtype == torch.bool:
            bias = torch.zeros_like(bias, dtype=scores.dtype).masked_fill_(~bias, least)
        scores = scores + bias.to(scores.dtype).clamp(min=least)
    chances = dropped(torch.softmax(scores, dim=-1), dropout)
    return (chances @ value).transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
