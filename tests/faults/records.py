"""Numbered records in each format that is answered in a format of its own, sound and broken, and what came of them.

The number of a record is in its text, and so in its answer: what was lost, doubled or moved shows.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from random import Random

SENTENCES = (
    "Ada Stone lives in Paris .",
    "Blue River Bank hired Li last week .",
    "They moved from New Haven to work for Zenith .",
    "Rome",
    "Nobody knew why the old clock in Lima stopped at noon , but everyone was late .",
)

Answer = tuple[int | None, bool]
"""The number of the record, None where the answer does not keep it, and whether it was answered."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A format: its name, what stands before the records, records by number, and how its answers are read."""

    name: str
    head: bytes
    sound: Callable[[int], bytes]
    broken: tuple[bytes, ...]
    """Records that cannot be used; `@` stands for the number."""
    answers: Callable[[Iterable[bytes]], Iterator[Answer]]

    def broken_one(self, number: int, random: Random) -> bytes:
        """Return a broken record."""
        return random.choice(self.broken).replace(b"@", str(number).encode())

    def stream(self, count: int, *, faults: frozenset[int] = frozenset(), seed: int = 0) -> bytes:
        """Return a file of `count` records of which those numbered `faults` are broken."""
        random = Random(seed)
        records = (self.broken_one(i, random) if i in faults else self.sound(i) for i in range(count))
        return self.head + b"".join(records)


def tagger(folder: Path) -> Path:
    """Train a tiny tagger into the folder and return its directory."""
    import bertft
    from bertft import console
    from tests import tiny

    console.set_level(console.QUIET)
    tiny.build("bert-uncased", folder / "base")
    data = folder / "train.conll"
    data.write_text(tiny.conll(tiny.sentences()), encoding="utf-8")
    recipe = bertft.load_recipe("ner", [f"model={folder / 'base'}", "trainer.num_train_epochs=2"])
    bertft.train(recipe, data=str(data), dev=str(data), out=str(folder / "model"), device="cpu")
    return folder / "model"


def _text(number: int) -> str:
    return f"{number} {SENTENCES[number % len(SENTENCES)]}"


def _of_json(lines: Iterable[bytes]) -> Iterator[Answer]:
    for line in lines:
        record = json.loads(line)
        number = record.get("id")
        text = record.get("text")
        if number is None and isinstance(text, str) and text.partition(" ")[0].isdigit():
            number = int(text.partition(" ")[0])
        yield number, record["prediction"] is not None


def _of_table(delimiter: str) -> Callable[[Iterable[bytes]], Iterator[Answer]]:
    def read(lines: Iterable[bytes]) -> Iterator[Answer]:
        rows = csv.reader((line.decode("latin-1") for line in lines), delimiter=delimiter)
        next(rows, None)
        for row in rows:
            yield int(row[0]), bool(row[-1])

    return read


def _of_columns(lines: Iterable[bytes]) -> Iterator[Answer]:
    for filled, group in groupby(lines, lambda line: bool(line.strip())):
        if filled:
            fields = next(group).split()
            yield int(fields[0]), fields[-1] != b"_"
            for _ in group:
                pass


def _columns(number: int) -> bytes:
    return "".join(f"{word}\tO\n" for word in _text(number).split()).encode() + b"\n"


def _json_line(number: int) -> bytes:
    return json.dumps({"id": number, "text": _text(number)}).encode() + b"\n"


KINDS = {
    kind.name: kind
    for kind in (
        Kind("text", b"", lambda i: f"{_text(i)}\n".encode(), (b"@ caf\xe9\n", b"@ \xff\xfe x\n"), _of_json),
        Kind(
            "jsonl",
            b"",
            _json_line,
            (
                b'{"id": @}\n',
                b'{"id": @, "text": 5}\n',
                b'{"id": @, "text": "cut o\n',
                b'{"id": @, "text": "caf\xe9"}\n',
                b'{"id": @, "text": "x", "prediction": 1}\n',
                b"[@]\n",
                b"{@}\n",
            ),
            _of_json,
        ),
        Kind(
            "csv",
            b"id,text\n",
            lambda i: f'{i},"{_text(i)}"\n'.encode(),
            (b"@\n", b"@,a,b,c\n", b"@,caf\xe9\n"),
            _of_table(","),
        ),
        Kind(
            "tsv",
            b"id\ttext\n",
            lambda i: f"{i}\t{_text(i)}\n".encode(),
            (b"@\n", b"@\ta\tb\tc\n", b"@\tcaf\xe9\n"),
            _of_table("\t"),
        ),
        Kind(
            "conll",
            b"",
            _columns,
            (b"@\tO\tO\nRome\tO\n\n", b"@\tO\nRome\n\n", b"@\tO\ncaf\xe9\tO\n\n"),
            _of_columns,
        ),
    )
}
