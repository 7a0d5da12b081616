"""`inspect tokens`: a row as the model gets it, with the labels that training would give it. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bertft.bundle import store
from bertft.bundle.store import MANIFEST, Bundle, open_bundle
from bertft.console import say
from bertft.data import formats
from bertft.data.row import Place
from bertft.encoders import adapters, embedded, families, load, stored
from bertft.encoders.subwords import SubwordTokenizer
from bertft.errors import DataError
from bertft.inference.evaluate import read_labelled
from bertft.inspection.pieces import Seen, seen
from bertft.inspection.rows import Reading, Spot, find, spot
from bertft.recipe import Recipe, check_options
from bertft.tasks import task_class
from bertft.tasks.base import IGNORED, Task, Window, WindowSize


@dataclass(frozen=True, slots=True)
class Reader:
    """What reads a text: a task, a tokenizer, the windows that are cut, and the encoder's configuration."""

    model: str
    task: Task[Any, Any, Any]
    tokenizer: SubwordTokenizer
    window: WindowSize
    config: Any

    @classmethod
    def of_recipe(cls, recipe: Recipe) -> Reader:
        """Return what a recipe's training reads with; raises ModelError or UsageError for what cannot be used."""
        task: Task[Any, Any, Any] = task_class(recipe.task).restore(recipe.options, {})
        checkpoint = load.resolve(recipe.starts_from, allow_pickle=True)  # no weights are read
        if checkpoint.name == embedded.NAME or find_spec("transformers") is None:
            # what transformers may change about a tokenizer, it does not change about this one
            found = stored.read(checkpoint, presplit=task.presplit)
            window = store.default_window(
                found, recipe.options["window"], recipe.options["stride"], reserved=adapters.reserved(recipe.adapters)
            )
            return cls(recipe.starts_from, task, found.subwords, window, found.settings)
        config = load.load_config(checkpoint)
        tokenizer = load.load_tokenizer(checkpoint, config, presplit=task.presplit)
        window = store.default_window(
            tokenizer, recipe.options["window"], recipe.options["stride"], reserved=adapters.reserved(recipe.adapters)
        )
        return cls(recipe.starts_from, task, tokenizer.subwords, window, config)

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> Reader:
        """Return what a trained model reads with."""
        directory = Path(bundle.checkpoint.location)
        config = stored.settings(directory) if bundle.checkpoint.is_directory else load.load_config(bundle.checkpoint)
        return cls(bundle.checkpoint.name, bundle.task, bundle.tokenizer, bundle.window, config)


def is_bundle(name: str) -> bool:
    """Say whether `name` is the directory of a trained model, not a recipe."""
    path = Path(name)
    return path.is_dir() and any((path / one).is_file() for one in (MANIFEST, "config.json"))


def tokens_of_recipe(recipe: Recipe, given: str, *, reading: Reading) -> dict[str, Any]:
    """Return what training by a recipe sees of the row that `FILE:LINE` names, of a file that it learns labels from.

    Raises DataError, ModelError or UsageError for a row, a file or an encoder that cannot be used.
    """
    where = spot(given)
    recipe = check_options(recipe, task_class(recipe.task).options_class)
    reading = replace(reading, columns=recipe.columns or reading.columns, encoding=recipe.encoding or reading.encoding)
    reader = Reader.of_recipe(recipe)
    number, place = _located(reader.task, where, reading)
    examples, rows = _labelled(reader.task, where, reading)
    task, notes = reader.task.prepare(examples)
    for note in notes:
        say(f"{where.path}: {note}")
    return described(replace(reader, task=task), _chosen(examples, rows, number, place), place)


def tokens_of_model(name: str, given: str, *, reading: Reading) -> dict[str, Any]:
    """Return what a trained model sees of the row that `FILE:LINE` names; labels only where the file has them.

    Raises DataError, ModelError or UsageError for a row, a file or a model that cannot be used.
    """
    where = spot(given)
    bundle = open_bundle(name, allow_pickle=True)
    if bundle.assumed:
        say(bundle.assumed)
    reader = Reader.of_bundle(bundle)
    reading = replace(reading, preferred=bundle.manifest.get("columns"))
    try:
        number, place = _located(reader.task, where, reading)
        examples, rows = _labelled(reader.task, where, reading)
    except DataError as error:
        opened = reading.open(where.path, reader.task, labelled=False, use="train")
        _, row = find(where, opened.rows)
        say(f"{where.path}: read without labels: {error.fact}")
        return described(reader, reader.task.parse(row, labelled=False), row.place)
    return described(reader, _chosen(examples, rows, number, place), place)


