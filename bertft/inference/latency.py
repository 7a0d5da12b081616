"""How long one answer takes: single examples through the engine, tokenization included, on a model that is warm."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertft.inference.engine import Engine

TEXTS = 100
"""Examples that are answered, if there are so many and time suffices."""
_TIMES = 3
"""So often each is timed; the shortest time counts, as in `timeit`: the others are of what else the machine does."""
_LEAST = 10


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of an answer, which differ with the text: the median, and what 19 of 20 keep to."""

    median: float
    p95: float
    texts: int
    """How many examples were answered."""


def latency(engine: Engine, examples: Sequence[Any], *, seconds: float) -> Latency:
    """Return how long an answer to one of the examples takes, on a machine that does nothing else.

    A first answer to each makes the kernels for its length. All take about `seconds`, on fewer examples where they are
    many, but ten at least.
    """
    some = examples[:TEXTS]
    started = time.perf_counter()
    warm = 0
    for example in some:
        engine.predict([example])
        warm += 1
        if warm >= _LEAST and time.perf_counter() - started > seconds / (1 + _TIMES):
            break
    times = np.empty((_TIMES, warm))
    for i in range(_TIMES):
        for j, example in enumerate(some[:warm]):
            begun = time.perf_counter()
            engine.predict([example])
            times[i, j] = 1000 * (time.perf_counter() - begun)
    median, p95 = np.quantile(times.min(axis=0), [0.5, 0.95])
    return Latency(float(median), float(p95), warm)
