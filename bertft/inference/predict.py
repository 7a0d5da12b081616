"""`predict`: the Unix filter. One answer per input record, in order, the input's own fields kept, memory bounded.

A file is cut into chunks by record number alone, so the same file gives the same bytes. An input that may pause (a
pipe) also ends a chunk when nothing came for 50 ms, so that `tail -f log | bertft predict MODEL` answers.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, BinaryIO

from bertft.bundle.store import Bundle, open_bundle
from bertft.console import say, warn
from bertft.data import formats
from bertft.data.formats import Format, Input
from bertft.data.row import OnError, Row, take
from bertft.errors import DataError, UsageError
from bertft.inference.engine import LOOK_AHEAD, Engine
from bertft.inference.evaluate import report_counts
from bertft.inference.load import BackendName, Precision, engine
from bertft.inference.writers import Writer, default_target, writer
from bertft.tasks.base import Counts

PAUSE_SECONDS = 0.05
_FIRST_CHUNK = 32  # chunks double from here to LOOK_AHEAD, so that the first answers of a long file come soon
_TOLD = 5  # failures that are printed one by one; the rest is counted


@dataclass(frozen=True, slots=True)
class Shard:
    """Which of `count` equal parts of the records is meant; `index` is from 1."""

    index: int
    count: int

    def bounds(self, sizes: Sequence[int]) -> list[tuple[int, int]]:
        """Return the first record and the one after the last of each file, of files of `sizes` records."""
        total = sum(sizes)
        start, end = (total * i // self.count for i in (self.index - 1, self.index))
        before = accumulate(sizes, initial=0)
        return [
            (min(max(start - b, 0), size), min(max(end - b, 0), size)) for b, size in zip(before, sizes, strict=False)
        ]


@dataclass(slots=True)
class Filter:
    """An engine that answers rows, and what it met."""

    engine: Engine
    to: Format | None
    into: str = "prediction"
    on_error: OnError = "fail"
    scores: bool = False
    answered: int = 0
    counts: Counts = field(default_factory=Counts)
    failed: int = 0
    adds_field: bool = True
    header: str | None = None
    """What stands before the first answer."""
    headed: bool = True
    """Whether it is written."""

    def answer(self, opened: Input, *, unbuffered: bool = False) -> Iterator[bytes]:
        """Yield the output of one input, chunk by chunk.

        Raises DataError for the first bad record where `on_error` is `fail`, after the answers to those before it.
        """
        live = opened.source.live if opened.source else False
        self.adds_field = (self.to or default_target(opened.format)) == "jsonl"
        if self.scores and not self.adds_field:
            warn("--scores: tables and column files have no room for all scores; `--to jsonl` has")
        out = writer(self.engine.task, opened, self.to, field=self.into, scores=self.scores)
        rest = opened.rows
        if opened.format == "conll" and self.to not in (None, "conll"):
            rest = (row for row in rest if row.error or row.values["tokens"])  # not what follows the last sentence
        begun = False
        read: deque[tuple[list[Row], list[Any]]] = deque()  # chunks that have no answers yet

        def examples() -> Iterator[list[Any]]:
            for rows in chunks(rest, live=live, unbuffered=unbuffered):
                parsed = [self._parse(row) for row in rows]
                read.append((rows, parsed))
                yield [example for example in parsed if not isinstance(example, DataError)]

        # what may pause is answered before more of it is waited for
        stream = map(self.engine.predict, examples()) if live or unbuffered else self.engine.stream(examples())
        for found, counts in stream:
            rows, parsed = read.popleft()
            self.counts += counts
            predictions = iter(found)
            block: list[bytes] = []
            if not begun:
                first = next((row for row in rows if row.values), rows[0])
                block.append(self._head(out, first, opened))
                begun = True
            for row, example in zip(rows, parsed, strict=True):
                try:
                    if isinstance(example, DataError):
                        raise example
                    block.append(_encoded(out.answer(row, example, next(predictions)), out.encoding, row))
                    self.answered += 1
                except DataError as error:
                    if self.on_error == "fail":
                        yield b"".join(block)
                        raise
                    self._tell(error)
                    if self.on_error == "null":
                        block.append(_encoded(out.null(row), out.encoding, row))
            yield b"".join(block)
        if not begun:
            yield self._head(out, None, opened)

    def _head(self, out: Writer, first: Row | None, opened: Input) -> bytes:
        """Return what stands before the answers to an input: of several tables, the header of the first."""
        text = out.head(first)
        if self.header is None:
            self.header = text
            return text.encode(out.encoding, "surrogateescape") if self.headed else b""
        if text.strip() != self.header.strip():
            raise UsageError(f"{opened.path} has other columns than the input before it", help="`--to jsonl` takes any")
        return b""

    def _parse(self, row: Row) -> Any:
        if row.error is None and not row.values:
            return DataError("the record is empty", place=row.place)
        if self.into in row.values and self.adds_field:
            advice = "`--field NAME` writes the answer to another field"
            return DataError(f"the record has a field {self.into!r} already", place=row.place, help=advice)
        try:
            return self.engine.task.parse(row, labelled=False)
        except DataError as error:
            return error

    def _tell(self, error: DataError) -> None:
        self.failed += 1
        if self.failed <= _TOLD:
            warn(str(error))


@dataclass(frozen=True, slots=True)
class Options:
    """How inputs are read and answered, as the command's options say it."""

    format: str = "auto"
    to: str = "auto"
    encoding: str | None = None
    columns: Mapping[str, str] | None = None
    field: str = "prediction"
    on_error: OnError = "fail"
    scores: bool = False
    device: str = "auto"
    batch_tokens: int | None = None
    backend: BackendName = "auto"
    precision: Precision = "auto"
    unbuffered: bool = False
    allow_pickle: bool = False

    def open(self, bundle: Bundle, path: str) -> Input:
        """Open an input; raises DataError where it cannot be read."""
        return formats.read(
            path,
            wanted=bundle.task.wanted,
            format=formats.parse_format(self.format),
            encoding=self.encoding,
            columns=self.columns,
            preferred=bundle.manifest.get("columns"),
            unit=bundle.task.unit,
            use="test",
        )

    def load(self, bundle: Bundle) -> Engine:
        """Load the model; raises ModelError or UsageError where it cannot be run so."""
        return engine(
            bundle,
            device=self.device,
            batch_tokens=self.batch_tokens,
            backend=self.backend,
            precision=self.precision,
        )


