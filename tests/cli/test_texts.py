"""`train`, `eval` and `predict` for texts, pairs and questions: in the files that people have, and back in them."""

from __future__ import annotations

import bz2
import csv
import io
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
import tiny
from cli.conftest import Run

SENTENCES = [" ".join(word for word, _ in sentence) for sentence in tiny.sentences()]
QUICK = ("--set", "trainer.bf16=false", "--set", "trainer.learning_rate=5e-3", "--device", "cpu")


def kind(text: str) -> str:
    return "home" if "lives" in text else "job" if "hired" in text else "NO"


def table(rows: list[list[str]], **style: Any) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n", **style).writerows(rows)
    return out.getvalue()


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences and their kinds in a CSV with CRLF, quotes and a field that is no business of the task."""
    path = tmp_path_factory.mktemp("texts") / "texts.csv"
    rows = [[str(i), f'he said: "{text}"', kind(text)] for i, text in enumerate(SENTENCES)]
    path.write_text(table([["id", "Customer Review", "Kind of news"], *rows]), encoding="utf-8", newline="")
    return path


@pytest.fixture(scope="session")
def classifier(texts: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier, trained through the command line's own function."""
    from bertft.cli import main

    out = tmp_path_factory.mktemp("classifier") / "model"
    command = ["train", "classify", "--data", texts, "--dev", texts, "--model", encoder, "--out", out, "-q", *QUICK]
    columns = ["--columns", "label=Kind of news", "--set", "trainer.num_train_epochs=15"]
    assert main([*map(str, command), *columns]) == 0
    return out


def test_a_table_is_answered_with_two_more_columns_and_every_byte_kept(cli: Run, classifier: Path, texts: Path) -> None:
    ran = cli("predict", classifier, texts, "-q")
    lines, answered = texts.read_bytes().decode().split("\r\n"), ran.out.split("\r\n")
    assert answered[0] == lines[0] + ",pred_label,pred_score"
    assert len(answered) == len(lines)
    for line, answer in zip(lines[1:-1], answered[1:-1], strict=True):
        assert answer.startswith(line + ",")
        label, score = answer.removeprefix(line + ",").split(",")
        assert label in ("home", "job", "NO")
        assert 0 < float(score) <= 1


def test_labels_that_yaml_or_pandas_would_change_stay_as_they_are(cli: Run, classifier: Path) -> None:
    assert json.loads((classifier / "config.json").read_text())["id2label"] == {"0": "NO", "1": "home", "2": "job"}


def test_eval_reads_a_table_and_gives_the_metrics_of_labels(cli: Run, classifier: Path, texts: Path) -> None:
    ran = cli("eval", classifier, "--data", texts)  # the label's column is that of training
    scores = json.loads(ran.out)
    assert scores.items() >= json.loads((classifier / "metrics.json").read_text())["dev"].items()
    assert scores["support"] == sum(label["support"] for label in scores["per_label"].values()) == 32


def test_text_on_stdin_is_answered_in_json_lines(cli: Run, classifier: Path) -> None:
    ran = cli("predict", classifier, "--scores", "-q", stdin="Maria lives in Lima .\n\n")
    first, blank = map(json.loads, ran.out.splitlines())
    assert first["text"] == "Maria lives in Lima ."
    assert first["prediction"]["scores"].keys() == {"NO", "home", "job"}
    assert sum(first["prediction"]["scores"].values()) == pytest.approx(1, abs=1e-3)
    assert first["prediction"]["score"] == max(first["prediction"]["scores"].values())
    assert blank["text"] == ""
    assert blank["prediction"]["label"] in ("NO", "home", "job")


@pytest.mark.parametrize(("delimiter", "format"), [(",", "csv"), (";", "csv"), ("\t", "tsv")])
def test_a_table_on_stdin_needs_its_format(cli: Run, classifier: Path, delimiter: str, format: str) -> None:
    given = table([["text", "n"], ["Maria lives here", "1"], ["a\nb", "2"]], delimiter=delimiter)
    ran = cli("predict", classifier, "--format", format, "-q", stdin=given)
    found = list(csv.reader(io.StringIO(ran.out, newline=""), delimiter=delimiter))
    assert [row[:2] for row in found] == [["text", "n"], ["Maria lives here", "1"], ["a\nb", "2"]]
    assert found[0][2:] == ["pred_label", "pred_score"]


