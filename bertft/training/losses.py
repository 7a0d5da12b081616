"""The losses: logits and targets in, one number out. Sums over what is counted, divided by how many there are.

Transformers' Trainer counts the entries of `labels` that are not -100 over all micro-batches and processes of a step,
and hands that number in, so a step's gradient is the same however it is cut into micro-batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from bertft.tasks.base import IGNORED, Objective, OverWindows


def targets(objective: Objective, values: Sequence[Any]) -> torch.Tensor:
    """Return the targets of a batch as one tensor.

    (windows, tokens) label ids for tokens; (examples,) label ids or values; (examples, labels) zeros and ones;
    (windows, 2) start and end tokens.
    """
    if objective.per_token:
        longest = max(map(len, values))
        return torch.tensor([[*value, *[IGNORED] * (longest - len(value))] for value in values])
    floating = objective.loss in ("labels", "values")
    return torch.tensor(values, dtype=torch.float32 if floating else torch.long)


def over_windows(how: OverWindows, logits: torch.Tensor, owner: torch.Tensor, examples: int) -> torch.Tensor:
    """Return one row of logits an example (examples, labels) of those of its windows (windows, labels).

    `owner` (windows,) says whose window each one is. `first` has one window an example.
    """
    index = owner.unsqueeze(1).expand_as(logits)
    start = logits.new_zeros((examples, logits.shape[1]))
    mode = "amax" if how == "max" else "mean"
    return start.scatter_reduce(0, index, logits, mode, include_self=False)


def loss(
    objective: Objective,
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    count: torch.Tensor | int | None,
    model: Any,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the loss of a batch; `labels` are those of `targets`, `count` how many of them the whole step has.

    `logits` are (windows, tokens, labels), (examples, labels), (windows, tokens, 2) of a span head, or (1, chosen
    tokens, vocabulary), where by chance there may be none; `mask` (windows, tokens) is 0 where they are of padding.
    `model` gave them; a CRF is on it.
    """
    logits = logits.float()
    number = count if count is not None else labels.ne(IGNORED).sum()
    match objective.loss:
        case "tokens":
            total = _cross_entropy(objective, logits.flatten(0, 1), labels.flatten())
        case "classes":
            total = _cross_entropy(objective, logits, labels)
        case "spans":
            if mask is not None:
                logits = logits.masked_fill(mask.eq(0).unsqueeze(2), torch.finfo(logits.dtype).min)
            total = functional.cross_entropy(logits.transpose(1, 2).flatten(0, 1), labels.flatten(), reduction="sum")
        case "labels":
            total = _binary_cross_entropy(objective, logits, labels)
        case "values":
            total = functional.mse_loss(logits.squeeze(1), labels, reduction="sum")
        case "masked":
            total = _cross_entropy(objective, logits.flatten(0, 1), labels[labels.ne(IGNORED)])
            number = number.clamp(min=1) if isinstance(number, torch.Tensor) else max(number, 1)
        case "crf":
            total = _crf(model, logits, labels)
    return total / number


def of_replaced(
    logits: torch.Tensor,
    filled: torch.Tensor,
    labels: torch.Tensor,
    mask: torch.Tensor,
    *,
    share: float,
    count: torch.Tensor | int | None,
) -> torch.Tensor:
    """Return the loss of detecting which of the `filled` ids a generator has put there; all are (windows, tokens).

    It is the mean over all tokens, special ones too (Clark et al. 2020, "ELECTRA", section 2). How many the step has is
    known by how many are masked, the `share` of them: so the loss does not depend on how it is cut into batches.
    """
    masked = labels.ne(IGNORED)
    true = (filled.ne(labels) & masked).float()
    each = functional.binary_cross_entropy_with_logits(logits.float(), true, reduction="none") * mask
    number = torch.as_tensor(masked.sum() if count is None else count).clamp(min=1)
    return each.sum() * share / number


def of_pairs(
    logits: torch.Tensor, pairs: torch.Tensor, labels: torch.Tensor, *, count: torch.Tensor | int | None
) -> torch.Tensor:
    """Return the loss of what is told of pairs: `logits` (windows, 2), what they are `pairs` (windows,).

    A pair weighs as much as all tokens that are masked in it: the loss of a step is then the mean over its tokens and
    the mean over its pairs, one added to the other (Devlin et al. 2019, A.2), however it is cut into micro-batches.
    """
    weights = labels.ne(IGNORED).sum(1)  # (windows,)
    number = torch.as_tensor(weights.sum() if count is None else count).clamp(min=1)
    return (functional.cross_entropy(logits.float(), pairs, reduction="none") * weights).sum() / number


def _cross_entropy(objective: Objective, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the sum of cross-entropies, or of focal losses -(1 - p)^gamma log p (Lin et al. 2017, eq. 4)."""
    weights = torch.tensor(objective.weights, device=logits.device) if objective.weights else None
    if not objective.focal:
        smoothing = objective.smoothing
        return functional.cross_entropy(logits, labels, weights, reduction="sum", label_smoothing=smoothing)
    each = functional.cross_entropy(
        logits, labels, weights, reduction="none", label_smoothing=objective.smoothing
    )  # (n,)
    chance = torch.softmax(logits, dim=-1).gather(1, labels.clamp(min=0).unsqueeze(1)).squeeze(1)  # (n,)
    return (each * _power(1 - chance, objective.focal)).sum()


def _binary_cross_entropy(objective: Objective, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    weights = torch.tensor(objective.weights, device=logits.device) if objective.weights else None
    smooth = labels * (1 - objective.smoothing) + objective.smoothing / 2
    each = functional.binary_cross_entropy_with_logits(logits, smooth, pos_weight=weights, reduction="none")
    if objective.focal:
        chance = torch.sigmoid(logits)
        each = each * _power(labels * (1 - chance) + (1 - labels) * chance, objective.focal)
    return each.sum()


def _power(base: torch.Tensor, gamma: float) -> torch.Tensor:
    """Return base ^ gamma with the gradient 0 where the base is 0: for gamma < 1 it is infinite there."""
    return base.clamp(min=torch.finfo(base.dtype).tiny) ** gamma


def _crf(model: Any, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the sum of negative log-likelihoods over the words, which stand at the tokens that have a label."""
    known = labels != IGNORED  # (windows, tokens)
    longest = int(known.sum(1).max())
    order = known.int().argsort(dim=1, descending=True, stable=True)[:, :longest]  # (windows, words): words first
    mask = known.gather(1, order)
    emissions = logits.gather(1, order.unsqueeze(2).expand(-1, -1, logits.shape[2]))  # (windows, words, labels)
    total: torch.Tensor = model.bertft_crf.negative_log_likelihood(
        emissions, labels.gather(1, order).clamp(min=0), mask
    ).sum()
    return total
