"""Which format a file is taken for."""

from __future__ import annotations

import gzip
import io
import json
import os
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from bertft.data import formats
from bertft.data.formats import Format
from bertft.data.roles import Wanted
from bertft.errors import DataError, UsageError

CONLL = "EU\tB-ORG\nrejects\tO\n\nBonn\tB-LOC\n"
JSONL = '{"tokens": ["EU"], "tags": ["B-ORG"]}\n'
PROSE = "Paris is nice .\nBonn is small and quiet , too .\n\nThe end\n"
CSV = "text,label\nIt is good,pos\nIt is bad,neg\n"
TSV = "sentence1\tsentence2\tlabel\nIt is good\tIt is bad\t0\nIt is\tIt was\t1\n"
JSON = '[{"text": "It is good", "label": "pos"}, {"text": "It is bad", "label": "neg"}]\n'
SQUAD = (
    '{"data": [{"title": "t", "paragraphs": [{"context": "It is 5.", "qas": [{"id": "1", "question": "What?", '
    '"answers": [{"text": "5", "answer_start": 6}]}]}]}]}\n'
)

NER: Wanted = (("tokens", "tags"), ("text", "entities"))
CLASSIFY: Wanted = (("text", "label"),)
PAIR: Wanted = (("text_a", "text_b", "label"),)
QA: Wanted = (("question", "context", "answers"),)
MLM: Wanted = (("text",),)
read = partial(formats.read, wanted=NER)


def sniffed(path: Path, *, labelled: bool = False, wanted: Wanted = NER) -> Format:
    return formats.read(str(path), wanted=wanted, labelled=labelled).format


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
    opened = read(str(stored(tmp_path, name, gzip.compress(text.encode()))))
    assert opened.format == expected
    assert len(list(opened.rows)) > 0


def test_the_given_format_wins(tmp_path: Path) -> None:
    opened = read(str(stored(tmp_path, "f.conll", CONLL)), format="text")
    assert [row.values["text"] for row in opened.rows] == CONLL.splitlines()


def test_every_text_line_is_a_record(tmp_path: Path) -> None:
    opened = read(str(stored(tmp_path, "f.txt", "a b\r\n\n c \nend")))
    assert [(row.values["text"], row.place.line) for row in opened.rows] == [
        ("a b", 1),
        ("", 2),
        (" c ", 3),
        ("end", 4),
    ]


def test_an_empty_text_has_no_records(tmp_path: Path) -> None:
    assert list(read(str(stored(tmp_path, "f.txt", ""))).rows) == []


@pytest.mark.parametrize(("text", "expected"), [(JSONL, "jsonl"), (PROSE, "text"), (CONLL, "text"), ("", "text")])
def test_stdin_is_json_lines_or_text(monkeypatch: pytest.MonkeyPatch, text: str, expected: Format) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    opened = read("-")
    assert opened.format == expected
    assert all(row.place.path == "-" for row in opened.rows)


def test_stdin_is_columns_when_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(CONLL.encode())))
    opened = read("-", format="conll")
    assert [row.values["tokens"] for row in opened.rows] == [["EU", "rejects"], ["Bonn"]]


def test_columns_and_unit_reach_the_reader(tmp_path: Path) -> None:
    path = stored(tmp_path, "f.conll", "EU X B-ORG\nis Y O\n\nBonn X O\n")
    opened = read(str(path), columns={"tags": "2"}, unit="document")
    assert [row.values["tags"] for row in opened.rows] == [["X", "Y", "X"]]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [("f.conll", CONLL, "tab-separated"), ("f.jsonl", JSONL, "JSON Lines"), ("f.txt", PROSE, "plain text")],
)
def test_an_input_says_what_it_was_taken_for(tmp_path: Path, name: str, text: str, expected: str) -> None:
    path = stored(tmp_path, name, text)
    said = read(str(path)).describe()
    assert said.startswith(f"{path}: ")
    assert expected in said


def test_formats_are_named() -> None:
    assert [formats.parse_format(name) for name in ("auto", *formats.FORMATS)] == [None, *formats.FORMATS]


