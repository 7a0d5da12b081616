"""What a run needs, worked out before torch is imported: files read, labels learnt, rows cut into windows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

from bertft.bundle import store
from bertft.console import say, warn
from bertft.data import formats, parts
from bertft.encoders import load
from bertft.encoders.families import learning_rate
from bertft.encoders.load import Checkpoint, Tokenizer
from bertft.errors import DataError, UsageError
from bertft.inference.engine import LOOK_AHEAD
from bertft.inference.evaluate import Labelled, read_labelled, report_counts
from bertft.recipe import Recipe
from bertft.tasks import task_class
from bertft.tasks.base import Counts, Objective, Task, Window, WindowSize
from bertft.training import items, sampling, split
from bertft.training.items import Items

_CHECKED_ROWS = 200
_SIZE = "per_device_train_batch_size"


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a training run needs. Without `dev` there is no evaluation and the last model is the model."""

    recipe: Recipe
    task: Task[Any, Any, Any]
    train: Labelled
    dev: Labelled | None
    test: Labelled | None
    checkpoint: Checkpoint
    tokenizer: Tokenizer
    window: WindowSize
    objective: Objective
    items: Items
    batch_tokens: int | None
    """What a batch holds; None: as many examples as the recipe says."""
    counts: Counts

    def label_counts(self) -> Counter[str]:
        """Return how often each label stands in the training rows."""
        return Counter(label for example in self.train.examples for label in self.task.labels_of(example))

    def named(self) -> dict[str, Labelled]:
        """Return the splits that there are, by name."""
        splits = {"train": self.train, "dev": self.dev, "test": self.test}
        return {name: rows for name, rows in splits.items() if rows is not None}

    def folds(self, count: int) -> Iterator[Job]:
        """Yield the job of each fold, with all else as it is; raises DataError for rows that cannot be cut so."""
        parts = split.folds(
            self.train.examples, count=count, seed=self.recipe.seed, keys=self.task.group, labels=self.task.labels_of
        )
        return (self._on(train, held) for train, held in parts)

    def _on(self, train: Sequence[Any], dev: Sequence[Any]) -> Job:
        rows = _part(self.train, train)
        objective = self.task.objective(train)
        drawn, counts, _ = _items(self.task, rows, objective, self.tokenizer, self.window)
        return replace(self, train=rows, dev=_part(self.train, dev), objective=objective, items=drawn, counts=counts)


