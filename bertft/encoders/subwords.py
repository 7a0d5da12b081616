"""Text in, sub-tokens out: a `tokenizers.Tokenizer` for raw, paired and pre-split text, in training, eval and predict.

Nothing is truncated or padded here, and nothing is assumed from a model's name: what a tokenizer does is probed.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bertft.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

_PROBE = ("Paris", "is", "nice", "today")
_ALPHABET = "the cat sat on a mat"


@dataclass(frozen=True, slots=True)
class EncodedText:
    """The sub-token ids of one raw text, no specials, and the characters (half-open) that each was made of."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    unknown: int
    words: Sequence[int | None] = ()
    """The number of the word, as the tokenizer splits text, that each token is of; empty where it was not asked for."""


@dataclass(frozen=True, slots=True)
class EncodedWords:
    """The sub-token ids of one pre-split text, no specials, and where each word begins in them."""

    ids: list[int]
    first: list[int]
    vanished: int
    unknown: int


@dataclass(frozen=True, slots=True)
class Template:
    """The special tokens before, between and after the texts, and the segment id of each stretch of the whole.

    `segments` has five entries: of `before`, the first text, `between`, the second text and `after`.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    segments: tuple[int, int, int, int, int]

    @property
    def specials(self) -> int:
        """How many tokens the template adds."""
        return len(self.before) + len(self.between) + len(self.after)

    def build(self, first: Sequence[int], second: Sequence[int] = ()) -> tuple[list[int], list[int]]:
        """Return (input ids, segment ids) of one text, or of two."""
        parts = (self.before, first, self.between, second, self.after)
        ids = [i for part in parts for i in part]
        return ids, [segment for part, segment in zip(parts, self.segments, strict=True) for _ in part]


@dataclass(frozen=True, slots=True)
class SubwordTokenizer:
    """A tokenizer whose template is known: which special tokens stand around one text (`single`) and two (`pair`).

    `unk` stands for a word that the normaliser removes, so that every word has a first sub-token.
    """

    backend: Tokenizer
    single: Template
    pair: Template
    unk: int
    pad: int

    @classmethod
    def of(
        cls, backend: Tokenizer, *, unk_token: str | None, pad_token: str | None, presplit: bool = True
    ) -> SubwordTokenizer:
        """Make a tokenizer of `backend`, whose truncation and padding are switched off.

        Raises ModelError where words given apart (`presplit`) come out glued together, or where there is no token for
        unknown words.
        """
        backend.no_truncation()
        backend.no_padding()
        if presplit and not splits_words(backend):
            raise ModelError("the tokenizer glues words together that were given apart")
        unk = _token_id(backend, unk_token, "[UNK]", "<unk>", "[MASK]", "<mask>")
        pad = _token_id(backend, pad_token, "[PAD]", "<pad>")
        if unk is None:
            raise ModelError("the tokenizer has no token for unknown words")
        single, pair = _template(backend.encode(_ALPHABET)), _template(backend.encode(_ALPHABET, _ALPHABET))
        return cls(backend, single, pair, unk, pad if pad is not None else 0)

    @property
    def mask(self) -> int | None:
        """The id of the mask token; None where there is none."""
        return _token_id(self.backend, "[MASK]", "<mask>")

    @property
    def special(self) -> frozenset[int]:
        """The ids of the special tokens."""
        marked = (i for i, token in self.backend.get_added_tokens_decoder().items() if token.special)
        around = (*self.pair.before, *self.pair.between, *self.pair.after)
        mask = () if self.mask is None else (self.mask,)
        return frozenset((*marked, *around, *mask, self.unk, self.pad))

    @property
    def ordinary(self) -> npt.NDArray[np.int64]:
        """The ids of all other tokens, ascending."""
        return np.array(sorted({*self.backend.get_vocab().values()} - self.special), dtype=np.int64)

    def token(self, number: int) -> str:
        """Return the text that a token stands for, without blanks around it; "" for an id that is no token's."""
        text: str = self.backend.decode([number], skip_special_tokens=False)
        return text.strip()

    def encode_texts(self, texts: Sequence[str], *, with_words: bool = False) -> list[EncodedText]:
        """Encode a batch of raw texts, without special tokens."""
        batch = self.backend.encode_batch(list(texts), add_special_tokens=False)
        return [
            EncodedText(one.ids, one.offsets, one.ids.count(self.unk), one.word_ids if with_words else ())
            for one in batch
        ]

    def encode_words(self, texts: Sequence[Sequence[str]]) -> list[EncodedWords]:
        """Encode a batch of pre-split texts; the words of text `i` have `len(first) == len(texts[i])`."""
        batch = self.backend.encode_batch(list(texts), is_pretokenized=True, add_special_tokens=False)
        return [self._by_word(len(words), encoding) for words, encoding in zip(texts, batch, strict=True)]

    def _by_word(self, words: int, encoding: Encoding) -> EncodedWords:
        raw, word_ids = encoding.ids, encoding.word_ids
        starts: dict[int, int] = {}
        for position, word_id in enumerate(word_ids):
            if word_id is not None and word_id not in starts:
                starts[word_id] = position
        if len(starts) == words:
            first = [starts[word] for word in range(words)]
            return EncodedWords(raw, first, 0, raw.count(self.unk))
        bounds = [*sorted(starts.values()), len(raw)]
        pieces = {word: raw[bounds[i] : bounds[i + 1]] for i, word in enumerate(sorted(starts))}
        ids: list[int] = []
        first = []
        for word in range(words):
            first.append(len(ids))
            ids += pieces.get(word, [self.unk])
        return EncodedWords(ids, first, words - len(starts), ids.count(self.unk))

    def difference(self, other: SubwordTokenizer) -> str | None:
        """Return in what another tokenizer differs from this one, None where they make the same tokens."""
        if self.backend.get_vocab() != other.backend.get_vocab():
            sizes = self.backend.get_vocab_size(), other.backend.get_vocab_size()
            return f"vocabularies of {sizes[0]:,} and {sizes[1]:,}" if sizes[0] != sizes[1] else "another vocabulary"
        if (self.single, self.pair) != (other.single, other.pair):
            return "other special tokens around a text"
        for part in ("normalizer", "pre_tokenizer"):
            if str(getattr(self.backend, part)) != str(getattr(other.backend, part)):
                return f"another {part.replace('_', '-')}"
        return None

    def check(self, texts: Sequence[Sequence[str]]) -> None:
        """Encode `texts` and raise ModelError unless each word comes out once, in order and in its own tokens.

        This is the loud end of a class of bugs that would otherwise shift every label after the faulty word.
        """
        batch = self.backend.encode_batch(list(texts), is_pretokenized=True, add_special_tokens=False)
        for words, encoding, text in zip(texts, batch, self.encode_words(texts), strict=True):
            seen = [word_id for word_id in encoding.word_ids if word_id is not None]
            ordered = seen == sorted(seen) and all(0 <= word_id < len(words) for word_id in seen)
            ascending = all(a < b for a, b in zip(text.first, text.first[1:], strict=False))
            complete = len(text.first) == len(words) == len(set(seen)) + text.vanished
            alone = self.encode_words([[word] for word in words[:20]])
            bounds = [*text.first, len(text.ids)]
            same = all(text.ids[bounds[i] : bounds[i + 1]] == one.ids for i, one in enumerate(alone))
            if not (ordered and ascending and complete and same):
                raise ModelError(
                    f"the tokenizer does not keep words apart: {len(words)} went in, {len(set(seen))} came out "
                    f"({text.vanished} vanished), or a word's tokens depend on its neighbours: {words[:9]!r}",
                    help="this tokenizer cannot be used for tagging; choose another encoder with `--model`",
                )


