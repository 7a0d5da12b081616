"""The torch backend: token ids in, fp32 logits out, on one device. Also chooses the device and its precision."""

from __future__ import annotations

import ctypes
import gc
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch

from bertft import heads
from bertft.encoders.families import bf16_safe, has_segments, width
from bertft.encoders.load import output_layer
from bertft.errors import ModelError, UsageError
from bertft.heads import replaced, selection
from bertft.inference.batches import DRAWS, OWNED, by_owner, by_window, inputs
from bertft.tasks.base import Logits, Parameters, Window

_NO_MEMORY = (
    "could not create a primitive",
    "could not create a memory object",
    "can't start new thread",
    "Cannot allocate memory",
)
"""What oneDNN says where it gets no memory for its scratch space, Python where it gets none for a stack, and mmap."""
_LEAST_BF16_WIDTH = 128
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # malloc.h of glibc


def takes_segments(model: Any) -> bool:
    """Say whether the model tells the segments of a pair apart: its forward takes them, and it has more than one."""
    takes = "token_type_ids" in inspect.signature(type(model).forward).parameters
    return takes and has_segments(model.config)


def outputs(found: Any) -> torch.Tensor:
    """Return a model's logits: (windows, tokens, labels), (windows, labels), or (windows, tokens, 2) of a span head.

    Of an encoder without a head, its last hidden states (windows, tokens, width).
    """
    if "last_hidden_state" in found:
        hidden: torch.Tensor = found.last_hidden_state
        return hidden
    if "start_logits" in found:
        return torch.stack((found.start_logits, found.end_logits), dim=-1)
    logits: torch.Tensor = found.prediction_logits if "prediction_logits" in found else found.logits
    return logits


def pair_outputs(found: Any) -> Any:
    """Return what a model with a head for it tells of two texts, (windows, 2); None of another one."""
    return next((found[name] for name in ("seq_relationship_logits", "sop_logits") if name in found), None)


def input_names(model: Any, *, owned: bool) -> Iterator[str]:
    """Yield the names of what a model takes, as `inference/batches.py` makes it; `owned` where windows own tokens."""
    yield from ("input_ids", "attention_mask")
    if takes_segments(model):
        yield "token_type_ids"
    detects = replaced.detects(model)
    if owned and (detects or selection.selects(model)):
        yield OWNED
        if detects:
            yield DRAWS


def run(forward: Callable[..., Any], model: Any, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return what a model's `forward` gives for inputs by name: `logits`, and what `by_owner` takes besides.

    Of a head over the vocabulary they are (owned, vocabulary).
    """
    given = {name: tensor for name, tensor in tensors.items() if name not in (OWNED, DRAWS)}
    if DRAWS in tensors:
        with replaced.corrupted(model, tensors[OWNED], tensors[DRAWS]) as asked:
            found = forward(**given)
        guesses, filled = asked.corruption
        return {"logits": guesses[0], "replaced": outputs(found), "filled": filled}
    if OWNED in tensors:
        with selection.only(model, tensors[OWNED]):
            found = forward(**given)
        told = pair_outputs(found)
        return {"logits": outputs(found)[0], **({"pairs": told} if told is not None else {})}
    return {"logits": outputs(forward(**given))}


@dataclass(frozen=True, slots=True)
class TorchBackend:
    """A transformers model in eval mode. `pad` is the id that fills short sequences up."""

    model: Any
    pad: int
    bf16: bool = False
    """Whether matrix products are in bf16, as in training; weights, positions and the output layer stay in fp32."""

    def logits(self, batch: Sequence[Window]) -> list[Logits]:
        """Return for each window its fp32 logits: (tokens, outputs), or (outputs,) of a head over whole texts.

        A batch that does not fit into memory is halved; raises ModelError where one window does not.
        """
        try:
            return self._computed(batch)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        free_memory()
        with ThreadPoolExecutor(
            1
        ) as thread:  # one in which oneDNN had no memory for a kernel's code makes none any more
            return thread.submit(self._halved, batch).result()

    def _halved(self, batch: Sequence[Window]) -> list[Logits]:
        half = len(batch) // 2
        if half:
            return [*self.logits(batch[:half]), *self.logits(batch[half:])]
        try:
            return self._computed(batch)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise ModelError(f"{len(batch[0].input_ids)} tokens do not fit into memory with this model") from None

    @torch.inference_mode()
    def _computed(self, batch: Sequence[Window]) -> list[Logits]:
        model = self.model
        if replaced.detects(model) and all(window.target is None for window in batch):
            model = replaced.generator_of(model)  # which alone fills masks
        names = [*input_names(model, owned=any(window.owned for window in batch))]
        # The class's own forward: within Trainer, accelerate puts an autocast around the instance's, and evaluation
        # would not give the scores that the saved fp32 model gives. An encoder without a head is in no Trainer, and
        # what hangs on it (a prefix) is run by its call alone.
        forward = model if model.base_model is model else partial(type(model).forward, model)
        arrays = inputs(batch, self.pad, names)
        tensors = {name: torch.from_numpy(array).to(model.device) for name, array in arrays.items()}
        with torch.autocast(model.device.type, torch.bfloat16, enabled=self.bf16):
            found = run(forward, model, tensors)
        given = {name: each.float().cpu().numpy() for name, each in found.items()}
        return by_owner(batch, given) if OWNED in names else by_window(batch, given["logits"])

    @property
    def in_background(self) -> bool:
        """Whether other threads can run beside `logits`."""
        return False

    def parameters(self) -> Parameters:
        """Return the weights that decoding needs; empty for most heads."""
        return heads.decoding_parameters(self.model)


def out_of_memory(error: Exception) -> bool:
    """Say whether an error is torch's, or Python's, of memory that does not suffice."""
    from accelerate.utils.memory import should_reduce_batch_size

    if isinstance(error, MemoryError | torch.OutOfMemoryError) or should_reduce_batch_size(error):
        return True
    return any(text in str(error) for text in _NO_MEMORY)


def choose_device(name: str) -> torch.device:
    """Return the device of `--device`: `auto` takes CUDA, then Apple's GPU, then the CPU.

    Raises UsageError for a name that is none, or a device that is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"unknown device {name!r}", help="devices are auto, cpu, cuda, cuda:N and mps") from None
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.type, False):
        raise UsageError(f"there is no device {name!r} here", help="`--device auto` takes what there is")
    return device


