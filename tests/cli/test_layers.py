"""Layers of an encoder: their learning rates, which of them are frozen, and when they are trained."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from cli.conftest import Run
from safetensors.torch import load_file

from bertft.bundle import store
from bertft.encoders import load
from bertft.tasks.base import Head
from bertft.training import layers
from bertft.training.trainer import EncoderTrainer

BASE = Callable[[str], Path]
HEAD = Head("AutoModelForSequenceClassification", ("a", "b"), None)
SETTINGS = {"trainer.num_train_epochs": 3, "trainer.bf16": "false", "trainer.learning_rate": 0.005}
STEPS = 4
"""Of an epoch."""
families = pytest.mark.parametrize("family", tiny.FAMILIES)


def model_of(directory: Path) -> Any:
    return store.load_weights(load.resolve(str(directory)), HEAD)[0]


@families
def test_every_weight_has_its_depth(base: BASE, family: str) -> None:
    model = model_of(base(family))
    found = layers.depths(model)
    prefix = f"{model.base_model_prefix}."
    count = 1 if family == "albert" else 2
    assert sorted(set(found.values())) == list(range(count + 2))
    for name, depth in found.items():
        if not name.startswith(prefix) or "pooler" in name or "final_norm" in name:
            assert depth == count + 1, name
        elif "embedding" in name or "rel_" in name or "relative" in name:
            assert depth == 0, name
        elif ".1." in name:
            assert depth == 2, name


@families
def test_layer_decay_gives_the_embeddings_the_lowest_rate_and_the_head_all_of_it(base: BASE, family: str) -> None:
    model = model_of(base(family))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1.0)
    layers.decay_rates(optimizer, model, 0.5)
    found = {names[id(p)]: (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert found.keys() == set(names.values())
    depths = layers.depths(model)
    head = max(depths.values())
    for name, parameter in model.named_parameters():
        rate, decay = found[name]
        assert rate == 0.5 ** (head - depths[name])
        assert decay == (0.1 if parameter.ndim > 1 else 0.0)


@pytest.fixture
def train(cli: Run, base: BASE, train_file: Path, tmp_path: Path) -> Callable[..., dict[str, torch.Tensor]]:
    """Return a function that trains a tagger and returns its weights."""

    def run(out: str = "out", code: int = 0, *extra: object, family: str = "bert-uncased", **sets: object) -> Any:
        named = ("--data", train_file, "--model", base(family), "--out", tmp_path / out)
        overrides = [
            part
            for key, value in {**SETTINGS, **{k.replace("__", "."): v for k, v in sets.items()}}.items()
            for part in ("--set", f"{key}={value}")
        ]
        ran = cli("train", "ner", *named, *overrides, *extra)
        assert ran.code == code, ran.err
        return load_file(tmp_path / out / "model.safetensors") if not code else ran

    return run


def changed(found: Mapping[str, torch.Tensor], base: Path) -> set[str]:
    """Return the names of the encoder's weights that are no longer those of the base checkpoint."""
    given = load_file(base / "model.safetensors")
    bodies = {name.partition(".")[2]: value for name, value in found.items() if name.partition(".")[2] in given}
    assert len(bodies) > 20
    return {name for name, value in bodies.items() if not torch.equal(value, given[name])}


@pytest.mark.parametrize(
    ("freeze", "still"), [("embeddings", ("embeddings.",)), (1, ("embeddings.", "encoder.layer.0."))]
)
def test_frozen_layers_stay_as_they_were(train: Any, base: BASE, freeze: object, still: tuple[str, ...]) -> None:
    found = changed(train(freeze=freeze), base("bert-uncased"))
    assert not [name for name in found if name.startswith(still)]
    assert any(name.startswith("encoder.layer.1.") for name in found)
    assert (freeze == 1) is not any(name.startswith("encoder.layer.0.") for name in found)