def test_a_table_may_leave_as_json_lines_and_json_lines_as_a_table(cli: Run, classifier: Path, texts: Path) -> None:
    lines = cli("predict", classifier, texts, "--to", "jsonl", "-q").out
    first = json.loads(lines.splitlines()[0])
    assert first["Customer Review"] == f'he said: "{SENTENCES[0]}"'
    assert first["prediction"]["label"] in ("NO", "home", "job")
    stripped = '{"text": "Li lives, say, in \\"Rome\\"", "n": 1}\n'
    found = list(csv.reader(io.StringIO(cli("predict", classifier, "--to", "csv", "-q", stdin=stripped).out)))
    assert found[0] == ["text", "n", "pred_label", "pred_score"]
    assert found[1][:2] == ['Li lives, say, in "Rome"', "1"]


def test_a_table_with_the_columns_already_is_not_given_them_twice(cli: Run, classifier: Path, tmp_path: Path) -> None:
    path = tmp_path / "again.csv"
    path.write_text("text,pred_label\nMaria lives here,home\n")
    cli("predict", classifier, path).fails(3, "'pred_label'", "--field")
    assert cli("predict", classifier, path, "--field", "new", "-q").out.splitlines()[0] == (
        "text,pred_label,new_label,new_score"
    )


def test_a_bad_record_of_a_table_is_said_counted_or_answered_with_nothing(
    cli: Run, classifier: Path, tmp_path: Path
) -> None:
    path = tmp_path / "ragged.csv"
    path.write_text("text,n\nMaria lives here,1\none,two,three\nLi lives there,2\n")
    ran = cli("predict", classifier, path)
    assert ran.code == 3
    assert f"{path}:3" in ran.err
    assert len(ran.out.splitlines()) == 2
    null = cli("predict", classifier, path, "--on-error", "null")
    assert null.code == 0
    assert null.out.splitlines()[2] == "one,two,three,,"
    assert "1 of 3 records were bad" in null.err
    assert len(cli("predict", classifier, path, "--on-error", "skip", "-q").out.splitlines()) == 3


@pytest.mark.parametrize(("suffix", "pack"), [("bz2", bz2.compress), ("xz", lzma.compress)])
def test_compressed_tables_are_read(
    cli: Run, classifier: Path, texts: Path, tmp_path: Path, suffix: str, pack: Any
) -> None:
    path = tmp_path / f"texts.csv.{suffix}"
    path.write_bytes(pack(texts.read_bytes()))
    assert cli("predict", classifier, path, "-q").out == cli("predict", classifier, texts, "-q").out


def test_what_labels_are_is_worked_out_and_said(cli: Run, encoder: Path, tmp_path: Path) -> None:
    path = tmp_path / "data.tsv"
    for labels, said in (
        (["a", "b"], "single label classification"),
        (["a|b", "b", "a"], "multi label classification"),
        (["1.5", "2.25", "3.0"], "regression"),
        (["True", "False", "NA"], "single label classification"),
    ):
        rows = [f"{text}\t{labels[i % len(labels)]}" for i, text in enumerate(SENTENCES)]
        path.write_text("text\tlabel\n" + "\n".join(rows) + "\n")
        ran = cli("train", "classify", "--data", path, "--model", encoder, "--dry-run")
        assert ran.code == 0, ran.err
        assert said in ran.err
        forced = cli("train", "classify", "--data", path, "--model", encoder, "--dry-run", "--set",
                     "options.problem_type=single_label_classification")  # fmt: skip
        assert "single label classification: given" in forced.err


def test_a_file_with_parts_gives_all_of_them(cli: Run, encoder: Path, tmp_path: Path) -> None:
    rows = [[text, kind(text)] for text in SENTENCES]
    path = tmp_path / "all.json"
    path.write_text(json.dumps({"train": rows, "val": rows[:6], "test": rows[6:10], "oos_train": [["what?", "oos"]]}))
    out = tmp_path / "model"
    command = ("train", "classify", "--model", encoder, *QUICK, "--set", "trainer.num_train_epochs=1")
    result = json.loads(cli(*command, "--data", path, "--out", out).out)
    assert result["dev"]["support"] == 6
    assert result["test"]["support"] == 4
    named = cli(*command, "--data", f"{path}:train+oos_train", "--dry-run")
    assert '"oos": 1' in named.out
    cli(*command, "--data", f"{path}:trian", "--dry-run").fails(3, "'trian'", "'train'", "oos_train")


