"""`--budget`: what it means, and what is said of one that means nothing."""

from __future__ import annotations

import pytest

from bertft.errors import UsageError
from bertft.training.budget import Budget


@pytest.mark.parametrize(
    ("text", "milliseconds", "device"),
    [
        ("10ms@cpu", 10, "cpu"),
        ("2ms@cuda:0", 2, "cuda:0"),
        ("50ms", 50, "auto"),
        (" 0.5 s@mps ", 500, "mps"),
        ("250us@cuda", 0.25, "cuda"),
    ],
)
def test_a_budget_is_a_time_and_a_device(text: str, milliseconds: float, device: str) -> None:
    assert Budget.parse(text) == Budget(milliseconds, device)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10@cpu", "did you mean '10ms@cpu'?"),
        ("10", "did you mean '10ms'?"),
        ("10MS@cpu", "did you mean '10ms@cpu'?"),
        ("10msec@cpu", "there is no unit 'msec'"),
        ("10ms@gpu", "a GPU is cuda"),
        ("10ms@", "there is no device ''"),
        ("10ms@cuda:x", "there is no device 'cuda:x'"),
        ("0ms", "0 is not more than 0"),
        ("-3ms", "is no time"),
        ("1.2.3ms", "'1.2.3' is no number"),
        ("fast", "is no time"),
        ("", "is no time"),
        ("9" * 400 + "ms", "is not more than 0"),
    ],
)
def test_what_is_no_budget_is_said_with_the_way_out(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Budget.parse(text)
    assert said in str(caught.value)
    assert "help:" in str(caught.value)
