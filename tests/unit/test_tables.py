"""Tables: what is inferred, what is read, that any cells come back, and that writing keeps every byte."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertft.data import dialects, tables
from bertft.data.row import Row
from bertft.data.source import Source, open_source
from bertft.data.tables import Dialect
from bertft.errors import DataError

PROSE = ["It was better than I had hoped for.", "Never again, not even for free!", "So so. I expected more of it."]


def source(data: str | bytes, *, live: bool = False) -> Source:
    raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    return Source("f.csv", io.BytesIO(raw), "utf-8", live=live)


def read(data: str | bytes, columns: Mapping[str, str] | None = None) -> tuple[Dialect, list[Row]]:
    opened = source(data)
    dialect = dialects.dialect_of(opened, columns or {})
    return dialect, list(tables.read(opened, dialect))


def cells(data: str | bytes) -> list[list[str]]:
    found = []
    for row in read(data)[1]:
        if row.error is not None:
            raise row.error
        found.append(list(row.values.values()))
    return found


# -- delimiter, quoting, header -------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_delimiter_is_found(delimiter: str, end: str) -> None:
    data = end.join(delimiter.join(row) for row in [("text", "label"), ("It is good", "pos"), ("It is bad", "neg")])
    dialect, rows = read(data + end)
    assert (dialect.delimiter, dialect.names, dialect.line_end) == (delimiter, ("text", "label"), end)
    assert [dict(row.values) for row in rows] == [
        {"text": "It is good", "label": "pos"},
        {"text": "It is bad", "label": "neg"},
    ]
    assert [row.place.line for row in rows] == [2, 3]


def test_commas_in_the_texts_of_a_semicolon_table_are_no_delimiters() -> None:
    data = "text;label\n" + "".join(f"{text};pos\n" for text in PROSE)
    assert read(data)[0].delimiter == ";"
    assert cells(data)[1] == [PROSE[1], "pos"]


def test_quoted_cells_hold_delimiters_quotes_and_line_breaks() -> None:
    data = 'text,label\r\n"He said ""no"", twice",a\r\n"one\r\ntwo\n\nthree",b\r\nplain,c\r\n'
    assert cells(data) == [['He said "no", twice', "a"], ["one\r\ntwo\n\nthree", "b"], ["plain", "c"]]
    assert [row.place.line for row in read(data)[1]] == [2, 3, 7]


def test_stray_quotes_are_characters_as_in_the_tables_of_glue() -> None:
    data = (
        'sentence\tlabel\n" a quote that never ends\t0\nhe said " hm\t1\n"whole" it was\t0\n"all of it"\t1\nend "\t0\n'
    )
    dialect, _ = read(data)
    assert not dialect.quoted
    assert cells(data) == [
        ['" a quote that never ends', "0"],
        ['he said " hm', "1"],
        ['"whole" it was', "0"],
        ['"all of it"', "1"],
        ['end "', "0"],
    ]


def test_a_tab_table_that_doubles_its_quotes_is_quoted() -> None:
    assert cells('text\tlabel\n"He said ""no"""\ta\nplain text\tb\n') == [['He said "no"', "a"], ["plain text", "b"]]


def test_a_tab_table_with_every_cell_in_quotes_is_quoted() -> None:
    assert cells('"text"\t"label"\n"plain text"\t"b"\n"more of it"\t"c"\n') == [
        ["plain text", "b"],
        ["more of it", "c"],
    ]


def test_a_stray_quote_in_a_quoted_table_takes_no_other_record_with_it() -> None:
    rows = "".join(f'"{text}",{i}\n' for i, text in enumerate(PROSE))
    data = f'text,label\n{rows}" a stray one,4\nnot "quoted" here,5\n"Never, ever",6\n'
    assert cells(data)[3:] == [['" a stray one', "4"], ['not "quoted" here', "5"], ["Never, ever", "6"]]


def test_a_quote_that_never_closes_is_one_error_and_no_lost_file() -> None:
    data = "text,label\n" + '"a, b",x\n' * 5 + '"open, and so on,y\n' + "c,z\n" * 3000
    _, rows = read(data)
    assert len(rows) == 5 + 1 + 3000
    (bad,) = [row for row in rows if row.error is not None]
    assert str(bad.place) == "f.csv:7"
    assert "does not close" in str(bad.error)


