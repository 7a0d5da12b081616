"""The onnxruntime backend: an exported fp32 graph on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bertft.bundle.exported import GRAPHS, Export, keep_quiet
from bertft.errors import ModelError, first_line
from bertft.inference.batches import OWNED, by_owner, by_window, inputs
from bertft.tasks.base import Logits, Parameters, Window

keep_quiet()
import onnxruntime  # noqa: E402  (after that)

_QUIET = 3  # errors only


@dataclass(frozen=True, slots=True)
class OnnxruntimeBackend:
    """A session. `pad` is the id that fills short sequences up."""

    session: Any
    pad: int
    decoding: Parameters
    """The weights that decoding needs."""

    @classmethod
    def load(cls, export: Export, pad: int) -> OnnxruntimeBackend:
        """Load the export's fp32 graph; raises ModelError where it cannot be read."""
        path = export.directory / GRAPHS["fp32"]
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _QUIET
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no common base
            raise ModelError(f"onnxruntime cannot read the graph: {first_line(error)}", place=path) from error
        return cls(session, pad, export.parameters())

    def logits(self, batch: Sequence[Window]) -> list[Logits]:
        """Return for each window its fp32 logits, as `Backend` has them."""
        names = {one.name for one in self.session.get_inputs()}
        results = self.session.run(None, inputs(batch, self.pad, names))
        found = dict(zip((one.name for one in self.session.get_outputs()), results, strict=True))
        return by_owner(batch, found) if OWNED in names else by_window(batch, found["logits"])

    @property
    def in_background(self) -> bool:
        """Whether other threads can run beside `logits`."""
        return True

    def parameters(self) -> Parameters:
        """Return the weights that decoding needs; empty for most heads."""
        return self.decoding
