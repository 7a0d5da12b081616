"""SIGKILL at random moments of a training, again and again until it is done: the model must be the undisturbed one.

A kill counts where it hit a live run: a checkpoint is there, the model is not. After some of them the newest checkpoint
is damaged as well, which the next start must notice.
"""

import random
import tempfile
from collections import Counter
from pathlib import Path

from tests.faults.runs import Setup, at_random, checkpoints, result, running, setups

_MOMENTS = ("steps", "evaluation", "checkpoint", "end")
_KILLS = 10
"""Of each kind of training: 40 a task."""


def run(*, quick: bool, seed: int) -> dict[str, int | float]:
    """Kill trainings of each kind, and count the kills by moment, and what came out."""
    counts: Counter[str] = Counter(failures=0)
    with tempfile.TemporaryDirectory() as scratch:
        for number, setup in enumerate(setups(Path(scratch), quick=quick)):
            found = _kills(setup, 6 if quick else _KILLS, random.Random(f"{seed}-{number}"))
            counts.update(found)
            print(f"  {setup.name}: {', '.join(f'{value} {key}' for key, value in found.items())}", flush=True)
    return dict(counts)


def _kills(setup: Setup, wanted: int, chance: random.Random) -> Counter[str]:
    expected = setup.undisturbed()
    counts: Counter[str] = Counter(kills=0, models=0, failures=0)
    while counts["kills"] < wanted:
        out = setup.scratch / f"model-{counts['models']}"
        partial = out.with_name(f"{out.name}.partial")
        torn = ""
        for start in range(100):
            moment = chance.choice(_MOMENTS)
            whom = "all" if setup.processes == 1 else chance.choice(("all", "all", "parent", "child"))
            with running(setup.command(out, *(("--resume",) if start else ()))) as victim:
                hit = at_random(victim, partial, moment, chance)
                if hit:
                    victim.kill(whom=whom)
                else:
                    victim.wait()
            if torn and f"{torn} is damaged" not in victim.said() and "batches" in victim.said():
                counts["failures"] += 1
                print(f"  {setup.name}: nothing was said of a damaged checkpoint\n{victim.said()[-2000:]}")
            torn = ""
            if out.exists():
                break
            if not hit:
                counts["failures"] += 1
                print(f"  {setup.name}: exit code {victim.code}\n{victim.said()[-2000:]}")
                break
            there = checkpoints(partial)
            if there:
                counts["kills"] += 1
                counts[f"in {moment}"] += 1
            if len(there) > 1 and chance.random() < 0.3:
                torn = _damage(there[-1], chance)
                counts["damaged"] += 1
        counts["models"] += 1
        if out.exists() and result(out) != expected:
            counts["failures"] += 1
            print(f"  {setup.name}: the model is another one")
    return counts


def _damage(folder: Path, chance: random.Random) -> str:
    """Cut a file of a checkpoint, change a byte of it, or remove it; return the name of the checkpoint."""
    path = chance.choice([path for path in sorted(folder.iterdir()) if path.stat().st_size])
    content = bytearray(path.read_bytes())
    how = chance.choice(("cut", "change", "remove"))
    if how == "remove":
        path.unlink()
    elif how == "cut":
        path.write_bytes(content[: chance.randrange(len(content))])
    else:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
    return folder.name
