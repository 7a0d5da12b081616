"""How sure a metric is: 95 % intervals by the bootstrap over sentences, texts, questions or documents (Efron 1979).

They are percentile intervals: they never leave a metric's range, serve every metric alike (also Spearman's correlation
and macro averages, for which the jackknife of BCa would cost n evaluations), and their resamples are those in which
models are compared. Their one fault, being too narrow on small files, is corrected by taking wider percentiles, by the
quantiles of Student's t (Hesterberg 2015, section 4.1).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from bertft.scoring.outcomes import Outcomes
from bertft.scoring.resampling import units

SAMPLES = 1_000
LEVEL = 0.95


def intervals(
    outcomes: Outcomes, keys: Collection[str], *, samples: int = SAMPLES, seed: int = 0
) -> dict[str, list[float]]:
    """Return [low, high] of those metrics among `keys` that can be resampled; none of fewer than two units."""
    found = units([outcomes]) if len(outcomes.gold) > 1 else None
    if found is None or found.size < 2:
        return {}
    resampled = found.bootstrap(samples, seed)[0]
    return {key: interval(resampled[key], found.size, fraction=key != "rmse") for key in keys if key in resampled}


def described(outcomes: Outcomes, keys: Collection[str], *, samples: int = SAMPLES, seed: int = 0) -> dict[str, Any]:
    """Return `{"intervals": {metric: [low, high]}, "bootstrap": how}`, or nothing where there are no intervals."""
    found = intervals(outcomes, keys, samples=samples, seed=seed)
    if not found:
        return {}
    count = len(outcomes.gold) if outcomes.groups is None else len({*outcomes.groups})
    how = {"samples": samples, "unit": outcomes.unit, "units": count, "level": LEVEL, "seed": seed}
    return {"intervals": found, "bootstrap": how}


def interval(values: npt.NDArray[np.float64], size: int, *, fraction: bool = False) -> list[float]:
    """Return [low, high] of a metric's resampled `values`, of a file of `size` units.

    Of a `fraction` that is 0 or 1 in all resamples the open end is that of the exact binomial interval (Clopper and
    Pearson 1934): resamples of a file without an error know nothing of errors.
    """
    if fraction and values.min() == values.max() and values[0] in (0.0, 1.0):
        bound = float(((1 - LEVEL) / 2) ** (1 / size))
        return [bound, 1.0] if values[0] else [0.0, 1.0 - bound]
    tail = expanded_tail(size)
    low, high = np.quantile(values, [tail, 1 - tail])
    return [float(low), float(high)]


def expanded_tail(size: int) -> float:
    """Return the share of resamples beyond each end of the interval of `size` units: 2.5 % where they are many."""
    from scipy.stats import norm, t

    return float(norm.cdf(math.sqrt(size / (size - 1)) * t.ppf((1 - LEVEL) / 2, size - 1)))
