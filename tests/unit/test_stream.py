"""The engine's stream: the predictions of `predict`, whether or not the model runs in the background."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest

from bertft.inference.engine import Engine
from bertft.tasks.base import Counts, Logits, Task, Window, WindowSize


class Lengths:
    """A task whose examples are numbers: each is a window of so many tokens, and the answer is their sum."""

    def features(self, examples: Sequence[int], encoder: Any, window: WindowSize) -> tuple[list[Window], Counts]:
        windows = [Window(i, [1] * length, [0] * length) for i, length in enumerate(examples)]
        return windows, Counts(examples=len(examples))

    def with_encoder(self, encoder: Any) -> Lengths:
        return self

    def reduce(self, windows: Sequence[Window], logits: Sequence[Logits]) -> list[float]:
        return [float(one.sum()) for one in logits]

    def decode(self, example: int, summaries: Sequence[float]) -> float:
        return sum(summaries)


@dataclass
class Sums:
    """A backend that says in which thread it ran."""

    in_background: bool
    threads: set[int] = field(default_factory=set)

    def logits(self, batch: Sequence[Window]) -> list[Logits]:
        self.threads.add(threading.get_ident())
        return [np.array(window.input_ids, dtype=np.float32) for window in batch]

    def parameters(self) -> dict[str, Any]:
        return {}


def engine(backend: Sums) -> Engine:
    task = cast("Task[Any, Any, Any]", Lengths())
    return Engine(task, cast("Any", None), WindowSize(64, 8), backend, batch_tokens=16)


CHUNKS = [[3, 1, 9], [], [4], [2, 2, 7, 5]]


@pytest.mark.parametrize("background", [False, True])
def test_every_chunk_has_its_predictions_in_order(background: bool) -> None:
    backend = Sums(background)
    found = list(engine(backend).stream(CHUNKS))
    assert [(predictions, counts.examples) for predictions, counts in found] == [(one, len(one)) for one in CHUNKS]
    assert (threading.get_ident() in backend.threads) is not background


@pytest.mark.parametrize("background", [False, True])
def test_what_reading_raises_comes_after_the_chunks_before_it(background: bool) -> None:
    def chunks() -> Iterator[list[int]]:
        yield from CHUNKS[:2]
        raise ValueError("a broken line")

    found = []

    def take() -> None:
        found.extend(engine(Sums(background)).stream(chunks()))

    with pytest.raises(ValueError, match="a broken line"):
        take()
    assert [predictions for predictions, _ in found] == CHUNKS[:2]


@pytest.mark.parametrize("background", [False, True])
def test_who_stops_taking_stops_the_reading(background: bool) -> None:
    read = 0

    def chunks() -> Iterator[list[int]]:
        nonlocal read
        while True:
            read += 1
            yield [1]

    stream = engine(Sums(background)).stream(chunks())
    assert next(stream)[0] == [1]
    cast("Any", stream).close()
    assert read == 1 + background


def test_an_evaluation_pairs_examples_with_their_predictions() -> None:
    pairs, counts = engine(Sums(True)).evaluate(range(1, 3000))
    assert pairs == [(i, i) for i in range(1, 3000)]
    assert counts.examples == 2999
