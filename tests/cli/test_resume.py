"""Training that is stopped, killed or left without room, and continued: the model is the undisturbed one."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Ran, Run
from transformers import Trainer

import bertft
from bertft import signals
from bertft.bundle import store
from bertft.training import checkpoints, parallel
from bertft.training.trainer import EncoderTrainer

EPOCHS = 3
STEPS = 4
"""Of an epoch."""


SETTINGS = (f"trainer.num_train_epochs={EPOCHS}", "trainer.bf16=false", "trainer.learning_rate=0.005")
OVERRIDES = [part for setting in SETTINGS for part in ("--set", setting)]


@pytest.fixture
def train(cli: Run, encoder: Path, train_file: Path, tmp_path: Path) -> Run:
    """Return a function that trains a tagger in this process, into a folder of `tmp_path`."""

    def run(out: str, *extra: object) -> Ran:
        named = ("--data", train_file, "--model", encoder, "--out", tmp_path / out)
        return cli("train", "ner", *named, *OVERRIDES, *extra)

    return run


@pytest.fixture(scope="module")
def undisturbed(encoder: Path, train_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of a run that nothing happens to."""
    out = tmp_path_factory.mktemp("undisturbed") / "whole"
    bertft.train(bertft.load_recipe("ner", [f"model={encoder}", *SETTINGS]), data=str(train_file), out=str(out))
    return out


@pytest.fixture
def whole(undisturbed: Path) -> dict[str, bytes]:
    """The weights and the scores of a run that nothing happens to."""
    return files(undisturbed)


def files(out: Path) -> dict[str, bytes]:
    """Return the weights and the scores."""
    return {name: (out / name).read_bytes() for name in ("model.safetensors", "metrics.json")}


def at_step(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], None]) -> None:
    """Do something within a step of the training."""
    original = EncoderTrainer.training_step

    def step(self: Any, *arguments: Any, **named: Any) -> Any:
        loss = original(self, *arguments, **named)
        if self.state.global_step + 1 == number:
            act()
        return loss

    monkeypatch.setattr(EncoderTrainer, "training_step", step)


