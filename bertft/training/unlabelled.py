"""Texts without gold, for a student to learn from: their labels are what the teacher answers."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

from bertft.check.examples import text_of
from bertft.console import say
from bertft.data import formats
from bertft.data.formats import Format
from bertft.errors import DataError, UsageError, inline
from bertft.inference.evaluate import Labelled, hash_of
from bertft.inference.load import engine
from bertft.recipe import Recipe
from bertft.tasks.base import Task
from bertft.tasks.context import in_context
from bertft.training.teacher import Teacher


def read_unlabelled(
    task: Task[Any, Any, Any],
    path: str,
    teacher: Teacher,
    recipe: Recipe,
    *,
    format: Format | None,
    limit: int | None,
    device: str,
) -> Labelled:
    """Return the rows of a file with the teacher's answers as their gold, whatever labels the file has.

    Raises DataError for a row that cannot be read, or a file without texts; UsageError for a teacher of another task.
    """
    teaching = teacher.bundle.task
    if teaching.name != task.name:
        raise UsageError(f"--unlabelled: the teacher is for {teaching.name}, and cannot read rows of {task.name}")
    opened = formats.read(
        path, wanted=task.wanted, format=format, encoding=recipe.encoding, columns=recipe.columns, unit=task.unit
    )
    opened = in_context(opened, max(task.context, teaching.context))  # each reads of it what it was made for
    say(opened.describe())
    every = [task.parse(row, labelled=False) for row in islice(opened.rows, limit)]
    examples = [example for example in every if text_of(example).strip()]
    if not examples:
        raise DataError("there is no text in the file", place=path)
    from bertft.inference.pytorch import visible

    pairs, _ = engine(teacher.bundle, device=visible(device)).evaluate(examples)
    taught = [teaching.taught(example, prediction) for example, prediction in pairs]
    blank = f", {len(every) - len(examples):,} blank ones left out" if len(examples) < len(every) else ""
    counts = Counter(label for example in taught for label in teaching.labels_of(example))
    labels = ", ".join(f"{inline(label)} {n:,}" for label, n in counts.most_common(20))
    say(f"{path}: {len(examples):,} rows with the teacher's answers{': ' + labels if labels else ''}{blank}")
    return Labelled(taught, {"path": path, "sha256": hash_of(path, examples), "rows": len(examples)})
