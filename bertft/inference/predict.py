"""`predict`: the Unix filter. One answer per input record, in order, the input's own fields kept, memory bounded.

A run that was interrupted can be gone on with behind any chunk: its bytes are those of one run.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate, islice
from typing import Any, BinaryIO

from bertft.bundle.store import Bundle, open_bundle
from bertft.console import say, warn
from bertft.data import formats
from bertft.data.formats import Format, Input
from bertft.data.row import OnError, Row
from bertft.errors import DataError, OutputError, UsageError
from bertft.inference.chunks import chunks
from bertft.inference.engine import Engine
from bertft.inference.evaluate import report_counts
from bertft.inference.identity import identity
from bertft.inference.load import BackendName, Precision, engine
from bertft.inference.output import Answers
from bertft.inference.writers import Writer, default_target, parse_target, writer
from bertft.tasks.base import Counts
from bertft.tasks.context import in_context

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
    min_score: float | None = None
    """The score below which the engine's task withholds answers."""
    offered: int = 0
    """Answers, withheld ones included; counted where there is a `min_score`."""
    withheld: int = 0
    mark: dict[str, Any] | None = None
    """After a block of `answer`: where to go on behind it; None where it ends within a chunk."""

    def restore(self, mark: Mapping[str, Any]) -> None:
        """Take up what was met before a mark."""
        self.answered, self.failed, self.header = mark["answered"], mark["failed"], mark["header"]
        self.counts = Counts(**mark["counts"])
        self.offered, self.withheld = mark.get("offered", 0), mark.get("withheld", 0)

    def answer(
        self, opened: Input, *, unbuffered: bool = False, skip: int = 0, first: Row | None = None
    ) -> Iterator[bytes]:
        """Yield the output of one input, chunk by chunk, without that of the first `skip` records.

        Of a part of an input, `first` is the first record of the whole: a table's columns are its fields.
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
        done = 0
        read: deque[tuple[list[Row], list[Any]]] = deque()  # chunks that have no answers yet

        def examples() -> Iterator[list[Any]]:
            nonlocal begun, done
            for chunk in chunks(rest, live=live, unbuffered=unbuffered):
                rows = chunk
                if done < skip:  # answered before: what remains is cut into the same chunks
                    if not begun:
                        self._begin(out, first, chunk, opened)
                    rows = chunk[skip - done :]
                    begun, done = True, done + len(chunk) - len(rows)
                    if not rows:
                        continue
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
                block.append(self._begin(out, first, rows, opened))
                begun = True
            for row, example in zip(rows, parsed, strict=True):
                try:
                    if isinstance(example, DataError):
                        raise example
                    prediction = next(predictions)
                    block.append(_encoded(out.answer(row, example, prediction), out.encoding, row))
                    self.answered += 1
                    self._count_withheld(prediction)
                except DataError as error:
                    if self.on_error == "fail":
                        self.mark = None
                        yield b"".join(block)
                        raise
                    self._tell(error)
                    if self.on_error == "null":
                        block.append(_encoded(out.null(row), out.encoding, row))
            done += len(rows)
            self.mark = {
                "records": done,
                "answered": self.answered,
                "failed": self.failed,
                "header": self.header,
                "counts": asdict(self.counts),
                "offered": self.offered,
                "withheld": self.withheld,
            }
            yield b"".join(block)
        if not begun:
            self.mark = None
            yield self._head(out, first, opened)

    def _begin(self, out: Writer, first: Row | None, rows: Sequence[Row], opened: Input) -> bytes:
        """Return what stands before the answers to the first chunk of an input."""
        return self._head(out, first or next((row for row in rows if row.values), rows[0]), opened)

    def _head(self, out: Writer, first: Row | None, opened: Input) -> bytes:
        """Return what stands before the answers to an input: of several tables, the header of the first."""
        text = out.head(first)
        if not self.header:  # none yet, or of an input without records
            self.header = text
            return text.encode(out.encoding, "surrogateescape") if self.headed else b""
        if text and text.strip() != self.header.strip():
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

    def _count_withheld(self, prediction: Any) -> None:
        if self.min_score is not None:
            scores = self.engine.task.scores_of(prediction)
            self.offered += len(scores)
            self.withheld += sum(score < self.min_score for score in scores)

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
    min_score: float | None = None
    device: str = "auto"
    batch_tokens: int | None = None
    backend: BackendName = "auto"
    precision: Precision = "auto"
    unbuffered: bool = False
    allow_pickle: bool = False

    def bundle(self, model: str) -> Bundle:
        """Open a model, whose task withholds what it is to withhold. Raises ModelError, UsageError where it cannot."""
        opened = open_bundle(model, allow_pickle=self.allow_pickle)
        if self.min_score is None:
            return opened
        return replace(opened, task=opened.task.at_least(self.min_score))

    def open(self, bundle: Bundle, path: str) -> Input:
        """Open an input; raises DataError where it cannot be read."""
        opened = formats.read(
            path,
            wanted=bundle.task.wanted,
            format=formats.parse_format(self.format),
            encoding=self.encoding,
            columns=self.columns,
            preferred=bundle.manifest.get("columns"),
            unit=bundle.task.unit,
            use="test",
        )
        return in_context(opened, bundle.task.context, at_once=self.unbuffered)

    def load(self, bundle: Bundle) -> Engine:
        """Load the model; raises ModelError or UsageError where it cannot be run so."""
        return engine(
            bundle,
            device=self.device,
            batch_tokens=self.batch_tokens,
            backend=self.backend,
            precision=self.precision,
        )

    def recorded(self) -> dict[str, Any]:
        """Return those that the bytes of the output depend on, by the names that they are given with."""
        columns = ",".join(f"{role}={name}" for role, name in sorted((self.columns or {}).items()))
        return {
            "--format": self.format,
            "--to": self.to,
            "--encoding": self.encoding,
            "--columns": columns or None,
            "--field": self.field,
            "--on-error": self.on_error,
            "--scores": self.scores,
            "--min-score": self.min_score,
            "--unbuffered": self.unbuffered,
        }


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
    formats.parse_format(options.format)  # what is wrong is said before anything is opened
    parse_target(options.to)
    bundle = options.bundle(model)
    if bundle.assumed:
        say(bundle.assumed)
    answered(bundle, lambda: options.load(bundle), inputs, out=out, options=options, shard=shard)


def answered(
    bundle: Bundle,
    load: Callable[[], Engine],
    inputs: Sequence[str],
    *,
    out: BinaryIO,
    options: Options,
    shard: Shard | None = None,
) -> None:
    """Answer the inputs as `predict` does, with a model that `load` loads when there is something to answer."""
    if shard is not None and (pipe := next((path for path in inputs if not os.path.isfile(path)), None)):
        raise UsageError(f"--shard reads its input twice, and {pipe!r} is no file", help="write it to a file first")
    # A wrong path is said before seconds go into loading weights; a pipe may have nothing to show yet.
    first = options.open(bundle, inputs[0]) if inputs[0] != "-" else None
    ready = load()
    bounds = shard.bounds([sum(1 for _ in options.open(bundle, path).rows) for path in inputs]) if shard else None
    headed = shard is None or shard.index == 1
    mark = None
    if isinstance(out, Answers):
        known = {**options.recorded(), "--shard": shard and f"{shard.index}/{shard.count}"}
        known |= {"--batch-tokens": ready.batch_tokens, "the engine": ready.runs_on}
        mark = out.begin(identity(bundle, inputs, known))
    answers = answer_all(
        bundle, ready, inputs, out=out, options=options, bounds=bounds, headed=headed, first=first, mark=mark
    )
    report_counts(answers.counts)
    if answers.failed:
        fate = "left out" if options.on_error == "skip" else "answered with null"
        warn(f"{answers.failed:,} of {answers.answered + answers.failed:,} records were bad and {fate}")
    if options.min_score is not None:
        say(f"{answers.withheld:,} of {answers.offered:,} answers withheld: --min-score {options.min_score:g}")


def header_of(bundle: Bundle, path: str, options: Options) -> str:
    """Return what stands before the answers to an input: the header of a table."""
    opened = options.open(bundle, path)
    out = writer(bundle.task, opened, parse_target(options.to), field=options.field, scores=options.scores)
    return out.head(next((row for row in opened.rows if row.values), None))


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
    mark: Mapping[str, Any] | None = None,
) -> Filter:
    """Answer the inputs with an engine that is loaded, as `predict` does; return what was met.

    `bounds` are the first record of each and the one after the last, `headed` says whether a table's header is written.
    `first` is the first input, where it is open already. `mark` is where an interrupted run is gone on with. Raises
    OutputError where `out` takes no more.
    """
    target = parse_target(options.to)
    answers = Filter(
        ready, target, options.field, options.on_error, options.scores, headed=headed, min_score=options.min_score
    )
    first = first or options.open(bundle, inputs[0])
    if mark is not None:
        answers.restore(mark)
    for i, path in enumerate(inputs):
        if mark is not None and i < mark["input"]:
            continue
        skip = mark["records"] if mark is not None and i == mark["input"] else 0
        current = first if i == 0 else options.open(bundle, path)
        begin = None
        if bounds is not None:
            begin = next((row for row in options.open(bundle, path).rows if row.values), None)
            current = replace(current, rows=islice(current.rows, *bounds[i]))
        if target is None and default_target(current.format) != default_target(first.format):
            raise UsageError(f"{path} and {inputs[0]} would be answered in two formats", help="`--to jsonl` takes one")
        say(current.describe())
        for block in answers.answer(current, unbuffered=options.unbuffered, skip=skip, first=begin):
            try:
                out.write(block)
                out.flush()
                if isinstance(out, Answers) and answers.mark is not None:
                    out.record({"input": i, **answers.mark})
            except BrokenPipeError:
                return answers
            except OSError as error:
                raise OutputError.of(error, getattr(out, "name", None)) from error
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
