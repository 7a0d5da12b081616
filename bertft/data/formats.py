"""Which format an input is in, its reader, and which of its fields are what: the one table of formats.

`read` takes a path (a file, `-`, a directory, `hub:owner/name`, or `PATH:SPLIT`), works out the format by name and
content unless it is given, and returns an `Input`: rows with their roles, and a line that says what was assumed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

from bertft.data import conll, dialects, fields, folders, jsonl, jsontext, tables, text
from bertft.data.conll import Layout
from bertft.data.roles import ROLES, Name, Wanted
from bertft.data.row import Found, Line, Part, Place, Row
from bertft.data.source import Source, open_source
from bertft.data.tables import Dialect
from bertft.errors import DataError, UsageError, did_you_mean

Format = Literal[
    "text", "jsonl", "json", "csv", "tsv", "conll", "squad", "parquet", "arrow", "fasttext", "folder", "lines", "brat"
]
FORMATS: tuple[Format, ...] = get_args(Format)
Use = Literal["train", "dev", "test"]

SAMPLE_ROWS = 1000  # so many records tell which field is what

_SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".conllu": "conll",
    ".conll": "conll",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
}
_PARTED: tuple[Format, ...] = ("json", "squad", "parquet", "arrow", "folder", "lines")
_DIRECTORIES: tuple[Format, ...] = ("brat", "arrow", "folder", "lines")


@dataclass(frozen=True, slots=True)
class Input:
    """An input whose format is known: its rows can be read once.

    `source` is None for directories, Arrow and the Hub. `layout` (of column files) and `dialect` (of tables) are what
    a writer needs. `roles` are those of the rows; empty where every field has the name of its role.
    """

    path: str
    format: Format
    rows: Iterator[Row]
    description: str
    source: Source | None = None
    layout: Layout | None = None
    dialect: Dialect | None = None
    roles: Mapping[str, Name] = field(default_factory=dict)

    def describe(self) -> str:
        """Say in a line or two what the input was taken for, and which field for what."""
        return f"{self.path}: {self.description}"


# -- reading --------------------------------------------------------------------------------------------------------


def read(
    path: str,
    *,
    wanted: Wanted,
    format: Format | None = None,
    encoding: str | None = None,
    columns: Mapping[str, str] | None = None,
    preferred: Mapping[str, str] | None = None,
    unit: conll.Unit = "sentence",
    labelled: bool = False,
    use: Use = "train",
) -> Input:
    """Open an input and return its rows; without `format` it is worked out from the name and the first lines.

    `wanted` are the alternatives of roles that the task reads, the last of each the gold, needed where the data must be
    `labelled`. `columns` are named by the user, `preferred` were for the training data: they count where the input has
    them. `use` picks the part of an input that has several and names none. Raises DataError for an input that
    cannot be read or told, UsageError for columns that it has not.
    """
    given = _checked(columns or {})
    path, name = _located(path)
    part = Part(name, use)
    source: Source | None = None
    texts = ("text",) in map(tuple, wanted)
    chosen = _unopened(path, format, texts=texts)
    if labelled and format is None and folders.is_line(path):
        advice = f"name the directory that holds them: {Path(path).parent}"
        raise DataError("this is one file of parallel lines", place=path, help=advice)
    if chosen is None:
        source = open_source(path, encoding)
        chosen = format or _sniff(source, wanted, given, labelled=labelled)
    if name is not None and chosen not in _PARTED:
        raise UsageError(f"{path}:{name}: {path} has no parts to choose from", help=f"name it as {path}")
    match chosen:
        case "parquet" | "arrow" | "folder" | "lines" | "brat":
            found = _read_directory(chosen, path, part, encoding, texts=texts)
            plain = Input(path, chosen, found.rows, found.description)
            return _with_roles(plain, wanted, given, preferred or {}, labelled=labelled)
    if source is None:
        raise DataError("this is a directory, not a file", place=path, help="name one file in it")
    match chosen:
        case "conll":
            if not any("tokens" in roles for roles in wanted):
                raise _no_columns(Place(path, 1), wanted)
            layout = conll.layout_of(source, given, labelled=labelled)
            rows = conll.read(source, layout, unit=unit, labelled=labelled)
            return Input(path, chosen, rows, str(layout), source, layout)
        case "text":
            if given:
                raise UsageError(f"--columns: {path} is plain text, which has none", help="name its `--format`")
            doubt = "" if format else _doubt(source, wanted)
            return Input(path, chosen, text.read(source), f"plain text{doubt}", source)
        case "jsonl":
            plain = Input(path, chosen, jsonl.read(source, labelled=labelled), "JSON Lines", source)
        case "csv" | "tsv":
            # `csv` is what people call any table; who says `tsv` means the tab
            delimiters = ",;\t|" if chosen == "csv" else "\t" if format == "tsv" else "\t,;|"
            dialect = dialects.dialect_of(source, given, delimiters)
            kind: Format = "tsv" if dialect.delimiter == "\t" else "csv"
            plain = Input(path, kind, tables.read(source, dialect), str(dialect), source, dialect=dialect)
        case _:
            found = _read_document(chosen, source, part, labelled=labelled)
            plain = Input(path, chosen, found.rows, found.description, source)
    return _with_roles(plain, wanted, given, preferred or {}, labelled=labelled)


def _read_directory(format: Format, path: str, part: Part, encoding: str | None, *, texts: bool) -> Found:
    from bertft.data import brat, columnar

    if format == "brat":
        return brat.read(path, encoding=encoding)
    if format in ("folder", "lines"):
        return folders.read(path, part, encoding=encoding, texts=texts)
    return columnar.read(path, part)


def _read_document(format: Format, source: Source, part: Part, *, labelled: bool) -> Found:
    from bertft.data import documents, fasttext

    return fasttext.read(source) if format == "fasttext" else documents.read(source, part, labelled=labelled)


def parts(path: str, *, format: Format | None = None, encoding: str | None = None) -> tuple[str, ...]:
    """Return the names of the parts (splits) of an input that holds several and names none of them; else ()."""
    from bertft.data import columnar, documents, hub

    path, name = _located(path)
    if name is not None or path == "-" or (path.startswith(hub.PREFIX) and hub.address(path).split):
        return ()
    if columnar.is_arrow(path):
        return columnar.parts(path)
    if Path(path).is_dir():
        return folders.parts(path)
    if format not in (None, "json") or not Path(path).is_file():  # a pipe can be read once
        return ()
    source = open_source(path, encoding)
    return documents.parts(source) if _sniff_json(source, labelled=True) == "json" else ()


def parse_format(name: str) -> Format | None:
    """Return the format of a `--format` value; None for `auto`."""
    for known in FORMATS:
        if name == known:
            return known
    if name == "auto":
        return None
    near = did_you_mean(name, FORMATS)
    listed = f"formats are auto, {', '.join(FORMATS)}"
    raise UsageError(f"unknown format {name!r}", help=f"{near} {listed}" if near else listed)


def _checked(columns: Mapping[str, str]) -> dict[str, str]:
    wrong = next((role for role in columns if role not in (*ROLES, "words")), None)
    if wrong is not None:
        raise UsageError(f"--columns {wrong}=…: there is no such role", help=f"roles are {', '.join(ROLES)}")
    return {"tokens" if role == "words" else role: name for role, name in columns.items()}


def _located(path: str) -> tuple[str, str | None]:
    """Return a path and the part that is named behind it: `data.json:train`, where that is no file of its own.

    Raises DataError for what no file can be called.
    """
    try:
        os.stat(path)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) or error.errno == errno.ENAMETOOLONG:
            fact = f"no file has such a name: {error.strerror if isinstance(error, OSError) else error}"
            raise DataError(fact, place=f"{path[:60]}…") from None
    head, _, tail = path.rpartition(":")
    if head and tail and not path.startswith("hub:") and not Path(path).exists() and Path(head).exists():
        return head, tail
    return path, None


# -- which format ---------------------------------------------------------------------------------------------------


def _unopened(path: str, format: Format | None, *, texts: bool) -> Format | None:
    """Return the format of what is not read as lines: directories, Arrow, Parquet, the Hub; None for other files.

    A task that reads `texts` and nothing else takes any folder of them.
    """
    from bertft.data import brat, columnar

    if path == "-" or (format is not None and format not in (*_DIRECTORIES, "parquet")):
        return None
    if format is not None:
        return format
    if columnar.is_arrow(path):
        return "parquet" if path.endswith(".parquet") else "arrow"
    if brat.is_brat(path):
        return "brat"
    if not Path(path).is_dir():
        return None
    kinds: dict[str | None, Format] = {"labels": "folder", "lines": "lines"}
    if (kind := folders.kind(path)) in kinds:
        return kinds[kind]
    if texts and folders.has_texts(path):
        return "folder"
    names = sorted(entry.name for entry in Path(path).iterdir() if not entry.name.startswith("."))
    listed = f"{', '.join(names[:12])}{', …' if len(names) > 12 else ''}" if names else "nothing"
    advice = f"name a file in it; it holds {listed}. Directories that are read hold a folder of texts for each label, "
    advice += "seq.in with seq.out or label, BRAT's .ann files, or what `datasets` saved"
    raise DataError("this is a directory, not a file", place=path, help=advice)


def _sniff(source: Source, wanted: Wanted, given: Mapping[str, str], *, labelled: bool) -> Format:
    """Work out the format: by the name's suffix, a JSON value at the start, fastText's labels, columns, a table.

    To predict, what nothing is known of is plain text, if the task reads text. Of a pipe only the first line is looked
    at then, so that it is answered at once; columns and tables there need `--format`.
    """
    suffix, piped = _suffix(source.path), source.path == "-" or source.live
    if suffix == "conll":
        return suffix
    if (kind := _sniff_json(source, labelled=labelled)) is not None:
        return kind
    needs = [tuple(roles) if labelled or len(roles) == 1 else tuple(roles[:-1]) for roles in wanted]
    words, plain = any("tokens" in need for need in needs), ("text",) in needs
    first = next((line.content for line in source.sample(_first_filled_line) if line.content.strip()), "")
    if words:
        if labelled or first.startswith("-DOCSTART-"):
            return "conll"
        if not piped:
            lines = conll.sample(source)
            layout = conll.infer(lines)
            if layout and layout.tags is not None and conll.has_scheme_tags(lines, layout):
                return "conll"
    if suffix in ("csv", "tsv"):
        return suffix
    if plain:
        return "text" if piped else _sniff_lines(source)
    if source.path == "-" and not labelled:
        raise DataError(
            f"stdin is no JSON Lines, and a line of text is no {' + '.join(needs[0])}",
            place=Place("-", 1),
            help="for a table pass `--format csv` or `--format tsv`",
        )
    return _sniff_table(source, wanted, given)


def _sniff_lines(source: Source) -> Format:
    """Say what a file to predict from is: labelled lines, a table with a header that is known, or plain text."""
    from bertft.data import fasttext

    lines = dialects.sample(source, {})
    return "fasttext" if fasttext.is_fasttext(lines) else "csv" if dialects.is_table(lines, headed=True) else "text"


def _doubt(source: Source, wanted: Wanted) -> str:
    """Say what the first line of plain text looks like, where that is another format."""
    first = next((line for line in source.sample(_first_filled_line) if line.content.strip()), None)
    if first is None:
        return ""
    layout = conll.infer([first]) if any("tokens" in roles for roles in wanted) else None
    columns = layout is not None and conll.has_scheme_tags([first], layout)
    what = "conll" if columns else "csv" if dialects.is_header(first.content) else ""
    return f"; its first line looks like {what}, which `--format {what}` reads" if what else ""


def _no_columns(place: Place, wanted: Wanted) -> DataError:
    advice = f"column files are for `bertft train ner`; this task reads {' + '.join(wanted[0])}"
    return DataError("this is a column file, a token a line", place=place, help=advice)


def _sniff_table(source: Source, wanted: Wanted, given: Mapping[str, str]) -> Format:
    from bertft.data import fasttext

    lines = dialects.sample(source, given)
    if all(not line.content.strip() for line in lines):
        raise DataError("the file is empty", place=Place(source.path, 1))
    if fasttext.is_fasttext(lines):
        return "fasttext"
    layout = conll.infer(lines)
    columns = layout is not None and conll.has_scheme_tags(lines, layout)
    if not columns and dialects.is_table(lines):
        return "csv"
    place = Place(source.path, lines[0].number)
    if columns:
        raise _no_columns(place, wanted)
    advice = f"the task reads {' + '.join(wanted[0])}: a table, JSON or JSON Lines; `--format` names which it is"
    raise DataError(f"this looks like plain text: {lines[0].content[:60]!r}", place=place, help=advice)


def _suffix(path: str) -> Format | None:
    """Return the format that a name's last known suffix stands for: `train.csv.gz` is CSV."""
    suffixes = Path(path).suffixes if path != "-" else []
    return next((_SUFFIXES[s.lower()] for s in reversed(suffixes) if s.lower() in _SUFFIXES), None)


