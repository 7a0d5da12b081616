"""Questions: gold answers and their tokens, windows, the best spans, "no answer", and what is written."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from bertft.data import squad
from bertft.data.row import Place, Row
from bertft.encoders.subwords import SubwordTokenizer
from bertft.errors import DataError, ModelError, UsageError
from bertft.tasks import task_class
from bertft.tasks.base import Counts, Window, WindowSize
from bertft.tasks.qa import Candidate, Qa, Reply, divide
from bertft.tasks.question import Gold, locate
from bertft.text.spans import best_spans, edges, tokens_of, without_blanks

BASE = Callable[[str], Path]
FAMILIES = ("bert-cased", "bert-uncased", "roberta", "modernbert", "albert", "xlm-roberta")
families = pytest.mark.parametrize("family", FAMILIES)

AWKWARD = (
    "😀",
    "👩‍👩‍👧‍👦",
    "é",
    "e\u0301",
    "\u0301",
    "İ",
    "ﬁ",
    "日本語",
    "\u200b",
    "\u2028",
    "\x1c",
    "\xa0",
    "▁",
    "Ġ",
    "##ing",
    "<s>",
    "[SEP]",
)
PIECE = st.one_of(
    st.sampled_from(AWKWARD),
    st.sampled_from(["Paris", "the quick", " ", "  ", "\n", "\t", ".", "unbelievable", "3.50", "New Haven"]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6),
)
TEXT = st.lists(PIECE, max_size=25).map("".join)
TASK = Qa()
KNOWING = Qa(null=True)


@cache
def encoder(family: str) -> SubwordTokenizer:
    made = tiny.FAMILIES[family]
    names = made.tokenizer_config
    backend = made.tokenizer()
    return SubwordTokenizer.of(backend, unk_token=names["unk_token"], pad_token=names["pad_token"], presplit=False)


def row(context: str = "The cat sat on the mat.", *, line: int = 1, question: str = "Who sat?", **values: Any) -> Row:
    return Row(Place("data.json", line), {"question": question, "context": context, **values})


def question(context: str, *golds: tuple[str, int], **values: Any) -> Any:
    answers = [{"text": text, "answer_start": start} for text, start in golds]
    return TASK.parse(row(context, answers=answers, **values), labelled=True)


def unlabelled(context: str, asked: str = "Who sat?") -> Any:
    return TASK.parse(row(context, question=asked), labelled=False)


def perfect(windows: Sequence[Window]) -> list[Any]:
    """Return the logits of a model that knows the targets."""
    found = []
    for window in windows:
        logits = np.zeros((len(window.input_ids), 2), dtype=np.float32)
        for side in (0, 1):
            logits[window.target[side], side] = 9  # type: ignore[index]
        found.append(logits)
    return found


def answered(task: Qa, example: Any, windows: Sequence[Window], logits: Sequence[Any]) -> Any:
    return task.decode(example, task.reduce(windows, logits))


# -- gold answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "start", "found"),
    [
        ("cat", 4, Gold("cat", 4)),
        ("cat", 5, Gold("cat", 4)),  # moved
        ("cat", None, Gold("cat", 4)),
        ("cat", 999, Gold("cat", 4)),
        (" mat ", 19, Gold("mat", 19)),  # there without its blanks
        ("  cat\n", 0, Gold("cat", 4)),
        (" cat", 3, Gold(" cat", 3)),
        ("at", 5, Gold("at", 5)),  # occurs three times, but the offset says which
        ("at", 6, None),
        ("at", None, None),
        ("Cat", 4, None),
        ("dog", 4, None),
        ("   ", 3, None),
    ],
)
def test_gold_answers_are_located(text: str, start: int | None, found: Gold | None) -> None:
    assert locate("The cat sat on the mat.", text, start) == found


def test_what_is_done_to_gold_answers_is_counted_and_located() -> None:
    rows = [
        row(line=3, id="fine", answers=[{"text": "cat", "answer_start": 4}]),
        row(line=4, id="moved", answers=[{"text": "cat", "answer_start": 3}, {"text": "mat", "answer_start": 0}]),
        row(line=5, id="bare", answers="mat"),
        row(line=6, id="partly", answers={"text": ["dog", "cat"], "answer_start": [1, 4]}),
        row(line=7, id="lost", answers=[{"text": "dog", "answer_start": 4}]),
        row(line=8, id="vague", answers=["at"]),
        row(line=9, id="none", answers=[]),
        row(line=10, id="contrary", is_impossible=True, answers=["mat"]),
    ]
    kept, notes, warnings = TASK.convert([TASK.parse(one, labelled=True) for one in rows])
    assert [example.id for example in kept] == ["fine", "moved", "bare", "partly", "none"]
    assert [gold for example in kept for gold in example.answers] == [
        ("cat", 4),
        ("cat", 4),
        ("mat", 19),
        ("mat", 19),
        ("cat", 4),
    ]
    told = [*notes, *warnings]
    for start, place in {
        "1 of 5 questions have no answer": "",
        "1 answers had no offset": "data.json:5, question 'bare'",
        "2 answers are not where their offset says": "data.json:4, question 'moved'",
        "1 of several answers": "data.json:6, question 'partly'",
        "2 questions are left out, as": "data.json:7, question 'lost'",
        "1 questions are left out: marked as impossible": "data.json:10, question 'contrary'",
    }.items():
        (sentence,) = [sentence for sentence in told if sentence.startswith(start)]
        assert sentence.endswith(place)
    assert len(told) == 6


def test_a_model_that_always_answers_says_so_of_questions_without_answer() -> None:
    example = question("A cat.")
    assert TASK.convert([example])[2] == []
    (warning,) = Qa(null=False).convert([example])[2]
    assert "always answers" in warning


def test_files_without_usable_gold_are_refused() -> None:
    with pytest.raises(DataError, match="no record"):
        TASK.convert([])
    with pytest.raises(DataError, match=r"(?s)stands in its context.*data.json:1, question 'x'"):
        TASK.convert([question("A cat.", ("dog", 0), id="x")])
    with pytest.raises(DataError, match=r"(?s)nothing to learn.*data.json:1"):
        TASK.prepare([question("A cat.")])


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"question": "a?"},
        {"question": "a?", "context": None, "answers": []},
        {"question": 3, "context": "a", "answers": []},
        {"question": "a?", "context": "a"},
        {"question": "a?", "context": "a", "answers": 7},
        {"question": "a?", "context": "a", "answers": [{"text": "a", "answer_start": -7}]},
    ],
)
def test_rows_that_are_no_questions_are_refused_with_their_place(values: dict[str, Any]) -> None:
    with pytest.raises(DataError) as caught:
        TASK.parse(Row(Place("data.json", 7), values), labelled=True)
    assert caught.value.place == Place("data.json", 7)


def test_what_a_question_is_called_and_grouped_by() -> None:
    named, bare = row(id=12, title="Cats"), row()
    assert TASK.parse(named, labelled=False).id == "12"
    assert TASK.parse(bare, labelled=False).id == "data.json:1"
    assert TASK.group(TASK.parse(named, labelled=False)) == ("Cats",)
    assert TASK.group(TASK.parse(bare, labelled=False)) == ("The cat sat on the mat.",)
    assert list(TASK.labels_of(TASK.parse(bare, labelled=False))) == []
    assert [*TASK.labels_of(question("A cat.")), *TASK.labels_of(question("A cat.", ("cat", 2)))] == [
        "unanswerable",
        "answerable",
    ]


def test_half_a_surrogate_pair_is_read_and_keeps_offsets() -> None:
    example = question("a \ud83d cat", ("\ud83d cat", 2))
    assert example.answers == (("? cat", 2),)


def test_whether_there_are_questions_without_answer_is_learnt_and_kept() -> None:
    both = [question("A cat.", ("cat", 2)), question("A cat.")]
    learnt, notes = TASK.prepare(both)
    assert learnt.null
    assert notes
    assert not TASK.prepare(both[:1])[0].null
    tuned = Qa(null=True, no_answer_threshold=1.25)
    assert Qa.restore({}, json.loads(json.dumps(tuned.state()))) == tuned
    assert Qa.restore({}, {}).null is None
    assert Qa.of_model(["LABEL_0", "LABEL_1"], {}).null
    assert task_class("qa") is Qa


@pytest.mark.parametrize("options", [{"n_best": 0}, {"max_answer_length": -1}])
def test_options_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="not more than 0"):
        Qa.restore(options, {})


# -- characters and tokens ---------------------------------------------------------------------------------------------


@families
def test_an_answer_is_the_shortest_that_covers_the_gold_characters(family: str) -> None:
    @given(text=TEXT, data=st.data())
    def check(text: str, data: st.DataObject) -> None:
        encoded = encoder(family).encode_texts([text])[0]
        spans = without_blanks(encoded.offsets, text)
        pairs = list(zip(spans[::2], spans[1::2], strict=True))
        for (start, end), (a, b) in zip(pairs, encoded.offsets, strict=True):
            assert start == end or (text[start:end] == text[a:b].strip() and a <= start < end <= b)
        solid = [(i, a, b) for i, (a, b) in enumerate(pairs) if a < b]
        firsts = {i: a for i, a, _ in solid if all(c < a for j, c, _ in solid if j < i)}
        lasts = {i: b for i, _, b in solid if all(c > b if j > i else c <= b for j, _, c in solid)}
        allowed = edges(spans)
        assert {i: a for i, a in enumerate(allowed[::2]) if a >= 0} == firsts
        assert {i: b for i, b in enumerate(allowed[1::2]) if b >= 0} == lasts
        assert all(firsts[i] < lasts[j] for i in firsts for j in lasts if i <= j)

        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, len(text)))
        met = [i for i, a, b in solid if a < end and b > start]
        found = tokens_of(spans, start, end)
        choices = [(i, j) for i in firsts for j in lasts if met and i <= met[0] and j >= met[-1]]
        assert found == min(choices, key=lambda pair: pair[1] - pair[0], default=None)
        if found is None:
            return
        low, high = firsts[found[0]], lasts[found[1]]
        covered = {c for _, a, b in solid for c in range(a, b)}  # what did not vanish in the normaliser
        in_order = all(one[1] <= two[1] and one[2] <= two[2] for one, two in itertools.pairwise(solid))
        apart = all(one[1:] == two[1:] or one[2] <= two[1] for one, two in itertools.pairwise(solid))
        if in_order:
            assert {c for c in range(start, end) if c in covered} <= set(range(low, high))
        bare = text[start:end].strip()
        begin = start + len(text[start:end]) - len(text[start:end].lstrip())
        if apart and begin in firsts.values() and begin + len(bare) in lasts.values():
            assert text[low:high] == bare

    check()


@families
def test_a_gold_answer_of_words_comes_back_to_the_letter(family: str) -> None:
    @given(
        words=st.lists(
            st.sampled_from(["Paris", "Ada", "rain", "café", "unbelievable", "12"]), min_size=1, max_size=30
        ),
        data=st.data(),
    )
    def check(words: list[str], data: st.DataObject) -> None:
        blank = st.sampled_from([" ", "  ", "\n", " \t "])
        context = data.draw(blank) + "".join(word + data.draw(blank) for word in words)
        first = data.draw(st.integers(0, len(words) - 1))
        more = data.draw(st.integers(0, 2))
        places, at = [], 0
        for word in words:
            at = context.index(word, at)
            places.append((at, at + len(word)))
            at += len(word)
        at, end = places[first][0], places[min(first + more, len(words) - 1)][1]
        example = question(context, (context[at:end], at))
        windows, _ = TASK.features([example], encoder(family), WindowSize(300, 40))
        reply = answered(Qa(null=False), example, windows, perfect(windows))
        shown = Qa(null=False).render(example, reply, scores=False)
        assert (shown["answer"], shown["start"], shown["end"]) == (context[at:end], at, end)

    check()


# -- windows -----------------------------------------------------------------------------------------------------------


@families
def test_windows_hold_question_and_context_and_targets_are_in_place(family: str) -> None:
    ready = encoder(family)

    @given(
        asked=st.one_of(TEXT, st.just("why " * 60)),
        context=TEXT,
        length=st.integers(2, 60),
        data=st.data(),
    )
    def check(asked: str, context: str, length: int, data: st.DataObject) -> None:
        size = WindowSize(length + ready.pair.specials, data.draw(st.integers(0, length - 1)))
        solid = [i for i, c in enumerate(context) if not c.isspace()]
        gold = []
        if solid:
            start = data.draw(st.sampled_from(solid))
            gold = [(context[start : start + data.draw(st.integers(1, 8))], start)]
        example = question(context, *gold, question=asked)
        windows, counts = TASK.features([example], ready, size)
        whole, inner = ready.encode_texts([context, example.question])
        shift = len(ready.pair.before) + len(ready.pair.between)
        read = set()
        target = None
        if gold:
            spans = without_blanks(whole.offsets, context)
            target = tokens_of(spans, gold[0][1], gold[0][1] + len(gold[0][0]))
        met = False
        for window in windows:
            kept = len(window.input_ids) - ready.pair.specials - len(window.owned)
            assert len(window.input_ids) <= size.length
            assert window.input_ids[len(ready.pair.before) :][:kept] == inner.ids[:kept]
            assert len(window.spans) == 2 * len(window.owned)
            assert window.input_ids[0] == ready.pair.before[0]
            mine = [window.input_ids[i] for i in window.owned]
            begin = (
                next(b for b in range(len(whole.ids) + 1) if b not in read and whole.ids[b : b + len(mine)] == mine)
                if mine
                else 0
            )
            read.add(begin)
            assert list(window.owned)[:1] in ([], [kept + shift])
            assert window.target is not None
            if window.target != (0, 0):
                met = True
                a, b = (position - kept - shift for position in window.target)  # type: ignore[union-attr]
                assert target is not None
                assert mine[a : b + 1] == whole.ids[target[0] : target[1] + 1]
        assert not (met and target is None)
        assert met or target is None or len(windows) > 1 or not windows[0].owned
        lost = len(inner.ids) - kept
        assert counts == Counts(
            examples=1,
            tokens=len(whole.ids) + len(inner.ids),
            windows=len(windows),
            windowed=len(windows) > 1,
            unknown=whole.unknown + inner.unknown,
            cut=lost > 0,
            unread=lost,
        )

    check()


@given(asked=st.integers(0, 900), context=st.integers(0, 900), room=st.integers(2, 700))
def test_a_question_is_cut_only_where_it_must_be(asked: int, context: int, room: int) -> None:
    kept, left = divide(asked, context, room)
    assert kept + min(context, left) <= room
    assert left >= 1
    if asked + context <= room or asked + max(64, room // 4 + 1) <= room:
        assert kept == asked
    if kept < asked:
        assert left >= min(context, 64, (room + 1) // 2)


def test_windows_share_at_most_half_of_the_context() -> None:
    example = question("word " * 500, question="why " * 100)
    windows, counts = TASK.features([example], encoder("bert-cased"), WindowSize(120, 110))
    assert counts.cut == 1
    assert len(windows) < 40


def test_windows_too_small_for_two_texts_are_refused() -> None:
    ready = encoder("bert-cased")
    with pytest.raises(UsageError, match="no room"):
        TASK.features([unlabelled("A cat.")], ready, WindowSize(ready.pair.specials + 1, 0))


def test_a_tokenizer_without_a_first_special_token_is_refused() -> None:
    class Bare:
        pair = encoder("bert-cased").single.__class__((), (1,), (1,), (0, 0, 0, 0, 0))

    with pytest.raises(ModelError, match="CLS"):
        TASK.features([unlabelled("A cat.")], Bare(), WindowSize(64, 0))  # type: ignore[arg-type]


@families
def test_the_target_of_an_answer_is_the_first_gold_one(family: str) -> None:
    example = question("The cat sat on the mat.", ("mat", 19), ("cat", 4))
    windows, _ = TASK.features([example], encoder(family), WindowSize(64, 8))
    first, last = windows[0].target  # type: ignore[misc]
    index = {position: i for i, position in enumerate(windows[0].owned)}
    assert windows[0].spans[2 * index[first]] == 19
    assert windows[0].spans[2 * index[last] + 1] == 22
    assert TASK.features([question("The cat.")], encoder(family), WindowSize(64, 8))[0][0].target == (0, 0)
    assert TASK.features([unlabelled("The cat.")], encoder(family), WindowSize(64, 8))[0][0].target is None


# -- spans -------------------------------------------------------------------------------------------------------------

FINITE = st.one_of(st.sampled_from([-math.inf, 0.0, 1.0]), st.floats(-20, 20, width=32))


def fp32_sum(start: Any, end: Any) -> float:
    return float(np.float32(start) + np.float32(end))


@given(
    batch=st.lists(st.lists(st.tuples(FINITE, FINITE), max_size=40), max_size=5),
    longest=st.integers(1, 45),
    count=st.integers(1, 30),
    exact=st.booleans(),
)
def test_best_spans_are_the_best_of_all(
    batch: list[list[tuple[float, float]]], longest: int, count: int, exact: bool
) -> None:
    width = max(map(len, batch), default=0)
    logits = np.full((len(batch), width, 2), -math.inf, dtype=np.float64 if exact else np.float32)
    expected = []
    for window, pairs in enumerate(batch):
        logits[window, : len(pairs)] = np.array(pairs).reshape(-1, 2)
        every = [
            (-((pairs[i][0] + pairs[j][1]) if exact else fp32_sum(pairs[i][0], pairs[j][1])), i, j)
            for i in range(len(pairs))
            for j in range(i, min(i + longest, len(pairs)))
        ]
        expected.append(sorted(span for span in every if span[0] < math.inf)[:count])
    first, last, score = best_spans(logits[..., 0], logits[..., 1], longest=longest, count=count)
    assert first.shape == last.shape == score.shape
    assert score.shape[1] <= count
    for spans, *found in zip(expected, -score, first, last, strict=True):
        some = len(spans)
        assert [*zip(*(values[:some].tolist() for values in found), strict=True)] == spans
        assert np.isposinf(found[0][some:]).all()


@families
@pytest.mark.parametrize("null", [True, False])
def test_answers_are_the_best_of_all_spans_of_all_windows(family: str, null: bool) -> None:
    ready = encoder(family)

    @given(
        context=TEXT,
        length=st.integers(4, 40),
        longest=st.integers(1, 12),
        count=st.integers(1, 9),
        seed=st.integers(0, 2**32 - 1),
        data=st.data(),
    )
    def check(context: str, length: int, longest: int, count: int, seed: int, data: st.DataObject) -> None:
        task = Qa.restore({"max_answer_length": longest, "n_best": count}, {"null": null})
        size = WindowSize(length + ready.pair.specials, data.draw(st.integers(0, length - 1)))
        example = unlabelled(context)
        windows, _ = task.features([example], ready, size)
        generator = np.random.default_rng(seed)
        logits = [generator.normal(size=(len(w.input_ids), 2)).astype(np.float32) for w in windows]
        every: dict[tuple[int, int], float] = {}
        for window, scores in zip(windows, logits, strict=True):
            own = list(window.owned)
            for i in range(len(own)):
                for j in range(i, min(i + longest, len(own))):
                    span = window.spans[2 * i], window.spans[2 * j + 1]
                    if -1 in span:
                        continue
                    score = fp32_sum(scores[own[i], 0], scores[own[j], 1])
                    every[span] = max(score, every.get(span, -math.inf))
        nothing = min(fp32_sum(*scores[0]) for scores in logits)
        best = sorted(every.items(), key=lambda item: -item[1])
        reply = answered(task, example, windows, logits)
        assert [(c.start, c.end, c.score) for c in reply.candidates] == [
            (*span, pytest.approx(score, abs=1e-9)) for span, score in best[:count]
        ]
        assert bool(reply.candidates) == bool(every)
        if every:
            assert reply.null_odds == pytest.approx(nothing - best[0][1], abs=1e-9)
        weights = [math.exp(score) for _, score in best[:count]]
        total = sum(weights) + math.exp(nothing) * null
        for candidate, weight in zip(reply.candidates, weights, strict=True):
            assert candidate.probability == pytest.approx(weight / total, abs=1e-9)
        assert reply.null == (pytest.approx(math.exp(nothing) / total, abs=1e-9) if null else None)
        shown = task.render(example, reply, scores=True)
        assert (shown["answer"] is None) == (not every or (null and reply.null_odds > 0))
        for one in [shown] * (shown["answer"] is not None) + shown["candidates"]:
            assert one["answer"] == context[one["start"] : one["end"]] == one["answer"].strip() != ""
        json.dumps(shown, allow_nan=False)

    check()


def test_what_a_diverged_model_says_is_no_answer() -> None:
    ready = encoder("bert-cased")
    windows, _ = KNOWING.features([unlabelled("A cat sat.")], ready, WindowSize(64, 8))
    for wrong in (math.nan, math.inf, -math.inf):
        logits = np.zeros((len(windows[0].input_ids), 2), dtype=np.float32)
        logits[list(windows[0].owned)] = wrong
        (reply,) = KNOWING.reduce(windows, [logits])
        assert reply.candidates == ()
        assert reply.null == 1.0


@families
def test_windows_find_what_the_whole_finds(family: str) -> None:
    ready = encoder(family)

    @given(context=TEXT, seed=st.integers(0, 2**32 - 1), data=st.data())
    def check(context: str, seed: int, data: st.DataObject) -> None:
        longest = data.draw(st.integers(1, 6))
        task = Qa.restore({"max_answer_length": longest}, {"null": True})
        example = unlabelled(context, "")
        tokens = len(ready.encode_texts([context])[0].ids)
        logits = np.random.default_rng(seed).normal(size=(tokens, 2)).astype(np.float32)

        def answer(length: int, stride: int) -> dict[str, Any]:
            windows, _ = task.features([example], ready, WindowSize(length + ready.pair.specials, stride))
            scores, begin = [], 0
            for window in windows:
                own = list(window.owned)
                full = np.zeros((len(window.input_ids), 2), dtype=np.float32)
                full[own] = logits[begin : begin + len(own)]
                scores.append(full)
                begin += length - stride
            reply = answered(task, example, windows, scores)
            return {**reply._asdict(), "spans": reply.spans.tolist()}

        whole = answer(max(tokens, 2), 0)
        # neighbours that share all but one of a span's tokens hold it between them
        stride = data.draw(st.integers(max(longest - 1, 1), 12))
        assert answer(data.draw(st.integers(2 * stride, 40)), stride) == whole

    check()


def test_every_window_of_a_context_says_whether_there_is_an_answer_and_the_least_counts() -> None:
    windows = [Reply(None, np.array([[0, 1, score]]), score, null, None) for score, null in ((1.0, 3.0), (2.0, -1.0))]
    reply = KNOWING.decode(unlabelled("A cat."), windows)
    assert reply.null_odds == -3.0
    assert [candidate.score for candidate in reply.candidates] == [2.0]


# -- scores and answers ------------------------------------------------------------------------------------------------


def reply_of(context: str, text: str, *, odds: float, null: float | None) -> Reply:
    start = context.index(text)
    best, total = Candidate(start, start + len(text), 2.0, 0.75), 2.0 - math.log(0.75)
    return Reply(best, np.array([best[:3]]), total, 2.0 + odds, null)


def test_the_threshold_is_tuned_on_development_data_and_used() -> None:
    context = "The cat sat on the mat."
    pairs = [
        (question(context, ("cat", 4), id="a"), reply_of(context, "cat", odds=1.0, null=0.6)),
        (question(context, id="b"), reply_of(context, "mat", odds=2.0, null=0.8)),
    ]
    assert KNOWING.score(pairs)["f1"] == 0.5
    tuned = KNOWING.tune(pairs)
    assert tuned.no_answer_threshold == 1.5
    scores = tuned.score(pairs)
    assert {key: scores[key] for key in tuned.headline} == {"exact_match": 1.0, "f1": 1.0}
    assert scores["has_ans_exact"] == scores["no_ans_f1"] == scores["best_f1"] == 1.0
    assert scores[tuned.best_metric] == 1.0
    assert [tuned.render(*pair, scores=False)["answer"] for pair in pairs] == ["cat", None]
    assert tuned.tune(pairs[:1]) == tuned  # nothing to choose by
    always = Qa(null=False)
    assert always.tune(pairs) == always
    assert always.score(pairs)["no_ans_exact"] == 0.0


def test_scores_need_gold() -> None:
    with pytest.raises(DataError, match="no question to score"):
        TASK.score([])
    with pytest.raises(DataError, match="no answers to score against"):
        TASK.score([(unlabelled("A cat."), reply_of("A cat.", "cat", odds=0.0, null=None))])


def test_answers_as_they_are_written() -> None:
    context = "The cat sat."
    example = question(context, ("cat", 4), id="q")
    sure = reply_of(context, "cat", odds=-1.5, null=0.123456)
    span = {"answer": "cat", "start": 4, "end": 7, "score": 0.75}
    assert Qa(null=False).render(example, reply_of(context, "cat", odds=9.0, null=None), scores=False) == span
    assert KNOWING.render(example, sure, scores=False) == {**span, "no_answer_score": 0.1235}
    unsure = reply_of(context, "cat", odds=1.5, null=0.8)
    assert KNOWING.render(example, unsure, scores=False) == {"answer": None, "no_answer_score": 0.8}
    assert KNOWING.render(example, unsure, scores=True) == {
        "answer": None,
        "no_answer_score": 0.8,
        "candidates": [span],
        "null_odds": 1.5,
    }
    assert KNOWING.cells(example, sure) == {
        "answer": "cat",
        "start": "4",
        "end": "7",
        "score": "0.7500",
    }
    assert KNOWING.cells(example, unsure) == {
        "answer": "",
        "start": "",
        "end": "",
        "score": "0.8000",
    }
    assert KNOWING.columns(example, sure) is None


def test_references_are_as_evaluate_takes_them() -> None:
    context = "The cat sat."
    pair = question(context, ("cat", 4), id="q"), reply_of(context, "cat", odds=-1.0, null=0.25)
    gold = {"id": "q", "answers": {"text": ["cat"], "answer_start": [4]}}
    assert KNOWING.references([pair]) == ([gold], [{"id": "q", "prediction_text": "cat"}])
    silent = question(context, id="r"), reply_of(context, "sat", odds=1.0, null=0.5)
    golds, guesses = KNOWING.references([pair, silent])
    assert golds[1] == {"id": "r", "answers": {"text": [], "answer_start": []}}
    assert guesses[0] == {"id": "q", "prediction_text": "cat", "no_answer_probability": 0.25}
    assert guesses[1] == {"id": "r", "prediction_text": "", "no_answer_probability": 0.5}


# -- with a model ------------------------------------------------------------------------------------------------------


@cache
def model_of(directory: Path) -> Any:
    import torch
    import transformers

    with torch.random.fork_rng():
        torch.manual_seed(1)
        return transformers.AutoModelForQuestionAnswering.from_pretrained(directory).eval()


def engine_of(base: BASE, family: str, *, length: int = 64, batch_tokens: int = 4096, null: bool = True) -> Any:
    from bertft.inference.engine import Engine
    from bertft.inference.pytorch import TorchBackend

    transformers_log_level()
    ready = encoder(family)
    backend = TorchBackend(model_of(base(family)), ready.pad)
    return Engine(Qa(null=null), ready, WindowSize(length, 16), backend, batch_tokens)


def transformers_log_level() -> None:
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


ODD = {
    "empty context": ("Who?", ""),
    "blank context": ("Who?", " \n\t"),
    "empty question": ("", "The cat sat on the mat."),
    "both empty": ("", ""),
    "unknown": ("鬱?", "鬱ꙮ 鬱"),
    "vanishing": ("\u200b", "\u200b\u00ad"),
    "50 000 characters": ("Who sat?", "The cat sat on the mat. " * 2100),
    "a long question": ("Who sat on the mat? " * 300, "The cat sat on the mat."),
    "one word": ("Who?", "Paris"),
}


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_odd_input_is_answered(base: BASE, family: str) -> None:
    for null in (True, False):
        cases = (
            list(ODD.values()) if null else [(asked, context) for asked, context in ODD.values() if len(context) < 99]
        )
        examples = [unlabelled(context, asked) for asked, context in cases]
        engine = engine_of(base, family, null=null)
        replies, counts = engine.predict(examples)
        assert counts.examples == len(examples)
        for example, reply in zip(examples, replies, strict=True):
            shown = engine.task.render(example, reply, scores=True)
            if shown["answer"] is not None:
                assert (
                    shown["answer"] == example.context[shown["start"] : shown["end"]] == shown["answer"].strip() != ""
                )
            else:
                assert null or not reply.candidates
            assert set(engine.task.cells(example, reply)) == {"answer", "start", "end", "score"}
            json.dumps(shown, allow_nan=False)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_batch_size_changes_no_answer(base: BASE, family: str) -> None:
    contexts = [tiny._TEXT[i % 5] * (1 + i % 3) for i in range(12)]
    examples = [unlabelled(context, f"Who is {i}?") for i, context in enumerate(contexts)]
    large, _ = engine_of(base, family, null=False).predict(examples)
    small, _ = engine_of(base, family, null=False, batch_tokens=1).predict(examples)
    for a, b in zip(large, small, strict=True):
        assert a.candidates[0][:2] == b.candidates[0][:2]
        assert a.candidates[0].probability == pytest.approx(b.candidates[0].probability, abs=1e-5)
        assert a.null_odds == pytest.approx(b.null_odds, abs=1e-4)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_learns_questions_by_heart(base: BASE, family: str) -> None:
    import copy
    import dataclasses

    import torch

    from bertft.inference.batches import padded
    from bertft.inference.pytorch import TorchBackend, outputs, takes_segments
    from bertft.training import losses

    examples = []
    for sentence in tiny.sentences()[12:]:
        context = " ".join(word for word, _ in sentence)
        names = [word for word, tag in sentence if tag == "B-PER"]
        examples.append(question(context, *((name, context.index(name)) for name in names), question="Who?"))
    task, _ = Qa().prepare(examples)
    assert task.null
    engine = engine_of(base, family)
    windows, _ = task.features(examples, engine.encoder, engine.window)
    model = copy.deepcopy(engine.backend.model)  # without dropout
    objective = task.objective(examples)
    arrays = padded(windows, engine.encoder.pad, segments=takes_segments(model))
    batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
    labels = losses.targets(objective, [window.target for window in windows])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(120):
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1, step / 20, (120 - step) / 60)
        optimizer.zero_grad()
        losses.loss(objective, outputs(model(**batch)), labels, count=None, model=model).backward()
        optimizer.step()
    engine = dataclasses.replace(engine, task=task, backend=TorchBackend(model, engine.encoder.pad))
    pairs, _ = engine.evaluate(examples)
    scores = task.tune(pairs).score(pairs)
    assert scores["f1"] == scores["exact_match"] == 1.0
    assert scores["has_ans_f1"] == scores["no_ans_f1"] == 1.0


# -- the sample and public data ----------------------------------------------------------------------------------------


def test_the_sample_is_sound() -> None:
    path = Path(__file__).parents[2] / "recipes" / "samples" / "warranty-qa.json"
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    examples = [TASK.parse(one, labelled=True) for one in squad.rows(articles, lambda _: 1, str(path))]
    kept, notes, warnings = TASK.convert(examples)
    assert len(kept) == len(examples) == 45
    assert len({example.title for example in kept}) == 10
    assert notes == ["13 of 45 questions have no answer"]
    assert warnings == []
    for example in kept:
        for text, start in example.answers:
            assert example.context[start : start + len(text)] == text.strip()


def test_public_files_lose_no_question(shared: Path) -> None:
    for name, count in {"squadshifts/new_wiki_v1.0.json": 7938, "squad2-cs224n/dev-v2.0.json": 6078}.items():
        path = shared / "data" / name
        if not path.exists():
            pytest.skip(f"needs {path}")
        articles = json.loads(path.read_text(encoding="utf-8"))["data"]
        kept, _, warnings = TASK.convert(
            [TASK.parse(one, labelled=True) for one in squad.rows(articles, lambda _: 1, name)]
        )
        assert len(kept) == count
        assert warnings == []
