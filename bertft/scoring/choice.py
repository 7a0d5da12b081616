"""Which of several systems to take: those that are not worse than the best for sure, and of these the fastest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bertft.console import ERRORS
from bertft.scoring.intervals import LEVEL, intervals
from bertft.scoring.outcomes import Outcomes
from bertft.scoring.resampling import units
from bertft.scoring.significance import differences, holm, randomization


def against_best(systems: Sequence[Outcomes], metric: str, *, samples: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return of each system `score`, `interval`, `difference` to the best on the same rows, `significantly_worse`.

    The difference has `value`, `interval` and `p`; it is None for the best itself, the interval None of fewer than two
    units. p is that of approximate randomization, which also holds on a handful of rows, with Holm's correction for all
    that are compared with the best.
    """
    table = units(systems)
    scores = [table.observed(i)[metric] for i in range(len(systems))]
    sign = -1 if metric in ERRORS else 1
    best = max(range(len(systems)), key=lambda i: sign * scores[i])
    found: list[dict[str, Any]] = [
        {
            "score": score,
            "interval": intervals(outcomes, [metric], seed=seed).get(metric),
            "difference": None,
            "significantly_worse": False,
        }
        for score, outcomes in zip(scores, systems, strict=True)
    ]
    others = [i for i in range(len(systems)) if i != best and table.size > 1]
    pairs = [table.pair(best, i) for i in others]
    chance = holm([randomization(pair, metric, samples=samples, seed=seed) for pair in pairs])
    for i, pair, p in zip(others, pairs, chance, strict=True):
        one = differences(pair, [metric], samples=samples, seed=seed)[metric]
        found[i]["difference"] = {"value": one["difference"], "interval": one["interval"], "p": p}
        found[i]["significantly_worse"] = p < 1 - LEVEL and sign * one["difference"] < 0
    return found


def choose(candidates: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the candidate with the least median latency, of equal ones the smallest; None where none can be taken.

    Those without a score, over the budget, or significantly worse than the best cannot.
    """
    able = [
        one
        for one in candidates
        if one["score"] is not None and one["meets_budget"] is not False and not one["significantly_worse"]
    ]
    return min(able, key=lambda one: (one["latency_ms"]["median"], one["parameters"]), default=None)
