"""Small files that stand for huge ones: each is one clear error, in bounded time and memory."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bertft.data import formats
from bertft.data.source import open_source
from bertft.errors import DataError, UsageError
from bertft.recipe import load

MIB = 2**20
PACKERS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
WANTED = {
    "classify": (("text", "label"),),
    "ner": (("tokens", "tags"), ("text", "entities")),
}
READ = """
import resource, sys, time
from bertft.data import formats
from bertft.errors import DataError
path, unit, wanted = sys.argv[1], sys.argv[2], eval(sys.argv[3])
before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
try:
    opened = formats.read(path, wanted=wanted, unit=unit)
    for row in opened.rows:
        if row.error:
            raise row.error
    said = "nothing"
except DataError as error:
    said = str(error)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(round((after - before) / 1024), round(time.perf_counter() - started), said)
"""


def zstd(data: bytes) -> bytes:
    import pyarrow

    return bytes(pyarrow.compress(data, "zstd", asbytes=True))


def bomb(
    path: Path, head: bytes, body: bytes, *, pack: Callable[[bytes], bytes] = gzip.compress, times: int = 160
) -> Path:
    """Write `head` and `times` times `body`: compressed streams may stand one after the other."""
    packed = pack(body)
    with path.open("wb") as file:
        file.write(pack(head))
        for _ in range(times):
            file.write(packed)
    return path


def read(path: Path, *, task: str = "classify", unit: str = "sentence") -> tuple[int, int, str]:
    """Read a file in a process of its own; return the MiB of memory and the seconds that it took, and what was said."""
    command = [sys.executable, "-c", READ, str(path), unit, repr(WANTED[task])]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300, env=environment)
    size, seconds, said = done.stdout.split(maxsplit=2)
    return int(size), int(seconds), said


@pytest.mark.parametrize("kind", [*PACKERS, "zst"])
@pytest.mark.parametrize(("suffix", "head"), [("jsonl", b'{"label": "x", "text": "'), ("csv", b"text,label\n")])
def test_a_line_of_ten_gigabytes(kind: str, suffix: str, head: bytes, tmp_path: Path) -> None:
    pack = PACKERS.get(kind, zstd)
    path = bomb(tmp_path / f"f.{suffix}.{kind}", head, b"0" * (64 * MIB), pack=pack)
    assert path.stat().st_size < 16 * MIB
    size, seconds, said = read(path)
    assert "longer than 64 MiB" in said
    assert "help:" in said
    assert (size < 600, seconds < 30) == (True, True), (size, seconds)


@pytest.mark.parametrize(
    ("name", "head", "body", "part"),
    [
        ("f.json.gz", b"[", b"\n" * (16 * MIB), "too large to be read whole"),
        ("f.json.gz", b"[", b'{"text": "a", "label": "b"},\n' * 100_000, "too large to be read whole"),
        pytest.param(
            "f.json.gz", b"[", (b" " * MIB + b"\n") * 16, "too large to be read whole", marks=pytest.mark.slow
        ),
        ("f.csv.gz", b'text,label\n"', (b"a" * (8 * MIB) + b"\n") * 8, "the header 2"),
    ],
)
def test_a_document_that_unpacks_to_gigabytes(name: str, head: bytes, body: bytes, part: str, tmp_path: Path) -> None:
    size, seconds, said = read(bomb(tmp_path / name, head, body))
    assert part in said
    assert (size < 1500, seconds < 60) == (True, True), (size, seconds)


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["sentence", "document"])
@pytest.mark.parametrize("line", [b"a\tO\n", b"# a comment\n", b"a" * MIB + b"\tO\n"])
def test_a_sentence_without_an_end(unit: str, line: bytes, tmp_path: Path) -> None:
    path = bomb(tmp_path / "f.conll.gz", b"a\tO\n", line * (4 * MIB // len(line)))
    size, seconds, said = read(path, task="ner", unit=unit)
    assert f"one {unit} of " in said
    assert (size < 2500, seconds < 60) == (True, True), (size, seconds)


@pytest.mark.slow
def test_lines_of_sixty_mebibytes_are_not_gathered(tmp_path: Path) -> None:
    line = b'{"label": "x", "text": "' + b"0" * (60 * MIB) + b'"}\n'
    size, _, said = read(bomb(tmp_path / "f.jsonl.gz", b"", line, times=40))
    assert said.strip() == "nothing"
    assert size < 1000


def test_texts_in_folders_are_bounded(tmp_path: Path) -> None:
    for label in ("pos", "neg"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.txt").write_text("fine")
    bomb(tmp_path / "pos" / "b.txt.gz", b"a\n", (b"a" * MIB + b"\n") * 16)
    size, _, said = read(tmp_path)
    assert "too large to be read whole" in said
    assert size < 1500


@pytest.mark.parametrize("name", ["f.jsonl", "f.json"])
@pytest.mark.parametrize(
    "value",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "[" * 100_000 + "]" * 100_000,
        "1" * 100_000,
        "-" + "9" * 100_000,
        "1e999999999",
    ],
)
def test_numbers_and_nests_without_end(name: str, value: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(f'{{"text": "a", "label": "b"}}\n{{"text": "a", "x": {value}, "label": "c"}}\n')
    started = time.perf_counter()
    try:
        rows = list(formats.read(str(path), wanted=WANTED["classify"], labelled=True).rows)
        errors = [row.error for row in rows if row.error]
    except DataError as error:
        errors = [error]
    assert bool(errors) == ("e" not in value)
    assert all(re.search(r"-->.*:[12]$", str(error), re.MULTILINE) for error in errors)
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"info": 3}', b'{"info": {"features": [3]}}', b"nonsense", b"\xff"])
def test_odd_metadata_of_a_table_is_ignored(text: bytes, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"text": ["a"], "label": ["b"]}).replace_schema_metadata({b"huggingface": text})
    pq.write_table(table, tmp_path / "f.parquet")
    (row,) = formats.read(str(tmp_path / "f.parquet"), wanted=WANTED["classify"]).rows
    assert row.values == {"text": "a", "label": "b"}


def test_features_that_nest_without_end_are_ignored(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    feature: object = {"_type": "ClassLabel", "names": ["x"]}
    for _ in range(900):
        feature = [feature]
    noted = json.dumps({"info": {"features": {"label": feature}}}).encode()
    table = pa.table({"text": ["a"], "label": ["b"]}).replace_schema_metadata({b"huggingface": noted})
    pq.write_table(table, tmp_path / "f.parquet")
    (row,) = formats.read(str(tmp_path / "f.parquet"), wanted=WANTED["classify"]).rows
    assert row.values == {"text": "a", "label": "b"}


@pytest.mark.parametrize("text", ['{"splits": ' + "[" * 100_000, "[" * 100_000, '{"splits": 3}', '{"splits": [3]}'])
def test_a_saved_data_set_may_be_nonsense(text: str, tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text(text)
    with pytest.raises(DataError):
        list(formats.read(str(tmp_path), wanted=WANTED["classify"], labelled=True).rows)


# -- recipes -----------------------------------------------------------------------------------------------------------

LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("task: ner\n" + LAUGHS, 3, "aliases are not allowed"),
        ("task: ner\noptions: &o {a: 1}\ntrainer: {<<: *o}\n", 3, "aliases are not allowed"),
        ("task: ner\ntrainer:\n  <<: {seed: 3}\n", 3, "unknown key 'trainer.<<'"),
        ("task: ner\nseed: !!python/object/apply:os.system ['touch x']\n", 2, "tags are not allowed"),
        ("task: ner\noptions: !!python/name:os.system\n", 2, "tags are not allowed"),
        ("task: ner\n? !!python/object/new:os.system [x]\n: 1\n", 2, "tags are not allowed"),
        ("%TAG ! tag:yaml.org,2002:python/\n---\ntask: !object/apply:os.system [x]\n", 3, "tags are not allowed"),
        ("task: ner\noptions: " + "[" * 100_000 + "\n", 2, "nested too deeply"),
        ("task: ner\noptions: " + "{a: " * 50_000 + "\n", 2, "nested too deeply"),
        ("task: ner\noptions:\n " + "- " * 2000 + "a\n", 3, "nested too deeply"),
        (f"task: ner\nseed: {'9' * 100_000}\n", 2, "a number of more than 100 digits"),
        (f"task: ner\nseed: 0x{'f' * 100_000}\n", 2, "a number of more than 100 digits"),
        (f"task: ner\nholdout: {'9' * 99}\n", 2, "holdout"),
        (f"task: ner\ntrainer: {{learning_rate: {'x' * 100_000}}}\n", 2, "is not float"),
        (f"task: ner\n{'k' * 1000}: 1\n", 2, "unknown key"),
        ("task: ner\nmodel: a\x1b[2Jb\n", 2, "U+001B is not allowed"),
        ("task: ner\n" + "# x\n" * 100_000, 1, "larger than 256 KiB"),
    ],
)
def test_a_recipe_is_bounded_and_runs_nothing(
    text: str, line: int, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(text)
    started = time.perf_counter()
    with pytest.raises(UsageError) as caught:
        load("mine.yaml")
    assert time.perf_counter() - started < 5
    said = str(caught.value)
    assert part in said
    assert len(said) < 2000
    assert f"--> mine.yaml:{line}" in said
    assert os.listdir() == ["mine.yaml"]


def test_a_recipe_of_a_hundred_megabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    with path.open("wb") as file:
        file.truncate(100 * MIB)
    started = time.perf_counter()
    with pytest.raises(UsageError, match="larger than 256 KiB"):
        load(str(path))
    assert time.perf_counter() - started < 1


@pytest.mark.slow
def test_the_largest_recipe_is_read_in_seconds(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for text in ("trainer:\n" + "".join(f"  k{i}: v\n" for i in range(22_000)), f"options: [{'a,' * 120_000}]\n"):
        path.write_text("task: ner\n" + text)
        started = time.perf_counter()
        with pytest.raises(UsageError):
            load(str(path))
        assert time.perf_counter() - started < 20


@pytest.mark.parametrize("value", ["[" * 100_000, "9" * 100_000, "!!python/name:os.system", "*a"])
@pytest.mark.parametrize(
    "key", ["options", "seed", "holdout", "metrics", "trainer.optim_args", "trainer.learning_rate"]
)
def test_overrides_are_bounded_too(key: str, value: str) -> None:
    said = ""
    try:
        load("ner", [f"{key}={value}"])
    except UsageError as error:
        said = str(error)
    assert len(said) < 1000


def test_what_was_looked_at_is_bounded(tmp_path: Path) -> None:
    source = open_source(str(bomb(tmp_path / "f.gz", b"", b"0" * (20 * MIB) + b"\n", times=40)))
    assert len(source.sample(lambda lines: False)) == 4
