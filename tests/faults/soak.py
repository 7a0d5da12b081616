"""Half an hour of `predict` on a stream that does not end, and 20 trainings in one process: nothing grows.

Each format in turn comes through a pipe, one record in 1,000 broken, with `--on-error null` and `skip` by turns. Every
answer is held against the record that it belongs to; the memory of the process is read from /proc each second.
"""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from random import Random

from tests.faults.records import KINDS, Kind, tagger

FAULTS = 1 / 1000
WARM_UP = 0.3
"""The part of a turn after which memory may not grow."""
GROWTH = 24 * 2**20
"""Bytes that count as flat: glibc's arenas settle late."""
TRAINING_GROWTH = 2 * 2**20
"""Bytes a training, on average."""


def run(*, quick: bool, seed: int) -> dict[str, int | float]:
    """Run the streams and the trainings and return what was counted."""
    names = ("text", "jsonl", "csv", "tsv", "conll")
    turns = [(name, mode) for mode in ("null", "skip") for name in names]
    if quick:
        turns = [(name, ("null", "skip")[i % 2]) for i, name in enumerate(names)]
    seconds = (60 if quick else 1800) / len(turns)
    seen: dict[str, int | float] = {"turns": len(turns)}
    with tempfile.TemporaryDirectory() as folder:
        model = tagger(Path(folder))
        for number, (name, mode) in enumerate(turns):
            for key, value in _turn(model, KINDS[name], mode, seconds, seed + number).items():
                seen[key] = max(seen.get(key, 0), value) if key.startswith("most") else seen.get(key, 0) + value
        for key, value in _trainings(Path(folder), 6 if quick else 20).items():
            seen[key] = seen.get(key, 0) + value
    return seen


def _turn(model: Path, kind: Kind, mode: str, seconds: float, seed: int) -> dict[str, int | float]:
    """Answer one stream for so many seconds."""
    options = ["--format", kind.name, "--on-error", mode, "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bertft", "predict", str(model), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    broken: set[int] = set()
    sent = 0
    started = 0.0

    def feed() -> None:
        nonlocal sent, started
        random = Random(seed)
        with process.stdin as pipe:  # type: ignore[union-attr]
            pipe.write(kind.head)
            while not started or time.monotonic() - started < seconds:
                if sent and random.random() < FAULTS:
                    broken.add(sent)
                    pipe.write(kind.broken_one(sent, random))
                else:
                    pipe.write(kind.sound(sent))
                sent += 1
                started = started or (time.monotonic() if answered else 0.0)

    memory: list[int] = []

    def watch() -> None:
        while process.poll() is None:
            if started and time.monotonic() - started > WARM_UP * seconds:
                memory.append(_resident(process.pid))
            time.sleep(1 if seconds > 60 else 0.2)

    said: list[bytes] = []
    threads = [threading.Thread(target=task) for task in (feed, watch, lambda: said.append(process.stderr.read()))]  # type: ignore[union-attr]
    answered = given = wrong = 0
    for thread in threads:
        thread.start()
    expected = 0  # the number of the record whose answer comes next
    for number, has_answer in kind.answers(process.stdout):
        if mode == "skip":
            while expected in broken:
                expected += 1
        given += 1
        is_broken = expected in broken
        if has_answer is is_broken or number not in (expected, *((None,) if is_broken else ())):
            wrong += 1
        answered += has_answer
        expected = number + 1 if number is not None else expected + 1
    code = process.wait()
    for thread in threads:
        thread.join()
    text = b"".join(said).decode(errors="replace")
    told = re.search(r"([\d,]+) of ([\d,]+) records were bad", text)
    counted = tuple(int(part.replace(",", "")) for part in told.groups()) if told else (0, 0)
    if not broken:
        counted = (0, sent)  # nothing was bad, and nothing is said
    lost = sent - len(broken) - answered + (given - answered != (len(broken) if mode == "null" else 0))
    disagree = counted != (len(broken), sent)
    growth = max(memory[len(memory) // 2 :], default=0) - max(memory[: max(1, len(memory) // 4)], default=0)
    grew = growth > GROWTH
    failures = (code != 0) + wrong + abs(lost) + disagree + grew + ("Traceback" in text)
    print(
        f"  {kind.name} {mode}: {sent:,} records, {len(broken):,} broken, {answered:,} answered, {wrong} wrong, "
        f"{lost} lost, counted {counted[0]:,} of {counted[1]:,}; {max(memory, default=0) / 2**20:.0f} MB, "
        f"{growth / 2**20:+.1f} after warm-up, {len(memory)} samples",
        flush=True,
    )
    if failures:
        print(f"    exit {code}: {text[-600:]}", flush=True)
    return {
        "records": sent,
        "faults": len(broken),
        "answered": answered,
        "wrong": wrong,
        "lost": abs(lost),
        "disagreements": int(disagree),
        "most_growth_mb": round(growth / 2**20, 1),
        "failures": failures,
    }


def _trainings(folder: Path, count: int) -> dict[str, int | float]:
    """Train so many models one after the other in this process, and look at what is left of each."""
    import bertft

    data = folder / "train.conll"
    seen: list[tuple[int, int, int]] = []
    warm = max(3, count // 4)
    for number in range(count):
        recipe = bertft.load_recipe("ner", [f"model={folder / 'base'}", "trainer.num_train_epochs=1"])
        bertft.train(recipe, data=str(data), dev=str(data), out=str(folder / f"run-{number}"), device="cpu")
        gc.collect()
        threads = len(os.listdir("/proc/self/task"))
        seen.append((_resident(os.getpid()), threads, len(os.listdir("/proc/self/fd"))))
    (first, threads, files), (last, more_threads, more_files) = seen[warm - 1], seen[-1]
    growth = (last - first) / (count - warm)
    python = threading.active_count()
    print(
        f"  {count} trainings: {first / 2**20:.0f} MB after {warm}, {last / 2**20:.0f} MB at the end, "
        f"threads {threads} and {more_threads} ({python} of Python), files {files} and {more_files}",
        flush=True,
    )
    leaks = (growth > TRAINING_GROWTH) + (more_threads > threads) + (more_files > files)
    if leaks:
        print("    " + " ".join(f"{size / 2**20:.0f}/{tasks}/{opened}" for size, tasks, opened in seen), flush=True)
    return {
        "trainings": count,
        "mb_a_training": round(growth / 2**20, 2),
        "more_threads": more_threads - threads,
        "more_files": more_files - files,
        "failures": leaks,
    }


def _resident(pid: int) -> int:
    """Return the bytes of memory that a process holds; 0 where it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0
