"""fastText: labels before (or in) the text of a line."""

from __future__ import annotations

from io import BytesIO

import pytest

from bertft.data import fasttext
from bertft.data.row import Line
from bertft.data.source import Source


def lines(text: str) -> list[Line]:
    return [Line(number, line) for number, line in enumerate(text.splitlines(keepends=True), 1)]


def test_a_line_is_a_text_with_its_labels() -> None:
    text = "__label__good a fine tin\n\n__label__bad __label__old  it  leaks\r\nno label\n__label__good\n"
    text += "mid __label__x dle\n"
    found = fasttext.read(Source("f.txt", BytesIO(text.encode()), "utf-8", live=False))
    assert found.description == "fastText"
    assert [(row.place.line, row.values["text"], row.values["label"]) for row in found.rows] == [
        (1, "a fine tin", "good"),
        (3, "it  leaks", ["bad", "old"]),
        (4, "no label", []),
        (5, "", "good"),
        (6, "mid dle", "x"),
    ]


def test_a_line_that_cannot_be_decoded_is_an_error() -> None:
    found = fasttext.read(Source("f.txt", BytesIO(b"__label__a caf\xe9\n"), "utf-8", live=False))
    (row,) = found.rows
    assert row.error is not None


@pytest.mark.parametrize(
    ("text", "is_fasttext"),
    [
        ("__label__a x\n", True),
        ("\n__label__a x\ny\n__label__b z\n", True),
        ("x __label__a\n", False),
        ("__label__a x\ny\nz\n", False),
        ("text\tlabel\n", False),
        ("\n", False),
        ("", False),
    ],
)
def test_the_format_is_recognised(text: str, is_fasttext: bool) -> None:
    assert fasttext.is_fasttext(lines(text)) is is_fasttext
