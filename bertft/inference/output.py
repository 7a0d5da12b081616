"""Where answers go: to stdout, or to `OUT.partial`, which becomes OUT when all is done.

    OUT.partial        the answers so far, locked while they are written
    OUT.partial.json   who writes them, of which run they are, how many bytes of them are whole, and where to go on

After each chunk what is whole is written down: whatever ends the process then, `--resume` goes on behind that chunk.
From time to time all of it is forced onto the disk: where the machine itself went down, it goes on from there.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, cast

from bertft import owner
from bertft.console import drop_stdout, say, warn
from bertft.errors import DataError, OutputError, UsageError
from bertft.inference.identity import check_same

_SHARE = 20  # what is forced onto the disk may take a twentieth of the time
_BLOCK = 2**20
_TRIES = 100
_NOTHING = {"bytes": 0, "crc32": 0, "mark": None}


class File:
    """A file that is written without a buffer: when it is closed nothing is left to be written."""

    def __init__(self, raw: FileIO, name: str) -> None:
        self.name = name
        self._raw = raw

    def write(self, block: bytes) -> int:
        """Write all of the block; raises OSError."""
        rest = memoryview(block)
        while rest:
            rest = rest[self._raw.write(rest) or 0 :]
        return len(block)

    def flush(self) -> None:
        """Do nothing: nothing waits."""


class Answers(File):
    """The file `OUT.partial` and what is known of it."""

    def __init__(self, raw: FileIO, target: Path, *, resume: bool, again: str | None) -> None:
        super().__init__(raw, str(target))
        self._target = target
        self._partial = partial_of(target)
        self._resume = resume
        self._again = again
        self._run: Mapping[str, Any] | None = None
        self._begun = False
        self._size = 0
        self._crc = 0
        self._whole: dict[str, Any] = dict(_NOTHING)
        self._saved = self._forced = self._whole
        self._next = 0.0

    def begin(self, run: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """Return where to go on; None: at the start, where there is nothing to resume.

        `run` is what a resumed run must have in common with the one that was interrupted, None for one that cannot be
        resumed. Raises UsageError where it has not, naming what changed; OutputError where nothing can be written.
        """
        before = _read(self._partial) if self._resume else None
        if before is not None:
            if run is None:
                raise UsageError("--resume reads its inputs again, and one of them is no file", place=self.name)
            # without a bad record so far, what is done with one has made no difference
            free = () if before["mark"]["failed"] else ("--on-error",)
            check_same(before["run"], run, place=str(self._partial), free=free)
            known = [{name: place[name] for name in _NOTHING} for place in (before, before["forced"])]
            self._whole = next((place for place in known if place["mark"] and self._is_intact(place)), _NOTHING)
            if self._whole is not known[0]:
                what = "the end of its answers is" if self._whole["mark"] else "its answers are"
                warn(f"{str(self._partial)!r} is damaged: {what} not used")
        self._run = run
        self._size, self._crc = self._whole["bytes"], self._whole["crc32"]
        mark: Mapping[str, Any] | None = self._whole["mark"]
        with _refused(self.name):
            self._raw.truncate(self._size)
            self._raw.seek(self._size)
            self._save(force=True)
        self._begun = True
        if mark is not None:
            say(f"resumed behind {mark['answered'] + mark['failed']:,} records")
        elif self._resume:
            say(f"nothing to resume in {str(self._partial)!r}: this starts at the first record")
        return mark

    def write(self, block: bytes) -> int:
        """Write all of the block; raises OSError."""
        super().write(block)
        self._size += len(block)
        self._crc = zlib.crc32(block, self._crc)
        return len(block)

    def record(self, mark: Mapping[str, Any]) -> None:
        """Note that what was written so far is whole, and that `mark` is where to go on. Raises OSError."""
        self._whole = {"bytes": self._size, "crc32": self._crc, "mark": mark}
        if self._run is not None:
            self._save(force=time.monotonic() >= self._next)

    def finish(self) -> None:
        """Make OUT of what was written; raises OSError."""
        os.fsync(self._raw.fileno())
        self._partial.replace(self._target)
        _note(self._partial).unlink(missing_ok=True)

    def leave(self, error: BaseException) -> None:
        """Keep what is whole for `--resume`, and say how it goes on; where there is nothing, remove the files."""
        if self._begun and self._run is not None and self._whole is not self._saved:
            with suppress(OSError):
                self._save(force=True)
        if not _is_same(self._raw, self._partial):
            return  # moved away, with its directory or without
        written = os.fstat(self._raw.fileno()).st_size
        with suppress(OSError):
            if not written or (self._begun and self._saved["mark"] is None):
                _note(self._partial).unlink(missing_ok=True)
            if not written:
                self._partial.unlink()
        if not written or not self._begun:
            return
        fact = f"the answers so far are in {str(self._partial)!r}"
        if self._saved["mark"] is not None:
            ways = " --on-error skip" if isinstance(error, DataError) and not isinstance(error, OutputError) else ""
            again = f": {self._again}{ways}" if self._again else ""
            fact += f"; the same command with `--resume{ways}` continues{again}"
        warn(fact)

    def claim(self) -> None:
        """Write down who writes, beside what is written down already. Raises OSError."""
        _write_note(self._partial, {"run": None, **_stored(self._partial)}, force=True)

    def _save(self, *, force: bool) -> None:
        """Write down what is whole; with `force` it is on the disk then."""
        started = time.monotonic()
        if force:
            os.fsync(self._raw.fileno())
            self._forced = self._whole
        _write_note(self._partial, {"run": self._run, **self._whole, "forced": self._forced}, force=force)
        self._saved = self._whole
        if force:
            ended = time.monotonic()
            self._next = ended + _SHARE * (ended - started)

    def _is_intact(self, place: Mapping[str, Any]) -> bool:
        """Say whether the bytes up to a place that was written down are there as they were."""
        rest, crc = place["bytes"], 0
        self._raw.seek(0)
        while rest and (block := self._raw.read(min(rest, _BLOCK))):
            crc, rest = zlib.crc32(block, crc), rest - len(block)
        return not rest and crc == place["crc32"]


def partial_of(target: Path) -> Path:
    """Return the file that is written until OUT is whole."""
    return target.with_name(f"{target.name}.partial")


def _note(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


@contextmanager
def open_out(
    path: str | None, *, resume: bool = False, overwrite: bool = False, again: str | None = None
) -> Iterator[BinaryIO]:
    """Open stdout, or the file that `--out` names: it is written as `FILE.partial` and renamed when all is done.

    `again` is the command that continues an interrupted run. Raises UsageError for a directory, or a place that another
    process writes, or that holds unfinished answers which neither `resume` nor `overwrite` speaks of; OutputError where
    nothing can be written, or the disk takes no more.
    """
    if path is None:
        try:
            yield sys.stdout.buffer
        except OutputError:
            drop_stdout()
            raise
        return
    if os.path.isdir(path):
        raise UsageError("this is a directory, not a file to write to", place=path)
    if os.path.exists(path) and not os.path.isfile(path):
        if resume:
            raise UsageError("--resume needs a file; this is a pipe or a device", place=path)
        with open(path, "wb", buffering=0) as raw:  # it is written to, not replaced
            yield cast("BinaryIO", File(raw, path))
        return
    target = Path(path)
    with _locked(partial_of(target), target) as raw:
        unfinished = None if resume or overwrite else _read(partial_of(target))
        if unfinished is not None:
            number = unfinished["mark"]["answered"] + unfinished["mark"]["failed"]
            raise UsageError(
                f"a run into {path!r} was not finished: {str(partial_of(target))!r} has {number:,} records",
                help="`--resume` continues it, `--overwrite` starts again",
            )
        answers = Answers(raw, target, resume=resume, again=again)
        try:
            with _refused(path):
                answers.claim()
            yield cast("BinaryIO", answers)
            with _refused(path):
                answers.finish()
        except BaseException as error:
            answers.leave(error)
            raise


@contextmanager
def _locked(partial: Path, target: Path) -> Iterator[FileIO]:
    """Open the partial file and hold its lock, which ends with the process.

    Raises OutputError where it cannot be opened, UsageError where another process holds it.
    """
    for _ in range(_TRIES):
        try:
            raw = FileIO(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+")
        except OSError as error:
            raise OutputError.of(error, target) from None
        with raw:
            try:
                fcntl.flock(raw, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                advice = "wait for it, or name another `--out`"
                raise owner.refused(partial, _stored(partial), help=advice) from None
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):  # it has no locks
                    raise UsageError(f"cannot lock: {error.strerror}", place=partial) from None
            if _is_same(raw, partial):  # and not renamed meanwhile, by a run that was just finished
                yield raw
                return
    raise UsageError("cannot lock: the file is replaced again and again", place=partial)


@contextmanager
def _refused(place: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError.of(error, place) from error


def _is_same(raw: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(raw.fileno()), path.stat())
    except OSError:
        return False


def _write_note(partial: Path, content: Mapping[str, Any], *, force: bool) -> None:
    note = _note(partial)
    new = note.with_name(f"{note.name}.new")
    try:
        with new.open("wb", buffering=0) as file:
            File(file, str(new)).write(json.dumps({**content, **owner.this_process()}).encode())
            if force:
                os.fsync(file.fileno())
        new.replace(note)
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise


def _stored(partial: Path) -> dict[str, Any]:
    """Return what is written down, as far as it can be read."""
    try:
        found = json.loads(_note(partial).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _read(partial: Path) -> dict[str, Any] | None:
    """Return what is written down of answers that can be continued; None where there are none."""
    note = _stored(partial)
    forced = note.get("forced")
    if not isinstance(note.get("run"), dict) or not _is_place(note) or not isinstance(forced, dict):
        return None
    if forced.get("mark") is not None and not _is_place(forced):
        return None
    with suppress(OSError):
        return note if partial.stat().st_size else None
    return None


def _is_place(found: Mapping[str, Any]) -> bool:
    mark = found.get("mark")
    if not isinstance(mark, dict) or not {"header", "counts"} <= {*mark}:
        return False
    numbers = [found.get("bytes"), found.get("crc32")]
    numbers += [mark.get(name) for name in ("input", "records", "answered", "failed")]
    return all(type(number) is int and number >= 0 for number in numbers)
