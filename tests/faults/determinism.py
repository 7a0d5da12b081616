"""The same command on the same file, with any hash seed, directory, locale and number of the day: the same bytes."""

import hashlib
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.faults.runs import setups

_SAMPLES = Path(__file__).parents[2] / "recipes" / "samples"
_DATA = {"ner": "disputes.conll", "classify": "reviews.csv", "qa": "warranty-qa.json"}


def run(*, quick: bool, seed: int) -> dict[str, int | float]:
    """Train, evaluate and predict several times in different surroundings, and count what differs."""
    chance = random.Random(seed)
    times = 2 if quick else 4
    runs = files = failures = 0
    with tempfile.TemporaryDirectory() as scratch:
        for setup in setups(Path(scratch), quick=quick):
            seen: dict[str, set[str]] = {}
            for number in range(times):
                out = setup.scratch / str(number) / "model"
                for name, content in _everything(setup.command(out), out, setup.task, chance).items():
                    seen.setdefault(name, set()).add(hashlib.sha256(content).hexdigest())
                runs += 1
            files += len(seen)
            for name, hashes in seen.items():
                if len(hashes) > 1:
                    failures += 1
                    print(f"  {setup.name}: {name} came out in {len(hashes)} ways")
    return {"runs": runs, "files": files, "failures": failures}


def _everything(command: list[str], out: Path, task: str, chance: random.Random) -> dict[str, bytes]:
    """Return each file of a new model and what `eval` and `predict` print, all made in other surroundings."""
    place = out.parent / "elsewhere" / str(chance.random())
    place.mkdir(parents=True)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        "PYTHONHASHSEED": str(chance.randrange(2**32)),
        "LC_ALL": chance.choice(("C", "C.UTF-8", "POSIX")),
        "TZ": chance.choice(("UTC", "Asia/Tokyo", "America/Lima")),
        "COLUMNS": str(chance.randrange(20, 200)),
        "BERTFT_CACHE": str(place / "cache"),
    }

    def ran(*arguments: str) -> bytes:
        done = subprocess.run(arguments, cwd=place, env=environment, capture_output=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)}:\n{done.stderr.decode()[-2000:]}")
        return done.stdout

    ran(*command)
    data = str(_SAMPLES / _DATA[task])
    program = (sys.executable, "-m", "bertft")
    found = {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    found["predictions"] = ran(*program, "predict", str(out), data, "--scores")
    found["scores"] = ran(*program, "eval", str(out), "--data", data, "--json")
    return found
