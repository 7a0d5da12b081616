"""Masked language modelling: what is masked when, how texts become blocks, what is measured, and what comes after."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

import bertft
from bertft.bundle.store import open_bundle
from bertft.data.row import Place, Row
from bertft.encoders import load
from bertft.encoders.subwords import SubwordTokenizer
from bertft.errors import DataError, ModelError, UsageError
from bertft.inference.engine import Engine
from bertft.tasks.base import WindowSize
from bertft.tasks.mlm import Filled, Mlm, MlmOptions, Passage
from bertft.text.masking import FIXED, Masking
from bertft.training.items import collect
from bertft.training.trainer import Drawn

BASE = Callable[[str], Path]

SENTENCES = [" ".join(word for word, _ in sentence) for sentence in tiny.sentences()]
PLACE = Place("corpus.txt", 1)


def encoder_of(base: BASE, family: str = "bert-uncased") -> SubwordTokenizer:
    checkpoint = load.resolve(str(base(family)))
    return load.load_tokenizer(checkpoint, load.load_config(checkpoint), presplit=False).subwords


def corpus(*texts: str) -> list[Passage]:
    return [Passage(Place("corpus.txt", line), text) for line, text in enumerate(texts, 1)]


def task(**options: Any) -> Mlm:
    return Mlm(MlmOptions(**options))


# -- what training reads -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["bert-uncased", "roberta", "albert"])
def test_blocks_hold_all_texts_in_order_with_a_separator_between_them(base: BASE, family: str) -> None:
    encoder = encoder_of(base, family)
    windows, counts = task().lessons(corpus(*SENTENCES), encoder, WindowSize(24, 5))
    room = 24 - encoder.single.specials
    assert [len(window.input_ids) for window in windows[:-1]] == [24] * (len(windows) - 1)
    before, after = len(encoder.single.before), len(encoder.single.after)
    content = [token for window in windows for token in window.input_ids[before : len(window.input_ids) - after]]
    texts = [text.ids for text in encoder.encode_texts(SENTENCES)]
    joined = list(texts[0])
    for ids in texts[1:]:
        joined += [*encoder.single.after, *ids]
    assert content == joined
    assert counts.windows == len(windows) == -(-len(joined) // room)
    assert [window.example for window in windows] == sorted(window.example for window in windows)


def test_a_block_is_of_the_text_that_it_begins_with(base: BASE) -> None:
    encoder = encoder_of(base)
    long = " ".join(SENTENCES[:6])
    windows, _ = task().lessons(corpus("Paris", long, "Rome"), encoder, WindowSize(16, 4))
    assert [window.example for window in windows] == [0, *[1] * (len(windows) - 1)]


def test_lines_are_read_each_by_itself_and_long_ones_in_pieces_that_share_nothing(base: BASE) -> None:
    encoder = encoder_of(base)
    long = " ".join(SENTENCES[:6])
    windows, counts = task(packing="lines").lessons(corpus("Paris", long, "Rome"), encoder, WindowSize(16, 4))
    assert [window.example for window in windows] == [0, *[1] * (len(windows) - 2), 2]
    ids = [text.ids for text in encoder.encode_texts(["Paris", long, "Rome"])]
    read = [[], [], []]
    for window in windows:
        read[window.example] += window.input_ids[1:-1]
    assert read == ids
    assert (counts.examples, counts.windowed, counts.windows) == (3, 1, len(windows))


@pytest.mark.parametrize("packing", ["blocks", "lines"])
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_specials_and_the_unknown_are_never_to_be_guessed(base: BASE, family: str, packing: str) -> None:
    encoder = encoder_of(base, family)
    odd = ["[SEP] Paris </s> <mask>", "鬱 ꙮ Rome", "[MASK] [CLS] [PAD] lives", *SENTENCES]
    windows, _ = task(packing=packing).lessons(corpus(*odd), encoder, WindowSize(40, 8))
    seen = {
        token
        for window in windows
        for token, unit in zip(window.input_ids, window.target, strict=True)
        if unit != FIXED
    }
    assert seen
    assert not seen & encoder.special
    assert {*encoder.ordinary.tolist()} >= seen
    assert {encoder.unk, encoder.pad, encoder.mask, *encoder.single.before, *encoder.single.after} <= encoder.special
    assert all(window.target[0] == window.target[-1] == FIXED for window in windows)


@pytest.mark.parametrize("family", ["bert-uncased", "roberta", "xlm-roberta"])
def test_words_are_units_also_over_the_borders_of_texts(base: BASE, family: str) -> None:
    encoder = encoder_of(base, family)
    texts = ["unbelievable misunderstandings", "misunderstandings happen", "international"]
    (window,), _ = task(whole_word=True).lessons(corpus(*texts), encoder, WindowSize(120, 8))
    words = sum(len(text.split()) for text in texts)
    units = [unit for unit in window.target if unit != FIXED]
    assert len({*units}) == words < len(units)
    assert [key for key, _ in itertools.groupby(units)] == sorted({*units})  # a word's tokens stand together
    (window,), _ = task().lessons(corpus(*texts), encoder, WindowSize(120, 8))
    assert len({*window.target} - {FIXED}) == len(units)


@pytest.fixture
def drawn(base: BASE) -> Callable[..., Drawn]:
    """Return a function that makes what training draws of 32 texts, all the same."""
    encoder = encoder_of(base)
    examples = corpus(*[" ".join(SENTENCES[:5])] * 32)
    ready = task(packing="lines")
    windows, _ = ready.lessons(examples, encoder, WindowSize(100, 20))
    items, _ = collect([([one.place for one in examples], windows)], ready.objective(examples), path="corpus.txt")
    return lambda seed=13: Drawn(items, masking=Masking(encoder.mask or 0, encoder.ordinary), seed=seed)


def test_masks_differ_by_seed_epoch_and_item_and_not_by_the_order_of_drawing(drawn: Callable[..., Drawn]) -> None:
    seen = {}
    for seed, epoch, index in itertools.product((13, 14), (2, 0, 1), (0, 31)):
        rows = drawn(seed)
        rows.set_epoch(epoch)
        seen[seed, epoch, index] = tuple(rows[index]["windows"][0].input_ids)
    assert len({*seen.values()}) == len(seen)
    rows = drawn(13)
    for epoch, index in itertools.product((0, 1, 2), (31, 0)):
        rows.set_epoch(epoch)
        assert tuple(rows[index]["windows"][0].input_ids) == seen[13, epoch, index]


@pytest.mark.parametrize("persistent", [False, True])
def test_processes_that_load_batches_mask_the_same(drawn: Callable[..., Drawn], persistent: bool) -> None:
    here, there = drawn(), drawn()
    loader = torch.utils.data.DataLoader(
        there, batch_size=8, num_workers=1, persistent_workers=persistent, collate_fn=list
    )
    for epoch in (0, 1):
        here.set_epoch(epoch)
        there.set_epoch(epoch)
        loaded = [item for batch in loader for item in batch]
        assert loaded == [here[i] for i in range(len(here))]


def test_what_was_chosen_is_the_target_and_the_rest_is_shown(drawn: Callable[..., Drawn], base: BASE) -> None:
    rows = drawn()
    (original,) = encoder_of(base).encode_texts([" ".join(SENTENCES[:5])])
    chosen = 0
    for index in range(len(rows)):
        (window,) = rows[index]["windows"]
        for shown, gold, token in zip(window.input_ids[1:-1], window.target[1:-1], original.ids, strict=True):
            assert gold in (FIXED, token)
            assert gold == token or shown == token
            chosen += gold != FIXED
    assert 0.1 < chosen / (len(rows) * len(original.ids)) < 0.2


# -- what evaluation reads ---------------------------------------------------------------------------------------------


def test_evaluation_masks_the_same_whatever_stands_beside_a_text(base: BASE) -> None:
    encoder = encoder_of(base)
    size = WindowSize(64, 12)
    windows, _ = task().features(corpus(*SENTENCES), encoder, size)
    again, _ = task(packing="lines").features(corpus(*SENTENCES[::-1]), encoder, size)
    last = len(SENTENCES) - 1
    assert {(w.example, *w.input_ids) for w in windows} == {(last - w.example, *w.input_ids) for w in again}
    other, _ = dataclasses.replace(task(), seed=1).features(corpus(*SENTENCES), encoder, size)
    assert [w.input_ids for w in other] != [w.input_ids for w in windows]


def test_each_chosen_token_of_a_long_text_is_counted_once(base: BASE) -> None:
    encoder = encoder_of(base)
    text = " ".join(SENTENCES)
    (whole,), _ = task().features(corpus(text), encoder, WindowSize(500, 100))
    windows, counts = task().features(corpus(text), encoder, WindowSize(30, 10))
    assert [gold for window in windows for gold in window.target] == whole.target
    assert sum(len(window.owned) for window in windows) == len(whole.owned)
    assert counts.windowed == 1


# -- the model ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def adapted(base: BASE, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder that has read the sentences often."""
    folder = tmp_path_factory.mktemp("adapted")
    data = folder / "corpus.txt"
    data.write_text("\n\n".join(SENTENCES) + "\n", encoding="utf-8")
    settings = {
        "model": base("bert-uncased"), "options.packing": "lines", "trainer.num_train_epochs": 120,
        "trainer.learning_rate": 5e-3, "trainer.eval_strategy": "no", "trainer.save_strategy": "no",
        "trainer.bf16": "false",
    }  # fmt: skip
    recipe = bertft.load_recipe("mlm", [f"{key}={value}" for key, value in settings.items()])
    result = bertft.train(recipe, data=str(data), dev=str(data), out=str(folder / "model"), device="cpu")
    assert result["dev"]["loss"] < 2
    assert result["dev"]["perplexity"] == pytest.approx(np.exp(result["dev"]["loss"]))
    return folder / "model"


