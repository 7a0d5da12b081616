"""The OpenVINO backend: an exported graph on the CPU, in fp32, bf16 where the CPU has it, or int8."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bertft.bundle.exported import GRAPHS, Dtype, Export, keep_quiet
from bertft.errors import ModelError, first_line
from bertft.inference.batches import OUTPUTS, OWNED, by_owner, by_window, inputs
from bertft.tasks.base import Logits, Parameters, Window

keep_quiet()
# OpenVINO goes on without its converter, which costs a tenth of a second and is not needed to run a graph: None in
# `sys.modules` is what Python cannot import
_CONVERTER = "openvino.tools.ovc"
_absent = sys.modules.setdefault(_CONVERTER, None) is None  # type: ignore[arg-type]
try:
    import openvino
finally:
    if _absent:
        del sys.modules[_CONVERTER]


@dataclass(frozen=True, slots=True)
class OpenVinoBackend:
    """A compiled graph. `pad` is the id that fills short sequences up."""

    compiled: Any
    pad: int
    decoding: Parameters
    """The weights that decoding needs."""
    mapped: Any = None

    @classmethod
    def load(cls, export: Export, dtype: Dtype, pad: int) -> OpenVinoBackend:
        """Compile the export's graph of a precision; raises ModelError where it cannot be read."""
        path = export.directory / GRAPHS[dtype]
        try:
            compiled, mapped = _compiled(path, dtype)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot read the graph: {first_line(error)}", place=path) from error
        return cls(compiled, pad, export.parameters(), mapped)

    def keep(self, export: Export, dtype: Dtype) -> None:
        """Store the compiled graph beside the graph, for this version of OpenVINO to load in no time."""
        blob = _blob(export.directory / GRAPHS[dtype], dtype)
        scratch = blob.with_name(f".{blob.name}")  # one that is in use is mapped
        scratch.write_bytes(self.compiled.export_model().getvalue())
        scratch.replace(blob)

    def logits(self, batch: Sequence[Window]) -> list[Logits]:
        """Return for each window its fp32 logits, as `Backend` has them."""
        names = {name for port in self.compiled.inputs for name in port.names}
        results = self.compiled(inputs(batch, self.pad, names))
        # a port may have names of its own besides; copies, as the next batch is written over them
        found = {name: value.copy() for port, value in results.items() for name in port.names if name in OUTPUTS}
        return by_owner(batch, found) if OWNED in names else by_window(batch, found["logits"])

    @property
    def in_background(self) -> bool:
        """Whether other threads can run beside `logits`."""
        return True

    def parameters(self) -> Parameters:
        """Return the weights that decoding needs; empty for most heads."""
        return self.decoding


@cache
def core() -> openvino.Core:
    """Return OpenVINO's entry point, the same one each time.

    Its CPU plugin makes a stack for signals and puts back the one before when it is let go. Of two that are let go in
    the order in which they were made, that one is gone by then, and the next signal ends the process.
    """
    return openvino.Core()


def _compiled(path: Path, dtype: Dtype) -> tuple[Any, Any]:
    """Return the compiled graph, and what of it must stay in memory as long as it is used."""
    hint = "bf16" if dtype == "bf16" or (dtype == "int8" and native_bf16()) else "f32"
    settings = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    blob = _blob(path, dtype)
    if blob.is_file():
        try:
            mapped = np.memmap(blob, dtype=np.uint8, mode="c")  # not read as a whole; OpenVINO takes no read-only one
            return core().import_model(openvino.Tensor(mapped, shared_memory=True), "CPU", settings), mapped
        except (RuntimeError, ValueError, OSError):  # of another machine, or torn: the graph itself is still there
            pass
    return core().compile_model(str(path), "CPU", settings), None


def _blob(path: Path, dtype: Dtype) -> Path:
    return path.with_name(f"{dtype}-openvino-{openvino.__version__.split('-')[0]}.blob")


def native_bf16() -> bool:
    """Say whether the CPU multiplies bf16 matrices in hardware."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
