"""Opening a file: encodings, compression, line ends, live inputs, and what cannot be read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertft.data.row import Line
from bertft.data.source import Source, open_source
from bertft.errors import DataError, UsageError

TEXT = "Zürich\nMünchen 東京 🎉\n"


def contents(path: Path, encoding: str | None = None) -> list[str]:
    return [line.content for line in open_source(str(path), encoding).lines()]


def failure(path: Path, encoding: str | None = None) -> str:
    with pytest.raises(DataError) as caught:
        list(open_source(str(path), encoding).lines())
    return str(caught.value)


@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le", "utf-16-be"])
def test_unicode_with_a_byte_order_mark_needs_no_option(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "f.txt"
    path.write_bytes(("\ufeff" + TEXT).encode(codec))
    assert contents(path) == TEXT.splitlines()


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_binary_until_it_is_named(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "f.txt"
    path.write_bytes(TEXT.encode(codec))
    message = failure(path)
    assert "binary" in message
    assert "--encoding utf-16-le" in message
    assert contents(path, codec) == TEXT.splitlines()


@pytest.mark.parametrize("codec", ["latin-1", "cp1252", "iso-8859-15"])
def test_other_encodings_are_read_when_named(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "f.txt"
    path.write_bytes("Zürich\nMünchen\n".encode(codec))
    assert contents(path, codec) == ["Zürich", "München"]
    assert "byte 0xfc at position 2" in failure_of_line(path)


def failure_of_line(path: Path) -> str:
    return next(str(line.error) for line in open_source(str(path)).lines() if line.error is not None)


def test_invalid_utf8_is_an_error_of_its_line_only(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_bytes(b"one\nM\xfcnchen\nthree\n")
    lines = list(open_source(str(path)).lines())
    assert [line.error is None for line in lines] == [True, False, True]
    assert f"{path}:2" in str(lines[1].error)
    assert "--encoding" in str(lines[1].error)


def test_a_line_that_cannot_be_decoded_keeps_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_bytes(b"M\xfcnchen\n")
    (line,) = open_source(str(path)).lines()
    assert line.text.encode("utf-8", "surrogateescape") == b"M\xfcnchen\n"


def test_torn_utf16_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_bytes("\ufeffone\ntwo".encode("utf-16-le") + b"\x00")
    assert f"{path}:2" in failure(path)


def test_the_byte_order_mark_wins_over_the_option(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_bytes(TEXT.encode("utf-8-sig"))
    assert contents(path, "latin-1") == TEXT.splitlines()


@pytest.mark.parametrize("name", ["utf8x", "latin-9000", ""])
def test_an_unknown_encoding_is_a_usage_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / "f.txt"
    path.write_text("a\n")
    with pytest.raises(UsageError, match="unknown encoding"):
        open_source(str(path), name)


@pytest.mark.parametrize("name", ["base64", "rot13", "hex", "zlib"])
def test_a_codec_that_is_no_text_encoding_is_a_usage_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / "f.txt"
    path.write_text("a\n")
    with pytest.raises(UsageError, match="encoding"):
        list(open_source(str(path), name).lines())


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"\n\n", ["", ""]),
        (b"", []),
        ("a\u2028b\x0bc\x0cd\x1ce\u0085f\n".encode(), ["a\u2028b\x0bc\x0cd\x1ce\u0085f"]),
        (b"a\rb\n", ["a\rb"]),
    ],
)
@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le"])
def test_only_line_feeds_end_a_line(tmp_path: Path, data: bytes, lines: list[str], codec: str) -> None:
    path = tmp_path / "f.txt"
    path.write_bytes(data if codec == "utf-8" else ("\ufeff" + data.decode()).encode(codec))
    assert contents(path) == (lines or ([""] if codec == "utf-16-le" else []))


@pytest.mark.parametrize("data", [b"a\r\nb\nc", b"\xef\xbb\xbfa\n", b"\n \t\n", b"M\xfc\n"])
def test_lines_keep_every_byte(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "f.txt"
    path.write_bytes(data)
    text = "".join(line.text for line in open_source(str(path)).lines())
    assert text.encode("utf-8", "surrogateescape") == data


def zstd(data: bytes) -> bytes:
    pa = pytest.importorskip("pyarrow")
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue().to_pybytes())


PACKED = pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd])


@PACKED
@pytest.mark.parametrize("name", ["f.txt", "f.csv.gz"])
def test_compression_is_recognised_by_its_content(tmp_path: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / name
    path.write_bytes(pack(TEXT.encode()))
    assert contents(path) == TEXT.splitlines()


@PACKED
def test_packed_files_joined_by_cat_are_one(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "f.txt"
    path.write_bytes(pack(b"one\n") + pack(b"two\n"))
    assert contents(path) == ["one", "two"]


@PACKED
def test_packed_utf16_is_read(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "f.gz"
    path.write_bytes(pack(TEXT.encode("utf-16")))
    assert contents(path) == TEXT.splitlines()


@PACKED
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_torn_packed_file_is_said(tmp_path: Path, share: float, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "f.gz"
    whole = pack(os.urandom(60_000).hex().encode())
    path.write_bytes(whole[: int(share * len(whole))])
    message = failure(path)
    assert "damaged" in message
    assert f"{path}:" in message


@PACKED
@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="needs /dev/fd")
def test_a_packed_pipe_is_read(pack: Callable[[bytes], bytes]) -> None:
    reader, writer = os.pipe()
    os.write(writer, pack(TEXT.encode()))
    os.close(writer)
    try:
        assert contents(Path(f"/dev/fd/{reader}")) == TEXT.splitlines()
    finally:
        os.close(reader)


@PACKED
def test_packed_stdin_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "f"
    path.write_bytes(pack(TEXT.encode()))
    with path.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert contents(Path("-")) == TEXT.splitlines()


def test_without_pyarrow_zstd_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.zst"
    path.write_bytes(zstd(b"a\n"))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert "pip install pyarrow" in failure(path)


@pytest.mark.parametrize("entry", ["[Content_Types].xml", "xl/workbook.xml"])
def test_a_spreadsheet_is_refused_with_advice(tmp_path: Path, entry: str) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(entry, "<xml/>")
    path = tmp_path / "f.xlsx"
    path.write_bytes(data.getvalue() + bytes(8))
    message = failure(path)
    assert "spreadsheet" in message
    assert "CSV (UTF-8)" in message


def test_a_gzip_file_with_a_wrong_checksum_is_said(tmp_path: Path) -> None:
    path = tmp_path / "f.gz"
    path.write_bytes(gzip.compress(TEXT.encode())[:-8] + bytes(8))
    assert "damaged" in failure(path)


def test_a_gzip_file_that_is_only_a_header_is_said(tmp_path: Path) -> None:
    path = tmp_path / "f.gz"
    path.write_bytes(b"\x1f\x8b")
    assert "damaged" in failure(path)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "PNG"),
        (b"PK\x03\x04\x14\0\0\0", "zip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0", "Excel"),
        (b"PAR1\x15\0", "Parquet"),
        (b"text \0 text\n", "binary"),
    ],
)
def test_a_binary_file_is_named_for_what_it_is(tmp_path: Path, data: bytes, kind: str) -> None:
    path = tmp_path / "f.conll"
    path.write_bytes(data)
    message = failure(path)
    assert f"{kind} file" in message
    assert str(path) in message


def test_a_gzipped_archive_is_binary_too(tmp_path: Path) -> None:
    path = tmp_path / "f.tar.gz"
    path.write_bytes(gzip.compress(b"name\0\0\0\0" * 100))
    assert "binary" in failure(path)


def test_a_missing_file_names_its_nearest_neighbour(tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text("a\n")
    message = failure(tmp_path / "trian.conll")
    assert "trian.conll" in message
    assert "did you mean 'train.conll'?" in message


def test_a_missing_folder_is_no_second_failure(tmp_path: Path) -> None:
    assert "there is no file" in failure(tmp_path / "nowhere" / "train.conll")


def test_a_path_through_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a\n")
    assert str(tmp_path) in failure(tmp_path / "f" / "train.conll")


def test_a_directory_is_said(tmp_path: Path) -> None:
    message = failure(tmp_path)
    assert "directory" in message
    assert str(tmp_path) in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_said(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_text("a\n")
    path.chmod(0)
    assert "Permission denied" in failure(path)


def test_an_endless_line_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertft.data.source.MAX_LINE_BYTES", 1000)
    path = tmp_path / "f.txt"
    path.write_bytes(b"a\n" + b"x" * 5000)
    assert f"{path}:2" in failure(path)


def test_an_endless_line_in_utf16_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertft.data.source.MAX_LINE_BYTES", 1000)
    path = tmp_path / "f.txt"
    path.write_bytes(("\ufeffa\n" + "x" * 500_000).encode("utf-16-le"))
    assert f"{path}:2" in failure(path)


def test_sampled_lines_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_text("1\n2\n3\n4\n")
    source = open_source(str(path))
    assert [line.content for line in source.sample(lambda lines: len(lines) >= 2)] == ["1", "2"]
    assert [line.content for line in source.sample(lambda lines: len(lines) >= 3)] == ["1", "2", "3"]
    assert [(line.number, line.content) for line in source.lines()] == [(1, "1"), (2, "2"), (3, "3"), (4, "4")]


def test_a_sample_of_a_short_file_is_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_text("1\n")
    assert len(open_source(str(path)).sample(lambda lines: len(lines) >= 9)) == 1


@contextmanager
def pipe(data: bytes) -> Iterator[tuple[str, threading.Event]]:
    """Give the path of a pipe that holds `data` and stays open; after 10 s it is closed and the event set."""
    reader, writer = os.pipe()
    late = threading.Event()

    def give_up() -> None:
        late.set()
        os.close(writer)

    timer = threading.Timer(10, give_up)
    os.write(writer, data)
    timer.start()
    try:
        yield f"/dev/fd/{reader}", late
    finally:
        timer.cancel()
        timer.join()
        if not late.is_set():
            os.close(writer)
        os.close(reader)


def first(source: Source) -> Line:
    return next(source.lines())


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="needs /dev/fd")
@pytest.mark.parametrize("data", [b"one\n", b"one\ntw", "\ufeffone\n".encode("utf-16-le")])
def test_a_pipe_is_live_and_its_line_is_answered_at_once(data: bytes) -> None:
    with pipe(data) as (path, late):
        source = open_source(path)
        assert source.live
        assert first(source).content == "one"
        assert not late.is_set()


def test_a_regular_file_is_not_live(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_text("a\n")
    assert not open_source(str(path)).live


@pytest.mark.parametrize("name", ["utf-32", "cp500", "idna", "punycode", "unicode_escape", "undefined"])
def test_an_encoding_whose_lines_end_otherwise_is_a_usage_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / "f.txt"
    path.write_text("a\n")
    with pytest.raises(UsageError, match="encoding"):
        open_source(str(path), name)


@pytest.mark.parametrize(("name", "raw"), [("utf-7", b"+\\ a\n"), ("hz", b"~z\n"), ("iso2022_jp", b"\x1b(x\n")])
def test_a_faulty_byte_below_128_is_an_error_of_its_line(tmp_path: Path, name: str, raw: bytes) -> None:
    path = tmp_path / "f.txt"
    path.write_bytes(b"a\n" + raw + b"b\n")
    lines = list(open_source(str(path), name).lines())
    assert [line.error is None for line in lines] == [True, False, True]
    assert lines[1].text.encode("utf-8", "surrogateescape") == raw


@given(st.binary(max_size=60))
def test_the_lines_of_any_text_are_its_bytes(raw: bytes) -> None:
    source = Source("f.txt", io.BytesIO(raw), "utf-8", live=False)
    lines = list(source.lines())
    assert "".join(line.text for line in lines).encode("utf-8", "surrogateescape") == raw
    assert [line.number for line in lines] == [*range(1, len(lines) + 1)]
    assert all(line.text.endswith("\n") for line in lines[:-1])
