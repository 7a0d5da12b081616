"""`predict` holds no more in memory for a long input than for a short one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Trained

# the child reports its own peak: the parent's RUSAGE_CHILDREN would give the maximum over all children so far
_MEASURED = """
import resource, sys
from bertft.cli import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def peak_kilobytes(model: Path, lines: int, folder: Path) -> int:
    source, target = folder / f"{lines}.txt", folder / f"{lines}.jsonl"
    with source.open("w") as file:
        file.writelines(f"Ada Stone number {i} moved from Lima to New Haven .\n" for i in range(lines))
    with target.open("wb") as out:
        arguments = [sys.executable, "-c", _MEASURED, "predict", str(model), str(source), "-q"]
        done = subprocess.run(arguments, stdout=out, stderr=subprocess.PIPE, text=True, check=True, env={**os.environ})
    with target.open() as file:
        assert sum(1 for _ in file) == lines
    return int(done.stderr.split()[-1])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_input(trained: Callable[[str], Trained], tmp_path: Path) -> None:
    model = trained("bert-uncased").directory
    short, long = peak_kilobytes(model, 2_000, tmp_path), peak_kilobytes(model, 200_000, tmp_path)
    print(f"peak memory: {short / 1024:.0f} MB over 2 000 lines, {long / 1024:.0f} MB over 200 000")
    assert long - short < 100 * 1024
