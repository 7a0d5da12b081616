"""The losses against plain loops, and a step's gradient, which is the same however the step is cut into batches."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from bertft.data.row import Place, Row
from bertft.encoders import load
from bertft.errors import DataError
from bertft.heads import attach
from bertft.heads.crf import Crf
from bertft.inference.engine import Engine
from bertft.inference.pytorch import TorchBackend, takes_segments
from bertft.tasks.base import IGNORED, Objective, Window, WindowSize
from bertft.tasks.classify import Classify, ClassifyOptions
from bertft.training import losses, unpadded
from bertft.training.items import Items
from bertft.training.progress import Progress
from bertft.training.trainer import Collator, Drawn, EncoderTrainer

SEEDS = st.integers(0, 10**6)
quick = settings(max_examples=40)


def softmax(row: Sequence[float]) -> list[float]:
    top = max(row)
    powers = [math.exp(x - top) for x in row]
    return [p / sum(powers) for p in powers]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def value(objective: Objective, logits: Any, labels: Any, count: int | None = None, **more: Any) -> float:
    found = losses.loss(
        objective, torch.tensor(logits, dtype=torch.float64), torch.tensor(labels), count=count, model=None, **more
    )
    return found.item()


@quick
@given(
    seed=SEEDS,
    smoothing=st.sampled_from([0.0, 0.1, 0.4]),
    focal=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    weighted=st.booleans(),
    tokens=st.booleans(),
)
def test_cross_entropy(seed: int, smoothing: float, focal: float, weighted: bool, tokens: bool) -> None:
    """Weights are of the true label, or under smoothing of each label in its share; -100 is not seen."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (4, 6, 3) if tokens else (5, 3))
    labels = rng.integers(0, 3, logits.shape[:-1])
    if tokens:
        labels[rng.random(labels.shape) < 0.4] = IGNORED
        labels[0, 0] = 1
    weights = (0.5, 1.0, 3.0) if weighted else None
    total, seen = 0.0, 0
    for row, label in zip(logits.reshape(-1, 3).tolist(), labels.ravel().tolist(), strict=True):
        if label == IGNORED:
            continue
        seen += 1
        chances = softmax(row)
        wanted = [smoothing / 3 + (1 - smoothing) * (i == label) for i in range(3)]
        terms = [(weights or (1, 1, 1))[i] * wanted[i] * -math.log(chances[i]) for i in range(3)]
        total += (1 - chances[label]) ** focal * sum(terms)
    objective = Objective("tokens" if tokens else "classes", weights, smoothing, focal)
    assert value(objective, logits, labels) == pytest.approx(total / seen, rel=1e-5)
    assert value(objective, logits, labels, count=7) == pytest.approx(total / 7, rel=1e-5)


@quick
@given(
    seed=SEEDS,
    smoothing=st.sampled_from([0.0, 0.2]),
    focal=st.sampled_from([0.0, 0.5, 2.0]),
    weighted=st.booleans(),
)
def test_binary_cross_entropy(seed: int, smoothing: float, focal: float, weighted: bool) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (5, 3))
    labels = rng.integers(0, 2, (5, 3)).astype(np.float32)
    weights = (0.5, 1.0, 3.0) if weighted else None
    total = 0.0
    for row, golds in zip(logits.tolist(), labels.tolist(), strict=True):
        for i, (x, gold) in enumerate(zip(row, golds, strict=True)):
            p, wanted = sigmoid(x), gold * (1 - smoothing) + smoothing / 2
            term = -(weights or (1, 1, 1))[i] * wanted * math.log(p) - (1 - wanted) * math.log(1 - p)
            total += term * (1 - p if gold else p) ** focal
    assert value(Objective("labels", weights, smoothing, focal), logits, labels) == pytest.approx(total / 15, rel=1e-5)


@quick
@given(seed=SEEDS)
def test_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, golds = rng.normal(0, 2, (5, 1)), rng.normal(0, 1, 5).astype(np.float32)
    expected = sum((x - gold) ** 2 for x, gold in zip(logits[:, 0], golds, strict=True)) / 5
    assert value(Objective("values"), logits, golds) == pytest.approx(expected, rel=1e-5)


@quick
@given(seed=SEEDS)
def test_spans_are_two_choices_among_the_tokens_that_are_no_padding(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 7, 4)
    logits = rng.normal(0, 2, (4, 6, 2))
    mask = torch.tensor([[float(i < n) for i in range(6)] for n in lengths])
    labels = np.array([[rng.integers(0, n), rng.integers(0, n)] for n in lengths])
    total = 0.0
    for window, n, ends in zip(logits, lengths, labels, strict=True):
        total -= sum(math.log(softmax(window[:n, side].tolist())[ends[side]]) for side in (0, 1))
    assert value(Objective("spans"), logits, labels, mask=mask) == pytest.approx(total / 8, rel=1e-5)


