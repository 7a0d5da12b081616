"""`compare`: models, files of predictions, or both, on the same labelled rows: which is better, and is that chance?"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal, cast

from bertft.bundle.store import Bundle, open_bundle
from bertft.console import say, warn
from bertft.data import formats
from bertft.data.row import Row
from bertft.errors import DataError, UsageError, did_you_mean
from bertft.inference import predictions
from bertft.inference.evaluate import Labelled, read_labelled
from bertft.inference.load import BackendName, Precision, engine
from bertft.inference.predictions import Told
from bertft.inference.writers import FIELD
from bertft.scoring import significance
from bertft.scoring.intervals import LEVEL, intervals
from bertft.scoring.outcomes import Outcomes
from bertft.scoring.resampling import units
from bertft.tasks import task_class
from bertft.tasks.base import Task

if TYPE_CHECKING:
    from bertft.tasks.pair import ClassifyPair

AnyTask = Task[Any, Any, Any]
TaskName = Literal["auto", "classify", "pair", "ner", "qa"]

_BY_KEY = {"answer": "qa", "entities": "ner", "tags": "ner"}
_BY_ROW = {"accuracy": "label", "subset_accuracy": "labels", "exact_match": "answer"}
"""Metrics that are a share of rows, for which McNemar's test is made, and the kind of outcomes that they are of."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How the data is read and the models are run."""

    format: str = "auto"
    encoding: str | None = None
    columns: Mapping[str, str] | None = None
    limit: int | None = None
    task: TaskName = "auto"
    field: str = FIELD
    device: str = "auto"
    batch_tokens: int | None = None
    backend: BackendName = "auto"
    precision: Precision = "auto"
    allow_pickle: bool = False


