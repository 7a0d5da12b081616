"""Folders: texts sorted into a folder per label, or files whose lines belong together.

    reviews/train/pos/0_9.txt    reviews/train/neg/1_2.txt    reviews/test/…      (a text a file, its folder the label)
    notes/2021/report.txt        (a text a file, for tasks that need no label)
    snips/train/seq.in           what is the weather in paris                      (line N of each file is record N)
    snips/train/seq.out          O O O O O B-city
    snips/train/label            GetWeather

Also finds the file of label names that stands beside label numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from bertft.data import parts as splits
from bertft.data.row import Found, Line, Part, Place, Row
from bertft.data.source import open_source
from bertft.errors import DataError, inline

_LINES = ("seq.in", "seq.out", "label")
_NAMES = tuple(
    f"{name}{suffix}" for name in ("labels", "classes", "label_names", "categories") for suffix in (".txt", ".json")
)
_UNLABELLED = ("unsup", "unlabeled", "unlabelled")  # IMDb's third folder


def kind(path: str) -> Literal["labels", "lines"] | None:
    """Say whether a directory, or each of its splits, holds a folder per label or files of parallel lines."""
    folder = Path(path)
    if not folder.is_dir():
        return None
    return _kind(folder) or next((found for part in parts(path) if (found := _kind(folder / part))), None)


def has_texts(path: str) -> bool:
    """Say whether a directory, or one in it, holds texts."""
    return next(_texts(Path(path)), None) is not None


def is_line(path: str) -> bool:
    """Say whether a file is one of parallel lines, which say nothing without the others."""
    file = Path(path)
    return file.name in _LINES and file.is_file() and _kind(file.parent) == "lines"


def _kind(folder: Path) -> Literal["labels", "lines"] | None:
    if (folder / "seq.in").is_file() and any((folder / name).is_file() for name in _LINES[1:]):
        return "lines"
    labels = [child for child in _folders(folder) if not splits.is_split(child.name) and _has_texts(child)]
    return "labels" if len(labels) >= 2 else None


def _folders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _has_texts(folder: Path) -> bool:
    return any(map(_is_text, folder.iterdir())) and not any(folder.glob("*.ann"))


def _is_text(path: Path) -> bool:
    """Say whether a file counts as a text: .txt, or a name without a suffix, as those of 20 Newsgroups."""
    name = path.name.removesuffix(".gz")
    return path.is_file() and not name.startswith(".") and Path(name).suffix in (".txt", ".text", "")


def parts(path: str) -> tuple[str, ...]:
    """Return the splits of a directory: its folders with the name of one and the right files in them."""
    folder = Path(path)
    if not folder.is_dir() or _kind(folder):
        return ()
    return tuple(child.name for child in _folders(folder) if splits.is_split(child.name) and _kind(child))


def read(path: str, part: Part, *, encoding: str | None, texts: bool = False) -> Found:
    """Return the rows of a directory, of its split where it has some; with `texts` also of one without labels.

    Raises DataError for a split that it has not, and for parallel files of different lengths.
    """
    if not Path(path).is_dir():
        raise DataError(
            "this is no directory", place=path, help="a folder of texts per label, or of parallel lines, is read"
        )
    folder, names = Path(path), parts(path)
    if not names and part.name is not None:
        raise DataError(f"there is no part {part.name!r}: the directory has none", place=path)
    chosen = splits.pick(part, names, path) if names else ()
    if not chosen and texts and _kind(folder) is None and has_texts(path):
        return _plain(folder, encoding)
    founds = [_read(folder / name, encoding) for name in chosen] or [_read(folder, encoding)]
    note = splits.describe(chosen, names) if names else ""
    return Found(founds[0].description + note, (row for found in founds for row in found.rows))


def _read(folder: Path, encoding: str | None) -> Found:
    match _kind(folder):
        case "lines":
            return _parallel(folder, encoding)
        case "labels":
            return _labelled(folder, encoding)
    advice = "a folder of texts per label is read, and seq.in with seq.out or label; else name one file"
    raise DataError("this directory holds no data that is known", place=str(folder), help=advice)


# -- a folder per label ---------------------------------------------------------------------------------------------


def _labelled(folder: Path, encoding: str | None) -> Found:
    """Return a row per file: `text`, `label`, `file`; a file of each label in turn, so that the first N are mixed."""
    labels = {child.name: sorted(filter(_is_text, child.iterdir())) for child in _folders(folder)}
    labels = {label: texts for label, texts in labels.items() if texts}
    files = [path for label in labels for path in (folder / label).glob("[!.]*") if path.is_file()]
    other = len(files) - sum(map(len, labels.values()))
    note = f"; {other} files that are no text are left out" if other else ""
    description = f"folders by label, {len(files) - other} texts in {', '.join(map(inline, labels))}{note}"
    turns = zip_longest(*([(label, text) for text in texts] for label, texts in labels.items()))
    pairs = (pair for turn in turns for pair in turn if pair is not None)
    return Found(description, (_text(folder, label, path, encoding) for label, path in pairs))


def _plain(folder: Path, encoding: str | None) -> Found:
    """Return a row per file of a directory and those in it: `text`, `file`."""
    texts = list(_texts(folder))
    count = len({text.parent for text in texts})
    where = f" in {count} folders" if count > 1 else ""
    return Found(f"{len(texts):,} texts{where}", (_text(folder, None, text, encoding) for text in texts))


def _texts(folder: Path) -> Iterator[Path]:
    """Yield the texts of a directory and of those in it, by name."""
    return (path for path in sorted(folder.rglob("[!.]*")) if _is_text(path))


def _text(folder: Path, label: str | None, path: Path, encoding: str | None) -> Row:
    place = Place(str(path), 1)
    name = str(path.relative_to(folder))
    try:
        text = open_source(str(path), encoding).whole().rstrip("\r\n")
    except DataError as error:
        return Row(place, {"file": name}, error=error)
    values = {"text": text, "file": name}
    if label is None:
        return Row(place, values)
    if label in _UNLABELLED:
        return Row(place, values, excluded=f"in the folder {label!r} of texts without a label")
    return Row(place, {**values, "label": label})


# -- parallel lines -------------------------------------------------------------------------------------------------


def _parallel(folder: Path, encoding: str | None) -> Found:
    """Return a row per line: `tokens` and `text` of seq.in, `tags` of seq.out, `label` of label, where there is one."""
    paths = {name: str(folder / name) for name in _LINES if (folder / name).is_file()}
    counts = {name: _count(path, encoding) for name, path in paths.items()}
    first = counts["seq.in"]
    odd = next((name for name in counts if counts[name] != first), None)
    if odd is not None:
        fact = f"the lines do not belong together: seq.in has {first}, {odd} has {counts[odd]}"
        raise DataError(fact, place=f"{paths['seq.in']}, {paths[odd]}", help="line N of each file is record N")
    return Found(f"parallel lines of {', '.join(paths)}, {first} records", _zipped(paths, first, encoding))


def _count(path: str, encoding: str | None) -> int:
    """Return how many lines a file has, up to the last that is not blank."""
    return max((line.number for line in open_source(path, encoding).lines() if line.content.strip()), default=0)


def _zipped(paths: Mapping[str, str], count: int, encoding: str | None) -> Iterator[Row]:
    sources = [open_source(path, encoding).lines() for path in paths.values()]
    for number, lines in enumerate(zip_longest(*sources), 1):
        if number > count:
            return
        record: dict[str, Line] = {name: line for name, line in zip(paths, lines, strict=True) if line is not None}
        text = record["seq.in"].content.strip()
        values: dict[str, object] = {"text": text, "tokens": text.split()}
        if "seq.out" in record:
            values["tags"] = record["seq.out"].content.split()
        if "label" in record:
            values["label"] = record["label"].content.strip()
        error = next((line.error for line in record.values() if line.error is not None), None)
        yield Row(Place(paths["seq.in"], number), values, error=error)


# -- label names ----------------------------------------------------------------------------------------------------


def label_names(path: str) -> tuple[str, ...] | None:
    """Return the label names that stand in a file beside `path` (or in it, if a directory); None where there is none.

    The file is labels.txt, classes.txt, label_names.txt or categories.txt, a name a line, or .json, a list of names.
    """
    place = Path(path)
    folder = place if place.is_dir() else place.parent
    for name in _NAMES:
        if (folder / name).is_file() and (folder / name) != place and (found := _names_in(folder / name)):
            return found
    return None


def _names_in(path: Path) -> tuple[str, ...] | None:
    try:
        text = open_source(str(path)).whole()
        names = json.loads(text) if path.suffix == ".json" else [line.strip() for line in text.rstrip().split("\n")]
    except (DataError, ValueError, RecursionError):
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        return None
    return tuple(names) if len(set(names)) == len(names) else None  # with repetitions: the labels of rows
