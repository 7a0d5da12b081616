"""`--seeds N`: each model is that of a run with its seed, the best is kept, and what is done is not done again."""

from __future__ import annotations

import json
import signal
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Ran, Run
from cli.test_resume import OVERRIDES, at_step, files, send

from bertft.training import fit

SEEDS = (20, 21, 22)
HEADLINE = ("f1", "precision", "recall", "accuracy")


def stop(*_: object) -> None:
    """Stop the run there."""
    raise KeyboardInterrupt


@pytest.fixture
def train(cli: Run, encoder: Path, train_file: Path, tmp_path: Path) -> Callable[..., Ran]:
    """Return a function that trains a tagger in this process, into a folder of `tmp_path`, with the first seed."""

    def run(out: str, *extra: object) -> Ran:
        named = ("--data", train_file, "--test", train_file, "--model", encoder, "--out", tmp_path / out)
        return cli("train", "ner", *named, "--seed", SEEDS[0], *OVERRIDES, *extra)

    return run


def test_the_best_of_the_seeds_is_the_model(
    train: Callable[..., Ran], cli: Run, encoder: Path, train_file: Path, tmp_path: Path
) -> None:
    ran = train("several", "--dev", train_file, "--seeds", len(SEEDS))
    result = json.loads(ran.out)
    alone = {}
    for seed in SEEDS:
        found = json.loads(train(f"seed-{seed}", "--dev", train_file, "--seed", seed).out)
        alone[seed] = {split: {key: found[split][key] for key in HEADLINE} for split in ("dev", "test")}
    seeds = result["seeds"]
    assert seeds["scores"] == [{"seed": seed, **alone[seed]} for seed in SEEDS]
    assert len({scores["dev"]["f1"] for scores in alone.values()}) > 1
    best = max(SEEDS, key=lambda seed: alone[seed]["dev"]["f1"])
    assert (seeds["best"], seeds["metric"], seeds["count"]) == (best, "f1", len(SEEDS))
    for split in ("dev", "test"):
        each = [alone[seed][split]["f1"] for seed in SEEDS]
        assert seeds[split]["mean"]["f1"] == pytest.approx(statistics.mean(each), abs=1e-12)
        assert seeds[split]["sd"]["f1"] == pytest.approx(statistics.stdev(each), abs=1e-12)
    model, single = tmp_path / "several", tmp_path / f"seed-{best}"
    assert (model / "model.safetensors").read_bytes() == (single / "model.safetensors").read_bytes()
    assert json.loads((model / "metrics.json").read_text()) == {k: v for k, v in result.items() if k != "model"}
    assert f"seed: {best}" in (model / "recipe.yaml").read_text()
    assert "the best on dev of 3 models" in (model / "README.md").read_text()
    assert "the best on dev" not in (single / "README.md").read_text()
    assert [path.name for path in tmp_path.glob("several*")] == ["several"]
    assert f"seed {best} is the best by dev f1" in ran.err
    assert json.loads(train("several", "--dev", train_file, "--seeds", 3, "--resume").out) == result
    train("several", "--dev", train_file, "--seeds", 2, "--resume").fails(2, "seeds: 3 before, 2 now")


def test_a_stopped_run_goes_on_with_the_seed_that_was_trained(
    train: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train("whole", "--seeds", 3).code == 0
    trained = []
    original = fit.fit

    def counted(job: Any, *arguments: Any, **named: Any) -> Any:
        trained.append(job.recipe.seed)
        return original(job, *arguments, **named)

    monkeypatch.setattr(fit, "fit", counted)
    with monkeypatch.context() as patch:

        def second() -> None:
            if trained == [*SEEDS[:2]]:
                send(signal.SIGTERM)()

        at_step(patch, 6, second)
        assert train("cut", "--seeds", 3).code == 143
    assert [one["seed"] for one in json.loads((tmp_path / "cut.partial/seeds.json").read_text())] == [SEEDS[0]]
    ran = train("cut", "--seeds", 3, "--resume")
    assert f"seed {SEEDS[0]}, 1 of 3  (done before)" in ran.err
    assert "resuming after step 6" in ran.err
    assert trained == [*SEEDS[:2], *SEEDS[1:]]
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


@pytest.mark.slow
def test_a_run_that_is_killed_at_its_end_is_finished_without_training(
    train: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train("whole", "--seeds", 2).code == 0
    for name in ("finish", "summary"):
        with monkeypatch.context() as patch:
            patch.setattr(f"bertft.training.seeds.Seeds.{name}", stop)
            assert train(name, "--seeds", 2).code == 130
        with monkeypatch.context() as patch:
            patch.setattr(fit, "fit", None)
            assert train(name, "--seeds", 2, "--resume").code == 0
        assert files(tmp_path / name) == files(tmp_path / "whole")


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (("--seeds", 1), "--seeds"),
        (("--seeds", 2, "--folds", 2), "--seeds: folds have no dev"),
    ],
)
def test_what_does_not_go_with_seeds_is_refused(
    train: Callable[..., Ran], extra: tuple[object, ...], said: str
) -> None:
    train("out", *extra).fails(2, said)


def test_damaged_notes_are_named(train: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("bertft.training.seeds.Seeds.finish", stop)
        assert train("out", "--seeds", 2).code == 130
    notes = tmp_path / "out.partial" / "seeds.json"
    notes.write_text('[{"seed": ')
    train("out", "--seeds", 2, "--resume").fails(4, "cannot be read", str(notes), "--overwrite")
