"""Scores of answers: equal to the evaluations of SQuAD 1.1 and 2.0, written by their definitions, slow and plain."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertft.scoring.answers import answer_scores, best_threshold, text_scores, words

PIECE = st.sampled_from(
    ["the", "The", "a", "an", "cat", "cats", "mat", "sat.", "Zoë", "(on)", "1,000", "—", "a—b", "other", "_a", "!?", ""]
)
TEXT = st.one_of(st.lists(PIECE, max_size=5).map(" ".join), st.text(max_size=6))
ODDS = st.one_of(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), st.floats(-9, 9))
QUESTION = st.tuples(st.lists(TEXT, max_size=3), TEXT, ODDS)


# -- the definitions ---------------------------------------------------------------------------------------------------


def plain_words(text: str) -> list[str]:
    kept = [c for c in text.lower() if c not in string.punctuation]
    runs: list[str] = []
    for c in kept:
        word = c.isalnum() or c == "_"
        if runs and word and (runs[-1][-1].isalnum() or runs[-1][-1] == "_"):
            runs[-1] += c
        else:
            runs.append(c)
    return "".join(" " if run in ("a", "an", "the") else run for run in runs).split()


def plain_f1(gold: str, guess: str, version: int) -> float:
    left, right = plain_words(gold), plain_words(guess)
    if version == 2 and (not left or not right):
        return 1.0 if left == right else 0.0
    rest, common = list(right), 0
    for word in left:
        if word in rest:
            rest.remove(word)
            common += 1
    if common == 0:
        return 0.0
    precision, recall = common / len(right), common / len(left)
    return 2 * precision * recall / (precision + recall)


def plain_raw(golds: Sequence[str], guess: str, version: int) -> tuple[float, float]:
    if version == 2:
        golds = [gold for gold in golds if plain_words(gold)] or [""]
    exact = max(1.0 if plain_words(gold) == plain_words(guess) else 0.0 for gold in golds)
    return exact, max(plain_f1(gold, guess, version) for gold in golds)


def plain_best(raw: Sequence[float], golds: Any, guesses: Any, odds: Sequence[float]) -> tuple[float, float]:
    """All of O(n²): the questions up to each one are answered, all others are taken as unanswerable."""
    order = sorted(range(len(odds)), key=lambda i: odds[i])
    best, at = float(sum(not answers for answers in golds)), 0.0
    for k in range(1, len(order) + 1):
        total = float(sum(not answers for answers in golds))
        for i in order[:k]:
            if golds[i]:
                total += raw[i]
            elif guesses[i]:  # also where nothing is left of it: any text is wrong
                total -= 1
        if total > best + 1e-12:
            best, at = total, odds[order[k - 1]]
    return best / len(odds), at


def plain_scores(golds: Any, guesses: Any, odds: Any, threshold: float) -> dict[str, float]:
    silent = [o > threshold for o in odds]
    if all(golds):
        pairs = [plain_raw(g, "" if s else t, 1) for g, t, s in zip(golds, guesses, silent, strict=True)]
        return {name: math.fsum(pair[i] for pair in pairs) / len(pairs) for i, name in enumerate(("exact_match", "f1"))}
    raw = [plain_raw(g, t, 2) for g, t in zip(golds, guesses, strict=True)]
    found: dict[str, float] = {}
    for i, (short, long) in enumerate((("exact", "exact_match"), ("f1", "f1"))):
        after = [float(not g) if s else r[i] for g, r, s in zip(golds, raw, silent, strict=True)]
        has = [value for value, g in zip(after, golds, strict=True) if g]
        no = [value for value, g in zip(after, golds, strict=True) if not g]
        found[long] = sum(after) / len(after)
        for name, values in ((f"has_ans_{short}", has), (f"no_ans_{short}", no)):
            if values:
                found[name] = sum(values) / len(values)
        best, at = plain_best([r[i] for r in raw], golds, guesses, odds)
        found |= {f"best_{short}": best, f"best_{short}_thresh": at}
    return found


# -- equality ----------------------------------------------------------------------------------------------------------


@given(text=TEXT)
def test_the_same_words_are_compared(text: str) -> None:
    assert words(text) == plain_words(text)


@given(questions=st.lists(QUESTION, min_size=1, max_size=9), threshold=ODDS)
def test_scores_equal_their_definition(questions: list[tuple[list[str], str, float]], threshold: float) -> None:
    golds, guesses, odds = (list(column) for column in zip(*questions, strict=True))
    scores = answer_scores(golds, guesses, odds, threshold)
    assert scores.pop("support") == len(questions)
    assert scores == pytest.approx(plain_scores(golds, guesses, odds, threshold), abs=1e-9)


@given(questions=st.lists(QUESTION, min_size=1, max_size=9))
def test_no_threshold_is_better_than_the_tuned_one(questions: list[tuple[list[str], str, float]]) -> None:
    golds, guesses, odds = (list(column) for column in zip(*questions, strict=True))
    threshold = best_threshold(golds, guesses, odds)
    assert math.isfinite(threshold)

    def f1(at: float) -> float:
        raw = text_scores(golds, guesses, version=2)[1]
        said = [o <= at for o in odds]
        rows = zip(raw, said, golds, guesses, strict=True)
        return sum(r if s and (g or not t) else float(not g and not s) for r, s, g, t in rows)

    tried = [-math.inf, math.inf, *odds]
    assert f1(threshold) == pytest.approx(max(map(f1, tried)), abs=1e-9)


# -- what people trip over ---------------------------------------------------------------------------------------------


def test_the_best_of_several_gold_answers_counts() -> None:
    scores = answer_scores([["in 1066", "1066", "October 1066"]], ["October 1066."], [0.0], 1.0)
    assert scores == {"exact_match": 1.0, "f1": 1.0, "support": 1}
    assert answer_scores([["the red cat"]], ["red dog"], [0.0], 1.0)["f1"] == pytest.approx(0.5)


def test_a_gold_answer_of_which_nothing_is_left() -> None:
    # 1.1 compares it: an exact match without F1. 2.0 leaves it out.
    assert text_scores([["the", "cat"]], ["a"], version=1) == (1.0, 0.0)
    assert text_scores([["the", "cat"]], ["a"], version=2) == (0.0, 0.0)
    assert text_scores([["the"]], ["a"], version=2) == (1.0, 1.0)


def test_unanswerable_questions_are_scored_by_kind() -> None:
    golds: list[list[str]] = [["cat"], ["dog"], [], []]
    scores = answer_scores(golds, ["cat", "cow", "hen", "pig"], [-3.0, -2.0, -1.0, 4.0], 0.0)
    assert scores["has_ans_f1"] == scores["no_ans_f1"] == scores["f1"] == scores["exact_match"] == 0.5
    assert (scores["best_f1"], scores["best_f1_thresh"]) == (0.75, -3.0)


def test_a_file_without_answers_has_no_score_of_answerable_questions() -> None:
    scores = answer_scores([[], []], ["cat", "dog"], [1.0, -1.0], 0.0)
    assert "has_ans_f1" not in scores
    assert (scores["no_ans_f1"], scores["best_f1"], scores["best_f1_thresh"]) == (0.5, 1.0, 0.0)


def test_an_answered_question_is_wrong_where_it_is_said_to_have_none() -> None:
    assert answer_scores([["cat"]], ["cat"], [1.0], 0.0) == {"exact_match": 0.0, "f1": 0.0, "support": 1}


def test_the_tuned_threshold_lies_between_two_questions() -> None:
    golds: list[list[str]] = [["cat"], ["dog"], []]
    assert best_threshold(golds, ["cat", "dog", "cow"], [-2.0, 1.0, 2.0]) == 1.5
    assert best_threshold([[], ["cat"]], ["cow", "dog"], [3.0, 4.0]) < 3.0
    assert best_threshold([["cat"], []], ["cat", ""], [3.0, math.inf]) > 3.0
    assert best_threshold([[], []], ["", ""], [math.inf, math.inf]) == 0.0


def test_the_tuned_threshold_parts_no_equal_odds() -> None:
    golds: list[list[str]] = [["cat"], [], []]
    scores = answer_scores(golds, ["cat", "cow", "hen"], [1.0, 1.0, 1.0], best_threshold(golds, ["cat"] * 3, [1.0] * 3))
    assert scores["f1"] == pytest.approx(2 / 3)
    assert scores["best_f1"] == 1.0  # as the evaluation has it, which no threshold can give


def test_many_questions_take_no_time() -> None:
    count = 20_000
    golds: list[list[str]] = [[] if i % 3 else ["cat"] for i in range(count)]
    odds = np.random.default_rng(0).normal(size=count).tolist()
    assert best_threshold(golds, ["cat"] * count, odds) < min(odds) + 10
