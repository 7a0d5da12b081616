"""The baseline for extractive questions: a plain `Trainer` loop on SQuAD JSON (1.1 or 2.0), as run_qa.py does it.

Stands alone on purpose (no import of bertft), so that nothing of ours can help or hurt it. Question and context are cut
into windows of 384 tokens that share 128 of the context; a window without the whole first answer has its target at
[CLS]. The other defaults are in `loop.py`, with the one difference: run_qa.py pads every window to 384 tokens, which
only costs more seconds.

The answer is the span of at most 30 tokens with the highest start + end logit over all windows of the question. Where
the file has unanswerable questions, there is no answer when the lowest start + end logit of [CLS] over the windows is
higher than the best span's (a threshold of 0). Exact match and F1 are on the texts in lower case, without punctuation,
articles and superfluous blanks, the best over the gold answers (Rajpurkar et al. 2016, section 6.1).

    python -m tests.bench.plain_qa TRAIN DEV [TEST] --model DIR --seed 1     # one JSON line
"""

import json
import re
import string
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from tests.bench.loop import Loop, Row, limit, padder, parser

MAX_LENGTH = 384
STRIDE = 128
MAX_ANSWER = 30


@dataclass(frozen=True)
class Question:
    """A question, its context, and its answers as (start, text); none where it is unanswerable."""

    question: str
    context: str
    answers: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Guess:
    """The best span of a question, and how much better [CLS] scored than it."""

    text: str
    null_margin: float


