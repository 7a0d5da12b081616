"""Which format a file is taken for."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from bertft.data import formats
from bertft.data.formats import Format
from bertft.errors import DataError, UsageError

CONLL = "EU\tB-ORG\nrejects\tO\n\nBonn\tB-LOC\n"
JSONL = '{"tokens": ["EU"], "tags": ["B-ORG"]}\n'
PROSE = "Paris is nice .\nBonn is small and quiet , too .\n\nThe end\n"


def sniffed(path: Path, *, labelled: bool = False) -> Format:
    return formats.read(str(path), labelled=labelled).format


def stored(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("f.conll", CONLL, "conll"),
        ("f.conllu", CONLL, "conll"),
        ("f.jsonl", JSONL, "jsonl"),
        ("f.ndjson", JSONL, "jsonl"),
        ("f.JSONL", JSONL, "jsonl"),
        ("f.tsv", CONLL, "conll"),
        ("f.iob", CONLL, "conll"),
        ("f", CONLL, "conll"),
        ("f", "EU B-ORG\nrejects O\n\nBonn B-LOC\n", "conll"),
        ("f", "EU|B-ORG rejects|O\nBonn|B-LOC is|O\n", "conll"),
        ("f.json", JSONL, "jsonl"),
        ("f", "\n \n" + JSONL, "jsonl"),
        ("f", "\ufeff" + JSONL, "jsonl"),
        ("f.txt", PROSE, "text"),
        ("f.txt", "one word\ntwo words\n", "text"),
        ("f.txt", "\n", "text"),
        ("f.txt", "{not json}\n", "text"),
        ("f.txt", "[Music] plays\n", "text"),
        ("f.txt", "[1] See there .\n", "text"),
        ("f.txt", "- O\n", "conll"),
    ],
)
def test_the_format_to_predict_is_sniffed(tmp_path: Path, name: str, text: str, expected: Format) -> None:
    assert sniffed(stored(tmp_path, name, text)) == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("train.txt", CONLL, "conll"),
        ("train.txt", JSONL, "jsonl"),
        ("train", "the\tDET\ndog\tNOUN\n\nruns\tVERB\n", "conll"),
        ("train.txt", "[\tO\nParis\tB-LOC\n]\tO\n", "conll"),
        ("train.conll", "[ O\nParis B-LOC\n] O\n", "conll"),
        ("train.txt", "{ O\nParis B-LOC\n} O\n", "conll"),
    ],
)
def test_labelled_data_is_columns_or_json_lines(tmp_path: Path, name: str, text: str, expected: Format) -> None:
    assert sniffed(stored(tmp_path, name, text), labelled=True) == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [("f.conll.gz", CONLL, "conll"), ("f.jsonl.gz", JSONL, "jsonl"), ("f.gz", PROSE, "text")],
)
def test_the_suffix_before_gz_counts(tmp_path: Path, name: str, text: str, expected: Format) -> None:
    opened = formats.read(str(stored(tmp_path, name, gzip.compress(text.encode()))))
    assert opened.format == expected
    assert len(list(opened.rows)) > 0


@pytest.mark.parametrize("text", ['[{"text": "a"}, {"text": "b"}]\n', '[\n  {"text": "a"}\n]\n'])
@pytest.mark.parametrize("labelled", [True, False])
def test_a_json_list_is_named_with_its_cure(tmp_path: Path, text: str, labelled: bool) -> None:
    path = stored(tmp_path, "f.json", text)
    with pytest.raises(DataError) as caught:
        sniffed(path, labelled=labelled)
    assert f"{path}:1" in str(caught.value)
    assert "jq" in str(caught.value)


def test_the_given_format_wins(tmp_path: Path) -> None:
    opened = formats.read(str(stored(tmp_path, "f.conll", CONLL)), format="text")
    assert [row.values["text"] for row in opened.rows] == CONLL.splitlines()


def test_every_text_line_is_a_record(tmp_path: Path) -> None:
    opened = formats.read(str(stored(tmp_path, "f.txt", "a b\r\n\n c \nend")))
    assert [(row.values["text"], row.place.line) for row in opened.rows] == [
        ("a b", 1),
        ("", 2),
        (" c ", 3),
        ("end", 4),
    ]


def test_an_empty_text_has_no_records(tmp_path: Path) -> None:
    assert list(formats.read(str(stored(tmp_path, "f.txt", ""))).rows) == []


@pytest.mark.parametrize(("text", "expected"), [(JSONL, "jsonl"), (PROSE, "text"), (CONLL, "text"), ("", "text")])
def test_stdin_is_json_lines_or_text(monkeypatch: pytest.MonkeyPatch, text: str, expected: Format) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    opened = formats.read("-")
    assert opened.format == expected
    assert all(row.place.path == "-" for row in opened.rows)


def test_stdin_is_columns_when_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(CONLL.encode())))
    opened = formats.read("-", format="conll")
    assert [row.values["tokens"] for row in opened.rows] == [["EU", "rejects"], ["Bonn"]]


def test_columns_and_unit_reach_the_reader(tmp_path: Path) -> None:
    path = stored(tmp_path, "f.conll", "EU X B-ORG\nis Y O\n\nBonn X O\n")
    opened = formats.read(str(path), columns={"tags": "2"}, unit="document")
    assert [row.values["tags"] for row in opened.rows] == [["X", "Y", "X"]]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [("f.conll", CONLL, "tab-separated"), ("f.jsonl", JSONL, "JSON Lines"), ("f.txt", PROSE, "plain text")],
)
def test_an_input_says_what_it_was_taken_for(tmp_path: Path, name: str, text: str, expected: str) -> None:
    path = stored(tmp_path, name, text)
    said = formats.read(str(path)).describe()
    assert said.startswith(f"{path}: ")
    assert expected in said


def test_formats_are_named() -> None:
    assert [formats.parse_format(name) for name in ("auto", "text", "jsonl", "conll")] == [
        None,
        "text",
        "jsonl",
        "conll",
    ]


def test_an_unknown_format_lists_the_known() -> None:
    with pytest.raises(UsageError) as caught:
        formats.parse_format("parquet")
    assert "auto, text, jsonl, conll" in str(caught.value)
