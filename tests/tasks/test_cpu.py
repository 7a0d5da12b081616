"""Faster steps on a CPU: what they compute is what torch computes, masks aside."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from transformers import AutoModel

from bertft.training import cpu


def test_a_mask_has_its_share_of_zeros_its_scale_and_its_gradient() -> None:
    torch.manual_seed(0)
    x = torch.ones(1000, 1001, requires_grad=True)
    out = cpu.dropped(x, 0.1)
    zeros = (out == 0).float().mean().item()
    assert zeros == pytest.approx(0.1, abs=5 * (0.09 / 1e6) ** 0.5)
    assert out.max().item() == pytest.approx(1 / 0.9, rel=1e-4)
    out.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, out.detach())
    # neighbours, which share a draw, are independent
    dropped = (out.detach() == 0).double()
    assert torch.corrcoef(torch.stack((dropped[:, :-1].flatten(), dropped[:, 1:].flatten())))[0, 1].abs() < 0.005


def test_a_mask_follows_from_the_seed() -> None:
    x = torch.ones(10, 10)
    torch.manual_seed(3)
    first, second = cpu.dropped(x, 0.5), cpu.dropped(x, 0.5)
    torch.manual_seed(3)
    assert torch.equal(cpu.dropped(x, 0.5), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("p", [0.0, 1e-9, 1.0])
def test_what_drops_nothing_or_all(p: float) -> None:
    assert cpu.dropped(torch.ones(4), p).sum().item() == (0 if p == 1 else 4)
    assert cpu.dropped(torch.ones(0), 0.5).shape == (0,)


@pytest.mark.parametrize("family", sorted(tiny.FAMILIES))
def test_without_dropout_a_sped_up_model_trains_as_before(family: str, tmp_path: Path) -> None:
    tiny.build(family, tmp_path)
    ids = torch.randint(5, 50, (3, 12), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    gradients = []
    for fast in (False, True):
        model = AutoModel.from_pretrained(tmp_path, dtype=torch.float32)
        if fast:
            cpu.speed_up(model)
            names = {type(module) for module in model.modules()}
            assert torch.nn.Dropout not in names
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                # what goes through the drawn mask, and drops nothing
                module.p = 0.0
        model.train()
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        (hidden * mask.unsqueeze(2)).square().sum().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-5)


def test_attention_in_steps_is_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    query, key, value = (torch.randn(2, 3, 5, 4, requires_grad=True) for _ in range(3))
    mask = torch.ones(2, 1, 5, 5, dtype=torch.bool)
    mask[0, ..., 3:] = False
    monkeypatch.setattr(cpu, "dropped", lambda x, p: x)
    module = torch.nn.Module()
    found, _ = cpu._attention(module, query, key, value, mask, dropout=0.1)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, mask).transpose(1, 2)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(cpu._attention(module, query, key, value, mask)[0], expected)


def test_evaluation_is_left_as_it_is(tmp_path: Path) -> None:
    tiny.build("bert-uncased", tmp_path)
    ids = torch.arange(5, 25).reshape(2, 10)
    plain, fast = (AutoModel.from_pretrained(tmp_path, dtype=torch.float32).eval() for _ in range(2))
    cpu.speed_up(fast)
    with torch.inference_mode():
        assert torch.equal(plain(ids).last_hidden_state, fast(ids).last_hidden_state)


def test_a_causal_model_without_a_mask_stays_causal() -> None:
    torch.manual_seed(1)
    query, key, value = (torch.randn(1, 2, 5, 4) for _ in range(3))
    module = torch.nn.Module()
    module.is_causal = True  # type: ignore[assignment]
    changed = value.clone()
    changed[:, :, -1] += 1
    torch.manual_seed(2)
    first, _ = cpu._attention(module, query, key, value, None, dropout=0.1)
    torch.manual_seed(2)
    second, _ = cpu._attention(module, query, key, changed, None, dropout=0.1)
    assert torch.equal(first[:, :-1], second[:, :-1])
