"""How one predicts without bertft: `transformers.pipeline`, and for questions a plain loop.

The loop decides as the question-answering examples of transformers do (their `postprocess_qa_predictions`, written anew
here): of each window the 20 highest start and the 20 highest end logits are paired in two loops, the pairs that are no
answer are left out, and the best of all windows is the answer. Imports nothing of bertft.

    python -m tests.bench.peers STATS.json {token-classification,text-classification,question-answering}
        --model DIR --data FILE --rows 300 --batch 1 [--bf16] [--out FILE]
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

N_BEST, MAX_ANSWER = 20, 30


def example_answers(
    questions: Sequence[str],
    contexts: Sequence[str],
    owners: Sequence[int],
    features: Any,
    starts: Sequence[np.ndarray],
    ends: Sequence[np.ndarray],
) -> list[str]:
    """Return each question's answer, "" for none, by the examples' algorithm with a null threshold of 0.

    `owners` has the index of each window's question, `features` is a list or a `datasets.Dataset` of them: of a window
    `features[i]["offset_mapping"]` are the characters of each token, None where it is not of the context. `starts` and
    `ends` are its logits, (tokens,) each; the token 0 stands for no answer.
    """
    of_question: dict[int, list[int]] = {}
    for i, question in enumerate(owners):
        of_question.setdefault(question, []).append(i)
    answers = []
    for index in range(len(questions)):
        found: list[dict[str, Any]] = []
        null = None
        for i in of_question[index]:
            start_logits, end_logits = starts[i], ends[i]
            offsets = features[i]["offset_mapping"]
            features[i].get("token_is_max_context")  # so do the examples, and a row of a Dataset is read each time
            nothing = start_logits[0] + end_logits[0]
            if null is None or nothing < null:
                null = nothing
            first = np.argsort(start_logits)[-1 : -N_BEST - 1 : -1].tolist()
            last = np.argsort(end_logits)[-1 : -N_BEST - 1 : -1].tolist()
            for start in first:
                for end in last:
                    if start >= len(offsets) or end >= len(offsets):
                        continue
                    if offsets[start] is None or len(offsets[start]) < 2:
                        continue
                    if offsets[end] is None or len(offsets[end]) < 2:
                        continue
                    if end < start or end - start + 1 > MAX_ANSWER:
                        continue
                    found.append(
                        {
                            "offsets": (offsets[start][0], offsets[end][1]),
                            "score": start_logits[start] + end_logits[end],
                            "start_logit": start_logits[start],
                            "end_logit": end_logits[end],
                        }
                    )
        best = sorted(found, key=lambda span: span["score"], reverse=True)[:N_BEST]
        for span in best:
            begin, stop = span["offsets"]
            span["text"] = contexts[index][begin:stop]
        scores = np.array([span["score"] for span in best] + [null])
        chances = np.exp(scores - scores.max())
        for span, chance in zip(best, chances / chances.sum(), strict=False):
            span["probability"] = chance
        written = [
            {key: float(value) for key, value in span.items() if isinstance(value, np.floating)} for span in best
        ]
        assert len(written) == len(best)  # the examples write them beside the answers
        answers.append(best[0]["text"] if best and null - best[0]["score"] <= 0 else "")
    return answers


def squad(path: str, rows: int) -> list[dict[str, str]]:
    """Return the first questions of a SQuAD file, each with its context."""
    data = json.loads(Path(path).read_text(encoding="utf-8"))["data"]
    found = (
        {"question": qa["question"].lstrip(), "context": paragraph["context"]}
        for article in data
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    )
    return [item for item, _ in zip(found, range(rows), strict=False)]


def answer(model: Any, tokenizer: Any, rows: Sequence[dict[str, str]], batch: int) -> list[str]:
    """Return the answers of a plain loop: windows of 384 tokens sharing 128, padded to 384, in the file's order."""
    questions, contexts = [row["question"] for row in rows], [row["context"] for row in rows]
    encoded = tokenizer(
        questions,
        contexts,
        truncation="only_second",
        max_length=384,
        stride=128,
        padding="max_length",
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_tensors="np",
    )
    owners = encoded["overflow_to_sample_mapping"].tolist()
    features = []
    for i in range(len(owners)):
        offsets = encoded["offset_mapping"][i].tolist()
        part = encoded.sequence_ids(i)
        known = [tuple(o) if p == 1 else None for o, p in zip(offsets, part, strict=True)]
        features.append({"offset_mapping": known})
    starts, ends = [], []
    with torch.inference_mode():
        for at in range(0, len(owners), batch):
            inputs = {name: torch.from_numpy(encoded[name][at : at + batch]) for name in tokenizer.model_input_names}
            out = model(**inputs)
            starts += list(out.start_logits.float().numpy())
            ends += list(out.end_logits.float().numpy())
    return example_answers(questions, contexts, owners, features, starts, ends)


def lines(path: str, rows: int) -> list[str]:
    """Return the first lines of a file."""
    with Path(path).open(encoding="utf-8") as file:
        return [line.rstrip("\n") for line, _ in zip(file, range(rows), strict=False)]


def main() -> None:
    """Predict, and write `rows_per_second` (loading left out), `first_answer` (loading included) and `peak_mb`."""
    began = time.perf_counter()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stats")
    parser.add_argument("task", choices=["token-classification", "text-classification", "question-answering"])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, help="one text a line; for pairs two, with a tab; or SQuAD JSON")
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--out", help="one JSON value a row")
    args = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    dtype = torch.bfloat16 if args.bf16 else torch.float32
    if args.task == "question-answering":
        tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
        model = transformers.AutoModelForQuestionAnswering.from_pretrained(args.model, dtype=dtype).eval()
        rows: list[Any] = squad(args.data, args.rows)

        def run(some: list[Any]) -> list[Any]:
            return answer(model, tokenizer, some, args.batch)
    else:
        options = {"aggregation_strategy": "first"} if args.task == "token-classification" else {}
        pipe = transformers.pipeline(args.task, args.model, dtype=dtype, device="cpu", **options)
        texts = lines(args.data, args.rows)
        if args.task == "text-classification" and "\t" in texts[0]:
            rows = [dict(zip(("text", "text_pair"), text.split("\t"), strict=True)) for text in texts]
        else:
            rows = texts

        def run(some: list[Any]) -> list[Any]:
            return list(pipe(some, batch_size=args.batch))

    run(rows[:1])
    first = time.perf_counter() - began
    run(rows[: 2 * args.batch])
    started = time.perf_counter()
    found = run(rows)
    seconds = time.perf_counter() - started
    stats = {
        "rows_per_second": len(rows) / seconds,
        "first_answer": first,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    Path(args.stats).write_text(json.dumps(stats), encoding="utf-8")
    if args.out:
        Path(args.out).write_text("".join(json.dumps(item, default=float) + "\n" for item in found), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
