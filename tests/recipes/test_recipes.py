"""The shipped recipes: their headers, their options, and the samples that they are shown on."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby, permutations
from pathlib import Path
from typing import Any

import pytest

from bertft.inference.evaluate import Labelled, read_labelled
from bertft.recipe import Recipe, check_options, load
from bertft.tasks import task_class

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "recipes" / "samples"
RECIPES = {path.stem: path for path in sorted((ROOT / "recipes").rglob("*.yaml"))}
CLOSED = "http://127.0.0.1:9"
RUN_ONLY = ("mlm", "qa", "qa-v2")
"""45 questions on ten articles show the format, and 300 texts a corpus; no score is asked for."""

HEADER = r"""# {name}: [^\n]+\.
#
# Data: [^\n]+
(#       [^\n]+
){{2,4}}#
# Launch:   bertft train {name} --data [^\n]+
# Sample:   bertft train {name} --data recipes/samples/[^\n]+
# Expected: [^\n]+
(#[^\n]*
)*task: """

every = pytest.mark.parametrize("name", RECIPES)


def checked(name: str) -> tuple[Recipe, type]:
    """Return a recipe with all its options, and the class of its task."""
    recipe = load(str(RECIPES[name]))
    task = task_class(recipe.task)
    return check_options(recipe, task.options_class), task


def sample_command(name: str) -> list[str]:
    """Return the arguments of the `Sample:` line: `train NAME --data …`, without `--out`."""
    line = re.search(r"^# Sample: +bertft (.*)$", RECIPES[name].read_text(encoding="utf-8"), re.MULTILINE)
    assert line is not None
    return shlex.split(re.sub(r" --out \S+", "", line[1]))


def sample(name: str) -> Path:
    """Return the data of the `Sample:` line."""
    command = sample_command(name)
    return ROOT / command[command.index("--data") + 1]


def read(name: str) -> tuple[Any, Labelled]:
    """Return the prepared task of a recipe and the examples of its sample."""
    recipe, task = checked(name)
    draft: Any = task.restore(recipe.options, {})  # type: ignore[attr-defined]
    rows = read_labelled(draft, str(sample(name)))
    return draft.prepare(rows.examples)[0], rows


# -- what stands in a recipe -------------------------------------------------------------------------------------------


@every
def test_header_says_what_the_data_and_the_command_are(name: str) -> None:
    text = RECIPES[name].read_text(encoding="utf-8")
    assert re.match(HEADER.format(name=name), text), text[:1000]
    assert max(map(len, text.splitlines())) <= 120


@every
def test_every_option_of_the_task_is_shown(name: str) -> None:
    shown = load(str(RECIPES[name]))
    recipe, _ = checked(name)
    assert {*shown.options} == {*recipe.options}


@every
def test_shipped_name_is_the_file(name: str) -> None:
    assert load(name) == load(str(RECIPES[name]))


# -- the samples -------------------------------------------------------------------------------------------------------


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def sentences(path: Path) -> int:
    """Count the blocks of lines that are no comments."""
    kept = [line for line in lines(path) if not line.startswith("# ")]
    return sum(filled for filled, _ in groupby(kept, key=lambda line: bool(line.strip())))


def questions(path: Path) -> int:
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    return sum(len(paragraph["qas"]) for article in articles for paragraph in article["paragraphs"])


def records(path: Path) -> int:
    with path.open(encoding="utf-8", newline="") as file:
        delimiter = ";" if ";" in file.readline() else ","
        return sum(1 for _ in csv.reader(file, delimiter=delimiter))


COUNT: dict[str, Callable[[Path], int]] = {
    ".conll": sentences,
    ".conllu": sentences,
    ".csv": records,
    ".json": questions,
    ".jsonl": lambda path: len(lines(path)),
    ".tsv": lambda path: len(lines(path)) - 1,
    "": lambda path: len(lines(path / "label")),
}


@every
def test_every_row_of_the_sample_is_read(name: str) -> None:
    path = sample(name)
    task, rows = read(name)
    assert len(rows.examples) == rows.info["rows"] == COUNT[path.suffix](path)
    assert any(any(task.labels_of(example)) for example in rows.examples) or task.headline[0] in ("pearson", "loss")


def test_every_sample_is_of_some_recipe() -> None:
    named = {sample(name) for name in RECIPES}
    files = {path for path in SAMPLES.rglob("*") if path.is_file()}
    assert {path for path in files if named.isdisjoint((path, *path.parents))} == set()
    assert all(b"\r" not in path.read_bytes() for path in files)


@pytest.mark.parametrize("name", [name for name in RECIPES if load(str(RECIPES[name])).task in ("classify", "pair")])
def test_no_text_of_a_sample_has_two_labels(name: str) -> None:
    _, rows = read(name)
    texts = Counter(
        (example.text,) if hasattr(example, "text") else (example.first, example.second) for example in rows.examples
    )
    assert [text for text, count in texts.items() if count > 1] == []


def test_intents_are_classified_too() -> None:
    recipe, task = checked("classify")
    folder = str(sample("slots"))
    rows = read_labelled(task.restore(recipe.options, {}), folder)  # type: ignore[attr-defined]
    assert rows.info["rows"] == len(lines(Path(folder) / "label"))
    assert {example.label for example in rows.examples} == {*lines(Path(folder) / "label")}


# -- training ----------------------------------------------------------------------------------------------------------


def average_precision(relevant: Sequence[bool]) -> float:
    hits = [rank for rank, right in enumerate(relevant, 1) if right]
    return sum(found / rank for found, rank in enumerate(hits, 1)) / len(hits)


def random_map(task: Any, examples: Sequence[Any]) -> float:
    """Return the mean average precision of all orders of each question's candidates."""
    groups: dict[str, list[bool]] = {}
    for example in examples:
        groups.setdefault(example.question, []).append(example.label == "1")
    found = [average_precision(order) for right in groups.values() if any(right) for order in permutations(right)]
    return sum(found) / len(found)


