"""`--folds K`: every row is scored once by a model that did not see it, then one model learns all rows."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from bertft.bundle.store import open_bundle
from bertft.errors import UsageError
from bertft.recipe import Recipe
from bertft.training import fit as fitting
from bertft.training.run import train

TEXTS = [" ".join(word for word, _ in sentence) for sentence in tiny.sentences()]
FOLDS = 3


def recipe(model: Path, **trainer: Any) -> Recipe:
    settings = {
        "num_train_epochs": 6,
        "learning_rate": 5e-3,
        "per_device_train_batch_size": 8,
        "bf16": False,
        # what recipes have; it is switched off, or each fold would choose the checkpoint that suits its own rows
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "load_best_model_at_end": True,
    }
    return Recipe("classify", model=str(model), trainer={**settings, **trainer})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows with the same text twice; 'moved' is left out, so that not everything is learnt at once."""
    path = tmp_path_factory.mktemp("folds") / "train.jsonl"
    rows = [{"text": text, "label": "lives" if "lives" in text else "other"} for text in (*TEXTS, *TEXTS[:8])]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@dataclass
class Fitted:
    """One training: the rows it saw, the rows that were held out, the settings, and the engine."""

    train: list[Any]
    dev: list[Any]
    trainer: dict[str, Any]
    engine: Any


@dataclass
class Run:
    result: dict[str, Any]
    fits: list[Fitted]
    out: Path
    said: str


@pytest.fixture(scope="module")
def run(base: Callable[[str], Path], data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    fits: list[Fitted] = []
    real = fitting.fit

    def watched(job: Any, *arguments: Any, **named: Any) -> Any:
        trained = real(job, *arguments, **named)
        dev = job.dev.examples if job.dev else []
        fits.append(Fitted(list(job.train.examples), list(dev), dict(job.recipe.trainer), trained.engine))
        return trained

    out = tmp_path_factory.mktemp("out") / "model"
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr(fitting, "fit", watched)
        patch.setattr("bertft.training.run.say", said.append)
        result = train(recipe(base("bert-uncased")), data=str(data), out=str(out), device="cpu", folds=FOLDS)
    return Run(result, fits, out, "\n".join(said))


def test_each_row_is_held_out_once_and_no_text_is_on_both_sides(run: Run) -> None:
    *folds, final = run.fits
    assert len(folds) == FOLDS
    held = [example for fold in folds for example in fold.dev]
    assert sorted(e.place for e in held) == sorted(e.place for e in final.train)
    assert len(final.train) == 40
    assert final.dev == []
    for fold in folds:
        assert len(fold.train) + len(fold.dev) == 40
        assert not {e.text for e in fold.train} & {e.text for e in fold.dev}


def test_no_checkpoint_is_chosen_by_the_rows_that_it_is_scored_on(run: Run) -> None:
    for fitted in run.fits:
        assert fitted.trainer["eval_strategy"] == "no"
        assert not fitted.trainer["load_best_model_at_end"]


def test_mean_and_deviation_are_those_of_the_folds(run: Run) -> None:
    summary = run.result["folds"]
    assert summary["count"] == len(summary["scores"]) == FOLDS
    for key in ("accuracy", "macro_f1"):
        found = [scores[key] for scores in summary["scores"]]
        assert summary["mean"][key] == pytest.approx(np.mean(found), abs=1e-12)
        assert summary["sd"][key] == pytest.approx(np.std(found, ddof=1), abs=1e-12)
    mean, sd = (100 * run.result["folds"][key]["accuracy"] for key in ("mean", "sd"))
    assert f"{FOLDS} folds, mean ± sd: accuracy {mean:.1f} ± {sd:.1f}" in run.said


def test_dev_scores_all_rows_together_by_models_that_did_not_see_them(run: Run) -> None:
    right = []
    for fold, scores in zip(run.fits[:-1], run.result["folds"]["scores"], strict=True):
        pairs, _ = fold.engine.evaluate(fold.dev)
        here = [fold.engine.task.render(e, answer, scores=False)["label"] == e.label for e, answer in pairs]
        assert scores["accuracy"] == pytest.approx(statistics.mean(here))
        right += here
    assert run.result["dev"]["support"] == len(right) == 40
    assert run.result["dev"]["accuracy"] == pytest.approx(statistics.mean(right))


def test_the_model_is_the_one_that_learnt_all_rows(run: Run) -> None:
    from bertft.inference.load import engine

    final = run.fits[-1]
    saved = engine(open_bundle(str(run.out)), device="cpu")
    (mine, _), (theirs, _) = saved.predict(final.train), final.engine.predict(final.train)
    np.testing.assert_array_equal(mine, theirs)
    stored = json.loads((run.out / "metrics.json").read_text())
    assert stored == {key: run.result[key] for key in ("dev", "folds", "calibration")}
    assert [path.name for path in run.out.parent.iterdir()] == ["model"]


def test_a_test_file_is_scored_with_the_model_of_all_rows(
    base: Callable[[str], Path], data: Path, tmp_path: Path
) -> None:
    """Sets of labels: the thresholds are those of the answers to held-out rows."""
    rows = [{"text": text, "labels": [x for x in ("Paris", "Lima", "Rome") if x in text]} for text in TEXTS]
    path = tmp_path / "sets.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    used = recipe(base("bert-uncased"), num_train_epochs=2)
    result = train(used, data=str(path), test=str(path), out=str(tmp_path / "m"), device="cpu", folds=2)
    from bertft.inference.evaluate import evaluate

    assert evaluate(str(tmp_path / "m"), str(path), device="cpu").items() >= result["test"].items()
    thresholds = json.loads((tmp_path / "m" / "bertft.json").read_text())["state"]["thresholds"]
    assert sorted(thresholds) == ["Lima", "Paris", "Rome"]


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        ({"folds": 3, "dev": "dev.jsonl"}, "`--dev` has no place"),
        ({"folds": 3, "resume": True}, "nothing to resume"),
        ({"folds": 1}, "--folds 1"),
        ({"folds": 0}, "--folds 0"),
    ],
)
def test_what_does_not_go_with_folds_is_refused_and_nothing_is_lost(
    run: Run, base: Callable[[str], Path], data: Path, tmp_path: Path, arguments: dict[str, Any], fact: str
) -> None:
    partial = tmp_path / "m.partial"
    partial.mkdir()
    with pytest.raises(UsageError) as caught:
        train(recipe(base("bert-uncased")), data=str(data), out=str(tmp_path / "m"), overwrite=True, **arguments)
    assert fact in str(caught.value)
    assert partial.is_dir()
