"""Which labels are likely wrong, by confident learning: probabilities and given labels in, rows out.

Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels" (JAIR 2021), section 3.1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Doubt(NamedTuple):
    """A row whose given label is likely wrong, and the label that it likely should have, both by number.

    `margin` is how much likelier the model finds the other one.
    """

    row: int
    given: int
    likely: int
    margin: float


def thresholds(probabilities: npt.NDArray[np.float64], given: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return for each class (classes,) the mean probability of it over the rows labelled so (equation 2).

    It is infinite for a class that no row has: nothing tells how sure the model is of it.
    """
    count = probabilities.shape[1]
    own = probabilities[np.arange(len(given)), given]  # (rows,)
    rows = np.bincount(given, minlength=count)
    sums = np.bincount(given, weights=own, minlength=count)
    return np.where(rows > 0, sums / np.maximum(rows, 1), np.inf)


def doubts(probabilities: npt.NDArray[np.float64], given: npt.NDArray[np.int64]) -> list[Doubt]:
    """Return the rows that the confident joint counts off its diagonal (equation 1), the greatest margin first.

    `probabilities` are (rows, classes), of a model that has not seen the rows; `given` are (rows,). A row belongs to
    the likeliest of the classes whose threshold its probability reaches, and is doubted where that is not the given
    one.
    """
    if not len(given):
        return []
    # rounding must not put a row below a threshold that is its own probability
    reached = probabilities >= thresholds(probabilities, given) - 1e-9  # (rows, classes)
    likely = np.where(reached, probabilities, -1.0).argmax(axis=1)  # (rows,)
    found = np.flatnonzero(reached.any(axis=1) & (likely != given))
    margins = probabilities[found, likely[found]] - probabilities[found, given[found]]
    order = np.argsort(-margins, kind="stable")
    return [Doubt(int(found[i]), int(given[found[i]]), int(likely[found[i]]), float(margins[i])) for i in order]
