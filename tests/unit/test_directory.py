"""Where a run writes: what `--resume` and `--overwrite` allow, and the lock."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bertft.errors import UsageError
from bertft.training.directory import RunDirectory

INPUTS = {"recipe seed": 13, "data train": "aa", "labels": ["O", "B-PER", "I-PER"]}


@pytest.fixture
def unfinished(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "out")
    (directory.checkpoints / "checkpoint-3").mkdir(parents=True)
    directory.begin("task: ner\n", INPUTS, resume=False)
    return directory


def test_the_same_run_can_be_resumed(unfinished: RunDirectory) -> None:
    unfinished.claim(resume=True, overwrite=False)
    unfinished.begin("task: ner\n", INPUTS, resume=True)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"data train": "bb"}, "\n  data train: aa before, bb now\n"),
        ({"labels": ["O"]}, "labels"),
        ({"new": 1}, "\n  new: nothing before, 1 now\n"),
    ],
)
def test_another_run_is_not_resumed(unfinished: RunDirectory, changed: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        unfinished.begin("task: ner\n", {**INPUTS, **changed}, resume=True)
    assert said in str(caught.value)
    assert json.loads((unfinished.partial / "inputs.json").read_text()) == INPUTS


def test_an_unfinished_run_is_neither_overwritten_nor_joined(unfinished: RunDirectory) -> None:
    with pytest.raises(UsageError, match="--resume"):
        unfinished.claim(resume=False, overwrite=False)
    with unfinished.locked(resume=True), pytest.raises(UsageError, match=f"process {os.getpid()}"):
        RunDirectory(unfinished.target).claim(resume=True, overwrite=False)
    assert unfinished.checkpoints.is_dir()


def test_the_lock_of_a_process_that_has_gone_does_not_hold(unfinished: RunDirectory) -> None:
    (unfinished.partial / "lock").write_text(json.dumps({"pid": os.getppid(), "host": os.uname().nodename}))
    unfinished.claim(resume=True, overwrite=False)


def test_a_run_of_another_host_may_live(unfinished: RunDirectory) -> None:
    lock = unfinished.partial / "lock"
    lock.write_text(json.dumps({"pid": 7, "host": "elsewhere"}))
    with pytest.raises(UsageError, match="process 7 on elsewhere"):
        unfinished.claim(resume=True, overwrite=False)
    lock.unlink()
    unfinished.claim(resume=True, overwrite=False)


def test_what_an_earlier_run_left_is_kept_for_resume_alone(unfinished: RunDirectory) -> None:
    with unfinished.locked(resume=True):
        assert unfinished.checkpoints.is_dir()
    with unfinished.locked():
        assert [path.name for path in unfinished.partial.iterdir()] == ["lock"]


def finished(tmp_path: Path, *, old: bool) -> RunDirectory:
    """Return a run that stands just before its publication, over an old model or none."""
    directory = RunDirectory(tmp_path / "out")
    directory.bundle.mkdir(parents=True)
    directory.begin("task: ner\n", INPUTS, resume=False)
    (directory.checkpoints / "checkpoint-3").mkdir(parents=True)
    (directory.bundle / "bertft.json").write_text("new")
    if old:
        directory.target.mkdir()
        (directory.target / "bertft.json").write_text("old")
    return directory


@pytest.mark.parametrize("old", [False, True], ids=["no model", "an old model"])
@pytest.mark.parametrize("killed_before", range(8))
def test_a_kill_between_the_steps_of_publication_loses_nothing(
    tmp_path: Path, old: bool, killed_before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = finished(tmp_path, old=old)
    calls = 0

    def killed(original: Any) -> Any:
        def step(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > killed_before:
                raise SystemExit  # nothing after this happens
            return original(*arguments, **named)

        return step

    with monkeypatch.context() as patch, suppress(SystemExit):
        for holder, name in ((Path, "rename"), (Path, "write_text"), (shutil, "rmtree")):
            patch.setattr(holder, name, killed(getattr(holder, name)))
        directory.publish(overwrite=True)

    again = RunDirectory(directory.target)
    if not again.is_finished():
        again.claim(resume=True, overwrite=True)
        assert again.is_finished() or again.checkpoints.is_dir()
        if not again.is_finished() and not again.bundle.is_dir():
            raise AssertionError("the model is nowhere")
        if again.target.exists():
            assert (again.target / "bertft.json").read_text() == "old"
        if not again.is_finished():
            again.publish(overwrite=True)
    again.claim(resume=False, overwrite=True)
    assert (again.target / "bertft.json").read_text() == "new"
    assert not again.partial.exists()


def test_a_run_that_fails_before_its_first_checkpoint_leaves_nothing(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "out")
    with pytest.raises(ValueError, match="boom"), directory.locked():
        raise ValueError("boom")
    assert list(tmp_path.iterdir()) == []


def test_a_published_model_replaces_the_old_one_whole(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "out")
    directory.target.mkdir()
    (directory.target / "bertft.json").write_text("old")
    directory.bundle.mkdir(parents=True)
    (directory.bundle / "bertft.json").write_text("new")
    directory.publish(overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (directory.target / "bertft.json").read_text() == "new"
