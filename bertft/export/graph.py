"""A torch model to an ONNX graph with dynamic batch and length: token ids, mask and segments in, `logits` out."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import torch

from bertft.errors import ModelError, UsageError, first_line
from bertft.inference.pytorch import outputs, takes_segments

_ROWS, _TOKENS = 3, 7  # of the example that is traced: no sizes that a graph might take for constants of the model
_LONGEST = 1 << 16


class _Graph(torch.nn.Module):
    """A model with positional inputs and one output, as an ONNX graph has them."""

    def __init__(self, model: Any, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return outputs(self.model(**dict(zip(self.names, inputs, strict=True))))


def write(model: Any, path: Path, *, longest: int) -> tuple[str, ...]:
    """Write a model's graph for inputs of 2 to `longest` tokens and return the names of its inputs.

    Raises UsageError where torch's exporter is not installed, ModelError for a model that it cannot export.
    """
    names = ("input_ids", "attention_mask", *(["token_type_ids"] if takes_segments(model) else []))
    ids = torch.ones((_ROWS, min(_TOKENS, longest)), dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[0, -1:] = 0
    example = (ids, mask, torch.zeros_like(ids))[: len(names)]
    batch, tokens = torch.export.Dim("batch", min=1, max=_LONGEST), torch.export.Dim("tokens", min=2, max=longest)
    try:
        with _silence(), torch.inference_mode():
            program = torch.onnx.export(
                _Graph(model, names).eval(),
                example,
                input_names=list(names),
                output_names=["logits"],
                dynamic_shapes=(tuple({0: batch, 1: tokens} for _ in names),),
                dynamo=True,
                verbose=False,
            )
            if program is not None:
                program.save(str(path))
    except ImportError as error:
        advice = "`pip install 'bertft[export]'`"
        raise UsageError(f"to write ONNX, torch needs {error.name or 'onnxscript'}", help=advice) from error
    except OSError:
        raise
    except Exception as error:  # of tracing, of decomposing, of translating: each has its own
        raise ModelError(f"torch cannot export {type(model).__name__}: {first_line(error)}") from error
    return names


@contextlib.contextmanager
def _silence() -> Any:
    """Keep what the exporter says to itself, of operators that are not installed and constants it did not fold."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
