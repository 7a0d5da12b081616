"""Cut a long token sequence into overlapping windows, and say which window owns each word. Integers in, integers out.

A window holds at most `room` tokens and starts `room - stride` tokens after the one before it, wherever that falls,
also inside a word. Each word is owned by exactly one window, so it enters the loss once and is predicted once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count


def cut(tokens: int, *, room: int, stride: int) -> list[tuple[int, int]]:
    """Return half-open token ranges of windows that cover `tokens` tokens; neighbours share `stride` of them.

    Raises ValueError unless `0 <= stride < room`.
    """
    if not 0 <= stride < room:
        raise ValueError(f"stride {stride} must be at least 0 and less than the window's room of {room} tokens")
    ranges = []
    for start in count(0, room - stride):
        ranges.append((start, min(start + room, tokens)))
        if start + room >= tokens:
            return ranges
    raise AssertionError("unreachable")


def surround(tokens: int, *, before: int, after: int, room: int) -> tuple[int, int]:
    """Return how many of the tokens `before` and `after` a text of `tokens` fit into a window of `room` with it.

    Both sides get half of what is left, and one what the other does not need. A text that fills a window has neither.
    """
    left = max(0, room - tokens)
    first = min(before, max(left // 2, left - after))
    return first, min(after, left - first)


def owners(first_tokens: Sequence[int], windows: Sequence[tuple[int, int]]) -> list[int]:
    """Return for each word the index of the window that owns it.

    `first_tokens` are the positions of the words' first sub-tokens, ascending. The owner holds that position with the
    most context on its shorter side, counted in tokens within the window; on a tie it is the earlier window.
    """
    owned, low = [], 0
    for position in first_tokens:
        while windows[low][1] <= position:
            low += 1
        best, most = low, -1
        for i in range(low, len(windows)):
            start, end = windows[i]
            if start > position:
                break
            context = min(position - start, end - 1 - position)
            if context > most:
                best, most = i, context
        owned.append(best)
    return owned
