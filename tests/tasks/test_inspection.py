"""What `inspect` shows of every family is what its model gets and does: ids, positions, attention, attributions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny

from bertft.bundle.store import Bundle, open_bundle
from bertft.data.row import Place, Row
from bertft.encoders.families import first_position, has_segments
from bertft.inspection.pieces import Seen, seen
from bertft.inspection.tokens import Reader, described
from bertft.tasks.base import Window, WindowSize
from bertft.tasks.classify import ClassifyOptions

families = pytest.mark.parametrize("family", tiny.FAMILIES)

TEXT = "Ada Stone's  unbelievable Café moved from New Haven to work for Acme, naïve or not."
HEADS = {
    "ner": ("AutoModelForTokenClassification", ["O", "B-PER", "I-PER"]),
    "classify": ("AutoModelForSequenceClassification", ["bad", "good", "so-so"]),
    "regression": ("AutoModelForSequenceClassification", ["value"]),
    "sets": ("AutoModelForSequenceClassification", ["bad", "good", "so-so"]),
    "qa": ("AutoModelForQuestionAnswering", []),
}
ROWS = {
    "ner": {"text": TEXT},
    "classify": {"text": TEXT},
    "regression": {"text": TEXT},
    "sets": {"text": TEXT},
    "qa": {"question": "Who moved?", "context": TEXT},
}
HEADED = Callable[[str, str], Bundle]


@pytest.fixture(scope="session")
def headed(base: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> HEADED:
    """Return a function from a family and a task to an untrained model with that head, in a plain directory."""
    folder = tmp_path_factory.mktemp("headed")

    def make(family: str, task: str) -> Bundle:
        import torch
        import transformers

        directory = folder / f"{family}-{task}"
        if not directory.exists():
            auto, labels = HEADS[task]
            naming: dict[str, Any] = {"id2label": dict(enumerate(labels))} if labels else {}
            if task == "sets":
                naming["problem_type"] = "multi_label_classification"
            torch.manual_seed(1)
            transformers.utils.logging.set_verbosity_error()
            model = getattr(transformers, auto).from_pretrained(base(family), **naming)
            for layer in model.modules():  # fresh weights are so small that all answers are the same
                if isinstance(layer, torch.nn.Linear):
                    torch.nn.init.normal_(layer.weight, std=0.15)
            model.save_pretrained(directory)
            for name in ("tokenizer.json", "tokenizer_config.json"):
                (directory / name).write_bytes((base(family) / name).read_bytes())
        return open_bundle(str(directory))

    return make


def looked_at(bundle: Bundle, values: dict[str, Any], window: WindowSize | None = None) -> tuple[Any, Seen]:
    example = bundle.task.parse(Row(Place("x", 1), values), labelled=False)
    return example, seen(bundle.task, example, bundle.tokenizer, window or bundle.window)


@families
@pytest.mark.parametrize("task", [task for task in HEADS if task != "sets"])
def test_tokens_are_those_that_the_model_gets(headed: HEADED, family: str, task: str) -> None:
    import torch

    from bertft.inference.pytorch import TorchBackend, takes_segments

    bundle = headed(family, task)
    example, found = looked_at(bundle, ROWS[task])
    plain, _ = bundle.task.features([example], bundle.tokenizer, bundle.window)
    assert [one.input_ids for one in found.windows] == [one.input_ids for one in plain]
    model = bundle.load_model()
    got: dict[str, list[int]] = {}
    for name, module in model.named_modules():
        end = name.rpartition(".")[2]
        if end in ("position_embeddings", "token_type_embeddings") and isinstance(module, torch.nn.Embedding):

            def keep(_: Any, args: Any, out: Any, end: str = end) -> None:
                got[end] = args[0].flatten().tolist()

            module.register_forward_hook(keep)
    TorchBackend(model, bundle.tokenizer.pad).logits(found.windows)
    shown = described(Reader.of_bundle(bundle), example, None)["windows"][0]["tokens"]
    if "position_embeddings" in got:
        assert [token["position"] for token in shown] == got["position_embeddings"]
    else:
        assert family in ("modernbert", "deberta", "deberta-v3")
        assert (shown[0]["position"] is None) == family.startswith("deberta")
    assert has_segments(model.config) == takes_segments(model)
    if takes_segments(model):
        assert [token["segment"] for token in shown] == got["token_type_embeddings"]
    else:
        assert shown[0]["segment"] is None
    assert first_position(model.config) == first_position(Reader.of_bundle(bundle).config)


@families
def test_offsets_are_those_of_auto_tokenizer(headed: HEADED, base: Callable[[str], Path], family: str) -> None:
    from transformers import AutoTokenizer

    _, found = looked_at(headed(family, "classify"), ROWS["classify"])
    theirs = AutoTokenizer.from_pretrained(base(family))(TEXT, return_offsets_mapping=True)
    offsets = [(token.start or 0, token.end or 0) for token in found.tokens[0]]
    assert offsets == [tuple(one) for one in theirs["offset_mapping"]]
    text = found.texts[0]
    for token in found.tokens[0]:
        if token.word is not None:
            start, end = text.words[token.word]
            assert start <= token.start + len(TEXT[token.start :]) - len(TEXT[token.start :].lstrip()) < end


@families
def test_tokens_of_words_point_into_their_words(headed: HEADED, family: str) -> None:
    bundle = headed(family, "ner")
    values = {"tokens": ["Ada", "\u200b", "unbelievable", "", "😀", "Haven"]}
    example, found = looked_at(bundle, values, WindowSize(6, 1))
    assert len(found.windows) > 1
    owned = [found.tokens[i][at].word for i, one in enumerate(found.windows) for at in one.owned]
    assert owned == list(range(6))
    for token in (token for tokens in found.tokens for token in tokens if not token.special):
        start, end = example.spans[token.word]
        assert start <= token.start <= token.end <= end
    pieces = {token.text: example.text[token.start : token.end] for token in found.tokens[0] if not token.special}
    assert "".join(pieces.values()).startswith("Ada")


def test_a_question_that_is_its_own_context_keeps_its_two_texts(headed: HEADED) -> None:
    _, found = looked_at(headed("bert-uncased", "qa"), {"question": "Who moved?", "context": "Who moved?"})
    numbers = [token.number for token in found.tokens[0]]
    assert numbers[0] is None
    assert [n for n in numbers if n is not None] == sorted(n for n in numbers if n is not None)
    assert {0, 1} <= set(numbers)
    _, found = looked_at(headed("bert-uncased", "qa"), {"question": "", "context": "Who moved?"})
    assert {token.number for token in found.tokens[0]} == {None, 1}


@families
def test_attention_is_that_of_the_model(headed: HEADED, family: str) -> None:
    from bertft.inspection.attention import attention

    bundle = headed(family, "classify")
    example, seen_ = looked_at(bundle, ROWS["classify"])
    found = attention(bundle, example, device="cpu")
    assert (found["layers"], found["heads"]) == ([2], [1, 2])
    (window,) = found["windows"]
    weights = np.array(window["weights"])
    assert weights.shape == (1, 2, len(window["tokens"]), len(seen_.tokens[0]))
    assert weights.sum(axis=-1) == pytest.approx(1.0, abs=1e-5)
    one = attention(bundle, example, layers=[1, 2], heads=[2], device="cpu")
    assert np.array(one["windows"][0]["weights"])[1, 0] == pytest.approx(weights[0, 1])


@families
@pytest.mark.parametrize("task", [task for task in HEADS if task != "sets"])
def test_attributions_are_complete(headed: HEADED, family: str, task: str) -> None:
    pytest.importorskip("captum", reason="needs the extra bertft[inspect]")
    from bertft.inspection.why import why

    bundle = headed(family, task)
    example, _ = looked_at(bundle, ROWS[task])
    found = why(bundle, example, device="cpu", steps=100)
    total = sum(token["value"] for window in found["windows"] for token in window["tokens"])
    difference = found["value"] - found["baseline"]
    assert total == pytest.approx(difference + found["delta"], abs=1e-5)
    assert abs(found["delta"]) <= 0.02 * abs(difference) + 1e-3
    parts = [token for window in found["windows"] for token in window["tokens"] if token.get("word") is not None]
    assert sum(word["value"] for word in found["words"]) == pytest.approx(sum(one["value"] for one in parts), abs=1e-5)
    assert all(token["value"] == 0 for window in found["windows"] for token in window["tokens"] if "special" in token)
    assert max(abs(word["value"]) for word in found["words"]) > 1e-4
    json.dumps(found)


@pytest.mark.parametrize("pooling", ["mean", "max", "first"])
def test_what_is_explained_is_the_answer_of_long_texts(headed: HEADED, pooling: Any) -> None:
    """The parts of the windows add up to what their logits together say."""
    pytest.importorskip("captum", reason="needs the extra bertft[inspect]")
    from dataclasses import replace

    from bertft.inference.pytorch import TorchBackend
    from bertft.inspection.why import why

    bundle = replace(headed("bert-uncased", "classify"), window=WindowSize(16, 4))
    bundle = replace(bundle, task=replace(bundle.task, options=ClassifyOptions(window_pooling=pooling)))
    example, found = looked_at(bundle, {"text": " ".join([TEXT] * 3)})
    each = np.stack(TorchBackend(bundle.load_model(), 0).logits(found.windows))
    logits = each.max(axis=0) if pooling == "max" else each.mean(axis=0)
    best, second = np.sort(logits)[::-1][:2]
    explained = why(bundle, example, device="cpu")
    assert (len(found.windows) == 1) == (pooling == "first")
    assert pooling == "max" or len(explained["windows"]) == len(found.windows)
    assert explained["value"] == pytest.approx(best - second, abs=1e-4)
    assert f"{bundle.task.target.labels[int(logits.argmax())]!r} rather than" in explained["explains"]


def test_attributions_of_a_linear_model_are_the_analytic_ones() -> None:
    pytest.importorskip("captum", reason="needs the extra bertft[inspect]")
    import torch

    from bertft.inspection.goals import Term
    from bertft.inspection.why import integrated

    class Linear(torch.nn.Module):
        config = SimpleNamespace(type_vocab_size=0)
        device = torch.device("cpu")

        def __init__(self) -> None:
            super().__init__()
            self.words = torch.nn.Embedding(20, 6)
            self.head = torch.nn.Linear(6, 3)

        def get_input_embeddings(self) -> torch.nn.Module:
            return self.words

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            logits = self.head((self.words(input_ids) * attention_mask.unsqueeze(-1)).sum(dim=1))
            return _Output(logits=logits)

    class _Output(dict[str, Any]):
        @property
        def logits(self) -> Any:
            return self["logits"]

    torch.manual_seed(0)
    model = Linear()
    ids = [1, 7, 9, 4, 2]
    terms = [Term(0, None, 2, 1.0), Term(0, None, 0, -0.5)]
    special = [True, False, False, False, True]
    found = integrated(model, Window(0, ids, [0] * 5), special, terms, fill=3, pad=0, steps=2)
    weight = (model.head.weight[2] - 0.5 * model.head.weight[0]).detach()
    moved = (model.words.weight[ids] - model.words.weight[3]).detach() @ weight
    wanted = [0.0 if one else float(value) for one, value in zip(special, moved, strict=True)]
    assert found.values == pytest.approx(wanted, abs=1e-5)
    assert found.delta == pytest.approx(0.0, abs=1e-5)


GOLD: dict[str, Callable[[int], dict[str, Any]]] = {
    "ner": lambda i: {
        "tokens": ["Ada", "Stone", "sings", "."],
        "tags": ["B-PER", "I-PER", "O", "O"][i % 4 :] + ["O"] * (i % 4),
    },
    "classify": lambda i: {"text": f"text {i} {TEXT[i:]}", "label": ("bad", "good", "so-so")[i % 3]},
    "sets": lambda i: {"text": f"text {i} {TEXT[i:]}", "label": [("bad", "good"), ("so-so",), ()][i % 3]},
    "regression": lambda i: {"text": f"text {i} {TEXT[i:]}", "label": i / 10},
    "qa": lambda i: {
        "question": f"Who {i}?",
        "context": TEXT,
        "answers": [{"text": "Ada", "answer_start": 0}][: i % 2],
    },
}


@pytest.mark.parametrize("task", HEADS)
def test_mistakes_are_as_many_as_eval_counts(headed: HEADED, task: str, tmp_path: Path) -> None:
    from bertft.inference.evaluate import evaluate
    from bertft.inspection.mistakes import errors

    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(GOLD[task](i)) + "\n" for i in range(40)), encoding="utf-8")
    model = headed("bert-uncased", task).checkpoint.location
    found = errors(model, str(data), show=1000, device="cpu")
    scores = evaluate(model, str(data), device="cpu")
    count = found["mistakes"]["count"]
    match task:
        case "ner":
            assert count == sum(n for kind, n in scores["errors"].items() if kind != "right")
        case "classify":
            assert count == round(40 * (1 - scores["accuracy"]))
        case "sets":
            assert count == round(40 * (1 - scores["subset_accuracy"]))
        case "qa":
            assert count == round(40 * (1 - scores["exact_match"]))
        case "regression":
            assert count == 40
    surest = [one["score"] for one in found["mistakes"]["shown"]]
    assert surest == sorted(surest, reverse=True)
    assert ("label_errors" in found) == (task in ("ner", "classify", "sets"))
    json.dumps(found)


def test_planted_label_errors_are_found(base: Callable[[str], Path], tmp_path: Path) -> None:
    """Of 400 rows that the model has not seen, 5 % have another label, and chance finds as many."""
    import random

    from bertft.inspection.mistakes import errors
    from bertft.recipe import load
    from bertft.training.run import train

    kinds = {"lives": "home", "hired": "job", "moved": "move"}
    rng = random.Random(0)
    words = [word for sentence in tiny.sentences() for word, _ in sentence if word not in kinds]

    def row() -> dict[str, str]:
        """Return words by chance around a cue, which one row in thirty has not got."""
        cue = rng.choice(list(kinds))
        shown = cue if rng.random() < 0.97 else rng.choice(words)
        text = [rng.choice(words) for _ in range(rng.randint(2, 5))]
        text.insert(rng.randint(0, len(text)), shown)
        return {"text": " ".join(text), "label": kinds[cue]}

    learnt, held = [row() for _ in range(400)], [row() for _ in range(400)]
    planted = set(rng.sample(range(400), 20))
    for i in planted:
        held[i]["label"] = rng.choice([kind for kind in kinds.values() if kind != held[i]["label"]])
    files = {name: tmp_path / f"{name}.jsonl" for name in ("learnt", "held")}
    for (_, path), rows in zip(files.items(), (learnt, held), strict=True):
        path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    settings = {"num_train_epochs": 12, "learning_rate": 5e-3, "eval_strategy": "no", "save_strategy": "no"}
    keys = [f"model={base('bert-uncased')}", "options.pooling=mean", *(f"trainer.{k}={v}" for k, v in settings.items())]
    recipe = load("classify", keys)
    train(recipe, data=str(files["learnt"]), out=str(tmp_path / "model"), device="cpu")
    found = errors(str(tmp_path / "model"), str(files["held"]), show=400, device="cpu")["label_errors"]["shown"]
    rows_found = [int(one["place"].rpartition(":")[2]) - 1 for one in found]
    right = [row in planted for row in rows_found]
    print(f"{len(found)} found, precision {np.mean(right):.2f}, recall {sum(right) / len(planted):.2f}")
    assert sum(right) >= 0.7 * len(planted)
    assert np.mean(right) >= 0.4
    assert np.mean(right[:15]) >= 0.8


def test_a_question_is_asked_as_an_object(headed: HEADED) -> None:
    pytest.importorskip("captum", reason="needs the extra bertft[inspect]")
    from bertft.errors import UsageError
    from bertft.inspection.rows import Reading, of_model
    from bertft.inspection.why import why

    bundle = headed("bert-uncased", "qa")
    example, _ = of_model(bundle, json.dumps(ROWS["qa"]), Reading())
    found = why(bundle, example, device="cpu")
    assert {word["text"] for word in found["words"]} == {0, 1}
    assert found["texts"] == ["Who moved?", TEXT]
    assert ("no answer" in found["explains"]) == (found["prediction"]["answer"] is None)
    with pytest.raises(UsageError, match="question and context"):
        of_model(bundle, "Who moved?", Reading())


def test_a_text_that_looks_like_a_place_is_a_text(headed: HEADED) -> None:
    from bertft.inspection.rows import Reading, of_model

    bundle = headed("bert-uncased", "classify")
    for text in ("note: Ada", "at 12:30", "12:30", "https://example.org", '{"a": 1', "a:"):
        assert of_model(bundle, text, Reading())[0].text == text


def test_steps_that_are_too_few_are_warned_of(headed: HEADED, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("captum", reason="needs the extra bertft[inspect]")
    from bertft.inspection.why import why

    bundle = headed("deberta", "classify")
    example, _ = looked_at(bundle, ROWS["classify"])
    found = why(bundle, example, device="cpu", baseline="pad", steps=2)
    assert abs(found["delta"]) > 0.05 * abs(found["value"] - found["baseline"])
    assert "warning: the attributions miss" in capsys.readouterr().err
    assert why(bundle, example, device="cpu")["windows"][0]["steps"] >= 50
