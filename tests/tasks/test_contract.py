"""What every task promises with every encoder family. A new task adds one entry to `SAMPLES`."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from conftest import Trained
from hypothesis import given
from hypothesis import strategies as st

from bertft.bundle import store
from bertft.bundle.store import Bundle, open_bundle
from bertft.data.row import Line, Place, Row
from bertft.encoders import load
from bertft.encoders.load import Checkpoint, Tokenizer
from bertft.errors import DataError
from bertft.inference.engine import Engine
from bertft.recipe import Recipe
from bertft.tasks import TASKS, task_class
from bertft.tasks.base import IGNORED, WindowSize

BASE = Callable[[str], Path]
TRAINED = Callable[[str], Trained]

VANISHING = ("\u200b", "\u00ad", "\ufeff", "")
AWKWARD = (
    *VANISHING,
    "😀",
    "👩‍👩‍👧‍👦",
    "🇫🇷",
    "é",
    "e\u0301",
    "\u0301",
    "שָׁלוֹם",
    "日本語",
    "İ",
    "ﬁ",
    "[SEP]",
    "<mask>",
    "##ing",
    "▁",
    "Ġ",
    "\u2028",
)
WORD = st.one_of(
    st.sampled_from(AWKWARD),
    st.sampled_from([word for row in tiny.sentences()[:8] for word, _ in row]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8),
    st.integers(20, 150).map(lambda n: "unbelievable" * (n // 12 + 1)),
)
WORDS = st.lists(WORD, max_size=40)


@dataclass(frozen=True, slots=True)
class Samples:
    """Rows to try a task on: `rows` makes unlabelled input of words, `labelled` labels them, `bad` are no input."""

    rows: Callable[[Sequence[str]], dict[str, Any]]
    labelled: Callable[[Sequence[str]], dict[str, Any]]
    state: dict[str, Any]
    bad: tuple[dict[str, Any], ...]


SAMPLES = {
    "ner": Samples(
        rows=lambda words: {"tokens": list(words)},
        labelled=lambda words: {"tokens": list(words), "tags": [("O", "B-X", "I-X")[i % 3] for i in range(len(words))]},
        state={"labels": ["O", "B-X", "I-X"]},
        bad=(
            {},
            {"tokens": "a b"},
            {"tokens": ["a", 1]},
            {"tokens": ["a"]},
            {"tokens": ["a"], "tags": ["O", "O"]},
            {"tokens": ["a"], "tags": "O"},
            {"tokens": ["a"], "tags": [0]},
            {"text": None},
            {"text": "a"},
            {"text": "a", "entities": [{"start": 1, "end": 0, "label": "X"}]},
            {"text": "a", "entities": [{"start": 0, "end": 1}]},
            {"text": "a", "entities": ["a"]},
        ),
    ),
}

families = pytest.mark.parametrize("family", tiny.FAMILIES)
tasks = pytest.mark.parametrize("task", TASKS)


def row(values: dict[str, Any], line: int = 1) -> Row:
    return Row(Place("data.jsonl", line), values, (Line(line, json.dumps(values) + "\n"),))


def prepared(task: str) -> Any:
    return task_class(task).restore({}, SAMPLES[task].state)


def parsed(task: Any, words: Sequence[str], *, labelled: bool = False) -> Any:
    samples = SAMPLES[task.name]
    example = task.parse(row((samples.labelled if labelled else samples.rows)(words)), labelled=labelled)
    return task.convert([example])[0][0] if labelled else example


def loaded(base: BASE, family: str) -> Tokenizer:
    checkpoint = load.resolve(str(base(family)))
    return load.load_tokenizer(checkpoint, load.load_config(checkpoint))


def engine_of(bundle: Bundle, **changes: Any) -> Engine:
    from bertft.inference.load import engine

    return dataclasses.replace(engine(bundle, device="cpu"), **changes)


@pytest.fixture
def engine(trained: TRAINED, family: str) -> Engine:
    return engine_of(open_bundle(str(trained(family).directory)))


@pytest.fixture(scope="module")
def texts() -> list[list[str]]:
    sentences = [[word for word, _ in sentence] for sentence in tiny.sentences()]
    return [*sentences[:12], [], ["Paris"], ["\u200b"], ["😀"] * 5, [w for s in sentences[:30] for w in s]]


def rendered(engine: Engine, texts: Sequence[Sequence[str]], *, scores: bool = False) -> list[dict[str, Any]]:
    examples = [parsed(engine.task, words) for words in texts]
    predictions, _ = engine.predict(examples)
    pairs = zip(examples, predictions, strict=True)
    return [engine.task.render(example, prediction, scores=scores) for example, prediction in pairs]


def test_every_task_has_samples() -> None:
    assert SAMPLES.keys() == TASKS.keys()


@tasks
@families
def test_every_word_has_one_label_over_all_windows(base: BASE, task: str, family: str) -> None:
    encoder = loaded(base, family).words
    specials = len(encoder.prefix) + len(encoder.suffix)
    ready = prepared(task)

    @given(texts=st.lists(WORDS, min_size=1, max_size=3), room=st.integers(1, 30), data=st.data())
    def check(texts: list[list[str]], room: int, data: st.DataObject) -> None:
        size = WindowSize(room + specials, data.draw(st.integers(0, room - 1), label="stride"))
        examples = [parsed(ready, words, labelled=True) for words in texts]
        windows, counts = ready.features(examples, encoder, size)
        words = sum(map(len, texts))
        assert sum(label != IGNORED for window in windows for label in window.labels) == words
        assert counts.words == counts.owned == words
        assert all(len(window.input_ids) <= size.length for window in windows)
        for i, example in enumerate(examples):
            mine = [window for window in windows if window.example == i]
            labels = [window.labels[position] for window in mine for position in window.owned]
            assert [ready.labels[label] for label in labels] == list(example.tags)

    check()


@tasks
@families
def test_the_self_test_passes_on_any_text(base: BASE, task: str, family: str) -> None:
    encoder = loaded(base, family).words

    @given(texts=st.lists(WORDS, min_size=1, max_size=3))
    def check(texts: list[list[str]]) -> None:
        encoder.check(texts)

    check()


@families
def test_ids_equal_those_of_auto_tokenizer(base: BASE, trained: TRAINED, family: str) -> None:
    from transformers import AutoTokenizer

    extra = {"add_prefix_space": True} if tiny.FAMILIES[family].glues else {}
    encoder = loaded(base, family).words
    references = [AutoTokenizer.from_pretrained(trained(family).directory)]
    if family != "modernbert":  # PreTrainedTokenizerFast ignores `add_prefix_space`; what is saved carries the change
        references.append(AutoTokenizer.from_pretrained(base(family), **extra))

    @given(words=WORDS)
    def check(words: list[str]) -> None:
        ours = encoder.encode_words([words])[0]
        bounds = [*ours.first, len(ours.ids)]
        pieces = [ours.ids[a:b] for a, b in itertools.pairwise(bounds)]
        for reference in references:
            theirs = reference(words, is_split_into_words=True)
            there = set(theirs.word_ids()) - {None}
            kept = [token for word, piece in enumerate(pieces) if word in there for token in piece]
            assert [*encoder.prefix, *kept, *encoder.suffix] == theirs["input_ids"]
            assert all(piece == [encoder.unk] for word, piece in enumerate(pieces) if word not in there)
            assert ours.vanished == len(words) - len(there)

    check()


@families
def test_words_are_not_glued(base: BASE, family: str) -> None:
    tokenizer = loaded(base, family)
    words = ["Paris", "is", "in", "Paris"]
    apart = tokenizer.words.encode_words([words])[0]
    running = tokenizer.pretrained(" ".join(words), add_special_tokens=False)["input_ids"]
    assert apart.ids == running
    assert apart.ids[: apart.first[1]] == apart.ids[apart.first[3] :]


REAL = {
    "roberta-base": ("RobertaConfig", {"add_prefix_space": True}),
    "bert-base-cased": ("BertConfig", {}),
    "bert-base-multilingual-cased": ("BertConfig", {}),
}


@pytest.mark.parametrize("name", REAL)
def test_ids_equal_those_of_auto_tokenizer_on_published_vocabularies(shared: Path, tmp_path: Path, name: str) -> None:
    import transformers

    source = shared / "tokenizers" / name
    if not source.is_dir():
        pytest.skip(f"needs the vocabulary {source}")
    for file in source.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config_class, extra = REAL[name]
    config = getattr(transformers, config_class)()
    if not (tmp_path / "config.json").exists():
        config.save_pretrained(tmp_path)
    encoder = load.load_tokenizer(Checkpoint(name, str(tmp_path), True), config).words
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path, **extra)

    @given(words=WORDS)
    def check(words: list[str]) -> None:
        ours, theirs = encoder.encode_words([words])[0], reference(words, is_split_into_words=True)
        assert len(ours.first) == len(words)
        if not ours.vanished:
            assert [*encoder.prefix, *ours.ids, *encoder.suffix] == theirs["input_ids"]
            starts = [theirs.word_ids().index(word) - len(encoder.prefix) for word in range(len(words))]
            assert ours.first == starts
        encoder.check([words])

    check()


@tasks
@families
def test_learns_its_training_data_by_heart(trained: TRAINED, task: str, family: str) -> None:
    assert trained(family).result["dev"]["f1"] > 0.95


@tasks
@families
def test_eval_gives_the_scores_of_training(trained: TRAINED, task: str, family: str) -> None:
    from bertft.inference.evaluate import evaluate

    done = trained(family)
    scores = evaluate(str(done.directory), str(done.data), device="cpu")
    assert scores == done.result["dev"] == done.result["test"]
    assert scores == json.loads((done.directory / "metrics.json").read_text())["dev"]


@tasks
@families
def test_a_document_that_fits_reads_the_same_in_a_smaller_window(engine: Engine, task: str, family: str) -> None:
    words = [word for sentence in tiny.sentences()[:2] for word, _ in sentence]
    specials = len(engine.encoder.prefix) + len(engine.encoder.suffix)
    length = len(engine.encoder.encode_words([words])[0].ids) + specials
    exact = dataclasses.replace(engine, window=WindowSize(length, length // 2))
    assert rendered(exact, [words], scores=True) == rendered(engine, [words], scores=True)


@tasks
@families
def test_windows_find_what_the_whole_finds(engine: Engine, task: str, family: str) -> None:
    words = [word for sentence in tiny.sentences()[:6] for word, _ in sentence]
    specials = len(engine.encoder.prefix) + len(engine.encoder.suffix)
    narrow = dataclasses.replace(engine, window=WindowSize(24 + specials, 12))
    (answer,) = rendered(narrow, [words])
    assert len(answer["tags"]) == len(words)
    assert answer["entities"]


@tasks
@families
@pytest.mark.parametrize("batch_tokens", [1, 200])
def test_batch_size_changes_no_answer(
    engine: Engine, task: str, family: str, texts: list[list[str]], batch_tokens: int
) -> None:
    large = rendered(engine, texts, scores=True)
    small = rendered(dataclasses.replace(engine, batch_tokens=batch_tokens), texts, scores=True)
    assert_same_answers(large, small)


@tasks
@families
def test_order_and_neighbours_change_no_answer(engine: Engine, task: str, family: str, texts: list[list[str]]) -> None:
    forward = rendered(engine, texts, scores=True)
    backward = rendered(engine, texts[::-1], scores=True)[::-1]
    alone = [rendered(engine, [words], scores=True)[0] for words in texts]
    assert_same_answers(forward, backward)
    assert_same_answers(forward, alone)


def assert_same_answers(left: Sequence[dict[str, Any]], right: Sequence[dict[str, Any]]) -> None:
    for a, b in zip(left, right, strict=True):
        assert a["tags"] == b["tags"]
        assert [(e["start"], e["end"], e["label"]) for e in a["entities"]] == [
            (e["start"], e["end"], e["label"]) for e in b["entities"]
        ]
        # rendered with 4 decimals, so that 1e-5 apart can become 1e-4
        np.testing.assert_allclose(a["scores"], b["scores"], rtol=0, atol=1.1e-4)


@tasks
@families
def test_batch_size_changes_scores_by_less_than_1e_5(
    engine: Engine, task: str, family: str, texts: list[list[str]]
) -> None:
    examples = [parsed(engine.task, words) for words in texts]
    large, _ = engine.predict(examples)
    small, _ = dataclasses.replace(engine, batch_tokens=1).predict(examples)
    for a, b in zip(large, small, strict=True):
        np.testing.assert_allclose(np.exp(a.scores), np.exp(b.scores), rtol=0, atol=1e-5)


@tasks
@families
def test_written_and_opened_again_answers_with_the_same_bytes(
    engine: Engine, trained: TRAINED, task: str, family: str, texts: list[list[str]], tmp_path: Path
) -> None:
    bundle = open_bundle(str(trained(family).directory))
    store.write(
        tmp_path / "again",
        model=engine.backend.model,  # type: ignore[attr-defined]
        tokenizer=load.load_tokenizer(bundle.checkpoint, load.load_config(bundle.checkpoint)),
        task=bundle.task,
        window=bundle.window,
        recipe=Recipe(task=task),
        metrics={},
        data={},
        card="",
    )
    again = engine_of(open_bundle(str(tmp_path / "again")))
    assert json.dumps(rendered(again, texts, scores=True)) == json.dumps(rendered(engine, texts, scores=True))
    assert (tmp_path / "again" / "tokenizer.json").read_bytes() == (
        trained(family).directory / "tokenizer.json"
    ).read_bytes()


OUTSIDE = """
import sys, json
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "bertft":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import torch, transformers
torch.set_num_threads(1)
answers = {}
for directory in sys.argv[1:]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    model = transformers.AutoModelForTokenClassification.from_pretrained(directory).eval()
    words = ["Ada", "Stone", "lives", "in", "New", "Haven", "."]
    inputs = tokenizer(words, is_split_into_words=True, return_tensors="pt")
    logits = model(**inputs).logits[0].tolist()
    answers[directory] = {"ids": inputs["input_ids"][0].tolist(), "logits": logits, "labels": model.config.id2label}