def _sniff_json(source: Source, *, labelled: bool) -> Format | None:
    """Say whether the lines are JSON, a document or an object a line.

    A `{` or `[` may begin a text or a token too: a first line that is no whole value counts only with what JSON has
    behind it, or with the name. SQuAD and data keyed by row are documents of one line, so one object alone is looked
    into.
    """
    if (suffix := _suffix(source.path)) in ("csv", "tsv", "conll"):
        return None
    filled = [line.content.strip() for line in source.sample(_first_filled_line) if line.content.strip()]
    first = filled[0] if filled else ""
    if suffix == "jsonl" and first not in ("{", "[", "[{"):  # some tools call a document so
        return "jsonl"
    if not first.startswith(("{", "[")):
        return None
    value = _parsed(first)
    if isinstance(value, dict):
        if not _is_document(value, named=suffix == "json"):
            return "jsonl"
        second = "" if source.live else _second(source)
        return "jsonl" if second.startswith("{") and isinstance(_parsed(second), dict) else "json"
    if isinstance(value, list):
        holds = isinstance(value[0], dict | list | str) if value else labelled
        return "json" if holds or suffix == "json" else None
    if suffix in ("json", "jsonl"):
        return "json"
    if first in ("{", "["):
        return "json" if _second(source).startswith(('"', "{", "[")) else None
    return "json" if labelled and first.startswith(("[{", "[[", '["', '{"')) and "\t" not in first else None


