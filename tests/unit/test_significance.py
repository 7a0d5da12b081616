"""The tests of a difference: against plain loops and other code, and how often they see what is not there."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binomtest, false_discovery_control

from bertft.scoring.outcomes import Outcomes
from bertft.scoring.resampling import Units, units
from bertft.scoring.significance import (
    differences,
    holm,
    mcnemar,
    permutation,
    randomization,
    rights,
    share_as_large,
)

Made = Callable[[np.random.Generator, int], list[Outcomes]]


def labels(rng: np.random.Generator, size: int, *, right: tuple[float, ...] = (0.8, 0.8)) -> list[Outcomes]:
    gold = [("a", "b")[i] for i in rng.integers(2, size=size)]
    other = {"a": "b", "b": "a"}
    return [
        Outcomes("label", range(size), [("",)] * size, gold, [g if rng.random() < p else other[g] for g in gold])
        for p in right
    ]


def entities(rng: np.random.Generator, size: int) -> list[Outcomes]:
    shapes = ((("O", "O", "O"),), (("B-X", "O", "O"),), (("B-X", "O", "B-Y"),))
    gold = [shapes[i] for i in rng.integers(3, size=size)]
    return [
        Outcomes(
            "entities",
            range(size),
            [("",)] * size,
            gold,
            [g if rng.random() < 0.75 else shapes[rng.integers(3)] for g in gold],
        )
        for _ in range(2)
    ]


def answers(rng: np.random.Generator, size: int) -> list[Outcomes]:
    texts = ("red house", "red", "blue house", "blue")
    gold = [("red house",)] * size
    return [
        Outcomes("answer", range(size), [("", "")] * size, gold, [texts[i] for i in rng.integers(4, size=size)])
        for _ in range(2)
    ]


def test_randomization_has_the_p_value_of_all_exchanges() -> None:
    found = labels(np.random.default_rng(3), 10, right=(0.4, 0.9))
    first, second = (np.array(rights(one), dtype=float) for one in found)
    observed = second.mean() - first.mean()
    exchanged = [
        np.where(swap, first, second).mean() - np.where(swap, second, first).mean()
        for swap in itertools.product([False, True], repeat=10)
    ]
    exact = np.mean([abs(one) >= abs(observed) - 1e-12 for one in exchanged])
    assert randomization(units(found), "accuracy", samples=20_000) == pytest.approx(exact, abs=0.015)


def test_resampled_differences_are_those_of_a_plain_loop() -> None:
    found = labels(np.random.default_rng(4), 50)
    table = units(found)
    first, second = table.bootstrap(300, seed=9)
    again = [Units(table.kinds[[i]], table.count, table.statistic) for i in (0, 1)]
    # both systems are scored on the same draws: the difference of a system to itself is 0 in each
    same = units([found[0], found[0]]).bootstrap(300, seed=9)
    assert (same[0]["accuracy"] == same[1]["accuracy"]).all()
    assert again[0].observed() == {key: pytest.approx(value) for key, value in table.observed(0).items()}
    gap = differences(table, ("accuracy",), samples=300, seed=9)["accuracy"]
    resampled = second["accuracy"] - first["accuracy"]
    as_large = sum(
        abs((one - gap["difference"]) * (50 / 49) ** 0.5) >= abs(gap["difference"]) - 1e-12 for one in resampled
    )
    assert gap["p"] == pytest.approx((as_large + 1) / 301)
    assert gap["interval"][0] <= gap["difference"] <= gap["interval"][1]


def test_systems_that_say_the_same_do_not_differ() -> None:
    one = labels(np.random.default_rng(0), 60)[0]
    table = units([one, one])
    gap = differences(table, ("accuracy",), samples=200)["accuracy"]
    assert (gap["difference"], gap["p"], gap["interval"]) == (0.0, 1.0, [0.0, 0.0])
    assert randomization(table, "accuracy", samples=200) == 1.0


def test_a_great_difference_is_seen_by_all_tests() -> None:
    found = labels(np.random.default_rng(1), 200, right=(0.6, 0.9))
    table = units(found)
    assert differences(table, ("accuracy",), samples=1000)["accuracy"]["p"] < 0.01
    assert randomization(table, "accuracy", samples=1000) < 0.01


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 8), (5, 5), (12, 12)])
def test_mcnemar_is_exact_for_few_rows(first: int, second: int) -> None:
    assert mcnemar(first, second) == (binomtest(first, first + second).pvalue if first + second else 1.0)


def test_mcnemar_is_chi_squared_for_many_rows() -> None:
    assert mcnemar(150, 121) == pytest.approx(0.0782, abs=1e-3)  # 29^2 / 271 = 3.103, one degree of freedom
    assert mcnemar(60, 40) == mcnemar(40, 60)


def test_holm_multiplies_the_least_by_the_number_of_tests() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    values = [0.001, 0.2, 0.04, 0.012]
    assert all(a >= b for a, b in zip(holm(values), false_discovery_control(values), strict=True))


def test_the_share_counts_the_observed_file() -> None:
    assert share_as_large(np.array([0.1, -0.3, 0.2]), 0.2) == (2 + 1) / 4


def of(gold: list[str], predicted: list[str]) -> Outcomes:
    return Outcomes("label", range(len(gold)), [("",)] * len(gold), gold, predicted)


def test_permuted_labels_are_named() -> None:
    gold = ["yes", "no", "no", "maybe"] * 10
    swapped = {"yes": "no", "no": "maybe", "maybe": "yes"}
    found = permutation(of(gold, [swapped[one] for one in gold]))
    assert found == {"mapping": {"no": "yes", "maybe": "no", "yes": "maybe"}, "accuracy": 0.0, "lifted": 1.0}


def test_names_that_say_nothing_are_mapped_to_the_labels() -> None:
    gold = ["neg", "pos"] * 20
    found = permutation(of(gold, [{"neg": "LABEL_0", "pos": "LABEL_1"}[one] for one in gold]))
    assert found is not None
    assert found["mapping"] == {"LABEL_0": "neg", "LABEL_1": "pos"}


@pytest.mark.parametrize("seed", range(20))
def test_a_model_that_guesses_is_not_called_permuted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gold, guess = (["abcd"[i] for i in rng.integers(4, size=60)] for _ in range(2))
    assert permutation(of(gold, guess)) is None


def test_permuted_types_of_entities_are_named() -> None:
    gold = [(("B-PER", "I-PER", "O", "B-LOC"),)] * 5
    guess = [(("B-LOC", "I-LOC", "O", "B-PER"),)] * 5
    found = permutation(Outcomes("entities", range(5), [("a",) * 4] * 5, gold, guess))
    assert found is not None
    assert found["mapping"] == {"LOC": "PER", "PER": "LOC"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("made", "key", "size"),
    [(labels, "accuracy", 300), (entities, "f1", 300), (answers, "f1", 200)],
    ids=["accuracy", "f1", "mean"],
)
def test_one_null_draw_in_twenty_is_called_a_difference(made: Made, key: str, size: int) -> None:
    rng = np.random.default_rng(21)
    draws = 1500
    seen = {"bootstrap": 0, "randomization": 0}
    for seed in range(draws):
        table = units(made(rng, size))
        seen["bootstrap"] += differences(table, (key,), samples=500, seed=seed)[key]["p"] < 0.05
        seen["randomization"] += randomization(table, key, samples=500, seed=seed) < 0.05
    assert all(0.03 <= count / draws <= 0.07 for count in seen.values()), seen


@pytest.mark.slow
def test_mcnemar_calls_no_more_than_one_null_draw_in_twenty_a_difference() -> None:
    rng = np.random.default_rng(22)
    seen = 0
    for _ in range(1500):
        first, second = (np.array(rights(one)) for one in labels(rng, 300))
        seen += mcnemar(int((first & ~second).sum()), int((second & ~first).sum())) < 0.05
    assert 0.03 <= seen / 1500 <= 0.07
