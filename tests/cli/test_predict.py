"""`bertft predict` as a Unix filter: one answer per record, in order, the record's own fields kept."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from cli.conftest import Run

SENTENCES = [" ".join(word for word, _ in row) for row in tiny.sentences()]


def records(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def found(record: dict[str, Any]) -> list[tuple[str, str]]:
    return [(e["text"], e["label"]) for e in record["prediction"]["entities"]]


def test_text_lines_become_json_lines_in_order(cli: Run, model: Path) -> None:
    lines = [f"{SENTENCES[i % 32]} {'very ' * (i % 40)}{i}" for i in range(150)]
    ran = cli("predict", model, stdin="".join(f"{line}\n" for line in lines))
    assert ran.code == 0, ran.err
    answers = records(ran.out)
    assert [answer["text"] for answer in answers] == lines
    assert all(list(answer) == ["text", "prediction"] for answer in answers)
    for answer in answers:
        for entity in answer["prediction"]["entities"]:
            assert answer["text"][entity["start"] : entity["end"]] == entity["text"]
            assert round(entity["score"], 4) == entity["score"]
            assert list(entity) == ["start", "end", "label", "text", "score"]


def test_entities_are_found(cli: Run, model: Path) -> None:
    (answer,) = records(cli("predict", model, stdin="Ada Stone lives in New Haven .\n").out)
    assert found(answer) == [("Ada Stone", "PER"), ("New Haven", "LOC")]


def test_a_blank_line_is_a_record(cli: Run, model: Path) -> None:
    answers = records(cli("predict", model, stdin="\nMaria lives in Rome .\n\n   \nLi").out)
    assert [answer["text"] for answer in answers] == ["", "Maria lives in Rome .", "", "   ", "Li"]
    assert answers[0]["prediction"] == {"entities": []}


def test_no_input_is_no_output(cli: Run, model: Path) -> None:
    ran = cli("predict", model, stdin="")
    assert (ran.code, ran.out) == (0, "")


@pytest.mark.parametrize(
    "text", ["\u200b", "\u00ad", "a\u00adb \u200d", "\x85", "\u2028 x", "🙂\u200d", "\x0b\x0c", "\ufeff"]
)
def test_odd_characters_are_answered_with_the_same_text(text: str, cli: Run, model: Path) -> None:
    ran = cli("predict", model, stdin=f"first\n{text}\n")
    assert ran.code == 0, ran.err
    assert [record["text"] for record in map(json.loads, ran.out.split("\n")[:-1])] == ["first", text]


def test_jsonl_keeps_its_own_characters(cli: Run, model: Path) -> None:
    lines = ['{"id":  7, "text": "Maria lives in Rome .", "x": 1.0e5}', '{"tokens": ["Li", "moved"], "é": "\\u00e9"}']
    ran = cli("predict", model, stdin="\n".join(lines) + "\n")
    assert ran.code == 0, ran.err
    out = ran.out.splitlines()
    assert all(after.startswith(before[:-1]) for before, after in zip(lines, out, strict=True))
    first, second = map(json.loads, out)
    assert found(first) == [("Maria", "PER"), ("Rome", "LOC")]
    assert list(first) == ["id", "text", "x", "prediction"]
    assert len(second["prediction"]["tags"]) == 2


def test_columns_of_json_are_named(cli: Run, model: Path) -> None:
    line = '{"field 7": "Maria lives in Rome ."}\n'
    cli("predict", model, stdin=line).fails(3, "-:1", "field 7", "--columns text=")
    (answer,) = records(cli("predict", model, "--columns", "text=field 7", stdin=line).out)
    assert found(answer) == [("Maria", "PER"), ("Rome", "LOC")]


def test_usual_names_of_json_need_no_columns(cli: Run, model: Path) -> None:
    ran = cli("predict", model, stdin='{"body": "Maria lives in Rome ."}\n')
    (answer,) = records(ran.out)
    assert found(answer) == [("Maria", "PER"), ("Rome", "LOC")]
    assert "text=body" in ran.err


def test_an_existing_prediction_is_never_overwritten(cli: Run, model: Path) -> None:
    line = '{"text": "Maria", "prediction": 1}\n'
    cli("predict", model, stdin=line).fails(3, "-:1", "'prediction'", "--field")
    (answer,) = records(cli("predict", model, "--field", "ner", stdin=line).out)
    assert answer["prediction"] == 1
    assert answer["ner"]["entities"]


BROKEN = '{"text": "Maria"}\n{"text": 5}\nnot json\n{"text": "Rome"}\n'


def test_a_bad_record_ends_the_stream_after_the_answers_before_it(cli: Run, model: Path) -> None:
    ran = cli("predict", model, stdin=BROKEN)
    assert ran.code == 3
    assert [record["text"] for record in records(ran.out)] == ["Maria"]
    assert ran.err.count("error:") == 1
    assert "-:2" in ran.err


def test_bad_records_are_skipped_and_counted(cli: Run, model: Path) -> None:
    ran = cli("predict", model, "--on-error", "skip", stdin=BROKEN)
    assert ran.code == 0
    assert [record["text"] for record in records(ran.out)] == ["Maria", "Rome"]
    assert "-:2" in ran.err
    assert "-:3" in ran.err
    assert "2 of 4 records were bad" in ran.err


def test_bad_records_are_answered_with_null(cli: Run, model: Path) -> None:
    ran = cli("predict", model, "--on-error", "null", stdin=BROKEN)
    assert ran.code == 0
    answers = records(ran.out)
    assert [answer["prediction"] is None for answer in answers] == [False, True, True, False]
    assert answers[1]["text"] == 5
    assert "2 of 4 records were bad" in ran.err


def test_undecodable_lines_are_bad_records(cli: Run, model: Path) -> None:
    data = b"Maria lives\nCaf\xe9\nRome\n"
    ran = cli("predict", model, stdin=data)
    assert ran.code == 3
    assert "-:2" in ran.err
    assert "--encoding" in ran.err
    ran = cli("predict", model, "--on-error", "null", stdin=data)
    assert [record["prediction"] is None for record in records(ran.out)] == [False, True, False]
    (_, answer, _) = records(cli("predict", model, "--encoding", "latin-1", stdin=data).out)
    assert answer["text"] == "Café"


def test_a_lone_surrogate_is_no_crash(cli: Run, model: Path) -> None:
    ran = cli(
        "predict",
        model,
        "--on-error",
        "null",
        stdin='{"text": "a \\ud800 b"}\n{"tokens": ["\\udfff"]}\n{"text": "Li"}\n',
    )
    assert ran.code == 0, ran.err
    assert len(ran.out.splitlines()) == 3


def test_scores_are_probabilities_of_the_words(cli: Run, model: Path) -> None:
    (answer,) = records(cli("predict", model, "--scores", stdin="Maria lives in Rome .\n").out)
    assert len(answer["prediction"]["scores"]) == 5
    assert all(0 < score <= 1 for score in answer["prediction"]["scores"])


def test_text_given_as_a_file_is_explained(cli: Run, model: Path) -> None:
    ran = cli("predict", model, "Maria lives in Rome")
    ran.fails(2, f"echo 'Maria lives in Rome' | bertft predict {model}")


def test_several_files_are_answered_in_order(cli: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Maria\n", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"text": "Rome"}\n', encoding="utf-8")
    ran = cli("predict", model, tmp_path / "a.txt", tmp_path / "b.jsonl", "-", stdin="Lima\n")
    assert [record["text"] for record in records(ran.out)] == ["Maria", "Rome", "Lima"]


def test_a_missing_second_file_is_said_with_its_name(cli: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Maria\n", encoding="utf-8")
    ran = cli("predict", model, tmp_path / "a.txt", tmp_path / "none.txt")
    assert ran.code == 3
    assert "none.txt" in ran.err


def test_what_answers_are_not_written_as_is_said(cli: Run, model: Path) -> None:
    for wrong in ("parquet", "foo"):
        ran = cli("predict", model, "--to", wrong, stdin="x\n")
        ran.fails(2, f"--to {wrong}: predictions are written as jsonl, csv, tsv or conll")
        assert "squad" not in ran.err
    cli("predict", model, "--to", "jsnl", stdin="x\n").fails(2, "did you mean 'jsonl'?")


def test_out_is_written_when_all_is_done(cli: Run, model: Path, tmp_path: Path) -> None:
    target = tmp_path / "answers.jsonl"
    ran = cli("predict", model, "--out", target, stdin="Maria\nRome\n")
    assert (ran.code, ran.out) == (0, "")
    assert [record["text"] for record in records(target.read_text(encoding="utf-8"))] == ["Maria", "Rome"]
    assert list(tmp_path.iterdir()) == [target]
    cli("predict", model, "--out", target, stdin=BROKEN).fails(3, "-:2")
    assert len(target.read_text(encoding="utf-8").splitlines()) == 2
    cli("predict", model, "--out", tmp_path / "no" / "where.jsonl", stdin="x\n").fails(3, "where.jsonl", "make it")


COLUMNS = "# a comment\n-DOCSTART- -X- O\n\nMaria NNP B-PER\nlives VBZ O\n \t\nRome NNP B-LOC\r\n. . O"


@pytest.mark.parametrize("on_stdin", [True, False])
def test_columns_get_one_more_field_and_keep_every_other_byte(
    on_stdin: bool, cli: Run, model: Path, tmp_path: Path
) -> None:
    if on_stdin:
        ran = cli("predict", model, "--format", "conll", stdin=COLUMNS)
    else:
        file = tmp_path / "in.txt"
        file.write_bytes(COLUMNS.encode())
        ran = cli("predict", model, file)
    assert ran.code == 0, ran.err
    before, after = COLUMNS.split("\n"), ran.out.split("\n")
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        if len(old.split()) == 3 and not old.startswith(("-", "#")):
            ending = "\r" if old.endswith("\r") else ""
            assert new.startswith(old.removesuffix("\r") + " ")
            assert new.endswith(ending)
            assert len(new.split()) == 4
        else:
            assert new == old


@pytest.mark.parametrize(("on_error", "middle"), [("null", "a _\nb x _\n\n"), ("skip", "")])
def test_a_ragged_sentence_is_a_bad_record(on_error: str, middle: str, cli: Run, model: Path) -> None:
    data = "Maria\n\na\nb x\n\nRome\n\n"
    ran = cli("predict", model, "--format", "conll", "--on-error", on_error, stdin=data)
    assert ran.code == 0, ran.err
    first, rest = ran.out.split("\n\n", 1)
    assert first.startswith("Maria ")
    assert rest.startswith(middle + "Rome ")
    assert "-:4" in ran.err
    assert "1 of 3 records were bad" in ran.err


def test_columns_can_become_json_and_json_columns(cli: Run, model: Path) -> None:
    column_file = tiny.conll(tiny.sentences()[:3])
    answers = records(cli("predict", model, "--format", "conll", "--to", "jsonl", stdin=column_file).out)
    assert [answer["tokens"] for answer in answers] == [[w for w, _ in row] for row in tiny.sentences()[:3]]
    assert [answer["prediction"]["tags"] for answer in answers] == [[t for _, t in row] for row in tiny.sentences()[:3]]
    lines = "".join(json.dumps({"tokens": answer["tokens"]}) + "\n" for answer in answers)
    assert cli("predict", model, "--to", "conll", stdin=lines).out == column_file


def test_a_file_and_a_pipe_give_the_same_bytes(cli: Run, model: Path, tmp_path: Path) -> None:
    data = "".join(f"{line}\n" for line in SENTENCES * 4)
    (tmp_path / "in.txt").write_text(data, encoding="utf-8")
    whole = cli("predict", model, tmp_path / "in.txt").out
    assert cli("predict", model, tmp_path / "in.txt").out == whole
    small = cli("predict", model, tmp_path / "in.txt", "--batch-tokens", 1).out
    single = cli("predict", model, "--unbuffered", stdin=data).out
    for a, b, c in zip(records(whole), records(small), records(single), strict=True):
        assert found(a) == found(b) == found(c)


def test_a_plain_directory_predicts_and_says_what_it_assumed(cli: Run, model: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (plain / name).write_bytes((model / name).read_bytes())
    ours, theirs = (cli("predict", directory, stdin="Maria lives in Rome .\n") for directory in (model, plain))
    assert theirs.out == ours.out
    assert "no bertft.json" in theirs.err


def test_stdout_is_data_and_stderr_the_rest(shell: Run, model: Path) -> None:
    ran = shell("predict", model, stdin="Maria\n")
    assert len(records(ran.out)) == 1
    assert "using " in ran.err
    assert shell("predict", model, "-q", stdin="Maria\n").err == ""


def started(model: Path, offline: dict[str, str], *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bertft", "predict", str(model), *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=offline,
    )


def test_head_ends_an_endless_stream_quietly(model: Path, offline: dict[str, str]) -> None:
    command = f"yes 'Paris is in France .' | {sys.executable} -m bertft predict {model} -q; echo code $? >&2"
    with subprocess.Popen(
        ["bash", "-c", f"({command}) | head -1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=offline,
    ) as process:
        out, err = process.communicate(timeout=120)
    assert json.loads(out)["text"] == "Paris is in France ."
    assert err == "code 0\n"


def test_a_slow_writer_has_each_answer_before_its_next_line(model: Path, offline: dict[str, str]) -> None:
    with started(model, offline) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        for i, line in enumerate(["Maria lives in Rome .", "", "Li lives in Lima ."]):
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], 120 if i == 0 else 5)
            assert ready, f"no answer to line {i + 1} before the next one"
            assert json.loads(process.stdout.readline())["text"] == line
            time.sleep(0.2)
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def test_columns_on_a_slow_pipe_are_answered_sentence_by_sentence(model: Path, offline: dict[str, str]) -> None:
    with started(model, offline, "--format", "conll") as process:
        assert process.stdin
        assert process.stdout
        for i, word in enumerate(["Maria", "Rome"]):
            process.stdin.write(f"{word}\nlives\n\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], 120 if i == 0 else 5)
            assert ready, f"no answer to sentence {i + 1} before the next one"
            lines = [process.stdout.readline() for _ in range(3)]
            assert lines[0].startswith(f"{word} ")
            assert lines[2] == "\n"
        process.stdin.close()
        assert process.wait(timeout=60) == 0
        assert "error" not in process.stderr.read() if process.stderr else True


def test_a_killed_reader_leaves_no_thread_behind(model: Path, offline: dict[str, str]) -> None:
    with started(model, offline, "-q") as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write("Maria\n")
        process.stdin.flush()
        process.stdout.readline()
        process.terminate()
        assert process.wait(timeout=30) in (143, -15)


def test_a_pipe_that_is_named_is_answered_as_it_comes(model: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "bertft", "predict", str(model), str(pipe), "-q"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        with pipe.open("w") as stream:
            stream.write("Maria lives in Lima .\n")
            stream.flush()
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["text"] == "Maria lives in Lima ."  # the pipe is still open
        assert process.wait(60) == 0


@pytest.mark.parametrize("kind", ["text", "jsonl", "csv", "conll", "two"])
@pytest.mark.parametrize("count", [1, 3, 40])
def test_shards_one_after_the_other_are_the_whole(cli: Run, model: Path, tmp_path: Path, kind: str, count: int) -> None:
    texts = [" ".join(word for word, _ in row) for row in tiny.sentences()]
    files = {
        "text": ["".join(f"{text}\n" for text in texts)],
        "jsonl": ["".join(json.dumps({"text": text}) + "\n" for text in texts)],
        "csv": ["id,text\r\n" + "".join(f'{i},"{text}"\r\n' for i, text in enumerate(texts))],
        "conll": ["# a comment\n" + tiny.conll(tiny.sentences())],
        "two": ["one\n", "".join(f"{text}\n" for text in texts)],
    }[kind]
    suffix = {"two": "txt", "text": "txt"}.get(kind, kind)
    paths = [tmp_path / f"{i}.{suffix}" for i in range(len(files))]
    for path, text in zip(paths, files, strict=True):
        path.write_bytes(text.encode())
    whole = cli("predict", model, *paths, "-q")
    parts = [cli("predict", model, *paths, "-q", "--shard", f"{i}/{count}") for i in range(1, count + 1)]
    assert whole.code == 0
    assert [part.code for part in parts] == [0] * count
    assert "".join(part.out for part in parts) == whole.out


@pytest.mark.parametrize("count", [2, 5])
def test_shards_of_records_as_a_table_have_the_columns_of_the_first(
    cli: Run, model: Path, tmp_path: Path, count: int
) -> None:
    rows = ['{"id": 1, "text": "Maria"}', '{"text": "Rome", "id": 2}', '{"text": "Li"}']
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "a.jsonl").write_text("".join(f"{row}\n" for row in rows))
    command = ("predict", model, tmp_path / "empty.jsonl", tmp_path / "a.jsonl", "--to", "csv", "-q")
    whole = cli(*command)
    assert whole.out.startswith("id,text,")
    parts = [cli(*command, "--shard", f"{i}/{count}") for i in range(1, count + 1)]
    assert [part.code for part in parts] == [0] * count
    assert "".join(part.out for part in parts) == whole.out


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"])
def test_shards_that_cannot_be_are_refused(cli: Run, model: Path, train_file: Path, shard: str) -> None:
    cli("predict", model, train_file, f"--shard={shard}").fails(2, "--shard", "1/4")


def test_a_shard_of_a_pipe_is_refused(cli: Run, model: Path) -> None:
    cli("predict", model, "--shard", "1/2", stdin="a\n").fails(2, "reads its input twice", "'-'")


def test_the_precision_is_said_and_bf16_is_close_to_fp32(cli: Run, model: Path) -> None:
    text = "Ada Stone lives in Paris .\nAcme hired Li last week .\n"
    every = {}
    for precision in ("fp32", "bf16"):
        ran = cli("predict", model, "--precision", precision, "--scores", "--device", "cpu", stdin=text)
        assert re.search(rf"using cpu, \d+ threads?, {precision}\n", ran.err)
        rows = [json.loads(line)["prediction"]["scores"] for line in ran.out.splitlines()]
        every[precision] = [score for row in rows for score in row]
    exact, close = every["fp32"], every["bf16"]
    assert close == pytest.approx(exact, abs=0.02)
    # so narrow a model gains nothing from bf16, and `eval` repeats training's digits
    assert "fp32" in cli("predict", model, "--device", "cpu", stdin=text).err


def test_eval_measures_in_fp32_unless_told(cli: Run, model: Path, train_file: Path) -> None:
    assert "fp32" in cli("eval", model, "--data", train_file, "--device", "cpu").err
    assert "bf16" in cli("eval", model, "--data", train_file, "--device", "cpu", "--precision", "bf16").err


@pytest.mark.parametrize("family", ["bert-uncased", "modernbert"])
def test_bf16_keeps_values_and_positions(base: Callable[[str], Path], family: str) -> None:
    """A regression to 2,000 has steps of 8 in bf16, and rotary frequencies in bf16 are other positions."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from bertft.encoders.load import fold_scale
    from bertft.inference.pytorch import TorchBackend, for_bf16
    from bertft.tasks.base import Window

    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(base(family), num_labels=1, dtype=torch.float32).eval()
    fold_scale(model, 1987, 12)
    ids = torch.randint(5, 60, (6, 40)).tolist()
    windows = [Window(i, row[: 20 + i], [0] * (20 + i)) for i, row in enumerate(ids)]
    exact = [float(value[0]) for value in TorchBackend(model, 0).logits(windows)]
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    close = [float(value[0]) for value in TorchBackend(for_bf16(model), 0, bf16=True).logits(windows)]
    assert close == pytest.approx(exact, abs=0.5)
    assert close != exact
    assert len({*close}) == len(close)
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())
