"""Pairs in masked language modelling: what is drawn of a corpus, what is measured, and which encoders can tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bertft
from bertft import heads
from bertft.bundle.store import load_weights, open_bundle
from bertft.data.row import Place
from bertft.encoders import families, load
from bertft.encoders.subwords import SubwordTokenizer
from bertft.errors import DataError, UsageError
from bertft.inference.pytorch import TorchBackend, pair_outputs
from bertft.tasks.base import Objective, Window, WindowSize
from bertft.tasks.mlm import Mlm, MlmOptions
from bertft.tasks.passages import Passage
from bertft.text.masking import FIXED, Masking
from bertft.text.pairs import RIGHT, SPOILED
from bertft.training import losses
from bertft.training.items import collect
from bertft.training.split import hold_out
from bertft.training.trainer import Collator, Drawn, Pairing

BASE = Callable[[str], Path]

SENTENCES = [" ".join(word for word, _ in sentence) for sentence in tiny.sentences()]
SIZE = WindowSize(40, 8)


def encoder_of(base: BASE, family: str = "bert-uncased") -> SubwordTokenizer:
    checkpoint = load.resolve(str(base(family)))
    return load.load_tokenizer(checkpoint, load.load_config(checkpoint), presplit=False).subwords


def task(objective: str = "mlm+nsp", **options: Any) -> Mlm:
    return Mlm(MlmOptions(objective=objective, **options))  # type: ignore[arg-type]


def corpus(*texts: str) -> list[Passage]:
    return [Passage(Place("corpus.jsonl", line), text) for line, text in enumerate(texts, 1)]


def numbered(encoder: SubwordTokenizer, sizes: list[list[int]]) -> tuple[list[str], dict[int, int]]:
    """Return documents of sentences of so many words, and of which document each token id is: none is in two."""
    words = [token for token in encoder.backend.get_vocab() if token.isalpha() and token.islower()]
    words = [word for word in sorted(words) if len(encoder.encode_texts([word])[0].ids) == 1]
    share = len(words) // len(sizes)
    texts, owner = [], {}
    for number, lengths in enumerate(sizes):
        mine = words[number * share : (number + 1) * share]
        owner |= {encoder.encode_texts([word])[0].ids[0]: number for word in mine}
        texts.append("\n".join(" ".join(mine[i % share] for i in range(length)) for length in lengths))
    return texts, owner


def halves(window: Window, special: frozenset[int]) -> tuple[list[int], list[int]]:
    """Return the ordinary tokens of the first and of the second text."""
    both = list(zip(window.input_ids, window.segments, strict=True))
    return [i for i, s in both if not s and i not in special], [i for i, s in both if s and i not in special]


SIZES = st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=8), min_size=2, max_size=5)


# -- no pair mixes documents up ----------------------------------------------------------------------------------------


def test_a_pair_of_training_is_of_one_document_or_two(base: BASE) -> None:
    encoder = encoder_of(base)
    assert encoder.mask is not None
    seen = {RIGHT: 0, SPOILED: 0}

    @settings(max_examples=100)  # or chance may draw too few of one kind
    @given(sizes=SIZES, epoch=st.integers(0, 3))
    def check(sizes: list[list[int]], epoch: int) -> None:
        texts, owner = numbered(encoder, sizes)
        ready = task()
        examples = ready.convert(corpus(*texts))[0]
        windows, counts = ready.lessons(examples, encoder, SIZE)
        assert counts.windows == len(windows)
        assert counts.cut == len(examples) - len({window.example for window in windows})
        places = [one.place for one in examples]
        if len({window.example for window in windows}) < 2:
            with pytest.raises(DataError, match="two sentences"):
                collect([(places, windows)], ready.objective(examples), path="corpus.jsonl")
            return
        items, _ = collect([(places, windows)], ready.objective(examples), path="corpus.jsonl")
        plain = Masking(encoder.mask or 0, encoder.ordinary, share=1e-9)  # what is masked hides whose it is
        rows = Drawn(items, masking=plain, pairing=Pairing("nsp", encoder.pair), seed=1)
        rows.set_epoch(epoch)
        for index in range(len(rows)):
            (window,) = rows[index]["windows"]
            label = window.target[0]
            seen[label] += 1
            first, second = ({owner[i] for i in side} for side in halves(window, encoder.special))
            assert first == {windows[index].example}
            assert len(second) == 1
            assert (first == second) == (label == RIGHT)
            assert len(window.input_ids) <= SIZE.length

    check()
    assert min(seen.values()) > 20


def test_a_pair_of_evaluation_is_of_one_document_or_two(base: BASE, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoder_of(base)
    monkeypatch.setattr(Masking, "apply", lambda _self, ids, *_: (np.array(ids), np.array([], dtype=np.int64)))

    @given(sizes=SIZES)
    def check(sizes: list[list[int]]) -> None:
        texts, owner = numbered(encoder, sizes)
        ready = task()
        examples = ready.convert(corpus(*texts))[0]
        windows, _ = ready.features(examples, encoder, SIZE)
        for window in windows:
            first, second = ({owner[i] for i in side} for side in halves(window, encoder.special))
            assert first == {window.example}
            assert len(second) == 1
            assert (first == second) == (window.target[0] == RIGHT)

    check()


def test_what_is_held_out_is_told_from_nothing_that_was_learnt() -> None:
    ready = task()
    examples = ready.convert(corpus(*(f"{i} a. {i} b." for i in range(31))))[0]
    kept, held = hold_out(examples, share=0.2, seed=3, keys=ready.group, labels=ready.labels_of)
    for side in (kept, held):
        assert {one.strange for one in side} <= {one.text for one in side}


# -- what is drawn -----------------------------------------------------------------------------------------------------

DOCUMENTS = [" ".join(SENTENCES[i : i + 5]) for i in range(0, 30, 5)]


@pytest.fixture
def drawn(base: BASE) -> Callable[..., Drawn]:
    """Return a function that makes what training draws of six documents."""

    def make(objective: str = "mlm+nsp", **options: Any) -> Drawn:
        family = "albert" if objective == "mlm+sop" else "bert-uncased"
        encoder, ready = encoder_of(base, family), task(objective, **options)
        examples = ready.convert(corpus(*DOCUMENTS))[0]
        windows, _ = ready.lessons(examples, encoder, WindowSize(100, 20))
        items, _ = collect([([one.place for one in examples], windows)], ready.objective(examples), path="corpus.jsonl")
        told = ready.options.told
        assert told is not None
        masking = Masking(encoder.mask or 0, encoder.ordinary)
        return Drawn(items, masking=masking, pairing=Pairing(told, encoder.pair), seed=13)

    return make


@pytest.mark.parametrize("objective", ["mlm+nsp", "mlm+sop"])
@pytest.mark.parametrize("whole_word", [False, True])
def test_pairs_and_masks_are_drawn_anew_in_every_epoch(
    drawn: Callable[..., Drawn], objective: str, whole_word: bool
) -> None:
    rows, again = drawn(objective, whole_word=whole_word), drawn(objective, whole_word=whole_word)
    seen, labels = [], []
    for epoch in range(40):
        rows.set_epoch(epoch)
        again.set_epoch(epoch)
        for index in range(len(rows)):
            (window,) = rows[index]["windows"]
            seen.append(tuple(window.input_ids))
            labels.append(window.target[0])
        assert [again[i] for i in reversed(range(len(rows)))] == [rows[i] for i in reversed(range(len(rows)))]
    assert len({*seen}) > 0.95 * len(seen)
    assert abs(np.mean(labels) - 0.5) < 4 * 0.5 / len(labels) ** 0.5


def test_specials_are_not_masked_and_the_first_has_the_label(drawn: Callable[..., Drawn], base: BASE) -> None:
    rows, encoder = drawn(), encoder_of(base)
    chosen = total = 0
    for epoch in range(30):
        rows.set_epoch(epoch)
        for index in range(len(rows)):
            (window,) = rows[index]["windows"]
            label, *targets = window.target
            assert label in (RIGHT, SPOILED)
            assert window.input_ids[0] == encoder.pair.before[0]
            assert window.input_ids[-1] == encoder.pair.after[-1]
            assert [t for t in targets if t != FIXED and t in encoder.special] == []
            chosen += sum(target != FIXED for target in targets)
            total += len(targets) - 2
    assert 0.12 < chosen / total < 0.18


def test_evaluation_draws_the_same_whatever_stands_beside_a_document(base: BASE) -> None:
    encoder, ready = encoder_of(base), task()
    examples = ready.convert(corpus(*DOCUMENTS))[0]
    windows, _ = ready.features(examples, encoder, SIZE)
    for index, example in enumerate(examples):
        alone, _ = ready.features([example], encoder, SIZE)
        mine = [window for window in windows if window.example == index]
        assert [(one.input_ids, one.target) for one in alone] == [(one.input_ids, one.target) for one in mine]
    assert {window.target[0] for window in windows} == {RIGHT, SPOILED}


# -- the loss ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "objective"), [("bert-uncased", "mlm+nsp"), ("albert", "mlm+sop")])
def test_the_loss_is_that_of_plain_transformers(
    drawn: Callable[..., Drawn], base: BASE, family: str, objective: str
) -> None:
    """Each window by itself, where a pair weighs what all pairs do."""
    rows = drawn(objective)
    checkpoint = load.resolve(str(base(family)))
    model, kept = load_weights(checkpoint, task(objective).head())
    assert not kept
    told = Objective("masked", share=0.15, told=task(objective).options.told)
    collate = Collator(told, 0, segments=True)
    name = "next_sentence_label" if objective == "mlm+nsp" else "sentence_order_label"
    for index in range(len(rows)):
        batch = collate([rows[index]])
        inputs = {key: batch[key] for key in ("input_ids", "attention_mask", "token_type_ids")}
        if not batch["labels"].ne(FIXED).any():
            continue
        with torch.inference_mode():
            plain = model(**inputs, labels=batch["labels"], **{name: batch["pairs"]})
        chosen = plain.prediction_logits[batch["labels"].ne(FIXED)].unsqueeze(0)
        ours = losses.loss(told, chosen, batch["labels"], count=None, model=model)
        ours = ours + losses.of_pairs(pair_outputs(plain), batch["pairs"], batch["labels"], count=None)
        assert ours.item() == pytest.approx(plain.loss.item(), abs=1e-5)


def test_a_step_in_which_nothing_is_masked_costs_nothing() -> None:
    found = losses.of_pairs(torch.zeros(2, 2), torch.tensor([0, 1]), torch.full((2, 5), FIXED), count=torch.tensor(0))
    assert found.item() == 0


@pytest.mark.slow
@pytest.mark.parametrize(("family", "objective"), [("bert-uncased", "mlm+nsp"), ("albert", "mlm+sop")])
def test_what_goes_with_what_is_learnt(base: BASE, family: str, objective: str, tmp_path: Path) -> None:
    """Documents have words of their own; in the other corpus, sentences have, by where they stand in a document."""
    import transformers

    settings = {
        "hidden_size": 64, "initializer_range": 0.1, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    }  # fmt: skip
    config = transformers.AutoConfig.from_pretrained(base(family), **settings)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "base")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "base" / name).write_bytes((base(family) / name).read_bytes())
    random = np.random.default_rng(0)
    words = [[chr(ord("a") + 4 * i + j) for j in range(4)] for i in range(6)]
    order = [[i] * 6 for i in range(6)] if objective == "mlm+nsp" else [[*range(6)]] * 6
    for name in ("train", "dev"):
        documents = ["\n".join(" ".join(random.choice(words[i], 4)) for i in each) for each in order for _ in range(2)]
        (tmp_path / f"{name}.txt").write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    chosen = {
        "model": tmp_path / "base", "options.objective": objective, "options.window": 40, "trainer.max_steps": 320,
        "trainer.learning_rate": 2e-3, "trainer.eval_strategy": "no", "trainer.save_strategy": "no",
        "trainer.bf16": "false", "trainer.per_device_train_batch_size": 20, "trainer.weight_decay": 0.0,
    }  # fmt: skip
    recipe = bertft.load_recipe("mlm", [f"{key}={value}" for key, value in chosen.items()])
    files = {name: str(tmp_path / f"{name}.txt") for name in ("train", "dev")}
    result = bertft.train(recipe, data=files["train"], dev=files["dev"], out=str(tmp_path / "model"), device="cpu")
    assert result["dev"][f"{objective[4:]}_accuracy"] > 0.75


# -- encoders ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", ["nsp", "sop"])
def test_families_that_tell_of_pairs_are_those_of_transformers(told: Any) -> None:
    import inspect

    import transformers

    wanted = {"nsp": "next_sentence_label", "sop": "sentence_order_label"}[told]
    for name in families.tells(told):
        config = transformers.AutoConfig.for_model(name)
        kind = transformers.AutoModelForPreTraining._model_mapping[type(config)]
        assert wanted in inspect.signature(kind.forward).parameters


@pytest.mark.parametrize("name", families.tells("nsp"))
def test_every_such_family_tells_of_pairs(name: str) -> None:
    import transformers

    sizes = {
        "vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
    }  # fmt: skip
    if name == "mobilebert":
        sizes |= {"intra_bottleneck_size": 16, "embedding_size": 16, "true_hidden_size": 16}
    model = transformers.AutoModelForPreTraining.from_config(transformers.AutoConfig.for_model(name, **sizes)).eval()

    heads.attach(model, pooling="cls", crf=None, vocabulary=True)
    ids, segments = [2, 9, 8, 3, 7, 3], [0, 0, 0, 0, 1, 1]
    (found,) = TorchBackend(model, 0).logits([Window(0, ids, segments, None, [0, 2])])
    inputs = {"input_ids": torch.tensor([ids]), "token_type_ids": torch.tensor([segments])}
    with torch.inference_mode():
        plain = model(**inputs)
    np.testing.assert_allclose(found[0, :2], plain.seq_relationship_logits[0], atol=1e-5)
    np.testing.assert_allclose(found[1], plain.prediction_logits[0, 2], atol=1e-5)


@pytest.mark.parametrize(
    ("family", "objective", "way_out"),
    [
        ("roberta", "mlm+nsp", "options.objective=mlm`"),
        ("albert", "mlm+nsp", "options.objective=mlm+sop`"),
        ("bert-uncased", "mlm+sop", "options.objective=mlm+nsp`"),
        ("electra", "mlm+sop", "options.objective=mlm`"),
    ],
)
def test_others_are_refused(base: BASE, family: str, objective: str, way_out: str, tmp_path: Path) -> None:
    data = tmp_path / "corpus.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in DOCUMENTS), encoding="utf-8")
    recipe = bertft.load_recipe("mlm", [f"model={base(family)}", f"options.objective={objective}"])
    with pytest.raises(UsageError, match=r"no head for mlm\+") as caught:
        bertft.train(recipe, data=str(data), dev=str(data), out=str(tmp_path / "out"), device="cpu")
    assert way_out in (caught.value.help or "")


def test_pairs_and_lines_do_not_go_together() -> None:
    with pytest.raises(UsageError, match="packing"):
        task(packing="lines")


def test_a_window_without_room_for_two_texts_is_refused(base: BASE) -> None:
    with pytest.raises(UsageError, match="two texts"):
        task().lessons(corpus(*DOCUMENTS), encoder_of(base), WindowSize(4, 0))


# -- plain models ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "objective"), [("bert-cased", "mlm+nsp"), ("albert", "mlm+sop")])
def test_a_model_of_others_is_taken_for_what_it_was_trained_for(
    base: BASE, family: str, objective: str, tmp_path: Path
) -> None:
    import transformers

    plain = tmp_path / "plain"
    transformers.AutoModelForPreTraining.from_pretrained(base(family)).save_pretrained(plain)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (plain / name).write_bytes((base(family) / name).read_bytes())
    data = tmp_path / "corpus.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in DOCUMENTS), encoding="utf-8")
    assert open_bundle(str(plain)).task.options.objective == objective
    scores = bertft.evaluate(str(plain), str(data), device="cpu")
    assert scores["pairs"] == 6
    assert 0 <= scores[f"{objective[4:]}_accuracy"] <= 1
    assert {"loss", "perplexity", "accuracy"} <= scores.keys()


def test_a_masked_language_model_keeps_the_half_of_its_head_that_it_has(
    base: BASE, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import transformers

    plain = tmp_path / "plain"
    transformers.AutoModelForMaskedLM.from_pretrained(base("bert-cased")).save_pretrained(plain)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (plain / name).write_bytes((base("bert-cased") / name).read_bytes())
    data = tmp_path / "corpus.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in DOCUMENTS), encoding="utf-8")
    settings = ["options.objective=mlm+nsp", "trainer.max_steps=1"]
    recipe = bertft.load_recipe("mlm", [f"model={plain}", *settings])
    bertft.train(recipe, data=str(data), dev=str(data), out=str(tmp_path / "out"), device="cpu")
    assert "its head of masked tokens is kept, what tells of pairs is new" in capsys.readouterr().err
    again = bertft.load_recipe("mlm", [f"model={tmp_path / 'out'}", *settings])
    bertft.train(again, data=str(data), dev=str(data), out=str(tmp_path / "again"), device="cpu")
    assert "its head is kept" in capsys.readouterr().err
