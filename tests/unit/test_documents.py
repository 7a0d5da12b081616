"""JSON documents: every shape in which people keep rows, the line of each record, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertft.data import documents
from bertft.data.row import Part, Row
from bertft.data.source import open_source
from bertft.errors import DataError

REVIEWS = [{"text": "a fine tin", "label": "good"}, {"text": "it leaks", "label": "bad"}]
PAIRS = [["a fine tin", "good"], ["it leaks", "bad"]]


def read(
    path: Path,
    text: str | object,
    part: str | None = None,
    use: Literal["train", "dev", "test"] = "train",
    *,
    labelled: bool = True,
) -> list[Row]:
    path = path / "rows.json" if path.is_dir() else path
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return list(documents.read(open_source(str(path)), Part(part, use), labelled=labelled).rows)


def values(rows: list[Row]) -> list[dict[str, Any]]:
    assert [row.error for row in rows if row.error] == []
    return [dict(row.values) for row in rows]


@pytest.mark.parametrize(
    "document",
    [
        REVIEWS,
        PAIRS,
        {"data": REVIEWS},
        {"version": 1, "data": PAIRS},
        {"rows": [{"row_idx": i, "row": row} for i, row in enumerate(REVIEWS)]},
        {"examples": REVIEWS},
        {"text": ["a fine tin", "it leaks"], "label": ["good", "bad"]},
        {"data": {"text": ["a fine tin", "it leaks"], "label": ["good", "bad"]}},
        {"text": {"0": "a fine tin", "1": "it leaks"}, "label": {"0": "good", "1": "bad"}},
        {"columns": ["text", "label"], "index": [0, 1], "data": PAIRS},
        {"train": PAIRS, "test": []},
        {"train": REVIEWS},
        {"train": {"text": ["a fine tin", "it leaks"], "label": ["good", "bad"]}, "val": {"text": [], "label": []}},
        {"about": "tins", "train": {"data": REVIEWS}},
    ],
)
def test_every_shape_of_rows_gives_the_same_rows(tmp_path: Path, document: object) -> None:
    assert values(read(tmp_path, document)) == REVIEWS
    assert values(read(tmp_path, json.dumps(document, indent=1))) == REVIEWS


def test_rows_under_keys_keep_their_key_as_id_unless_they_have_one(tmp_path: Path) -> None:
    document = {"0": REVIEWS[0], "b": {**REVIEWS[1], "id": 7}}
    assert values(read(tmp_path, document)) == [{"id": "0", **REVIEWS[0]}, {**REVIEWS[1], "id": 7}]


def test_lists_of_a_text_and_something_get_names(tmp_path: Path) -> None:
    document = [
        ["Ann is here", {"entities": [[0, 3, "PER"]]}],
        ["a tin", {"cats": {"good": 0.9, "bad": 0.1, "new": 0.5}}],
        ["a tin", ["good", "new"]],
        ["a tin", 4.5],
        ["one tin", "two tins", "no"],
        [["Ann", "sings"], ["B-PER", "O"]],
    ]
    found = values(read(tmp_path, document))
    assert found[0] == {"text": "Ann is here", "entities": [[0, 3, "PER"]]}
    assert found[1]["label"] == ["good", "new"]
    assert [row["label"] for row in found[2:4]] == [["good", "new"], 4.5]
    assert found[4] == {"text_a": "one tin", "text_b": "two tins", "label": "no"}
    assert found[5] == {"tokens": ["Ann", "sings"], "tags": ["B-PER", "O"]}


def test_objects_after_one_another_over_several_lines_are_rows(tmp_path: Path) -> None:
    text = "\n".join(json.dumps(row, indent=2) for row in REVIEWS)
    rows = read(tmp_path, text)
    assert values(rows) == REVIEWS
    assert [row.place.line for row in rows] == [1, 5]


def test_one_sentence_of_tokens_is_one_row(tmp_path: Path) -> None:
    sentence = {"tokens": ["Ann", "sings"], "tags": ["B-PER", "O"]}
    assert values(read(tmp_path, sentence)) == [sentence]


@pytest.mark.parametrize("around", ["%s", '{"data": %s}', '{"train": %s}'])
def test_each_record_has_the_line_on_which_it_starts(tmp_path: Path, around: str) -> None:
    text = around % '[\n{"text":\n"x", "label": "a"},\r\n\n  {"text": "y", "label": "a"}, {"text": "z", "label": "b"}]'
    assert [row.place.line for row in read(tmp_path, text)] == [2, 5, 5]
    keyed = '{\n"0": {"text": "x",\n"label": "a"},\n"1":\n{"text": "y", "label": "b"}}'
    assert [row.place.line for row in read(tmp_path, keyed)] == [2, 5]


def test_a_byte_order_mark_and_utf_16_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for encoding in ("utf-8-sig", "utf-16"):
        path.write_text(json.dumps(REVIEWS), encoding=encoding)
        found = documents.read(open_source(str(path)), Part(None, "train"), labelled=True)
        assert values(list(found.rows)) == REVIEWS


SPLITS = {"train": PAIRS[:1], "val": PAIRS[1:], "oos_train": [["what?", "oos"]], "names": ["good", "bad"]}


def test_splits_are_listed_and_chosen_by_use_or_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    assert values(read(path, SPLITS)) == REVIEWS[:1]
    assert documents.parts(open_source(str(path))) == ("train", "val", "oos_train")
    assert values(read(path, SPLITS, use="dev")) == REVIEWS[1:]
    both = values(read(path, SPLITS, "train+oos_train"))
    assert [row["label"] for row in both] == ["good", "oos"]
    with pytest.raises(DataError, match="none of them is called `test`") as caught:
        read(path, SPLITS, use="test")
    assert "train, val, oos_train" in str(caught.value)
    with pytest.raises(DataError, match="no part 'trian'") as caught:
        read(path, SPLITS, "trian")
    assert "did you mean 'train'?" in str(caught.value)


@pytest.mark.parametrize("document", [REVIEWS, {"data": REVIEWS}, {"0": REVIEWS[0]}, {"text": ["a"], "label": ["b"]}])
def test_a_document_without_splits_has_no_parts(tmp_path: Path, document: object) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(document))
    assert documents.parts(open_source(str(path))) == ()
    with pytest.raises(DataError, match="no part 'train'"):
        read(path, document, "train")


@pytest.mark.parametrize(
    ("text", "line", "fact"),
    [
        ('[{"text": "a"},\n{"text": "b"', 2, "not valid JSON"),
        ('[{"text": "a"},\n{"text": "b', 2, "Unterminated string"),
        ('[{"text": "a"}\n{"text": "b"}]', 2, "Expecting ',' delimiter at column 1"),
        ('{"a": {"text": "x"},\n\nb: 1}', 3, "property name"),
        ('{"a"\n1}', 2, "':'"),
        ("[1,\n" + "[" * 100_000, 2, "nested too deeply"),
        ('[{"n":\n' + "9" * 5000 + "}]", 1, "not valid JSON"),
        ('"a text"', 1, "found a text"),
        ("3", 1, "found a number"),
        ("\n\n", 1, "the file is empty"),
        ('["good", "bad"]', 1, "a list of 2 texts, without labels"),
    ],
)
def test_what_is_no_document_of_rows_is_one_error_with_its_line(
    tmp_path: Path, text: str, line: int, fact: str
) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    assert fact in caught.value.fact
    assert str(caught.value.place).endswith(f"rows.json:{line}")


def test_a_list_of_texts_can_be_predicted(tmp_path: Path) -> None:
    assert values(read(tmp_path, ["a tin", "a pan"], labelled=False)) == [{"text": "a tin"}, {"text": "a pan"}]


def test_a_record_of_the_wrong_type_is_an_error_at_its_line_and_no_other_is_lost(tmp_path: Path) -> None:
    rows = read(tmp_path, '[{"text": "a", "label": "b"},\n[1, 2],\n5, null]')
    assert [row.error and str(row.error.place).rpartition(":")[2] for row in rows] == [None, "2", "1", "1"]
    assert "found a list of 2" in str(rows[1].error)


def test_questions_are_rows_and_a_file_without_answers_cannot_be_learnt_from(tmp_path: Path) -> None:
    document = {"data": [{"title": "Tin", "paragraphs": [{"context": "Tin is soft.", "qas": [{"question": "What?"}]}]}]}
    with pytest.raises(DataError, match="none of the 1 questions has an answer"):
        read(tmp_path, document)
    (row,) = read(tmp_path, document, labelled=False)
    assert row.values == {"title": "Tin", "question": "What?", "context": "Tin is soft."}
    for shape in (document["data"], {"train": document}):
        assert [one.values for one in read(tmp_path, shape, labelled=False)] == [row.values]


def test_a_document_of_spacy_gives_a_row_per_paragraph_with_its_sentences(tmp_path: Path) -> None:
    def sentence(*words: str) -> dict[str, Any]:
        return {"tokens": [{"orth": word, "ner": "O", "tag": "-"} for word in words]}

    document = [
        {"id": 3, "paragraphs": [{"raw": "A b. C.", "sentences": [sentence("A", "b"), sentence("C")]}, {"raw": "D"}]}
    ]
    rows = read(tmp_path, document)
    assert [row.sentences for row in rows] == [(2, 1), ()]
    assert values(rows) == [{"text": "A b. C.", "tokens": ["A", "b", "C"], "tags": ["O", "O", "O"]}, {"text": "D"}]


def test_an_export_with_nothing_to_learn_is_refused_with_the_reason(tmp_path: Path) -> None:
    box = {"type": "rectanglelabels", "value": {"x": 1, "rectanglelabels": ["Car"]}}
    task = {"data": {"image": "/a.png"}, "annotations": [{"result": [box]}]}
    with pytest.raises(DataError, match=r"none of the 2 records .* annotated in Label Studio with rectanglelabels"):
        read(tmp_path, [task, task])
    assert len(read(tmp_path, [task, task], labelled=False)) == 2


def test_several_annotators_are_said(tmp_path: Path) -> None:
    choice = {"type": "choices", "from_name": "mood", "value": {"choices": ["good"]}}
    path = tmp_path / "x.json"
    path.write_text(json.dumps([{"data": {"text": "a"}, "annotations": [{"result": [choice]}, {"result": [choice]}]}]))
    found = documents.read(open_source(str(path)), Part(None, "train"), labelled=True)
    assert found.description == (
        "JSON, Label Studio export, list of 1 record (1 with several annotations, of which one is used)"
    )


cells = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=3)
records = st.lists(st.dictionaries(st.sampled_from(["text", "n", "note", "ü"]), cells), max_size=6)


@given(records, st.sampled_from([None, 0, 1, 4]), st.booleans())
def test_any_list_of_objects_comes_back_as_json_reads_it(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    path = tmp_path_factory.mktemp("any") / "x.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert values(read_again(path)) == rows


def read_again(path: Path) -> list[Row]:
    return list(documents.read(open_source(str(path)), Part(None, "train"), labelled=False).rows)


json_values: st.SearchStrategy[Any] = st.recursive(
    cells | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


@given(json_values | st.text(alphabet='[]{}",: 1a\n\\', max_size=30).map(lambda text: {"__raw__": text}))
def test_whatever_the_document_is_there_are_rows_or_one_data_error(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    path = tmp_path_factory.mktemp("any") / "x.json"
    path.write_text(value["__raw__"] if isinstance(value, dict) and "__raw__" in value else json.dumps(value))
    outcome = rows_or_error(path)
    if isinstance(outcome, DataError):
        assert str(outcome.place).startswith(str(path))
    else:
        assert all(row.error or isinstance(row.values, dict) for row in outcome)


def rows_or_error(path: Path) -> list[Row] | DataError:
    try:
        documents.parts(open_source(str(path)))
        return read_again(path)
    except DataError as error:
        return error


@pytest.mark.parametrize(
    "text",
    ['{"columns": [["text"], {}], "data": [["a", "b"]]}', '{"columns": [1, 2], "data": [["a", "b"]]}'],
)
def test_a_table_whose_columns_are_no_names_is_no_table(tmp_path: Path, text: str) -> None:
    assert all(isinstance(name, str) for row in read(tmp_path, text, labelled=False) for name in row.values)


@pytest.mark.parametrize("text", ["[" * 150 + "]" * 150, '{"a": ' * 150 + "1" + "}" * 150])
def test_json_that_could_be_parsed_but_not_walked_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="nested too deeply"):
        read(tmp_path, f"[\n{text}]")
