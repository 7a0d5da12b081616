"""Replaced token detection: a generator guesses what is masked, and the model tells its guesses from the text.

Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators" (ICLR 2020), section 2. The
model that learns, and is kept, is the discriminator; the generator is a masked language model that stands beside it. No
gradient goes through its guesses, and where its embeddings have the form of the discriminator's, they are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bertft.heads.selection import only, select

_GENERATOR = "bertft_generator"
_NOW = "bertft_corruption"
_SMALLER = 4
"""How many times wider than a new generator the discriminator is (section 3.2: two to four times work best)."""
_SIZES = ("hidden_size", "intermediate_size", "num_attention_heads")


class Corruption(NamedTuple):
    """What a generator made of a batch: its logits at the masks (1, masks, vocabulary), and the ids that were read."""

    logits: torch.Tensor
    filled: torch.Tensor
    """(windows, tokens)"""


class Asked:
    """Which tokens of the next batch are guessed, by which numbers, and then what came of it."""

    def __init__(self, wanted: torch.Tensor, draws: torch.Tensor) -> None:
        self.wanted, self.draws = wanted, draws
        self._found: Corruption | None = None

    @property
    def corruption(self) -> Corruption:
        """What the generator made of the batch, once the model has run."""
        if self._found is None:
            raise RuntimeError("the model has not run")
        return self._found

    def answer(self, found: Corruption) -> None:
        """Keep what the generator made of the batch."""
        self._found = found


def new_generator(config: Any) -> Any:
    """Return a masked language model of the discriminator's kind, a quarter as wide, with random weights."""
    import copy

    from transformers import AutoModelForMaskedLM

    smaller = copy.deepcopy(config)
    for name in _SIZES:
        setattr(smaller, name, max(1, getattr(config, name) // _SMALLER))
    return AutoModelForMaskedLM.from_config(smaller, dtype=torch.float32)


def attach(model: Any, generator: Any) -> bool:
    """Put the generator beside the model: in `corrupted`, the model reads its guesses. Say whether they share weights.

    Raises ValueError where the generator has another vocabulary.
    """
    own, other = model.base_model, generator.base_model
    if own.config.vocab_size != other.config.vocab_size:
        raise ValueError(f"a vocabulary of {other.config.vocab_size:,} tokens, and not of {own.config.vocab_size:,}")
    shared = _sizes(own.embeddings) == _sizes(other.embeddings)
    if shared:
        other.embeddings = own.embeddings
        generator.tie_weights()
        # of weights that are the same, a checkpoint has one: these are left out, and need not be read
        same = (f"{generator.base_model_prefix}.embeddings.{name}" for name, _ in own.embeddings.named_parameters())
        generator._tied_weights_keys = {**generator._tied_weights_keys, **{name: name for name in same}}
    select(generator)
    setattr(model, _GENERATOR, generator)
    setattr(model, _NOW, None)

    def corrupt(_module: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        asked: Asked | None = getattr(model, _NOW)
        if asked is None:
            return None
        ids = named.pop("input_ids", None)
        if ids is None:
            ids, args = args[0], args[1:]
        with only(generator, asked.wanted):
            logits = generator(input_ids=ids, attention_mask=named["attention_mask"], **_segments(named)).logits
        guesses = drawn(logits[0].detach(), asked.draws)
        filled = ids.flatten().scatter(0, asked.wanted, guesses).view_as(ids)
        asked.answer(Corruption(logits, filled))
        return args, {**named, "input_ids": filled}

    own.register_forward_pre_hook(corrupt, with_kwargs=True)
    return shared


def detects(model: Any) -> bool:
    """Say whether a model has a generator beside it."""
    return hasattr(model, _GENERATOR)


def save(model: Any, directory: Path) -> None:
    """Write the generator of a model, if it has one, as a plain transformers model."""
    if detects(model):
        generator = getattr(model, _GENERATOR)
        generator.save_pretrained(directory)


def is_of_generator(name: str) -> bool:
    """Say whether a weight of a model is the generator's, by its name."""
    return name.startswith(f"{_GENERATOR}.")


@contextmanager
def corrupted(model: Any, wanted: torch.Tensor, draws: torch.Tensor) -> Iterator[Asked]:
    """Let the model read a generator's guesses, drawn by `draws`, at the tokens that stand at `wanted`, row after row.

    Both are (wanted,). What is yielded has, after the model has run, what came of it.
    """
    asked = Asked(wanted, draws)
    setattr(model, _NOW, asked)
    try:
        yield asked
    finally:
        setattr(model, _NOW, None)


def drawn(logits: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Return a token for each row of `logits` (n, vocabulary), by a number from 0 to 1 of `draws` (n,).

    It is the first up to which the probabilities add up to more than the number.
    """
    sums = torch.softmax(logits.double(), dim=-1).cumsum(dim=-1)
    return (sums <= draws.double().unsqueeze(1)).sum(dim=-1).clamp(max=logits.shape[1] - 1)


def _segments(named: dict[str, Any]) -> dict[str, Any]:
    return {key: named[key] for key in ("token_type_ids",) if named.get(key) is not None}


def _sizes(module: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in module.named_parameters()}
