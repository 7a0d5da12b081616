"""What bertft says to a file, and whether that is right: an error in one clean block with a place, or the right rows.

A file is read as `train` and `eval` read it (`labelled`), or as `predict` does: through the task, a real tokenizer, a
model of no weight (`Sines`) and the writers. What is wrong is raised as `Wrong`; whatever else comes out, that is no
`BertftError`, is a traceback for a user, and so a failure too.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import random
import re
import signal
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from bertft.bundle.store import open_bundle
from bertft.data import formats
from bertft.data.row import Place, Row
from bertft.data.source import open_source
from bertft.errors import BertftError, DataError, UsageError
from bertft.inference.engine import Engine
from bertft.inference.predict import Filter
from bertft.recipe import check_options, load
from bertft.tasks import task_class
from bertft.tasks.base import Logits, Parameters, Task, Window, WindowSize
from bertft.tasks.target import Target

SECONDS = 5.0
"""How long a file of a megabyte may take."""

_PARSED = 50_000
_ROWS_SECONDS = 0.06
"""What 50,000 rows take to be made where nothing else runs."""

csv.field_size_limit(2**30)


class Wrong(Exception):  # noqa: N818
    """What came out is no clean error and no right result."""


class Hang(BaseException):
    """A file took too long. No Exception, so that nothing takes it for an error of its own."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is read."""

    task: str
    labelled: bool
    format: Any = None
    encoding: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    to: Any = None
    on_error: Any = "null"


class Sines:
    """A backend whose logits depend on nothing but the input."""

    in_background = False

    def __init__(self, task: Task[Any, Any, Any]) -> None:
        self._task = task

    def logits(self, batch: Sequence[Window]) -> list[Logits]:
        """Return logits of the shapes that the heads of the tasks have."""
        labels = len(self._task.head().labels)
        found = []
        for window in batch:
            ids = np.array(window.input_ids, dtype=np.float32)[:, None]
            wave = np.sin(ids * np.arange(1, (labels or 2) + 1, dtype=np.float32))  # (tokens, labels)
            found.append(wave.mean(axis=0) if self._task.name in ("classify", "pair") else wave)
        return found

    def parameters(self) -> Parameters:
        """Return none."""
        return {}


def known_task(name: str) -> Task[Any, Any, Any]:
    """Return a task that has been trained, as far as a file is concerned."""
    state: dict[str, Any] = {"labels": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]}
    if name in ("classify", "pair"):
        state = Target("single_label_classification", ("good", "bad, or so")).state()
    return task_class(name).restore({}, {"null": True} if name == "qa" else state)


