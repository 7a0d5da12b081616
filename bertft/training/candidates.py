"""Encoders that may be recommended: what each is, how fast a model of it answers, and why one cannot be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bertft.bundle import store
from bertft.console import VERBOSE, level, muted
from bertft.encoders import here, load
from bertft.errors import BertftError, ModelError, OutputError
from bertft.inference.latency import Latency, latency
from bertft.inference.load import in_torch
from bertft.inference.pytorch import choose_device, free_memory, out_of_memory
from bertft.recipe import Recipe
from bertft.scoring.outcomes import Outcomes
from bertft.tasks.base import Task
from bertft.training.plan import Encoder

_TRAINED_BYTES = 16
"""Of memory a weight: itself, its gradient, and two moments of Adam, in fp32."""
_STORED_BYTES = 4


@dataclass(slots=True)
class Pace:
    """How many seconds a training takes besides its rows, a row once, and a row that is scored."""

    setup: float
    row: float
    scored: float


@dataclass(slots=True)
class Candidate:
    """An encoder by the name that `--model` takes, and what is known of it so far."""

    name: str
    encoder: Encoder | None = None
    parameters: int | None = None
    latency: Latency | None = None
    runs_on: str | None = None
    meets_budget: bool | None = None
    reason: str | None = None
    """Why it has no score."""
    pace: Pace | None = None
    rows: int | None = None
    """How many it was trained on."""
    outcomes: Outcomes | None = None
    standing: Mapping[str, Any] | None = None
    """Its score, and how it compares with the best (`scoring/choice.py`)."""

    def measure(
        self,
        recipe: Recipe,
        task: Task[Any, Any, Any],
        examples: Sequence[Any],
        *,
        device: str,
        trained_on: str,
        seconds: float,
        allow_pickle: bool,
    ) -> None:
        """Load it with a new head, and time its answers to some examples; what keeps it from that is its `reason`."""
        try:
            with quietly():
                self._measure(
                    recipe,
                    task,
                    examples,
                    device=device,
                    trained_on=trained_on,
                    seconds=seconds,
                    allow_pickle=allow_pickle,
                )
        except OutputError:
            raise
        except BertftError as error:
            self.reason = told(error)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            self.reason = "there is not enough memory for it"
        finally:
            free_memory()

    def _measure(
        self,
        recipe: Recipe,
        task: Task[Any, Any, Any],
        examples: Sequence[Any],
        *,
        device: str,
        trained_on: str,
        seconds: float,
        allow_pickle: bool,
    ) -> None:
        checkpoint = here.checkpoint(self.name, allow_pickle=allow_pickle)
        here.check_encoder(load.load_config(checkpoint), self.name)
        self.parameters = here.parameters(checkpoint)
        free = free_bytes(trained_on)
        if free is not None and (self.parameters or 0) * _TRAINED_BYTES > free:
            needed = f"{(self.parameters or 0) * _TRAINED_BYTES / 1e9:.1f} GB"
            raise ModelError(f"to train it takes {needed} of memory, {free / 1e9:.1f} GB are free")
        encoder = Encoder.load(replace(recipe, model=self.name), presplit=task.presplit, allow_pickle=allow_pickle)
        model, _ = store.load_weights(checkpoint, task.head())
        self.parameters = model.num_parameters()
        engine = in_torch(task, encoder.tokenizer.subwords, encoder.window, model, device=device)
        self.latency = latency(engine, examples, seconds=seconds)
        self.encoder, self.runs_on = encoder, engine.runs_on

    def described(self) -> dict[str, Any]:
        """Return what is known of it, as JSON values."""
        nothing = {"score": None, "interval": None, "difference": None, "significantly_worse": None}
        took = self.latency
        return {
            "model": self.name,
            **(self.standing or nothing),
            "rows": self.rows,
            "latency_ms": asdict(took) if took else None,
            "runs_on": self.runs_on,
            "parameters": self.parameters,
            "bytes": None if self.parameters is None else self.parameters * _STORED_BYTES,
            "meets_budget": self.meets_budget,
            "reason": self.reason,
        }


def told(error: BertftError) -> str:
    """Return an error as the reason why an encoder is left out."""
    return f"{error.fact} ({error.help})" if error.help else error.fact


def quietly() -> AbstractContextManager[None]:
    """Say nothing of what is done to one of many, but where all is to be said."""
    return nullcontext() if level() >= VERBOSE else muted()


def free_bytes(device: str) -> int | None:
    """Return how much memory is free on a device; None where the system does not say it."""
    chosen = choose_device(device)
    if chosen.type == "cuda":
        return int(torch.cuda.mem_get_info(chosen)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
