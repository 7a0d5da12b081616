"""Column files: what is inferred, what is read, and that writing returns every byte."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertft.data import conll
from bertft.data.conll import Layout, Unit
from bertft.data.row import Place, Row
from bertft.data.source import Source
from bertft.errors import DataError, UsageError

CONLL_U = """\
# newdoc id = a
# text = They haven't
1\tThey\tthey\tPRON\tPRP\t_\t2\tnsubj\t_\t_
2-3\thaven't\t_\t_\t_\t_\t_\t_\t_\t_
2\thave\thave\tAUX\tVBP\t_\t0\troot\t_\t_
3\tn't\tnot\tPART\tRB\t_\t2\tadvmod\t_\t_
3.1\tgone\tgo\tVERB\tVBN\t_\t_\t_\t_\t_

# newdoc id = b
1\t#\t#\tSYM\tNN\t_\t0\troot\t_\t_

"""


def source(data: str | bytes, *, live: bool = False) -> Source:
    return Source("f.conll", BytesIO(data.encode() if isinstance(data, str) else data), "utf-8", live=live)


def read(
    data: str | bytes, *, columns: Mapping[str, str] | None = None, unit: Unit = "sentence", labelled: bool = False
) -> tuple[Layout, list[Row]]:
    opened = source(data)
    layout = conll.layout_of(opened, columns or {})
    return layout, list(conll.read(opened, layout, unit=unit, labelled=labelled))


def pairs(data: str | bytes, *, unit: Unit = "sentence") -> list[list[tuple[str, str]]]:
    """Return the (word, tag) pairs of each record; a record that could not be read fails the test."""
    found = []
    for row in read(data, unit=unit, labelled=True)[1]:
        if row.error is not None:
            raise row.error
        if row.values["tokens"]:
            found.append(list(zip(row.values["tokens"], row.values["tags"], strict=True)))
    return found


def tagged(data: str) -> str:
    layout, rows = read(data)
    return "".join(conll.write(row, layout, ["X"] * len(row.values["tokens"])) for row in rows)


EXPECTED = [[("EU", "B-ORG"), ("rejects", "O")], [("Bonn", "B-LOC")]]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("EU\tB-ORG\nrejects\tO\n\nBonn\tB-LOC\n\n", id="two columns, tabs"),
        pytest.param("EU B-ORG\nrejects O\n\nBonn B-LOC\n\n", id="two columns, blanks"),
        pytest.param("EU   B-ORG\nrejects O\n\nBonn \tB-LOC\n\n", id="aligned by blanks"),
        pytest.param("EU NNP B-ORG\nrejects VBZ O\n\nBonn NNP B-LOC\n", id="three columns"),
        pytest.param("EU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\nBonn NNP B-NP B-LOC\n", id="four columns"),
        pytest.param("EU\tB-ORG\t_\t_\nrejects\tO\t_\t_\n\nBonn\tB-LOC\t_\t_\n", id="tags in the second of four"),
        pytest.param("1\tEU\tB-ORG\n2\trejects\tO\n\n1\tBonn\tB-LOC\n", id="index from 1"),
        pytest.param("0 EU B-ORG\n1 rejects O\n\n0 Bonn B-LOC\n", id="index from 0"),
        pytest.param("EU\tB-ORG\r\nrejects\tO\r\n\r\nBonn\tB-LOC\r\n", id="CRLF"),
        pytest.param("EU\tB-ORG\nrejects\tO\n\nBonn\tB-LOC", id="no final newline"),
        pytest.param("\ufeffEU\tB-ORG\nrejects\tO\n\nBonn\tB-LOC\n", id="BOM"),
        pytest.param("EU\tB-ORG\nrejects\tO\n\t\nBonn\tB-LOC\n", id="blank line with a tab"),
        pytest.param("EU B-ORG\nrejects O\n  \nBonn B-LOC\n", id="blank line with blanks"),
        pytest.param("\n\nEU B-ORG\nrejects O\n\n\n\nBonn B-LOC\n\n\n", id="many blank lines"),
        pytest.param("EU B-ORG  \nrejects O \n\nBonn B-LOC\t\n", id="trailing blanks, blank-separated"),
        pytest.param("EU\tB-ORG \nrejects\tO\n\nBonn\tB-LOC\n", id="trailing blanks, tab-separated"),
        pytest.param("# id 1\nEU\tB-ORG\n# in between\nrejects\tO\n\n#\nBonn\tB-LOC\n", id="comments"),
        pytest.param("-DOCSTART- -X- O O\n\nEU NNP I B-ORG\nrejects VBZ I O\n\nBonn NNP I B-LOC\n", id="DOCSTART"),
        pytest.param("-DOCSTART-\tO\n\nEU\tB-ORG\nrejects\tO\n\n-DOCSTART-\tO\nBonn\tB-LOC\n", id="DOCSTART, tabs"),
    ],
)
def test_the_layout_is_inferred(data: str) -> None:
    assert pairs(data) == EXPECTED


def test_one_sentence_a_line_is_inferred() -> None:
    assert pairs("EU|NNP|B-ORG rejects|VBZ|O\n\nBonn|NNP|B-LOC ,|,|O 7|CD|O\n") == [
        [("EU", "B-ORG"), ("rejects", "O")],
        [("Bonn", "B-LOC"), (",", "O"), ("7", "O")],
    ]


@pytest.mark.parametrize(
    ("data", "columns", "words", "tags"),
    [
        ("EU\tB-ORG\n\nBonn\tO\n", 2, 0, 1),
        ("EU NNP B-NP B-ORG\n\nBonn NNP B-NP O\n", 4, 0, 3),
        ("1 EU B-ORG\n2 is O\n", 3, 1, 2),
        ("the\tDET\ndog\tNOUN\n\nruns\tVERB\n", 2, 0, 1),
        ("EU\n\nBonn\nis\n", 1, 0, None),
    ],
)
def test_columns_are_told_and_named_from_1(data: str, columns: int, words: int, tags: int | None) -> None:
    layout, _ = read(data)
    assert (layout.columns, layout.words, layout.tags) == (columns, words, tags)
    assert f"words in column {words + 1}" in str(layout)
    assert ("no tags" if tags is None else f"tags in column {tags + 1}") in str(layout)


def test_conll_u_has_words_only_and_upos_for_tags() -> None:
    assert pairs(CONLL_U) == [[("They", "PRON"), ("have", "AUX"), ("n't", "PART")], [("#", "SYM")]]


def test_conll_u_columns_have_names() -> None:
    _, rows = read(CONLL_U, columns={"tags": "xpos", "tokens": "lemma"})
    assert rows[0].values["tokens"] == ["they", "have", "not"]
    assert rows[0].values["tags"] == ["PRP", "VBP", "RB"]


def test_given_columns_are_counted_from_1() -> None:
    _, rows = read("EU NNP B-ORG\nis VBZ O\n", columns={"tokens": "2", "tags": "3"})
    assert rows[0].values["tokens"] == ["NNP", "VBZ"]
    assert rows[0].values["tags"] == ["B-ORG", "O"]


@pytest.mark.parametrize("name", ["0", "4", "-1", "ner", "upos", ""])
def test_a_column_that_the_file_has_not_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="columns 1 to 3"):
        read("EU NNP B-ORG\nis VBZ O\n", columns={"tags": name})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("#\tO\nParis\tB-LOC\n", ["#", "Paris"]),
        ("#win\tO\nParis\tB-LOC\n", ["#win", "Paris"]),
        ("# O\nParis B-LOC\n", ["#", "Paris"]),
        ("#win O\nParis B-LOC\n", ["#win", "Paris"]),
        ("Paris NNP B-LOC\n#win NN O\n# SYM O\n", ["Paris", "#win", "#"]),
        ("#\tSYM\nParis\tPROPN\n", ["#", "Paris"]),
        ("#win\nParis\n", ["#win", "Paris"]),
        ("It|PRP|O is|VBZ|O\n#Paris|NNP|B-LOC is|VBZ|O\n", ["It", "is", "#Paris", "is"]),
        ("It|PRP|O is|VBZ|O\n#|SYM|O Paris|NNP|B-LOC\n", ["It", "is", "#", "Paris"]),
    ],
)
def test_a_hash_can_be_a_token(data: str, words: list[str]) -> None:
    _, rows = read(data)
    assert [word for row in rows for word in row.values["tokens"]] == words


@pytest.mark.parametrize(
    "comment", ["# text = Paris is nice", "#", "# sent_id = 4", "#comment without blank after the sign", "## a ##"]
)
@pytest.mark.parametrize("separator", ["\t", " "])
def test_a_comment_is_no_token_and_is_kept(comment: str, separator: str) -> None:
    data = f"{comment}\nParis{separator}B-LOC\nis{separator}O\n"
    assert pairs(data) == [[("Paris", "B-LOC"), ("is", "O")]]
    assert tagged(data) == f"{comment}\nParis{separator}B-LOC{separator}X\nis{separator}O{separator}X\n"


@pytest.mark.parametrize(
    "word", ["New\u00a0York", "a\u2028b", "a\u0085b", "a\x0cb", "\u00a0", "\u200b", "\u3000", "|", "[", '"']
)
@pytest.mark.parametrize("separator", ["\t", " "])
def test_only_blanks_tabs_and_line_feeds_split(word: str, separator: str) -> None:
    assert pairs(f"{word}{separator}B-LOC\nis{separator}O\n") == [[(word, "B-LOC"), ("is", "O")]]


def test_each_row_knows_its_first_token_line() -> None:
    _, rows = read("# comment\n\nEU O\n\n-DOCSTART- O\n\n# c\nBonn O\nis O\n")
    assert [str(row.place) for row in rows] == ["f.conll:3", "f.conll:8"]


DOCUMENTS = "-DOCSTART- O\n\nEU O\nis O\n\nnice O\n\n-DOCSTART- O\n\nBonn O\n\n"


def test_documents_are_numbered_and_sentences_are_records() -> None:
    _, rows = read(DOCUMENTS)
    assert [(row.values["tokens"], row.document) for row in rows if row.values["tokens"]] == [
        (["EU", "is"], 1),
        (["nice"], 1),
        (["Bonn"], 2),
    ]


def test_a_document_can_be_the_record() -> None:
    _, rows = read(DOCUMENTS, unit="document")
    assert [(row.values["tokens"], row.sentences) for row in rows] == [
        (["EU", "is", "nice"], (2, 1)),
        (["Bonn"], (1,)),
    ]


def test_conll_u_marks_documents_too() -> None:
    _, rows = read(CONLL_U, unit="document")
    assert [row.values["tokens"] for row in rows] == [["They", "have", "n't"], ["#"]]
    assert [row.document for row in read(CONLL_U)[1]] == [1, 2]


def test_a_file_without_document_marks_is_one_document() -> None:
    assert pairs("EU O\n\nBonn O\n", unit="document") == [[("EU", "O"), ("Bonn", "O")]]


@pytest.mark.parametrize("unit", ["sentence", "document"])
@pytest.mark.parametrize("data", [CONLL_U, DOCUMENTS, "\n\n# c\n\nEU O\n\n\n# end\n\n", "EU|O is|O\n\nBonn|O is|O"])
def test_every_line_is_in_exactly_one_row(data: str, unit: Unit) -> None:
    _, rows = read(data, unit=unit)
    assert "".join(line.text for row in rows for line in row.lines) == data


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("EU\tO\r\n\t\r\nBonn\tO", "EU\tO\tX\r\n\t\r\nBonn\tO\tX"),
        ("\ufeffEU  O\n \nBonn O\n", "\ufeffEU  O X\n \nBonn O X\n"),
        ("-DOCSTART- O\n\nEU O\n", "-DOCSTART- O\n\nEU O X\n"),
        ("EU\n\nBonn\n", "EU X\n\nBonn X\n"),
        ("EU|O  is|O \r\nBonn|O is|O", "EU|O|X  is|O|X \r\nBonn|O|X is|O|X"),
    ],
)
def test_one_more_field_and_every_other_byte(data: str, expected: str) -> None:
    assert tagged(data) == expected


def test_conll_u_lines_that_are_no_words_get_an_empty_field() -> None:
    lines = tagged(CONLL_U).splitlines()
    assert [line.rsplit("\t", 1)[1] for line in lines if line[:1].isdigit()] == ["X", "_", "X", "X", "_", "X"]
    assert [line for line in lines if not line[:1].isdigit()] == [
        "# newdoc id = a",
        "# text = They haven't",
        "",
        "# newdoc id = b",
        "",
    ]


def test_a_failed_record_is_written_with_an_empty_field() -> None:
    data = "EU\tO\nis\tO\n" * 10 + "\nbad line\nis\tO\n\n" + "EU\tO\nis\tO\n" * 10
    layout, rows = read(data)
    bad = next(row for row in rows if row.error is not None)
    assert conll.write(bad, layout, None) == "bad line\t_\nis\tO\t_\n\n"


def test_words_of_other_formats_become_columns() -> None:
    assert conll.write_words(Place("f", 1), ["EU", "is"], ["B-ORG", "O"]) == "EU\tB-ORG\nis\tO\n\n"


WORD = st.text(st.characters(codec="utf-8", exclude_characters="\t\n\r \ufeff"), min_size=1, max_size=6).filter(
    lambda word: not word.startswith(("#", "-DOCSTART-"))
)
OTHER = st.sampled_from(["", " ", "\t", " \t ", "# a comment of many words", "#", "-DOCSTART- -X- O"])


@st.composite
def column_files(draw: st.DrawFn) -> tuple[str, str]:
    """Return a column file and the same file with a field `X` more."""
    columns = draw(st.integers(1, 5))
    separator = draw(st.sampled_from("\t ")) if columns > 1 else " "
    tag = st.sampled_from(["O", "B-PER", "I-PER", "I-LOC"])
    given, expected = draw(st.sampled_from(["", "\ufeff"])), ""
    expected = given
    lines = draw(st.lists(st.one_of(OTHER, st.just(None), st.just(None)), min_size=1, max_size=12))
    lines = lines if None in lines else [*lines, None]
    for i, other in enumerate(lines, 1):
        end = draw(st.sampled_from(["\n", "\r\n", ""] if i == len(lines) else ["\n", "\r\n"]))
        if other is None:
            fields = [draw(WORD) for _ in range(columns)]
            if columns > 1:
                fields[-1] = draw(tag)
            line, more = separator.join(fields), f"{separator}X"
        else:
            line, more = other, " X" if (other, columns) == ("#", 1) else ""
        given += line + end
        expected += line + more + end
    return given, expected


@settings(max_examples=150)
@given(case=column_files())
def test_writing_returns_every_byte_and_one_field_a_token(case: tuple[str, str]) -> None:
    data, expected = case
    assert tagged(data) == expected


def where(data: str | bytes) -> str:
    with pytest.raises(DataError) as caught:
        pairs(data)
    return str(caught.value)


def test_a_ragged_line_is_named() -> None:
    message = where("EU\tO\nis\tO\n\n" * 20 + "bad\n")
    assert "the line has 1 column, the file has 2" in message
    assert "f.conll:61" in message


def test_a_ragged_line_in_a_short_file_is_named() -> None:
    message = where("EU O\nis O\nnice\n\nBonn O\nis O\n")
    assert "f.conll:3" in message
    assert "columns" in message


@pytest.mark.parametrize("data", ["", "\n", " \n\t\n\r\n", "\ufeff", "\ufeff\n"])
def test_an_empty_file_is_said(data: str) -> None:
    assert where(data).startswith("the file is empty\n  --> f.conll:1")


@pytest.mark.parametrize("data", ["# only a comment\n# and another\n", "-DOCSTART- -X- O O\n\n"])
def test_a_file_without_any_token_is_an_error(data: str) -> None:
    assert "f.conll:" in where(data)


def test_a_token_over_100_kb_is_refused_with_its_line() -> None:
    message = where("EU\tO\nis\tO\n" * 20 + "x" * 100_001 + "\tO\n")
    assert "100,001" in message
    assert "f.conll:41" in message
    assert pairs("x" * 100_000 + "\tO\n") == [[("x" * 100_000, "O")]]


def test_a_token_is_measured_in_bytes() -> None:
    assert "f.conll:1" in where("漢" * 33_334 + "\tO\n")


def test_invalid_utf8_names_the_line_and_the_option() -> None:
    message = where("EU\tO\nMünchen\tB-LOC\n".encode("latin-1"))
    assert "byte 0xfc at position 2" in message
    assert "f.conll:2" in message
    assert "--encoding" in message


def test_invalid_utf8_far_down_is_one_bad_record() -> None:
    good = b"EU\tO\nis\tO\n\n" * 2000
    _, rows = read(good + b"M\xfcnchen\tO\n\n" + b"EU\tO\n")
    assert [str(row.error.place) for row in rows if row.error is not None] == ["f.conll:6001"]
    assert rows[-1].values["tokens"] == ["EU"]


def test_an_empty_tag_is_an_error_with_its_line() -> None:
    assert "f.conll:22" in where("EU\tB-ORG\nis\tO\n\n" * 7 + "Bonn\t\nis\tO\n")


def table(separator: str, rows: int) -> str:
    texts = ["a film of great charm", "it is not good , at all", "one of the best", "dull , long and loud"]
    return "sentence" + separator + "label\n" + "".join(f"{texts[i % 4]}{separator}{i % 2}\n" for i in range(rows))


@pytest.mark.parametrize("ending", ["", "\n", "\n\n"])
@pytest.mark.parametrize("rows", [6, 40, 3000])
@pytest.mark.parametrize("separator", ["\t", ","])
def test_a_table_of_sentences_is_recognised(separator: str, rows: int, ending: str) -> None:
    message = where(table(separator, rows) + ending)
    assert "f.conll:1" in message
    assert "bertft train classify" in message


def test_words_with_blanks_in_a_tagged_file_make_no_table() -> None:
    data = "New York\tB-LOC\nis\tO\nbig\tO\n"
    assert pairs(data) == [[("New York", "B-LOC"), ("is", "O"), ("big", "O")]]


def test_a_file_without_sentence_boundaries_is_not_one_sentence() -> None:
    with pytest.raises(DataError, match="20000 words") as caught:
        read("EU\tO\n" * 20_001)
    assert str(caught.value.place) == "f.conll:1"
    assert "classify" in str(caught.value)


def test_a_live_input_is_looked_at_no_further_than_its_first_sentence() -> None:
    opened = source("# c\n\nEU O\n\nBonn O\n\n", live=True)
    assert len(conll.sample(opened)) == 4


@pytest.mark.parametrize("data", ["EU O\nis O\n", CONLL_U, "EU|O is|O\nBonn|O is|O\n"])
def test_columns_of_scheme_tags_are_beyond_doubt(data: str) -> None:
    opened = source(data)
    assert conll.has_scheme_tags(conll.sample(opened), conll.layout_of(opened, {}))


@pytest.mark.parametrize("data", ["a b\nc d\n", "one\ntwo\n"])
def test_other_columns_are_in_doubt(data: str) -> None:
    opened = source(data)
    assert not conll.has_scheme_tags(conll.sample(opened), conll.layout_of(opened, {}))


def test_blank_lines_at_the_end_are_no_record_to_learn_from() -> None:
    opened = source("EU O\n\n\n\n# end\n")
    rows = list(conll.read(opened, conll.layout_of(opened, {}), labelled=True))
    assert [row.values["tokens"] for row in rows] == [["EU"]]


@pytest.mark.parametrize("columns", [{"tags": "2"}, {"tokens": "1", "tags": "2"}])
def test_a_token_that_is_a_number_sign_is_known_by_the_tags_of_the_named_column(columns: Mapping[str, str]) -> None:
    data = "a NOUN x\n# PUNCT y\n\n# NOUN y\nb PUNCT x\n\n# VERB z\nc NOUN z\n"
    _, rows = read(data, columns=columns)
    assert [row.values["tokens"] for row in rows] == [["a", "#"], ["#", "b"], ["c"]]


def test_conllu_without_any_word_is_no_crash() -> None:
    layout, found = read("1-2\tx" + "\t_" * 8 + "\n")
    assert layout.universal
    assert [row.values["tokens"] for row in found] == [[]]


@pytest.mark.parametrize("column", ["²", "9" * 5000, "٣"])
def test_a_column_that_is_no_number_of_one_is_a_usage_error(column: str) -> None:
    with pytest.raises(UsageError, match="--columns tokens="):
        read("Ann\tB-PER\n", columns={"tokens": column})
