"""Tables: a record a line (or several, inside quotes), its cells split by a comma, semicolon, tab or bar.

    text,category                       sentence	label             gj04	1		Our friends won't buy it.
    "How long, really?",card_arrival    " odd quotes	0        (CoLA and STS-B: no header, no quoting)

Quoted as RFC 4180 and spreadsheets do it, or unquoted as the TSVs of GLUE are, where a quote is a character like any
other. Which of them, the delimiter and the header make up a table's `Dialect`, which dialects.py works out. Cells are
strings, exactly as written. What `write` gives is the record's own bytes and more cells behind them.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bertft.data.row import Line, Place, Row, without_end
from bertft.data.source import LINE_COST, MAX_LINE_BYTES, Source
from bertft.errors import DataError

MAX_RECORD_LINES = 1000  # a quote that is open for longer is a stray one
_MOST_IN_VAIN = 2**22  # characters that were taken for one record and were none; then quotes are looked at less far
_FEW_LINES = 4

DELIMITERS = {",": "CSV", "\t": "TSV", ";": "CSV with ;", "|": "CSV with |"}
# A quoted cell ends where its last quote stands before a delimiter or the end; else its quotes are characters.
_CELL = {d: re.compile(rf'"([^"]*(?:""[^"]*)*)"(?=[{d}]|\Z)|([^{d}]*)') for d in DELIMITERS}
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[-+](\d+([.,]\d+)*([eE][-+]?\d+)?)?")
_STILL_OPEN = re.compile(r'[^"]*(?:""[^"]*)*')  # a line, or lines, of a quoted cell that goes on behind it
_UNCLOSED = re.compile(r'"[^"]*(?:""[^"]*)*\Z')


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
        kind = DELIMITERS[self.delimiter] + ("" if self.quoted else ", unquoted")
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
    header: list[str] | None = None
    for lines, cells in records(source.lines(), dialect, lambda count: dialect.least <= count <= most):
        if dialect.head and header is None:
            header = cells
            continue
        place = Place(source.path, lines[0].number)
        values = dict(zip(dialect.names, cells, strict=False))
        error = next((line.error for line in lines if line.error is not None), None)
        if error is None and not dialect.least <= len(cells) <= most:
            error = _ragged(place, cells, dialect)
        if error is None and most > 1 and cells == header:
            advice = "several tables in one file have one header: `tail -n +2` leaves out that of another"
            error = DataError("the header stands here again", place=place, help=advice)
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


def records(lines: Iterable[Line], dialect: Dialect, fits: Callable[[int], bool]) -> Iterator[Record]:
    """Yield the records of a table; `fits` says whether a number of cells is the table's.

    In a quoted table a cell may run over several lines. A stray quote looks like the start of such a cell: where that
    gives another number of cells, and the line by itself the right one, the line is a record by itself.
    """
    delimiter, rest = dialect.delimiter, iter(lines)
    back: deque[Line] = deque()
    most, in_vain = MAX_RECORD_LINES, 0
    while (line := back.popleft() if back else next(rest, None)) is not None:
        text = line.content
        if not text.strip(" "):
            continue
        if not dialect.quoted or '"' not in text:
            yield Record((line,), text.split(delimiter))
            continue
        taken, size = [line], len(text)
        cells, inside = _cells(text, delimiter)
        pieces = [inside, _end(line)]  # of the cell that is open
        while inside and len(taken) < most and size < MAX_LINE_BYTES:
            more = back.popleft() if back else next(rest, None)
            if more is None:
                break
            taken.append(more)
            size += len(more.text)
            if _STILL_OPEN.fullmatch(more.text):
                pieces.append(more.text)
                continue
            found, inside = _cells("".join(pieces) + more.content, delimiter)
            if found or inside:
                cells += found
            else:
                cells = []
            pieces = [inside, _end(more)]
        if inside or not cells or (len(taken) > 1 and not fits(len(cells))):
            literal = text.split(delimiter)
            if inside or not cells or fits(len(literal)):
                back.extendleft(reversed(taken[1:]))
                in_vain += size + LINE_COST * len(taken) if len(taken) > 1 else 0
                most = MAX_RECORD_LINES if in_vain < _MOST_IN_VAIN else _FEW_LINES
                taken, cells = [line], literal
        yield Record(tuple(taken), cells)


def _cells(text: str, delimiter: str) -> tuple[list[str], str]:
    """Return the cells of a quoted record, and the text of the cell that is open at the end, "" where none is.

    Where the quotes make no sense, there are neither.
    """
    cells: list[str] = []
    position = 0
    while True:
        match = _CELL[delimiter].match(text, position)
        if match is None:  # never: the second alternative may be empty
            return [], ""
        if match[1] is not None:
            cells.append(match[1].replace('""', '"'))
        elif match[2].startswith('"') and _UNCLOSED.match(text, position):
            return cells, text[position:]
        elif "\n" in match[2]:  # only a quoted cell runs over lines
            return [], ""
        else:
            cells.append(match[2])
        position = match.end() + 1
        if position > len(text):
            return cells, ""


def _end(line: Line) -> str:
    return line.text[len(without_end(line.text)) :]


def joined(lines: Sequence[Line]) -> str:
    """Return the text of a record that runs over lines, without what ends its last line."""
    text = "".join(line.text for line in lines[:-1]) + lines[-1].content
    return text.removeprefix("\ufeff") if lines[0].number == 1 else text


# -- writing --------------------------------------------------------------------------------------------------------


def write(row: Row, dialect: Dialect, cells: Sequence[str]) -> str:
    """Return the record's own characters with more cells at its end; raises DataError for a cell that does not fit."""
    try:
        return _extended(row.lines, dialect, cells)
    except DataError as error:
        raise DataError(error.fact, place=row.place, help=error.help) from None


