"""What is read of the losses while a model trains: their mean, and the step at which one is no number."""

from __future__ import annotations

import math

import pytest
import torch

from bertft.data.row import Place
from bertft.errors import GateError
from bertft.training.progress import Progress


def progress(precision: str = "bf16") -> Progress:
    return Progress(amount=1, unit="tokens", accumulation=2, precision=precision, place=lambda i: Place("data.csv", i))


def test_the_loss_is_the_mean_of_the_steps() -> None:
    meter = progress()
    for step in range(120):
        meter.step(torch.tensor(float(step)), step, torch.tensor([step]))
    assert meter._loss() == pytest.approx(2 * 59.5)
    assert math.isnan(meter._loss())  # nothing since


@pytest.mark.parametrize(
    ("precision", "lost", "advice"),
    [
        ("fp16", 77, "fp16 holds no number above 65,504"),
        ("bf16", 77, "a lower learning rate"),
        ("fp32", 2, "weights that are damaged"),
    ],
)
def test_a_loss_that_is_no_number_names_its_step_and_the_likely_cause(precision: str, lost: int, advice: str) -> None:
    meter = progress(precision)

    def train() -> None:
        for step in range(1, 130):
            meter.step(torch.tensor(math.nan if step >= lost else 1.0), step, torch.arange(step, step + 9))

    with pytest.raises(GateError) as caught:
        train()
    assert f"the training loss is nan at step {lost}, in {precision}" in str(caught.value)
    assert advice in str(caught.value)
    rows = [f"data.csv:{lost + i}" for i in range(8)]
    assert f"  --> rows of that batch: {', '.join(rows)} and 1 more\n" in str(caught.value)