def _located(task: Task[Any, Any, Any], where: Spot, reading: Reading) -> tuple[int, Place]:
    opened = reading.open(where.path, task, labelled=True, use="train")
    number, row = find(where, opened.rows)
    if row.excluded:
        raise DataError(f"training leaves this row out: {row.excluded}", place=row.place)
    if row.error is not None:
        raise row.error
    return number, row.place


def _labelled(task: Task[Any, Any, Any], where: Spot, reading: Reading) -> tuple[list[Any], list[int]]:
    read = read_labelled(
        task,
        where.path,
        use="train",
        format=formats.parse_format(reading.format),
        encoding=reading.encoding,
        columns=reading.columns,
        preferred=reading.preferred,
    )
    return read.examples, list(read.rows[:-1])


def _chosen(examples: list[Any], rows: list[int], number: int, place: Place) -> Any:
    if number not in rows:
        raise DataError("training leaves this row out, as the warnings say", place=place)
    return examples[rows.index(number)]


def described(reader: Reader, example: Any, place: Place | None) -> dict[str, Any]:
    """Return an example as JSON values: its texts and words, and each window's tokens with what goes with them."""
    found = seen(reader.task, example, reader.tokenizer, reader.window)
    labels = reader.task.head().labels
    owner = {
        found.tokens[i][position].word: i
        for i, window in enumerate(found.windows)
        for position in window.owned
        if found.texts[-1].own
    }
    windows = [
        {
            **({} if reader.task.presplit else _target(window, labels)),
            "tokens": [_token(found, i, at, reader=reader) for at in range(len(window.input_ids))],
        }
        for i, window in enumerate(found.windows)
    ]
    return {
        "place": None if place is None else str(place),
        "task": reader.task.name,
        "model": reader.model,
        "window": asdict(reader.window),
        "labels": list(labels),
        "texts": [
            {
                "text": source.text,
                "words": [
                    {
                        "text": source.text[start:end],
                        "start": start,
                        "end": end,
                        **({"window": owner[word]} if source.own else {}),
                    }
                    for word, (start, end) in enumerate(source.words)
                ],
            }
            for source in found.texts
        ],
        "unread": found.counts.unread,
        "vanished": found.counts.vanished,
        "windows": windows,
    }


def _target(window: Window, labels: Sequence[str]) -> dict[str, Any]:
    """Return what the loss compares with a window's one answer; nothing where it compares token by token."""
    target = window.target
    match target:
        case int():
            return {"target": {"id": target, "label": labels[target]}}
        case float():
            return {"target": {"value": target}}
        case (int(start), int(end)):
            return {"target": {"start": start, "end": end}}
        case [float(), *_]:
            return {"target": {"labels": dict(zip(labels, target, strict=True))}}
    return {}


def _token(found: Seen, number: int, at: int, *, reader: Reader) -> dict[str, Any]:
    window, token = found.windows[number], found.tokens[number][at]
    first = families.first_position(reader.config)
    source = None if token.number is None else found.texts[token.number]
    shown: dict[str, Any] = {
        "token": token.text,
        "id": token.id,
        "text": token.number,
        "word": token.word,
        "offsets": None if token.start is None else [token.start, token.end],
        "characters": None if source is None else source.text[token.start : token.end],
        "segment": window.segments[at] if families.has_segments(reader.config) else None,
        "position": None if first is None else first + at,
        "attention": 1,
    }
    if len(window.owned):
        shown["owned"] = at in window.owned
    if reader.task.presplit and isinstance(window.target, list):
        label = int(window.target[at])
        shown["label_id"] = label
        shown["label"] = None if label == IGNORED else reader.task.head().labels[label]
    return shown
