"""BRAT standoff: mentions in .ann files beside texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from bertft.data import brat

TEXT = "Head and back pain,\nthen fever.\n"
MENTIONS = "T1\tSymptom 9 18\tback pain\nT2\tSymptom 0 4;14 18\tHead pain\n"
ANN = MENTIONS + "R1\tWith Arg1:T1 Arg2:T2\t\n#1\tNote T1\tx\nE1\tX:T1\n*\tEq T1 T2\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.txt").write_text(TEXT)
    (tmp_path / "b.ann").write_text(ANN)
    (tmp_path / "sub" / "a.txt").write_text("Nothing here.\n")
    (tmp_path / "sub" / "a.ann").write_text("")
    (tmp_path / "notes.txt").write_text("no annotations")
    return tmp_path


def test_a_document_is_a_row_and_a_mention_in_pieces_is_one_span(folder: Path) -> None:
    found = brat.read(str(folder), encoding=None)
    assert found.description == (
        "BRAT, 2 documents, 2 mentions, 1 of them in several pieces, taken as one span each, "
        "1 texts without an .ann file left out"
    )
    first, second = found.rows
    assert str(first.place) == f"{folder / 'b.txt'}:1"
    assert first.values == {
        "text": TEXT,
        "entities": [
            {"start": 9, "end": 18, "label": "Symptom"},
            {"start": 0, "end": 18, "label": "Symptom", "fragments": [(0, 4), (14, 18)]},
        ],
        "file": "b.txt",
    }
    assert (second.values["entities"], second.values["file"]) == ([], "sub/a.txt")


@pytest.mark.parametrize("name", ["b.ann", "b.txt"])
def test_one_document_can_be_named(folder: Path, name: str) -> None:
    assert brat.is_brat(str(folder / name))
    (row,) = brat.read(str(folder / name), encoding=None).rows
    assert len(row.values["entities"]) == 2


def test_what_is_brat(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert brat.is_brat(str(folder))
    assert not brat.is_brat(str(folder / "notes.txt"))
    assert not brat.is_brat(str(tmp_path_factory.mktemp("empty")))
    assert not brat.is_brat(str(folder / "missing"))


def test_line_ends_in_mentions_and_texts_with_carriage_returns(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"back\r\npain \xc3\xa9t\xc3\xa9")
    (tmp_path / "a.ann").write_bytes("T1\tX 0 10\tback pain\r\nT2\tX 11 14\tété\r\n".encode())
    (row,) = brat.read(str(tmp_path), encoding=None).rows
    assert row.error is None
    assert [row.values["text"][e["start"] : e["end"]] for e in row.values["entities"]] == ["back\r\npain", "été"]


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        ("T1\tX 0 4\tBack", "T1 is 'Back', but the text has 'Head' at 0-4"),
        ("T1\tX 0 400\tHead", "T1 is 'Head', but the text has"),
        ("T1\tX 4 4\t", "T1 is '', but the text has '' at 4-4"),
        ("T1 X 0 4 Head", "this line is no mention"),
        ("T1\tX 0 -4\tHead", "this line is no mention"),
    ],
)
def test_what_is_wrong_in_an_ann_file_is_located_there(folder: Path, line: str, fact: str) -> None:
    (folder / "b.ann").write_text(f"#1\tNote\tx\n{line}\n")
    first, second = brat.read(str(folder), encoding=None).rows
    assert first.error is not None
    assert first.error.fact.startswith(fact)
    assert str(first.error.place) == f"{folder / 'b.ann'}:2"
    assert second.error is None


def test_a_missing_or_undecodable_text_is_an_error_of_its_row(folder: Path) -> None:
    (folder / "b.txt").unlink()
    (folder / "sub" / "a.txt").write_bytes(b"caf\xe9")
    errors = [row.error for row in brat.read(str(folder), encoding=None).rows]
    assert ["there is no text beside it" in str(errors[0]), "--encoding latin-1" in str(errors[1])] == [True, True]
    (row,) = brat.read(str(folder / "sub"), encoding="latin-1").rows
    assert row.values["text"] == "café"


def test_an_offset_of_5000_digits_is_an_error_of_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Ann")
    (tmp_path / "a.ann").write_text(f"T1\tPER 0 {'3' * 5000}\tAnn\n")
    (row,) = brat.read(str(tmp_path), encoding=None).rows
    assert row.error is not None
    assert str(row.error.place).endswith("a.ann:1")


def test_pieces_in_any_order_are_one_span(folder: Path) -> None:
    (folder / "b.ann").write_text(f"T1\tSymptom 14 18;0 4\t{TEXT[14:18]} {TEXT[:4]}\n")
    row = next(iter(brat.read(str(folder / "b.txt"), encoding=None).rows))
    assert [(one["start"], one["end"]) for one in row.values["entities"]] == [(0, 18)]
