"""How a table is written, as its first lines tell: delimiter, quoting, header, and the layouts without one.

    text;label             → ; quoted, with header           gj04␉1␉␉Our friends …    → CoLA
    " odd quotes␉0         → tabs, unquoted, no header       main-news␉…␉0012␉3.8␉…   → STS-B (7 or 9 columns)

In come lines, out goes a `tables.Dialect`. Every delimiter is tried in both readings, with quotes as marks and as
characters; the one that gives the most lines the same number of cells is it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from bertft.data.roles import is_known
from bertft.data.row import Line, Place
from bertft.data.source import Source
from bertft.data.tables import Dialect, joined, records
from bertft.errors import DataError

SAMPLE_LINES = 2000
MAX_COLUMNS = 10_000  # a line with more cells is none of a table: the whole text is one line, or it is no text
LIVE_LINES = 100  # of a pipe whose first line is no header that is known: what else it holds must be seen

_CLEAN = {d: re.compile(rf'(?:(?:"[^"]*(?:""[^"]*)*"|[^"{d}]*)(?:[{d}]|\Z))*') for d in ",;|"}
_COLA = ("source", "label", "mark", "sentence")
_STSB = ("genre", "file", "year", "index", "score", "sentence1", "sentence2", "source1", "source2")


def sample(source: Source, given: Mapping[str, str]) -> Sequence[Line]:
    """Return the first lines that a dialect is inferred from: of a live input its header alone, if it is known."""

    def enough(lines: Sequence[Line]) -> bool:
        if not source.live:
            return len(lines) >= SAMPLE_LINES
        if not (filled := [line for line in lines if line.content.strip()]):
            return False
        numbers = bool(given) and all(name.isdecimal() for name in given.values())
        return numbers or len(filled) >= LIVE_LINES or _known(re.split(r"[,;\t|]", filled[0].content), given) > 0

    return source.sample(enough)


def dialect_of(source: Source, given: Mapping[str, str], delimiters: str = ",;\t|") -> Dialect:
    """Return the dialect of a file that is known to be a table; the first of `delimiters` is the likeliest.

    Raises DataError where it is empty, or opens with a line that names the delimiter to a spreadsheet.
    """
    lines = sample(source, given)
    if lines and re.fullmatch("sep=.?", lines[0].content):
        fact = f"{lines[0].content!r} is a line for spreadsheets, and no header"
        raise DataError(fact, place=Place(source.path, 1), help="take it out: `tail -n +2 FILE`")
    dialect = infer(lines, given, delimiters)
    if dialect is not None:
        return dialect
    if not any(line.content.strip(" ") for line in lines):
        raise DataError("the file is empty", place=Place(source.path, 1))
    first = next(line for line in lines if line.content.strip(" "))
    if first.content.count(delimiters[0]) >= MAX_COLUMNS:
        fact = f"this line has over {MAX_COLUMNS:,} cells: it is no record of a table"
        raise DataError(fact, place=Place(source.path, first.number), help="is this the right `--format`?")
    return _with_header(Dialect(delimiters[0], quoted=delimiters[0] != "\t"), lines, given, columns=1)  # one column


def is_table(lines: Sequence[Line], *, headed: bool = False) -> bool:
    """Say whether lines of which nothing is known are a table, and no running text with commas in it.

    `headed`: only a table whose header has two usual names counts, as lines of text may have tabs and commas too.
    """
    dialect = infer(lines, {})
    if dialect is None or (headed and not dialect.head):
        return False
    found = list(records(lines, dialect, lambda count: count == len(dialect.names)))
    if headed and len(found) < 2:
        return False
    good = sum(dialect.least <= len(record.cells) <= len(dialect.names) for record in found)
    known = sum(map(is_known, dialect.names)) if dialect.head else 0
    return good >= 0.95 * len(found) and ((dialect.delimiter == "\t" and not headed) or known > int(headed))


def is_header(line: str) -> bool:
    """Say whether a line by itself looks like the header of a table: two of its cells are usual names."""
    return any(sum(is_known(cell.strip(' "')) for cell in line.split(delimiter)) > 1 for delimiter in ",;\t|")


def infer(lines: Sequence[Line], given: Mapping[str, str], delimiters: str = ",;\t|") -> Dialect | None:
    """Return the dialect of the first lines of a table of two columns or more, None where they are none."""
    best: tuple[tuple[float, int, bool, int], Dialect, int] | None = None
    for rank, delimiter in enumerate(delimiters):
        raw = _share(lines, plain := Dialect(delimiter, quoted=False))
        quoted = _share(lines, careful := Dialect(delimiter, quoted=True))
        # A cell in quotes with the delimiter or a line break in it tears the unquoted reading apart; stray quotes
        # glue records together in the quoted one. Where both readings are whole, the quotes themselves tell.
        equal = raw.share == quoted.share
        tells = quoted.clean or _quotes(lines, delimiter) if equal else quoted.share > raw.share
        found, dialect = (quoted, careful) if tells else (raw, plain)
        if not 2 <= found.columns <= MAX_COLUMNS:
            continue
        prose = sum(line.content.count(delimiter + " ") for line in lines)  # a comma in a text is followed by a blank
        blanks = 2 * prose > sum(line.content.count(delimiter) for line in lines)
        key = (round(found.share, 2), _known(found.first, given), not blanks, -rank)
        if best is None or key > best[0]:
            best = key, dialect, found.columns
    return _with_header(best[1], lines, given, columns=best[2]) if best else None


class _Share(NamedTuple):
    """How many cells most records have, for what share of the lines that holds, and the first record's cells.

    `clean`: there are quotes, and each is where RFC 4180 has them. Tables with tabs are never called so: two stray
    quotes on two lines look like that too, and GLUE has many.
    """

    columns: int
    share: float
    first: list[str]
    clean: bool = False


def _share(lines: Sequence[Line], dialect: Dialect) -> _Share:
    found = list(records(lines, dialect, lambda _: True))
    sizes: Counter[int] = Counter()
    for record in found:
        sizes[len(record.cells)] += len(record.lines)
    if not sizes:
        return _Share(0, 0.0, [])
    columns, count = sizes.most_common(1)[0]
    marked = [record.lines for record in found if any('"' in line.text for line in record.lines)]
    pattern = _CLEAN.get(dialect.delimiter) if dialect.quoted and marked else None
    clean = pattern is not None and all(pattern.fullmatch(joined(lines)) for lines in marked)
    return _Share(columns, count / sizes.total(), found[0].cells, clean)


def _quotes(lines: Sequence[Line], delimiter: str) -> bool:
    """Say whether quotes are marks and no characters, in lines that have as many cells either way.

    A writer quotes a cell for what is in it, or every cell of a column; it doubles the quotes inside. Quotes that stand
    alone, or around a few cells without need, were written by people. Without any quote a comma is likelier to be
    quoted further on, a tab to be GLUE's.
    """
    rows = [line.content.split(delimiter) for line in lines if line.content.strip(" ")]
    whole = [[_is_quoted(cell) for cell in row] for row in rows]
    body = whole[1:] or whole
    always = {i for i in range(max(map(len, whole), default=0)) if all(i >= len(row) or row[i] for row in body)}
    meant = stray = 0
    for row, marks in zip(rows, whole, strict=True):
        for i, (cell, mark) in enumerate(zip(row, marks, strict=True)):
            meant += mark and (i in always or '""' in cell[1:-1])
            stray += '"' in cell and not (mark and i in always) and not (mark and '""' in cell[1:-1])
    return meant > stray if meant or stray else delimiter != "\t"


def _is_quoted(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', "")


def _known(cells: Sequence[str], given: Mapping[str, str]) -> int:
    """Return how many cells are names of columns, as far as one can know."""
    names = {part for name in given.values() for part in (name, *name.split("+")) if not part.isdecimal()}
    return sum(is_known(cell.strip(' "')) or cell.strip(' "') in names for cell in cells)


def _with_header(dialect: Dialect, lines: Sequence[Line], given: Mapping[str, str], *, columns: int) -> Dialect:
    """Return the dialect with the names of its columns: from its header, a known layout, or their numbers."""
    found = list(records(lines, dialect, lambda count: count == columns))
    first, rest = found[0], [record.cells for record in found[1:]]
    end = "\r\n" if first.lines[-1].text.endswith("\r\n") else "\n"
    dialect = replace(dialect, line_end=end)
    if _is_header(first.cells, rest, given):
        names: list[str] = []
        for number, cell in enumerate(first.cells, 1):
            name = cell.strip() or str(number)  # an index column, as pandas writes it, has no name
            names.append(name if name not in names else f"{name}.{number}")
        return replace(dialect, names=tuple(names), least=len(names), head=first.lines)
    every = [first.cells, *rest]
    if dialect.delimiter == "\t" and _most(every, _is_stsb):
        # always unquoted; a sixth of its rows has two columns more, the sources of the sentences
        return replace(dialect, quoted=False, names=_STSB, least=7)
    if dialect.delimiter == "\t" and _most(every, _is_cola):
        return replace(dialect, names=_COLA, least=4)
    return replace(dialect, names=tuple(str(i + 1) for i in range(columns)), least=columns)


def _is_header(first: Sequence[str], rest: Sequence[Sequence[str]], given: Mapping[str, str]) -> bool:
    """Say whether the first record names the columns.

    No: a cell is a number, or comes again in its column, as labels do. Yes: a cell is a usual name or one that was
    given, or stands over nothing but numbers. Else: all are short words, and some column below is of running text.
    """
    cells = [cell.strip() for cell in first]
    columns = [[row[i].strip() for row in rest if i < len(row)] for i in range(len(cells))]
    if any(map(_is_number, cells)):
        return False
    again = any(cell and cell in column for cell, column in zip(cells, columns, strict=True))
    whole = any([cell.strip() for cell in row] == cells for row in rest)  # of another table that was written behind it
    if _known(cells, given) and (whole or not again):
        return True
    if again or not rest or len(set(filter(None, cells))) < sum(map(bool, cells)):
        return False
    if any(cell and column and all(map(_is_number, column)) for cell, column in zip(cells, columns, strict=True)):
        return True
    short = all(len(cell.split()) <= 3 and len(cell) <= 40 and not re.search(r"[.!?]$", cell) for cell in cells)
    running = any(sum(len(cell.split()) > 4 for cell in column) > 0.5 * len(column) for column in columns)
    return short and running


def _most(rows: Sequence[Sequence[str]], test: Callable[[Sequence[str]], bool]) -> bool:
    return sum(map(test, rows)) > 0.9 * len(rows)


def _is_stsb(row: Sequence[str]) -> bool:
    return len(row) in (7, 9) and row[3].isdecimal() and re.fullmatch(r"[0-5](\.\d+)?", row[4]) is not None


def _is_cola(row: Sequence[str]) -> bool:
    return len(row) == 4 and row[1] in ("0", "1") and row[2] in ("", "*", "?", "??", "*?", "?*")


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?\d+([.,]\d+)*([eE][-+]?\d+)?", text) is not None
