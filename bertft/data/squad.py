"""SQuAD: questions and answers about paragraphs, nested (versions 1.1 and 2.0, as released) or flat.

    {"version": "v2.0", "data": [{"title": "Normans", "paragraphs": [{"context": "The Normans …", "qas": [
        {"id": "56…", "question": "Who …?", "is_impossible": false, "answers": [{"text": "…", "answer_start": 4}]}]}]}]}
    {"id": "56…", "question": "Who …?", "context": "The Normans …", "answers": {"text": ["…"], "answer_start": [4]}}

(rajpurkar.github.io/SQuAD-explorer; flat as `datasets` has it.) In comes the parsed document, out go rows.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from typing_extensions import override

from bertft.data.row import Place, Row
from bertft.errors import DataError

Answer = tuple[str, int | None]
"""The text of an answer and, where it is known, the offset of its first character in the context."""


def is_nested(articles: object) -> bool:
    """Say whether a value is a list of articles with paragraphs with questions."""
    match articles:
        case [{"paragraphs": [{"context": _}, *_]}, *_] | [{"paragraphs": [{"qas": _}, *_]}, *_]:
            return True
    return False


class Survey(NamedTuple):
    """How many articles and questions there are, how many have gold, and how many of these have no answer."""

    articles: int
    questions: int
    gold: int
    impossible: int

    @override
    def __str__(self) -> str:
        version = "version 2.0" if self.impossible else "version 1.1"
        kind = f"{version}, {self.impossible} without an answer" if self.impossible else version
        return f"{self.articles} articles, {self.questions} questions ({kind if self.gold else 'no answers'})"


def survey(articles: list[Any]) -> Survey:
    """Count what is in a document; gold is an answer, or the word that none exists."""
    questions = [question for *_, question in _questions(articles)]
    answered = sum(bool(question.get("answers")) for question in questions)
    marked = sum(question.get("is_impossible") is True and not question.get("answers") for question in questions)
    empty = sum(question.get("answers") == [] and question.get("is_impossible") is not True for question in questions)
    impossible = marked + (empty if answered else 0)
    return Survey(len(articles), len(questions), answered + impossible, impossible)


def rows(articles: list[Any], line_of: Callable[[object], int], path: str) -> Iterator[Row]:
    """Yield a row per question: `id`, `title`, `question`, `context`, `answers`, `is_impossible`.

    `answers` is a list of `{"text", "answer_start"}`; it is empty where the file says that there is no answer, and
    missing where it does not say. A file none of whose questions has an answer says nothing: its empty lists were left
    by whoever took the answers out. `line_of` gives the line of an article.
    """
    gold = survey(articles).gold > 0
    for number, article, paragraph, question in _questions(articles):
        place = Place(path, line_of(article))
        error = _flaw(paragraph, question, place)
        title = {"title": article["title"]} if "title" in article else {}
        named = {"id": question["id"]} if "id" in question else {}
        values = {**named, **title, "question": question.get("question"), "context": paragraph.get("context")}
        impossible = question.get("is_impossible")
        if impossible is True and not question.get("answers"):
            values["answers"] = []
        elif gold and "answers" in question:
            values["answers"] = question["answers"]
        if isinstance(impossible, bool):
            values["is_impossible"] = impossible
        yield Row(place, values, error=error, document=number)


def _questions(articles: list[Any]) -> Iterator[tuple[int, Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]]:
    """Yield the article's number, article, paragraph and question of each question; what is no object is empty."""
    for number, article in enumerate(articles, 1):
        for paragraph in _objects(article, "paragraphs"):
            for question in _objects(paragraph, "qas"):
                yield number, article, paragraph, question


def _objects(parent: object, key: str) -> Iterator[Mapping[str, Any]]:
    children = parent.get(key) if isinstance(parent, dict) else None
    for child in children if isinstance(children, list) else [children]:
        if isinstance(child, dict):
            yield child
        elif key == "qas" and child is not None:
            yield {}  # becomes a row with an error


def _flaw(paragraph: Mapping[str, Any], question: Mapping[str, Any], place: Place) -> DataError | None:
    which = f"question {question.get('id')!r}"
    if not isinstance(question.get("question"), str):
        return DataError(f"{which} has no `question` that is a text", place=place)
    if not isinstance(paragraph.get("context"), str):
        return DataError(f"the paragraph of {which} has no `context` that is a text", place=place)
    return None


def answers_of(value: object, start: object = None) -> list[Answer]:
    """Return the answers that a field holds, in any of the ways in which people write them; none is an empty list.

    A text (with `start` where a field of its own holds the offset), `{"text": […], "answer_start": […]}` or the same
    with one of each, a list of `{"text", "answer_start"}`, of texts or of `[text, start]`; in a CSV all this as JSON or
    as Python prints it. Raises DataError, without a place, for anything else.
    """
    if value is None or value in ("", [], {}):
        return []
    match value:
        case str() if (inner := _unwritten(value)) is not None:
            return answers_of(inner)
        case str():
            return [(value, _offset(start))]
        case {"text": str() | None as text, **rest}:
            return answers_of(text, rest.get("answer_start", rest.get("start")))
        case {"text": list(texts), **rest}:
            starts = rest.get("answer_start", rest.get("start"))
            if starts is not None and (not isinstance(starts, list) or len(starts) != len(texts)):
                raise DataError(f"{len(texts)} answers, but `answer_start` is {starts!r}")
            pairs = zip(texts, starts or [None] * len(texts), strict=True)
            return [answer for text, at in pairs for answer in _one(text, at)]
        case list():
            return [pair for item in value for pair in (_one(*item) if _is_pair(item) else answers_of(item))]
    advice = 'answers are [{"text": "1066", "answer_start": 12}], or [] where there is none'
    raise DataError(f"{value!r:.200} is no answer", help=advice)


def _one(text: object, start: object) -> list[Answer]:
    if not isinstance(text, str):
        raise DataError(f"the answer {text!r:.200} is no text")
    return [(text, _offset(start))] if text else []


def _is_pair(item: object) -> bool:
    match item:
        case [str(), int() | float() | None]:
            return True
    return False


def _offset(start: object) -> int | None:
    if isinstance(start, list) and len(start) == 1:
        start = start[0]
    if isinstance(start, str) and start.strip().isdecimal() and len(start) < 20:
        start = int(start)
    if start is None or start in ("", -1):
        return None
    if isinstance(start, float) and start.is_integer():
        start = int(start)  # a column of integers with gaps, as pandas keeps it
    if isinstance(start, bool) or not isinstance(start, int) or start < 0:
        raise DataError(f"the answer's start {start!r:.200} is no offset")
    return start


def _unwritten(text: str) -> Any:
    """Return the list or object that a cell of a table holds in writing, None where it holds a text."""
    if not text.startswith(("[{", "{", '["', "['", "[[", "[]")):
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, list) or (isinstance(value, dict) and "text" in value):
            return value
    if "answer_start" in text:  # pandas prints arrays, which nothing reads back
        raise DataError(f"{text:.200} is no list of answers that can be read", help="write it as JSON")
    return None
