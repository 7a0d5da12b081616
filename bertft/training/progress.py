"""What a person sees of a training: a line that lives, or one an evaluation; and the end of a run that has diverged."""

from __future__ import annotations

import math
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback
from typing_extensions import override

from bertft.console import NORMAL, is_main_process, level, say, shown
from bertft.errors import GateError

_REFRESH_SECONDS = 0.5
_BAR = 20
_READ_EVERY = 50
"""Losses that are read from the device together."""
_FIRST_STEPS = 3
_NAMED_ROWS = 8


class Progress(TrainerCallback):
    """What the person sees: a live line on a terminal, else one line per evaluation; and the end of a lost run.

    Losses are kept as tensors and read some at a time, so that no step waits for the device.
    """

    def __init__(
        self, *, amount: int, unit: str, accumulation: int, precision: str, place: Callable[[int], object] = str
    ) -> None:
        """`place` names an item, by its index."""
        self._unread: list[tuple[int, torch.Tensor, torch.Tensor]] = []
        self._place = place
        self._sum, self._steps = 0.0, 0
        self._recent = math.nan
        # each micro-batch's loss is its part of the step's
        self._accumulation = accumulation
        self._precision = precision
        self._amount = amount
        self._unit = unit
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
            self.read()
            done = _BAR * state.global_step // max(state.max_steps, 1)
            bar = f"[{'#' * done}{'.' * (_BAR - done)}]"
            line = f"{bar} step {state.global_step}/{state.max_steps}  epoch {state.epoch:.2f}  loss {self._recent:.3f}"
            shown = f"{line}  {self._last}{self._pace(state)}"[
                : shutil.get_terminal_size().columns - 1
            ]  # else it wraps
            print(f"\r\x1b[K{shown}", end="", file=sys.stderr, flush=True)

    @override
    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._steps or self._unread:  # there was no evaluation, or not since the last step
            say(f"epoch {state.epoch or 0:.4g}  loss {self._loss():.4f}  {self._pace(state)}")

    def step(self, loss: torch.Tensor, number: int, items: torch.Tensor) -> None:
        """Take the loss of a micro-batch of a step; raises GateError soon after one that is no number."""
        self._unread.append((number, loss, items))
        if len(self._unread) >= _READ_EVERY:
            self.read()

    def read(self) -> None:
        """Read the losses that were taken; raises GateError for one that is no number."""
        if not self._unread:
            return
        losses = torch.stack([loss for _, loss, _ in self._unread]).tolist()
        lost = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), None)
        if lost is not None:
            step, _, items = self._unread[lost]
            rows = [str(self._place(item)) for item in items[:_NAMED_ROWS].tolist()]
            more = f" and {len(items) - _NAMED_ROWS:,} more" if len(items) > _NAMED_ROWS else ""
            small = "fp16 holds no number above 65,504: `--set trainer.bf16=true`, or fp16=false for fp32"
            cause = "a lower learning rate (`--set trainer.learning_rate=…`) or a longer warm-up keeps it from that"
            first = step <= _FIRST_STEPS and self._precision == "fp32"
            odd = "; so early it may also be the data, as values far out of range, or weights that are damaged"
            raise GateError(
                f"the training loss is {losses[lost]} at step {step}, in {self._precision}: training has diverged",
                place=f"rows of that batch: {', '.join(rows)}{more}",
                help=small if self._precision == "fp16" else cause + odd * first,
            )
        self._recent = statistics.fmean(losses) * self._accumulation
        self._sum += math.fsum(losses)
        self._steps += len(losses)
        self._unread.clear()

    def _loss(self) -> float:
        """Return the mean loss since it was last asked for."""
        self.read()
        loss = self._sum / self._steps * self._accumulation if self._steps else math.nan
        self._sum, self._steps = 0.0, 0
        return loss

    def evaluated(self, scores: dict[str, float], state: Any) -> None:
        """Print the line of an evaluation."""
        loss = self._loss()
        figures = [f"{key} {shown(key, value)}" for key, value in scores.items()]
        self._last = f"dev {figures[0]}  "
        if self._live:
            print("\r\x1b[K", end="", file=sys.stderr)
        scored = "  ".join(figures)
        say(f"epoch {state.epoch or 0:.4g}  loss {loss:.4f}  dev {scored}  {self._pace(state)}")

    def _pace(self, state: Any) -> str:
        seconds = time.monotonic() - self._started
        done = (state.epoch or 0.0) - self._start_epoch
        if done <= 0 or seconds <= 0 or not state.max_steps:
            return ""
        share = state.global_step / state.max_steps
        speed = self._amount * done / seconds
        total_epochs = (state.epoch or 0.0) / share if share else 0.0
        left = seconds * max(total_epochs - (state.epoch or 0.0), 0.0) / done
        return f"{speed:,.0f} {self._unit}/s  ETA {int(left // 60)}:{int(left % 60):02d}"
