"""Near-duplicates: MinHash finds what comparing every pair finds."""

from __future__ import annotations

import random

import pytest

from bertft.check.similar import NEAR, near_duplicates, words

WORDS = [f"word{i}" for i in range(300)]


def resemblance(one: str, other: str) -> float:
    a, b = ({*zip(words(text), words(text)[1:], strict=False)} for text in (one, other))
    return len(a & b) / len(a | b)


@pytest.mark.parametrize("seed", range(3))
def test_what_every_pair_shows_is_found(seed: int) -> None:
    draw = random.Random(seed)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(5, 30))) for _ in range(150)]
    for text in texts[:60]:
        changed = text.split()
        for _ in range(draw.randint(0, 2)):
            changed[draw.randrange(len(changed))] = draw.choice(WORDS)
        texts.append(" ".join(changed))
    near = {later for first, later, _ in near_duplicates(texts)}
    true = {
        later for later in range(len(texts)) if any(resemblance(texts[i], texts[later]) >= NEAR for i in range(later))
    }
    assert near <= true
    assert len(near) >= 0.95 * len(true)
    for first, later, index in near_duplicates(texts):
        assert first < later
        assert index == pytest.approx(resemblance(texts[first], texts[later]))


def test_case_and_punctuation_make_no_difference() -> None:
    found = list(near_duplicates(["Who pays for the broken window, then?", "who pays for the BROKEN window then"]))
    assert found == [(0, 1, 1.0)]


def test_texts_without_blanks_are_compared_by_character() -> None:
    found = [*near_duplicates(["这是一个关于天气预报的很长的句子没有空格", "这是一个关于天气预报的很长的句子没有空"])]
    assert [(a, b) for a, b, _ in found] == [(0, 1)]


def test_vowel_signs_are_of_their_word() -> None:
    assert words("శర్మగారు వెళ్ళేది") == ["శర్మగారు", "వెళ్ళేది"]


@pytest.mark.parametrize("texts", [[], ["one"], ["a b c", "a b c"], [""] * 3])
def test_short_texts_are_not_compared(texts: list[str]) -> None:
    assert list(near_duplicates(texts)) == []
