"""Training runs to be disturbed: real processes on small data, and what is left of them when they are killed."""

import hashlib
import json
import os
import queue
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import psutil

from tests import tiny

_SAMPLES = Path(__file__).parents[2] / "recipes" / "samples"
_DATA = {"ner": "disputes.conll", "classify": "reviews.csv", "qa": "warranty-qa.json"}
_EPOCHS = {"ner": 6, "classify": 14, "qa": 40}
_TIMEOUT = 300


@dataclass(frozen=True)
class Setup:
    """A training that gives the same bytes whenever it is run."""

    task: str
    precision: str
    processes: int
    model: str
    scratch: Path

    @property
    def name(self) -> str:
        """What it is called in the report."""
        return f"{self.task}, {self.precision}, {self.processes} process{'es' * (self.processes > 1)}"

    def command(self, out: Path, *extra: str) -> list[str]:
        """Return the command that trains into `out`."""
        settings = {
            "checkpoint_minutes": 0.008,
            "early_stopping": 2,
            "trainer.num_train_epochs": _EPOCHS[self.task] if self.model != "embedded" else 2,
            "trainer.bf16": str(self.precision == "bf16").lower(),
        }
        return [
            *(sys.executable, "-m", "bertft", "train", self.task, "--data", str(_SAMPLES / _DATA[self.task])),
            *("--model", self.model, "--out", str(out), "-v", "--device", "cpu"),
            *(part for key, value in settings.items() for part in ("--set", f"{key}={value}")),
            *(("--processes", str(self.processes)) if self.processes > 1 else ()),
            *extra,
        ]

    def undisturbed(self) -> "Result":
        """Return what the run gives when nothing happens to it."""
        out = self.scratch / "undisturbed"
        with running(self.command(out)) as run:
            run.wait()
        if run.code:
            raise SystemExit(f"{self.name}:\n{run.said()}")
        return result(out)


@dataclass(frozen=True)
class Result:
    """What must be the same: the weights and the scores, byte for byte, and how many steps were evaluated."""

    weights: str
    metrics: str


def result(out: Path) -> Result:
    """Return what a finished run has left."""
    weights = hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    return Result(weights, (out / "metrics.json").read_text())


def setups(scratch: Path, *, quick: bool) -> list[Setup]:
    """Return every task, precision and number of processes; with `quick` three of them, which differ in all."""
    model = scratch / "tiny"
    if not model.exists():
        tiny.build("bert-uncased", model)
    every = list(product(_DATA, ("fp32", "bf16"), (1, 2)))
    chosen = [("ner", "bf16", 1), ("classify", "fp32", 2), ("qa", "fp32", 1)] if quick else every
    return [
        Setup(task, precision, processes, str(model), scratch / f"{task}-{precision}-{processes}")
        for task, precision, processes in chosen
    ]


@dataclass
class Run:
    """A process, and what it has said so far."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    new: "queue.Queue[str]" = field(default_factory=queue.Queue)
    code: int = 0

    def read(self) -> None:
        """Collect lines until the process ends."""
        for line in self.process.stderr or ():
            self.lines.append(line)
            self.new.put(line)

    def wait(self, timeout: float = _TIMEOUT) -> int:
        """Wait for the end and return the exit code."""
        code = self.process.wait(timeout)
        self.code = 128 - code if code < 0 else code  # as a shell says it
        return self.code

    def saw(self, pattern: str, *, times: int = 1) -> bool:
        """Wait until a line matches for the n-th time; False where the process ends before."""
        while times:
            try:
                times -= bool(re.search(pattern, self.new.get(timeout=0.05)))
            except queue.Empty:
                if self.process.poll() is not None and self.new.empty():
                    return False
        return True

    def until(self, there: Callable[[], bool]) -> bool:
        """Wait until something is there; False where the process ends before."""
        while not there():
            if self.process.poll() is not None:
                return False
            time.sleep(0.0005)
        return True

    def kill(self, *, whom: str = "all") -> None:
        """Kill with SIGKILL: all its processes in one go, or only the one that started the others, or one of those."""
        parent = psutil.Process(self.process.pid)
        children = parent.children(recursive=True)
        victims = {"all": [*children, parent], "parent": [parent], "child": children[:1] or [parent]}[whom]
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGKILL)
        self.wait()
        psutil.wait_procs(children, timeout=60)  # orphans stop by themselves, where they are not killed

    def said(self) -> str:
        """Return what was said."""
        return "".join(self.lines)


@contextmanager
def running(command: list[str], **environment: str) -> Iterator[Run]:
    """Run a command while the block lasts."""
    threads = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **threads, **environment},
    )
    run = Run(process)
    reader = threading.Thread(target=run.read, daemon=True)
    reader.start()
    try:
        yield run
    finally:
        if process.poll() is None:
            run.kill()
        reader.join(10)


def at_random(run: Run, partial: Path, where: str, chance: random.Random) -> bool:
    """Wait for a random moment of a kind: within `steps`, `evaluation`, `checkpoint` or `end` (the model is written).

    False where the run ends before.
    """
    if where == "steps":
        found = run.saw(r"batches.* an epoch")
        return found and not _ends(run, chance.uniform(0.2, 6))
    if where == "evaluation":
        return run.saw("^evaluating", times=chance.randint(1, 3)) and not _ends(run, chance.uniform(0, 0.15))
    if where == "checkpoint":
        new = partial / "checkpoints" / "new"
        for _ in range(chance.randint(1, 4)):
            if not run.until(lambda: not new.exists()) or not run.until(new.exists):
                return False
        return not _ends(run, chance.uniform(0, 0.05))
    return run.until((partial / "bundle").exists) and not _ends(run, chance.uniform(0, 0.1))


def _ends(run: Run, seconds: float) -> bool:
    try:
        run.process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def checkpoints(partial: Path) -> list[Path]:
    """Return the checkpoints that are at their place, by step."""
    found = (partial / "checkpoints").glob("checkpoint-*")
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def scores(out: Path) -> dict[str, object]:
    """Return the metrics of a finished run."""
    found: dict[str, object] = json.loads((out / "metrics.json").read_text())
    return found
