"""How an encoder's tokens become one vector a text: what a directory of sentence-transformers says of its modules."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from bertft.encoders.load import Checkpoint
from bertft.errors import ModelError

TokenPooling = Literal["cls", "mean", "max"]

# The names that a Pooling module has had, as they stand in its config.json.
_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_PASSED = frozenset({"Transformer", "Dropout"})  # a dropout does nothing after training


@dataclass(frozen=True, slots=True)
class Sentences:
    """How vectors are made; `stated` is False where no file says so, and what stands here is the default."""

    pooling: TokenPooling = "mean"
    normalize: bool = False
    max_length: int | None = None
    """Tokens, specials included, that are read of a text; None: as many as the encoder takes."""
    stated: bool = False


def read(checkpoint: Checkpoint) -> Sentences:
    """Return what the files of a checkpoint say of its vectors.

    Raises ModelError for modules that are not known here: their vectors would be others.
    """
    directory = Path(checkpoint.location)
    if not checkpoint.is_directory or not (directory / "modules.json").is_file():
        return Sentences()
    modules = _values(directory / "modules.json", list)
    pooling: TokenPooling = "mean"
    normalize = False
    for module in modules:
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind == "Pooling":
            pooling = _pooling(directory / Path(str(module.get("path", ""))).name / "config.json", checkpoint.name)
        elif kind == "Normalize":
            normalize = True
        elif kind not in _PASSED:
            raise ModelError(
                f"its vectors are made with a module of {kind}, which is not known here",
                place=checkpoint.name,
                help="sentence-transformers reads it; `--pooling` takes the encoder alone",
            )
    limit = None
    if (settings := directory / "sentence_bert_config.json").is_file():
        limit = _values(settings, dict).get("max_seq_length")
    return Sentences(pooling, normalize, limit if isinstance(limit, int) and limit > 0 else None, True)


def _pooling(path: Path, name: str) -> TokenPooling:
    stated = _values(path, dict)
    mode: Any = stated.get("pooling_mode") or [value for key, value in _POOLINGS.items() if stated.get(key)] or "mean"
    modes = [mode] if isinstance(mode, str) else list(mode)
    for known in get_args(TokenPooling):
        if modes == [known]:
            found: TokenPooling = known
            return found
    fact = (
        f"its tokens are pooled by {' and '.join(map(str, modes))}; known here are {', '.join(get_args(TokenPooling))}"
    )
    raise ModelError(fact, place=name, help="sentence-transformers reads it")


def _values(path: Path, kind: type) -> Any:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"cannot be read: {error}", place=path) from None
    entries = found if isinstance(found, list) else []
    if not isinstance(found, kind) or not all(isinstance(entry, dict) for entry in entries):
        raise ModelError("is not what sentence-transformers writes", place=path)
    return found
