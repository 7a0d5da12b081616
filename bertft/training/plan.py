"""What a run needs, worked out before torch is imported: files read, labels learnt, rows cut into windows."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bertft.bundle import generator, store
from bertft.check.examples import keys
from bertft.console import recorded, say, warn
from bertft.data import formats
from bertft.data.row import Place
from bertft.encoders import adapters, families, load
from bertft.encoders.load import Checkpoint, Tokenizer
from bertft.errors import DataError, UsageError, inline
from bertft.inference.engine import LOOK_AHEAD
from bertft.inference.evaluate import Labelled, report_counts
from bertft.recipe import Recipe
from bertft.tasks import task_class
from bertft.tasks.base import Counts, Objective, Task, Window, WindowSize
from bertft.training import cache, checks, sampling, split
from bertft.training.files import hold_out, inside_of, learnt, part_of, reader, warn_of_twins
from bertft.training.items import Items, collect
from bertft.training.teacher import Teacher
from bertft.training.unlabelled import read_unlabelled

_CHECKED_ROWS = 200


@dataclass(frozen=True, slots=True)
class Encoder:
    """What reads the text: the checkpoint with its configuration, its tokenizer, and the windows that are cut."""

    checkpoint: Checkpoint
    config: Any
    tokenizer: Tokenizer
    window: WindowSize

    @classmethod
    def load(cls, recipe: Recipe, *, presplit: bool, allow_pickle: bool = False) -> Encoder:
        """Load what the recipe names; raises ModelError, or UsageError for a window that cannot be."""
        checkpoint = load.resolve(recipe.starts_from, allow_pickle=allow_pickle)
        config = load.load_config(checkpoint)
        if recipe.adapters is not None:
            adapters.check(recipe.adapters, config)
        tokenizer = load.load_tokenizer(checkpoint, config, presplit=presplit)
        window = store.default_window(
            tokenizer, recipe.options["window"], recipe.options["stride"], reserved=adapters.reserved(recipe.adapters)
        )
        return cls(checkpoint, config, tokenizer, window)


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a training run needs. Without `dev` there is no evaluation and the last model is the model."""

    recipe: Recipe
    task: Task[Any, Any, Any]
    train: Labelled
    """Its examples are kept for `folds` alone."""
    dev: Labelled | None
    test: Labelled | None
    encoder: Encoder
    objective: Objective
    items: Items
    batch_tokens: int | None
    """What a batch holds; None: as many examples as the recipe says."""
    batch_examples: float
    """How many those are, on average."""
    counts: Counts
    labels: Counter[str]
    """How often each label stands in the training rows."""
    teacher: Teacher | None = None
    unlabelled: Labelled | None = None
    """Rows with the teacher's answers; they are among the items."""

    @property
    def metric(self) -> str:
        """The dev metric by which one model is better than another."""
        return str(self.recipe.trainer.get("metric_for_best_model") or self.task.best_metric).removeprefix("eval_")

    def named(self) -> dict[str, Labelled]:
        """Return the splits that there are, by name."""
        splits = {"train": self.train, "unlabelled": self.unlabelled, "dev": self.dev, "test": self.test}
        return {name: rows for name, rows in splits.items() if rows is not None}

    def infos(self) -> dict[str, dict[str, Any]]:
        """Return the path, hash and number of rows of each split, by name."""
        return {name: rows.info for name, rows in self.named().items()}

    def described(self) -> dict[str, str]:
        """Return what a batch and a window hold, in words."""
        examples = f"{round(self.batch_examples, 1):g} examples"
        window = self.encoder.window
        return {
            "batch": examples if self.batch_tokens is None else f"{self.batch_tokens:,} tokens, about {examples}",
            "window": f"{window.length:,} tokens, {window.stride:,} of them shared with the next",
        }

    def folds(self, count: int) -> Iterator[Job]:
        """Yield the job of each fold, with all else as it is; raises DataError for rows that cannot be cut so."""
        parts = split.folds(
            self.train.examples, count=count, seed=self.recipe.seed, keys=self.task.group, labels=self.task.labels_of
        )
        return (self._on(train, held) for train, held in parts)

    def _on(self, train: Sequence[Any], dev: Sequence[Any]) -> Job:
        rows = part_of(self.train, train)
        fold = _prepared(self.task, rows, self.encoder)
        return replace(
            self,
            train=rows,
            dev=part_of(self.train, dev),
            objective=fold.objective,
            items=fold.items,
            counts=fold.counts,
            labels=fold.labels,
        )


