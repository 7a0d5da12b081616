"""`predict --min-score X`: answers of a lower score are withheld, counted, and every record keeps its one answer."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import tiny
from cli.conftest import Run

SENTENCES = [" ".join(word for word, _ in row) for row in tiny.sentences()]
TEXT = "".join(f"{text}\n" for text in [*SENTENCES, "Rome Rome in Acme they", "", "Zenith lives lives Lima work"])


def entities(out: str) -> list[list[dict[str, object]]]:
    return [json.loads(line)["prediction"]["entities"] for line in out.splitlines()]


def test_entities_below_it_are_left_out_and_counted(cli: Run, model: Path) -> None:
    every = entities(cli("predict", model, stdin=TEXT).out)
    scores = sorted(float(str(entity["score"])) for row in every for entity in row)
    least = scores[len(scores) // 2]
    ran = cli("predict", model, "--min-score", least, stdin=TEXT)
    assert ran.code == 0, ran.err
    kept = entities(ran.out)
    assert kept == [[entity for entity in row if float(str(entity["score"])) >= least] for row in every]
    lost = sum(score < least for score in scores)
    assert 0 < lost < len(scores)
    assert f"{lost} of {len(scores)} answers withheld: --min-score {least:g}" in ran.err
    assert "withheld" not in cli("predict", model, stdin=TEXT).err
    assert cli("predict", model, "--min-score", "0", stdin=TEXT).out == cli("predict", model, stdin=TEXT).out


def test_their_words_are_outside_in_column_files(cli: Run, model: Path, train_file: Path) -> None:
    ran = cli("predict", model, train_file, "--min-score", "1")
    assert ran.code == 0, ran.err
    before = train_file.read_text().splitlines()
    sure = {line.split("\t")[-1] for line in ran.out.splitlines() if line}
    assert [line.rsplit("\t", 1)[0] for line in ran.out.splitlines()] == before
    every = cli("predict", model, train_file, "--scores", "--to", "jsonl")
    kept = {
        entity["label"]
        for line in every.out.splitlines()
        for entity in json.loads(line)["prediction"]["entities"]
        if entity["score"] == 1
    }
    assert {tag[2:] for tag in sure} - {""} == kept
    assert "O" in sure


def test_tables_keep_a_row_for_each_record(cli: Run, model: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("id,text\n" + "".join(f"{i},{text}\n" for i, text in enumerate(SENTENCES)))
    ran = cli("predict", model, source, "--min-score", "1")
    assert ran.code == 0, ran.err
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [row["text"] for row in rows] == SENTENCES
    assert all(entity["score"] == 1 for row in rows for entity in json.loads(row["pred_entities"]))


def test_another_limit_does_not_continue_a_run(cli: Run, model: Path, tmp_path: Path) -> None:
    jsonl, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    jsonl.write_text("".join(json.dumps({"text": text}) + "\n" for text in SENTENCES * 40) + "{no\n")
    stopped = cli("predict", model, jsonl, "--out", out, "--min-score", "0.5")
    assert stopped.code == 3
    cli("predict", model, jsonl, "--out", out, "--resume", "--on-error", "skip").fails(2, "--min-score: 0.5 before")
    going = cli("predict", model, jsonl, "--out", out, "--resume", "--on-error", "skip", "--min-score", "0.5")
    assert going.code == 0, going.err
    whole = cli("predict", model, jsonl, "--on-error", "skip", "--min-score", "0.5")
    assert out.read_text() == whole.out
    told = [[line for line in ran.err.splitlines() if "withheld" in line] for ran in (going, whole)]
    assert told[0] == told[1] != []


@pytest.mark.parametrize("value", ["-0.1", "1.5", "high"])
def test_it_is_a_probability(cli: Run, model: Path, value: str) -> None:
    assert cli("predict", model, f"--min-score={value}").code == 2
