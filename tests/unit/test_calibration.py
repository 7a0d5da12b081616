"""Calibration, against definitions in plain loops, against torch's own optimiser, and against a known truth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bertft.data.row import Place
from bertft.errors import UsageError
from bertft.scoring.calibration import (
    BINS,
    Evidence,
    Judged,
    bins,
    coverage,
    described,
    ece,
    fit,
    is_gain,
    nll,
    reflected,
)
from bertft.tasks.classify import Classify, Text
from bertft.tasks.target import Target

LABELS = ("a", "b", "c")


def judged(confidence: Any, right: Any, row: Any = None) -> Judged:
    known = np.log(np.clip(np.asarray(confidence, dtype=np.float64), 1e-9, 1))
    rows = np.arange(len(known)) if row is None else np.asarray(row)
    return Judged(np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=bool), known, rows)


def drawn(rng: np.random.Generator, size: int, labels: int, *, temperature: float, rows: int = 1) -> Evidence:
    """Gold drawn from a softmax, and logits that are those of the softmax times a temperature."""
    true = 2 * rng.normal(size=(size, labels))
    p = softmax(true)
    gold = (p.cumsum(axis=1) > rng.random((size, 1))).argmax(axis=1)
    return Evidence(temperature * true, gold, np.arange(size) // rows)


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


# -- definitions -------------------------------------------------------------------------------------------------------


def ece_by_definition(confidence: list[float], right: list[bool]) -> float:
    """Equation 3 of Guo et al., as a loop over the bins ((m - 1) / M, m / M]."""
    total = 0.0
    for m in range(1, BINS + 1):
        low, high = (m - 1) / BINS, m / BINS
        members = [i for i, c in enumerate(confidence) if low < c <= high or (m == 1 and c == 0)]
        if members:
            accuracy = sum(right[i] for i in members) / len(members)
            mean = math.fsum(confidence[i] for i in members) / len(members)
            total += len(members) / len(confidence) * abs(accuracy - mean)
    return total


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=200))
def test_ece_is_the_one_of_its_definition(rows: list[tuple[float, bool]]) -> None:
    confidence, right = map(list, zip(*rows, strict=True))
    edges = [m / BINS for m in range(BINS + 1)]
    confidence = [c for c in confidence if min(abs(c - edge) for edge in edges) > 1e-12] or [0.4]
    right = right[: len(confidence)]
    assert ece(judged(confidence, right)) == pytest.approx(ece_by_definition(confidence, right), abs=1e-9)


def test_a_bin_holds_its_upper_end() -> None:
    found = bins(judged([0.0, 0.2, 1.0, 1 / 3], [True, True, False, True]))
    assert [(one["low"], one["high"], one["count"]) for one in found] == [
        (pytest.approx(m / BINS), pytest.approx((m + 1) / BINS), 1) for m in (0, 2, 4, 14)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_confidence_and_likelihood_are_those_of_the_softmax(seed: int) -> None:
    rng = np.random.default_rng(seed)
    evidence = drawn(rng, 300, 4, temperature=3.0)
    gold = evidence.gold.copy()
    gold[::7] = -1
    found = Evidence(evidence.logits, gold, evidence.row).judged(1.7)
    p = softmax(evidence.logits / 1.7)
    told = [-math.log(p[i, g]) for i, g in enumerate(gold) if g >= 0]
    assert nll(found) == pytest.approx(math.fsum(told) / len(told), abs=1e-9)
    np.testing.assert_allclose(found.confidence, p.max(axis=1), rtol=0, atol=1e-9)
    assert found.right.tolist() == [int(row.argmax()) == g for row, g in zip(p, gold, strict=True)]
    assert ece(found) == pytest.approx(ece_by_definition(p.max(axis=1).tolist(), found.right.tolist()), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_each_label_of_a_set_is_a_decision(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, gold = 3 * rng.normal(size=(80, 3)), rng.integers(2, size=(80, 3))
    found = Evidence(logits, gold, np.arange(80), each=True).judged(0.8)
    p = 1 / (1 + np.exp(-logits / 0.8))
    told = [-math.log(a if g else 1 - a) for a, g in zip(p.ravel(), gold.ravel(), strict=True)]
    assert nll(found) == pytest.approx(math.fsum(told) / len(told), abs=1e-9)
    assert ece(found) == pytest.approx(ece_by_definition(p.ravel().tolist(), (gold == 1).ravel().tolist()), abs=1e-9)
    assert found.row.tolist() == [i for i in range(80) for _ in range(3)]


# -- the temperature ---------------------------------------------------------------------------------------------------


def by_torch(evidence: Evidence) -> float:
    """The temperature with the least loss of torch's own functions, by L-BFGS."""
    log = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    logits, gold = torch.from_numpy(evidence.logits), torch.from_numpy(evidence.gold)
    optimiser = torch.optim.LBFGS(
        [log], max_iter=500, tolerance_grad=1e-14, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        scaled = logits / log.exp()
        if evidence.each:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(scaled, gold.double())
        else:
            loss = torch.nn.functional.cross_entropy(scaled, gold)
        loss.backward()
        return loss

    optimiser.step(closure)
    return float(log.detach().exp())


@pytest.mark.parametrize("temperature", [0.3, 0.8, 1.0, 1.6, 4.0])
@pytest.mark.parametrize("labels", [2, 9])
def test_the_temperature_is_the_one_that_torch_finds(temperature: float, labels: int) -> None:
    evidence = drawn(np.random.default_rng(labels), 500, labels, temperature=temperature)
    assert fit(evidence).value == pytest.approx(by_torch(evidence), rel=1e-5)


def test_the_temperature_of_sets_is_the_one_that_torch_finds() -> None:
    rng = np.random.default_rng(3)
    true = 2 * rng.normal(size=(300, 4))
    gold = (rng.random((300, 4)) < 1 / (1 + np.exp(-true))).astype(np.int64)
    evidence = Evidence(2.5 * true, gold, np.arange(300), each=True)
    found = fit(evidence)
    assert found.value == pytest.approx(by_torch(evidence), rel=1e-5)
    assert found.refused is None


@given(st.integers(0, 10_000), st.floats(0.2, 5), st.integers(30, 90), st.integers(2, 6))
def test_it_never_lowers_the_likelihood_and_changes_no_label(seed: int, factor: float, size: int, labels: int) -> None:
    evidence = drawn(np.random.default_rng(seed), size, labels, temperature=factor)
    found = fit(evidence)
    assert nll(found.after) <= nll(found.before) + 1e-12
    assert found.after.right.tolist() == found.before.right.tolist()
    if found.refused is None:
        assert nll(found.after) < nll(found.before)
        assert ece(found.after) < ece(found.before)


@given(
    st.lists(st.lists(st.floats(-9, 9), min_size=3, max_size=3), min_size=2, max_size=20),
    st.lists(st.floats(0.01, 0.99), min_size=3, max_size=3),
    st.floats(0.3, 19),
)
def test_thresholds_move_with_the_temperature(
    rows: list[list[float]], thresholds: list[float], temperature: float
) -> None:
    target = Target("multi_label_classification", LABELS, thresholds=tuple(thresholds))
    cuts = [math.log(t / (1 - t)) for t in thresholds]
    moved = target.tempered(temperature)
    for row in rows:
        if all(abs(a - b) > 1e-3 for a, b in zip(row, cuts, strict=True)):
            before, after = (np.array(row) / divisor for divisor in (1, temperature))
            assert moved.chosen(moved.answer(after)) == target.chosen(target.answer(before))


@pytest.mark.parametrize(("threshold", "temperature"), [(1e-300, 0.05), (1 - 1e-12, 0.05), (1.0, 2.0), (0.0, 2.0)])
def test_thresholds_at_the_ends_stay_within_them(threshold: float, temperature: float) -> None:
    (moved,) = Target("multi_label_classification", ("a",), thresholds=(threshold,)).tempered(temperature).thresholds
    assert 0 <= moved <= 1


def test_what_a_task_fits_on_are_its_own_probabilities() -> None:
    target = Target("single_label_classification", LABELS)
    logits = 4 * np.random.default_rng(0).normal(size=(50, 3))
    pairs = [
        (Text(Place("x", i), "", LABELS[i % 3] if i % 5 else "unseen"), target.answer(row))
        for i, row in enumerate(logits)
    ]
    evidence = Classify(target=target).evidence(pairs)
    assert evidence is not None
    gold = [i % 3 if i % 5 else -1 for i in range(50)]
    expected = Evidence(logits, np.array(gold), np.arange(50)).judged(1.9)
    found = evidence.judged(1.9)
    np.testing.assert_allclose(found.confidence, expected.confidence, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.log_likelihood, expected.log_likelihood, rtol=0, atol=1e-9)
    assert not found.right[::5].any()


# -- when it is not used -----------------------------------------------------------------------------------------------


def test_a_temperature_of_few_rows_is_refused() -> None:
    evidence = drawn(np.random.default_rng(0), 400, 3, temperature=4, rows=20)
    assert "20 rows are too few" in (fit(evidence).refused or "")


def test_rows_without_a_mistake_ask_for_certainty_and_get_nothing() -> None:
    evidence = drawn(np.random.default_rng(0), 100, 3, temperature=1)
    found = fit(Evidence(evidence.logits, evidence.logits.argmax(axis=1), evidence.row))
    assert "no mistake" in (found.refused or "")
    sure = Evidence(40 * evidence.logits, evidence.logits.argmax(axis=1), evidence.row)  # its likelihood is 1 as it is
    assert "no mistake" in (fit(sure).refused or "")
    gold = (evidence.logits > 0).astype(np.int64)
    assert "no mistake" in (fit(Evidence(evidence.logits, gold, evidence.row, each=True)).refused or "")


def test_random_labels_get_nothing() -> None:
    rng = np.random.default_rng(0)
    found = fit(Evidence(9 * rng.normal(size=(400, 3)), rng.integers(3, size=400), np.arange(400)))
    assert found.refused


def test_chance_passes_for_a_gain_in_about_one_of_twenty_fits() -> None:
    rng = np.random.default_rng(5)
    fits = [fit(drawn(rng, 300, 3, temperature=1)) for _ in range(200)]
    assert 2 <= sum(is_gain(one.before, one.after) for one in fits) <= 20
    clustered = [fit(drawn(rng, 900, 3, temperature=1.5, rows=9)) for _ in range(20)]
    assert all(one.refused is None for one in clustered)


# -- how it is told ----------------------------------------------------------------------------------------------------


def test_the_interval_holds_the_error_and_is_that_of_its_groups() -> None:
    found = drawn(np.random.default_rng(1), 600, 3, temperature=2).judged()
    told = described(found)
    low, high = told["intervals"]["ece"]
    assert 0 <= low <= told["ece"] == ece(found) <= high
    assert told["intervals"]["nll"][0] < told["nll"] < told["intervals"]["nll"][1]
    assert told == described(found)
    assert sum(one["count"] for one in told["bins"]) == told["decisions"] == 600
    copied = Judged(*(np.repeat(part, 3) for part in (found.confidence, found.right, found.log_likelihood, found.row)))
    same = described(copied)["intervals"]["ece"]  # copies of a row say nothing new
    assert same == pytest.approx([low, high], abs=1e-9)
    apart = described(
        Judged(*(np.repeat(p, 3) for p in (found.confidence, found.right, found.log_likelihood)), np.arange(1800))
    )
    assert apart["intervals"]["ece"][1] - apart["intervals"]["ece"][0] < high - low


def test_the_resampled_error_is_that_of_the_resample() -> None:
    from bertft.scoring.calibration import _units

    found = drawn(np.random.default_rng(2), 60, 3, temperature=2, rows=3).judged()
    units = _units(found, found.row, 20)
    weights = np.random.default_rng(0).integers(3, size=20)
    rows = [i for i in range(60) for _ in range(weights[found.row[i]])]
    again = Judged(*(part[rows] for part in (found.confidence, found.right, found.log_likelihood, found.row)))
    told = units.statistic(weights[None].astype(np.float64))
    assert told["ece"][0] == pytest.approx(ece(again), abs=1e-12)
    assert told["nll"][0] == pytest.approx(nll(again), abs=1e-12)


def test_one_row_has_no_interval_and_unknown_gold_no_likelihood() -> None:
    told = described(Judged(np.array([0.5, 0.9]), np.array([False, True]), np.full(2, np.nan), np.zeros(2, np.int64)))
    assert told.keys() == {"ece", "decisions", "bins"}


def test_reflected_intervals_stay_in_range() -> None:
    assert reflected(np.linspace(0.1, 0.5, 100), 50, 0.2)[0] == 0.0
    low, high = reflected(np.linspace(0.3, 0.5, 100), 50, 0.2)
    assert low == 0.0
    assert high >= 0.2


@pytest.mark.slow
@pytest.mark.parametrize(("size", "factor"), [(800, 1.15), (800, 1.5), (2000, 1.15)])
def test_intervals_hold_the_true_error(size: int, factor: float) -> None:
    rng = np.random.default_rng(0)
    truth = ece(drawn(rng, 2_000_000, 3, temperature=factor).judged())
    hits = 0
    for seed in range(400):
        low, high = described(drawn(rng, size, 3, temperature=factor).judged(), samples=500, seed=seed)["intervals"][
            "ece"
        ]
        hits += low <= truth <= high
    assert 0.87 <= hits / 400 <= 0.98


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=50))
def test_coverage_is_what_is_left_and_how_much_of_it_is_right(answers: list[tuple[float, bool]]) -> None:
    curve = coverage(*map(list, zip(*answers, strict=True))) if answers else coverage([], [])
    assert bool(curve) == bool(answers)
    for point in curve:
        kept = [right for score, right in answers if score >= point["min_score"]]
        assert point["answered"] == pytest.approx(len(kept) / len(answers))
        assert point["accuracy"] == (pytest.approx(sum(kept) / len(kept)) if kept else None)


