"""What a person is told while a command runs: stderr only, at the level that `-q` and `-v` set. stdout carries data."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from bertft.errors import printable

MUTE, QUIET, NORMAL, VERBOSE = -2, -1, 0, 1

_level: ContextVar[int] = ContextVar("level", default=NORMAL)
_command: ContextVar[tuple[str, ...] | None] = ContextVar("command", default=None)
_record: ContextVar[list[tuple[str, str]] | None] = ContextVar("record", default=None)


def set_level(level: int) -> None:
    """Set what is said: QUIET, NORMAL or VERBOSE."""
    _level.set(level)


def level() -> int:
    """Return the level that is set."""
    return _level.get()


def set_command(arguments: Sequence[str]) -> None:
    """Set the arguments that the command was given, which a message may repeat."""
    _command.set(tuple(arguments))


def command() -> tuple[str, ...] | None:
    """Return the arguments of the command; None where there is none, as of a function that is called from Python."""
    return _command.get()


def resuming(*more: str, without: str = "") -> str | None:
    """Return the command with `--resume` and `more`, as a shell takes it; None where there is no command."""
    given = _command.get()
    if given is None:
        return None
    kept = [part for part in given if part not in ("--resume", without)]
    end = kept.index("--") if "--" in kept else len(kept)
    return shlex.join(["bertft", *kept[:end], *more, "--resume", *kept[end:]])


def is_main_process() -> bool:
    """Say whether this is the process that speaks and writes, among those that `accelerate launch` started."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def recorded() -> Iterator[list[tuple[str, str]]]:
    """Collect what is said and warned of meanwhile, as (`say` or `warn`, the line)."""
    lines: list[tuple[str, str]] = []
    token = _record.set(lines)
    try:
        yield lines
    finally:
        _record.reset(token)


@contextmanager
def muted() -> Iterator[None]:
    """Say nothing meanwhile, not even warnings: what is done was done before, and has been told."""
    token = _level.set(MUTE)
    try:
        yield
    finally:
        _level.reset(token)


def say(line: str) -> None:
    """Print a line of progress or explanation; nothing under `-q`."""
    if (record := _record.get()) is not None:
        record.append(("say", line))
    if _level.get() >= NORMAL and is_main_process():
        _print(line)


def detail(line: str) -> None:
    """Print a line that only `-v` shows."""
    if _level.get() >= VERBOSE and is_main_process():
        _print(line)


def warn(line: str) -> None:
    """Print a line that also `-q` shows."""
    if (record := _record.get()) is not None:
        record.append(("warn", line))
    if _level.get() > MUTE and is_main_process():
        _print(f"warning: {line}")


ERRORS = frozenset({"rmse", "loss", "perplexity", "nll", "rtd_loss", "total_loss"})
"""Metrics that are no fractions of 1: less is better."""


def shown(metric: str, value: float) -> str:
    """Return a metric as people read it: in percent, but for those that are no fractions."""
    return f"{value:.4g}" if metric in ERRORS or metric.endswith("_thresh") else f"{100 * value:.1f}"


def drop_stdout() -> None:
    """Let what is left for stdout go nowhere: Python would try once more at its end, and complain once more."""
    with suppress(OSError, ValueError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)


def _print(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)
