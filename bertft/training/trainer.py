"""The Trainer: transformers' own, evaluated through the project's one inference path; and what is said meanwhile."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from transformers import Trainer, TrainerCallback
from typing_extensions import override

from bertft.console import NORMAL, is_main_process, level, say
from bertft.errors import GateError, UsageError
from bertft.inference.engine import Engine
from bertft.inference.evaluate import Labelled
from bertft.tasks.base import IGNORED, Window

_REFRESH_SECONDS = 0.5


class Windows(torch.utils.data.Dataset[dict[str, list[int]]]):
    """Training windows as the items of a Dataset."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self._windows = windows

    def __len__(self) -> int:
        return len(self._windows)

    @override
    def __getitem__(self, index: int) -> dict[str, list[int]]:
        window = self._windows[index]
        return {"input_ids": window.input_ids, "labels": window.labels}


class Padded:
    """Collate items into tensors (batch, tokens), padded to the longest."""

    def __init__(self, pad: int) -> None:
        self._pad = pad

    def __call__(self, items: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        """Return `input_ids`, `attention_mask` and `labels`, each (batch, tokens)."""
        longest = max(len(item["input_ids"]) for item in items)

        def padded(rows: Sequence[list[int]], value: int) -> torch.Tensor:
            return torch.tensor([row + [value] * (longest - len(row)) for row in rows])  # (batch, tokens)

        return {
            "input_ids": padded([item["input_ids"] for item in items], self._pad),
            "attention_mask": padded([[1] * len(item["input_ids"]) for item in items], 0),
            "labels": padded([item["labels"] for item in items], IGNORED),
        }


class EncoderTrainer(Trainer):
    """A Trainer whose `evaluate` is `Engine.evaluate` on the dev examples, so that it cannot disagree with `eval`.

    The engine must wrap the model that is trained.
    """

    def __init__(self, *, engine: Engine, dev: Labelled, progress: Progress, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._engine = engine
        self._dev = dev
        self._progress = progress

    @override
    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return the dev metrics, each under `eval_`, and tell the progress and the callbacks."""
        model: Any = self.model
        was_training = model.training
        model.eval()
        pairs, _counts = self._engine.evaluate(self._dev.examples)
        scores = self._engine.task.score(pairs)
        model.train(was_training)
        wanted = (self.args.metric_for_best_model or "").removeprefix("eval_")
        if wanted and wanted not in scores:
            names = ", ".join(key for key, value in scores.items() if isinstance(value, float))
            raise UsageError(f"trainer.metric_for_best_model: there is no {wanted!r}", help=f"metrics are {names}")
        metrics = {f"eval_{key}": value for key, value in scores.items() if isinstance(value, int | float)}
        self._progress.evaluated({key: scores[key] for key in self._engine.task.headline}, self.state)
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    @override
    def training_step(self, *arguments: Any, **named: Any) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(*arguments, **named)
        self._progress.losses.append(loss.detach())
        return loss


class Progress(TrainerCallback):
    """What the person sees: a live line on a terminal, else one line per evaluation.

    Losses are kept as tensors and read only when a line is printed, so that no step waits for the device.
    """

    def __init__(self, words: int, accumulation: int) -> None:
        self.losses: list[torch.Tensor] = []
        self._words = words
        self._accumulation = accumulation
        self._started = self._printed = time.monotonic()
        self._start_epoch = 0.0
        self._last = ""
        self._live = sys.stderr.isatty() and level() >= NORMAL and is_main_process()

    @override
    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._started = self._printed = time.monotonic()
        self._start_epoch = state.epoch or 0.0

    @override
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now = time.monotonic()
        if self._live and now - self._printed >= _REFRESH_SECONDS:
            self._printed = now
            loss = float(torch.stack(self.losses[-50:]).mean()) * self._accumulation if self.losses else math.nan
            line = f"epoch {state.epoch:.2f}  step {state.global_step}/{state.max_steps}  loss {loss:.3f}"
            print(f"\r\x1b[K{line}  {self._last}{self._pace(state)}", end="", file=sys.stderr, flush=True)

    def evaluated(self, scores: dict[str, float], state: Any) -> None:
        """Print the line of an evaluation; raises GateError where the loss is no longer a number."""
        loss = float(torch.stack(self.losses).mean()) * self._accumulation if self.losses else math.nan
        if self.losses and not math.isfinite(loss):
            raise GateError(
                f"the training loss is {loss} by step {state.global_step}: training has diverged",
                help="lower the learning rate (`--set trainer.learning_rate=…`) or train in fp32 "
                "(`--set trainer.bf16=false --set trainer.fp16=false`)",
            )
        self.losses.clear()
        shown = "  ".join(f"{key} {100 * value:.1f}" for key, value in scores.items())
        self._last = f"dev {next(iter(scores))} {100 * next(iter(scores.values())):.1f}  "
        if self._live:
            print("\r\x1b[K", end="", file=sys.stderr)
        say(f"epoch {state.epoch or 0:.4g}  loss {loss:.4f}  dev {shown}  {self._pace(state)}")

    def _pace(self, state: Any) -> str:
        seconds = time.monotonic() - self._started
        done = (state.epoch or 0.0) - self._start_epoch
        if done <= 0 or seconds <= 0 or not state.max_steps:
            return ""
        share = state.global_step / state.max_steps
        speed = self._words * done / seconds
        total_epochs = (state.epoch or 0.0) / share if share else 0.0
        left = seconds * max(total_epochs - (state.epoch or 0.0), 0.0) / done
        return f"{speed:,.0f} words/s  ETA {int(left // 60)}:{int(left % 60):02d}"