def test_pairs_are_trained_ranked_and_answered(cli: Run, encoder: Path, tmp_path: Path) -> None:
    rows = [{"question": a, "answer": b, "label": int(a == b)} for a in SENTENCES[:6] for b in {a, *SENTENCES[:3]}]
    path = tmp_path / "rank.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "model"
    command = ("train", "rank", "--data", path, "--dev", path, "--model", encoder, "--out", out, *QUICK)
    result = json.loads(cli(*command, "--set", "trainer.num_train_epochs=2").out)
    assert {"map", "mrr", "accuracy"} <= result["dev"].keys()
    (answer,) = cli("predict", out, "-q", stdin='{"question": "a", "answer": "b", "n": 3}\n').out.splitlines()
    assert json.loads(answer)["prediction"]["label"] in ("0", "1")
    assert json.loads(answer)["n"] == 3
    cli("predict", out, stdin='{"question": "a"}\n').fails(3, "-:1")


def test_questions_are_trained_scored_and_answered_from_nested_json(cli: Run, encoder: Path, tmp_path: Path) -> None:
    articles = []
    for i, text in enumerate(SENTENCES[:12]):
        first = text.split()[0]
        asked = {"id": f"q{i}", "question": "who ?", "answers": [{"text": first, "answer_start": 0}]}
        none = {"id": f"n{i}", "question": "why ?", "answers": [], "is_impossible": True}
        articles.append({"title": str(i), "paragraphs": [{"context": text, "qas": [asked, none]}]})
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"version": "v2.0", "data": articles}))
    out = tmp_path / "model"
    command = ("train", "qa-v2", "--data", path, "--dev", path, "--model", encoder, "--out", out, *QUICK)
    result = json.loads(cli(*command, "--set", "trainer.num_train_epochs=2").out)
    assert {"exact_match", "f1", "has_ans_f1", "no_ans_f1", "best_f1"} <= result["dev"].keys()
    assert json.loads(cli("eval", out, "--data", path).out)["f1"] == result["dev"]["f1"]
    for line in cli("predict", out, path, "-q").out.splitlines():
        row = json.loads(line)
        found = row["prediction"]
        if found["answer"] is not None:
            assert row["context"][found["start"] : found["end"]] == found["answer"]
        else:
            assert 0 <= found["no_answer_score"] <= 1


