"""NER side by side: `bertft train ner`, and a plain `Trainer` at run_ner.py's defaults and at our hyper-parameters.

    python -m tests.bench.ner --seeds 3 --results ner.jsonl          # hours on two cores; an interrupted run goes on
    python -m tests.bench.ner --sets wnut17 --model ../shared/models/granite-roberta-30m-cased

Every run is a process of its own. Results are appended to `--results`, one JSON line a run, and the table is printed
from them: test F1 as mean ± standard deviation over seeds, and CPU seconds (user + system, all threads): of
`trainer.train()` alone for the plain loops, of the whole command for bertft, its evaluations and imports included.
CPU seconds, since they do not grow when the machine is shared.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bertft.encoders.families import learning_rate
from bertft.encoders.load import load_config, resolve
from bertft.inference.pytorch import choose_device, native_bf16
from bertft.recipe import load

DATA = Path(__file__).parents[3] / "shared" / "data"
SETS = {
    "wnut17": ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"),
    "sciie-scierc-ner": ("train.txt", "dev.txt", "test.txt"),
    "bc5cdr-iob2": ("train.tsv", "devel.tsv", "test.tsv"),
    "bc5cdr-iobes": ("train.tsv", "devel.tsv", "test.tsv"),
}
KINDS = {
    "bertft": "bertft",
    "default": "Trainer, run_ner defaults",
    "tuned": "Trainer, our rate, batch, epochs",
}


def run(kind: str, name: str, model: str, seed: int) -> dict[str, float]:
    """Return the scores and CPU seconds of one run."""
    train, dev, test = (str(DATA / name / file) for file in SETS[name])
    if kind == "bertft":
        with tempfile.TemporaryDirectory() as scratch:
            command = ["bertft", "train", "ner", "--data", train, "--dev", dev, "--test", test, "--model", model]
            command += ["--seed", str(seed), "--out", f"{scratch}/model"]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            result = last_json(command)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"dev_f1": result["dev"]["f1"], "test_f1": result["test"]["f1"], "cpu_seconds": round(seconds, 1)}
    command = ["tests.bench.plain_trainer", train, dev, test, "--model", resolve(model).location, "--seed", str(seed)]
    if kind == "tuned":
        trainer = load("ner").trainer
        rate = learning_rate(load_config(resolve(model)))
        command += ["--learning-rate", str(rate), "--epochs", str(trainer["num_train_epochs"])]
        command += ["--batch", str(trainer["per_device_train_batch_size"])]
        command += ["--bf16"] if native_bf16(choose_device("auto")) else []
    result = last_json(command)
    return {key: result[key] for key in ("dev_f1", "test_f1", "cpu_seconds")}


def last_json(module: list[str]) -> dict:
    output = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", *module], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(output.stdout.splitlines()[-1])


def table(results: list[dict]) -> str:
    """Return the results as a Markdown table, one row a data set and encoder."""
    lines = ["| data | encoder | " + " | ".join(KINDS.values()) + " |", "| --- " * (len(KINDS) + 2) + "|"]
    for name, model in dict.fromkeys((r["set"], r["model"]) for r in results):
        cells = []
        for kind in KINDS:
            runs = [r for r in results if (r["set"], r["model"], r["kind"]) == (name, model, kind)]
            f1 = [100 * r["test_f1"] for r in runs]
            if not runs:
                cells.append("")
                continue
            spread = f" ± {statistics.stdev(f1):.1f}" if len(f1) > 1 else ""
            seconds = statistics.mean(r["cpu_seconds"] for r in runs)
            seeds = f"{len(f1)} seed{'s' * (len(f1) > 1)}"
            cells.append(f"{statistics.mean(f1):.1f}{spread} ({seeds}, {seconds:.0f} s)")
        lines.append(f"| {name} | {Path(model).name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="*", choices=SETS, default=list(SETS))
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--results", type=Path, default=Path("ner.jsonl"))
    args = parser.parse_args()
    results = [json.loads(line) for line in args.results.read_text().splitlines()] if args.results.exists() else []
    done = {(r["kind"], r["set"], r["model"], r["seed"]) for r in results}
    for seed in range(1, args.seeds + 1):
        for name in args.sets:
            for kind in args.kinds:
                key = {"kind": kind, "set": name, "model": args.model, "seed": seed}
                if tuple(key.values()) not in done:
                    results.append({**key, **run(kind, name, args.model, seed)})
                    with args.results.open("a") as file:
                        print(json.dumps(results[-1]), file=file)
    print(table(results))


if __name__ == "__main__":
    main()
