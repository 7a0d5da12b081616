"""Distillation: the losses against their definitions, the layers of a student, what it learns, and what is refused."""

from __future__ import annotations

import json
import random
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import transformers
from cli.conftest import Run
from cli.test_resume import at_step, send
from safetensors.torch import load_file
from scipy.special import expit, log_softmax
from tokenizers import Tokenizer

from bertft import recipe as recipes
from bertft.errors import UsageError
from bertft.recipe import TEACHER
from bertft.signals import Interrupted
from bertft.tasks.base import IGNORED, Objective
from bertft.training import losses
from bertft.training.distillation import Distillation, soft
from bertft.training.run import train
from bertft.training.teacher import Teacher
from bertft.training.trainer import split
from bertft.training.unlabelled import read_unlabelled

TEXTS = [" ".join(word for word, _ in row) for row in tiny.sentences()]
LABELS = ["moved" if "moved" in t else "lives" if "lives" in t else "hired" for t in TEXTS]
FAST = {
    "trainer.num_train_epochs": 30,
    "trainer.learning_rate": 5e-3,
    "trainer.per_device_train_batch_size": 8,
    "trainer.bf16": "false",
    "trainer.eval_strategy": "no",
    "trainer.save_strategy": "no",
    "calibrate": "off",
}


def fitted(name: str, data: Path, out: Path, dev: Path | None = None, **settings: Any) -> Path:
    """Train with `FAST` settings, `distill_…` being those of the section, and return the model's directory."""
    named = {key.replace("__", "."): value for key, value in settings.items()}
    chosen = recipes.load(name, [f"{key}={value}" for key, value in {**FAST, **named}.items()])
    train(chosen, data=str(data), dev=str(dev or data), out=str(out), device="cpu")
    return out


def rows(path: Path, labels: list[str]) -> Path:
    lines = [json.dumps({"text": t, "label": label}) + "\n" for t, label in zip(TEXTS, labels, strict=True)]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def weights(model: Path) -> dict[str, torch.Tensor]:
    return load_file(model / "model.safetensors")


