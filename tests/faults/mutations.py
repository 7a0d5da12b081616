"""Files that are wrong: what becomes of right ones by accident, malice or another program; and very long odd ones."""

from __future__ import annotations

import bz2
import copy
import gzip
import json
import lzma
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

_PIECES = (
    *(
        piece.encode()
        for piece in ("\0", "\ufeff", "\r", "\r\n", "\n", "\n\n", "\u2028", "\x85", "\u202e", "\xa0", "\f")
    ),
    *(
        piece.encode()
        for piece in ('"', '""', '"""', "'", ",", ";", "\t", "\t\t", "|", "#", "\\", "{", "}", "[", "]", ":")
    ),
    *(
        piece.encode()
        for piece in ("null", "NaN", "-Infinity", "1e999", "9" * 400, "9" * 5000, "-1", "0x1F", "true", "1.0")
    ),
    *(
        piece.encode()
        for piece in ("B-", "-DOCSTART-", "# newdoc", "__label__", "T1\t", "gold_label", "text", "\\ud800")
    ),
    *(
        piece.encode()
        for piece in ("[" * 90, "[" * 2000, '{"a":' * 300, "١٢", "²", "x" * 9000, "\x1b[2J", "=cmd()", "- 1")
    ),
    *(
        b"\xed\xa0\x80",
        b"\xff",
        b"\xc3",
        b"\xfe\xff",
        b"\xff\xfe",
        b"\x80",
        b"PK\x03\x04",
        b"\x1f\x8b",
        b"PAR1",
        b"BZh9",
    ),
)
_NAMES = """
text label labels tokens tags entities spans annotations completions answer answers cats paragraphs data result value
start end start_offset end_offset choices options accept config sentences raw orth ner annotation_id annotator id type
from_name question context qas is_impossible answer_start title columns rows row version train test dev user rating
was_cancelled ground_truth taxonomy number meta gold_label
"""
_KEYS = (*_NAMES.split(), "", "\n", "prediction", "\x1b[31m", "1", "a\nb", "pred_label")
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 3, 1.5, -0.0, 1e308, float("inf"), float("nan"), 10**30, 2**63),
    *("", " ", "a", "\0", "\ud800", "x y z", "1", "0", "-1", "1,2", "²", "9" * 5000, "[]", "{}", "[[1", "['a', 'b']"),
    *("good", "O", "B-", "B-PER", "not LABEL", "accept", "ignore", "choices", "labels", "x" * 3000, "a\r\nb", "\u2028"),
    *([], {}, [[]], [{}], [None], {"": {}}, [1, 2, "LOC"], [0, 1, "LOC"], {"text": []}, {"a": 1}, [True], ["a", "b"]),
    *({"text": ["a"], "answer_start": [0]}, {"start": 0, "end": 1, "label": "PER"}, {"choices": ["a"]}, [["a", "b"]]),
)


def mutated(data: bytes, rng: random.Random, other: bytes = b"") -> bytes:
    """Return `data` with one to four faults in it; `other` is what it may be spliced with."""
    for _ in range(rng.choice([1, 1, 1, 2, 2, 4])):
        data = rng.choice(_FAULTS)(data, rng, other)
    return data[: 2**16]


def mutated_json(data: bytes, rng: random.Random) -> bytes:
    """Return JSON, a document or lines, with values of other types, keys of other names and whatever else parses."""
    try:
        values = [json.loads(data)]
    except ValueError:
        try:
            values = [json.loads(line) for line in data.splitlines()]
        except ValueError:
            return data
    for _ in range(rng.choice([1, 1, 2, 3])):
        _disturb(values, rng)
    return b"\n".join(json.dumps(value).encode() for value in values)


def _disturb(root: list[Any], rng: random.Random) -> None:
    if not (places := [*_places(root)]):
        return
    container, key = rng.choice(places)
    match rng.randrange(8):
        case 0:
            del container[key]
        case 1 if isinstance(container, dict):
            container[rng.choice(_KEYS)] = container.pop(key)
        case 2 if isinstance(container, dict):
            container[rng.choice(_KEYS)] = copy.deepcopy(rng.choice(_VALUES))
        case 3:
            other, place = rng.choice(places)
            container[key] = copy.deepcopy(other[place])
        case 4:
            for _ in range(rng.choice([1, 3, 60, 400])):
                container[key] = [container[key]] if rng.random() < 0.8 else {rng.choice(_KEYS): container[key]}
        case 5 if isinstance(container, list):
            container.insert(rng.randrange(len(container) + 1), copy.deepcopy(rng.choice(_VALUES)))
        case _:
            container[key] = copy.deepcopy(rng.choice(_VALUES))


def _places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list) and depth < 20:
        for key in [*value] if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key], depth + 1)


# -- faults of bytes ------------------------------------------------------------------------------------------------


def _flip(data: bytes, rng: random.Random, other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 3, 10])):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random, other: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] if rng.random() < 0.8 else data[at:]


def _insert(data: bytes, rng: random.Random, other: bytes) -> bytes:
    at = rng.choice([0, len(data), rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)])
    return data[:at] + rng.choice(_PIECES) + data[at:]


def _replace(data: bytes, rng: random.Random, other: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(_PIECES) + data[at + rng.choice([1, 1, 4, 20]) :]


def _by_lines(data: bytes, rng: random.Random, other: bytes) -> bytes:
    lines = data.splitlines(keepends=True) or [b""]
    at = rng.randrange(len(lines))
    match rng.randrange(6):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, rng.choice(lines))
        case 2:
            lines[at:at] = [rng.choice(_PIECES) + b"\n"] * rng.choice([1, 1, 50])
        case 3:
            rng.shuffle(lines)
        case 4:
            lines[at] = lines[at].strip()
        case _:
            lines[at] = lines[at].replace(rng.choice([b"\t", b" ", b",", b'"']), rng.choice(_PIECES))
    return b"".join(lines)


