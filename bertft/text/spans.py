"""Spans of characters and spans of tokens: which tokens an answer is in, and which spans score best."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
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


def best_spans(starts: Floats, ends: Floats, *, longest: int, count: int) -> tuple[Indices, Indices, Indices, Floats]:
    """Return window, first token, last token and score, (spans,) each, of the `count` best spans of every window.

    A score is `starts[window, first] + ends[window, last]`, both (windows, tokens), of at most `longest` tokens; spans
    of -inf are none. Windows in order, in each the best first; of equal ones the earlier and shorter.

    The spans of a window begin at the `count` tokens whose best span is best: any other is worse than that many. So the
    pairs that are looked at are `count * longest` a window, ties aside.
    """
    windows, tokens = starts.shape
    longest = min(longest, tokens)
    if not windows or not longest:
        nothing = np.zeros(0, dtype=np.intp)
        return nothing, nothing, nothing, np.zeros(0)
    width = tokens + longest - 1
    padded = np.full((windows, width), -np.inf)
    padded[:, :tokens] = ends
    highest = padded.copy()  # of the ends from a token on, as many as `reach` of them
    reach = 1
    while reach < longest:
        step = min(reach, longest - reach)
        np.maximum(highest[:, :-step], highest[:, step:], out=highest[:, :-step])
        reach += step
    highest = starts + highest[:, :tokens]  # the best span that begins at each token
    chosen = highest >= _nth(highest, count)
    most = max(1, int(chosen.sum(axis=1).max()))  # ties are more than `count`
    begins = np.argsort(~chosen, axis=1, kind="stable")[:, :most]  # (windows, begins): the chosen ones in order
    rows = np.arange(windows)[:, None]
    lasts = (begins + rows * width)[:, :, None] + np.arange(longest)
    scores = (starts[rows, begins][:, :, None] + padded.ravel()[lasts]).reshape(windows, -1)
    spans = np.flatnonzero(scores >= _nth(scores, count))
    window, first, more = np.unravel_index(spans, lasts.shape)
    found, first = scores.ravel()[spans], begins[window, first]
    order = np.lexsort((-found, window))
    sizes = np.bincount(window, minlength=windows)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = order[rank < count]
    return window[kept], first[kept], first[kept] + more[kept], found[kept]


def _nth(values: Floats, n: int) -> Floats:
    """Return the n-th highest value of each row, (rows, 1), or the lowest of fewer; never -inf."""
    n = min(n, values.shape[1])
    return np.maximum(np.partition(values, -n, axis=1)[:, -n, None], np.finfo(np.float64).min)


def log_sums(scores: Floats, window: Indices, windows: int) -> Floats:
    """Return the log of the sum of exponentials of each window's scores, (windows,): -inf for one without any.

    `scores` and `window`, whose each one is, are (spans,), windows in order, in each the best first.
    """
    begins = np.searchsorted(window, np.arange(windows))
    some = np.bincount(window, minlength=windows) > 0
    highest = np.full(windows, -np.inf)
    highest[some] = scores[begins[some]]
    sums = np.bincount(window, np.exp(scores - highest[window]), minlength=windows)
    totals = highest.copy()
    totals[some] += np.log(sums[some])
    return totals
