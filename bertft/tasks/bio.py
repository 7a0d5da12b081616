"""Decode BIO tags under the constraint that I-X follows only B-X or I-X. numpy arrays in, a path of label ids out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bertft.text.schemes import TagStyle

LogProbabilities = npt.NDArray[np.float32]

_FORBIDDEN = np.float32(-1e4)  # lower than any log-probability, yet far from overflow when a sentence adds them up


def constraints(labels: Sequence[str], style: TagStyle) -> tuple[LogProbabilities, LogProbabilities]:
    """Return the additive (from, to) transition and (label,) start penalties: 0 where BIO allows it."""
    split = [style.split(label) for label in labels]
    transitions = np.zeros((len(split), len(split)), dtype=np.float32)
    initial = np.zeros(len(split), dtype=np.float32)
    for j, (prefix, kind) in enumerate(split):
        if prefix == "I":
            initial[j] = _FORBIDDEN
            for i, (before, same) in enumerate(split):
                if before == "O" or same != kind:
                    transitions[i, j] = _FORBIDDEN
    return transitions, initial


def viterbi(
    emissions: LogProbabilities, transitions: LogProbabilities, initial: LogProbabilities
) -> npt.NDArray[np.intp]:
    """Return the best label path (words,) for emissions (words, labels), transitions (from, to) and initial (labels,).

    Forney, "The Viterbi algorithm", Proc. IEEE 61(3), 1973. Where the arg max breaks no constraint it is the answer.
    """
    best: npt.NDArray[np.intp] = emissions.argmax(axis=-1)
    if not len(best) or not (initial[best[0]] or transitions[best[:-1], best[1:]].any()):
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
