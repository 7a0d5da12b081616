"""`recommend`: the encoders on this machine, each trained for a moment on the same rows; the fastest of the good ones.

Latency first: what does not meet the budget is not trained. Then rounds of trainings (`training/rounds.py`).
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bertft.console import say, warn
from bertft.errors import ModelError, UsageError, inline
from bertft.inference.pytorch import visible
from bertft.recipe import Recipe, check_options
from bertft.scoring import choice
from bertft.scoring.intervals import LEVEL
from bertft.tasks import task_class
from bertft.training import parallel, split
from bertft.training.budget import Budget
from bertft.training.candidates import Candidate
from bertft.training.files import part_of, rows_of
from bertft.training.plan import without_evaluation
from bertft.training.rounds import Rounds, Work, counted

_LATENCY = 0.15
"""The share of the time that latency has."""
_MOST_DEV = 1_000
_FEW = 100
"""Rows of dev, below which intervals tell little."""


def recommend(
    recipe: Recipe,
    *,
    data: str,
    names: Sequence[str],
    dev: str | None = None,
    budget: Budget | None = None,
    minutes: float = 5.0,
    format: str = "auto",
    limit: int | None = None,
    device: str = "auto",
    allow_pickle: bool = False,
) -> dict[str, Any]:
    """Measure encoders by name and return which to train: `{"recommended": NAME, "candidates": […], …}`.

    That is the fastest of those that meet the budget and are not significantly worse than the best of these; None where
    none meets it. Takes about so many minutes.

    Raises UsageError or DataError for a recipe or files that cannot be used, ModelError where no encoder can be.
    """
    started = time.monotonic()
    recipe = _short(recipe)
    if parallel.is_started():
        raise UsageError("encoders are measured in one process")
    where = device if budget is None or budget.device == "auto" else budget.device
    if device == "auto" and where.startswith("cuda"):
        device = where
    same = _index(where) == _index(device)
    if not same and where.startswith("cuda") and device.startswith("cuda"):
        fact = f"the budget is of {where}, and the encoders would be trained on {device}"
        raise UsageError(fact, help="one GPU is used: name the same one, or only that of the budget")
    training_device = visible(device)
    task, train, held_out = rows_of(recipe, data=data, dev=dev, format=format, limit=limit)
    dev_rows = split.sample(held_out.examples, _MOST_DEV, seed=recipe.seed, keys=task.group)

    candidates = [Candidate(name) for name in names]
    say(f"\n{counted(len(candidates), 'encoder')}: {', '.join(names)}; about {counted(minutes, 'minute')}")
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    if load > processors:
        warn(f"the machine is busy (load {load:.1f}, {processors} CPUs): answers take longer than when it is not")
    seconds = _LATENCY * 60 * minutes / len(candidates)
    for one in candidates:
        one.measure(
            recipe,
            task,
            dev_rows,
            device=training_device if same else where,
            trained_on=training_device,
            seconds=seconds,
            allow_pickle=allow_pickle,
        )
        _judge(one, budget)
    able = [one for one in candidates if one.reason is None]
    if not able and all(one.latency is None for one in candidates):
        listed = "\n".join(f"  {inline(one.name)}: {one.reason}" for one in candidates)
        raise ModelError(f"no encoder can be used\n{listed}", help="`bertft models` lists some")
    with tempfile.TemporaryDirectory(prefix="bertft-recommend-") as folder:
        rounds = Rounds(
            recipe,
            task,
            train,
            part_of(held_out, dev_rows),
            Path(folder),
            device=training_device,
            minutes=minutes,
            end=started + 60 * minutes,
        )
        rounds.run(able)
    if rounds.done and rounds.scored < _FEW:
        of = len(held_out.examples)
        few = f"dev has {of} rows" if rounds.scored == of else f"{rounds.scored} of {of} rows of dev were scored"
        warn(f"{few}: so few tell little apart; `--{'dev' if rounds.scored == of else 'minutes'}` names more")
    done = rounds.done or Work(0, 0.0)
    described = [one.described() for one in candidates]
    chosen = choice.choose(described)
    return {
        "recommended": chosen["model"] if chosen else None,
        "recipe": recipe.task,
        "metric": rounds.metric,
        "level": LEVEL,
        "budget": {"ms": budget.milliseconds, "device": where} if budget else None,
        "threads": torch.get_num_threads(),
        "rows": {"train": len(train.examples), "used": done.rows, "epochs": done.epochs, "dev": rounds.scored},
        "seconds": round(time.monotonic() - started, 1),
        "candidates": described,
    }


def _index(device: str) -> str:
    return "cuda:0" if device == "cuda" else device


def _short(recipe: Recipe) -> Recipe:
    """Return the recipe of a short training, as long as its epochs say; raises UsageError for what none can be of."""
    if recipe.task == "mlm":
        raise UsageError("encoders with other vocabularies have other losses: they cannot be compared by `mlm`")
    if recipe.distill:
        raise UsageError("the recipe has a teacher; `recommend` compares encoders that learn without", help="leave it")
    recipe = check_options(replace(recipe, search={}), task_class(recipe.task).options_class)
    trainer = {key: value for key, value in recipe.trainer.items() if key not in ("max_steps", "report_to")}
    if trainer.get("warmup_steps", 0) >= 1:  # steps of a long training
        trainer["warmup_steps"] = 0.1
    recipe = replace(recipe, trainer=trainer, early_stopping=None, checkpoint_minutes=None)
    return without_evaluation(recipe)


def _judge(one: Candidate, budget: Budget | None) -> None:
    """Say what was measured of a candidate, and hold it against the budget."""
    if one.latency is None:
        warn(f"{one.name} is left out: {one.reason}")
        return
    line = f"{(one.parameters or 0) / 1e6:.3g} M parameters, an answer takes {_times(one)}"
    if budget is not None:
        one.meets_budget = one.latency.p95 <= budget.milliseconds
        if not one.meets_budget:
            one.reason = f"over the budget of {budget}: not trained"
            line += f": {one.reason}"
    say(f"{one.name}: {line}")


def _times(one: Candidate) -> str:
    took = one.latency
    return f"{took.median:.3g} ms (95 %: {took.p95:.3g} ms; {one.runs_on})" if took else ""
