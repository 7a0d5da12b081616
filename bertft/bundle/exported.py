"""What `bertft export` leaves in a bundle: graphs, and how they ran fastest where they were exported.

    MODEL/onnx/model.onnx      fp32, for any engine        MODEL/onnx/int8.xml, int8.bin     for OpenVINO
    MODEL/onnx/….blob          compiled, to start quickly  MODEL/onnx/decoding.safetensors   a CRF's scores
    MODEL/onnx/export.json     which of them is run

It is read where neither torch nor transformers is installed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
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
_WEIGHTS = (
    "model.safetensors", "bertft_head.safetensors", "adapter/adapter_model.safetensors", "generator/model.safetensors",
)  # fmt: skip
_FORMAT = 1
_SAMPLES, _SAMPLE_BYTES = 64, 4096


@dataclass(frozen=True, slots=True)
class Export:
    """The exported graphs of a bundle: the engine and precision that were chosen, and what the graphs take."""

    directory: Path
    engine: EngineName
    dtype: Dtype
    decoding: Sequence[str] = ()
    """The names of the weights that decoding needs; most heads need none."""
    measured: Sequence[dict[str, Any]] = ()
    """Each candidate's engine, precision, tokens a second and, where there were data, score."""

    def parameters(self) -> Parameters:
        """Return the weights that decoding needs; raises ModelError where they are not there."""
        if not self.decoding:
            return {}
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = self.directory / _PARAMETERS
        try:
            found: Parameters = load_file(path)
        except (OSError, SafetensorError) as error:
            raise _damaged(path, str(error)) from None
        if found.keys() != {*self.decoding}:
            raise _damaged(path, f"it has not the weights {', '.join(self.decoding)}")
        return found

    def save(self, parameters: Parameters) -> None:
        """Write the description, and the weights that decoding needs, beside the graphs."""
        if parameters:
            from safetensors.numpy import save_file

            save_file(dict(parameters), self.directory / _PARAMETERS)
        stored = {
            "format": _FORMAT,
            "engine": self.engine,
            "dtype": self.dtype,
            "decoding": sorted(parameters),
            "weights": _fingerprints(self.directory.parent),
            "measured": list(self.measured),
        }
        (self.directory / _MANIFEST).write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")


def read(model: Path) -> Export | None:
    """Return the export of a bundle, None where there is none.

    Raises ModelError where it is damaged, or was made of other weights than those in the bundle.
    """
    path = model / FOLDER / _MANIFEST
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["format"] > _FORMAT:
            raise ModelError("the export was written by a newer bertft", place=path, help="`pip install -U bertft`")
        weights = dict(stored["weights"])
        found = Export(
            path.parent,
            stored["engine"],
            stored["dtype"],
            tuple(stored["decoding"]),
            tuple(stored["measured"]),
        )
        if found.engine not in ENGINES or found.dtype not in GRAPHS:
            raise ValueError(f"{found.engine} {found.dtype} is not known")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from None
    if not (path.parent / GRAPHS[found.dtype]).is_file():
        raise _damaged(path, f"{GRAPHS[found.dtype]} is missing")
    # a machine that only predicts need not have the weights
    if any(weights.get(name) != value for name, value in _fingerprints(model).items()):
        advice = f"`bertft export {model} --overwrite` exports these, `--backend torch` runs them as they are"
        raise ModelError("the export was made of other weights", place=path, help=advice)
    return found


def _damaged(path: Path, fact: str) -> ModelError:
    advice = "`bertft export … --overwrite` makes it anew, `--backend torch` does without"
    return ModelError(f"the export is damaged: {fact}", place=path, help=advice)


def _fingerprints(model: Path) -> dict[str, str]:
    """Return the fingerprint of each file of weights that is there."""
    return {name: fingerprint(model / name) for name in _WEIGHTS if (model / name).is_file()}


def fingerprint(path: Path) -> str:
    """Return a hash of a file of weights: of its size and of blocks spread over it.

    Training changes every block of them; to hash all would take longer than all else at the start.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(str(size).encode())
        for i in range(_SAMPLES):
            file.seek(size * i // _SAMPLES)
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def installed() -> list[EngineName]:
    """Return the engines that this machine has."""
    return [name for name in ENGINES if find_spec(name) is not None]


def keep_quiet() -> None:
    """Keep OpenVINO, NNCF and onnxruntime, which are imported after this, from reporting their use to their makers."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # they go on where it is missing
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
