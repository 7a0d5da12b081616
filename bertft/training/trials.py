"""The trials of a sweep, in a journal of Optuna's: what the next one tries, and which is not worth its end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState
from typing_extensions import override

from bertft.errors import ModelError
from bertft.training.space import Space, Value

_STARTUP = 5
"""Trials that run to their end before others are held against them."""
_STATES = {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned", TrialState.FAIL: "diverged"}


class _Held(JournalFileOpenLock):
    """No lock of its own: who writes here holds that of the run's directory."""

    @override
    def acquire(self) -> bool:
        return True

    @override
    def release(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Trials:
    """A sweep as far as it is done. What a trial tries follows from the seed and the trials before it."""

    study: optuna.Study
    space: Space
    seed: int

    @classmethod
    def open(cls, path: Path, *, space: Space, minimize: bool, seed: int) -> Trials:
        """Open a journal, or begin one; raises ModelError for one that is damaged."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        _drop_torn(path)
        try:
            study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(path), lock_obj=_Held(str(path)))),
                study_name="sweep",
                direction="minimize" if minimize else "maximize",
                pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP),
                load_if_exists=True,
            )
        except (ValueError, KeyError, TypeError):
            raise ModelError("cannot be read", place=path, help="`--overwrite` starts again") from None
        return cls(study, space, seed)

    def finished(self) -> list[FrozenTrial]:
        """Return the trials that have come to an end, good or bad."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state.is_finished()]

    def next(self) -> tuple[Trial, dict[str, Value]]:
        """Return the trial that was interrupted, or a new one, and its parameters."""
        begun = [trial for trial in self.study.get_trials(deepcopy=False) if not trial.state.is_finished()]
        number = begun[0].number if begun else len(self.finished())
        self.study.sampler = optuna.samplers.TPESampler(seed=self.seed + number)
        trial = Trial(self.study, begun[0]._trial_id) if begun else self.study.ask()
        return trial, {key: way.suggest(trial, key) for key, way in self.space.items()}

    def like(self, trial: Trial) -> FrozenTrial | None:
        """Return a finished trial with the same parameters: training is repeatable, so this one would end as it did."""
        return next((one for one in self.finished() if one.params == trial.params), None)

    def copy(self, trial: Trial, other: FrozenTrial) -> None:
        """End a trial as the other one did."""
        trial.set_user_attr("same_as", other.user_attrs.get("same_as", other.number))
        if "reason" in other.user_attrs:
            trial.set_user_attr("reason", other.user_attrs["reason"])
        if other.state is TrialState.COMPLETE:
            self.study.tell(trial, other.value)
        else:
            self.study.tell(trial, state=other.state)

    def judge(self, trial: Trial, number: int, score: float) -> None:
        """Take the score of a trial's evaluation; raises optuna.TrialPruned where it falls behind the others."""
        if number not in self.study.get_trials(deepcopy=False)[trial.number].intermediate_values:
            trial.report(score, number)
        if trial.should_prune():
            raise optuna.TrialPruned

    def end(self, trial: Trial, score: float | None, *, pruned: bool = False, reason: str | None = None) -> None:
        """Note what a trial came to; without a score, or with one that is no number, it has diverged.

        `reason` is why its parameters cannot be trained with.
        """
        if reason is not None:
            trial.set_user_attr("reason", reason)
        if pruned:
            self.study.tell(trial, state=TrialState.PRUNED)
        elif score is None or math.isnan(score):
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.study.tell(trial, score)

    def best(self) -> FrozenTrial | None:
        """Return the best trial that ran to its end, of equal ones the first; None where there is none."""
        done = [trial for trial in self.finished() if trial.state is TrialState.COMPLETE]
        sign = -1 if self.study.direction is optuna.study.StudyDirection.MINIMIZE else 1
        return max(done, key=lambda trial: sign * (trial.value or 0.0), default=None)

    def table(self) -> list[dict[str, Any]]:
        """Return what became of each trial, as JSON values."""
        return [_row(trial) for trial in self.finished()]


def _row(trial: FrozenTrial) -> dict[str, Any]:
    attributes: Mapping[str, Any] = trial.user_attrs
    more = {key: attributes[key] for key in ("reason", "same_as") if key in attributes}
    state = "failed" if "reason" in more else _STATES[trial.state]
    seconds = round(attributes.get("seconds", 0.0), 1)
    found = {"number": trial.number, "params": trial.params, "score": trial.value, "state": state}
    return {**found, "seconds": seconds, **more}


def _drop_torn(path: Path) -> None:
    """Remove what a kill has left of a line: what is appended to it could not be read."""
    if path.is_file():
        whole = path.read_bytes().rpartition(b"\n")
        if whole[2]:
            path.write_bytes(whole[0] + whole[1])