assert "bertft" not in sys.modules
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def outside(trained: TRAINED, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Logits of all saved directories from one process that cannot import bertft."""
    directories = [str(trained(family).directory) for family in tiny.FAMILIES]
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", textwrap.dedent(OUTSIDE), *directories],
        cwd=tmp_path_factory.mktemp("elsewhere"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


@tasks
@families
def test_gives_the_same_logits_where_bertft_is_not_installed(
    outside: dict[str, Any], engine: Engine, trained: TRAINED, task: str, family: str
) -> None:
    answer = outside[str(trained(family).directory)]
    example = parsed(engine.task, ["Ada", "Stone", "lives", "in", "New", "Haven", "."])
    (window,), _ = engine.task.features([example], engine.encoder, engine.window)
    assert window.input_ids == answer["ids"]
    assert tuple(answer["labels"].values()) == engine.task.head().labels
    (logits,) = engine.backend.logits([window.input_ids])
    np.testing.assert_allclose(logits, np.array(answer["logits"]), rtol=0, atol=1e-5)


@tasks
@families
@pytest.mark.parametrize(
    "words",
    [[], ["Paris"], ["\u200b"], ["\u200b", "\u00ad", ""], ["鬱", "ꙮ", "😀"], ["a" * 50_000], ["Paris"] * 8_000],
    ids=["empty", "one word", "one vanishing", "all vanishing", "unknown", "one long word", "50 000 characters"],
)
def test_answers_extreme_input(engine: Engine, task: str, family: str, words: list[str]) -> None:
    (answer,) = rendered(dataclasses.replace(engine, window=WindowSize(100, 20)), [words], scores=True)
    assert len(answer["tags"]) == len(answer["scores"]) == len(words)


@tasks
@families
def test_answers_extreme_raw_text(engine: Engine, task: str, family: str) -> None:
    for text in ("", " \t ", "\u200b", "\u00ad", "\u200d", "🙂", "x" * 50_000, "Ada lives in Paris. " * 2_500):
        example = engine.task.parse(row({"text": text}), labelled=False)
        (prediction,), counts = engine.predict([example])
        answer = engine.task.render(example, prediction, scores=False)
        assert counts.words == counts.owned
        assert all(text[e["start"] : e["end"]] == e["text"] for e in answer["entities"])


@pytest.mark.parametrize(("task", "values"), [(task, bad) for task in TASKS for bad in SAMPLES[task].bad], ids=str)
def test_a_bad_row_is_refused_with_its_place(task: str, values: dict[str, Any]) -> None:
    with pytest.raises(DataError) as caught:
        prepared(task).parse(row(values, line=42), labelled=True)
    assert "data.jsonl:42" in str(caught.value)
