"""Which tokens are masked, and by what: the rates of Devlin et al. 2019, section 3.1, over a million tokens."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bertft.text.masking import FIXED, Masking

SPECIAL = (0, 1, 2, 3, 4)
MASK = 4
VOCABULARY = 1000
MASKING = Masking(MASK, np.arange(len(SPECIAL), VOCABULARY))
TOKENS = 1_000_000


def within(count: int, total: int, rate: float, *, spread: float | None = None) -> bool:
    """Say whether a count is within four standard deviations of what is expected."""
    deviation = math.sqrt(total * rate * (1 - rate)) if spread is None else spread
    return abs(count - total * rate) <= 4 * deviation


@pytest.fixture(scope="module")
def text() -> tuple[np.ndarray, np.ndarray]:
    """Ids of a million tokens, a tenth of them special, and the unit of each: itself."""
    random = np.random.default_rng(5)
    ids = random.integers(len(SPECIAL), VOCABULARY, TOKENS)
    ids[random.random(TOKENS) < 0.1] = random.choice(SPECIAL)
    return ids, np.where(ids < len(SPECIAL), FIXED, np.arange(TOKENS))


@pytest.mark.parametrize("share", [0.15, 0.4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rates_are_those_of_the_paper(text: tuple[np.ndarray, np.ndarray], share: float, seed: int) -> None:
    ids, units = text
    shown, chosen = Masking(MASK, MASKING.ordinary, share).apply(ids, units, np.random.default_rng(seed))
    assert within(len(chosen), int((units != FIXED).sum()), share)
    masked = int((shown[chosen] == MASK).sum())
    assert within(masked, len(chosen), 0.8)
    # a random token is the same one by chance once in a vocabulary
    same = 1 / len(MASKING.ordinary)
    assert within(int((shown[chosen] == ids[chosen]).sum()), len(chosen), 0.1 + 0.1 * same)
    others = shown[chosen][(shown[chosen] != MASK) & (shown[chosen] != ids[chosen])]
    assert within(len(others), len(chosen), 0.1 * (1 - same))


def test_specials_are_never_chosen_and_never_put_in(text: tuple[np.ndarray, np.ndarray]) -> None:
    ids, units = text
    shown, chosen = MASKING.apply(ids, units, np.random.default_rng(7))
    assert not np.isin(ids[chosen], SPECIAL).any()
    changed = np.flatnonzero(shown != ids)
    assert {*changed.tolist()} <= {*chosen.tolist()}
    put_in = shown[changed]
    assert not np.isin(put_in[put_in != MASK], SPECIAL).any()
    assert {*put_in.tolist()} > {*range(len(SPECIAL), VOCABULARY)}  # and each of the others is, of so many


def test_tokens_of_a_word_are_chosen_together() -> None:
    random = np.random.default_rng(11)
    lengths = random.integers(1, 5, TOKENS // 4)
    units = np.repeat(np.arange(len(lengths)), lengths)
    ids = random.integers(len(SPECIAL), VOCABULARY, len(units))
    shown, chosen = MASKING.apply(ids, units, np.random.default_rng(0))
    words = np.unique(units[chosen])
    assert within(len(words), len(lengths), 0.15)
    assert len(chosen) == lengths[words].sum()
    spread = math.sqrt(0.15 * 0.85 * (lengths.astype(float) ** 2).sum())
    assert within(len(chosen), len(ids), 0.15, spread=spread)
    assert within(int((shown[chosen] == MASK).sum()), len(chosen), 0.8)  # each token by itself


def test_masks_follow_from_the_seed() -> None:
    ids = np.arange(5, 500)
    units = np.arange(len(ids))
    first, second = (MASKING.apply(ids, units, np.random.default_rng([13, 2, 7])) for _ in range(2))
    assert (first[0] == second[0]).all()
    assert (first[1] == second[1]).all()
    other, _ = MASKING.apply(ids, units, np.random.default_rng([13, 3, 7]))
    assert (first[0] != other).any()


def test_nothing_but_specials_is_left_alone() -> None:
    shown, chosen = MASKING.apply([2, 3], [FIXED, FIXED], np.random.default_rng(0))
    assert shown.tolist() == [2, 3]
    assert not len(chosen)
