"""The public files of ../shared/data: read, counted, converted, and written back with every byte kept."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from bertft.data import conll, formats
from bertft.data.conll import Layout
from bertft.data.row import Row
from bertft.errors import DataError
from bertft.tasks.ner import Ner
from bertft.text.schemes import detect, read_spans

DATA = Path(__file__).parents[3] / "shared" / "data"
BC5CDR = [f"{part}.tsv" for part in ("train", "devel", "test")]
WNUT = ["wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated", "emerging.test.conll"]
SCIIE = ["train.txt", "dev.txt", "test.txt"]
SPACY = "export-spacy/ner_example_data"
DOCCANO = "export-doccano/data_import"
TRANSFORMER = "export-doccano/doccano-transformer/labeling"
UD = [
    *(f"ud-en-ewt/en_ewt-ud-{part}.conllu" for part in ("train", "dev", "test")),
    *(f"ud-te/te_mtg-ud-{part}.conllu" for part in ("train", "dev", "test")),
]
COUNTED = [
    *(f"bc5cdr-{twin}/{name}" for twin in ("iob2", "iobes") for name in BC5CDR),
    *(f"wnut17/{name}" for name in WNUT),
    *(f"sciie-scierc-ner/{name}" for name in SCIIE),
    *UD,
]
FILES = [
    *COUNTED,
    f"{SPACY}/ner-sent-per-line.iob",
    f"{SPACY}/ner-token-per-line-conll2003.iob",
    f"{SPACY}/ner-token-per-line-with-pos.iob",
    f"{SPACY}/ner-token-per-line.iob",
    f"{DOCCANO}/pipeline/examples/sequence_labeling/example.txt",
    f"{DOCCANO}/tests/data/sequence_labeling/example.conll",
    f"{DOCCANO}/tests/data/sequence_labeling/labeling.trailing.conll",
    f"{TRANSFORMER}/labeling.conll2003.user1",
    f"{TRANSFORMER}/labeling.conll2003.user2",
    f"{TRANSFORMER}/labeling_text_label.conll2003.user0",
]

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the public data of {DATA}, which is not there")


@cache
def read(name: str) -> tuple[Layout, list[Row]]:
    opened = formats.read(str(DATA / name), wanted=Ner.wanted, format="conll")
    assert opened.layout is not None
    return opened.layout, list(opened.rows)


def tags(name: str) -> list[list[str]]:
    return [row.values["tags"] for row in read(name)[1] if row.values["tokens"]]


def one_more_field(text: str) -> str:
    """Add `X` to each token of a file of one of the kinds above, `_` to the lines of CoNLL-U that are no words."""
    out = []
    universal = re.search(r"^1\t.*(\t.*){8}$", text, re.MULTILINE) is not None
    for line in text.split("\n"):
        if not line.strip() or line.startswith("-DOCSTART-") or (universal and line.startswith("#")):
            out.append(line)
        elif "|" in line and not universal and "\t" not in line:
            out.append(re.sub(r"[^ ]+", r"\g<0>|X", line))
        else:
            value = "_" if universal and not line.split("\t")[0].isdigit() else "X"
            out.append(f"{line}\t{value}" if "\t" in line else f"{line} {value}")
    return "\n".join(out)


@pytest.mark.parametrize("name", FILES)
def test_every_token_line_gets_one_field_and_every_other_byte_stays(name: str) -> None:
    layout, rows = read(name)
    assert [row.error for row in rows if row.error is not None] == []
    text = "".join(conll.write(row, layout, ["X"] * len(row.values["tokens"])) for row in rows)
    assert text == one_more_field((DATA / name).read_bytes().decode())


@pytest.mark.parametrize("name", COUNTED)
def test_sentences_and_words_are_as_many_as_the_source_says(name: str) -> None:
    folder, _, file = name.partition("/")
    source = (DATA / folder / "SOURCE.txt").read_text(encoding="utf-8")
    found = re.search(rf"^  {re.escape(file)}: (\d+) sentences, (\d+) (?:tokens|words)", source, re.MULTILINE)
    assert found is not None
    sentences = [row.values["tokens"] for row in read(name)[1] if row.values["tokens"]]
    assert (len(sentences), sum(map(len, sentences))) == (int(found[1]), int(found[2]))


@pytest.mark.parametrize(("name", "documents"), [("train.txt", 350), ("dev.txt", 50), ("test.txt", 100)])
def test_documents_are_as_many_as_the_source_says(name: str, documents: int) -> None:
    opened = formats.read(str(DATA / "sciie-scierc-ner" / name), unit="document", wanted=Ner.wanted)
    assert sum(bool(row.values["tokens"]) for row in opened.rows) == documents


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        *((f"bc5cdr-iob2/{name}", "BIO") for name in BC5CDR),
        *((f"bc5cdr-iobes/{name}", "BIOES") for name in BC5CDR),
        *((f"sciie-scierc-ner/{name}", "IOB1") for name in ("train.txt", "test.txt")),
        *((f"wnut17/{name}", "BIO") for name in WNUT[:3]),
        *((name, "plain") for name in UD),
        (f"{SPACY}/ner-sent-per-line.iob", "BIO"),
        (f"{SPACY}/ner-token-per-line-conll2003.iob", "BIO"),
        (f"{SPACY}/ner-token-per-line-with-pos.iob", "BIO"),
        (f"{SPACY}/ner-token-per-line.iob", "BIO"),
        (f"{TRANSFORMER}/labeling.conll2003.user1", "BIO"),
    ],
)
def test_the_scheme_is_detected_and_no_sentence_breaks_it(name: str, scheme: str) -> None:
    found = detect(tags(name))
    assert (found.style.scheme, found.inconsistent) == (scheme, 0)


def test_iob1_without_any_b_is_still_iob1() -> None:
    found = detect(tags("sciie-scierc-ner/dev.txt"))
    assert (found.style.scheme, found.inconsistent) == ("IOB1", 0)


@pytest.mark.parametrize("name", BC5CDR)
def test_the_twins_hold_the_same_words_and_spans(name: str) -> None:
    sides = [[row for row in read(f"bc5cdr-{twin}/{name}")[1] if row.values["tokens"]] for twin in ("iob2", "iobes")]
    assert [row.values["tokens"] for row in sides[0]] == [row.values["tokens"] for row in sides[1]]
    spans = []
    for side in sides:
        style = detect([row.values["tags"] for row in side]).style
        spans.append([read_spans(row.values["tags"], style) for row in side])
    assert spans[0] == spans[1]
    assert sum(map(len, spans[0])) > 9000


def test_the_four_layouts_of_one_text_hold_the_same_words_and_tags() -> None:
    names = ("sent-per-line", "token-per-line-conll2003", "token-per-line-with-pos", "token-per-line")
    texts = []
    for name in names:
        _, rows = read(f"{SPACY}/ner-{name}.iob")
        texts.append([pair for row in rows for pair in zip(row.values["tokens"], row.values["tags"], strict=True)])
    assert len(texts[0]) == 66
    assert texts[0] == texts[1] == texts[2] == texts[3]


def test_a_ragged_export_names_its_line() -> None:
    path = DATA / DOCCANO / "tests/data/sequence_labeling/labeling.invalid.conll"
    errors = [
        row.error for row in formats.read(str(path), wanted=Ner.wanted, labelled=True).rows if row.error is not None
    ]
    assert [str(error.place) for error in errors] == [f"{path}:1"]


@pytest.mark.parametrize(
    "name",
    [
        "sst2/train.tsv",
        "sst2/dev.tsv",
        "banking77/train.csv",
        "goemotions/train.tsv",
        "stsb/sts-dev.csv",
        "export-doccano/data_import/tests/data/text_classification/example.csv",
    ],
)
def test_a_table_of_texts_is_no_column_file(name: str) -> None:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    with pytest.raises(DataError) as caught:
        list(formats.read(str(path), wanted=Ner.wanted, labelled=True).rows)
    assert f"{path}:1" in str(caught.value)
    assert "bertft train classify" in str(caught.value)
