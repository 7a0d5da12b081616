"""`bertft sweep`: the same trials each time, the best is the model and can be made again, nothing is done twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli.conftest import Ran, Run
from cli.test_resume import at_step, files, send

from bertft.errors import GateError
from bertft.training import fit, trainer

pytest.importorskip("optuna")
from bertft.training import trials as of_sweep

SEARCH = {
    "trainer.learning_rate": {"low": 1e-3, "high": 2e-2, "log": True},
    "trainer.num_train_epochs": [1, 2],
}
Sweep = Callable[..., Ran]


def recipe(path: Path, search: Any = SEARCH, **trainer: Any) -> Path:
    """Write a recipe for a tagger."""
    settings = {"bf16": False, "eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}
    path.write_text(yaml.safe_dump({"task": "ner", "trainer": settings | trainer, "search": search}))
    return path


@pytest.fixture
def sweep(cli: Run, encoder: Path, train_file: Path, tmp_path: Path) -> Sweep:
    """Return a function that runs a sweep in this process, into a folder of `tmp_path`."""

    def run(out: str, *extra: object, trials: int = 3, search: Any = SEARCH, **trainer: Any) -> Ran:
        named = ("--data", train_file, "--dev", train_file, "--model", encoder, "--out", tmp_path / out)
        return cli("sweep", recipe(tmp_path / "mine.yaml", search, **trainer), *named, "--trials", trials, *extra)

    return run


def rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the trials without what differs between two runs."""
    return [{key: value for key, value in one.items() if key != "seconds"} for one in found["trials"]]


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The settings of each training that is begun or continued."""
    seen: list[dict[str, Any]] = []
    original = fit.fit

    def counted(job: Any, *arguments: Any, **named: Any) -> Any:
        seen.append({f"trainer.{key}": job.recipe.trainer[key] for key in ("learning_rate", "num_train_epochs")})
        return original(job, *arguments, **named)

    monkeypatch.setattr(fit, "fit", counted)
    return seen


def test_the_best_trial_is_the_model_and_its_recipe_makes_it_again(
    sweep: Sweep, cli: Run, encoder: Path, train_file: Path, tmp_path: Path
) -> None:
    ran = sweep("out", "--test", train_file)
    assert ran.code == 0, ran.err
    out, found = tmp_path / "out", json.loads(ran.out)
    assert (found["model"], found["recipe"], found["metric"]) == (str(out), str(out / "recipe.yaml"), "f1")
    scores = [one["score"] for one in found["trials"]]
    assert [one["number"] for one in found["trials"]] == [0, 1, 2]
    assert found["best"]["score"] == max(scores) == found["dev"]["f1"]
    assert found["best"]["number"] == scores.index(max(scores))
    assert len(set(scores)) > 1
    for one in found["trials"]:
        assert 1e-3 <= one["params"]["trainer.learning_rate"] <= 2e-2
        assert one["params"]["trainer.num_train_epochs"] in (1, 2)
    written = yaml.safe_load((out / "recipe.yaml").read_text())
    assert "search" not in written
    assert {key: written["trainer"][key.removeprefix("trainer.")] for key in SEARCH} == found["best"]["params"]
    assert json.loads((out / "sweep.json").read_text())["trials"] == found["trials"]
    assert "the best on dev of the 3 trials" in (out / "README.md").read_text()
    assert "There was no test set" not in (out / "README.md").read_text()
    for part in (f"trial {found['best']['number']} is the best by dev f1", "looks better there than it is"):
        assert part in ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.yaml", "out"]

    named = ("--data", train_file, "--dev", train_file, "--test", train_file)
    again = cli("train", out / "recipe.yaml", *named, "--out", tmp_path / "again")
    assert files(tmp_path / "again")["model.safetensors"] == files(out)["model.safetensors"]
    for split in ("dev", "test"):
        assert json.loads(again.out)[split] == found[split]
    assert set(json.loads((out / "bertft.json").read_text())["data"]) == {"train", "dev", "test"}

    assert json.loads(sweep("out", "--test", train_file, "--resume").out) == found
    other = {**SEARCH, "trainer.num_train_epochs": [1, 3]}
    sweep("out", "--test", train_file, "--resume", search=other).fails(
        2, "search.trainer.num_train_epochs: 1, 2 before"
    )


def test_a_stopped_sweep_goes_on_within_its_trial(
    sweep: Sweep, fitted: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = json.loads(sweep("whole").out)
    tried = [one["params"] for one in whole["trials"]]
    assert fitted == tried
    fitted.clear()
    with monkeypatch.context() as patch:

        def second() -> None:
            if len(fitted) == 2:
                send(signal.SIGTERM)()

        at_step(patch, 3, second)
        ran = sweep("cut")
    ran.fails(143, "interrupted", "to continue it:", f"bertft sweep {tmp_path}/mine.yaml", f"--out {tmp_path}/cut")
    assert ran.err.count("the run so far") == 1
    ran = sweep("cut", "--resume")
    assert "resuming after step 3" in ran.err
    assert fitted == [*tried[:2], *tried[1:]]
    assert rows(json.loads(ran.out)) == rows(whole)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_sweep_goes_on_even_if_a_line_of_its_journal_is_torn(
    sweep: Sweep, encoder: Path, train_file: Path, offline: dict[str, str], tmp_path: Path
) -> None:
    whole = json.loads(sweep("whole").out)
    arguments = ("--data", train_file, "--dev", train_file, "--model", encoder, "--out", tmp_path / "cut")
    command = [sys.executable, "-m", "bertft", "sweep", tmp_path / "mine.yaml", *arguments, "--trials", "3"]
    environment = {**offline, "PYTHONPATH": str(Path(of_sweep.__file__).parents[2])}
    with subprocess.Popen([*map(str, command)], env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("trial 1, "):
                break
        time.sleep(1)
        process.kill()
    journal = tmp_path / "cut.partial" / "trials.journal"
    with journal.open("a") as file:
        file.write('{"op_code": 5, "wor')
    ran = sweep("cut", "--resume")
    assert ran.code == 0, ran.err
    assert rows(json.loads(ran.out)) == rows(whole)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_a_sweep_that_is_killed_at_its_end_is_finished_without_training(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("bertft.training.sweep._confess", stop)
        sweep("out", trials=2).fails(130, "--resume")
    with monkeypatch.context() as patch:
        patch.setattr(fit, "fit", None)
        ran = sweep("out", "--resume", trials=2)
    assert ran.code == 0, ran.err
    assert (tmp_path / "out" / "README.md").read_text().count("It is the best on dev of") == 1


def test_a_trial_behind_the_others_is_not_trained_to_its_end(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(of_sweep, "_STARTUP", 1)
    search = {"trainer.learning_rate": [0.01, 1e-6, 1e-7]}
    evaluated = 0
    original = trainer.EncoderTrainer.evaluate

    def counted(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal evaluated
        evaluated += 1
        return original(self, *arguments, **named)

    monkeypatch.setattr(trainer.EncoderTrainer, "evaluate", counted)
    ran = sweep("out", trials=6, search=search, num_train_epochs=3)
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    states = {one["state"] for one in found["trials"]}
    assert states == {"done", "pruned"}, found
    best = found["best"]
    assert best["params"] == {"trainer.learning_rate": 0.01}
    assert "falls behind the others" in ran.err
    trained = [one for one in found["trials"] if "same_as" not in one]
    assert len(trained) == 3
    assert evaluated < 3 * len(trained)
    assert all(one["number"] > one["same_as"] for one in found["trials"] if "same_as" in one)


def test_a_diverged_trial_is_one_of_the_trials(sweep: Sweep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    original = fit.fit
    calls = 0

    def diverging(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls != 2:
            raise GateError("the loss is no number")
        return original(*arguments, **named)

    monkeypatch.setattr(fit, "fit", diverging)
    found = json.loads(sweep("out").out)
    assert [one["state"] for one in found["trials"]] == ["diverged", "done", "diverged"]
    assert [one["score"] is None for one in found["trials"]] == [True, False, True]
    calls = 2
    sweep("none", trials=2).fails(1, "all 2 trials have diverged")
    assert not list(tmp_path.glob("none*"))


def test_time_that_is_over_ends_a_sweep_with_what_it_has(sweep: Sweep) -> None:
    ran = sweep("out", "--timeout", "0", trials=5)
    assert len(json.loads(ran.out)["trials"]) == 1
    assert "0 minutes are over: 1 of 5 trials are done" in ran.err


def test_without_a_search_the_default_space_is_said_and_tried(sweep: Sweep) -> None:
    ran = sweep("out", trials=1, search={}, learning_rate=0.004, num_train_epochs=1)
    for part in ("learning_rate: 0.001 to 0.016 (log)", "num_train_epochs: 1, 2", "warmup_steps: 0 to 0.2"):
        assert part in ran.err
    assert json.loads(ran.out)["trials"][0]["params"].keys() == {
        "trainer.learning_rate",
        "trainer.num_train_epochs",
        "trainer.warmup_steps",
    }


def test_what_is_set_on_the_command_line_is_not_tried(sweep: Sweep, tmp_path: Path) -> None:
    ran = sweep(
        "out", "--set", "trainer.learning_rate=0.004", "--set", "trainer.num_train_epochs=1", trials=1, search={}
    )
    assert json.loads(ran.out)["trials"][0]["params"].keys() == {"trainer.warmup_steps"}
    assert yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())["trainer"]["learning_rate"] == 0.004
    keys = ("learning_rate=0.004", "num_train_epochs=1", "warmup_steps=0")
    sets = [part for key in keys for part in ("--set", f"trainer.{key}")]
    sweep("none", *sets, search={}).fails(2, "nothing is left to try", "`search:`")


@pytest.mark.filterwarnings("ignore")  # tensorboard's imports
def test_the_curves_of_all_trials_outlive_the_sweep(sweep: Sweep, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs tensorboard, of the extra `dev`")
    ran = sweep("out", trials=2, report_to="tensorboard")
    assert ran.code == 0, ran.err
    folders = sorted((tmp_path / "out.tensorboard" / "trials").iterdir())
    assert [folder.name for folder in folders] == ["0", "1"]
    assert all(any(folder.rglob("events*")) for folder in folders)


def test_the_dev_rows_are_those_of_one_hold_out(cli: Run, encoder: Path, train_file: Path, tmp_path: Path) -> None:
    named = ("--data", train_file, "--model", encoder, "--out", tmp_path / "out", "--trials", 2)
    ran = cli("sweep", recipe(tmp_path / "mine.yaml"), *named)
    assert ran.code == 0, ran.err
    assert ran.err.count("held out at random, seed 13") == 1


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"trainer.learning_rte": [1e-5]}, "did you mean 'learning_rate'?"),
        ({"options.decoed": ["argmax"]}, "did you mean 'decode'?"),
        ({"options.decode": ["argmax", "beam"]}, "options.decode: 'beam' is not viterbi | argmax"),
        ({"trainer.learning_rate": {"low": 1e-5, "hihg": 1e-3}}, "did you mean 'high'?"),
        ({"trainer.learning_rate": {"low": 1e-3, "high": 1e-5}}, "low is less than high"),
        ({"trainer.learning_rate": {"low": 0, "high": 1e-5, "log": True}}, "more than 0"),
        ({"trainer.learning_rate": {"low": "a", "high": 1}}, "{low: NUMBER, high: NUMBER}"),
        ({"trainer.per_device_train_batch_size": {"low": 4.0, "high": 8.0}}, "is not int"),
        ({"trainer.num_train_epochs": 3}, "is no range and no choices"),
        ({"trainer.num_train_epochs": []}, "one at least"),
        ({"trainer.num_train_epochs": [2, 2]}, "stands twice"),
        ({"options.decode": [["argmax"]]}, "single values"),
        ({"seed": [1, 2]}, "cannot be searched: `bertft train --seeds N`"),
        ({"holdout": [0.1, 0.2]}, "cannot be searched"),
        ({"options.scheme": ["iob2", "iobes"]}, "their score are the same in all trials"),
        ({"nothing": [1]}, "unknown key 'nothing'"),
        ([1], "search: "),
    ],
)
def test_a_wrong_space_is_refused_before_anything_is_read(cli: Run, search: Any, said: str, tmp_path: Path) -> None:
    path = recipe(tmp_path / "mine.yaml", search)
    cli("sweep", path, "--data", tmp_path / "not-there.conll", "--trials", 2).fails(2, said)


def test_what_decides_what_is_guessed_is_not_searched(cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    search = {"options.mlm_probability": [0.05, 0.15], "options.objective": ["mlm", "rtd"], "model": ["a", "b"]}
    path.write_text(yaml.safe_dump({"task": "mlm", "search": search}))
    ran = cli("sweep", path, "--data", "x.txt", "--trials", 2)
    ran.fails(2, *(f"search.{key} cannot be searched" for key in search), "other losses")


def test_a_trial_that_cannot_be_trained_is_one_of_the_trials(sweep: Sweep, tmp_path: Path) -> None:
    ran = sweep("out", search={"options.window": [64, 5000]}, num_train_epochs=1)
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)["trials"]
    assert {one["params"]["options.window"]: one["state"] for one in found} == {64: "done", 5000: "failed"}
    reasons = {one["reason"] for one in found if one["state"] == "failed"}
    assert len(reasons) == 1
    assert "5000 tokens are more than the model's 128" in reasons.pop()
    none = sweep("none", search={"options.window": [4000, 5000]}, trials=2)
    none.fails(1, "none of 2 trials was trained to its end; one of them: options.window: ")
    assert not list(tmp_path.glob("none*"))


def test_all_that_is_wrong_is_said_at_once(cli: Run, tmp_path: Path) -> None:
    path = recipe(tmp_path / "mine.yaml", {"seed": [1], "options.decode": ["beam"]})
    cli("sweep", path, "--data", "x.conll", "--trials", 2).fails(2, "search.seed", "options.decode: 'beam'")


def test_the_space_can_be_set_on_the_command_line(sweep: Sweep) -> None:
    ran = sweep("out", "--set", "search.trainer.num_train_epochs=[1]", "--set", "search.seed=[1]", trials=1)
    ran.fails(2, "search.seed cannot be searched")


def test_train_leaves_the_search_alone(cli: Run, encoder: Path, train_file: Path, tmp_path: Path) -> None:
    named = ("--data", train_file, "--model", encoder, "--out", tmp_path / "out")
    ran = cli("train", recipe(tmp_path / "mine.yaml", num_train_epochs=1), *named)
    assert ran.code == 0, ran.err
    assert "`search:` is what `bertft sweep` tries" in ran.err
    assert "search" not in (tmp_path / "out" / "recipe.yaml").read_text()


def test_a_damaged_journal_is_named(sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("bertft.training.sweep._confess", stop)
        assert sweep("out", trials=1).code == 130
    journal = tmp_path / "out.partial" / "trials.journal"
    journal.write_text("nothing\n" + journal.read_text())
    sweep("out", "--resume", trials=1).fails(4, "cannot be read", str(journal), "--overwrite")


def test_a_missing_optuna_is_said_before_anything_is_read(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertft.extras.find_spec", lambda name: None)
    cli("sweep", "no-recipe.yaml", "--data", "x", "--trials", 2).fails(2, "optuna", "pip install 'bertft[sweep]'")