def _exchange(data: bytes, rng: random.Random, other: bytes) -> bytes:
    return data.replace(rng.choice([b'"', b"'", b",", b"\t", b" ", b"\n", b"O", b":", b"["]), rng.choice(_PIECES))


def _recoded(data: bytes, rng: random.Random, other: bytes) -> bytes:
    codec = rng.choice(
        ["utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252", "utf-8-sig", "utf-32", "cp500", "utf-7"]
    )
    return data.decode("utf-8", "replace").encode(codec, "replace")


def _spliced(data: bytes, rng: random.Random, other: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _repeated(data: bytes, rng: random.Random, other: bytes) -> bytes:
    start = rng.randrange(len(data) + 1)
    piece = data[start : start + rng.choice([1, 5, 50])]
    return data[:start] + piece * rng.choice([2, 20, 200]) + data[start:]


_FAULTS: tuple[Callable[[bytes, random.Random, bytes], bytes], ...] = (
    *(_flip, _flip, _cut, _insert, _insert, _insert, _replace, _replace, _by_lines, _by_lines),
    *(_exchange, _recoded, _spliced, _repeated),
)


def compressed(data: bytes, rng: random.Random) -> bytes:
    """Return `data` as one of the compressed forms that are read."""
    import pyarrow as pa

    zstd: Callable[[bytes], bytes] = lambda raw: pa.compress(raw, "zstd", asbytes=True)  # noqa: E731
    return rng.choice([gzip.compress, bz2.compress, lzma.compress, zstd])(data)


# -- a megabyte -----------------------------------------------------------------------------------------------------

_ATOMS = (
    *(
        '"',
        '""',
        '"x',
        'x"',
        '"x,',
        '","',
        ",",
        ";",
        "\t",
        "|",
        " ",
        "\n",
        "\n",
        "\n",
        "\r\n",
        "a",
        "a b",
        "B-X",
        "O",
        "1",
    ),
    *(
        "{",
        "}",
        "[",
        "]",
        '{"a":',
        ":",
        "{}",
        "[]",
        "# ",
        "- ",
        "? ",
        "-DOCSTART-",
        "__label__a ",
        "T1\t",
        "\\",
        "\\u0041",
    ),
    *(
        "\x85",
        "\u2028",
        "\ufeff",
        "é",
        "東",
        "'",
        "(",
        "x|O",
        ".",
        "-",
        "_",
        "0.",
        "e",
        "&",
        "*",
        "!",
        "%",
        "@",
        "`",
        "\x1b",
    ),
    *("text,label\n", '{"text": "a", "label": "b"}\n', "a\tB-X\n", "x: y\n", '"a""b', "\n\n\n"),
)


def long(rng: random.Random, size: int = 10**6) -> bytes:
    """Return about a megabyte: a few pieces, over and over again, behind a short beginning and before a short end."""
    start, unit, end = (
        "".join(rng.choices(_ATOMS, k=rng.choice(counts))) for counts in ((0, 1, 3), (1, 1, 2, 3, 5), (0, 2))
    )
    if rng.random() < 0.3:  # a few very long lines
        unit = unit.replace("\n", "")
    body = unit * (size // max(1, len(unit.encode())))
    return (start + body + end).encode()


def plain_long(size: int = 10**6) -> Sequence[tuple[str, bytes]]:
    """Return the megabytes that are always tried: of quotes, brackets, blank lines, tabs, one line, nested JSON."""
    return [
        *((name, mark.encode() * (size // len(mark.encode()))) for name, mark in _MARKS.items()),
        ("nested", b"[" * (size // 2) + b"]" * (size // 2)),
        ("nested objects", b'{"a":' * (size // 6) + b"1" + b"}" * (size // 6)),
        ("one text", b'{"text": "' + b"x" * size + b'", "label": "a"}'),
        ("many fields", b"{" + b",".join(b'"%d":1' % i for i in range(size // 11)) + b"}"),
        ("a number", b'{"text": "a", "label": ' + b"9" * size + b"}"),
        ("open quotes", b'text,label\n"open\n' + b'""\n' * (size // 3)),
        ("a quote, then doubled ones", b'text,label\n"x\n' + (b'x""x' * 250 + b"\n") * (size // 1000)),
        ("cells that close and open", b'text,label\n"x\n' + (b'x","x' * 200 + b"\n") * (size // 1000)),
        ("short ones", b'text,label\n"x\n' + b'","\n' * (size // 4)),
        ("blank lines, then text", b"\n" * size + b"text\tlabel\n"),
    ]


_MARKS = {
    "quotes": '"',
    "quotes on lines": '"\n',
    "open cells": '"a,',
    "brackets": "[",
    "braces": "{",
    "blank lines": "\n",
    "tabs": "\t",
    "commas": ",",
    "one line": "x",
    "words": "x ",
    "no-break spaces": "\xa0",
    "bars": "a|O ",
    "tags": "a\tO\n",
    "labels": "__label__a ",
    "returns": "\r",
    "marks": "\ufeff",
    "digits": "1",
    "yaml list": "- a\n",
    "yaml keys": "a: b\n",
    "backslashes": "\\",
}