def plan(
    recipe: Recipe,
    *,
    data: str,
    dev: str | None,
    test: str | None,
    format: str,
    limit: int | None,
    folds: int | None,
    unlabelled: str | None = None,
    device: str = "auto",
    allow_pickle: bool = False,
) -> Job:
    """Read the files, learn the labels, load the tokenizer and cut the training rows into windows.

    With `folds` no development data is needed: nothing is held out, and evaluation is off. The rows of `unlabelled` are
    answered by the teacher, on `device`, for which torch is imported.

    Raises DataError, ModelError or UsageError for a file, an encoder or a setting that cannot be used.
    """
    read = reader(recipe, format=format, limit=limit)
    if recipe.adapters is not None:
        adapters.check_installed("`peft:` in the recipe")
    for key in ("num_train_epochs", sampling.SIZE, "gradient_accumulation_steps"):
        if recipe.trainer.get(key, 1) <= 0:
            raise UsageError(f"trainer.{key}: {recipe.trainer[key]} is not more than 0")
    task: Task[Any, Any, Any] = task_class(recipe.task).restore(recipe.options, {})
    teacher = Teacher.open(recipe, allow_pickle=allow_pickle)
    if unlabelled and teacher is None:
        raise UsageError(
            "--unlabelled: a teacher is to answer these rows", help="name a trained model with `--teacher`"
        )
    encoder: Encoder | None = None
    entry = None
    before: cache.Prepared | None = None
    if not folds and not unlabelled and _is_kept(data, dev, test):
        encoder = Encoder.load(recipe, presplit=task.presplit, allow_pickle=allow_pickle)
        settings = {"task": recipe.task, "options": recipe.options, "columns": recipe.columns, "limit": limit}
        read_as = {"format": format, "encoding": recipe.encoding, "window": asdict(encoder.window)}
        entry = cache.key(data, encoder.tokenizer.subwords.backend.to_str(), settings | read_as)
        before = cache.read(entry, task)
    said: Sequence[tuple[str, str]] = ()
    if before is None:
        with recorded() as said:
            task, train = learnt(task, data, read)
    else:
        say(f"{data}: {before.info['rows']:,} rows, read and tokenized by an earlier run, which said:")
        before.repeat(data)
        task = before.task
        train = Labelled([], {**before.info, "path": data})
        before.items.moved(before.info["path"], data)
    inside: frozenset[str] = frozenset()
    if dev is None or test is None:
        inside = inside_of(data, recipe, format)
    if dev is None and "dev" in inside:
        if folds:
            warn(f"{data}: its part for development is not used; --folds cross-validates on the one for training")
        dev = None if folds else data
    held_out = read(dev, task, "dev") if dev else None
    if dev is None and not folds:
        kept, held_out = hold_out(recipe, task, train)
        if teacher is not None and teacher.may_know(train.info, recipe):
            warn("the teacher may have learnt the rows that are held out; `--dev` names rows that it has not")
        train = kept
    tested = read(test, task, "test") if test else None
    if test is None and "test" in inside:
        try:
            tested = read(data, task, "test")
        except DataError as error:  # many published data sets keep the labels of their test part back
            warn(f"{data}: its part for testing is not used: {error.fact}")
    warn_of_twins(task, (("--data", train), ("--dev", held_out if dev else None), ("--test", tested)))

    encoder = encoder or Encoder.load(recipe, presplit=task.presplit, allow_pickle=allow_pickle)
    extra: Labelled | None = None
    head = task.head()
    families.check_objective(encoder.config, head.told, detects=head.detects)
    generator.check(head, recipe, encoder.tokenizer.subwords, allow_pickle=allow_pickle)
    if teacher is not None:
        teacher.check(task, encoder.tokenizer.subwords, window=encoder.window.length)
        if unlabelled:
            extra = read_unlabelled(
                task, unlabelled, teacher, recipe, format=formats.parse_format(format), limit=limit, device=device
            )
    if before is None:
        if task.presplit:
            encoder.tokenizer.subwords.check([example.words for example in train.examples[:_CHECKED_ROWS]])
        more = extra.examples if extra else ()
        before = replace(_prepared(task, train, encoder, more=more), said=said, texts=keys(task, train.examples))
        if entry is not None:
            cache.write(entry, before)
    job = _job(recipe, before, train if folds else replace(train, examples=[]), held_out, encoder)
    told = replace(extra, examples=[]) if extra else None
    job = replace(job, test=tested, teacher=teacher, unlabelled=told)
    if job.labels:
        say("labels in train: " + ", ".join(f"{inline(label)} {n:,}" for label, n in job.labels.most_common(20)))
    report_counts(job.counts)
    for note in before.notes:
        say(note)
    trained = checks.TrainRows(data, train.info["rows"], before.texts)
    named = (("dev", held_out if dev else None), ("test", tested))
    others = [(name, rows.info["path"], rows.examples) for name, rows in named if rows is not None]
    checks.tell_of_run(job.recipe, task, trained, others, batch=job.batch_examples)
    return job


