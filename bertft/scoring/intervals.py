"""How sure a metric is: 95 % intervals by the bootstrap over sentences, texts, questions or documents (Efron 1979).

They are percentile intervals, which never leave a metric's range and come from the resamples in which models are
compared. Two faults of theirs are corrected. On small files they are too narrow: the percentiles are wider there, by
the quantiles of Student's t (Hesterberg 2015, section 4.1). And a resample has more ties and fewer labels than a file,
which moves Spearman's correlation and macro averages: the percentiles move as far back (Efron 1981, "BC"; at a
correlation of 0.99 and 100 rows, plain percentiles cover the truth in 88 % of draws, these in 95 %). BCa's acceleration
is left out: it takes a leave-one-out value of each unit.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from bertft.console import ERRORS
from bertft.scoring.outcomes import Outcomes
from bertft.scoring.resampling import units

SAMPLES = 1_000
LEVEL = 0.95

_SAME = 1e-12
_CORRELATIONS = ("pearson", "spearman")
_EXTREME = 0.05
"""What is corrected of a bias at most: more would leave the metric itself out of its interval."""


def intervals(
    outcomes: Outcomes, keys: Collection[str], *, samples: int = SAMPLES, seed: int = 0
) -> dict[str, list[float]]:
    """Return [low, high] of those metrics among `keys` that can be resampled; none of fewer than two units with any."""
    found = units([outcomes]) if len(outcomes.gold) > 1 else None
    if found is None or found.size < 2:
        return {}
    resampled, observed = found.bootstrap(samples, seed)[0], found.observed()
    return {
        key: interval(resampled[key], found.size, observed[key], fraction=key not in {*ERRORS, *_CORRELATIONS})
        for key in keys
        if key in resampled and counting(resampled[key], found.size) > 1
    }


def described(outcomes: Outcomes, keys: Collection[str], *, samples: int = SAMPLES, seed: int = 0) -> dict[str, Any]:
    """Return `{"intervals": {metric: [low, high]}, "bootstrap": how}`, or nothing where there are no intervals."""
    found = intervals(outcomes, keys, samples=samples, seed=seed)
    if not found:
        return {}
    count = len(outcomes.gold) if outcomes.groups is None else len({*outcomes.groups})
    how = {"samples": samples, "unit": outcomes.unit, "units": count, "level": LEVEL, "seed": seed}
    return {"intervals": found, "bootstrap": how}


def counting(values: npt.NDArray[np.float64], size: int) -> int:
    """Return how many of `size` units a metric is of, by the share of resamples, `values`, without any: NaN.

    That is (1 - n / size) to the power of `size` for n units. Of many units there is no such resample: all count.
    """
    empty = float(np.isnan(values).mean())
    return round(size * (1 - empty ** (1 / size))) if empty else size


def interval(values: npt.NDArray[np.float64], size: int, observed: float, *, fraction: bool = False) -> list[float]:
    """Return [low, high] of a metric that is `observed`, from its resampled `values`, of a file of `size` units.

    Of a `fraction` that is 0 or 1 in all resamples the open end is that of the exact binomial interval (Clopper and
    Pearson 1934): resamples of a file without an error know nothing of errors. Those with nothing to measure, NaN, say
    nothing, and the units that they lack do not count.
    """
    size, values = max(counting(values, size), 2), values[~np.isnan(values)]
    if fraction and values.min() == values.max() and values[0] in (0.0, 1.0):
        bound = float(((1 - LEVEL) / 2) ** (1 / size))
        return [bound, 1.0] if values[0] else [0.0, 1.0 - bound]
    low, high = np.quantile(values, tails(values, size, observed))
    return [float(low), float(high)]


def tails(values: npt.NDArray[np.float64], size: int, observed: float) -> tuple[float, float]:
    """Return the shares of resamples below the ends of an interval: 2.5 % and 97.5 % for many units and no bias."""
    from scipy.stats import norm, t

    wide = math.sqrt(size / (size - 1)) * float(t.ppf((1 + LEVEL) / 2, size - 1))
    equal = np.abs(values - observed) <= _SAME
    share = float(((values < observed) & ~equal).mean() + equal.mean() / 2)
    bias = 2 * float(norm.ppf(min(max(share, _EXTREME), 1 - _EXTREME)))
    return float(norm.cdf(bias - wide)), float(norm.cdf(bias + wide))