def test_the_loss_is_that_of_plain_transformers(adapted: Path) -> None:
    from transformers import AutoModelForMaskedLM

    bundle = open_bundle(str(adapted))
    scores = bertft.evaluate(str(adapted), str(adapted.parent / "corpus.txt"), device="cpu")
    plain = AutoModelForMaskedLM.from_pretrained(adapted).eval()
    windows, _ = bundle.task.features(corpus(*SENTENCES), bundle.tokenizer, bundle.window)
    losses, right = [], []
    for window in windows:
        with torch.inference_mode():
            logits = plain(input_ids=torch.tensor([window.input_ids])).logits[0, list(window.owned)]
        gold = torch.tensor(window.target)
        losses += torch.nn.functional.cross_entropy(logits, gold, reduction="none").tolist()
        right += (logits.argmax(-1) == gold).tolist()
    assert scores["support"] == len(losses)
    assert scores["loss"] == pytest.approx(np.mean(losses), abs=1e-6)
    assert scores["accuracy"] == np.mean(right)


def test_no_more_logits_are_computed_than_are_asked_for(adapted: Path) -> None:
    from bertft.inference.load import engine

    ready: Engine = engine(open_bundle(str(adapted)), device="cpu")
    sizes = []
    ready.backend.model.get_output_embeddings().register_forward_hook(  # type: ignore[attr-defined]
        lambda _layer, inputs, found: sizes.append(found.shape[:-1].numel())
    )
    pairs, _ = ready.evaluate(corpus(*SENTENCES))
    assert sum(sizes) == sum(guess.total for _, guess in pairs) > 0