def plan(
    recipe: Recipe, *, data: str, dev: str | None, test: str | None, format: str, limit: int | None, folds: int | None
) -> Job:
    """Read the files, learn the labels, load the tokenizer and cut the training rows into windows.

    With `folds` no development data is needed: nothing is held out, and evaluation is off.

    Raises DataError, ModelError or UsageError for a file, an encoder or a setting that cannot be used.
    """
    kind = formats.parse_format(format)

    def read(path: str, task: Task[Any, Any, Any], use: Literal["train", "dev", "test"]) -> Labelled:
        return read_labelled(
            task, path, use=use, format=kind, encoding=recipe.encoding, columns=recipe.columns, limit=limit
        )

    task: Task[Any, Any, Any] = task_class(recipe.task).restore(recipe.options, {})
    train = read(data, task, "train")
    task, notes = task.prepare(train.examples)
    for note in notes:
        say(f"{data}: {note}")
    inside: frozenset[str] = frozenset()
    if dev is None or test is None:
        inside = parts.uses(formats.parts(data, format=kind, encoding=recipe.encoding))
    if dev is None and "dev" in inside:
        if folds:
            warn(f"{data}: its part for development is not used; --folds cross-validates on the one for training")
        dev = None if folds else data
    held_out = read(dev, task, "dev") if dev else None
    if dev is None and not folds:
        kept, held = split.hold_out(
            train.examples, share=recipe.holdout, seed=recipe.seed, keys=task.group, labels=task.labels_of
        )
        total = len(train.examples)
        share = f"{len(held):,} of {total:,} rows ({len(held) / total:.0%}) held out at random, seed {recipe.seed}"
        say(f"no --dev: {share}; rows of one text, question or document stay together")
        train, held_out = _part(train, kept), _part(train, held)
    tested = read(test, task, "test") if test else None
    if test is None and "test" in inside:
        try:
            tested = read(data, task, "test")
        except DataError as error:  # many published data sets keep the labels of their test part back
            warn(f"{data}: its part for testing is not used: {error.fact}")
    _warn_of_twins(task, (("--data", train), ("--dev", held_out if dev else None), ("--test", tested)))

    checkpoint = load.resolve(recipe.model)
    config = load.load_config(checkpoint)
    tokenizer = load.load_tokenizer(checkpoint, config, presplit=task.presplit)
    if task.presplit:
        tokenizer.subwords.check([example.words for example in train.examples[:_CHECKED_ROWS]])
    window = store.default_window(tokenizer, recipe.options["window"], recipe.options["stride"])
    for key in ("num_train_epochs", _SIZE, "gradient_accumulation_steps"):
        if recipe.trainer.get(key, 1) <= 0:
            raise UsageError(f"trainer.{key}: {recipe.trainer[key]} is not more than 0")
    recipe = replace(recipe, trainer=_consistent(recipe.trainer))
    objective = task.objective(train.examples)
    drawn, counts, notes = _items(task, train, objective, tokenizer, window)
    lengths, windows = drawn.longest, drawn.windows
    tokens = None
    if not {_SIZE, "train_sampling_strategy"} & recipe.trainer.keys():
        tokens = recipe.batch_tokens or sampling.batch_tokens(
            lengths, windows, tags=objective.loss in ("tokens", "crf")
        )
    examples = tokens / float((lengths * windows).mean()) if tokens else recipe.trainer.get(_SIZE, sampling.BATCH)
    rate = sampling.learning_rate(learning_rate(config), examples)
    recipe = replace(recipe, trainer={"learning_rate": rate, "report_to": "none", **recipe.trainer})
    job = Job(recipe, task, train, held_out, tested, checkpoint, tokenizer, window, objective, drawn, tokens, counts)
    if labels := job.label_counts():
        say("labels in train: " + ", ".join(f"{label} {n:,}" for label, n in labels.most_common(20)))
    report_counts(counts)
    for note in notes:
        say(note)
    return job


def _warn_of_twins(task: Task[Any, Any, Any], files: Sequence[tuple[str, Labelled | None]]) -> None:
    """Warn where two options name the same rows; a file of several parts may be named for each of them."""
    for (first, one), (second, other) in combinations(files, 2):
        if one is None or other is None or one.info["sha256"] != other.info["sha256"]:
            continue
        # places differ between copies of a file
        rows = [[(task.group(x), tuple(task.labels_of(x))) for x in side.examples] for side in (one, other)]
        if rows[0] == rows[1]:
            warn(f"{second} has the same rows as {first}: what is scored on them says nothing about other data")


def _items(
    task: Task[Any, Any, Any], rows: Labelled, objective: Objective, tokenizer: Tokenizer, window: WindowSize
) -> tuple[Items, Counts, list[str]]:
    """Return what training draws batches of, what tokenization met, and sentences on what is left out."""
    total = Counts()

    def chunks() -> Iterator[list[Window]]:
        nonlocal total
        for start in range(0, len(rows.examples), LOOK_AHEAD):
            some, counts = task.features(rows.examples[start : start + LOOK_AHEAD], tokenizer.subwords, window)
            total += counts
            yield some

    drawn, notes = items.collect(chunks(), objective, path=rows.info["path"])
    return drawn, total, notes


def _part(rows: Labelled, examples: Sequence[Any]) -> Labelled:
    return Labelled(list(examples), {**rows.info, "rows": len(examples)})


def without_evaluation(recipe: Recipe) -> Recipe:
    """Return the recipe for a run without development data."""
    off = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
    return replace(recipe, trainer={**recipe.trainer, **off})


def _consistent(trainer: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with best-model selection off where evaluation is off; it could not work."""
    if trainer.get("eval_strategy", "no") != "no" or not trainer.get("load_best_model_at_end"):
        return trainer
    say("evaluation is off: the last model is kept, and early stopping is off")
    return {**trainer, "load_best_model_at_end": False}