# -- time -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def in_time(seconds: float = SECONDS) -> Iterator[None]:
    """Raise Wrong where what is done takes longer than that of a processor for itself."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang

    clocks = {signal.SIGPROF: (signal.ITIMER_PROF, 4 * seconds), signal.SIGALRM: (signal.ITIMER_REAL, 12 * seconds)}
    before = {number: signal.signal(number, stop) for number in clocks}
    for clock, limit in clocks.values():
        signal.setitimer(clock, limit)
    started = time.process_time()
    try:
        yield
    except Hang as hang:
        frames = traceback.extract_tb(hang.__traceback__)
        where = next(
            (f"{frame.name} ({frame.lineno})" for frame in reversed(frames) if "bertft/" in frame.filename), ""
        )
        raise Wrong(f"hangs in {where}") from None
    finally:
        for number, (clock, _) in clocks.items():
            signal.setitimer(clock, 0)
            signal.signal(number, before[number])
    if (took := time.process_time() - started) > seconds and took > seconds * _pace():
        raise Wrong(f"took {took:.1f} s")


def _pace() -> float:
    """Return how many times slower than alone this processor is now, with whatever else runs on it."""
    started = time.process_time()
    for number in range(50_000):
        Row(Place("-", number), {"text": ""})
    return max(1.0, (time.process_time() - started) / _ROWS_SECONDS)


# -- errors ---------------------------------------------------------------------------------------------------------


def check_error(error: BertftError, path: str, *, placed: bool = True) -> str:
    """Return what a user is shown; raises Wrong where it is no clean block, or says no place in or beside `path`."""
    shown = str(error)
    if any(not (c.isprintable() or c in "\n\t") for c in shown):
        raise Wrong(f"the error can drive a terminal: {shown!r:.300}")
    if len(shown) > 8000 or shown.count("\n") > 60:
        raise Wrong(f"the error is {len(shown):,} characters long: {shown[:300]!r}")
    fact, *rest = shown.split("\n")
    if not fact.strip() or any(line and not line.startswith("  ") for line in rest):
        raise Wrong(f"the error is not one block: {shown!r:.300}")
    if error.exit_code not in (2, 3, 4):
        raise Wrong(f"the exit code is {error.exit_code}: {shown!r:.300}")
    if placed and isinstance(error, DataError):
        place = str(error.place)
        root = str(Path(path).parent) if path != "-" else "-"
        if error.place is None or not place.startswith(root):
            raise Wrong(f"the error has no place in the file: {shown!r:.300}")
        if isinstance(error.place, Place) and not 1 <= error.place.line <= _last_line(error.place.path) + 1:
            raise Wrong(f"the error's line is none of the file: {shown!r:.300}")
    return shown


def _last_line(path: str) -> int:
    """Return how many lines a file has, at most: what is compressed, a table of Arrow or stdin has any number."""
    if path == "-" or not Path(path).is_file():
        return 2**31
    data = Path(path).read_bytes()
    magic = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PAR1", b"ARROW1")
    return 2**31 if data.startswith(magic) or path.endswith(".arrow") else data.count(b"\n") + 1


# -- files of data --------------------------------------------------------------------------------------------------


def read(path: str, how: Reading, engine: Engine) -> tuple[str, list[Row]]:
    """Read a file; return a line that is the same whenever it is read, and its rows (none where it is refused)."""
    told: list[str] = []
    rows: list[Row] = []
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        try:
            opened = formats.read(
                path,
                wanted=engine.task.wanted,
                format=how.format,
                encoding=how.encoding,
                columns=how.columns,
                unit=engine.task.unit,
                labelled=how.labelled,
            )
            told.append(opened.describe())
            rows = list(opened.rows)
            _check_rows(rows, opened)
            told.append(repr(rows))
            if how.labelled:
                told += _learnt(rows, path, task_class(how.task)())
            else:
                told += _answered(rows, opened, how, engine)
        except BertftError as error:
            told.append(check_error(error, path))
    if bad := [c for c in stderr.getvalue() if not (c.isprintable() or c in "\n\t")]:
        raise Wrong(f"stderr can drive a terminal: {bad[:5]!r}")
    return "\n".join(told), rows


def read_long(path: str, how: Reading) -> bool:
    """Read a long file, its first records through the task too; say whether it has any."""
    task, count = task_class(how.task)(), 0
    try:
        opened = formats.read(path, wanted=task.wanted, format=how.format, unit=task.unit, labelled=how.labelled)
        for count, row in enumerate(opened.rows, 1):
            if count > _PARSED:
                continue
            try:
                task.parse(row, labelled=how.labelled)
            except BertftError as error:
                if count % 1000 == 1:
                    check_error(error, path)
    except BertftError as error:
        check_error(error, path)
    return count > 0


def _check_rows(rows: Sequence[Row], opened: formats.Input) -> None:
    """Raise Wrong where rows are out of order, or lines of the file are in no row or in two."""
    source = opened.source
    numbers = [line.number for row in rows for line in row.lines]
    if source is None or not numbers:
        return
    head = [line.number for line in opened.dialect.head] if opened.dialect else []
    places = [row.place.line for row in rows]
    if places != sorted(set(places)):
        raise Wrong("the places of the rows do not increase")
    if opened.path == "-":
        return
    lines = list(open_source(opened.path, source.encoding).lines())
    filled = [line.number for line in lines if line.content.strip(" ")]
    texts = {line.number: line.content for line in lines}
    expected = {
        "text": [line.number for line in lines],
        "jsonl": [number for number in filled if texts[number].strip()],
        "fasttext": [number for number in filled if texts[number].strip()],
        "csv": filled,
        "tsv": filled,
    }.get(opened.format)
    got = [*head, *numbers]
    if opened.format in ("csv", "tsv"):
        got = [number for number in got if texts[number].strip(" ")]
    if opened.format == "conll":
        gap = {*texts} - {*got}
        if len(got) != len({*got}) or any(texts[number].strip(" \t\r\n") for number in gap if number < max(got)):
            raise Wrong("a line of the file is in no row, or in two")
    elif expected is not None and got != expected:
        raise Wrong(f"the rows hold {len(got)} lines of {len(expected)}")


def _learnt(rows: Sequence[Row], path: str, task: Task[Any, Any, Any]) -> list[str]:
    """Return what the task makes of labelled rows: errors of records, or examples, notes and labels."""
    told, parsed = [], []
    for row in rows:
        if row.excluded:
            continue
        try:
            parsed.append(task.parse(row, labelled=True))
        except BertftError as error:
            told.append(check_error(error, path))
    try:
        examples, notes, warnings = task.convert(parsed)
        told += [*notes, *warnings]
        task, notes = task.prepare(examples)
        told += [*notes, repr(task.state())]
        examples, notes, warnings = task.convert(parsed)
        for example in examples:
            [*task.labels_of(example)]
            hash(task.group(example))
        task.objective(examples)
    except BertftError as error:
        told.append(check_error(error, path, placed=False))
    return told


def _answered(rows: Sequence[Row], opened: formats.Input, how: Reading, engine: Engine) -> list[str]:
    """Return what `predict` writes, and what it was told of bad records."""
    if opened.path == "-":
        return []
    filter_ = Filter(engine, how.to, on_error=how.on_error, scores=bool(len(rows) % 2))
    blocks: list[bytes] = []
    told = []
    try:
        blocks.extend(filter_.answer(replace(opened, rows=iter(rows))))
    except BertftError as error:
        told.append(check_error(error, opened.path))
        return [*told, repr(blocks)]
    target = how.to or (opened.format if opened.format in ("conll", "csv", "tsv") else "jsonl")
    kept = opened.source is not None and target == opened.format != "jsonl"
    same = opened.source.encoding if opened.source and kept else "utf-8"
    text = b"".join(blocks).decode(same, "surrogateescape")
    if how.on_error == "null":
        _check_output(text, rows, opened, target, failed=filter_.failed, answered=filter_.answered)
    return [*told, text]


def _check_output(
    text: str, rows: Sequence[Row], opened: formats.Input, target: str, *, failed: int, answered: int
) -> None:
    """Raise Wrong where the output is not one answer for each record, in order, with the record's own fields."""
    if target == "conll" and opened.format == "conll":
        lines = [line.text for row in rows for line in row.lines]
        out = text.splitlines(keepends=True) if False else re.findall(r"[^\n]*\n|[^\n]+\Z", text)
        stay = all(b.startswith(a.rstrip("\r\n")) or "|" in b for a, b in zip(lines, out, strict=False))
        if len(lines) != len(out) or not stay:
            raise Wrong(f"{len(lines)} lines of tokens, {len(out)} lines out")
        return
    records = [row for row in rows if row.error or row.values.get("tokens")] if opened.format == "conll" else rows
    if failed + answered != len(records):
        raise Wrong(f"{failed} + {answered} records of {len(records)} counted")
    if target == "jsonl":
        out = [json.loads(line) for line in text.split("\n")[:-1]]
        if len(out) != len(records):
            raise Wrong(f"{len(out)} lines for {len(records)} records")
        for row, found in zip(records, out, strict=True):
            kept = {name: value for name, value in row.values.items() if name != "prediction"}
            found.pop("prediction")
            if row.error is None and opened.format == "jsonl" and repr(found) != repr(kept):
                raise Wrong(f"the fields {kept!r:.200} came out as {found!r:.200}")
    elif target == opened.format:
        head = "".join(line.text for line in opened.dialect.head) if opened.dialect else ""
        own = [head, *("".join(line.text for line in row.lines) for row in rows)]
        at = 0
        for record in filter(None, own):
            body = record.removesuffix("\n").removesuffix("\r")
            if not text.startswith(body, at):
                raise Wrong(f"the record {body!r:.100} is not what stands there: {text[at : at + 100]!r}")
            at = text.index("\n", at + len(body)) + 1
    elif target in ("csv", "tsv") and records:
        cells = [*csv.reader(io.StringIO(text, newline=""), delimiter="," if target == "csv" else "\t")]
        if len(cells) != len(records) + 1 or len({*map(len, cells)}) != 1:
            raise Wrong(f"{len(cells)} records out, of {[*{*map(len, cells)}]} cells, for {len(records)} in")


