"""Metrics beyond the task's own come through `evaluate.load`; a path is code and is run only when that is allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Trained

from bertft.data.row import Place
from bertft.errors import UsageError
from bertft.inference.evaluate import ExtraMetrics, evaluate
from bertft.tasks.classify import Classify, ClassifyOptions, Text
from bertft.tasks.target import Target

SCRIPT = """
import datasets
import evaluate


class Exact(evaluate.Metric):
    def _info(self):
        tags = datasets.Sequence(datasets.Value("string"))
        features = datasets.Features({"predictions": tags, "references": tags})
        return evaluate.MetricInfo(description="", citation="", features=features)

    def _compute(self, predictions, references):
        return {"exact": sum(p == r for p, r in zip(predictions, references)) / len(references)}
"""


@pytest.fixture
def metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    script = tmp_path / "exact.py"
    script.write_text(SCRIPT)
    return str(script)


def test_a_metric_script_needs_consent(trained: Callable[[str], Trained], metric: str) -> None:
    model = trained("bert-cased")
    with pytest.raises(UsageError, match="loading it runs it") as caught:
        evaluate(str(model.directory), str(model.data), metrics=[metric])
    assert "--trust-remote-code" in str(caught.value)


@pytest.mark.filterwarnings("ignore")
def test_a_metric_script_scores_the_tags(trained: Callable[[str], Trained], metric: str) -> None:
    model = trained("bert-cased")
    scores = evaluate(str(model.directory), str(model.data), metrics=[metric], trust_remote_code=True)
    assert scores["extra"] == {metric: {"exact": 1.0}}


ANY = """
import datasets
import evaluate


class Same(evaluate.Metric):
    def _info(self):
        kind = datasets.{kind}
        features = datasets.Features({{"predictions": kind, "references": kind}})
        return evaluate.MetricInfo(description="", citation="", features=features)

    def _compute(self, predictions, references):
        return {{"same": sum(list([p]) == list([r]) for p, r in zip(predictions, references)) / len(references)}}
"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("target", "kind", "rows", "expected"),
    [
        (
            Target("single_label_classification", ("no", "yes")),
            'Value("int32")',
            [("yes", [0.2, 0.8]), ("no", [0.1, 0.9]), ("new", [0.9, 0.1])],
            1 / 3,
        ),
        (
            Target("multi_label_classification", ("a", "b")),
            'Sequence(datasets.Value("int32"))',
            [(("a",), [0.8, 0.1]), (("a", "b"), [0.8, 0.1]), ((), [0.1, 0.2]), (("a", "new"), [0.8, 0.1])],
            2 / 4,
        ),
        (Target("regression", ("value",)), 'Value("float32")', [("2.5", [2.5]), ("1", [1.25])], 1 / 2),
    ],
    ids=["ids", "sets", "values"],
)
def test_metrics_get_ids_sets_or_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: Target, kind: str, rows: list[Any], expected: float
) -> None:
    """As evaluate's own metrics take them: `accuracy` ids, `f1` of several labels lists of 0 and 1, `mse` values."""
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    script = tmp_path / "same.py"
    script.write_text(ANY.format(kind=kind))
    pairs = [(Text(Place("x", i), "", label), np.array(answer)) for i, (label, answer) in enumerate(rows)]
    scores = ExtraMetrics([str(script)], True).score(Classify(ClassifyOptions(), target), pairs)
    assert scores["extra"][str(script)] == {"same": pytest.approx(expected)}


@pytest.mark.filterwarnings("ignore")
def test_a_metric_that_cannot_be_loaded_is_one_error(trained: Callable[[str], Trained]) -> None:
    model = trained("bert-cased")
    with pytest.raises(UsageError, match="no-such-metric"):
        evaluate(str(model.directory), str(model.data), metrics=["no-such-metric"])