@quick
@given(seed=SEEDS)
def test_a_crf_s_loss_is_that_of_all_paths_over_the_words(seed: int) -> None:
    """Words stand anywhere in the window; the path jumps over what lies between them."""
    rng = np.random.default_rng(seed)
    labels, tokens = 3, 7
    crf = Crf(np.zeros((labels, labels), np.float32), np.zeros(labels, np.float32))
    with torch.no_grad():
        crf.transitions.copy_(torch.tensor(rng.normal(0, 0.05, (labels, labels))))
        crf.initial.copy_(torch.tensor(rng.normal(0, 0.05, labels)))
    steps, first = (crf.arrays()[name].tolist() for name in ("transitions", "initial"))  # which decoding takes
    logits = rng.normal(0, 1, (2, tokens, labels)).astype(np.float32)
    golds = np.full((2, tokens), IGNORED)
    total, words = 0.0, 0
    for window in range(2):
        places = sorted(rng.choice(tokens, rng.integers(1, 5), replace=False).tolist())
        gold = tuple(rng.integers(0, labels, len(places)).tolist())
        golds[window, places] = gold
        words += len(places)

        def score(path: tuple[int, ...], window: int = window, places: Sequence[int] = places) -> float:
            here = sum(float(logits[window, place, i]) for place, i in zip(places, path, strict=True))
            return first[path[0]] + here + sum(steps[a][b] for a, b in itertools.pairwise(path))

        paths = itertools.product(range(labels), repeat=len(places))
        total += math.log(sum(math.exp(score(path)) for path in paths)) - score(gold)
    model = SimpleNamespace(bertft_crf=crf)
    found = losses.loss(Objective("crf"), torch.tensor(logits), torch.tensor(golds), count=None, model=model)
    assert found.item() == pytest.approx(total / words, rel=1e-4)


@quick
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5), seed=SEEDS, how=st.sampled_from(["mean", "max"]))
def test_an_example_s_logits_are_those_of_its_windows(sizes: list[int], seed: int, how: Any) -> None:
    logits = np.random.default_rng(seed).normal(0, 1, (sum(sizes), 3)).astype(np.float32)
    owner = [i for i, n in enumerate(sizes) for _ in range(n)]
    found = losses.over_windows(how, torch.tensor(logits), torch.tensor(owner), len(sizes))
    for i in range(len(sizes)):
        mine = logits[[j for j, example in enumerate(owner) if example == i]]
        assert found[i].numpy() == pytest.approx(mine.mean(0) if how == "mean" else mine.max(0), abs=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("loss", ["tokens", "classes", "labels"])
def test_the_focal_loss_has_a_gradient_where_the_model_is_sure(loss: Any, gamma: float) -> None:
    row = [[200.0, 0.0], [-200.0, 200.0]]
    logits = torch.tensor([row] if loss == "tokens" else row, requires_grad=True)
    labels = {"tokens": [[IGNORED, 1]], "classes": [0, 1], "labels": [[1.0, 0.0], [0.0, 1.0]]}[loss]
    losses.loss(Objective(loss, focal=gamma), logits, torch.tensor(labels), count=1, model=None).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


# -- one step, cut into batches ----------------------------------------------------------------------------------------

LENGTHS = (5, 17, 9, 30, 6, 12, 25, 8)


def window(example: int, length: int, target: Any, seed: int) -> Window:
    ids = np.random.default_rng(seed).integers(6, 90, length).tolist()
    return Window(example, ids, [0] * length, target)


def items(loss: str) -> list[list[Window]]:
    """Eight training items of different lengths; those with one answer for several windows have one to three."""
    rng = np.random.default_rng(3)
    found = []
    for i, length in enumerate(LENGTHS):
        pieces = 1 + i % 3
        match loss:
            case "tokens" | "crf":  # few words in some, many in others
                labels = [IGNORED, *rng.integers(0, 3, length - 2).tolist(), IGNORED]
                target = [label if j % (1 + i % 4) == 1 % (1 + i % 4) else IGNORED for j, label in enumerate(labels)]
                pieces = 1
            case "spans":
                target, pieces = sorted(rng.integers(0, length, 2).tolist()), 1
            case "classes":
                target = int(rng.integers(0, 3))
            case "labels":
                target = rng.integers(0, 2, 3).astype(float).tolist()
            case _:
                target = float(rng.normal())
        found.append([window(i, length + piece, target, seed=10 * i + piece) for piece in range(pieces)])
    return found


ARCHITECTURE = {"tokens": "TokenClassification", "crf": "TokenClassification", "spans": "QuestionAnswering"}


class Gradients(transformers.TrainerCallback):
    def __init__(self) -> None:
        self.seen: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.seen.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})


