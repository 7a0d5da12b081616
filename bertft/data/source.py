"""Open an input (a path, or `-` for stdin), undo compression and encoding, and give its lines with their numbers.

Lines end at LF or CRLF and nowhere else (not at U+2028, not at a form feed), and keep their end, so that a writer can
return every byte.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import itertools
import lzma
import os
import stat
import sys
import weakref
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from bertft.data.row import Line, Place
from bertft.errors import DataError, UsageError, did_you_mean

MAX_LINE_BYTES = 64 * 2**20  # a line longer than this is no text; reading on would only fill the memory
MAX_UNPACKED = 256 * 2**20
"""Characters of a record of many lines, and of a compressed file that is read whole: a small one can hold much."""
LINE_COST = 64
"""Characters that a line counts for, besides its own, where such sizes are measured: short ones cost as well."""

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_BINARY = {b"PK": "zip", b"\xd0\xcf\x11\xe0": "Excel", b"PAR1": "Parquet", b"\x89PNG": "PNG", b"%PDF": "PDF"}
_OFFICE = (b"[Content_Types].xml", b"opendocument.spreadsheet", b"_rels/.rels", b"xl/", b"docProps/")
_DAMAGED = (EOFError, zlib.error, lzma.LZMAError)


class Source:
    """An open input, whose lines can be looked at before they are read.

    `encoding` is the codec that the lines are decoded with and are to be written back with. `live` means that the input
    may pause (a pipe or a terminal), so answers should not wait for more of it.
    """

    def __init__(self, path: str, stream: BinaryIO, encoding: str, *, live: bool, packed: bool = False) -> None:
        self.path = path
        self.encoding = encoding
        self.live = live
        self._packed = packed
        self._rest = _read(path, stream, encoding)
        if path != "-":
            weakref.finalize(self._rest, stream.close)  # also of a reader that stops early or never starts
        self._ahead: list[Line] = []
        self._ahead_size = 0

    def sample(self, enough: Callable[[Sequence[Line]], bool]) -> Sequence[Line]:
        """Return the first lines, up to where they are `enough` or very long, without taking them from `lines()`."""
        while not (self._ahead and (self._ahead_size > MAX_LINE_BYTES or enough(self._ahead))):
            if (line := next(self._rest, None)) is None:
                break
            self._ahead.append(line)
            self._ahead_size += len(line.text)
        return self._ahead

    def lines(self) -> Iterator[Line]:
        """Return an iterator over every line; a line that cannot be decoded has an error and its bytes as surrogates.

        Raises DataError where the input itself is damaged (a torn gzip file) or a line is over 64 MiB.
        """
        return itertools.chain(self._ahead, self._rest)

    def whole(self) -> str:
        """Return the text of all lines, for what is read at once.

        Raises DataError for a line that cannot be decoded, and where a compressed file is too large to be read so.
        """
        text = io.StringIO(newline="")
        for line in self.lines():
            if line.error is not None:
                raise line.error
            text.write(line.text)
            if self._packed and text.tell() + LINE_COST * line.number > MAX_UNPACKED:
                fact = "unpacked, this is too large to be read whole"
                advice = "unpack it first, if you trust it; JSON Lines, tables and column files are read piece by piece"
                raise DataError(fact, place=Place(self.path, line.number), help=advice)
        return text.getvalue().removeprefix("\ufeff")


def _read(path: str, stream: BinaryIO, encoding: str) -> Iterator[Line]:
    number = 0
    try:
        if encoding.startswith("utf-16"):
            with io.TextIOWrapper(stream, encoding, errors="strict", newline="\n") as text:
                while line := text.readline(MAX_LINE_BYTES):
                    number += 1
                    if len(line) == MAX_LINE_BYTES:
                        raise _too_long(path, number)
                    yield Line(number, line)
            return
        while raw := stream.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(raw) > MAX_LINE_BYTES:
                raise _too_long(path, number)
            try:
                yield Line(number, raw.decode(encoding))
            except UnicodeDecodeError as error:
                yield Line(number, _escaped(raw, encoding), _undecodable(path, number, encoding, error))
    except UnicodeDecodeError as error:
        raise _undecodable(path, number + 1, encoding, error) from None
    except (OSError, *_DAMAGED) as error:
        raise _unreadable(error, Place(path, number + 1)) from None


def _escaped(raw: bytes, encoding: str) -> str:
    """Return a line with each byte that cannot be decoded as a surrogate."""
    try:
        return raw.decode(encoding, "surrogateescape")
    except UnicodeDecodeError:  # the byte is one of ASCII, which has no surrogate
        return raw.decode("ascii", "surrogateescape")


def _unreadable(error: Exception, place: Place) -> DataError:
    """Return the error for bytes that cannot be read: the decompressors' own errors have no number."""
    if isinstance(error, OSError) and error.errno is not None:
        return DataError(f"cannot read on: {error.strerror}", place=place)
    return DataError(f"the compressed file is damaged: {error}", place=place)


def _too_long(path: str, number: int) -> DataError:
    advice = "one record stands on a line; one document over several lines: `--format json`"
    return DataError("the line is longer than 64 MiB, which no text is", place=Place(path, number), help=advice)


def _undecodable(path: str, number: int, encoding: str, error: UnicodeDecodeError) -> DataError:
    byte = error.object[error.start]
    return DataError(
        f"byte 0x{byte:02x} at position {error.start + 1} of the line is not valid {encoding.upper()}",
        place=Place(path, number),
        help="name the file's encoding, for example `--encoding latin-1` or `--encoding cp1252`",
    )


