"""`export`: a bundle in; the graphs, what was measured, and the engine that was chosen out, in the bundle's `onnx/`.

Every candidate (engine, precision) is timed on the same batches. Without data, those count whose logits are the
model's; with data, those whose score is not more than `max_drop` below it. The fastest that counts is chosen.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bertft.bundle.exported import FOLDER, GRAPHS, Dtype, EngineName, Export, installed
from bertft.bundle.store import MANIFEST, Bundle, open_bundle
from bertft.console import ERRORS, say, shown
from bertft.data import formats
from bertft.errors import GateError, ModelError, UsageError
from bertft.export import graph, quantize
from bertft.inference.batches import padded
from bertft.inference.engine import BATCH_TOKENS, Engine
from bertft.inference.evaluate import read_labelled
from bertft.inference.load import load_export
from bertft.inference.pytorch import TorchBackend
from bertft.tasks.base import Window

_LENGTHS = (24, 128)
"""Tokens of the windows that candidates are timed on: a sentence and a paragraph."""
_TIMED_TOKENS = 2048
_SECONDS = 0.5
_CALIBRATION = 300
"""Windows that int8 is calibrated on: NNCF's own default."""
_COMPARED = 32
"""Windows whose logits are compared."""
_TOLERANCE: dict[Dtype, float] = {"fp32": 1e-3, "bf16": 0.15}
"""How far logits may be off, as a share of their spread: bf16 has 8 bits, and errors grow over the layers."""


@dataclass(slots=True)
class _Candidate:
    """An engine and a precision (in int8, what is stored so), and what was found of them."""

    engine: EngineName
    dtype: Dtype
    setting: str = ""
    speed: float = 0.0
    """Tokens a second, padding included."""
    score: float | None = None

    def figures(self) -> dict[str, Any]:
        """Return what was found, as JSON values."""
        named = {"setting": self.setting} if self.setting else {}
        scored = {} if self.score is None else {"score": self.score}
        what = {"engine": self.engine, "dtype": self.dtype, **named}
        return {**what, "tokens_per_second": round(self.speed), **scored}

    def __str__(self) -> str:
        return f"{self.engine} {self.dtype}{f' ({self.setting})' if self.setting else ''}"


