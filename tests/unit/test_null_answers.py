"""`--on-error null`: whatever records are broken, each record has its answer in its own place, in every format."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from faults.records import KINDS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.test_writers import LOGITS, TAGS, Fake

from bertft.data import formats
from bertft.data.row import OnError
from bertft.inference.engine import Engine
from bertft.inference.predict import Filter

ROWS = 70


def answered(path: Path, kind: str, mode: OnError, to: Any = None) -> tuple[list[bytes], Filter]:
    opened = formats.read(str(path), wanted=TAGS.wanted, format=cast("Any", kind), use="test", unit=TAGS.unit)
    answers = Filter(cast("Engine", Fake(TAGS, LOGITS[id(TAGS)])), to, on_error=mode)
    return b"".join(answers.answer(opened)).splitlines(keepends=True), answers


@pytest.mark.parametrize("kind", sorted(KINDS))
@settings(suppress_health_check=[*HealthCheck], max_examples=20)
@given(bad=st.frozensets(st.integers(0, ROWS - 1)), seed=st.integers(0, 1000))
def test_answers_stand_where_their_records_stood(tmp_path: Path, kind: str, bad: frozenset[int], seed: int) -> None:
    path = tmp_path / "in"
    before = KINDS[kind].stream(ROWS, faults=bad, seed=seed)
    path.write_bytes(before)
    lines, answers = answered(path, kind, "null")
    assert (answers.answered, answers.failed) == (ROWS - len(bad), len(bad))
    assert len(lines) == before.count(b"\n")
    found = list(KINDS[kind].answers(lines))
    assert [has_answer for _, has_answer in found] == [i not in bad for i in range(ROWS)]
    assert all(number == i or (number is None and i in bad) for i, (number, _) in enumerate(found))
    if kind not in ("text", "jsonl"):  # what is amended keeps every byte of the record
        kept = [line.rstrip(b"\n") for line in before.splitlines(keepends=True)]
        assert all(new.startswith(old) for old, new in zip(kept, lines, strict=True))


@pytest.mark.parametrize("kind", sorted(KINDS))
@settings(suppress_health_check=[*HealthCheck], max_examples=10)
@given(bad=st.frozensets(st.integers(0, ROWS - 1)), to=st.sampled_from(["jsonl", "csv", "tsv", None]))
def test_what_is_skipped_is_counted_and_nothing_else_is_gone(
    tmp_path: Path, kind: str, bad: frozenset[int], to: Any
) -> None:
    path = tmp_path / "in"
    path.write_bytes(KINDS[kind].stream(ROWS, faults=bad))
    counts = {}
    for mode in ("null", "skip"):
        lines, answers = answered(path, kind, cast("OnError", mode), "jsonl" if kind == "conll" and to else to)
        counts[mode] = len(lines)
        assert (answers.answered, answers.failed) == (ROWS - len(bad), len(bad))
    if kind != "conll" or to:
        assert counts["null"] - counts["skip"] == len(bad)
