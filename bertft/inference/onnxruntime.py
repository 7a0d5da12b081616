"""The onnxruntime backend: an exported fp32 graph on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bertft.bundle.exported import GRAPHS, Export, keep_quiet
from bertft.errors import ModelError, first_line
from bertft.inference.batches import by_window, padded
from bertft.tasks.base import Logits, Parameters, Window

keep_quiet()
import onnxruntime  # noqa: E402  (after that)

_QUIET = 3  # errors only


@dataclass(frozen=True, slots=True)
class OnnxruntimeBackend:
    """A session. `pad` is the id that fills short sequences up."""

    session: Any
    pad: int
    segments: bool
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
        return cls(session, pad, export.segments, export.parameters())

    def logits(self, batch: Sequence[Window]) -> list[Logits]:
        """Return for each window its fp32 logits: (tokens, outputs), or (outputs,) of a head over whole texts."""
        found = self.session.run(None, padded(batch, self.pad, segments=self.segments))
        return by_window(batch, found[0])

    @property
    def in_background(self) -> bool:
        """Whether other threads can run beside `logits`."""
        return True

    def parameters(self) -> Parameters:
        """Return the weights that decoding needs; empty for most heads."""
        return self.decoding
