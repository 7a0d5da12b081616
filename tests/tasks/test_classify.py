"""Texts to labels, sets and values: trained, saved, opened again, and compared with plain transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from sklearn.metrics import f1_score
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from bertft.bundle.store import open_bundle
from bertft.encoders import load
from bertft.errors import DataError, UsageError
from bertft.inference.evaluate import evaluate
from bertft.inference.load import engine
from bertft.inference.predict import Options, predict
from bertft.recipe import Recipe
from bertft.tasks.base import WindowSize
from bertft.tasks.classify import Classify, ClassifyOptions
from bertft.training.run import train

Records = list[dict[str, Any]]

TEXTS = [" ".join(word for word, _ in sentence) for sentence in tiny.sentences()]
PLACES = ("Paris", "New Haven", "Lima", "Rome")
FIRMS = ("Acme", "Blue River Bank", "Zenith")


def mentions(text: str) -> list[str]:
    return [name for name in (*PLACES, *FIRMS) if name in text]


SINGLE: Records = [
    {"text": t, "label": "moved" if "moved" in t else "lives" if "lives" in t else "hired"} for t in TEXTS
]
SETS: Records = [{"text": t, "labels": mentions(t)} for t in TEXTS]
VALUES: Records = [{"text": t, "label": 100.0 + 20 * len(mentions(t)) + 0.5 * len(t)} for t in TEXTS]


def write(path: Path, records: Records) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def settings(**trainer: Any) -> dict[str, Any]:
    defaults = {
        "num_train_epochs": 30,
        "learning_rate": 5e-3,
        "per_device_train_batch_size": 8,
        "bf16": False,
        "eval_strategy": "no",
        "save_strategy": "no",
    }
    return {**defaults, **trainer}


def recipe(model: object, options: dict[str, Any] | None = None, **trainer: Any) -> Recipe:
    return Recipe("classify", model=str(model), options=options or {}, trainer=settings(**trainer))


@pytest.fixture(scope="module")
def bert(base: Callable[[str], Path]) -> Path:
    return base("bert-uncased")


class Made:
    """A trained model: its directory, its data and what `train` returned."""

    def __init__(self, folder: Path, records: Records, used: Recipe) -> None:
        self.data = write(folder / "train.jsonl", records)
        self.directory = folder / "model"
        self.result = train(used, data=str(self.data), dev=str(self.data), out=str(self.directory), device="cpu")


@pytest.fixture(scope="module")
def single(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("single"), SINGLE, recipe(bert, {"window": 24, "stride": 6}))


@pytest.fixture(scope="module")
def sets(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A model that knows the labels only in part, so that its thresholds are not those of any model."""
    return Made(tmp_path_factory.mktemp("sets"), SETS, recipe(bert, num_train_epochs=12))


@pytest.fixture(scope="module")
def values(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("values"), VALUES, recipe(bert, num_train_epochs=40))


def answers(model: Path, records: Records, folder: Path, *, scores: bool = True) -> list[Any]:
    out = BytesIO()
    predict(
        str(model), [str(write(folder / "in.jsonl", records))], out=out, options=Options(scores=scores, device="cpu")
    )
    return [json.loads(line)["prediction"] for line in out.getvalue().splitlines()]


