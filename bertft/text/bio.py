"""Decode BIO tags under the constraint that I-X follows only B-X or I-X, or under a CRF's learnt transitions.

numpy arrays in, a path of label ids (or the labels' probabilities) out.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bertft.text.schemes import TagStyle

LogProbabilities = npt.NDArray[np.float32]

_FORBIDDEN = np.float32(-1e4)  # lower than any log-probability, yet far from overflow when a sentence adds them up


class Constraints(NamedTuple):
    """What is added to log-probabilities: for a transition (from, to), and for the first label (labels,)."""

    transitions: LogProbabilities
    initial: LogProbabilities


@cache
def constraints(labels: tuple[str, ...], style: TagStyle) -> Constraints:
    """Return the penalties of BIO: 0 for what it allows."""
    split = [style.split(label) for label in labels]
    transitions = np.zeros((len(split), len(split)), dtype=np.float32)
    initial = np.zeros(len(split), dtype=np.float32)
    for j, (prefix, kind) in enumerate(split):
        if prefix == "I":
            initial[j] = _FORBIDDEN
            for i, (before, same) in enumerate(split):
                if before == "O" or same != kind:
                    transitions[i, j] = _FORBIDDEN
    return Constraints(transitions, initial)


def viterbi(
    emissions: LogProbabilities, transitions: LogProbabilities, initial: LogProbabilities
) -> npt.NDArray[np.intp]:
    """Return the best label path (words,) for emissions (words, labels), transitions (from, to) and initial (labels,).

    Forney, "The Viterbi algorithm", Proc. IEEE 61(3), 1973. Where there are only penalties and the arg max has none,
    it is the answer.
    """
    best: npt.NDArray[np.intp] = emissions.argmax(axis=-1)
    rewards = transitions.max(initial=0) > 0 or initial.max(initial=0) > 0
    if not len(best) or not (rewards or initial[best[0]] or transitions[best[:-1], best[1:]].any()):
        return best
    pointers = np.zeros(emissions.shape, dtype=np.intp)
    score = initial + emissions[0]  # (labels,)
    for i in range(1, len(emissions)):
        candidates = score[:, None] + transitions  # (from, to)
        pointers[i] = candidates.argmax(axis=0)
        score = candidates.max(axis=0) + emissions[i]
    path = np.empty(len(emissions), dtype=np.intp)
    path[-1] = score.argmax()
    for i in range(len(emissions) - 1, 0, -1):
        path[i - 1] = pointers[i, path[i]]
    return path


def marginals(
    emissions: LogProbabilities, transitions: LogProbabilities, initial: LogProbabilities
) -> LogProbabilities:
    """Return the log-probability of each label at each word (words, labels) under a linear-chain CRF.

    Lafferty, McCallum and Pereira, "Conditional Random Fields", ICML 2001, section 3 (forward-backward).
    """
    forward = np.empty(emissions.shape, dtype=np.float64)
    backward = np.zeros(emissions.shape, dtype=np.float64)
    if not len(emissions):
        return forward.astype(np.float32)
    forward[0] = initial + emissions[0]
    for i in range(1, len(emissions)):
        forward[i] = np.logaddexp.reduce(forward[i - 1][:, None] + transitions, axis=0) + emissions[i]
    for i in range(len(emissions) - 2, -1, -1):
        backward[i] = np.logaddexp.reduce(transitions + emissions[i + 1] + backward[i + 1], axis=1)
    total = np.logaddexp.reduce(forward[-1])
    found: LogProbabilities = (forward + backward - total).astype(np.float32)
    return found
