"""Which system is taken: the fastest of those that are not significantly worse than the best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bertft.scoring.choice import against_best, choose
from bertft.scoring.outcomes import Outcomes


def systems(*shares: float, size: int = 400) -> list[Outcomes]:
    """Return systems that have these shares of the labels right."""
    rng = np.random.default_rng(3)
    gold = [("a", "b")[i] for i in rng.integers(2, size=size)]
    other = {"a": "b", "b": "a"}
    made = []
    for share in shares:
        right = rng.permutation(size) < round(share * size)
        guesses = [g if is_right else other[g] for g, is_right in zip(gold, right, strict=True)]
        made.append(Outcomes("label", range(size), [("",)] * size, gold, guesses))
    return made


def test_only_what_is_surely_worse_is_marked() -> None:
    found = against_best(systems(0.90, 0.89, 0.70), "accuracy", samples=1000)
    assert [one["score"] for one in found] == pytest.approx([0.90, 0.89, 0.70])
    assert [one["significantly_worse"] for one in found] == [False, False, True]
    assert found[0]["difference"] is None
    for one in found[1:]:
        low, high = one["difference"]["interval"]
        assert low <= one["difference"]["value"] <= high
    assert found[2]["difference"]["p"] < 0.05 < found[1]["difference"]["p"]
    for one in found:
        assert one["interval"][0] < one["score"] < one["interval"][1]


def test_of_errors_less_is_better() -> None:
    gold = [float(i % 7) for i in range(200)]
    rng = np.random.default_rng(1)
    made = [
        Outcomes("value", range(200), [("",)] * 200, gold, (np.array(gold) + rng.normal(0, sd, 200)).tolist())
        for sd in (2.0, 0.1)
    ]
    found = against_best(made, "rmse", samples=500)
    assert [one["significantly_worse"] for one in found] == [True, False]


def test_several_comparisons_are_corrected() -> None:
    alone = against_best(systems(0.90, 0.845, size=300), "accuracy", samples=1000)
    many = against_best(systems(0.90, 0.845, *[0.899] * 8, size=300), "accuracy", samples=1000)
    assert alone[1]["difference"]["p"] < many[1]["difference"]["p"]


@pytest.mark.parametrize("size", [1, 2])
def test_one_row_tells_nothing_apart(size: int) -> None:
    found = against_best(systems(1.0, 0.0, size=size), "accuracy", samples=100)
    assert not any(one["significantly_worse"] for one in found)


def candidate(model: str, median: float, **known: Any) -> dict[str, Any]:
    nothing = {"score": 0.9, "meets_budget": None, "significantly_worse": False, "parameters": 10}
    return {"model": model, "latency_ms": {"median": median}, **nothing, **known}


@pytest.mark.parametrize(
    ("candidates", "chosen"),
    [
        ([candidate("slow", 9.0, score=0.95), candidate("fast", 2.0)], "fast"),
        ([candidate("slow", 9.0), candidate("fast", 2.0, significantly_worse=True)], "slow"),
        ([candidate("slow", 9.0, meets_budget=False), candidate("fast", 2.0, meets_budget=True)], "fast"),
        ([candidate("large", 2.0, parameters=20), candidate("small", 2.0)], "small"),
        ([candidate("none", 1.0, score=None), candidate("any", 5.0)], "any"),
        ([candidate("over", 9.0, meets_budget=False)], None),
        ([], None),
    ],
)
def test_the_fastest_of_the_good_ones_is_chosen(candidates: list[dict[str, Any]], chosen: str | None) -> None:
    found = choose(candidates)
    assert (found["model"] if found else None) == chosen
