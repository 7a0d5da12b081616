"""A torch model to an ONNX graph with dynamic batch and length: token ids, mask and segments in, `logits` out.

A head over the vocabulary also takes which tokens it is run on, and may tell more (`inference/batches.py`).
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import torch

from bertft.errors import ModelError, UsageError, first_line
from bertft.inference.batches import DRAWS, OWNED
from bertft.inference.pytorch import input_names, run

_ROWS, _TOKENS, _OWNED = (
    3,
    7,
    5,
)  # of the example that is traced: no sizes that a graph might take for constants of the model
_LONGEST = 1 << 16


class _Graph(torch.nn.Module):
    """A model with positional inputs and outputs, as an ONNX graph has them."""

    def __init__(self, model: Any, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.named(*inputs).values())

    def named(self, *inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the outputs by name."""
        return run(self.model, self.model, dict(zip(self.names, inputs, strict=True)))


def write(model: Any, path: Path, *, longest: int) -> None:
    """Write a model's graph for inputs of 2 to `longest` tokens.

    Raises UsageError where torch's exporter is not installed, ModelError for a model that it cannot export.
    """
    ids = torch.ones((_ROWS, min(_TOKENS, longest)), dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[0, -1:] = 0
    sizes = {"batch": (1, _LONGEST), "tokens": (2, longest), "owned": (1, _LONGEST)}
    batch, tokens, count = (torch.export.Dim(name, min=a, max=b) for name, (a, b) in sizes.items())
    examples = {
        "input_ids": ids,
        "attention_mask": mask,
        "token_type_ids": torch.zeros_like(ids),
        OWNED: torch.arange(_OWNED),
        DRAWS: torch.linspace(0, 0.9, _OWNED),
    }
    names = tuple(input_names(model, owned=True))
    example = tuple(examples[name] for name in names)
    graph = _Graph(model, names).eval()
    try:
        with _silence(), torch.inference_mode():
            program = torch.onnx.export(
                graph,
                example,
                input_names=list(names),
                output_names=list(graph.named(*example)),
                dynamic_shapes=(tuple({0: batch, 1: tokens} if one.ndim == 2 else {0: count} for one in example),),
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
