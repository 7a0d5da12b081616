"""Tokens of windows as JSON values, and sums over the tokens of a word."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bertft.inspection.pieces import Seen, Token


def plain(found: Seen, token: Token) -> dict[str, Any]:
    """Return a token as JSON values; specials have no characters."""
    if token.number is None:
        return {"token": token.text, "id": token.id, "special": True}
    return {
        "token": token.text,
        "id": token.id,
        "text": token.number,
        "word": token.word,
        "start": token.start,
        "end": token.end,
        "characters": found.texts[token.number].text[token.start : token.end],
    }


def by_word(found: Seen, values: Iterable[tuple[Token, float]]) -> list[dict[str, Any]]:
    """Return the sum of the values of each word's tokens, in all windows, in the order of the text."""
    sums: dict[tuple[int, int], float] = {}
    for token, value in values:
        if token.number is not None and token.word is not None:
            key = token.number, token.word
            sums[key] = sums.get(key, 0.0) + value
    words = []
    for (number, word), total in sorted(sums.items()):
        start, end = found.texts[number].words[word]
        text = found.texts[number].text[start:end]
        words.append({"text": number, "word": word, "start": start, "end": end, "characters": text, "value": total})
    return words
