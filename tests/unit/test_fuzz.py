"""The campaign of bad input (`python -m tests.faults fuzz`), a few hundred files of it."""

from __future__ import annotations

import pytest
from faults import fuzz

KINDS = {**dict.fromkeys((*fuzz.READERS, "recipe"), 15), "bundle": 15, "long": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_generated_files_give_clean_errors_or_the_right_rows(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    counts = fuzz.main(kind, 0, KINDS[kind], 1)
    assert counts["files"] == KINDS[kind]
    assert not counts["failures"], capfd.readouterr().err


def test_what_is_wrong_is_counted_and_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("kept")))
    monkeypatch.setattr("bertft.data.text.read", lambda source: iter(()))
    counts = fuzz.main("text", 0, 10, 1)
    assert counts["failures"] >= 2
    assert "a right file is refused" in capfd.readouterr().err
