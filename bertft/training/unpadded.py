"""Training steps on a GPU without padding: all windows' tokens stand in one row, and each window attends to itself.

Padding is left out behind the embeddings and put back, as zeros, behind the last layer, so that heads, hooks and losses
see what they see of a padded batch. What is between them looks at one token at a time, but for attention: that is
torch's own FlashAttention with the places where windows begin (Dao 2023, "FlashAttention-2"), which takes dropout and
ModernBERT's local windows too. transformers hands those places down as it does for its own flash kernels.

On a CPU, where that kernel is not, each window is attended to by itself: that shows what the kernel has to compute, and
is what tests compare with padded batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from bertft.encoders.families import max_positions
from bertft.encoders.prefix import by_name
from bertft.errors import first_line

ATTENTION = "bertft_unpadded"
_STATE = "bertft_unpadded"
_LAST = ("encoder", "transformer", "final_norm")
"""What the last hidden states come out of: of most families, of DistilBERT, of ModernBERT."""
_TRIED = (7, 2, 150)
"""Tokens of the windows of a trial, at most: ModernBERT's layers look 64 tokens far."""
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.03, torch.float16: 0.03}
"""Of the root mean square difference of hidden states, in that of the states: some roundings of 8 or 11 bits."""


class Layout(NamedTuple):
    """Where the tokens of a batch stand: all but padding, row after row."""

    kept: torch.Tensor
    """Their places in (windows * tokens), (kept,)."""
    starts: torch.Tensor
    """Where among them each window begins, and the last one ends, (windows + 1,)."""
    shape: torch.Size
    """Windows, and tokens of the longest."""


def layout(mask: torch.Tensor, kept: torch.Tensor) -> Layout:
    """Return the layout of a batch by its attention mask (windows, tokens). `kept` are the places where it is 1.

    They are asked for since the device would have to be waited for to learn how many they are.
    """
    return Layout(kept, torch.nn.functional.pad(mask.sum(1).cumsum(0), (1, 0)).int(), mask.shape)


@dataclass
class _State:
    """The layout of the batch that comes, and while the encoder reads it."""

    asked: Layout | None = None
    inside: Layout | None = None
    """None outside of the encoder: a generator that shares its embeddings reads the same batch before it."""


def prepare(model: Any) -> str | None:
    """Let the model compute batches `without_padding`, if it can: why it cannot is returned, else None.

    That is tried, on the model's device and under its autocast: the hidden states of made-up windows are compared with
    those of a padded batch, and gradients looked at. A model that cannot is left as it was.
    """
    base = model.base_model
    last = next((getattr(base, name) for name in _LAST if hasattr(base, name)), None)
    if last is None or not hasattr(base, "embeddings") or model.config._attn_implementation != "sdpa":
        return f"{model.config.model_type} has no attention that could be replaced"
    state = _State()
    for module in (base, base.embeddings, last):
        setattr(module, _STATE, state)
    hooks = [
        base.register_forward_pre_hook(_enter, with_kwargs=True),
        base.embeddings.register_forward_hook(_leave_out),
        last.register_forward_hook(_put_back),
        base.register_forward_hook(_leave, always_call=True),
    ]
    model.set_attn_implementation(ATTENTION)
    try:
        problem = _tried(model)
    except Exception as error:  # whatever a kernel, or a family that nobody has seen, makes of it
        problem = f"{type(error).__name__}: {first_line(error)}"
    if problem is not None:
        for hook in hooks:
            hook.remove()
        for module in (base, base.embeddings, last):
            delattr(module, _STATE)
        model.set_attn_implementation("sdpa")
    return problem


@contextmanager
def without_padding(model: Any, given: Layout) -> Iterator[None]:
    """Let a prepared model's forward pass leave out the padding of a batch of this layout."""
    state: _State = getattr(model.base_model, _STATE)
    state.asked = given
    try:
        yield
    finally:
        state.asked = None


