"""SQuAD: nested questions become rows, and answers are read however they are written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertft.data import squad
from bertft.data.row import Row
from bertft.errors import DataError

CONTEXT = "The mill was built in 1790 and burnt down in 1832."


def rows(*questions: Any, title: str | None = "Mill") -> list[Row]:
    article: dict[str, Any] = {"paragraphs": [{"context": CONTEXT, "qas": list(questions)}]}
    if title is not None:
        article["title"] = title
    assert squad.is_nested([article])
    return list(squad.rows([article], lambda _: 3, "q.json"))


def question(**more: Any) -> dict[str, Any]:
    return {"id": "a", "question": "When was the mill built?", **more}


ANSWER = {"text": "1790", "answer_start": 22}


def test_a_question_is_a_row_with_its_context_and_answers() -> None:
    (row,) = rows(question(answers=[ANSWER, {"text": "in 1790", "answer_start": 19}], plausible_answers=[ANSWER]))
    assert (str(row.place), row.document, row.error) == ("q.json:3", 1, None)
    assert row.values == {
        "id": "a",
        "title": "Mill",
        "question": "When was the mill built?",
        "context": CONTEXT,
        "answers": [ANSWER, {"text": "in 1790", "answer_start": 19}],
    }


def test_no_answer_is_gold_where_the_file_says_so_and_nothing_where_it_does_not() -> None:
    found = rows(
        question(answers=[ANSWER], is_impossible=False),
        question(answers=[], is_impossible=True),
        question(is_impossible=True),
        question(answers=[]),
        question(),
    )
    assert [row.values.get("answers") for row in found] == [[ANSWER], [], [], [], None]
    assert [row.values.get("is_impossible") for row in found] == [False, True, True, None, None]


def test_a_file_of_empty_lists_has_no_gold() -> None:
    found = rows(question(answers=[]), question(answers=[], is_impossible=False), question())
    assert ["answers" in row.values for row in found] == [False, False, False]
    assert [row.values["answers"] for row in rows(question(answers=[], is_impossible=True))] == [[]]


def test_what_contradicts_itself_is_left_to_the_task() -> None:
    (row,) = rows(question(answers=[ANSWER], is_impossible=True))
    assert (row.values["answers"], row.values["is_impossible"]) == ([ANSWER], True)


def test_what_is_broken_is_an_error() -> None:
    broken = rows(question(question=None), "what?", title=None)
    assert [str(row.error) for row in broken] == [
        "question 'a' has no `question` that is a text\n  --> q.json:3",
        "question None has no `question` that is a text\n  --> q.json:3",
    ]
    (row,) = squad.rows([{"paragraphs": [{"context": 5, "qas": [question()]}]}], lambda _: 1, "q.json")
    assert "has no `context`" in str(row.error)


def test_what_is_in_a_file_is_said() -> None:
    article = {"paragraphs": [{"context": CONTEXT, "qas": [question(answers=[ANSWER]), question(answers=[])]}]}
    assert str(squad.survey([article])) == "1 articles, 2 questions (version 2.0, 1 without an answer)"


@pytest.mark.parametrize("articles", [[], [{}], [{"paragraphs": []}], [{"paragraphs": [{"raw": "x"}]}], "x", None, 3])
def test_other_documents_are_not_taken_for_squad(articles: object) -> None:
    assert not squad.is_nested(articles)


ONE = [("1790", 22)]


@pytest.mark.parametrize(
    ("value", "answers"),
    [
        ([ANSWER], ONE),
        ([{"text": "1790", "start": 22}], ONE),
        ({"text": ["1790"], "answer_start": [22]}, ONE),
        ({"text": ["1790", "in 1790"], "answer_start": [22, 19]}, [*ONE, ("in 1790", 19)]),
        ({"text": "1790", "answer_start": [22]}, ONE),
        ({"text": ["1790"]}, [("1790", None)]),
        ([["1790", 22]], ONE),
        (["1790", "in 1790"], [("1790", None), ("in 1790", None)]),
        ("1790", [("1790", None)]),
        ('{"text": ["1790"], "answer_start": [22]}', ONE),
        ("{'text': ['1790'], 'answer_start': [22]}", ONE),
        ('[{"text": "1790", "answer_start": 22}]', ONE),
        ({"text": "1790", "answer_start": -1}, [("1790", None)]),
        ({"text": "1790", "answer_start": 22.0}, ONE),
        ("[sic]", [("[sic]", None)]),
        ("{x}", [("{x}", None)]),
        *((nothing, []) for nothing in (None, "", [], {}, {"text": [], "answer_start": []}, "[]", [""], {"text": ""})),
    ],
)
def test_answers_are_read_however_they_are_written(value: object, answers: list[tuple[str, int | None]]) -> None:
    assert squad.answers_of(value) == answers


def test_the_start_of_an_answer_may_stand_in_a_field_of_its_own() -> None:
    assert squad.answers_of("1790", 22) == squad.answers_of("1790", "22") == ONE


@pytest.mark.parametrize(
    "value",
    [
        5,
        [5],
        {"answer": "1790"},
        {"text": ["1790"], "answer_start": []},
        {"text": [5], "answer_start": [1]},
        {"text": "1790", "answer_start": "here"},
        {"text": "1790", "answer_start": -4},
        {"text": "1790", "answer_start": True},
        "{'text': array(['1790'], dtype=object), 'answer_start': array([22])}",
    ],
)
def test_what_is_no_answer_is_refused(value: object) -> None:
    with pytest.raises(DataError):
        squad.answers_of(value)


@given(st.lists(st.tuples(st.text(min_size=1), st.integers(0, 10**6)), max_size=4))
def test_every_way_of_writing_answers_means_the_same(answers: list[tuple[str, int]]) -> None:
    listed = [{"text": text, "answer_start": start} for text, start in answers]
    columns = {"text": [text for text, _ in answers], "answer_start": [start for _, start in answers]}
    for value in (
        listed,
        columns,
        [list(pair) for pair in answers],
        json.dumps(listed),
        json.dumps(columns),
        repr(columns),
    ):
        assert squad.answers_of(value) == answers


def test_an_offset_of_5000_digits_is_an_error() -> None:
    with pytest.raises(DataError, match="no offset"):
        squad.answers_of("a", "9" * 5000)
