"""A Trainer that can be killed at any moment and continued to the same weights.

What transformers' own leaves open: checkpoints that are whole or not there (`checkpoints.py`), a stop at the end of a
step, checkpoints by the clock, what early stopping had counted, an evaluation that was cut short, and a run whose last
step was done.
"""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback
from typing_extensions import override

from bertft import signals
from bertft.console import detail
from bertft.errors import GateError, OutputError
from bertft.inference.pytorch import free_memory
from bertft.training import checkpoints, parallel
from bertft.training.directory import writing

_NEW = "new"
"""Where a checkpoint is written."""


class ResumableTrainer(Trainer):
    """A Trainer whose checkpoints are sealed with `facts`, and which stops where `request` asks for it.

    `save_limit` is TrainingArguments' `save_total_limit`, which must not be set: old checkpoints go when the new one
    is at its place. `save_seconds` is how long a run goes on without a checkpoint.
    """

    def __init__(
        self,
        *,
        request: signals.Request | None,
        facts: dict[str, Any],
        save_limit: int | None,
        save_seconds: float | None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.facts = facts
        self._save_limit = save_limit
        self._run_directory: str | None = None
        self._resumed: str | None = None
        self._left: dict[str, bool] = {}
        self._stops = _Stops(request, save_seconds)
        self.add_callback(self._stops)

    # -- writing -------------------------------------------------------------------------------------------------------

    @override
    def _get_output_dir(self, trial: Any) -> str:
        return self._run_directory or str(super()._get_output_dir(trial))

    @override
    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint, and remove older ones when it is at its place.

        Raises GateError where weights are no numbers, OutputError where it cannot be written; those before it stay.
        """
        self.check()
        folder = Path(str(self.args.output_dir))
        if not folder.parent.is_dir():
            raise OutputError("the directory of this run has gone", place=folder.parent)
        written = folder / _NEW / f"checkpoint-{self.state.global_step}"
        with writing(folder, help="`--resume` goes on from the last checkpoint"):
            if self.is_world_process_zero():
                shutil.rmtree(folder / _NEW, ignore_errors=True)
            parallel.wait()
            self._run_directory = str(folder / _NEW)
            try:
                super()._save_checkpoint(model, trial)
            finally:
                self._run_directory = None
            parallel.wait()  # every process writes its random state
            if self.is_world_process_zero():
                checkpoints.seal(written, self.facts)
                checkpoints.place(written, folder / written.name)
                written.parent.rmdir()
                checkpoints.rotate(folder, limit=self._save_limit, best=self.state.best_global_step)
        self._name_best()
        parallel.wait()
        detail(f"checkpoint: {folder / written.name}")

    def check(self) -> None:
        """Raise GateError where a weight is no number: such a model is not to replace another."""
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            return  # each process has a part of them
        weights: Any = self.model
        if not all(bool(torch.isfinite(parameter).all()) for parameter in weights.parameters()):
            raise GateError(
                f"a weight is no number after step {self.state.global_step}: training has diverged",
                help="a lower learning rate (`--set trainer.learning_rate=…`) or a longer warm-up keeps it from that",
            )

    def _name_best(self) -> None:
        """Set where the best checkpoint is: what a checkpoint says may be of another place."""
        best = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.best_global_step}"
        self.state.best_model_checkpoint = str(best) if self.state.best_global_step and best.is_dir() else None

    # -- going on ------------------------------------------------------------------------------------------------------

    @override
    def _init_training_state(self, max_steps: int, steps: int, epochs: int, resumed: str | None, trial: Any) -> Any:
        found = super()._init_training_state(max_steps, steps, epochs, resumed, trial)
        if resumed:
            self._resumed = resumed
            callbacks: Any = self.state.stateful_callbacks
            self._left = callbacks["TrainerControl"]["args"]
            self._name_best()
        return found

    @override
    def _run_epoch(self, *arguments: Any, **named: Any) -> None:
        self._finish_step(named["model"])
        if self.control.should_training_stop or self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*arguments, **named)  # type: ignore[no-untyped-call]

    @override
    def _finalize_training(self, *arguments: Any) -> Any:
        self._finish_step(self.model_wrapped)  # no epoch was left
        free_memory()  # the best model is read and written beside this one
        return super()._finalize_training(*arguments)  # type: ignore[no-untyped-call]

    @override
    def _load_best_model(self) -> None:
        """Read the best checkpoint, unless it is that of the last step: this model is it, and no memory is needed."""
        if self.state.best_global_step != self.state.global_step:
            super()._load_best_model()

    def _finish_step(self, model: Any) -> None:
        """Do what the run that is continued was to do after its last step: the evaluation, or to stop early."""
        left, self._left = self._left, {}
        if left.get("should_evaluate"):
            self._load_rng_state(self._resumed)  # the checkpoint is written again with its score
            self.control.should_evaluate, self.control.should_save = True, True
            self._maybe_log_save_evaluate(self._tr_loss, None, model, None, self.state.epoch or 0, None, time.time())
        self.control.should_training_stop |= left.get("should_training_stop", False)

    # -- stopping ------------------------------------------------------------------------------------------------------

    @override
    def _maybe_log_save_evaluate(self, *arguments: Any, **named: Any) -> None:
        """As Trainer's; then end the run if that was asked for. An evaluation that is cut short is due later."""
        try:
            super()._maybe_log_save_evaluate(*arguments, **named)
        except signals.Interrupted:
            model, trial = arguments[2:4]
            self._save_checkpoint(model, trial)
            raise
        if self._stops.number:
            raise signals.Interrupted(self._stops.number)


class _Stops(TrainerCallback):
    """Asks for a checkpoint at the end of a step: by the clock, or the last one when a signal has come.

    At the end of an epoch it asks when Trainer has said whether an evaluation is due: that comes first.
    """

    def __init__(self, request: signals.Request | None, save_seconds: float | None) -> None:
        self._request = request
        self._save_seconds = save_seconds
        self._saved = time.monotonic()
        self._group: Any = None
        self.number = 0
        """The signal that ends the run, when the checkpoint for it has been asked for."""

    @override
    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._saved = time.monotonic()
        if args.world_size > 1 and self._request is not None:
            self._group = torch.distributed.new_group(backend="gloo")  # a few numbers, which need no GPU

    @override
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not (float(state.epoch or 0).is_integer() or control.should_training_stop):
            self._ask(args, control)

    @override
    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._ask(args, control)

    @override
    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._saved = time.monotonic()

    def _ask(self, args: Any, control: Any) -> None:
        if self._request is None:
            return
        late = self._save_seconds is not None and time.monotonic() - self._saved >= self._save_seconds
        number = self._request.number or (signal.SIGTERM if parallel.is_orphan() else 0)
        if self._group is not None:  # all processes are to do the same at the same step
            asked = torch.tensor([number, int(late)])
            torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX, self._group)
            number, late = asked.tolist()
        if number or late:
            control.should_save = True
        self.number = number
