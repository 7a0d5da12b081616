"""Tables: a record a line (or several, inside quotes), its cells split by a comma, semicolon, tab or bar.

    text,category                       sentence	label             gj04	1		Our friends won't buy it.
    "How long, really?",card_arrival    " odd quotes	0        (CoLA and STS-B: no header, no quoting)

Quoted as RFC 4180 and spreadsheets do it, or unquoted as the TSVs of GLUE are, where a quote is a character like any
other. Which of them, the delimiter and whether there is a header is read off the first lines (`infer`). Cells are
strings, exactly as written. What `write` gives is the record's own bytes and more cells behind them.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from bertft.data.roles import is_known
from bertft.data.row import Line, Place, Row
from bertft.data.source import Source
from bertft.errors import DataError

SAMPLE_LINES = 2000
LIVE_LINES = 100  # of a pipe whose first line is no header that is known: what else it holds must be seen
MAX_RECORD_LINES = 1000  # a quote that is open for longer is a stray one

_DELIMITERS = {",": "CSV", "\t": "TSV", ";": "CSV with ;", "|": "CSV with |"}
# A quoted cell ends where its last quote stands before a delimiter or the end; else its quotes are characters.
_CELL = {d: re.compile(rf'"([^"]*(?:""[^"]*)*)"(?=[{d}]|\Z)|([^{d}]*)') for d in _DELIMITERS}
_CLEAN = {d: re.compile(rf'(?:(?:"[^"]*(?:""[^"]*)*"|[^"{d}]*)(?:[{d}]|\Z))*') for d in ",;|"}
_UNCLOSED = re.compile(r'"[^"]*(?:""[^"]*)*\Z')

_COLA = ("source", "label", "mark", "sentence")
_STSB = ("genre", "file", "year", "index", "score", "sentence1", "sentence2", "source1", "source2")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a table is written, and the names of its columns: those of its header, else their numbers from 1."""

    delimiter: str
    quoted: bool
    names: tuple[str, ...] = ()
    least: int = 0
    """So many cells a record has at least; as many as there are names, save in STS-B (7 or 9)."""
    head: tuple[Line, ...] = ()
    """The lines of the header; none where the first record is data."""
    line_end: str = "\n"

    def __str__(self) -> str:
        kind = _DELIMITERS[self.delimiter] + ("" if self.quoted else ", unquoted")
        return f"{kind}, {'with' if self.head else 'no'} header, {_columns(len(self.names))}"


class Record(NamedTuple):
    """The lines of a record and its cells."""

    lines: tuple[Line, ...]
    cells: list[str]


# -- reading --------------------------------------------------------------------------------------------------------


def read(source: Source, dialect: Dialect) -> Iterator[Row]:
    """Yield a row per record; one with another number of cells than the table has columns is a row with an error.

    Lines without anything in them are no records.
    """
    most = len(dialect.names)
    header = bool(dialect.head)
    for lines, cells in _records(source.lines(), dialect, lambda count: dialect.least <= count <= most):
        if header:
            header = False
            continue
        place = Place(source.path, lines[0].number)
        values = dict(zip(dialect.names, cells, strict=False))
        error = next((line.error for line in lines if line.error is not None), None)
        if error is None and not dialect.least <= len(cells) <= most:
            error = _ragged(place, cells, dialect)
        yield Row(place, values, lines, error)


def _ragged(place: Place, cells: Sequence[str], dialect: Dialect) -> DataError:
    what = "header" if dialect.head else "table"
    advice = f"a cell with {_sign(dialect.delimiter)} in it is to be quoted"
    if dialect.quoted and any(_UNCLOSED.fullmatch(cell) for cell in cells):
        advice = 'a quote opens a cell and does not close it; a quote in a quoted cell is doubled ("")'
    elif not dialect.quoted:
        advice = f"the table is read as unquoted, as some quotes in it stand alone; {advice} in a table that quotes"
    fact = f"the record has {_columns(len(cells))}, the {what} {len(dialect.names)}"
    return DataError(fact, place=place, help=advice)


def _records(lines: Iterable[Line], dialect: Dialect, fits: Callable[[int], bool]) -> Iterator[Record]:
    """Yield the records of a table; `fits` says whether a number of cells is the table's.

    In a quoted table a cell may run over several lines. A stray quote looks like the start of such a cell: where that
    gives another number of cells, and the line by itself the right one, the line is a record by itself.
    """
    delimiter, rest = dialect.delimiter, iter(lines)
    back: deque[Line] = deque()
    while (line := back.popleft() if back else next(rest, None)) is not None:
        text = line.content
        if not text.strip(" "):
            continue
        if not dialect.quoted or '"' not in text:
            yield Record((line,), text.split(delimiter))
            continue
        taken, cells = [line], _cells(text, delimiter)
        while cells is None and len(taken) < MAX_RECORD_LINES:
            more = back.popleft() if back else next(rest, None)
            if more is None:
                break
            taken.append(more)
            if '"' in more.text:  # else the cell is still open
                cells = _cells(_joined(taken), delimiter)
        if not cells or (len(taken) > 1 and not fits(len(cells))):
            literal = text.split(delimiter)
            if not cells or fits(len(literal)):
                back.extendleft(reversed(taken[1:]))
                taken, cells = [line], literal
        yield Record(tuple(taken), cells)


