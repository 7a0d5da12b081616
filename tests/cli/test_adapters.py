"""Adapters: few weights are trained beside an encoder's own, and the model that is written is a plain one."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from cli.conftest import Run
from safetensors.torch import load_file

from bertft.bundle import contents, store
from bertft.encoders import adapters, load
from bertft.errors import ModelError, UsageError
from bertft.recipe import Peft, Recipe
from bertft.recipe import load as load_recipe
from bertft.tasks.base import Head
from bertft.training import layers, run

BASE = Callable[[str], Path]
METHODS = ("lora", "dora", "ia3")
families = pytest.mark.parametrize("family", tiny.FAMILIES)
methods = pytest.mark.parametrize("method", METHODS)

ROWS = [
    {"text": " ".join(word for word, _ in sentence), "label": "person" if "lives" in dict(sentence) else "firm"}
    for sentence in tiny.sentences()
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def settings(**more: Any) -> dict[str, Any]:
    off = {"eval_strategy": "no", "save_strategy": "no", "bf16": False}
    return {"num_train_epochs": 10, "learning_rate": 0.02, "per_device_train_batch_size": 8, **off, **more}


def trained(recipe: Recipe, data: Path, out: Path) -> dict[str, Any]:
    return run.train(recipe, data=str(data), dev=str(data), out=str(out), device="cpu")


def recipe(base: Path, peft: dict[str, Any], **more: Any) -> Recipe:
    return Recipe(task="classify", model=str(base), calibrate="off", peft=peft, trainer=settings(**more))


def moved(model: Any) -> None:
    """Train the trainable weights of a model by a step that changes all of them."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))


def logits(model: Any) -> torch.Tensor:
    model.eval()
    ids = torch.arange(6, 26).reshape(2, 10)
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return found


