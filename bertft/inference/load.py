"""Make a bundle an engine: choose what runs it (an exported graph, else torch), and load that.

Torch is imported only where it runs the model.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from bertft.bundle import exported
from bertft.bundle.exported import ENGINES, Dtype, EngineName, Export
from bertft.bundle.store import Bundle
from bertft.console import say
from bertft.errors import ModelError, UsageError
from bertft.inference.engine import BATCH_TOKENS, Backend, Engine

_EXPORT = "`bertft export` the model where there is one, and install openvino or onnxruntime here"

BackendName = Literal["auto", "torch", "openvino", "onnxruntime"]


def engine(
    bundle: Bundle, *, device: str = "auto", batch_tokens: int | None = None, backend: BackendName = "auto"
) -> Engine:
    """Load the weights and return the engine.

    `auto` runs what `bertft export` has left in the bundle, by the engine that it chose, or another that is installed;
    without an export, or on a device that is named and no CPU, torch runs the model.

    Raises ModelError, or UsageError for a device or a backend that is not there.
    """
    if batch_tokens is not None and batch_tokens < 1:
        raise UsageError(f"--batch-tokens {batch_tokens}: a batch holds at least one token")
    here = backend != "torch" and bundle.checkpoint.is_directory
    found = exported.read(Path(bundle.checkpoint.location)) if here else None
    chosen = _chosen(bundle, found, backend, device)
    if chosen is not None and found is not None:
        loaded: Backend = load_export(found, *chosen, bundle.tokenizer.pad)
        say(f"using {' '.join(chosen)}, exported")
    else:
        if find_spec("torch") is None:
            raise ModelError("there is no torch to run the model with", help=f"`pip install torch`, or {_EXPORT}")
        from bertft.inference.pytorch import TorchBackend, choose_device, describe

        where = choose_device(device)
        loaded = TorchBackend(bundle.load_model().to(where), bundle.tokenizer.pad)
        say(f"using {describe(where, 'fp32')}")
    return Engine(bundle.task, bundle.tokenizer, bundle.window, loaded, batch_tokens or BATCH_TOKENS)


def load_export(export: Export, engine: EngineName, dtype: Dtype, pad: int) -> Backend:
    """Load an exported graph into an engine; raises ModelError where it cannot be read."""
    if engine == "openvino":
        from bertft.inference.openvino import OpenVinoBackend

        return OpenVinoBackend.load(export, dtype, pad)
    from bertft.inference.onnxruntime import OnnxruntimeBackend

    return OnnxruntimeBackend.load(export, pad)


def _chosen(bundle: Bundle, found: Export | None, backend: BackendName, device: str) -> tuple[EngineName, Dtype] | None:
    """Return the engine and the precision that run the export; None for torch."""
    name = bundle.checkpoint.name
    if backend == "torch" or (backend == "auto" and (found is None or device not in ("auto", "cpu"))):
        return None
    if found is None:
        raise ModelError(f"{name!r} is not exported", help=f"`bertft export {name}` does it")
    if device not in ("auto", "cpu"):
        raise UsageError(f"--device {device}: {backend} runs on the CPU here", help="`--backend torch` runs there")
    there = exported.installed()
    order = [found.engine, *ENGINES] if backend == "auto" else [backend]
    engine = next((one for one in order if one in there), None)
    if engine is not None:
        return engine, found.dtype if engine == found.engine else "fp32"
    if backend == "auto":
        return None
    raise UsageError(f"--backend {backend}: it is not installed", help=f"`pip install {backend}`")
