"""The intervals of metrics: against plain loops over the same resamples, and against a known truth."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from bertft.scoring import answers, classification, tagging
from bertft.scoring.intervals import counting, described, interval, intervals, tails
from bertft.scoring.outcomes import Kind, Outcomes
from bertft.scoring.resampling import units

LABELS = ("a", "b", "c")
TAGS = ("O", "O", "B-X", "B-Y")


def outcomes(kind: Kind, gold: list[Any], predicted: list[Any], **more: Any) -> Outcomes:
    return Outcomes(kind, range(len(gold)), [("",)] * len(gold), gold, predicted, **more)


def of_labels(rng: np.random.Generator, size: int) -> Outcomes:
    gold = [LABELS[i] for i in rng.integers(3, size=size)]
    return outcomes("label", gold, [a if rng.random() < 0.7 else "d" for a in gold])


def of_sets(rng: np.random.Generator, size: int) -> Outcomes:
    def some() -> tuple[str, ...]:
        return tuple(label for label in ("a", "b", "c") if rng.random() < 0.4)

    gold = [some() for _ in range(size)]
    gold[0] = ("unknown",)
    return outcomes("labels", gold, [some() for _ in range(size)], labels=LABELS)


def of_values(rng: np.random.Generator, size: int) -> Outcomes:
    gold = rng.integers(6, size=size) / 2
    return outcomes("value", gold.tolist(), (gold + rng.normal(size=size).round(1)).tolist())


def sentence(rng: np.random.Generator) -> tuple[str, ...]:
    tags = [TAGS[i] for i in rng.integers(4, size=rng.integers(1, 9))]
    return tuple(
        f"I{tags[i - 1][1:]}" if i and tags[i - 1] != "O" and rng.random() < 0.5 else tag for i, tag in enumerate(tags)
    )


def of_tags(rng: np.random.Generator, size: int, kind: Kind = "tags") -> Outcomes:
    gold = [tuple(sentence(rng) for _ in range(rng.integers(1, 3))) for _ in range(size)]
    guess = [tuple(tuple("O" if rng.random() < 0.2 else tag for tag in tags) for tags in row) for row in gold]
    if kind == "entities":
        guess = [tuple(tuple(repaired(tags)) for tags in row) for row in guess]
        gold = [tuple(tuple(repaired(tags)) for tags in row) for row in gold]
    return outcomes(kind, gold, guess)


def repaired(tags: tuple[str, ...]) -> list[str]:
    found: list[str] = []
    for tag in tags:
        stray = tag.startswith("I-") and (not found or found[-1][1:] != tag[1:])
        found.append(f"B{tag[1:]}" if stray else tag)
    return found


def of_entities(rng: np.random.Generator, size: int) -> Outcomes:
    return of_tags(rng, size, "entities")


def of_answers(rng: np.random.Generator, size: int) -> Outcomes:
    texts = ("the", "red house", "red", "a big red house")
    gold = [tuple(texts[i] for i in rng.integers(4, size=rng.integers(0, 3))) for _ in range(size)]
    guess = [None if rng.random() < 0.3 else texts[rng.integers(4)] for _ in range(size)]
    return outcomes("answer", gold, guess)


def of_rankings(rng: np.random.Generator, size: int) -> Outcomes:
    right = rng.random(size) < 0.4
    return outcomes(
        "label",
        ["yes" if one else "no" for one in right],
        [("no", "yes")[i] for i in rng.integers(2, size=size)],
        groups=rng.integers(size // 3, size=size).tolist(),
        ranks=list(zip(right.tolist(), rng.random(size).round(1).tolist(), strict=True)),
        unit="question",
    )


def flat(rows: list[Any]) -> list[Any]:
    return [list(tags) for row in rows for tags in row]


def plain(found: Outcomes, picked: list[int]) -> dict[str, Any]:
    """Return the metrics of the rows `picked`, by the functions that score a file."""
    gold, guess = ([side[i] for i in picked] for side in (found.gold, found.predicted))
    match found.kind:
        case "label":
            return classification.label_scores(gold, guess)
        case "labels":
            return classification.label_set_scores(gold, guess, found.labels)
        case "value":
            return classification.value_scores(gold, guess)
        case "tags":
            return tagging.tag_scores(flat(gold), flat(guess))
        case "entities":
            return tagging.entity_scores(flat(gold), flat(guess))
        case "answer":
            odds = [1.0 if text is None else -1.0 for text in guess]
            return answers.answer_scores(gold, [text or "" for text in guess], odds, 0.0)


METRICS: list[tuple[Callable[[np.random.Generator, int], Outcomes], tuple[str, ...]]] = [
    (of_labels, ("accuracy", "macro_f1")),
    (of_sets, ("micro_f1", "macro_f1", "subset_accuracy")),
    (of_values, ("pearson", "spearman", "rmse")),
    (of_tags, ("accuracy", "macro_f1")),
    (of_entities, ("f1", "precision", "recall")),
    (of_answers, ("exact_match", "f1", "has_ans_exact", "no_ans_f1")),
]


@pytest.mark.parametrize(("made", "keys"), METRICS, ids=[made.__name__ for made, _ in METRICS])
@pytest.mark.parametrize("size", [2, 7, 60, 300])
def test_resamples_have_the_metrics_of_a_plain_loop(
    made: Callable[[np.random.Generator, int], Outcomes], keys: tuple[str, ...], size: int
) -> None:
    rng = np.random.default_rng(size)
    found = made(rng, size)
    if found.kind == "answer":
        found = outcomes("answer", [(), *found.gold[1:]], list(found.predicted))
    table = units([found])
    of_kind = {kind: row for row, kind in enumerate(table.kinds[0].tolist())}
    weights = rng.multinomial(size, np.full(table.count, 1 / table.count), size=25).astype(float)
    if found.kind == "answer":
        weights[:, table.kinds[0, 0]] += 1  # the two versions of SQuAD's rules differ: a question has no answer
    by_table = table.statistic(weights)
    for number, times in enumerate(weights):
        picked = [of_kind[kind] for kind, count in enumerate(times) for _ in range(int(count))]
        expected = plain(found, picked)
        for key in keys:
            nothing = math.nan if key.startswith(("has_ans", "no_ans")) else 0.0  # a mean of no question
            wanted = pytest.approx(expected.get(key, nothing), abs=1e-9, nan_ok=True)
            assert by_table[key][number] == wanted, key


@pytest.mark.parametrize(("made", "keys"), METRICS, ids=[made.__name__ for made, _ in METRICS])
def test_an_interval_is_that_of_a_plain_loop(
    made: Callable[[np.random.Generator, int], Outcomes], keys: tuple[str, ...]
) -> None:
    found = made(np.random.default_rng(1), 40)
    table = units([found])
    resampled = table.bootstrap(200, seed=5)[0]
    observed = table.observed()
    wide = (40 / 39) ** 0.5 * 2.0226909200  # the 97.5 % quantile of Student's t with 39 degrees of freedom
    normal = NormalDist()
    for key, (low, high) in intervals(found, keys, samples=200, seed=5).items():
        ordered = sorted(resampled[key])
        below = sum(value < observed[key] - 1e-12 for value in ordered)
        equal = sum(abs(value - observed[key]) <= 1e-12 for value in ordered)
        bias = 2 * normal.inv_cdf(min(max((below + equal / 2) / 200, 0.05), 0.95))
        for share, bound in ((normal.cdf(bias - wide), low), (normal.cdf(bias + wide), high)):
            at = share * (len(ordered) - 1)
            left = int(at)
            right = ordered[min(left + 1, len(ordered) - 1)]
            assert bound == pytest.approx(ordered[left] + (at - left) * (right - ordered[left]), abs=1e-8)


def test_an_interval_holds_what_was_observed() -> None:
    values = np.linspace(0, 1, 101)
    for observed in (0.03, 0.2, 0.5, 0.8, 0.97):
        low, high = interval(values, 50, observed)
        assert low <= observed <= high
    assert tails(values, 10**6, 0.5) == pytest.approx((0.025, 0.975), abs=1e-4)


@pytest.mark.parametrize(("made", "keys"), METRICS, ids=[made.__name__ for made, _ in METRICS])
def test_what_is_observed_is_the_score(
    made: Callable[[np.random.Generator, int], Outcomes], keys: tuple[str, ...]
) -> None:
    found = made(np.random.default_rng(3), 80)
    expected = plain(found, list(range(80)))
    observed = units([found]).observed()
    assert {key: observed[key] for key in keys} == pytest.approx({key: expected[key] for key in keys}, abs=1e-12)


def test_rankings_are_resampled_by_question() -> None:
    rng = np.random.default_rng(2)
    found = of_rankings(rng, 60)
    assert found.groups is not None
    assert found.ranks is not None
    table = units([found])
    assert table.size == len({*found.groups})
    weights = rng.integers(3, size=(5, table.count)).astype(float)
    questions = list(dict.fromkeys(found.groups))
    kind_of = dict(zip(questions, table.kinds[0].tolist(), strict=True))
    representative = {kind: question for question, kind in kind_of.items()}
    by_table = table.statistic(weights)
    for number, times in enumerate(weights):
        drawn = [representative[kind] for kind, count in enumerate(times) for _ in range(int(count))]
        members = [[i for i, group in enumerate(found.groups) if group == question] for question in drawn]
        expected = classification.ranking_scores([[found.ranks[i] for i in rows] for rows in members])
        expected |= plain(found, [i for rows in members for i in rows])
        for key in ("mrr", "map", "accuracy", "macro_f1"):
            assert by_table[key][number] == pytest.approx(expected[key], abs=1e-9)


def test_the_same_seed_gives_the_same_interval() -> None:
    found = of_labels(np.random.default_rng(0), 100)
    assert intervals(found, ("accuracy",)) == intervals(found, ("accuracy",))
    assert intervals(found, ("accuracy",)) != intervals(found, ("accuracy",), seed=1)


def test_it_is_said_how_it_was_made() -> None:
    ranked = of_rankings(np.random.default_rng(0), 30)
    found = described(ranked, ("map", "accuracy", "unheard of"))
    assert [*found["intervals"]] == ["map", "accuracy"]
    assert found["bootstrap"] == {
        "samples": 1000,
        "unit": "question",
        "units": len({*(ranked.groups or ())}),
        "level": 0.95,
        "seed": 0,
    }


def test_a_resample_without_a_masked_token_says_nothing_of_them() -> None:
    few = [(9, 20.0, 3), (12, 30.0, 2), (7, 14.0, 7)]
    found = outcomes("masked", [None] * 9, [*few, *[(0, 0.0, 0)] * 6])
    table = units([found])
    weights = np.array([[0.0] * table.count, [1.0] * table.count])
    assert np.isnan(table.statistic(weights)["loss"]).tolist() == [True, False]
    sure = intervals(found, ["loss", "accuracy"])
    # the least and the most that resamples of those three can have
    assert 14 / 7 <= sure["loss"][0] < 64 / 28 < sure["loss"][1] <= 30 / 12
    assert 2 / 12 <= sure["accuracy"][0] < 12 / 28 < sure["accuracy"][1] <= 1.0
    resampled = table.bootstrap(10_000, 0)[0]["loss"]
    assert np.isnan(resampled).mean() == pytest.approx((2 / 3) ** 9, abs=0.01)
    assert counting(resampled, 9) == 3
    assert intervals(outcomes("masked", [None] * 4, [few[0], *[(0, 0.0, 0)] * 3]), ["loss"]) == {}


def test_a_metric_without_an_error_is_as_sure_as_the_units_that_it_is_of() -> None:
    pairs = [(5, 9.0, 1, 1, 1), (4, 9.0, 0, 1, 1), *[(3, 6.0, 1, 0, 0)] * 4]
    found = outcomes("masked", [None] * 6, pairs, labels=("nsp",))
    low, high = intervals(found, ["nsp_accuracy"])["nsp_accuracy"]
    assert (low, high) == (pytest.approx(0.025 ** (1 / 2)), 1.0)


def test_one_row_has_no_interval() -> None:
    assert described(outcomes("label", ["a"], ["a"]), ("accuracy",)) == {}


def test_a_file_without_an_error_is_not_sure_to_have_none() -> None:
    low, high = intervals(outcomes("label", ["a"] * 50, ["a"] * 50), ("accuracy",))["accuracy"]
    assert (low, high) == (pytest.approx(0.025 ** (1 / 50)), 1.0)  # Clopper and Pearson's: 0.929
    assert intervals(outcomes("label", ["a"] * 50, ["b"] * 50), ("accuracy",))["accuracy"] == [
        0.0,
        pytest.approx(1 - low),
    ]


def test_ten_thousand_rows_take_about_a_second() -> None:
    found = of_values(np.random.default_rng(0), 10_000)  # the slowest: ranks in each resample
    began = time.process_time()
    intervals(found, ("pearson", "spearman", "rmse"))
    assert time.process_time() - began < 5  # of a machine that has other work


def covered(draws: list[list[float]], truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in draws]))


@pytest.mark.slow
@pytest.mark.parametrize("size", [100, 400])
def test_intervals_of_accuracy_cover_the_truth(size: int) -> None:
    rng = np.random.default_rng(11)
    draws = []
    for seed in range(1000):
        right = rng.random(size) < 0.8
        found = outcomes("label", ["a"] * size, ["a" if one else "b" for one in right])
        draws.append(intervals(found, ("accuracy",), seed=seed)["accuracy"])
    assert 0.93 <= covered(draws, 0.8) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("size", [100, 400])
def test_intervals_of_f1_cover_the_truth(size: int) -> None:
    # an entity a sentence is there in half of them, found in 80 %, and invented in 20 % of all: truth by expectation
    rng = np.random.default_rng(12)
    entity, none = (("B-X", "O"),), (("O", "O"),)
    invented = (("O", "B-X"),)
    truth = 2 * 0.4 / (0.4 + 0.2 * 0.6 + 0.5)  # found: 0.4 right, and in 0.6 without a right one 20 % are invented
    draws = []
    for seed in range(1000):
        there, hit, wrong = rng.random(size) < 0.5, rng.random(size) < 0.8, rng.random(size) < 0.2
        gold = [entity if one else none for one in there]
        guess = [
            entity if one and found else invented if false else none
            for one, found, false in zip(there, hit, wrong, strict=True)
        ]
        draws.append(intervals(outcomes("entities", gold, guess), ("f1",), seed=seed)["f1"])
    assert 0.93 <= covered(draws, truth) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("size", [30, 200])
def test_intervals_of_a_mean_cover_the_truth(size: int) -> None:
    rng = np.random.default_rng(13)
    draws = []
    for seed in range(1000):
        values = rng.gamma(4.0, 0.25, size=size)  # skewed, mean 1
        resampled = np.random.default_rng(seed).choice(values, size=(1000, size)).mean(axis=1)
        draws.append(interval(resampled, size, values.mean()))
    assert 0.93 <= covered(draws, 1.0) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.5, 0.9, 0.99])
def test_intervals_of_spearman_s_correlation_cover_the_truth(correlation: float) -> None:
    # resamples have ties, which lower it: plain percentiles cover 0.99 in 88 % of draws
    rng = np.random.default_rng(14)
    draws = []
    for seed in range(1000):
        gold = rng.normal(size=150)
        guess = correlation * gold + math.sqrt(1 - correlation**2) * rng.normal(size=150)
        found = outcomes("value", gold.tolist(), guess.tolist())
        draws.append(intervals(found, ("spearman",), samples=500, seed=seed)["spearman"])
    assert 0.93 <= covered(draws, 6 / math.pi * math.asin(correlation / 2)) <= 0.97


def test_a_correlation_may_be_negative() -> None:
    low, _ = intervals(outcomes("value", [1.0, 2.0, 2.0, 3.0, 4.0, 5.0], [2.0] * 6), ("pearson",))["pearson"]
    assert low == 0.0  # of a share of six rows it would be half of the binomial interval
    gold = [1.0, 2.0, 2.0, 3.0, 4.0, 5.0]
    assert intervals(outcomes("value", gold, gold), ("pearson", "spearman")) == {
        "pearson": [pytest.approx(1.0), pytest.approx(1.0)],
        "spearman": [pytest.approx(1.0), pytest.approx(1.0)],
    }
