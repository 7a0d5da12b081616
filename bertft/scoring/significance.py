"""Whether one system is better than another on the same rows: paired bootstrap, approximate randomization, McNemar.

Paired bootstrap as in Efron and Tibshirani 1993, section 16.4 (the resampled differences, moved to have the mean 0, are
what chance does); approximate randomization as in Noreen 1989. p-values are two-sided; those of resampling count the
observed file as one resample, so that they are never 0. Several comparisons are corrected by Holm 1979.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bertft.scoring.intervals import interval
from bertft.scoring.outcomes import Outcomes
from bertft.scoring.resampling import Units

SAMPLES = 10_000

_EXACT = 25
"""Rows that only one has right, below which the binomial test takes the place of chi squared (as is usual)."""
_LIFT = 0.3
"""Accuracy that another naming of the labels must add to be told."""


def differences(units: Units, keys: Collection[str], *, samples: int = SAMPLES, seed: int = 0) -> dict[str, Any]:
    """Return by metric how much the second system has more than the first, `interval` and `p` of the bootstrap."""
    first, second = units.observed(0), units.observed(1)
    of_first, of_second = units.bootstrap(samples, seed)
    found = {}
    for key in keys:
        observed, resampled = second[key] - first[key], of_second[key] - of_first[key]
        centred = resampled - observed
        p = share_as_large(centred * math.sqrt(units.size / (units.size - 1)), observed)
        found[key] = {"difference": observed, "interval": interval(resampled, units.size, observed), "p": p}
    return found


def randomization(units: Units, key: str, *, samples: int = SAMPLES, seed: int = 0) -> float:
    """Return how often a difference in a metric is as large as observed when answers are exchanged by chance."""
    observed = units.observed(1)[key] - units.observed(0)[key]
    first, second = units.randomized(samples, seed)
    return share_as_large(second[key] - first[key], observed)


def share_as_large(chance: npt.NDArray[np.float64], observed: float) -> float:
    """Return the share of differences by chance that are at least as large as the observed one, counted with them.

    Those of resamples with nothing to measure, NaN, are none.
    """
    chance = chance[~np.isnan(chance)]
    as_large = int((np.abs(chance) >= abs(observed) - 1e-12).sum())  # equal sums may differ in the last digit
    return (as_large + 1) / (len(chance) + 1)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the p-value of how many rows only one of two systems has right (McNemar 1947): exact for fewer than 25."""
    from scipy.stats import binomtest, chi2

    total = only_first + only_second
    if total < _EXACT:
        return float(binomtest(only_first, total).pvalue) if total else 1.0
    return float(chi2.sf((only_first - only_second) ** 2 / total, 1))


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, by Holm's step-down procedure."""
    corrected = [0.0] * len(values)
    least = 0.0
    for rank, i in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        least = max(least, min(1.0, (len(values) - rank) * values[i]))
        corrected[i] = least
    return corrected


def rights(outcomes: Outcomes) -> list[bool] | None:
    """Say of each row whether it is wholly right; None where predictions are values or losses."""
    if outcomes.kind in ("value", "masked"):
        return None
    both = zip(outcomes.gold, outcomes.predicted, strict=True)
    if outcomes.kind == "labels":
        return [{*gold} == {*guess} for gold, guess in both]
    if outcomes.kind == "answer":
        from bertft.scoring.answers import text_scores

        texts = [guess or "" for guess in outcomes.predicted]
        exact, _ = text_scores(outcomes.gold, texts, version=1 if all(outcomes.gold) else 2)
        return [
            not gold if guess is None else bool(same)
            for same, gold, guess in zip(exact, outcomes.gold, outcomes.predicted, strict=True)
        ]
    return [gold == guess for gold, guess in both]


def permutation(outcomes: Outcomes) -> dict[str, Any] | None:
    """Return `{"mapping": {label: gold label}, "accuracy": …, "lifted": …}` where another naming of labels is better.

    That is the naming with the most rows right, told where it adds 0.3 to an accuracy. Words count as rows in tagging,
    entities by type and not by prefix. None where there is none.
    """
    from scipy.optimize import linear_sum_assignment

    if outcomes.kind not in ("label", "tags", "entities"):
        return None
    cells = _cells(outcomes)
    if not cells:
        return None
    there, found = (sorted({pair[side] for pair in cells}) for side in (0, 1))
    counts = np.array([[cells[a, b] for b in found] for a in there])
    rows, columns = linear_sum_assignment(counts, maximize=True)
    total = sum(cells.values())
    accuracy = sum(count for (a, b), count in cells.items() if a == b) / total
    lifted = counts[rows, columns].sum() / total
    if lifted - accuracy < _LIFT:
        return None
    named = {found[j]: there[i] for i, j in zip(rows, columns, strict=True)}
    mapping = {label: gold for label, gold in sorted(named.items()) if label != gold}
    return {"mapping": mapping, "accuracy": accuracy, "lifted": float(lifted)}


def _cells(outcomes: Outcomes) -> Mapping[tuple[str, str], int]:
    if outcomes.kind == "label":
        return Counter(zip(outcomes.gold, outcomes.predicted, strict=True))
    cells: Counter[tuple[str, str]] = Counter()
    for gold, guess in zip(outcomes.gold, outcomes.predicted, strict=True):
        for pair in zip((t for tags in gold for t in tags), (t for tags in guess for t in tags), strict=True):
            if outcomes.kind == "tags":
                cells[pair] += 1
            elif "O" not in pair:
                cells[pair[0][2:], pair[1][2:]] += 1
    return cells
