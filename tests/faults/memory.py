"""Address space that runs short: a training computes its batches in parts and ends with its model, or says why not."""

import random
import re
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

_GIB = 2**30
_WORDS = [
    "the",
    "claim",
    "about",
    "broken",
    "glass",
    "was",
    "refused",
    "because",
    "nobody",
    "had",
    "asked",
    "for",
    "a",
    "second",
    "opinion",
    "in",
    "time",
]


def run(*, quick: bool, seed: int) -> dict[str, int | float]:
    """Train with batches that are too large for several limits, in fp32 and bf16, and count how it ends."""
    counts: Counter[str] = Counter(runs=0, halved=0, refused=0, failures=0)
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "long.csv"
        rows = (f"{' '.join(chance.choices(_WORDS, k=240))},{'ab'[i % 2]}\n" for i in range(96))
        data.write_text("text,label\n" + "".join(rows))
        for number, (bf16, limit) in enumerate([("false", 6.0), ("true", 5.5)] if quick else _every(chance)):
            out = Path(scratch) / str(number)
            settings = (f"trainer.bf16={bf16}", "trainer.per_device_train_batch_size=48", "trainer.num_train_epochs=1")
            command = [sys.executable, "-m", "bertft", "train", "classify", "--data", str(data), "--dev", str(data)]
            command += ["--out", str(out), *(part for setting in settings for part in ("--set", setting))]
            space = int(limit * _GIB)
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                preexec_fn=lambda space=space: resource.setrlimit(resource.RLIMIT_AS, (space, space)),
                check=False,
            )
            counts["runs"] += 1
            halved = "computed in" in done.stderr
            counts["halved"] += halved and done.returncode == 0
            counts["refused"] += done.returncode in (3, 4)
            clean = "Traceback" not in done.stderr and (done.returncode == 0 or bool(re.search("memory", done.stderr)))
            whole = (out / "model.safetensors").exists() == (done.returncode == 0)
            print(f"  {limit:.1f} GiB, bf16 {bf16}: exit code {done.returncode}{', in parts' * halved}", flush=True)
            if done.returncode not in (0, 3, 4) or not clean or not whole:
                counts["failures"] += 1
                print(done.stderr[-2000:])
    return dict(counts)


def _every(chance: random.Random) -> list[tuple[str, float]]:
    return [(bf16, chance.uniform(4.0, 7.0)) for bf16 in ("false", "true") for _ in range(6)]
