"""Windows with what each of their tokens was made of. A task's own `features` cuts them; nothing is cut here.

Ids carry where they come from through `features`, which only slices and joins them: `Piece` is an int with a memory.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bertft.encoders.subwords import EncodedText, EncodedWords, SubwordTokenizer, Template
from bertft.tasks.base import Counts, Task, Window, WindowSize
from bertft.text.words import Span, split_words


@dataclass(frozen=True, slots=True)
class Source:
    """A text that was encoded: its words and sub-tokens by their characters, in the text as it was given.

    `own` says whether the words were given to the tokenizer, one by one; then `first` has each one's first sub-token.
    """

    text: str
    words: Sequence[Span]
    offsets: Sequence[Span]
    own: bool = False
    first: Sequence[int] = ()

    def word(self, piece: int) -> int | None:
        """Return the word that a sub-token belongs to; None for one of blanks only."""
        if self.own:
            return bisect_right(self.first, piece) - 1
        start, end = self.offsets[piece]
        while start < end and self.text[start].isspace():
            start += 1
        at = bisect_right(self.words, (start, len(self.text) + 1)) - 1
        return at if start < end and at >= 0 and start < self.words[at][1] else None


class Piece(int):
    """The id of a sub-token, with its source and its number in it."""

    source: Source
    index: int

    @classmethod
    def of(cls, value: int, source: Source, index: int) -> Piece:
        """Return the id `value` as the sub-token `index` of a source."""
        piece = cls(value)
        piece.source, piece.index = source, index
        return piece


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a window. `number` says which of the row's texts it is of, from 0; specials have none, nor a word.

    `start` and `end` are characters of that text. `special` stands for [CLS] and its like, and for tokens of the
    sentences around the row.
    """

    id: int
    text: str
    special: bool
    number: int | None = None
    word: int | None = None
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model sees of one example: its windows, the tokens of each, and the texts (with words) they are of."""

    windows: list[Window]
    tokens: list[list[Token]]
    texts: list[Source]
    counts: Counts


@dataclass(slots=True)
class _Tracing:
    """A tokenizer whose ids know where they come from."""

    inner: SubwordTokenizer
    spans: Sequence[Span]
    """Where the words of the example stand in its text."""
    text: str
    sources: list[Source] = field(default_factory=list)
    """The texts of the example; not those around it, which are encoded after its words."""

    @property
    def single(self) -> Template:
        return self.inner.single

    @property
    def pair(self) -> Template:
        return self.inner.pair

    @property
    def unk(self) -> int:
        return self.inner.unk

    @property
    def mask(self) -> int | None:
        return self.inner.mask

    @property
    def special(self) -> frozenset[int]:
        return self.inner.special

    @property
    def ordinary(self) -> npt.NDArray[np.int64]:
        return self.inner.ordinary

    def token(self, number: int) -> str:
        return self.inner.token(number)

    def encode_texts(self, texts: Sequence[str], *, with_words: bool = False) -> list[EncodedText]:
        found = []
        for text, one in zip(texts, self.inner.encode_texts(texts, with_words=with_words), strict=True):
            source = Source(text, split_words(text), one.offsets)
            self.sources.append(source)
            found.append(EncodedText(_traced(one.ids, source), one.offsets, one.unknown, one.words))
        return found

    def encode_words(self, texts: Sequence[Sequence[str]]) -> list[EncodedWords]:
        if self.sources:
            around = [Source(" ".join(words), (), (), own=True) for words in texts]
            encoded = zip(self.inner.encode_words(texts), around, strict=True)
            return [EncodedWords(_traced(one.ids, s), one.first, one.vanished, one.unknown) for one, s in encoded]
        found = []
        raw = self.inner.backend.encode_batch(list(texts), is_pretokenized=True, add_special_tokens=False)
        for one, encoding in zip(self.inner.encode_words(texts), raw, strict=True):
            inside: dict[int | None, list[Span]] = {}
            for word_id, span in zip(encoding.word_ids, encoding.offsets, strict=True):
                inside.setdefault(word_id, []).append(span)
            offsets = []
            for word, (start, end) in enumerate(self.spans):
                # a word that vanishes is one unknown token; offsets may count a blank that was put before the word
                own = inside.get(word, [(0, end - start)])
                offsets += [(min(start + a, end), min(start + b, end)) for a, b in own]
            source = Source(self.text, self.spans, offsets, True, one.first)
            self.sources.append(source)
            found.append(EncodedWords(_traced(one.ids, source), one.first, one.vanished, one.unknown))
        return found


def _traced(ids: Sequence[int], source: Source) -> list[int]:
    return [Piece.of(value, source, i) for i, value in enumerate(ids)]


def seen(task: Task[Any, Any, Any], example: Any, encoder: SubwordTokenizer, window: WindowSize) -> Seen:
    """Return what a model sees of an example; raises what `features` raises."""
    tracing = _Tracing(encoder, example.spans, example.text) if task.presplit else _Tracing(encoder, (), "")
    windows, counts = task.features([example], tracing, window)
    texts = list(tracing.sources)
    if len(texts) == 1 and not task.presplit and _paired(windows, encoder):  # a question that is its own context
        texts *= 2
    return Seen(windows, [_tokens(one, encoder, texts) for one in windows], texts, counts)


def _paired(windows: Sequence[Window], encoder: SubwordTokenizer) -> bool:
    specials = sum(not isinstance(i, Piece) for i in windows[0].input_ids)
    return encoder.pair.specials != encoder.single.specials and specials == encoder.pair.specials


def _tokens(window: Window, encoder: SubwordTokenizer, texts: Sequence[Source]) -> list[Token]:
    """Return the tokens of a window; the first text of two ends where a special token stands behind it.

    Those of the sentences around the example are of none of its `texts`.
    """
    paired = len(texts) > 1
    names = encoder.backend.id_to_token
    tokens: list[Token] = []
    number = 0
    for position, piece in enumerate(window.input_ids):
        text = names(int(piece)) or f"id {int(piece)}"
        if not isinstance(piece, Piece):
            number = int(paired and position >= len(encoder.pair.before))
            tokens.append(Token(int(piece), text, True))
            continue
        if not any(piece.source is one for one in texts):
            tokens.append(Token(int(piece), text, True))
            continue
        start, end = piece.source.offsets[piece.index]
        tokens.append(Token(int(piece), text, False, number, piece.source.word(piece.index), start, end))
    return tokens
