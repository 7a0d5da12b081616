"""An fp32 graph to int8 ones, by NNCF: from the fastest to the mildest."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bertft.bundle.exported import keep_quiet
from bertft.extras import require

Batch = dict[str, npt.NDArray[np.int64]]

SETTINGS = ("weights and activations", "all but the last layers", "weights")
"""What is stored in int8; the first is the fastest, the last changes answers least."""
_LAST = 0.25
"""The share of the matrix products, the graph's last ones, that the second setting leaves as they are."""


def check() -> None:
    """Raise UsageError where OpenVINO or NNCF is not installed."""
    require("openvino", "nncf", extra="export", by="--int8")


def write(graph: Path, path: Path, setting: str, batches: Sequence[Batch]) -> None:
    """Write the graph in int8 to `path` (.xml, with a .bin beside it), calibrated on `batches` of inputs."""
    keep_quiet()
    with _silence():
        import nncf
        import openvino

        from bertft.inference.openvino import core

        model = core().read_model(str(graph))
        if setting == "weights":
            small = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
        else:
            small = nncf.quantize(
                model,
                nncf.Dataset(list(batches)),
                model_type=nncf.ModelType.TRANSFORMER,
                subset_size=len(batches),
                ignored_scope=nncf.IgnoredScope(names=_last(model)) if setting != SETTINGS[0] else None,
            )
    openvino.save_model(small, str(path), compress_to_fp16=False)


def _last(model: Any) -> list[str]:
    """Return the names of the graph's last matrix products, in the order in which they are run."""
    products = [node.get_friendly_name() for node in model.get_ordered_ops() if node.get_type_name() == "MatMul"]
    return products[-max(1, round(_LAST * len(products))) :]


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep NNCF's progress and its table to itself."""
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