def open_source(path: str, encoding: str | None = None) -> Source:
    """Open `path` (`-` is stdin); the encoding is the byte order mark's, else the one given, else UTF-8.

    Raises DataError for a file that is missing, a directory, unreadable or binary; UsageError for an unknown encoding.
    """
    given = _codec(encoding)
    stream, live = _open_stdin() if path == "-" else _open_file(path)
    try:
        packed, stream = stream, _decompressed(path, stream)
        return Source(path, stream, _encoding(path, _peek(stream), given), live=live, packed=stream is not packed)
    except (OSError, *_DAMAGED) as error:
        stream.close()
        raise _unreadable(error, Place(path, 1)) from None
    except DataError:
        stream.close()
        raise


def _open_stdin() -> tuple[BinaryIO, bool]:
    """Return stdin and whether it may pause: it is read by a thread, so it gets a buffer of its own."""
    try:
        descriptor = sys.stdin.fileno()
    except (OSError, AttributeError):  # an in-memory stdin, as test runners set it
        return sys.stdin.buffer, False
    live = not stat.S_ISREG(os.fstat(descriptor).st_mode)
    stream = open(descriptor, "rb", closefd=False)  # noqa: SIM115  (stdin stays open)
    return stream, live


def _open_file(path: str) -> tuple[BinaryIO, bool]:
    try:
        stream = open(path, "rb")  # noqa: SIM115  (Source closes it at its end)
        regular = stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
        return stream, not regular
    except FileNotFoundError:
        raise DataError(f"there is no file {path!r}", place=path, help=_neighbours(path)) from None
    except IsADirectoryError:
        raise DataError("this is a directory, not a file", place=path, help="name one file in it") from None
    except OSError as error:
        raise DataError(f"cannot open the file: {error.strerror}", place=path) from None


def _decompressed(path: str, stream: BinaryIO) -> BinaryIO:
    """Return the stream with its compression undone: by its first bytes, as names are often wrong or missing."""
    head = _peek(stream)
    unpack = next((unpack for magic, unpack in _UNPACK.items() if head.startswith(magic)), None)
    if unpack is None:
        return stream
    try:
        unpacked = cast("BinaryIO", unpack(stream))
    except ImportError:
        stream.close()
        advice = f"`pip install pyarrow`, or `zstd -dc {'' if path == '-' else path} | bertft …`"
        raise DataError("this is compressed with zstd, which pyarrow reads", place=path, help=advice) from None
    weakref.finalize(unpacked, stream.close)  # the decompressors leave it open
    return unpacked


def _zstd(stream: BinaryIO) -> io.BufferedReader:
    import pyarrow  # Python has no zstd before 3.14; `datasets` brings this in any case

    raw = pyarrow.CompressedInputStream(pyarrow.PythonFile(stream, mode="r"), "zstd")
    return io.BufferedReader(raw)


_UNPACK: dict[bytes, Callable[[BinaryIO], object]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"\x28\xb5\x2f\xfd": _zstd,
}


_ADVICE = {
    "": "text in UTF-16 without a byte order mark is read with `--encoding utf-16-le`",
    "zip": "unpack it and name one of its files",
    "Excel": "save it as CSV (UTF-8) in the spreadsheet program; that file is read",
    "spreadsheet": "save it as CSV (UTF-8) in the spreadsheet program; that file is read",
}


def _encoding(path: str, head: bytes, given: str | None) -> str:
    """Return the codec for a file that begins with `head`; raises DataError where it is no text."""
    for bom, name in _BOMS:
        if head.startswith(bom):
            return name
    kind = next((name for magic, name in _BINARY.items() if head.startswith(magic) and len(magic) > 2), None)
    if (kind or b"\0" in head) and not (given or "").startswith("utf-16"):
        kind = kind or next((name for magic, name in _BINARY.items() if head.startswith(magic)), None)
        if kind == "zip" and (any(mark in head for mark in _OFFICE) or path.lower().endswith((".xlsx", ".ods"))):
            kind = "spreadsheet"
        raise DataError(
            f"this is {'an' if kind == 'Excel' else 'a'} {kind or 'binary'} file, not text",
            place=Place(path, 1),
            help=_ADVICE.get(kind or ""),
        )
    return given or "utf-8"


def _codec(encoding: str | None) -> str | None:
    if encoding is None:
        return None
    try:
        name = codecs.lookup(encoding).name
        name = {"utf-16": "utf-16-le", "utf-8-sig": "utf-8"}.get(name, name)
        by_line = "\n".encode(name) == b"\n" and name != "idna"  # base64 and its like are codecs, but not of text
    except (LookupError, UnicodeError):
        close = did_you_mean(encoding, ("utf-8", "utf-16", "latin-1", "cp1252", "iso-8859-15"), "try latin-1 or cp1252")
        raise UsageError(f"unknown encoding {encoding!r}", help=close) from None
    if not by_line and not name.startswith("utf-16"):
        raise UsageError(
            f"--encoding {encoding}: its lines do not end as those of ASCII do",
            help=f"`iconv -f {encoding} -t utf-8 FILE | bertft …` reads it",
        )
    return name


def _peek(stream: BinaryIO) -> bytes:
    peek = getattr(stream, "peek", None)
    return bytes(peek(4096)) if peek else b""


def _neighbours(path: str) -> str | None:
    folder = Path(path).parent
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    return did_you_mean(Path(path).name, names)