# -- withheld answers --------------------------------------------------------------------------------------------------


def test_labels_are_withheld_by_the_score_that_is_printed() -> None:
    target = Target("single_label_classification", LABELS).at_least(0.9)
    sure, unsure = np.array([0.89996, 0.1, 0.00004]), np.array([0.89994, 0.1, 0.00006])
    assert target.render(sure, scores=False) == {"label": "a", "score": 0.9}
    assert target.render(unsure, scores=True) == {
        "label": None,
        "score": 0.8999,
        "scores": {"a": 0.8999, "b": 0.1, "c": 0.0001},
    }
    assert target.cells(unsure) == {"label": "", "score": "0.8999"}
    assert target.scores_of(unsure) == [0.8999]


def test_of_sets_those_labels_are_left_out() -> None:
    target = Target("multi_label_classification", LABELS, separator="|").at_least(0.8)
    answer = np.array([0.95, 0.7, 0.2])
    assert target.render(answer, scores=False) == {"labels": ["a"], "scores": {"a": 0.95}}
    assert target.render(answer, scores=True)["scores"] == {"a": 0.95, "b": 0.7, "c": 0.2}
    assert target.cells(answer) == {"label": "a", "score": "0.9500"}
    assert target.scores_of(answer) == [0.95, 0.7]


def test_values_have_no_score() -> None:
    with pytest.raises(UsageError, match="no score"):
        Target("regression", ("value",)).at_least(0.5)
