"""Split raw text into words, with offsets: `str` in, `Span`s out.

The rule, in the order in which it is tried at each position:

1. white space, other separators and invisible control or format characters separate words and belong to none;
2. an abbreviation of single letters, each with its period, is one word: `U.S.`;
3. an apostrophe with one or two letters that end a word, not open it, is a word of its own: `Amazon` `'s`, `I` `'ll`;
4. a Han character (with its variation marks) is a word of its own, since Chinese puts no spaces between words;
5. letters, marks, digits and underscores run on in one word, and `- . , : / & @ + ' ’` do not end it where one of them
   stands between two such characters: `e-mail`, `3.50`, `03/04/2025`, `O'Brien`; a `@` or `#` may open it: `@user`;
6. anything else is one word per grapheme cluster, so that an emoji with its modifiers stays whole.

Finer than that would still be correct (offsets always point into the original text); coarser would hide boundaries.
"""

from __future__ import annotations

import regex

Span = tuple[int, int]
"""Half-open character offsets `(start, end)`."""

_WORD = regex.compile(
    r"""
      (?P<separator> [\s\p{Z}\p{Cc}\p{Cf}--[\u00ad\u200c\u200d]]+ )
    | (?: \p{L}\p{M}*\. ){2,}
    | (?<=[\p{L}\p{M}\p{N}_]) ['’] \p{L}{1,2} (?![\p{L}\p{M}\p{N}_])
    | \p{Han}\p{M}*
    | [@\#]? CHARS (?: [-.,:/&@+'’] (?<! ['’] (?=\p{L}{1,2}(?![\p{L}\p{M}\p{N}_])) ) CHARS )*
    | \X
    """.replace("CHARS", r"[[\p{L}\p{M}\p{N}_\u00ad\u200c\u200d]--[\p{Han}]]+"),
    regex.VERBOSE | regex.VERSION1,
)


def split_words(text: str) -> list[Span]:
    """Return the half-open character spans of the words of `text`, in order, by the rule of this module."""
    return [match.span() for match in _WORD.finditer(text) if match.lastgroup != "separator"]