def test_layers_are_unfrozen_from_the_top(train: Any, base: BASE, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[int, set[int]] = {}
    original = EncoderTrainer.training_step

    def step(self: Any, model: Any, *arguments: Any, **named: Any) -> Any:
        loss = original(self, model, *arguments, **named)
        depths = layers.depths(model)
        seen[self.state.global_step] = {depths[name] for name, p in model.named_parameters() if p.grad is not None}
        return loss

    monkeypatch.setattr(EncoderTrainer, "training_step", step)
    train(unfreeze=1)
    assert [seen[i] for i in (0, 3, 4, 7, 8, 11)] == [{3}, {3}, {2, 3}, {2, 3}, {1, 2, 3}, {1, 2, 3}]


@pytest.mark.parametrize(
    ("step", "epochs", "said"),
    [
        (1, 4, None),
        (2, 3, None),
        (1, 3, "the embeddings are not trained in 3 epochs"),
        (1, 2, "the lowest layer and the embeddings are not trained in 2 epochs"),
        (1, 0.5, "the lowest 2 layers and the embeddings are not trained in 0.5 epochs"),
    ],
)
def test_layers_that_are_never_unfrozen_are_named(base: BASE, step: int, epochs: float, said: str | None) -> None:
    found = layers.Unfreezing(model_of(base("bert-uncased")), step).never(epochs)
    assert (found or "").removeprefix("unfreeze: ") == (said or "")


def test_in_the_first_epoch_the_head_alone_is_trained(train: Any, base: BASE) -> None:
    found = train(unfreeze=1, trainer__num_train_epochs=1, trainer__weight_decay=0.1)
    assert not changed(found, base("bert-uncased"))
    assert torch.any(found["classifier.bias"] != 0)


@pytest.mark.parametrize(
    "sets",
    [
        {"unfreeze": 1, "layer_decay": 0.9},
        {"peft__method": "dora", "peft__dropout": 0.1},
        {"peft__method": "ia3", "freeze": "null", "layer_decay": 0.9, "peft__merge": "false"},
    ],
)
@pytest.mark.parametrize("step", [4, 6])
def test_a_run_that_is_stopped_goes_on_to_the_same_model(
    train: Any, tmp_path: Path, sets: dict[str, object], step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    train("whole", **sets)
    original = EncoderTrainer.training_step

    def stopped(self: Any, *arguments: Any, **named: Any) -> Any:
        loss = original(self, *arguments, **named)
        if self.state.global_step + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(EncoderTrainer, "training_step", stopped)
        train("out", 143, **sets)
    train("out", 0, "--resume", **sets)
    names = [
        "model.safetensors",
        "metrics.json",
        *(["adapter/adapter_model.safetensors"] if "peft__merge" in sets else []),
    ]
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_rate_of_one_changes_nothing(train: Any) -> None:
    plain, same, other = train("a"), train("b", layer_decay=1), train("c", layer_decay=0.5)
    assert all(torch.equal(value, same[name]) for name, value in plain.items())
    assert not all(torch.equal(value, other[name]) for name, value in plain.items())


@pytest.mark.parametrize("peft", [False, True])
@pytest.mark.parametrize("family", ["bert-uncased", "modernbert", "deberta-v3"])
def test_gradient_checkpointing_gives_the_same_weights(train: Any, family: str, *, peft: bool) -> None:
    sets: dict[str, object] = {"trainer__max_steps": 6, **({"peft__method": "lora"} if peft else {})}
    plain = train("plain", family=family, **sets)
    saved = train("saved", family=family, trainer__gradient_checkpointing="true", **sets)
    for name, value in plain.items():
        assert torch.allclose(value, saved[name], atol=1e-6), name


def test_a_family_without_gradient_checkpointing_is_refused(train: Any) -> None:
    ran = train(code=2, family="mpnet", trainer__gradient_checkpointing="true")
    ran.fails(2, "trainer.gradient_checkpointing: transformers has none for mpnet")


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ({"freeze": 3}, "freeze: 3 layers, and the encoder has 2"),
        ({"freeze": 0}, "freeze: 0 is not 1 or more"),
        ({"freeze": "embedding"}, "freeze: 'embedding' is not "),
        ({"unfreeze": 0}, "unfreeze: 0 is not 1 or more"),
        ({"layer_decay": 1.5}, "layer_decay: 1.5 is not more than 0 and at most 1"),
        ({"layer_decays": 0.9}, "did you mean 'layer_decay'?"),
    ],
)
def test_what_cannot_be_is_refused(train: Any, sets: dict[str, object], said: str) -> None:
    train(code=2, **sets).fails(2, said)


def test_the_share_that_is_trained_is_said(cli: Run, base: BASE, train_file: Path, tmp_path: Path) -> None:
    ran = cli(
        "train", "ner", "--data", train_file, "--model", base("bert-uncased"), "--out", tmp_path / "out",
        "--set", "freeze=2", "--set", "trainer.max_steps=1",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    share = float(ran.err.partition("trainable: ")[2].split()[0])
    assert 0 < share < 10
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "| `freeze` | `2` |" in card
    assert json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))["dev"]
    assert math.isfinite(share)
