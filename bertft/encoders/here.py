"""The encoders on this machine: the embedded one, and what lies in the local Hub cache. No network is asked."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bertft.encoders import embedded, load
from bertft.encoders.known import KNOWN, cached
from bertft.encoders.load import Checkpoint
from bertft.errors import ModelError, did_you_mean

_PREFIX = "models--"


def names() -> list[str]:
    """Return what `--model` takes of all that is here: `embedded`, then the cached, by short name or Hub id.

    Models that are cached in part are among them; `checkpoint` says so.
    """
    from huggingface_hub import constants

    short = {hub_id: name for name, encoder in KNOWN.items() for hub_id in encoder.hub_ids}
    folder = Path(constants.HF_HUB_CACHE)
    found = sorted(path.name for path in folder.glob(f"{_PREFIX}*")) if folder.is_dir() else []
    ids = (name.removeprefix(_PREFIX).replace("--", "/") for name in found)
    return list(dict.fromkeys([embedded.NAME, *(short.get(hub_id, hub_id) for hub_id in ids)]))


def checkpoint(name: str, *, allow_pickle: bool = False) -> Checkpoint:
    """Return where an encoder is on this machine; raises ModelError where it is not, or not whole."""
    found = load.resolve(name, allow_pickle=allow_pickle)
    if found.is_directory:
        return found
    hub_id = found.location
    if _is_cached(hub_id) and cached(hub_id) is None:
        raise ModelError("the Hub cache has a part of it, without config.json and weights", place=name)
    near = None if name in KNOWN else did_you_mean(name, KNOWN)
    raise ModelError("it is not on this machine", place=name, help=near or f"`hf download {hub_id}` brings it here")


def _is_cached(hub_id: str) -> bool:
    from huggingface_hub import constants

    return os.path.isdir(Path(constants.HF_HUB_CACHE) / f"{_PREFIX}{hub_id.replace('/', '--')}")


def check_encoder(config: Any, name: str) -> None:
    """Raise ModelError for a model that is none of the encoders: one that reads to the left only, or that writes."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED

    other = getattr(config, "is_encoder_decoder", False) or getattr(config, "is_decoder", False)
    if other or config.model_type not in MASKED:
        raise ModelError(f"{config.model_type} is no encoder that reads a text as a whole", place=name)


def parameters(checkpoint: Checkpoint) -> int | None:
    """Return how many weights the files of a checkpoint hold; None where that is not written in them."""
    if checkpoint.files is None:
        return None
    counts = [_counted(path) for path in checkpoint.files.glob("model*.safetensors")]
    return sum(counts) or None


def _counted(path: Path) -> int:
    """Return the number of weights in a safetensors file, by its header."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return sum(math.prod(shape) for shape in _shapes(header))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, MemoryError, OverflowError):
        return 0  # loading it says what is wrong


def _shapes(header: dict[str, Any]) -> Iterator[list[int]]:
    return (value["shape"] for name, value in header.items() if name != "__metadata__")
