"""Replaced token detection: a generator guesses what is masked, and the model tells its guesses from the text.

Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators" (ICLR 2020), section 2. The
model that learns, and is kept, is the discriminator; the generator is a masked language model that stands beside it. No
gradient goes through its guesses, and a new one shares the discriminator's embeddings.
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
_AT_ONCE = 256
"""Rows of logits that are drawn from together: the sums of all of a large batch would take more than the logits."""
_PARTS = 2**30
"""Probabilities are counted in so many parts of 1: their sums fit into 31 bits."""


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
    """Return a masked language model of the discriminator's kind, about a quarter as wide, with random weights."""
    import copy

    from transformers import AutoModelForMaskedLM

    smaller = copy.deepcopy(config)
    smaller.num_attention_heads = max(1, config.num_attention_heads // _SMALLER)
    wide = max(1, config.hidden_size // (_SMALLER * smaller.num_attention_heads))
    smaller.hidden_size = wide * smaller.num_attention_heads
    smaller.intermediate_size = max(1, config.intermediate_size // _SMALLER)
    return AutoModelForMaskedLM.from_config(smaller, dtype=torch.float32)


def attach(model: Any, generator: Any, *, share: bool) -> bool:
    """Put the generator beside the model: in `corrupted`, the model reads its guesses. Say whether they share weights.

    Their embeddings become the same ones with `share`, and where they are equal already, as those of a pair that was
    trained together. Raises ValueError where the generator has another vocabulary.
    """
    own, other = model.base_model, generator.base_model
    if own.config.vocab_size != other.config.vocab_size:
        raise ValueError(f"a vocabulary of {other.config.vocab_size:,} tokens, and not of {own.config.vocab_size:,}")
    shared = share or _are_equal(getattr(own, "embeddings", None), getattr(other, "embeddings", None))
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


def generator_of(model: Any) -> Any:
    """Return the generator beside a model, None where it has none."""
    return getattr(model, _GENERATOR, None)


def size(model: Any) -> int:
    """Return the number of a model's own parameters, without a generator's."""
    return sum(value.numel() for name, value in model.named_parameters() if not is_of_generator(name))


def detects(model: Any) -> bool:
    """Say whether a model has a generator beside it."""
    return generator_of(model) is not None


def save(model: Any, directory: Path) -> None:
    """Write the generator of a model, if it has one, as a plain transformers model."""
    if detects(model):
        generator_of(model).save_pretrained(directory)


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
    """Return a token for each row of `logits` (n, vocabulary), by a number from 0 to below 1 of `draws` (n,).

    It is the first up to which the probabilities add up to more than the number; those below 2^-30 count as 0.
    """
    if torch.compiler.is_exporting() or len(logits) <= _AT_ONCE:
        return _drawn(logits, draws)
    pairs = zip(logits.split(_AT_ONCE), draws.split(_AT_ONCE), strict=True)
    return torch.cat([_drawn(some, numbers) for some, numbers in pairs])


def _drawn(logits: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    # sums of integers are exact, and the same on every device
    parts = (torch.softmax(logits.float(), dim=-1) * _PARTS).to(torch.int64)
    sums = parts.cumsum(dim=-1)  # (n, vocabulary)
    upto = (draws.unsqueeze(1) * sums[:, -1:]).to(torch.int64)  # (n, 1)
    return (sums <= upto).sum(dim=-1).clamp(max=logits.shape[1] - 1)


def _are_equal(one: torch.nn.Module | None, other: torch.nn.Module | None) -> bool:
    """Say whether two modules have the same weights, by name and value."""
    if one is None or other is None:
        return False
    own, others = (dict(module.named_parameters()) for module in (one, other))
    return own.keys() == others.keys() and all(
        value.shape == others[name].shape and torch.equal(value, others[name]) for name, value in own.items()
    )


def _segments(named: dict[str, Any]) -> dict[str, Any]:
    return {key: named[key] for key in ("token_type_ids",) if named.get(key) is not None}
