"""`bertft models`: what it lists, that it is quick about it, and that `--model` takes what it lists."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.conftest import Run
from conftest import Trained

from bertft.encoders.known import KNOWN


def test_the_table_has_every_encoder_and_fits(cli: Run) -> None:
    ran = cli("models")
    lines = ran.out.splitlines()
    assert (ran.code, ran.err) == (0, "")
    assert max(map(len, lines)) <= 100
    assert len(lines) == 1 + 2 * len(KNOWN)
    for encoder, line, below in zip(KNOWN.values(), lines[1::2], lines[2::2], strict=True):
        assert line[2:].split()[0] == encoder.name
        for part in (encoder.licence, encoder.case, str(encoder.max_length), encoder.hub_id):
            assert part in line
        assert below.strip() == f"{encoder.languages}: {encoder.when}"
    assert lines[1].startswith("* embedded")


def test_json_is_one_list(cli: Run) -> None:
    ran = cli("models", "--json")
    rows = json.loads(ran.out)
    assert [row["name"] for row in rows] == [*KNOWN]
    assert ran.out.count("\n") == 1
    assert rows[0]["is_here"] is True
    assert all(1e6 < row["parameters"] < 1e9 for row in rows)


def test_what_lies_in_the_local_cache_is_marked(
    cli: Run, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--google--muril-base-cased"
    shutil.copytree(encoder, repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    marked = [line.split()[1] for line in cli("models").out.splitlines() if line.startswith("*")]
    assert marked == ["embedded", "muril"]


def test_nothing_heavy_is_imported_and_no_network_is_tried(shell: Run) -> None:
    ran = shell("models", "--json", PYTHONPROFILEIMPORTTIME=1)
    assert ran.code == 0
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ran.err.splitlines()}
    assert not imported & {"torch", "transformers", "numpy", "datasets", "tokenizers"}
    assert [row["name"] for row in json.loads(ran.out) if row["is_here"]] == ["embedded"]


def test_a_short_name_that_is_not_here_fails_with_its_hub_id(shell: Run, trained: Callable[[str], Trained]) -> None:
    ran = shell("train", "ner", "--data", trained("bert-uncased").data, "--model", "muril", HF_HUB_OFFLINE=1)
    assert ran.code == 4, ran.err
    assert "error: 'muril' is google/muril-base-cased, which is not in the local Hub cache" in ran.err
    assert "Traceback" not in ran.err
