"""Rows to tagged words: `tokens` with `tags`, or `text` with character `entities`, as one kind of example."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from sys import intern
from typing import TypeGuard

from bertft.data.row import Place, Row, Words
from bertft.errors import DataError
from bertft.text.schemes import TagStyle, read_spans, write_bio
from bertft.text.words import Span, split_words


@dataclass(frozen=True, slots=True)
class Example:
    """A sentence (or a document of several): its words and, where known, their tags.

    `tags` are BIO or plain, None without gold; `written` are the file's own, in `style`. `lengths` are the words of
    each sentence. `raw` is the text that the words were found in, and `offsets` are where; both None where the words
    were given.
    """

    place: Place
    words: tuple[str, ...]
    raw: str | None
    offsets: tuple[Span, ...] | None
    lengths: tuple[int, ...]
    tokenized: bool
    tags: tuple[str, ...] | None = None
    written: tuple[str, ...] | None = None
    style: TagStyle | None = None
    document: int = 0
    """The document in its file, from 1; 0 where the file marks none."""
    numbers: Sequence[int] = ()
    """The line of each word in its file, where words have lines of their own."""
    adjusted: tuple[str, ...] = ()
    """What had to be changed about the row's character spans."""
    before: tuple[Words, ...] = field(default=(), repr=False)
    """The sentences before it in its document, as far as they are read; all without words are left out."""
    after: tuple[Words, ...] = field(default=(), repr=False)

    @property
    def text(self) -> str:
        """The text; of words that were given, the words with a blank between them."""
        return " ".join(self.words) if self.raw is None else self.raw

    @property
    def spans(self) -> tuple[Span, ...]:
        """The words' offsets in `text`."""
        if self.offsets is not None:
            return self.offsets
        starts = accumulate((len(word) + 1 for word in self.words), initial=0)
        return tuple((start, start + len(word)) for start, word in zip(starts, self.words, strict=False))

    def sentences(self, tags: Sequence[str]) -> Iterator[list[str]]:
        """Yield the part of `tags` that belongs to each sentence."""
        for start, end in pairwise(accumulate(self.lengths, initial=0)):
            yield list(tags[start:end])

    def place_of(self, word: int) -> Place:
        """Return the place of a word, or that of the record."""
        return Place(self.place.path, self.numbers[word]) if self.numbers else self.place

    def converted(self, style: TagStyle) -> Example:
        """Return the example with its written tags read in `style`: as BIO, or as they are where they are plain."""
        if self.written is None or style.scheme == "plain" or self.written.count("O") == len(self.written):
            return replace(self, style=style, tags=self.written)
        tags: list[str] = []
        for sentence in self.sentences(self.written):
            tags += write_bio(read_spans(sentence, style), len(sentence))
        same = tags == [*self.written]
        return replace(self, style=style, tags=self.written if same else tuple(map(intern, tags)))


def from_row(row: Row, *, labelled: bool) -> Example:
    """Return a row's words, and its tags where it must be `labelled`; raises DataError with the place of what is wrong.

    A row has `tokens` and `tags`, or `text` and character `entities`.
    """
    if row.error is not None:
        raise row.error
    tokens, text = row.get("tokens"), row.get("text")
    if tokens is not None and (
        _are_strings(tokens) or not isinstance(text, str)
    ):  # annotation tools keep objects in `tokens`
        return _from_tokens(row, tokens, labelled=labelled)
    if not isinstance(text, str):
        advice = f"the fields are {', '.join(map(repr, row.values))}; name the right ones with `--columns text=…`"
        raise DataError("the row has neither `tokens` nor `text`", place=row.place, help=advice if row.values else None)
    return _from_text(row, text, labelled=labelled)


def _are_strings(values: object) -> TypeGuard[list[str]]:
    return isinstance(values, list) and {*map(type, values)} <= {str}


def words_of(row: Row) -> Words:
    """Return the words of a row as other rows read them around themselves; of a row that cannot be read, none."""
    tokens, text = row.get("tokens"), row.get("text")
    if _are_strings(tokens):
        return _interned(tokens)
    if not isinstance(text, str):
        return ()
    return tuple(_well_formed(text[start:end]) for start, end in _given_words(row, text) or split_words(text))


def _interned(tokens: Sequence[str]) -> Words:
    """Return words that come again and again, each kept once."""
    plain = " ".join(tokens).isascii()
    return tuple(map(intern, tokens if plain else map(_well_formed, tokens)))


def _well_formed(word: str) -> str:
    """Return `word` with halves of surrogate pairs, which JSON can carry and a tokenizer cannot read, as `?`."""
    return word if word.isascii() else word.encode("utf-8", "replace").decode()


