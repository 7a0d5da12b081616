"""A directory's tokenizer and configuration as its files have them: for what counts tokens and loads no weights.

transformers takes seconds to import, and brings torch. What it would change about a tokenizer.json beyond the prefix
space (`encoders/load.py`) is of no weight where tokens are counted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bertft.encoders import load, vetting
from bertft.encoders.load import Checkpoint
from bertft.encoders.subwords import SubwordTokenizer, splits_words, with_prefix_space
from bertft.errors import ModelError, first_line

_FILE = "tokenizer.json"


@dataclass(frozen=True, slots=True)
class Stored:
    """A tokenizer, the longest input, and the values of config.json."""

    subwords: SubwordTokenizer
    max_length: int
    config: Mapping[str, Any]

    @property
    def settings(self) -> Any:
        """The configuration with its values as attributes, as transformers has them."""
        return _as_settings(self.config)


def read(checkpoint: Checkpoint, *, presplit: bool) -> Stored:
    """Read a checkpoint's tokenizer and configuration, through transformers only where its files are not enough.

    Raises ModelError for what is missing, damaged, or names files elsewhere.
    """
    directory = Path(checkpoint.location)
    if not (checkpoint.is_directory and (directory / _FILE).is_file()):
        config = load.load_config(checkpoint)
        tokenizer = load.load_tokenizer(checkpoint, config, presplit=presplit)
        return Stored(tokenizer.subwords, tokenizer.max_length, config.to_dict())
    vetting.check_names((path for name in vetting.FILES if (path := directory / name).is_file()), checkpoint.name)
    from tokenizers import Tokenizer

    try:
        backend = Tokenizer.from_file(str(directory / _FILE))
    except Exception as error:  # of Rust, without a type of its own
        raise ModelError(f"cannot read {_FILE}: {first_line(error)}", place=checkpoint.name) from None
    config = _values(directory / vetting.CONFIG)
    stated = _values(directory / vetting.TOKENIZER)
    backend.no_truncation()
    backend.no_padding()
    if presplit and not splits_words(backend):
        backend = with_prefix_space(backend)
    subwords = SubwordTokenizer.of(
        backend,
        unk_token=_token(stated.get("unk_token")),
        pad_token=_token(stated.get("pad_token")),
        presplit=presplit,
    )
    longest = load.usable_length(stated.get("model_max_length"), _as_settings(config))
    return Stored(subwords, longest, config)


def settings(directory: Path) -> Any:
    """Return the values of a directory's config.json as attributes; raises ModelError for a damaged one."""
    path = directory / vetting.CONFIG
    try:
        return _as_settings(_values(path))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"cannot be read: {first_line(error)}", place=path) from None


def lower_cases(subwords: SubwordTokenizer) -> bool:
    """Say whether capitals and small letters are the same to a tokenizer."""
    first, second = subwords.encode_texts(["Rice Mark Polish", "rice mark polish"])
    return first.ids == second.ids


def _as_settings(config: Mapping[str, Any]) -> Any:
    return SimpleNamespace(**{"model_type": "", "pad_token_id": None, **config})


def _values(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    values = json.loads(path.read_text(encoding="utf-8"))  # `vetting.check_names` has read it
    return dict(values)


def _token(value: object) -> str | None:
    """Return a special token, which is written as a string or as an object with its `content`."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None
