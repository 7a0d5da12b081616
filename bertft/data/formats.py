"""Which format a file is in, and its reader: the one table of formats."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bertft.data import conll, jsonl, text
from bertft.data.conll import Layout
from bertft.data.row import Line, Place, Row
from bertft.data.source import Source, open_source
from bertft.errors import DataError, UsageError

Format = Literal["text", "jsonl", "conll"]
FORMATS: tuple[Format, ...] = ("text", "jsonl", "conll")

ROLES = ("tokens", "words", "tags", "text", "entities")
"""What `--columns` can name."""

_SUFFIXES: dict[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".conllu": "conll", ".conll": "conll"}


@dataclass(frozen=True, slots=True)
class Input:
    """An input whose format is known: its rows can be read once."""

    source: Source
    format: Format
    rows: Iterator[Row]
    layout: Layout | None = None

    def describe(self) -> str:
        """Say in half a line what the file was taken for."""
        return f"{self.source.path}: {self.layout or {'text': 'plain text', 'jsonl': 'JSON Lines'}[self.format]}"


def read(
    path: str,
    *,
    format: Format | None = None,
    encoding: str | None = None,
    columns: Mapping[str, str] | None = None,
    unit: conll.Unit = "sentence",
    labelled: bool = False,
) -> Input:
    """Open an input and return its rows; without `format` it is worked out from the name and the first lines.

    `labelled` says that the data must carry labels, which plain text cannot. Raises DataError for an input that cannot
    be read, UsageError for columns that it has not.
    """
    wrong = next((role for role in columns or {} if role not in ROLES), None)
    if wrong is not None:
        raise UsageError(f"--columns {wrong}=…: there is no such role", help=f"roles are {', '.join(ROLES)}")
    source = open_source(path, encoding)
    chosen = format or _sniff(source, labelled=labelled)
    match chosen:
        case "conll":
            layout = conll.layout_of(source, columns or {}, labelled=labelled)
            return Input(source, chosen, conll.read(source, layout, unit=unit, labelled=labelled), layout)
        case "jsonl":
            return Input(source, chosen, jsonl.read(source, columns or {}))
        case "text":
            if columns:
                raise UsageError(f"--columns: {path} is plain text, which has none", help="name its `--format`")
            return Input(source, chosen, text.read(source))


def parse_format(name: str) -> Format | None:
    """Return the format of a `--format` value; None for `auto`."""
    for known in FORMATS:
        if name == known:
            return known
    if name == "auto":
        return None
    raise UsageError(f"unknown format {name!r}", help=f"formats are auto, {', '.join(FORMATS)}")


def _sniff(source: Source, *, labelled: bool) -> Format:
    """Work out the format: by the name's suffix, by a JSON object on the first line, by the columns of the first lines.

    Of stdin only the first line is looked at, so that it is answered at once; columns there need `--format conll`.
    """
    suffixes = Path(source.path).suffixes
    suffix = next((_SUFFIXES[s] for s in reversed(suffixes) if s in _SUFFIXES), None)
    if suffix is not None:
        return suffix
    first = next((line.content for line in source.sample(_first_filled_line) if line.content.strip()), "")
    if first.lstrip().startswith("{") and _is_json(first, dict):
        return "jsonl"
    if first.strip() == "[" or (first.lstrip().startswith(("[{", "[[")) and (labelled or _is_json(first, list))):
        raise DataError(
            "this looks like one JSON document; JSON Lines (an object on each line) is read",
            place=Place(source.path, 1),
            help="a list of objects becomes JSON Lines with `jq -c '.[]' FILE`",
        )
    if labelled or first.startswith("-DOCSTART-"):
        return "conll"
    if source.path == "-":
        return "text"
    lines = conll.sample(source)
    layout = conll.infer(lines)
    return "conll" if layout and layout.tags is not None and conll.has_scheme_tags(lines, layout) else "text"


def _first_filled_line(lines: Sequence[Line]) -> bool:
    return bool(lines[-1].content.strip()) or len(lines) >= conll.SAMPLE_LINES


def _is_json(line: str, kind: type) -> bool:
    try:
        return isinstance(json.loads(line), kind)
    except (ValueError, RecursionError):
        return False
