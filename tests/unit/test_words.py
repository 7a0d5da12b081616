"""Raw text into words: the documented rule by examples, and what holds for any text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertft.text.words import split_words

quick = settings(max_examples=250)

PIECES = [
    *(
        "a",
        "é",
        "e\u0301",
        "ß",
        "\u0915\u094d\u0937",
        "\u0939\u093f",
        "漢",
        "字",
        "か",
        "カ",
        "한",
        "ا",
        "\u064b",
        "ש",
        "1",
        "٣",
    ),
    *"²_-.,:/&@#+'’\"“”()[]?!€$%☎…—«»",
    *("👍", "👍🏽", "👩\u200d💻", "🇫🇷", "❤\ufe0f", "1\ufe0f\u20e3", "葛\U000e0100"),
]
BLANKS = [" ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u2028", "\u200b", "\ufeff", "\u200e", "\u202e", "\0", "\u3000"]
texts = st.one_of(
    st.text(max_size=30), st.lists(st.sampled_from([*PIECES, *BLANKS, *"\u00ad\u200c\u200d"])).map("".join)
)


def words(text: str) -> list[str]:
    return [text[start:end] for start, end in split_words(text)]


def separates(character: str) -> bool:
    category = unicodedata.category(character)
    return (
        character.isspace()
        or category[0] == "Z"
        or (category in ("Cc", "Cf") and character not in "\u00ad\u200c\u200d")
    )


@quick
@given(text=texts)
def test_spans_ascend_and_lie_in_the_text(text: str) -> None:
    at = 0
    for start, end in split_words(text):
        assert at <= start < end <= len(text)
        at = end


@quick
@given(text=texts)
def test_no_word_holds_white_space(text: str) -> None:
    assert not any(character.isspace() for word in words(text) for character in word)


@quick
@given(text=texts)
def test_every_visible_character_is_in_a_word(text: str) -> None:
    covered = {i for start, end in split_words(text) for i in range(start, end)}
    assert [text[i] for i in range(len(text)) if i not in covered and not separates(text[i])] == []


@quick
@given(text=texts, other=texts)
def test_a_blank_separates_whatever_stands_around_it(text: str, other: str) -> None:
    assert words(f"{text} {other}") == words(text) + words(other)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Paris is nice.", "Paris|is|nice|."),
        ("", ""),
        (" \t\r\n\u2028", ""),
        ("the U.S. army", "the|U.S.|army"),
        ("e.g. this", "e.g.|this"),
        ("J. Smith", "J|.|Smith"),
        ("Amazon's", "Amazon|'s"),
        ("Amazon’s", "Amazon|’s"),
        ("I'll, we've", "I|'ll|,|we|'ve"),
        ("don't", "don|'t"),
        ("O'Brien", "O'Brien"),
        ("O’Brien’s", "O’Brien|’s"),
        ("'s-Hertogenbosch", "'|s-Hertogenbosch"),
        ("the dogs' bowl", "the|dogs|'|bowl"),
        ("'quoted' “text”", "'|quoted|'|“|text|”"),
        ("rock 'n' roll", "rock|'|n|'|roll"),
        ("e-mail", "e-mail"),
        ("well -- no", "well|-|-|no"),
        ("3.50, 1,000 and 03/04/2025", "3.50|,|1,000|and|03/04/2025"),
        ("$3.50 or 20%", "$|3.50|or|20|%"),
        ("AT&T", "AT&T"),
        ("a_b", "a_b"),
        ("C++", "C|+|+"),
        ("me@example.com", "me@example.com"),
        ("@user: #hashtag!", "@user|:|#hashtag|!"),
        ("C# is", "C|#|is"),
        ("https://example.com/a-b?q=1", "https|:|/|/|example.com/a-b|?|q|=|1"),
        ("www.example.com.", "www.example.com|."),
        ("(Paris)", "(|Paris|)"),
        ("wait...", "wait|.|.|."),
    ],
)
def test_western_text(text: str, expected: str) -> None:
    assert words(text) == (expected.split("|") if expected else [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hi👩\u200d👩\u200d👧\u200d👦!", ["hi", "👩\u200d👩\u200d👧\u200d👦", "!"]),
        ("👍🏽👍", ["👍🏽", "👍"]),
        ("🇫🇷🇩🇪", ["🇫🇷", "🇩🇪"]),
        ("❤\ufe0f love", ["❤\ufe0f", "love"]),
        ("1\ufe0f\u20e3 first", ["1\ufe0f\u20e3", "first"]),
        (
            "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f wins",
            ["🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "wins"],
        ),
    ],
)
def test_an_emoji_stays_whole(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cafe\u0301 Zu\u0308rich", ["cafe\u0301", "Zu\u0308rich"]),
        ("मुंबई में बारिश है।", ["मुंबई", "में", "बारिश", "है", "।"]),
        ("क्\u200dष", ["क्\u200dष"]),
        ("می\u200cروم", ["می\u200cروم"]),
        ("co\u00adoperate", ["co\u00adoperate"]),
        ("تعمل شركة أبل في القاهرة.", ["تعمل", "شركة", "أبل", "في", "القاهرة", "."]),
        ("مُحَمَّد", ["مُحَمَّد"]),
        ("שלום, עולם", ["שלום", ",", "עולם"]),
        ("北京很好。", ["北", "京", "很", "好", "。"]),
        ("私はParisへ", ["私", "は" + "Paris" + "へ"]),
        ("서울에서 만나요", ["서울에서", "만나요"]),
        ("葛\U000e0100城", ["葛\U000e0100", "城"]),
    ],
)
def test_other_scripts(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize("mark", ["\u200b", "\ufeff", "\u200e", "\u200f", "\u202e", "\u2060", "\0", "\x7f", "\u00a0"])
def test_an_invisible_character_separates_and_belongs_to_no_word(mark: str) -> None:
    assert split_words(f"{mark}New{mark}York{mark}") == [(1, 4), (5, 9)]
