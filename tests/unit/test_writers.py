"""How answers are written: csv, tsv, jsonl and conll, for each kind of task, bad records and names in use included."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from bertft.data import formats
from bertft.data.row import OnError
from bertft.errors import DataError, UsageError
from bertft.inference.engine import Engine
from bertft.inference.predict import Filter
from bertft.tasks.base import Counts
from bertft.tasks.classify import Classify, ClassifyOptions
from bertft.tasks.ner import Ner
from bertft.tasks.pair import ClassifyPair, PairOptions
from bertft.tasks.target import Target

LABEL = Target("single_label_classification", ("no", "yes"))
CLASSIFY = Classify(ClassifyOptions(), LABEL)
PAIR = ClassifyPair(PairOptions(), LABEL)
SETS = Classify(ClassifyOptions(), Target("multi_label_classification", ("a", "b", "c"), ";"))
VALUE = Classify(ClassifyOptions(), Target("regression", ("value",)))
TAGS = Ner.restore({}, {"labels": ["O", "B-LOC", "I-LOC"]})


class Fake:
    """An engine whose model gives the logits that are asked for: one row of them for every example, or every word."""

    def __init__(self, task: Any, logits: Sequence[float]) -> None:
        self.task = task
        self._logits = np.array(logits, dtype=np.float32)

    def predict(self, examples: Sequence[Any]) -> tuple[list[Any], Counts]:
        found = []
        for example in examples:
            own = np.tile(self._logits, (len(example.words), 1)) if self.task is TAGS else self._logits
            if self.task is TAGS:
                own -= np.log(np.exp(own).sum(axis=1, keepdims=True))
            found.append(self.task.decode(example, [own]))
        return found, Counts()

    def stream(self, chunks: Iterable[Sequence[Any]]) -> Iterator[tuple[list[Any], Counts]]:
        return map(self.predict, chunks)


LOGITS = {id(CLASSIFY): (0, 1), id(PAIR): (0, 1), id(SETS): (1, -1, 2), id(VALUE): (-2.5,), id(TAGS): (0, 1, 0)}


def answer(
    task: Any,
    path: Path,
    content: str | bytes,
    *,
    to: Any = None,
    field: str = "prediction",
    on_error: OnError = "fail",
    format: Any = None,
    scores: bool = False,
) -> bytes:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    opened = formats.read(str(path), wanted=task.wanted, format=format, use="test", unit=task.unit)
    engine = cast("Engine", Fake(task, LOGITS[id(task)]))
    return b"".join(Filter(engine, to, field, on_error, scores).answer(opened))


# -- tables ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "content", "expected"),
    [
        (CLASSIFY, "id,text\n7,good\n", "id,text,pred_label,pred_score\n7,good,yes,0.7311\n"),
        (CLASSIFY, 'id;text\r\n7;"a; b"', 'id;text;pred_label;pred_score\r\n7;"a; b";yes;0.7311\r\n'),
        (CLASSIFY, 'text,id\n"two\nlines",7\n', 'text,id,pred_label,pred_score\n"two\nlines",7,yes,0.7311\n'),
        (PAIR, "text_a,text_b\nx,y\n", "text_a,text_b,pred_label,pred_score\nx,y,yes,0.7311\n"),
        (SETS, "id,text\n7,good\n", "id,text,pred_label,pred_score\n7,good,a;c,0.7311;0.8808\n"),
        (SETS, "id;text\n7;good\n", 'id;text;pred_label;pred_score\n7;good;"a;c";"0.7311;0.8808"\n'),
        (VALUE, "id,text\n7,good\n", "id,text,pred_value\n7,good,-2.5000\n"),
    ],
)
def test_a_table_keeps_its_bytes_and_gets_columns(tmp_path: Path, task: Any, content: str, expected: str) -> None:
    assert answer(task, tmp_path / "in.csv", content, format="csv").decode() == expected


def test_a_table_without_a_header_gets_none(tmp_path: Path) -> None:
    content = "sentence one is here\tx1\nsentence two is here\tx2\n"
    path = tmp_path / "in.tsv"
    path.write_text(content)
    opened = formats.read(str(path), wanted=CLASSIFY.wanted, columns={"text": "1"}, use="test", format="tsv")
    out = b"".join(Filter(cast("Engine", Fake(CLASSIFY, (0, 1))), None).answer(opened)).decode()
    assert out == content.replace("\n", "\tyes\t0.7311\n")


def test_a_table_in_latin_1_comes_back_in_it(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes("id,text\n1,Café\n".encode("latin-1"))
    opened = formats.read(str(path), wanted=CLASSIFY.wanted, use="test", format="csv", encoding="latin-1")
    out = b"".join(Filter(cast("Engine", Fake(CLASSIFY, (0, 1))), None).answer(opened))
    assert out.decode("latin-1") == "id,text,pred_label,pred_score\n1,Café,yes,0.7311\n"


def test_a_table_in_utf_16_is_one_text_still(tmp_path: Path) -> None:
    out = answer(CLASSIFY, tmp_path / "in.csv", "id,text\n1,Café\n2,b\n".encode("utf-16"), format="csv")
    rows = list(csv.reader(io.StringIO(out.decode("utf-16"))))
    assert rows == [
        ["id", "text", "pred_label", "pred_score"],
        ["1", "Café", "yes", "0.7311"],
        ["2", "b", "yes", "0.7311"],
    ]


def test_a_bad_record_keeps_its_bytes_and_has_empty_cells(tmp_path: Path) -> None:
    content = "id,text\n1,good\n2\n3,fine\n"
    expected = "id,text,pred_label,pred_score\n1,good,yes,0.7311\n2,,\n3,fine,yes,0.7311\n"
    assert answer(CLASSIFY, tmp_path / "in.csv", content, on_error="null", format="csv").decode() == expected
    left = answer(CLASSIFY, tmp_path / "in.csv", content, on_error="skip", format="csv").decode()
    assert left == expected.replace("2,,\n", "")


def test_objects_become_a_table_by_the_names_of_their_fields(tmp_path: Path) -> None:
    """Fields may stand in another order or be missing, and still come under their own name."""
    records = [{"id": 1, "text": "x"}, {"text": "y", "id": 2}, {"text": 'z, "q"'}, {"id": [4, None], "text": "w"}]
    content = "".join(json.dumps(record) + "\n" for record in records)
    for to, delimiter in (("csv", ","), ("tsv", "\t")):
        out = answer(CLASSIFY, tmp_path / "in.jsonl", content, to=to).decode()
        rows = list(csv.reader(io.StringIO(out), delimiter=delimiter))
        assert rows == [
            ["id", "text", "pred_label", "pred_score"],
            ["1", "x", "yes", "0.7311"],
            ["2", "y", "yes", "0.7311"],
            ["", 'z, "q"', "yes", "0.7311"],
            ["[4, null]", "w", "yes", "0.7311"],
        ]


def test_a_field_that_the_table_has_no_column_for_is_an_error_of_its_record(tmp_path: Path) -> None:
    content = '{"text": "x"}\n{"text": "y", "extra": 1}\n{"text": "z"}\n'
    with pytest.raises(DataError, match="'extra'") as caught:
        answer(CLASSIFY, tmp_path / "in.jsonl", content, to="csv")
    assert str(caught.value.place).endswith("in.jsonl:2")
    out = answer(CLASSIFY, tmp_path / "in.jsonl", content, to="csv", on_error="null").decode()
    assert out == "text,pred_label,pred_score\nx,yes,0.7311\ny,,\nz,yes,0.7311\n"


def test_a_bad_first_record_does_not_take_the_columns_away(tmp_path: Path) -> None:
    content = 'no JSON\n{"id": 1, "text": "x"}\n'
    out = answer(CLASSIFY, tmp_path / "in.jsonl", content, to="csv", on_error="null").decode()
    assert out == "id,text,pred_label,pred_score\n,,,\n1,x,yes,0.7311\n"


@pytest.mark.parametrize(("name", "to"), [("in.csv", None), ("in.csv", "tsv"), ("in.jsonl", "csv")])
def test_a_name_in_use_is_refused_and_field_names_another(tmp_path: Path, name: str, to: Any) -> None:
    table, objects = "text,pred_label\nx,1\n", '{"text": "x", "pred_label": 1}\n'
    content, kind = (table, "csv") if name == "in.csv" else (objects, None)
    with pytest.raises(DataError, match="'pred_label' already") as caught:
        answer(CLASSIFY, tmp_path / name, content, to=to, format=kind)
    assert str(caught.value.place).startswith(str(tmp_path / name))
    assert "--field NAME" in str(caught.value)
    out = answer(CLASSIFY, tmp_path / name, content, to=to, field="mine", format=kind).decode()
    assert out.splitlines()[0].replace("\t", ",") == "text,pred_label,mine_label,mine_score"


def test_text_becomes_a_table(tmp_path: Path) -> None:
    out = answer(CLASSIFY, tmp_path / "in.txt", 'a, b\n\nsay "c"\n', to="csv").decode()
    assert list(csv.reader(io.StringIO(out))) == [
        ["text", "pred_label", "pred_score"],
        ["a, b", "yes", "0.7311"],
        ["", "yes", "0.7311"],
        ['say "c"', "yes", "0.7311"],
    ]


# -- JSON Lines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "scores", "expected"),
    [
        (CLASSIFY, False, {"label": "yes", "score": 0.7311}),
        (CLASSIFY, True, {"label": "yes", "score": 0.7311, "scores": {"no": 0.2689, "yes": 0.7311}}),
        (SETS, False, {"labels": ["a", "c"], "scores": {"a": 0.7311, "c": 0.8808}}),
        (VALUE, False, {"value": -2.5}),
    ],
)
def test_an_object_keeps_its_characters_and_gets_a_field(
    tmp_path: Path, task: Any, scores: bool, expected: dict[str, Any]
) -> None:
    line = '{ "text":"x",  "n":1.50, "u":"\\u00e9" }'
    out = answer(task, tmp_path / "in.jsonl", line, scores=scores).decode()
    assert out.startswith('{ "text":"x",  "n":1.50, "u":"\\u00e9", "prediction": {')
    assert json.loads(out)["prediction"] == expected


def test_lines_of_text_become_objects(tmp_path: Path) -> None:
    out = answer(CLASSIFY, tmp_path / "in.txt", "x\n\n").decode().splitlines()
    assert [json.loads(line)["text"] for line in out] == ["x", ""]


def test_a_table_becomes_objects_by_its_columns(tmp_path: Path) -> None:
    out = answer(CLASSIFY, tmp_path / "in.csv", "id,text\n7,good\n", to="jsonl", format="csv")
    assert json.loads(out) == {"id": "7", "text": "good", "prediction": {"label": "yes", "score": 0.7311}}


def test_a_bad_object_is_answered_with_null_and_keeps_what_it_has(tmp_path: Path) -> None:
    content = '{"text": "x"}\nno JSON\n{"body": "y"}\n{"text": "z", "prediction": 1}\n'
    out = answer(CLASSIFY, tmp_path / "in.jsonl", content, on_error="null").decode().splitlines()
    assert json.loads(out[0])["prediction"]["label"] == "yes"
    assert [json.loads(line) for line in out[1:]] == [
        {"prediction": None},
        {"body": "y", "prediction": None},
        {"text": "z", "prediction": None},
    ]


# -- columns -----------------------------------------------------------------------------------------------------------

SENTENCES = "# c\nin\tO\nParis\tB-LOC\n\n\nhome\tO\n"


def test_a_column_file_gets_one_more_field(tmp_path: Path) -> None:
    out = answer(TAGS, tmp_path / "in.conll", SENTENCES).decode()
    assert out == "# c\nin\tO\tB-LOC\nParis\tB-LOC\tB-LOC\n\n\nhome\tO\tB-LOC\n"


def test_tokens_become_a_column_file(tmp_path: Path) -> None:
    content = '{"tokens": ["in", "Paris"]}\n{"tokens": ["a\\tb"]}\n'
    out = answer(TAGS, tmp_path / "in.jsonl", content, to="conll", on_error="null").decode()
    assert out == "in\tB-LOC\nParis\tB-LOC\n\n\n"


def test_tagged_text_becomes_a_table_of_entities(tmp_path: Path) -> None:
    out = answer(TAGS, tmp_path / "in.txt", "Paris\n", to="csv").decode()
    header, row = csv.reader(io.StringIO(out))
    assert header == ["text", "pred_entities"]
    (entity,) = json.loads(row[1])
    assert (entity["start"], entity["end"], entity["label"], entity["text"]) == (0, 5, "LOC", "Paris")


@pytest.mark.parametrize("task", [CLASSIFY, SETS, VALUE])
def test_answers_without_tags_fit_no_column_file(tmp_path: Path, task: Any) -> None:
    with pytest.raises(UsageError, match="has no tags"):
        answer(task, tmp_path / "in.txt", "x\n", to="conll")


@pytest.mark.parametrize("to", ["squad", "text", "parquet"])
def test_formats_that_are_only_read_are_refused(tmp_path: Path, to: str) -> None:
    with pytest.raises(UsageError, match="jsonl, csv, tsv or conll"):
        answer(CLASSIFY, tmp_path / "in.txt", "x\n", to=to)
