"""Calibration on test sets: the error of a model before and after its temperature, with 95 % intervals.

    python -m tests.bench.calibration                        # about half an hour on one idle core
    python -m tests.bench.calibration --sets sst2 --seed 2

Each set is cut as `data_sets.py` says, and trained on with its recipe. A set without a test part has its dev part
for a test, and a fifth of its training rows for dev. The model before its temperature is the saved one with its last
layer multiplied by it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.data_sets import SETS
from tests.bench.scores import DATA

CHOSEN = ("sst2", "banking77", "mnli-subset")


def run(name: str, seed: int, settings: list[str], *, data: Path, model: str) -> dict[str, Any]:
    """Train on a set; return what was fitted on dev, and the calibration of test before and after."""
    chosen = SETS[name]
    with tempfile.TemporaryDirectory() as scratch:
        cut = Path(scratch) / "data"
        cut.mkdir()
        files = [str(path) for path in chosen.files(data / name, cut)]
        parts = ("--data", "--dev", "--test") if len(files) > 2 else ("--data", "--test")
        command = ["train", chosen.recipe, "--model", model, "--seed", str(seed), "--out", f"{scratch}/model"]
        command += [*chosen.options, *([] if len(files) > 2 else ["--set", "holdout=0.2"])]
        command += [part for setting in settings for part in ("--set", setting)]
        command += [part for pair in zip(parts, files, strict=True) for part in pair]
        done = subprocess.run([sys.executable, "-m", "bertft", *command], check=True, stdout=subprocess.PIPE, text=True)
        result = json.loads(done.stdout.splitlines()[-1])
        fitted, after = result["calibration"], result["test"]["calibration"]
        columns = dict(pair.split("=") for pair in chosen.options[-1].split(",")) if chosen.options else None
        before = after
        if fitted["temperature"] is not None:
            before = uncalibrated(f"{scratch}/model", files[-1], columns, fitted["temperature"])
    return {"set": name, "fitted": fitted, "before": before, "after": after}


def uncalibrated(model: str, data: str, columns: dict[str, str] | None, temperature: float) -> dict[str, Any]:
    """Return the calibration of a saved model whose temperature is taken back."""
    from bertft.bundle.store import open_bundle
    from bertft.encoders.load import fold_scale
    from bertft.inference.evaluate import read_labelled
    from bertft.inference.load import engine
    from bertft.scoring.calibration import described

    bundle = open_bundle(model)
    ready = engine(bundle, device="auto", measuring=True)
    fold_scale(ready.backend.model, 0.0, temperature)
    preferred = bundle.manifest["columns"]
    examples = read_labelled(bundle.task, data, use="test", columns=columns, preferred=preferred).examples
    pairs, _ = ready.evaluate(examples)
    return described(bundle.task.judged(pairs))


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as a Markdown table, one row a set."""
    lines = ["| test set | temperature | ECE before | ECE after | NLL before | NLL after |", "| --- " * 6 + "|"]
    for one in results:
        cells = [f"{one['set']} ({one['after']['decisions']:,})", f"{one['fitted']['temperature'] or 'none'}"]
        for key, scale, digits in (("ece", 100, 1), ("nll", 1, 3)):
            for when in ("before", "after"):
                found = one[when]
                low, high = (f"{scale * bound:.{digits}f}" for bound in found["intervals"][key])
                cells.append(f"{scale * found[key]:.{digits}f} [{low}, {high}]")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Train on each set, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", choices=SETS, default=list(CHOSEN))
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in `bertft train`")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the data sets")
    args = parser.parse_args()
    results = []
    for name in args.sets:
        results.append(run(name, args.seed, args.set, data=args.data, model=args.model))
        print(json.dumps(results[-1]), flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
