"""`train`: a recipe and labelled files in, a bundle and its scores out."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from bertft.bundle import card, store
from bertft.console import is_main_process, say
from bertft.errors import UsageError
from bertft.inference.evaluate import ExtraMetrics, score
from bertft.recipe import Recipe, check_options
from bertft.tasks import task_class
from bertft.training.directory import RunDirectory
from bertft.training.plan import Job, plan


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
    directory = RunDirectory(Path(out) if out else Path("runs") / f"{recipe.task}-{datetime.now():%Y%m%d-%H%M%S}")
    if not dry_run:
        if resume and directory.is_finished():
            say(f"{directory.target} is finished")
            return {"model": str(directory.target), **store.read_metrics(directory.target)}
        directory.claim(resume=resume, overwrite=overwrite)
    job = plan(recipe, data=data, dev=dev, test=test, format=format, limit=limit)
    if dry_run:
        return _summary(job)
    with directory.locked():
        directory.begin(job.recipe.to_yaml(), _inputs(job), resume=resume)
        from bertft.training.fit import fit

        model, engine = fit(job, directory.checkpoints, device=device, resume=resume)
        splits = job.splits.named()
        metrics = {name: score(engine, rows, extra) for name, rows in splits.items() if name != "train"}
        infos = {name: rows.info for name, rows in splits.items()}
        if is_main_process():
            store.write(
                directory.bundle,
                model=model,
                tokenizer=job.tokenizer,
                task=job.task,
                window=job.window,
                recipe=job.recipe,
                metrics=metrics,
                data=infos,
                card=card.render(job.recipe, job.task, metrics, infos),
            )
            directory.publish()
    return {"model": str(directory.target), **metrics}


def _inputs(job: Job) -> dict[str, Any]:
    """Return what a resumed run must have in common with the one that was interrupted."""
    settings = {f"recipe {key}": value for key, value in asdict(job.recipe).items()}
    data = {f"data {name}": rows.info["sha256"] for name, rows in job.splits.named().items()}
    return {**settings, **data, "labels": list(job.task.head().labels), "rows": len(job.splits.train.examples)}


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
