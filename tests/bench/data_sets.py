"""The data sets of `scores.py`: which of their files are train, dev and test, the same for every kind of run.

All but the NER sets are cut to sizes that two cores train in minutes (`SIZES`), and some have no dev part. The files
are then written in the set's own format into a temporary folder, always the same rows: those with the lowest checksums,
in the file's order; of the question sets the first questions.
"""

import csv
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Files = tuple[Path, ...]
"""Train, dev and test; of a set without a test part train and dev."""

SIZES = {
    "snips": 3_000,
    "ud-en-ewt": 2_000,
    "sst2": 4_000,
    "banking77": 4_000,
    "clinc150": 4_000,
    "goemotions": 4_000,
    "stsb": 2_500,
    "mnli-subset": 2_500,
    "squad2-cs224n": 1_200,
    "squadshifts": 1_200,
}
"""How many training rows of a set are used."""
DEV, TEST = 800, 2_000
"""How many of dev and test at most; 300 questions of each."""
QUESTIONS = 300


@dataclass(frozen=True)
class DataSet:
    """How a set is read, trained on and scored.

    `files(folder, scratch)` returns the files, `loop` is the plain loop's module and options, `options` are bertft's.
    """

    recipe: str
    metric: str
    loop: tuple[str, ...]
    files: Callable[[Path, Path], Files]
    options: tuple[str, ...] = ()


def at(*names: str) -> Callable[[Path, Path], Files]:
    """Take the files as they are."""
    return lambda folder, _: tuple(folder / name for name in names)


def some(rows: list[str], part: str, size: int) -> list[str]:
    """Return the rows with the lowest checksums, in their order: `size` for training, DEV or TEST for the others."""
    limit = {"train": size, "dev": DEV}.get(part, TEST)
    if len(rows) <= limit:
        return rows
    highest = sorted(map(checksum, rows))[limit - 1]
    return [row for row in rows if checksum(row) <= highest]


def checksum(text: str) -> int:
    return zlib.crc32(text.encode())


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


def records(*names: str, size: int, end: str = "\n", header: bool = False) -> Callable[[Path, Path], Files]:
    """Take some records of text files: what stands between `end`s, below a header that is kept."""

    def files(folder: Path, scratch: Path) -> Files:
        paths = []
        for part, name in zip(("train", "dev", "test"), names, strict=False):
            found = (folder / name).read_bytes().decode().removesuffix(end).split(end)
            head, rows = found[:header], found[header:]
            paths.append(written(scratch / name, end.join([*head, *some(rows, part, size)]) + end))
        return tuple(paths)

    return files


def snips(folder: Path, scratch: Path) -> Files:
    """Take some lines of the parallel files, the same of each."""
    paths = []
    for part, name in (("train", "train"), ("dev", "valid"), ("test", "test")):
        lines = [
            (folder / name / file).read_text(encoding="utf-8").splitlines() for file in ("seq.in", "seq.out", "label")
        ]
        joint = some(["\t".join(row) for row in zip(*lines, strict=True)], part, SIZES["snips"])
        for file, column in zip(
            ("seq.in", "seq.out", "label"), zip(*(row.split("\t") for row in joint), strict=True), strict=True
        ):
            written(scratch / name / file, "\n".join(column) + "\n")
        paths.append(scratch / name / "seq.in")
    return tuple(paths)


def goemotions(folder: Path, scratch: Path) -> Files:
    """Take some rows; their label numbers have names in `labels.txt` beside them."""
    written(scratch / "labels.txt", (folder / "labels.txt").read_text(encoding="utf-8"))
    return records("train.tsv", "dev.tsv", "test.tsv", size=SIZES["goemotions"])(folder, scratch)


