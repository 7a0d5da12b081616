"""Which recipe data is for, where its fields tell it, and what is asked where they do not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bertft.check.recipe_of import recipe_of
from bertft.errors import DataError, UsageError

SAMPLES = Path(__file__).parents[2] / "recipes" / "samples"


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("disputes.conll", "ner"),
        ("chunks.conll", "ner"),
        ("grammar.conllu", "ner"),
        ("reviews.csv", "classify"),
        ("warranty-qa.json", "qa"),
        ("similar.tsv", "pair"),
    ],
)
def test_the_fields_tell_the_recipe(name: str, recipe: str) -> None:
    assert recipe_of(str(SAMPLES / name)) == recipe


def test_what_two_tasks_can_read_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "both.jsonl"
    spans = [{"start": 0, "end": 3, "label": "X"}]
    rows = [{"text": f"one {i}", "entities": spans, "label": "yes" if i % 2 else "no"} for i in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UsageError) as caught:
        recipe_of(str(path))
    assert "can be for ner or classify" in str(caught.value)
    assert "`bertft recommend ner …`" in str(caught.value)


def test_what_no_task_can_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "numbers.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(UsageError) as caught:
        recipe_of(str(path))
    assert "tell no task" in str(caught.value)
    assert "--columns" in str(caught.value)


def test_a_missing_file_is_what_it_is() -> None:
    with pytest.raises(DataError):
        recipe_of("not-there.csv")


def test_columns_that_are_named_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("a,b\n" + "".join(f"some words {i},{'x' if i % 2 else 'y'}\n" for i in range(9)))
    assert recipe_of(str(path), columns={"text": "a", "label": "b"}) == "classify"
