"""`bertft train mlm` that learns what goes with what, or what was replaced: train, eval, predict, the next task."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from cli.conftest import Ran, Run
from cli.test_resume import at_step, files, send

BASE = Callable[[str], Path]

SENTENCES = [" ".join(word for word, _ in sentence) for sentence in tiny.sentences()]
FAMILIES = {"mlm+nsp": "bert-uncased", "mlm+sop": "albert", "rtd": "electra"}
SETTINGS = (
    "trainer.num_train_epochs=3", "trainer.bf16=false", "trainer.learning_rate=0.005", "options.window=40",
    "trainer.per_device_train_batch_size=4",
)  # fmt: skip
objectives = pytest.mark.parametrize("objective", FAMILIES)
pairs = pytest.mark.parametrize("objective", ["mlm+nsp", "mlm+sop"])


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight documents of a file of text: eight sentences each, a line each."""
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    documents = ["\n".join(SENTENCES[i:] + SENTENCES[:i])[:300] for i in range(0, 32, 4)]
    path.write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def train(cli: Run, base: BASE, text: Path, tmp_path: Path) -> Run:
    def run(objective: str, out: str, *extra: object) -> Ran:
        named = ("--data", text, "--dev", text, "--model", base(FAMILIES[objective]), "--out", tmp_path / out)
        settings = [part for one in (*SETTINGS, f"options.objective={objective}") for part in ("--set", one)]
        return cli("train", "mlm", *named, *settings, *extra)

    return run