def _is_document(value: dict[str, Any], *, named: bool) -> bool:
    """Say whether an object holds rows, under `data`, a key for each, the names of parts; or columns, if `named` so."""
    from bertft.data import documents

    if isinstance(value.get("data"), list) or (named and documents.is_columns(value)):
        return True
    nested = [
        isinstance(v, dict) or (isinstance(v, list) and isinstance(next(iter(v), []), list | dict))
        for v in value.values()
    ]
    return all(nested) and any(value.values())


def _parsed(line: str) -> Any:
    try:
        return jsontext.loads(line)
    except ValueError:
        return None


def _second(source: Source) -> str:
    """Return the second line that is not blank, as far as there is one among the first."""

    def enough(lines: Sequence[Line]) -> bool:
        return sum(bool(line.content.strip()) for line in lines) > 1 or len(lines) >= conll.SAMPLE_LINES

    filled = (line.content.strip() for line in source.sample(enough) if line.content.strip())
    return next(islice(filled, 1, None), "")


def _first_filled_line(lines: Sequence[Line]) -> bool:
    return bool(lines[-1].content.strip()) or len(lines) >= conll.SAMPLE_LINES


# -- which field is what --------------------------------------------------------------------------------------------


def _with_roles(
    opened: Input, wanted: Wanted, given: Mapping[str, str], preferred: Mapping[str, str], *, labelled: bool
) -> Input:
    """Return the input with the roles of its rows, and with label numbers as the names that stand beside the file."""
    names = None
    if labelled and opened.source is not None and opened.path != "-":
        names = folders.label_names(opened.path)
    found = fields.assign(
        opened.rows,
        Place(opened.path, 1),
        wanted=wanted,
        given=given,
        preferred=preferred,
        labelled=labelled,
        look_ahead=_look_ahead(opened),
        columns=opened.dialect.names if opened.dialect else None,
        varied=opened.format == "jsonl" and not labelled,
        label_names=names,
    )
    description = "; ".join([opened.description, *found.notes])
    return replace(opened, rows=found.rows, description=description, roles=found.roles)


def _look_ahead(opened: Input) -> int:
    """Return how many rows may be looked at: of a live input those whose lines were read for its format, or one."""
    if opened.source is None or not opened.source.live:
        return SAMPLE_ROWS
    head = opened.dialect.head if opened.dialect else ()
    return max(1, sum(bool(line.content.strip()) for line in opened.source.sample(lambda _: True)) - len(head))