def banking77(folder: Path, scratch: Path) -> Files:
    """Hold out a tenth of the training texts. A row may be several lines, so it is cut as CSV is."""
    rows = {}
    for name in ("train.csv", "test.csv"):
        with (folder / name).open(encoding="utf-8", newline="") as file:
            header, *rows[name] = csv.reader(file)
    train = [row for row in rows["train.csv"] if checksum(row[0]) % 10]
    parts = {"train": train, "dev": [row for row in rows["train.csv"] if row not in train], "test": rows["test.csv"]}
    paths = []
    for part, all_rows in parts.items():
        kept = [row.split("\t") for row in some(["\t".join(row) for row in all_rows], part, SIZES["banking77"])]
        with (scratch / f"{part}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *kept])
        paths.append(scratch / f"{part}.csv")
    return tuple(paths)


def clinc150(folder: Path, scratch: Path) -> Files:
    """Put a part and its out-of-scope texts into one file of JSON Lines; the set is one document of all parts."""
    parts = json.loads((folder / "data_full.json").read_text(encoding="utf-8"))
    paths = []
    for part, name in (("train", "train"), ("dev", "val"), ("test", "test")):
        lines = [json.dumps({"text": text, "label": label}) for text, label in parts[name] + parts[f"oos_{name}"]]
        paths.append(written(scratch / f"{part}.jsonl", "\n".join(some(lines, part, SIZES["clinc150"])) + "\n"))
    return tuple(paths)


def mnli(folder: Path, scratch: Path) -> Files:
    """Take some of the rows of the documents, which are keyed by row."""
    paths = []
    for part in ("train", "dev"):
        rows = list(json.loads((folder / f"{part}.json").read_text(encoding="utf-8")).values())
        kept = [json.loads(row) for row in some([json.dumps(row) for row in rows], part, SIZES["mnli-subset"])]
        paths.append(written(scratch / f"{part}.json", json.dumps({str(i): row for i, row in enumerate(kept)})))
    return tuple(paths)


def squad2(folder: Path, scratch: Path) -> Files:
    """Split by article: the first ones, up to the size, for training, half of the others for dev, half for test."""
    document = json.loads((folder / "dev-v2.0.json").read_text(encoding="utf-8"))
    articles = document["data"]
    train = first_questions(articles, SIZES["squad2-cs224n"])
    rest = articles[len(train) :]
    parts = {
        "train.json": train,
        "dev.json": first_questions(rest[: len(rest) // 2], QUESTIONS),
        "test.json": first_questions(rest[len(rest) // 2 :], QUESTIONS),
    }
    return tuple(written(scratch / name, json.dumps({**document, "data": data})) for name, data in parts.items())


def squadshifts(folder: Path, scratch: Path) -> Files:
    """Take the first questions of new Wikipedia articles, a tenth of the contexts for dev; test is XQuAD's English."""
    document = json.loads((folder / "new_wiki_v1.0.json").read_text(encoding="utf-8"))
    xquad = json.loads((folder.parent / "xquad" / "xquad.en.json").read_text(encoding="utf-8"))

    def held(*, out: bool) -> list[dict[str, Any]]:
        parts = [
            {**article, "paragraphs": [p for p in article["paragraphs"] if (checksum(p["context"]) % 10 == 0) == out]}
            for article in document["data"]
        ]
        return [article for article in parts if article["paragraphs"]]

    parts = {
        "train.json": first_questions(held(out=False), SIZES["squadshifts"]),
        "dev.json": first_questions(held(out=True), QUESTIONS),
        "test.json": first_questions(xquad["data"], QUESTIONS),
    }
    return tuple(written(scratch / name, json.dumps({**document, "data": data})) for name, data in parts.items())


def first_questions(articles: list[dict[str, Any]], left: int) -> list[dict[str, Any]]:
    """Return the articles without what comes after the first `left` questions."""
    result = []
    for article in articles:
        paragraphs = []
        for paragraph in article["paragraphs"]:
            questions = paragraph["qas"][:left]
            left -= len(questions)
            if questions:
                paragraphs.append({**paragraph, "qas": questions})
        if paragraphs:
            result.append({**article, "paragraphs": paragraphs})
    return result


TAGS, TEXT, QA = "tests.bench.plain_trainer", "tests.bench.plain_text", "tests.bench.plain_qa"

SETS = {
    "wnut17": DataSet("ner", "f1", (TAGS,), at("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated")),
    "sciie-scierc-ner": DataSet("ner", "f1", (TAGS,), at("train.txt", "dev.txt", "test.txt")),
    "bc5cdr-iob2": DataSet("ner", "f1", (TAGS,), at("train.tsv", "devel.tsv", "test.tsv")),
    "bc5cdr-iobes": DataSet("ner", "f1", (TAGS,), at("train.tsv", "devel.tsv", "test.tsv")),
    "snips": DataSet("slots", "f1", (TAGS,), snips),
    "ud-en-ewt": DataSet(
        "pos",
        "accuracy",
        (TAGS,),
        records(*(f"en_ewt-ud-{p}.conllu" for p in ("train", "dev", "test")), size=SIZES["ud-en-ewt"], end="\n\n"),
    ),
    "sst2": DataSet(
        "classify",
        "accuracy",
        (TEXT, "--text", "sentence", "--label", "label"),
        records("train.tsv", "dev.tsv", "test-labeled.tsv", size=SIZES["sst2"], header=True),
        ("--columns", "text=sentence,label=label"),
    ),
    "banking77": DataSet(
        "classify",
        "accuracy",
        (TEXT, "--text", "text", "--label", "category"),
        banking77,
        ("--columns", "text=text,label=category"),
    ),
    "clinc150": DataSet("classify", "accuracy", (TEXT, "--text", "text", "--label", "label"), clinc150),
    "goemotions": DataSet(
        "multilabel",
        "micro_f1",
        (TEXT, "--task", "multi", "--text", "1", "--label", "2"),
        goemotions,
        ("--columns", "text=1,label=2"),
    ),
    "stsb": DataSet(
        "similarity",
        "pearson",
        (TEXT, "--task", "regression", "--text", "6,7", "--label", "5"),
        records("sts-train.csv", "sts-dev.csv", "sts-test.csv", size=SIZES["stsb"]),
        ("--columns", "text_a=6,text_b=7,label=5"),
    ),
    "mnli-subset": DataSet("nli", "accuracy", (TEXT, "--text", "text_a,text_b", "--label", "label"), mnli),
    "squad2-cs224n": DataSet("qa-v2", "f1", (QA,), squad2),
    "squadshifts": DataSet("qa", "f1", (QA,), squadshifts),
}
