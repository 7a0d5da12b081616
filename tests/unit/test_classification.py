"""Scores of labels, label sets, values and rankings, against their definitions and against scikit-learn and scipy."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import linregress, rankdata
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, root_mean_squared_error

from bertft.scoring.classification import (
    best_threshold,
    best_thresholds,
    label_scores,
    label_set_scores,
    ranking_scores,
    value_scores,
)

quick = settings(max_examples=80)
near = {"abs": 1e-9}
# names that a report of scikit-learn has besides the labels are labels like any other
LABELS = ("refund", "accuracy", "macro avg", "micro avg", "", "10", "2", "NO")


def f1(right: int, found: int, there: int) -> float:
    precision, recall = right / found if found else 0.0, right / there if there else 0.0
    return 2 * precision * recall / (precision + recall) if right else 0.0


@quick
@given(pairs=st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=40))
def test_labels_are_counted_one_by_one(pairs: list[tuple[str, str]]) -> None:
    gold, predicted = [a for a, _ in pairs], [b for _, b in pairs]
    scores = label_scores(gold, predicted)
    labels = sorted({*gold, *predicted})
    each = {
        label: f1(sum(a == b == label for a, b in pairs), predicted.count(label), gold.count(label)) for label in labels
    }
    assert scores["accuracy"] == pytest.approx(sum(a == b for a, b in pairs) / len(pairs), **near)
    assert scores["macro_f1"] == pytest.approx(sum(each.values()) / len(labels), **near)
    assert {label: row["f1"] for label, row in scores["per_label"].items()} == pytest.approx(each, **near)
    assert {label: row["support"] for label, row in scores["per_label"].items()} == {x: gold.count(x) for x in labels}
    ids = {label: i for i, label in enumerate(labels)}
    numbers = [[ids[label] for label in side] for side in (gold, predicted)]
    assert scores["accuracy"] == pytest.approx(accuracy_score(*numbers), **near)
    assert scores["macro_f1"] == pytest.approx(f1_score(*numbers, average="macro", zero_division=0), **near)


SETS = st.sets(st.sampled_from(LABELS[:4])).map(sorted)


@quick
@given(rows=st.lists(st.tuples(SETS, SETS), min_size=1, max_size=30), known=st.integers(1, 4))
@example(rows=[(["refund"], []), ([], ["refund"])], known=1)  # one label: a single column
@example(rows=[([], [])], known=2)
def test_label_sets_are_counted_one_by_one(rows: list[tuple[list[str], list[str]]], known: int) -> None:
    labels = list(LABELS[:known])
    gold = [a for a, _ in rows]
    predicted = [[label for label in b if label in labels] for _, b in rows]
    scores = label_set_scores(gold, predicted, labels)
    every = {*labels, *(label for row in gold for label in row)}
    count = {
        label: (
            sum(label in a and label in b for a, b in zip(gold, predicted, strict=True)),
            sum(label in row for row in predicted),
            sum(label in row for row in gold),
        )
        for label in every
    }
    right, found, there = (sum(column) for column in zip(*count.values(), strict=True))
    assert scores["micro_f1"] == pytest.approx(f1(right, found, there), **near)
    assert scores["micro_precision"] == pytest.approx(right / found if found else 0, **near)
    assert scores["micro_recall"] == pytest.approx(right / there if there else 0, **near)
    assert scores["macro_f1"] == pytest.approx(sum(f1(*c) for c in count.values()) / len(every), **near)
    same = [set(a) == set(b) for a, b in zip(gold, predicted, strict=True)]
    assert scores["subset_accuracy"] == pytest.approx(sum(same) / len(same), **near)
    assert scores["support"] == there
    assert {label: row["support"] for label, row in scores["per_label"].items()} == {x: count[x][2] for x in every}
    # scikit-learn on one flat list of yes and no, and on one list a label
    flat = [[label in row for row in side for label in sorted(every)] for side in (gold, predicted)]
    assert scores["micro_f1"] == pytest.approx(f1_score(*flat, zero_division=0), **near)
    columns = [
        f1_score([label in row for row in gold], [label in row for row in predicted], zero_division=0)
        for label in every
    ]
    assert scores["macro_f1"] == pytest.approx(np.mean(columns), **near)


def test_a_gold_label_that_the_model_has_not_counts_as_missed() -> None:
    scores = label_set_scores([["a", "new"]], [["a"]], ["a"])
    assert scores["per_label"]["new"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert (scores["micro_recall"], scores["macro_f1"], scores["subset_accuracy"]) == (0.5, 0.5, 0.0)


VALUE = st.integers(-40, 40).map(lambda n: n / 8)  # ties are likely


def correlation(a: Sequence[float], b: Sequence[float]) -> float:
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    cross = math.fsum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    squares = [math.fsum((x - mean) ** 2 for x in side) for side, mean in ((a, mean_a), (b, mean_b))]
    return cross / math.sqrt(squares[0] * squares[1])


def ranks(values: Sequence[float]) -> list[float]:
    """Rank from 1; equal values share the mean of their ranks."""
    return [sum(y < x for y in values) + (values.count(x) + 1) / 2 for x in values]


@quick
@given(pairs=st.lists(st.tuples(VALUE, VALUE), min_size=2, max_size=30))
def test_values_are_compared_by_definition(pairs: list[tuple[float, float]]) -> None:
    gold, predicted = [a for a, _ in pairs], [b for _, b in pairs]
    scores = value_scores(gold, predicted)
    squares = [(a - b) ** 2 for a, b in pairs]
    assert scores["rmse"] == pytest.approx(math.sqrt(sum(squares) / len(squares)), **near)
    assert scores["rmse"] == pytest.approx(root_mean_squared_error(gold, predicted), **near)
    if len(set(gold)) == 1 or len(set(predicted)) == 1:
        assert (scores["pearson"], scores["spearman"]) == (0.0, 0.0)
        return
    assert scores["pearson"] == pytest.approx(correlation(gold, predicted), **near)
    assert scores["spearman"] == pytest.approx(correlation(ranks(gold), ranks(predicted)), **near)
    assert scores["pearson"] == pytest.approx(linregress(gold, predicted).rvalue, **near)
    assert scores["spearman"] == pytest.approx(linregress(rankdata(gold), rankdata(predicted)).rvalue, **near)


@pytest.mark.parametrize(
    ("gold", "predicted"),
    [([1.0], [2.0]), ([1.0, 2.0], [3.0, 3.0]), ([1.0, 1.0], [1.0, 2.0]), ([1.0, 2.0], [0.1 + 0.2, 0.3])],
)
def test_correlations_are_numbers_where_there_is_nothing_to_compare(gold: list[float], predicted: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = value_scores(gold, predicted)
    assert all(math.isfinite(scores[key]) for key in ("pearson", "spearman", "rmse"))


GROUP = st.lists(st.tuples(st.booleans(), st.integers(0, 4).map(float)), min_size=1, max_size=8)


@quick
@given(groups=st.lists(GROUP, min_size=1, max_size=6))
def test_rankings_break_ties_against_the_model(groups: list[list[tuple[bool, float]]]) -> None:
    reciprocal, average = [], []
    for group in groups:
        right = sorted((score for relevant, score in group if relevant), reverse=True)
        # before the i-th right answer stand i - 1 right ones, and every wrong one that scores no less
        places = [i + sum(not relevant and s >= score for relevant, s in group) for i, score in enumerate(right, 1)]
        if right:
            reciprocal.append(1 / places[0])
            average.append(sum(i / place for i, place in enumerate(places, 1)) / len(right))
    scores = ranking_scores(groups)
    assert scores["mrr"] == pytest.approx(np.mean(reciprocal) if reciprocal else 0.0, **near)
    assert scores["map"] == pytest.approx(np.mean(average) if average else 0.0, **near)
    assert scores["questions"] == len(groups)
    assert scores["questions_without_answer"] == len(groups) - len(average)


@quick
@given(group=st.lists(st.tuples(st.booleans(), VALUE), min_size=1, max_size=12, unique_by=lambda item: item[1]))
def test_average_precision_without_ties_is_that_of_scikit_learn(group: list[tuple[bool, float]]) -> None:
    relevant, scores = [r for r, _ in group], [s for _, s in group]
    expected = average_precision_score(relevant, scores) if any(relevant) else 0.0
    assert ranking_scores([group])["map"] == pytest.approx(expected, **near)


@settings(max_examples=200)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 12).map(lambda n: n / 12) | st.floats(0, 1)),
        min_size=1,
        max_size=20,
    )
)
@example(rows=[(1, 5e-324), (0, 0.0)])  # no float between them
@example(rows=[(1, 1.0), (0, math.nextafter(1, 0))])
def test_the_best_threshold_is_the_best_of_all_cuts(rows: list[tuple[int, float]]) -> None:
    gold, scores = np.array([g for g, _ in rows]), np.array([s for _, s in rows])

    def at(threshold: float) -> float:
        found = scores >= threshold
        return f1(int((found & (gold == 1)).sum()), int(found.sum()), int(gold.sum()))

    chosen = best_threshold(gold, scores)
    assert at(chosen) == pytest.approx(max(at(cut) for cut in (*scores, 2.0)), **near)
    if not gold.any():
        assert not (scores >= chosen).any()


def test_a_threshold_stands_halfway_between_two_scores() -> None:
    scores: Any = np.array([0.9, 0.7, 0.2, 0.1])
    assert best_threshold(np.array([1, 1, 0, 0]), scores) == pytest.approx(0.45)
    assert best_threshold(np.array([1, 1, 1, 1]), scores) == pytest.approx(0.05)


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(2, 30), labels=st.integers(1, 5), enough=st.integers(1, 6))
def test_thresholds_of_labels_never_lose_to_one_for_all(seed: int, rows: int, labels: int, enough: int) -> None:
    generator = np.random.default_rng(seed)
    gold = (generator.random((rows, labels)) < 0.4).astype(np.int64)
    gold[0, 0] = 1
    scores = (generator.random((rows, labels)) * 0.6 + 0.4 * gold * generator.random((rows, labels))).round(2)

    def micro(thresholds: Any) -> float:
        guess = scores >= np.asarray(thresholds)
        return 2 * float((guess & (gold == 1)).sum()) / float(guess.sum() + gold.sum())

    found = best_thresholds(gold, scores, enough=enough)
    every = [*np.unique(scores), 2.0]
    assert micro(found) >= max(micro([cut] * labels) for cut in every) - 1e-12
    shared = best_threshold(gold.ravel(), scores.ravel())
    assert all(found[i] == shared for i in range(labels) if gold[:, i].sum() < enough)
    for i in (i for i in range(labels) if gold[:, i].sum() >= enough):  # no label gains by another one after the rest
        least = int(gold.sum(axis=0)[i])
        last = [j for j in range(labels) if gold[:, j].sum() >= enough and (gold[:, j].sum(), -j) < (least, -i)]
        if not last:
            assert micro(found) >= max(micro([*found[:i], cut, *found[i + 1 :]]) for cut in every) - 1e-12
