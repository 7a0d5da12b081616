"""What a run needs, worked out before torch is imported: files read, labels learnt, rows cut into windows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from bertft.bundle import store
from bertft.console import say
from bertft.data import formats
from bertft.encoders import load
from bertft.encoders.families import learning_rate
from bertft.encoders.load import Checkpoint, Tokenizer
from bertft.errors import UsageError
from bertft.inference.evaluate import Labelled, read_labelled, report_counts
from bertft.recipe import Recipe
from bertft.tasks import task_class
from bertft.tasks.base import Counts, Task, Window, WindowSize
from bertft.training.split import hold_out

_CHECKED_ROWS = 200


@dataclass(frozen=True, slots=True)
class Splits:
    """The rows of a run."""

    train: Labelled
    dev: Labelled
    test: Labelled | None

    def named(self) -> dict[str, Labelled]:
        """Return the splits that there are, by name."""
        return {"train": self.train, "dev": self.dev} | ({"test": self.test} if self.test else {})


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a training run needs."""

    recipe: Recipe
    task: Task[Any, Any, Any]
    splits: Splits
    checkpoint: Checkpoint
    tokenizer: Tokenizer
    window: WindowSize
    windows: list[Window]
    counts: Counts

    def label_counts(self) -> Counter[str]:
        """Return how often each label stands in the training rows."""
        return Counter(label for example in self.splits.train.examples for label in self.task.labels_of(example))


def plan(recipe: Recipe, *, data: str, dev: str | None, test: str | None, format: str, limit: int | None) -> Job:
    """Read the files, learn the labels, load the tokenizer and cut the training rows into windows.

    Raises DataError, ModelError or UsageError for a file, an encoder or a setting that cannot be used.
    """
    kind = formats.parse_format(format)

    def read(path: str, task: Task[Any, Any, Any]) -> Labelled:
        return read_labelled(task, path, format=kind, encoding=recipe.encoding, columns=recipe.columns, limit=limit)

    task: Task[Any, Any, Any] = task_class(recipe.task).restore(recipe.options, {"labels": []})
    rows = read(data, task)
    task = task.prepare(rows.examples)
    if dev is None:
        kept, held = hold_out(
            rows.examples, share=recipe.holdout, seed=recipe.seed, group=task.group, labels=task.labels_of
        )
        say(f"no --dev: {len(held):,} of {len(rows.examples):,} rows held out by group, seed {recipe.seed}")
        rows = Labelled(kept, {**rows.info, "rows": len(kept)})
        held_out = Labelled(held, {**rows.info, "rows": len(held)})
    else:
        held_out = read(dev, task)
    splits = Splits(rows, held_out, read(test, task) if test else None)

    checkpoint = load.resolve(recipe.model)
    config = load.load_config(checkpoint)
    tokenizer = load.load_tokenizer(checkpoint, config)
    tokenizer.words.check([example.words for example in rows.examples[:_CHECKED_ROWS]])
    window = store.default_window(tokenizer, recipe.options["window"], recipe.options["stride"])
    for key in ("num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps"):
        if recipe.trainer.get(key, 1) <= 0:
            raise UsageError(f"trainer.{key}: {recipe.trainer[key]} is not more than 0")
    defaults = {"learning_rate": learning_rate(config), "report_to": "none"}
    recipe = replace(recipe, trainer=_consistent({**defaults, **recipe.trainer}))
    windows, counts = task.features(rows.examples, tokenizer.words, window)
    job = Job(recipe, task, splits, checkpoint, tokenizer, window, windows, counts)
    say("labels in train: " + ", ".join(f"{label} {n:,}" for label, n in job.label_counts().most_common(20)))
    report_counts(counts)
    return job


def _consistent(trainer: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with best-model selection off where evaluation is off; it could not work."""
    if trainer.get("eval_strategy", "no") != "no" or not trainer.get("load_best_model_at_end"):
        return trainer
    say("evaluation is off: the last model is kept, and early stopping is off")
    return {**trainer, "load_best_model_at_end": False}