def header(dialect: Dialect, names: Sequence[str]) -> str:
    """Return the header's own characters with the names of more columns at its end; "" where there is no header."""
    return _extended(dialect.head, dialect, names) if dialect.head else ""


def line(dialect: Dialect, cells: Sequence[str]) -> str:
    """Return a record of a table that is new."""
    written = dialect.delimiter.join(_written(cell, dialect) for cell in cells)
    return (written or '""') + dialect.line_end  # a record of one empty cell is no blank line


def inert(cell: str) -> str:
    """Return a cell that a spreadsheet would take for a formula with an apostrophe before it, as OWASP advises.

    Numbers, and a sign alone, are none. (owasp.org/www-community/attacks/CSV_Injection)
    """
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def _extended(lines: Sequence[Line], dialect: Dialect, cells: Sequence[str]) -> str:
    text = "".join(line.text for line in lines)
    body = without_end(text)
    # the last record of a file may have no line end; what follows it must not be glued to it
    return dialect.delimiter.join([body, *(_written(cell, dialect) for cell in cells)]) + (
        text[len(body) :] or dialect.line_end
    )


def _written(cell: str, dialect: Dialect) -> str:
    """Return a cell as the dialect writes it; of an unquoted table, tabs and line ends as blanks.

    Raises DataError for another delimiter in a cell of an unquoted table: as a blank it would be another answer.
    """
    if not dialect.quoted:
        plain = re.sub(r"[\t\r\n]+", " ", cell)
        if dialect.delimiter in plain:
            fact = f"the answer has {_sign(dialect.delimiter)} in it, which an unquoted table cannot hold"
            raise DataError(fact, help="`--to jsonl` holds any answer")
        return plain
    if re.search(rf'[{dialect.delimiter}"\r\n]', cell):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def _columns(count: int) -> str:
    return f"{count} column{'' if count == 1 else 's'}"


def _sign(delimiter: str) -> str:
    return {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}[delimiter]