@pytest.mark.parametrize(
    ("first", "rest", "header"),
    [
        (["text", "label"], [["so good", "pos"]], True),
        (["Consumer complaint narrative", "Product"], [["so good", "card"]], True),
        (["reply", "mood"], [[text, "pos"] for text in PROSE], True),
        (["how", "much"], [["a", "1"], ["b", "2.5"]], True),
        (["", "text", "label"], [["0", "so good", "pos"]], True),
        (["so good, so far", "pos"], [["so bad, so far", "neg"], ["never", "pos"]], False),
        (["3", "text"], [["4", "label"]], False),
        (["so good", "question"], [["why?", "question"], ["how?", "answer"]], False),
        (["I like it very much.", "joy"], [["I do not.", "anger"]], False),
    ],
)
def test_a_header_is_told_from_a_record(first: Sequence[str], rest: Sequence[Sequence[str]], header: bool) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([first, *rest])
    dialect, rows = read(out.getvalue())
    assert bool(dialect.head) == header
    assert len(rows) == len(rest) + (not header)
    assert f"{'with' if header else 'no'} header" in str(dialect)


def test_a_name_that_was_given_makes_a_header() -> None:
    assert read("foo,bar\na,b\n", {"text": "bar"})[0].names == ("foo", "bar")


def test_columns_without_a_name_and_with_the_same_have_one_of_their_own() -> None:
    assert read(",text,label,label\n0,so good,a,b\n")[0].names == ("1", "text", "label", "label.4")


def test_a_byte_order_mark_is_no_part_of_the_first_name() -> None:
    assert read("\ufefftext,label\na b,c\n")[0].names == ("text", "label")
    assert read('\ufeff"text","label"\n"a\nb",c\n')[0].names == ("text", "label")


