"""Where a run writes: `OUT.partial/` while it lasts (lock, recipe, checkpoints), `OUT/` by rename at its end."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bertft import owner
from bertft.bundle.store import MANIFEST
from bertft.console import command, is_main_process, resuming, warn
from bertft.errors import OutputError, UsageError
from bertft.inference.identity import changes
from bertft.training.checkpoints import settle

_INPUTS = "inputs.json"
_LOCK = "lock"
SEEDS = "seeds.json"
"""The scores of the models that a run of several seeds has made."""
TRIALS = "trials"
"""Where the runs of a sweep write, by their numbers."""
_WORTH_KEEPING = (
    "checkpoints/checkpoint-*",
    "checkpoints/[0-9]*/checkpoint-*",
    SEEDS,
    f"{TRIALS}/*.partial/checkpoints/checkpoint-*",
    f"{TRIALS}/*/{MANIFEST}",
)
"""What a run can go on from: whole checkpoints (its own, those of a seed or a trial), and what is done."""
_PUBLISHED = "published"
"""Holds the inode of the bundle that has become, or is about to become, the model."""


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The directories of one run. In a run of several processes only the main one writes."""

    target: Path
    part: bool = False
    """Whether it is a part of another run, which says how both go on."""

    @property
    def partial(self) -> Path:
        """The directory of the unfinished run."""
        return self.target.parent / f"{self.target.name}.partial"

    @property
    def checkpoints(self) -> Path:
        """Where Trainer keeps what `--resume` continues from."""
        return (self.partial / "checkpoints").absolute()

    @property
    def bundle(self) -> Path:
        """Where the bundle is written before it is published."""
        return self.partial / "bundle"

    @property
    def _old(self) -> Path:
        """Where a model waits while another takes its place."""
        return self.target.parent / f"{self.target.name}.old"

    def is_finished(self) -> bool:
        """Say whether a finished model stands there, and no unfinished run is to replace it."""
        there = (self.target / MANIFEST).is_file()
        return there and (self._is_published() or not (self.partial / _INPUTS).is_file())

    def _is_published(self) -> bool:
        """Say whether the model is the one that the run in the partial directory has made."""
        try:
            return (self.partial / _PUBLISHED).read_text(encoding="utf-8") == str(self.target.stat().st_ino)
        except OSError:
            return False

    def claim(self, *, resume: bool, overwrite: bool) -> None:
        """Check that the run may write here; raises UsageError for what `resume` or `overwrite` do not allow."""
        if not is_main_process():
            return
        if self._old.is_dir() and not self.target.exists():  # killed between the two renames of `publish`
            self._old.rename(self.target)
        if self._is_published():  # killed after them
            shutil.rmtree(self.partial, ignore_errors=True)
        self._refuse_target(overwrite=overwrite)
        if not self.partial.exists():
            return
        if not (resume or overwrite):
            raise UsageError(
                f"a run into {str(self.target)!r} was not finished: {str(self.partial)!r} exists",
                help="`--resume` continues it, `--overwrite` starts again",
            )
        with self._held():  # another run is refused before anything is read
            pass

    def _refuse_target(self, *, overwrite: bool) -> None:
        if self.target.exists() and not overwrite:
            raise UsageError(
                f"{str(self.target)!r} exists already", help="`--overwrite` replaces it, `--out` names another place"
            )
        if self.target.exists() and not (self.target / MANIFEST).is_file():
            raise UsageError(f"{str(self.target)!r} is no model that bertft wrote; it is not overwritten")

    @contextmanager
    def locked(self, *, resume: bool = False) -> Iterator[None]:
        """Make the partial directory and hold its lock; without `resume` what an earlier run left there is removed.

        A run that fails before its first checkpoint leaves nothing behind.
        """
        if not is_main_process():
            yield
            return
        with writing(self.partial):
            self.partial.mkdir(parents=True, exist_ok=True)
        with self._held():
            if not resume:
                for path in self.partial.iterdir():
                    if path.name != _LOCK:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
            try:
                yield
            finally:
                if any(any(self.partial.glob(place)) for place in _WORTH_KEEPING):
                    if not self.part:
                        warn(f"the run so far is in {str(self.partial)!r}; {self._continuing()}")
                else:
                    shutil.rmtree(self.partial, ignore_errors=True)

    def _continuing(self) -> str:
        """Return how the run is continued, as a sentence."""
        named = any(part.partition("=")[0] == "--out" for part in command() or ())
        line = resuming(*(() if named else ("--out", str(self.target))))
        return f"to continue it:\n  {line}" if line else "the same command with `--resume` continues it"

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the lock: of a file that names the process, so that the system drops it when the process is gone.

        Raises UsageError where another process holds it, or one on another host may.
        """
        path = self.partial / _LOCK
        with writing(path):
            file = path.open("a+", encoding="utf-8")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise OutputError(f"cannot be locked: {error.strerror}", place=path) from None
                self._refuse(file)
            this = owner.this_process()
            if _holder(file).get("host", this["host"]) != this["host"]:  # which may not see this host's locks
                self._refuse(file)
            file.seek(0)
            file.truncate()
            json.dump(this, file)
            file.flush()
            try:
                yield
            finally:
                with suppress(OSError):
                    file.truncate(0)

    def _refuse(self, file: IO[str]) -> None:
        advice = f"wait for it, or remove {str(self.partial / _LOCK)!r} if it is gone"
        raise owner.refused(self.partial, _holder(file), help=advice)

    def begin(self, recipe: str, inputs: Mapping[str, Any], *, resume: bool) -> None:
        """Record the recipe (YAML) and the run's inputs (names to JSON values) in the partial directory.

        Raises UsageError where `resume` would continue a run whose inputs were others, naming what changed.
        """
        if not is_main_process():
            return
        before = self.partial / _INPUTS
        if resume and before.is_file():
            try:
                old = dict(json.loads(before.read_text(encoding="utf-8")))
            except ValueError:
                raise UsageError(
                    "what the unfinished run was started with cannot be read",
                    place=before,
                    help="`--overwrite` starts again",
                ) from None
            refuse_changes(f"the unfinished run in {str(self.partial)!r}", old, inputs)
        with writing(self.partial):
            for name, text in ((_INPUTS, json.dumps(inputs)), ("recipe.yaml", recipe)):
                new = self.partial / f".{name}"
                new.write_text(text, encoding="utf-8")
                new.replace(self.partial / name)

    def publish(self, *, overwrite: bool) -> None:
        """Rename the finished bundle to its name; a model that was there is removed after that, never before.

        Raises UsageError where a model has come there meanwhile, OutputError where it cannot be renamed.
        """
        with writing(self.target):
            for path in self.bundle.rglob("*"):
                if path.is_file():
                    settle(path)
            if self.target.exists():
                self._refuse_target(overwrite=overwrite)
                shutil.rmtree(self._old, ignore_errors=True)
                self.target.rename(self._old)
            (self.partial / _PUBLISHED).write_text(str(self.bundle.stat().st_ino), encoding="utf-8")
            self.bundle.rename(self.target)
        # from here on the run is finished, whatever is left of it
        shutil.rmtree(self.partial, ignore_errors=True)
        shutil.rmtree(self._old, ignore_errors=True)


def refuse_changes(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise UsageError that names what differs between the inputs of a run and those of its `--resume`."""
    new = json.loads(json.dumps(new))
    if changed := changes(old, new):
        raise UsageError(
            "\n".join((f"{what} is another one", *(f"  {change}" for change in changed))),
            help="give the arguments it was started with, or `--overwrite` to start again",
        )


@contextmanager
def writing(place: Path, *, help: str | None = None) -> Iterator[None]:
    """Turn what goes wrong with a file that is written, here or in a library, into an OutputError with the place."""
    try:
        yield
    except Exception as error:
        found = error if isinstance(error, OSError) else _of_library(error, place)
        if found is None:
            raise
        raise OutputError.of(found, place, help=help) from error


def _of_library(error: Exception, place: Path) -> OSError | None:
    """Return what the system said to torch or safetensors, which write files by themselves; None for other errors."""
    text = str(error)
    if number := re.search(r"\(os error (\d+)\)", text):
        return OSError(int(number[1]), os.strerror(int(number[1])))
    if any(part in text for part in ("PytorchStreamWriter", "inline_container", "iostream", "unexpected pos")):
        with suppress(OSError):
            if shutil.disk_usage(place if place.exists() else place.parent).free < 2**20:
                return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return OSError(errno.EIO, "a file was not written to its end: the disk is full, or a limit is reached")
    return None


def _holder(file: IO[str]) -> dict[str, Any]:
    """Return what a lock says of the process that holds it; nothing where it cannot be read."""
    try:
        file.seek(0)
        found = json.load(file)
        return {"pid": int(found["pid"]), "host": str(found["host"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