def no_memory_for(model: Any, items: int, *, backward: bool) -> None:
    """Let a model's forward, or the end of its backward, fail as torch does when a batch has more windows than this."""

    def fail(rows: int) -> None:
        if rows > items:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"
            )

    seen = {"rows": 0}

    def before(_: Any, __: Any, inputs: dict[str, Any]) -> None:
        seen["rows"] = len(inputs["input_ids"])
        if not backward:
            fail(seen["rows"])

    model.register_forward_pre_hook(before, with_kwargs=True)
    if backward:  # what comes later in the backward pass has not been added to yet
        middle = list(model.parameters())[20]
        middle.register_hook(lambda _: fail(seen["rows"]))


def gradients(
    base: Path,
    objective: Objective,
    out: Path,
    *,
    batch: int,
    steps: int,
    fits: int | None = None,
    backward: bool = False,
    pads: bool = True,
    **settings: Any,
) -> dict[str, torch.Tensor]:
    """Return the gradients of one optimizer step over all items, and its loss; `fits` windows have room in memory."""
    torch.manual_seed(0)
    auto = getattr(transformers, f"AutoModelFor{ARCHITECTURE.get(objective.loss, 'SequenceClassification')}")
    labels = {"values": 1, "spans": 2}.get(objective.loss, 3)
    model = auto.from_pretrained(base, num_labels=labels, dtype=torch.float32)
    crf = (np.zeros((3, 3), np.float32), np.zeros(3, np.float32)) if objective.loss == "crf" else None
    attach(model, pooling="cls", crf=crf)
    if fits is not None:
        no_memory_for(model, fits, backward=backward)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # masks would differ, and nothing else may
        elif isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0
    seen = Gradients()
    drawn = Items()
    for windows in items(objective.loss):
        drawn.add(windows, Place("data.csv", windows[0].example + 1))
    trainer = EncoderTrainer(
        engine=None,  # type: ignore[arg-type]  # evaluation is off
        dev=[],
        progress=Progress(amount=1, unit="tokens", accumulation=1, precision="fp32"),
        objective=objective,
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(out),
            max_steps=1,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=steps,
            max_grad_norm=0.0,
            use_cpu=True,
            disable_tqdm=True,
            report_to="none",
            save_strategy="no",
            remove_unused_columns=False,
            label_names=["labels"],
            **settings,
        ),
        batches=None,
        facts={"parts": 1},
        save_limit=None,
        save_seconds=None,
        train_dataset=Drawn(drawn),
        data_collator=Collator(objective, 0, segments=takes_segments(model)),
        callbacks=[seen],
    )
    if not pads:
        assert unpadded.prepare(model) is None
        trainer.pads = False
    trained = trainer.train()
    assert len(seen.seen) == 1
    return {**seen.seen[0], "loss": torch.tensor(trained.training_loss)}


every_objective = pytest.mark.parametrize(
    "objective",
    [
        Objective("tokens"),
        Objective("crf"),
        Objective("spans"),
        Objective("classes", (0.3, 1.0, 2.0), 0.1, over_windows="mean"),
        Objective("classes", focal=2.0, over_windows="max"),
        Objective("labels", (0.3, 1.0, 2.0), over_windows="max"),
        Objective("values", over_windows="mean"),
    ],
    ids=lambda objective: f"{objective.loss}-{objective.over_windows}",
)


