"""Pooling over tokens for sequence classification heads: the mean, or a learnt attention, in place of the first token.

The heads of all families read position 0 of the encoder's last hidden state (`[CLS]`), directly or through a pooler.
A hook puts the pooled vector there, so every family keeps its own head: dense layers, activations, dropout.
"""

from __future__ import annotations

from typing import Any

import torch


def pool(model: Any, pooling: str) -> None:
    """Make the model's head read the `mean` or the learnt `attention` over tokens. Changes no stored weight's name."""
    if pooling == "attention":
        # One learnt query (Lin et al., "A Structured Self-Attentive Sentence Embedding", ICLR 2017, with one hop);
        # zeros at first, which is the mean.
        scorer = torch.nn.Linear(model.config.hidden_size, 1, bias=False)
        torch.nn.init.zeros_(scorer.weight)
        model.bertft_pooling = scorer.to(model.device)
    if hasattr(model.config, "classifier_pooling"):
        model.config.classifier_pooling = "cls"  # ModernBERT's own pooling would come on top of this one
    encoder = model.base_model

    def replace(module: Any, args: tuple[Any, ...], named: dict[str, Any], found: Any) -> Any:
        hidden = found.last_hidden_state  # (batch, tokens, width)
        mask = named.get("attention_mask")
        if mask is None:
            mask = args[1]
        mask = mask[:, -hidden.shape[1] :]  # a prefix before the text has no hidden state
        scores = model.bertft_pooling(hidden).squeeze(-1).float() if pooling == "attention" else mask.float() * 0
        weights = torch.softmax(scores.masked_fill(mask == 0, -torch.inf), dim=1).to(hidden.dtype)  # (batch, tokens)
        pooled = (weights.unsqueeze(1) @ hidden).to(hidden.dtype)  # (batch, 1, width)
        found.last_hidden_state = torch.cat((pooled, hidden[:, 1:]), dim=1)
        if getattr(found, "pooler_output", None) is not None:
            found.pooler_output = _pooler(module, found.last_hidden_state)
        return found

    encoder.register_forward_hook(replace, with_kwargs=True)


def _pooler(encoder: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Run the encoder's own pooler: a module over the sequence (BERT), or a layer over the first token (ALBERT)."""
    if isinstance(encoder.pooler, torch.nn.Linear):
        pooled: torch.Tensor = encoder.pooler_activation(encoder.pooler(hidden[:, 0]))
    else:
        pooled = encoder.pooler(hidden)
    return pooled
