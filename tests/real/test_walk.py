"""Every file of ../shared/data is read by the command that one would try, or refused with what to do instead.

A file is read as training reads it: its format is found, its fields are told, and each of its rows is parsed. Where the
file's SOURCE.txt says how much is in it, as much must come out.
"""

from __future__ import annotations

import ast
import re
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

from bertft.data import formats
from bertft.data.row import Row
from bertft.errors import DataError
from bertft.tasks import task_class

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the public data of {DATA}, which is not there")

# The task that a file is for, by the first pattern that fits; what the README of the folder calls it.
TASKS = (
    ("*/SOURCE.txt", "classify"),
    ("*README*", "classify"),
    ("*LICENSE*", "classify"),
    ("*/CC*.txt", "classify"),
    ("*.conf", "classify"),
    ("wikitext/*", "text"),
    ("export-doccano/*/task_agnostic/*", "text"),
    ("export-doccano/data_import/tests/data/example.txt", "text"),
    ("mnli-subset/*", "pair"),
    ("stsb/*", "pair"),
    ("squad*", "qa"),
    ("xquad/*", "qa"),
    ("export-doccano/*labeling/*", "ner"),
    ("export-doccano/*relation*", "ner"),
    ("export-doccano/*", "classify"),
    ("export-label-studio/ner_tasks.json", "ner"),
    ("export-label-studio/*", "classify"),
    ("*textcat*", "classify"),
    ("banking77/*", "classify"),
    ("clinc150/*", "classify"),
    ("goemotions/*", "classify"),
    ("sst2/*", "classify"),
    ("*", "ner"),
)

# What cannot be read, and what the message says of it. Everything else must be read to its end.
REFUSED = {
    "*/SOURCE.txt": "plain text",
    "*README*": "plain text",
    "*LICENSE*": "plain text",
    "stsb/readme.txt": "plain text",
    "*/CC*.txt": "plain text",
    "*.conf": "plain text",
    "*/label_config.xml": "plain text",
    "*.xlsx": "save it as CSV",
    "banking77/categories.json": "a list of 77 texts, without labels",
    "clinc150/domains.json": "--columns",
    "goemotions/labels.txt": "plain text",
    "squad2-cs224n/test-v2.0.json": "none of the 5915 questions has an answer",
    "export-spacy/vocab-data.jsonl": "--columns",
    "export-label-studio/data_examples.json": "--columns",
    "export-label-studio/test_export_csv/csv_test.json": "with rectanglelabels, which is no label of a text",
    "export-label-studio/test_export_csv/csv_test2_result.csv": "--columns",
    "export-label-studio/test_export_json_min/chat_data.json": "with chatmessage",
    "export-label-studio/test_export_json_min/data.json": "with polygonlabels",
    "export-label-studio/test_export_json_min/data_repeater.json": "with rectanglelabels, taxonomy",
    "export-doccano/doccano-transformer/seq2seq/*": "--columns",
    "snips/*/*": "one file of parallel lines",  # read as a directory, see below
    "export-label-studio/test_export_csv/csv_test2.json": "--columns",
    "*/label_config_repeater.json": "--columns",
}

# Files with a record that nobody could learn from, and its line.
DOCCANO = "export-doccano/data_import/tests/data"
BAD_RECORDS = {
    f"{DOCCANO}/intent/example.jsonl": 3,  # no category
    f"{DOCCANO}/seq2seq/example.json": 4,  # no text
    f"{DOCCANO}/seq2seq/example.jsonl": 3,
    f"{DOCCANO}/sequence_labeling/example.jsonl": 3,
    f"{DOCCANO}/sequence_labeling/labeling.invalid.conll": 1,
    f"{DOCCANO}/text_classification/example.invalid.2.csv": 2,
    f"{DOCCANO}/text_classification/example.json": 5,
}

# SOURCE.txt counts spaCy's documents; its paragraphs are the records.
PARAGRAPHS = {f"export-spacy/textcat_example_data/{name}.json": 10 for name in ("cooking", "jigsaw-toxic-comment")}

FILES = sorted(str(path.relative_to(DATA)) for path in DATA.rglob("*") if path.is_file()) if DATA.is_dir() else []


def first(patterns: object, name: str) -> str | None:
    return next((pattern for pattern in patterns if fnmatch(name, pattern)), None)  # type: ignore[attr-defined]


def read(path: Path, task: str, use: formats.Use = "train") -> list[Row]:
    """Return the rows that training would learn from and those that are left out; raises the first error."""
    if task == "text":
        opened = formats.read(str(path), wanted=(("text",),))
        rows = [row for row in opened.rows if row.values["text"].strip()]
        assert opened.format == "text"
    else:
        kind = task_class(task)
        opened = formats.read(str(path), wanted=kind.wanted, labelled=True, use=use)
        rows = list(opened.rows)
        parser = kind(kind.options_class())  # type: ignore[call-arg]
        for row in rows:
            if not row.excluded:
                parser.parse(row, labelled=True)
    assert opened.describe().startswith(str(path))
    assert [row.error for row in rows if row.error] == []
    return rows


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_to_its_end_or_refused_with_a_way_out(name: str) -> None:
    task = next(task for pattern, task in TASKS if fnmatch(name, pattern))
    path = DATA / name
    refused = first(REFUSED, name)
    bad = BAD_RECORDS.get(name)
    if refused is None and bad is None:
        rows = read(path, task)
        assert len(rows) == counts().get(name, len(rows) or 1)
        return
    with pytest.raises(DataError) as caught:
        read(path, task)
    if bad is not None:
        assert str(caught.value.place) == f"{path}:{bad}"
    else:
        assert REFUSED[str(refused)] in str(caught.value)
        assert caught.value.help
        assert str(caught.value.place).startswith(str(path))


@cache
def counts() -> dict[str, int]:
    """Return how many records the SOURCE.txt of each folder counted in its files."""
    found: dict[str, int] = {}
    for source in DATA.glob("*/SOURCE.txt"):
        for line in source.read_text(encoding="utf-8").partition("verified:")[2].splitlines():
            if match := re.match(r"  (\S+): (?:.*?\W)??(\d+) (?:rows|sentences|questions|items)\b", line):
                found[f"{source.parent.name}/{match[1]}"] = int(match[2])
    return found | PARAGRAPHS


def test_the_command_that_a_refusal_names_reads_the_file() -> None:
    path = DATA / "export-doccano/data_import/pipeline/examples/sequence_labeling/example.jsonl"
    columns = {"text": "column_data", "entities": "column_label"}
    opened = formats.read(str(path), wanted=task_class("ner").wanted, labelled=True, columns=columns)
    assert [row.get("entities") for row in opened.rows] == [[[0, 2, "ORG"]], [[0, 15, "PERSON"]], [[10, 15, "PERSON"]]]


def test_snips_is_read_as_a_directory() -> None:
    for use, count in (("train", 13084), ("dev", 700), ("test", 700)):
        for task in ("ner", "classify"):
            assert len(read(DATA / "snips", task, use)) == count  # type: ignore[arg-type]


def test_every_mention_of_brat_is_read() -> None:
    source = (DATA / "export-brat/SOURCE.txt").read_text(encoding="utf-8")
    expected = {
        f"{match[1]}.txt": ast.literal_eval(match[2]).get("T", 0)
        for match in re.finditer(r"^  (\S+)\.ann: (\{.*\})$", source, re.MULTILINE)
    }
    rows = read(DATA / "export-brat", "ner")
    assert {row.values["file"]: len(row.values["entities"]) for row in rows} == expected
    assert len(rows) == 33
