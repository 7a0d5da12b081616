"""Training in several processes: the weights of one process at the same effective batch, one voice, one exit code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli.conftest import Run
from safetensors.numpy import load_file


@pytest.fixture
def still(encoder: Path, tmp_path: Path) -> Path:
    """The tiny encoder without dropout."""
    return without_dropout(encoder, tmp_path / "still")


def without_dropout(encoder: Path, target: Path) -> Path:
    copy = Path(shutil.copytree(encoder, target))
    config = json.loads((copy / "config.json").read_text())
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (copy / "config.json").write_text(json.dumps({**config, **none}))
    return copy


@pytest.mark.parametrize(
    "batches",
    ["tokens", *(pytest.param(one, marks=pytest.mark.slow) for one in ("examples", "random order"))],
)
def test_two_processes_learn_what_one_does(
    shell: Run, still: Path, train_file: Path, tmp_path: Path, batches: str
) -> None:
    settings = {"trainer.bf16": "false", "trainer.num_train_epochs": 2, "trainer.learning_rate": 2e-3}
    size = "trainer.per_device_train_batch_size"
    alone, together = ("--set", f"{size}=8"), ("--set", f"{size}=4")
    if batches == "random order":
        settings["trainer.train_sampling_strategy"] = "random"
    elif batches == "tokens":
        alone = together = ()
    command = ["train", "ner", "--data", train_file, "--dev", train_file, "--model", still, "--device", "cpu"]
    command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    results = {}
    for name, more in (
        ("one", alone),
        ("two", (*together, "--processes", "2")),
    ):
        ran = shell(*command, "--out", tmp_path / name, *more)
        assert ran.code == 0, ran.err
        assert ran.err.count("epoch 1 ") == 1
        results[name] = json.loads(ran.out)["dev"]
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    start = {f"bert.{name}": weights for name, weights in load_file(still / "model.safetensors").items()}
    assert one.keys() == two.keys()
    for name, weights in one.items():
        np.testing.assert_allclose(weights, two[name], atol=2e-5)
    moved = max(float(np.abs(one[name] - start[name]).max()) for name in start.keys() & one.keys())
    assert moved > 1e-3  # there was something to learn
    evaluated = json.loads(shell("eval", tmp_path / "two", "--data", train_file).out)
    one, two, again = (found.pop("calibration") for found in (results["one"], results["two"], evaluated))
    assert results["one"] == results["two"]  # every row of dev was scored, and once
    assert evaluated.items() >= results["two"].items()
    for key in ("ece", "nll"):
        assert one[key] == pytest.approx(two[key], abs=1e-6)
        assert again[key] == pytest.approx(two[key], abs=1e-6)


@pytest.mark.slow
def test_two_processes_learn_to_detect_what_one_does(
    shell: Run, base: Callable[[str], Path], train_file: Path, tmp_path: Path
) -> None:
    texts = tmp_path / "texts.txt"
    rows = [line.split("\t")[0] for line in train_file.read_text(encoding="utf-8").splitlines()]
    texts.write_text("\n".join(" ".join(rows[i : i + 9]) for i in range(0, len(rows), 9)) + "\n", encoding="utf-8")
    encoder = without_dropout(base("electra"), tmp_path / "still")
    settings = {
        "options.objective": "rtd", "options.packing": "lines", "trainer.bf16": "false", "trainer.max_steps": 6,
        "trainer.learning_rate": 2e-3,
    }  # fmt: skip
    command = ["train", "mlm", "--data", texts, "--dev", texts, "--model", encoder, "--device", "cpu"]
    command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    for name, more in (("one", ()), ("two", ("--processes", "2"))):
        ran = shell(*command, "--out", tmp_path / name, *more)
        assert ran.code == 0, ran.err
    for file in ("model.safetensors", "generator/model.safetensors"):
        one, two = (load_file(tmp_path / name / file) for name in ("one", "two"))
        assert one.keys() == two.keys()
        for name, weights in one.items():
            np.testing.assert_allclose(weights, two[name], atol=5e-5)


def test_a_fault_is_said_once_and_is_the_exit_code(shell: Run, encoder: Path, tmp_path: Path) -> None:
    command = ("train", "ner", "--data", tmp_path / "none.conll", "--model", encoder, "--device", "cpu")
    shell(*command, "--out", tmp_path / "out", "--processes=2").fails(3, "there is no file")
    shell(*command, "--processes", 2).fails(2, "--out")
    shell(*command, "--out", tmp_path / "out", "--processes", 2, WORLD_SIZE="2").fails(2, "one of several processes")
    assert list(tmp_path.iterdir()) == []
