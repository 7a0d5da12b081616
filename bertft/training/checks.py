"""`check`: what is wrong with files and a recipe, found without training and without torch; and its short form.

Every row is read, and those that cannot be are findings like others. Sub-tokens are counted on a sample.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from bertft.bundle import generator, store
from bertft.check import model, settings
from bertft.check.examples import (
    Splits,
    check_between,
    check_examples,
    check_train,
    check_values,
    text_of,
    without_gold,
)
from bertft.check.findings import Finding, bounded, finding, in_order
from bertft.check.leaks import Keys
from bertft.check.model import Reading
from bertft.check.schemes import Spans, check_spans
from bertft.check.texts import scripts
from bertft.console import command, detail, is_main_process, muted, say, warn
from bertft.data import formats, parts
from bertft.data.formats import Format
from bertft.data.row import Place, Row
from bertft.encoders import adapters, families, load, stored
from bertft.encoders.stored import Stored
from bertft.errors import DataError, first_line, inline
from bertft.recipe import Recipe, check_options
from bertft.tasks import task_class
from bertft.tasks.base import Task
from bertft.tasks.context import in_context
from bertft.text.words import split_words
from bertft.training import sampling

_SAMPLE = 10_000
"""Rows whose sub-tokens are counted, and at most so many characters of them:"""
_SAMPLE_CHARACTERS = 2_000_000
_GOLD = {"ner": "scheme-row", "qa": "qa-row", "mlm": "text-empty"}
_SHORT_ROWS = 200_000
_SHORT_LINES = 3
_SAID = frozenset({"label-unseen", "label-empty", "leak-same", "qa-share", "text-empty", "train-steps", "train-few"})
"""Codes that training says in its own words, or that are no news to one who trains."""


class TrainRows(NamedTuple):
    """What is left of train when a run begins: its path, how many rows it has, and what their texts are known by."""

    path: str
    rows: int
    keys: Keys


@dataclass(frozen=True, slots=True)
class _File:
    """What one file gave: its examples, their ids, what is wrong with the rest, and its character spans."""

    name: Literal["train", "dev", "test"]
    path: str
    examples: list[Any] = field(default_factory=list)
    ids: dict[Place, str] = field(default_factory=dict)
    spans: list[Spans] = field(default_factory=list)
    found: list[Finding] = field(default_factory=list)


def check(
    recipe: Recipe,
    *,
    data: str,
    dev: str | None = None,
    test: str | None = None,
    format: str = "auto",
    limit: int | None = None,
) -> list[Finding]:
    """Return what is wrong with the files, with the encoder for them, and with the recipe, the worst first.

    Raises DataError, ModelError or UsageError for a file, an encoder or a setting that cannot be used at all.
    """
    recipe = check_options(recipe, task_class(recipe.task).options_class)
    kind = formats.parse_format(format)
    options = dict(recipe.options)
    task: Task[Any, Any, Any] = task_class(recipe.task).restore(options, {})
    named: list[tuple[Literal["train", "dev", "test"], str]] = [("train", data)]
    inside = parts.uses(formats.parts(data, format=kind, encoding=recipe.encoding))
    named += [("dev", path) for path in (dev or (data if "dev" in inside else None),) if path]
    named += [("test", path) for path in (test or (data if "test" in inside else None),) if path]
    found: list[Finding] = []
    files = []
    for name, path in named:
        file = _read(task, path, name=name, recipe=recipe, kind=kind, limit=limit)
        found += file.found
        found += bounded(check_spans(file.spans))
        if not file.examples:
            continue
        task, examples, more = _understood(task, file, learn=name == "train")
        found += more
        if examples:
            files.append(replace(file, examples=examples))
    if files and files[0].name == "train":  # all else is about train, or beside it
        ids = {place: name for file in files for place, name in file.ids.items()}
        splits = [(file.name, file.path, file.examples) for file in files]
        found += check_examples(task, splits, ids=ids)
        found += _check_model(task, files[0].path, files[0].examples, recipe)
    return in_order(dict.fromkeys(found))


def _read(
    task: Task[Any, Any, Any],
    path: str,
    *,
    name: Literal["train", "dev", "test"],
    recipe: Recipe,
    kind: Format | None,
    limit: int | None,
) -> _File:
    """Read all rows of a file that can be read; raises DataError where none can be come by."""
    opened = formats.read(
        path,
        wanted=task.wanted,
        format=kind,
        encoding=recipe.encoding,
        columns=recipe.columns,
        unit=task.unit,
        labelled=True,
        use=name,
    )
    opened = in_context(opened, task.context)
    say(opened.describe())
    file = _File(name, path)
    count = 0
    while limit is None or count < limit:
        try:
            row = next(opened.rows, None)
        except DataError as error:
            if not count:
                raise
            message = f"{error.fact}; the file is not read further"
            file.found.append(finding("text-unreadable", "error", message, at=_place(error, path), fix=error.help))
            break
        if row is None:
            break
        count += 1
        if row.excluded:
            continue
        try:
            example = task.parse(row, labelled=True)
        except DataError as error:
            file.found.append(_bad_row(task, row, error))
            continue
        file.examples.append(example)
        if (named := row.values.get("id")) is not None:
            file.ids[row.place] = str(named)
        if task.name == "ner" and not example.tokenized:
            file.spans.append(_spans(row, example))
    if not count:
        raise DataError("there is no record in the file", place=path)
    return replace(file, found=bounded(file.found))


def _bad_row(task: Task[Any, Any, Any], row: Row, error: DataError) -> Finding:
    code = _GOLD.get(task.name, "label-missing")
    if "is not valid" in error.fact:
        code = "text-encoding"
    elif task.name != "ner":  # where its words and tags stand on one line
        try:
            task.parse(row, labelled=False)
        except DataError:
            code = "text-unreadable"
    named = row.values.get("id")
    identity = None if named is None else str(named)
    return finding(code, "error", error.fact, at=_place(error, row.place), id=identity, fix=error.help)


def _place(error: DataError, otherwise: Place | str) -> Place | str:
    return error.place if isinstance(error.place, Place) else otherwise


def _spans(row: Row, example: Any) -> Spans:
    """Return the character spans of a row, which its parsing has found to be spans."""
    given = row.get("entities")
    each = [(s["start"], s["end"], s["label"]) if isinstance(s, Mapping) else tuple(s) for s in given]
    return Spans(example.raw, each, example.spans, row.place)


def _understood(
    task: Task[Any, Any, Any], file: _File, *, learn: bool
) -> tuple[Task[Any, Any, Any], list[Any], list[Finding]]:
    """Return the task, with what it learns from train, and a file's examples with labels as it reads them."""
    examples, found = check_values(task, file.examples)
    lenient = replace(task, options=replace(task.options, on_bad_tags="repair")) if task.name == "ner" else task  # type: ignore[type-var]
    try:
        if task.name in ("ner", "mlm"):  # of a corpus, blank lines are left out
            examples = lenient.convert(examples)[0]
        if learn:
            task, _ = task.prepare([x for x in examples if getattr(x, "usable", True)])
    except DataError as error:
        if not any(one.severity == "error" for one in found):
            code = {"ner": "scheme-nothing", "qa": "qa-share"}.get(task.name, "label-single")
            if "nothing to learn" not in error.fact:
                code = "text-document" if "one document" in error.fact else _GOLD.get(task.name, "label-missing")
            found.append(finding(code, "error", error.fact, at=_place(error, file.path), fix=error.help))
    return task, examples, found


