"""Side by side: `bertft train RECIPE`, and a plain `Trainer` at HF's example defaults and at our hyper-parameters.

    python -m tests.bench.scores --seeds 3 --results scores.jsonl      # many hours on two cores; goes on if interrupted
    python -m tests.bench.scores --sets wnut17 --model ../shared/models/granite-roberta-30m-cased

Every run is a process of its own. Results are appended to `--results`, one JSON line a run, and the table is printed
from them: the test score as mean ± standard deviation over seeds (the dev score where a set has no test part), and CPU
seconds (user + system, all threads): of `trainer.train()` alone for the plain loops, of the whole command for bertft,
its evaluations and imports included. CPU seconds, since they do not grow when the machine is shared. The sets, and how
some are cut, are in `data_sets.py`; the plain loops in `plain_trainer.py`, `plain_text.py` and `plain_qa.py`.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.data_sets import SETS, DataSet

DATA = Path(__file__).parents[3] / "shared" / "data"
KINDS = {
    "bertft": "bertft",
    "default": "Trainer, example defaults",
    "tuned": "Trainer, our hyper-parameters",
}


def run(kind: str, name: str, model: str, seed: int, *, data: Path) -> dict[str, Any]:
    """Return the scores and CPU seconds of one run."""
    chosen = SETS[name]
    with tempfile.TemporaryDirectory() as scratch:
        cut = Path(scratch) / "data"
        cut.mkdir()
        files = [str(path) for path in chosen.files(data / name, cut)]
        if kind == "bertft":
            return run_bertft(chosen, files, ["--model", model, "--seed", str(seed), "--out", f"{scratch}/model"])
        command = [*chosen.loop, *files, "--model", location(model), "--seed", str(seed)]
        result = last_json([*command, *(hyper_parameters(chosen, files, model) if kind == "tuned" else [])])
    return {key: result[key] for key in ("dev", "test", "cpu_seconds") if key in result}


def run_bertft(chosen: DataSet, files: list[str], options: list[str]) -> dict[str, Any]:
    """Return the scores of `bertft train` and the CPU seconds of its process."""
    command = ["bertft", "train", chosen.recipe, *options, *chosen.options]
    for option, file in zip(("--data", "--dev", "--test"), files, strict=False):
        command += [option, file.removesuffix("/seq.in")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = last_json(command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    scores = {
        part: {key: value for key, value in result[part].items() if isinstance(value, float)}
        for part in ("dev", "test")
        if part in result
    }
    return {**scores, "cpu_seconds": round(seconds, 1)}


def location(model: str) -> str:
    """Return the directory of a model that bertft knows by name; a directory is one already."""
    if Path(model).is_dir():
        return model
    from bertft.encoders.load import resolve

    return str(resolve(model).location)


def hyper_parameters(chosen: DataSet, files: list[str], model: str) -> list[str]:
    """Return the plain loops' arguments for what bertft would train with on these files."""
    import yaml

    from bertft.inference.pytorch import choose_device, native_bf16

    command = ["bertft", "train", chosen.recipe, *chosen.options, "--model", model, "--dry-run", "-q"]
    for option, file in zip(("--data", "--dev"), files, strict=False):
        command += [option, file.removesuffix("/seq.in")]
    planned = subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.PIPE, text=True).stdout
    trainer = yaml.safe_load(planned)["trainer"]
    batches = next(line for line in planned.splitlines() if line.startswith("# batches: "))
    arguments = {
        "--learning-rate": trainer["learning_rate"],
        "--epochs": trainer["num_train_epochs"],
        "--batch": round(json.loads(batches.removeprefix("# batches: "))["examples"]),
        "--warmup": trainer.get("warmup_steps", 0),
        "--weight-decay": trainer.get("weight_decay", 0),
    }
    bf16 = trainer.get("bf16", native_bf16(choose_device("auto")))
    return [str(part) for pair in arguments.items() for part in pair] + ["--bf16"] * bool(bf16)


def last_json(module: list[str]) -> dict[str, Any]:
    """Run a module and return the JSON on the last line of its output."""
    output = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", *module], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(output.stdout.splitlines()[-1])


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as a Markdown table, one row a data set and encoder."""
    lines = ["| data | score | encoder | " + " | ".join(KINDS.values()) + " |", "| --- " * (len(KINDS) + 3) + "|"]
    for name, model in dict.fromkeys((r["set"], r["model"]) for r in results):
        metric = SETS[name].metric
        of_row = [r for r in results if (r["set"], r["model"]) == (name, model)]
        part = "test" if "test" in of_row[0] else "dev"
        cells = [cell([r for r in of_row if r["kind"] == kind], part, metric) for kind in KINDS]
        shown = metric if part == "test" else f"{metric} (dev)"
        lines.append(f"| {name} | {shown} | {Path(model).name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(runs: list[dict[str, Any]], part: str, metric: str) -> str:
    """Return mean ± standard deviation in percent, the number of seeds, and the mean of the CPU seconds."""
    if not runs:
        return ""
    values = [100 * r[part][metric] for r in runs]
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    seconds = statistics.mean(r["cpu_seconds"] for r in runs)
    return f"{statistics.mean(values):.1f}{spread} ({len(values)} seed{'s' * (len(values) > 1)}, {seconds:.0f} s)"


def main() -> int:
    """Do the runs that are not done yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="*", choices=SETS, default=list(SETS))
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--results", type=Path, default=Path("scores.jsonl"))
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the data sets")
    args = parser.parse_args()
    results = [json.loads(line) for line in args.results.read_text().splitlines()] if args.results.exists() else []
    done = {(r["kind"], r["set"], r["model"], r["seed"]) for r in results}
    failed = False
    for seed in range(1, args.seeds + 1):
        for name in args.sets:
            for kind in args.kinds:
                key = {"kind": kind, "set": name, "model": args.model, "seed": seed}
                if tuple(key.values()) in done:
                    continue
                try:
                    results.append({**key, **run(kind, name, args.model, seed, data=args.data)})
                except subprocess.CalledProcessError as error:
                    print(f"failed: {key}: {error}", file=sys.stderr)
                    failed = True
                    continue
                with args.results.open("a") as file:
                    print(json.dumps(results[-1]), file=file)
    print(table(results))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
