"""Folders of texts by label, parallel lines, and files of label names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bertft.data import folders, formats
from bertft.data.row import Part, Row
from bertft.errors import DataError

TRAIN = Part(None, "train")


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return root


def read(root: Path, part: Part = TRAIN, encoding: str | None = None) -> list[Row]:
    return list(folders.read(str(root), part, encoding=encoding).rows)


REVIEWS = {"pos/1.txt": "a fine tin\n", "pos/2.txt": "\ufeffholds\r\ntea", "pos/3.txt": "ok", "neg/1.txt": "it leaks"}


def test_a_file_is_a_text_and_its_folder_the_label(tmp_path: Path) -> None:
    write(tmp_path, {**REVIEWS, "README.md": "x", "pos/.hidden": "x", "neg/cover.png": "x", "empty/x.png": "x"})
    assert (folders.kind(str(tmp_path)), folders.parts(str(tmp_path))) == ("labels", ())
    found = folders.read(str(tmp_path), TRAIN, encoding=None)
    assert found.description == "folders by label, 4 texts in neg, pos; 1 files that are no text are left out"
    rows = list(found.rows)
    assert [(row.values["label"], row.values["text"]) for row in rows] == [
        ("neg", "it leaks"),
        ("pos", "a fine tin"),
        ("pos", "holds\r\ntea"),
        ("pos", "ok"),
    ]
    assert (str(rows[1].place), rows[1].values["file"]) == (f"{tmp_path / 'pos/1.txt'}:1", "pos/1.txt")


def test_the_labels_take_turns(tmp_path: Path) -> None:
    write(tmp_path, {f"{label}/{i}": "x" for label in "abc" for i in range(3)})
    assert "".join(row.values["label"] for row in read(tmp_path)) == "abcabcabc"


def test_splits_above_the_labels(tmp_path: Path) -> None:
    write(tmp_path, {f"train/{name}": text for name, text in REVIEWS.items()})
    write(tmp_path, {"train/unsup/1.txt": "who knows", "test/pos/1.txt": "t", "test/neg/1.txt": "u", "docs/a.txt": "x"})
    assert (folders.kind(str(tmp_path)), folders.parts(str(tmp_path))) == ("labels", ("test", "train"))
    rows = read(tmp_path)
    assert [row.values.get("label") for row in rows] == ["neg", "pos", None, "pos", "pos"]
    assert [row.excluded for row in rows if row.excluded] == ["in the folder 'unsup' of texts without a label"]
    assert [row.values["text"] for row in read(tmp_path, Part(None, "test"))] == ["u", "t"]
    assert len(read(tmp_path, Part("test+train", "train"))) == 7
    with pytest.raises(DataError, match="none of them is called `dev`"):
        read(tmp_path, Part(None, "dev"))


def test_a_text_that_cannot_be_decoded_is_an_error_of_its_row(tmp_path: Path) -> None:
    write(tmp_path, REVIEWS)
    (tmp_path / "neg/1.txt").write_bytes(b"caf\xe9")
    (tmp_path / "pos/1.txt").write_bytes(b"\0\1\2")
    assert [bool(row.error) for row in read(tmp_path)] == [True, True, False, False]
    assert read(tmp_path, encoding="latin-1")[0].values["text"] == "café"


SLOTS = {
    "seq.in": "play some jazz\n  weather in paris  \n",
    "seq.out": "O O B-genre\nO O B-city \n",
    "label": "Music\nWeather\n\n",
}


def test_parallel_lines_are_one_row_with_everything(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write(tmp_path / split, SLOTS)
    assert (folders.kind(str(tmp_path)), folders.parts(str(tmp_path))) == ("lines", ("train", "valid"))
    rows = read(tmp_path, Part(None, "dev"))
    assert [row.place.line for row in rows] == [1, 2]
    assert rows[1].values == {
        "text": "weather in paris",
        "tokens": ["weather", "in", "paris"],
        "tags": ["O", "O", "B-city"],
        "label": "Weather",
    }
    assert [row.values for row in read(tmp_path / "train")] == [row.values for row in rows]


def test_a_label_alone_or_tags_alone_are_enough(tmp_path: Path) -> None:
    write(tmp_path / "a", {"seq.in": "x y\n", "label": "l\n"})
    write(tmp_path / "b", {"seq.in": "x y\n", "seq.out": "O O\n"})
    assert [sorted(read(tmp_path / name)[0].values) for name in "ab"] == [
        ["label", "text", "tokens"],
        ["tags", "text", "tokens"],
    ]


def test_files_of_different_lengths_are_refused_and_both_are_named(tmp_path: Path) -> None:
    write(tmp_path, {**SLOTS, "seq.out": "O O B-genre\n"})
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert "seq.in has 2, seq.out has 1" in str(caught.value)
    assert f"{tmp_path / 'seq.in'}, {tmp_path / 'seq.out'}" in str(caught.value)


def test_other_directories_are_of_no_kind(tmp_path: Path) -> None:
    write(tmp_path, {"one/a.txt": "x", "b.txt": "y", "ann/a.txt": "x", "ann/a.ann": ""})
    assert folders.kind(str(tmp_path)) is None
    assert folders.kind(str(tmp_path / "b.txt")) is None
    with pytest.raises(DataError, match="no data that is known"):
        read(tmp_path)
    write(tmp_path, REVIEWS)
    with pytest.raises(DataError, match="no part 'x'"):
        read(tmp_path, Part("x", "train"))


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("labels.txt", "joy\n fear \n\n", ("joy", "fear")),
        ("classes.txt", "joy\r\nfear\r\n", ("joy", "fear")),
        ("label_names.txt", "\ufeffjoy\nfear", ("joy", "fear")),
        ("categories.json", json.dumps(["joy", "fear"]), ("joy", "fear")),
        ("categories.json", json.dumps({"joy": 1}), None),
        ("categories.json", json.dumps([1, 2]), None),
        ("labels.json", "[", None),
        ("labels.txt", "joy\nfear\njoy\n", None),
        ("labels.txt", "", None),
        ("names.txt", "joy\nfear\n", None),
    ],
)
def test_label_names_beside_a_file(tmp_path: Path, name: str, text: str, names: tuple[str, ...] | None) -> None:
    write(tmp_path, {name: text, "train.tsv": "x\t0\n"})
    assert folders.label_names(str(tmp_path / "train.tsv")) == names
    assert folders.label_names(str(tmp_path)) == names


def test_a_file_does_not_name_its_own_labels(tmp_path: Path) -> None:
    write(tmp_path, {"labels.txt": "joy\nfear\n"})
    assert folders.label_names(str(tmp_path / "labels.txt")) is None


def test_a_folder_of_texts_is_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "2021").mkdir()
    (tmp_path / "b.txt").write_text("second\nline\n")
    (tmp_path / "2021" / "a.txt").write_text("first\n")
    (tmp_path / "2021" / ".hidden.txt").write_text("no")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    opened = formats.read(str(tmp_path), wanted=(("text",),), labelled=True)
    assert [(row.get("text"), row.values["file"]) for row in opened.rows] == [
        ("first", "2021/a.txt"),
        ("second\nline", "b.txt"),
    ]
    assert "2 texts in 2 folders" in opened.describe()
    with pytest.raises(DataError, match="a directory"):
        formats.read(str(tmp_path), wanted=(("text", "label"),), labelled=True)
