"""Near-duplicates among many texts, in numpy: shingles of words, MinHash, bands; every pair is then counted exactly.

Broder, "On the resemblance and containment of documents" (1997): the least hash of two sets is the same with a chance
of their Jaccard index. Leskovec et al., "Mining of Massive Datasets" (2014), section 3.4: of `_BANDS` bands of `_ROWS`
hashes each, some band is wholly the same for 99 % of the pairs with an index of 0.8, and for 5 % of those with 0.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import regex

Hashes = npt.NDArray[np.uint64]

NEAR = 0.8
"""The Jaccard index from which two texts are near-duplicates: of eleven words, the last was changed."""
LEAST_WORDS = 5
"""Shorter texts are alike by chance."""
_MOST_WORDS = 128  # of a text that are compared: the beginning of a long one is enough to know it by
_BANDS, _ROWS = 6, 3
_CHUNK = 1 << 19  # shingles whose hashes are made at a time
_MOST_PAIRS = 200_000  # that are counted exactly
_WORD = regex.compile(r"[\w\p{M}]+")  # vowel signs are no letters to the standard library
_MIX = np.uint64(0x9E3779B97F4A7C15)  # the constants of SplitMix64 (Steele et al. 2014)
_MORE = np.uint64(0xBF58476D1CE4E5B9)


def words(text: str) -> list[str]:
    """Return the words that texts are compared by: lower-case, or characters where a script has no blanks."""
    found = _WORD.findall(text.casefold())
    if sum(map(len, found)) > 15 * len(found):  # Chinese, Japanese, Thai
        return list("".join(found)[:_MOST_WORDS])
    return found[:_MOST_WORDS]


def near_duplicates(texts: Sequence[str]) -> Iterator[tuple[int, int, float]]:
    """Yield (earlier, later, Jaccard index) of texts that are nearly the same, each later one at most once.

    The index is over pairs of neighbouring words. Texts of fewer than five words are left out.
    """
    ids: dict[str, int] = {}
    numbers: list[int] = []
    kept: list[int] = []
    lengths: list[int] = []
    for index, text in enumerate(texts):
        found = words(text)
        if len(found) < LEAST_WORDS:
            continue
        kept.append(index)
        lengths.append(len(found))
        numbers += [ids.setdefault(word, len(ids)) for word in found]
    if len(kept) < 2:
        return
    hashes = _mixed(np.array(numbers, dtype=np.uint64) + np.uint64(1))  # (words,)
    ends = np.cumsum(lengths, dtype=np.intp)
    starts = ends - np.array(lengths, dtype=np.intp)
    # of neighbours; the pair of a text's last word with the next text's first is never looked at
    shingles = _mixed(hashes[:-1] * np.uint64(3) + np.roll(hashes, -1)[:-1])
    signatures = _signatures(shingles, starts, ends - 1)
    sets: dict[int, frozenset[int]] = {}

    def members(row: int) -> frozenset[int]:
        if row not in sets:
            sets[row] = frozenset(shingles[starts[row] : ends[row] - 1].tolist())
        return sets[row]

    done: set[int] = set()
    for first, later in _candidates(signatures):
        if later in done:
            continue
        a, b = members(first), members(later)
        shared = len(a & b)
        resemblance = shared / (len(a) + len(b) - shared)
        if resemblance >= NEAR:
            done.add(later)
            yield kept[first], kept[later], resemblance


def _mixed(values: Hashes) -> Hashes:
    mixed = values * _MIX
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MORE
    result: Hashes = mixed ^ (mixed >> np.uint64(27))
    return result


def _signatures(shingles: Hashes, starts: npt.NDArray[np.intp], ends: npt.NDArray[np.intp]) -> Hashes:
    """Return the least hash of each text under each permutation, (texts, bands * rows)."""
    random = np.random.default_rng(0)
    factors = random.integers(1, 2**63, size=_BANDS * _ROWS, dtype=np.uint64) | np.uint64(1)
    result = np.empty((len(starts), len(factors)), dtype=np.uint64)
    begin = 0
    while begin < len(starts):
        until = max(begin + 1, int(np.searchsorted(ends, starts[begin] + _CHUNK)))
        some = shingles[starts[begin] : ends[until - 1]]
        # each text, and what lies between it and the next one
        edges = np.stack((starts[begin:until], ends[begin:until]), axis=1).ravel() - starts[begin]
        for i, factor in enumerate(factors):
            hashed = some * factor
            hashed ^= hashed >> np.uint64(29)
            result[begin:until, i] = np.minimum.reduceat(hashed, edges[:-1])[::2]
        begin = until
    return result


def _candidates(signatures: Hashes) -> Iterator[tuple[int, int]]:
    """Yield pairs of rows with a band in common: each with the first row that has it, and with the one before."""
    pairs = []
    for band in range(_BANDS):
        rows = signatures[:, band * _ROWS : (band + 1) * _ROWS]
        keys = _mixed(_mixed(rows[:, 0]) + rows[:, 1]) * _MIX + rows[:, 2]
        order = np.argsort(keys, kind="stable")
        ranked = keys[order]
        same = np.append(False, ranked[1:] == ranked[:-1])
        first = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))
        later = np.flatnonzero(same)
        pairs.append(np.stack((order[first[later]], order[later]), axis=1))
        pairs.append(np.stack((order[later - 1], order[later]), axis=1))
    found = np.unique(np.concatenate(pairs), axis=0)[:_MOST_PAIRS]  # (pairs, 2), the earliest first
    yield from ((int(a), int(b)) for a, b in found)
