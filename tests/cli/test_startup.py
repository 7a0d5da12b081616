"""What a command imports before it has to: nothing heavy for help and for mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "transformers", "datasets", "numpy", "pandas", "sklearn"}

_WATCHED = """
import json, runpy, sys
sys.argv[0] = "bertft"
code = 0
try:
    runpy.run_module("bertft", run_name="__main__", alter_sys=True)
except SystemExit as end:
    code = end.code or 0
print(json.dumps({"code": code, "modules": sorted(sys.modules)}), file=sys.stderr)
"""


def watched(*arguments: str, env: dict[str, str], cwd: Path) -> tuple[int, set[str], str, str]:
    """Run the command and return (exit code, its top-level modules, stdout, stderr)."""
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED, *arguments], capture_output=True, text=True, env=env, cwd=cwd, check=False
    )
    said, _, last = done.stderr.rstrip("\n").rpartition("\n")
    seen = json.loads(last)
    return seen["code"], {name.partition(".")[0] for name in seen["modules"]}, done.stdout, said


def commands() -> list[tuple[str, ...]]:
    """Every command that there is, sub-commands included, the root first."""
    import typer

    from bertft.cli.app import app

    def walk(command: object, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        inner: dict[str, object] = getattr(command, "commands", {})
        return [path, *(found for name, one in inner.items() for found in walk(one, (*path, name)))]

    return walk(typer.main.get_command(app), ())


@pytest.mark.parametrize(
    ("words", "expected"),
    [("bertft comp", ["compare"]), ("bertft train q", ["qa", "qa-v2"]), ("bertft predict m --on-error s", ["skip"])],
)
def test_a_shell_completes_commands_recipes_and_values(
    words: str, expected: list[str], offline: dict[str, str]
) -> None:
    asked = {"_BERTFT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    command = [sys.executable, "-m", "bertft"]
    done = subprocess.run(command, env={**offline, **asked}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == expected


@pytest.mark.parametrize("command", commands(), ids=lambda c: " ".join(c) or "root")
def test_help_imports_nothing_heavy(command: tuple[str, ...], offline: dict[str, str], tmp_path: Path) -> None:
    code, modules, out, err = watched(*command, "--help", env=offline, cwd=tmp_path)
    assert (code, err) == (0, "")
    assert out.lower().lstrip().startswith("usage: bertft")
    assert modules & HEAVY == set()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["train", "ner", "--data", "x.conll", "--flag"], "--flag"),
        (["train", "ner"], "--data"),
        (["trian"], "Did you mean 'train'?"),
        (["train", "nre", "--data", "x.conll"], "did you mean 'ner'?"),
        (["train", "ner", "--data", "x.conll", "--set", "trainer.learning_rat=1"], "did you mean 'learning_rate'?"),
        (["train", "ner", "--data", "x.conll", "--set", "trainer.learning_rate=fast"], "trainer.learning_rate"),
        (["train", "ner", "--data", "x.conll", "--set", "trainer.output_dir=x"], "reserved"),
        (["train", "ner", "--data", "x.conll", "--set", "seeed=1"], "did you mean 'seed'?"),
        (["train", "ner", "--data", "x.conll", "--set", "options.windw=9"], "did you mean 'window'?"),
        (["train", "ner", "--data", "x.conll", "--set", "options.decode=beam"], "viterbi"),
        (["train", "ner", "--data", "x.conll", "--columns", "tag=2"], "no such role"),
        (["train", "wrong.yaml", "--data", "x.conll"], "wrong.yaml:3"),
        (["train", "none.yaml", "--data", "x.conll"], "none.yaml"),
        (["train", "ner", "--data", "x.conll", "--format", "xml"], "unknown format 'xml'"),
        (["predict", "m", "--on-error", "ignore"], "--on-error"),
        (["predict", "m", "Paris is nice"], "echo 'Paris is nice' | bertft predict m"),
        (["recipes", "show", "nre"], "did you mean 'ner'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_usage_error_is_found_before_torch_is_imported(
    arguments: list[str], part: str, offline: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "wrong.yaml").write_text("task: ner\ntrainer:\n  learning_rat: 1e-4\n", encoding="utf-8")
    (tmp_path / "x.conll").write_text("Paris\tB-LOC\n\n", encoding="utf-8")
    code, modules, out, err = watched(*arguments, env=offline, cwd=tmp_path)
    assert (code, out) == (2, "")
    assert part in err
    assert err.count("error:") == 1
    assert modules & {"torch", "transformers", "datasets", "pandas", "sklearn"} == set()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wrong.yaml", "x.conll"]


def test_a_missing_file_is_found_before_torch_is_imported(offline: dict[str, str], tmp_path: Path) -> None:
    code, modules, out, _ = watched("train", "ner", "--data", "none.conll", "--out", "o", env=offline, cwd=tmp_path)
    assert (code, out) == (3, "")
    assert "torch" not in modules
    assert list(tmp_path.iterdir()) == []


def test_version_is_the_package_s(offline: dict[str, str], tmp_path: Path) -> None:
    import bertft

    code, modules, out, _ = watched("--version", env=offline, cwd=tmp_path)
    assert (code, out) == (0, f"bertft {bertft.__version__}\n")
    assert modules & HEAVY == set()
