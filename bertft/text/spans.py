"""Spans of characters and spans of tokens: which tokens an answer is in, and which spans score best."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Indices = npt.NDArray[np.intp]

_SPACE = re.compile(r"\s")  # for texts the same as str.isspace, by which str.strip goes


def without_blanks(offsets: Sequence[tuple[int, int]], text: str) -> array[int]:
    """Return the start and end character of each token, without the white space at its edges: flat, two a token.

    A token of white space alone, or of nothing, ends where it starts. Tokenizers differ in whether a word's token
    begins at the blank before it.
    """
    pairs = np.array(offsets, dtype=np.intc).reshape(-1, 2)  # (tokens, 2)
    blanks = [match.start() for match in _SPACE.finditer(text)]
    if blanks:
        positions = np.arange(len(text) + 1, dtype=np.intc)
        solid = np.ones(len(text), dtype=bool)
        solid[blanks] = False
        # (characters + 1,): the first solid character from there on, and the end of the last one before
        after = np.minimum.accumulate(np.where(np.append(solid, True), positions, len(text))[::-1])[::-1]
        before = np.maximum.accumulate(np.where(np.append(True, solid), positions, 0))
        starts = after[pairs[:, 0]]
        pairs = np.stack((starts, np.maximum(before[pairs[:, 1]], starts)), axis=1)
    return _flat(pairs)


def edges(spans: Sequence[int]) -> array[int]:
    """Return `spans` (flat, as `without_blanks` returns them) with -1 for a start or an end that no answer may have.

    Of several tokens that begin with the same character, as the bytes of one do, only the first can begin an answer,
    and only the last of those that end with the same one can end it; a token of nothing can do neither. So two answers
    differ in their characters, and an answer's end is behind its start, even where a normaliser has changed the order.
    """
    starts, ends = _pairs(spans)  # (tokens,) each
    solid = starts < ends
    earlier = np.append(-1, np.maximum.accumulate(np.where(solid, starts, -1)))[:-1]
    highest = np.maximum.accumulate(np.where(solid, ends, -1))
    far = np.iinfo(np.intc).max
    later = np.append(np.minimum.accumulate(np.where(solid, ends, far)[::-1])[::-1], far)[1:]
    first = np.where(solid & (starts > earlier), starts, -1)
    last = np.where(solid & (ends < later) & (ends == highest), ends, -1)
    return _flat(np.stack((first, last), axis=1))


def tokens_of(spans: Sequence[int], start: int, end: int) -> tuple[int, int] | None:
    """Return the first and the last token of the shortest answer that has all tokens with any of the characters.

    None where no token has one, or no answer has them all. `spans` are flat, as `without_blanks` returns them.
    """
    starts, ends = _pairs(spans)
    found = np.flatnonzero((starts < ends) & (ends > start) & (starts < end))
    if not len(found):
        return None
    firsts, lasts = (np.flatnonzero(edge >= 0) for edge in _pairs(edges(spans)))
    before, behind = firsts[firsts <= found[0]], lasts[lasts >= found[-1]]
    return (int(before[-1]), int(behind[0])) if len(before) and len(behind) else None


def _pairs(spans: Sequence[int]) -> tuple[npt.NDArray[np.intc], npt.NDArray[np.intc]]:
    pairs = np.asarray(spans, dtype=np.intc).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _flat(pairs: npt.NDArray[np.intc]) -> array[int]:
    flat: array[int] = array("i")
    flat.frombytes(np.ascontiguousarray(pairs, dtype=np.intc).tobytes())
    return flat


def best_spans(starts: Floats, ends: Floats, *, longest: int, count: int) -> tuple[Indices, Indices, Floats]:
    """Return first token, last token and score, (windows, spans) each, of the `count` best spans of every window.

    A score is `starts[window, first] + ends[window, last]`, both (windows, tokens), of at most `longest` tokens. In
    each window the best come first, of equal ones the earlier and shorter. Where it has fewer than others, and where
    none has any, a score of -inf stands for no span; so it does in `starts` and `ends`, without NaN and inf.

    The spans of a window begin at the `count` tokens whose best span is best: any other is worse than that many. So the
    pairs that are looked at are `count * longest` a window.
    """
    windows, tokens = starts.shape
    longest = max(1, min(longest, tokens))
    # behind each window as many places of -inf as its spans could reach, so that all windows are one row
    width = max(tokens + longest - 1, 1)
    padded = np.full((2, windows, width), -np.inf, dtype=starts.dtype)
    padded[0, :, :tokens], padded[1, :, :tokens] = starts, ends
    begins, stops = padded.reshape(2, -1)
    highest, reach = stops, 1  # of the ends from a token on, as many as `reach` of them
    while reach < longest:
        step = min(reach, longest - reach)
        nearer, highest = highest, highest.copy()
        np.maximum(nearer[:-step], nearer[step:], out=highest[:-step])
        reach += step
    first = _highest((begins + highest).reshape(windows, width), min(count, width))  # where the best span is best
    last = first[:, :, None] + np.arange(longest)
    scores = begins.take(first)[:, :, None] + stops.take(last, mode="clip")  # (windows, begins, longest)
    every = first.shape[1] * longest
    spans = _highest(scores.reshape(windows, every), min(count, every))
    found = scores.take(spans)
    order = np.argsort(-found, axis=1, kind="stable") + np.arange(windows)[:, None] * spans.shape[1]
    chosen, more = np.divmod(spans.take(order), longest)
    first = first.take(chosen) - np.arange(windows)[:, None] * width
    return first, first + more, found.take(order)


def _highest(values: Floats, count: int) -> Indices:
    """Return where the `count` highest values of each row stand in all of them, (rows, count), in the rows' order.

    Of equal values the first are taken. Rows have no less than `count`.
    """
    nth = np.partition(values, -count, axis=1)[:, -count, None]
    chosen = np.flatnonzero(values >= nth)
    if len(chosen) > count * len(values):  # more than one is the last
        higher, equal = values > nth, values == nth
        room = count - higher.sum(axis=1, keepdims=True)
        chosen = np.flatnonzero(higher | (equal & (equal.cumsum(axis=1) <= room)))
    return chosen.reshape(len(values), count)
