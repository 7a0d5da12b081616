"""`eval`: a model and a labelled file in, metrics out. `train` reads and scores with the same functions."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from bertft import digest
from bertft.bundle.store import open_bundle
from bertft.console import detail, say, warn
from bertft.data import formats
from bertft.data.formats import Format
from bertft.data.row import Place
from bertft.errors import DataError, UsageError, first_line
from bertft.inference.engine import LOOK_AHEAD, Engine
from bertft.inference.judged import Judged
from bertft.inference.load import BackendName, Precision, engine
from bertft.scoring import calibration
from bertft.scoring.breakdown import details, surface_forms
from bertft.scoring.intervals import described
from bertft.tasks.base import Counts, Task
from bertft.tasks.context import in_context

_ORIGIN = {"trained from": "model", "seed of its training": "seed"}
_TEXTS = frozenset({"tokens", "text", "text_a", "text_b", "question", "context"})
"""The roles of what a model reads."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A labelled file as examples, with its path, hash and number of rows."""

    examples: list[Any]
    info: dict[str, Any]
    roles: Mapping[str, Any] = field(default_factory=dict)
    """The fields that hold what the model reads."""
    rows: Sequence[int] = ()
    """Which of the file's rows, from 0, each example is, and last how many rows there are."""


def read_labelled(
    task: Task[Any, Any, Any],
    path: str,
    *,
    use: Literal["train", "dev", "test"] = "train",
    format: Format | None = None,
    encoding: str | None = None,
    columns: Mapping[str, str] | None = None,
    preferred: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> Labelled:
    """Read a labelled file and say what it was taken for; raises DataError for the first row that is wrong.

    `use` chooses the part of a file that holds several.
    """
    opened = formats.read(
        path,
        wanted=task.wanted,
        format=format,
        encoding=encoding,
        columns=columns,
        preferred=preferred,
        unit=task.unit,
        labelled=True,
        use=use,
    )
    opened = in_context(opened, task.context)
    say(opened.describe())
    texts = [role for alternative in task.wanted for role in alternative if role in _TEXTS]
    has_gold = any(len(alternative) > 1 for alternative in task.wanted)  # else blank lines part texts
    excluded: Counter[str] = Counter()
    empty: list[Place] = []
    parsed = []
    numbers: list[int] = []
    count = 0
    for count, row in enumerate(islice(opened.rows, limit), 1):
        if row.excluded:
            excluded[row.excluded] += 1
            continue
        parsed.append(task.parse(row, labelled=True))
        numbers.append(count - 1)
        if has_gold and any(_is_empty(row.get(role)) for role in texts):
            empty.append(row.place)
    if limit and next(opened.rows, None) is not None:
        say(f"{path}: only its first {limit:,} rows are read, as --limit says")
    for reason, number in excluded.items():
        warn(f"{path}: {number:,} rows left out: {reason}")
    if empty:
        warn(f"{path}: empty texts: {len(empty):,}, the first at {empty[0]}; they count like others")
    try:
        examples, notes, warnings = task.convert(parsed)
    except DataError as error:
        raise error if error.place else DataError(error.fact, place=path, help=error.help) from None
    for note in notes:
        say(f"{path}: {note}")
    for warning in warnings:
        warn(f"{path}: {warning}")
    if len(examples) < len(parsed):  # what is left out is no copy
        number_of = {id(example): number for example, number in zip(parsed, numbers, strict=True)}
        numbers = [number_of.get(id(example), -1) for example in examples]  # a document is no row
    info = {"path": path, "sha256": hash_of(path, examples), "rows": len(examples)}
    return Labelled(examples, info, opened.roles, [*numbers, count])


def _is_empty(text: object) -> bool:
    return text == [] or (isinstance(text, str) and not text.strip())


def evaluate(
    model: str,
    data: str,
    *,
    format: str = "auto",
    encoding: str | None = None,
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    device: str = "auto",
    batch_tokens: int | None = None,
    backend: BackendName = "auto",
    precision: Precision = "auto",
    metrics: Sequence[str] = (),
    train: str | None = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    observe: Callable[[Judged], None] | None = None,
) -> dict[str, Any]:
    """Return the metrics of a saved model on a labelled file, fractions of 1, their intervals, and where it fails.

    With the data of its training, `train`, a tagger's entities are told apart by whether they were in it.
    `observe` is given what a report is made of.

    Raises ModelError, DataError or UsageError for a model, a file or an argument that cannot be used.
    """
    extra = ExtraMetrics(metrics, trust_remote_code)
    kind = formats.parse_format(format)
    bundle = open_bundle(model, allow_pickle=allow_pickle)
    if bundle.assumed:
        say(bundle.assumed)
    preferred = bundle.manifest.get("columns")

    def read(path: str, use: Literal["train", "test"], limit: int | None) -> Labelled:
        given: dict[str, Any] = {"format": kind, "encoding": encoding, "columns": columns, "preferred": preferred}
        return read_labelled(bundle.task, path, use=use, limit=limit, **given)

    labelled = read(data, "test", limit)
    known = read(train, "train", None) if train else None
    ready = engine(
        bundle, device=device, batch_tokens=batch_tokens, backend=backend, precision=precision, measuring=True
    )
    pairs, counts = ready.evaluate(labelled.examples)
    report_counts(counts)
    scores = {**measure(bundle.task, pairs), **extra.score(bundle.task, pairs)}
    seen = None
    if known is not None:
        seen = surface_forms(bundle.task.outcomes([(example, None) for example in known.examples]))
    windowed = _windowed(ready, labelled.examples) if counts.windowed else None
    found = details(bundle.task.outcomes(pairs), [*scores.get("intervals", {})], windowed=windowed, seen=seen)
    scores |= found
    if observe is not None:
        about = {"ran on": ready.runs_on, **_origin(bundle.manifest)}
        observe(
            Judged.of("test", bundle.task, pairs, scores=scores, info=labelled.info, about=about, columns=preferred)
        )
    return scores


def _origin(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return what a bundle says of its training."""
    found = {name: str(manifest[key]) for name, key in _ORIGIN.items() if manifest.get(key) is not None}
    for split, info in manifest.get("data", {}).items():
        found[f"its {split} data"] = f"{info['path']}, {info['rows']:,} rows, sha256 {info['sha256']}"
    return found


def _windowed(ready: Engine, examples: Sequence[Any]) -> list[bool]:
    """Say of each example whether it is longer than a window."""
    pieces = [0] * len(examples)
    for start in range(0, len(examples), LOOK_AHEAD):
        windows, _ = ready.task.features(examples[start : start + LOOK_AHEAD], ready.encoder, ready.window)
        for window in windows:
            pieces[start + window.example] += 1
    return [count > 1 for count in pieces]


def where_it_fails(ready: Engine, pairs: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    """Return where a model fails on rows that it has answered: what `evaluate` adds to the metrics."""
    windowed = _windowed(ready, [example for example, _ in pairs])
    return details(ready.task.outcomes(pairs), ready.task.headline, windowed=windowed)


def measure(task: Task[Any, Any, Any], pairs: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    """Return the task's metrics and, besides, how sure they are and how far its probabilities can be believed.

    `intervals` are of the headline and come from `bootstrap`; `coverage` is what `predict --min-score` would answer.
    """
    scores, outcomes = task.score(pairs), task.outcomes(pairs)
    found = {**scores, **described(outcomes, [key for key in task.headline if key in scores])}
    judged = task.judged(pairs)
    if judged is not None:
        found["calibration"] = calibration.described(judged, outcomes.groups)
    if verdicts := task.verdicts(pairs):
        found["coverage"] = calibration.coverage(*zip(*verdicts, strict=True))
    return found


def report_counts(counts: Counts) -> None:
    """Say what tokenization met: what was windowed or cut, what vanished, and that no word was lost."""
    size = f"{counts.examples:,} examples, {counts.tokens:,} sub-tokens"
    lost = f"{counts.unread:,} sub-tokens of {counts.cut:,} examples cut off"
    if counts.words:
        size = f"{counts.words:,} words in {size}"
        lost = f"{counts.words - counts.owned:,} of {counts.words:,} words lost"
    say(f"{size}; {counts.windowed:,} examples longer than a window; {lost}")
    if counts.vanished:
        say(f"{counts.vanished:,} words vanish in the tokenizer's normaliser; each is read as one unknown token")
    detail(f"{counts.unknown:,} unknown sub-tokens, {counts.windows:,} windows")
    if counts.unknown > 0.2 * counts.tokens:
        share = f"{counts.unknown / counts.tokens:.0%} of the sub-tokens are unknown"
        warn(f"{share}: is the encoder for this language? `bertft models` lists others (xlm-roberta-base, muril, …)")


class ExtraMetrics:
    """Metrics beyond the task's own, by name or path, through `evaluate.load`.

    They are loaded at once, so that a wrong name is said before a training; one that fails later is a warning.
    """

    def __init__(self, names: Sequence[str], trust_remote_code: bool) -> None:
        if names and not trust_remote_code:  # a name stands for a script of the Hub
            raise UsageError(
                f"the metric {names[0]!r} is somebody's code, and loading it runs it",
                help="`--trust-remote-code` allows that, once you have read it",
            )
        self._metrics = {name: _load_metric(name) for name in names}

    def score(self, task: Task[Any, Any, Any], pairs: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
        """Return `{"extra": {name: results}}`, or nothing where no metric was asked for."""
        if not self._metrics:
            return {}
        references, predictions = task.references(pairs)
        results: dict[str, Any] = {}
        for name, metric in self._metrics.items():
            try:
                results[name] = _jsonable(metric.compute(references=references, predictions=predictions))
            except Exception as error:  # foreign code; what it was asked for besides must not be lost with it
                results[name] = None
                warn(f"the metric {name!r} failed: {first_line(error)}")
        return {"extra": results}


def _load_metric(name: str) -> Any:
    import evaluate

    try:
        return evaluate.load(name)
    except Exception as error:  # a metric is foreign code, and evaluate's own errors have no common base
        advice = "a metric's name is looked up on the Hub; offline, give the path of its script"
        raise UsageError(f"cannot load the metric {name!r}: {first_line(error)}", help=advice) from error


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(inner) for inner in value]
    return value.item() if hasattr(value, "item") else value


def hash_of(path: str, examples: Sequence[Any]) -> str:
    """Return the file's sha256; of a folder, a part of a file or a data set of the Hub, that of what was read."""
    if os.path.isfile(path):
        return digest.of_file(path)
    every = hashlib.sha256()
    for example in examples:
        every.update(repr(example).encode())
    return every.hexdigest()