def test_utf16_is_read(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes("text;label\r\nZürich 東京;ä\r\n".encode("utf-16"))
    opened = open_source(str(path))
    dialect = dialects.dialect_of(opened, {})
    (row,) = tables.read(opened, dialect)
    assert row.values == {"text": "Zürich 東京", "label": "ä"}
    out = tables.header(dialect, ["p"]) + tables.write(row, dialect, ["q"])
    assert out.encode(opened.encoding).decode("utf-16") == "text;label;p\r\nZürich 東京;ä;q\r\n"


def test_values_are_the_strings_of_the_file() -> None:
    values = ["True", "NO", "NA", "", "null", "nan", "1.0", "007", " x ", "1e5"]
    data = "text,label\n" + "".join(f"it is so,{value}\n" for value in values)
    assert [row[1] for row in cells(data)] == values


def test_only_line_feeds_end_a_record() -> None:
    assert cells("text,label\na\u2028b\x0bc\x85d,x\n") == [["a\u2028b\x0bc\x85d", "x"]]


def test_blank_lines_are_no_records() -> None:
    assert cells("\ntext,label\n\n \na b,x\n\n,\n\n") == [["a b", "x"], ["", ""]]


def test_the_last_line_needs_no_end() -> None:
    assert cells("text,label\na b,x") == [["a b", "x"]]


@pytest.mark.parametrize(("line", "count"), [("a", 1), ("a,b,c", 3)])
def test_a_ragged_record_names_its_line(line: str, count: int) -> None:
    _, rows = read(f"text,label\nso good,pos\n{line}\nso bad,neg\n")
    assert [row.error is None for row in rows] == [True, False, True]
    message = str(rows[1].error)
    assert "f.csv:3" in message
    assert f"{count} column" in message


def test_a_line_that_cannot_be_decoded_is_an_error_of_its_record() -> None:
    _, rows = read(b"text,label\nM\xfcnchen,a\nBonn,b\n")
    assert [row.error is None for row in rows] == [False, True]
    assert "f.csv:2" in str(rows[0].error)


def test_a_table_of_one_column_is_read() -> None:
    data = 'text\n"Good, very"\n"a ""b"""\n'
    assert cells(data) == [["Good, very"], ['a "b"']]


@pytest.mark.parametrize("data", ["", "\n\n", " \n"])
def test_an_empty_file_is_said(data: str) -> None:
    with pytest.raises(DataError, match="empty"):
        read(data)


def test_prose_is_no_table() -> None:
    lines = source("Well, that is it.\nNo, it is not.\nYes, it is.\n").sample(lambda lines: len(lines) > 9)
    assert not dialects.is_table(lines)


def test_of_a_live_table_only_a_known_header_is_looked_at() -> None:
    assert len(dialects.sample(source("text,label\na,b\nc,d\n", live=True), {})) == 1
    assert len(dialects.sample(source("so good,x\na,b\nc,d\n", live=True), {"text": "1"})) == 1
    assert len(dialects.sample(source("so good,x\na,b\nc,d\n", live=True), {})) == 3


# -- layouts of GLUE ------------------------------------------------------------------------------------------------


def stsb(extra: bool) -> str:
    rows = [
        ["main-captions", "MSRvid", "2012test", "0001", "5.000", 'A "plane" is taking off.', "An air plane takes off."],
        ["main-news", "headlines", "2013", "0012", "0.8", '" No end', "Two men are fighting."],
        ["main-forums", "answers", "2015", "0140", "3", "You can do it", "You could do it, too."],
    ] * 4
    if extra:
        rows[-1] += ["http://a.example/x", "b"]
    return "\n".join("\t".join(row) for row in rows) + "\n"


@pytest.mark.parametrize("extra", [True, False])
def test_the_headerless_stsb_is_known(extra: bool) -> None:
    dialect, rows = read(stsb(extra))
    assert (dialect.quoted, dialect.head, dialect.least) == (False, (), 7)
    assert [row.error for row in rows] == [None] * 12
    assert rows[1].values["sentence1"] == '" No end'
    assert [row.values["score"] for row in rows[:3]] == ["5.000", "0.8", "3"]
    assert ("source1" in rows[-1].values) == extra


def test_the_headerless_cola_is_known() -> None:
    dialect, rows = read("gj04\t1\t\tOur friends won't buy it.\ngj04\t0\t*\tThey drank the pub.\n" * 3)
    assert dialect.names == ("source", "label", "mark", "sentence")
    assert rows[1].values["sentence"] == "They drank the pub."


# -- writing --------------------------------------------------------------------------------------------------------


def rewritten(data: str, values: Sequence[str] = ("x",)) -> str:
    dialect, rows = read(data)
    return tables.header(dialect, ["p"]) + "".join(tables.write(row, dialect, values) for row in rows)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("text,label\na b,c\n", "text,label,p\na b,c,x\n"),
        ("text;label\r\na b;c\r\n", "text;label;p\r\na b;c;x\r\n"),
        ("text,label\r\na b,c", "text,label,p\r\na b,c,x\r\n"),
        ('"text","label"\n"a ""b"",\nc",d\n', '"text","label",p\n"a ""b"",\nc",d,x\n'),
        ("\ufefftext\tlabel\n a \tc\n", "\ufefftext\tlabel\tp\n a \tc\tx\n"),
        ("so good, so far;b\nso bad, so far;d\n", "so good, so far;b;x\nso bad, so far;d;x\n"),
    ],
)
def test_a_record_keeps_its_bytes_and_gets_more_cells(data: str, expected: str) -> None:
    assert rewritten(data) == expected


def test_bytes_that_are_no_utf8_come_back() -> None:
    dialect, rows = read(b"text,label\nM\xfcnchen,a\n")
    assert tables.write(rows[0], dialect, [""]).encode("utf-8", "surrogateescape") == b"M\xfcnchen,a,\n"


def test_new_cells_are_quoted_where_they_must_be() -> None:
    quoted, unquoted = Dialect(";", quoted=True), Dialect("\t", quoted=False)
    values = ["plain, so", "a;b", 'say "no"', "two\nlines"]
    assert tables.line(quoted, values) == 'plain, so;"a;b";"say ""no""";"two\nlines"\n'
    assert tables.line(unquoted, ["a\tb", 'say "no"', "two\r\nlines"]) == 'a b\tsay "no"\ttwo lines\n'


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(
    table=st.integers(2, 4).flatmap(lambda n: st.lists(st.lists(CELL, min_size=n, max_size=n), min_size=1, max_size=6)),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_any_cells_of_a_quoted_table_come_back(table: list[list[str]], delimiter: str, quoting: int) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=quoting).writerows(table)  # type: ignore[arg-type]
    data = "\r\n" + out.getvalue()  # the first line might begin with a byte order mark, which is none in a cell
    names = tuple(map(str, range(len(table[0]))))
    dialect = Dialect(delimiter, quoted=True, names=names, least=len(names), line_end="\r\n")
    rows = list(tables.read(source(data), dialect))
    assert [row.error for row in rows] == [None] * len(table)
    assert [list(row.values.values()) for row in rows] == table
    assert "".join(line.text for row in rows for line in row.lines) == out.getvalue()
    written = "".join(tables.write(row, dialect, ["x", '"']) for row in rows)
    again = csv.reader(io.StringIO(written, newline=""), delimiter=delimiter)
    assert list(again) == [[*row, "x", '"'] for row in table]


