"""Holding out: whole groups, about the share that is asked for, every label still there to train on."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertft.errors import DataError
from bertft.training.split import hold_out


class Example(NamedTuple):
    number: int
    group: int
    labels: tuple[str, ...]


def split(examples: list[Example], share: float = 0.1, seed: int = 13) -> tuple[list[Example], list[Example]]:
    return hold_out(examples, share=share, seed=seed, group=lambda x: x.group, labels=lambda x: x.labels)


def rows(count: int, groups: int, labels: tuple[str, ...] = ("A", "B")) -> list[Example]:
    return [Example(i, i % groups, labels) for i in range(count)]


EXAMPLES = st.lists(
    st.tuples(st.integers(0, 12), st.lists(st.sampled_from("ABCD"), max_size=3).map(tuple)), min_size=1, max_size=40
).map(lambda drawn: [Example(i, group, labels) for i, (group, labels) in enumerate(drawn)])


@settings(max_examples=150)
@given(examples=EXAMPLES, share=st.floats(0.01, 0.6), seed=st.integers(0, 99))
def test_no_row_is_lost_and_no_group_is_split(examples: list[Example], share: float, seed: int) -> None:
    if len({example.group for example in examples}) < 2:
        with pytest.raises(DataError, match="--dev"):
            split(examples, share, seed)
        return
    train, held = split(examples, share, seed)
    assert train
    assert held
    assert sorted(train + held) == examples
    assert train == sorted(train)
    assert held == sorted(held)
    assert not {example.group for example in train} & {example.group for example in held}


@settings(max_examples=150)
@given(seed=st.integers(0, 9999), share=st.floats(0.05, 0.5))
def test_every_label_is_still_in_train(seed: int, share: float) -> None:
    examples = [*rows(40, 20), Example(40, 20, ("RARE",)), Example(41, 21, ("A", "SCARCE"))]
    train, held = split(examples, share, seed)
    assert {label for example in train for label in example.labels} == {"A", "B", "RARE", "SCARCE"}
    assert held


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("seed", range(5))
def test_about_the_share_is_held_out(share: float, seed: int) -> None:
    _, held = split(rows(400, 200), share, seed)
    assert share * 400 <= len(held) <= share * 400 + 2


@pytest.mark.parametrize("seed", range(5))
def test_a_group_far_over_the_share_stays_in_train(seed: int) -> None:
    examples = [Example(i, 0 if i < 60 else i, ("A",)) for i in range(100)]
    _, held = split(examples, 0.1, seed)
    assert 0 not in {example.group for example in held}
    assert len(held) == 10


def test_the_seed_decides() -> None:
    examples = rows(200, 100)
    assert split(examples, seed=1) == split(examples, seed=1)
    assert len({tuple(split(examples, seed=seed)[1]) for seed in range(5)}) == 5


def test_two_groups_are_enough() -> None:
    train, held = split([Example(0, 0, ("A",)), Example(1, 1, ("A",))])
    assert len(train) == len(held) == 1


@pytest.mark.parametrize("count", [0, 1, 5])
def test_one_group_cannot_be_split(count: int) -> None:
    with pytest.raises(DataError) as caught:
        split(rows(count, 1))
    assert "--dev" in str(caught.value)
