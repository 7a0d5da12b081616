"""Examples in, predictions out, in order: windows are sorted by length into batches, and logits reduced at once.

Memory is bounded by the look-ahead: a chunk's logits are gone before the next chunk is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np

from bertft.tasks.base import Counts, Encoder, Logits, Parameters, Task, Window, WindowSize

LOOK_AHEAD = 1024
"""Examples that are encoded and sorted by length together."""
BATCH_TOKENS = 8192
"""Tokens of a batch, padding included."""


class Backend(Protocol):
    """A model that can be run on a batch of inputs of different lengths."""

    def logits(self, batch: Sequence[Window]) -> list[Logits]:
        """Return for each window its fp32 logits: (tokens, outputs), or (outputs,) of a head over whole texts."""
        ...

    def parameters(self) -> Parameters:
        """Return the weights that decoding needs; empty for most heads."""
        ...


@dataclass(frozen=True, slots=True)
class Engine:
    """A task, a tokenizer and a model, ready to answer."""

    task: Task[Any, Any, Any]
    encoder: Encoder
    window: WindowSize
    backend: Backend
    batch_tokens: int = BATCH_TOKENS

    def predict(self, examples: Sequence[Any]) -> tuple[list[Any], Counts]:
        """Return one prediction per example, in order, and what tokenization met."""
        parameters = self.backend.parameters()
        task = self.task.with_parameters(parameters) if parameters else self.task
        windows, counts = task.features(examples, self.encoder, self.window)
        summaries: list[Any] = [None] * len(windows)
        for batch in self._batches(windows):
            logits = self.backend.logits([windows[i] for i in batch])
            for i, scores in zip(batch, logits, strict=True):
                summaries[i] = task.reduce(examples[windows[i].example], windows[i], scores)
        by_example: list[list[Any]] = [[] for _ in examples]
        for window, summary in zip(windows, summaries, strict=True):
            by_example[window.example].append(summary)
        pairs = zip(examples, by_example, strict=True)
        return [task.decode(example, parts) for example, parts in pairs], counts

    def stream(self, examples: Iterable[Any]) -> Iterator[tuple[list[tuple[Any, Any]], Counts]]:
        """Yield chunks of (example, prediction) pairs with their counts, reading no more than one chunk ahead."""
        iterator = iter(examples)
        while chunk := list(islice(iterator, LOOK_AHEAD)):
            predictions, counts = self.predict(chunk)
            yield list(zip(chunk, predictions, strict=True)), counts

    def evaluate(self, examples: Iterable[Any]) -> tuple[list[tuple[Any, Any]], Counts]:
        """Return all (example, prediction) pairs and the counts over them."""
        pairs: list[tuple[Any, Any]] = []
        counts = Counts()
        for chunk, more in self.stream(examples):
            pairs += chunk
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
