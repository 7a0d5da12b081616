"""SIGINT and SIGTERM: they end a command, and of a training they are a request to stop where nothing is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ECHO_SECONDS = 0.5
"""Of several processes each gets a Ctrl-C from the terminal and again from the launcher: that is one signal."""


class Interrupted(BaseException):
    """A signal asked the process to end. No error, and not to be caught as one."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that a signal ended."""
        return 128 + self.number


class Request:
    """What signals have asked for meanwhile: the number of the first, and how many came."""

    def __init__(self, said: str, *, last: bool) -> None:
        self.number = 0
        self.count = 0
        self._said = said
        self._last = last
        self._at_once = False
        self._when = 0.0

    def take(self, number: int, _: FrameType | None = None) -> None:
        """Note a signal; the handler. A second one ends the process where `last` says so."""
        now = time.monotonic()
        if self.count and "WORLD_SIZE" in os.environ and now - self._when < _ECHO_SECONDS:
            return
        self._when = now
        self.count += 1
        if self.count > 1 and self._last:
            os._exit(128 + number)
        if not self.number:
            self.number = number
            if self._said:  # print() may be what was interrupted, and does not let itself in twice
                os.write(2, f"{self._said}\n".encode())
        if self._at_once:
            raise Interrupted(number)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Raise Interrupted as soon as a signal is there: what runs meanwhile can be dropped."""
        if self.number:
            raise Interrupted(self.number)
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False


@contextmanager
def deferred(said: str, *, last: bool = True) -> Iterator[Request]:
    """Let signals wait in a request; `said`, if anything, is printed at the first.

    With `last` a second one ends the process at once. Outside the main thread nothing changes: Python lets no other
    thread handle signals.
    """
    request = Request(said, last=last)
    with _handled(request.take):
        yield request


@contextmanager
def ending() -> Iterator[None]:
    """Let SIGTERM raise Interrupted, as SIGINT raises KeyboardInterrupt: files are closed, messages said."""

    def end(number: int, _: FrameType | None) -> None:
        raise Interrupted(number)

    with _handled(end, signal.SIGTERM):
        yield


def ignore() -> None:
    """Let no more signals come between an interrupted command and its exit code."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _handled(handler: object, *numbers: int) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers or _SIGNALS}  # type: ignore[arg-type]
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)