def plain_logits(model: Path, texts: list[str]) -> Any:
    """Return the logits (texts, labels) that transformers alone gives."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    found = AutoModelForSequenceClassification.from_pretrained(model).eval()
    with torch.no_grad():
        return np.stack([found(**tokenizer(text, return_tensors="pt")).logits[0].numpy() for text in texts])


# -- long texts --------------------------------------------------------------------------------------------------------

LONG = " ".join(TEXTS[:12])


@pytest.mark.parametrize("how", ["first", "mean", "max"])
def test_a_long_text_is_answered_from_its_windows(single: Made, how: Any) -> None:
    """Windows and logits come from transformers alone: overflow, one forward pass each, then first, mean or maximum."""
    tokenizer = AutoTokenizer.from_pretrained(single.directory)
    model = AutoModelForSequenceClassification.from_pretrained(single.directory).eval()
    pieces = tokenizer(
        LONG, truncation=True, max_length=24, stride=6, return_overflowing_tokens=True, return_token_type_ids=False
    )
    assert len(pieces["input_ids"]) > 3
    with torch.no_grad():
        logits = torch.cat([model(torch.tensor([ids])).logits for ids in pieces["input_ids"]])
    pooled = {"first": logits[0], "mean": logits.mean(0), "max": logits.max(0).values}[how]
    bundle = open_bundle(str(single.directory))
    task = Classify(ClassifyOptions(window_pooling=how), bundle.task.target)
    ready = engine(bundle, device="cpu")
    text = task.parse(_row(LONG), labelled=False)
    windows, counts = task.features([text], ready.encoder, WindowSize(24, 6))
    assert task.decode(text, task.reduce(windows, ready.backend.logits(windows))) == pytest.approx(
        torch.softmax(pooled, 0).numpy(), abs=1e-5
    )
    tokens = len(tokenizer(LONG, add_special_tokens=False)["input_ids"])
    unread = tokens - 22 if how == "first" else 0
    assert (counts.tokens, counts.unread, counts.cut) == (tokens, unread, int(how == "first"))
    assert (counts.windows, counts.windowed) == ((1, 0) if how == "first" else (len(pieces["input_ids"]), 1))


def _row(text: str, **values: Any) -> Any:
    from bertft.data.row import Place, Row

    return Row(Place("x", 1), {"text": text, **values})


def test_a_short_text_is_answered_as_if_there_were_no_windows(single: Made, tmp_path: Path) -> None:
    logits = plain_logits(single.directory, TEXTS)
    found = answers(single.directory, [{"text": text} for text in TEXTS], tmp_path)
    expected = torch.softmax(torch.tensor(logits), dim=1).numpy()
    labels = ["hired", "lives", "moved"]
    assert [[answer["scores"][label] for label in labels] for answer in found] == pytest.approx(expected, abs=6e-5)
    assert [answer["label"] for answer in found] == [labels[i] for i in logits.argmax(1)]


@pytest.mark.parametrize(
    "text", ["", "   ", "Acme", "ж" * 40, LONG * 5], ids=["empty", "blank", "word", "unknown", "long"]
)
def test_any_text_has_an_answer(single: Made, tmp_path: Path, text: str) -> None:
    (answer,) = answers(single.directory, [{"text": text}], tmp_path)
    assert sum(answer["scores"].values()) == pytest.approx(1, abs=2e-4)


def test_what_is_cut_off_or_left_out_is_said(bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [{"text": LONG * 2, "label": "long"}, *({"text": text, "label": "short"} for text in TEXTS[:7])]
    data = write(tmp_path / "train.jsonl", records)
    for how in ("first", "mean"):
        used = recipe(bert, {"window": 24, "stride": 6, "window_pooling": how}, num_train_epochs=1)
        train(used, data=str(data), dev=str(data), out=str(tmp_path / how), device="cpu")
    first, mean = capsys.readouterr().err.split("examples longer than a window")[1:]
    tokens = len(AutoTokenizer.from_pretrained(bert)(LONG * 2, add_special_tokens=False)["input_ids"])
    assert f"{tokens - 22} sub-tokens of 1 examples cut off" in first
    assert "training reads 8 windows" not in first
    assert "0 sub-tokens of 0 examples cut off" in mean
    assert "training reads 8 windows of the 1 texts that have more" in mean


# -- values ------------------------------------------------------------------------------------------------------------


def test_plain_transformers_gives_the_value_in_its_own_unit(values: Made, tmp_path: Path) -> None:
    logits = plain_logits(values.directory, TEXTS)
    assert logits.shape == (32, 1)
    found = [answer["value"] for answer in answers(values.directory, VALUES, tmp_path)]
    assert found == pytest.approx(logits[:, 0], rel=1e-5, abs=1e-4)
    golds = [record["label"] for record in VALUES]
    assert min(golds) - 30 < min(found) < max(found) < max(golds) + 30
    assert values.result["dev"]["pearson"] == pytest.approx(np.corrcoef(golds, logits[:, 0])[0, 1], abs=1e-5)
    assert values.result["dev"]["pearson"] > 0.9
    assert values.result["dev"]["rmse"] == pytest.approx(np.sqrt(np.mean((golds - logits[:, 0]) ** 2)), rel=1e-4)
    assert values.result["dev"]["rmse"] < np.std(golds) / 2


def test_eval_gives_the_scores_of_training(single: Made, sets: Made, values: Made) -> None:
    for made in (single, sets, values):
        scores = evaluate(str(made.directory), str(made.data), device="cpu")
        assert scores.items() >= made.result["dev"].items()
    assert single.result["dev"]["accuracy"] == 1.0


# -- a bundle as the model that training starts from -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["single", "values"])
def test_a_head_that_is_kept_gives_what_it_gave(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also a regression's: its values are the data's, its training is on standard scores, of other rows here."""
    made: Made = request.getfixturevalue(kind)
    part = write(tmp_path / "part.jsonl", (SINGLE if kind == "single" else VALUES)[::2])
    again = recipe(made.directory, num_train_epochs=1, learning_rate=1e-12)
    train(again, data=str(part), dev=str(part), out=str(tmp_path / "again"), device="cpu")
    assert "its head is kept" in capsys.readouterr().err
    records = [{"text": text} for text in TEXTS]
    before, after = (answers(model, records, tmp_path) for model in (made.directory, tmp_path / "again"))
    for a, b in zip(before, after, strict=True):
        if kind == "values":
            assert b["value"] == pytest.approx(a["value"], rel=1e-4)
        else:
            assert b["label"] == a["label"]
            assert b["scores"] == pytest.approx(a["scores"], abs=2e-4)