@families
@methods
def test_every_family_has_adapters_that_merge_to_the_same_logits(base: BASE, family: str, method: Any) -> None:
    head = Head("AutoModelForTokenClassification", ("O", "B-X", "I-X"), None)
    model, _ = store.load_weights(load.resolve(str(base(family))), head)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plain = logits(model)
    adapters.attach(model, Peft(method))
    assert torch.allclose(logits(model), plain, atol=1e-6)  # at first adapters change nothing
    torch.manual_seed(1)
    moved(model)
    found = logits(model)
    assert not torch.allclose(found, plain, atol=1e-3)
    kept = adapters.plain_state(model)
    assert kept.keys() == before.keys()
    changed = {name for name, value in kept.items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if not name.startswith(f"{model.base_model_prefix}.")}
    adapters.merge(model)
    assert torch.allclose(logits(model), found, atol=1e-5)
    assert model.state_dict().keys() == before.keys()
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PeftModel asks for it
@pytest.mark.parametrize("family", ["bert-uncased", "distilbert", "modernbert", "deberta-v3", "albert"])
@pytest.mark.parametrize(("method", "merged"), [("lora", True), ("lora", False), ("dora", False), ("ia3", False)])
def test_what_is_written_answers_as_what_was_trained(
    base: BASE, data: Path, tmp_path: Path, family: str, method: str, *, merged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForSequenceClassification

    seen = {}
    merge = adapters.merge
    monkeypatch.setattr(adapters, "merge", lambda model: (seen.update(adapter=logits(model)), merge(model)))
    write = store.write
    monkeypatch.setattr(store, "write", lambda *a, **n: (seen.update(written=logits(n["model"])), write(*a, **n)))
    out = tmp_path / "out"
    trained(recipe(base(family), {"method": method, "merge": merged}), data, out)
    if merged:
        assert torch.allclose(seen["adapter"], seen["written"], atol=1e-5)
    assert (out / "adapter").is_dir() is not merged
    plain: Any = AutoModelForSequenceClassification.from_pretrained(out)
    if not merged:
        from peft import PeftModel

        assert not torch.equal(logits(plain), seen["written"])
        kept, given = plain.base_model.state_dict(), load_file(base(family) / "model.safetensors")
        assert {k for k, v in kept.items() if not torch.equal(v, given[k])} <= {k for k in kept if "pooler" in k}
        plain = PeftModel.from_pretrained(plain, str(out / "adapter"))
    assert torch.allclose(logits(plain), seen["written"], atol=1e-5)
    monkeypatch.undo()
    assert torch.allclose(logits(store.open_bundle(str(out)).load_model()), seen["written"], atol=1e-5)
    assert not contents.contents(out).left_out
    assert ("PeftModel" in (out / "README.md").read_text(encoding="utf-8")) is not merged


def test_less_than_a_hundredth_of_the_embedded_encoder_is_trained() -> None:
    head = Head("AutoModelForSequenceClassification", tuple(map(str, range(77))), None)
    model, _ = store.load_weights(load.resolve("embedded"), head)
    adapters.attach(model, Peft("lora"))
    said = layers.trainable(model)
    assert said.startswith("trainable: 0.")
    assert said.endswith(" M parameters")
    assert float(said.split()[1]) < 1


def test_the_share_and_the_rate_are_said(cli: Run, base: BASE, data: Path, tmp_path: Path) -> None:
    ran = cli(
        "train", "classify", "--data", data, "--model", base("bert-uncased"), "--out", tmp_path / "out",
        "--set", "peft.method=lora", "--set", "trainer.max_steps=2",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "\ntrainable: " in ran.err
    assert "learning rate 0.002" in ran.err
    assert "known to work" not in ran.err
    resolved = (tmp_path / "out" / "recipe.yaml").read_text(encoding="utf-8")
    assert "peft:\n  r: 16\n  alpha: null\n  dropout: 0.0\n  targets: null\n  merge: true\n  method: lora" in resolved
    assert json.loads((tmp_path / "out" / "bertft.json").read_text(encoding="utf-8"))["versions"]["peft"]


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["peft.methods=lora"], ["unknown key 'peft.methods'", "did you mean 'method'?"]),
        (["peft.method=lore"], ["peft.method: 'lore' is not lora | dora | ia3"]),
        (["peft.r=8"], ["peft names no method", "lora, dora, ia3"]),
        (["peft.method=lora", "peft.r=0"], ["peft.r: 0 is not between 1 and 4096"]),
        (["peft.method=ia3", "peft.r=8"], ["peft.r: ia3 has no rank"]),
        (["peft.method=lora", "peft.dropout=1"], ["peft.dropout: 1.0 is not between 0 and 1"]),
        (["peft.method=lora", "peft.targets=query"], ["peft.targets: 'query' is not list or null"]),
        (["peft.method=lora", "peft.targets=[queri]"], ["no linear layer is called 'queri'", "there are query, key"]),
        (["peft.method=lora", "freeze=1"], ["freeze: with adapters"]),
        (["peft.method=lora", "peft.tokens=8"], ["peft.tokens: only a prefix has some", "lora"]),
        (["peft.method=prefix", "peft.r=8"], ["peft.r: a prefix has `tokens`, and no other setting"]),
        (["peft.merge=true", "peft.method=prefix"], ["peft.merge: a prefix changes no weights"]),
        (["peft.method=prefix", "peft.merge=true"], ["peft.merge: a prefix changes no weights"]),
        (["peft.method=prefix", "peft.tokens=0"], ["peft.tokens: 0 is not between 1 and 256"]),
        (["peft.method=prefix", "options.window=120"], ["120 tokens are more than the model's 128, less 20 of the"]),
        (["peft.method=prefix", "trainer.gradient_checkpointing=true"], ["transformers then drops what"]),
    ],
)
def test_a_section_that_cannot_be_used_is_refused(
    cli: Run, base: BASE, data: Path, tmp_path: Path, overrides: list[str], parts: list[str]
) -> None:
    sets = [part for override in overrides for part in ("--set", override)]
    cli("train", "classify", "--data", data, "--model", base("bert-uncased"), "--out", tmp_path / "out", *sets).fails(
        2, *parts
    )


def test_a_prefix_can_be_said_not_to_be_merged() -> None:
    recipe = load_recipe("classify", ["peft.method=prefix", "peft.merge=false"])
    assert recipe.peft["merge"] is False


def test_named_layers_get_the_adapter(base: BASE) -> None:
    head = Head("AutoModelForTokenClassification", ("O", "B-X", "I-X"), None)
    model, _ = store.load_weights(load.resolve(str(base("bert-uncased"))), head)
    adapters.attach(model, Peft("lora", targets=["key", "intermediate.dense"]))
    found = {name.partition(".lora_")[0].rpartition(".")[2] for name, _ in model.named_parameters() if "lora_" in name}
    assert found == {"key", "dense"}


