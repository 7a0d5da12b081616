"""What `--resume` goes on from: checkpoints that are whole. Each is written beside its place, sealed and renamed.

    checkpoints/checkpoint-120/
        model.safetensors, optimizer.pt, …   as transformers' Trainer writes them
        seal.json                            the sha256 of each file, and in what the run was computed

A kill while one is written leaves nothing at its place; damage that comes later does not fit the seal.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bertft import digest

SEAL = "seal.json"
_STATE = "trainer_state.json"
_LOST = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that is whole. `facts` are those it was sealed with."""

    folder: Path
    facts: dict[str, Any]
    best: int | None
    """The step with the best score so far, where scores are compared."""


def step(folder: Path) -> int:
    """Return the step after which a checkpoint was written."""
    return int(folder.name.rpartition("-")[2])


def seal(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the seal of a checkpoint, when all its files are on the disk; raises OSError where they cannot be."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != SEAL:
            settle(path)
            files[str(path.relative_to(folder))] = digest.of_file(path)
    (folder / SEAL).write_text(json.dumps({"files": files, **facts}, indent=1), encoding="utf-8")
    settle(folder / SEAL)


def settle(path: Path) -> None:
    """Wait until a file is on the disk; raises OSError where there is no room for it after all."""
    with path.open("rb") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno in _LOST:  # else the file system cannot be asked
                raise


def place(written: Path, folder: Path) -> None:
    """Move a sealed checkpoint to its place; one that is there already gives way."""
    if folder.exists():
        old = folder.with_name(f".{folder.name}.old")
        folder.rename(old)
        written.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    else:
        written.rename(folder)


def rotate(checkpoints: Path, *, limit: int | None, best: int | None) -> None:
    """Remove the oldest checkpoints but `limit` of them; the last and that of the `best` step stay in any case."""
    folders = sorted(checkpoints.glob("checkpoint-*"), key=step)
    if limit is None or limit <= 0:
        return
    kept = {folders[-1], *(folder for folder in folders if step(folder) == best)} if folders else set()
    for folder in reversed(folders):
        if len(kept) < limit:
            kept.add(folder)
    for folder in folders:
        if folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)


def last(checkpoints: Path, *, best: bool) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest checkpoint that is whole, and sentences on those that are not.

    With `best`, the checkpoint with the best score so far, which it names, must be whole as well.
    """
    problems: list[str] = []
    opened = cache(_open)
    for folder in sorted(checkpoints.glob("checkpoint-*"), key=step, reverse=True):
        found = opened(folder)
        if isinstance(found, str):
            problems.append(f"{folder.name} is damaged: {found}")
            continue
        model = checkpoints / f"checkpoint-{found.best}"
        if best and found.best and isinstance(fault := opened(model), str):
            problems.append(f"{folder.name} cannot be used: the best one before it, {model.name}, is damaged: {fault}")
            continue
        return found, problems
    return None, problems


def clear(checkpoints: Path, *, after: int) -> None:
    """Remove what a run that goes on from step `after` does not build on."""
    for folder in checkpoints.iterdir() if checkpoints.is_dir() else ():
        if not folder.name.startswith("checkpoint-") or step(folder) > after:
            shutil.rmtree(folder, ignore_errors=True)


def _open(folder: Path) -> Checkpoint | str:
    """Return a checkpoint that is whole; else what is wrong with it."""
    try:
        facts = dict(json.loads((folder / SEAL).read_text(encoding="utf-8")))
        files = dict(facts["files"])
        best = json.loads((folder / _STATE).read_text(encoding="utf-8"))["best_global_step"]
    except (OSError, ValueError, KeyError, TypeError):
        return f"its {SEAL} or {_STATE} is missing or torn"
    for name, expected in files.items():
        try:
            if digest.of_file(folder / name) != expected:
                return f"{name} is not what was written"
        except OSError as error:
            return f"{name}: {error.strerror}"
    return Checkpoint(folder, facts, best)
