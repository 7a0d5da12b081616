"""Pairs of neighbouring texts of one document, half of them spoiled, from which a model learns what goes with what.

Next sentence prediction (Devlin et al., "BERT", NAACL 2019, section 3.1, task 2): half of the second texts come from
another document. Sentence order prediction (Lan et al., "ALBERT", ICLR 2020, section 3.1): half of the pairs are
swapped. A chunk is some sentences of one document that fit into a window together; its pair is cut anew at each draw.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, Self

import numpy as np

Told = Literal["nsp", "sop"]
"""What is told of a pair: whether the second text follows the first one, or in which order the two stand."""
RIGHT, SPOILED = 0, 1
"""The label of a pair as it stands in its document, and of another; those of transformers' models."""

_END = re.compile(r"(?<=[.!?…])[\"'”’»)\]]*\s+|(?<=[。！？।])[”’」』]*\s*|[\r\n]+")
_LEAST = 0.75


def sentences(text: str) -> list[str]:
    """Return the sentences of a text: what ends with a full stop and the like, or with a line."""
    ends = [found.end() for found in _END.finditer(text)]
    return [sentence for a, b in pairwise([0, *ends, len(text)]) if (sentence := text[a:b].strip())]


class Chunk(NamedTuple):
    """Token ids, their units (`text/masking.py`), and where sentences begin: at 0 the first one."""

    ids: list[int]
    units: list[int]
    starts: list[int]

    def cut(self, start: int, end: int) -> tuple[list[int], list[int]]:
        """Return the ids and units of some of the tokens."""
        return self.ids[start:end], self.units[start:end]

    @classmethod
    def joined(cls, parts: Sequence[tuple[list[int], list[int]]]) -> Self:
        """Return the chunk of sentences, each of its ids and its units, which count from 0 in each."""
        ids: list[int] = []
        units: list[int] = []
        starts: list[int] = []
        for more, own in parts:
            starts.append(len(ids))
            units += shifted(own, units)
            ids += more
        return cls(ids, units, starts)


def shifted(units: Sequence[int], before: Sequence[int]) -> list[int]:
    """Return units that none of `before` is one of; those that are not chosen (less than 0) stay as they are."""
    first = max(before, default=-1) + 1
    return [unit if unit < 0 else unit + max(first, 0) for unit in units]


class Pair(NamedTuple):
    """Two texts, each of its ids and its units, and whether they are RIGHT or SPOILED."""

    first: tuple[list[int], list[int]]
    second: tuple[list[int], list[int]]
    label: int


def chunks(parts: Sequence[tuple[list[int], list[int]]], room: int) -> list[Chunk]:
    """Return the sentences of a document in chunks of two and more, of `room` tokens at most; none of one sentence.

    A sentence that is longer than half of the room counts as several. One that is left over at the end takes the one
    before it along: no other is in two chunks.
    """
    half = room // 2
    pieces = [(ids[a : a + half], units[a : a + half]) for ids, units in parts for a in range(0, len(ids), half) if ids]
    if len(pieces) < 2:
        return []
    ends, tokens = [], 0
    for i, (ids, _) in enumerate(pieces):
        if tokens + len(ids) > room:
            ends.append(i)
            tokens = 0
        tokens += len(ids)
    ranges = list(pairwise([0, *ends, len(pieces)]))
    if ranges[-1][1] - ranges[-1][0] == 1:
        ranges[-1] = len(pieces) - 2, len(pieces)
    return [Chunk.joined(pieces[a:b]) for a, b in ranges]


def draw(told: Told, own: Chunk, stranger: Chunk | Callable[[int], Chunk], random: np.random.Generator) -> Pair:
    """Return a pair of a chunk, cut at one of its sentences; every other one is SPOILED, by chance.

    `stranger` is of another document, or returns what is, with so many tokens if it can. A second text is cut to a
    length that is drawn before it is known whose it is, so that neither its length nor how it ends tells that.
    """
    start = own.starts[random.integers(1, len(own.starts))]
    first, second = own.cut(0, start), own.cut(start, len(own.ids))
    label = int(random.integers(2))
    if told == "sop":
        return Pair(second, first, label) if label == SPOILED else Pair(first, second, label)
    size = len(second[0])
    size = int(random.integers(max(1, int(_LEAST * size)), max(2, size)))
    other = stranger if isinstance(stranger, Chunk) else stranger(size) if label == SPOILED else own
    if label == RIGHT or not other.ids:
        return Pair(first, (second[0][:size], second[1][:size]), RIGHT)
    starts = [start for start in other.starts if start + size <= len(other.ids)] or [0]
    start = starts[random.integers(len(starts))]
    return Pair(first, other.cut(start, start + size), label)
