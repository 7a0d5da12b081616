"""Examples in, predictions out, in order: windows are sorted by length into batches, and logits reduced at once.

Memory is bounded by the look-ahead: a chunk's logits are gone before the next chunk is read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np

from bertft.tasks.base import Counts, Encoder, Logits, Parameters, Task, Window, WindowSize

LOOK_AHEAD = 1024
"""Examples that are encoded and sorted by length together."""
BATCH_TOKENS = {"cpu": 1024, "cuda": 8192, "mps": 8192}
"""Tokens of a batch, padding included, by device: what a CPU computes is to stay in its cache."""


class Backend(Protocol):
    """A model that can be run on a batch of inputs of different lengths."""

    def logits(self, batch: Sequence[Window]) -> list[Logits]:
        """Return for each window its fp32 logits: (tokens, outputs), or (outputs,) of a head over whole texts.

        Of a head over the vocabulary they are those of the owned tokens, where a window has some.
        """
        ...

    def parameters(self) -> Parameters:
        """Return the weights that decoding needs; empty for most heads."""
        ...

    @property
    def in_background(self) -> bool:
        """Whether other threads can run beside `logits`: torch's Python code, between its kernels, waits for them."""
        ...


@dataclass(frozen=True, slots=True)
class Engine:
    """A task, a tokenizer and a model, ready to answer."""

    task: Task[Any, Any, Any]
    encoder: Encoder
    window: WindowSize
    backend: Backend
    batch_tokens: int = BATCH_TOKENS["cpu"]
    runs_on: str = ""
    """The device, the backend and the precision."""

    def predict(self, examples: Sequence[Any]) -> tuple[list[Any], Counts]:
        """Return one prediction per example, in order, and what tokenization met."""
        windows, counts = self.task.features(examples, self.encoder, self.window)
        return self._decoded(examples, windows, self._summaries(windows)), counts

    def evidence(self, examples: Sequence[Any]) -> tuple[list[Any], list[list[Any]], Counts]:
        """Return one prediction per example, in order, the summaries of its windows that it was made of, and counts."""
        windows, counts = self.task.features(examples, self.encoder, self.window)
        summaries = self._summaries(windows)
        by_example: list[list[Any]] = [[] for _ in examples]
        for window, summary in zip(windows, summaries, strict=True):
            by_example[window.example].append(summary)
        return self._decoded(examples, windows, summaries), by_example, counts

    def stream(self, chunks: Iterable[Sequence[Any]]) -> Iterator[tuple[list[Any], Counts]]:
        """Yield each chunk's predictions and counts.

        While the model runs one chunk, the next is read and encoded, and the one before is decoded by whoever takes it,
        where the backend lets other threads run meanwhile. Raises what reading raises, after the chunks before it.
        """
        if not self.backend.in_background:
            for examples in chunks:
                yield self.predict(examples)
            return
        iterator = iter(chunks)
        failure: BaseException | None = None
        with ThreadPoolExecutor(1) as thread:
            waiting: tuple[Sequence[Any], list[Window], Counts, Future[list[Any]]] | None = None
            while True:
                following = None
                try:
                    for examples in islice(iterator, 1):
                        windows, counts = self.task.features(examples, self.encoder, self.window)
                        following = examples, windows, counts, thread.submit(self._summaries, windows)
                except Exception as error:  # whatever it is, it waits for the answers before it
                    failure = error
                if waiting is not None:
                    examples, windows, counts, summaries = waiting
                    yield self._decoded(examples, windows, summaries.result()), counts
                if failure is not None:
                    raise failure
                if following is None:
                    return
                waiting = following

    def _summaries(self, windows: Sequence[Window]) -> list[Any]:
        """Return what is kept of each window's logits: the model's part."""
        task = self._task
        summaries: list[Any] = [None] * len(windows)
        for batch in self._batches(windows):
            some = [windows[i] for i in batch]
            for i, summary in zip(batch, task.reduce(some, self.backend.logits(some)), strict=True):
                summaries[i] = summary
        return summaries

    def _decoded(self, examples: Sequence[Any], windows: Sequence[Window], summaries: Sequence[Any]) -> list[Any]:
        """Return the predictions of the examples whose windows and summaries these are."""
        task = self._task
        by_example: list[list[Any]] = [[] for _ in examples]
        for window, summary in zip(windows, summaries, strict=True):
            by_example[window.example].append(summary)
        return [task.decode(example, parts) for example, parts in zip(examples, by_example, strict=True)]

    @property
    def _task(self) -> Task[Any, Any, Any]:
        """The task, with the tokenizer and the weights that decoding needs."""
        parameters, task = self.backend.parameters(), self.task.with_encoder(self.encoder)
        return task.with_parameters(parameters) if parameters else task

    def evaluate(self, examples: Iterable[Any]) -> tuple[list[tuple[Any, Any]], Counts]:
        """Return all (example, prediction) pairs and the counts over them."""
        pairs: list[tuple[Any, Any]] = []
        counts = Counts()
        read: deque[list[Any]] = deque()  # chunks that have no predictions yet

        def chunks() -> Iterator[list[Any]]:
            iterator = iter(examples)
            while chunk := list(islice(iterator, LOOK_AHEAD)):
                read.append(chunk)
                yield chunk

        for predictions, more in self.stream(chunks()):
            pairs += zip(read.popleft(), predictions, strict=True)
            counts += more
        return pairs, counts

    def _batches(self, windows: Sequence[Window]) -> Iterator[list[int]]:
        """Yield indices of windows, longest first, so many that a padded batch keeps to the token budget."""
        lengths = np.fromiter((len(window.input_ids) for window in windows), dtype=np.intp, count=len(windows))
        order = np.argsort(-lengths, kind="stable").tolist()
        while order:
            size = max(1, self.batch_tokens // max(1, int(lengths[order[0]])))
            yield order[:size]
            order = order[size:]
