"""Scores, compared with counts of our own, with seqeval's strict mode and with scikit-learn."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2
from sklearn.metrics import f1_score as sklearn_f1

from bertft.scoring.tagging import entity_f1, entity_scores, strict_f1, tag_scores

quick = settings(max_examples=60)
TYPES = ("PER", "creative-work", "LOC")
TAGS = ("O", *(f"{prefix}-{kind}" for kind in TYPES for prefix in "BI"))
Sentences = list[list[str]]


def valid(tags: list[str]) -> list[str]:
    """Turn every I- that continues nothing into a B-."""
    out: list[str] = []
    for tag in tags:
        before = out[-1] if out else "O"
        broken = tag.startswith("I-") and before[2:] != tag[2:]
        out.append("B" + tag[1:] if broken else tag)
    return out


def spans(sentences: Sentences) -> set[tuple[int, int, int, str]]:
    """Count entities of valid BIO: each B- with the I- behind it."""
    found = set()
    for s, tags in enumerate(sentences):
        for i, tag in enumerate(tags):
            if tag.startswith("B-"):
                end = i + 1
                while end < len(tags) and tags[end].startswith("I-"):
                    end += 1
                found.add((s, i, end, tag[2:]))
    return found


def prf(gold: set[tuple[int, int, int, str]], found: set[tuple[int, int, int, str]]) -> tuple[float, float, float]:
    correct = len(gold & found)
    precision = correct / len(found) if found else 0.0
    recall = correct / len(gold) if gold else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if correct else 0.0


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Sentences, Sentences]:
    lengths = draw(st.lists(st.integers(1, 8), min_size=1, max_size=4))
    sides = [[draw(st.lists(st.sampled_from(TAGS), min_size=n, max_size=n)) for n in lengths] for _ in range(2)]
    return sides[0], sides[1]


@quick
@given(case=pairs())
def test_entities_are_counted_as_spans(case: tuple[Sentences, Sentences]) -> None:
    gold, predicted = ([valid(tags) for tags in side] for side in case)
    scores = entity_scores(gold, predicted)
    there, found = spans(gold), spans(predicted)
    assert (scores["precision"], scores["recall"], scores["f1"]) == pytest.approx(prf(there, found), abs=1e-9)
    assert scores["support"] == len(there)
    kinds = {kind for *_, kind in there | found}
    assert set(scores["per_label"]) == kinds
    each = {kind: prf({x for x in there if x[3] == kind}, {x for x in found if x[3] == kind}) for kind in kinds}
    for kind in kinds:
        row = scores["per_label"][kind]
        assert (row["precision"], row["recall"], row["f1"]) == pytest.approx(each[kind], abs=1e-9)
        assert row["support"] == sum(x[3] == kind for x in there)
    macro = [sum(values) / len(kinds) for values in zip(*each.values(), strict=True)] if kinds else [0.0, 0.0, 0.0]
    assert [scores["macro_precision"], scores["macro_recall"], scores["macro_f1"]] == pytest.approx(macro, abs=1e-9)
    words = [a == b for g, p in zip(gold, predicted, strict=True) for a, b in zip(g, p, strict=True)]
    assert scores["accuracy"] == pytest.approx(sum(words) / len(words), abs=1e-9)
    assert entity_f1(gold, predicted) == scores["f1"]


@quick
@given(case=pairs())
def test_strict_f1_is_that_of_seqeval_on_invalid_sequences(case: tuple[Sentences, Sentences]) -> None:
    gold, predicted = case
    expected = f1_score(gold, predicted, mode="strict", scheme=IOB2, zero_division=0)
    assert strict_f1(gold, predicted, "BIO") == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("scheme", "gold"),
    [
        ("IOB1", ["I-PER", "I-PER", "B-PER", "O", "I-LOC"]),
        ("BIO", ["B-PER", "I-PER", "B-PER", "O", "B-LOC"]),
        ("IOE1", ["I-PER", "E-PER", "I-PER", "O", "I-LOC"]),
        ("IOE2", ["I-PER", "E-PER", "E-PER", "O", "E-LOC"]),
        ("BIOES", ["B-PER", "E-PER", "S-PER", "O", "S-LOC"]),
        ("BILOU", ["B-PER", "L-PER", "U-PER", "O", "U-LOC"]),
    ],
)
def test_strict_f1_reads_the_gold_in_its_own_scheme(scheme: str, gold: list[str]) -> None:
    predicted = ["B-PER", "I-PER", "B-PER", "O", "B-LOC"]
    assert strict_f1([gold], [predicted], scheme) == 1.0
    assert strict_f1([gold], [[*predicted[:4], "O"]], scheme) == pytest.approx(0.8)


def test_gold_against_itself_is_1() -> None:
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["O"], ["B-creative-work", "B-creative-work"]]
    scores = entity_scores(gold, gold)
    assert [scores[key] for key in ("f1", "precision", "recall", "macro_f1", "accuracy")] == [1.0] * 5
    assert [row["f1"] for row in scores["per_label"].values()] == [1.0] * 3
    assert strict_f1(gold, gold, "BIO") == 1.0


@pytest.mark.parametrize(
    ("gold", "predicted", "support"),
    [([["O", "O"]], [["O", "O"]], 0), ([["B-PER", "O"]], [["O", "O"]], 1), ([["O", "O"]], [["B-PER", "O"]], 0)],
)
def test_where_there_is_nothing_to_find_or_nothing_found_a_score_is_0(
    gold: Sentences, predicted: Sentences, support: int
) -> None:
    scores = entity_scores(gold, predicted)
    assert [scores[key] for key in ("f1", "precision", "recall", "macro_f1")] == [0.0] * 4
    assert scores["support"] == support
    assert strict_f1(gold, predicted, "BIO") == 0.0


def test_a_type_that_only_the_gold_has_is_scored_as_missed() -> None:
    scores = entity_scores([["B-PER", "B-NEW"]], [["B-PER", "O"]])
    assert scores["per_label"]["NEW"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert scores["recall"] == 0.5


@st.composite
def plain_pairs(draw: st.DrawFn) -> tuple[Sentences, Sentences]:
    tag = st.sampled_from(["NOUN", "VERB", "DET", ".", "10", "2"])
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    sides = [[draw(st.lists(tag, min_size=n, max_size=n)) for n in lengths] for _ in range(2)]
    return sides[0], sides[1]


@quick
@given(case=plain_pairs())
def test_plain_tags_are_counted_word_by_word(case: tuple[Sentences, Sentences]) -> None:
    gold, predicted = case
    scores = tag_scores(gold, predicted)
    words = [(a, b) for g, p in zip(gold, predicted, strict=True) for a, b in zip(g, p, strict=True)]
    labels = sorted({tag for pair in words for tag in pair})
    right, there, found = (
        Counter(a for a, b in words if a == b),
        Counter(a for a, _ in words),
        Counter(b for _, b in words),
    )
    f1 = {label: 2 * right[label] / (there[label] + found[label]) for label in labels}
    assert scores["accuracy"] == pytest.approx(sum(right.values()) / len(words), abs=1e-9)
    assert scores["macro_f1"] == pytest.approx(sum(f1.values()) / len(labels), abs=1e-9)
    assert scores["support"] == len(words)
    assert {label: row["f1"] for label, row in scores["per_label"].items()} == pytest.approx(f1, abs=1e-9)
    assert {label: row["support"] for label, row in scores["per_label"].items()} == {x: there[x] for x in labels}
    flat = [[a for a, _ in words], [b for _, b in words]]
    assert scores["macro_f1"] == pytest.approx(
        sklearn_f1(*flat, average="macro", labels=labels, zero_division=0), abs=1e-9
    )


def test_plain_gold_against_itself_is_1() -> None:
    gold = [["DET", "NOUN"], ["VERB"]]
    scores = tag_scores(gold, gold)
    assert (scores["accuracy"], scores["macro_f1"]) == (1.0, 1.0)


def test_many_different_tags_raise_no_warning() -> None:
    gold = [[f"T{i}" for i in range(30)]]
    assert tag_scores(gold, gold)["accuracy"] == 1.0