def _from_tokens(row: Row, tokens: object, *, labelled: bool) -> Example:
    if not _are_strings(tokens):
        raise DataError("`tokens` must be a list of strings", place=row.place)
    tags = row.get("tags") if labelled else None
    if tags is not None:
        if not isinstance(tags, list) or len(tags) != len(tokens):
            count = len(tags) if isinstance(tags, list) else "no"
            raise DataError(f"{len(tokens)} tokens but {count} tags", place=row.place)
        if not _are_strings(tags) or "" in tags:
            bad = [tag for tag in tags if not isinstance(tag, str) or not tag]
            advice = "write the tags by name, for example 'B-PER' (datasets: `features['ner_tags'].feature.names`)"
            raise DataError(f"the tag {bad[0]!r} is no name", place=row.place, help=advice)
    elif labelled:
        raise DataError(
            "there are no tags" if row.lines else "the row has no `tags`",
            place=row.place,
            help="training and evaluation need a tag for every word; name the column with `--columns tags=…`",
        )
    words = _interned(tokens)
    altered = words != tuple(tokens)
    numbers: Sequence[int] = row.numbers
    if numbers and numbers[-1] - numbers[0] == len(numbers) - 1:
        numbers = range(numbers[0], numbers[-1] + 1)
    return Example(
        row.place,
        words,
        " ".join(tokens) if altered else None,
        None,
        row.sentences or (len(tokens),),
        True,
        written=tuple(map(intern, tags)) if tags is not None else None,
        document=row.document,
        numbers=numbers,
        before=row.before,
        after=row.after,
    )


def _from_text(row: Row, text: str, *, labelled: bool) -> Example:
    spans = _given_words(row, text) or split_words(text)
    words = tuple(_well_formed(text[start:end]) for start, end in spans)
    example = Example(row.place, words, text, tuple(spans), (len(words),), False, before=row.before, after=row.after)
    if not labelled:
        return example
    found = row.get("entities")
    if not isinstance(found, list):
        raise DataError("the row has `text` but no `entities`", place=row.place, help="or `tokens` and `tags`")
    tags = ["O"] * len(words)
    adjusted = [
        f"{item.get('label')} {text[item['start'] : item['end']]!r} is in several pieces and is taken whole"
        for item in found
        if isinstance(item, Mapping) and item.get("fragments")
    ]
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    for start, end, label in sorted((_character_span(row, item, text) for item in found), key=lambda s: (s[0], -s[1])):
        inside = range(bisect_right(ends, start), bisect_left(starts, end))  # all words with a character of it
        what = f"{label} {text[start:end]!r} ({start}-{end})"
        if not inside or any(tags[i] != "O" for i in inside):
            adjusted.append(f"{what} {'overlaps another' if inside else 'holds no word'} and is left out")
            continue
        if (spans[inside[0]][0], spans[inside[-1]][1]) != (start, end):
            adjusted.append(
                f"{what} cuts a word and is widened to {text[spans[inside[0]][0] : spans[inside[-1]][1]]!r}"
            )
        for i in inside:
            tags[i] = f"{'B' if i == inside[0] else 'I'}-{label}"
    return replace(example, written=tuple(tags), adjusted=tuple(adjusted))


def _given_words(row: Row, text: str) -> list[Span] | None:
    """Return the offsets of the words that an annotation tool has cut, as Prodigy keeps them; None where none are."""
    tokens = row.get("tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, dict) for token in tokens):
        return None
    spans = [(token.get("start"), token.get("end")) for token in tokens]
    edges = [edge for span in spans for edge in span]
    if not all(isinstance(edge, int) for edge in edges) or edges != sorted(edges):
        return None
    gaps = zip([0, *edges[1::2]], [*edges[::2], len(text)], strict=True)
    inside = not edges or (edges[0] >= 0 and edges[-1] <= len(text))
    if not inside or any(text[start:end].strip() for start, end in gaps):  # a word that is in no token
        return None
    return [(start, end) for start, end in spans if text[start:end].strip()]


def _character_span(row: Row, item: object, text: str) -> tuple[int, int, str]:
    """Return the characters of an entity, and its label; what it says itself that it is counts more than its numbers.

    Tools that run in a browser count UTF-16 units, of which an emoji has two. Raises DataError for what is none.
    """
    said = item.get("text") if isinstance(item, Mapping) else None
    if isinstance(item, Mapping):
        item = [item.get("start"), item.get("end"), item.get("label")]
    match item:
        case [int(start), int(end), str(label)] if 0 <= start < end and label:
            if end <= len(text) and (not isinstance(said, str) or _alike(text[start:end], said)):
                return start, end, label
            units = text.encode("utf-16-le", "surrogatepass")
            if isinstance(said, str) and 2 * end <= len(units):
                before, inside = (
                    units[2 * a : 2 * b].decode("utf-16-le", "replace") for a, b in ((0, start), (start, end))
                )
                if _alike(inside, said):
                    return len(before), len(before) + len(inside), label
                raise DataError(
                    f"the entity is {said[:60]!r}, but the text has {text[start:end][:60]!r} at {start}-{end}",
                    place=row.place,
                    help="offsets count characters; was the text changed after it was annotated?",
                )
    raise DataError(
        f"{item!r} is no entity of a text of {len(text)} characters",
        place=row.place,
        help='an entity is {"start": 0, "end": 5, "label": "LOC"}',
    )


def _alike(one: str, other: str) -> bool:
    return "".join(one.split()).casefold() == "".join(other.split()).casefold()
