"""What rows are labelled with: found in the data, printed, settable; labels go by name between files."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from bertft.data.row import Place, Row
from bertft.errors import DataError, UsageError
from bertft.tasks.classify import Classify
from bertft.tasks.labels import Raw, raw_label, sorted_labels
from bertft.tasks.target import Target, TargetOptions, learn, objective

SINGLE, MULTI, VALUE = "single_label_classification", "multi_label_classification", "regression"
Rows = list[tuple[Raw | None, Place]]


def rows(labels: list[Any], path: str = "train.csv") -> Rows:
    return [(raw_label(label, Place(path, i)), Place(path, i)) for i, label in enumerate(labels, 2)]


def learnt(labels: list[Any], **options: Any) -> Target:
    return learn(TargetOptions(**options), rows(labels))[0]


COMPLAINTS = ["Credit card, prepaid", "Mortgage", "Payday loan, title loan, or personal loan", "Student loan"]


@pytest.mark.parametrize(
    ("labels", "problem", "names"),
    [
        (["pos", "neg", "pos"], SINGLE, ("neg", "pos")),
        (["0", "1", "1"], SINGLE, ("0", "1")),
        ([0, 1, 1, 0], SINGLE, ("0", "1")),
        ([1, 0, 1.0, 0.0], SINGLE, ("0", "1")),  # JSON has one kind of number
        ([True, False, True], SINGLE, ("false", "true")),
        (["True", "False"], SINGLE, ("False", "True")),
        (["YES", "NO", "NA", ""], SINGLE, ("", "NA", "NO", "YES")),
        (["nan", "inf", "nan"], SINGLE, ("inf", "nan")),
        (["1_000", "2_000", "3_500"], SINGLE, ("1_000", "2_000", "3_500")),
        (["1e999", "2", "3.5"], SINGLE, ("1e999", "2", "3.5")),
        (["٣", "1.5", "2.5"], SINGLE, ("1.5", "2.5", "٣")),
        (["10", "2", "1"], SINGLE, ("1", "2", "10")),
        (["1", "2", "3", "4", "5"] * 20, SINGLE, ("1", "2", "3", "4", "5")),
        (["0.5", "1.5"] * 5, SINGLE, ("0.5", "1.5")),
        (["3.8", "2.25", "5"], VALUE, ("value",)),
        ([3.8, 2, 5.25], VALUE, ("value",)),
        (["-1e-3", "+2.5", " .5 "], VALUE, ("value",)),
        ([str(n) for n in range(100, 160)], VALUE, ("value",)),  # counts, prices: nearly all of them different
        ([str(n % 60) for n in range(600)], SINGLE, tuple(map(str, range(60)))),  # ids of 60 classes
        ([["a"], ["b"], ["a"]], SINGLE, ("a", "b")),
        ([["a", "b"], ["b"], []], MULTI, ("a", "b")),
        ([[27], [4, 27], [10]], MULTI, ("4", "10", "27")),
        (["27", "4,27", "4", "10", "10,4"], MULTI, ("4", "10", "27")),
        (["joy|anger", "joy", "anger", "fear", "fear|joy"], MULTI, ("anger", "fear", "joy")),
        (["joy; anger", "joy", "anger", ""], MULTI, ("anger", "joy")),
        (COMPLAINTS * 5, SINGLE, tuple(sorted(COMPLAINTS))),
        (
            ["Paris, France", "Lyon, France", "Rome, Italy"] * 9,
            SINGLE,
            ("Lyon, France", "Paris, France", "Rome, Italy"),
        ),
    ],
)
def test_what_is_meant_is_read_off_the_labels(labels: list[Any], problem: str, names: tuple[str, ...]) -> None:
    target, notes = learn(TargetOptions(), rows(labels))
    assert (target.problem_type, target.labels) == (problem, names)
    assert len(notes) == 1 + ("" in names)
    assert problem.replace("_", " ") in notes[0]


def test_doubtful_labels_are_said() -> None:
    _, notes = learn(TargetOptions(), rows(["yes", "Yes", "no", "", "", "3", "3.0"]))
    assert notes[1:] == [
        "empty labels: 2, learnt as a label like others",
        "the labels '3' and '3.0' are learnt as 2, though they look like one",
        "the labels 'Yes' and 'yes' are learnt as 2, though they look like one",
    ]


@pytest.mark.parametrize(
    ("labels", "other", "own"),
    [
        ([True, False], "True", "true"),
        (["4", "5"], "4.0", "4"),
        (["4.0", "5.0"], 4, "4.0"),
        (["pos", "neg"], " pos ", "pos"),
        (["pos", "neg"], "POS", "pos"),
        (["1", "2"], "1.0", "1"),
    ],
)
def test_a_label_written_in_another_way_is_the_same_label(labels: list[Any], other: Any, own: str) -> None:
    target = learnt(labels)
    (row,) = rows([other])
    assert target.names(row[0]) == (own,)
    assert target.loss_target(*row) == target.labels.index(own)
    written = str(other).strip()
    said = [f"label {written!r} (1 times) is read as {own!r}"] if written != own else []
    assert target.unknown([row]) == said


@pytest.mark.parametrize("label", ["01", "1e0", "9007199254740993", "1.5"])
def test_other_numbers_are_other_labels(label: str) -> None:
    target = learnt(["1", "2", "9007199254740992", "1.50"], problem_type=SINGLE)
    assert target.names(label) == (label,)


def test_labels_in_another_writing_are_parted_and_counted() -> None:
    target = learnt([["joy", "anger"], ["joy"], ["fear"]])
    assert target.names("Joy|Anger") == ("joy", "anger")
    many = learnt([f"label {i}" for i in range(9)])
    assert len(many.unknown(rows([f"LABEL {i}" for i in range(9)]))) == 6


def test_a_label_that_could_be_two_is_neither() -> None:
    target = learnt(["pos", "Pos", "neg"])
    (row,) = rows(["POS"])
    assert target.names(row[0]) == ("POS",)


@pytest.mark.parametrize(
    ("labels", "options", "problem", "names"),
    [
        (["1", "2", "3"], {"problem_type": VALUE}, VALUE, ("value",)),
        (["3.8", "2.25", "5"], {"problem_type": SINGLE}, SINGLE, ("2.25", "3.8", "5")),
        (["joy|anger", "joy", "anger", "joy|anger"], {"problem_type": SINGLE}, SINGLE, ("anger", "joy", "joy|anger")),
        (COMPLAINTS, {"separator": ", "}, MULTI, tuple(sorted({p for c in COMPLAINTS for p in c.split(", ")}))),
        (["a/b", "c"], {"separator": "/"}, MULTI, ("a", "b", "c")),
        (["a|b", "c|d"], {"problem_type": MULTI}, MULTI, ("a", "b", "c", "d")),
        (["a", "b", ""], {"problem_type": MULTI}, MULTI, ("a", "b")),
    ],
)
def test_what_is_meant_can_be_set(
    labels: list[Any], options: dict[str, Any], problem: str, names: tuple[str, ...]
) -> None:
    target = learnt(labels, **options)
    assert (target.problem_type, target.labels) == (problem, names)


def test_the_note_says_what_was_seen() -> None:
    assert learn(TargetOptions(), rows(["27", "4,27", "4", "4"]))[1] == [
        "multi label classification: many labels are several, with ',' between them; labels are separated by ','; "
        "2 labels"
    ]
    note = learn(TargetOptions(), rows(["1.5", "2.5", "5"]))[1][0]
    assert "3 values from 1.5 to 5, mean 3" in note


@pytest.mark.parametrize(
    ("labels", "options", "fact"),
    [
        (["2.5", "2.5", "2.5"], {"problem_type": VALUE}, "all values are 2.5"),
        (["0.1", "0.1", "0.1"], {"problem_type": VALUE}, "all values are 0.1"),  # whose mean is not 0.1
        (["1.5", "2.5", "n/a"], {"problem_type": VALUE}, "'n/a' is no number"),
        (["1.5", "2.5", "nan"], {"problem_type": VALUE}, "'nan' is no number"),
        (["1.5", "inf", "2.5"], {"problem_type": VALUE}, "'inf' is no number"),
        (["1.5", "2.5", "1_000"], {"problem_type": VALUE}, "'1_000' is no number"),
        (["1.5", "2.5", ""], {"problem_type": VALUE}, "'' is no number"),
        ([[1.5], [2.5]], {"problem_type": VALUE}, "is no number"),
        (["spam", "spam"], {}, "all rows have the label 'spam'"),
        ([[], []], {}, "no row has a label"),
        ([["a", "b"], ["c"]], {"problem_type": SINGLE}, "2 labels, where one is needed"),
    ],
)
def test_what_cannot_be_learnt_is_refused(labels: list[Any], options: dict[str, Any], fact: str) -> None:
    with pytest.raises(DataError) as caught:
        learnt(labels, **options)
    assert fact in caught.value.fact
    assert str(caught.value.place).startswith("train.csv:")


def test_the_row_that_is_wrong_is_named() -> None:
    with pytest.raises(DataError) as caught:
        learnt(["1.5", "2.5", "3.5", "n/a"], problem_type=VALUE)
    assert caught.value.place == Place("train.csv", 5)


@pytest.mark.parametrize("label", [None, math.nan, {"a": 1}, [None], [["a"]]])
def test_what_is_no_label_is_refused(label: object) -> None:
    with pytest.raises(DataError) as caught:
        raw_label(label, Place("train.jsonl", 7))
    assert caught.value.place == Place("train.jsonl", 7)


def test_half_a_surrogate_pair_does_not_end_a_run() -> None:
    assert json.dumps(raw_label("a\ud800", Place("x", 1))) == '"a?"'


@given(numbers=st.sets(st.integers(-(10**6), 10**6), min_size=1), seed=st.integers(0, 9))
def test_numeric_labels_sort_as_numbers(numbers: set[int], seed: int) -> None:
    shuffled = [str(n) for n in sorted(numbers)]
    random.Random(seed).shuffle(shuffled)
    assert [int(label) for label in sorted_labels(shuffled)] == sorted(numbers)


@given(labels=st.lists(st.lists(st.sampled_from(["a b", "c", "7", "NO"]), unique=True, min_size=1), min_size=1))
def test_a_list_and_a_separated_string_are_the_same_labels(labels: list[list[str]]) -> None:
    target = Target(MULTI, ("a b", "c", "7", "NO"), "|")
    place = Place("x", 1)
    for row in labels:
        assert target.names(raw_label(row, place)) == target.names(" | ".join(row)) == tuple(row)
        assert target.loss_target("|".join(row), place) == [float(x in row) for x in ("a b", "c", "7", "NO")]


# -- another file ------------------------------------------------------------------------------------------------------


def test_labels_that_training_has_not_seen_are_named_once_with_their_place() -> None:
    target = learnt(["billing", "refund"])
    warnings = target.unknown(rows(["refund", "biling", "biling", "quux"], "dev.csv"))
    assert len(warnings) == 2
    assert "'biling' (2 times, first at dev.csv:3)" in warnings[0]
    assert "did you mean 'billing'?" in warnings[0]
    assert "'quux' (1 times, first at dev.csv:5)" in warnings[1]
    assert "did you mean" not in warnings[1]


def test_of_many_unseen_labels_the_most_frequent_are_named_and_the_rest_is_counted() -> None:
    target = learnt(["billing", "refund"])
    unseen = [f"new{n}" for n in range(8) for _ in range(n + 1)]
    warnings = target.unknown(rows(["refund", *unseen], "dev.csv"))
    assert len(warnings) == 6
    assert [warning.split("'")[1] for warning in warnings[:5]] == ["new7", "new6", "new5", "new4", "new3"]
    assert warnings[5].startswith("3 more labels (6 times)")


def test_a_file_of_unknown_labels_is_refused() -> None:
    target = learnt(["billing", "refund"])
    with pytest.raises(DataError) as caught:
        target.unknown(rows(["0", "1"], "dev.csv"))
    assert caught.value.place == Place("dev.csv", 2)
    assert "'billing', 'refund'" in str(caught.value)


def test_labels_in_another_order_keep_their_ids() -> None:
    target = learnt(["b", "a", "c"])
    place = Place("dev.csv", 2)
    assert [target.loss_target(label, place) for label in ("a", "b", "c", "new")] == [0, 1, 2, None]


@pytest.mark.parametrize(
    ("train", "other", "fact"),
    [
        (["1.5", "2.5", "3"], ["2", "oops"], "'oops' is no number"),
        (["a", "b"], ["a", ["a", "b"]], "2 labels, where one is needed"),
    ],
)
def test_a_dev_file_that_cannot_be_scored_is_refused_when_it_is_read(
    train: list[Any], other: list[Any], fact: str
) -> None:
    def task(labels: list[Any], base: Classify, path: str) -> tuple[Classify, list[Any]]:
        parsed = [
            base.parse(Row(Place(path, i), {"text": "x", "label": label}), labelled=True)
            for i, label in enumerate(labels, 1)
        ]
        return base, parsed

    base, examples = task(train, Classify(), "train")
    ready, _ = base.prepare(examples)
    with pytest.raises(DataError, match=fact) as caught:
        ready.convert(task(other, ready, "dev")[1])
    assert caught.value.place == Place("dev", 2)


# -- weights and other settings ----------------------------------------------------------------------------------------


def weights(labels: list[Any], **options: Any) -> tuple[float, ...] | None:
    chosen = TargetOptions(**options)
    target, _ = learn(chosen, rows(labels))
    return objective(chosen, target, [raw for raw, _ in rows(labels)], None).weights


@given(labels=st.lists(st.sampled_from("abcd"), min_size=2).filter(lambda drawn: len(set(drawn)) > 1))
def test_automatic_class_weights_are_those_of_scikit_learn(labels: list[str]) -> None:
    expected = compute_class_weight("balanced", classes=np.array(sorted(set(labels))), y=labels)
    assert weights(labels, class_weights="auto") == pytest.approx(list(expected), abs=1e-9)


@given(labels=st.lists(st.lists(st.sampled_from("abc"), unique=True), min_size=2).filter(lambda drawn: any(drawn)))
def test_automatic_weights_of_label_sets_balance_yes_and_no(labels: list[list[str]]) -> None:
    chosen = TargetOptions(problem_type=MULTI)
    target, _ = learn(chosen, rows(labels))
    found = weights(labels, problem_type=MULTI, class_weights="auto") or ()
    for label, weight in zip(target.labels, found, strict=True):
        positives = sum(label in row for row in labels)
        assert weight > 0  # a label that all rows have is to be learnt too
        assert weight * positives == pytest.approx(max(len(labels) - positives, 1))


@pytest.mark.parametrize(
    ("labels", "given", "expected"),
    [
        (["a", "b", "c"], {"b": 3}, (1.0, 3.0, 1.0)),
        (["0", "1"], {1: 5.0}, (1.0, 5.0)),  # YAML reads the label as a number
        (["0", "1"], {"1": 0}, (1.0, 0.0)),
        (["True", "False"], {True: 2}, (1.0, 2.0)),
        (["a", "b"], None, None),
    ],
)
def test_class_weights_go_by_name(labels: list[str], given: Any, expected: Any) -> None:
    assert weights(labels, class_weights=given) == expected


@pytest.mark.parametrize(
    ("options", "fact", "help"),
    [
        ({"class_weights": {"refnd": 2}}, "'refnd' is no label", "did you mean 'refund'?"),
        ({"class_weights": {7: 2}}, "'7' is no label", "labels are billing, refund"),
        ({"class_weights": {"refund": -1}}, "-1 is no weight of 'refund'", ""),
        ({"class_weights": {"refund": math.nan}}, "nan is no weight of 'refund'", ""),
        ({"class_weights": {"refund": math.inf}}, "inf is no weight of 'refund'", ""),
        ({"class_weights": {"refund": True}}, "True is no weight of 'refund'", ""),
        ({"class_weights": {"refund": "high"}}, "'high' is no weight of 'refund'", ""),
        ({"label_smoothing": 1.5}, "options.label_smoothing: 1.5", ""),
        ({"label_smoothing": -0.1}, "options.label_smoothing: -0.1", ""),
        ({"focal_gamma": -1}, "options.focal_gamma: -1", ""),
    ],
)
def test_settings_that_cannot_be_are_said(options: dict[str, Any], fact: str, help: str) -> None:
    with pytest.raises(UsageError) as caught:
        weights(["billing", "refund"], **options)
    assert fact in caught.value.fact
    assert help in (caught.value.help or "")


@pytest.mark.parametrize("options", [{"class_weights": "auto"}, {"label_smoothing": 0.1}, {"focal_gamma": 2.0}])
def test_what_is_set_for_labels_is_refused_for_values(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"options.{next(iter(options))}: a regression"):
        weights(["1.5", "2.5", "4"], **options)


# -- answers -----------------------------------------------------------------------------------------------------------


def test_an_answer_is_the_likeliest_label_with_its_probability() -> None:
    target = Target(SINGLE, ("a", "b", "c"))
    answer = target.answer(np.log(np.array([0.2, 0.7, 0.1], dtype=np.float32)) + 900)
    assert target.render(answer, scores=False) == {"label": "b", "score": 0.7}
    assert target.render(answer, scores=True)["scores"] == {"a": 0.2, "b": 0.7, "c": 0.1}
    assert target.cells(answer) == {"label": "b", "score": "0.7000"}


def test_a_set_is_what_reaches_its_thresholds() -> None:
    target = Target(MULTI, ("a", "b", "c"), ";", thresholds=(0.5, 0.2, 0.9))
    answer = target.answer(np.array([0.0, -1.0, 2.0], dtype=np.float32))
    expected = {"a": 0.5, "b": 0.2689, "c": 0.8808}
    assert target.render(answer, scores=False) == {"labels": ["a", "b"], "scores": {"a": 0.5, "b": 0.2689}}
    assert target.render(answer, scores=True) == {"labels": ["a", "b"], "scores": expected}
    assert target.cells(answer) == {"label": "a;b", "score": "0.5000;0.2689"}
    assert target.cells(np.zeros(3)) == {"label": "", "score": ""}


@pytest.mark.parametrize("logit", [-1e4, 1e4])
@pytest.mark.parametrize("problem", [SINGLE, MULTI])
def test_huge_logits_are_probabilities_still(problem: Any, logit: float) -> None:
    answer = Target(problem, ("a", "b")).answer(np.array([logit, 0], dtype=np.float32))
    assert np.isfinite(answer).all()
    assert answer[0] == pytest.approx(float(logit > 0))


def test_thresholds_are_tuned_where_there_are_enough_positives() -> None:
    """`rare` has 4 positives, fewer than 10, and shares the threshold that is best for all labels together."""
    target = Target(MULTI, ("often", "rare"))
    raws: list[Raw] = [("often",)] * 20 + [("rare",)] * 4 + [()] * 20
    often = [0.3] * 20 + [0.1] * 24
    rare = [0.1] * 20 + [0.31] * 4 + [0.2] * 20
    tuned = target.tune(raws, [np.array(pair) for pair in zip(often, rare, strict=True)])
    assert tuned.thresholds == pytest.approx((0.2, 0.25))
    assert Target.restore(json.loads(json.dumps(tuned.state()))) == tuned


def test_an_unknown_gold_label_is_scored_as_missed() -> None:
    target = Target(SINGLE, ("a", "b"))
    golds: Rows = [("a", Place("dev", 1)), ("new", Place("dev", 2))]
    answers = [np.array([0.9, 0.1]), np.array([0.8, 0.2])]
    scores = target.score(golds, answers)
    assert scores["accuracy"] == 0.5
    assert scores["per_label"]["new"]["support"] == 1
    assert target.references(golds, answers) == ([0, 2], [0, 0])


@pytest.mark.parametrize(("golds", "fact"), [([], "no row"), ([(None, Place("dev", 3))], "no label")])
def test_there_must_be_something_to_score(golds: Rows, fact: str) -> None:
    with pytest.raises(DataError, match=fact):
        Target(SINGLE, ("a", "b")).score(golds, [np.array([0.5, 0.5]) for _ in golds])


@pytest.mark.parametrize(
    ("labels", "config", "problem"),
    [
        (["LABEL_0"], {}, VALUE),
        (["neg", "pos"], {}, SINGLE),
        (["neg", "pos"], {"problem_type": MULTI}, MULTI),
        (["neg", "pos"], {"problem_type": "nonsense"}, SINGLE),
    ],
)
def test_a_plain_model_says_itself_what_it_predicts(labels: list[str], config: dict[str, Any], problem: str) -> None:
    target = Target.of_model(labels, config)
    assert (target.problem_type, target.labels) == (problem, tuple(labels))


def test_a_model_that_learnt_lists_reads_the_strings_of_another_file() -> None:
    place = Place("train.jsonl", 1)
    target, _ = learn(TargetOptions(), [(("a", "b"), place), (("b",), place), ((), place)])
    assert target.names("a|b") == target.names("b, a")[::-1] == ("a", "b")
    assert target.names("a/b") == ("a/b",)
