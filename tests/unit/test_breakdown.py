"""Where a model fails: entities matched as nervaluate matches them, kinds of error, confusions and parts of a file."""

from __future__ import annotations

import random
from dataclasses import asdict

import pytest

from bertft.report.table import detail_tables, score_table
from bertft.scoring import spans
from bertft.scoring.breakdown import by_length, confusion, details, question_word, surface_forms
from bertft.scoring.outcomes import Outcomes
from bertft.text.schemes import EntitySpan, write_bio

nervaluate = pytest.importorskip("nervaluate", reason="a development dependency")

LABELS = ("PER", "LOC", "ORG")
Sentence = list[EntitySpan]


def some(rng: random.Random, length: int) -> Sentence:
    """Return entities that do not overlap, in order."""
    found, at = [], 0
    while at < length:
        end = min(length, at + rng.randint(1, 4))
        if rng.random() < 0.5:
            found.append(EntitySpan(at, end, rng.choice(LABELS)))
        at = end
    return found


@pytest.mark.parametrize("seed", range(40))
def test_matches_are_those_of_nervaluate(seed: int) -> None:
    rng = random.Random(seed)
    pairs = [(some(rng, 20), some(rng, 20)) for _ in range(rng.randint(1, 12))]
    sides = [
        [[{"label": e.label, "start": e.start, "end": e.end - 1} for e in pair[side]] for pair in pairs]
        for side in (0, 1)
    ]
    theirs = nervaluate.Evaluator(sides[0], sides[1], tags=list(LABELS), loader="dict").evaluate()["overall"]
    for rule, ours in spans.matches(pairs).items():
        expected = asdict(theirs["ent_type" if rule == "type" else rule])
        assert ours == pytest.approx({key: expected[key] for key in ours}, abs=1e-9), rule


def kinds(gold: Sentence, guess: Sentence) -> list[str]:
    return [kind for kind, _, _ in spans.aligned(gold, guess)]


def test_each_kind_of_error_has_its_name() -> None:
    person, place = EntitySpan(1, 3, "PER"), EntitySpan(5, 6, "LOC")
    assert kinds([person, place], [person, place]) == ["right", "right"]
    assert kinds([person], [EntitySpan(1, 2, "PER")]) == ["boundary"]
    assert kinds([person], [EntitySpan(1, 3, "LOC")]) == ["type"]
    assert kinds([person], [EntitySpan(0, 2, "LOC")]) == ["boundary_and_type"]
    assert kinds([person], [place]) == ["missed", "invented"]


def test_an_entity_cut_in_two_is_one_error_of_boundary_and_one_invented() -> None:
    assert kinds([EntitySpan(0, 5, "ORG")], [EntitySpan(0, 3, "ORG"), EntitySpan(3, 5, "ORG")]) == [
        "boundary",
        "invented",
    ]


def tagged(
    words: str, gold: Sentence, guess: Sentence
) -> tuple[tuple[str, ...], tuple[tuple[str, ...]], tuple[tuple[str, ...]]]:
    found = tuple(words.split())
    return found, (tuple(write_bio(gold, len(found))),), (tuple(write_bio(guess, len(found))),)


def entities(*rows: tuple[tuple[str, ...], tuple[tuple[str, ...]], tuple[tuple[str, ...]]]) -> Outcomes:
    words, gold, guess = zip(*rows, strict=True)
    return Outcomes("entities", range(len(rows)), words, gold, guess, unit="sentence")


FILE = entities(
    tagged("Ada Stone lives in Lima", [EntitySpan(0, 2, "PER"), EntitySpan(4, 5, "LOC")], [EntitySpan(0, 1, "PER")]),
    tagged("Lima", [EntitySpan(0, 1, "LOC")], [EntitySpan(0, 1, "PER")]),
    tagged("They say so", [], [EntitySpan(0, 1, "ORG")]),
    tagged(
        "Rome and Lima",
        [EntitySpan(0, 1, "LOC"), EntitySpan(2, 3, "LOC")],
        [EntitySpan(0, 1, "LOC"), EntitySpan(2, 3, "LOC")],
    ),
)


def test_missed_and_invented_entities_stand_in_the_confusion_matrix() -> None:
    cells = {(cell["gold"], cell["predicted"]): cell["count"] for cell in confusion(FILE)}
    assert cells == {("PER", "PER"): 1, ("LOC", None): 1, ("LOC", "PER"): 1, (None, "ORG"): 1, ("LOC", "LOC"): 2}


