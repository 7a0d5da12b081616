"""Adapters beside training in full: the score that is kept, the share that is trained, memory, and CPU seconds.

    python -m tests.bench.adapted --seeds 3 --results adapted.jsonl      # hours on two cores; goes on if interrupted
    python -m tests.bench.adapted --sets sst2 --methods full lora --set trainer.num_train_epochs=6

Each set is cut as `data_sets.py` says and trained with its recipe, once a seed and method, each run a process of its
own; `--set` is for the adapters' runs alone. The table has the mean ± standard deviation over seeds of the test score
(the dev score where a set has no test part), its ratio to that of `full`, the share of the parameters that learn, the
peak of resident memory, and CPU seconds (user + system, all threads) of the whole command, evaluations included.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.data_sets import SETS
from tests.bench.scores import DATA

METHODS = ("full", "lora", "dora", "ia3")


def run(method: str, name: str, model: str, seed: int, *, settings: list[str], data: Path) -> dict[str, Any]:
    """Return the scores of one run and what it took."""
    chosen = SETS[name]
    with tempfile.TemporaryDirectory() as scratch:
        cut = Path(scratch) / "data"
        cut.mkdir()
        command = [sys.executable, "-m", "bertft", "train", chosen.recipe, *chosen.options, "--model", model]
        command += ["--seed", str(seed), "--out", f"{scratch}/model"]
        for option, file in zip(("--data", "--dev", "--test"), chosen.files(data / name, cut), strict=False):
            command += [option, str(file).removesuffix("/seq.in")]
        if method != "full":
            settings = [f"peft.method={method}", *settings]
        command += [part for setting in settings for part in ("--set", setting)]
        with open(f"{scratch}/out", "w+") as out, open(f"{scratch}/err", "w+") as err:
            process = subprocess.Popen(command, stdout=out, stderr=err)
            _, status, used = os.wait4(process.pid, 0)  # what this child took, not the most of all
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            said = err.read()
            if process.returncode:
                raise RuntimeError(said)
            scores = json.loads(out.read().splitlines()[-1])
    share = re.search(r"trainable: ([\d.]+) %", said)
    return {
        "score": scores["test" if "test" in scores else "dev"][chosen.metric],
        "trainable": float(share[1]) if share else 100.0,
        "peak_mb": round(used.ru_maxrss / 1024),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
    }


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as a Markdown table, one row a data set and method."""
    lines = ["| data | method | score | of full | trained | memory | CPU seconds |", "| --- " * 7 + "|"]
    for name in dict.fromkeys(one["set"] for one in results):
        of_set = [one for one in results if one["set"] == name]
        whole = [one["score"] for one in of_set if one["method"] == "full"]
        for method in dict.fromkeys(one["method"] for one in of_set):
            runs = [one for one in of_set if one["method"] == method]
            scores = [100 * one["score"] for one in runs]
            mean = statistics.mean(scores)
            spread = f" ± {statistics.stdev(scores):.1f}" if len(scores) > 1 else ""
            kept = f"{mean / (100 * statistics.mean(whole)):.1%}" if whole else ""
            cells = [name, method, f"{mean:.1f}{spread} ({SETS[name].metric}, {len(runs)} seed{'s' * (len(runs) > 1)})"]
            cells += [kept, f"{runs[0]['trainable']:g} %", f"{max(one['peak_mb'] for one in runs):,} MB"]
            cells.append(f"{statistics.mean(one['cpu_seconds'] for one in runs):.0f}")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Do the runs that are not done yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="*", choices=SETS, default=["sst2", "banking77", "wnut17"])
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--set", action="append", default=[], help="a setting of the adapters' recipes")
    parser.add_argument("--results", type=Path, default=Path("adapted.jsonl"))
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the data sets")
    args = parser.parse_args()
    results = [json.loads(line) for line in args.results.read_text().splitlines()] if args.results.exists() else []
    for seed in range(1, args.seeds + 1):
        for name in args.sets:
            for method in args.methods:
                settings = args.set if method != "full" else []
                key = {"method": " ".join([method, *settings]), "set": name, "model": args.model, "seed": seed}
                if any(key.items() <= one.items() for one in results):
                    continue
                results.append({**key, **run(method, name, args.model, seed, settings=settings, data=args.data)})
                with args.results.open("a") as file:
                    print(json.dumps(results[-1]), file=file)
    print(table(results))


if __name__ == "__main__":
    main()
