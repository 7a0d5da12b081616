"""`embed`: texts in, one vector each out: the filter of `predict`, with an encoder in place of a trained head."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal, Protocol, cast

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from bertft.bundle.store import MANIFEST, Bundle, open_bundle
from bertft.console import say
from bertft.data.row import Row
from bertft.encoders import adapters, load, sentences
from bertft.encoders.families import bf16_safe
from bertft.encoders.sentences import TokenPooling
from bertft.errors import DataError, OutputError, UsageError
from bertft.inference.engine import BATCH_TOKENS, LOOK_AHEAD, Engine
from bertft.inference.evaluate import report_counts
from bertft.inference.predict import Options, answered
from bertft.tasks.base import Counts, Encoder, Logits, Task, Window, WindowSize
from bertft.tasks.classify import Classify, ClassifyOptions

Vector = npt.NDArray[np.float32]
Target = Literal["jsonl", "npy", "parquet"]

FIELD = "embedding"


@dataclass(frozen=True, slots=True)
class Embed(Classify):
    """A task without labels: what a text's tokens become is its answer. Texts are cut at the window, never windowed."""

    name: ClassVar[str] = "embed"
    pooling: TokenPooling = "mean"
    normalize: bool = False

    @override
    def reduce(self, windows: Sequence[Window], logits: Sequence[Logits]) -> list[Logits]:
        """Return the vector (width,) of each window, of its last hidden states (tokens, width)."""
        return [self._pooled(hidden) for hidden in logits]

    def _pooled(self, hidden: Logits) -> Logits:
        match self.pooling:
            case "cls":
                vector = hidden[0]
            case "mean":
                vector = hidden.mean(axis=0)
            case "max":
                vector = hidden.max(axis=0)
        # of an encoder that gives zeros the vector stays zeros
        length = max(float(np.linalg.norm(vector)), 1e-12) if self.normalize else 1.0
        found: Logits = vector / np.float32(length)
        return found

    @override
    def decode(self, example: Any, summaries: Sequence[Logits]) -> Any:
        return summaries[0]

    @override
    def render(self, example: Any, prediction: Any, *, scores: bool) -> Any:
        return [float(f"{value:.7g}") for value in prediction.tolist()]  # all digits that fp32 has


def embed(
    model: str,
    inputs: Sequence[str] = ("-",),
    *,
    out: BinaryIO,
    to: Target = "jsonl",
    pooling: TokenPooling | None = None,
    normalize: bool | None = None,
    options: Options | None = None,
) -> None:
    """Write a vector for every record of the inputs (`-` is stdin).

    As `jsonl` it is one more field of the record; `npy` is one array (records, width) of fp32, and `parquet` has the
    record's fields and a column of vectors. What is not given is as the encoder's own files say, else the mean of the
    tokens, not normalised. Raises DataError, ModelError, UsageError or OutputError for what cannot be read or written.
    """
    options = replace(options or Options(), to="jsonl", scores=False)
    if to != "jsonl" and options.on_error != "fail":
        raise UsageError(
            f"--on-error {options.on_error}: a row of {to} is a vector", help="`--to jsonl` can leave one out"
        )
    bundle = _bundle(model, options, pooling=pooling, normalize=normalize)
    if to == "jsonl":
        answered(bundle, lambda: _engine(bundle, options), inputs, out=out, options=options)
        return
    first = options.open(bundle, inputs[0]) if inputs[0] != "-" else None
    engine = _engine(bundle, options)
    with tempfile.TemporaryFile() as scratch:  # where what is written may be sought in, and its length is not known
        met = Counts()
        sink: _Sink = _Matrix(scratch) if to == "npy" else _Parquet(scratch, options.field)
        for i, path in enumerate(inputs):
            opened = first if first is not None and i == 0 else options.open(bundle, path)
            say(opened.describe())
            rows = iter(opened.rows)
            while chunk := list(islice(rows, LOOK_AHEAD)):
                vectors, counts = engine.predict([bundle.task.parse(row, labelled=False) for row in chunk])
                sink.add(chunk, vectors)
                met += counts
        report_counts(met)
        try:
            sink.finish(out)
            out.flush()
        except BrokenPipeError:
            return
        except OSError as error:
            raise OutputError.of(error, getattr(out, "name", None)) from error


def _bundle(model: str, options: Options, *, pooling: TokenPooling | None, normalize: bool | None) -> Bundle:
    """Return an encoder as a bundle whose task makes vectors; say how."""
    checkpoint = load.resolve(model, allow_pickle=options.allow_pickle)
    config = load.load_config(checkpoint)
    tokenizer = load.load_tokenizer(checkpoint, config, presplit=False)
    stated = sentences.Sentences() if pooling is not None else sentences.read(checkpoint)
    chosen = pooling or stated.pooling
    unit = stated.normalize if normalize is None else normalize
    length = min(tokenizer.max_length, stated.max_length or tokenizer.max_length)
    length -= adapters.prefix_of(Path(checkpoint.location))
    by = "as its modules.json says" if stated.stated else "as asked for" if pooling else "by default"
    how = f"the {chosen} of the tokens" if chosen != "cls" else "the first token"
    say(f"{checkpoint.name}: {how}, {by}{', normalised' if unit else ''}; {length} tokens of a text are read")
    task = Embed(options=ClassifyOptions(window_pooling="first"), pooling=chosen, normalize=unit)
    window = WindowSize(length, 0)
    return Bundle(checkpoint, cast("Task[Any, Any, Any]", task), tokenizer.subwords, window)


