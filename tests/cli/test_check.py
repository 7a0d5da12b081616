"""`bertft check`, and what `train` says of it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from cli.conftest import Run
from cli.test_startup import watched

from bertft.check.codes import CODES

WORDS = ["river", "stone", "window", "garden", "market", "winter", "doctor", "letter", "bridge", "music", "silver"]


def rows(count: int, *labels: str) -> str:
    """A table whose texts all differ in most of their words."""
    lines = []
    for i in range(count):
        words = [WORDS[(i * step + step * step) % len(WORDS)] for step in (1, 2, 3, 5, 9)]
        lines.append(f"{' '.join(words)} {i * 7} {i * 11} {i * 13} {i * 17},{labels[i % len(labels)]}")
    return "\n".join(["text,label", *lines]) + "\n"


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    path = tmp_path / "clean.csv"
    path.write_text(rows(300, "positive", "negative"), encoding="utf-8")
    return path


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Data with warnings, and no errors."""
    path = tmp_path / "odd.csv"
    path.write_text(rows(300, "positive", "negative").replace(",negative\n", ",negatve\n", 1), encoding="utf-8")
    return path


def test_json_has_findings_and_counts(cli: Run, odd: Path) -> None:
    ran = cli("check", "classify", "--data", odd, "--json", "-q")
    result = json.loads(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert set(result) == {"findings", "counts"}
    assert all(set(one) == {"code", "severity", "path", "line", "id", "message", "fix"} for one in result["findings"])
    assert {one["code"] for one in result["findings"]} <= {*CODES}
    assert result["counts"]["warning"] == sum(one["severity"] == "warning" for one in result["findings"]) > 0
    (rare,) = [one for one in result["findings"] if one["code"] == "label-rare"]
    assert (rare["path"], rare["line"], rare["severity"]) == (str(odd), 3, "warning")


def test_warnings_fail_only_when_strict(cli: Run, clean: Path, odd: Path) -> None:
    assert cli("check", "classify", "--data", odd).code == 0
    assert cli("check", "classify", "--data", odd, "--strict").code == 1
    assert cli("check", "classify", "--data", clean, "--strict").code == 0


def test_errors_fail(cli: Run, clean: Path) -> None:
    ran = cli("check", "classify", "--data", clean, "--dev", clean, "--json", "-q")
    assert ran.code == 1
    assert json.loads(ran.out)["counts"]["error"] == 1


def test_the_list_has_place_sentence_and_fix(cli: Run, odd: Path) -> None:
    out = cli("check", "classify", "--data", odd, "-q").out
    assert "warning: label-rare: " in out
    assert f"{odd}:3: label 'negatve' stands 1 time in the file" in out
    assert "  fix: add rows, or merge the label with another one" in out
    assert out.splitlines()[-1].startswith("0 errors, ")


def test_what_a_file_holds_cannot_drive_the_terminal(cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "evil.csv"
    path.write_text(rows(300, "positive", "negative").replace(",negative\n", ",\x1b[2Jnegative\n", 1), encoding="utf-8")
    out = cli("check", "classify", "--data", path, "-q").out
    assert "label-rare" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_explained(cli: Run, code: str) -> None:
    ran = cli("check", "--explain", code)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"{code}\n")
    assert CODES[code].why in ran.out
    assert code.partition("-")[0] in ("label", "leak", "conflict", "scheme", "qa", "text", "model", "train")


def test_an_unknown_code_names_the_nearest(cli: Run) -> None:
    cli("check", "--explain", "label-unsene").fails(2, "unknown code 'label-unsene'", "did you mean 'label-unseen'?")


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        ([], 2, "a recipe and `--data FILE` are needed"),
        (["classify"], 2, "`--data FILE` is needed"),
        (["clasify", "--data", "CLEAN"], 2, "did you mean 'classify'?"),
        (["classify", "--data", "none.csv"], 3, "none.csv"),
        (["classify", "--data", "CLEAN", "--columns", "label=nothing"], 2, "nothing"),
        (["classify", "--data", "CLEAN", "--model", "./none"], 4, "./none"),
        (["classify", "--data", "CLEAN", "--set", "options.window=99999"], 2, "options.window"),
    ],
)
def test_what_cannot_be_checked_at_all(cli: Run, clean: Path, arguments: list[str], code: int, part: str) -> None:
    ran = cli("check", *(str(clean) if argument == "CLEAN" else argument for argument in arguments), "-q")
    ran.fails(code, part)


def test_neither_torch_nor_transformers_is_imported(offline: dict[str, str], clean: Path, tmp_path: Path) -> None:
    code, modules, out, _ = watched("check", "classify", "--data", str(clean), env=offline, cwd=tmp_path)
    assert (code, modules & {"torch", "transformers"}) == (0, set())
    assert "train-cost" in out


def test_another_model_is_read_from_its_directory(cli: Run, encoder: Path, train_file: Path) -> None:
    ran = cli("check", "ner", "--data", train_file, "--model", encoder, "--json", "-q")
    assert json.loads(ran.out)["counts"]["error"] == 0, ran.out


def test_train_says_the_worst_and_names_the_command(cli: Run, encoder: Path, odd: Path, clean: Path) -> None:
    arguments = ("--dev", clean, "--model", encoder, "--dry-run")
    ran = cli("train", "classify", "--data", odd, *arguments)
    assert ran.code == 0
    assert f"{clean}:2: 300 of 300 rows of dev stand in train" in ran.err
    assert f"{odd}:3: label 'negatve' (1) looks like 'negative' (149) (label-typo)" in ran.err
    assert f"`bertft check classify --data {odd} --dev {clean}` says more" in ran.err


def test_a_check_that_fails_does_not_stop_a_training(
    cli: Run, encoder: Path, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bertft.training.checks.check_train", lambda *_, **__: 1 / 0)
    ran = cli("train", "classify", "--data", clean, "--model", encoder, "--dry-run", "-v")
    assert ran.code == 0
    assert "the data was not checked: division by zero" in ran.err


@pytest.mark.slow
def test_a_hundred_thousand_rows_take_seconds(cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "many.csv"
    path.write_text(rows(100_000, "positive", "negative"), encoding="utf-8")
    began = time.process_time()
    assert cli("check", "classify", "--data", path, "-q").code == 0
    assert time.process_time() - began < 10
