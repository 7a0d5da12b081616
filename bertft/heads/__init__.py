"""What `AutoModelFor*` heads have not: pooling over tokens, and a CRF. Put on a model, and stored beside it.

The model stays the transformers model that it is: its class, its weights and their names are those of plain
transformers. What a head adds is registered on it under names that begin with `bertft_`, and is saved in a file of its
own, so that `from_pretrained` reads the rest where bertft is not installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bertft.errors import ModelError, first_line
from bertft.heads import replaced
from bertft.heads.crf import Crf
from bertft.heads.pooling import pool
from bertft.heads.selection import select

FILE = "bertft_head.safetensors"
_PREFIX = "bertft_"


def attach(
    model: Any,
    *,
    pooling: str,
    crf: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None,
    vocabulary: bool = False,
) -> None:
    """Put what the head needs on the model: the pooling over tokens (`cls` needs nothing) and a CRF with penalties.

    A head over the `vocabulary` is run over some tokens only.
    """
    if vocabulary:
        select(model)
    if pooling != "cls":
        pool(model, pooling)
    if crf is not None:
        model.bertft_crf = Crf(*crf).to(model.device)


def own_weights(model: Any) -> dict[str, torch.Tensor]:
    """Return the weights that `attach` added."""
    own = {name: value for name, value in model.state_dict().items() if name.startswith(_PREFIX)}
    return {name: value for name, value in own.items() if not replaced.is_of_generator(name)}


def save(model: Any, directory: Path, state: Mapping[str, torch.Tensor] | None = None) -> None:
    """Write a model: plain transformers files, and `FILE` where a head has weights of its own.

    `state` has the weights, where they are not those of the model's own `state_dict`.
    """
    from safetensors.torch import save_file

    own = own_weights(model)
    given = model.state_dict() if state is None else state
    model.save_pretrained(directory, state_dict={k: v for k, v in given.items() if not k.startswith(_PREFIX)})
    if own:
        save_file({name: value.cpu().contiguous() for name, value in own.items()}, directory / FILE)


def load_own(model: Any, directory: Path) -> bool:
    """Load what `save` wrote into `FILE`; say whether all of the head's own weights were there.

    Raises ModelError for a damaged file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    wanted = own_weights(model)
    if not wanted:
        return True
    path = directory / FILE
    try:
        found: Mapping[str, torch.Tensor] = load_file(path) if path.is_file() else {}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"the file is damaged: {first_line(error)}", place=path) from None
    if {name: value.shape for name, value in found.items()} != {name: value.shape for name, value in wanted.items()}:
        return False
    model.load_state_dict(found, strict=False)
    return True


def decoding_parameters(model: Any) -> dict[str, npt.NDArray[np.float32]]:
    """Return the weights that decoding needs: those of a CRF."""
    crf = getattr(model, "bertft_crf", None)
    return crf.arrays() if crf is not None else {}