def test_a_model_of_others_fills_masks_and_is_measured(adapted: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (plain / name).write_bytes((adapted / name).read_bytes())
    data = str(adapted.parent / "corpus.txt")
    assert bertft.evaluate(str(plain), data, device="cpu") == bertft.evaluate(str(adapted), data, device="cpu")


@pytest.mark.parametrize("recipe", ["ner", "classify"])
def test_a_task_starts_from_the_adapted_encoder(
    adapted: Path, recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file

    data = tmp_path / "train.jsonl"
    rows: list[dict[str, Any]] = [
        {"tokens": [word for word, _ in row], "tags": [tag for _, tag in row]} for row in tiny.sentences()
    ]
    if recipe == "classify":
        rows = [{"text": text, "label": "ab"[i % 2]} for i, text in enumerate(SENTENCES)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    settings = [f"model={adapted}", "trainer.max_steps=1", "trainer.learning_rate=0", "trainer.weight_decay=0"]
    out = tmp_path / "model"
    bertft.train(bertft.load_recipe(recipe, settings), data=str(data), out=str(out), device="cpu")
    assert "the head is new" in capsys.readouterr().err
    before, after = load_file(adapted / "model.safetensors"), load_file(out / "model.safetensors")
    body = [name for name in after if name.startswith("bert.") and ".pooler." not in name]
    assert body
    assert all(torch.equal(before[name], after[name]) for name in body)


def test_a_batch_in_which_nothing_was_chosen_costs_nothing(base: BASE) -> None:
    from bertft.training import losses

    labels = torch.full((2, 5), FIXED)
    objective = task().objective([])
    logits = torch.zeros((1, 0, 300), requires_grad=True)
    loss = losses.loss(objective, logits, labels, count=labels.ne(FIXED).sum(), model=None)
    loss.backward()
    assert loss.item() == 0


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"mlm_probability": 0.0}, {"mlm_probability": 1.0}, {"top_k": 0}])
def test_options_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        MlmOptions(**options)


def test_a_text_without_a_mask_cannot_be_answered() -> None:
    with pytest.raises(DataError, match="no mask") as caught:
        task().parse(Row(PLACE, {"text": "Paris"}), labelled=False)
    assert "corpus.txt:1" in str(caught.value)


def test_a_file_of_blank_lines_is_no_corpus() -> None:
    with pytest.raises(DataError, match="no text"):
        task().convert(corpus("", " \t"))
    kept, notes, _ = task().convert(corpus("", "Paris", " "))
    assert [one.text for one in kept] == ["Paris"]
    assert notes == ["2 blank texts left out"]


def test_too_little_text_is_said() -> None:
    with pytest.raises(DataError, match="none of the tokens"):
        task().score([(corpus("Paris")[0], Filled())])


def test_a_tokenizer_without_a_mask_token_is_refused(base: BASE, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoder_of(base)
    monkeypatch.setattr(SubwordTokenizer, "mask", None)
    for read in (task().features, task().lessons):
        with pytest.raises(ModelError, match="mask token"):
            read(corpus("Paris"), encoder, WindowSize(16, 4))
