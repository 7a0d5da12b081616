"""Where a run writes: what `--resume` and `--overwrite` allow, and the lock."""

from __future__ import annotations

import json
import os
from pathlib import Path

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
        ({"data train": "bb"}, "data train (aa before, bb now)"),
        ({"labels": ["O"]}, "labels"),
        ({"new": 1}, "new (None"),
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
    with unfinished.locked(), pytest.raises(UsageError, match=f"process {os.getpid()}"):
        RunDirectory(unfinished.target).claim(resume=True, overwrite=False)
    assert unfinished.checkpoints.is_dir()


def test_the_lock_of_a_process_that_has_gone_does_not_hold(unfinished: RunDirectory) -> None:
    (unfinished.partial / "lock").write_text(json.dumps({"pid": 2**22 + 1, "host": os.uname().nodename}))
    unfinished.claim(resume=True, overwrite=False)


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
    directory.publish()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (directory.target / "bertft.json").read_text() == "new"