def send(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize("step", [1, 3, 4, 5, 8, 12])
def test_a_run_that_is_stopped_at_a_step_goes_on_to_the_same_model(
    train: Run, whole: dict[str, bytes], step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        at_step(patch, step, send(signal.SIGTERM))
        ran = train("out")
    ran.fails(
        143,
        "interrupted",
        "to continue it:",
        f"--out {tmp_path}/out",
        "--resume",
    )
    assert [path.name for path in (tmp_path / "out.partial" / "checkpoints").glob(f"checkpoint-{step}")]
    ran = train("out", "--resume")
    assert ran.code == 0, ran.err
    assert f"resuming after step {step}" in ran.err
    assert files(tmp_path / "out") == whole
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_evaluation_that_is_cut_short_is_done_by_the_run_that_goes_on(
    train: Run, whole: dict[str, bytes], number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    original = parallel.evaluate

    def stopped(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(parallel, "evaluate", stopped)
        train("out").fails(130, "interrupted", "--resume")
    state = json.loads(
        (tmp_path / f"out.partial/checkpoints/checkpoint-{STEPS * number}/trainer_state.json").read_text()
    )
    assert sum("eval_f1" in entry for entry in state["log_history"]) == number - 1
    ran = train("out", "--resume")
    assert ran.code == 0, ran.err
    assert files(tmp_path / "out") == whole


@pytest.mark.parametrize("end", ["evaluation of the best model", "the model is written"])
def test_a_run_that_was_trained_to_its_end_trains_no_step_again(
    train: Run, whole: dict[str, bytes], end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if end == "the model is written":
            patch.setattr(store, "write", stop)
        else:
            patch.setattr(
                EncoderTrainer,
                "check",
                lambda self: stop() if self.state.global_step == STEPS * EPOCHS and not self.is_in_train else None,
            )
        train("out").fails(130, "--resume")
    with monkeypatch.context() as patch:
        patch.setattr(EncoderTrainer, "training_step", stop)
        ran = train("out", "--resume")
    assert ran.code == 0, ran.err
    assert files(tmp_path / "out") == whole


def test_what_early_stopping_has_counted_is_kept(train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # scores that fall: the second evaluation without a better one ends the run
    values = iter([0.9, 0.8, 0.7, 0.6, 0.5])
    calls: list[float] = []
    original = EncoderTrainer.evaluate

    def falling(self: Any, *arguments: Any, **named: Any) -> Any:
        tune = type(self._engine.task).score
        calls.append(next(values))
        with monkeypatch.context() as patch:
            patch.setattr(type(self._engine.task), "score", lambda task, pairs: {**tune(task, pairs), "f1": calls[-1]})
            return original(self, *arguments, **named)

    monkeypatch.setattr(EncoderTrainer, "evaluate", falling)
    several = ("--set", "trainer.num_train_epochs=5", "--set", "early_stopping=2")
    with monkeypatch.context() as patch:
        at_step(patch, 2 * STEPS + 1, send(signal.SIGTERM))
        train("out", *several).fails(143)
    assert calls == [0.9, 0.8]
    with monkeypatch.context() as patch:
        patch.setattr(store, "write", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
        train("out", *several, "--resume").fails(143)
    assert calls == [0.9, 0.8, 0.7]
    ran = train("out", *several, "--resume")
    assert ran.code == 0, ran.err
    assert calls == [0.9, 0.8, 0.7]  # it had stopped, and is not begun again


def stopped_with_two(train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the checkpoints of a run that was stopped after its tenth step."""
    with monkeypatch.context() as patch:
        at_step(patch, 10, send(signal.SIGTERM))
        train("out").fails(143)
    folder = tmp_path / "out.partial" / "checkpoints"
    assert {path.name for path in folder.iterdir()} >= {"checkpoint-8", "checkpoint-10"}
    return folder


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.safetensors", "changed"),
        ("optimizer.pt", "cut"),
        ("trainer_state.json", "cut"),
        ("rng_state.pth", "removed"),
        ("seal.json", "removed"),
    ],
)
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_it_used(
    train: Run, whole: dict[str, bytes], name: str, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stopped_with_two(train, tmp_path, monkeypatch)
    path = folder / "checkpoint-10" / name
    content = path.read_bytes()
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"x" + content[1:])
    ran = train("out", "--resume")
    assert ran.code == 0, ran.err
    assert "warning: checkpoint-10 is damaged: " in ran.err
    assert "resuming after step 8" in ran.err
    assert files(tmp_path / "out") == whole


def test_without_a_whole_checkpoint_it_starts_again_and_says_so(
    train: Run, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stopped_with_two(train, tmp_path, monkeypatch)
    for path in folder.glob("*/seal.json"):
        path.unlink()
    ran = train("out", "--resume")
    assert ran.code == 0, ran.err
    assert "no checkpoint yet: starting from the beginning" in ran.err
    assert files(tmp_path / "out") == whole


def test_the_directory_may_be_moved(
    train: Run, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_with_two(train, tmp_path, monkeypatch)
    (tmp_path / "out.partial").rename(tmp_path / "moved.partial")
    ran = train("moved", "--resume")
    assert ran.code == 0, ran.err
    assert files(tmp_path / "moved") == whole


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (("--seed", "14"), "recipe seed: 13 before, 14 now"),
        (("--set", "trainer.weight_decay=0.5"), "recipe trainer.weight_decay: 0.01 before, 0.5 now"),
        (("--limit", "20"), "data train: sha256"),
        (("--set", "trainer.bf16=true"), "recipe trainer.bf16: False before, True now"),
    ],
)
def test_another_run_is_not_continued(
    train: Run, extra: tuple[str, str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stopped_with_two(train, tmp_path, monkeypatch)
    train("out", *extra, "--resume").fails(2, "another one", said, "--overwrite")
    assert (folder / "checkpoint-10").is_dir()


def test_other_versions_do_not_continue_a_run(train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_with_two(train, tmp_path, monkeypatch)
    versions = {**store.versions(), "torch": "9.9"}
    monkeypatch.setattr(store, "versions", lambda: versions)
    train("out", "--resume").fails(2, "version of torch: 2.", "before, 9.9 now")


def test_checkpoints_by_the_clock_change_nothing(train: Run, whole: dict[str, bytes], tmp_path: Path) -> None:
    ran = train("out", "--set", "checkpoint_minutes=0", "-v")
    assert ran.code == 0, ran.err
    assert ran.err.count("checkpoint: ") == STEPS * EPOCHS
    assert files(tmp_path / "out") == whole


def test_an_overwriting_run_that_was_stopped_is_continued_and_not_taken_for_the_old_model(
    train: Run, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train("out", "--seed", 99).code == 0
    old = files(tmp_path / "out")
    with monkeypatch.context() as patch:
        at_step(patch, 6, send(signal.SIGTERM))
        train("out", "--overwrite").fails(143, "--overwrite", "--resume")
    assert files(tmp_path / "out") == old
    train("out", "--resume").fails(2, "exists already", "--overwrite")
    ran = train("out", "--overwrite", "--resume")
    assert ran.code == 0, ran.err
    assert files(tmp_path / "out") == whole


def test_a_model_that_has_come_meanwhile_is_not_overwritten(
    train: Run, undisturbed: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        at_step(patch, 6, lambda: shutil.copytree(undisturbed, tmp_path / "out") and None)
        train("out", "--seed", 99).fails(2, "exists already", "--overwrite")
    assert files(tmp_path / "out") == whole
    assert train("out", "--seed", 99, "--overwrite", "--resume").code == 0
    assert files(tmp_path / "out") != whole


def test_a_model_that_is_no_numbers_is_not_written(train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    original = EncoderTrainer.training_step

    def lost(self: Any, *arguments: Any, **named: Any) -> Any:
        loss = original(self, *arguments, **named)
        if self.state.global_step + 1 == 7:
            for parameter in self.model.parameters():
                parameter.grad.fill_(torch.nan)
        return loss

    monkeypatch.setattr(EncoderTrainer, "training_step", lost)
    ran = train("out")
    ran.fails(1, "training has diverged", "lower learning rate")
    assert checkpoints.last(tmp_path / "out.partial" / "checkpoints", best=True)[0].folder.name == "checkpoint-4"  # type: ignore[union-attr]


def test_a_row_that_loses_the_training_is_named(cli: Run, encoder: Path, tmp_path: Path) -> None:
    data = tmp_path / "values.csv"
    data.write_text("text,label\n" + "".join(f"the lazy dog number {i},{i % 7}.5\n" for i in range(60)))
    settings = ("trainer.learning_rate=1e30", "trainer.max_grad_norm=0", "trainer.bf16=false")
    overrides = [part for setting in settings for part in ("--set", setting)]
    ran = cli("train", "regress", "--data", data, "--model", encoder, "--out", tmp_path / "out", *overrides)
    ran.fails(1, "training has diverged", "rows of that batch: ", f"{data}:", "lower learning rate")
    assert not (tmp_path / "out").exists()


def test_a_process_without_room_says_so_and_keeps_what_it_has(
    train: Run, whole: dict[str, bytes], encoder: Path, train_file: Path, tmp_path: Path, offline: dict[str, str]
) -> None:
    size = len(whole["model.safetensors"])
    command = ["train", "ner", "--data", train_file, "--model", encoder, "--out", tmp_path / "out"]
    command += OVERRIDES
    # the weights do not fit; they do, but not the optimizer's state, of which torch does not say why
    for limit, fact in ((size // 2, "File too large"), (size + 1000, "a limit is reached")):
        done = subprocess.run(
            [sys.executable, "-m", "bertft", *map(str, command)],
            capture_output=True,
            text=True,
            env=offline,
            preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
            check=False,
        )
        ran = Ran(done.returncode, done.stdout, done.stderr)
        ran.fails(3, "cannot write: ", fact, f"--> {tmp_path}/out.partial/checkpoints")
        assert not (tmp_path / "out").exists()
        assert not (tmp_path / "out.partial").exists()  # there was no checkpoint before


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    train: Run, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = checkpoints.seal

    def full(folder: Path, facts: Any) -> None:
        if folder.name == "checkpoint-8":
            raise OSError(28, "No space left on device", str(folder))
        original(folder, facts)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "seal", full)
        train("out").fails(3, "No space left on device", "make room", "`--resume` goes on from the last checkpoint")
    ran = train("out", "--resume")
    assert ran.code == 0, ran.err
    assert "resuming after step 4" in ran.err
    assert files(tmp_path / "out") == whole


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("unable to mmap 90867952 bytes from file </a/model.safetensors>: Cannot allocate memory (12)"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_memory_that_runs_out_behind_the_last_step_is_no_bug(
    error: Exception, train: Run, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: EncoderTrainer) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(EncoderTrainer, "_load_best_model", full)
        train("out").fails(4, "there is not enough memory")
    ran = train("out", "--resume")
    assert ran.code == 0, ran.err
    assert files(tmp_path / "out") == whole


def test_a_best_model_that_is_the_last_is_not_read_again(train: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Trainer) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_load_best_model", full)
        ran = train("out", "--set", "trainer.num_train_epochs=1")
    assert ran.code == 0, ran.err


def test_a_directory_that_has_gone_ends_the_run(train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_step(monkeypatch, 6, lambda: shutil.rmtree(tmp_path / "out.partial"))
    train("out").fails(3, "the directory of this run has gone", str(tmp_path / "out.partial"))
    assert list(tmp_path.iterdir()) == []


def test_a_second_signal_leaves_at_once_and_without_damage(
    train: Run, whole: dict[str, bytes], encoder: Path, train_file: Path, tmp_path: Path, offline: dict[str, str]
) -> None:
    code = (
        "import os, signal, sys\n"
        "from bertft.training.trainer import EncoderTrainer\n"
        "original = EncoderTrainer.training_step\n"
        "def step(self, *arguments, **named):\n"
        "    if self.state.global_step == 5:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    return original(self, *arguments, **named)\n"
        "EncoderTrainer.training_step = step\n"
        "from bertft.cli import main\n"
        "sys.exit(main())\n"
    )
    command = ["train", "ner", "--data", train_file, "--model", encoder, "--out", tmp_path / "out"]
    command += OVERRIDES
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, command)], capture_output=True, text=True, env=offline, check=False
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert "stopping: the checkpoint is written at the end of this step" in done.stderr
    assert "Traceback" not in done.stderr
    ran = train("out", "--resume")
    assert ran.code == 0, ran.err
    assert "resuming after step 4" in ran.err
    assert files(tmp_path / "out") == whole


def test_signals_are_handled_as_before_when_the_training_is_over() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with signals.ending(), signals.deferred("") as request:
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.number == signal.SIGTERM
        with pytest.raises(signals.Interrupted), request.at_once():
            raise AssertionError
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