def compare(
    systems: Sequence[str],
    data: str,
    *,
    metric: str | None = None,
    samples: int = significance.SAMPLES,
    seed: int = 0,
    show: int = 0,
    setting: Setting | None = None,
    observe: Callable[[Sequence[Outcomes], Mapping[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Return the scores of systems (models, or files of their predictions), and how they differ, two by two.

    `observe` is given the outcomes of each system, and the path, hash and number of the rows.

    The tests are made of one `metric`, the first headline metric unless it is named; `show` rows are listed that only
    one of two has right. Raises UsageError, DataError or ModelError for arguments, files or models that cannot be used.
    """
    setting = setting or Setting()
    if len(systems) < 2:
        raise UsageError("one system is compared with nothing", help="name two or more models or files of predictions")
    bundles: dict[str, Bundle] = {}
    files: dict[str, Told] = {}
    for name in systems:
        if os.path.isfile(name):
            files[name] = predictions.read(name, field=setting.field, encoding=setting.encoding, limit=setting.limit)
        else:
            bundles[name] = open_bundle(name, allow_pickle=setting.allow_pickle)
    task, labelled = _read(data, list(bundles.values()), files, setting)
    found = [
        _of_model(bundles[name], labelled, setting) if name in bundles else _of_file(name, files[name], task, labelled)
        for name in systems
    ]
    told = [one.labels if one.kind == "masked" else () for one in found]
    asked = [f"{', '.join((one.kind, *more))} by {one.unit}" for one, more in zip(found, told, strict=True)]
    if len({*asked}) > 1:
        what = " and ".join(f"{name}: {one}" for name, one in zip(systems, asked, strict=True))
        raise UsageError(f"these systems answer different questions ({what})")
    if any("rtd" in labels for labels in told):
        warn("each model detects its own generator's guesses: those of a worse generator are easier to detect")
    if any(one.ranks is None for one in found):  # a file of predictions need not have scores to rank by
        found = [replace(one, ranks=None) for one in found]
    result = _compared(systems, found, data, task.headline, metric=metric, samples=samples, seed=seed, show=show)
    if observe is not None:
        observe(found, labelled.info)
    return result


def _compared(
    systems: Sequence[str],
    found: Sequence[Outcomes],
    data: str,
    headline: Sequence[str],
    *,
    metric: str | None,
    samples: int,
    seed: int,
    show: int,
) -> dict[str, Any]:
    table = units(found)
    if table.size < 2:
        raise DataError("one row compares nothing", place=data)
    scores = [table.observed(i) for i in range(len(systems))]
    keys = [key for key in headline if key in scores[0]]
    if metric is not None and metric not in scores[0]:
        advice = did_you_mean(metric, scores[0], f"it has {', '.join(scores[0])}")
        raise UsageError(f"--test-metric {metric}: the task has no such metric that can be tested", help=advice)
    tested = metric or keys[0]
    keys = list(dict.fromkeys([tested, *keys]))
    each = []
    for name, score, outcomes in zip(systems, scores, found, strict=True):
        entry = {"name": name, **{key: score[key] for key in keys}, "intervals": intervals(outcomes, keys, seed=seed)}
        if renamed := significance.permutation(outcomes):
            entry["permutation"] = renamed
            pairs = ", ".join(f"{label!r} means {gold!r}" for label, gold in [*renamed["mapping"].items()][:9])
            gain = f"{100 * renamed['accuracy']:.1f} to {100 * renamed['lifted']:.1f}"
            warn(f"{name}: its labels seem to be permuted: if {pairs}, its accuracy goes from {gain}")
        each.append(entry)
    every = []
    for i, j in combinations(range(len(systems)), 2):
        both = table.pair(i, j)
        differences = significance.differences(both, keys, samples=samples, seed=seed)
        p = {"bootstrap": differences[tested]["p"]}
        p["randomization"] = significance.randomization(both, tested, samples=samples, seed=seed)
        pair: dict[str, Any] = {"a": systems[i], "b": systems[j], "differences": differences, "p": p}
        rights = [significance.rights(found[k]) for k in (i, j)]
        if rights[0] is not None and rights[1] is not None:
            right = list(zip(rights[0], rights[1], strict=True))
            counts = {name: right.count(one) for name, one in _RIGHT.items()}
            if _BY_ROW.get(tested) == found[i].kind and found[i].groups is None:
                p["mcnemar"] = significance.mcnemar(counts["only_a"], counts["only_b"])
            pair["right"] = counts
            if show:
                pair["rows"] = {name: _rows(found[i], found[j], right, one, show) for name, one in _ONLY.items()}
        every.append(pair)
    for test in every[0]["p"]:
        for pair, corrected in zip(every, significance.holm([pair["p"][test] for pair in every]), strict=True):
            pair.setdefault("p_holm", {})[test] = corrected
    how = {"samples": samples, "unit": found[0].unit, "units": table.size, "level": LEVEL, "seed": seed}
    return {
        "data": data,
        "rows": len(found[0].gold),
        "metric": tested,
        "systems": each,
        "pairs": every,
        "bootstrap": how,
    }


_ONLY = {"only_a": (True, False), "only_b": (False, True)}
_RIGHT = {"both": (True, True), **_ONLY, "neither": (False, False)}


def _rows(
    a: Outcomes, b: Outcomes, right: Sequence[Any], wanted: tuple[bool, bool], count: int
) -> list[dict[str, Any]]:
    chosen = [i for i, one in enumerate(right) if one == wanted][:count]
    return [
        {
            "place": str(a.places[i]),
            "input": list(a.inputs[i]),
            "gold": a.gold[i],
            "a": a.predicted[i],
            "b": b.predicted[i],
        }
        for i in chosen
    ]


# -- what each system says ------------------------------------------------------------------------------------------


def _read(
    data: str, bundles: Sequence[Bundle], files: Mapping[str, Told], setting: Setting
) -> tuple[AnyTask, Labelled]:
    """Return the task and the labelled rows: as the first model reads them, else as the predictions need them."""
    kind = formats.parse_format(setting.format)
    given: dict[str, Any] = {"format": kind, "encoding": setting.encoding, "columns": setting.columns}

    def read(task: AnyTask, preferred: Mapping[str, str] | None = None) -> Labelled:
        return read_labelled(task, data, use="test", limit=setting.limit, preferred=preferred, **given)

    if bundles:
        task = bundles[0].task
        other = next((one for one in bundles if (one.task.name, one.task.unit) != (task.name, task.unit)), None)
        if other is not None:
            fact = f"{bundles[0].checkpoint.name} is for {task.name} by {task.unit}"
            raise UsageError(f"{fact}, {other.checkpoint.name} for {other.task.name} by {other.task.unit}")
        task = max(bundles, key=lambda one: one.task.context).task  # the others leave out what they do not read
        # labels that the model calls otherwise are no error here: they may be permuted, which is to be told
        named = task.name in ("classify", "pair")
        reader = type(task).restore(asdict(task.options), {}) if named else task
        known = (one.manifest.get("columns") for one in bundles)
        return task, read(reader, next((columns for columns in known if columns), None))
    told = [what for one in files.values() for _, what in one[:1]]
    if not told:
        raise DataError("the file has no predictions", place=next(iter(files)))
    names = [setting.task] if setting.task != "auto" else _guessed(told[0])
    for name in names:
        plain = task_class(name).restore({}, {})
        try:
            labelled = read(plain)
        except DataError:
            if name == names[-1]:
                raise
            continue
        return _prepared(name, labelled, told[0]), labelled
    raise AssertionError  # pragma: no cover  (there is a last name)


def _guessed(told: Mapping[str, Any]) -> list[str]:
    """Return the tasks that a prediction may be of: a label may be that of one text or of two."""
    found = next((name for key, name in _BY_KEY.items() if key in told and "label" not in told), None)
    return [found] if found else ["classify", "pair"]


def _prepared(name: str, labelled: Labelled, told: Mapping[str, Any]) -> AnyTask:
    """Return the task with the labels of the data, of the problem that the predictions are of."""
    kinds = {"labels": "multi_label_classification", "value": "regression"}
    kind = next((kinds[key] for key in kinds if key in told and "label" not in told), "auto")
    options = {} if name in ("ner", "qa") else {"problem_type": kind}
    task = task_class(name).restore(options, {})
    try:
        return task.prepare(labelled.examples)[0]
    except DataError:  # there is nothing to learn from one label, but something to score
        if name in ("ner", "qa"):
            return task
        labels = sorted({label for example in labelled.examples for label in task.labels_of(example)})
        single = "single_label_classification"
        return type(task).restore({}, {"problem_type": single if kind == "auto" else kind, "labels": labels})


def _of_model(bundle: Bundle, labelled: Labelled, setting: Setting) -> Outcomes:
    if bundle.assumed:
        say(bundle.assumed)
    ready = engine(
        bundle,
        device=setting.device,
        batch_tokens=setting.batch_tokens,
        backend=setting.backend,
        precision=setting.precision,
        measuring=True,
    )
    pairs, _ = ready.evaluate(labelled.examples)
    return bundle.task.outcomes(pairs)


def _of_file(path: str, told: Told, task: AnyTask, labelled: Labelled) -> Outcomes:
    gold = task.outcomes([(example, None) for example in labelled.examples])
    if gold.kind == "masked":
        raise UsageError("a file of predictions has no losses to compare", place=path, help="name the model itself")
    kept = predictions.by_id(told, labelled.examples)
    if kept is told:
        kept = predictions.matched(told, labelled, gold, path=path)
    say(f"{path}: {len(kept):,} predictions")
    if gold.kind in ("tags", "entities"):
        return replace(gold, predicted=_tags(kept, labelled.examples, plain=gold.kind == "tags"))
    ranks = None if gold.groups is None else _ranks(cast("ClassifyPair", task), kept, labelled.examples)
    return replace(gold, predicted=[_said(gold, task, row, what) for row, what in kept], ranks=ranks)


def _ranks(task: ClassifyPair, told: Told, examples: Sequence[Any]) -> list[tuple[bool, float]] | None:
    """Return whether each row is a right answer, and the score that a record gives it; None where one gives none."""
    relevant, known = task.relevant(), len(task.target.labels)
    scores = []
    for row, what in told:
        score = what.get("value") if relevant is None else what.get("score")
        if relevant is not None and isinstance(of_each := what.get("scores"), Mapping):
            score = of_each.get(relevant)
        elif relevant is not None and known != 2:
            return None
        if score is None:
            return None
        try:
            number = float(score)
        except (TypeError, ValueError):
            raise DataError(f"the score {score!r:.60} is no number", place=row.place) from None
        other = relevant is not None and "scores" not in what and what.get("label") != relevant
        scores.append(1 - number if other else number)
    return list(zip(task.rights(examples), scores, strict=True))


def _said(gold: Outcomes, task: Any, row: Row, what: Mapping[str, Any]) -> Any:
    """Return what a record predicts, in the form of the gold."""
    keys = {"label": ("label",), "labels": ("labels", "label"), "value": ("value", "label"), "answer": ("answer",)}
    key = next((key for key in keys[gold.kind] if key in what), None)
    if key is None:
        raise DataError(f"the prediction has no {gold.kind!r}", place=row.place, help=f"it has {', '.join(what)}")
    value = what[key]
    if gold.kind == "answer":
        return value if value is None else str(value)
    if value is None:
        advice = "compare what is predicted without `--min-score`"
        raise DataError("the answer of this record was withheld: it is null", place=row.place, help=advice)
    raw = tuple(map(str, value)) if isinstance(value, list) else str(value).strip()
    return task.target.plain(task.target.gold(raw, row.place))


def _tags(told: Told, examples: Sequence[Any], *, plain: bool) -> list[tuple[tuple[str, ...], ...]]:
    """Return the predicted tags of each example's sentences, BIO unless they are plain.

    Entities of characters are put on the words as those of the data are.
    """
    reader = cast("Any", task_class("ner").restore({}, {}))
    parsed = []
    for (row, what), example in zip(told, examples, strict=True):
        if what.get("tags") is not None:
            values = {"tokens": list(example.words), "tags": what["tags"]}
        else:
            values = {"text": example.text, "entities": what.get("entities")}
        one = reader.parse(Row(row.place, values), labelled=True)
        if one.words != example.words:
            fact = f"the entities are on {len(one.words):,} words, the data has {len(example.words):,}"
            raise DataError(fact, place=row.place, help="predict `tags` where the data has tokens")
        parsed.append(replace(one, lengths=example.lengths))
    converted = parsed if plain else reader.convert(parsed)[0]
    return [tuple(map(tuple, one.sentences((one.written if plain else one.tags) or ()))) for one in converted]