def _cells(text: str, delimiter: str) -> list[str] | None:
    """Return the cells of a quoted record; None where one is open at the end, [] where the quotes make no sense."""
    cells: list[str] = []
    position = 0
    while True:
        match = _CELL[delimiter].match(text, position)
        if match is None:  # never: the second alternative may be empty
            return []
        if match[1] is not None:
            cells.append(match[1].replace('""', '"'))
        elif match[2].startswith('"') and _UNCLOSED.match(text, position):
            return None
        elif "\n" in match[2]:  # only a quoted cell runs over lines
            return []
        else:
            cells.append(match[2])
        position = match.end() + 1
        if position > len(text):
            return cells


def _joined(lines: Sequence[Line]) -> str:
    text = "".join(line.text for line in lines[:-1]) + lines[-1].content
    return text.removeprefix("\ufeff") if lines[0].number == 1 else text


# -- what the first lines tell --------------------------------------------------------------------------------------


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

    Raises DataError where it is empty.
    """
    lines = sample(source, given)
    dialect = infer(lines, given, delimiters)
    if dialect is not None:
        return dialect
    if not any(line.content.strip(" ") for line in lines):
        raise DataError("the file is empty", place=Place(source.path, 1))
    return _with_header(Dialect(delimiters[0], quoted=delimiters[0] != "\t"), lines, given, columns=1)  # one column


def is_table(lines: Sequence[Line]) -> bool:
    """Say whether lines of which nothing is known are a table, and no running text with commas in it."""
    dialect = infer(lines, {})
    if dialect is None:
        return False
    records = list(_records(lines, dialect, lambda count: count == len(dialect.names)))
    good = sum(dialect.least <= len(record.cells) <= len(dialect.names) for record in records)
    known = dialect.head and any(map(is_known, dialect.names))
    return good >= 0.95 * len(records) and (dialect.delimiter == "\t" or bool(known))


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
        if found.columns < 2:
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
    records = list(_records(lines, dialect, lambda _: True))
    sizes: Counter[int] = Counter()
    for record in records:
        sizes[len(record.cells)] += len(record.lines)
    if not sizes:
        return _Share(0, 0.0, [])
    columns, count = sizes.most_common(1)[0]
    marked = [record.lines for record in records if any('"' in line.text for line in record.lines)]
    pattern = _CLEAN.get(dialect.delimiter) if dialect.quoted and marked else None
    clean = pattern is not None and all(pattern.fullmatch(_joined(lines)) for lines in marked)
    return _Share(columns, count / sizes.total(), records[0].cells, clean)


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
    records = list(_records(lines, dialect, lambda count: count == columns))
    first, rest = records[0], [record.cells for record in records[1:]]
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
    if _known(cells, given) and not again:
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


# -- writing --------------------------------------------------------------------------------------------------------


def write(row: Row, dialect: Dialect, cells: Sequence[str]) -> str:
    """Return the record's own characters with more cells at its end."""
    return _extended(row.lines, dialect, cells)


def header(dialect: Dialect, names: Sequence[str]) -> str:
    """Return the header's own characters with the names of more columns at its end; "" where there is no header."""
    return _extended(dialect.head, dialect, names) if dialect.head else ""


def line(dialect: Dialect, cells: Sequence[str]) -> str:
    """Return a record of a table that is new."""
    return dialect.delimiter.join(_written(cell, dialect) for cell in cells) + dialect.line_end


def _extended(lines: Sequence[Line], dialect: Dialect, cells: Sequence[str]) -> str:
    text = "".join(line.text for line in lines)
    body = text.removesuffix("\n").removesuffix("\r")
    # the last record of a file may have no line end; what follows it must not be glued to it
    return dialect.delimiter.join([body, *(_written(cell, dialect) for cell in cells)]) + (
        text[len(body) :] or dialect.line_end
    )


def _written(cell: str, dialect: Dialect) -> str:
    """Return a cell as the dialect writes it: what an unquoted table cannot hold becomes a blank."""
    if not dialect.quoted:
        return re.sub(rf"[{dialect.delimiter}\r\n]+", " ", cell)
    if re.search(rf'[{dialect.delimiter}"\r\n]', cell):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def _columns(count: int) -> str:
    return f"{count} column{'' if count == 1 else 's'}"


def _sign(delimiter: str) -> str:
    return {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}[delimiter]