@given(
    table=st.integers(2, 4).flatmap(
        lambda n: st.lists(
            st.lists(
                st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\t\n\r\ufeff")),
                min_size=n,
                max_size=n,
            ),
            min_size=1,
            max_size=6,
        )
    )
)
def test_any_cells_of_an_unquoted_table_come_back(table: list[list[str]]) -> None:
    data = "".join("\t".join(row) + "\n" for row in table)
    names = tuple(map(str, range(len(table[0]))))
    dialect = Dialect("\t", quoted=False, names=names, least=len(names))
    rows = list(tables.read(source(data), dialect))
    assert [list(row.values.values()) for row in rows] == table
    assert "".join(tables.write(row, dialect, ["a\tb"]) for row in rows) == data.replace("\n", "\ta b\n")


WORDS = st.text(st.sampled_from('abc "\n,'), min_size=1).map(lambda text: f"x{text}x")


@given(rows=st.lists(st.tuples(WORDS, st.sampled_from(["pos", "neg"])), min_size=1, max_size=8))
def test_the_dialect_of_what_csv_writes_is_found(rows: list[tuple[str, str]]) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([("text", "label"), *rows])
    assert cells(out.getvalue()) == [list(row) for row in rows]


@given(rows=st.lists(st.tuples(st.text(st.sampled_from('abc "'), min_size=1), st.just("0")), min_size=1, max_size=8))
def test_no_quote_in_an_unquoted_table_loses_or_joins_records(rows: list[tuple[str, str]]) -> None:
    data = 'sentence\tlabel\nhe said "no" twice\t0\n" and\t1\n' + "".join("\t".join(row) + "\n" for row in rows)
    assert len(cells(data)) == len(rows) + 2


def test_a_new_record_of_one_empty_cell_is_no_blank_line() -> None:
    text = tables.line(Dialect(",", quoted=True), ["text"]) + tables.line(Dialect(",", quoted=True), [""])
    assert text == 'text\n""\n'


@pytest.mark.parametrize("mark", [",", "\t"])
def test_a_line_of_a_megabyte_of_delimiters_is_no_table(mark: str) -> None:
    with pytest.raises(DataError, match="no record of a table"):
        dialects.dialect_of(source(mark * 10**6), {}, mark)


@pytest.mark.parametrize(
    "lines",
    ['x""x' * 250 + "\n", 'x","x' * 200 + "\n", '","\n', '""\n', '"""\n'],
    ids=["doubled", "reopened", "1", "2", "3"],
)
def test_cells_that_stay_open_take_no_time(lines: str) -> None:
    data = 'text,label\n"x\n' + lines * min(1000, 10**6 // len(lines))
    started = time.process_time()
    count = sum(len(row.lines) for row in read(data)[1])
    assert count == data.count("\n") - 1
    assert time.process_time() - started < 15


def test_lines_of_a_cell_that_closes_and_of_one_that_opens_are_one_record() -> None:
    data = 'text,label\r\n"a\r\n""b""\r\nc","d\r\n\r\ne"\r\nf,g\r\n'
    assert cells(data) == [['a\r\n"b"\r\nc', "d\r\n\r\ne"], ["f", "g"]]


def test_line_ends_that_were_written_twice_are_no_part_of_a_cell() -> None:
    assert cells("text,label\r\r\nIt is good,pos\r\r\nIt is bad,neg\r\r\n") == [
        ["It is good", "pos"],
        ["It is bad", "neg"],
    ]


def test_the_header_of_a_second_table_is_an_error_of_its_line() -> None:
    table = "text,label\n" + "".join(f"{text},pos\n" for text in ("So it is good", "It is what I want", "It is bad"))
    dialect, rows = read(table + table)
    assert dialect.names == ("text", "label")
    assert [row.place.line for row in rows if row.error] == [5]
    assert "the header stands here again" in str(rows[3].error)


def test_a_line_for_spreadsheets_is_refused_with_the_way_out() -> None:
    with pytest.raises(DataError, match="'sep=;' is a line for spreadsheets") as caught:
        read("sep=;\r\ntext;label\r\nIt is good;pos\r\n")
    assert "tail -n +2" in str(caught.value)
