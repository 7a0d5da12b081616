"""`compare` and what `eval` says of where a model fails: models and files of predictions on the same rows."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from cli.conftest import Run

from bertft.data.row import Place, Row
from bertft.inference.compare import compare
from bertft.inference.evaluate import measure
from bertft.report.comparison import comparison_tables
from bertft.scoring.breakdown import details
from bertft.scoring.resampling import units
from bertft.tasks import task_class

Record = dict[str, Any]
ROWS = [(f"text {i} is {'good' if i % 3 else 'bad'}", "pos" if i % 3 else "neg") for i in range(60)]


def jsonl(path: Path, records: list[Record]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def table(path: Path, rows: list[tuple[Any, ...]]) -> Path:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return table(tmp_path / "data.csv", [("text", "label"), *ROWS])


def guesses(wrong: int) -> list[str]:
    """Return the labels of ROWS with the first `wrong` of them exchanged."""
    return [{"pos": "neg", "neg": "pos"}[label] if i < wrong else label for i, (_, label) in enumerate(ROWS)]


def predicted(path: Path, wrong: int) -> Path:
    return jsonl(
        path, [{"text": t, "prediction": {"label": p}} for (t, _), p in zip(ROWS, guesses(wrong), strict=True)]
    )


def told(ran: Any) -> Record:
    assert ran.code == 0, ran.err
    found: Record = json.loads(ran.out)
    return found


def test_files_of_two_kinds_are_compared_on_the_same_rows(cli: Run, data: Path, tmp_path: Path) -> None:
    first = predicted(tmp_path / "a.jsonl", 30)
    second = table(tmp_path / "b.csv", [("id", "pred_label"), *enumerate(guesses(6))])
    found = told(cli("compare", first, second, "--data", data, "--show", 2, "--samples", 500))
    assert [system["accuracy"] for system in found["systems"]] == [0.5, 0.9]
    low, high = found["systems"][0]["intervals"]["accuracy"]
    assert 0.35 < low < 0.5 < high < 0.65
    (pair,) = found["pairs"]
    assert pair["right"] == {"both": 30, "only_a": 0, "only_b": 24, "neither": 6}
    difference = pair["differences"]["accuracy"]
    assert difference["difference"] == pytest.approx(0.4)
    assert difference["interval"][0] > 0
    assert max(pair["p"].values()) < 0.01
    assert set(pair["p"]) == {"bootstrap", "randomization", "mcnemar"}
    assert [row["place"].rpartition(":")[2] for row in pair["rows"]["only_b"]] == ["8", "9"]
    assert pair["rows"]["only_b"][0]["gold"] == "neg"


def test_the_same_command_gives_the_same_bytes(cli: Run, data: Path, tmp_path: Path) -> None:
    files = predicted(tmp_path / "a.jsonl", 9), predicted(tmp_path / "b.jsonl", 5)
    first, second = (cli("compare", *files, "--data", data, "--samples", 300) for _ in range(2))
    assert first.out == second.out
    other = cli("compare", *files, "--data", data, "--samples", 300, "--seed", 1)
    assert other.out != first.out


def test_p_values_of_several_are_corrected(cli: Run, data: Path, tmp_path: Path) -> None:
    files = [predicted(tmp_path / f"{wrong}.jsonl", wrong) for wrong in (4, 10, 16)]
    found = told(cli("compare", *files, "--data", data, "--samples", 500, "--test-metric", "macro_f1"))
    assert len(found["pairs"]) == 3
    for pair in found["pairs"]:
        assert "mcnemar" not in pair["p"]  # it is a test of accuracy
        assert all(pair["p_holm"][test] >= p for test, p in pair["p"].items())
    assert any(pair["p_holm"][test] > p for pair in found["pairs"] for test, p in pair["p"].items())


def test_permuted_labels_are_detected_and_named(cli: Run, data: Path, tmp_path: Path) -> None:
    names = {"neg": "LABEL_1", "pos": "LABEL_0"}
    swapped = table(tmp_path / "swapped.csv", [("text", "pred_label"), *((t, names[y]) for t, y in ROWS)])
    ran = cli("compare", predicted(tmp_path / "a.jsonl", 3), swapped, "--data", data, "--samples", 200)
    found = told(ran)
    assert found["systems"][1]["permutation"]["mapping"] == {"LABEL_0": "pos", "LABEL_1": "neg"}
    assert "permutation" not in found["systems"][0]
    assert "'LABEL_0' means 'pos'" in ran.err
    assert "from 0.0 to 100.0" in ran.err


def test_the_first_row_that_differs_is_named(cli: Run, data: Path, tmp_path: Path) -> None:
    good = predicted(tmp_path / "a.jsonl", 3)
    lines = good.read_text().splitlines(keepends=True)
    other = tmp_path / "b.jsonl"
    other.write_text("".join([*lines[:6], lines[6].replace("text 6", "text 7"), *lines[7:]]))
    cli("compare", good, other, "--data", data).fails(3, "b.jsonl:7", "data.csv:8", "text 7", "text 6")


def test_missing_and_superfluous_rows_are_named(cli: Run, data: Path, tmp_path: Path) -> None:
    good = predicted(tmp_path / "a.jsonl", 3)
    lines = good.read_text().splitlines(keepends=True)
    short, long = tmp_path / "short.jsonl", tmp_path / "long.jsonl"
    short.write_text("".join(lines[:50]))
    long.write_text("".join([*lines, lines[0]]))
    cli("compare", good, short, "--data", data).fails(3, "short.jsonl has 50 records, the data has 60", "data.csv:52")
    cli("compare", good, long, "--data", data).fails(3, "long.jsonl has 61 records", "long.jsonl:61")


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ('{"text": "a"}\n', ["no field 'prediction'", "bad.jsonl:1"]),
        ('{"prediction": []}\n', ["is no prediction"]),
        ('{"prediction": {"answer": "x"}}\n', ["no 'label'"]),
        ('{"prediction": {"label": null, "score": 0.2}}\n', ["withheld", "--min-score"]),
    ],
)
def test_what_is_no_prediction_is_exit_3(content: str, parts: list[str], cli: Run, data: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text(content * 60)
    cli("compare", predicted(tmp_path / "a.jsonl", 3), bad, "--data", data).fails(3, *parts)


def test_a_table_without_predictions_is_exit_3(cli: Run, data: Path, tmp_path: Path) -> None:
    cli("compare", predicted(tmp_path / "a.jsonl", 3), data, "--data", data).fails(
        3, "no column 'pred_label'", "--field"
    )


def test_wrong_arguments_are_exit_2_and_missing_models_exit_4(cli: Run, data: Path, tmp_path: Path) -> None:
    good = predicted(tmp_path / "a.jsonl", 3)
    cli("compare", good, "--data", data).fails(2, "compared with nothing")
    cli("compare", good, good, "--data", data, "--test-metric", "acuracy").fails(2, "did you mean 'accuracy'")
    cli("compare", good, tmp_path / "missing", "--data", data).fails(4)


def test_a_row_twice_needs_no_scores_of_its_own(cli: Run, data: Path, tmp_path: Path) -> None:
    good = predicted(tmp_path / "a.jsonl", 3)
    found = told(cli("compare", good, good, "--data", data, "--samples", 200))
    assert set(found["pairs"][0]["p"].values()) == {1.0}


def test_answers_may_be_one_object_by_id_as_squad_has_them(cli: Run, tmp_path: Path) -> None:
    asked = [
        {
            "id": f"q{i}",
            "question": "who?",
            "context": f"it was Ada {i} .",
            "answers": [f"Ada {i}"] if i % 4 else [],
        }
        for i in range(40)
    ]
    data = jsonl(tmp_path / "q.jsonl", asked)
    right = {one["id"]: "".join(one["answers"]) for one in asked}
    wrong = {**right, "q1": "Bob", "q2": ""}
    for name, answers in (("right", right), ("wrong", wrong)):
        # another order, and questions that are not asked
        (tmp_path / f"{name}.json").write_text(json.dumps({"other": "x", **dict(reversed(answers.items()))}))
    ran = cli("compare", tmp_path / "right.json", tmp_path / "wrong.json", "--data", data, "--json", "-q")
    first, second = json.loads(ran.out)["systems"]
    assert (first["exact_match"], second["exact_match"]) == (1.0, 0.95)
    (tmp_path / "few.json").write_text(json.dumps({"q0": "x"}))
    command = ("compare", tmp_path / "right.json", tmp_path / "few.json", "--data", data)
    cli(*command, "--json", "-q").fails(3, "no answer to question 'q1'", "few.json")


def test_values_answers_and_sets_are_compared_too(cli: Run, tmp_path: Path) -> None:
    values = [(f"a {i}", f"b {i}", i / 7) for i in range(40)]
    data = table(tmp_path / "v.csv", [("text_a", "text_b", "label"), *values])
    near = table(
        tmp_path / "v1.csv", [("pred_value",), *((v + 0.1 * (-1) ** i,) for i, (_, _, v) in enumerate(values))]
    )
    far = table(tmp_path / "v2.csv", [("pred_value",), *((v * (i % 3),) for i, (_, _, v) in enumerate(values))])
    found = told(cli("compare", near, far, "--data", data, "--samples", 300))
    assert found["metric"] == "pearson"
    assert "right" not in found["pairs"][0]
    assert found["pairs"][0]["differences"]["rmse"]["difference"] > 0

    asked = [
        {"question": f"who {i}?", "context": f"it was Ada {i} .", "answers": [f"Ada {i}"] if i % 4 else []}
        for i in range(40)
    ]
    data = jsonl(tmp_path / "q.jsonl", asked)
    silent = jsonl(tmp_path / "q1.jsonl", [{**one, "prediction": {"answer": None}} for one in asked])
    right = jsonl(
        tmp_path / "q2.jsonl",
        [{**one, "prediction": {"answer": one["answers"][0] if one["answers"] else None}} for one in asked],
    )
    found = told(cli("compare", silent, right, "--data", data, "--samples", 300))
    assert [system["exact_match"] for system in found["systems"]] == [0.25, 1.0]
    assert found["bootstrap"]["unit"] == "question"

    sets = [(f"row {i}", ["a", "b"] if i % 2 else ["c"]) for i in range(40)]
    data = jsonl(tmp_path / "s.jsonl", [{"text": t, "label": labels} for t, labels in sets])
    one = jsonl(tmp_path / "s1.jsonl", [{"prediction": {"labels": labels[:1]}} for _, labels in sets])
    all_of = jsonl(tmp_path / "s2.jsonl", [{"prediction": {"labels": labels[::-1]}} for _, labels in sets])
    found = told(cli("compare", one, all_of, "--data", data, "--samples", 300, "--test-metric", "subset_accuracy"))
    assert [system["subset_accuracy"] for system in found["systems"]] == [0.5, 1.0]
    assert "mcnemar" in found["pairs"][0]["p"]


def test_a_tagger_is_compared_with_its_own_files(cli: Run, model: Path, train_file: Path, tmp_path: Path) -> None:
    columns = tmp_path / "told.conll"
    assert cli("predict", model, train_file, "--out", columns).code == 0
    lines = tmp_path / "told.jsonl"
    assert cli("predict", model, train_file, "--to", "jsonl", "--out", lines).code == 0
    blunt = tmp_path / "blunt.conll"  # what finds nothing, in another scheme than the gold
    blunt.write_text("".join(f"{line}\tO\n" if line else "\n" for line in train_file.read_text().split("\n")[:-1]))
    found = told(cli("compare", model, columns, lines, blunt, "--data", train_file, "--samples", 200))
    f1 = [system["f1"] for system in found["systems"]]
    assert f1[0] == f1[1] == f1[2] > 0.9
    assert f1[3] == 0.0
    assert found["metric"] == "f1"
    assert found["pairs"][0]["differences"]["f1"]["interval"] == [0.0, 0.0]
    evaluated = told(cli("eval", model, "--data", train_file))
    assert {key: evaluated[key] for key in ("f1", "precision", "recall")} == {
        key: found["systems"][0][key] for key in ("f1", "precision", "recall")
    }


def test_rankings_are_compared_by_question() -> None:
    task = task_class("pair").restore(
        {"rank": True}, {"problem_type": "single_label_classification", "labels": ["no", "yes"]}
    )
    rows = [
        {"text_a": f"question {i // 3}", "text_b": f"answer {i}", "label": "yes" if i % 3 == 0 else "no"}
        for i in range(30)
    ]
    examples = [task.parse(Row(Place("f", i), values), labelled=True) for i, values in enumerate(rows, 1)]
    rng = np.random.default_rng(0)
    pairs = [(example, np.array([1 - p, p])) for example, p in zip(examples, rng.random(30), strict=True)]
    found = task.outcomes(pairs)
    assert (found.unit, units([found]).size) == ("question", 10)
    measured, scores = measure(task, pairs), task.score(pairs)
    assert {key: measured[key] for key in scores} == scores
    assert [*measured["intervals"]] == ["map", "mrr", "accuracy"]
    silent = task.outcomes([(example, None) for example in examples])
    assert (silent.unit, silent.ranks) == ("question", None)
    parts = details(found, ["map", "accuracy"])["breakdown"]["length"]
    assert "map" not in parts[0]  # a part of a question's answers has no rank


@pytest.mark.parametrize("scores", [True, False])
def test_a_ranker_is_compared_with_files_that_have_scores(
    cli: Run, encoder: Path, tmp_path: Path, scores: bool
) -> None:
    rows = [(f"question {i // 3}", f"answer {i}", "yes" if i % 3 == 0 else "no") for i in range(30)]
    data = table(tmp_path / "r.csv", [("text_a", "text_b", "label"), *rows])
    model, lines = tmp_path / "ranker", tmp_path / "told.jsonl"
    command = ("train", "rank", "--data", data, "--dev", data, "--model", encoder, "--out", model)
    assert cli(*command, "--set", "trainer.num_train_epochs=1", "--set", "calibrate=off").code == 0
    extra = ("--scores",) if scores else ()
    assert cli("predict", model, data, "--to", "jsonl", "--out", lines, *extra).code == 0
    unscored = jsonl(tmp_path / "bare.jsonl", [{"prediction": {"label": "no"}} for _ in rows])
    found = told(cli("compare", model, lines, "--data", data, "--samples", 200))
    assert [*found["systems"][1]["intervals"]] == ["map", "mrr", "accuracy"]
    assert found["systems"][0]["map"] == pytest.approx(found["systems"][1]["map"], abs=0.2)  # four decimals tie
    bare = told(cli("compare", model, unscored, "--data", data, "--samples", 200))
    assert "map" not in bare["systems"][0]
    backwards = [json.loads(line) for line in lines.read_text().splitlines()]
    for row, (*_, label) in zip(backwards, rows, strict=True):
        row["prediction"] = {"label": "yes", "score": 0.9 if label == "yes" else 0.1}
    right = jsonl(tmp_path / "right.jsonl", backwards)
    assert told(cli("compare", model, right, "--data", data, "--samples", 200))["systems"][1]["mrr"] == 1.0


def test_characters_are_put_on_the_words_of_the_data(cli: Run, tmp_path: Path) -> None:
    rows = [{"text": "Ada Stone lives in Lima.", "entities": [{"start": 0, "end": 9, "label": "PER"}]}] * 5
    rows = [{**row, "text": f"{row['text']} {i}"} for i, row in enumerate(rows)]
    data = jsonl(tmp_path / "data.jsonl", rows)
    right = jsonl(tmp_path / "a.jsonl", [{"text": r["text"], "prediction": {"entities": r["entities"]}} for r in rows])
    short = [{"start": 0, "end": 3, "label": "PER"}]
    wrong = jsonl(tmp_path / "b.jsonl", [{"text": r["text"], "prediction": {"entities": short}} for r in rows])
    found = told(cli("compare", right, wrong, "--data", data, "--samples", 200))
    assert [system["f1"] for system in found["systems"]] == [1.0, 0.0]


def test_the_tables_say_who_is_better_and_list_rows(data: Path, tmp_path: Path) -> None:
    files = [str(predicted(tmp_path / f"{wrong}.jsonl", wrong)) for wrong in (30, 5)]
    shown = comparison_tables(compare(files, str(data), samples=300, show=1))
    assert f"{files[1]} is better: accuracy, p 0.0033" in shown
    assert "+41.7 [" in shown
    assert f"only {files[1]} has right, not {files[0]}: 25 rows" in shown
    assert 'gold: "pos"  a: "neg"  b: "pos"' in shown


def test_eval_tells_intervals_and_errors(cli: Run, model: Path, train_file: Path, tmp_path: Path) -> None:
    data = tmp_path / "one.conll"
    unheard = [[("Nobody", "B-PER"), ("knows", "O"), ("Quux", "B-LOC")]]
    data.write_text(tiny.conll([*tiny.sentences(), *unheard]))
    found = told(cli("eval", model, "--data", data, "--train", train_file))
    low, high = found["intervals"]["f1"]
    assert low < found["f1"] < high
    assert found["bootstrap"]["unit"] == "sentence"
    assert found["bootstrap"]["units"] == 33
    assert found["matches"]["strict"]["f1"] == pytest.approx(found["f1"])
    assert (
        sum(found["errors"][kind] for kind in ("right", "boundary", "type", "boundary_and_type", "missed"))
        == found["support"]
    )
    parts = {part["is"]: part["entities"] for part in found["breakdown"]["seen_in_train"]}
    assert parts["no"] == 2
    assert sum(part["rows"] for part in found["breakdown"]["length"]) == 33


def test_windowed_rows_are_scored_apart(cli: Run, model: Path, tmp_path: Path) -> None:
    data = tmp_path / "long.conll"
    data.write_text(tiny.conll([*tiny.sentences(), [pair for row in tiny.sentences() * 8 for pair in row]]))
    found = told(cli("eval", model, "--data", data))
    assert {part["is"]: part["rows"] for part in found["breakdown"]["windowed"]} == {"no": 32, "yes": 1}


def test_training_ends_with_intervals(trained: Any) -> None:
    result = trained("bert-uncased").result
    for split in ("dev", "test"):
        assert set(result[split]["intervals"]) == {"f1", "precision", "recall"}
        assert result[split]["bootstrap"]["units"] == 32