def test_entities_that_training_has_seen_are_scored_apart() -> None:
    found = details(
        FILE, ("f1", "recall"), seen=surface_forms(entities(tagged("in LIMA", [EntitySpan(1, 2, "LOC")], [])))
    )
    parts = {part["is"]: part for part in found["breakdown"]["seen_in_train"]}
    assert (parts["yes"]["entities"], parts["no"]["entities"]) == (3, 2)
    assert parts["yes"]["recall"] == pytest.approx(1 / 3)  # Lima three times: missed, of another type, right
    assert parts["no"]["recall"] == pytest.approx(1 / 2)


def test_every_row_is_in_one_part_by_length() -> None:
    words = [("a " * n,) for n in (1, 2, 3, 4, 5, 6, 7, 800)]
    found = Outcomes("label", range(8), words, ["x"] * 8, ["x"] * 7 + ["y"])
    parts = by_length(found, ("accuracy",))
    assert [part["words"] for part in parts] == [[1, 2], [3, 4], [5, 6], [7, 800]]
    assert [part["accuracy"] for part in parts] == [1.0, 1.0, 1.0, 0.5]
    assert sum(part["rows"] for part in parts) == 8
    same = Outcomes("label", range(3), [("a b",)] * 3, ["x"] * 3, ["x"] * 3)
    assert [part["words"] for part in by_length(same, ("accuracy",))] == [[2, 2]]


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("In what year?", "what"),
        ("How many are there?", "how many"),
        ("Name it.", "other"),
        ("Showhow to whom?", "whom"),
    ],
)
def test_the_question_word_is_the_first(question: str, word: str) -> None:
    assert question_word(question) == word


def test_answers_are_told_apart_by_what_is_wrong_with_them() -> None:
    gold = [("red house",), ("red house",), ("red house",), ("red house",), (), ()]
    guess = ["the red house", "red", "blue", None, None, "red"]
    questions = [(f"{word} is it?", "…") for word in ("What", "What", "Who", "Who", "Who", "Why")]
    found = details(Outcomes("answer", range(6), questions, gold, guess, unit="question"), ("exact_match", "f1"))
    assert found["errors"] == {"right": 2, "overlapping": 1, "wrong": 1, "missed": 1, "invented": 1}
    words = {part["is"]: (part["rows"], part["exact_match"]) for part in found["breakdown"]["question_word"]}
    assert words == {"who": (3, pytest.approx(1 / 3)), "what": (2, 0.5), "why": (1, 0.0)}
    answerable = {part["is"]: part["rows"] for part in found["breakdown"]["answerable"]}
    assert answerable == {"yes": 4, "no": 2}


def test_windowed_rows_are_a_part_where_there_are_some() -> None:
    found = Outcomes("label", range(4), [("a",)] * 4, ["x", "y"] * 2, ["x"] * 4)
    parts = details(found, ("accuracy",), windowed=[True, False, True, False])["breakdown"]["windowed"]
    assert {part["is"]: part["accuracy"] for part in parts} == {"yes": 1.0, "no": 0.0}
    assert "windowed" not in details(found, ("accuracy",), windowed=[False] * 4)["breakdown"]


def test_the_tables_show_all_of_it() -> None:
    shown = detail_tables(details(FILE, ("f1",), seen={"lima"}))
    for piece in ("boundary and type 0", "strict", "spurious", "LOC   none", "seen in train", "5 words", "["):
        assert piece in shown, shown


def test_the_score_table_shows_intervals_and_what_they_are() -> None:
    scores = {"accuracy": 0.729, "support": 9, "intervals": {"accuracy": [0.681, 0.774]}}
    shown = score_table(
        {**scores, "bootstrap": {"samples": 1000, "unit": "text", "units": 1234, "level": 0.95, "seed": 0}}
    )
    assert shown == "accuracy 72.9 [68.1, 77.4]\n[in brackets: 95% intervals, bootstrap over 1,234 texts]"


def test_a_long_label_pushes_no_figure_out_of_sight() -> None:
    figures = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    shown = score_table({"per_label": {"x" * 400: figures, "short": figures}, "support": 4})
    assert f"{'x' * 39}… " in shown
    assert max(map(len, shown.splitlines())) < 100