@pytest.mark.parametrize("options", [{"head": "crf"}, {}])
def test_a_head_of_our_own_is_trained_in_full(base: BASE, options: dict[str, Any]) -> None:
    from bertft.tasks import task_class

    if options:
        head = task_class("ner").restore(options, {"labels": ["O", "B-X", "I-X"]}).head()
    else:
        head = Head("AutoModelForSequenceClassification", ("a", "b"), None, pooling="attention")
    model, _ = store.load_weights(load.resolve(str(base("bert-uncased"))), head)
    adapters.attach(model, Peft("lora"))
    own = [parameter for name, parameter in model.named_parameters() if name.startswith("bertft_")]
    assert own
    assert all(parameter.requires_grad for parameter in own)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(
    shell: Run, base: BASE, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    still = Path(shutil.copytree(base("bert-uncased"), tmp_path / "still"))
    config = json.loads((still / "config.json").read_text(encoding="utf-8"))
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (still / "config.json").write_text(json.dumps({**config, **none}), encoding="utf-8")
    sets = ("peft.method=lora", "trainer.bf16=false", "trainer.num_train_epochs=2")
    command = ["train", "classify", "--data", data, "--dev", data, "--model", still, "--device", "cpu"]
    command += [part for setting in sets for part in ("--set", setting)]
    for name, more in (("one", ()), ("two", ("--processes", "2"))):
        ran = shell(*command, "--out", tmp_path / name, *more)
        assert ran.code == 0, ran.err
        assert ran.err.count("trainable: ") == 1
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert all(torch.allclose(value, two[name], atol=2e-5) for name, value in one.items())
    ran = shell(*command, "--out", tmp_path / "three", "--processes", "2", "--set", "peft={}", "--set", "unfreeze=1")
    ran.fails(2, "unfreeze: layers are unfrozen in one process")


def test_without_peft_it_says_what_to_install(
    cli: Run, base: BASE, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bertft.extras.find_spec", lambda name: None)
    cli(
        "train", "classify", "--data", data, "--model", base("bert-uncased"), "--out", tmp_path / "out",
        "--set", "peft.method=lora",
    ).fails(2, "needs peft", "pip install 'bertft[peft]'")  # fmt: skip


def test_a_family_without_a_table_wants_names(base: BASE) -> None:
    class Config:
        model_type = "funnel"

    with pytest.raises(UsageError, match="funnel"):
        adapters.check(Peft("lora"), Config())
    adapters.check(Peft("lora", targets=["q_head"]), Config())


def test_the_default_rate_is_that_of_the_method() -> None:
    assert adapters.learning_rate(None, 5e-5) == 5e-5
    assert math.isclose(adapters.learning_rate(Peft("lora"), 5e-5), 1e-3)
    assert adapters.learning_rate(Peft("ia3"), 5e-5) == 3e-3


@pytest.fixture(scope="module")
def unmerged(base: BASE, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unmerged") / "out"
    trained(recipe(base("bert-uncased"), {"method": "lora", "merge": False}, max_steps=2), data, out)
    return out


@pytest.mark.parametrize(
    "change",
    [
        {"target_modules": "(a+)+$"},
        {"target_modules": ["no.such.layer"]},
        {"peft_type": "PROMPT_TUNING"},
        {"r": "8"},
        {"r": 3},
        {"r": 10**9},
        {"use_dora": True},
    ],
)
def test_a_changed_adapter_is_refused(unmerged: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    shutil.copytree(unmerged, tmp_path / "out")
    path = tmp_path / "out" / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    with pytest.raises(ModelError, match="the adapter is damaged"):
        store.open_bundle(str(tmp_path / "out")).load_model()


def test_an_adapter_of_a_stranger_is_no_part_of_a_model(unmerged: Path, tmp_path: Path) -> None:
    shutil.copytree(unmerged, tmp_path / "out")
    (tmp_path / "out" / "bertft.json").unlink()
    plain = logits(store.open_bundle(str(tmp_path / "out")).load_model())
    assert not torch.equal(plain, logits(store.open_bundle(str(unmerged)).load_model()))
    shutil.move(tmp_path / "out" / "adapter" / "adapter_config.json", tmp_path / "out" / "adapter_config.json")
    with pytest.raises(ModelError, match="this is an adapter"):
        store.open_bundle(str(tmp_path / "out"))
