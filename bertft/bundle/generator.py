"""The generator of a model that detects replaced tokens (`heads/replaced.py`): found, held against it, put beside it.

It is stored in a folder of its own in the model's directory, as a plain transformers model without a tokenizer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bertft.console import detail, say
from bertft.encoders import adapters, here, load, stored
from bertft.encoders.families import max_positions
from bertft.encoders.load import Checkpoint
from bertft.encoders.subwords import SubwordTokenizer
from bertft.errors import ModelError, UsageError, inline
from bertft.recipe import Recipe
from bertft.tasks.base import Head

FOLDER = "generator"
FILES = ("config.json", "model.safetensors")


def check(head: Head, recipe: Recipe, tokenizer: SubwordTokenizer, *, allow_pickle: bool = False) -> None:
    """Raise UsageError where a model cannot be trained with the generator that its head asks for, if it does.

    Its tokens must be those of `tokenizer`; one that was stored beside a model has no tokenizer to look at. Raises
    ModelError where there is no such model.
    """
    if head.generator is None:
        return
    if recipe.peft:
        fact = "peft: two models learn to replace tokens and to detect it, and all their weights do"
        raise UsageError(fact, help="leave it out, or train another objective")
    if not (name := head.generator):
        return
    checkpoint = load.resolve(name, allow_pickle=allow_pickle)
    if checkpoint.is_directory and not list(Path(checkpoint.location).glob("tokenizer*.json")):
        return
    own = stored.read(checkpoint, presplit=False).subwords
    if differs := tokenizer.difference(own):
        raise UsageError(
            f"options.generator: {inline(name)} cuts text into other tokens than the encoder: {differs}",
            help="name a masked language model with the encoder's vocabulary, or none: a new one is made",
        )


def stands_in(directory: Path) -> bool:
    """Say whether a model's directory has a generator."""
    return all((directory / FOLDER / name).is_file() for name in FILES)


def put_beside(model: Any, checkpoint: Checkpoint, name: str) -> None:
    """Put a generator beside a model: the one called `name`, else the stored one of its checkpoint, else a new one.

    Raises ModelError for one that is no masked language model of the same vocabulary and length.
    """
    from bertft.heads import replaced

    folder = Path(checkpoint.location) / FOLDER
    fresh = not name and not (checkpoint.is_directory and folder.is_dir())
    if fresh:
        generator, shown = replaced.new_generator(model.config), "a new one"
    else:
        where = load.resolve(name or str(folder), allow_pickle=checkpoint.allow_pickle)
        generator, shown = _loaded(where, model), where.name
    try:
        shared = replaced.attach(model, generator, share=fresh)
    except ValueError as error:
        raise ModelError(f"the generator has {error}", place=shown) from None
    size = f"{generator.num_parameters() / 1e6:.3g} M parameters"
    (say if fresh or name else detail)(
        f"generator: {inline(shown)}, {size}, embeddings {'shared' if shared else 'of its own'}"
    )


def _loaded(where: Checkpoint, model: Any) -> Any:
    """Load a masked language model; one whose weights change it is merged, one that has a prefix is refused."""
    config = load.load_config(where)
    here.check_encoder(config, where.name)
    longest, needed = max_positions(config), max_positions(model.config)
    if longest is not None and (needed is None or longest < needed):
        fact = f"the generator reads {longest} tokens at once, and the model {needed or 'any number'}"
        raise ModelError(fact, place=where.name)
    generator, trained = load.load_model(where, "AutoModelForMaskedLM", ())
    adapters.put_own(generator, Path(where.location))
    if adapters.is_on(generator):
        raise ModelError("the generator has a prefix, which is no part of a plain model", place=where.name)
    if not trained:
        raise ModelError(
            "the generator has no trained head of masked tokens",
            place=where.name,
            help="name a masked language model, or none: a new one is made",
        )
    return generator
