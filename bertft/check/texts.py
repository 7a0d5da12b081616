"""Texts: empty ones, markup, letters of the wrong encoding, invisible characters; and which scripts they are in."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from bertft.check.findings import Finding, Part, Record, by_share, finding
from bertft.errors import inline

_HTML = re.compile(
    r"&(?:[a-zA-Z]{2,8}|#\d{2,6}|#x[0-9a-fA-F]{2,5});"
    r"|</?(?:a|b|br|p|i|u|em|strong|div|span|li|ul|ol|td|tr|table|h[1-6]|font|img|script|style)\b[^<>]*>",
    re.IGNORECASE,
)
# What UTF-8 becomes when it is read as Latin-1 or cp1252: a lead byte's letter, then what a continuation byte is there.
_MOJIBAKE = re.compile("[\u00c2\u00c3][\u0080-\u00bf\u20ac\u201a\u0192\u201e\u2026\u2020\u2021\u2030\u0160\u2039\u0152"
                       "\u017d\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u017e\u0178]"
                       "|\u00e2\u20ac[\u0080-\u00bf\u2122\u0153\u02dc\u00a6\u201c\u201d\u2019\u017d\u00a2]"
                       "|\u00e0[\u00a4\u00a5\u00b0\u00b1\u00ae\u00af][\u0080-\u00bf\u20ac\u2018-\u2122]")  # fmt: skip
# Not tab and line ends; of format characters those that show nothing or turn the text, not joiners and variation marks.
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
)
_REPLACED = re.compile("\ufffd")
_SIGNS = (
    ("text-html", _HTML, "have HTML"),
    ("text-mojibake", _MOJIBAKE, "were decoded with a wrong encoding"),
    ("text-replaced", _REPLACED, "have U+FFFD in place of a letter"),
    ("text-control", _CONTROL, "have control or invisible characters"),
)
_LETTERS = 20_000  # that tell the scripts


def check_texts(part: Part) -> list[Finding]:
    """Return what is wrong with the texts of one file: one finding a kind, at the first row that has it."""
    found = [*_empty(part.records)]
    for code, pattern, what in _SIGNS:
        met = [(record, match) for record in part.records if (match := pattern.search(record.text))]
        if met:
            record, match = met[0]
            begin = max(match.start() - 15, 0)
            shown = inline(record.text[begin : match.end() + 15])
            message = f"{len(met):,} of {len(part.records):,} texts {what}, the first {match.group()!r} in “{shown}”"
            severity = by_share(len(met), len(part.records))
            found.append(finding(code, severity, message, at=record.place, id=record.id))
    return found


def _empty(records: Sequence[Record]) -> Iterator[Finding]:
    for record in records:
        if not record.text.strip():
            yield finding("text-empty", "warning", "the text is empty", at=record.place, id=record.id)


def scripts(texts: Iterable[str]) -> dict[str, float]:
    """Return the shares of Unicode scripts among the first letters of texts, the largest first: `LATIN`, `TELUGU`."""
    counts: Counter[str] = Counter()
    for text in texts:
        for char, count in Counter(text).items():
            if char.isalpha():
                counts[_script(char)] += count
        if counts.total() >= _LETTERS:
            break
    total = counts.total()
    return {script: count / total for script, count in counts.most_common()}


@cache
def _script(char: str) -> str:
    # the standard library has no script property, but characters are named after theirs
    name = unicodedata.name(char, "UNKNOWN").split()[0]
    return {"CJK": "HAN", "HIRAGANA": "KANA", "KATAKANA": "KANA"}.get(name, name)
