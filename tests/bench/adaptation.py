"""Whether going on with pre-training on a domain's texts helps a task on it, by how many labelled rows there are.

    python -m tests.bench.adaptation                                     # BC5CDR; some two hours on one core
    python -m tests.bench.adaptation --sets sciie-scierc-ner --rows 200 --epochs 3

The texts of the training part, without labels, adapt the embedded encoder (`bertft train mlm`); then a tagger is
trained on the first rows of that part, from the encoder as it was and as it is, and scored on the whole test part.
The table has means ± standard deviations of the test F1 over seeds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.__main__ import cut, texts_of_words
from tests.bench.data_sets import SETS
from tests.bench.scores import DATA


def bertft(*arguments: str) -> dict[str, Any]:
    """Run a command and return its last line."""
    done = subprocess.run([sys.executable, "-m", "bertft", *arguments], check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def corpus(file: Path, target: Path) -> Path:
    """Write the sentences of a column file as texts, a line each."""
    target.write_text("".join(f"{text}\n" for text in texts_of_words(file)), encoding="utf-8")
    return target


def main() -> None:
    """Adapt, train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    columns = ("bc5cdr-iob2", "sciie-scierc-ner", "wnut17")
    parser.add_argument("--sets", nargs="+", choices=columns, default=["bc5cdr-iob2"])
    parser.add_argument("--rows", nargs="+", type=int, default=[250, 1000])
    parser.add_argument("--epochs", type=int, default=5, help="of masked language modelling")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the data sets")
    args = parser.parse_args()
    print("| data | rows with labels | encoder as it was | adapted | by seed |\n" + "| --- " * 5 + "|", flush=True)
    for name in args.sets:
        chosen = SETS[name]
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            train, dev, test = chosen.files(args.data / name, folder)
            texts = [str(corpus(file, folder / f"{part}.txt")) for part, file in (("train", train), ("dev", dev))]
            adapted = str(folder / "adapted")
            learnt = bertft(
                *("train", "mlm", "--data", texts[0], "--dev", texts[1], "--out", adapted),
                *("--set", f"trainer.num_train_epochs={args.epochs}"),
            )
            loss, accuracy = (learnt["dev"][key] for key in ("loss", "accuracy"))
            print(f"{name}: dev loss {loss:.3f}, accuracy {accuracy:.1%} of masked tokens", file=sys.stderr, flush=True)
            for rows in args.rows:
                some = cut(train, folder / f"{rows}{train.suffix}", rows)
                files = ("--data", str(some), "--dev", str(dev), "--test", str(test))
                scores: dict[str, list[float]] = {"embedded": [], adapted: []}
                for seed in range(1, args.seeds + 1):
                    for model, found in scores.items():
                        options = ("--model", model, "--seed", str(seed), "--out", str(folder / "model"), "--overwrite")
                        found.append(100 * bertft("train", chosen.recipe, *files, *options)["test"][chosen.metric])
                spread = [f" ± {statistics.stdev(f):.1f}" if len(f) > 1 else "" for f in scores.values()]
                shown = [f"{statistics.mean(f):.1f}{more}" for f, more in zip(scores.values(), spread, strict=True)]
                gains = ", ".join(f"{b - a:+.1f}" for a, b in zip(*scores.values(), strict=True))
                print(f"| {name} | {rows:,} | {' | '.join(shown)} | {gains} |", flush=True)


if __name__ == "__main__":
    main()