def test_an_unknown_format_lists_the_known() -> None:
    with pytest.raises(UsageError) as caught:
        formats.parse_format("jsnl")
    assert "auto, text, jsonl, json, csv, tsv, conll" in str(caught.value)
    assert "did you mean 'jsonl'?" in str(caught.value)


# -- tables and documents -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "wanted", "expected"),
    [
        ("f.csv", CSV, CLASSIFY, "csv"),
        ("f.CSV", CSV, CLASSIFY, "csv"),
        ("f.csv", TSV, PAIR, "tsv"),
        ("f.tsv", TSV, PAIR, "tsv"),
        ("f.tab", TSV, PAIR, "tsv"),
        ("f.txt", TSV, PAIR, "tsv"),
        ("f.txt", CSV, CLASSIFY, "csv"),
        ("f", CSV, CLASSIFY, "csv"),
        ("f.txt", "good and so on\tpos\nbad and so on\tneg\n" * 3, CLASSIFY, "tsv"),
        ("f.json", JSON, CLASSIFY, "json"),
        ("f.txt", JSON, CLASSIFY, "json"),
        ("f.jsonl", json.dumps(json.loads(JSON), indent=1), CLASSIFY, "json"),
        ("f.json", json.dumps(json.loads(JSON), indent=1), CLASSIFY, "json"),
        ("f.json", JSON[1:-2].replace("}, {", "}\n{") + "\n", CLASSIFY, "jsonl"),
        ("f", '{"text": "It is good", "label": "pos"}\n', CLASSIFY, "jsonl"),
        ("f.json", '{"0": {"text": "It is good", "label": "pos"}}', CLASSIFY, "json"),
        ("f", '{"train": [["It is good", "pos"]], "test": []}', CLASSIFY, "json"),
        ("f.json", SQUAD, QA, "json"),
        ("f", SQUAD, QA, "json"),
        ("f.txt", "__label__pos It is good\n__label__neg It is bad\n", CLASSIFY, "fasttext"),
        ("f.txt", PROSE, MLM, "text"),
    ],
)
def test_labelled_data_is_recognised(tmp_path: Path, name: str, text: str, wanted: Wanted, expected: Format) -> None:
    path = stored(tmp_path, name, text)
    opened = formats.read(str(path), wanted=wanted, labelled=True)
    assert opened.format == expected
    (row, *_) = opened.rows
    assert row.error is None
    assert all(row.get(role) is not None for role in wanted[0])


@pytest.mark.parametrize("name", ["f.csv.gz", "f.csv"])
def test_a_packed_table_is_a_table(tmp_path: Path, name: str) -> None:
    opened = formats.read(str(stored(tmp_path, name, gzip.compress(CSV.encode()))), wanted=CLASSIFY, labelled=True)
    assert opened.format == "csv"
    assert [row.get("label") for row in opened.rows] == ["pos", "neg"]


@pytest.mark.parametrize(
    ("name", "text", "wanted", "expected"),
    [
        ("f.txt", CSV, CLASSIFY, "csv"),
        ("f", CSV.replace(",", "\t"), CLASSIFY, "tsv"),
        ("f.txt", "__label__pos It is good\n__label__neg It is bad\n", CLASSIFY, "fasttext"),
        ("f.txt", "one\ttwo\nthree\tfour\n", CLASSIFY, "text"),  # text may have tabs in it
        ("f.txt", "Text, please.\n", CLASSIFY, "text"),
        ("f.csv", CSV, CLASSIFY, "csv"),
        ("f.csv", CSV, NER, "csv"),
        ("f.tsv", CONLL, NER, "conll"),
        ("f.tsv", TSV, PAIR, "tsv"),
        ("f.txt", TSV, PAIR, "tsv"),
        ("f.txt", "[[Image:x.png]] is wiki\n", CLASSIFY, "text"),
        ("f.json", JSON, CLASSIFY, "json"),
    ],
)
def test_to_predict_plain_text_is_the_rest(
    tmp_path: Path, name: str, text: str, wanted: Wanted, expected: Format
) -> None:
    assert sniffed(stored(tmp_path, name, text), wanted=wanted) == expected