# -- the encoder and the settings --------------------------------------------------------------------------------------


def _check_model(task: Task[Any, Any, Any], path: str, examples: Sequence[Any], recipe: Recipe) -> list[Finding]:
    checkpoint = load.resolve(recipe.starts_from, allow_pickle=True)  # no weights are read
    encoder = stored.read(checkpoint, presplit=task.presplit)
    head = task.head()
    families.check_objective(encoder.settings, head.told, detects=head.detects)
    generator.check(head, recipe, encoder.subwords, allow_pickle=True)
    window = store.default_window(
        encoder, recipe.options["window"], recipe.options["stride"], reserved=adapters.reserved(recipe.adapters)
    )
    blind = [replace(x, **without_gold(x)) for x in _sample(examples)]
    windows, counts = task.features(blind, encoder.subwords, window)
    texts = [text_of(x) for x in blind]
    longest = max(examples, key=lambda x: len(text_of(x)))
    _, alone = task.features([replace(longest, **without_gold(longest))], encoder.subwords, window)
    words = counts.words or sum(len(split_words(text)) for text in texts)
    reading = Reading(
        path,
        replace(counts, windowed=max(counts.windowed, alone.windowed), cut=max(counts.cut, alone.cut)),
        words,
        sum(len(text) - text.count(" ") for text in texts),
        longest.place,
        alone.tokens,
        window.length,
        scripts(texts),
        len(blind) < len(examples),
    )
    case = None
    if task.name == "ner" and getattr(task, "best_metric", "") == "f1":
        case = model.case_of([(x.words, x.tags) for x in _sample(examples) if x.tags is not None])
    found = model.check_model(recipe.starts_from, reading, case=case, lower_cases=stored.lower_cases(encoder.subwords))
    scale = len(examples) / len(blind)
    tokens = round(scale * sum(len(window.input_ids) for window in windows))
    return found + _check_settings(task, recipe, encoder, rows=len(examples), tokens=tokens, path=path)