def check_records(rows: Sequence[Row], records: Sequence[Mapping[str, Any]]) -> None:
    """Raise Wrong unless the rows are these records, in this order or, of folders, in any."""
    found = [{role: _bare(row.get(role)) for role in record} for row, record in zip(rows, records, strict=False)]
    if faulty := next((row.error for row in rows if row.error), None):
        raise Wrong(f"a right record is refused: {faulty}")
    key = repr if all("file" in row.values for row in rows) else lambda record: ""
    if len(rows) != len(records):
        raise Wrong(f"{len(rows)} rows of {len(records)}")
    for got, expected in zip(sorted(found, key=key), sorted(map(dict, records), key=key), strict=True):
        if got != expected:
            raise Wrong(f"{got!r} where there is {expected!r}")


def _bare(value: Any) -> Any:
    """Return a value, of spans only what tasks read of them: `start`, `end` and `label`."""
    if isinstance(value, list) and value and all(isinstance(item, dict) and "label" in item for item in value):
        return [{name: item[name] for name in ("start", "end", "label")} for item in value]
    return value


# -- recipes and bundles --------------------------------------------------------------------------------------------


def read_recipe(path: str, overrides: Sequence[str] = ()) -> str:
    """Load a recipe as `train` does; one that is accepted must come back from its own YAML."""
    try:
        recipe = load(path, overrides)
        recipe = check_options(recipe, task_class(recipe.task).options_class)
    except UsageError as error:
        return check_error(replace_lines(error), path)
    text = recipe.to_yaml()
    Path(path).write_text(text, encoding="utf-8")
    if repr(load(path)) != repr(recipe):
        raise Wrong(f"{recipe!r} comes back as {load(path)!r}")
    return text


def replace_lines(error: BertftError) -> BertftError:
    """Return a recipe's error with its further problems, one a line, as lines of the block."""
    error.fact = error.fact.replace("\n", "\n  ")
    return error


def read_bundle(path: str, rng: random.Random) -> str:
    """Open a bundle and answer with it, where it opens."""
    try:
        bundle = open_bundle(path)
    except BertftError as error:
        return check_error(error, path)
    rows = [
        {"text": "Ann lives in Oslo", "text_a": "a b", "text_b": "c", "question": "who?", "context": "Ann in Oslo"},
        {"text": "", "text_a": "", "text_b": "x" * 3000, "question": "?", "context": ""},
    ]
    try:
        examples = [bundle.task.parse(Row(Place("-", i), row), labelled=False) for i, row in enumerate(rows, 1)]
        engine = Engine(bundle.task, bundle.tokenizer, WindowSize(*_both(bundle.window)), Sines(bundle.task))
        predictions, _ = engine.predict(examples)
        return repr([bundle.task.render(*pair, scores=True) for pair in zip(examples, predictions, strict=True)])
    except BertftError as error:
        return check_error(error, path, placed=False)


def _both(window: WindowSize) -> tuple[int, int]:
    return window.length, window.stride
