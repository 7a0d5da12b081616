"""Heat maps on a terminal: colours where there are any, numbers where not, and text that cannot drive it."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from bertft.report import heat

EVIL = "\x1b[2Jboo\u202e"
COLOUR = re.compile(r"\x1b\[(?:30;)?48;5;\d+m|\x1b\[0m")


def why(*values: float) -> dict[str, Any]:
    text = " ".join([EVIL, "good", "bad", "so"])
    words, at = [], 0
    for number, (piece, value) in enumerate(zip(text.split(), values, strict=True)):
        start = text.index(piece, at)
        at = start + len(piece)
        words.append({"text": 0, "word": number, "start": start, "end": at, "characters": piece, "value": value})
    window = {"steps": 50}
    return {
        "explains": f"the label {EVIL!r}", "value": 1.0, "baseline": 0.0, "delta": 0.0, "texts": [text],
        "words": words, "windows": [window],
    }  # fmt: skip


def test_words_are_signed_numbers_without_colour() -> None:
    shown = heat.why_map(why(0.1, 2.0, -1.5, 0.0), colour=False)
    assert re.search(r"^\+2\.000  good$", shown, re.MULTILINE)
    assert re.search(r"^-1\.500  bad$", shown, re.MULTILINE)
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_words_are_coloured_by_sign_and_strength() -> None:
    shown = heat.why_map(why(0.1, 2.0, -2.0, 0.0), colour=True)
    assert "\x1b[30;48;5;46mgood\x1b[0m" in shown
    assert "\x1b[30;48;5;197mbad\x1b[0m" in shown
    assert " so" in shown
    assert "\x1b" not in COLOUR.sub("", shown)
    assert "\u202e" not in shown


def test_texts_without_words_have_a_map() -> None:
    found = {**why(0, 0, 0, 0), "words": [], "texts": [""]}
    assert heat.why_map(found, colour=True)
    assert heat.why_map(found, colour=False)


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("tokens", [1, 12, 60, 300])
def test_grids_keep_to_the_width(colour: bool, tokens: int) -> None:
    weights = [[[[1 / tokens] * tokens] * tokens] * 2]
    names = [{"token": EVIL if i == 0 else f"t{i}"} for i in range(tokens)]
    found = {"layers": [3], "heads": [1, 2], "windows": [{"tokens": names, "weights": weights}]}
    shown = heat.attention_map(found, colour=colour, width=100)
    assert "layer 3, mean of 2 heads" in shown
    plain = COLOUR.sub("", shown)
    assert "\x1b" not in plain
    assert max(map(len, plain.splitlines())) <= 100
    assert ("looks at" in shown) == (tokens == 300)


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), (None, None)])
def test_colour_is_for_terminals_that_want_it(
    variable: str | None, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    if variable:
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr("sys.stdout", Terminal())
    assert heat.in_colour() == (variable is None)
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert not heat.in_colour()
