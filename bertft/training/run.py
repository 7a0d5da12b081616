"""`train`: a recipe and labelled files in, a bundle and its scores out."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from bertft.bundle import card, store
from bertft.console import is_main_process, say
from bertft.data import formats
from bertft.encoders import load
from bertft.encoders.families import learning_rate
from bertft.encoders.load import Checkpoint, Tokenizer
from bertft.errors import UsageError
from bertft.inference.evaluate import ExtraMetrics, Labelled, read_labelled, report_counts, score
from bertft.recipe import Recipe, check_options
from bertft.tasks import task_class
from bertft.tasks.base import Counts, Task, Window, WindowSize
from bertft.training.place import Place
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
    """Everything a training run needs, worked out before torch is imported."""

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


def train(
    recipe: Recipe,
    *,
    data: str,
    dev: str | None = None,
    test: str | None = None,
    out: str | None = None,
    format: str = "auto",
    limit: int | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Fine-tune the recipe's model on `data` and return `{"model": DIR, "dev": {...}, "test": {...}}`.

    A dry run trains nothing and returns `{"recipe": YAML, "labels": counts, "tokens": statistics}`. Raises UsageError,
    DataError or ModelError, before training, where an argument, a file or the model cannot be used.
    """
    recipe = check_options(recipe, task_class(recipe.task).options_class)
    extra = ExtraMetrics(recipe.metrics, trust_remote_code)
    if out is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("several processes need one place to write to", help="name it with `--out`")
    place = Place(Path(out) if out else Path("runs") / f"{recipe.task}-{datetime.now():%Y%m%d-%H%M%S}")
    if not dry_run:
        if resume and place.is_finished():
            say(f"{place.target} is finished")
            return {"model": str(place.target), **store.read_metrics(place.target)}
        place.claim(resume=resume, overwrite=overwrite)
    job = _plan(recipe, data=data, dev=dev, test=test, format=format, limit=limit)
    if dry_run:
        return _summary(job)
    with place.locked():
        place.write("recipe.yaml", job.recipe.to_yaml())
        from bertft.training.fit import fit

        model, engine = fit(job, place.checkpoints, device=device, resume=resume)
        splits = job.splits.named()
        metrics = {name: score(engine, rows, extra) for name, rows in splits.items() if name != "train"}
        infos = {name: rows.info for name, rows in splits.items()}
        if is_main_process():
            store.write(
                place.bundle,
                model=model,
                tokenizer=job.tokenizer,
                task=job.task,
                window=job.window,
                recipe=job.recipe,
                metrics=metrics,
                data=infos,
                card=card.render(job.recipe, job.task, metrics, infos),
            )
            place.publish()
    return {"model": str(place.target), **metrics}


def _plan(recipe: Recipe, *, data: str, dev: str | None, test: str | None, format: str, limit: int | None) -> Job:
    """Read the files, learn the labels, load the tokenizer and cut the training rows into windows."""
    kind = formats.parse_format(format)

    def read(path: str, task: Task[Any, Any, Any]) -> Labelled:
        return read_labelled(task, path, format=kind, encoding=recipe.encoding, columns=recipe.columns, limit=limit)

    task: Task[Any, Any, Any] = task_class(recipe.task).restore(recipe.options, {"labels": []})
    rows = read(data, task)
    if dev is None:
        kept, held = hold_out(
            rows.examples, share=recipe.holdout, seed=recipe.seed, group=task.group, labels=task.labels_of
        )
        say(f"no --dev: {len(held):,} of {len(rows.examples):,} rows held out by group, seed {recipe.seed}")
        task = task.prepare(kept)
        rows = Labelled(kept, {**rows.info, "rows": len(kept)})
        held_out = Labelled(held, {**rows.info, "rows": len(held)})
    else:
        task = task.prepare(rows.examples)
        held_out = read(dev, task)
    splits = Splits(rows, held_out, read(test, task) if test else None)

    checkpoint = load.resolve(recipe.model)
    config = load.load_config(checkpoint)
    tokenizer = load.load_tokenizer(checkpoint, config)
    tokenizer.words.check([example.words for example in rows.examples[:_CHECKED_ROWS]])
    window = store.default_window(tokenizer, recipe.options["window"], recipe.options["stride"])
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


def _summary(job: Job) -> dict[str, Any]:
    counts = job.counts
    return {
        "recipe": job.recipe.to_yaml(),
        "labels": dict(job.label_counts().most_common()),
        "tokens": {
            "examples": counts.examples,
            "words": counts.words,
            "tokens": counts.tokens,
            "tokens_per_word": round(counts.tokens / max(counts.words, 1), 3),
            "unknown": counts.unknown,
            "vanished": counts.vanished,
            "windows": counts.windows,
            "windowed": counts.windowed,
            "window": job.window.length,
            "stride": job.window.stride,
        },
    }
