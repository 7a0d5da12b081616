"""`export`: a bundle in; the graphs, what was measured, and the engine that was chosen out, in the bundle's `onnx/`.

Every candidate (engine, precision) is timed on the same batches. Those count whose logits are the model's and, where
there are data, whose score is not more than `max_drop` below it. The fastest that counts is chosen.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bertft.bundle.exported import FOLDER, GRAPHS, Dtype, EngineName, Export, installed
from bertft.bundle.store import MANIFEST, Bundle, open_bundle
from bertft.console import ERRORS, say, shown, warn
from bertft.data import formats
from bertft.errors import GateError, ModelError, OutputError, UsageError
from bertft.export import quantize
from bertft.inference.batches import inputs
from bertft.inference.engine import Backend, Engine
from bertft.inference.evaluate import read_labelled
from bertft.inference.load import load_export
from bertft.tasks.base import Window

if TYPE_CHECKING:
    from bertft.inference.pytorch import TorchBackend

_LENGTHS = (24, 128)
"""Tokens of the windows that candidates are timed on: a sentence and a paragraph."""
_TIMED_TOKENS = 2048
_SECONDS = 0.5
_OWNED_EVERY = 7
"""Of the tokens on which a head over the vocabulary is run: 15 % are masked."""
_CALIBRATION = 300
"""Windows that int8 is calibrated on: NNCF's own default."""
_COMPARED = 32
"""Windows whose logits are compared."""
_TOLERANCE: dict[Dtype, float] = {"fp32": 1e-3, "bf16": 0.1}
"""How far logits may be off, root mean square over their standard deviation. bf16 keeps 8 bits, and errors grow over
the layers: 0.01 to 0.03 in what was measured. A wrong graph is off by about 1."""


def export(
    model: str,
    *,
    int8: bool = False,
    data: str | None = None,
    max_drop: float = 0.005,
    format: str = "auto",
    encoding: str | None = None,
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    overwrite: bool = False,
    allow_pickle: bool = False,
) -> dict[str, Any]:
    """Export a bundle and return `{"model", "engine", "dtype", "candidates"}`, with data also `metric, before, after`.

    Raises DataError, ModelError or UsageError for a file or a model that cannot be used, or packages that are missing.
    """
    if int8 and data is None:
        raise UsageError("--int8 is kept only where the score holds: it needs data", help="name them with `--data`")
    if data is None and (columns or encoding or limit or format != "auto"):
        raise UsageError("--format, --encoding, --columns and --limit are of --data, which is missing")
    if not 0 <= max_drop < 1:
        raise UsageError(f"--max-drop {max_drop}: it is a fraction of 1, from 0 on")
    if not installed():
        raise UsageError("neither openvino nor onnxruntime is installed", help="`pip install 'bertft[export]'`")
    if int8:
        quantize.check()
    kind = formats.parse_format(format)
    bundle = open_bundle(model, allow_pickle=allow_pickle)
    target = Path(bundle.checkpoint.location)
    if not (target / MANIFEST).is_file():
        raise UsageError(f"{model!r} was not trained by bertft: there is no bundle to export into")
    final, partial = target / FOLDER, target / f"{FOLDER}.partial-{os.getpid()}"
    if final.exists() and not overwrite:
        raise UsageError(f"{str(final)!r} exists already", help="`--overwrite` replaces it")
    examples: Sequence[Any] = ()
    if data is not None:
        preferred = bundle.manifest.get("columns")
        read = read_labelled(
            bundle.task,
            data,
            use="dev",
            format=kind,
            encoding=encoding,
            columns=columns,
            preferred=preferred,
            limit=limit,
        )
        examples = read.examples
    try:
        partial.mkdir()
        found = _Exporter(bundle, partial, examples, max_drop).run(int8=int8)
        _publish(partial, final)
    except OSError as error:
        raise OutputError.of(error, error.filename or target) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {"model": str(target), **found}


def check_gate(found: Mapping[str, Any]) -> None:
    """Raise GateError where int8 was tried, as the result of `export` shows, and none of it kept the score."""
    tried = [one for one in found["candidates"] if one["dtype"] == "int8"]
    if not tried or any(one["kept"] for one in tried):
        return
    figures = ", ".join(f"{shown(found['metric'], one['score'])} with {one['setting']}" for one in tried)
    fact = f"int8 does not keep {found['metric']} {shown(found['metric'], found['before'])}: {figures}"
    advice = f"{found['engine']} {found['dtype']} is exported in its place; `--max-drop` allows more"
    raise GateError(fact, help=advice)


def _publish(partial: Path, final: Path) -> None:
    """Rename the export to its name; one that was there is removed after that, never before."""
    old = final.with_name(f"{final.name}.old-{os.getpid()}")
    if final.exists():
        final.rename(old)
    partial.rename(final)
    shutil.rmtree(old, ignore_errors=True)


