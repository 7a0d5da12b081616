"""Make a bundle an engine: choose what runs it (an exported graph, else torch), and load that.

Torch is imported only where it runs the model.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from bertft.bundle import exported
from bertft.bundle.exported import ENGINES, Dtype, EngineName, Export
from bertft.bundle.store import Bundle
from bertft.console import say
from bertft.encoders.subwords import SubwordTokenizer
from bertft.errors import ModelError, UsageError
from bertft.inference.engine import BATCH_TOKENS, Backend, Engine
from bertft.tasks.base import Task, WindowSize

_EXPORT = "`bertft export` the model where there is one, and install openvino or onnxruntime here"

BackendName = Literal["auto", "torch", "openvino", "onnxruntime"]
Precision = Literal["auto", "fp32", "bf16"]


def engine(
    bundle: Bundle,
    *,
    device: str = "auto",
    batch_tokens: int | None = None,
    backend: BackendName = "auto",
    precision: Precision = "auto",
    measuring: bool = False,
) -> Engine:
    """Load the weights and return the engine.

    The backend `auto` runs what `bertft export` has left in the bundle, by the engine that it chose, or another that is
    installed; without an export, or on a device that is named and no CPU, torch runs the model.

    The precision `auto` is the export's. Of torch it is bf16 where the device multiplies it in hardware and the model
    is large enough to gain from that, but fp32 when `measuring`: then the digits are those that training has seen.

    Raises ModelError, or UsageError for a device, a backend or a precision that is not there.
    """
    if batch_tokens is not None and batch_tokens < 1:
        raise UsageError(f"--batch-tokens {batch_tokens}: a batch holds at least one token")
    found = _export(bundle, backend, device)
    if found is None:
        if find_spec("torch") is None:
            raise ModelError("there is no torch to run the model with", help=f"`pip install torch`, or {_EXPORT}")
        from bertft.inference.pytorch import choose_device

        choose_device(device)  # what is not there is said before weights are loaded
        if measuring and precision == "auto":
            precision = "fp32"
        given = (bundle.task, bundle.tokenizer, bundle.window, bundle.load_model())
        return in_torch(*given, device=device, precision=precision, batch_tokens=batch_tokens)
    engine, dtype = _engine(found, backend, precision)
    loaded = load_export(found, engine, dtype, bundle.tokenizer.pad)
    say(f"using cpu, {engine}, {dtype}, exported")
    size = batch_tokens or BATCH_TOKENS["cpu"]
    return Engine(bundle.task, bundle.tokenizer, bundle.window, loaded, size, f"cpu, {engine}, {dtype}")


def in_torch(
    task: Task[Any, Any, Any],
    tokenizer: SubwordTokenizer,
    window: WindowSize,
    model: Any,
    *,
    device: str = "auto",
    precision: Precision = "auto",
    batch_tokens: int | None = None,
) -> Engine:
    """Return the engine of a model that torch runs; raises UsageError for a device or a precision that is not there."""
    from bertft.inference import pytorch

    where = pytorch.choose_device(device)
    model = model.to(where)
    if precision == "auto":
        precision = "bf16" if pytorch.gains_from_bf16(model.config, where) else "fp32"
    if precision == "bf16":
        model = pytorch.for_bf16(model)
    if where.type == "cpu":
        pytorch.keep_memory()
    backend = pytorch.TorchBackend(model, tokenizer.pad, precision == "bf16")
    say(f"using {pytorch.describe(where, precision)}")
    size = batch_tokens or BATCH_TOKENS[where.type]
    return Engine(task, tokenizer, window, backend, size, f"{where.type}, torch, {precision}")


def load_export(export: Export, engine: EngineName, dtype: Dtype, pad: int) -> Backend:
    """Load an exported graph into an engine; raises ModelError where it cannot be read."""
    if engine == "openvino":
        from bertft.inference.openvino import OpenVinoBackend

        return OpenVinoBackend.load(export, dtype, pad)
    from bertft.inference.onnxruntime import OnnxruntimeBackend

    return OnnxruntimeBackend.load(export, pad)


def _export(bundle: Bundle, backend: BackendName, device: str) -> Export | None:
    """Return the export where it is to be run; None where torch is."""
    asked = backend not in ("auto", "torch")
    if device not in ("auto", "cpu"):
        if asked:
            raise UsageError(f"--device {device}: {backend} runs on the CPU here", help="`--backend torch` runs there")
        return None
    if backend == "torch" or (not asked and device == "auto" and _has_gpu()):
        return None
    found = exported.read(Path(bundle.checkpoint.location)) if bundle.checkpoint.is_directory else None
    if found is None and asked:
        name = bundle.checkpoint.name
        raise ModelError(f"{name!r} is not exported", help=f"`bertft export {name}` does it")
    if asked and backend not in exported.installed():
        raise UsageError(f"--backend {backend}: it is not installed", help=f"`pip install {backend}`")
    return found if exported.installed() else None


def _engine(found: Export, backend: BackendName, precision: Precision) -> tuple[EngineName, Dtype]:
    """Return the engine and the precision that run an export: those that were chosen, where the engine is there."""
    order = [found.engine, *ENGINES] if backend == "auto" else [one for one in ENGINES if one == backend]
    engine = next(one for one in order if one in exported.installed())
    if precision != "auto":
        if precision == "bf16" and engine != "openvino":
            raise UsageError(
                f"--precision bf16: {engine} runs graphs in fp32 on the CPU", help="`--backend openvino` can"
            )
        return engine, precision
    return engine, found.dtype if engine == found.engine else "fp32"


def _has_gpu() -> bool:
    """Say whether torch can be asked for a GPU; it is not imported where there is no sign of one."""
    if find_spec("torch") is None or not os.path.exists("/dev/nvidiactl"):
        return False
    import torch

    return bool(torch.cuda.is_available())