@pytest.mark.parametrize(
    ("text", "wanted", "hint"),
    [
        (CSV, CLASSIFY, "; its first line looks like csv, which `--format csv` reads"),
        ("Paris NNP B-LOC\n", NER, "; its first line looks like conll, which `--format conll` reads"),
        ("Text, please.\n", CLASSIFY, ""),
        ("Oh, no.\n", NER, ""),
    ],
)
def test_stdin_is_text_and_what_it_looks_like_is_said(
    monkeypatch: pytest.MonkeyPatch, text: str, wanted: Wanted, hint: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    opened = formats.read("-", wanted=wanted)
    assert (opened.format, opened.description) == ("text", "plain text" + hint)


def test_a_column_file_is_refused_by_tasks_that_read_texts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="this is a column file") as caught:
        formats.read(str(stored(tmp_path, "f.conll", CONLL)), wanted=CLASSIFY)
    assert "bertft train ner" in (caught.value.help or "")


@pytest.mark.parametrize(
    ("text", "wanted", "help"),
    [
        (PROSE, CLASSIFY, "--format"),
        (PROSE, PAIR, "text_a + text_b + label"),
        (CONLL, CLASSIFY, "bertft train ner"),
        ("", CLASSIFY, "empty"),
    ],
)
def test_labelled_data_that_are_none_say_what_to_pass(tmp_path: Path, text: str, wanted: Wanted, help: str) -> None:
    path = stored(tmp_path, "f.txt", text)
    with pytest.raises(DataError) as caught:
        sniffed(path, labelled=True, wanted=wanted)
    assert help in str(caught.value)
    assert f"{path}:1" in str(caught.value)


@pytest.mark.parametrize("wanted", [NER, CLASSIFY])
def test_a_table_on_stdin_is_text_until_it_is_named(monkeypatch: pytest.MonkeyPatch, wanted: Wanted) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(CSV.encode())))
    assert formats.read("-", wanted=wanted).format == "text"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(CSV.encode())))
    assert [row.get("text") for row in formats.read("-", wanted=wanted, format="csv").rows] == [
        "It is good",
        "It is bad",
    ]


def test_a_pair_on_stdin_is_no_line_of_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(TSV.encode())))
    with pytest.raises(DataError, match="--format"):
        formats.read("-", wanted=PAIR)


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="needs /dev/fd")
@pytest.mark.parametrize(
    ("data", "format"),
    [(b"text,x\nso good,1\n", "csv"), (b'{"text": "so good"}\n', "jsonl"), (b"so good\n", "text")],
)
def test_a_live_record_is_given_before_the_next_one_comes(data: bytes, format: Format) -> None:
    reader, writer = os.pipe()
    try:
        os.write(writer, data)  # and it stays open: reading on would never end
        opened = formats.read(f"/dev/fd/{reader}", wanted=CLASSIFY, format=format)
        assert next(opened.rows).get("text") == "so good"
    finally:
        os.close(writer)
        os.close(reader)


def test_what_was_assumed_is_said(tmp_path: Path) -> None:
    path = stored(tmp_path, "train.csv", "body,stars\nIt is good,5\nIt is bad,1\n")
    said = formats.read(str(path), wanted=CLASSIFY, labelled=True).describe()
    assert said == f"{path}: CSV, with header, 2 columns; text=body, label=stars"


def test_columns_of_a_table_are_named_or_numbered(tmp_path: Path) -> None:
    path = stored(tmp_path, "f.csv", "a b c,d,e f\n" * 3)
    opened = formats.read(str(path), wanted=CLASSIFY, labelled=True, columns={"text": "3", "label": "2"})
    row = next(opened.rows)
    assert (row.get("text"), row.get("label")) == ("e f", "d")


