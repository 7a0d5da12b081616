"""Which field is what: every usual name, what the values tell, and what cannot be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from bertft.data import fields, roles
from bertft.data.roles import ABSENT, Name, Wanted
from bertft.data.row import Place, Row
from bertft.errors import DataError, UsageError

NER: Wanted = (("tokens", "tags"), ("text", "entities"))
CLASSIFY: Wanted = (("text", "label"),)
PAIR: Wanted = (("text_a", "text_b", "label"),)
QA: Wanted = (("question", "context", "answers"),)
PLACE = Place("f.csv", 2)


def guess(
    names: str | Sequence[str],
    wanted: Wanted,
    sample: Sequence[Mapping[str, Any]] = (),
    given: Mapping[str, str] | None = None,
    *,
    labelled: bool = True,
    numbered: bool = False,
) -> dict[str, Name]:
    found = names.split("\t") if isinstance(names, str) else list(names)
    told = roles.guess(found, wanted, sample, given or {}, labelled=labelled, place=PLACE, numbered=numbered)
    return {role: name for role, name in told.names.items() if role not in ("id", "group", "title")}


def table(*columns: Sequence[Any]) -> list[dict[str, Any]]:
    """Return records with fields 1, 2, …, of columns."""
    return [{str(i): value for i, value in enumerate(row, 1)} for row in zip(*columns, strict=True)]


TEXTS = [f"the {i}th of them was not what I had hoped for" for i in range(24)]
LABELS = ["good", "bad", "so so"] * 8


@pytest.mark.parametrize(
    ("header", "wanted", "expected"),
    [
        ("source\tlabel\tmark\tsentence", CLASSIFY, {"text": "sentence", "label": "label"}),  # CoLA
        ("sentence\tlabel", CLASSIFY, {"text": "sentence", "label": "label"}),  # SST-2
        (
            "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String",  # MRPC
            PAIR,
            {"text_a": "#1 String", "text_b": "#2 String", "label": "Quality"},
        ),
        (
            "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",  # QQP
            PAIR,
            {"text_a": "question1", "text_b": "question2", "label": "is_duplicate"},
        ),
        (
            "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",  # STS-B
            PAIR,
            {"text_a": "sentence1", "text_b": "sentence2", "label": "score"},
        ),
        (
            "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
            "sentence2_parse\tsentence1\tsentence2\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label",  # MNLI
            PAIR,
            {"text_a": "sentence1", "text_b": "sentence2", "label": "gold_label"},
        ),
        (
            "gold_label\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse\tsentence1\t"
            "sentence2\tcaptionID\tpairID\tlabel1\tlabel2",  # SNLI
            PAIR,
            {"text_a": "sentence1", "text_b": "sentence2", "label": "gold_label"},
        ),
        (
            "index\tquestion\tsentence\tlabel",
            PAIR,
            {"text_a": "question", "text_b": "sentence", "label": "label"},
        ),  # QNLI
        ("index\tsentence1\tsentence2\tlabel", PAIR, {"text_a": "sentence1", "text_b": "sentence2", "label": "label"}),
        ("premise\thypothesis\tlabel", PAIR, {"text_a": "premise", "text_b": "hypothesis", "label": "label"}),
        ("question\tpassage\tanswer\tlabel", PAIR, {"text_a": "question", "text_b": "passage", "label": "label"}),
        ("question\tcontext\tlabel", PAIR, {"text_a": "question", "text_b": "context", "label": "label"}),
        ("question\tcontext\tanswers", QA, {"question": "question", "context": "context", "answers": "answers"}),
        (
            "question\tpassage\tanswer_text\tanswer_start",
            QA,
            {
                "question": "question",
                "context": "passage",
                "answers": "answer_text",
                "answer_start": "answer_start",
            },
        ),
        (
            "Consumer complaint narrative\tProduct",
            CLASSIFY,
            {"text": "Consumer complaint narrative", "label": "Product"},
        ),
        ("review_id\treview_body\tstars", CLASSIFY, {"text": "review_body", "label": "stars"}),
        ("utterance\tintent", CLASSIFY, {"text": "utterance", "label": "intent"}),
        ("Message\tCategory", CLASSIFY, {"text": "Message", "label": "Category"}),
        ("text\tlabel\tlabel_text", CLASSIFY, {"text": "text", "label": "label"}),
        ("text\tproduct_category", CLASSIFY, {"text": "text", "label": "product_category"}),
        ("words\tner_tags", NER, {"tokens": "words", "tags": "ner_tags"}),
        ("text\tspans", NER, {"text": "text", "entities": "spans"}),
    ],
)
def test_usual_names(header: str, wanted: Wanted, expected: dict[str, Name]) -> None:
    assert guess(header, wanted) == expected


@pytest.mark.parametrize(
    ("header", "wanted", "expected"),
    [
        ("index\tsentence", CLASSIFY, {"text": "sentence"}),
        ("index\tquestion\tsentence", PAIR, {"text_a": "question", "text_b": "sentence"}),
        ("id\tquestion\tcontext", QA, {"question": "question", "context": "context"}),
        ("text", NER, {"text": "text"}),
        ("text\tmood", (("text",),), {"text": "text"}),
    ],
)
def test_without_labels_the_gold_is_not_asked_for(header: str, wanted: Wanted, expected: dict[str, Name]) -> None:
    assert guess(header, wanted, labelled=False) == expected


def test_twins_of_running_text_are_a_pair() -> None:
    sample = [{"q_a": a, "q_b": b, "label": "1"} for a, b in zip(TEXTS, reversed(TEXTS), strict=True)]
    assert guess(list(sample[0]), PAIR, sample) == {"text_a": "q_a", "text_b": "q_b", "label": "label"}


def test_a_field_whose_values_are_something_else_has_not_the_role() -> None:
    sample = [{"tokens": [{"text": "Uber", "id": 0}], "text": "Uber won", "entities": []}]
    assert guess(list(sample[0]), NER, sample) == {"text": "text", "entities": "entities"}
    spans = [{"text": "Uber won", "label": [[0, 4, "ORG"]]}]
    assert guess(list(spans[0]), NER, spans) == {"text": "text", "entities": "label"}
    with pytest.raises(DataError, match="bertft train ner"):
        guess(list(spans[0]), CLASSIFY, spans)


# -- by the values --------------------------------------------------------------------------------------------------


def test_the_longest_text_and_the_few_values() -> None:
    sample = table([f"id{i}" for i in range(24)], TEXTS, LABELS)
    assert guess(list(sample[0]), CLASSIFY, sample) == {"text": "2", "label": "3"}


def test_short_texts_and_long_labels() -> None:
    texts = [f"hi {i}" for i in range(24)]
    sample = table(texts, ["greeting_of_a_customer", "complaint_about_a_card"] * 12)
    assert guess(list(sample[0]), CLASSIFY, sample) == {"text": "1", "label": "2"}


def test_a_value_beside_a_text_is_the_label_of_a_regression() -> None:
    sample = table([str(i / 7) for i in range(24)], TEXTS)
    assert guess(list(sample[0]), CLASSIFY, sample) == {"text": "2", "label": "1"}


def test_two_texts_and_few_values() -> None:
    sample = table(TEXTS, LABELS, list(reversed(TEXTS)))
    assert guess(list(sample[0]), PAIR, sample) == {"text_a": "1", "text_b": "3", "label": "2"}


def test_columns_of_0_and_1_are_labels() -> None:
    sample = [
        {"id": f"a{i}", "comment_text": text, "toxic": str(i % 2), "threat": str(i % 3 // 2), "insult": "0"}
        for i, text in enumerate(TEXTS)
    ]
    assert guess(list(sample[0]), CLASSIFY, sample) == {"text": "comment_text", "label": ("toxic", "threat", "insult")}


def test_one_column_of_0_and_1_is_the_label() -> None:
    sample = [{"comment_text": text, "good": str(i % 2)} for i, text in enumerate(TEXTS)]
    assert guess(list(sample[0]), CLASSIFY, sample)["label"] == "good"


@pytest.mark.parametrize(
    "columns",
    [
        (TEXTS, LABELS, ["x", "y"] * 12),  # two columns of few values
        (TEXTS, [text.replace("the", "a") for text in TEXTS], LABELS),  # two texts of one length
        (TEXTS, [f"id{i}" for i in range(24)]),  # nothing repeats
    ],
)
def test_what_cannot_be_told_is_an_error_that_shows_the_fields(columns: Sequence[Sequence[str]]) -> None:
    sample = table(*columns)
    with pytest.raises(DataError) as caught:
        guess(list(sample[0]), CLASSIFY, sample)
    message = str(caught.value)
    assert "f.csv:2" in message
    assert "--columns text=" in message
    for i, column in enumerate(columns, 1):
        assert f"{i}: {column[0][:40]}" in message


def test_two_names_for_a_label_are_not_decided_by_chance() -> None:
    sample = [{"text": text, "sentiment": label, "topic": label[0]} for text, label in zip(TEXTS, LABELS, strict=True)]
    with pytest.raises(DataError, match="which field is the label"):
        guess(list(sample[0]), CLASSIFY, sample)
    assert guess(list(sample[0]), CLASSIFY, sample, {"label": "topic"})["label"] == "topic"


def test_what_only_the_values_told_is_said() -> None:
    sample = table(TEXTS, LABELS)
    told = roles.guess(["1", "2"], CLASSIFY, sample, {}, labelled=True, place=PLACE)
    assert told.guessed == ("text", "label")


# -- --columns ------------------------------------------------------------------------------------------------------


def test_names_that_are_given_win() -> None:
    given = {"text": "title", "label": "stars"}
    assert guess("title\ttext\tlabel\tstars", CLASSIFY, given=given) == {"text": "title", "label": "stars"}


@pytest.mark.parametrize("name", ["Review Body", "review_body", "REVIEW_BODY"])
def test_case_and_blanks_of_a_given_name_do_not_matter(name: str) -> None:
    assert guess("Review Body\tlabel", CLASSIFY, given={"text": name})["text"] == "Review Body"


def test_tables_have_numbers_too_and_names_win() -> None:
    assert guess("a\tb", CLASSIFY, given={"text": "1", "label": "2"}, numbered=True) == {"text": "a", "label": "b"}
    assert guess("2\tb", CLASSIFY, given={"text": "2", "label": "b"}, numbered=True)["text"] == "2"


def test_several_columns_are_joined_by_plus_unless_one_is_called_so() -> None:
    given = {"text": "text", "label": "a+b"}
    assert guess("text\ta\tb\tc", CLASSIFY, given=given)["label"] == ("a", "b")
    assert guess("text\ta\tb\ta+b", CLASSIFY, given=given)["label"] == "a+b"


@pytest.mark.parametrize("name", ["labl", "label+labl", "9"])
def test_an_unknown_name_lists_the_fields(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        guess("text\tlabel", CLASSIFY, given={"label": name}, numbered=True)
    assert "'text', 'label'" in str(caught.value)


def test_a_near_name_is_shown() -> None:
    with pytest.raises(UsageError, match="did you mean 'label'"):
        guess("text\tlabel", CLASSIFY, given={"label": "labl"})


def test_a_role_that_the_task_does_not_read_is_refused() -> None:
    with pytest.raises(UsageError, match=r"text_a \+ text_b"):
        guess("text\tlabel", PAIR, given={"text": "text"})


def test_data_without_labels_need_not_have_the_column_of_labels() -> None:
    assert guess("body", CLASSIFY, given={"label": "stars"}, labelled=False) == {"text": "body"}


def test_a_given_text_hides_the_tokens() -> None:
    sample = [{"tokens": ["not", "these"], "body": "Ada lives in Rome"}]
    found = guess(list(sample[0]), NER, sample, {"text": "body"}, labelled=False)
    assert found == {"text": "body", "tokens": ABSENT}
    assert Row(PLACE, sample[0], roles=found).get("tokens") is None


# -- rows with roles ------------------------------------------------------------------------------------------------


def assigned(rows: Sequence[Mapping[str, Any]], **options: Any) -> fields.Assigned:
    read = (Row(Place("f", i), values) for i, values in enumerate(rows, 1))
    options = {"wanted": CLASSIFY, "given": {}, "labelled": True, "look_ahead": 100, **options}
    return fields.assign(read, Place("f", 1), **options)


def test_rows_keep_their_fields_and_have_roles() -> None:
    found = assigned([{"body": "it was good", "stars": 5}])
    (row,) = found.rows
    assert row.values == {"body": "it was good", "stars": 5}
    assert (row.get("text"), row.get("label")) == ("it was good", 5)
    assert found.notes == ("text=body, label=stars",)


def test_objects_on_a_stream_may_each_have_other_fields() -> None:
    rows = [{"id": 1}, {"body": "a b"}, {"text": "c d"}, {"body": "e f"}]
    found = list(assigned(rows, labelled=False, varied=True, look_ahead=2).rows)
    assert [row.get("text") for row in found] == [None, "a b", "c d", "e f"]
    assert [row.error for row in found] == [None] * 4


def test_a_named_field_that_is_missing_is_an_error_of_its_record() -> None:
    rows = [{"text": "x"}, {"body": "a b"}]
    found = list(assigned(rows, labelled=False, varied=True, given={"text": "body"}, look_ahead=1).rows)
    assert [row.error is None for row in found] == [False, True]
    assert "f:1" in str(found[0].error)
    assert "'text'" in str(found[0].error)


def test_label_numbers_become_the_names_beside_the_file() -> None:
    rows = [{"text": "a b", "label": "0"}, {"text": "c d", "label": "2,1"}, {"text": "e f", "label": "9"}]
    found = list(assigned(rows, look_ahead=2, label_names=("joy", "anger", "fear")).rows)
    assert [row.get("label") for row in found[:2]] == [["joy"], ["fear", "anger"]]
    assert "f:3" in str(found[2].error)
    assert "'9'" in str(found[2].error)


@pytest.mark.parametrize("label", ["3", "joy", "1.5", "-1", ""])
def test_labels_that_are_no_numbers_of_names_stay(label: str) -> None:
    rows = [{"text": "a b", "label": "0"}, {"text": "c d", "label": label}]
    found = assigned(rows, label_names=("joy", "anger", "fear"))
    assert [row.get("label") for row in found.rows] == ["0", label]


def test_single_label_numbers_become_single_names() -> None:
    found = assigned([{"text": "a b", "label": 1}], label_names=("joy", "anger"))
    assert next(found.rows).get("label") == "anger"
    assert "2 names" in found.notes[-1]


def test_a_pair_that_annotators_did_not_agree_on_is_excluded() -> None:
    rows = [{"sentence1": "a b", "sentence2": "c d", "gold_label": label} for label in ("-", "neutral")]
    assert [bool(row.excluded) for row in assigned(rows, wanted=PAIR).rows] == [True, False]
