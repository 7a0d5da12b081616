"""Training batches: every item once an epoch, sizes, padding, the same for any number of processes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertft.errors import DataError
from bertft.training.sampling import Batches, batch_tokens, learning_rate

LENGTHS = st.lists(st.integers(3, 300), min_size=4, max_size=200)


def batches(
    lengths: list[int], *, epoch: int = 0, rank: int = 0, processes: int = 1, **how: int | None
) -> list[list[int]]:
    made = Batches(
        np.array(lengths),
        np.ones(len(lengths), dtype=np.int64),
        **{"tokens": 500, "items": 8, "seed": 1, **how},  # type: ignore[arg-type]
        rank=rank,
        processes=processes,
    )
    made.set_epoch(epoch)
    found = list(made)
    assert len(found) == len(made)
    return found


@given(lengths=LENGTHS, tokens=st.sampled_from([None, 64, 500]), processes=st.integers(1, 4), epoch=st.integers(0, 3))
def test_every_item_is_drawn_once_an_epoch_and_every_process_has_a_share_of_every_batch(
    lengths: list[int], tokens: int | None, processes: int, epoch: int
) -> None:
    how = {"tokens": tokens, "items": 3, "epoch": epoch}
    shares = [batches(lengths, rank=rank, processes=processes, **how) for rank in range(processes)]
    assert sorted(i for share in shares for batch in share for i in batch) == list(range(len(lengths)))
    assert all(batch for share in shares for batch in share)
    assert len({len(share) for share in shares}) == 1


@given(lengths=LENGTHS, epoch=st.integers(0, 3))
def test_processes_share_the_batches_of_one(lengths: list[int], epoch: int) -> None:
    one = [sorted(batch) for batch in batches(lengths, epoch=epoch)]
    two = zip(*(batches(lengths, epoch=epoch, rank=rank, processes=2) for rank in (0, 1)), strict=True)
    joined = [sorted(a + b) for a, b in two]
    if min(map(len, one)) > 1:  # else two processes need larger ones
        assert joined == one


@given(lengths=LENGTHS, epoch=st.integers(0, 3))
def test_batches_keep_to_their_tokens_but_for_one_item_and_the_jitter(lengths: list[int], epoch: int) -> None:
    made = batches(lengths, epoch=epoch)
    for batch in made:
        assert sum(lengths[i] for i in batch) <= (500 + max(lengths)) * (1.05 + 1 / len(made))


def test_epochs_differ_are_as_long_and_follow_from_the_seed() -> None:
    lengths = np.random.default_rng(0).integers(5, 60, 500).tolist()
    first, second = batches(lengths), batches(lengths, epoch=1)
    assert first == batches(lengths)
    assert first != batches(lengths, seed=2)
    assert len(first) == len(second)
    assert {tuple(sorted(batch)) for batch in first} != {tuple(sorted(batch)) for batch in second}
    order = [np.mean([lengths[i] for i in batch]) for batch in first]
    assert abs(np.corrcoef(order, range(len(order)))[0, 1]) < 0.5  # not from short to long


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_padding_is_less_than_a_twentieth_of_the_tokens(epoch: int) -> None:
    # sentence lengths are about log-normal; 4,000 rows are few
    lengths = np.clip(np.random.default_rng(3).lognormal(3.1, 0.6, 4000), 3, 200).astype(int).tolist()
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches(lengths, tokens=1024, epoch=epoch))
    assert 1 - sum(lengths) / padded < 0.05


def test_a_number_of_items_is_one_a_process() -> None:
    sizes = [len(batch) for batch in batches([10] * 64, tokens=None, items=8, processes=2)]
    assert sizes == [8] * 4


@pytest.mark.parametrize(("count", "processes"), [(3, 2), (9, 4), (5, 3)])
def test_one_item_a_process_leaves_none_out_and_no_batch_empty(count: int, processes: int) -> None:
    drawn = [batches([10] * count, tokens=None, items=1, processes=processes, rank=rank) for rank in range(processes)]
    assert all(batch for own in drawn for batch in own)
    assert sorted(item for own in drawn for batch in own for item in batch) == [*range(count)]


def test_fewer_items_than_processes_are_refused() -> None:
    with pytest.raises(DataError, match="2 training examples cannot be shared by 3 processes"):
        batches([5, 5], processes=3)


def test_the_size_of_a_batch_follows_from_the_data() -> None:
    def tokens(length: int, count: int, *, tags: bool = True) -> int:
        return batch_tokens(np.full(count, length), np.ones(count, dtype=np.int64), tags=tags)

    assert tokens(20, 100_000) == tokens(20, 100_000, tags=False) == 1024
    assert tokens(20, 4_000) == 400  # 200 batches an epoch
    assert tokens(20, 8_000, tags=False) == 320  # 500 batches
    assert tokens(20, 100) == 160  # 8 examples
    assert tokens(384, 100_000) == 8 * 384


def test_the_learning_rate_grows_with_the_root_of_the_batch() -> None:
    assert learning_rate(1e-4, 8) == learning_rate(1e-4, 3) == 1e-4
    assert learning_rate(1e-4, 32) == 2e-4


@given(
    items=st.lists(st.tuples(st.integers(3, 300), st.integers(1, 8)), min_size=1, max_size=80),
    tokens=st.integers(50, 4000),
    processes=st.integers(1, 3),
    epoch=st.integers(0, 2),
)
def test_items_of_several_windows_are_balanced_too(
    items: list[tuple[int, int]], tokens: int, processes: int, epoch: int
) -> None:
    lengths, windows = (np.array(side) for side in zip(*items, strict=True))
    if len(items) < processes:
        return
    shares = []
    for rank in range(processes):
        made = Batches(lengths, windows, tokens=tokens, items=8, seed=0, rank=rank, processes=processes)
        made.set_epoch(epoch)
        shares.append(list(made))
        assert len(shares[-1]) == len(made)
    costs = lengths * windows
    whole = [[i for part in parts for i in part] for parts in zip(*shares, strict=True)]
    assert sorted(i for batch in whole for i in batch) == list(range(len(items)))
    if processes == 1:
        assert max(costs[batch].sum() for batch in whole) <= costs.sum() / len(whole) + 2 * costs.max()
