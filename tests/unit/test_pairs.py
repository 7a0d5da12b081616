"""Pairs of texts: how documents are cut into chunks, what is drawn from them, and that it never mixes documents up."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertft.data.row import Place
from bertft.errors import DataError
from bertft.tasks.passages import Passage, documents
from bertft.text.masking import FIXED
from bertft.text.pairs import RIGHT, SPOILED, Chunk, chunks, draw, sentences, shifted

LENGTHS = st.lists(st.integers(0, 30), min_size=1, max_size=30)
DRAWS = 20_000


def parts(lengths: list[int], *, first: int = 0) -> list[tuple[list[int], list[int]]]:
    """Return sentences of so many tokens: ids that count on from one to the next, and units that count in each."""
    ends = np.cumsum([first, *lengths]).tolist()
    return [(list(range(a, b)), list(range(b - a))) for a, b in pairwise(ends)]


# -- sentences and chunks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("He came. She left!  \"Why?\" No one knows…", ["He came.", "She left!", '"Why?"', "No one knows…"]),
        ("It rose by 3.50 in May\nA line\n\n and another", ["It rose by 3.50 in May", "A line", "and another"]),
        ("雨が降る。「そうか。」彼は行く", ["雨が降る。", "「そうか。」", "彼は行く"]),
        ("यह है। वह है।", ["यह है।", "वह है।"]),
        (" \n ", []),
    ],
)  # fmt: skip
def test_sentences_end_with_their_marks_and_lines(text: str, wanted: list[str]) -> None:
    assert sentences(text) == wanted


@given(st.text(max_size=200))
def test_sentences_keep_all_that_is_written(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


@given(lengths=LENGTHS, room=st.integers(2, 60))
def test_chunks_have_two_sentences_and_all_tokens(lengths: list[int], room: int) -> None:
    found = chunks(parts(lengths), room)
    assert all(len(chunk.starts) >= 2 and len(chunk.ids) <= room for chunk in found)
    assert all(chunk.starts == sorted({*chunk.starts}) and chunk.starts[0] == 0 for chunk in found)
    assert all(len({*chunk.units}) == len(chunk.units) for chunk in found)  # no token is chosen with another's
    for chunk in found:
        assert chunk.ids == list(range(chunk.ids[0], chunk.ids[-1] + 1))
    read = {token for chunk in found for token in chunk.ids}
    total = sum(lengths)
    assert read == (set(range(total)) if found else set())
    if not found:
        assert sum(length > 0 for length in lengths) <= 1
        assert total <= room // 2
    for before, after in pairwise(found):
        shared = before.ids[-1] + 1 - after.ids[0]
        assert shared <= 0 or (after is found[-1] and len(after.starts) == 2)


def test_units_of_two_texts_are_none_of_each_other() -> None:
    assert shifted([0, FIXED, 1, 1], [4, FIXED, 2]) == [5, FIXED, 6, 6]
    assert shifted([3], [FIXED]) == [3]
    assert shifted([3], []) == [3]


# -- pairs -------------------------------------------------------------------------------------------------------------

OWN, OTHER = Chunk.joined(parts([9, 5, 12, 7])), Chunk.joined(parts([8, 3, 14, 20, 6], first=1000))


def test_half_of_the_second_texts_are_of_the_stranger() -> None:
    random = np.random.default_rng(0)
    pairs = [draw("nsp", OWN, OTHER, random) for _ in range(DRAWS)]
    spoiled = [pair for pair in pairs if pair.label == SPOILED]
    assert abs(len(spoiled) - DRAWS / 2) < 4 * math.sqrt(DRAWS / 4)
    for pair in pairs:
        (first, _), (second, _) = pair.first, pair.second
        assert first == OWN.ids[: len(first)]
        assert len(first) in OWN.starts[1:]
        assert second
        assert len(first) + len(second) <= len(OWN.ids)
        if pair.label == RIGHT:
            assert second == OWN.ids[len(first) : len(first) + len(second)]
        else:
            assert second[0] - 1000 in OTHER.starts
            assert second == list(range(second[0], second[0] + len(second)))
    assert {len(pair.first[0]) for pair in pairs} == {*OWN.starts[1:]}


def test_the_length_of_a_second_text_tells_nothing() -> None:
    random = np.random.default_rng(1)
    pairs = [draw("nsp", OWN, OTHER, random) for _ in range(DRAWS)]
    for start in OWN.starts[1:]:
        sizes = {
            label: [len(p.second[0]) for p in pairs if p.label == label and len(p.first[0]) == start]
            for label in (0, 1)
        }
        right, spoiled = (np.array(sizes[label]) for label in (RIGHT, SPOILED))
        spread = math.sqrt(right.var() / len(right) + spoiled.var() / len(spoiled))
        assert {*right.tolist()} == {*spoiled.tolist()}
        assert abs(right.mean() - spoiled.mean()) <= 4 * spread


def test_half_of_the_pairs_are_swapped() -> None:
    random = np.random.default_rng(2)
    pairs = [draw("sop", OWN, OTHER, random) for _ in range(DRAWS)]
    assert abs(sum(pair.label for pair in pairs) - DRAWS / 2) < 4 * math.sqrt(DRAWS / 4)
    for pair in pairs:
        first, second = pair.first[0], pair.second[0]
        assert (first + second if pair.label == RIGHT else second + first) == OWN.ids


def test_a_stranger_without_a_token_is_none() -> None:
    random = np.random.default_rng(3)
    assert {draw("nsp", OWN, Chunk([], [], [0]), random).label for _ in range(50)} == {RIGHT}


@given(lengths=st.lists(st.integers(1, 9), min_size=2, max_size=6), other=LENGTHS, seed=st.integers(0, 99))
def test_a_pair_is_of_one_document_or_of_two(lengths: list[int], other: list[int], seed: int) -> None:
    own, stranger = Chunk.joined(parts(lengths)), Chunk.joined(parts(other, first=1000))
    pair = draw("nsp", own, stranger, np.random.default_rng(seed))
    first, second = pair.first[0], pair.second[0]
    assert first
    assert second
    assert max(first) < 1000
    assert {token >= 1000 for token in second} == {pair.label == SPOILED}
    if pair.label == RIGHT:
        assert second[0] == first[-1] + 1


# -- documents ---------------------------------------------------------------------------------------------------------


def lines(*texts: str, line: bool = True) -> list[Passage]:
    return [Passage(Place("corpus.txt", number), text, line=line) for number, text in enumerate(texts, 1)]


def test_blank_lines_stand_between_documents() -> None:
    found, notes = documents(lines("", "a", "b", " ", "", "c", "", "d", "e", ""), "nsp")
    assert [one.text for one in found] == ["a\nb", "c", "d\ne"]
    assert [one.place.line for one in found] == [2, 6, 8]
    assert notes == ["3 documents"]


@pytest.mark.parametrize("line", [True, False])
def test_without_a_blank_line_between_them_each_is_a_document(line: bool) -> None:
    found, _ = documents(lines("", "a", "b", "", line=line), "nsp")
    assert [one.text for one in found] == ["a", "b"]
    found, _ = documents(lines("a", "", "b", "c", line=False), "sop")
    assert [one.text for one in found] == ["a", "b", "c"]


@given(st.lists(st.text("abc", min_size=1, max_size=2), min_size=2, max_size=12))
def test_documents_lend_texts_to_others_in_small_rings(texts: list[str]) -> None:
    different = {*texts}
    if len(different) < 2:
        with pytest.raises(DataError, match="one document only"):
            documents(lines(*texts, line=False), "nsp")
        return
    found, _ = documents(lines(*texts, line=False), "nsp")
    lender = {one.text: one.strange for one in found}
    assert [one.text for one in found] == texts
    assert all(lender[text] != text and lender[text] in different for text in different)
    for text in different:  # back where it began after two or three
        assert text in (lender[lender[text]], lender[lender[lender[text]]])
    again, _ = documents(lines(*texts[::-1], line=False), "nsp")
    assert len(again) == len(found)


def test_sentence_order_needs_no_other_document() -> None:
    found, _ = documents(lines("a", "b", " ", "", "b"), "sop")
    assert [(one.text, one.strange) for one in found] == [("a\nb", None), ("b", None)]
    found, _ = documents(lines("a b"), "sop")
    assert len(found) == 1
