"""After training, on dev: thresholds, and one temperature, which is folded into the model's last layer.

The saved model then gives calibrated probabilities wherever it is loaded, and whatever it is exported to. A temperature
that does not help is not used (`scoring/calibration.py`), nor one with which a label of dev would change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bertft.console import say, shown
from bertft.encoders.load import fold_scale, output_layer
from bertft.inference.engine import Engine
from bertft.scoring.calibration import Judged, Temperature, ece, fit, nll
from bertft.tasks.base import Task
from bertft.training import parallel

Pairs = list[tuple[Any, Any]]

_DIGITS = 4  # of a temperature: more of them would hang on the last bits of logits


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The task with what was chosen on dev, the dev rows with the answers of the calibrated model, and what was done.

    `record` has `temperature` (None: none is used, and `refused` says why), `rows` and `decisions` that it was fitted
    on, `ece` and `nll` before and after, and under `thresholds` the metrics before and after these were chosen.
    """

    task: Task[Any, Any, Any]
    pairs: Pairs
    record: dict[str, Any]


def calibrate(model: Any, engine: Engine, dev: Sequence[Any], *, wanted: bool) -> Calibrated:
    """Choose thresholds and, if it is `wanted`, a temperature on dev, and fold it into `model`, that of the engine."""
    untuned = engine.task
    pairs = parallel.evaluate(replace(engine, task=untuned.detailed()) if wanted else engine, dev)
    task, record = _tuned(untuned, pairs)
    found = _fitted(task, pairs) if wanted else None
    if found is None or found.refused:
        return Calibrated(task, pairs, {**record, **_told(found)})
    layer = output_layer(model)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    fold_scale(model, 0.0, 1 / found.value)
    tempered, after = task.tempered(found.value), parallel.evaluate(engine, dev)
    judged = tempered.judged(after)
    same = tempered.references(after)[1] == task.references(pairs)[1]
    if judged is None or not same or nll(judged) > nll(found.before):
        layer.load_state_dict(before)
        found = replace(found, refused=f"with a temperature of {found.value:g}, rounding changes labels of dev")
        return Calibrated(task, pairs, {**record, **_told(found)})
    return Calibrated(tempered, after, {**record, **_told(replace(found, after=judged))})


def calibrate_on_folds(model: Any, untuned: Task[Any, Any, Any], pairs: Pairs, *, wanted: bool) -> Calibrated:
    """Choose both on answers of models that did not see the rows, and fold the temperature into that of all rows."""
    task, record = _tuned(untuned, pairs)
    found = _fitted(task, pairs) if wanted else None
    if found is not None and not found.refused:
        fold_scale(model, 0.0, 1 / found.value)
        task = task.tempered(found.value)
    return Calibrated(task, pairs, {**record, **_told(found)})


def _tuned(untuned: Task[Any, Any, Any], pairs: Pairs) -> tuple[Task[Any, Any, Any], dict[str, Any]]:
    """Return the task with its thresholds, and its metrics before and after; nothing where it has no thresholds."""
    task = untuned.tune(pairs)
    if task == untuned:
        return task, {}
    record = {}
    for name, one in (("before", untuned), ("after", task)):
        scores = one.score(pairs)
        record[name] = {key: scores[key] for key in task.headline if key in scores}
    key = task.best_metric
    figures = _figures(key, record["before"][key], record["after"][key])
    say(f"thresholds from {len(pairs):,} rows of dev: {key} {figures}")
    return task, {"thresholds": record}


def _fitted(task: Task[Any, Any, Any], pairs: Pairs) -> Temperature | None:
    """Return the temperature that is best for the answers, rounded; None where the task's head can have none."""
    if task.head().crf is not None:
        say("calibration: no temperature: a CRF's tags depend on how its emissions weigh against its transitions")
        return None
    evidence = task.evidence(pairs)
    if evidence is None:
        return None
    found = fit(evidence)
    if found.refused:
        return found
    value = round(found.value, _DIGITS)
    return replace(found, value=value, after=evidence.judged(value))


def _told(found: Temperature | None) -> dict[str, Any]:
    """Return the record of a temperature, and say it."""
    if found is None:
        return {}
    record: dict[str, Any] = {
        "temperature": None if found.refused else found.value,
        "rows": found.rows,
        "decisions": len(found.before.right),
        **_errors("before", found.before),
    }
    if found.refused:
        errors = ", ".join(
            f"{key} {shown(key, record[f'{key}_before'])}" for key in ("ece", "nll") if f"{key}_before" in record
        )
        say(f"calibration: no temperature: {found.refused} ({errors})")
        return {**record, "refused": found.refused}
    record |= _errors("after", found.after)
    both = (f"{key} {_figures(key, record[f'{key}_before'], record[f'{key}_after'])}" for key in ("ece", "nll"))
    say(f"calibration: temperature {found.value:g} from {found.rows:,} rows of dev: {', '.join(both)}")
    return record


def _errors(when: str, judged: Judged) -> dict[str, float]:
    found = {f"ece_{when}": ece(judged), f"nll_{when}": nll(judged)}
    return {key: value for key, value in found.items() if not math.isnan(value)}


def _figures(key: str, before: float, after: float) -> str:
    return f"{shown(key, before)} -> {shown(key, after)}"
