"""BRAT standoff: a text, and in an .ann file of the same name what is annotated in it.

    doc.txt    Aspirin helps against head and back pain.
    doc.ann    T1	Drug 0 7	Aspirin                 (a mention: type, first character, character after its last)
               T2	Symptom 22 26;36 40	head pain      (in several pieces)
               R1	Treats Arg1:T1 Arg2:T2             (relations, events, attributes, notes: not read)

(brat.nlplab.org/standoff.html.) A document is a row: `text`, `entities`, `file`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bertft.data.row import Found, Place, Row
from bertft.data.source import open_source
from bertft.errors import DataError

_MENTION = re.compile(r"(T\S*)\t(\S+) (\d{1,18} \d{1,18}(?:;\d{1,18} \d{1,18})*)(?:\t(.*))?")


def is_brat(path: str) -> bool:
    """Say whether `path` is an .ann file, the .txt beside one, or a directory with .ann files in it or below."""
    place = Path(path)
    if place.is_dir():
        return next(place.rglob("*.ann"), None) is not None
    return place.suffix == ".ann" or (place.suffix == ".txt" and place.with_suffix(".ann").is_file())


def read(path: str, *, encoding: str | None) -> Found:
    """Return a row per text that has an .ann file, in the order of their names.

    A mention in several pieces is taken as the span from its first to its last character, its pieces kept as
    `fragments`: tags cannot skip words, and without it those words would be taught as no mention at all. How many
    there are is said, as are the texts that have no .ann file.
    """
    place = Path(path)
    marked = sorted(place.rglob("*.ann")) if place.is_dir() else [place.with_suffix(".ann")]
    texts = [one.with_suffix(".txt") for one in marked]
    spare = len({*place.rglob("*.txt")} - {*texts}) if place.is_dir() else 0
    documents = [(text, *_mentions(str(ann), encoding)) for text, ann in zip(texts, marked, strict=True)]
    mentions = [mention for _, found, _ in documents for mention in found]
    pieces = sum("fragments" in mention for mention in mentions)
    notes = [f"{len(mentions)} mentions"]
    notes += [f"{pieces} of them in several pieces, taken as one span each"] if pieces else []
    notes += [f"{spare} texts without an .ann file left out"] if spare else []
    return Found(f"BRAT, {len(documents)} documents, {', '.join(notes)}", _rows(place, documents, encoding))


def _mentions(path: str, encoding: str | None) -> tuple[list[dict[str, Any]], DataError | None]:
    """Return the mentions of an .ann file, or what is wrong with it."""
    found = []
    try:
        for line in open_source(path, encoding).lines():
            content = line.content
            if line.error is not None:
                raise line.error
            if not content.startswith("T"):
                continue
            place = Place(path, line.number)
            if (match := _MENTION.fullmatch(content.rstrip("\r"))) is None:
                advice = "a mention is `T1<tab>Type 0 5<tab>the text`"
                raise DataError(f"this line is no mention: {content:.80}", place=place, help=advice)
            pieces = [(int(a), int(b)) for a, b in (piece.split(" ") for piece in match[3].split(";"))]
            start, end = min(a for a, _ in pieces), max(b for _, b in pieces)
            mention = {"start": start, "end": end, "label": match[2], "id": match[1]}
            mention |= {"text": match[4] or "", "line": line.number}
            found.append(mention | ({"fragments": pieces} if len(pieces) > 1 else {}))
    except DataError as error:
        return [], error
    return found, None


def _rows(
    root: Path, documents: Sequence[tuple[Path, list[dict[str, Any]], DataError | None]], encoding: str | None
) -> Iterator[Row]:
    for path, mentions, error in documents:
        place, ann = Place(str(path), 1), str(path.with_suffix(".ann"))
        try:
            if not path.is_file():
                raise DataError(f"there is no text beside it: {path.name}", place=ann)
            text = open_source(str(path), encoding).whole()
        except DataError as missing:
            yield Row(place, error=missing)
            continue
        name = str(path.relative_to(root)) if root.is_dir() else path.name
        values = {"text": text, "entities": [_checked(mention) for mention in mentions], "file": name}
        yield Row(place, values, error=error or _displaced(mentions, text, ann))


def _displaced(mentions: Sequence[dict[str, Any]], text: str, ann: str) -> DataError | None:
    """Return an error for the first mention that is not where the .ann file says."""
    for mention in mentions:
        if not _agrees(mention, text):
            start, end = mention["start"], mention["end"]
            return DataError(
                f"{mention['id']} is {mention['text']!r}, but the text has {text[start:end]!r} at {start}-{end}",
                place=Place(ann, mention["line"]),
                help="offsets count characters; was the text changed after it was annotated?",
            )
    return None


def _checked(mention: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in mention.items() if name in ("start", "end", "label", "fragments")}


def _agrees(mention: dict[str, Any], text: str) -> bool:
    """Say whether the text has, at a mention's offsets, what the .ann file says; brat writes line ends as blanks."""
    pieces = mention.get("fragments", [(mention["start"], mention["end"])])
    if any(not 0 <= start < end <= len(text) for start, end in pieces):
        return False
    written = " ".join(text[start:end] for start, end in pieces)
    return not mention["text"] or mention["text"].split() == written.split()
