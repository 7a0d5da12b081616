"""Holding out and folds: whole groups, about the share that is asked for, every label still there to train on."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import hypothesis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertft.errors import DataError
from bertft.training.split import folds, groups, hold_out, sample


class Example(NamedTuple):
    number: int
    keys: tuple[int, ...]
    labels: tuple[str, ...]


Parts = tuple[list[Example], list[Example]]


def split(examples: list[Example], share: float = 0.1, seed: int = 13) -> Parts:
    return hold_out(examples, share=share, seed=seed, keys=lambda x: x.keys, labels=lambda x: x.labels)


def cut(examples: list[Example], count: int, seed: int = 13) -> list[Parts]:
    return folds(examples, count=count, seed=seed, keys=lambda x: x.keys, labels=lambda x: x.labels)


def rows(count: int, groups: int, labels: tuple[str, ...] = ("A", "B")) -> list[Example]:
    return [Example(i, (i % groups,), labels) for i in range(count)]


def keys_of(examples: list[Example]) -> set[int]:
    return {key for example in examples for key in example.keys}


def components(examples: list[Example]) -> int:
    """Count groups by merging sets of keys until none meet; an example without a key is a group by itself."""
    found: list[set[int]] = []
    for example in examples:
        mine = set(example.keys)
        for other in [group for group in found if group & mine]:
            mine |= other
            found.remove(other)
        found.append(mine)
    return len(found)


EXAMPLES = st.lists(
    st.tuples(
        st.lists(st.integers(0, 20), max_size=2).map(tuple),
        st.lists(st.sampled_from("ABCD"), max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=40,
).map(lambda drawn: [Example(i, keys, labels) for i, (keys, labels) in enumerate(drawn)])


def test_those_who_share_a_key_through_others_are_together() -> None:
    chain = [Example(0, (1, 2), ()), Example(1, (3, 4), ()), Example(2, (5,), ()), Example(3, (2, 3), ())]
    assert groups(chain, lambda x: x.keys) == [[0, 1, 3], [2]]


@settings(max_examples=150)
@hypothesis.example(examples=[Example(0, (0,), ()), Example(1, (), ()), Example(2, (0,), ())], share=0.5, seed=1)
@given(examples=EXAMPLES, share=st.floats(0.01, 0.6), seed=st.integers(0, 99))
def test_no_row_is_lost_and_no_key_is_on_both_sides(examples: list[Example], share: float, seed: int) -> None:
    if components(examples) < 2:
        with pytest.raises(DataError, match="--dev"):
            split(examples, share, seed)
        return
    train, held = split(examples, share, seed)
    assert train
    assert held
    assert sorted(train + held) == examples
    assert train == sorted(train)
    assert held == sorted(held)
    assert not keys_of(train) & keys_of(held)


@settings(max_examples=150)
@given(examples=EXAMPLES, count=st.integers(2, 6), seed=st.integers(0, 99))
def test_folds_hold_each_row_out_once_and_no_key_is_on_both_sides(
    examples: list[Example], count: int, seed: int
) -> None:
    if components(examples) < count:
        with pytest.raises(DataError, match="fewer folds"):
            cut(examples, count, seed)
        return
    parts = cut(examples, count, seed)
    assert len(parts) == count
    assert sorted(example for _, held in parts for example in held) == examples
    for train, held in parts:
        assert held
        assert train == sorted(train)
        assert held == sorted(held)
        assert sorted(train + held) == examples
        assert not keys_of(train) & keys_of(held)


@settings(max_examples=150)
@given(seed=st.integers(0, 9999), share=st.floats(0.05, 0.5))
def test_every_label_is_still_in_train(seed: int, share: float) -> None:
    examples = [*rows(40, 20), Example(40, (20,), ("RARE",)), Example(41, (21,), ("A", "SCARCE"))]
    train, held = split(examples, share, seed)
    assert {label for example in train for label in example.labels} == {"A", "B", "RARE", "SCARCE"}
    assert held


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("seed", range(5))
def test_about_the_share_is_held_out(share: float, seed: int) -> None:
    _, held = split(rows(400, 200), share, seed)
    assert share * 400 <= len(held) <= share * 400 + 2


LABELLED = [Example(i, (), (label,)) for i, label in enumerate("A" * 600 + "B" * 280 + "C" * 100 + "D" * 20)]


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_each_label_gives_its_share(share: float, seed: int) -> None:
    _, held = split(LABELLED, share, seed)
    assert Counter(x.labels[0] for x in held) == {"A": 600 * share, "B": 280 * share, "C": 100 * share, "D": 20 * share}


@pytest.mark.parametrize("count", [2, 3, 7, 10])
@pytest.mark.parametrize("seed", range(3))
def test_folds_are_alike_in_labels_and_in_size(count: int, seed: int) -> None:
    held = [Counter(x.labels[0] for x in part) for _, part in cut(LABELLED, count, seed)]
    for label in "ABCD":
        numbers = [fold[label] for fold in held]
        assert max(numbers) - min(numbers) <= 1
    sizes = [fold.total() for fold in held]
    assert max(sizes) - min(sizes) <= 1


@settings(max_examples=60)
@given(
    labels=st.lists(st.sampled_from("ABCDEF"), min_size=12, max_size=60),
    count=st.integers(2, 5),
    seed=st.integers(0, 99),
)
def test_a_label_with_two_rows_is_in_every_fold_s_train(labels: list[str], count: int, seed: int) -> None:
    examples = [Example(i, (), (label,)) for i, label in enumerate(labels)]
    twice = {label for label, n in Counter(labels).items() if n > 1}
    for train, _ in cut(examples, count, seed):
        assert twice <= {x.labels[0] for x in train}


@pytest.mark.parametrize("seed", range(5))
def test_rows_without_labels_are_cut_into_folds_of_one_size(seed: int) -> None:
    sizes = [len(held) for _, held in cut(rows(101, 101, ()), 4, seed)]
    assert sorted(sizes) == [25, 25, 25, 26]


@pytest.mark.parametrize("seed", range(5))
def test_a_group_far_over_the_share_stays_in_train(seed: int) -> None:
    examples = [Example(i, (0 if i < 60 else i,), ("A",)) for i in range(100)]
    _, held = split(examples, 0.1, seed)
    assert 0 not in keys_of(held)
    assert len(held) == 10


def test_the_seed_decides() -> None:
    examples = rows(200, 100)
    assert split(examples, seed=1) == split(examples, seed=1)
    assert len({tuple(split(examples, seed=seed)[1]) for seed in range(5)}) == 5
    assert cut(examples, 3, seed=1) == cut(examples, 3, seed=1)
    assert len({tuple(cut(examples, 3, seed=seed)[0][1]) for seed in range(5)}) == 5


def test_two_groups_are_enough() -> None:
    examples = [Example(0, (0,), ("A",)), Example(1, (1,), ("A",))]
    train, held = split(examples)
    assert len(train) == len(held) == 1
    assert sorted(held for _, held in cut(examples, 2)) == [[examples[0]], [examples[1]]]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_one_group_cannot_be_split(count: int) -> None:
    with pytest.raises(DataError) as caught:
        split(rows(count, 1))
    assert "--dev" in str(caught.value)


def test_a_sample_is_the_beginning_of_a_larger_one() -> None:
    rows = list(range(100))
    small, large = (sample(rows, count, seed=5) for count in (10, 60))
    assert large[:10] == small
    assert len({*large}) == 60
    assert sample(rows, 10, seed=6) != small
    assert sorted(sample(rows, 1000, seed=5)) == rows


def test_small_groups_of_a_sample_stay_whole() -> None:
    rows = [(question, i) for question in range(50) for i in range(4)]
    found = sample(rows, 80, seed=1, keys=lambda row: (row[0],))
    assert len(found) == 80
    assert all(sum(other[0] == row[0] for other in found) == 4 for row in found)
    of_large = sample(rows, 20, seed=1, keys=lambda row: (row[0],))
    assert len(of_large) == 20
    assert len({question for question, _ in of_large}) > 5
