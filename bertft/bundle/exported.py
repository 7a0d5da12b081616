"""What `bertft export` leaves in a bundle: graphs, and how they ran fastest where they were exported.

    MODEL/onnx/model.onnx      fp32, for any engine        MODEL/onnx/int8.xml, int8.bin     for OpenVINO
    MODEL/onnx/decoding.safetensors   a CRF's scores       MODEL/onnx/export.json            this file's dataclass

It is read where neither torch nor transformers is installed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from bertft.errors import ModelError
from bertft.tasks.base import Parameters

EngineName = Literal["openvino", "onnxruntime"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
Dtype = Literal["fp32", "bf16", "int8"]

FOLDER = "onnx"
GRAPHS: dict[Dtype, str] = {"fp32": "model.onnx", "bf16": "model.onnx", "int8": "int8.xml"}
"""The file that is run in each precision: bf16 is made of fp32 as it is loaded."""
_MANIFEST = "export.json"
_PARAMETERS = "decoding.safetensors"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Export:
    """The exported graphs of a bundle: the engine and precision that were chosen, and what the graphs take."""

    directory: Path
    engine: EngineName
    dtype: Dtype
    segments: bool
    """Whether `token_type_ids` are among the inputs."""
    measured: Sequence[dict[str, Any]] = ()
    """Each candidate's engine, precision, tokens a second and, where there were data, score."""

    def parameters(self) -> Parameters:
        """Return the weights that decoding needs; empty for most heads."""
        path = self.directory / _PARAMETERS
        if not path.is_file():
            return {}
        from safetensors.numpy import load_file

        found: Parameters = load_file(path)
        return found

    def save(self, parameters: Parameters) -> None:
        """Write the description, and the weights that decoding needs, beside the graphs."""
        if parameters:
            from safetensors.numpy import save_file

            save_file(dict(parameters), self.directory / _PARAMETERS)
        stored = {"format": _FORMAT, **{k: v for k, v in asdict(self).items() if k != "directory"}}
        (self.directory / _MANIFEST).write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")


def read(model: Path) -> Export | None:
    """Return the export of a bundle, None where there is none; raises ModelError where it is damaged."""
    path = model / FOLDER / _MANIFEST
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        found = Export(
            path.parent, stored["engine"], stored["dtype"], bool(stored["segments"]), tuple(stored["measured"])
        )
        if stored["format"] > _FORMAT or found.engine not in ENGINES or found.dtype not in GRAPHS:
            raise ValueError("it is of another version")
        if not (path.parent / GRAPHS[found.dtype]).is_file():
            raise ValueError(f"{GRAPHS[found.dtype]} is missing")
    except (OSError, ValueError, KeyError, TypeError) as error:
        advice = "`bertft export` makes it anew, `--backend torch` does without"
        raise ModelError(f"the export is damaged: {error}", place=path, help=advice) from None
    return found


def installed() -> list[EngineName]:
    """Return the engines that this machine has."""
    return [name for name in ENGINES if find_spec(name) is not None]
