"""Replaced token detection: what is drawn and learnt, against definitions and plain transformers, and what is kept."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, precision_recall_fscore_support
from torch.nn import functional

import bertft
from bertft.bundle.store import load_weights, open_bundle
from bertft.console import ERRORS
from bertft.data.row import Place
from bertft.encoders import families, load
from bertft.errors import ModelError, UsageError
from bertft.heads import replaced
from bertft.inference.load import engine
from bertft.scoring.outcomes import DETECTION
from bertft.scoring.resampling import units
from bertft.tasks.base import IGNORED, Objective, WindowSize
from bertft.tasks.mlm import Mlm, MlmOptions
from bertft.tasks.passages import Passage
from bertft.text.masking import FIXED, Masking, draws
from bertft.training import losses, unpadded
from bertft.training.items import collect
from bertft.training.trainer import Collator, Drawn

BASE = Callable[[str], Path]

TASK = Mlm(MlmOptions(objective="rtd", packing="lines"))
OBJECTIVE = Objective("masked", share=0.15, detects=True)
SENTENCES = [" ".join(word for word, _ in sentence) for sentence in tiny.sentences()]


def corpus(folder: Path) -> Path:
    """Write the sentences as a corpus, and return the file."""
    data = folder / "corpus.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in SENTENCES), encoding="utf-8")
    return data


def passages(*texts: str) -> list[Passage]:
    return [Passage(Place("corpus.txt", line), text) for line, text in enumerate(texts, 1)]


def encoder_of(base: BASE) -> Any:
    checkpoint = load.resolve(str(base("electra")))
    return load.load_tokenizer(checkpoint, load.load_config(checkpoint), presplit=False).subwords


def model_of(base: BASE) -> Any:
    torch.manual_seed(3)
    model, kept = load_weights(load.resolve(str(base("electra"))), TASK.head())
    assert not kept
    for name, value in model.named_parameters():
        if "predictions" in name and value.ndim == 2:
            torch.nn.init.normal_(value, std=0.5)
    return model.eval()


def drawn(base: BASE, epoch: int = 0) -> Drawn:
    encoder, examples = encoder_of(base), passages(*SENTENCES)
    windows, _ = TASK.lessons(examples, encoder, WindowSize(60, 0))
    items, _ = collect([([one.place for one in examples], windows)], OBJECTIVE, path="corpus.txt")
    rows = Drawn(items, masking=Masking(encoder.mask, encoder.ordinary, only_masks=True), seed=13)
    rows.set_epoch(epoch)
    return rows


def batch_of(rows: Drawn, *indices: int) -> dict[str, Any]:
    return Collator(OBJECTIVE, 0, segments=True)([rows[i] for i in indices])


# -- what is masked, and what is put in its place ----------------------------------------------------------------------


def test_all_that_is_chosen_is_masked() -> None:
    ids, units_ = np.arange(5, 100_005) % 900 + 5, np.arange(100_000)
    shown, chosen = Masking(4, np.arange(5, 1000), 0.15, only_masks=True).apply(ids, units_, np.random.default_rng(1))
    assert set(shown[chosen].tolist()) == {4}
    assert abs(len(chosen) - 15_000) < 4 * math.sqrt(100_000 * 0.15 * 0.85)
    rest = np.setdiff1d(np.arange(100_000), chosen)
    assert (shown[rest] == ids[rest]).all()


@given(ids=st.lists(st.integers(0, 30_000), min_size=1, max_size=40))
def test_draws_follow_from_the_window_alone(ids: list[int]) -> None:
    numbers = draws(ids)
    assert numbers.shape == (len(ids),)
    assert ((numbers >= 0) & (numbers < 1)).all()
    assert (draws(list(ids)) == numbers).all()
    assert (draws([*ids, 7])[: len(ids)] != numbers).all()


def test_draws_are_uniform() -> None:
    numbers = np.concatenate([draws([i, i + 1, 5]) for i in range(20_000)])
    counts, _ = np.histogram(numbers, bins=20, range=(0, 1))
    expected, deviation = 3000, math.sqrt(60_000 * 0.05 * 0.95)
    assert (abs(counts - expected) < 4.5 * deviation).all()


def test_a_guess_is_as_frequent_as_it_is_likely() -> None:
    random = np.random.default_rng(0)
    logits = torch.from_numpy(random.normal(0, 2, 12))
    count = 200_000
    found = replaced.drawn(logits.expand(count, -1), torch.from_numpy(random.random(count, dtype=np.float32)))
    chances = torch.softmax(logits, 0).numpy()
    seen = np.bincount(found.numpy(), minlength=12)
    assert (abs(seen - count * chances) <= 4 * np.sqrt(count * chances * (1 - chances)) + 1).all()
    assert found.max() < 12


@pytest.mark.parametrize("rows", [1, 1000])
def test_the_first_and_the_last_number_draw_tokens_that_can_be(rows: int) -> None:
    logits = torch.tensor([[-1e4, 0.0, 0.0, -1e4]]).expand(rows, -1)
    highest = torch.full((rows,), float(np.nextafter(np.float32(1), np.float32(0))))
    assert set(replaced.drawn(logits, highest).tolist()) == {2}
    assert set(replaced.drawn(logits, torch.zeros(rows)).tolist()) == {1}


def test_only_masked_tokens_are_replaced(base: BASE) -> None:
    model, rows = model_of(base), drawn(base)
    batch = batch_of(rows, *range(8))
    masked = batch["labels"].ne(IGNORED)
    places = masked.flatten().nonzero().squeeze(1)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.inference_mode(), replaced.corrupted(model, places, batch["draws"].flatten()[places]) as asked:
        found = model(**inputs).logits
    logits, filled = asked.corruption
    assert logits.shape == (1, len(places), model.config.vocab_size)
    assert (filled[~masked] == batch["input_ids"][~masked]).all()
    with torch.inference_mode():  # outside, the model reads what it is given
        again = model(**{**inputs, "input_ids": filled}).logits
        generator = model.bertft_generator(**inputs).logits
    torch.testing.assert_close(found, again)
    torch.testing.assert_close(logits[0], generator[masked])


# -- the loss ----------------------------------------------------------------------------------------------------------


def test_the_loss_is_that_of_plain_transformers(base: BASE) -> None:
    """Of each window by itself: the generator's, and 50 times the discriminator's over as many tokens as masks say."""
    model, rows = model_of(base), drawn(base)
    tried = 0
    for index in range(12):
        batch = batch_of(rows, index)
        labels, mask = batch["labels"], batch["attention_mask"]
        masked = labels.ne(IGNORED)
        if not masked.any():
            continue
        tried += 1
        places = masked.flatten().nonzero().squeeze(1)
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
        with torch.inference_mode(), replaced.corrupted(model, places, batch["draws"].flatten()[places]) as asked:
            found = model(**inputs).logits
        logits, filled = asked.corruption
        ours = losses.loss(OBJECTIVE, logits, labels, count=None, model=model)
        ours = ours + DETECTION * losses.of_replaced(found, filled, labels, mask, share=0.15, count=None)
        with torch.inference_mode():
            generator = model.bertft_generator(**inputs, labels=labels).loss
            true = (filled.ne(labels) & masked).long()
            detection = model(**{**inputs, "input_ids": filled}, labels=true).loss
        detection = detection * int(mask.sum()) * 0.15 / int(masked.sum())
        assert ours.item() == pytest.approx((generator + 50 * detection).item(), rel=1e-5)
    assert tried > 5


@pytest.mark.parametrize("pads", [True, False])
def test_the_gradient_of_a_batch_is_that_of_its_parts(base: BASE, pads: bool) -> None:
    model, rows = model_of(base), drawn(base)

    def gradients(*parts: tuple[int, ...], pads: bool = True) -> dict[str, torch.Tensor]:
        model.zero_grad()
        count = sum(int(batch_of(rows, *part)["labels"].ne(IGNORED).sum()) for part in parts)
        for part in parts:
            batch = batch_of(rows, *part)
            places = batch["labels"].flatten().ne(IGNORED).nonzero().squeeze(1)
            inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
            layout = unpadded.layout(batch["attention_mask"], batch["kept"])
            unpadding = nullcontext() if pads else unpadded.without_padding(model, layout)
            with replaced.corrupted(model, places, batch["draws"].flatten()[places]) as asked, unpadding:
                found = model(**inputs).logits
            logits, filled = asked.corruption
            loss = losses.loss(OBJECTIVE, logits, batch["labels"], count=count, model=model)
            labels, mask = batch["labels"], batch["attention_mask"]
            detection = losses.of_replaced(found, filled, labels, mask, share=0.15, count=count)
            (loss + DETECTION * detection).backward()
        return {name: value.grad.clone() for name, value in model.named_parameters()}

    whole = gradients((*range(12),))
    if not pads:
        assert unpadded.prepare(model) is None
        model.eval()
    parts = gradients((0, 1, 2), (3, 4, 5, 6, 7, 8), (9, 10, 11), pads=pads)
    for name, value in whole.items():
        assert value.abs().sum() > 0, name
        torch.testing.assert_close(parts[name], value, atol=2e-5, rtol=1e-4)


# -- metrics -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(base: BASE, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rtd")
    data = corpus(folder)
    settings = {
        "model": base("electra"), "options.objective": "rtd", "options.packing": "lines", "trainer.num_train_epochs": 8,
        "trainer.learning_rate": 5e-3, "trainer.per_device_train_batch_size": 8, "trainer.eval_strategy": "no",
        "trainer.save_strategy": "no", "trainer.bf16": "false", "options.mlm_probability": 0.3,
    }  # fmt: skip
    recipe = bertft.load_recipe("mlm", [f"{key}={value}" for key, value in settings.items()])
    bertft.train(recipe, data=str(data), dev=str(data), out=str(folder / "model"), device="cpu")
    return folder / "model"


def test_scores_are_those_of_definitions(trained: Path) -> None:
    bundle = open_bundle(str(trained))
    ready = engine(bundle, device="cpu", measuring=True)
    examples = passages(*SENTENCES)
    pairs, _ = ready.evaluate(examples)
    scores = ready.task.score(pairs)
    model = ready.backend.model  # type: ignore[attr-defined]
    windows, _ = ready.task.features(examples, ready.encoder, ready.window)
    true: list[int] = []
    told: list[float] = []
    generator: list[float] = []
    for window in windows:
        ids = torch.tensor([window.input_ids])
        owned = list(window.owned)
        assert set(ids[0, owned].tolist()) == {ready.encoder.mask}
        with torch.inference_mode():
            logits = model.bertft_generator(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, owned]
            chances = torch.softmax(logits.double(), -1).numpy()
            filled = ids.clone()
            for place, row, number in zip(owned, chances, draws(window.input_ids)[owned], strict=True):
                filled[0, place] = next(i for i, upto in enumerate(row.cumsum()) if upto > number)
            told += model(input_ids=filled, attention_mask=torch.ones_like(ids)).logits[0].double().tolist()
        original = ids.clone()
        original[0, owned] = torch.tensor(window.target)
        true += (filled != original)[0].int().tolist()
        generator += functional.cross_entropy(logits, torch.tensor(window.target), reduction="none").tolist()
    found = [number > 0 for number in told]
    precision, recall, f1, _ = precision_recall_fscore_support(true, found, average="binary", zero_division=0)
    expected = {
        "loss": np.mean(generator),
        "rtd_loss": log_loss(true, 1 / (1 + np.exp(-np.array(told)))),
        "rtd_precision": precision,
        "rtd_recall": recall,
        "rtd_f1": f1,
        "total_loss": np.mean(generator) + 50 * log_loss(true, 1 / (1 + np.exp(-np.array(told)))),
    }
    assert {window.example for window in windows} == {*range(len(examples))}
    assert sum(guess.detected.tokens for _, guess in pairs) == sum(len(window.input_ids) for window in windows)
    assert scores["replaced"] == sum(true) > 10
    assert 0 < f1 < 1
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value, abs=1e-5 * (50 if name == "total_loss" else 1)), name
    observed = units([ready.task.outcomes(pairs)]).observed()
    for name in ready.task.headline:
        assert observed[name] == pytest.approx(scores[name], abs=1e-9), name


def test_what_is_minimised_chooses_the_checkpoint() -> None:
    assert TASK.best_metric == "total_loss"
    assert TASK.best_metric in ERRORS
    assert Mlm().best_metric == "loss"


def test_no_token_of_a_long_text_is_counted_twice(base: BASE) -> None:
    encoder = encoder_of(base)
    (long,) = passages(" ".join(SENTENCES))
    windows, _ = TASK.features([long], encoder, WindowSize(40, 10))
    whole = encoder.encode_texts([long.text])[0].ids
    inside = [token for window in windows for token in window.input_ids[1:-1]]
    assert len(inside) == len(whole)
    originals = list(inside)
    places = np.cumsum([0, *(len(window.input_ids) - 2 for window in windows)])
    for start, window in zip(places, windows, strict=False):
        for place, token in zip(window.owned, window.target, strict=True):
            originals[start + place - 1] = token
    assert originals == whole


# -- what is kept ------------------------------------------------------------------------------------------------------


def test_both_models_are_plain_ones_and_share_their_embeddings(trained: Path) -> None:
    from transformers import AutoModelForMaskedLM, AutoModelForPreTraining

    discriminator, told = AutoModelForPreTraining.from_pretrained(trained, output_loading_info=True)
    generator, more = AutoModelForMaskedLM.from_pretrained(trained / "generator", output_loading_info=True)
    assert not [keys for info in (told, more) for keys in info.values() if keys]
    ours = engine(open_bundle(str(trained)), device="cpu").backend.model  # type: ignore[attr-defined]
    ids = torch.tensor([[2, 9, 8, 3]])
    with torch.inference_mode():
        torch.testing.assert_close(ours(input_ids=ids).logits, discriminator(input_ids=ids).logits)
        torch.testing.assert_close(ours.bertft_generator(input_ids=ids).logits, generator(input_ids=ids).logits)
    for name, value in discriminator.electra.embeddings.named_parameters():
        assert (generator.electra.embeddings.get_parameter(name) == value).all()
    heads = generator.config.num_attention_heads
    assert (generator.config.hidden_size, heads) == (discriminator.config.hidden_size // 4, 1)


@pytest.mark.parametrize(("width", "heads"), [(60, 10), (100, 10), (224, 14), (832, 13), (8, 8)])
def test_a_new_generator_runs_whatever_the_width(width: int, heads: int) -> None:
    from transformers import ElectraConfig

    sizes = {"hidden_size": width, "num_attention_heads": heads, "embedding_size": 16, "intermediate_size": 32}
    generator = replaced.new_generator(ElectraConfig(vocab_size=60, num_hidden_layers=1, **sizes))
    assert generator(input_ids=torch.tensor([[5, 6, 7]])).logits.shape == (1, 3, 60)
    assert generator.config.hidden_size <= max(heads, width / 2)


def test_a_generator_is_taken_from_elsewhere_and_from_the_model_before(
    trained: Path, base: BASE, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file

    data = corpus(tmp_path)
    still = ["trainer.learning_rate=0", "trainer.weight_decay=0", "trainer.max_steps=1", "options.objective=rtd"]
    ways = {
        "named": ["--set", f"model={base('electra')}", f"options.generator={trained / 'generator'}"],
        "beside": ["--set", f"model={trained}"],
    }
    for name, (_, *chosen) in ways.items():
        recipe = bertft.load_recipe("mlm", [*still, *chosen])
        bertft.train(recipe, data=str(data), dev=str(data), out=str(tmp_path / name), device="cpu")
        before, after = (load_file(folder / "generator" / "model.safetensors") for folder in (trained, tmp_path / name))
        own = [key for key in after if "embeddings" not in key and key != "generator_lm_head.weight"]
        assert len(own) > 10
        assert all((before[key] == after[key]).all() for key in own), name
    assert "its head is kept" in capsys.readouterr().err  # of the second
    bundle = open_bundle(str(tmp_path / "named"))
    assert bundle.task.options.generator is None  # it has been copied
    assert bundle.load_model().bertft_generator.num_parameters() > 0


def with_head(source: Path, target: Path) -> Path:
    """Write a masked language model with the encoder and the tokenizer of a directory."""
    from transformers import AutoModelForMaskedLM

    shutil.copytree(source, target)
    AutoModelForMaskedLM.from_pretrained(source).save_pretrained(target)
    return target


@pytest.mark.parametrize("family", ["distilbert", "electra", "bert-uncased"])
def test_another_model_s_generator_has_embeddings_of_its_own(base: BASE, family: str, tmp_path: Path) -> None:
    from transformers import AutoModelForMaskedLM

    source = with_head(base(family), tmp_path / "source")
    if family == "electra":  # that of the encoder, trained a little further
        other = AutoModelForMaskedLM.from_pretrained(source)
        with torch.no_grad():
            other.base_model.embeddings.word_embeddings.weight.add_(0.01)
        other.save_pretrained(source)
    head = Mlm(MlmOptions(objective="rtd", generator=str(source))).head()
    model, _ = load_weights(load.resolve(str(base("electra"))), head)
    plain = AutoModelForMaskedLM.from_pretrained(source)
    with torch.inference_mode():
        own = replaced.generator_of(model)(input_ids=torch.tensor([[2, 9, 4, 3]])).logits
        torch.testing.assert_close(own, plain(input_ids=torch.tensor([[2, 9, 4, 3]])).logits)
    names = [name for name, _ in model.named_parameters() if replaced.is_of_generator(name)]
    assert any("embeddings" in name for name in names)
    ids = torch.tensor([[2, 9, 4, 3]])
    places, numbers = torch.tensor([2]), torch.tensor([0.5])
    with torch.inference_mode(), replaced.corrupted(model, places, numbers) as asked:
        model(input_ids=ids, attention_mask=torch.ones_like(ids), token_type_ids=torch.zeros_like(ids))
    assert asked.corruption.filled.shape == (1, 4)


def test_an_adapter_of_the_generator_is_merged(base: BASE, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="needs the extra bertft[peft]")
    data = corpus(tmp_path)
    settings = ["peft.method=lora", "peft.merge=false", "trainer.max_steps=4", "trainer.learning_rate=0.05"]
    recipe = bertft.load_recipe("mlm", [f"model={base('bert-uncased')}", *settings])
    bertft.train(recipe, data=str(data), dev=str(data), out=str(tmp_path / "adapted"), device="cpu")
    head = Mlm(MlmOptions(objective="rtd", generator=str(tmp_path / "adapted"))).head()
    model, _ = load_weights(load.resolve(str(base("electra"))), head)
    whole = open_bundle(str(tmp_path / "adapted")).load_model()
    ids = torch.tensor([[2, 9, 4, 3]])
    with torch.inference_mode():
        torch.testing.assert_close(replaced.generator_of(model)(input_ids=ids).logits, whole(input_ids=ids).logits)


def test_bf16_answers_as_fp32_does(trained: Path) -> None:
    examples = [Passage(Place("in.txt", 1), "Ada lives in [MASK] .", ((13, 19),))]
    answers = []
    for precision in ("fp32", "bf16"):
        ready = engine(open_bundle(str(trained)), device="cpu", precision=precision)  # type: ignore[arg-type]
        (answer,), _ = ready.predict(examples)
        answers.append({one.token: one.score for one in answer.masks[0]})
    assert answers[0].keys() & answers[1].keys()
    assert all(answers[1].get(token, 0.0) == pytest.approx(score, abs=2e-2) for token, score in answers[0].items())


# -- refusals ----------------------------------------------------------------------------------------------------------


def refused(model: Path, generator: Path, *, folder: Path) -> UsageError | ModelError:
    """Return what a training with a generator is refused with."""
    data = corpus(folder)
    settings = [f"model={model}", "options.objective=rtd", f"options.generator={generator}"]
    recipe = bertft.load_recipe("mlm", settings)
    with pytest.raises((UsageError, ModelError)) as caught:
        bertft.train(recipe, data=str(data), dev=str(data), out=str(folder / "out"), device="cpu")
    return caught.value


def test_a_generator_with_other_tokens_is_refused_before_training(base: BASE, tmp_path: Path) -> None:
    assert (
        "other tokens than the encoder: vocabularies of"
        in refused(base("electra"), base("roberta"), folder=tmp_path).fact
    )
    assert "another vocabulary" in refused(base("electra"), base("mpnet"), folder=tmp_path).fact
    assert "no directory" in refused(base("electra"), tmp_path / "nothing" / "there" / "at-all", folder=tmp_path).fact


def test_a_generator_without_a_head_or_that_is_too_short_is_refused(base: BASE, tmp_path: Path) -> None:
    assert "no trained head" in refused(base("electra"), base("electra"), folder=tmp_path).fact
    short = with_head(base("electra"), tmp_path / "short")
    config = json.loads((short / "config.json").read_text())
    (short / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 16}))
    assert "reads 16 tokens at once" in refused(base("electra"), short, folder=tmp_path).fact


def test_adapters_are_refused(base: BASE, tmp_path: Path) -> None:
    data = corpus(tmp_path)
    recipe = bertft.load_recipe("mlm", [f"model={base('electra')}", "options.objective=rtd", "peft.method=lora"])
    with pytest.raises(UsageError, match="peft: two models"):
        bertft.train(recipe, data=str(data), dev=str(data), out=str(tmp_path / "out"), device="cpu")


@pytest.mark.parametrize("harm", ["missing", "of another kind", "of another vocabulary"])
def test_a_damaged_generator_is_a_model_error(trained: Path, tmp_path: Path, harm: str) -> None:
    copy = Path(shutil.copytree(trained, tmp_path / "model"))
    config = copy / "generator" / "config.json"
    if harm == "missing":
        shutil.rmtree(copy / "generator")
    elif harm == "of another kind":
        config.write_text(json.dumps({"model_type": "bart", "architectures": ["BartForConditionalGeneration"]}))
    else:
        config.write_text(json.dumps({**json.loads(config.read_text()), "vocab_size": 77}))
    with pytest.raises(ModelError) as caught:
        open_bundle(str(copy)).load_model()
    assert {"missing": "needs its generator", "of another kind": "no encoder"}.get(harm, "") in caught.value.fact


def test_a_model_is_not_pushed_without_its_generator(trained: Path, tmp_path: Path) -> None:
    from bertft.bundle.push import push

    copy = Path(shutil.copytree(trained, tmp_path / "model"))
    (copy / "generator").rename(tmp_path / "elsewhere")
    (copy / "generator").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match=r"generator/config\.json"):
        push(str(copy), "me/rtd", dry_run=True)


def test_families_that_detect_are_those_of_transformers() -> None:
    import inspect

    import transformers

    config = transformers.AutoConfig.for_model("electra")
    kind = transformers.AutoModelForPreTraining._model_mapping[type(config)]
    assert kind.__name__ == "ElectraForPreTraining"
    assert "labels" in inspect.signature(kind.forward).parameters
    families.check_objective(config, None, detects=True)


@pytest.mark.parametrize("family", ["bert-uncased", "albert", "roberta"])
def test_others_are_refused(base: BASE, family: str, tmp_path: Path) -> None:
    data = corpus(tmp_path)
    recipe = bertft.load_recipe("mlm", [f"model={base(family)}", "options.objective=rtd"])
    with pytest.raises(UsageError, match="no head for rtd, which electra has"):
        bertft.train(recipe, data=str(data), dev=str(data), out=str(tmp_path / "out"), device="cpu")


def test_a_generator_needs_the_objective() -> None:
    with pytest.raises(UsageError, match=r"options\.generator: there is none with mlm"):
        MlmOptions(generator="x")


def test_specials_are_never_masked(base: BASE) -> None:
    encoder = encoder_of(base)
    for epoch in range(20):
        rows = drawn(base, epoch)
        for index in range(len(rows)):
            (window,) = rows[index]["windows"]
            chosen = [i for i, target in enumerate(window.target) if target != FIXED]
            assert all(window.input_ids[i] == encoder.mask for i in chosen)
            assert all(window.target[i] not in encoder.special for i in chosen)
