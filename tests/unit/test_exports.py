"""Exports of annotation tools: what becomes of their fields, and what is not to be learnt from."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertft.data.exports import normalise

TEXT = "Ann lives in Oslo"
ANN = {"start": 0, "end": 3, "label": "PER"}
OSLO = {"start": 13, "end": 17, "label": "LOC"}


def fields(values: dict[str, Any], *names: str) -> list[Any]:
    """Return the named fields of a record after it was normalised; its own fields must be there still."""
    found, excluded = normalise(values)
    assert excluded == ""
    assert values.items() <= found.items() or "label" in names
    return [found.get(name) for name in names]


@pytest.mark.parametrize(
    "record",
    [
        {"text": TEXT, "label": "good"},
        {"text": TEXT, "labels": ["good", "new"]},
        {"text": TEXT, "label": 4.5},
        {"tokens": ["Ann"], "tags": ["B-PER"], "labels": [1]},
        {"text": TEXT, "entities": "none"},
        {"question": "who?", "context": TEXT, "answer": "accept"},
        {"text": TEXT, "question": "who?", "answer": "Ann"},
        {"annotations": [1, 2]},
        {"paragraphs": "x"},
        {},
    ],
)
def test_a_record_of_no_tool_comes_back_as_it_is(record: dict[str, Any]) -> None:
    assert normalise(record) == (record, "")


# -- doccano --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["label", "labels", "entities"])
def test_doccano_spans_as_lists(name: str) -> None:
    record = {"text": TEXT, name: [[0, 3, "PER"], [13, 17, "LOC"]]}
    assert fields(record, "entities") == [[[0, 3, "PER"], [13, 17, "LOC"]]]


@pytest.mark.parametrize("name", ["label", "labels", "entities", "spans"])
def test_an_empty_list_is_a_text_without_entities(name: str) -> None:
    assert fields({"text": TEXT, name: []}, "entities") == [[]]


def test_doccano_spans_with_offsets_categories_and_relations() -> None:
    spans = [{"id": 1, "start_offset": 0, "end_offset": 3, "label": "PER"}]
    found, _ = normalise({"text": TEXT, "entities": spans, "relations": [{"from_id": 1, "to_id": 1, "type": "x"}]})
    assert found["entities"] == [ANN]
    assert fields({"text": TEXT, "entities": [[0, 3, "PER"]], "cats": ["bio"]}, "entities", "label") == [
        [[0, 3, "PER"]],
        ["bio"],
    ]


def test_old_doccano_takes_the_first_user_and_the_numbers_of_labels() -> None:
    def span(start: int, end: int, user: int) -> dict[str, int]:
        return {"label": 12, "start_offset": start, "end_offset": end, "user": user}

    record = {"text": TEXT, "annotations": [span(0, 3, 1), span(13, 17, 1), span(0, 3, 2)], "annotation_approver": None}
    numbered = [{**ANN, "label": "12"}, {**OSLO, "label": "12"}]
    assert fields(record, "entities") == [numbered]
    assert fields({"text": TEXT, "annotations": []}, "entities", "label") == [[], None]
    assert fields({"text": TEXT, "annotations": [{"label": 7, "user": 1}]}, "label", "entities") == ["7", None]
    assert fields({"text": TEXT, "annotations": [{"label": 7}, {"label": 8}]}, "label") == [["7", "8"]]


def test_old_doccano_translations_are_excluded() -> None:
    assert normalise({"text": TEXT, "annotations": [{"text": "Ann bor i Oslo", "user": 1}]})[1] == (
        "annotated with texts in doccano (sequence to sequence)"
    )


# -- Prodigy --------------------------------------------------------------------------------------------------------


def prodigy(**more: Any) -> tuple[dict[str, Any], str]:
    return normalise({"text": TEXT, "_input_hash": 1, "_task_hash": 2, **more})


def test_prodigy_entities_and_a_text_without_any() -> None:
    token = {"text": "Ann", "start": 0, "end": 3, "id": 0}
    found, excluded = prodigy(answer="accept", spans=[{**ANN, "token_start": 0}], tokens=[token])
    assert (found["entities"], excluded) == ([{**ANN, "token_start": 0}], "")
    assert found["tokens"] == [token]
    assert prodigy(answer="accept")[0]["entities"] == []
    assert fields({"text": TEXT, "spans": [ANN]}, "entities") == [[ANN]]


def test_prodigy_verdicts_exclude_rows_of_entities_and_spans_in_them() -> None:
    assert prodigy(answer="reject", spans=[ANN])[1] == "rejected in Prodigy"
    assert prodigy(answer="ignore", spans=[ANN])[1] == "ignored in Prodigy"
    found, _ = prodigy(answer="accept", spans=[{**ANN, "answer": "accept"}, {**OSLO, "answer": "reject"}])
    assert found["entities"] == [{**ANN, "answer": "accept"}]


def test_prodigy_categories_are_yes_or_no_or_chosen() -> None:
    assert [prodigy(answer=a, label="SPAM", spans=[]) for a in ("accept", "reject", "ignore")] == [
        ({"text": TEXT, "_input_hash": 1, "_task_hash": 2, "answer": "accept", "label": "SPAM", "spans": []}, ""),
        ({"text": TEXT, "_input_hash": 1, "_task_hash": 2, "answer": "reject", "label": "not SPAM", "spans": []}, ""),
        (
            {"text": TEXT, "_input_hash": 1, "_task_hash": 2, "answer": "ignore", "label": "SPAM", "spans": []},
            "ignored in Prodigy",
        ),
    ]
    options = [{"id": "A", "text": "a"}, {"id": "B", "text": "b"}]
    assert prodigy(answer="accept", options=options, accept=["B"])[0]["label"] == "B"
    multiple = {"choice_style": "multiple"}
    assert prodigy(answer="accept", options=options, accept=["B"], config=multiple)[0]["label"] == ["B"]
    assert prodigy(answer="reject", options=options, accept=[])[1] == "rejected in Prodigy"


# -- spaCy ----------------------------------------------------------------------------------------------------------


def test_spacy_categories_and_span_groups() -> None:
    assert fields({"text": TEXT, "cats": {"a": 0.5, "b": 0.49, "c": 1}}, "label") == [["a", "c"]]
    assert fields({"text": TEXT, "spans": {"sc": [[0, 3, "PER"]]}}, "entities") == [[[0, 3, "PER"]]]
    kept, _ = normalise({"text": TEXT, "cats": {"a": 1.0}, "label": "own"})
    assert kept["label"] == "own"


def test_spacy_documents_on_a_line_are_one_record() -> None:
    def paragraph(raw: str, ner: str) -> dict[str, Any]:
        return {"raw": raw, "sentences": [{"tokens": [{"orth": raw, "ner": ner, "tag": "NNP"}]}]}

    one = {"paragraphs": [{**paragraph("Oslo", "U-LOC"), "cats": [{"label": "city", "value": 1.0}]}]}
    assert fields(one, "text", "tokens", "tags", "pos", "label") == ["Oslo", ["Oslo"], ["U-LOC"], ["NNP"], ["city"]]
    two = {"paragraphs": [paragraph("Oslo", "U-LOC"), paragraph("Ann", "U-PER")]}
    assert fields(two, "text", "tokens", "tags") == ["Oslo\nAnn", ["Oslo", "Ann"], ["U-LOC", "U-PER"]]
    unknown = {"paragraphs": [paragraph("Oslo", "-")]}
    assert fields(unknown, "tokens", "tags") == [["Oslo"], None]


# -- Label Studio ---------------------------------------------------------------------------------------------------


def result(kind: str, control: str = "c", **value: Any) -> dict[str, Any]:
    return {"type": kind, "from_name": control, "to_name": "text", "value": value}


def task(*results: dict[str, Any], data: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"id": 1, "data": data or {"text": TEXT}, "annotations": [{"result": list(results), **more}]}


def test_label_studio_spans_become_entities() -> None:
    spans = [
        result("labels", start=13, end=17, labels=["LOC"]),
        result("labels", start=0, end=3, labels=["PER", "VIP"]),
    ]
    assert fields(task(*spans, {"type": "relation", "from_id": "a"}), "text", "entities", "label") == [
        TEXT,
        [OSLO, ANN, {**ANN, "label": "VIP"}],
        None,
    ]
    assert fields(task(), "entities") == [[]]


def test_label_studio_choices_ratings_and_numbers_become_the_label_and_a_field_of_their_name() -> None:
    assert fields(task(result("choices", "mood", choices=["good"])), "label", "mood") == ["good", "good"]
    assert fields(task(result("choices", choices=["a", "b"])), "label") == [["a", "b"]]
    assert fields(task(result("rating", "stars", rating=4)), "label", "stars") == [4, 4]
    assert fields(task(result("number", number=2.5)), "label") == [2.5]
    assert fields(task(result("taxonomy", taxonomy=[["food", "tea"]])), "label") == ["food/tea"]
    assert fields(task(result("textarea", "summary", text=["lives"])), "label", "summary") == [None, "lives"]


def test_label_studio_several_controls_leave_the_choice_to_the_user() -> None:
    both = task(result("choices", "mood", choices=["good"]), result("choices", "topic", choices=["home"]))
    assert fields(both, "label", "mood", "topic") == [None, "good", "home"]


def test_a_control_does_not_hide_a_field_of_the_task() -> None:
    assert fields(task(result("choices", "text", choices=["good"])), "text", "label") == [TEXT, "good"]


def test_the_text_of_a_label_studio_task_is_found_if_it_is_the_only_one() -> None:
    good = result("choices", choices=["good"])
    found, _ = normalise(task(good, data={"review": TEXT, "url": "https://example.org/a b", "page": "/data/a.png"}))
    assert (found["text"], found["review"]) == (TEXT, TEXT)
    found, excluded = normalise(task(good, data={"title": "x", "body": "y"}))
    assert ("text" in found, found["title"], found["label"], excluded) == (False, "x", "good", "")


def test_of_several_annotations_the_first_not_skipped_counts_unless_one_is_the_truth() -> None:
    def annotation(label: str, **more: Any) -> dict[str, Any]:
        return {"result": [result("choices", choices=[label])], **more}

    def label(*annotations: dict[str, Any]) -> Any:
        return normalise({"data": {"text": TEXT}, "annotations": list(annotations)})[0].get("label")

    assert label(annotation("a", was_cancelled=True), annotation("b"), annotation("c")) == "b"
    assert label(annotation("a"), annotation("b", ground_truth=True)) == "b"


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"data": {"text": TEXT}, "annotations": []}, "not annotated in Label Studio"),
        (task(was_cancelled=True), "skipped in Label Studio"),
        (
            task(result("rectanglelabels", x=1, rectanglelabels=["Car"])),
            "annotated in Label Studio with rectanglelabels, which is no label of a text",
        ),
        (
            task(result("labels", start=0.5, end=1.5, labels=["speech"]), data={"audio": "/a.wav"}),
            "annotated in Label Studio with labels, which is no label of a text",
        ),
    ],
)
def test_what_label_studio_has_no_text_labels_for_is_excluded(record: dict[str, Any], why: str) -> None:
    assert normalise(record)[1] == why


def minimal(**results: Any) -> dict[str, Any]:
    return {"text": TEXT, "id": 1, **results, "annotator": 1, "annotation_id": 2, "lead_time": 3.5}


def test_label_studio_minimal_json() -> None:
    region = {"start": 0, "end": 3, "text": "Ann", "labels": ["PER"]}
    assert fields(minimal(ner=[region]), "entities", "label") == [[{**region, "label": "PER"}], None]
    assert fields(minimal(mood="good"), "label") == ["good"]
    assert fields(minimal(mood={"choices": ["good", "new"]}), "label") == [["good", "new"]]
    assert fields(minimal(mood="good", topic="home"), "label") == [None]
    assert fields(minimal(ner=[region], mood="good"), "entities", "label") == [[{**region, "label": "PER"}], "good"]


STUDIO = {"data": {"text": TEXT}, "annotations": [{"result": []}]}


def studio(**result: Any) -> dict[str, Any]:
    return {**STUDIO, "annotations": [{"result": [result]}]}


@pytest.mark.parametrize(
    "record",
    [
        studio(type="choices", value={"choices": ["a"]}),  # no `from_name`
        studio(type="taxonomy", value={"taxonomy": 1}),
        {"text": TEXT, "id": 1, "ner": [{"start": 0, "end": 3, "labels": 7}], "annotator": 1, "annotation_id": 7},
        {"text": TEXT, "options": [], "accept": ["a"], "answer": "accept", "config": "multiple"},
        {"paragraphs": [{"raw": TEXT, "sentences": [{"tokens": 1}]}]},
        {"paragraphs": [{"raw": TEXT, "cats": [{"label": "a", "value": {}}, {"label": [], "value": 1.0}]}]},
        {"paragraphs": [{"raw": TEXT, "cats": [{"label": "a", "value": "1"}]}]},
    ],
)
def test_what_a_tool_never_writes_is_no_crash(record: dict[str, Any]) -> None:
    found, _ = normalise(record)
    assert found["text"] == TEXT


NAMES = """
text label labels entities spans annotations completions answer cats paragraphs data result value type from_name choices
options accept config sentences tokens raw annotation_id annotator id start end user
"""
names = st.sampled_from(NAMES.split())
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["accept", "choices", "labels", "a", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=200)
@given(st.dictionaries(names, values, max_size=5))
def test_any_object_is_normalised(record: dict[str, Any]) -> None:
    found, excluded = normalise(record)
    assert isinstance(found, dict)
    assert isinstance(excluded, str)


def test_label_studio_says_what_a_span_is() -> None:
    (found,) = fields(task(result("labels", start=0, end=3, text="Ann", labels=["PER"])), "entities")
    assert found == [{**ANN, "text": "Ann"}]