@pytest.mark.filterwarnings("ignore::UserWarning:torch")
@every_objective
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize(("batch", "steps"), [(8, 1), (4, 2)])
def test_a_batch_that_does_not_fit_into_memory_is_computed_in_parts(
    base: Callable[[str], Path],
    tmp_path: Path,
    objective: Objective,
    batch: int,
    steps: int,
    backward: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = base("bert-uncased")
    whole = gradients(model, objective, tmp_path, batch=batch, steps=steps)
    assert "memory" not in capsys.readouterr().err
    fits = 3  # of eight items with up to three windows each
    parts = gradients(model, objective, tmp_path, batch=batch, steps=steps, fits=fits, backward=backward)
    assert "a batch does not fit into memory: from step 1 on" in capsys.readouterr().err
    assert whole.keys() == parts.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.filterwarnings("ignore::UserWarning:torch")
def test_a_row_that_can_never_fit_is_named(base: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        gradients(base("bert-uncased"), Objective("values", over_windows="mean"), tmp_path, batch=8, steps=1, fits=2)
    line = int(str(caught.value).split("data.csv:")[1].split()[0])
    longest = LENGTHS[line - 1] + 2  # its third window
    assert (
        str(caught.value).splitlines()[0] == f"this row alone does not fit into memory: 3 windows of {longest} tokens"
    )
    assert f"--> data.csv:{line}\n" in str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning:torch")
@every_objective
def test_a_step_is_the_same_in_one_batch_and_in_four(
    base: Callable[[str], Path], tmp_path: Path, objective: Objective
) -> None:
    model = base("bert-uncased")
    whole = gradients(model, objective, tmp_path, batch=8, steps=1)
    parts = gradients(model, objective, tmp_path, batch=2, steps=4)
    assert whole.keys() == parts.keys()
    assert max(g.abs().max().item() for name, g in whole.items() if name != "loss") > 1e-3
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-5, atol=1e-5, msg=name)


# -- without padding ---------------------------------------------------------------------------------------------------

UNPADDED = ("bert-cased", "distilbert", "electra", "roberta", "xlm-roberta", "albert", "modernbert")


@pytest.mark.filterwarnings("ignore::UserWarning:torch")
@every_objective
@pytest.mark.parametrize("family", UNPADDED)
def test_a_step_without_padding_is_the_step_with_it(
    base: Callable[[str], Path], tmp_path: Path, family: str, objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = base(family)
    padded = gradients(model, objective, tmp_path, batch=8, steps=1)
    seen: list[tuple[int, ...]] = []
    attend = unpadded._window_by_window

    def attended(query: torch.Tensor, *more: Any, **named: Any) -> torch.Tensor:
        seen.append(tuple(query.shape[::2]))
        return attend(query, *more, **named)

    monkeypatch.setattr(unpadded, "_window_by_window", attended)
    found = gradients(model, objective, tmp_path, batch=8, steps=1, pads=False)
    tokens = sum(len(one.input_ids) for windows in items(objective.loss) for one in windows)
    assert seen[-2:] == [(1, tokens)] * 2  # of each layer: no padding
    assert found["loss"].item() == pytest.approx(padded["loss"].item(), abs=1e-5)
    assert found.keys() == padded.keys()
    for name, gradient in padded.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.filterwarnings("ignore::UserWarning:torch")
@pytest.mark.parametrize("family", ["bert-cased", "modernbert"])
def test_without_padding_in_parts_and_with_layers_computed_again(
    base: Callable[[str], Path], tmp_path: Path, family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model, objective = base(family), Objective("classes", over_windows="max")
    padded = gradients(model, objective, tmp_path, batch=8, steps=1)
    parts = gradients(model, objective, tmp_path, batch=4, steps=2, fits=4, pads=False)
    assert "is computed in 2 parts" in capsys.readouterr().err
    again = gradients(model, objective, tmp_path, batch=8, steps=1, pads=False, activation_checkpointing=True)
    for name, gradient in padded.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-5, atol=1e-5, msg=name)
        torch.testing.assert_close(again[name], gradient, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("family", ["mpnet", "deberta", "deberta-v3"])
def test_attention_that_is_more_than_that_of_queries_to_keys_keeps_its_padding(
    base: Callable[[str], Path], family: str
) -> None:
    model = transformers.AutoModelForTokenClassification.from_pretrained(base(family), dtype=torch.float32)
    before = model.config._attn_implementation
    assert unpadded.prepare(model)
    assert model.config._attn_implementation == before
    ids = torch.arange(5, 29).reshape(2, 12)
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    plain = transformers.AutoModelForTokenClassification.from_pretrained(base(family), dtype=torch.float32).eval()
    with torch.no_grad():
        left, found = plain.base_model(ids, mask)[0], model.eval().base_model(ids, mask)[0]
    torch.testing.assert_close(found, left, rtol=0, atol=0)


@pytest.mark.parametrize("family", UNPADDED)
def test_a_trial_sees_windows_that_attend_to_each_other(
    base: Callable[[str], Path], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mixed(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)

    monkeypatch.setattr(unpadded, "_window_by_window", mixed)
    model = transformers.AutoModelForTokenClassification.from_pretrained(base(family), dtype=torch.float32)
    for name, weights in model.named_parameters():  # as of a trained model: attention looks at something
        if any(part in name for part in ("query", "key", "q_lin", "k_lin", "Wqkv")):
            torch.nn.init.normal_(weights, std=0.5)
    assert "hidden states are others" in str(unpadded.prepare(model))


def test_what_a_trial_raises_is_said_and_the_model_left_as_it_was(
    base: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = transformers.AutoModel.from_pretrained(base("bert-cased"), dtype=torch.float32)
    names = set(vars(model)) | set(vars(model.embeddings))
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]

    def failing(*_: Any, **__: Any) -> torch.Tensor:
        raise IndexError("the mask does not fit\nmore")

    monkeypatch.setattr(unpadded, "_window_by_window", failing)
    assert unpadded.prepare(model) == "IndexError: the mask does not fit"
    assert model.config._attn_implementation == "sdpa"
    assert set(vars(model)) | set(vars(model.embeddings)) == names
    assert [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()] == hooks


def test_a_decoder_and_an_encoder_that_is_not_trained(base: Callable[[str], Path]) -> None:
    decoder = transformers.AutoModel.from_pretrained(base("bert-cased"), dtype=torch.float32, is_decoder=True)
    assert "more than that of all tokens to all others" in str(unpadded.prepare(decoder))
    model = transformers.AutoModelForTokenClassification.from_pretrained(base("bert-cased"), dtype=torch.float32)
    model.base_model.requires_grad_(False)
    assert unpadded.prepare(model) is None


# -- what training minimises is what is predicted ----------------------------------------------------------------------

TEXTS = [
    ("the quick brown fox jumps over the lazy dog " * 3, "a"),
    ("nobody knew why the old clock stopped", "b"),
    ("prices rose in march and the bank's letter came in april " * 4, "c"),
    ("everyone was late", "a"),
]


@pytest.mark.parametrize("how", ["first", "mean", "max"])
@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification", "regression"])
def test_training_pools_over_windows_as_prediction_does(base: Callable[[str], Path], problem: Any, how: Any) -> None:
    """In eval mode the loss of a batch is that of the answers which the engine gives, computed by hand."""
    numbers = {"a": 1.5, "b": -2.0, "c": 4.0}
    task = Classify(ClassifyOptions(problem_type=problem, window=16, stride=4, window_pooling=how))
    labels = [numbers[label] if problem == "regression" else label for _, label in TEXTS]
    examples = [
        task.parse(Row(Place("x", i), {"text": text, "label": label}), labelled=True)
        for i, ((text, _), label) in enumerate(zip(TEXTS, labels, strict=True), 1)
    ]
    task, _ = task.prepare(examples)
    checkpoint = load.resolve(str(base("bert-uncased")))
    tokenizer = load.load_tokenizer(checkpoint, load.load_config(checkpoint), presplit=False)
    torch.manual_seed(1)
    model, _ = load.load_model(checkpoint, task.head().architecture, task.head().labels, problem)
    torch.nn.init.normal_(load.output_layer(model).weight, std=20)  # windows that differ in their answers
    size = WindowSize(16, 4)
    engine = Engine(task, tokenizer.subwords, size, TorchBackend(model, tokenizer.subwords.pad))
    pairs, counts = engine.evaluate(examples)
    assert (counts.windowed, counts.cut) == ((0, 2) if how == "first" else (2, 0))
    each = []
    for example, answer in pairs:
        if problem == "regression":
            assert task.scale is not None
            each.append(((float(answer[0]) - float(example.label)) / task.scale.deviation) ** 2)
        elif problem == "single_label_classification":
            each.append(-math.log(answer[task.target.labels.index(example.label)]))
        else:
            golds = [label == example.label for label in task.target.labels]
            each += [-math.log(p if gold else 1 - p) for p, gold in zip(answer, golds, strict=True)]
    windows, _ = task.features(examples, engine.encoder, size)
    grouped = [list(group) for _, group in itertools.groupby(windows, key=lambda window: window.example)]
    objective = task.objective(examples)
    batch = Collator(objective, tokenizer.subwords.pad, segments=True)(
        [{"item": i, "windows": group} for i, group in enumerate(grouped)]
    )
    owner, golds = batch.pop("owner"), batch.pop("labels")
    with torch.no_grad():
        logits = model(**batch).logits
        pooled = losses.over_windows(how, logits, owner, len(golds)) if len(logits) > len(golds) else logits
        found = losses.loss(objective, pooled, golds, count=None, model=model)
    assert found.item() == pytest.approx(sum(each) / len(each), rel=1e-5)
    if how != "first":  # mean and maximum differ here, or the test could not tell them apart
        other = losses.over_windows("max" if how == "mean" else "mean", logits, owner, len(golds))
        assert (other - pooled).abs().max() > 1e-3
