"""`--report` of eval, train and compare: written in one go, refused before the work, its packages asked for first."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import tiny
from cli.conftest import Run

pytest.importorskip("matplotlib", reason="needs the extra `report`")
pytest.importorskip("jinja2", reason="needs the extra `report`")

from bertft.report import document

ROWS = [(f"text {i} is {'good' if i % 3 else 'bad'}", "pos" if i % 3 else "neg") for i in range(60)]


def sections(page: str) -> list[str]:
    return re.findall(r'<section id="([^"]+)"', page)


def test_eval_writes_a_report_beside_its_scores(cli: Run, model: Path, train_file: Path, tmp_path: Path) -> None:
    report = tmp_path / "new" / "report.html"
    ran = cli("eval", model, "--data", train_file, "--report", report)
    assert ran.code == 0, ran.err
    assert f"report: {report}" in ran.err
    page = report.read_text(encoding="utf-8")
    assert sections(page) == ["summary", "scores", "rows", "data", "repeat"]
    assert f"--report {report}" in page
    assert f"{100 * json.loads(ran.out)['f1']:.1f}" in page
    assert [path.name for path in report.parent.iterdir()] == ["report.html"]
    plain = cli("eval", model, "--data", train_file)
    assert plain.out == ran.out


def test_a_report_says_what_check_finds(cli: Run, model: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.conll"
    rows = tiny.sentences()
    data.write_text(tiny.conll([*rows, *rows[:3], [("<p>", "O"), ("Rome", "B-LOC"), ("</p>", "O")]]), encoding="utf-8")
    report = tmp_path / "report.html"
    ran = cli("eval", model, "--data", data, "--report", report)
    assert ran.code == 0, ran.err
    assert ran.err.count("data.conll: 2 columns") == 1  # it is read once more, and says nothing
    page = report.read_text(encoding="utf-8")
    assert "leak-within" in page
    assert "train-" not in "".join(re.findall(r"<code>([a-z-]+)</code>", page))


def test_train_draws_its_curves(cli: Run, encoder: Path, train_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    arguments = ("train", "ner", "--data", train_file, "--dev", train_file, "--test", train_file, "--model", encoder)
    settings = ("--set", "trainer.num_train_epochs=3", "--set", "trainer.learning_rate=5e-3", "--device", "cpu")
    ran = cli(*arguments, *settings, "--out", out, "--report", out / "report.html")
    assert ran.code == 0, ran.err
    page = (out / "report.html").read_text(encoding="utf-8")
    assert sections(page) == ["summary", "curves", "test", "dev", "rows", "data", "repeat"]
    assert "Training loss" in page
    assert page.count("<figcaption><strong>On dev: F1") == 1
    assert "num_train_epochs: 3" in page
    for part in ("seed", "training took", "step", "M parameters", "tokens, about", "shared with the next"):
        assert part in page
    again = cli(*arguments, *settings, "--out", out, "--resume", "--report", tmp_path / "again.html")
    assert again.code == 0, again.err
    assert "bertft eval" in again.err
    assert not (tmp_path / "again.html").exists()


@pytest.mark.parametrize("more", [("--seeds", 2), ("--folds", 2)], ids=["seeds", "folds"])
def test_train_reports_the_best_of_seeds_and_all_folds(
    cli: Run, encoder: Path, train_file: Path, tmp_path: Path, more: tuple[str, int]
) -> None:
    report, settings = tmp_path / "report.html", ("--set", "trainer.num_train_epochs=2", "--device", "cpu")
    dev = ("--dev", train_file) if more[0] == "--seeds" else ()
    arguments = ("train", "ner", "--data", train_file, *dev, "--model", encoder, "--out", tmp_path / "model")
    ran = cli(*arguments, *settings, *more, "--report", report)
    assert ran.code == 0, ran.err
    page = report.read_text(encoding="utf-8")
    assert sections(page) == ["summary", "curves", "dev", "rows", "data", "repeat"]
    assert f"{100 * json.loads(ran.out)['dev']['f1']:.1f}" in page
    assert "bootstrap over 32 sentences" in page


def test_compare_lists_the_rows_that_only_one_has_right(cli: Run, tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("text,label\n" + "".join(f"{t},{y}\n" for t, y in ROWS), encoding="utf-8")
    other = {"pos": "neg", "neg": "pos"}
    for name, wrong in (("a", 30), ("b", 6)):
        rows = [{"text": t, "prediction": {"label": other[y] if i < wrong else y}} for i, (t, y) in enumerate(ROWS)]
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    report = tmp_path / "report.html"
    files = (tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    ran = cli("compare", *files, "--data", data, "--samples", 300, "--report", report)
    assert ran.code == 0, ran.err
    page = report.read_text(encoding="utf-8")
    assert "24 rows that only some have right" in page
    assert "b.jsonl right" in page
    assert re.search(r"b\.jsonl” is better than “[^”]*a\.jsonl” by 40\.0 \([\d.]+ to [\d.]+\) in accuracy", page)


def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    cli: Run, model: Path, train_file: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "no-model"  # if the work had begun, this would be what is said
    cli("eval", missing, "--data", train_file, "--report", tmp_path).fails(2, "a directory", str(tmp_path))
    cli("eval", missing, "--data", train_file, "--report", "/dev/null").fails(2, "a device")
    cli("eval", missing, "--data", train_file, "--report", train_file).fails(
        2, "would replace a file that is no report"
    )
    cli("eval", missing, "--data", train_file, "--report", train_file / "x.html").fails(3, "cannot write")
    cli("compare", train_file, model, "--data", train_file, "--report", train_file).fails(2, "would replace")
    cli("train", "nothing", "--data", train_file, "--report", tmp_path).fails(2, "a directory")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_refused(cli: Run, train_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    cli("eval", "no-model", "--data", train_file, "--report", folder / "x.html").fails(3, "cannot write", "x.html")


def test_missing_packages_are_named_before_the_work(
    cli: Run, train_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bertft.extras.find_spec", lambda name: None)
    for command in (("eval", "no-model"), ("train", "nothing"), ("compare", "a", "b")):
        ran = cli(*command, "--data", train_file, "--report", tmp_path / "x.html")
        ran.fails(2, "jinja2 and matplotlib", "pip install 'bertft[report]'")


def test_a_report_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = tmp_path / "report.html"
    document.write(str(report), "first")
    document.write(str(report), "second")
    assert report.read_text() == "second"

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(document.os, "fsync", full)
    with pytest.raises(document.OutputError, match="No space left"):
        document.write(str(report), "third")
    assert report.read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