def test_label_numbers_take_the_names_beside_them(tmp_path: Path) -> None:
    stored(tmp_path, "labels.txt", "joy\nanger\nfear\n")
    path = stored(tmp_path, "train.tsv", "it is so good\t0\nit is so bad\t1,2\nit is odd\t7\n")
    opened = formats.read(str(path), wanted=CLASSIFY, labelled=True, columns={"text": "1", "label": "2"})
    assert "label numbers" not in opened.describe()  # 7 has no name, so they are no numbers of these names
    path = stored(tmp_path, "train.tsv", "it is so good\t0\nit is so bad\t1,2\n")
    opened = formats.read(str(path), wanted=CLASSIFY, labelled=True, columns={"text": "1", "label": "2"})
    assert "3 names" in opened.describe()
    assert [row.get("label") for row in opened.rows] == [["joy"], ["anger", "fear"]]
    predict = formats.read(str(path), wanted=CLASSIFY, columns={"text": "1"})
    assert [row.values["2"] for row in predict.rows] == ["0", "1,2"]


# -- parts and directories ------------------------------------------------------------------------------------------


def test_parts_are_listed_and_picked(tmp_path: Path) -> None:
    split = {"train": [["a b", "x"]], "oos_train": [["c d", "oos"]], "val": [["e f", "y"]]}
    path = stored(tmp_path, "f.json", json.dumps(split))
    assert formats.parts(str(path)) == ("train", "oos_train", "val")
    texts = {
        (name, use): [row.get("text") for row in formats.read(name, wanted=CLASSIFY, labelled=True, use=use).rows]
        for name, use in [(str(path), "train"), (str(path), "dev"), (f"{path}:train+oos_train", "dev")]
    }
    assert list(texts.values()) == [["a b"], ["e f"], ["a b", "c d"]]
    with pytest.raises(DataError, match="train, oos_train, val"):
        formats.read(str(path), wanted=CLASSIFY, labelled=True, use="test")


def test_a_file_without_parts_has_none_to_name(tmp_path: Path) -> None:
    path = stored(tmp_path, "f.csv", CSV)
    assert formats.parts(str(path)) == ()
    assert formats.parts("-") == ()
    with pytest.raises(UsageError, match="no parts"):
        formats.read(f"{path}:train", wanted=CLASSIFY)


def test_a_name_with_a_colon_is_a_name(tmp_path: Path) -> None:
    path = stored(tmp_path, "a:b.csv", CSV)
    assert sniffed(path, wanted=CLASSIFY) == "csv"


def test_directories_are_recognised(tmp_path: Path) -> None:
    for label in ("pos", "neg"):
        folder = tmp_path / "reviews" / label
        folder.mkdir(parents=True)
        stored(folder, "1.txt", f"this is {label}\n")
    lines = tmp_path / "lines"
    lines.mkdir()
    stored(lines, "seq.in", "a b\n")
    stored(lines, "seq.out", "O B-x\n")
    stored(lines, "label", "greet\n")
    brat = tmp_path / "brat"
    brat.mkdir()
    stored(brat, "1.txt", "Bonn is nice\n")
    stored(brat, "1.ann", "T1\tLOC 0 4\tBonn\n")
    found = [
        formats.read(str(path), wanted=wanted, labelled=True)
        for path, wanted in [(tmp_path / "reviews", CLASSIFY), (lines, NER), (lines, CLASSIFY), (brat, NER)]
    ]
    assert [opened.format for opened in found] == ["folder", "lines", "lines", "brat"]
    assert all(opened.source is None for opened in found)
    assert {row.get("label") for row in found[0].rows} == {"pos", "neg"}
    assert [row.get("tags") for row in found[1].rows] == [["O", "B-x"]]
    assert [row.get("label") for row in found[2].rows] == ["greet"]
    assert [row.get("text").strip() for row in found[3].rows] == ["Bonn is nice"]


def test_another_directory_says_what_it_holds(tmp_path: Path) -> None:
    stored(tmp_path, "train.csv", CSV)
    with pytest.raises(DataError, match=r"train\.csv"):
        formats.read(str(tmp_path), wanted=CLASSIFY)
    with pytest.raises(DataError, match="directory"):
        formats.read(str(tmp_path), wanted=CLASSIFY, format="csv")


