"""The rounds of `recommend`: encoders trained on the same rows and scored on the same dev, by what `train` trains with.

A few rows of each are timed first, and from that follows how many there is time for: as many different ones as can be,
each once, before any is seen again, up to the recipe's epochs. Those that are not significantly worse than the best go
on to the next round, which has more rows, and trains anew.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from bertft.console import say, shown, warn
from bertft.errors import BertftError, ModelError, OutputError
from bertft.inference.evaluate import Labelled
from bertft.inference.pytorch import free_memory
from bertft.recipe import Recipe
from bertft.scoring import choice
from bertft.scoring.intervals import SAMPLES
from bertft.scoring.outcomes import Outcomes
from bertft.scoring.resampling import units
from bertft.tasks.base import Task
from bertft.training import split
from bertft.training.candidates import Candidate, Pace, quietly, told
from bertft.training.files import part_of
from bertft.training.fit import fit
from bertft.training.plan import job_of

_FIRST, _SCORING, _ALL = 0.35, 0.1, 0.9
"""Shares of the time that is left: the first round's, that of scoring in both, and what is planned at all."""
_PROBE = 128
"""Rows of the training that is timed; fewer where they would take more than a tenth of the time."""
_TRAINED = 3.0
"""So many times as long as an answer a row takes in training: forwards, and backwards twice that."""
_LEAST = 200
"""Rows, each time they are seen, from which a training tells something: 25 batches."""
_LEAST_PROBE, _LEAST_DEV = 8, 50
_WORTH = 1.5
"""Times what the round before had that another must have."""


class Work(NamedTuple):
    """What a round trains on."""

    rows: int
    epochs: float

    def __str__(self) -> str:
        return f"{self.rows:,} rows" + (f" ({self.epochs:.2g} epochs)" if self.epochs > 1 else "")


def work(seen: int, total: int, *, epochs: float) -> Work:
    """Return how many of `total` rows, and how often, where so many can be seen: each once, then up to `epochs`."""
    if epochs <= 1 or seen <= total:
        return Work(max(1, min(seen, total)), min(1.0, epochs))
    return Work(total, min(epochs, seen / total))


def affordable(paces: Sequence[Pace], seconds: float, *, scored: int) -> int:
    """Return how many rows, each time they are seen, all can train on in so many seconds, with so many scored."""
    left = seconds - sum(pace.setup + scored * pace.scored for pace in paces)
    return max(0, int(left / sum(pace.row for pace in paces)))


def learnt_nothing(outcomes: Outcomes) -> bool:
    """Say whether a model answers the same whatever it is asked: one label, or no entity at all."""
    if outcomes.ranks is not None:
        return len({score for _, score in outcomes.ranks}) == 1
    if outcomes.kind == "entities":
        return all(tag == "O" for row in outcomes.predicted for tags in row for tag in tags)
    return len(outcomes.predicted) > 1 and len({repr(one) for one in outcomes.predicted}) == 1


def counted(number: float, what: str) -> str:
    """Return a number of things as people read it."""
    return f"{number:g} {what}{'s' * (number != 1)}"