def test_a_head_whose_labels_stand_in_another_order_is_kept_by_name(single: Made, tmp_path: Path) -> None:
    """A plain model's labels may be in any order; here the rows of its output layer are turned round."""
    turned = tmp_path / "turned"
    model = AutoModelForSequenceClassification.from_pretrained(single.directory)
    layer = load.output_layer(model)
    with torch.no_grad():
        layer.weight.copy_(layer.weight.flip(0))
        layer.bias.copy_(layer.bias.flip(0))
    names = [model.config.id2label[i] for i in (2, 1, 0)]
    model.config.id2label, model.config.label2id = dict(enumerate(names)), {n: i for i, n in enumerate(names)}
    model.save_pretrained(turned)
    AutoTokenizer.from_pretrained(single.directory).save_pretrained(turned)
    records = [{"text": text} for text in TEXTS]
    before = answers(single.directory, records, tmp_path)
    assert answers(turned, records, tmp_path) == before
    again = recipe(turned, num_train_epochs=1, learning_rate=1e-12)
    train(again, data=str(single.data), dev=str(single.data), out=str(tmp_path / "again"), device="cpu")
    after = answers(tmp_path / "again", records, tmp_path)
    assert [answer["label"] for answer in after] == [answer["label"] for answer in before]
    assert list(after[0]["scores"]) == ["hired", "lives", "moved"]


def test_a_head_of_other_labels_is_new(single: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "other.jsonl", [{**record, "label": record["label"].upper()} for record in SINGLE])
    used = recipe(single.directory, num_train_epochs=1)
    train(used, data=str(data), dev=str(data), out=str(tmp_path / "other"), device="cpu")
    assert "the head is new" in capsys.readouterr().err


# -- sets of labels ----------------------------------------------------------------------------------------------------


def test_thresholds_are_saved_and_used(sets: Made, tmp_path: Path) -> None:
    manifest = json.loads((sets.directory / "bertft.json").read_text())
    thresholds = manifest["state"]["thresholds"]
    assert sorted(thresholds) == sorted([*PLACES, *FIRMS])
    chances = 1 / (1 + np.exp(-plain_logits(sets.directory, TEXTS).astype(np.float64)))
    labels = open_bundle(str(sets.directory)).task.head().labels
    expected = [[x for x, p in zip(labels, row, strict=True) if p >= thresholds[x]] for row in chances]
    half = [[x for x, p in zip(labels, row, strict=True) if p >= 0.5] for row in chances]
    assert expected != half  # else the thresholds would not show
    assert [answer["labels"] for answer in answers(sets.directory, SETS, tmp_path)] == expected
    golds = [[x in mentions(text) for x in labels] for text in TEXTS]
    found = [[x in row for x in labels] for row in expected]
    at_half = [[x in row for x in labels] for row in half]
    assert sets.result["dev"]["micro_f1"] == pytest.approx(f1_score(golds, found, average="micro"), abs=1e-9)
    assert f1_score(golds, found, average="macro") >= f1_score(golds, at_half, average="macro", zero_division=0)


def test_separated_strings_are_the_same_task_as_lists(sets: Made, tmp_path: Path) -> None:
    rows = [f"{text}\t{'|'.join(record['labels'])}\n" for text, record in zip(TEXTS, SETS, strict=True)]
    table = tmp_path / "train.tsv"
    table.write_text("text\tlabel\n" + "".join(rows), encoding="utf-8")
    used = recipe(json.loads((sets.directory / "bertft.json").read_text())["model"], num_train_epochs=12)
    result = train(used, data=str(table), dev=str(table), out=str(tmp_path / "model"), device="cpu")
    assert result["dev"] == sets.result["dev"]


