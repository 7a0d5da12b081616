"""How an error reads, and what the process ends with."""

from __future__ import annotations

import pytest

from bertft.data.row import Place
from bertft.errors import (
    BertftError,
    DataError,
    GateError,
    ModelError,
    UsageError,
    did_you_mean,
    printable,
)


def test_the_fact_then_the_place_then_the_way_out() -> None:
    error = DataError("tag 'B-PRE' is unknown", place=Place("data/dev.conll", 1042), help="did you mean 'B-PER'?")
    assert str(error) == "tag 'B-PRE' is unknown\n  --> data/dev.conll:1042\n   help: did you mean 'B-PER'?"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DataError("fact"), "fact"),
        (DataError("fact", place="f"), "fact\n  --> f"),
        (DataError("fact", help="do this"), "fact\n   help: do this"),
    ],
)
def test_what_is_not_known_is_left_out(error: BertftError, expected: str) -> None:
    assert str(error) == expected


@pytest.mark.parametrize(
    ("kind", "code"), [(BertftError, 70), (GateError, 1), (UsageError, 2), (DataError, 3), (ModelError, 4)]
)
def test_each_kind_has_its_exit_code(kind: type[BertftError], code: int) -> None:
    assert kind("fact").exit_code == code
    assert issubclass(kind, BertftError)


@pytest.mark.parametrize(
    "sign", ["\x1b", "\x07", "\r", "\x08", "\x9b", "\u202e", "\u2066", "\u200b", "\u2028", "\udcff", "\0"]
)
def test_a_label_cannot_drive_the_terminal(sign: str) -> None:
    error = DataError(f"tag 'B-{sign}[2J' is unknown", place=f"d{sign}.conll:1", help=f"'{sign}'")
    assert sign not in str(error)
    assert str(error).count("\\") == 3
    assert str(error).encode("utf-8")


@pytest.mark.parametrize("text", ["München", "東京", "मुंबई", "🎉", "a\tb\nc", "–", ""])
def test_what_can_be_seen_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_the_nearest_choice_is_named() -> None:
    assert did_you_mean("learning_rat", ["learning_rate", "seed"]) == "did you mean 'learning_rate'?"


def test_no_choice_near_gives_the_other_advice() -> None:
    assert did_you_mean("zzz", ["learning_rate"]) is None
    assert did_you_mean("zzz", ["learning_rate"], "keys are …") == "keys are …"
    assert did_you_mean("zzz", []) is None


def test_an_error_is_one_block_whatever_a_file_put_into_it() -> None:
    name = "a\nerror: another" + "x" * 10**6
    shown = str(DataError(f"there is no {name}", place="f.csv:1", help="the fields are\n     a: b\nc" + "\nd" * 1000))
    first, *rest = shown.split("\n")
    assert first == "there is no a"
    assert all(line.startswith("  ") for line in rest)
    assert "     a: b\n  c\n  d" in shown
    assert len(shown) < 3000
