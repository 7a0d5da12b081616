"""Metrics beyond the task's own come through `evaluate.load`; a path is code and is run only when that is allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Trained

from bertft.errors import UsageError
from bertft.inference.evaluate import evaluate

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


@pytest.mark.filterwarnings("ignore")
def test_a_metric_that_cannot_be_loaded_is_one_error(trained: Callable[[str], Trained]) -> None:
    model = trained("bert-cased")
    with pytest.raises(UsageError, match="no-such-metric"):
        evaluate(str(model.directory), str(model.data), metrics=["no-such-metric"])