# -- metrics of others -------------------------------------------------------------------------------------------------


def test_references_fit_metrics_that_take_ids_sets_and_values(single: Made, sets: Made, values: Made) -> None:
    for made, records in ((single, SINGLE), (sets, SETS), (values, VALUES)):
        ready = engine(open_bundle(str(made.directory)), device="cpu")
        pairs, _ = ready.evaluate(
            [ready.task.parse(_row(r["text"], label=r.get("label", r.get("labels"))), labelled=True) for r in records]
        )
        references, predictions = ready.task.references(pairs)
        if made is values:
            assert references == [record["label"] for record in VALUES]
            assert np.corrcoef(references, predictions)[0, 1] == pytest.approx(made.result["dev"]["pearson"])
        else:
            macro = f1_score(references, predictions, average="macro", zero_division=0)
            assert macro == pytest.approx(made.result["dev"]["macro_f1"], abs=1e-9)


# -- what is said, and what is refused ---------------------------------------------------------------------------------


def test_a_label_that_only_dev_has_is_said_and_scored_as_missed(
    bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "train.jsonl", SINGLE)
    dev = write(tmp_path / "dev.jsonl", [*SINGLE[:7], {"text": "They left .", "label": "lived"}])
    result = train(
        recipe(bert, num_train_epochs=1), data=str(data), dev=str(dev), out=str(tmp_path / "m"), device="cpu"
    )
    said = capsys.readouterr().err
    assert f"label 'lived' (1 times, first at {dev}:8) was not in the training data" in said
    assert "did you mean 'lives'?" in said
    assert "single label classification: every row has one label; 3 labels" in said
    assert result["dev"]["per_label"]["lived"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}


def _changed(records: Records, number: int, label: object) -> Records:
    return [{**record, "label": label} if i == number else record for i, record in enumerate(records)]


@pytest.mark.parametrize(
    ("train_records", "dev_records", "fact", "line"),
    [
        (SINGLE, [{"text": "x", "label": "0"}, {"text": "y", "label": "1"}], "none of the file's labels", 1),
        (VALUES, _changed(VALUES, 9, "many"), "'many' is no number", 10),
        (SINGLE, _changed(SINGLE, 4, ["moved", "lives"]), "2 labels, where one is needed", 5),
    ],
)
def test_a_dev_file_that_cannot_be_scored_is_refused_before_training(
    bert: Path, tmp_path: Path, train_records: Records, dev_records: Records, fact: str, line: int
) -> None:
    data, dev = write(tmp_path / "train.jsonl", train_records), write(tmp_path / "dev.jsonl", dev_records)
    with pytest.raises(DataError, match=fact) as caught:
        train(recipe(bert), data=str(data), dev=str(dev), out=str(tmp_path / "m"), device="cpu")
    assert str(caught.value.place) == f"{dev}:{line}"
    assert not list(tmp_path.glob("m*"))


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"class_weights": {"hird": 2}}, "did you mean 'hired'?"),
        ({"class_weights": "balanced"}, "options.class_weights"),
        ({"problem_type": "multilabel"}, "options.problem_type"),
        ({"pooling": "sum"}, "options.pooling"),
        ({"label_smoothing": 2}, "options.label_smoothing: 2"),
    ],
)
def test_settings_that_cannot_be_are_refused(bert: Path, tmp_path: Path, options: dict[str, Any], fact: str) -> None:
    data = write(tmp_path / "train.jsonl", SINGLE)
    with pytest.raises(UsageError) as caught:
        train(recipe(bert, options), data=str(data), dev=str(data), out=str(tmp_path / "m"), device="cpu")
    assert fact in str(caught.value)


def test_class_weights_reach_training(bert: Path, tmp_path: Path) -> None:
    """A label whose weight is 0 is never worth learning, though half of the rows have it."""
    data = write(tmp_path / "train.jsonl", SINGLE)
    used = recipe(bert, {"class_weights": {"moved": 0}}, num_train_epochs=15)
    train(used, data=str(data), dev=str(data), out=str(tmp_path / "m"), device="cpu")
    found = {answer["label"] for answer in answers(tmp_path / "m", SINGLE, tmp_path)}
    assert found == {"hired", "lives"}
