"""Scores of extracted answers: exact match and F1 over words, as the evaluations of SQuAD 1.1 and 2.0 define them.

Texts are compared in lower case, without ASCII punctuation, without the articles a, an, the and without superfluous
white space (Rajpurkar et al. 2016, section 6.1). A question's score is the best over its gold answers, a file's is the
mean over its questions. The two versions differ in more than questions without an answer:

* 1.1 compares gold answers of which nothing is left ("the"): they match such a prediction exactly, with an F1 of 0.
* 2.0 leaves them out, unless there are no others; two texts of which nothing is left have an F1 of 1.

So a file whose questions all have answers is scored by 1.1, any other by 2.0: the numbers that people compare.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = dict.fromkeys(map(ord, string.punctuation))


def answer_scores(
    golds: Sequence[Sequence[str]], predicted: Sequence[str], null_odds: Sequence[float], threshold: float
) -> dict[str, Any]:
    """Return `exact_match`, `f1` and `support`; with unanswerable questions also the scores of each kind, and the best.

    `golds` has the answers of each question, none where it has no answer; `predicted` the best span's text. It is the
    prediction unless the question's `null_odds` are more than `threshold`; then the prediction is that there is no
    answer. `best_exact` and `best_f1` are what the best threshold would give, which stands beside them.
    """
    odds = np.asarray(null_odds, dtype=np.float64)
    silent = odds > threshold
    answerable = np.array([bool(answers) for answers in golds], dtype=bool)
    if answerable.all():
        said = ["" if quiet else text for text, quiet in zip(predicted, silent, strict=True)]
        exact, f1 = text_scores(golds, said, version=1)
        return {"exact_match": float(exact.mean()), "f1": float(f1.mean()), "support": len(golds)}
    raw_exact, raw_f1 = text_scores(golds, predicted, version=2)
    exact, f1 = (np.where(silent, ~answerable, raw).astype(np.float64) for raw in (raw_exact, raw_f1))
    scores: dict[str, Any] = {"exact_match": float(exact.mean()), "f1": float(f1.mean())}
    for kind, members in (("has_ans", answerable), ("no_ans", ~answerable)):
        if members.any():
            scores[f"{kind}_exact"] = float(exact[members].mean())
            scores[f"{kind}_f1"] = float(f1[members].mean())
    said_something = np.array([bool(text) for text in predicted])
    for name, raw in (("exact", raw_exact), ("f1", raw_f1)):
        best, at = best_over_thresholds(_gains(raw, answerable, said_something), odds, int((~answerable).sum()))
        scores[f"best_{name}"], scores[f"best_{name}_thresh"] = best / len(golds), at
    return {**scores, "support": len(golds)}


def text_scores(golds: Sequence[Sequence[str]], predicted: Sequence[str], *, version: int) -> tuple[Floats, Floats]:
    """Return (exact match, F1) of each question, (questions,) each, by the rules of SQuAD 1.1 or 2.0 (`version`)."""
    exact, f1 = np.zeros(len(golds)), np.zeros(len(golds))
    for i, (answers, text) in enumerate(zip(golds, predicted, strict=True)):
        guess = words(text)
        wanted = [words(answer) for answer in answers]
        if version == 2:
            wanted = [answer for answer in wanted if answer] or [[]]
        exact[i] = max(answer == guess for answer in wanted)
        f1[i] = max(_f1(answer, guess, nothing=version == 2) for answer in wanted)
    return exact, f1


def words(text: str) -> list[str]:
    """Return the words of a text that are compared."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _f1(gold: Sequence[str], guess: Sequence[str], *, nothing: bool) -> float:
    """Return the F1 of two bags of words; `nothing` says whether two empty ones are the same."""
    if nothing and not (gold and guess):
        return float(gold == guess)
    common = (Counter(gold) & Counter(guess)).total()
    # through precision and recall, as the evaluations have it: 2c / (n + m) differs in the last digit
    if not common:
        return 0.0
    precision, recall = common / len(guess), common / len(gold)
    return 2 * precision * recall / (precision + recall)


def _gains(raw: Floats, answerable: npt.NDArray[np.bool_], said_something: npt.NDArray[np.bool_]) -> Floats:
    """Return what the sum of scores gains when a question is answered with its span instead of none, (questions,)."""
    return np.where(answerable, raw, np.where(said_something, -1.0, 0.0))


def best_over_thresholds(gains: Floats, odds: Floats, unanswerable: int) -> tuple[float, float]:
    """Return the best sum of scores over all thresholds, and the odds of the last question that it answers.

    Questions are answered one after the other, the least likely to have no answer first; of sums that are equal the
    first counts, and 0.0 stands for answering none. As in the evaluation of SQuAD 2.0 (Rajpurkar et al. 2018), also in
    that it parts questions of equal odds, by their order. O(n log n).
    """
    order = np.argsort(odds, kind="stable")
    sums = np.cumsum(np.concatenate(([float(unanswerable)], gains[order])))  # (questions + 1,): after each answer
    best = int(sums.argmax())
    return float(sums[best]), float(odds[order[best - 1]]) if best else 0.0


def best_threshold(golds: Sequence[Sequence[str]], predicted: Sequence[str], null_odds: Sequence[float]) -> float:
    """Return the threshold of the null odds with the best F1.

    It is searched as `best_over_thresholds` does it, but lies halfway between two questions' odds, so that rounding
    changes no answer, and never parts equal ones. Raises ValueError where there is no question.
    """
    odds = np.asarray(null_odds, dtype=np.float64)
    answerable = np.array([bool(answers) for answers in golds], dtype=bool)
    _, f1 = text_scores(golds, predicted, version=2)
    order = np.argsort(odds, kind="stable")
    ranked = odds[order]
    gains = _gains(f1, answerable, np.array([bool(text) for text in predicted]))[order]
    sums = np.concatenate(([0.0], np.cumsum(gains)))  # (questions + 1,)
    parts = np.concatenate(([True], ranked[1:] > ranked[:-1], [True]))
    best = int(np.where(parts, sums, -np.inf).argmax())
    known = ranked[np.isfinite(ranked)]
    if not len(known):
        return 0.0  # no question has a span at all
    if best == 0:
        return float(known[0]) - 1.0
    if best >= len(known):
        return float(known[-1]) + 1.0
    return min(float(ranked[best - 1] + ranked[best]) / 2, float(np.nextafter(ranked[best], -np.inf)))
