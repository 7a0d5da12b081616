"""Windows cover the tokens, and each word has the one owner that sees most around it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertft.text.windows import cut, owners

quick = settings(max_examples=150)


@st.composite
def cuts(draw: st.DrawFn) -> tuple[int, int, int]:
    room = draw(st.integers(1, 20))
    return draw(st.integers(0, 120)), room, draw(st.integers(0, room - 1))


@quick
@given(case=cuts())
def test_windows_cover_every_token_and_share_the_stride(case: tuple[int, int, int]) -> None:
    tokens, room, stride = case
    windows = cut(tokens, room=room, stride=stride)
    assert windows[0][0] == 0
    assert windows[-1][1] == tokens
    assert all(0 <= end - start <= room for start, end in windows)
    assert all(end - start == room for start, end in windows[:-1])
    for (_, end), (start, _) in pairwise(windows):
        assert end - start == stride


@quick
@given(case=cuts())
def test_no_window_is_superfluous(case: tuple[int, int, int]) -> None:
    tokens, room, stride = case
    windows = cut(tokens, room=room, stride=stride)
    assert all(end < tokens for _, end in windows[:-1])


@pytest.mark.parametrize("tokens", [0, 1, 7])
def test_what_fits_is_one_window(tokens: int) -> None:
    assert cut(tokens, room=7, stride=3) == [(0, tokens)]


@pytest.mark.parametrize(("room", "stride"), [(4, 4), (4, 5), (4, -1), (0, 0), (-1, 0)])
def test_a_stride_that_does_not_move_on_is_refused(room: int, stride: int) -> None:
    with pytest.raises(ValueError, match="stride"):
        cut(10, room=room, stride=stride)


@quick
@given(case=cuts(), data=st.data())
def test_the_owner_holds_the_first_token_with_most_context(case: tuple[int, int, int], data: st.DataObject) -> None:
    tokens, room, stride = case
    windows = cut(tokens, room=room, stride=stride)
    positions = sorted(data.draw(st.sets(st.integers(0, tokens - 1)))) if tokens else []
    owned = owners(positions, windows)
    assert len(owned) == len(positions)
    for position, owner in zip(positions, owned, strict=True):
        context = {
            i: min(position - start, end - 1 - position)
            for i, (start, end) in enumerate(windows)
            if start <= position < end
        }
        assert owner == min(i for i in context if context[i] == max(context.values()))


def test_a_tie_goes_to_the_earlier_window() -> None:
    windows = cut(8, room=5, stride=2)
    assert windows == [(0, 5), (3, 8)]
    assert owners([3, 4], windows) == [0, 1]
    assert owners([4], [(0, 6), (3, 9)]) == [0]