@dataclass(slots=True)
class Rounds:
    """The trainings, as far as they are done."""

    recipe: Recipe
    task: Task[Any, Any, Any]
    train: Labelled
    dev: Labelled
    folder: Path
    """Where Trainer may write."""
    device: str
    minutes: float
    end: float
    """When they are to be done, by the monotonic clock."""
    metric: str | None = None
    done: Work | None = None
    """The last round."""
    scored: int = 0
    """Rows of dev."""

    @property
    def epochs(self) -> float:
        """How often a row is seen at most."""
        return float(self.recipe.trainer.get("num_train_epochs", 3))

    @property
    def most(self) -> int:
        """How many rows are seen in a whole training."""
        return math.ceil(self.epochs * len(self.train.examples))

    @property
    def left(self) -> float:
        """The seconds that may be planned."""
        return _ALL * (self.end - time.monotonic())

    def run(self, able: Sequence[Candidate]) -> None:
        """Train and score the candidates: all, then those that are not significantly worse than the best."""
        total = len(self.train.examples)
        able = self._timed(able)
        self.scored = self._dev(able)
        seen = self._first(able)
        able = [one for one in able if one.reason is None]
        if not able:
            return
        todo = work(seen, total, epochs=self.epochs)
        more = "" if seen >= self.most or len(able) == 1 else ", then those that keep up on more"
        on = f"{todo} of {total:,}" if todo.rows < total else f"{todo}"
        say(f"plan: {counted(len(able), 'encoder')} on {on}{more}; scored on {self.scored:,} rows of dev")
        able = self._round(able, todo)
        while len(able) > 1 and seen < self.most:
            paces = [one.pace for one in able if one.pace]
            further = min(self.most, affordable(paces, self.left, scored=self.scored))
            if further < min(self.most, _WORTH * seen):
                break
            seen, todo = further, work(further, total, epochs=self.epochs)
            say(f"{len(able)} go on, on {todo}: {', '.join(one.name for one in able)}")
            able = self._round(able, todo)

    def _timed(self, able: Sequence[Candidate]) -> list[Candidate]:
        """Time a training of a few rows of each, and return those that can be trained."""
        for one in able:
            guess = _TRAINED * (one.latency.median if one.latency else 1) / 1000
            count = min(max(int(0.1 * self.left / len(able) / guess), _LEAST_PROBE), _PROBE, len(self.train.examples))
            self._trained(one, Work(count, 1.0), scored=count)
        return [one for one in able if one.reason is None]

    def _dev(self, able: Sequence[Candidate]) -> int:
        """Return how many rows of dev are scored."""
        a_row = sum(one.pace.scored for one in able if one.pace)
        count = int(_SCORING * self.left / a_row) if a_row else self.most
        return min(len(self.dev.examples), max(count, _LEAST_DEV))

    def _first(self, able: Sequence[Candidate]) -> int:
        """Return how many rows are seen in the first round; the slowest are left out where these were too few."""
        least = min(_LEAST, self.most)
        running = sorted(able, key=lambda one: one.pace.row if one.pace else 0.0)
        while running:
            paces = [one.pace for one in running if one.pace]
            alone, count = (affordable(paces, share * self.left, scored=self.scored) for share in (1.0, _FIRST))
            if alone >= self.most or count < least:  # one round is all that is needed, or that there is time for
                count = alone
            if count >= least or len(running) == 1:
                return min(self.most, max(count, least))
            slow = running.pop()
            slow.reason = f"too slow to be trained in {counted(self.minutes, 'minute')}; `--minutes` allows more"
            warn(f"{slow.name} is left out: {slow.reason}")
        return 0

    def _round(self, able: Sequence[Candidate], todo: Work) -> list[Candidate]:
        """Train each, hold them against each other, and return those that may be the best."""
        self.done = todo
        for one in able:
            self._trained(one, todo, scored=self.scored)
        scored = [one for one in able if one.reason is None]
        systems = [one.outcomes for one in scored if one.outcomes is not None]
        if not systems:
            return []
        metric = self.metric = self._metric(systems[0])
        standings = choice.against_best(systems, metric, samples=SAMPLES, seed=self.recipe.seed)
        for one, standing in zip(scored, standings, strict=True):
            one.standing, one.rows = standing, todo.rows
            sure = f" [{', '.join(shown(metric, bound) for bound in standing['interval'] or ())}]"
            worse = ", significantly worse than the best" if standing["significantly_worse"] else ""
            say(f"{one.name}: dev {metric} {shown(metric, standing['score'])}{sure} after {todo}{worse}")
        if all(map(learnt_nothing, systems)):
            short = todo != work(self.most, len(self.train.examples), epochs=self.epochs)
            advice = "; with more `--minutes` they may be told apart" if short else ""
            warn(f"after {todo} no encoder has learnt anything: the fastest is no better than the others{advice}")
        return [one for one in scored if one.standing and not one.standing["significantly_worse"]]

    def _metric(self, outcomes: Outcomes) -> str:
        """Return the metric by which encoders are compared: the one of checkpoints, if it can be resampled."""
        found = units([outcomes]).observed()
        named = self.recipe.trainer.get("metric_for_best_model") or self.task.best_metric
        return next(key for key in (str(named).removeprefix("eval_"), *self.task.headline) if key in found)

    def _trained(self, one: Candidate, todo: Work, *, scored: int) -> None:
        """Train a candidate and score it on the first rows of dev; note how long that takes, or why it cannot be."""
        trainer = {**self.recipe.trainer, "num_train_epochs": todo.epochs}
        recipe = replace(self.recipe, model=one.name, trainer=trainer)
        train = part_of(self.train, split.sample(self.train.examples, todo.rows, seed=recipe.seed))
        dev = part_of(self.dev, self.dev.examples[:scored])
        begun = time.monotonic()
        try:
            if one.encoder is None:
                raise ModelError("it was not loaded")
            with quietly():
                job = job_of(recipe, self.task, train, dev, one.encoder)
                trained = fit(job, self.folder / "run", device=self.device, resumable=False)
                fitted = time.monotonic()
                pairs, _ = trained.engine.evaluate(dev.examples)
        except OutputError:
            raise
        except BertftError as error:
            one.reason, one.standing = told(error), None
            warn(f"{one.name} is left out: {one.reason}")
            return
        finally:
            free_memory()
        ended = time.monotonic()
        one.outcomes = trained.engine.task.tune(pairs).outcomes(pairs)
        of_trainer = (entry["train_runtime"] for entry in reversed(trained.history) if "train_runtime" in entry)
        ran = float(next(of_trainer, fitted - begun))
        seen = todo.epochs * len(train.examples)
        one.pace = Pace(max(0.0, fitted - begun - ran), ran / seen, (ended - fitted) / max(1, len(dev.examples)))
