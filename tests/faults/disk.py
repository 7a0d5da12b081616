"""`predict --out … --resume` under kills, file-size limits and vanishing directories: the bytes of one run, each time.

Every fault hits a process of its own while it answers: it is alive, OUT is not there. One to three faults follow each
other, then the run is let finish, and its file is held against that of a run that nothing disturbed.
"""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.faults.records import KINDS, tagger

ROWS = 6000
FORMATS = ("jsonl", "csv", "conll", "text")
_BEFORE = 0.8  # of the bytes: the last chunk, and what ends the run, come at once
FAULTS = ("kill", "limit", "gone", "terminate")


def run(*, quick: bool, seed: int) -> dict[str, int | float]:
    """Put runs of `predict` through faults and return what was counted."""
    random = Random(seed)
    seen: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        model = tagger(Path(folder))
        for number in range(4 if quick else 60):
            _Trial(model, Path(folder) / str(number), FORMATS[number % len(FORMATS)], random, seen).run(quick=quick)
        if _can_mount():
            for number in range(1 if quick else 12):
                kind = FORMATS[number % len(FORMATS)]
                _Trial(model, Path(folder) / f"full-{number}", kind, random, seen).run_on_full_disk()
        else:
            print("  no file system can be mounted here: full disks are left out", flush=True)
    names = ("runs", *FAULTS, "full", "resumed", "kept_records", "missed", "failures")
    return {name: seen[name] for name in names}


_FULL = """
mount -t tmpfs -o size=$1 none "$2" || exit 100
shift 2; out=$1; shift
"$@" --out "$out" --resume && exit 101
[ $? = 3 ] && [ ! -e "$out" ] || exit 102
mount -o remount,size=1g none "${out%/*}"
"$@" --out "$out" --resume && cat "$out"
"""
"""A file system of so many bytes is filled, then grows: the arguments are its size, its place, OUT and the command."""


def _can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0


class _Trial:
    """One input, answered through faults."""

    def __init__(self, model: Path, folder: Path, kind: str, random: Random, seen: Counter[str]) -> None:
        folder.mkdir()
        self.random, self.seen = random, seen
        self.place, self.away = folder / "place", folder / "away"
        self.place.mkdir()
        self.out = self.place / "answers"
        source = folder / f"in.{'txt' if kind == 'text' else kind}"
        faults = frozenset(i for i in range(ROWS) if random.random() < 1 / 500)
        source.write_bytes(KINDS[kind].stream(ROWS, faults=faults, seed=random.randrange(2**32)))
        mode = random.choice(("null", "skip"))
        options = ["--format", kind, "--on-error", mode, "--device", "cpu"]
        self.command = [sys.executable, "-m", "bertft", "predict", str(model), str(source), *options]
        self.whole = self._finished(folder / "whole")
        self.name = f"{kind} {mode}"

    @property
    def partial(self) -> Path:
        return self.out.with_name("answers.partial")

    def run(self, *, quick: bool) -> None:
        """Let one to three faults happen, finish, and compare."""
        self.seen["runs"] += 1
        told = []
        for _ in range(1 if quick else self.random.randint(1, 3)):
            fault = FAULTS[(self.seen["runs"] + len(told)) % len(FAULTS)]
            size = self.partial.stat().st_size if self.partial.exists() else 0
            at = self.random.randint(size, max(size, int(len(self.whole) * _BEFORE)))
            told.append(f"{fault} at {at:,}")
            self._fail({"limit": self._limit, "gone": self._vanish}.get(fault, self._signal), fault, at)
        before = self._recorded()
        answered = self._finished(self.out)
        self.seen["resumed"] += before > 0
        self.seen["kept_records"] += before
        same = hashlib.sha256(answered).digest() == hashlib.sha256(self.whole).digest()
        clean = [path.name for path in self.place.iterdir()] == ["answers"]
        self._hold(same and clean, f"{self.name}: {', '.join(told)}, resumed at {before:,} of {ROWS:,} records")
        shutil.rmtree(self.place.parent)

    def run_on_full_disk(self) -> None:
        """Fill a small file system, let it grow, finish, and compare."""
        size = self.random.randrange(16_384, int(len(self.whole) * 0.9))
        command = ["unshare", "-m", "sh", "-c", _FULL, "sh", str(size), str(self.place), str(self.out), *self.command]
        done = subprocess.run(command, capture_output=True, check=False)
        said = done.stderr.decode(errors="replace")
        good = done.stdout == self.whole and said.count("No space left on device") == said.count("error:") == 1
        self.seen["runs"] += 1
        self.seen["full"] += 1
        self.seen["resumed"] += "resumed behind" in said
        self._hold(good, f"{self.name}: full at {size:,}, resumed, exit {done.returncode}{'' if good else said}")
        shutil.rmtree(self.place.parent)

    def _fail(self, fault: Callable[[str, int], None], name: str, at: int) -> None:
        fault(name, at)
        self.seen[name] += 1
        if self.out.exists():  # it was faster than the fault
            self.seen[name] -= 1
            self.seen["missed"] += 1
            self.out.unlink()

    def _signal(self, name: str, at: int) -> None:
        process = self._started()
        self._wait(process, at)
        alive = process.poll() is None
        process.send_signal(signal.SIGKILL if name == "kill" else signal.SIGTERM)
        said = process.communicate()[1]
        if alive and not self.out.exists():
            code, count = (-signal.SIGKILL, 0) if name == "kill" else (143, 1)
            good = process.returncode == code and said.count("error:") == count and "Traceback" not in said
            self._hold(good, f"{name}: {process.returncode} {said}")

    def _limit(self, name: str, at: int) -> None:
        # what is written down is a file too; all may have been written before, and a limit of as much is none
        most = min(max(at, 8192), len(self.whole) - 1)
        process = self._started(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))
        said = process.communicate()[1]
        good = process.returncode == 3 and "File too large" in said and said.count("error:") == 1
        self._hold(good and not self.out.exists(), f"limit: {process.returncode} {said}")

    def _vanish(self, name: str, at: int) -> None:
        process = self._started()
        self._wait(process, at)
        self.place.rename(self.away)
        said = process.communicate()[1]
        self.away.rename(self.place)
        if not self.out.exists():
            good = process.returncode in (2, 3) and "No such file or directory" in said and said.count("error:") == 1
            self._hold(good, f"gone: {process.returncode} {said}")

    def _started(self, limit: Callable[[], None] | None = None) -> subprocess.Popen[str]:
        command = [*self.command, "--out", str(self.out), "--resume"]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=limit)

    def _wait(self, process: subprocess.Popen[str], at: int) -> None:
        """Wait until the process has written so much."""
        while process.poll() is None and (not self.partial.exists() or self.partial.stat().st_size <= at):
            time.sleep(0.002)

    def _recorded(self) -> int:
        note = self.partial.with_name("answers.partial.json")
        found = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
        return int((found.get("mark") or {}).get("records", 0))

    def _finished(self, out: Path) -> bytes:
        done = subprocess.run(
            [*self.command, "--out", str(out), "--resume"], capture_output=True, text=True, check=False
        )
        self._hold(done.returncode == 0, f"it does not finish: {done.returncode} {done.stderr}")
        return out.read_bytes() if out.exists() else b""

    def _hold(self, holds: bool, what: str) -> None:
        if not holds:
            self.seen["failures"] += 1
        if not holds or "resumed" in what.partition("\n")[0]:
            print(f"  {'' if holds else 'FAILED: '}{what}", flush=True)
