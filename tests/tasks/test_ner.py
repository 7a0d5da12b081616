"""Tagging: decoding, entities, labels, plain Hugging Face directories, and encoders that cannot be used."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from conftest import Trained
from hypothesis import given
from hypothesis import strategies as st

from bertft.bundle.store import open_bundle
from bertft.data.row import Place, Row
from bertft.encoders import embedded, load
from bertft.errors import DataError, ModelError
from bertft.inference.evaluate import evaluate, read_labelled
from bertft.tasks.ner import Ner
from bertft.text.bio import constraints, viterbi
from bertft.text.schemes import TagStyle, invalid_positions

BASE = Callable[[str], Path]
TRAINED = Callable[[str], Trained]

TAGGER = "AutoModelForTokenClassification"
LABELS = ("O", "B-A", "I-A", "B-B", "I-B")
TASK = Ner.restore({}, {"labels": list(LABELS)})
LINES = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def emissions(seed: int, words: int, labels: int = len(LABELS)) -> Any:
    return np.random.default_rng(seed).normal(scale=2, size=(words, labels)).astype(np.float32)


def example(values: dict[str, Any], *, labelled: bool = False) -> Any:
    parsed = TASK.parse(Row(Place("x", 1), values), labelled=labelled)
    return TASK.convert([parsed])[0][0] if labelled else parsed


def log_probabilities(seed: int, words: int) -> Any:
    scores = emissions(seed, words).astype(np.float64)
    return (scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))).astype(np.float32)


@given(seed=st.integers(0, 2**32 - 1), words=st.integers(0, 5))
def test_viterbi_finds_the_best_of_all_valid_paths(seed: int, words: int) -> None:
    scores = emissions(seed, words)
    transitions, initial = constraints(LABELS, TagStyle("BIO"))
    found = viterbi(scores, transitions, initial)

    def valid(path: Sequence[int]) -> bool:
        return not invalid_positions([LABELS[i] for i in path], TagStyle("BIO"))

    def value(path: Sequence[int]) -> float:
        return float(sum(scores[i, label] for i, label in enumerate(path)))

    best = max(value(path) for path in itertools.product(range(len(LABELS)), repeat=words) if valid(path))
    assert valid(found)
    assert value(found) == pytest.approx(best, abs=1e-4)


@given(seed=st.integers(0, 2**32 - 1), words=st.integers(0, 5), labels=st.integers(1, 4))
def test_viterbi_weighs_soft_transitions(seed: int, words: int, labels: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(words, labels)).astype(np.float32)
    transitions = generator.normal(size=(labels, labels)).astype(np.float32)
    initial = generator.normal(size=labels).astype(np.float32)

    def value(path: Sequence[int]) -> float:
        start = initial[path[0]] if len(path) else 0.0
        steps = sum(transitions[a, b] for a, b in itertools.pairwise(path))
        return float(start + steps + sum(scores[i, label] for i, label in enumerate(path)))

    best = max(value(path) for path in itertools.product(range(labels), repeat=words))
    assert value(viterbi(scores, transitions, initial)) == pytest.approx(best, abs=1e-4)


@given(
    seed=st.integers(0, 2**32 - 1),
    lengths=st.lists(st.integers(1, 6), max_size=4),
    decode=st.sampled_from(["viterbi", "argmax"]),
)
def test_decoded_tags_are_valid_bio_and_their_entities_are_the_same(seed: int, lengths: list[int], decode: str) -> None:
    task = Ner.restore({"decode": decode}, {"labels": list(LABELS)})
    words = [f"w{i}" for i in range(sum(lengths))]
    row = Row(Place("x", 1), {"tokens": words}, sentences=tuple(lengths))
    parsed = task.parse(row, labelled=False)
    guess = task.decode(parsed, [log_probabilities(seed, len(words))])
    for tags in parsed.sentences(guess.tags):
        assert invalid_positions(tags, TagStyle("BIO")) == []
    assert len(guess.entities) == sum(tag.startswith("B-") for tag in guess.tags)
    assert all(0 < entity.score <= 1 for entity in guess.entities)


def test_no_entity_crosses_a_sentence_of_a_document() -> None:
    inside = np.log(np.array([[0.01, 0.97, 0.02], [0.01, 0.02, 0.97], [0.01, 0.02, 0.97]], dtype=np.float32))
    task = Ner.restore({}, {"labels": ["O", "B-A", "I-A"]})
    parsed = task.parse(Row(Place("x", 1), {"tokens": list("abc")}, sentences=(2, 1)), labelled=False)
    assert task.decode(parsed, [inside]).tags == ["B-A", "I-A", "B-A"]


@given(text=LINES, seed=st.integers(0, 2**32 - 1))
def test_an_entity_is_a_slice_of_the_text(text: str, seed: int) -> None:
    parsed = example({"text": text})
    guess = TASK.decode(parsed, [log_probabilities(seed, len(parsed.words))])
    for entity in TASK.render(parsed, guess, scores=False)["entities"]:
        assert entity["text"] == text[entity["start"] : entity["end"]] != ""


@given(tokens=st.lists(st.text(max_size=5), max_size=12), seed=st.integers(0, 2**32 - 1))
def test_an_entity_of_tokens_is_a_slice_of_the_joined_tokens(tokens: list[str], seed: int) -> None:
    parsed = example({"tokens": tokens})
    guess = TASK.decode(parsed, [log_probabilities(seed, len(tokens))])
    answer = TASK.render(parsed, guess, scores=False)
    assert len(answer["tags"]) == len(tokens)
    for entity in answer["entities"]:
        assert entity["text"] == " ".join(tokens)[entity["start"] : entity["end"]]


def test_character_entities_come_back_as_they_were_given() -> None:
    text = "Café😀 in São Paulo 日本 שלום"
    wanted = [(0, 4, "A"), (9, 18, "B"), (19, 21, "A"), (22, 26, "B")]
    row = {"text": text, "entities": [{"start": s, "end": e, "label": k} for s, e, k in wanted]}
    parsed = example(row, labelled=True)
    perfect = np.full((len(parsed.words), len(LABELS)), -20, dtype=np.float32)
    perfect[np.arange(len(parsed.words)), [LABELS.index(tag) for tag in parsed.tags]] = 0
    answer = TASK.render(parsed, TASK.decode(parsed, [perfect]), scores=False)
    assert [(e["start"], e["end"], e["label"]) for e in answer["entities"]] == wanted
    assert [e["text"] for e in answer["entities"]] == ["Café", "São Paulo", "日本", "שלום"]


def test_words_that_an_annotation_tool_has_cut_are_the_words() -> None:
    text = "Start-Up  news"
    spans = [{"start": 6, "end": 8, "label": "A"}]
    cut = [{"text": text[a:b], "start": a, "end": b, "id": i} for i, (a, b) in enumerate([(0, 5), (5, 6), (6, 8)])]
    more = [{"text": " ", "start": 9, "end": 10}, {"text": "news", "start": 10, "end": 14}]
    parsed = example({"text": text, "entities": spans, "tokens": [*cut, *more]}, labelled=True)
    assert parsed.words == ("Start", "-", "Up", "news")
    assert parsed.tags == ("O", "O", "B-A", "O")
    assert parsed.adjusted == ()
    hole = [*cut, {"start": 3, "end": 5}]
    before, beyond = [{"start": -1, "end": 8}, more[1]], [{"start": 0, "end": 99}]
    for torn in ([{"text": "Start"}], cut, before, hole, beyond, ["Start", 1]):
        parsed = example({"text": text, "entities": spans, "tokens": torn}, labelled=True)
        assert parsed.words == ("Start-Up", "news")
        assert len(parsed.adjusted) == 1


WIDENED = "A 'Start' (0-5) cuts a word and is widened to 'Start-Up'"
LEFT_OUT = "A 'Up' (6-8) overlaps another and is left out"
ADJUSTED = (
    [WIDENED],
    [WIDENED, LEFT_OUT],
    [WIDENED, "B 'St' (0-2) overlaps another and is left out", LEFT_OUT],
)


def test_spans_that_do_not_fit_are_located_one_by_one() -> None:
    rows = [{"text": "Start-Up", "entities": [[0, 5, "A"], [6, 8, "A"], [0, 2, "B"]][: i % 3 + 1]} for i in range(9)]
    parsed = [TASK.parse(Row(Place("x", i), row), labelled=True) for i, row in enumerate(rows, 1)]
    _, notes, warnings = TASK.convert(parsed)
    assert notes == ["character spans, as tags of 9 words"]
    assert warnings[0].splitlines() == [
        "18 character spans do not fit the words:",
        *[f"  x:{line}: {what}" for line in range(1, 6) for what in ADJUSTED[(line - 1) % 3]],
        f"  x:6: {WIDENED}",
        "  and 8 more",
    ]


@pytest.mark.parametrize("labels", [LABELS, ("ADJ", "NOUN")])
def test_answers_by_word_come_with_the_words(labels: tuple[str, ...]) -> None:
    task = Ner.restore({}, {"labels": list(labels)})
    parsed = task.parse(Row(Place("x", 1), {"text": "Café in Rome"}), labelled=False)
    guess = task.decode(parsed, [np.log(np.full((3, len(labels)), 1 / len(labels), dtype=np.float32))])
    answer = task.render(parsed, guess, scores=True)
    assert answer["tokens"] == ["Café", "in", "Rome"]
    assert answer["offsets"] == [[0, 4], [5, 7], [8, 12]]
    assert len(answer["scores"]) == 3
    assert ("tags" in answer) == (labels != LABELS)
    assert set(task.render(parsed, guess, scores=False)) == (
        {"entities"} if labels == LABELS else {"tokens", "offsets", "tags"}
    )
    assert set(task.cells(parsed, guess)) == set(task.cell_names)


def test_a_label_unseen_in_training_is_reported_and_scored_as_missed(
    trained: TRAINED, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = trained("bert-uncased")
    data = tmp_path / "new.conll"
    data.write_text(done.data.read_text(encoding="utf-8") + "Maria\tB-PER\nlives\tO\nhere\tB-NEW\n\n", encoding="utf-8")
    scores = evaluate(str(done.directory), str(data), device="cpu")
    assert scores["per_label"]["NEW"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert scores["recall"] < 1
    told = capsys.readouterr().err
    assert "'NEW'" in told
    assert "missed" in told
    assert f"{data}:" in told


def test_a_label_that_only_dev_has_stops_no_training(
    base: BASE, train_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from bertft.recipe import load as load_recipe
    from bertft.training.run import train

    dev = tmp_path / "dev.conll"
    dev.write_text("Maria\tB-PER\nlives\tO\nhere\tB-NEW\n\n", encoding="utf-8")
    overrides = [f"model={base('bert-uncased')}", "trainer.num_train_epochs=1"]
    result = train(
        load_recipe("ner", overrides), data=str(train_file), dev=str(dev), out=str(tmp_path / "out"), device="cpu"
    )
    assert result["dev"]["per_label"]["NEW"]["support"] == 1
    assert "'NEW'" in capsys.readouterr().err


def test_pipeline_finds_the_same_entities(trained: TRAINED) -> None:
    import transformers

    from bertft.inference.load import engine

    directory = trained("bert-uncased").directory
    ready = engine(open_bundle(str(directory)), device="cpu")
    # without the last words, and in new combinations, so that not every entity is certain
    texts = [" ".join(w for w, _ in s if w.isalpha()) for s in tiny.sentences()]
    texts += [" ".join(reversed(text.split())) for text in texts]
    examples = [ready.task.parse(Row(Place("x", 1), {"text": text}), labelled=False) for text in texts]
    predictions, _ = ready.predict(examples)
    tagger = transformers.pipeline(
        "token-classification", model=str(directory), aggregation_strategy="first", device="cpu"
    )
    compared = 0
    for text, parsed, guess in zip(texts, examples, predictions, strict=True):
        best = ready.predict([parsed])[0][0]
        emitted = _argmax_labels(ready, parsed)
        if invalid_positions(emitted, TagStyle("BIO")):
            continue
        assert best.tags == emitted
        compared += 1
        ours = [(e["start"], e["end"], e["label"]) for e in ready.task.render(parsed, guess, scores=False)["entities"]]
        theirs = [(e["start"], e["end"], e["entity_group"]) for e in tagger(text)]
        assert ours == theirs, text
    assert compared > 32


def _argmax_labels(ready: Any, parsed: Any) -> list[str]:
    (window,), _ = ready.task.features([parsed], ready.encoder, ready.window)
    (logits,) = ready.backend.logits([window])
    return [ready.task.labels[i] for i in logits[window.owned].argmax(axis=-1)]


@pytest.fixture
def plain(trained: TRAINED, tmp_path: Path) -> Path:
    """A trained directory as plain transformers would have saved it."""
    directory = tmp_path / "plain"
    shutil.copytree(trained("bert-uncased").directory, directory)
    for name in ("bertft.json", "recipe.yaml", "metrics.json", "README.md"):
        (directory / name).unlink()
    return directory


def test_a_plain_directory_is_evaluated_and_says_what_it_assumed(
    plain: Path, trained: TRAINED, capsys: pytest.CaptureFixture[str]
) -> None:
    done = trained("bert-uncased")
    scores = evaluate(str(plain), str(done.data), device="cpu")
    told = capsys.readouterr().err
    assert scores.items() >= done.result["dev"].items()
    assert "no bertft.json" in told
    assert "B-PER" in told


def test_a_plain_directory_with_iob1_labels_answers_in_bio(plain: Path) -> None:
    from bertft.inference.load import engine

    config = json.loads((plain / "config.json").read_text())
    names = {"B-LOC": "I-LOC", "I-LOC": "I-X", "B-ORG": "I-ORG", "I-ORG": "I-Y", "B-PER": "I-PER", "I-PER": "I-Z"}
    config["id2label"] = {i: names.get(label, label) for i, label in config["id2label"].items()}
    config["label2id"] = {label: int(i) for i, label in config["id2label"].items()}
    (plain / "config.json").write_text(json.dumps(config))
    ready = engine(open_bundle(str(plain)), device="cpu")
    parsed = ready.task.parse(Row(Place("x", 1), {"tokens": ["Maria", "lives", "in", "Paris", "."]}), labelled=False)
    assert ready.predict([parsed])[0][0].tags == ["B-PER", "O", "O", "B-LOC", "O"]


def test_a_plain_directory_with_labels_in_another_order_can_be_trained_on(
    plain: Path, trained: TRAINED, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file, save_file

    config = json.loads((plain / "config.json").read_text())
    labels = [config["id2label"][str(i)] for i in range(len(config["id2label"]))]
    config["id2label"] = dict(enumerate(labels[::-1]))
    config["label2id"] = {label: i for i, label in enumerate(labels[::-1])}
    (plain / "config.json").write_text(json.dumps(config))
    weights = load_file(plain / "model.safetensors")
    for name in ("classifier.weight", "classifier.bias"):
        weights[name] = weights[name].flip(0).contiguous()
    save_file(weights, plain / "model.safetensors", metadata={"format": "pt"})
    model, kept = load.load_model(load.resolve(str(plain)), TAGGER, labels)
    original, _ = load.load_model(load.resolve(str(trained("bert-uncased").directory)), TAGGER, labels)
    assert kept
    assert list(model.config.id2label.values()) == labels
    assert (model.classifier.weight == original.classifier.weight).all()
    assert (model.classifier.bias == original.classifier.bias).all()


def test_a_base_model_cannot_predict(base: BASE) -> None:
    with pytest.raises(ModelError, match="no trained"):
        open_bundle(str(base("bert-uncased")))


def test_weights_of_the_encoder_that_are_missing_are_named(base: BASE, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(base("bert-uncased"), broken)
    weights = load_file(broken / "model.safetensors")
    lost = [name for name in weights if name.startswith("encoder.layer.1.attention")]
    save_file(
        {k: v for k, v in weights.items() if k not in lost}, broken / "model.safetensors", metadata={"format": "pt"}
    )
    with pytest.raises(ModelError, match=f"lacks {len(lost)} weights") as caught:
        load.load_model(load.resolve(str(broken)), TAGGER, LABELS)
    assert "encoder.layer.1.attention" in str(caught.value)


def test_weights_of_another_size_are_an_error_not_noise(base: BASE, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(base("bert-uncased"), broken)
    config = json.loads((broken / "config.json").read_text())
    config["intermediate_size"] = 48
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError):
        load.load_model(load.resolve(str(broken)), TAGGER, LABELS)


def test_a_bundle_whose_head_is_missing_cannot_predict(trained: TRAINED, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(trained("bert-uncased").directory, broken)
    weights = load_file(broken / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("classifier.")}
    save_file(kept, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="no trained head"):
        open_bundle(str(broken)).load_model()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bertft.json", "{"),
        ("bertft.json", "[]"),
        ("bertft.json", '{"format": 99}'),
        ("bertft.json", "{}"),
        ("tokenizer.json", "{}"),
        ("config.json", "{"),
        ("model.safetensors", "nonsense"),
    ],
)
def test_a_damaged_bundle_is_a_model_error(trained: TRAINED, tmp_path: Path, name: str, text: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(trained("bert-uncased").directory, broken)
    (broken / name).write_text(text, encoding="utf-8")
    with pytest.raises(ModelError):
        open_bundle(str(broken)).load_model()


def test_embedded_weights_that_are_not_the_published_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    embedded.locate.cache_clear()
    monkeypatch.setattr(embedded, "SHA256", "0" * 64)
    with pytest.raises(ModelError, match="damaged"):
        load.resolve("embedded")
    embedded.locate.cache_clear()


def test_half_precision_weights_load_as_fp32(base: BASE, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    half = tmp_path / "half"
    shutil.copytree(base("bert-uncased"), half)
    weights = {k: v.half() for k, v in load_file(half / "model.safetensors").items()}
    save_file(weights, half / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((half / "config.json").read_text())
    (half / "config.json").write_text(json.dumps({**config, "dtype": "float16"}))
    model, _ = load.load_model(load.resolve(str(half)), TAGGER, LABELS)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("start", "end", "said", "tagged"),
    [
        (5, 12, "beijing", [2]),  # as it is written elsewhere
        (6, 13, "Beijing", [2]),  # a browser counts two units for the emoji
        (5, 12, None, [2]),
        (5, 12, "London", None),
    ],
)
def test_an_entity_is_what_it_says_it_is(start: int, end: int, said: str | None, tagged: list[int] | None) -> None:
    entity = {"start": start, "end": end, "label": "LOC", **({"text": said} if said else {})}
    row = Row(Place("x", 7), {"text": "😀 in Beijing", "entities": [entity]})
    if tagged is None:
        with pytest.raises(DataError, match="the entity is 'London', but the text has 'Beijing' at 5-12"):
            TASK.parse(row, labelled=True)
        return
    example = TASK.parse(row, labelled=True)
    assert [i for i, tag in enumerate(example.written) if tag != "O"] == tagged
    assert not example.adjusted


def test_rows_that_are_left_out_are_counted(tmp_path: Path) -> None:
    verdicts = ("accept", "ignore", "accept", "accept")
    rows = [{"text": "Ann", "spans": [], "answer": verdict, "_input_hash": 1, "_task_hash": 1} for verdict in verdicts]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = read_labelled(TASK, str(tmp_path / "rows.jsonl"))
    assert [len(read.examples), read.rows] == [3, [0, 2, 3, 4]]


def test_a_token_glueing_tokenizer_is_mended_and_saved_mended(trained: TRAINED) -> None:
    for family in ("roberta", "modernbert"):
        saved = json.loads((trained(family).directory / "tokenizer.json").read_text(encoding="utf-8"))
        assert '"add_prefix_space": true' in json.dumps(saved["pre_tokenizer"]), family


def test_only_o_tags_are_nothing_to_learn() -> None:
    parsed = example({"tokens": ["a", "b"], "tags": ["O", "O"]}, labelled=True)
    with pytest.raises(DataError, match="all tags are `O`"):
        Ner().prepare([parsed])


def test_numbers_and_sizes_of_a_long_document_are_counted(trained: TRAINED) -> None:
    from bertft.inference.load import engine

    ready = engine(open_bundle(str(trained("bert-uncased").directory)), device="cpu")
    words = [word for sentence in tiny.sentences() for word, _ in sentence] * 4
    parsed = ready.task.parse(Row(Place("x", 1), {"tokens": [*words, "\u200b"]}), labelled=False)
    _, counts = ready.predict([parsed])
    assert (counts.words, counts.owned) == (len(words) + 1, len(words) + 1)
    assert counts.vanished == 1
    assert counts.windowed == 1
    assert counts.windows > 1