def predict(
    model: str,
    inputs: Sequence[str] = ("-",),
    *,
    out: BinaryIO,
    options: Options | None = None,
    shard: Shard | None = None,
) -> None:
    """Answer every record of the inputs (`-` is stdin), writing to `out` as chunks are done.

    With a `shard` only its records are answered; the outputs of all shards, one after the other, are that of the whole.
    When the reader of `out` has gone (`| head`) it is done. Raises DataError for an input that cannot be read or, under
    `on_error="fail"`, a bad record.
    """
    options = options or Options()
    for name in (options.format, options.to):  # wrong ones are said before anything is opened
        formats.parse_format(name)
    bundle = open_bundle(model, allow_pickle=options.allow_pickle)
    if bundle.assumed:
        say(bundle.assumed)
    if shard is not None and (pipe := next((path for path in inputs if not os.path.isfile(path)), None)):
        raise UsageError(f"--shard reads its input twice, and {pipe!r} is no file", help="write it to a file first")
    # A wrong path is said before seconds go into loading weights; a pipe may have nothing to show yet.
    first = options.open(bundle, inputs[0]) if inputs[0] != "-" else None
    ready = options.load(bundle)
    bounds = shard.bounds([sum(1 for _ in options.open(bundle, path).rows) for path in inputs]) if shard else None
    headed = shard is None or shard.index == 1
    answers = answer_all(bundle, ready, inputs, out=out, options=options, bounds=bounds, headed=headed, first=first)
    report_counts(answers.counts)
    if answers.failed:
        fate = "left out" if options.on_error == "skip" else "answered with null"
        warn(f"{answers.failed:,} of {answers.answered + answers.failed:,} records were bad and {fate}")


def answer_all(
    bundle: Bundle,
    ready: Engine,
    inputs: Sequence[str],
    *,
    out: BinaryIO,
    options: Options,
    bounds: Sequence[tuple[int, int | None]] | None = None,
    headed: bool = True,
    first: Input | None = None,
) -> Filter:
    """Answer the inputs with an engine that is loaded, as `predict` does; return what was met.

    `bounds` are the first record of each and the one after the last, `headed` says whether a table's header is written.
    `first` is the first input, where it is open already.
    """
    target = formats.parse_format(options.to)
    answers = Filter(ready, target, options.field, options.on_error, options.scores, headed=headed)
    first = first or options.open(bundle, inputs[0])
    for i, path in enumerate(inputs):
        current = first if i == 0 else options.open(bundle, path)
        if bounds is not None:
            current = replace(current, rows=islice(current.rows, *bounds[i]))
        if target is None and default_target(current.format) != default_target(first.format):
            raise UsageError(f"{path} and {inputs[0]} would be answered in two formats", help="`--to jsonl` takes one")
        say(current.describe())
        for block in answers.answer(current, unbuffered=options.unbuffered):
            try:
                out.write(block)
                out.flush()
            except BrokenPipeError:
                return answers
    return answers


def _encoded(text: str, encoding: str, row: Row) -> bytes:
    """Return the output's bytes: those of a line that could not be decoded come back as they were."""
    try:
        return text.encode(encoding, "surrogateescape")
    except UnicodeEncodeError as error:
        raise DataError(
            f"the answer has {text[error.start]!r}, which {encoding.upper()} has not",
            place=row.place,
            help="`--to jsonl` writes UTF-8",
        ) from None


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


@contextmanager
def open_out(path: str | None) -> Iterator[BinaryIO]:
    """Open stdout, or the file that `--out` names: it is written as `FILE.partial` and renamed when all is done.

    Raises UsageError for a place that cannot be written. What was answered before a failure stays in the partial file.
    """
    if path is None:
        yield sys.stdout.buffer
        return
    if os.path.isdir(path):
        raise UsageError("this is a directory, not a file to write to", place=path)
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as stream:  # a pipe or a device is written to, not replaced
            yield stream
        return
    partial = Path(f"{path}.partial")
    try:
        stream = partial.open("wb")
    except OSError as error:
        raise UsageError(f"cannot write: {error.strerror}", place=path) from None
    try:
        with stream:
            yield stream
        partial.replace(path)
    except BaseException:
        if partial.exists() and partial.stat().st_size:
            warn(f"the answers so far are in {str(partial)!r}")
        else:
            partial.unlink(missing_ok=True)
        raise