def read(path: str) -> list[Question]:
    """Return the file's questions, in order."""
    return [
        Question(
            # run_qa.py does so too: some questions begin with many blanks
            qa["question"].lstrip(),
            paragraph["context"],
            () if qa.get("is_impossible") else tuple((a["answer_start"], a["text"]) for a in qa["answers"]),
        )
        for article in json.loads(Path(path).read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    ]


def normalise(text: str) -> list[str]:
    """Return the words that count: lower case, without ASCII punctuation and without a, an, the."""
    bare = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def exact_and_f1(text: str, answers: tuple[tuple[int, str], ...]) -> tuple[float, float]:
    """Return exact match and F1 of a text, each with the answer that suits it best; no answers: the text is empty."""
    guess = normalise(text)
    # an answer of which nothing is left, "the", cannot be met
    golds = [gold for gold in (normalise(answer) for _, answer in answers) if gold] or [[]]
    exact = max(float(guess == gold) for gold in golds)
    f1 = 0.0
    for gold in golds:
        common = sum((Counter(guess) & Counter(gold)).values())
        f1 = max(f1, 2 * common / (len(guess) + len(gold)) if common else float(guess == gold == []))
    return exact, f1


def scores(questions: list[Question], guesses: list[Guess], *, may_be_empty: bool) -> dict[str, float]:
    """Return the means over the questions; of SQuAD 2.0 also by kind of question, and F1 at the best threshold."""
    spans = np.array([exact_and_f1(g.text, q.answers) for q, g in zip(questions, guesses, strict=True)])
    if not may_be_empty:
        return {"exact_match": float(spans[:, 0].mean()), "f1": float(spans[:, 1].mean())}
    empty = np.array([float(not q.answers) for q in questions])  # what answering nothing scores
    margin = np.array([g.null_margin for g in guesses])
    exact, f1 = (np.where(margin > 0, empty, spans[:, i]) for i in (0, 1))
    order = np.argsort(margin)
    # answer the first n of the questions, the surest first, for every n where the margin changes
    gains = np.concatenate([[0.0], np.cumsum((spans[:, 1] - empty)[order])])
    changes = np.concatenate([[True], np.diff(margin[order]) > 0, [True]])
    return {
        "exact_match": float(exact.mean()),
        "f1": float(f1.mean()),
        "has_ans_f1": float(f1[empty == 0].mean()),
        "no_ans_f1": float(f1[empty == 1].mean()),
        "best_f1": float((empty.sum() + gains[changes].max()) / len(questions)),
    }


def encode(tokenizer: Any, questions: list[Question], length: int) -> tuple[list[Row], list[dict[str, Any]]]:
    """Return the windows of all questions as model inputs with targets, and beside each what its tokens are.

    That is `question` (its index) and `offsets`, (tokens, 2), in the context's characters, -1 where a token is none of
    the context's.
    """
    rows, places = [], []
    for index, item in enumerate(questions):
        encoded = tokenizer(
            item.question,
            item.context,
            truncation="only_second",
            max_length=length,
            stride=STRIDE,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        for window, ids in enumerate(encoded["input_ids"]):
            inside = np.array([part == 1 for part in encoded.sequence_ids(window)])
            offsets = np.where(inside[:, None], np.array(encoded["offset_mapping"][window]), -1)  # (tokens, 2)
            cls = ids.index(tokenizer.cls_token_id)
            row = {name: encoded[name][window] for name in tokenizer.model_input_names if name in encoded}
            rows.append({**row, **target(offsets, item.answers, cls)})
            places.append({"question": index, "offsets": offsets, "cls": cls})
    return rows, places


def target(offsets: np.ndarray, answers: tuple[tuple[int, str], ...], cls: int) -> dict[str, int]:
    """Return the first answer's first and last token, or [CLS] twice where the window has not all of it."""
    if answers:
        start, end = answers[0][0], answers[0][0] + len(answers[0][1])
        inside = np.flatnonzero(offsets[:, 0] >= 0)
        if offsets[inside[0], 0] <= start and offsets[inside[-1], 1] >= end:
            touched = np.flatnonzero((offsets[:, 1] > start) & (offsets[:, 0] < end) & (offsets[:, 0] >= 0))
            if len(touched):
                return {"start_positions": int(touched[0]), "end_positions": int(touched[-1])}
    return {"start_positions": cls, "end_positions": cls}


def best_spans(questions: list[Question], places: list[dict[str, Any]], logits: list[Any]) -> list[Guess]:
    """Return each question's best span over all its windows."""
    best = [(-np.inf, "")] * len(questions)
    null = [np.inf] * len(questions)
    for place, (start, end) in zip(places, logits, strict=True):
        index, offsets = place["question"], place["offsets"]
        null[index] = min(null[index], float(start[place["cls"]] + end[place["cls"]]))
        context = np.flatnonzero(offsets[:, 0] >= 0)
        first, last = context[0], context[-1] + 1
        total = start[first:last, None] + end[None, first:last]  # (first token, last token)
        allowed = np.tril(np.triu(np.ones_like(total, dtype=bool)), MAX_ANSWER - 1)
        total = np.where(allowed, total, -np.inf)
        a, b = np.unravel_index(total.argmax(), total.shape)
        if total[a, b] > best[index][0]:
            text = questions[index].context[offsets[first + a, 0] : offsets[first + b, 1]]
            best[index] = (float(total[a, b]), text)
    return [Guess(text, nothing - score) for (score, text), nothing in zip(best, null, strict=True)]


def main() -> None:
    """Train, and print scores, seconds and arguments as one JSON line."""
    args = parser(__doc__).parse_args()
    files = [read(path) for path in args.files]
    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForQuestionAnswering.from_pretrained(args.model, dtype=torch.float32)
    length = min(MAX_LENGTH, limit(tokenizer, model))
    loop = Loop(args, model, encode(tokenizer, files[0], length)[0], padder(args, tokenizer))
    seconds = loop.train()
    result = {}
    for part, questions in zip(("dev", "test"), files[1:], strict=False):
        rows, places = encode(tokenizer, questions, length)
        for row in rows:
            del row["start_positions"], row["end_positions"]
        guesses = best_spans(questions, places, loop.logits(rows))
        empty = any(not question.answers for question in questions)
        result[part] = scores(questions, guesses, may_be_empty=empty)
    print(json.dumps({**result, **seconds, **vars(args)}))


if __name__ == "__main__":
    sys.exit(main())
