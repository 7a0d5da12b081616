"""What is read around a sentence: words of its own document, as many as were asked for, those that are near."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertft.data import formats
from bertft.data.formats import Input
from bertft.data.row import Place, Row
from bertft.errors import DataError, UsageError
from bertft.tasks.context import in_context
from bertft.tasks.ner import Ner
from bertft.text.windows import surround

SENTENCE = st.integers(1, 5)
"""So many words."""


def column_file(documents: list[list[int]], *, marks: bool = True) -> str:
    """Return a column file of documents of sentences, whose words have numbers."""
    lines = []
    words = 0
    for sentences in documents:
        lines += ["-DOCSTART- O", ""] if marks else []
        for length in sentences:
            lines += [f"w{words + i} O" for i in range(length)] + [""]
            words += length
    return "\n".join(lines) + "\n"


def opened(path: Path, text: str) -> Input:
    path.write_text(text, encoding="utf-8")
    return formats.read(str(path), wanted=Ner.wanted, labelled=True)


def flat(sentences: tuple[tuple[str, ...], ...]) -> list[str]:
    return [word for words in sentences for word in words]


@given(
    documents=st.lists(st.lists(SENTENCE, max_size=8), min_size=1, max_size=4),
    size=st.integers(1, 12),
    marks=st.booleans(),
)
def test_a_sentence_has_the_nearest_words_of_its_document_and_no_others(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], size: int, *, marks: bool
) -> None:
    if not any(documents):
        return
    path = tmp_path_factory.getbasetemp() / "documents.conll"
    found = list(in_context(opened(path, column_file(documents, marks=marks)), size).rows)
    plain = list(opened(path, column_file(documents, marks=marks)).rows)
    assert [row.values for row in found] == [row.values for row in plain]
    number, start = 0, 0
    for sentences in documents if marks else [[length for document in documents for length in document]]:
        words = [f"w{start + i}" for i in range(sum(sentences))]
        at = 0
        for length in sentences:
            row = found[number]
            assert flat(row.before)[-size:] == words[:at][-size:]
            assert flat(row.after)[:size] == words[at + length :][:size]
            assert {*flat(row.before), *flat(row.after)} <= {*words}
            assert len(flat(row.before)) < size + 5  # no more than is needed
            number, at = number + 1, at + length
        start += len(words)
    assert number == len(found)


@given(
    tokens=st.integers(0, 40), before=st.integers(0, 40), after=st.integers(0, 40), room=st.integers(1, 40)
)  # fmt: skip
def test_context_takes_what_a_sentence_leaves(tokens: int, before: int, after: int, room: int) -> None:
    left, right = surround(tokens, before=before, after=after, room=room)
    assert 0 <= left <= before
    assert 0 <= right <= after
    assert left + right == min(before + after, max(0, room - tokens))
    assert left >= min(before, max(0, room - tokens) // 2)
    assert right >= min(after, max(0, room - tokens) // 2)


def rows(*documents: object) -> Iterator[Row]:
    for line, name in enumerate(documents, 1):
        yield Row(Place("x.jsonl", line), {"text": f"Text {line}", **({} if name is None else {"document": name})})


def test_records_are_joined_by_their_document_and_are_one_by_themselves_without_it() -> None:
    given = Input("x.jsonl", "jsonl", rows("a", "a", None, None, "a", 1, 1), "JSON Lines")
    found = [(flat(row.before), flat(row.after)) for row in in_context(given, 9).rows]
    a, b = ["Text", "1"], ["Text", "2"]
    assert found == [([], b), (a, []), ([], []), ([], []), ([], []), ([], ["Text", "7"]), (["Text", "6"], [])]


def test_rows_that_were_read_come_before_an_error() -> None:
    def torn() -> Iterator[Row]:
        yield from rows("a", "a", "a")
        raise DataError("the compressed file is damaged")

    read = in_context(Input("x.jsonl", "jsonl", torn(), "JSON Lines"), 9).rows
    assert [next(read).place.line for _ in range(3)] == [1, 2, 3]
    with pytest.raises(DataError, match="damaged"):
        next(read)


def test_a_row_that_cannot_be_read_gives_no_context_and_ends_no_document() -> None:
    def given() -> Iterator[Row]:
        first, bad, last = rows("a", "a", "a")
        yield from (first, Row(bad.place, {"document": "a", "text": 5}), last)

    first, _, last = in_context(Input("x.jsonl", "jsonl", given(), "JSON Lines"), 9).rows
    assert (flat(first.after), flat(last.before)) == (["Text", "3"], ["Text", "1"])


def test_rows_are_not_held_back_for_longer_than_they_need() -> None:
    read = 0

    def endless() -> Iterator[Row]:
        nonlocal read
        while True:
            read += 1
            yield Row(Place("x.jsonl", read), {"text": "" if read % 2 else "two words", "document": 1})

    found = in_context(Input("x.jsonl", "jsonl", endless(), "JSON Lines"), 64).rows
    for _ in range(1000):
        row = next(found)
    assert read - row.place.line <= 64
    assert len(row.before) <= 64


def test_what_may_not_wait_is_refused_where_it_would() -> None:
    alone = in_context(Input("x.jsonl", "jsonl", rows(None, None), "JSON Lines"), 9, at_once=True)
    assert len(list(alone.rows)) == 2
    waits = in_context(Input("x.jsonl", "jsonl", rows(None, "a"), "JSON Lines"), 9, at_once=True)
    with pytest.raises(UsageError, match="--unbuffered"):
        list(waits.rows)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-DOCSTART- O\n\na O\n", "from the same document"),
        ("# newdoc id = x\n1\ta\t_\t_\t_\t_\t_\t_\t_\t_\n\n", "from the same document"),
        ("a O\n\nb O\n", "from the whole file, which begins without document marks"),
        ('{"text": "a", "entities": []}\n', "from rows of the same 'document', if they have one"),
    ],
)
def test_what_was_taken_for_a_document_is_said(tmp_path: Path, text: str, said: str) -> None:
    found = in_context(opened(tmp_path / ("x.jsonl" if text[0] == "{" else "x.conll"), text), 64)
    assert f"context: 64 sub-tokens on each side, {said}" in found.describe()
    assert "context" not in in_context(opened(tmp_path / "y.conll", "a O\n"), 0).describe()


@pytest.mark.parametrize(
    ("options", "said"), [({"context": -1}, "less than 0"), ({"context": 64, "unit": "document"}, "leave one")]
)
def test_options_that_do_not_fit_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        Ner.restore(options, {})
    assert said in str(raised.value)