def best_constant_set(task: Any, examples: Sequence[Any]) -> float:
    """Return the best micro F1 of giving the same set of labels to every text."""
    counts = Counter(label for example in examples for label in task.labels_of(example))
    gold, hits, best = counts.total(), 0, 0.0
    for size, (_, count) in enumerate(counts.most_common(), 1):
        hits += count
        best = max(best, 2 * hits / (size * len(examples) + gold))
    return best


def baseline(task: Any, examples: Sequence[Any]) -> float:
    """Return the headline metric of the best answer that does not look at the text."""
    match task.headline[0]:
        case "accuracy":
            counts = Counter(label for example in examples for label in task.labels_of(example))
            return max(counts.values()) / counts.total()
        case "micro_f1":
            return best_constant_set(task, examples)
        case "map":
            return random_map(task, examples)
        case "f1" | "pearson":  # no entity, one value for all
            return 0.0
    raise NotImplementedError(task.headline[0])


@pytest.mark.slow
@every
def test_sample_is_learnt(name: str, tmp_path: Path) -> None:
    command = sample_command(name)
    out = tmp_path / "model"
    command[command.index("--data") + 1] = str(sample(name))
    closed = dict.fromkeys(("HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), CLOSED)
    environment = {**os.environ, **closed, "HF_HOME": str(tmp_path / "hub")}
    ran = subprocess.run(
        [sys.executable, "-m", "bertft", *command, "--out", str(out), "--device", "cpu"],
        capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=600, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout.splitlines()[-1])
    assert result["model"] == str(out)
    if name in RUN_ONLY:
        return
    task, rows = read(name)
    floor = baseline(task, rows.examples)
    assert result["dev"][task.headline[0]] > floor + 0.4 * (1 - floor), (floor, result["dev"])
