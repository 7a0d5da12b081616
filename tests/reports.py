"""Pages of reports over made-up outcomes of every task, with hostile text where a test wants it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tiny

from bertft.data.row import Place, Row
from bertft.inference.evaluate import measure
from bertft.inference.judged import Judged
from bertft.report.pages import evaluation_page
from bertft.scoring.breakdown import details
from bertft.tasks import task_class
from bertft.tasks.ner import Tagging
from bertft.tasks.qa import Candidate, Reply

HOSTILE = (
    "<script>alert(1)</script>",
    '" onload="alert(2)',
    "</script><img src=x onerror=alert(3)>",
    "</style><svg onload=alert(4)>",
    "\u202egnp.exe\u2066",
    "nul \x00 escape \x1b[31mred bell \x07",
    "{{ 7 * 7 }} {% raw %} $x^2$ $\\frac{",
    "]]> <!-- --> &lt;b&gt; javascript:alert(5)",
    "line \u2028 paragraph \u2029 \ud83d half",
)
CALIBRATION = {
    "ece": 0.043,
    "intervals": {"ece": [0.031, 0.058]},
    "bins": [{"count": 9 * i, "confidence": 0.1 * i + 0.05, "accuracy": 0.09 * i} for i in range(10)],
}


def judged_of(task: Any, pairs: Sequence[tuple[Any, Any]], *, name: str = "test", path: str = "test.csv") -> Judged:
    """Return rows and predictions as `eval` and `train` hand them to a report."""
    scores = measure(task, pairs)
    scores |= details(task.outcomes(pairs), [*scores.get("intervals", {})])
    info = {"path": path, "sha256": "0" * 64, "rows": len(pairs)}
    return Judged.of(name, task, pairs, scores=scores, info=info, about={"ran on": "cpu, torch, fp32"})


def classified(
    texts: Sequence[tuple[str, Any]], guesses: Sequence[Any], kind: str = "classify", **options: Any
) -> Judged:
    """Return classified texts, each with the probabilities (or the value) that it was given."""
    task = task_class(kind).restore(options, {})
    rows = [Row(Place("test.csv", i + 2), {"text": text, "label": label}) for i, (text, label) in enumerate(texts)]
    task, _ = task.prepare([task.parse(row, labelled=True) for row in rows])
    pairs = [(task.parse(row, labelled=True), np.asarray(p, float)) for row, p in zip(rows, guesses, strict=True)]
    return judged_of(task, pairs)


def labelled(count: int, labels: Sequence[str], *, wrong: float, words: int = 12, seed: int = 0) -> Judged:
    """Return so many rows of random labels, a share of them predicted wrongly."""
    random = np.random.default_rng(seed)
    gold = [labels[i % len(labels)] for i in range(count)]
    texts = [
        (f"row {i} " + " ".join(f"word{n}" for n in random.integers(0, 999, words)), y) for i, y in enumerate(gold)
    ]
    task, _ = (
        task_class("classify")
        .restore({}, {})
        .prepare(
            [
                task_class("classify")
                .restore({}, {})
                .parse(Row(Place("x", 1), {"text": "", "label": y}), labelled=True)
                for y in labels
            ]
        )
    )
    chosen = [
        task.target.labels.index(y) if random.random() >= wrong else int(random.integers(len(labels))) for y in gold
    ]
    guesses = np.full((count, len(labels)), 0.3 / len(labels))
    guesses[np.arange(count), chosen] += random.uniform(0.1, 0.7, count)
    pairs = [
        (task.parse(Row(Place("test.csv", i + 2), {"text": t, "label": y}), labelled=True), p)
        for i, ((t, y), p) in enumerate(zip(texts, guesses, strict=True))
    ]
    return judged_of(task, pairs)


def hostile() -> Judged:
    """Return texts and labels that try to be markup, script, escapes or templates; all predictions are wrong."""
    texts = [(text, label) for text in HOSTILE for label in HOSTILE]
    found = classified(texts, [np.eye(len(HOSTILE))[0]] * len(texts))
    order = {label: i for i, label in enumerate(found.task.target.labels)}
    pairs = []
    for i, (example, _) in enumerate(found.pairs):
        gold = order[found.outcomes.gold[i]]
        pairs.append((example, np.roll(np.linspace(0.9, 0.0, len(order)) / 4, gold + 1 + i % 3)))
    told = judged_of(found.task, pairs, path="/data/<b>test</b>.csv")
    return replace(told, scores={**told.scores, "calibration": CALIBRATION})


def tagged() -> Judged:
    """Return tagged sentences with every kind of error."""
    task = task_class("ner").restore({}, {})
    rows = [
        Row(Place("test.conll", 10 * i + 1), {"tokens": [w for w, _ in row], "tags": [t for _, t in row]})
        for i, row in enumerate(tiny.sentences())
    ]
    examples = task.convert([task.parse(row, labelled=True) for row in rows])[0]
    task, _ = task.prepare(examples)
    pairs = []
    for i, example in enumerate(examples):
        tags = list(example.tags)
        at = next(k for k, tag in enumerate(tags) if tag != "O")
        if i % 5 == 1:
            tags[at] = "O" if tags[at + 1][0] != "I" else tags[at]
        elif i % 5 == 2:
            tags = [f"{tag[:2]}ORG" if tag.endswith("PER") else tag for tag in tags]
        elif i % 5 == 3:
            tags[tags.index("O")] = "B-LOC"
        elif i % 5 == 4:
            tags = ["O" if tag[0] == "I" else tag for tag in tags]
        pairs.append((example, Tagging(tags, tags, [], np.log(np.full(len(tags), 0.9)))))
    return judged_of(task, pairs, path="test.conll")


def answered() -> Judged:
    """Return questions: answered rightly, wrongly, in part, and not."""
    task = task_class("qa").restore({}, {})
    context = "Ada Stone was born in Lima in 1912. She moved to Lima again and died in Rome."
    asked = [
        ("Where was she born?", "Lima", 22),
        ("Who was born?", "Ada Stone", 0),
        ("When?", "1912", 30),
        ("Why?", None, 0),
    ]
    rows = [
        Row(Place("test.json", 1), {"id": f"q{i}", "question": q, "context": context,
                                   "answers": [{"text": a, "answer_start": at}] if a else []})
        for i, (q, a, at) in enumerate(asked)
    ]  # fmt: skip
    examples = [task.parse(row, labelled=True) for row in rows]
    task, _ = task.prepare(examples)
    spans = [(48, 52), (0, 9), (27, 34), (72, 76)]
    pairs = [(x, _reply(a, b, i)) for i, (x, (a, b)) in enumerate(zip(examples, spans, strict=True))]
    return judged_of(task, pairs, path="test.json")


def _reply(start: int, end: int, i: int) -> Any:
    best = Candidate(start, end, 5.0 - i, math.exp(-i - 0.1))
    return Reply(best, np.array([best[:3]]), 5.1, best.score - 14.0, 0.0)


def page(judged: Judged) -> str:
    """Return the report of an evaluation."""
    return evaluation_page("my-model", judged, found=([], ""))
