"""Tagged words to windows: the first sub-token of a word carries its label, all others -100.

Long texts are windowed, and each word is labelled in the one window that owns it (`text/windows.py`). What fits into
one window may have its neighbours around it, of which no word is labelled (`tasks/context.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from bertft.tasks.base import IGNORED, Counts, Encoder, Window, WindowSize
from bertft.tasks.tagged import Example
from bertft.text.windows import cut, owners, surround


def windows_of(
    examples: Sequence[Example], encoder: Encoder, window: WindowSize, *, labels: Sequence[str], context: int
) -> tuple[list[Window], Counts]:
    """Return the windows of each example, with up to `context` sub-tokens on each side of it, and what was met."""
    template = encoder.single
    room = window.length - template.specials
    ids = {label: i for i, label in enumerate(labels)}
    windows: list[Window] = []
    counts = Counts()
    encoded = encoder.encode_words([example.words for example in examples])
    contexts = _around(examples, encoder, context)
    for index, (example, text, (before, after)) in enumerate(zip(examples, encoded, contexts, strict=True)):
        ranges = cut(len(text.ids), room=room, stride=window.stride)
        left, right = surround(len(text.ids), before=len(before), after=len(after), room=room)
        owned = owners(text.first, ranges)
        by_window: list[list[int]] = [[] for _ in ranges]
        for word, owner in enumerate(owned):
            by_window[owner].append(word)
        for (start, end), words in zip(ranges, by_window, strict=True):
            shift = len(template.before) + left - start
            positions = [text.first[word] + shift for word in words]
            own = [*before[len(before) - left :], *text.ids[start:end], *after[:right]]
            input_ids, segments = template.build(own)
            target: list[int] | None = None
            if example.tags is not None:
                target = [IGNORED] * len(input_ids)
                for position, word in zip(positions, words, strict=True):
                    target[position] = ids.get(example.tags[word], IGNORED)
            windows.append(Window(index, input_ids, segments, target, positions))
        counts += Counts(
            examples=1,
            words=len(example.words),
            owned=sum(map(len, by_window)),
            tokens=len(text.ids),
            windows=len(ranges),
            windowed=len(ranges) > 1,
            vanished=text.vanished,
            unknown=text.unknown,
        )
    return windows, counts


def _around(examples: Sequence[Example], encoder: Encoder, size: int) -> list[tuple[list[int], list[int]]]:
    """Return the ids of up to `size` sub-tokens before and after each example; each sentence is encoded once."""
    if not size:
        return [([], [])] * len(examples)
    sentences = dict.fromkeys(words for example in examples for words in (*example.before, *example.after))
    ids = dict(zip(sentences, (text.ids for text in encoder.encode_words([*sentences])), strict=True))
    return [
        (
            [i for words in example.before for i in ids[words]][-size:],
            [i for words in example.after for i in ids[words]][:size],
        )
        for example in examples
    ]