@pairs
def test_train_eval_predict_and_plain_transformers_agree(
    train: Run, cli: Run, objective: str, text: Path, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForMaskedLM, AutoModelForPreTraining, AutoTokenizer

    ran = train(objective, "model")
    assert ran.code == 0, ran.err
    assert "8 documents" in ran.err
    model, key = tmp_path / "model", f"{objective[4:]}_accuracy"
    dev = json.loads(ran.out)["dev"]
    low, high = dev["intervals"][key]
    assert 0 <= low <= dev[key] <= high <= 1
    assert dev["bootstrap"]["unit"] == "document"
    assert dev["pairs"] >= 8
    scores = json.loads(cli("eval", model, "--data", text).out)
    assert {name: scores[name] for name in dev} == dev
    card = (model / "README.md").read_text(encoding="utf-8")
    assert "In percent, but for loss and perplexity" in card
    assert "prediction_logits" in card

    asked = tmp_path / "in.txt"
    asked.write_text("Ada lives in [MASK] .\n", encoding="utf-8")
    (line,) = cli("predict", model, asked).out.splitlines()
    (mask,) = json.loads(line)["prediction"]["masks"]
    tokenizer = AutoTokenizer.from_pretrained(model)
    inputs = tokenizer("Ada lives in [MASK] .", return_tensors="pt")
    both, alone = (kind.from_pretrained(model).eval() for kind in (AutoModelForPreTraining, AutoModelForMaskedLM))
    with torch.inference_mode():
        logits, other = both(**inputs).prediction_logits, alone(**inputs).logits
    torch.testing.assert_close(logits, other)
    where = inputs["input_ids"][0] == tokenizer.mask_token_id
    chance, best = logits[0, where].softmax(-1).max(-1)
    assert mask["candidates"][0]["score"] == pytest.approx(chance.item(), abs=1e-4)
    assert mask["candidates"][0]["token"] == tokenizer.decode(best).strip()


@objectives
@pytest.mark.parametrize("step", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_a_run_that_is_stopped_goes_on_with_the_same_pairs(
    train: Run, objective: str, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(objective, "whole").code == 0
    with monkeypatch.context() as patch:
        at_step(patch, step, send(signal.SIGTERM))
        train(objective, "out").fails(143, "interrupted", "--resume")
    ran = train(objective, "out", "--resume")
    assert ran.code == 0, ran.err
    assert f"resuming after step {step}" in ran.err
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_replaced_tokens_are_detected_in_eval_and_masks_filled_in_predict(
    train: Run, cli: Run, text: Path, tmp_path: Path
) -> None:
    ran = train("rtd", "model")
    assert ran.code == 0, ran.err
    assert "generator: a new one" in ran.err
    assert "the head is new" in ran.err
    dev = json.loads(ran.out)["dev"]
    assert {"loss", "perplexity", "accuracy", "rtd_loss", "rtd_f1", "total_loss"} == {*dev["intervals"]}
    scores = json.loads(cli("eval", tmp_path / "model", "--data", text).out)
    assert {name: scores[name] for name in dev} == dev
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "the probability that it was replaced" in card
    assert "In percent, but for loss and perplexity and rtd_loss and total_loss" in card
    (line,) = cli("predict", tmp_path / "model", stdin="Ada lives in [MASK] .\n").out.splitlines()
    (mask,) = json.loads(line)["prediction"]["masks"]
    assert len(mask["candidates"]) == 5
    sent = json.loads(cli("push", tmp_path / "model", "me/rtd", "--dry-run").out)
    assert {"generator/config.json", "generator/model.safetensors"} <= {*sent["files"]}
    report = cli("eval", tmp_path / "model", "--data", text, "--report", tmp_path / "report.html")
    assert report.code == 0, report.err


@pytest.mark.parametrize("objective", ["mlm+nsp", "rtd"])
def test_a_batch_in_parts_is_learnt_as_one(
    train: Run, objective: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where memory does not suffice: the loss of a step is the same however it is cut."""
    from bertft.training.trainer import EncoderTrainer

    assert train(objective, "whole", "--set", "trainer.max_steps=1").code == 0
    original = EncoderTrainer.training_step

    def halved(self: Any, *arguments: Any, **named: Any) -> Any:
        self.facts["parts"] = 2
        return original(self, *arguments, **named)

    monkeypatch.setattr(EncoderTrainer, "training_step", halved)
    assert train(objective, "parts", "--set", "trainer.max_steps=1").code == 0
    one, two = (json.loads((tmp_path / name / "metrics.json").read_text())["dev"] for name in ("whole", "parts"))
    assert one["loss"] == pytest.approx(two["loss"], abs=2e-2)  # dropout draws other masks


@objectives
def test_a_tagger_starts_from_the_adapted_encoder(
    train: Run, cli: Run, objective: str, train_file: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    assert train(objective, "adapted", "--set", "trainer.max_steps=2").code == 0
    settings = ("trainer.max_steps=1", "trainer.learning_rate=0", "trainer.weight_decay=0")
    overrides = [part for setting in settings for part in ("--set", setting)]
    named = ("--data", train_file, "--model", tmp_path / "adapted", "--out", tmp_path / "ner")
    ran = cli("train", "ner", *named, *overrides)
    assert ran.code == 0, ran.err
    assert "the head is new" in ran.err
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("adapted", "ner"))
    body = [name for name in after if name in before and ".pooler" not in name]
    assert len(body) > 10
    assert all((before[name] == after[name]).all() for name in body)


def test_documents_are_held_out_whole(cli: Run, base: BASE, text: Path, tmp_path: Path) -> None:
    named = ("--data", text, "--model", base("bert-uncased"), "--out", tmp_path / "out")
    settings = ("options.objective=mlm+nsp", "trainer.max_steps=1", "holdout=0.25")
    ran = cli("train", "mlm", *named, *[part for setting in settings for part in ("--set", setting)])
    assert ran.code == 0, ran.err
    assert "2 of 8 rows (25%) held out" in ran.err


@pytest.mark.parametrize("command", ["train", "check"])
def test_one_document_gives_no_second_texts(cli: Run, base: BASE, command: str, tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("\n" + "\n".join(SENTENCES) + "\n\nAda\n", encoding="utf-8")
    recipe = tmp_path / "nsp.yaml"
    recipe.write_text("task: mlm\noptions:\n  objective: mlm+nsp\n", encoding="utf-8")
    ran = cli("check", recipe, "--data", path, "--model", base("bert-uncased"))
    assert ran.code == 0, ran.err
    if command == "train":
        named = ("--data", path, "--dev", path, "--model", base("bert-uncased"), "--out", tmp_path / "out")
        cli("train", recipe, *named).fails(3, "one document only has two sentences")
    path.write_text("\n" + "\n".join(["Ada"]) + "\n", encoding="utf-8")
    ran = cli(command, recipe, "--data", path, "--model", base("bert-uncased"))
    if command == "train":
        ran.fails(3, "one document only", "blank line between documents")
    else:
        assert ran.code == 1
        assert "text-document" in ran.out
        assert "there is one document only" in ran.out