@dataclass(slots=True)
class _Candidate:
    """An engine and a precision (in int8, what is stored so), and what was found of them."""

    engine: EngineName
    dtype: Dtype
    setting: str = ""
    speed: float = 0.0
    """Tokens a second, padding included."""
    score: float | None = None

    def __str__(self) -> str:
        return f"{self.engine} {self.dtype}{f' ({self.setting})' if self.setting else ''}"


class _Exporter:
    """Exports one bundle into a folder; `examples` are labelled data, or none."""

    def __init__(self, bundle: Bundle, folder: Path, examples: Sequence[Any], max_drop: float) -> None:
        self._bundle = bundle
        self._examples = examples
        self._max_drop = max_drop
        self._export = Export(folder, "openvino", "fp32")
        self._before: float | None = None
        self._timed = _random_batches(bundle)
        self._windows = self._spread() or [window for batch in self._timed for window in batch]

    def run(self, *, int8: bool) -> dict[str, Any]:
        """Write the graphs, try the candidates, and describe the one that is chosen."""
        from bertft.export import graph
        from bertft.inference.pytorch import TorchBackend, input_names

        reference = TorchBackend(self._bundle.load_model(), self._bundle.tokenizer.pad)
        if self._examples:
            self._before = self._score(reference)
        folder = self._export.directory
        graph.write(reference.model, folder / GRAPHS["fp32"], longest=self._bundle.window.length)
        parameters = reference.parameters()
        self._export = replace(self._export, decoding=sorted(parameters))
        self._export.save(parameters)
        exact = self._bundle.task.head().detects  # in bf16, probabilities hardly add up
        tried = [one for one in _plain() if not (exact and one.dtype == "bf16") and self._agrees(one, reference)]
        if not tried:
            raise ModelError("no engine gives the model's logits: it cannot be exported", place=folder.parent)
        tried += self._quantized(folder, [*input_names(reference.model, owned=True)]) if int8 else []
        torch_speed = _speed(reference, self._timed)
        say(f"torch fp32: {torch_speed:,.0f} tokens/s")
        chosen = self._fastest(tried)
        figures = [self._figures(candidate) for candidate in tried]
        self._export = replace(self._export, engine=chosen.engine, dtype=chosen.dtype, measured=figures)
        self._export.save(parameters)
        if chosen.engine == "openvino":
            from bertft.inference.openvino import OpenVinoBackend

            OpenVinoBackend.load(self._export, chosen.dtype, self._bundle.tokenizer.pad).keep(
                self._export, chosen.dtype
            )
        if chosen.dtype != "int8":
            for path in folder.glob("int8.*"):
                path.unlink()
        say(f"chosen: {chosen}, {chosen.speed / torch_speed:.1f} times as fast as torch fp32")
        if chosen.speed < torch_speed:
            warn("here the export is slower than torch, unless something else was running: `--backend torch` runs that")
        scores = {"metric": self._metric, "before": self._before, "after": chosen.score} if self._examples else {}
        return {"engine": chosen.engine, "dtype": chosen.dtype, **scores, "candidates": figures}

    # -- candidates ----------------------------------------------------------------------------------------------------

    def _load(self, candidate: _Candidate) -> Backend:
        return load_export(self._export, candidate.engine, candidate.dtype, self._bundle.tokenizer.pad)

    def _agrees(self, candidate: _Candidate, reference: TorchBackend) -> bool:
        """Time a candidate; say whether its logits are the model's, and warn where they are not."""
        backend = self._load(candidate)
        windows = self._windows[:: max(1, len(self._windows) // _COMPARED)][:_COMPARED]
        wanted, found = (np.concatenate(rows) for rows in zip(*self._both(reference, backend, windows), strict=True))
        off = float(np.sqrt(np.square(wanted - found).mean())) / max(float(wanted.std()), 1e-3)
        if not off <= _TOLERANCE[candidate.dtype]:
            warn(f"{candidate} is left out: its logits are off by {off:.2g} of the model's standard deviation")
            return False
        candidate.speed = _speed(backend, self._timed)
        say(f"{candidate}: {candidate.speed:,.0f} tokens/s")
        return True

    def _both(
        self, reference: Backend, backend: Backend, windows: Sequence[Window]
    ) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
        """Yield two backends' logits of each window; of a detector of replaced tokens where both read the same."""
        detects = self._bundle.task.head().detects
        for window in windows:
            one, other = (each.logits([window])[0] for each in (reference, backend))
            if detects and window.target is not None:  # in the second row are the ids that were read
                same = bool((one[1] == other[1]).all())
                one, other = (np.concatenate((rows[: int(same)], rows[2:])) for rows in (one, other))
            yield one.ravel(), other.ravel()

    def _quantized(self, folder: Path, names: Sequence[str]) -> Iterator[_Candidate]:
        """Yield int8 candidates, scored, up to the first that keeps the score; `names` are the graph's inputs."""
        batches = [inputs([window], self._bundle.tokenizer.pad, names) for window in self._windows]
        for setting in quantize.SETTINGS:
            candidate = _Candidate("openvino", "int8", setting)
            quantize.write(folder / GRAPHS["fp32"], folder / GRAPHS["int8"], setting, batches)
            backend = self._load(candidate)
            candidate.speed = _speed(backend, self._timed)
            kept = self._holds(candidate, backend)
            say(f"{candidate}: {candidate.speed:,.0f} tokens/s, {'kept' if kept else 'falls too far'}")
            yield candidate
            if kept:
                return

    def _fastest(self, tried: Sequence[_Candidate]) -> _Candidate:
        """Return the fastest candidate that keeps the score, else fp32, which is the model itself.

        Raises ModelError where none keeps it, and fp32 was left out.
        """
        for candidate in sorted(tried, key=lambda candidate: -candidate.speed):
            if self._holds(candidate):
                return candidate
        exact = next((candidate for candidate in tried if candidate.dtype == "fp32"), None)
        if exact is None:
            raise ModelError("no engine keeps the score: it cannot be exported", place=self._bundle.checkpoint.name)
        return exact

    def _figures(self, candidate: _Candidate) -> dict[str, Any]:
        """Return what was found of a candidate; `kept` where it was held against the data."""
        found: dict[str, Any] = {"engine": candidate.engine, "dtype": candidate.dtype}
        found |= {"setting": candidate.setting} if candidate.setting else {}
        found["tokens_per_second"] = round(candidate.speed)
        judged = candidate.score is not None
        return {**found, "score": candidate.score, "kept": self._holds(candidate)} if judged else found

    # -- data ----------------------------------------------------------------------------------------------------------

    def _spread(self) -> list[Window]:
        """Return windows of the data, from examples spread over it."""
        step = -(-len(self._examples) // _CALIBRATION) or 1
        bundle = self._bundle
        windows, _ = bundle.task.features(self._examples[::step], bundle.tokenizer, bundle.window)
        return windows[:: -(-len(windows) // _CALIBRATION) or 1]

    @property
    def _metric(self) -> str:
        task = self._bundle.task
        # of a detector the first is its generator's
        return task.best_metric if task.head().detects else task.headline[0]

    def _score(self, backend: Backend) -> float:
        """Return the task's metric on the data."""
        bundle = self._bundle
        engine = Engine(bundle.task, bundle.tokenizer, bundle.window, backend)
        return float(bundle.task.score(engine.evaluate(self._examples)[0])[self._metric])

    def _holds(self, candidate: _Candidate, backend: Backend | None = None) -> bool:
        """Say whether a candidate keeps the score, scoring it if need be; without data it does."""
        if self._before is None:
            return True
        if candidate.score is None:
            candidate.score = self._score(backend or self._load(candidate))
            figures = f"{shown(self._metric, candidate.score)}, {shown(self._metric, self._before)} before"
            say(f"{candidate}: {self._metric} {figures}")
        drop = self._before - candidate.score
        return (-drop if self._metric in ERRORS else drop) <= self._max_drop


def _plain() -> Iterator[_Candidate]:
    """Yield the candidates that are not quantized."""
    for engine in installed():
        yield _Candidate(engine, "fp32")
        if engine == "openvino":
            from bertft.inference.openvino import native_bf16

            if native_bf16():
                yield _Candidate(engine, "bf16")


def _random_batches(bundle: Bundle) -> list[list[Window]]:
    """Return batches of random tokens, one a length."""
    random = np.random.default_rng(0)
    batches = []
    for length in sorted({min(length, bundle.window.length) for length in _LENGTHS}):
        shape = (max(1, _TIMED_TOKENS // length), length)
        rows = random.integers(0, bundle.tokenizer.backend.get_vocab_size(), shape).tolist()
        head = bundle.task.head()
        owned = range(0, length, _OWNED_EVERY) if head.vocabulary else ()
        target = [0] * len(owned) if head.detects else None  # which asks for both models
        batches.append([Window(i, row, [0] * length, target, owned) for i, row in enumerate(rows)])
    return batches


def _speed(backend: Backend, batches: Sequence[Sequence[Window]]) -> float:
    """Return how many tokens a second a backend takes in, over batches of several lengths."""
    tokens = seconds = 0.0
    for batch in batches:
        backend.logits(batch)  # the first is slower: memory is laid out
        started, runs = time.perf_counter(), 0
        while time.perf_counter() - started < _SECONDS:
            backend.logits(batch)
            runs += 1
        seconds += (time.perf_counter() - started) / runs
        tokens += sum(len(window.input_ids) for window in batch)
    return tokens / seconds