@cache
def visible(device: str) -> str:
    """Return `device` as Trainer can use it: of several GPUs it takes the first it sees, so only that one is shown.

    That is for the life of the process, and is to be asked for before anything uses a GPU; who asks again is told the
    same.
    """
    if device.startswith("cuda:") and "LOCAL_RANK" not in os.environ and not torch.cuda.is_initialized():
        index = device.removeprefix("cuda:")
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")  # empty, it hides all
        names = seen.split(",") if seen else []
        if index.isdigit() and index != "0" and (seen is None or int(index) < len(names)):
            os.environ["CUDA_VISIBLE_DEVICES"] = names[int(index)] if names else index
            return "cuda:0"
    return device


def describe(device: torch.device, precision: str) -> str:
    """Return the line that says what the run uses: `cuda:0, NVIDIA H200, bf16`."""
    threads = torch.get_num_threads()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{threads} thread{'s' * (threads > 1)}"
    return f"{device}, {name}, {precision}"


def gains_from_bf16(config: Any, device: torch.device) -> bool:
    """Say whether a model predicts faster in bf16 there: not where layers are so narrow that casting costs as much."""
    return (width(config) or 0) >= _LEAST_BF16_WIDTH and bf16_safe(config) and native_bf16(device)


def for_bf16(model: Any) -> Any:
    """Return the model with an output layer that stays in fp32 under autocast: in bf16, 2,000 and 2,007 are one value.

    Raises UsageError for a family that cannot run in bf16.
    """
    if not bf16_safe(model.config):
        raise UsageError(f"--precision bf16: {model.config.model_type} does not run in bf16", help="`--precision fp32`")
    for one in (model, replaced.generator_of(model)):
        if one is not None:
            _keep_exact(output_layer(one))
    return model


def _keep_exact(layer: torch.nn.Linear) -> None:
    def exact(hidden: torch.Tensor) -> torch.Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            return torch.nn.functional.linear(hidden.float(), layer.weight, layer.bias)

    setattr(layer, "forward", exact)  # noqa: B010  (a method, to mypy)


def keep_memory() -> None:
    """Tell glibc to reuse freed memory: large tensors are else mapped and zeroed anew each time."""
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:  # another C library may not have it
            mallopt(_M_MMAP_MAX, 0)
            mallopt(_M_ARENA_MAX, 1)  # what one thread has freed, another can use
            mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def free_memory() -> None:
    """Give back what is kept but not used, so that something else can have it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def native_bf16(device: torch.device) -> bool:
    """Say whether the device multiplies bf16 matrices in hardware; elsewhere bf16 is emulated and slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        can = torch.cpu.get_capabilities()
        return bool(can.get("avx512_bf16") or can.get("amx_bf16"))
    return False
