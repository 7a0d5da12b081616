"""SIGINT and SIGTERM at random moments of a training: it stops with a checkpoint, 130 or 143, and says how to go on.

The command that it prints is run, word for word, until the model is done: it must be the undisturbed one. Some signals
come twice: then the process leaves at once, still without damage.
"""

import random
import re
import shlex
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.runs import Run, Setup, at_random, checkpoints, result, running, setups

_MOMENTS = ("steps", "steps", "evaluation", "checkpoint", "end")


def run(*, quick: bool, seed: int) -> dict[str, int | float]:
    """Signal trainings of each kind, and count the signals and what came out."""
    counts: Counter[str] = Counter(failures=0)
    with tempfile.TemporaryDirectory() as scratch:
        for number, setup in enumerate(setups(Path(scratch), quick=quick)):
            found = _signals(setup, 4 if quick else 10, random.Random(f"{seed}-{number}"))
            counts.update(found)
            print(f"  {setup.name}: {', '.join(f'{value} {key}' for key, value in found.items())}", flush=True)
    return dict(counts)


def _signals(setup: Setup, wanted: int, chance: random.Random) -> Counter[str]:
    expected = setup.undisturbed()
    counts: Counter[str] = Counter(signals=0, twice=0, models=0, failures=0)
    while counts["signals"] < wanted:
        out = setup.scratch / f"model-{counts['models']}"
        partial = out.with_name(f"{out.name}.partial")
        command = setup.command(out)
        while not out.exists():
            number = chance.choice((signal.SIGINT, signal.SIGTERM))
            twice = chance.random() < 0.2
            with running(command) as victim:
                hit = at_random(victim, partial, chance.choice(_MOMENTS), chance)
                if hit:
                    victim.process.send_signal(number)
                    if twice:
                        time.sleep(chance.uniform(0, 1))
                        victim.process.send_signal(number)
                victim.wait()
            if out.exists():
                break  # it came too late, or found nothing left to stop
            counts["signals"] += 1
            counts["twice"] += twice
            problem = _wrong(victim, 128 + number, partial, twice=twice)
            if problem:
                counts["failures"] += 1
                print(f"  {setup.name}: {problem}\n{victim.said()[-2000:]}")
            command = _continuing(victim) or setup.command(out, *(("--resume",) if partial.exists() else ()))
        counts["models"] += 1
        if result(out) != expected:
            counts["failures"] += 1
            print(f"  {setup.name}: the model is another one")
    return counts


def _wrong(victim: Run, code: int, partial: Path, *, twice: bool) -> str | None:
    """Return what is wrong with the end of a run that got a signal."""
    if victim.code != code:
        return f"exit code {victim.code}, not {code}"
    if "Traceback" in victim.said():
        return "a traceback"
    if not twice and checkpoints(partial) and not _continuing(victim):
        return "no word on how to continue"
    if not twice and not checkpoints(partial) and partial.exists():
        return "something was left of a run without a checkpoint"
    return None


def _continuing(victim: Run) -> list[str] | None:
    """Return the command that the run says continues it."""
    found = re.search(r"to continue it:\n  bertft (.*)\n", victim.said())
    return [sys.executable, "-m", "bertft", *shlex.split(found[1])] if found else None
