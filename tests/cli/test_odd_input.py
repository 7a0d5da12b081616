"""Input that is odd but not hopeless: nothing lost without a word, no answer that cannot be read back."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli.conftest import Run

COLUMNS = "Ada\tB-PER\nStone\tI-PER\nlives\tO\n\n"


def test_a_hash_is_a_token_where_its_tag_is_one_of_the_file(cli: Run, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "pos.conll"
    path.write_text("he PRON\n# SYM\nruns VERB\n\n# a comment with words\nshe PRON\n# SYM\nruns VERB\n")
    ran = cli("predict", model, path, "--format", "conll", "-q")
    assert [len(line.split()) for line in ran.out.splitlines()] == [3, 3, 3, 0, 5, 3, 3, 3]


def test_one_column_may_hold_a_hash(cli: Run, model: Path) -> None:
    ran = cli("predict", model, "--format", "conll", "-q", stdin="he\n#\nruns\n")
    assert [line.split()[0] for line in ran.out.splitlines()] == ["he", "#", "runs"]
    assert all(len(line.split()) == 2 for line in ran.out.splitlines())


def test_a_token_that_no_column_can_hold_is_a_bad_record(cli: Run, model: Path) -> None:
    rows = [json.dumps({"tokens": [token, "x"]}) for token in ("New\nYork", "a\tb", "")]
    ran = cli("predict", model, "--to", "conll", "--on-error", "skip", stdin="\n".join([*rows, '{"tokens": ["ok"]}']))
    assert ran.out.splitlines()[0].startswith("ok\t")
    assert "3 of 4 records were bad" in ran.err


def test_a_field_called_sentences_is_just_a_field(cli: Run, model: Path) -> None:
    ran = cli("predict", model, "-q", stdin='{"tokens": ["a", "b"], "sentences": ["a b"]}\n')
    assert json.loads(ran.out)["sentences"] == ["a b"]


def test_a_very_long_argument_is_text_not_a_file_name(cli: Run, model: Path) -> None:
    cli("predict", model, "word " * 200).fails(2, "text comes on stdin")


@pytest.mark.parametrize("tags", ['["O", null]', '["O", ""]', '["O", 3]'])
def test_a_tag_that_is_no_name_is_a_data_error(tags: str, cli: Run, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text(f'{{"tokens": ["a", "b"], "tags": {tags}}}\n')
    cli("eval", model, "--data", path).fails(3, f"--> {path}:1", "is no name")


def test_an_entity_beyond_the_text_is_a_data_error(cli: Run, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text('{"text": "Ada lives", "entities": [{"start": 4, "end": 100, "label": "PER"}]}\n')
    cli("eval", model, "--data", path).fails(3, f"--> {path}:1")


def test_nothing_to_score_is_a_data_error(cli: Run, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text('{"tokens": [], "tags": []}\n')
    cli("eval", model, "--data", path).fails(3, "there is no word to score")


def test_the_first_inconsistency_is_located_by_its_line(cli: Run, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "f.conll"
    path.write_text("Ada\tB-PER\nlives\tO\nin\tO\nRome\tI-LOC\n\n" + COLUMNS * 3)
    ran = cli("eval", model, "--data", path)
    assert "1 of 4 sentences inconsistent" in ran.err
    assert f"{path}:4: tag 'I-LOC' of 'Rome'" in ran.err


def test_types_without_prefixes_and_without_o_are_entities_for_a_tagger(cli: Run, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "f.conll"
    path.write_text("Ada\tPER\nStone\tPER\n\nLima\tLOC\n")
    scores = json.loads(cli("eval", model, "--data", path).out)
    assert set(scores["per_label"]) >= {"PER", "LOC"}
    assert scores["support"] == 2


def test_the_end_of_a_column_file_is_no_json_record(cli: Run, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "f.conll"
    path.write_text(COLUMNS + "\n\n# the end\n")
    ran = cli("predict", model, path, "--to", "jsonl")
    assert len(ran.out.splitlines()) == 1


def test_a_document_mark_ends_a_sentence(cli: Run, model: Path) -> None:
    ran = cli("predict", model, "--format", "conll", "--to", "jsonl", "-q", stdin="I O\n-DOCSTART- O\nx O\n")
    assert [json.loads(line)["tokens"] for line in ran.out.splitlines()] == [["I"], ["x"]]


def test_null_keeps_the_other_fields_of_a_record(cli: Run, model: Path) -> None:
    ran = cli("predict", model, "--on-error", "null", "-q", stdin='{"id": 7, "text": "a", "prediction": 1}\n')
    assert json.loads(ran.out) == {"id": 7, "text": "a", "prediction": None}


def test_a_bad_byte_is_one_bad_record_wherever_it_stands(cli: Run, model: Path) -> None:
    data = b"Caf\xe9 O\n\n" + b"Rome O\nis O\n\n" * 3
    ran = cli("predict", model, "--format", "conll", "--on-error", "skip", stdin=data)
    assert "1 of 4 records were bad" in ran.err
    assert ran.out.count("Rome") == 3


def test_a_role_that_was_named_wins(cli: Run, model: Path) -> None:
    row = '{"tokens": ["not", "these"], "body": "Ada lives in Rome"}\n'
    ran = cli("predict", model, "--columns", "text=body", "-q", stdin=row)
    assert "tags" not in json.loads(ran.out)["prediction"]


@pytest.mark.parametrize("columns", ["tags=2", "nonsense=1", "tags"])
def test_columns_that_mean_nothing_are_refused(columns: str, cli: Run, model: Path) -> None:
    cli("predict", model, "--columns", columns, stdin="some text\n").fails(2, "--columns")


def test_text_may_begin_like_a_wiki_link(cli: Run, model: Path) -> None:
    ran = cli("predict", model, "-q", stdin="[[File:x.jpg]] Ada\n")
    assert json.loads(ran.out)["text"] == "[[File:x.jpg]] Ada"


def test_out_is_no_directory_and_replaces_no_pipe(cli: Run, model: Path, tmp_path: Path) -> None:
    cli("predict", model, "--out", tmp_path, stdin="Ada\n").fails(2, "this is a directory")
    ran = cli("predict", model, "--out", "/dev/null", "-q", stdin="Ada\n")
    assert (ran.code, os.path.isfile("/dev/null")) == (0, False)


def test_an_encoding_that_is_none_is_refused(cli: Run, model: Path) -> None:
    for encoding in ("no-such", "undefined"):
        cli("predict", model, "--encoding", encoding, stdin=b"x").fails(2, "unknown encoding")


def test_rows_without_words_do_not_spoil_the_loss(cli: Run, encoder: Path, tmp_path: Path) -> None:
    data = tmp_path / "f.jsonl"
    row = '{"text": "Ada lives in Rome", "entities": [{"start": 0, "end": 3, "label": "PER"}]}\n'
    data.write_text(row * 6 + '{"text": "", "entities": []}\n' * 30)
    settings = ["trainer.num_train_epochs=1", "trainer.per_device_train_batch_size=4", "trainer.bf16=false"]
    options = [part for setting in settings for part in ("--set", setting)]
    ran = cli("train", "ner", "--data", data, "--dev", data, "--model", encoder, "--out", tmp_path / "out", *options)
    assert ran.code == 0, ran.err
    assert "30 windows own no word" in ran.err


@pytest.mark.parametrize(
    ("setting", "part"),
    [
        ("trainer.per_device_train_batch_size=0", "not more than 0"),
        ("trainer.num_train_epochs=0", "not more than 0"),
        ("trainer.metric_for_best_model=foo", "there is no 'foo'"),
        ("trainer.eval_strategy=sometimes", "sometimes"),
        ("trainer.save_strategy=steps", "trainer:"),
    ],
)
def test_settings_that_cannot_work_are_usage_errors(
    setting: str, part: str, cli: Run, encoder: Path, train_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ran = cli("train", "ner", "--data", train_file, "--model", encoder, "--out", out, "--set", setting)
    ran.fails(2, part)
    assert list(tmp_path.iterdir()) == []


def test_stdin_may_be_gzipped(shell: Run, model: Path, offline: dict[str, str]) -> None:
    command = [sys.executable, "-m", "bertft", "predict", str(model), "-q"]
    done = subprocess.run(command, input=gzip.compress(b"Ada\n\nRome\n"), capture_output=True, env=offline, check=True)
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == ["Ada", "", "Rome"]


def test_conll_u_is_still_conll_u_with_the_answers_in_it(cli: Run, model: Path) -> None:
    row = "\t".join(["{}", "{}", "_", "PROPN", "_", "_", "0", "root", "_", "_"])
    source = "# text = x\n" + "\n".join(
        row.format(i, w) for i, w in [("1-2", "AdaStone"), ("1", "Ada"), ("2", "Stone")]
    )
    once = cli("predict", model, "--format", "conll", "-q", stdin=source + "\n\n").out
    assert [line.split("\t")[-1] for line in once.splitlines()[1:4]] == ["_", "B-PER", "I-PER"]
    again = cli("predict", model, "--format", "conll", stdin=once)
    assert "CoNLL-U, 11 columns; words in column 2, tags in column 11" in again.err


def test_two_inputs_are_answered_in_one_format(cli: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Ada\n")
    (tmp_path / "b.conll").write_text(COLUMNS)
    both = (tmp_path / "a.txt", tmp_path / "b.conll")
    ran = cli("predict", model, *both)
    assert ran.code == 2
    assert "two formats" in ran.err
    assert len(cli("predict", model, *both, "--to", "jsonl", "-q").out.splitlines()) == 2


def test_what_the_tokenizer_removes_is_said(cli: Run, model: Path) -> None:
    ran = cli("predict", model, stdin='{"tokens": ["Ada", "\\u200b"]}\n')
    assert "1 words vanish" in ran.err
    assert "0 of 2 words lost" in ran.err
