"""Rows in chunks, which are answered together.

A file is cut into chunks by record number alone, so the same file gives the same bytes. An input that may pause (a
pipe) also ends a chunk when nothing came for 50 ms, so that `tail -f log | bertft predict MODEL` answers.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from bertft.data.row import Row, take
from bertft.inference.engine import LOOK_AHEAD

PAUSE_SECONDS = 0.05
_FIRST_CHUNK = 32  # chunks double from here to LOOK_AHEAD, so that the first answers of a long file come soon


def chunks(rows: Iterator[Row], *, live: bool, unbuffered: bool = False) -> Iterator[list[Row]]:
    """Yield the rows in chunks of 32, 64, … 1024; of a live input also what is there when it pauses for 50 ms.

    `unbuffered` yields each row by itself.
    """
    if unbuffered:
        yield from ([row] for row in rows)
        return
    size = _FIRST_CHUNK
    feed = _Feed(rows) if live else None
    while chunk := feed.take(size) if feed else take(rows, size):
        yield chunk
        size = min(2 * size, LOOK_AHEAD)


class _Feed:
    """Rows read ahead by a thread of their own, at most LOOK_AHEAD of them."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._queue: queue.Queue[Row | BaseException | None] = queue.Queue(LOOK_AHEAD)
        self._failure: BaseException | None = None
        self._ended = False
        threading.Thread(target=self._read, args=(rows,), daemon=True).start()

    def _read(self, rows: Iterator[Row]) -> None:
        try:
            for row in rows:
                self._queue.put(row)
        except BaseException as error:  # handed to the thread that takes the rows
            self._queue.put(error)
        else:
            self._queue.put(None)

    def take(self, size: int) -> list[Row]:
        """Return up to `size` rows, fewer after a pause; nothing at the end. Raises what the reading raised."""
        taken: list[Row] = []
        while len(taken) < size and not self._ended:
            try:
                item = self._queue.get(timeout=PAUSE_SECONDS if taken else None)
            except queue.Empty:
                break
            if isinstance(item, Row):
                taken.append(item)
            else:
                self._ended, self._failure = True, item
        if not taken and self._failure is not None:
            raise self._failure
        return taken
