"""Scores of labels, label sets, values and rankings. Tests compare them with scikit-learn's and scipy's."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_ROOM = 1e-4
"""How far a threshold is above all scores, so that rounding lifts none of them over it."""


def label_scores(gold: Sequence[str], predicted: Sequence[str]) -> dict[str, Any]:
    """Return `accuracy`, `macro_f1` over the labels that occur on either side, `support` and scores `per_label`."""
    right = Counter(a for a, b in zip(gold, predicted, strict=True) if a == b)
    there, found = Counter(gold), Counter(predicted)
    each = {label: _counted(right[label], found[label], there[label]) for label in sorted({*gold, *predicted})}
    return {
        "accuracy": right.total() / len(gold),
        "macro_f1": sum(scores["f1"] for scores in each.values()) / len(each),
        "support": len(gold),
        "per_label": each,
    }


def label_set_scores(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], labels: Sequence[str]
) -> dict[str, Any]:
    """Return `micro_f1`, `macro_f1`, `subset_accuracy`, `support` (gold labels) and scores `per_label`.

    `labels` are those of the model; gold labels that it does not know count as missed, and in the macro average.
    """
    every = [*labels, *sorted({label for row in gold for label in row} - {*labels})]
    truth, guess = indicators(gold, every), indicators(predicted, every)
    sums = zip((truth & guess).sum(axis=0), guess.sum(axis=0), truth.sum(axis=0), strict=True)
    each = dict(zip(every, (_counted(int(right), int(found), int(there)) for right, found, there in sums), strict=True))
    micro = _counted(int((truth & guess).sum()), int(guess.sum()), int(truth.sum()))
    return {
        "micro_f1": micro["f1"],
        "micro_precision": micro["precision"],
        "micro_recall": micro["recall"],
        "macro_f1": sum(scores["f1"] for scores in each.values()) / len(each),
        "subset_accuracy": float((truth == guess).all(axis=1).mean()),
        "support": micro["support"],
        "per_label": each,
    }


def _counted(right: int, found: int, there: int) -> dict[str, Any]:
    """Return precision, recall, F1 (0 where there is nothing to divide by) and support of counts."""
    return {
        "precision": right / found if found else 0.0,
        "recall": right / there if there else 0.0,
        "f1": 2 * right / (found + there) if found + there else 0.0,
        "support": there,
    }


def indicators(rows: Sequence[Sequence[str]], labels: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return 0/1 (rows, labels)."""
    ids = {label: i for i, label in enumerate(labels)}
    found = np.zeros((len(rows), len(labels)), dtype=np.int64)
    for i, row in enumerate(rows):
        for label in row:
            found[i, ids[label]] = 1
    return found


def value_scores(gold: Sequence[float], predicted: Sequence[float]) -> dict[str, Any]:
    """Return `pearson`, `spearman` (0 where a side is constant) and `rmse`, in the data's units."""
    from scipy.stats import pearsonr, spearmanr

    a, b = np.asarray(gold, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    constant = len(a) < 2 or (a == a[0]).all() or (b == b[0]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy's about nearly constant input, which is no news here
        return {
            "pearson": 0.0 if constant else float(pearsonr(a, b).statistic),
            "spearman": 0.0 if constant else float(spearmanr(a, b).statistic),
            "rmse": float(np.sqrt(np.mean((a - b) ** 2))),
            "support": len(a),
        }


def ranking_scores(groups: Sequence[Sequence[tuple[bool, float]]]) -> dict[str, Any]:
    """Return `mrr` and `map` over groups of (relevant, score), the number of `questions`, and of those without answer.

    Groups without a relevant answer are skipped, as trec_eval does by default. Ties are broken against the model: among
    equal scores the relevant answers come last.
    """
    reciprocal, average = [], []
    for group in groups:
        order = sorted(group, key=lambda item: (-item[1], item[0]))
        ranks = [rank for rank, (relevant, _) in enumerate(order, 1) if relevant]
        if ranks:
            reciprocal.append(1 / ranks[0])
            average.append(sum(i / rank for i, rank in enumerate(ranks, 1)) / len(ranks))
    return {
        "mrr": float(np.mean(reciprocal)) if reciprocal else 0.0,
        "map": float(np.mean(average)) if average else 0.0,
        "questions": len(groups),
        "questions_without_answer": len(groups) - len(average),
    }


def best_threshold(gold: npt.NDArray[np.int64], scores: Floats, *, hits: int = 0, others: int = 0) -> float:
    """Return the threshold with the best F1 of `scores >= threshold` against 0/1 `gold`, both (n,).

    It is the F1 over these and over others besides, which have `hits` true positives and `others` positives, gold and
    predicted together. The threshold lies halfway between two scores, or above all of them.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    true = hits + np.append(0, np.cumsum(gold[order]))  # (n + 1,): of the first none, one, two, …
    positives = others + int(gold.sum()) + np.arange(len(gold) + 1)
    f1 = 2 * true / np.maximum(positives, 1)
    f1[1:][np.append(ranked[1:] == ranked[:-1], False)] = -1.0  # a threshold cannot part equal scores
    best = int(f1.argmax())
    if best == 0:
        return float(ranked[0]) + _ROOM
    below = ranked[best] if best < len(ranked) else 0.0
    middle = float((ranked[best - 1] + below) / 2)
    return middle if middle > below else float(ranked[best - 1])  # between neighbouring floats there is none


def best_thresholds(gold: npt.NDArray[np.int64], scores: Floats, *, enough: int) -> list[float]:
    """Return the threshold of each label for the best micro F1, of 0/1 `gold` and `scores`, both (rows, labels).

    The one threshold that is best for all labels is where each begins; then those with `enough` positives are chosen
    one after the other, twice, the most frequent first. No step makes the micro F1 worse.
    """
    thresholds = np.full(gold.shape[1], best_threshold(gold.ravel(), scores.ravel()))
    frequent = [int(i) for i in np.argsort(-gold.sum(axis=0), kind="stable") if gold[:, i].sum() >= enough]
    for i in (*frequent, *frequent):
        rest = np.arange(gold.shape[1]) != i
        predicted = scores[:, rest] >= thresholds[rest]
        hits, others = int((predicted & (gold[:, rest] == 1)).sum()), int(predicted.sum() + gold[:, rest].sum())
        thresholds[i] = best_threshold(gold[:, i], scores[:, i], hits=hits, others=others)
    return [float(threshold) for threshold in thresholds]


def plain(scores: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of scikit-learn's or seqeval's report as plain numbers."""
    return {
        "precision": float(scores["precision"]),
        "recall": float(scores["recall"]),
        "f1": float(scores["f1-score"]),
        "support": int(scores["support"]),
    }
