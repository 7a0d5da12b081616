"""What a run has read and tokenized: the next run on the same file has the same job without reading it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny

from bertft.recipe import Recipe, check_options, load
from bertft.tasks import task_class
from bertft.training import cache
from bertft.training import files as reading
from bertft.training.plan import Job, plan

TEXTS = ["the quick brown fox", "nobody knew why the old clock stopped", "prices rose in march", "everyone was late"]


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep files of any size, in a cache of the test's own."""
    monkeypatch.setenv("BERTFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "LEAST_BYTES", 0)
    return tmp_path / "cache" / "items"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build("bert-uncased", tmp_path_factory.mktemp("base"))


def files(kind: str, folder: Path) -> tuple[Path, Path]:
    """Write a training file for a recipe, and one for development with another row."""
    if kind in ("ner", "pos"):
        rows = tiny.sentences()
        if kind == "pos":
            rows = [[(word, tag[-1]) for word, tag in row] for row in rows]
        train, dev = (folder / f"{name}.conll" for name in ("train", "dev"))
        train.write_text(tiny.conll(rows))
        dev.write_text(tiny.conll(rows[:5]))
        return train, dev
    if kind == "qa":
        paragraphs = [
            {
                "context": text,
                "qas": [{"id": text, "question": "who ?", "answers": [{"text": text[:9], "answer_start": 0}]}],
            }
            for text in TEXTS
        ]
        for name, some in (("train", paragraphs), ("dev", paragraphs[:2])):
            (folder / f"{name}.json").write_text(json.dumps({"data": [{"title": "t", "paragraphs": some}]}))
        return folder / "train.json", folder / "dev.json"
    labels = {"classify": ["a", "b"], "multilabel": ["a", "a,b"], "regress": ["1.5", "-2.25"]}[kind]
    for name, count in (("train", 8), ("dev", 3)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            rows = [[TEXTS[i % 4] * (1 + i // 4), labels[i % 2]] for i in range(count)]
            csv.writer(file).writerows([["text", "label"], *rows])
    return folder / "train.csv", folder / "dev.csv"


def planned(kind: str, data: Path, dev: Path, encoder: Path, **options: Any) -> Job:
    recipe: Recipe = load(kind, [f"model={encoder}", *(f"options.{key}={value}" for key, value in options.items())])
    recipe = check_options(recipe, task_class(recipe.task).options_class)
    return plan(recipe, data=str(data), dev=str(dev), test=None, format="auto", limit=None, folds=None)


def essence(job: Job) -> Any:
    """Return what a run is made of."""
    items = [job.items[i] for i in range(len(job.items))]
    return items, job.task, job.objective, job.counts, job.labels, job.recipe, job.batch_tokens, job.train.info


@pytest.mark.parametrize("kind", ["ner", "pos", "classify", "multilabel", "regress", "qa"])
def test_the_second_run_has_the_same_job_and_reads_nothing(
    kind: str, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, dev = files(kind, tmp_path)
    first = planned(kind, data, dev, encoder)
    said = capsys.readouterr().err
    assert "read and tokenized by an earlier run" not in said
    read = reading.read_labelled

    def watched(task: Any, path: str, **how: Any) -> Any:
        assert path != str(data), "the training file is read again"
        return read(task, path, **how)

    monkeypatch.setattr(reading, "read_labelled", watched)
    second = planned(kind, data, dev, encoder)
    again = capsys.readouterr().err
    assert "read and tokenized by an earlier run" in again
    assert {*said.splitlines()} <= {*again.splitlines()}  # nothing of it is lost in silence
    assert essence(second) == essence(first)
    assert second.dev is not None
    assert first.dev is not None
    assert second.dev.examples == first.dev.examples


def test_other_content_and_other_settings_are_read(encoder: Path, tmp_path: Path, kept: Path) -> None:
    data, dev = files("ner", tmp_path)
    planned("ner", data, dev, encoder)
    planned("ner", data, dev, encoder, window=16)
    assert len(list(kept.iterdir())) == 2
    data.write_text(data.read_text().replace("B-PER", "B-HUMAN"))
    changed = planned("ner", data, dev, encoder)
    assert "HUMAN" in changed.labels
    assert len(list(kept.iterdir())) == 3
    # what stands beside a file may say what its labels mean, and its suffix how it is read
    (tmp_path / "labels.txt").write_text("A")
    planned("ner", data, dev, encoder)
    assert len(list(kept.iterdir())) == 4
    assert cache.key(str(data), "", {}) != cache.key(shutil.copy(data, tmp_path / "train.tsv"), "", {})


def test_a_torn_entry_is_read_anew(encoder: Path, tmp_path: Path, kept: Path) -> None:
    data, dev = files("ner", tmp_path)
    first = essence(planned("ner", data, dev, encoder))
    entry = next(kept.iterdir())
    for name, content in (
        ("ids.npy", b"\x93NUMPY"),
        ("prepared.json", b"{"),
        ("prepared.json", b"{}"),
        ("items.json", None),
    ):
        path = entry / name
        before = path.read_bytes()
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        assert essence(planned("ner", data, dev, encoder)) == first
        path.write_bytes(before)


def test_the_oldest_entries_go_and_a_place_that_cannot_be_written_is_no_fault(
    encoder: Path, tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, dev = files("ner", tmp_path)
    monkeypatch.setattr(cache, "_ENTRIES", 2)
    for window in (16, 17, 18):
        planned("ner", data, dev, encoder, window=window)
    assert len(list(kept.iterdir())) == 2
    shutil.rmtree(kept)
    kept.parent.joinpath("items").write_text("a file")
    assert len(planned("ner", data, dev, encoder).items)


def test_what_is_held_out_of_the_file_or_named_twice_is_read_each_time(
    encoder: Path, tmp_path: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, _ = files("ner", tmp_path)
    for _ in range(2):
        planned("ner", data, data, encoder)
        assert "has the same rows" in capsys.readouterr().err
    assert not kept.exists()