def _engine(bundle: Bundle, options: Options) -> Engine:
    from bertft.inference.pytorch import TorchBackend, choose_device, describe, native_bf16

    task = cast("Embed", bundle.task)
    device = choose_device(options.device)
    bf16 = options.precision == "bf16"
    if bf16 and not native_bf16(device):
        raise UsageError(f"--precision bf16: {device} has no bf16 of its own", help="leave it out: fp32 is the default")
    if bf16 and not bf16_safe(load.load_config(bundle.checkpoint)):
        raise UsageError("--precision bf16: this family cannot run in it", help="leave it out: fp32 is the default")
    directory = Path(bundle.checkpoint.location)
    if (directory / MANIFEST).is_file() and (directory / adapters.FOLDER).is_dir():  # for the model with its head
        whole = open_bundle(str(directory), allow_pickle=options.allow_pickle).load_model()
        whole.to(device)
        model: Any = whole.base_model
    else:
        model = load.load_encoder(bundle.checkpoint)
        model.to(device)
    described = describe(device, "bf16" if bf16 else "fp32")
    say(f"using {described}")
    backend = TorchBackend(model, bundle.tokenizer.pad, bf16)
    encoder: Encoder = bundle.tokenizer
    tokens = options.batch_tokens or BATCH_TOKENS[device.type]
    made = f"{task.pooling}, {'normalised' if task.normalize else 'not normalised'}"  # of one kind in a resumed run
    return Engine(bundle.task, encoder, bundle.window, backend, tokens, f"{described}, {made}")


class _Sink(Protocol):
    """What vectors are collected in until their number is known."""

    def add(self, rows: Sequence[Row], vectors: Sequence[Vector]) -> None:
        """Take the vectors of some records."""
        ...

    def finish(self, out: BinaryIO) -> None:
        """Write all of them."""
        ...


class _Matrix:
    """One array (records, width) of fp32, as numpy.save writes it."""

    def __init__(self, scratch: BinaryIO) -> None:
        self._scratch = scratch
        self._shape = (0, 0)

    def add(self, rows: Sequence[Row], vectors: Sequence[Vector]) -> None:
        block = np.stack(vectors).astype("<f4")
        self._scratch.write(block.tobytes())
        self._shape = (self._shape[0] + len(block), block.shape[1])

    def finish(self, out: BinaryIO) -> None:
        header = io.BytesIO()
        described = {"descr": "<f4", "fortran_order": False, "shape": self._shape}
        np.lib.format.write_array_header_1_0(header, described)
        out.write(header.getvalue())
        _copy(self._scratch, out)


class _Parquet:
    """A table: the fields of the records, as those of the first have them, and a column of vectors."""

    def __init__(self, scratch: BinaryIO, field: str) -> None:
        self._scratch = scratch
        self._field = field
        self._writer: Any = None

    def add(self, rows: Sequence[Row], vectors: Sequence[Vector]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        width = len(vectors[0])
        column = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(vectors), pa.float32()), width)
        if self._field in rows[0].values:
            fact = f"the record has a field {self._field!r} already"
            raise DataError(fact, place=rows[0].place, help="`--field NAME` writes the vector to another")
        advice = "`--to jsonl` takes records of any kind"
        schema = self._writer.schema.remove(len(self._writer.schema) - 1) if self._writer else None
        names = {*(rows[0].values if schema is None else schema.names)}
        for row in rows:  # pyarrow would leave out what the first record has not
            if more := row.values.keys() - names:
                fact = f"the record has a field {min(more)!r}, which the first one has not"
                raise DataError(fact, place=row.place, help=advice)
        try:
            table = pa.Table.from_pylist([dict(row.values) for row in rows], schema=schema)
            table = table.append_column(self._field, column)
            self._writer = self._writer or pq.ParquetWriter(self._scratch, table.schema)
            self._writer.write_table(table)
        except (pa.ArrowException, OverflowError, UnicodeError) as error:
            raise DataError(f"the records have no common fields: {error}", place=rows[0].place, help=advice) from None

    def finish(self, out: BinaryIO) -> None:
        if self._writer is None:
            raise DataError("there is no record to write", place="-")
        self._writer.close()
        _copy(self._scratch, out)


def _copy(scratch: BinaryIO, out: BinaryIO) -> None:
    scratch.seek(0)
    shutil.copyfileobj(scratch, out)
