"""The Trainer: transformers' own, evaluated through the project's one inference path; and what is said meanwhile."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any, cast

import torch
from transformers import Trainer, TrainerCallback
from typing_extensions import override

from bertft.console import NORMAL, is_main_process, level, say, shown
from bertft.errors import GateError, UsageError
from bertft.inference.batches import padded
from bertft.inference.engine import Engine
from bertft.inference.pytorch import outputs
from bertft.tasks.base import Objective, Window
from bertft.training import losses, parallel
from bertft.training.items import Items
from bertft.training.sampling import Batches

_REFRESH_SECONDS = 0.5
_READ_EVERY = 50
"""Losses that are read from the device together."""
_FIRST_STEPS = 3


class Drawn(torch.utils.data.Dataset[dict[str, Any]]):
    """The items as Trainer draws them. `input_ids` is the longest window's, for its sampler that groups by length."""

    def __init__(self, items: Items) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    @override
    def __getitem__(self, index: int) -> dict[str, Any]:
        windows = self._items[index]
        return {"windows": windows, "input_ids": max((window.input_ids for window in windows), key=len)}


class Collator:
    """Make a batch of items: the inputs of all their windows (windows, tokens), `labels`, and whose window each is."""

    def __init__(self, objective: Objective, pad: int, *, segments: bool) -> None:
        self._objective = objective
        self._pad = pad
        self._segments = segments

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return the model's inputs, `labels` as `losses.targets` makes them, and `owner` (windows,)."""
        groups: list[Sequence[Window]] = [item["windows"] for item in items]
        windows = [window for group in groups for window in group]
        arrays = padded(windows, self._pad, segments=self._segments)
        batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
        batch["labels"] = losses.targets(self._objective, [group[0].target for group in groups])
        batch["owner"] = torch.tensor([i for i, group in enumerate(groups) for _ in group])
        return batch


class _Loader(torch.utils.data.DataLoader[dict[str, torch.Tensor]]):
    """A DataLoader that hands the epoch to its batch sampler, as Trainer asks; each process has its share already."""

    def set_epoch(self, epoch: int) -> None:
        cast("Batches", self.batch_sampler).set_epoch(epoch)


class EncoderTrainer(Trainer):
    """A Trainer whose `evaluate` is `Engine.evaluate` on the dev examples, so that it cannot disagree with `eval`.

    The engine must wrap the model that is trained.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        dev: Sequence[Any],
        progress: Progress,
        objective: Objective,
        batches: Batches | None,
        **arguments: Any,
    ) -> None:
        super().__init__(compute_loss_func=self._loss, **arguments)
        self._engine = engine
        self._batches = batches
        self._dev = dev
        self._progress = progress
        self._objective = objective
        self._owner = self._mask = torch.empty(0)

    @override
    def get_train_dataloader(self) -> Any:
        """Return the batches; Trainer's own where the recipe names a sampling strategy."""
        if self._batches is None:
            return super().get_train_dataloader()
        return _Loader(
            cast("Drawn", self.train_dataset),
            batch_sampler=self._batches,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            persistent_workers=self.args.dataloader_persistent_workers,
            pin_memory=self.args.dataloader_pin_memory and self.args.device.type == "cuda",
        )

    @override
    def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **named: Any) -> Any:
        self._owner, self._mask = inputs.pop("owner"), inputs["attention_mask"]
        return super().compute_loss(model, inputs, *arguments, **named)

    def _loss(self, found: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None) -> torch.Tensor:
        """Return the loss of a batch, as Trainer asks for it."""
        logits = outputs(found)
        how = self._objective.over_windows
        if how and len(self._owner) > len(labels):
            logits = losses.over_windows(how, logits, self._owner, len(labels))
        count, mask = num_items_in_batch, self._mask
        return losses.loss(self._objective, logits, labels, count=count, model=self.model, mask=mask)

    @override
    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return the dev metrics, each under `eval_`, and tell the progress and the callbacks."""
        model: Any = self.model
        was_training = model.training
        model.eval()
        pairs = parallel.evaluate(self._engine, self._dev)
        scores = self._engine.task.tune(pairs).score(pairs)
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
        self._progress.step(loss.detach(), self.state.global_step + 1)
        return loss


class Progress(TrainerCallback):
    """What the person sees: a live line on a terminal, else one line per evaluation; and the end of a lost run.

    Losses are kept as tensors and read some at a time, so that no step waits for the device.
    """

    def __init__(self, *, amount: int, unit: str, accumulation: int, precision: str) -> None:
        self._unread: list[tuple[int, torch.Tensor]] = []
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
            self._read()
            line = f"epoch {state.epoch:.2f}  step {state.global_step}/{state.max_steps}  loss {self._recent:.3f}"
            print(f"\r\x1b[K{line}  {self._last}{self._pace(state)}", end="", file=sys.stderr, flush=True)

    @override
    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._steps or self._unread:  # there was no evaluation, or not since the last step
            say(f"epoch {state.epoch or 0:.4g}  loss {self._loss():.4f}  {self._pace(state)}")

    def step(self, loss: torch.Tensor, number: int) -> None:
        """Take the loss of a micro-batch of a step; raises GateError soon after one that is no number."""
        self._unread.append((number, loss))
        if len(self._unread) >= _READ_EVERY:
            self._read()

    def _read(self) -> None:
        if not self._unread:
            return
        losses = torch.stack([loss for _, loss in self._unread]).tolist()
        lost = next(
            ((step, x) for (step, _), x in zip(self._unread, losses, strict=True) if not math.isfinite(x)), None
        )
        if lost is not None:
            step, loss = lost
            small = "fp16 holds no number above 65,504: `--set trainer.bf16=true`, or fp16=false for fp32"
            cause = "a lower learning rate (`--set trainer.learning_rate=…`) or a longer warm-up keeps it from that"
            first = step <= _FIRST_STEPS and self._precision == "fp32"
            odd = "; so early it may also be the data, as values far out of range, or weights that are damaged"
            raise GateError(
                f"the training loss is {loss} at step {step}, in {self._precision}: training has diverged",
                help=small if self._precision == "fp16" else cause + odd * first,
            )
        self._recent = statistics.fmean(losses) * self._accumulation
        self._sum += math.fsum(losses)
        self._steps += len(losses)
        self._unread.clear()

    def _loss(self) -> float:
        """Return the mean loss since it was last asked for."""
        self._read()
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
