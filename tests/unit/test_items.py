"""Items: what went in comes out, whatever a window's target is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertft.data.row import Place
from bertft.errors import DataError
from bertft.tasks.base import IGNORED, Objective, Window
from bertft.training.items import Items, collect

IDS = st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=9)


@given(data=st.data(), kind=st.sampled_from(["tokens", "class", "labels", "value", "span"]))
def test_windows_come_back_as_they_were(data: st.DataObject, kind: str) -> None:
    def target(ids: list[int]) -> Any:
        return {
            "tokens": tuple(-100 if i % 2 else i % 5 for i in ids),
            "class": len(ids),
            "labels": (0.0, 1.0, float(len(ids) % 2)),
            "value": len(ids) / 7,
            "span": (0, len(ids) - 1),
        }[kind]

    ids = data.draw(st.lists(st.lists(IDS, min_size=1, max_size=3), min_size=1, max_size=6))
    groups = [[Window(0, one, [len(one) % 2] * len(one), target(one)) for one in group] for group in ids]
    items = Items()
    places = [Place(f"{i // 2}.csv", 3 * i) for i in range(len(groups))]
    for group, place in zip(groups, places, strict=True):
        items.add(group, place)
    assert [items.place(i) for i in range(len(items))] == places
    assert [items[i] for i in range(len(items))] == groups
    assert items.windows.tolist() == [len(group) for group in groups]
    assert items.longest.tolist() == [max(len(window.input_ids) for window in group) for group in groups]
    with pytest.raises(IndexError):
        items[len(groups)]


PLACES = [Place("a.csv", 1), Place("a.csv", 2)]


def window(example: int, target: Any) -> Window:
    return Window(example, [1, 2, 3], [0, 0, 0], target)


def test_windows_that_teach_nothing_are_left_out() -> None:
    chunks = [(PLACES, [window(0, (IGNORED, 1, IGNORED)), window(0, (IGNORED,) * 3)])]
    items, notes = collect(chunks, Objective("tokens"), path="a.conll")
    assert len(items) == 1
    assert notes == ["1 windows own no word with a known label and are left out of training"]
    with pytest.raises(DataError, match="no window has anything to learn from"):
        collect([(PLACES, [window(0, None)])], Objective("classes"), path="a.csv")


def test_the_windows_of_an_example_stay_together_and_are_eight_at_most() -> None:
    many = [window(0, i) for i in range(15)]
    items, notes = collect(
        [(PLACES, [*many, window(1, 1)]), (PLACES[1:], [window(0, 2)])],
        Objective("classes", over_windows="mean"),
        path="a.csv",
    )
    assert [items.place(i).line for i in range(3)] == [1, 2, 2]
    assert items.windows.tolist() == [8, 1, 1]
    assert [one.target for one in items[0]] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert notes == ["training reads 8 windows of the 1 texts that have more"]
