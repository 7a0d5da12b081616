"""The recipe's numbers: what fine-tuning is known to work with, and what a run will take.

Known to work: rates of 2e-5 to 5e-5, batches of 16 and 32, 2 to 4 epochs (Devlin et al. 2019, "BERT", A.3); 1e-5 to
3e-5 (Liu et al. 2019, "RoBERTa", table 10); 3e-4 for ELECTRA-small, 10 epochs (Clark et al. 2020, appendix B); up to 20
epochs on little data, a tenth of it warm-up (Mosbach et al. 2021, "On the Stability of Fine-tuning BERT", section 6).
A rate may grow with the root of the batch (Malladi et al. 2022), as bertft's own do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bertft.check.findings import Finding, Severity, finding

RATES = (5e-6, 5e-4)
"""Somewhat wider than what is published."""
ADAPTER_RATES = (5e-5, 3e-2)
"""Of LoRA, (IA)^3 and prefixes: 2e-4 to 5e-4 (Hu et al. 2022, table 9), 3e-3 (Liu et al. 2022, section 3.5), and 5e-3
to 3e-2 (P-tuning v2's scripts)."""
_USUAL_BATCH = 32
_EPOCHS = (1, 20)
_STEPS, _FEW_STEPS = 30, 100
_MOST_BATCH = 256
_WARMUP = 0.5
_FEW_ROWS, _SOME_ROWS = 20, 100
# Measured (README, "How fast"): 2,877 tokens a second in training on two cores with bf16, 10.6 M parameters a token.
_RATE = 2_877 * 10.6e6
# fp32 weights, gradients and Adam's two moments (Rajbhandari et al. 2020, "ZeRO", section 3.1, without fp16's copies).
_BYTES = 16
# A layer's activations are 34 values a token and dimension (Korthikanti et al. 2022, equation 1, in 16 bits: 34 bytes).
_ACTIVATION_BYTES = 34


@dataclass(frozen=True, slots=True)
class Size:
    """What a run trains on: rows, windows, tokens of an epoch (windows' overlaps counted), and rows of a batch."""

    rows: int
    tokens: int
    batch: float
    """Examples, on average."""
    batch_tokens: int


@dataclass(frozen=True, slots=True)
class Parameters:
    """An encoder's weights: in its embeddings, and in its layers, which every token is multiplied with."""

    embeddings: int
    layers: int
    width: int
    depth: int


def parameters(config: Mapping[str, Any]) -> Parameters | None:
    """Return the parameters that a configuration stands for, biases and norms aside; None where it does not say."""

    def first(*names: str) -> int | None:
        return next((value for name in names if isinstance(value := config.get(name), int)), None)

    width, depth = first("hidden_size", "dim", "d_model"), first("num_hidden_layers", "n_layers")
    inner, vocabulary = first("intermediate_size", "hidden_dim"), first("vocab_size")
    if not (width and depth and inner and vocabulary):
        return None
    rows = vocabulary + (first("max_position_embeddings") or 0)
    layers = depth * (4 * width * width + 2 * width * inner)
    return Parameters(rows * (first("embedding_size") or width), layers, width, depth)


def check_settings(
    trainer: Mapping[str, Any],
    size: Size,
    *,
    rate: float,
    encoder: Parameters | None,
    path: str,
    usual: tuple[float, float] = RATES,
) -> list[Finding]:
    """Return what about the settings is out of the ordinary, and a note of what the run will take."""
    epochs, given = float(trainer.get("num_train_epochs", 3)), int(trainer.get("max_steps", -1))
    accumulated = int(trainer.get("gradient_accumulation_steps", 1))
    batch = size.batch * accumulated
    an_epoch = max(1, math.ceil(size.rows / max(batch, 1)))
    steps = given if given > 0 else math.ceil(an_epoch * epochs)
    found = []
    scale = math.sqrt(max(batch, _USUAL_BATCH) / _USUAL_BATCH)
    if not usual[0] <= rate <= usual[1] * scale:
        high = rate > usual[1]
        message = f"trainer.learning_rate {rate:g} is {'higher' if high else 'lower'} than what is known to work, "
        message += f"{usual[0]:g} to {usual[1] * scale:.2g}"
        found.append(finding("train-rate", "warning", message))
    if given <= 0 and not _EPOCHS[0] <= epochs <= _EPOCHS[1]:
        message = f"trainer.num_train_epochs {epochs:g}: {'less than 1' if epochs < 1 else 'more than 20'}"
        found.append(finding("train-epochs", "warning", message))
    if steps < _FEW_STEPS:
        message = f"{steps:,} steps of {batch:.0f} rows"
        found.append(finding("train-steps", "warning" if steps < _STEPS else "note", message))
    if batch > _MOST_BATCH or batch <= 1:
        found.append(finding("train-batch", "warning", f"a batch has {batch:,.0f} row{'s' * (batch > 1)}"))
    warmup = float(trainer.get("warmup_steps") or 0)
    warm = warmup * steps if warmup < 1 else warmup
    if warm > _WARMUP * steps:
        longer = warm >= steps
        message = (
            f"the warm-up of {warm:,.0f} steps is {'longer than' if longer else 'most of'} the training of {steps:,}"
        )
        found.append(finding("train-warmup", "error" if longer else "warning", message))
    if size.rows < _SOME_ROWS:
        severity: Severity = "warning" if size.rows < _FEW_ROWS else "note"
        message = f"train has {size.rows:,} rows"
        found.append(finding("train-few", severity, message, at=path))
    if encoder is not None:
        found.append(_cost(size, encoder, tokens=size.tokens * steps / an_epoch, steps=steps))
    return found


def _cost(size: Size, encoder: Parameters, *, tokens: float, steps: int) -> Finding:
    minutes = tokens * encoder.layers / _RATE / 60
    weights = _BYTES * (encoder.embeddings + encoder.layers)
    activations = _ACTIVATION_BYTES * encoder.width * encoder.depth * size.batch_tokens
    total = encoder.embeddings + encoder.layers
    message = (
        f"about {_time(minutes)} on two CPU cores, and {(weights + activations) / 2**30:.1f} GB besides the program's "
    )
    message += f"own: {tokens:,.0f} tokens in {steps:,} steps, {total / 1e6:.0f} M parameters by config.json; rough, "
    message += "scaled from a measured run with bf16 (without it twice as long, on a GPU a small part of it)"
    return finding("train-cost", "note", message)


def _time(minutes: float) -> str:
    if minutes < 1.5:
        return "a minute"
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
