"""`inspect`: rows by line and id, for every task; and what it prints of texts that would drive a terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli.conftest import Run

Found = dict[str, Any]

TABLE = 'id,text,label\n1,"first line\nsecond line",good\n2,short,bad\n3,"a\n\nb",good\n'
SQUAD = {
    "data": [
        {
            "title": "T",
            "paragraphs": [
                {
                    "context": "Ada Stone lives in Paris.",
                    "qas": [
                        {"id": "q1", "question": "Who?", "answers": [{"text": "Ada Stone", "answer_start": 0}]},
                        {"id": "7", "question": "Where?", "answers": [{"text": "Paris", "answer_start": 19}]},
                    ],
                }
            ],
        }
    ]
}


def told(ran: Any) -> Found:
    assert ran.code == 0, ran.err
    found: Found = json.loads(ran.out)
    return found


@pytest.fixture
def tokens(cli: Run, encoder: Path) -> Callable[..., Found]:
    def run(recipe: str, row: str, *more: object) -> Found:
        return told(cli("inspect", "tokens", recipe, row, "--model", encoder, "--json", "-q", *more))

    return run


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


# -- which row -------------------------------------------------------------------------------------------------------


def test_any_line_of_a_sentence_means_the_sentence(tokens: Callable[..., Found], train_file: Path) -> None:
    first = tokens("ner", f"{train_file}:1")
    assert [word["text"] for word in first["texts"][0]["words"]] == ["Ada", "Stone", "lives", "in", "Paris", "."]
    for line in range(2, 7):
        assert tokens("ner", f"{train_file}:{line}") == first
    assert tokens("ner", f"{train_file}:8")["place"].endswith(":8")


def test_any_line_of_a_record_of_a_table_means_the_record(tokens: Callable[..., Found], table: Path) -> None:
    found = [tokens("classify", f"{table}:{line}") for line in (2, 3, 4, 5, 6, 7)]
    assert [one["texts"][0]["text"] for one in found] == [
        *["first line\nsecond line"] * 2,
        "short",
        *["a\n\nb"] * 3,
    ]


@pytest.mark.parametrize(
    ("line", "near"),
    [
        ("7", "lines 1-6 and lines 8-"),
        ("99999", "the nearest is on line"),
        ("0", "lines 1-6"),
        ("x", "no row has the id 'x'"),
    ],
)
def test_a_line_without_a_row_names_the_nearest(
    cli: Run, train_file: Path, encoder: Path, line: str, near: str
) -> None:
    cli("inspect", "tokens", "ner", f"{train_file}:{line}", "--model", encoder).fails(3, near)


def test_comments_and_headers_are_no_rows(cli: Run, table: Path, tmp_path: Path, encoder: Path) -> None:
    cli("inspect", "tokens", "classify", f"{table}:1", "--model", encoder).fails(3, "line 1", "lines 2-3")
    path = tmp_path / "a.conllu"
    word = "{}\t{}\t_\t{}\t_\t_\t_\t_\t_\t_\n"
    path.write_text(
        "# text = Ada\n" + word.format(1, "Ada", "NOUN") + "\n# text = sings\n" + word.format(1, "sings", "VERB") + "\n"
    )
    cli("inspect", "tokens", "pos", f"{path}:4", "--model", encoder).fails(3, "line 2 and line 5")


def test_rows_of_documents_are_named_by_number_or_id(tokens: Callable[..., Found], tmp_path: Path) -> None:
    for indent in (None, 1):
        path = tmp_path / "squad.json"
        path.write_text(json.dumps(SQUAD, indent=indent))
        asked = {which: tokens("qa", f"{path}:{which}")["texts"][0]["text"] for which in ("1", "2", "q1", "7")}
        assert asked == {"1": "Who?", "2": "Where?", "q1": "Who?", "7": "Where?"}
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([{"text": "one", "label": "a"}, {"text": "two", "label": "b"}], indent=1))
    assert tokens("classify", f"{rows}:7")["texts"][0]["text"] == "two"


@pytest.mark.parametrize("which", ["3", "none"])
def test_rows_that_a_document_has_not_are_an_error(cli: Run, tmp_path: Path, encoder: Path, which: str) -> None:
    path = tmp_path / "squad.json"
    path.write_text(json.dumps(SQUAD))
    cli("inspect", "tokens", "qa", f"{path}:{which}", "--model", encoder).fails(3, which)


def test_a_file_without_a_line_is_a_usage_error(cli: Run, table: Path) -> None:
    cli("inspect", "tokens", "classify", table).fails(2, "names no line", f"{table}:1")
    cli("inspect", "tokens", "classify", "--", "-:3").fails(2, "stdin")
    cli("inspect", "tokens", "classify", "no.csv:3").fails(3, "no.csv")


# -- what the model sees ---------------------------------------------------------------------------------------------


def test_labels_are_those_of_training(tokens: Callable[..., Found], train_file: Path) -> None:
    found = tokens("ner", f"{train_file}:1")
    (window,) = found["windows"]
    by_word: dict[int, list[str | None]] = {}
    for token in window["tokens"]:
        if token["word"] is not None:
            by_word.setdefault(token["word"], []).append(token["label"])
        else:
            assert token["label_id"] == -100
    assert [labels[0] for labels in by_word.values()] == ["B-PER", "I-PER", "O", "O", "B-LOC", "O"]
    assert all(label is None for labels in by_word.values() for label in labels[1:])


def test_windows_say_who_owns_which_word(tokens: Callable[..., Found], train_file: Path, cli: Run) -> None:
    size = ("--set", "options.window=6", "--set", "options.stride=2")
    found = tokens("ner", f"{train_file}:1", *size)
    assert len(found["windows"]) > 1
    labelled = [
        (token["word"], number)
        for number, window in enumerate(found["windows"])
        for token in window["tokens"]
        if token["label"] is not None
    ]
    assert labelled == [(word, one["window"]) for word, one in enumerate(found["texts"][0]["words"])]
    shown = cli("inspect", "tokens", "ner", f"{train_file}:1", "-q", *size).out
    assert "window 2 of" in shown
    assert "-100" in shown


def test_every_task_has_its_target(tokens: Callable[..., Found], tmp_path: Path) -> None:
    rows: dict[str, list[Found]] = {
        "classify": [{"text": "a b", "label": "x"}, {"text": "c", "label": "y"}],
        "multilabel": [
            {"text": "a b", "labels": ["x", "y"]},
            {"text": "c", "labels": ["y"]},
            {"text": "d", "labels": ["z"]},
        ],
        "regress": [{"text": "a b", "label": 1.0}, {"text": "c", "label": 3.0}],
        "pair": [{"text_a": "a b", "text_b": "c d", "label": "x"}, {"text_a": "c", "text_b": "d", "label": "y"}],
        "qa": [{"question": "who", "context": "Ada sings", "answers": [{"text": "Ada", "answer_start": 0}]}],
        "pos": [{"tokens": ["Ada", "sings"], "tags": ["NOUN", "VERB"]}],
    }
    found = {}
    for task, values in rows.items():
        path = tmp_path / f"{task}.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in values))
        found[task] = tokens(task, f"{path}:1")["windows"][0]
    assert found["classify"]["target"] == {"id": 0, "label": "x"}
    assert found["multilabel"]["target"] == {"labels": {"x": 1.0, "y": 1.0, "z": 0.0}}
    assert found["regress"]["target"] == {"value": -1.0}
    assert {token["segment"] for token in found["pair"]["tokens"]} == {0, 1}
    assert [token["text"] for token in found["pair"]["tokens"] if token["text"] is not None][-1] == 1
    span = found["qa"]["target"]
    answer = found["qa"]["tokens"][span["start"] : span["end"] + 1]
    assert "".join(token["characters"] for token in answer) == "Ada"
    assert [token["label"] for token in found["pos"]["tokens"] if token["label"]] == ["NOUN", "VERB"]


def test_a_trained_model_takes_the_place_of_a_recipe(cli: Run, model: Path, train_file: Path, tmp_path: Path) -> None:
    with_gold = told(cli("inspect", "tokens", model, f"{train_file}:1", "--json"))
    assert with_gold["labels"][0] == "O"
    assert with_gold["windows"][0]["tokens"][1]["label"] == "B-PER"
    plain = tmp_path / "plain.txt"
    plain.write_text("Ada Stone sings .\nLi sings .\n")
    bare = told(cli("inspect", "tokens", model, f"{plain}:2", "--json"))
    assert bare["texts"][0]["text"] == "Li sings ."
    assert "label" not in bare["windows"][0]["tokens"][1]
    cli("inspect", "tokens", model, f"{plain}:2", "--set", "options.window=9").fails(2, "--set", "trained model")


@pytest.mark.parametrize("recipe", [True, False])
def test_tokens_need_no_torch(
    recipe: bool, model: Path, train_file: Path, offline: dict[str, str], tmp_path: Path
) -> None:
    """The default encoder's, and those of a trained model, are shown without importing torch."""
    code = (
        "import sys; from bertft.cli import main; "
        f"code = main(['inspect', 'tokens', {'ner' if recipe else str(model)!r}, {f'{train_file}:1'!r}]); "
        "sys.exit(code or 10 * ('torch' in sys.modules or 'transformers' in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=offline, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Stone" in done.stdout


def test_the_embedded_tokenizer_is_read_as_training_reads_it() -> None:
    from bertft.encoders import load, stored

    checkpoint = load.resolve("embedded")
    for presplit in (True, False):
        mine = stored.read(checkpoint, presplit=presplit)
        theirs = load.load_tokenizer(checkpoint, load.load_config(checkpoint), presplit=presplit)
        assert mine.max_length == theirs.max_length
        a, b = mine.subwords, theirs.subwords
        assert (a.single, a.pair, a.unk, a.pad) == (b.single, b.pair, b.unk, b.pad)
        texts = ["Ada's naïve Café\u200b costs 3.50 €", "", "日本語 [SEP] [MASK] [PAD] ##ing", "x" * 300]
        assert a.encode_texts(texts) == b.encode_texts(texts)
        assert a.encode_words([text.split() for text in texts]) == b.encode_words([text.split() for text in texts])


# -- attention and attributions --------------------------------------------------------------------------------------


def test_attention_of_a_text_a_line_and_stdin_is_the_same(cli: Run, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Li sings .\nAda lives in Paris .\n")
    text = "Ada lives in Paris ."
    by_text = told(cli("inspect", "attention", model, text, "--json", "--layer", 1, "--head", 2))
    by_line = told(cli("inspect", "attention", model, f"{path}:2", "--json", "--layer", 1, "--head", 2))
    by_pipe = told(cli("inspect", "attention", model, "-", "--json", "--layer", 1, "--head", 2, stdin=text + "\n"))
    assert by_text["windows"] == by_line["windows"] == by_pipe["windows"]
    assert by_line["place"] == f"{path}:2"
    assert np.array(by_text["windows"][0]["weights"]).shape[:2] == (1, 1)
    shown = cli("inspect", "attention", model, text)
    assert "layer 2, mean of 2 heads" in shown.out
    assert "█" in shown.out
    cli("inspect", "attention", model, text, "--layer", 3).fails(2, "--layer 3", "1 to 2")


def test_a_long_text_is_listed_where_a_grid_has_no_room(cli: Run, model: Path) -> None:
    shown = cli("inspect", "attention", model, "Ada lives in Paris . " * 40, "-q")
    assert shown.code == 0
    assert "window 2 of" in shown.out
    assert "looks at" in shown.out


def test_words_of_an_entity_are_explained(cli: Run, model: Path) -> None:
    pytest.importorskip("captum", reason="needs the extra bertft[inspect]")
    text = "Ada Stone lives in Paris ."
    found = told(cli("inspect", "why", model, text, "--word", "Paris", "--json"))
    assert "'Paris'" in found["explains"]
    assert "B-LOC rather than" in found["explains"]
    assert [word["characters"] for word in found["words"]] == text.split()
    assert found["value"] > 0
    whole = told(cli("inspect", "why", model, text, "--word", "1", "--json"))
    assert "'Ada Stone'" in whole["explains"]
    other = told(cli("inspect", "why", model, text, "--word", "Paris", "--label", "PER", "--json"))
    assert "B-PER rather than B-LOC" in other["explains"]
    assert other["value"] == pytest.approx(-found["value"], abs=1e-3) or other["value"] < 0
    shown = cli("inspect", "why", model, text, "-q")
    assert shown.code == 0
    assert "\x1b" not in shown.out
    assert all(word in shown.out for word in text.split())
    assert "+" in shown.out
    cli("inspect", "why", model, text, "--word", "Pari").fails(2, "did you mean 'Paris'?")
    cli("inspect", "why", model, text, "--word", "Paris", "--label", "X").fails(2, "no such label")


def test_what_cannot_be_asked_is_said(cli: Run, model: Path, tmp_path: Path) -> None:
    cli("inspect", "why", model, "no/such/file.txt:3").fails(3, "there is no file")
    cli("inspect", "why", model, "a", "--out", tmp_path / "x.gif").fails(2, ".svg or .png")
    cli("inspect", "why", tmp_path / "none", "a").fails(4, "no directory")


def test_a_missing_captum_is_named(cli: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)
    cli("inspect", "why", model, "Ada sings .").fails(2, "captum", "pip install 'bertft[inspect]'")


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_pictures_are_drawn_and_are_the_same_each_time(cli: Run, model: Path, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("captum", reason="needs the extra bertft[inspect]")
    text = "Ada $x^2$ <b>&amp; 日本 \u202e lives in Paris ."
    head = {"svg": b"<?xml", "png": b"\x89PNG"}[kind]
    for command in ("why", "attention"):
        drawn = []
        for name in ("a", "b"):
            out = tmp_path / f"{command}-{name}.{kind}"
            ran = cli("inspect", command, model, text, "--out", out)
            assert (ran.code, ran.out) == (0, ""), ran.err
            drawn.append(out.read_bytes())
        assert drawn[0] == drawn[1]
        assert drawn[0].startswith(head)
        if kind == "svg":
            from xml.etree import ElementTree

            texts = "".join(ElementTree.fromstring(drawn[0].decode()).itertext())
            assert "Paris".lower() in texts.lower()
            assert "\u202e" not in texts


def test_a_picture_that_cannot_be_written_is_said(cli: Run, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra bertft[inspect]")
    cli("inspect", "attention", model, "Ada", "--out", tmp_path / "no" / "x.svg").fails(3, "cannot write")


# -- mistakes --------------------------------------------------------------------------------------------------------


def test_mistakes_come_with_their_place_the_surest_first(
    cli: Run, model: Path, train_file: Path, tmp_path: Path
) -> None:
    lines = train_file.read_text().splitlines()
    at = lines.index("Paris\tB-LOC")
    lines[at] = "Paris\tB-ORG"
    path = tmp_path / "flawed.conll"
    path.write_text("\n".join(lines) + "\n")
    found = told(cli("inspect", "errors", model, "--data", path, "--json"))
    (mistake,) = found["mistakes"]["shown"]
    assert mistake["place"] == f"{path}:{at + 1}"
    assert (mistake["gold"]["label"], mistake["predicted"]["label"], mistake["kind"]) == ("ORG", "LOC", "type")
    # a threshold is the mean over words that were learnt by heart: the flawed one may be just below it
    for doubt in found["label_errors"]["shown"]:
        assert (doubt["place"], doubt["given"], doubt["likely"]) == (f"{path}:{at + 1}", "ORG", "LOC")
    assert not found["trained_on"]
    shown = cli("inspect", "errors", model, "--data", path, "-q").out
    assert f"{path}:{at + 1}" in shown
    assert "gold ORG 'Paris'  predicted LOC 'Paris'" in shown


def test_rows_of_the_training_are_warned_of(cli: Run, model: Path, train_file: Path) -> None:
    ran = cli("inspect", "errors", model, "--data", train_file, "--json", "-q")
    assert told(ran)["trained_on"]
    assert "was trained on these rows" in ran.err


EVIL = "Ada \x1b[31m\x1b]0;owned\x07 \u202egnp.exe\u2066 \x9b2J lives"


def test_hostile_text_is_inert(cli: Run, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"tokens": EVIL.split(" "), "tags": ["B-PER"] + ["O"] * (len(EVIL.split(" ")) - 2) + ["B-LOC"]}] * 2
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    plain = tmp_path / "a.txt"
    plain.write_text(EVIL + "\n", encoding="utf-8")
    commands: list[list[object]] = [
        ["tokens", model, f"{path}:1"],
        ["attention", model, EVIL],
        ["errors", model, "--data", path],
        ["errors", model, "--data", path, "--json"],
        ["attention", model, f"{plain}:1", "--json"],
    ]
    from importlib.util import find_spec

    if find_spec("captum"):
        commands.append(["why", model, EVIL])
    for command in commands:
        ran = cli("inspect", *command)
        assert ran.code == 0, ran.err
        assert not {"\x1b", "\x07", "\x9b"} & {*ran.out}, command
        if "--json" not in command:
            assert not {"\u202e", "\u2066"} & {*ran.out}, command
