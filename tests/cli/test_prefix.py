"""Prefix tuning: keys and values before the text are trained, kept beside the plain model, refused where none fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from cli.conftest import Run
from cli.test_adapters import ROWS, logits, moved, recipe, trained
from safetensors.torch import save_file

from bertft.bundle import store
from bertft.encoders import adapters, load
from bertft.errors import ModelError
from bertft.recipe import Peft
from bertft.tasks.base import Head
from bertft.training import run

BASE = Callable[[str], Path]
FITTING = ("bert-cased", "bert-uncased", "electra", "roberta", "xlm-roberta")
PREFIX = {"method": "prefix", "tokens": 5}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def bundle(base: BASE, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prefix") / "out"
    trained(recipe(base("bert-uncased"), PREFIX), data, out)
    return out


@pytest.mark.parametrize("family", FITTING)
@pytest.mark.parametrize("architecture", ["AutoModelForTokenClassification", "AutoModelForSequenceClassification"])
def test_the_encoder_stays_as_it_is_and_padding_changes_nothing(base: BASE, family: str, architecture: str) -> None:
    model, _ = store.load_weights(load.resolve(str(base(family))), Head(architecture, ("a", "b", "c"), None))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plain = logits(model)
    adapters.attach(model, Peft("prefix", tokens=5))
    torch.manual_seed(1)
    moved(model)
    assert not torch.allclose(logits(model), plain, atol=1e-3)
    kept = adapters.plain_state(model)
    assert kept.keys() == before.keys()
    body = f"{model.base_model_prefix}."
    new = set(getattr(model, "bertft_new", ()))
    changed = {name for name, value in kept.items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if not name.startswith(body)} | new
    ids = torch.arange(6, 26).reshape(2, 10)
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    with torch.no_grad():
        both = model(input_ids=ids, attention_mask=mask).logits[1]
        alone = model(input_ids=ids[1:, :6], attention_mask=mask[1:, :6]).logits[0]
    assert torch.allclose(both[:6] if both.ndim == 2 else both, alone, atol=1e-5)


@pytest.mark.parametrize("family", sorted({*tiny.FAMILIES} - {*FITTING}))
def test_a_family_without_a_place_for_it_is_refused_with_the_reason(
    cli: Run, base: BASE, data: Path, tmp_path: Path, family: str
) -> None:
    command = ["train", "classify", "--data", data, "--model", base(family), "--out", tmp_path / "out"]
    ran = cli(*command, "--set", "peft.method=prefix")
    ran.fails(2, "has no place for a prefix in transformers", "lora, dora and ia3 work with it")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("family", ["bert-uncased", "roberta", "electra"])
def test_what_is_written_answers_as_what_was_trained_in_peft_too(
    base: BASE, data: Path, tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    seen = {}
    write = store.write
    monkeypatch.setattr(store, "write", lambda *a, **n: (seen.update(written=logits(n["model"])), write(*a, **n)))
    out = tmp_path / "out"
    trained(recipe(base(family), PREFIX), data, out)
    assert torch.allclose(logits(store.open_bundle(str(out)).load_model()), seen["written"], atol=1e-6)
    plain: Any = AutoModelForSequenceClassification.from_pretrained(out)
    assert not torch.allclose(logits(plain), seen["written"], atol=1e-3)
    theirs = PeftModel.from_pretrained(plain, str(out / "adapter"))
    assert torch.allclose(logits(theirs), seen["written"], atol=1e-5)
    assert "PeftModel" in (out / "README.md").read_text(encoding="utf-8")


def test_eval_predict_and_the_window_know_it(cli: Run, bundle: Path, data: Path) -> None:
    stored = json.loads((bundle / "metrics.json").read_text())["dev"]
    assert json.loads(cli("eval", bundle, "--data", data).out)["calibration"]["nll"] == stored["calibration"]["nll"]
    assert cli("predict", bundle, "-q", stdin="Maria lives in Rome .\n").code == 0
    assert json.loads((bundle / "bertft.json").read_text())["window"]["length"] == 128 - 5


@pytest.mark.parametrize("peft", [PREFIX, {"method": "lora", "merge": False}], ids=["prefix", "lora"])
def test_vectors_are_those_of_the_encoder_with_it(
    cli: Run, base: BASE, data: Path, tmp_path: Path, peft: dict[str, Any]
) -> None:
    from transformers import AutoModel

    trained(recipe(base("bert-uncased"), peft), data, tmp_path / "out")
    ran = cli("embed", tmp_path / "out", stdin="Maria lives in Rome\n" + "Rome " * 300 + "\n")
    assert ran.code == 0, ran.err
    found = torch.tensor([json.loads(line)["embedding"] for line in ran.out.splitlines()])
    bundle = store.open_bundle(str(tmp_path / "out"))
    (text,) = bundle.tokenizer.encode_texts(["Maria lives in Rome"], with_words=False)
    ids = torch.tensor([[*bundle.tokenizer.single.before, *text.ids, *bundle.tokenizer.single.after]])
    with torch.no_grad():
        model, plain = bundle.load_model().base_model, AutoModel.from_pretrained(tmp_path / "out").eval()
        with_it, without = (one(input_ids=ids).last_hidden_state.mean(1)[0] for one in (model, plain))
    assert torch.allclose(found[0], with_it, atol=1e-5)
    assert not torch.allclose(found[0], without, atol=1e-3)


def test_a_student_of_some_layers_takes_a_prefix(cli: Run, base: BASE, data: Path, tmp_path: Path) -> None:
    trained(recipe(base("bert-uncased"), {}, num_train_epochs=1), data, tmp_path / "teacher")
    command = ["train", "classify", "--data", data, "--dev", data, "--model", "teacher", "--layers", "1"]
    command += ["--teacher", tmp_path / "teacher", "--set", "peft.method=prefix", "--set", "trainer.max_steps=2"]
    ran = cli(*command, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert cli("predict", tmp_path / "out", "-q", stdin="Maria lives in Rome\n").code == 0


def test_a_teacher_with_one_reads_so_much_less(cli: Run, base: BASE, bundle: Path, data: Path, tmp_path: Path) -> None:
    named = ("--data", data, "--model", base("bert-uncased"), "--teacher", bundle, "--out", tmp_path / "out")
    ran = cli("train", "classify", *named, "--set", "options.window=128")
    ran.fails(2, "reads 123 tokens at once, and the student 128")
    named = ("--data", data, "--model", "teacher", "--teacher", bundle, "--out", tmp_path / "out")
    cli("train", "classify", *named).fails(2, "--model teacher: it has a prefix")


def test_an_interrupted_run_goes_on_to_the_same_bytes(
    base: BASE, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    settings = recipe(base("bert-uncased"), PREFIX, save_strategy="steps", save_steps=3, max_steps=9)
    trained(settings, data, tmp_path / "whole")
    step = transformers.Trainer.training_step
    count = 0

    def stopped(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        if count == 6:
            raise KeyboardInterrupt
        return step(self, *arguments, **named)

    monkeypatch.setattr(transformers.Trainer, "training_step", stopped)
    with pytest.raises(KeyboardInterrupt):
        trained(settings, data, tmp_path / "cut")
    monkeypatch.undo()
    run.train(settings, data=str(data), dev=str(data), out=str(tmp_path / "cut"), device="cpu", resume=True)
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_share_and_the_rate_are_said(cli: Run, base: BASE, data: Path, tmp_path: Path) -> None:
    ran = cli(
        "train", "classify", "--data", data, "--model", base("bert-uncased"), "--out", tmp_path / "out",
        "--set", "peft.method=prefix", "--set", "trainer.max_steps=2",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "\ntrainable: " in ran.err
    assert "known to work" not in ran.err
    resolved = (tmp_path / "out" / "recipe.yaml").read_text(encoding="utf-8")
    assert "peft:\n  merge: false\n  tokens: 20\n  method: prefix" in resolved
    assert adapters.learning_rate(Peft("prefix"), 5e-5) == 5e-3


@pytest.mark.parametrize("options", [{"head": "crf"}, {"pooling": "mean"}, {"pooling": "attention"}])
def test_heads_of_our_own_work_with_it(base: BASE, options: dict[str, Any]) -> None:
    from bertft.tasks import task_class

    if "head" in options:
        head = task_class("ner").restore(options, {"labels": ["O", "B-X", "I-X"]}).head()
    else:
        head = Head("AutoModelForSequenceClassification", ("a", "b"), None, **options)
    model, _ = store.load_weights(load.resolve(str(base("bert-uncased"))), head)
    adapters.attach(model, Peft("prefix", tokens=5))
    assert logits(model).shape[0] == 2


def test_a_model_with_a_prefix_is_not_trained_on(cli: Run, bundle: Path, data: Path, tmp_path: Path) -> None:
    ran = cli("train", "classify", "--data", data, "--model", bundle, "--out", tmp_path / "out")
    ran.fails(2, "it has a prefix", "start from the encoder that it was made for")


def test_an_export_answers_as_the_model(cli: Run, bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="needs the extra bertft[export]")
    copy = shutil.copytree(bundle, tmp_path / "copy")
    assert cli("export", copy).code == 0
    text = "Maria lives in Rome .\nAcme hired Li last week .\n"
    found = [json.loads(line)["prediction"] for line in cli("predict", copy, "-q", stdin=text).out.splitlines()]
    wanted = cli("predict", copy, "-q", "--backend", "torch", "--precision", "fp32", stdin=text).out.splitlines()
    for one, line in zip(found, wanted, strict=True):
        other = json.loads(line)["prediction"]
        assert one["label"] == other["label"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-2)


@pytest.mark.parametrize("tokens", [4, "5", 10**9])
def test_a_changed_prefix_is_refused(bundle: Path, tmp_path: Path, tokens: object) -> None:
    shutil.copytree(bundle, tmp_path / "out")
    path = tmp_path / "out" / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_virtual_tokens": tokens}), encoding="utf-8")
    with pytest.raises(ModelError, match="the adapter is damaged"):
        store.open_bundle(str(tmp_path / "out")).load_model()
    save_file({"other": torch.zeros(1)}, tmp_path / "out" / "adapter" / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="the adapter is damaged"):
        store.open_bundle(str(tmp_path / "out")).load_model()


def test_attention_is_that_of_the_text(cli: Run, bundle: Path) -> None:
    ran = cli("inspect", "attention", bundle, "Maria lives in Rome .", "--json")
    assert ran.code == 0, ran.err
    (window,) = json.loads(ran.out)["windows"]
    size = len(window["tokens"])
    assert all(len(row) == size for heads in window["weights"] for head in heads for row in head)