def _sample(examples: Sequence[Any]) -> list[Any]:
    """Return some of the examples, evenly from all of the file: not more than can be read in a second or two."""
    step = max(1, -(-len(examples) // _SAMPLE))
    characters = sum(len(text_of(x)) for x in examples[::step])
    return list(examples[:: step * max(1, -(-characters // _SAMPLE_CHARACTERS))])


def _check_settings(
    task: Task[Any, Any, Any], recipe: Recipe, encoder: Stored, *, rows: int, tokens: int, path: str
) -> list[Finding]:
    mean = max(1, round(tokens / rows))
    lengths, windows = np.full(rows, mean), np.ones(rows, dtype=np.int64)
    _, batch = sampling.batch_size(recipe, lengths, windows, tags=task.name == "ner")
    base = adapters.learning_rate(recipe.adapters, families.learning_rate(encoder.settings))
    rate = float(recipe.trainer.get("learning_rate", sampling.learning_rate(base, batch)))
    size = settings.Size(rows, tokens, batch, round(batch * mean))
    known = settings.parameters(encoder.config)
    usual = settings.ADAPTER_RATES if recipe.peft else settings.RATES
    return settings.check_settings(recipe.trainer, size, rate=rate, usual=usual, encoder=known, path=path)


def found_quietly(recipe: Recipe, *, data: str, **files: Any) -> tuple[list[Finding], str]:
    """Return what `check` finds in files that were read before, and why it could not look; say nothing."""
    if any(
        os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)) for path in (data, *_paths(files))
    ):
        return [], "it came through a pipe"
    try:
        with muted():
            return check(recipe, data=data, **files), ""
    except Exception as error:  # what is wrong with a check must not take a report with it
        return [], first_line(error)


def _paths(files: Mapping[str, Any]) -> list[str]:
    return [files[name] for name in ("dev", "test") if files.get(name)]


# -- the short form ----------------------------------------------------------------------------------------------------


def tell_of_train(task: Task[Any, Any, Any], path: str, examples: Sequence[Any]) -> None:
    """Say the worst of what can quickly be found in the rows of train; whatever fails here stops nothing."""
    if len(examples) <= _SHORT_ROWS:
        _tell(lambda: check_train(task, path, examples))


def tell_of_run(recipe: Recipe, task: Task[Any, Any, Any], train: TrainRows, others: Splits, *, batch: float) -> None:
    """Say the worst of what dev and test share with train, and of the recipe's numbers; then which command says all."""

    def found() -> list[Finding]:
        rate = float(recipe.trainer["learning_rate"])
        size = settings.Size(train.rows, 0, batch, 0)
        usual = settings.ADAPTER_RATES if recipe.peft else settings.RATES
        worst = settings.check_settings(recipe.trainer, size, rate=rate, usual=usual, encoder=None, path=train.path)
        few = sum(len(examples) for *_, examples in others) <= _SHORT_ROWS
        return worst + (check_between(task, others, train.keys) if few else [])

    _tell(found)
    say(f"`{_command(recipe, train.path, others)}` says more about data and recipe")


def _tell(check: Callable[[], list[Finding]]) -> None:
    if not is_main_process():
        return
    try:
        found = check()
    except Exception as error:  # a check that fails must not take a training with it
        detail(f"the data was not checked: {first_line(error)}")
        return
    worst = in_order(one for one in found if one.severity != "note" and one.code not in _SAID)
    for one in worst[:_SHORT_LINES]:
        line = f"{one.place + ': ' if one.place else ''}{inline(one.message)} ({one.code})"
        (warn if one.severity == "error" else say)(line)
    if len(worst) > _SHORT_LINES:
        say(f"and {len(worst) - _SHORT_LINES:,} more")


def _command(recipe: Recipe, data: str, others: Splits) -> str:
    given = command() or ()
    name = given[1] if len(given) > 1 and given[0] == "train" else recipe.task
    files = [("data", data), *((part, path) for part, path, _ in others if path != data)]
    return " ".join(["bertft check", name, *(f"--{option} {shlex.quote(path)}" for option, path in files)])