def job_of(recipe: Recipe, task: Task[Any, Any, Any], train: Labelled, dev: Labelled, encoder: Encoder) -> Job:
    """Return the job of training an encoder on rows that have been read."""
    if task.presplit:
        encoder.tokenizer.subwords.check([example.words for example in train.examples[:_CHECKED_ROWS]])
    return _job(recipe, _prepared(task, train, encoder), train, dev, encoder)


def _job(recipe: Recipe, prepared: cache.Prepared, train: Labelled, dev: Labelled | None, encoder: Encoder) -> Job:
    """Return the job with the batches and the learning rate of the encoder and the rows."""
    items, objective = prepared.items, prepared.objective
    tokens, examples = sampling.batch_size(recipe, items.longest, items.windows, tags=objective.per_token)
    return Job(
        _complete(recipe, encoder, examples),
        prepared.task,
        train,
        dev,
        None,
        encoder,
        objective,
        items,
        tokens,
        examples,
        prepared.counts,
        prepared.labels,
    )


def _is_kept(data: str, dev: str | None, test: str | None) -> bool:
    """Say whether what is read of the training file is kept: it is large, and nothing is held out of it."""
    if dev is None or not all(os.path.isfile(path) for path in (data, dev, test) if path):
        return False
    size, *others = (os.path.getsize(path) for path in (data, dev, test) if path)
    return size >= cache.LEAST_BYTES and size not in others  # the same rows twice are to be warned of


def _prepared(
    task: Task[Any, Any, Any], rows: Labelled, encoder: Encoder, *, more: Sequence[Any] = ()
) -> cache.Prepared:
    """Return the training rows, and `more` examples, as what training draws batches of; some are encoded at a time."""
    total = Counts()
    every = [*rows.examples, *more]
    objective = task.objective(rows.examples)

    def chunks() -> Iterator[tuple[list[Place], list[Window]]]:
        nonlocal total
        for start in range(0, len(every), LOOK_AHEAD):
            some = every[start : start + LOOK_AHEAD]
            windows, counts = task.lessons(some, encoder.tokenizer.subwords, encoder.window)
            total += counts
            yield [example.place for example in some], windows

    drawn, notes = collect(chunks(), objective, path=rows.info["path"])
    labels = Counter(label for example in rows.examples for label in task.labels_of(example))
    return cache.Prepared(task, rows.info, objective, drawn, total, labels, notes)


def _complete(recipe: Recipe, encoder: Encoder, examples: float) -> Recipe:
    """Return the recipe with the learning rate of such an encoder and batches of so many examples, if it has none."""
    full = families.learning_rate(encoder.config)
    rate = sampling.learning_rate(adapters.learning_rate(recipe.adapters, full), examples)
    return replace(recipe, trainer={"learning_rate": rate, "report_to": "none", **_consistent(recipe.trainer)})


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
