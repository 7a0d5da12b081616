"""The files of a run: read, the labels learnt, and some rows held out where there is no dev."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, Literal

from bertft.console import say, warn
from bertft.data import formats, parts
from bertft.inference.evaluate import Labelled, read_labelled
from bertft.recipe import Recipe
from bertft.tasks import task_class
from bertft.tasks.base import Task
from bertft.training import checks, split

Read = Callable[[str, Task[Any, Any, Any], Literal["train", "dev", "test"]], Labelled]


def rows_of(
    recipe: Recipe, *, data: str, dev: str | None, format: str, limit: int | None
) -> tuple[Task[Any, Any, Any], Labelled, Labelled]:
    """Return the task with what it learns from the training rows, these rows, and those of dev, or what is held out.

    Raises DataError or UsageError for files that cannot be used.
    """
    read = reader(recipe, format=format, limit=limit)
    task, train = learnt(task_class(recipe.task).restore(recipe.options, {}), data, read)
    if dev is None and "dev" in inside_of(data, recipe, format):
        dev = data
    if dev is None:
        return task, *hold_out(recipe, task, train)
    held_out = read(dev, task, "dev")
    warn_of_twins(task, (("--data", train), ("--dev", held_out)))
    return task, train, held_out


def reader(recipe: Recipe, *, format: str, limit: int | None) -> Read:
    """Return what reads a file as the recipe says."""
    kind = formats.parse_format(format)

    def read(path: str, task: Task[Any, Any, Any], use: Literal["train", "dev", "test"]) -> Labelled:
        return read_labelled(
            task, path, use=use, format=kind, encoding=recipe.encoding, columns=recipe.columns, limit=limit
        )

    return read


def learnt(task: Task[Any, Any, Any], data: str, read: Read) -> tuple[Task[Any, Any, Any], Labelled]:
    """Return the task with what it learns from the training rows, and these."""
    train = read(data, task, "train")
    task, notes = task.prepare(train.examples)
    for note in notes:
        say(f"{data}: {note}")
    checks.tell_of_train(task, data, train.examples)
    return task, train


def inside_of(data: str, recipe: Recipe, format: str) -> frozenset[str]:
    """Return what the parts of the training file are for, where it has several."""
    return parts.uses(formats.parts(data, format=formats.parse_format(format), encoding=recipe.encoding))


def hold_out(recipe: Recipe, task: Task[Any, Any, Any], train: Labelled) -> tuple[Labelled, Labelled]:
    """Return the training rows without those that are held out, and these."""
    kept, held = split.hold_out(
        train.examples, share=recipe.holdout, seed=recipe.seed, keys=task.group, labels=task.labels_of
    )
    total = len(train.examples)
    share = f"{len(held):,} of {total:,} rows ({len(held) / total:.0%}) held out at random, seed {recipe.seed}"
    say(f"no --dev: {share}; rows of one text, question or document stay together")
    return part_of(train, kept), part_of(train, held)


def warn_of_twins(task: Task[Any, Any, Any], files: Sequence[tuple[str, Labelled | None]]) -> None:
    """Warn where two options name the same rows; a file of several parts may be named for each of them."""
    for (first, one), (second, other) in combinations(files, 2):
        if one is None or other is None or one.info["sha256"] != other.info["sha256"]:
            continue
        # places differ between copies of a file
        rows = [[(task.group(x), tuple(task.labels_of(x))) for x in side.examples] for side in (one, other)]
        if rows[0] == rows[1]:
            warn(f"{second} has the same rows as {first}: what is scored on them says nothing about other data")


def part_of(rows: Labelled, examples: Sequence[Any]) -> Labelled:
    """Return some of the rows of a file."""
    return Labelled(list(examples), {**rows.info, "rows": len(examples)})
