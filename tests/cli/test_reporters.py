"""`trainer.report_to`: TensorBoard's files stand beside the model; missing packages are said before training."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Run

from bertft.training import reporters


def train(cli: Run, data: Path, encoder: Path, out: Path, **settings: object) -> Any:
    every = {"trainer.num_train_epochs": 2, "trainer.learning_rate": 5e-3, **settings}
    chosen = [part for key, value in every.items() for part in ("--set", f"{key}={value}")]
    return cli(
        "train", "ner", "--data", data, "--dev", data, "--model", encoder, "--out", out, "--device", "cpu", *chosen
    )


@pytest.mark.filterwarnings("ignore")  # tensorboard's imports
def test_tensorboard_is_written_beside_the_model(cli: Run, train_file: Path, encoder: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs tensorboard, of the extra `dev`")
    ran = train(cli, train_file, encoder, tmp_path / "m", **{"trainer.report_to": "tensorboard"})
    assert ran.code == 0, ran.err
    logs = tmp_path / "m.tensorboard"
    assert f"tensorboard --logdir {logs}" in ran.err
    (folder,) = logs.iterdir()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    found = events.Tags()["scalars"]
    assert {"train/loss", "eval/f1", "train/learning_rate"} <= {*found}
    assert len(events.Scalars("eval/f1")) == 2
    assert len(events.Scalars("train/loss")) > 2


@pytest.mark.parametrize("name", ["wandb", "mlflow", "trackio", "tensorboard"])
def test_a_package_that_is_missing_is_said_before_training(
    cli: Run, train_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(reporters, "find_spec", lambda _: None)
    ran = train(cli, train_file, tmp_path / "no-encoder", tmp_path / "m", **{"trainer.report_to": name})
    ran.fails(2, f"trainer.report_to: {name} is not installed", f"pip install {name}", "leave it out")
    assert not (tmp_path / "m.partial").exists()


def test_a_reporter_that_nobody_knows_is_said(cli: Run, train_file: Path, encoder: Path, tmp_path: Path) -> None:
    ran = train(cli, train_file, encoder, tmp_path / "m", **{"trainer.report_to": "tensorbord"})
    ran.fails(2, "tensorbord is not supported", "tensorboard")


def test_an_error_of_a_reporter_is_told_from_others() -> None:
    error = type("UsageError", (Exception,), {"__module__": "wandb.errors"})("api_key not configured")
    assert reporters.has_failed(error)
    assert not reporters.has_failed(ValueError("of ours"))


def test_a_terminal_has_a_live_line_that_fits_it(
    train_file: Path, encoder: Path, offline: dict[str, str], tmp_path: Path
) -> None:
    controller, terminal = pty.openpty()
    arguments = ["train", "ner", "--data", train_file, "--dev", train_file, "--model", encoder, "--out", tmp_path / "m"]
    # each step is shown, and the terminal is 60 wide
    code = "from bertft.training import progress; progress._REFRESH_SECONDS = 0; import bertft.cli; bertft.cli.main()"
    running = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments), "--set", "trainer.num_train_epochs=2"],
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        env={**offline, "COLUMNS": "60", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(controller, 4096)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        shown += part
    os.close(controller)
    assert running.wait(60) == 0, shown.decode()
    lines = [line.split("\n")[0].strip() for line in shown.decode().split("\r\x1b[K")[1:]]
    live = [line for line in lines if line.startswith("[")]
    assert live
    assert all(len(line) < 60 for line in live)
    assert re.match(r"\[#{1,20}\.{0,19}\] step \d+/\d+  epoch [\d.]+  loss [\d.]+", live[-1])
    assert "dev f1" in shown.decode()
