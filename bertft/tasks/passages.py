"""Texts of a corpus: which make one document, and how a document is cut into chunks from which pairs are drawn.

In a file of lines, blank lines stand between documents, if there are any; else each record is one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice

import numpy as np

from bertft.data.row import Place
from bertft.errors import DataError, UsageError
from bertft.tasks.base import Counts, EncodedText, Encoder, Template, Window, WindowSize
from bertft.text.masking import FIXED, Masking
from bertft.text.pairs import Chunk, Pair, Told, chunks, draw, sentences, shifted
from bertft.text.windows import cut

_SEED = 13


@dataclass(frozen=True, slots=True)
class Passage:
    """A text; to be answered, with the characters of its masks, of which a text of a corpus has none."""

    place: Place
    text: str
    masks: tuple[tuple[int, int], ...] = ()
    line: bool = False
    """Whether it is a line of a file of text, which has its documents between blank lines."""
    strange: str | None = None
    """Of a document: another one, from which evaluation takes second texts that do not belong to it."""


def documents(passages: Sequence[Passage], told: Told) -> tuple[list[Passage], list[str]]:
    """Return the documents of a corpus, and what is to be said of them.

    For next sentence prediction every two lend each other second texts: what holds out the one holds out the other, and
    no row says which texts are known from training. Raises DataError where there is one document only.
    """
    gaps = any(not passage.text.strip() for passage in _inner(passages) if passage.line)
    found: list[Passage] = []
    for (between, blank), group in groupby(passages, key=lambda one: (one.line and gaps, not one.text.strip())):
        some = list(group)
        if blank:
            continue
        found += [replace(some[0], text="\n".join(one.text for one in some))] if between else some
    notes = [f"{len(found):,} documents"]
    if told == "sop":
        return found, notes
    different = {one.text for one in found}
    if len(different) < 2:
        raise DataError(
            "there is one document only, and next sentence prediction takes half of its second texts from others",
            help="write a blank line between documents, or several files into a folder; `options.objective=mlm` "
            "needs no documents",
        )
    return _tied(found), notes


def _inner(passages: Sequence[Passage]) -> Sequence[Passage]:
    """Return the passages from the first that is not blank to the last."""
    written = [i for i, passage in enumerate(passages) if passage.text.strip()]
    return passages[written[0] : written[-1]] if written else ()


def _tied(found: Sequence[Passage]) -> list[Passage]:
    """Return the documents, each with one that lends it texts: they do so in twos, and the last three in a ring."""
    texts = list(dict.fromkeys(one.text for one in found))
    random.Random(_SEED).shuffle(texts)  # neighbours in a file are often about the same
    lender: dict[str, str] = {}
    for i in range(0, len(texts) - 1, 2):
        ring = texts[i:] if i + 3 == len(texts) else texts[i : i + 2]
        lender.update(zip(ring, [*ring[1:], ring[0]], strict=True))
    return [replace(one, strange=lender[one.text]) for one in found]


def units_of(text: EncodedText, special: frozenset[int], *, whole_word: bool) -> list[int]:
    """Return for each token what it is chosen with: its word, or itself; specials are not chosen."""
    if not whole_word:
        return [FIXED if token in special else i for i, token in enumerate(text.ids)]
    # an added token is of no word; words are fewer than tokens
    size = len(text.ids)
    return [
        FIXED if token in special else word if word is not None else size + i
        for i, (token, word) in enumerate(zip(text.ids, text.words, strict=True))
    ]


def in_chunks(
    texts: Sequence[str], encoder: Encoder, window: WindowSize, *, whole_word: bool
) -> Iterator[tuple[list[Chunk], Chunk, Counts]]:
    """Yield for each document its chunks, all of it as one, and what tokenization met.

    Raises UsageError for a window without room for two texts.
    """
    room = window.length - encoder.pair.specials
    if room < 2:
        raise UsageError(f"options.window: {window.length} tokens have no room for two texts")
    special = encoder.special
    split = [sentences(text) for text in texts]
    encoded = iter(encoder.encode_texts([one for each in split for one in each], with_words=whole_word))
    for each in split:
        own = list(islice(encoded, len(each)))
        parts = [(text.ids, units_of(text, special, whole_word=whole_word)) for text in own]
        found = chunks(parts, room)
        tokens = sum(len(text.ids) for text in own)
        yield (
            found,
            Chunk.joined(parts),
            Counts(
                examples=1,
                tokens=tokens,
                windows=len(found),
                windowed=len(found) > 1,
                unknown=sum(text.unknown for text in own),
                cut=not found,
                unread=0 if found else tokens,
            ),
        )


def built(pair: Pair, template: Template) -> tuple[list[int], list[int], list[int]]:
    """Return the ids of a pair in one window, their segments, and their units."""
    (first, own), (second, other) = pair.first, pair.second
    units = [
        *[FIXED] * len(template.before), *own, *[FIXED] * len(template.between), *shifted(other, own),
        *[FIXED] * len(template.after),
    ]  # fmt: skip
    return *template.build(first, second), units


def chunk_windows(
    examples: Sequence[Passage], encoder: Encoder, window: WindowSize, *, whole_word: bool
) -> tuple[list[Window], Counts]:
    """Return the chunks that training draws pairs from: no specials, segments 0 and 1 by turns, one a sentence."""
    counts = Counts()
    windows = []
    texts = [example.text for example in examples]
    for index, (own, _, more) in enumerate(in_chunks(texts, encoder, window, whole_word=whole_word)):
        counts += more
        for chunk in own:
            lengths = np.diff([*chunk.starts, len(chunk.ids)])
            turns = np.repeat(np.arange(len(lengths)) % 2, lengths).tolist()
            windows.append(Window(index, chunk.ids, turns, chunk.units))
    return windows, counts


def corrupted_windows(
    examples: Sequence[Passage],
    encoder: Encoder,
    window: WindowSize,
    *,
    whole_word: bool,
    masking: Masking,
    random_of: Callable[[Sequence[int]], np.random.Generator],
) -> tuple[list[Window], Counts]:
    """Return the windows in which evaluation lets a generator replace tokens, by chance that their tokens decide.

    None shares a token with another, and in each a token is masked at least, so that each token is told apart once.
    """
    room, before = window.length - encoder.single.specials, len(encoder.single.before)
    counts = Counts()
    windows = []
    encoded = encoder.encode_texts([example.text for example in examples], with_words=whole_word)
    for index, text in enumerate(encoded):
        units = units_of(text, encoder.special, whole_word=whole_word)
        ranges = cut(len(units), room=room, stride=0)
        for start, end in ranges:
            ids = text.ids[start:end]
            found = masking.apply_to_some(ids, units[start:end], random_of(ids))
            if found is not None:
                shown, chosen = found
                input_ids, segments = encoder.single.build(shown.tolist())
                target = np.array(ids)[chosen].tolist()
                windows.append(Window(index, input_ids, segments, target, (chosen + before).tolist()))
        counts += Counts(examples=1, tokens=len(units), windowed=len(ranges) > 1, unknown=text.unknown)
    return windows, counts + Counts(windows=len(windows))


def shown_pairs(
    told: Told,
    examples: Sequence[Passage],
    encoder: Encoder,
    window: WindowSize,
    *,
    whole_word: bool,
    masking: Masking,
    random_of: Callable[[Sequence[int]], np.random.Generator],
) -> tuple[list[Window], Counts]:
    """Return the pairs that evaluation shows, one a chunk, drawn and masked by chance that its tokens decide.

    A window owns its first token, whose target is what the pair is, and those that are masked.
    """
    lent = list(dict.fromkeys(example.strange for example in examples if example.strange is not None))
    whole = (whole for _, whole, _ in in_chunks(lent, encoder, window, whole_word=whole_word))
    strangers = dict(zip(lent, whole, strict=True))
    counts = Counts()
    windows = []
    texts = [example.text for example in examples]
    for index, (own, itself, more) in enumerate(in_chunks(texts, encoder, window, whole_word=whole_word)):
        counts += more
        for chunk in own:
            random = random_of(chunk.ids)
            pair = draw(told, chunk, strangers.get(examples[index].strange or "", itself), random)
            ids, segments, units = built(pair, encoder.pair)
            shown, chosen = masking.apply(ids, units, random)
            target = [pair.label, *np.array(ids)[chosen].tolist()]
            windows.append(Window(index, shown.tolist(), segments, target, [0, *chosen.tolist()]))
    return windows, counts
