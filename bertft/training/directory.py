"""Where a run writes: `OUT.partial/` while it lasts (lock, recipe, checkpoints), `OUT/` by rename at its end."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertft.bundle.store import MANIFEST
from bertft.console import is_main_process, warn
from bertft.errors import UsageError


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The directories of one run. In a run of several processes only the main one writes."""

    target: Path

    @property
    def partial(self) -> Path:
        """The directory of the unfinished run."""
        return self.target.parent / f"{self.target.name}.partial"

    @property
    def checkpoints(self) -> Path:
        """Where Trainer keeps what `--resume` continues from."""
        return self.partial / "checkpoints"

    @property
    def bundle(self) -> Path:
        """Where the bundle is written before it is published."""
        return self.partial / "bundle"

    def is_finished(self) -> bool:
        """Say whether a finished model stands there."""
        return (self.target / MANIFEST).is_file()

    def claim(self, *, resume: bool, overwrite: bool) -> None:
        """Check that the run may write here; raises UsageError for what `resume` or `overwrite` do not allow."""
        if not is_main_process():
            return
        if self.target.exists() and not overwrite:
            raise UsageError(
                f"{str(self.target)!r} exists already", help="`--overwrite` replaces it, `--out` names another place"
            )
        if self.target.exists() and not self.is_finished():
            raise UsageError(f"{str(self.target)!r} is no model that bertft wrote; it is not overwritten")
        if not self.partial.exists():
            return
        if not (resume or overwrite):
            raise UsageError(
                f"a run into {str(self.target)!r} was not finished: {str(self.partial)!r} exists",
                help="`--resume` continues it, `--overwrite` starts again",
            )
        self._refuse_locked()
        if not resume:
            shutil.rmtree(self.partial)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the partial directory and hold its lock: a file that names the process.

        A run that fails before its first checkpoint leaves nothing behind.
        """
        if not is_main_process():
            yield
            return
        try:
            self.partial.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make the directory: {error.strerror}", place=self.partial) from None
        self._refuse_locked()
        self._write("lock", json.dumps({"pid": os.getpid(), "host": os.uname().nodename}))
        try:
            yield
        finally:
            (self.partial / "lock").unlink(missing_ok=True)
            if any(self.checkpoints.glob("checkpoint-*")):
                warn(f"the run so far is in {str(self.partial)!r}; the same command with `--resume` continues it")
            elif self.partial.exists():
                shutil.rmtree(self.partial)

    def begin(self, recipe: str, inputs: Mapping[str, Any], *, resume: bool) -> None:
        """Record the recipe (YAML) and the run's inputs (names to JSON values) in the partial directory.

        Raises UsageError where `resume` would continue a run whose inputs were others, naming what changed.
        """
        if not is_main_process():
            return
        before = self.partial / "inputs.json"
        if resume and before.is_file():
            old, new = json.loads(before.read_text(encoding="utf-8")), json.loads(json.dumps(inputs))
            keys = dict.fromkeys([*new, *old])
            changed = [
                f"{key} ({old.get(key)} before, {new.get(key)} now)" for key in keys if old.get(key) != new.get(key)
            ]
            if changed:
                raise UsageError(
                    f"the unfinished run in {str(self.partial)!r} is another one: {'; '.join(changed)[:600]}",
                    help="give the arguments it was started with, or `--overwrite` to start again",
                )
        self._write("inputs.json", json.dumps(inputs))
        self._write("recipe.yaml", recipe)

    def _write(self, name: str, text: str) -> None:
        (self.partial / name).write_text(text, encoding="utf-8")

    def publish(self) -> None:
        """Rename the finished bundle to its name; a model that was there is removed after that, never before."""
        old = self.target.parent / f"{self.target.name}.old-{os.getpid()}"
        if self.target.exists():
            self.target.rename(old)
        self.bundle.rename(self.target)
        shutil.rmtree(self.partial)
        shutil.rmtree(old, ignore_errors=True)

    def _refuse_locked(self) -> None:
        """Raise UsageError where the process that holds the lock still runs, or may run on another host."""
        try:
            owner = json.loads((self.partial / "lock").read_text(encoding="utf-8"))
            pid, host = int(owner["pid"]), str(owner["host"])
        except (OSError, ValueError, KeyError, TypeError):
            return
        if host == os.uname().nodename and not _runs(pid):
            return
        raise UsageError(
            f"another run is writing {str(self.partial)!r}: process {pid} on {host}",
            help=f"wait for it, or remove {str(self.partial / 'lock')!r} if it is gone",
        )


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
