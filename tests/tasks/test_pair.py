"""Two texts are encoded as a pair, never joined; what does not fit is cut as tokenizers cut it; answers are ranked."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer

from bertft.data.row import Place, Row
from bertft.encoders import load
from bertft.errors import DataError, UsageError
from bertft.tasks.base import WindowSize
from bertft.tasks.pair import ClassifyPair, PairOptions, longest_first
from bertft.training.split import hold_out

PAIRS = [
    ("Where does Ada Stone live?", "Ada Stone lives in New Haven."),
    ("Nobody knew why the old clock stopped at noon, but everyone was late.", "It stopped."),
    ("It stopped.", "Nobody knew why the old clock stopped at noon, but everyone was late."),
    ("unbelievable misunderstandings", "sometimes unavoidable in international relationships"),
    ("", "Ein kleines Café am Fluss verkauft Brötchen."),
    ("Prices rose by 3.50 in March", ""),
    ("", ""),
]


@cache
def cutter(room: int) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({"w": 0}, unk_token="w"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.enable_truncation(room, strategy="longest_first")
    return tokenizer


@given(first=st.integers(0, 40), second=st.integers(0, 40), room=st.integers(1, 50))
def test_pairs_are_cut_as_tokenizers_cut_them(first: int, second: int, room: int) -> None:
    encoding = cutter(room).encode("w " * first, "w " * second)
    expected = (encoding.sequence_ids.count(0), encoding.sequence_ids.count(1))
    assert longest_first(first, second, room) == expected


def examples(task: ClassifyPair, *, label: str | None = None) -> list[Any]:
    return [
        task.parse(Row(Place("x", i), {"text_a": a, "text_b": b, "label": label}), labelled=label is not None)
        for i, (a, b) in enumerate(PAIRS, 1)
    ]


@pytest.mark.parametrize("length", [128, 16, 11])
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_pair_is_what_the_tokenizer_makes_of_two_texts(base: Callable[[str], Path], family: str, length: int) -> None:
    checkpoint = load.resolve(str(base(family)))
    config = load.load_config(checkpoint)
    subwords = load.load_tokenizer(checkpoint, config, presplit=False).subwords
    task = ClassifyPair()
    windows, counts = task.features(examples(task), subwords, WindowSize(length, 0))
    plain = AutoTokenizer.from_pretrained(checkpoint.location)
    sides = [a for a, _ in PAIRS], [b for _, b in PAIRS]  # lists: alone, an empty second text is taken for none
    expected = plain(*sides, truncation="longest_first", max_length=length, return_token_type_ids=True)
    assert [window.input_ids for window in windows] == expected["input_ids"]
    if (getattr(config, "type_vocab_size", 0) or 0) > 1:
        assert [window.segments for window in windows] == expected["token_type_ids"]
        assert all(1 in window.segments for window in windows)
    whole = [len(ids) for ids in plain(*sides)["input_ids"]]
    assert counts.unread == sum(whole) - sum(len(window.input_ids) for window in windows)
    assert counts.cut == sum(n > length for n in whole)
    assert (counts.cut > 0) == (length < 128)
    assert counts.windows == counts.examples == len(PAIRS)


def test_which_text_is_first_matters(base: Callable[[str], Path]) -> None:
    checkpoint = load.resolve(str(base("bert-cased")))
    subwords = load.load_tokenizer(checkpoint, load.load_config(checkpoint), presplit=False).subwords
    task = ClassifyPair()
    windows, _ = task.features(examples(task), subwords, WindowSize(128, 0))
    assert windows[1].input_ids != windows[2].input_ids
    assert windows[1].segments != windows[2].segments


def test_a_window_without_room_for_two_texts_is_refused(base: Callable[[str], Path]) -> None:
    checkpoint = load.resolve(str(base("roberta")))
    subwords = load.load_tokenizer(checkpoint, load.load_config(checkpoint), presplit=False).subwords
    task = ClassifyPair()
    with pytest.raises(UsageError, match=r"options\.window: 4 tokens"):
        task.features(examples(task), subwords, WindowSize(4, 0))


@pytest.mark.parametrize("missing", ["text_a", "text_b", "label"])
def test_a_row_without_one_of_the_three_is_named(missing: str) -> None:
    values = {"text_a": "x", "text_b": "y", "label": "1"}
    del values[missing]
    with pytest.raises(DataError) as caught:
        ClassifyPair().parse(Row(Place("pairs.csv", 9), values), labelled=True)
    assert caught.value.place == Place("pairs.csv", 9)
    assert f"--columns {missing}=…" in str(caught.value)


# -- ranking -----------------------------------------------------------------------------------------------------------


def ranked(rows: list[tuple[str, str]], **options: Any) -> tuple[ClassifyPair, list[Any]]:
    """Return the task that learnt (question, label) rows, and its examples."""
    task = ClassifyPair(PairOptions(rank=True, **options))
    parsed = [
        task.parse(Row(Place("x", i), {"text_a": question, "text_b": str(i), "label": label}), labelled=True)
        for i, (question, label) in enumerate(rows, 1)
    ]
    return task.prepare(parsed)[0], parsed


SCORES = (0.9, 0.1, 0.8, 0.3, 0.2, 0.7)
ROWS = [("q1", "0"), ("q1", "1"), ("q1", "1"), ("q2", "0"), ("q2", "1"), ("q3", "0")]


def test_rows_that_share_a_question_are_ranked() -> None:
    task, parsed = ranked(ROWS)
    scores = task.score([(example, np.array([1 - s, s])) for example, s in zip(parsed, SCORES, strict=True)])
    assert task.headline == ("map", "mrr", "accuracy")
    assert scores["mrr"] == pytest.approx((1 / 2 + 1 / 2) / 2)
    precisions = [average_precision_score([0, 1, 1], SCORES[:3]), average_precision_score([0, 1], SCORES[3:5])]
    assert scores["map"] == pytest.approx(sum(precisions) / 2)
    assert (scores["questions"], scores["questions_without_answer"]) == (3, 1)
    assert scores["accuracy"] == pytest.approx(2 / 6)


def test_a_group_column_says_what_is_ranked_together() -> None:
    task = ClassifyPair(PairOptions(rank=True))
    rows = [("same words", "g1", 0), ("same words", "g2", 1), ("others", "g1", 1), ("others", "g2", 0)]
    parsed = [
        task.parse(Row(Place("x", 1), {"text_a": a, "text_b": "y", "group": group, "label": label}), labelled=True)
        for a, group, label in rows
    ]
    task, _ = task.prepare(parsed)
    answers = [np.array([1 - s, s]) for s in (0.9, 0.8, 0.95, 0.1)]
    scores = task.score(list(zip(parsed, answers, strict=True)))
    assert (scores["mrr"], scores["map"], scores["questions"]) == (1.0, 1.0, 2)


@pytest.mark.parametrize(
    ("labels", "relevant", "expected"),
    [
        (("entailment", "neutral"), "entailment", 0.5),
        (("entailment", "neutral"), "neutral", 1.0),
        (("True", "False"), None, 0.5),
        (("relevant", "other"), None, 0.5),
        (("No", "Yes"), None, 1.0),
    ],
)
def test_the_label_of_a_right_answer(labels: tuple[str, str], relevant: str | None, expected: float) -> None:
    """The one row of the first label comes second by that label's score, one of the others first by theirs."""
    task, parsed = ranked([("q", labels[0]), ("q", labels[1]), ("q", labels[1])], relevant=relevant)
    answers = [np.array([p, 1 - p] if task.target.labels[0] == labels[0] else [1 - p, p]) for p in (0.5, 0.9, 0.1)]
    assert task.score(list(zip(parsed, answers, strict=True)))["mrr"] == expected


def test_values_above_0_are_right_answers() -> None:
    task, parsed = ranked([("q", "0"), ("q", "2.5"), ("q", "0.5")])
    assert task.target.is_value
    assert task.score(list(zip(parsed, map(np.array, ([0.9], [0.8], [0.1])), strict=True)))["map"] == pytest.approx(
        (1 / 2 + 2 / 3) / 2
    )


@pytest.mark.parametrize("options", [{}, {"relevant": "entailed"}])
def test_a_ranking_without_a_right_answer_s_label_is_refused_before_training(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"'entailment', 'neutral'") as caught:
        ranked([("q", "entailment"), ("q", "neutral")], **options)
    assert "options.relevant=LABEL" in str(caught.value)


def test_a_question_is_held_out_whole_where_answers_are_ranked() -> None:
    task, parsed = ranked([(f"q{i // 4}", str(i % 2)) for i in range(80)])
    train, held = hold_out(parsed, share=0.2, seed=1, keys=task.group, labels=task.labels_of)
    assert held
    assert not {x.question for x in train} & {x.question for x in held}
