"""Variants of a recipe side by side: the score, the share that is trained, memory, and CPU seconds.

    python -m tests.bench.variants --sets sst2 banking77 wnut17 --variant '' --variant peft.method=lora
    python -m tests.bench.variants --sets sciie-scierc-ner --variant '' --variant options.context=64

A variant is settings as `--set` takes them, with blanks between them; the others are held against the first. Each set
is cut as `data_sets.py` says and trained with its recipe, once a seed and variant, each run a process of its own;
results are appended to `--results`, and what is there is not run again. The table has the mean ± standard deviation
over seeds of the test score (the dev score where a set has no test part), its ratio to that of the first variant, the
share of the parameters that learn, the peak of resident memory, and CPU seconds (user + system, all threads) of the
whole command, evaluations included.
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


def run(variant: str, name: str, model: str, seed: int, *, data: Path, rows: int | None) -> dict[str, Any]:
    """Return the scores of one run and what it took."""
    chosen = SETS[name]
    with tempfile.TemporaryDirectory() as scratch:
        cut = Path(scratch) / "data"
        cut.mkdir()
        command = [sys.executable, "-m", "bertft", "train", chosen.recipe, *chosen.options, "--model", model]
        command += ["--seed", str(seed), "--out", f"{scratch}/model"]
        for option, file in zip(("--data", "--dev", "--test"), chosen.files(data / name, cut), strict=False):
            command += [option, str(file).removesuffix("/seq.in")]
        command += [part for setting in variant.split() for part in ("--set", setting)]
        with open(f"{scratch}/out", "w+") as out, open(f"{scratch}/err", "w+") as err:
            process = subprocess.Popen([*command, *(["--limit", str(rows)] if rows else [])], stdout=out, stderr=err)
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


def table(results: list[dict[str, Any]], variants: list[str]) -> str:
    """Return the results as a Markdown table, one row a data set and variant."""
    lines = ["| data | variant | score | of the first | trained | memory | CPU seconds |", "| --- " * 7 + "|"]
    for name in dict.fromkeys(one["set"] for one in results):
        by_variant = {
            each: runs
            for each in variants
            if (runs := [r for r in results if (r["set"], r["variant"]) == (name, each)])
        }
        means = {each: statistics.mean(100 * one["score"] for one in runs) for each, runs in by_variant.items()}
        for variant, runs in by_variant.items():
            spread = f" ± {statistics.stdev(100 * one['score'] for one in runs):.1f}" if len(runs) > 1 else ""
            seeds = f"{len(runs)} seed{'s' * (len(runs) > 1)}"
            cells = [name, f"`{variant}`" if variant else "the recipe"]
            cells += [f"{means[variant]:.1f}{spread} ({SETS[name].metric}, {seeds})"]
            cells += [f"{means[variant] / means[variants[0]]:.1%}" if variants[0] in means else ""]
            cells += [f"{runs[0]['trainable']:g} %", f"{max(one['peak_mb'] for one in runs):,} MB"]
            cells += [f"{statistics.mean(one['cpu_seconds'] for one in runs):.0f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Do the runs that are not done yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="+", choices=SETS, required=True)
    parser.add_argument("--variant", action="append", required=True, metavar="SETTINGS")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--rows", type=int, help="so many rows of each file")
    parser.add_argument("--results", type=Path, default=Path("variants.jsonl"))
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the data sets")
    args = parser.parse_args()
    results = [json.loads(line) for line in args.results.read_text().splitlines()] if args.results.exists() else []
    kept = []
    for seed in range(1, args.seeds + 1):
        for name in args.sets:
            for variant in args.variant:
                key = {"variant": variant, "set": name, "model": args.model, "seed": seed, "rows": args.rows}
                found = next((one for one in results if key.items() <= one.items()), None)
                if found is None:
                    found = {**key, **run(variant, name, args.model, seed, data=args.data, rows=args.rows)}
                    with args.results.open("a") as file:
                        print(json.dumps(found), file=file)
                kept.append(found)
    print(table(kept, args.variant))


if __name__ == "__main__":
    main()