def _template(encoding: Encoding) -> Template:
    """Return the template that made `encoding`, of one text or of two."""
    texts = encoding.sequence_ids
    two = 1 in texts
    begin = texts.index(0)
    middle = len(texts) - texts[::-1].index(0)
    again = texts.index(1) if two else middle
    end = len(texts) - texts[::-1].index(1) if two else middle
    bounds = (0, begin, middle, again, end, len(texts))
    parts = [encoding.ids[a:b] for a, b in pairwise(bounds)]
    segments = [encoding.type_ids[a] if a < b else 0 for a, b in pairwise(bounds)]
    return Template(tuple(parts[0]), tuple(parts[2]), tuple(parts[4]), tuple(segments))  # type: ignore[arg-type]


def splits_words(backend: Tokenizer) -> bool:
    """Say whether words given apart get the tokens that they have in running text."""
    apart = backend.encode(list(_PROBE), is_pretokenized=True, add_special_tokens=False).ids
    return bool(apart == backend.encode(" ".join(_PROBE), add_special_tokens=False).ids)


def drops(backend: Tokenizer, has: Callable[[str], bool]) -> bool:
    """Say whether the normaliser removes what the vocabulary was made with: capitals, or combining marks.

    So it is where more than 1 % of the pieces have it and cannot come out.
    """
    specials = {token.content for token in backend.get_added_tokens_decoder().values()}
    vocabulary = backend.get_vocab()
    pieces = [piece for piece in vocabulary if has(piece) and piece not in specials]
    enough = len(vocabulary) / 100
    if backend.normalizer is None or len(pieces) <= enough:
        return False
    return sum(not has(backend.normalizer.normalize_str(piece)) for piece in pieces) > enough


def has_marks(text: str) -> bool:
    """Say whether there are accents or vowel signs in the text."""
    if text.isascii():
        return False
    return any(unicodedata.category(char)[0] == "M" for char in unicodedata.normalize("NFKD", text))


def has_capitals(text: str) -> bool:
    """Say whether there are capital letters in the text."""
    return text != text.lower()


def with_prefix_space(backend: Tokenizer) -> Tokenizer:
    """Return a copy of `backend` that puts a space before every word: byte-level BPE and SentencePiece need it."""
    from tokenizers import Tokenizer

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("type") == "ByteLevel" and "add_prefix_space" in node:
                node["add_prefix_space"] = True
            if node.get("type") == "Metaspace":
                node["prepend_scheme"] = "always"
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    state = json.loads(backend.to_str())
    walk(state["pre_tokenizer"])
    copy: Tokenizer = Tokenizer.from_str(json.dumps(state))
    return copy


def _token_id(backend: Tokenizer, *names: str | None) -> int | None:
    ids = (backend.token_to_id(name) for name in names if name)
    return next((i for i in ids if i is not None), None)