def test_folds_give_means_and_a_model_of_all_rows(cli: Run, encoder: Path, texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    command = ("train", "classify", "--data", texts, "--columns", "label=Kind of news", "--model", encoder, *QUICK)
    ran = cli(*command, "--folds", 3, "--out", out, "--set", "trainer.num_train_epochs=2")
    result = json.loads(ran.out)
    scores = [fold["accuracy"] for fold in result["folds"]["scores"]]
    assert len(scores) == 3
    assert result["folds"]["mean"]["accuracy"] == pytest.approx(sum(scores) / 3)
    assert result["dev"]["support"] == 32
    assert json.loads((out / "bertft.json").read_text())["data"]["train"]["rows"] == 32
    cli(*command, "--folds", 3, "--dev", texts, "--out", tmp_path / "x").fails(2, "--folds")
    cli(*command, "--folds", 1, "--out", tmp_path / "x").fails(2)


def test_a_wrong_option_names_the_right_one(cli: Run, encoder: Path, texts: Path) -> None:
    command = ("train", "classify", "--data", texts, "--columns", "label=Kind of news", "--model", encoder, "--dry-run")
    cli(*command, "--set", "options.class_wieghts=auto").fails(2, "class_weights")
    cli(*command, "--set", "options.pooling=median").fails(2, "median")
    cli("train", "classify", "--data", texts, "--columns", "label=Kind", "--model", encoder).fails(2, "'Kind'")


def test_a_header_alone_is_answered_with_a_header(cli: Run, classifier: Path, tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("text,n\n")
    assert cli("predict", classifier, path, "-q").out == "text,n,pred_label,pred_score\n"


def test_several_tables_have_one_header_or_are_refused(cli: Run, classifier: Path, tmp_path: Path) -> None:
    for name, text in (("a", "text,n\none,1\n"), ("b", "text,n\ntwo,2\n"), ("c", "n,text\n3,three\n")):
        (tmp_path / f"{name}.csv").write_text(text)
    lines = cli("predict", classifier, tmp_path / "a.csv", tmp_path / "b.csv", "-q").out.splitlines()
    assert [line.rsplit(",", 2)[0] for line in lines] == ["text,n", "one,1", "two,2"]
    ran = cli("predict", classifier, tmp_path / "a.csv", tmp_path / "c.csv", "-q")
    assert ran.code == 2
    assert "c.csv has other columns" in ran.err


def test_a_table_may_have_a_column_called_prediction(cli: Run, classifier: Path, tmp_path: Path) -> None:
    path = tmp_path / "old.csv"
    path.write_text("text,prediction\none,1\n")
    assert cli("predict", classifier, path, "-q").out.startswith("text,prediction,pred_label,pred_score\none,1,")
    cli("predict", classifier, path, "--to", "jsonl").fails(3, "'prediction'", "--field")


def test_columns_of_labels_hold_0_and_1(cli: Run, encoder: Path, tmp_path: Path) -> None:
    path = tmp_path / "toxic.csv"
    rows = "".join(f"{text},{i % 2},{i // 2 % 2}\n" for i, text in enumerate(SENTENCES))
    path.write_text("text,toxic,insult\n" + rows)
    command = ("train", "multilabel", "--data", path, "--model", encoder, "--dry-run")
    ran = cli(*command)
    assert "label=toxic+insult" in ran.err
    assert '"toxic": ' in ran.out
    path.write_text("text,toxic,insult\n" + rows + "not scored,-1,-1\n")
    cli(*command, "--columns", "label=toxic+insult").fails(3, "'-1'", "neither 0 nor 1", f"{path}:{len(SENTENCES) + 2}")
    cli(*command, "--columns", "text=text+toxic,label=insult").fails(2, "only labels")


def test_graded_relevance_is_ranked_by_value_and_never_guessed(cli: Run, encoder: Path, tmp_path: Path) -> None:
    path = tmp_path / "rank.jsonl"
    command = ("train", "rank", "--data", path, "--dev", path, "--model", encoder, *QUICK, "--overwrite")
    more = ("--set", "trainer.num_train_epochs=1", "--out", tmp_path / "model")
    for grades, said in (((0.0, 0.5, 0.7), None), ((0, 1, 2), "which of the labels '0', '1', '2'")):
        rows = [
            {"question": q, "answer": a, "label": grades[i % 3]} for i, a in enumerate(SENTENCES) for q in ("x", "y")
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        ran = cli(*command, *more)
        if said is None:
            assert {"map", "mrr", "pearson"} <= json.loads(ran.out)["dev"].keys()
        else:
            ran.fails(2, said, "options.relevant")


def test_a_run_that_diverges_without_evaluation_is_not_saved(
    cli: Run, encoder: Path, texts: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    command = ("train", "classify", "--data", texts, "--columns", "label=Kind of news", "--model", encoder, *QUICK)
    wild = (
        "--set",
        "trainer.learning_rate=1e30",
        "--set",
        "trainer.num_train_epochs=3",
        "--set",
        "trainer.max_grad_norm=0",
    )
    ran = cli(*command, *wild, "--folds", 2, "--out", out)
    ran.fails(1, "diverged", "learning_rate")
    assert not out.exists()


def test_parts_are_read_in_the_encoding_that_is_given(cli: Run, encoder: Path, tmp_path: Path) -> None:
    rows = [[f"café {text}", kind(text)] for text in SENTENCES]
    path = tmp_path / "all.json"
    path.write_bytes(json.dumps({"train": rows, "dev": rows[:6]}, ensure_ascii=False).encode("latin-1"))
    ran = cli("train", "classify", "--data", path, "--encoding", "latin-1", "--model", encoder, "--dry-run")
    assert ran.code == 0, ran.err
    assert '"examples": 32' in ran.out


def test_a_test_part_without_labels_is_left_out_and_said(cli: Run, encoder: Path, tmp_path: Path) -> None:
    rows = [{"text": text, "label": kind(text)} for text in SENTENCES]
    path = tmp_path / "all.json"
    path.write_text(json.dumps({"train": rows, "dev": rows[:6], "test": [{"text": "a"}, {"text": "b"}]}))
    ran = cli("train", "classify", "--data", path, "--model", encoder, "--dry-run")
    assert ran.code == 0, ran.err
    assert "warning" in ran.err
    assert "its part for testing is not used" in ran.err


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("options.window=1", "options.window: 1"),
        ("options.separator=", "separator"),
        ("options.class_weights={nothing: 2}", "'nothing'"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_trained(
    cli: Run, encoder: Path, texts: Path, setting: str, said: str
) -> None:
    command = ("train", "classify", "--data", texts, "--columns", "label=Kind of news", "--model", encoder, "--dry-run")
    cli(*command, "--set", setting).fails(2, said)


def dry(cli: Run, encoder: Path, task: str, *arguments: object) -> str:
    """Return what a dry run says."""
    ran = cli("train", task, *arguments, "--model", encoder, "--dry-run")
    assert ran.code == 0, ran.err
    return str(ran.err)


def test_empty_texts_and_labels_are_counted(cli: Run, encoder: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [[text, kind(text)] for text in SENTENCES]
    path.write_text(table([["text", "label"], *rows, ["", "home"], [" ", "job"], ["Lima .", ""]]))
    said = dry(cli, encoder, "classify", "--data", path)
    assert f"warning: {path}: empty texts: 2, the first at {path}:34; they count like others\n" in said
    assert f"{path}: empty labels: 1, learnt as a label like others\n" in said


def test_a_limit_that_leaves_rows_out_is_said(cli: Run, encoder: Path, texts: Path) -> None:
    arguments = ("--data", texts, "--columns", "label=Kind of news", "--limit")
    assert "only its first 20 rows are read, as --limit says\n" in dry(cli, encoder, "classify", *arguments, 20)
    assert "--limit" not in dry(cli, encoder, "classify", *arguments, 32)


def test_one_file_for_several_options_is_said(cli: Run, encoder: Path, texts: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_bytes(texts.read_bytes())
    same = ("--columns", "label=Kind of news", "--data", texts, "--dev", texts, "--test", other)
    said = dry(cli, encoder, "classify", *same)
    for second, first in (("--dev", "--data"), ("--test", "--data"), ("--test", "--dev")):
        assert f"warning: {second} has the same rows as {first}: " in said
    parts = tmp_path / "all.json"
    rows = [{"text": text, "label": kind(text)} for text in SENTENCES]
    parts.write_text(json.dumps({"train": rows, "dev": rows[:6], "oos_dev": rows}))
    said = dry(cli, encoder, "classify", "--data", parts)
    assert "the same rows" not in said
    assert "train (not read here: dev, oos_dev)" in said


def test_null_fields_are_called_so(cli: Run, encoder: Path, tmp_path: Path) -> None:
    for row, fact in (
        ({"text": None, "label": "a"}, "the field 'text' is null"),
        ({"text": "b", "label": None}, "the label is null"),
        ({"text": "b", "label": float("nan")}, "the label is NaN"),
        ({"text": "b"}, "the row has no label"),
        ({"label": "a"}, "the row has no `text`"),
    ):
        path = tmp_path / "rows.jsonl"
        path.write_text("\n".join(json.dumps(r) for r in ({"text": "a", "label": "a"}, row)) + "\n")
        cli("train", "classify", "--data", path, "--model", encoder, "--dry-run").fails(3, fact, f"--> {path}:2")


def test_the_trainer_s_settings_are_found_for_who_forgets_their_section(cli: Run, texts: Path) -> None:
    ran = cli("train", "classify", "--data", texts, "--set", "num_train_epochs=2")
    ran.fails(2, "unknown key 'num_train_epochs'", "it is `trainer.num_train_epochs`")


def test_a_column_file_is_no_text(cli: Run, classifier: Path, encoder: Path, tmp_path: Path) -> None:
    path = tmp_path / "f.conll"
    path.write_text("Ada\tB-PER\nlives\tO\n\n" * 9)
    for command in (("predict", classifier, path), ("train", "classify", "--data", path, "--model", encoder)):
        cli(*command).fails(3, "this is a column file", "bertft train ner")
