"""`options.context`: a tagger that reads the sentences around one, the same in training, evaluation and prediction."""

from __future__ import annotations

import json
import select
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from cli.conftest import Run

from bertft.bundle.store import open_bundle
from bertft.inference import chunks
from bertft.inference.evaluate import read_labelled

CUES = {"Maria lives in Rome .": "PER", "Nobody knew why .": "ORG"}
"""What a name in a sentence beside one of these is; the sentence itself does not tell."""
NAMES = ("Acme", "Zenith", "Li", "Blue River Bank")


def documents() -> list[list[tiny.Sentence]]:
    """Return 16 documents of two sentences: the cue stands before the name in half of them, in the others after it."""
    found = []
    for cue, kind in CUES.items():
        for name in NAMES:
            words = name.split()
            tags = [f"{'I' if i else 'B'}-{kind}" for i in range(len(words))]
            sentence = [*zip(words, tags, strict=True), ("hired", "O"), ("everyone", "O"), (".", "O")]
            around = [(word, "O") for word in cue.split()]
            found += [[around, sentence], [sentence, around]]
    return found


def column_file(marked: list[list[tiny.Sentence]]) -> str:
    return "".join(f"-DOCSTART-\tO\n\n{tiny.conll(sentences)}" for sentences in marked)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("context") / "documents.conll"
    path.write_text(column_file(documents()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def train(base: Callable[[str], Path], data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that trains a tagger of the documents with so much context."""
    folder = tmp_path_factory.mktemp("models")

    def trained(context: int) -> Path:
        from bertft.recipe import load
        from bertft.training.run import train

        settings: dict[str, Any] = {
            "model": base("bert-uncased"),
            "options.context": context,
            "trainer.num_train_epochs": 60,
            "trainer.learning_rate": 5e-3,
            "trainer.eval_strategy": "no",
            "trainer.save_strategy": "no",
            "trainer.bf16": "false",
            "calibrate": "off",
        }
        recipe = load("ner", [f"{key}={value}" for key, value in settings.items()])
        out = folder / str(context)
        if not out.exists():
            train(recipe, data=str(data), dev=str(data), out=str(out), device="cpu")
        return out

    return trained


@pytest.fixture(scope="module")
def reader(train: Callable[..., Path]) -> Path:
    return train(64)


def tagged(ran: Any) -> list[str]:
    assert ran.code == 0, ran.err
    return [line.rpartition("\t")[2] for line in ran.out.splitlines() if line and not line.startswith("-DOCSTART-")]


def test_what_only_the_neighbours_tell_is_learnt_from_them(
    cli: Run, train: Callable[..., Path], reader: Path, data: Path
) -> None:
    assert json.loads(cli("eval", reader, "--data", data).out)["f1"] == 1.0
    assert json.loads(cli("eval", train(0), "--data", data).out)["f1"] < 0.8
    ran = cli("eval", reader, "--data", data)
    assert "context: 64 sub-tokens on each side, from the same document" in ran.err


def test_the_answers_of_predict_are_those_of_eval_and_of_training(cli: Run, reader: Path, data: Path) -> None:
    gold = [tag for sentences in documents() for sentence in sentences for _, tag in sentence]
    assert tagged(cli("predict", reader, data)) == gold
    assert json.loads((reader / "metrics.json").read_text())["dev"]["f1"] == 1.0
    assert json.loads((reader / "bertft.json").read_text())["options"]["context"] == 64
    assert "reads up to 64 sub-tokens before and after each sentence" in (reader / "README.md").read_text()


def test_no_context_crosses_a_document(cli: Run, reader: Path, tmp_path: Path) -> None:
    alone, beside = tmp_path / "alone.conll", tmp_path / "beside.conll"
    name = [documents()[0][1]]
    alone.write_text(column_file([name]))
    for cue in CUES:
        cued = [[(word, "O") for word in cue.split()]]
        beside.write_text(column_file([cued, name, cued]))
        one, three = (cli("predict", reader, path, "--scores", "--to", "jsonl", "-q").out for path in (alone, beside))
        assert json.loads(three.splitlines()[1])["prediction"] == json.loads(one)["prediction"]


def test_a_file_is_answered_the_same_in_any_pieces(
    cli: Run, reader: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = cli("predict", reader, data, "-q").out
    assert whole == cli("predict", reader, "-", "--format", "conll", "-q", stdin=data.read_bytes()).out
    shards = [cli("predict", reader, data, "-q", "--shard", f"{i}/3").out for i in (1, 2, 3)]
    assert "".join(shards) == whole
    monkeypatch.setattr(chunks, "_FIRST_CHUNK", 1)
    monkeypatch.setattr(chunks, "LOOK_AHEAD", 3)
    assert cli("predict", reader, data, "-q").out == whole
    torn = tmp_path / "torn.conll"
    torn.write_text(column_file(documents()[:5]) + "-DOCSTART-\tO\n\na\tb\tc\n\n" + column_file(documents()[5:]))
    out = tmp_path / "out.conll"
    assert cli("predict", reader, torn, "-q", "--out", out).code == 3  # the chunks before the bad record are kept
    assert cli("predict", reader, torn, "-q", "--out", out, "--resume", "--on-error", "skip").code == 0
    assert out.read_text() == cli("predict", reader, torn, "-q", "--on-error", "skip").out
    assert tagged(cli("predict", reader, torn, "-q", "--on-error", "skip")) == tagged(cli("predict", reader, data))


def test_columns_on_a_pipe_wait_for_what_stands_behind_them(reader: Path, offline: dict[str, str], data: Path) -> None:
    command = [sys.executable, "-m", "bertft", "predict", str(reader), "--format", "conll"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=offline,
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        name, cue = documents()[1]
        process.stdin.write(column_file([[name]]))
        process.stdin.flush()
        assert not select.select([process.stdout], [], [], 10)[0]
        process.stdin.write(tiny.conll([cue]) + column_file([[cue]]))  # another document: nothing more is waited for
        process.stdin.flush()
        assert select.select([process.stdout], [], [], 60)[0]
        answers = [process.stdout.readline() for _ in range(3)]
        assert answers[2].split() == ["Acme", "B-PER", "B-PER"]
        process.stdin.close()
        assert process.wait(timeout=60) == 0
        assert "a sentence waits for those behind it" in process.stderr.read()


def test_unbuffered_answers_are_refused_where_they_would_wait(cli: Run, reader: Path, data: Path) -> None:
    cli("predict", reader, data, "--unbuffered").fails(2, "`--unbuffered` answers before it is there")
    ran = cli("predict", reader, "--unbuffered", "-q", stdin="Acme hired everyone .\nMaria lives in Rome .\n")
    assert ran.out.count("\n") == 2


def test_records_with_a_document_are_read_together(cli: Run, reader: Path, tmp_path: Path) -> None:
    rows = [
        {"tokens": [word for word, _ in sentence], "document": number}
        for number, sentences in enumerate(documents())
        for sentence in sentences
    ]
    ran = cli("predict", reader, "-q", "--format", "jsonl", stdin="".join(json.dumps(row) + "\n" for row in rows))
    found = [json.loads(line)["prediction"]["tags"] for line in ran.out.splitlines()]
    assert found == [[tag for _, tag in sentence] for sentences in documents() for sentence in sentences]


def test_an_export_is_given_the_same_windows(cli: Run, reader: Path, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="needs the extra bertft[export]")
    copy = shutil.copytree(reader, tmp_path / "copy")
    assert cli("export", copy).code == 0
    ran = cli("predict", copy, data)
    assert "exported" in ran.err
    assert ran.out == cli("predict", reader, data, "-q").out


def test_inspect_shows_what_stands_around_a_row_without_labels(cli: Run, reader: Path, data: Path) -> None:
    line = 1 + data.read_text().splitlines().index("Acme\tB-PER")
    ran = cli("inspect", "tokens", reader, f"{data}:{line}", "--json")
    assert ran.code == 0, ran.err
    (window,) = json.loads(ran.out)["windows"]
    shown = [(one["token"], one["word"], one["label"]) for one in window["tokens"]]
    cue = [one for one in shown[1:-1] if one[1] is None]
    assert len(cue) >= 5
    assert all(label is None for *_, label in cue)
    assert [word for _, word, label in shown if label is not None] == [0, 1, 2, 3]


def test_two_amounts_of_context_can_be_compared(cli: Run, train: Callable[..., Path], reader: Path, data: Path) -> None:
    for order in ((train(0), reader), (reader, train(0))):
        ran = cli("compare", *order, "--data", data, "--json")
        assert ran.code == 0, ran.err
        scores = {Path(one["name"]).name: one["f1"] for one in json.loads(ran.out)["systems"]}
        assert scores["64"] == 1.0 > scores["0"]


def test_each_word_is_learnt_once(reader: Path, data: Path) -> None:
    bundle = open_bundle(str(reader))
    examples = read_labelled(bundle.task, str(data)).examples
    windows, counts = bundle.task.lessons(examples, bundle.tokenizer, bundle.window)
    words = sum(len(sentence) for sentences in documents() for sentence in sentences)
    assert sum(label != -100 for window in windows for label in window.target) == words == counts.words == counts.owned
