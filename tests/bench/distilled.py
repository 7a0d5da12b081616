"""A teacher and a student of half its layers: the score that is kept, the size, and the speed.

    python -m tests.bench.distilled                            # sst2, about half an hour on one idle core
    python -m tests.bench.distilled --sets sst2 wnut17 --layers 0,2,4 --out models --set distill.alpha=0.7

Each set is cut as `data_sets.py` says. Both are trained with the set's recipe and seed, the student on the teacher's
rows, `plain` the same layers without a teacher's answers (alpha and hidden 0). The two engines then answer the last
part in turns, in one process: the ratio of the medians of their seconds is the speed. With `--out` the models stay,
and those that are there are not trained again.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.data_sets import SETS
from tests.bench.scores import DATA


def trained(out: Path, arguments: list[str]) -> dict[str, Any]:
    """Return the scores of a model, which is trained where it is not there yet."""
    if not (out / "metrics.json").is_file():
        command = [sys.executable, "-m", "bertft", "train", *arguments, "--out", str(out), "--overwrite"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    scores: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return scores


def seconds(models: list[Path], data: str, columns: dict[str, str] | None, rounds: int) -> list[float]:
    """Return the median seconds in which each model answers all rows, one after the other in each round."""
    from bertft.bundle.store import open_bundle
    from bertft.inference.evaluate import read_labelled
    from bertft.inference.load import engine

    bundles = [open_bundle(str(model)) for model in models]
    engines = [engine(bundle, device="cpu") for bundle in bundles]
    rows = [read_labelled(bundle.task, data, use="test", columns=columns).examples for bundle in bundles]
    taken: list[list[float]] = [[] for _ in models]
    for number in range(rounds + 1):
        for i, one in enumerate(engines):
            begun = time.perf_counter()
            one.predict(rows[i])
            if number:  # in the first memory is touched, and kernels are made
                taken[i].append(time.perf_counter() - begun)
    return [statistics.median(times) for times in taken]


def run(name: str, folder: Path, args: argparse.Namespace) -> str:
    """Return the rows of the table of one set."""
    chosen = SETS[name]
    cut = folder / "data"
    cut.mkdir(parents=True, exist_ok=True)
    files = [str(path) for path in chosen.files(args.data / name, cut)]
    common = [chosen.recipe, *chosen.options, "--seed", str(args.seed), "--device", "cpu"]
    for option, file in zip(("--data", "--dev", "--test"), files, strict=False):
        common += [option, file.removesuffix("/seq.in")]
    layers = ["--model", "teacher", *(["--layers", args.layers] if args.layers else [])]
    settings = [part for setting in args.set for part in ("--set", setting)]
    teacher, student, plain = (folder / kind for kind in ("teacher", "student", "plain"))
    own = ["--teacher", str(teacher), *layers]
    none = ["--set", "distill.alpha=0", "--set", "distill.hidden=0"]
    scores = [
        trained(teacher, [*common, "--model", args.model]),
        trained(student, [*common, *own, *settings]),
        trained(plain, [*common, *own, *settings, *none]),
    ]
    columns = dict(pair.split("=") for pair in chosen.options[-1].split(",")) if chosen.options else None
    times = seconds([teacher, student, plain], files[-1], columns, args.rounds)
    lines = []
    for kind, found, model, taken in zip(
        ("teacher", "student", "plain"), scores, (teacher, student, plain), times, strict=True
    ):
        cells = [name, kind]
        for part in ("dev", "test"):
            value, most = (of.get(part, {}).get(chosen.metric) for of in (found, scores[0]))
            cells.append(f"{100 * value:.1f} ({value / most:.1%})" if value is not None else "")
        megabytes = (model / "model.safetensors").stat().st_size / 1e6
        lines.append(f"| {' | '.join(cells)} | {megabytes:.1f} MB | {taken:.2f} s ({times[0] / taken:.2f}x) |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, a set at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", choices=SETS, default=["sst2"])
    parser.add_argument("--model", default="embedded", help="what the teacher is trained from")
    parser.add_argument("--layers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="a setting of the students' recipe")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the data sets")
    args = parser.parse_args()
    print("| data | model | dev (kept) | test (kept) | weights | seconds (speed) |\n" + "| --- " * 6 + "|", flush=True)
    for name in args.sets:
        with tempfile.TemporaryDirectory() as scratch:
            print(run(name, (args.out or Path(scratch)) / name, args), flush=True)


if __name__ == "__main__":
    main()