def labels_of(model: Path) -> list[str]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(model)
    with torch.no_grad():
        found = plain(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits.argmax(-1).tolist()
    return [plain.config.id2label[i] for i in found]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rows(tmp_path_factory.mktemp("data") / "train.jsonl", LABELS)


@pytest.fixture(scope="module")
def base4(base: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from a family's name to a base checkpoint of four layers."""
    folder = tmp_path_factory.mktemp("base4")

    def build(family: str) -> Path:
        out = folder / family
        if not out.exists():
            made = tiny.FAMILIES[family]
            deep = "n_layers" if "n_layers" in made.sizes else "num_hidden_layers"
            tiny._write(replace(made, sizes={**made.sizes, deep: 4}), out)
        return out

    return build


@pytest.fixture(scope="module")
def base2(base4: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from a family's name to a base checkpoint of two layers with the same tokenizer."""
    folder = tmp_path_factory.mktemp("base2")

    def build(family: str) -> Path:
        out, big = folder / family, base4(family)
        same = replace(tiny.FAMILIES[family], tokenizer=lambda: Tokenizer.from_file(str(big / "tokenizer.json")))
        return out if out.exists() else tiny._write(same, out)

    return build


@pytest.fixture(scope="module")
def teacher(base4: Callable[[str], Path], data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of four layers that knows its rows."""
    out = fitted("classify", data, tmp_path_factory.mktemp("teacher") / "model", model=base4("bert-uncased"))
    assert labels_of(out) == LABELS
    return out


# -- the losses --------------------------------------------------------------------------------------------------------


def divergence(student: Any, teacher: Any, temperature: float) -> float:
    """Return the sum over rows of KL(teacher || student) at a temperature, times its square."""
    p, q = log_softmax(teacher / temperature, axis=-1), log_softmax(student / temperature, axis=-1)
    return float(temperature**2 * (np.exp(p) * (p - q)).sum())


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_soft_targets(temperature: float) -> None:
    rng = np.random.default_rng(3)

    def found(loss: Any, student: Any, answers: Any, labels: Any, mask: Any = None) -> float:
        given = [torch.tensor(x, dtype=torch.float64) for x in (student, answers)]
        mask = torch.ones(student.shape[:2]) if mask is None else torch.tensor(mask)
        labels = torch.tensor(labels)
        return soft(Objective(loss), *given, labels, mask=mask, temperature=temperature).item()

    student, answers = rng.normal(0, 2, (2, 4, 6, 3))
    labels = rng.integers(0, 3, (4, 6))
    labels[rng.random(labels.shape) < 0.4] = IGNORED
    known = labels != IGNORED
    close: Any = lambda value: pytest.approx(value, rel=1e-6, abs=1e-6)  # noqa: E731
    assert found("tokens", student, answers, labels) == close(divergence(student[known], answers[known], temperature))
    one, other = student[:, 0], answers[:, 0]  # (examples, labels)
    assert found("classes", one, other, labels[:, 0]) == close(divergence(one, other, temperature))
    p, q = expit(other / temperature), expit(one / temperature)
    bernoulli = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    assert found("labels", one, other, labels[:, 0]) == close(temperature**2 * bernoulli.sum())
    assert found("values", one[:, :1], other[:, :1], labels[:, 0]) == close(((one - other)[:, 0] ** 2).sum())
    mask = np.array([[1] * 6, [1] * 4 + [0] * 2, [1] * 3 + [0] * 3, [1] * 5 + [0]])
    total = sum(
        divergence(student[i, : mask[i].sum(), side], answers[i, : mask[i].sum(), side], temperature)
        for i in range(4)
        for side in (0, 1)
    )
    assert found("spans", student[..., :2], answers[..., :2], labels[:, :2], mask) == close(total)


def test_the_three_parts(base: Callable[[str], Path]) -> None:
    """A batch of three texts, one of them in two windows, by definition: soft, hard, and 1 - cos."""
    torch.manual_seed(1)
    config = transformers.AutoConfig.from_pretrained(base("bert-uncased"), num_labels=3)
    student, teacher = (transformers.AutoModelForSequenceClassification.from_config(config) for _ in range(2))
    for model in (student, teacher):
        torch.nn.init.normal_(model.classifier.weight, std=5)
    student.train()
    for module in student.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    settings = recipes.Distill("x", None, 3.0, 0.7, 0.4)
    distillation = Distillation(teacher, student, settings)
    objective = Objective("classes", over_windows="mean")
    mask = torch.tensor([[1] * 5, [1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 0, 0, 0]])
    ids = torch.randint(5, 100, mask.shape) * mask
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    owner, labels = torch.tensor([0, 1, 1, 2]), torch.tensor([2, 0, 1])
    distillation.ask(inputs)
    logits = losses.over_windows("mean", student(**inputs).logits, owner, 3)
    hard = losses.loss(objective, logits, labels, count=5, model=None)
    found = distillation.loss(objective, logits, labels, hard=lambda: hard, owner=owner, mask=mask, count=5)
    with torch.no_grad():
        seen = [m(**inputs, output_hidden_states=True) for m in (student, teacher)]
    rows_ = [torch.stack([o.logits[0], o.logits[1:3].mean(0), o.logits[3]]).numpy() for o in seen]
    a, b = (o.hidden_states[-1].numpy() for o in seen)
    apart = 1 - (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    means = [apart[0].mean(), np.r_[apart[1, :3], apart[2, :4]].mean(), apart[3, :2].mean()]
    wanted = 0.7 * divergence(*rows_, 3.0) / 5 + 0.3 * hard.item() + 0.4 * sum(means) / 5
    assert found.item() == pytest.approx(wanted, rel=1e-5)

    total = 0.0
    whole = {**inputs, "owner": owner, "labels": labels, "items": torch.arange(3)}
    for part in split(whole, 2, per_token=False):
        own, golds, there = part.pop("owner"), part.pop("labels"), part["attention_mask"]
        del part["items"]
        distillation.ask(part)
        logits = losses.over_windows("mean", student(**part).logits, own, len(golds))
        mine = losses.loss(objective, logits, golds, count=5, model=None)
        with_hard: Any = partial(distillation.loss, objective, logits, golds, hard=lambda mine=mine: mine)
        total += with_hard(owner=own, mask=there, count=5).item()
    assert total == pytest.approx(found.item(), rel=1e-5)


def test_without_soft_and_hidden_parts_it_is_plain_training(
    base2: Callable[[str], Path], data: Path, teacher: Path, tmp_path: Path
) -> None:
    settings = {"model": base2("bert-uncased"), "trainer__num_train_epochs": 2}
    plain = fitted("classify", data, tmp_path / "plain", **settings)
    none = fitted(
        "classify", data, tmp_path / "none", **settings,
        distill__teacher=teacher, distill__alpha=0, distill__hidden=0,
    )  # fmt: skip
    other = fitted("classify", data, tmp_path / "other", **settings, distill__teacher=teacher)
    read = [(out / "model.safetensors").read_bytes() for out in (plain, none, other)]
    assert read[0] == read[1] != read[2]


# -- the student -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layers", "kept"), [(None, [0, 2]), ("[1,3]", [1, 3]), ("[0,1,3]", [0, 1, 3])])
def test_a_student_begins_with_layers_of_the_teacher(
    teacher: Path, data: Path, tmp_path: Path, layers: str | None, kept: list[int]
) -> None:
    """With a learning rate of 0 it ends with them too."""
    named = {} if layers is None else {"distill__layers": layers}
    still = {"trainer__learning_rate": 0, "trainer__num_train_epochs": 1}
    out = fitted("classify", data, tmp_path / "m", model="teacher", distill__teacher=teacher, **named, **still)
    wanted = {}
    for name, value in weights(teacher).items():
        before, layer, after = re.fullmatch(r"(.*\.layer\.)(\d+)(\..*)|.*", name).groups()  # type: ignore[union-attr]
        if layer is None or int(layer) in kept:
            wanted[name if layer is None else f"{before}{kept.index(int(layer))}{after}"] = value
    found = weights(out)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
    assert json.loads((out / "config.json").read_text())["num_hidden_layers"] == len(kept)
    loaded, info = transformers.AutoModelForSequenceClassification.from_pretrained(out, output_loading_info=True)
    assert loaded.config.num_hidden_layers == len(kept)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]


@pytest.mark.parametrize(
    "family",
    [
        *("distilbert", "modernbert"),
        *(
            pytest.param(one, marks=pytest.mark.slow)
            for one in ("electra", "roberta", "mpnet", "deberta", "deberta-v3")
        ),
    ],
)
def test_every_family_can_lose_layers(
    base4: Callable[[str], Path], data: Path, tmp_path: Path, family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The saved student gives in plain transformers the answers that were scored."""
    big = fitted("classify", data, tmp_path / "big", model=base4(family), trainer__learning_rate=2e-3)
    out = fitted(
        "classify", data, tmp_path / "small", model="teacher", distill__teacher=big, trainer__learning_rate=2e-3
    )
    assert "the student has layers 0, 2 of the teacher's 4" in capsys.readouterr().err
    right = sum(a == b for a, b in zip(labels_of(out), LABELS, strict=True)) / len(LABELS)
    assert json.loads((out / "metrics.json").read_text())["dev"]["accuracy"] == pytest.approx(right)
    assert right > 0.7


def test_a_student_learns_what_its_teacher_knows_and_not_the_labels(
    teacher: Path, base2: Callable[[str], Path], tmp_path: Path
) -> None:
    wrong = list(LABELS)
    random.Random(1).shuffle(wrong)
    data = rows(tmp_path / "wrong.jsonl", wrong)
    out = fitted(
        "classify", data, tmp_path / "m", model=base2("bert-uncased"), distill__teacher=teacher, distill__alpha=1
    )
    assert sum(a == b for a, b in zip(labels_of(out), LABELS, strict=True)) >= 30
    card = (out / "README.md").read_text()
    assert "| teacher | `model` |" in card
    assert "| `distill.alpha` | `1.0` |" in card
    inputs = json.loads((out / "bertft.json").read_text())["inputs"]
    assert inputs["recipe distill.teacher"] == str(teacher)
    assert inputs["teacher model.safetensors"].startswith("sha256 ")


def test_labels_in_another_order_are_mapped(teacher: Path, base2: Callable[[str], Path], tmp_path: Path) -> None:
    """The teacher has its labels turned round, in its head and in its configuration, and answers as before."""
    turned = tmp_path / "turned"
    model = transformers.AutoModelForSequenceClassification.from_pretrained(teacher)
    names = [model.config.id2label[i] for i in range(3)][::-1]
    with torch.no_grad():
        model.classifier.weight.copy_(model.classifier.weight.flip(0).clone())
        model.classifier.bias.copy_(model.classifier.bias.flip(0).clone())
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: i for i, name in enumerate(names)}
    model.save_pretrained(turned)
    transformers.AutoTokenizer.from_pretrained(teacher).save_pretrained(turned)
    assert labels_of(turned) == LABELS
    wrong = rows(tmp_path / "wrong.jsonl", LABELS[1:] + LABELS[:1])
    out = fitted(
        "classify", wrong, tmp_path / "m", model=base2("bert-uncased"), distill__teacher=turned, distill__alpha=1
    )
    assert sum(a == b for a, b in zip(labels_of(out), LABELS, strict=True)) >= 30


def test_tags(base4: Callable[[str], Path], train_file: Path, tmp_path: Path) -> None:
    big = fitted("ner", train_file, tmp_path / "big", model=base4("bert-cased"))
    out = fitted("ner", train_file, tmp_path / "small", model="teacher", distill__teacher=big)
    scores = [json.loads((model / "metrics.json").read_text())["dev"]["f1"] for model in (big, out)]
    assert min(scores) > 0.9


def test_questions(base4: Callable[[str], Path], tmp_path: Path) -> None:
    people = [row for row in tiny.sentences() if any(tag == "B-PER" for _, tag in row)]
    lines = []
    for row in people:
        context = " ".join(word for word, _ in row)
        name = " ".join(word for word, tag in row if tag.endswith("PER"))
        answers = [{"text": name, "answer_start": context.index(name)}]
        lines.append(json.dumps({"question": "Who ?", "context": context, "answers": answers}) + "\n")
    data = tmp_path / "qa.jsonl"
    data.write_text("".join(lines), encoding="utf-8")
    big = fitted("qa", data, tmp_path / "big", model=base4("bert-cased"))
    out = fitted("qa", data, tmp_path / "small", model="teacher", distill__teacher=big, distill__alpha=0.9)
    scores = [json.loads((model / "metrics.json").read_text())["dev"]["f1"] for model in (big, out)]
    assert min(scores) > 0.9


def test_values_and_sets(base4: Callable[[str], Path], base2: Callable[[str], Path], tmp_path: Path) -> None:
    values = [{"text": t, "label": 100.0 + 3 * len(t)} for t in TEXTS]
    sets = [{"text": t, "labels": [w for w in ("Paris", "Acme", "Maria") if w in t]} for t in TEXTS]
    for name, records, key, least in (("regress", values, "pearson", 0.9), ("multilabel", sets, "micro_f1", 0.9)):
        data = tmp_path / f"{name}.jsonl"
        data.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
        big = fitted(name, data, tmp_path / f"{name}-big", model=base4("bert-cased"))
        out = fitted(
            name, data, tmp_path / f"{name}-small",
            model=base2("bert-cased"), distill__teacher=big, distill__alpha=1,
        )  # fmt: skip
        scores = [json.loads((model / "metrics.json").read_text())["dev"][key] for model in (big, out)]
        assert scores[1] > least * scores[0], (name, scores)


# -- what is refused, and resumed --------------------------------------------------------------------------------------


def test_what_does_not_fit_together_is_refused_before_training(
    cli: Run, teacher: Path, base: Callable[[str], Path], data: Path, train_file: Path, tmp_path: Path
) -> None:
    def run(*extra: object, task: str = "classify", file: Path = data) -> Any:
        return cli("train", task, "--data", file, "--dev", file, "--out", tmp_path / "out", *extra)

    own = ("--teacher", teacher, "--model", "teacher")
    run(*own, "--layers", "0,4").fails(2, "there is no layer 4: the teacher has 4, from 0 to 3", "--layers 0,2")
    run(*own, "--layers", "2,0").fails(2, "[2, 0] does not name layers, counted from 0, each once and in order")
    run(*own, "--layers", "a").fails(2, "distill.layers: 'a' is not int")
    run("--teacher", teacher, "--layers", "0").fails(2, "they are the teacher's", "--model teacher")
    run("--model", "teacher").fails(2, "no teacher is named", "--teacher MODEL")
    run("--teacher", teacher, "--model", base("bert-cased")).fails(2, "other tokens", "--model teacher")
    run("--teacher", base("bert-uncased")).fails(4, "no trained head")
    run(*own, "--set", "distill.temprature=3").fails(
        2, "unknown key 'distill.temprature'", "did you mean 'temperature'"
    )
    run(*own, "--set", "distill.alpha=2").fails(2, "distill.alpha: 2.0 is not between 0 and 1")
    run(*own, "--set", "distill.temperature=0").fails(2, "distill.temperature: 0.0 is no number above 0")
    run(*own, "--folds", "3").fails(2, "--folds")
    run(*own, task="ner", file=train_file).fails(2, "is for another task (classify, single_label_classification)")
    other = rows(tmp_path / "other.jsonl", ["stayed" if label == "moved" else label for label in LABELS])
    run(*own, file=other).fails(2, "has other labels: only the data has stayed, only the teacher has moved")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("out")]


def test_dev_rows_that_the_teacher_has_learnt_are_said(
    cli: Run, base2: Callable[[str], Path], teacher: Path, data: Path, tmp_path: Path
) -> None:
    """They are others where it has held out the same ones."""
    still = ("--set", "trainer.num_train_epochs=1", "--set", "trainer.bf16=false", "--data", data)
    assert cli("train", "classify", *still, "--model", base2("bert-uncased"), "--out", tmp_path / "own").code == 0
    for name, learnt, extra in (
        ("one", True, ("--teacher", teacher)),
        ("two", False, ("--teacher", tmp_path / "own")),
        ("three", True, ("--teacher", tmp_path / "own", "--seed", "5")),
    ):
        ran = cli("train", "classify", *still, "--model", "teacher", "--out", tmp_path / name, *extra)
        assert ran.code == 0, ran.err
        assert ("the teacher may have learnt the rows that are held out" in ran.err) == learnt


def test_layers_that_are_one_and_the_same_cannot_be_left_out(
    base: Callable[[str], Path], data: Path, tmp_path: Path
) -> None:
    big = fitted("classify", data, tmp_path / "big", model=base("albert"), trainer__num_train_epochs=1)
    with pytest.raises(UsageError, match="all layers of albert are the same weights"):
        fitted("classify", data, tmp_path / "small", model="teacher", distill__teacher=big)


def test_a_stopped_distillation_goes_on_to_the_same_model(
    teacher: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**FAST, "trainer.num_train_epochs": 3, "model": "teacher", "distill.teacher": teacher}
    settings["trainer.save_strategy"] = "epoch"
    chosen = recipes.load("classify", [f"{key}={value}" for key, value in settings.items()])
    named = {"data": str(data), "dev": str(data), "device": "cpu"}
    train(chosen, out=str(tmp_path / "whole"), **named)
    with monkeypatch.context() as patch:
        at_step(patch, 5, send(signal.SIGTERM))
        with pytest.raises(Interrupted):
            train(chosen, out=str(tmp_path / "cut"), **named)
    before = (teacher / "model.safetensors").read_bytes()
    try:
        changed = {name: value + 0.5 for name, value in weights(teacher).items()}
        transformers.AutoModelForSequenceClassification.from_pretrained(teacher).save_pretrained(
            teacher, state_dict=changed
        )
        with pytest.raises(UsageError, match=r"teacher model\.safetensors"):
            train(chosen, out=str(tmp_path / "cut"), resume=True, **named)
    finally:
        (teacher / "model.safetensors").write_bytes(before)
    train(chosen, out=str(tmp_path / "cut"), resume=True, **named)
    whole, cut = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut"))
    assert whole == cut


# -- unlabelled rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["classes", "sets", "values", "tags", "questions"])
def test_a_teacher_labels_rows_as_it_predicts_them(
    kind: str, cli: Run, base: Callable[[str], Path], data: Path, train_file: Path, tmp_path: Path
) -> None:
    task, file = "classify", data
    written: dict[str, Any] = {}
    if kind == "sets":
        file = tmp_path / "sets.jsonl"
        sets = [[name for name in ("a", "b") if name in text] for text in TEXTS]
        file.write_text("".join(json.dumps({"text": t, "label": s}) + "\n" for t, s in zip(TEXTS, sets, strict=True)))
    elif kind == "values":
        file = rows(tmp_path / "values.jsonl", [f"{len(text) / 7:.3f}" for text in TEXTS])
        written["options__problem_type"] = "regression"
    elif kind == "tags":
        task, file = "ner", train_file
    elif kind == "questions":
        task, file = "qa", Path(__file__).parents[2] / "recipes" / "samples" / "warranty-qa.json"
    model = fitted(task, file, tmp_path / "teacher", model=base("bert-uncased"), trainer__num_train_epochs=3, **written)
    teacher = Teacher.open(replace(recipes.load(task), distill={"teacher": str(model)}, model=TEACHER))
    assert teacher is not None
    told = read_unlabelled(
        teacher.bundle.task, str(file), teacher, recipes.load(task), format=None, limit=40, device="cpu"
    )
    ran = cli("predict", model, file, "--to", "jsonl")
    answers = [json.loads(line)["prediction"] for line in ran.out.splitlines()][: len(told.examples)]
    assert len(answers) == told.info["rows"] > 5
    for example, answer in zip(told.examples, answers, strict=True):
        match kind:
            case "classes":
                assert example.label == answer["label"]
            case "sets":
                assert list(example.label) == answer["labels"]
            case "values":
                assert float(example.label) == pytest.approx(answer["value"], abs=1e-4)
            case "tags":
                assert list(example.tags) == answer["tags"]
            case "questions":
                gold = [(one.text, one.start) for one in example.answers]
                assert gold == ([(answer["answer"], answer["start"])] if answer["answer"] is not None else [])


def test_a_student_learns_from_unlabelled_rows(cli: Run, teacher: Path, data: Path, tmp_path: Path) -> None:
    """Three labelled rows say next to nothing; the texts that the teacher answers say all."""
    few = tmp_path / "few.jsonl"
    chosen = [LABELS.index(label) for label in sorted({*LABELS})]
    few.write_text("".join(json.dumps({"text": TEXTS[i], "label": LABELS[i]}) + "\n" for i in chosen))
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join([*TEXTS, "", ""]))

    def run(out: str, *extra: object) -> Any:
        fast = [part for key, value in FAST.items() for part in ("--set", f"{key}={value}")]
        named = ("--data", few, "--dev", data, "--out", tmp_path / out, "--teacher", teacher, "--model", "teacher")
        return cli("train", "classify", *named, "--layers", "0", *fast, *extra)

    ran = run("student", "--unlabelled", texts, "--set", "distill.alpha=0", "--set", "distill.hidden=0")
    assert ran.code == 0, ran.err
    assert f"{len(TEXTS)} rows with the teacher's answers: " in ran.err
    assert "blank ones left out" in ran.err
    assert sum(a == b for a, b in zip(labels_of(tmp_path / "student"), labels_of(teacher), strict=True)) > 0.95 * len(
        TEXTS
    )
    manifest = json.loads((tmp_path / "student" / "bertft.json").read_text())
    assert manifest["data"]["unlabelled"]["rows"] == len(TEXTS)
    assert "texts.txt" in (tmp_path / "student" / "README.md").read_text()
    texts.write_text("\n".join(TEXTS[:9]))
    run("student", "--unlabelled", texts, "--resume", "--set", "distill.alpha=0", "--set", "distill.hidden=0").fails(
        2, "data unlabelled"
    )


def test_unlabelled_rows_need_a_teacher(cli: Run, data: Path, tmp_path: Path) -> None:
    named = ("--data", data, "--out", tmp_path / "out")
    cli("train", "classify", *named, "--unlabelled", data).fails(
        2, "--unlabelled", "name a trained model with `--teacher`"
    )
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("out")]
