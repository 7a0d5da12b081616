"""Confident learning against its definition, written out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bertft.scoring.confident import doubts, thresholds


def by_definition(probabilities: np.ndarray, given_: np.ndarray) -> list[tuple[int, int]]:
    """Return (row, likely class) of the off-diagonal rows: Northcutt et al. 2021, equations 1 and 2, row by row."""
    classes = range(probabilities.shape[1])
    sure = {}
    for k in classes:
        own = [probabilities[i, k] for i in range(len(given_)) if given_[i] == k]
        sure[k] = sum(own) / len(own) if own else float("inf")
    found = []
    for i, row in enumerate(probabilities):
        reached = [k for k in classes if row[k] >= sure[k] - 1e-9]
        if reached:
            likely = max(reached, key=lambda k: (row[k], -k))
            if likely != given_[i]:
                found.append((i, likely))
    return found


@given(rows=st.integers(0, 40), classes=st.integers(2, 6), seed=st.integers(0, 10_000))
def test_doubts_are_those_of_the_definition(rows: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    probabilities = rng.dirichlet(np.ones(classes), rows) if rows else np.zeros((0, classes))
    found = doubts(probabilities, labels)
    assert sorted((one.row, one.likely) for one in found) == by_definition(probabilities, labels)
    margins = [one.margin for one in found]
    assert margins == sorted(margins, reverse=True)
    assert all(one.given == labels[one.row] for one in found)


def test_a_class_without_rows_is_never_the_likely_one() -> None:
    probabilities = np.array([[0.1, 0.9], [0.2, 0.8]])
    assert thresholds(probabilities, np.array([0, 0]))[1] == np.inf
    assert doubts(probabilities, np.array([0, 0])) == []


def test_equal_rows_are_not_doubted_for_rounding() -> None:
    probabilities = np.tile([0.1, 0.2, 0.7], (3, 1))
    assert doubts(probabilities, np.array([2, 2, 2])) == []
