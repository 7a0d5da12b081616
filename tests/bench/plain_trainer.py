"""The baseline: a plain `Trainer` loop on a CoNLL file, as HF's run_ner.py does it at its defaults.

Stands alone on purpose (no import of bertft), so that nothing of ours can help or hurt it: last column is the tag, the
file's own tags are the labels, sentences are cut at the model's length, batches come in random order, the last model
is the model. Defaults are run_ner.py's: lr 5e-5, batch 8, 3 epochs, linear decay, no warm-up, no weight decay, fp32.

Scores are seqeval's default mode on the file's own tags; a word that was cut off counts as predicted `O`.

    python -m tests.bench.plain_trainer TRAIN DEV TEST --model DIR --seed 1     # one JSON line
"""

import argparse
import json
import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from seqeval.metrics import f1_score
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    Trainer,
    TrainingArguments,
)
from transformers.utils import logging


def read(path: str) -> list[tuple[list[str], list[str]]]:
    """Return the file's sentences as (words, tags); the first field is the word, the last the tag."""
    sentences: list[tuple[list[str], list[str]]] = [([], [])]
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        fields = re.split(r"[ \t]+", line.strip())
        if fields == [""]:
            sentences.append(([], []))
        elif fields[0] != "-DOCSTART-":
            sentences[-1][0].append(fields[0])
            sentences[-1][1].append(fields[-1])
    return [sentence for sentence in sentences if sentence[0]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs=3)
    parser.add_argument("--model", required=True)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--warmup", type=float, default=0, help="share of the steps")
    parser.add_argument("--weight-decay", type=float, default=0)
    parser.add_argument("--bf16", action="store_true")
    args = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()

    train, dev, test = (read(path) for path in args.files)
    labels = sorted({tag for _, tags in train for tag in tags})
    label2id = {label: i for i, label in enumerate(labels)}
    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.model, add_prefix_space=True)
    model = AutoModelForTokenClassification.from_pretrained(
        args.model, dtype=torch.float32, num_labels=len(labels), id2label=dict(enumerate(labels)), label2id=label2id
    )
    behind_padding = 2 if model.config.model_type == "roberta" else 0
    limit = min(tokenizer.model_max_length, model.config.max_position_embeddings - behind_padding)

    def encode(sentences: list[tuple[list[str], list[str]]]) -> list[dict[str, list[int]]]:
        rows = []
        for words, tags in sentences:
            encoded = tokenizer(words, is_split_into_words=True, truncation=True, max_length=limit)
            ids, previous = [], None
            for word_id in encoded.word_ids():
                new = word_id is not None and word_id != previous
                ids.append(label2id.get(tags[word_id], -100) if new else -100)
                previous = word_id
            rows.append({**encoded, "labels": ids})
        return rows

    def f1(sentences: list[tuple[list[str], list[str]]]) -> float:
        rows = encode(sentences)
        logits = trainer.predict(rows).predictions.argmax(-1)
        predicted = []
        for (words, tags), best in zip(sentences, logits, strict=True):
            guess = ["O"] * len(tags)
            word_ids = tokenizer(words, is_split_into_words=True, truncation=True, max_length=limit).word_ids()
            seen = set()
            for position, word_id in enumerate(word_ids):
                if word_id is not None and word_id not in seen:
                    seen.add(word_id)
                    guess[word_id] = labels[best[position]]
            predicted.append(guess)
        return float(f1_score([tags for _, tags in sentences], predicted))

    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model,
            TrainingArguments(
                scratch,
                learning_rate=args.learning_rate,
                per_device_train_batch_size=args.batch,
                per_device_eval_batch_size=64,
                num_train_epochs=args.epochs,
                warmup_steps=args.warmup,
                weight_decay=args.weight_decay,
                bf16=args.bf16,
                use_cpu=not torch.cuda.is_available(),
                seed=args.seed,
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=encode(train),
            data_collator=DataCollatorForTokenClassification(tokenizer),
        )
        started, cpu_started = time.perf_counter(), time.process_time()
        trainer.train()
        seconds = {
            "seconds": round(time.perf_counter() - started, 1),
            "cpu_seconds": round(time.process_time() - cpu_started, 1),
        }
        print(json.dumps({"dev_f1": f1(dev), "test_f1": f1(test), **seconds, **vars(args)}))


if __name__ == "__main__":
    np.set_printoptions(precision=4)
    sys.exit(main())
