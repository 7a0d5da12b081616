"""What of a model is refused before transformers reads it: pickles, code, and names of files that lie elsewhere.

In come the files of a model, out comes nothing, or a ModelError with what is wrong and the way out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bertft.encoders.known import KNOWN, has_safetensors
from bertft.errors import ModelError

CONFIG, TOKENIZER = "config.json", "tokenizer_config.json"
_ADAPTER = "adapter_config.json"
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_ENDINGS = dict(zip((CONFIG, TOKENIZER, *_INDEXES), (".safetensors", ".json", ".safetensors", ".bin"), strict=True))
"""The files that may name others, and how the names of those end."""
FILES = (*_ENDINGS, _ADAPTER)
"""What `check_names` looks at."""
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_KERNELS = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")
"""Settings that may name a repository whose code is then loaded as a part of the model."""


def is_listed(name: str) -> bool:
    """Say whether `bertft models` lists a name or Hub id: the pickles of those are taken."""
    return name in KNOWN or any(name in encoder.hub_ids for encoder in KNOWN.values())


def check_weights(directory: Path, name: str, *, allow_pickle: bool) -> None:
    """Raise ModelError for a directory whose weights are a pickle, or none but pickles of other programs."""
    if has_safetensors(directory):
        return
    pickles = sorted(path.name for path in directory.iterdir() if path.suffix in _PICKLES)
    ours = [file for file in pickles if file.startswith("pytorch_model")]
    if ours and not allow_pickle:
        raise refused_pickle(ours[0], name)
    if pickles and not ours:
        raise ModelError(
            f"there is no model.safetensors, and {pickles[0]} is a pickle, which can hold code",
            place=name,
            help="save the model with transformers' `save_pretrained`, where you trust the file",
        )


def refused_pickle(file: str, name: str) -> ModelError:
    """Return the error for weights that are a pickle."""
    return ModelError(
        f"{file} is a pickle, which can hold code",
        place=name,
        help="`--allow-pickle` reads weights from it and nothing else (weights_only=True); safer is a checkpoint with "
        "model.safetensors",
    )


def refused_code(name: str, what: str) -> ModelError:
    """Return the error for a model that cannot be loaded without running its code."""
    return ModelError(
        f"the model has code of its own ({what}); it was not run",
        place=name,
        help="bertft runs no code of a model: choose one whose architecture transformers has (`bertft models`)",
    )


def check_names(files: Iterable[Path], name: str) -> None:
    """Raise ModelError where one of the `FILES` of a model names code, another model, or a file elsewhere."""
    for path in files:
        values = _object(path, name)
        if path.name == _ADAPTER:
            fact = f"this is an adapter, whose {_ADAPTER} names another model"
            raise ModelError(fact, place=name, help="merge it into that model first: `merge_and_unload()` of peft")
        if path.name == CONFIG and (kernel := next((key for key in _KERNELS if "/" in str(values.get(key))), None)):
            raise refused_code(name, f"{kernel} {values[kernel]!r}")
        for file in _named(path.name, values):
            ending = _ENDINGS[path.name]
            if not isinstance(file, str) or Path(file).name != file or not file.endswith(ending):
                fact = f"{path.name} names {file!r:.200}, which is no {ending} file of the model's own directory"
                raise ModelError(fact, place=name, help="nothing outside a model's directory is read")


def _named(file: str, values: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the names of files that transformers would open because a file of the model says so."""
    if file in _INDEXES:
        weights = values.get("weight_map")
        yield from weights.values() if isinstance(weights, dict) else ()
    elif file == TOKENIZER:
        others = values.get("fast_tokenizer_files")
        yield from others if isinstance(others, list) else ()
    elif values.get("transformers_weights") is not None:
        yield values["transformers_weights"]


def _object(path: Path, name: str) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"cannot read {path.name}: {str(error)[:200]}", place=name) from None
    if not isinstance(values, dict):
        raise ModelError(f"cannot read {path.name}: it holds no JSON object", place=name)
    return values
