"""JSON Lines: what is read, what is refused, and that the input's own characters come back."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertft.data import jsonl
from bertft.data.row import Line, Place, Row
from bertft.data.source import Source


def rows(data: str | bytes, *, labelled: bool = False) -> list[Row]:
    stream = BytesIO(data.encode() if isinstance(data, str) else data)
    return list(jsonl.read(Source("f.jsonl", stream, "utf-8", live=False), labelled=labelled))


def failure(data: str | bytes) -> str:
    (row,) = rows(data)
    assert row.error is not None
    return str(row.error)


def test_an_object_a_line() -> None:
    found = rows('{"text": "a"}\n\n  {"text": "b", "n": 1.0}  \r\n\t\n{}')
    assert [(row.values, row.place.line) for row in found] == [
        ({"text": "a"}, 1),
        ({"text": "b", "n": 1.0}, 3),
        ({}, 5),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_object() -> None:
    assert rows('\ufeff{"text": "a"}\n')[0].values == {"text": "a"}


def test_line_separators_of_unicode_end_no_line() -> None:
    assert rows('{"text": "a\u2028b\u0085c"}\n')[0].values == {"text": "a\u2028b\u0085c"}


@pytest.mark.parametrize("line", ['{"text": "a"', "{'text': 'a'}", "text", "", "{]", '{"a":1} {"b":2}', '{"a": 01}'])
def test_a_line_that_is_no_json_says_where(line: str) -> None:
    good = '{"text": "a"}'
    found = rows(f"{good}\n{line or 'x'}\n{good}\n")
    assert [row.error is None for row in found] == [True, False, True]
    assert "f.jsonl:2" in str(found[1].error)
    assert "not valid JSON" in str(found[1].error)


@pytest.mark.parametrize(("line", "kind"), [("[1]", "list"), ('"a"', "str"), ("1", "int"), ("null", "NoneType")])
def test_json_that_is_no_object_is_refused(line: str, kind: str) -> None:
    assert f"found a {kind}" in failure(line)


def test_deep_nesting_is_one_bad_record() -> None:
    assert "f.jsonl:1" in failure('{"a": ' + "[" * 200_000 + "]" * 200_000 + "}")


def test_a_number_of_5000_digits_is_no_crash() -> None:
    (row,) = rows('{"text": "a", "id": ' + "1" * 5000 + "}")
    assert row.error is not None or row.values["text"] == "a"


def test_invalid_utf8_names_the_option() -> None:
    message = failure(b'{"text": "M\xfcnchen"}\n')
    assert "f.jsonl:1" in message
    assert "--encoding" in message


def test_labelled_objects_of_annotation_tools_get_the_fields_of_tasks() -> None:
    line = '{"text": "Uber won", "spans": [{"start": 0, "end": 4, "label": "ORG"}], "answer": "reject"}\n'
    (row,) = rows(line, labelled=True)
    assert row.values["entities"] == row.values["spans"]
    assert "Prodigy" in row.excluded
    (plain,) = rows(line)
    assert plain.values == json.loads(line)


def test_labelled_objects_of_no_tool_stay_as_they_are() -> None:
    assert rows('{"text": "a", "label": "b"}\n', labelled=True)[0].values == {"text": "a", "label": "b"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"n": 1.0}', '{"n": 1.0, "prediction": "é"}'),
        ('{"t": "\\u00e9\\/"}', '{"t": "\\u00e9\\/", "prediction": "é"}'),
        ('{"a": 1, "a": 2}', '{"a": 1, "a": 2, "prediction": "é"}'),
        (
            '{"n": 1e400, "m": -0.0, "big": 12345678901234567890123}',
            '{"n": 1e400, "m": -0.0, "big": 12345678901234567890123, "prediction": "é"}',
        ),
        ('{"a":1,"b":{"c":[]}}', '{"a":1,"b":{"c":[]}, "prediction": "é"}'),
        ("{}", '{"prediction": "é"}'),
        ("  { }  ", '{"prediction": "é"}'),
        ('{ "a": "}" }', '{ "a": "}", "prediction": "é"}'),
        ('\ufeff{"a": 1}', '{"a": 1, "prediction": "é"}'),
    ],
)
def test_the_input_keeps_its_characters(line: str, expected: str) -> None:
    for end in ("\n", "\r\n", ""):
        (row,) = rows(line + end)
        assert jsonl.amend(row, {"prediction": "é"}) == expected + "\n"


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=st.dictionaries(st.text(), JSON, max_size=4), compact=st.booleans(), ascii_only=st.booleans(), more=JSON)
def test_any_object_comes_back_with_one_field_more(
    value: dict[str, Any], compact: bool, ascii_only: bool, more: object
) -> None:
    value.pop("prediction", None)
    if not ascii_only:
        value = json.loads(json.dumps(value).encode("utf-8", "replace"))
    line = json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":") if compact else None)
    (row,) = rows(line.encode("utf-8", "surrogatepass") if ascii_only else line)
    out = jsonl.amend(row, {"prediction": more})
    assert out.endswith("\n")
    assert "\n" not in out[:-1]
    assert json.loads(out) == {**value, "prediction": more}


def test_rows_of_other_formats_become_objects() -> None:
    row = Row(Place("f", 1), {"tokens": ["é"]}, (Line(1, "é\n"),))
    assert jsonl.write(row, {"prediction": None}) == '{"tokens": ["é"], "prediction": null}\n'


def test_half_of_a_surrogate_pair_can_be_written_as_utf8() -> None:
    (row,) = rows('{"text": "Paris \\ud83c"}')
    line = jsonl.amend(row, {"prediction": {"text": row.values["text"]}})
    assert json.loads(line.encode("utf-8"))["prediction"] == {"text": "Paris \ud83c"}


@pytest.mark.parametrize("depth", [101, 300, 900])
def test_json_that_could_be_parsed_but_not_walked_is_one_bad_record(depth: int) -> None:
    assert "nested too deeply" in failure('{"text": ' + "[" * depth + "]" * depth + "}")


def test_json_of_a_usual_depth_is_read() -> None:
    (row,) = rows('{"text": "[[", "n": ' + "[" * 90 + "]" * 90 + ', "m": [' + "[], " * 200 + "[]]}")
    assert row.error is None


def test_what_is_no_number_in_json_is_null() -> None:
    written = jsonl.encode({"v": float("nan"), "w": [1.5, float("-inf")], "x": {"y": float("inf")}})
    assert json.loads(written, parse_constant=pytest.fail) == {"v": None, "w": [1.5, None], "x": {"y": None}}