def test_parquet_is_read_whatever_its_name(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "f.bin"
    parquet.write_table(pa.table({"review": ["so good", "so bad"], "stars": [5, 1]}), path)
    opened = formats.read(str(path), wanted=CLASSIFY, labelled=True)
    assert [row.get("label") for row in opened.rows] == [5, 1]
    assert "text=review, label=stars" in opened.describe()


# -- the public data ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wanted", "rows"),
    [
        ("banking77/test.csv", CLASSIFY, 3080),
        ("sst2/dev.tsv", CLASSIFY, 872),
        ("sst2/test-labeled.tsv", CLASSIFY, 1821),
        ("goemotions/dev.tsv", CLASSIFY, 5426),
        ("stsb/sts-dev.csv", PAIR, 1500),
        ("stsb/sts-test.csv", PAIR, 1379),
        ("mnli-subset/k-shot/train.tsv", PAIR, 48),
        ("clinc150/data_small.json:val+oos_val", CLASSIFY, 3100),
        ("snips:valid", NER, 700),
        ("xquad/xquad.en.json", QA, 1190),
        ("export-doccano/data_import/tests/data/example.utf16.csv", CLASSIFY, 3),
    ],
)
def test_public_files_are_read_whole(shared: Path, name: str, wanted: Wanted, rows: int) -> None:
    found = list(formats.read(str(shared / "data" / name), wanted=wanted, labelled=True).rows)
    assert [row.error for row in found if row.error is not None] == []
    assert len(found) == rows
    assert all(row.get(wanted[0][-1]) is not None for row in found)


COLUMNS = '{"text": ["a b c", "d e f"], "label": ["x", "y"]}'


@pytest.mark.parametrize(("name", "count"), [("f.json", 2), ("f.jsonl", 1), ("f", 1)])
def test_columns_on_one_line_are_a_document_where_the_name_says_json(tmp_path: Path, name: str, count: int) -> None:
    opened = formats.read(str(stored(tmp_path, name, COLUMNS)), wanted=(("text", "label"),))
    assert len(list(opened.rows)) == count


def test_tokens_and_tags_on_one_line_are_one_record_whatever_the_name(tmp_path: Path) -> None:
    path = stored(tmp_path, "f.json", '{"tokens": ["Ann", "ran"], "tags": ["B-PER", "O"]}')
    assert len(list(formats.read(str(path), wanted=(("tokens", "tags"),), labelled=True).rows)) == 1


def test_an_object_of_very_many_fields_is_no_record(tmp_path: Path) -> None:
    fields = ", ".join(f'"{i}": 1' for i in range(20_000))
    with pytest.raises(DataError, match="20,000 fields"):
        formats.read(str(stored(tmp_path, "f.json", f"[{{{fields}}}]")), wanted=(("text", "label"),), labelled=True)


def test_a_label_of_5000_digits_beside_a_file_of_names_is_an_error_of_its_row(tmp_path: Path) -> None:
    stored(tmp_path, "labels.txt", "good\nbad\n")
    path = stored(tmp_path, "f.csv", "text,label\n" + "a b,0\nc d,1\n" * 600 + f"e f,{'9' * 5000}\n")
    *_, last = formats.read(str(path), wanted=(("text", "label"),), labelled=True).rows
    assert last.error is not None


def test_fields_with_line_breaks_and_of_any_length_are_named_on_their_line(tmp_path: Path) -> None:
    path = stored(tmp_path, "f.json", '[{"a\\nb": "c", "' + "x" * 5000 + '": "d"}]')
    with pytest.raises(DataError) as caught:
        formats.read(str(path), wanted=(("text", "label"),), labelled=True)
    assert "\n     a b: c\n" in str(caught.value)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("path", ["x" * 300, "x" * 300 + ":train", "a/" * 3000, "a\0b"])
def test_what_no_file_can_be_called_is_an_error(path: str) -> None:
    with pytest.raises(DataError, match="no file has such a name"):
        formats.read(path, wanted=(("text", "label"),))
    with pytest.raises(DataError, match="no file has such a name"):
        formats.parts(path)
