"""The baseline for texts and pairs of texts: a plain `Trainer` loop, as run_glue.py and run_classification.py do it.

Stands alone on purpose (no import of bertft), so that nothing of ours can help or hurt it. Texts are cut at 128 tokens
(`--max-length`), pairs at the longer text first. `--task single` is one label a row, `multi` a comma-separated list
(sigmoid and binary cross entropy; a label is predicted above 0.5), `regression` a number (squared error). The other
defaults are in `loop.py`, with the one difference: these scripts pad every row to 128 tokens, which only costs more
seconds.

Files: CSV with a header; lines cut at tabs, without quoting, where the first line has a tab; JSON Lines; a JSON
object of row objects. Columns are named, or counted from 1 in a file without a header.

    python -m tests.bench.plain_text TRAIN DEV [TEST] --text sentence --label label --model DIR --seed 1
    python -m tests.bench.plain_text TRAIN DEV TEST --task regression --text 6,7 --label 5 --model DIR
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.metrics import f1_score
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.bench.loop import Loop, Row, limit, padder, parser

PROBLEMS = {
    "single": "single_label_classification",
    "multi": "multi_label_classification",
    "regression": "regression",
}


def read(path: str, texts: list[str], label: str) -> list[tuple[tuple[str, ...], str]]:
    """Return the file's rows as (one or two texts, the label as it is written)."""
    with Path(path).open(encoding="utf-8-sig", newline="\n") as file:
        if path.endswith(".json"):
            rows = list(json.load(file).values())
        elif path.endswith(".jsonl"):
            rows = [json.loads(line) for line in file]
        else:
            first = file.readline()
            file.seek(0)
            tabs = "\t" in first
            lines = (line.rstrip("\r\n").split("\t") for line in file) if tabs else csv.reader(file)
            fields = [row for row in lines if row]
            counted = all(name.isdigit() for name in (*texts, label))
            names = [str(i + 1) for i in range(len(fields[0]))] if counted else fields.pop(0)
            rows = [dict(zip(names, row, strict=False)) for row in fields]
    return [(tuple(row[name] for name in texts), str(row[label])) for row in rows]


def score_single(gold: list[str], logits: np.ndarray, labels: list[str]) -> dict[str, float]:
    """Return the share of right rows, and F1 averaged over the labels that gold or predictions have."""
    predicted = [labels[i] for i in logits.argmax(-1)]
    right = np.mean([p == g for p, g in zip(predicted, gold, strict=True)])
    return {"accuracy": float(right), "macro_f1": float(f1_score(gold, predicted, average="macro", zero_division=0))}


def score_multi(gold: list[str], logits: np.ndarray, labels: list[str]) -> dict[str, float]:
    """Return F1 over all decisions, F1 averaged over labels, and the share of rows with exactly the right labels."""
    sets = [set(value.split(",")) - {""} for value in gold]
    columns = labels + sorted(set().union(*sets) - set(labels))  # a label that training never saw is always missed
    truth = np.array([[name in names for name in columns] for names in sets])  # (rows, labels)
    guess = np.zeros_like(truth)
    guess[:, : len(labels)] = logits > 0  # a probability above 0.5
    return {
        "micro_f1": float(f1_score(truth, guess, average="micro", zero_division=0)),
        "macro_f1": float(f1_score(truth, guess, average="macro", zero_division=0)),
        "subset_accuracy": float((truth == guess).all(1).mean()),
    }


def score_regression(gold: list[str], logits: np.ndarray, labels: list[str]) -> dict[str, float]:
    """Return both correlations and the root of the mean squared error, in the file's own unit."""
    truth, guess = np.array([float(value) for value in gold]), logits[:, 0].astype(float)
    return {
        "pearson": float(np.corrcoef(truth, guess)[0, 1]),
        "spearman": float(spearmanr(truth, guess).statistic),
        "rmse": float(np.sqrt(((truth - guess) ** 2).mean())),
    }


SCORES = {"single": score_single, "multi": score_multi, "regression": score_regression}


def main() -> None:
    """Train, and print scores, seconds and arguments as one JSON line."""
    arguments = parser(__doc__)
    arguments.add_argument("--task", choices=PROBLEMS, default="single")
    arguments.add_argument("--text", required=True, help="the column of the text, or the two of a pair, with a comma")
    arguments.add_argument("--label", required=True, help="the column of the label")
    arguments.add_argument("--max-length", type=int, default=128)
    args = arguments.parse_args()

    files = [read(path, args.text.split(","), args.label) for path in args.files]
    train = files[0]
    if args.task == "regression":
        labels = ["value"]
    elif args.task == "multi":
        labels = sorted({name for _, value in train for name in value.split(",") if name})
    else:
        labels = sorted({value for _, value in train})
    label2id = {label: i for i, label in enumerate(labels)}
    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForSequenceClassification.from_pretrained(
        args.model,
        dtype=torch.float32,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id=label2id,
        problem_type=PROBLEMS[args.task],
    )
    length = min(args.max_length, limit(tokenizer, model))

    def target(value: str) -> int | float | list[float]:
        if args.task == "regression":
            return float(value)
        if args.task == "multi":
            return [float(label in value.split(",")) for label in labels]
        return label2id[value]

    def encode(texts: tuple[str, ...]) -> Row:
        return dict(tokenizer(*texts, truncation=True, max_length=length))

    rows = [{**encode(texts), "labels": target(value)} for texts, value in train]
    loop = Loop(args, model, rows, padder(args, tokenizer))
    seconds = loop.train()
    scores = {}
    for part, examples in zip(("dev", "test"), files[1:], strict=False):
        logits = np.stack(loop.logits([encode(texts) for texts, _ in examples]))
        scores[part] = SCORES[args.task]([value for _, value in examples], logits, labels)
    print(json.dumps({**scores, **seconds, **vars(args)}))


if __name__ == "__main__":
    sys.exit(main())
