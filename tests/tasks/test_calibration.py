"""A temperature in training: fitted on dev, folded into the last layer, kept where it helps and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from bertft.bundle import store
from bertft.bundle.store import open_bundle
from bertft.encoders import load
from bertft.inference.evaluate import evaluate
from bertft.inference.load import engine
from bertft.recipe import Recipe
from bertft.tasks.base import Head
from bertft.training import calibrate as calibrating
from bertft.training import run as running
from bertft.training.run import train

BASE = Callable[[str], Path]
LABELS = ("a", "b", "c")
SENTENCES = tiny.sentences()
TEXTS = [" ".join(word for word, _ in sentence) for sentence in SENTENCES]
KINDS = ["home" if "lives" in text else "job" if "hired" in text else "move" for text in TEXTS]


def recipe(task: str, model: Path, *, epochs: int = 8, calibrate: Any = "auto", **options: Any) -> Recipe:
    settings = {
        "num_train_epochs": epochs,
        "per_device_train_batch_size": 16,
        "learning_rate": 5e-3,
        "eval_strategy": "no",
        "save_strategy": "no",
        "bf16": False,
    }
    return Recipe(task, model=str(model), calibrate=calibrate, options=options, trainer=settings)


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def rows_of(task: str, *, wrong: int) -> list[dict[str, Any]]:
    """Rows of a task, in which every `wrong`-th has another label than the rest would teach."""
    rows: list[dict[str, Any]] = []
    for i, (sentence, text, kind) in enumerate(zip(SENTENCES * 2, TEXTS * 2, KINDS * 2, strict=True)):
        other = kind if not wrong or i % wrong else "home" if kind != "home" else "job"
        match task:
            case "ner":
                tags = [tag if not wrong or (i + j) % wrong else "O" for j, (_, tag) in enumerate(sentence)]
                rows.append({"tokens": [word for word, _ in sentence], "tags": tags})
            case "multilabel":
                rows.append({"text": text, "label": [other, "short"] if i % 2 and "lives" in text else [other]})
            case _:
                rows.append({"text": text, "text_a": text, "text_b": "Note", "label": other})
    return rows


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[str, str]]:
    """Return a function from a task to its training rows, and to dev rows in which every fourth is otherwise."""
    folder = tmp_path_factory.mktemp("calibration")

    def make(task: str) -> tuple[str, str]:
        clean, noisy = folder / f"{task}.jsonl", folder / f"{task}-dev.jsonl"
        return written(clean, rows_of(task, wrong=0)), written(noisy, rows_of(task, wrong=4))

    return make


def weights(directory: str | Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(Path(directory) / "model.safetensors")


HEADS = {
    "tokens": Head("AutoModelForTokenClassification", LABELS),
    "text": Head("AutoModelForSequenceClassification", LABELS, "single_label_classification"),
    "labels": Head("AutoModelForSequenceClassification", LABELS, "multi_label_classification"),
    "mean": Head("AutoModelForSequenceClassification", LABELS, "single_label_classification", "mean"),
    "attention": Head("AutoModelForSequenceClassification", LABELS, "single_label_classification", "attention"),
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_folded_temperature_divides_the_logits(base: BASE, family: str, head: str) -> None:
    model, _ = store.load_weights(load.resolve(str(base(family))), HEADS[head])
    torch.nn.init.normal_(load.output_layer(model).weight)
    ids = torch.randint(5, 60, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before = model(ids, attention_mask=torch.ones_like(ids)).logits
        load.fold_scale(model, 0.0, 1 / 1.7)
        after = model(ids, attention_mask=torch.ones_like(ids)).logits
    torch.testing.assert_close(after, before / 1.7, rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def runs(
    base: BASE, files: Callable[[str], tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], dict[str, Any]]:
    """Return a function that trains a task with `calibrate` auto or off, once, and returns what `train` returned."""
    folder = tmp_path_factory.mktemp("runs")
    known: dict[tuple[str, str], dict[str, Any]] = {}

    def make(task: str, how: str) -> dict[str, Any]:
        if (task, how) not in known:
            data, dev = files(task)
            name = "classify" if task == "multilabel" else task
            made = recipe(name, base("bert-cased"), calibrate=how, epochs=20)
            out = folder / f"{task}-{how}"
            known[task, how] = train(made, data=data, dev=dev, test=data, out=str(out), device="cpu")
        return known[task, how]

    return make


TASKS = pytest.mark.parametrize("task", ["classify", "pair", "multilabel", "ner"])


@TASKS
def test_an_overconfident_model_is_calibrated(runs: Callable[[str, str], dict[str, Any]], task: str) -> None:
    result, plain = runs(task, "auto"), runs(task, "off")
    record = result["calibration"]
    assert record["temperature"] is not None
    assert record["rows"] == 64
    assert record["ece_after"] < record["ece_before"]
    assert record["nll_after"] < record["nll_before"]
    dev = result["dev"]["calibration"]
    assert (dev["ece"], dev["nll"]) == (record["ece_after"], record["nll_after"])
    assert plain["dev"]["calibration"]["ece"] == pytest.approx(record["ece_before"], abs=1e-9)
    assert plain["dev"]["calibration"]["nll"] == pytest.approx(record["nll_before"], abs=1e-6)
    assert "temperature" not in plain.get("calibration", {})
    manifest = json.loads((Path(result["model"]) / "bertft.json").read_text())
    metrics = json.loads((Path(result["model"]) / "metrics.json").read_text())
    assert manifest["calibration"] == metrics["calibration"] == record


@TASKS
def test_eval_gives_the_scores_of_training(
    runs: Callable[[str, str], dict[str, Any]], files: Callable[[str], tuple[str, str]], task: str
) -> None:
    result = runs(task, "auto")
    found = evaluate(result["model"], files(task)[1], device="cpu")
    for key in ("calibration", "coverage", "intervals"):
        assert found[key] == result["dev"][key]


@TASKS
def test_no_label_changes_and_all_but_the_last_layer_stays(
    runs: Callable[[str, str], dict[str, Any]], files: Callable[[str], tuple[str, str]], task: str
) -> None:
    auto, off = runs(task, "auto"), runs(task, "off")
    temperature = auto["calibration"]["temperature"]
    ours, theirs = weights(auto["model"]), weights(off["model"])
    for name, value in theirs.items():
        divisor = temperature if name.startswith("classifier.") else 1.0
        torch.testing.assert_close(ours[name], value / divisor, rtol=1e-6, atol=1e-7 if divisor != 1 else 0)
    labels = []
    for result in (auto, off):
        bundle = open_bundle(result["model"])
        ready = engine(bundle, device="cpu")
        examples = [bundle.task.parse(row, labelled=True) for row in read_rows(files(task)[1])]
        pairs, _ = ready.evaluate(bundle.task.convert(examples)[0])
        labels.append(bundle.task.references(pairs)[1])
    assert labels[0] == labels[1]
    scores = {key: off["dev"][key] for key in open_bundle(off["model"]).task.headline}
    assert {key: auto["dev"][key] for key in scores} == scores


def read_rows(path: str) -> list[Any]:
    from bertft.data import formats

    bundleless = formats.read(path, wanted=(("text", "label"), ("tokens", "tags"), ("text_a", "text_b", "label")))
    return list(bundleless.rows)


def test_plain_transformers_gives_the_calibrated_probabilities(runs: Callable[[str, str], dict[str, Any]]) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    result = runs("classify", "auto")
    model = AutoModelForSequenceClassification.from_pretrained(result["model"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(result["model"])
    with torch.inference_mode():
        encoded = tokenizer(TEXTS, padding=True, return_tensors="pt")
        theirs = torch.softmax(model(**encoded).logits, dim=-1).double().numpy()
    confidence, gold = theirs.max(axis=1), [KINDS[i] for i in range(32)]
    right = [model.config.id2label[int(i)] == kind for i, kind in zip(theirs.argmax(axis=1), gold, strict=True)]
    bundle = open_bundle(result["model"])
    examples = [bundle.task.parse(row, labelled=False) for row in _texts()]
    ours, _ = engine(bundle, device="cpu").predict(examples)
    np.testing.assert_allclose(np.stack(ours), theirs, rtol=0, atol=1e-5)
    assert all(right)
    assert confidence.mean() < 0.95  # it would be sure, and a quarter of dev is otherwise


def _texts() -> list[Any]:
    from bertft.data.row import Place, Row

    return [Row(Place("x", i), {"text": text}) for i, text in enumerate(TEXTS)]


def test_it_is_said_in_one_line(
    base: BASE, files: Callable[[str], tuple[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, dev = files("classify")
    train(recipe("classify", base("bert-cased")), data=data, dev=dev, out=str(tmp_path / "m"), device="cpu")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("calibration:")]
    assert len(lines) == 1
    assert "from 64 rows of dev: ece " in lines[0]
    train(recipe("classify", base("bert-cased"), epochs=20), data=data, dev=data, out=str(tmp_path / "n"), device="cpu")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("calibration:")]
    assert len(lines) == 1
    assert "no temperature: the rows hold no mistake" in lines[0]
    manifest = json.loads((tmp_path / "n" / "bertft.json").read_text())
    assert manifest["calibration"]["temperature"] is None


def test_a_crf_has_none_and_says_why(
    base: BASE, files: Callable[[str], tuple[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, dev = files("ner")
    made = recipe("ner", base("bert-cased"), head="crf")
    result = train(made, data=data, dev=dev, out=str(tmp_path / "m"), device="cpu")
    assert "calibration: no temperature: a CRF's" in capsys.readouterr().err
    assert "calibration" not in result
    assert result["dev"]["calibration"]["decisions"] == sum(len(sentence) for sentence in SENTENCES * 2)


def test_values_are_not_calibrated(base: BASE, tmp_path: Path) -> None:
    data = written(tmp_path / "x.jsonl", [{"text": text, "label": i / 7} for i, text in enumerate(TEXTS)])
    result = train(recipe("classify", base("bert-cased"), epochs=1), data=data, dev=data, out=str(tmp_path / "m"))
    assert "calibration" not in result
    assert not {"calibration", "coverage"} & result["dev"].keys()


def test_weights_come_back_where_rounding_changes_a_label(
    base: BASE,
    files: Callable[[str], tuple[str, str]],
    runs: Callable[[str, str], dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def harmful(model: Any, mean: float, deviation: float) -> None:
        load.fold_scale(model, mean, -deviation)

    monkeypatch.setattr(calibrating, "fold_scale", harmful)
    data, dev = files("classify")
    made = recipe("classify", base("bert-cased"), epochs=20)
    result = train(made, data=data, dev=dev, test=data, out=str(tmp_path / "m"), device="cpu")
    assert result["calibration"]["temperature"] is None
    assert "rounding" in result["calibration"]["refused"]
    off = runs("classify", "off")
    assert {k: v for k, v in result["dev"].items() if k != "extra"} == off["dev"]
    theirs = weights(off["model"])
    assert all(torch.equal(value, theirs[name]) for name, value in weights(result["model"]).items())


def test_folds_calibrate_on_rows_that_their_models_did_not_see(base: BASE, tmp_path: Path) -> None:
    rows = rows_of("classify", wrong=4)
    data = written(tmp_path / "x.jsonl", rows)
    results = {}
    for how in ("auto", "off"):
        made = recipe("classify", base("bert-cased"), calibrate=how, epochs=40)
        out = str(tmp_path / how)
        results[how] = train(made, data=data, folds=2, out=out, device="cpu")
    record = results["auto"]["calibration"]
    assert record["rows"] == 64
    assert record["temperature"] > 1.1
    assert record["ece_before"] == results["auto"]["dev"]["calibration"]["ece"]
    assert results["auto"]["dev"] == results["off"]["dev"]
    ours, theirs = (weights(results[how]["model"])["classifier.weight"] for how in ("auto", "off"))
    torch.testing.assert_close(ours, theirs / record["temperature"], rtol=1e-6, atol=1e-7)


def test_killed_before_it_is_written_it_is_resumed_to_the_same_bytes(
    base: BASE, files: Callable[[str], tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, dev = files("classify")
    made = recipe("classify", base("bert-cased"), epochs=6)
    made.trainer.update(eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True)
    whole = train(made, data=data, dev=dev, out=str(tmp_path / "whole"), device="cpu")
    assert whole["calibration"]["temperature"] is not None

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(running.store, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            train(made, data=data, dev=dev, out=str(tmp_path / "m"), device="cpu")
    again = train(made, data=data, dev=dev, out=str(tmp_path / "m"), device="cpu", resume=True)
    assert again["calibration"] == whole["calibration"]
    for name in ("model.safetensors", "metrics.json"):
        assert (tmp_path / "m" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_calibrated_model_is_trained_further(
    base: BASE, files: Callable[[str], tuple[str, str]], runs: Callable[[str, str], dict[str, Any]], tmp_path: Path
) -> None:
    data, dev = files("classify")
    first = runs("classify", "auto")
    made = recipe("classify", Path(first["model"]), epochs=1)
    made.trainer["learning_rate"] = 0.0
    again = train(made, data=data, dev=dev, out=str(tmp_path / "m"), device="cpu")
    assert again["calibration"]["temperature"] is None  # it has one already
    theirs = weights(first["model"])
    assert all(torch.equal(value, theirs[name]) for name, value in weights(tmp_path / "m").items())


def test_evaluation_may_be_off_while_training(
    base: BASE, files: Callable[[str], tuple[str, str]], runs: Callable[[str, str], dict[str, Any]]
) -> None:
    assert recipe("classify", base("bert-cased")).trainer["eval_strategy"] == "no"
    assert runs("classify", "auto")["calibration"]["temperature"] > 1