def export(
    model: str,
    *,
    int8: bool = False,
    data: str | None = None,
    max_drop: float = 0.005,
    format: str = "auto",
    limit: int | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Export a bundle and return `{"model", "engine", "dtype", "candidates"}`, with data also `metric, before, after`.

    Raises GateError where no int8 graph keeps the score (the fastest of the others is then in the bundle), ModelError
    or UsageError for a model that cannot be exported or packages that are not installed.
    """
    if int8 and data is None:
        raise UsageError("--int8 is kept only where the score holds: it needs data", help="name them with `--data`")
    if not 0 <= max_drop < 1:
        raise UsageError(f"--max-drop {max_drop}: it is a fraction of 1, from 0 on")
    if not installed():
        raise UsageError("neither openvino nor onnxruntime is installed", help="`pip install 'bertft[export]'`")
    if int8:
        quantize.check()
    bundle = open_bundle(model)
    target = Path(bundle.checkpoint.location)
    if not (target / MANIFEST).is_file():
        raise UsageError(f"{model!r} was not trained by bertft: there is no bundle to export into")
    final, partial = target / FOLDER, target / f"{FOLDER}.partial"
    if final.exists() and not overwrite:
        raise UsageError(f"{str(final)!r} exists already", help="`--overwrite` replaces it")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        found = _Exporter(bundle, partial, max_drop).run(int8=int8, data=data, format=format, limit=limit)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
    except OSError as error:
        raise ModelError(f"cannot write the export: {error.strerror}", place=error.filename or target) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    tried = [one for one in found["candidates"] if one["dtype"] == "int8"]
    if int8 and not any(one["kept"] for one in tried):
        figures = ", ".join(f"{shown(found['metric'], one['score'])} with {one['setting']}" for one in tried)
        fact = f"int8 does not keep {found['metric']} {shown(found['metric'], found['before'])}: {figures}"
        advice = f"{found['engine']} {found['dtype']} is exported instead; `--max-drop` allows more than {max_drop}"
        raise GateError(fact, help=advice)
    return {"model": str(target), **found}


@dataclass(slots=True)
class _Exporter:
    """Exports one bundle into a folder."""

    bundle: Bundle
    folder: Path
    max_drop: float
    segments: bool = False
    examples: list[Any] = field(default_factory=list)
    before: float | None = None

    def run(self, *, int8: bool, data: str | None, format: str, limit: int | None) -> dict[str, Any]:
        """Write the graphs, try the candidates, and describe the one that is chosen."""
        bundle = self.bundle
        reference = TorchBackend(bundle.load_model(), bundle.tokenizer.pad)
        if data is not None:
            kind = formats.parse_format(format)
            preferred = bundle.manifest.get("columns")
            read = read_labelled(bundle.task, data, use="dev", format=kind, preferred=preferred, limit=limit)
            self.examples = read.examples
            self.before = self._score(reference)
        names = graph.write(reference.model, self.folder / GRAPHS["fp32"], longest=bundle.window.length)
        self.segments = "token_type_ids" in names
        self._describe(_Candidate(installed()[0], "fp32"), []).save(reference.parameters())
        tried = [self._agreeing(candidate, reference) for candidate in _plain()]
        tried += self._quantized() if int8 else []
        speed = _speed(reference, self._timed())
        say(f"torch fp32: {speed:,.0f} tokens/s")
        chosen = self._fastest([one for one in tried if one.dtype != "int8" or self._keeps(one)])
        figures = [{**one.figures(), "kept": one is chosen or self._keeps(one)} for one in tried]
        self._describe(chosen, figures).save(reference.parameters())
        backend = self._load(chosen)
        if chosen.engine == "openvino":
            backend.keep(self._describe(chosen, []), chosen.dtype)
        if chosen.dtype != "int8":
            for path in self.folder.glob("int8.*"):
                path.unlink()
        say(f"chosen: {chosen}, {chosen.speed / speed:.1f} times as fast as torch fp32")
        scores = {"metric": self._metric, "before": self.before, "after": chosen.score} if self.examples else {}
        return {"engine": chosen.engine, "dtype": chosen.dtype, **scores, "candidates": figures}

    def _describe(self, chosen: _Candidate, measured: Sequence[dict[str, Any]]) -> Export:
        return Export(self.folder, chosen.engine, chosen.dtype, self.segments, measured)

    def _load(self, candidate: _Candidate) -> Any:
        export = self._describe(candidate, [])
        return load_export(export, candidate.engine, candidate.dtype, self.bundle.tokenizer.pad)

    def _agreeing(self, candidate: _Candidate, reference: TorchBackend) -> _Candidate:
        """Time a candidate; raises ModelError where its logits are others than the model's."""
        backend = self._load(candidate)
        windows = self._windows() or self._timed()[0]
        for batch in ([window] for window in windows[:_COMPARED]):
            wanted, found = reference.logits(batch)[0], backend.logits(batch)[0]
            off = float(np.abs(wanted - found).max() / max(1e-6, float(wanted.std())))
            if not off <= _TOLERANCE[candidate.dtype]:
                raise ModelError(f"{candidate} gives other logits than torch: off by {off:.2g} of their spread")
        candidate.speed = _speed(backend, self._timed())
        say(f"{candidate}: {candidate.speed:,.0f} tokens/s")
        return candidate

    def _quantized(self) -> Iterator[_Candidate]:
        """Yield int8 candidates, scored, up to the first that keeps the score."""
        batches = [padded([window], self.bundle.tokenizer.pad, segments=self.segments) for window in self._windows()]
        for setting in quantize.SETTINGS:
            candidate = _Candidate("openvino", "int8", setting)
            quantize.write(self.folder / GRAPHS["fp32"], self.folder / GRAPHS["int8"], setting, batches)
            backend = self._load(candidate)
            candidate.speed, candidate.score = _speed(backend, self._timed()), self._score(backend)
            kept = "kept" if self._keeps(candidate) else "it falls too far"
            say(f"{candidate}: {candidate.speed:,.0f} tokens/s, {self._told(candidate.score)}: {kept}")
            yield candidate
            if self._keeps(candidate):
                return

    def _fastest(self, candidates: Sequence[_Candidate]) -> _Candidate:
        """Return the fastest candidate, of those that keep the score where there are data; fp32 does in any case."""
        ranked = sorted(candidates, key=lambda candidate: -candidate.speed)
        for candidate in ranked:
            if self.examples and candidate.score is None:
                candidate.score = self._score(self._load(candidate))
                say(f"{candidate}: {self._told(candidate.score)}")
            if not self.examples or self._keeps(candidate):
                return candidate
        return next(candidate for candidate in ranked if candidate.dtype == "fp32")

    # -- what candidates are tried on ----------------------------------------------------------------------------------

    def _windows(self) -> list[Window]:
        """Return windows of the data, spread over it."""
        step = max(1, len(self.examples) // _CALIBRATION)
        windows, _ = self.bundle.task.features(self.examples[::step], self.bundle.tokenizer, self.bundle.window)
        return windows[:_CALIBRATION]

    def _timed(self) -> list[list[Window]]:
        """Return batches of random tokens, one a length."""
        tokenizer, size = self.bundle.tokenizer, self.bundle.window.length
        random = np.random.default_rng(0)
        batches = []
        for length in sorted({min(length, size) for length in _LENGTHS}):
            rows = random.integers(0, tokenizer.backend.get_vocab_size(), (_TIMED_TOKENS // length, length)).tolist()
            batches.append([Window(i, row, [0] * length) for i, row in enumerate(rows)])
        return batches

    # -- scores --------------------------------------------------------------------------------------------------------

    @property
    def _metric(self) -> str:
        return self.bundle.task.headline[0]

    def _score(self, backend: Any) -> float:
        """Return the task's first metric on the data."""
        bundle = self.bundle
        engine = Engine(bundle.task, bundle.tokenizer, bundle.window, backend, BATCH_TOKENS)
        return float(bundle.task.score(engine.evaluate(self.examples)[0])[self._metric])

    def _keeps(self, candidate: _Candidate) -> bool:
        if self.before is None or candidate.score is None:
            return candidate.dtype != "int8"
        worse = candidate.score - self.before if self._metric in ERRORS else self.before - candidate.score
        return worse <= self.max_drop

    def _told(self, score: float) -> str:
        before = "" if self.before is None else f", {shown(self._metric, self.before)} before"
        return f"{self._metric} {shown(self._metric, score)}{before}"


def _plain() -> Iterator[_Candidate]:
    """Yield the candidates that are not quantized."""
    for engine in installed():
        yield _Candidate(engine, "fp32")
        if engine == "openvino":
            from bertft.inference.openvino import native_bf16

            if native_bf16():
                yield _Candidate(engine, "bf16")


def _speed(backend: Any, batches: Sequence[Sequence[Window]]) -> float:
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