def _enter(base: Any, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Hand to all layers where windows begin, and to rotary embeddings the positions of what is kept."""
    state: _State = getattr(base, _STATE)
    given = state.inside = state.asked
    if given is None:
        return None
    inputs = by_name(args, named) | {"cu_seq_lens_q": given.starts, "max_length_q": given.shape[1]}
    if hasattr(base, "rotary_emb"):
        inputs["position_ids"] = (given.kept % given.shape[1]).unsqueeze(0)
    return (), inputs


def _leave(base: Any, _: Any, __: Any) -> None:
    getattr(base, _STATE).inside = None


def _leave_out(embeddings: Any, _: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Return (windows, tokens, width) as (1, kept, width)."""
    given: Layout | None = getattr(embeddings, _STATE).inside
    return hidden if given is None else hidden.flatten(0, 1).index_select(0, given.kept).unsqueeze(0)


def _put_back(last: Any, _: Any, found: Any) -> Any:
    """Return (1, kept, width), or an output with that as its last hidden state, as (windows, tokens, width)."""
    given: Layout | None = getattr(last, _STATE).inside
    if given is None:
        return found
    hidden = found if isinstance(found, torch.Tensor) else found.last_hidden_state
    empty = hidden.new_zeros((given.shape.numel(), hidden.shape[2]))
    hidden = empty.index_copy(0, given.kept, hidden.squeeze(0)).unflatten(0, given.shape)
    if isinstance(found, torch.Tensor):
        return hidden
    found.last_hidden_state = hidden
    return found


def _attention(  # noqa: PLR0917  (as transformers calls it)
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within windows, (1, heads, kept, width) to (1, kept, heads, width); as `sdpa` does to a padded batch."""
    starts = more.get("cu_seq_lens_q")
    if starts is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **more
        )
    special = more.get("position_bias") is not None or getattr(module, "num_key_value_groups", 1) > 1
    if special or getattr(module, "is_causal", False):
        raise NotImplementedError("its attention is more than that of all tokens to all others")
    # transformers counts the token itself as part of either side
    reach = more["sliding_window"] - 1 if more.get("sliding_window") else None
    if query.device.type == "cpu":
        return _window_by_window(query, key, value, starts, dropout=dropout, scaling=scaling, reach=reach), None
    # (kept, heads, width); rotary embeddings may have made fp32 of what autocast has in 16 bits
    rows = [each.transpose(1, 2).squeeze(0).to(value.dtype) for each in (query, key, value)]
    longest = more["max_length_q"]
    attended: torch.Tensor = torch.ops.aten._flash_attention_forward(
        *rows, starts, starts, longest, longest, dropout, False, False,
        scale=scaling, window_size_left=reach, window_size_right=reach,
    )[0]  # fmt: skip
    return attended.unsqueeze(0), None


def _window_by_window(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    starts: torch.Tensor,
    *,
    dropout: float,
    scaling: float | None,
    reach: int | None,
) -> torch.Tensor:
    """Return what the kernel computes, by torch's own attention on each window."""
    sizes = starts.diff().tolist()
    attended = []
    for q, k, v in zip(*(each.split(sizes, dim=2) for each in (query, key, value)), strict=True):
        places = torch.arange(q.shape[2])
        near = None if reach is None else (places[:, None] - places).abs() <= reach
        attended.append(torch.nn.functional.scaled_dot_product_attention(q, k, v, near, dropout, scale=scaling))
    return torch.cat(attended, dim=2).transpose(1, 2)


def _mask(*, batch_size: int, attention_mask: torch.Tensor | None = None, **more: Any) -> torch.Tensor | None:
    """Return the mask of a padded batch; None of tokens in one row, which is not of as many rows as its mask."""
    if attention_mask is not None and len(attention_mask) != batch_size:
        return None
    found: torch.Tensor | None = sdpa_mask(batch_size=batch_size, attention_mask=attention_mask, **more)
    return found


def _tried(model: Any) -> str | None:
    """Say what is wrong with hidden states without padding, or their gradients; None where nothing is."""
    base, device, config = model.base_model, model.device, model.config
    sizes = torch.tensor(_TRIED).clamp(max=max_positions(config) or max(_TRIED))
    ids = torch.arange(len(sizes) * int(sizes.max())).reshape(len(sizes), -1) % config.vocab_size
    pad = config.pad_token_id
    ids = (ids if pad is None else torch.where(ids == pad, (pad + 1) % config.vocab_size, ids)).to(device)
    mask = (torch.arange(ids.shape[1]) < sizes[:, None]).long().to(device)
    given = layout(mask, mask.flatten().nonzero().squeeze(1))
    was_training = model.training
    dtype = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else torch.float32
    finite = True
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        model.eval()
        with torch.no_grad():
            padded = base(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            with without_padding(model, given):
                found = base(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        model.train()
        with without_padding(model, given):
            hidden = base(input_ids=ids, attention_mask=mask).last_hidden_state
    if hidden.requires_grad:  # that of a frozen encoder does not
        hidden.float().square().sum().backward()
        finite = all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
        model.zero_grad(set_to_none=True)
    model.train(was_training)
    kept = mask.unsqueeze(2)
    off = float(((padded - found) * kept).square().mean().sqrt() / (padded * kept).square().mean().sqrt())
    if not finite:
        return "its gradients are not finite"
    return None if off <= _TOLERANCE[dtype] else f"its hidden states are others by {off:.2g} of their size"


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, _mask)
