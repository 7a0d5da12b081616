"""What the plain loops share: the arguments and the `Trainer` at HF's example defaults. Imports nothing of bertft.

The defaults are those of run_glue.py, run_classification.py, run_ner.py and run_qa.py: lr 5e-5, batch 8, 3 epochs,
linear decay, no warm-up, no weight decay, fp32, random order, the last model is the model. One difference: batches are
padded to their longest row. The scripts (but for run_ner.py) pad to the full length, as `--pad-to` does, which only
costs more seconds.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments
from transformers.utils import logging

Row = dict[str, Any]


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of a plain loop: TRAIN DEV [TEST] and the hyper-parameters."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("files", nargs="+", metavar="FILE", help="TRAIN DEV [TEST]")
    result.add_argument("--model", required=True, help="a directory")
    result.add_argument("--learning-rate", type=float, default=5e-5)
    result.add_argument("--batch", type=int, default=8)
    result.add_argument("--epochs", type=float, default=3)
    result.add_argument("--seed", type=int, default=42)
    result.add_argument("--warmup", type=float, default=0, help="share of the steps")
    result.add_argument("--weight-decay", type=float, default=0)
    result.add_argument("--bf16", action="store_true")
    result.add_argument(
        "--pad-to", type=int, help="pad every training row to so many tokens, as run_glue and run_qa do"
    )
    return result


def limit(tokenizer: Any, model: Any) -> int:
    """Return how many tokens the model takes, specials included."""
    behind_padding = 2 if model.config.model_type == "roberta" else 0
    return min(tokenizer.model_max_length, model.config.max_position_embeddings - behind_padding)


def padder(args: argparse.Namespace, tokenizer: Any) -> DataCollatorWithPadding:
    """Return what makes a batch of rows: padded to its longest, or to the length that is asked for."""
    if args.pad_to is None:
        return DataCollatorWithPadding(tokenizer)
    return DataCollatorWithPadding(tokenizer, padding="max_length", max_length=args.pad_to)


class Loop:
    """One `Trainer`: made from the arguments, run once, then asked for logits."""

    def __init__(self, args: argparse.Namespace, model: Any, rows: Sequence[Row], collator: Any) -> None:
        """Make the Trainer. Seeding is the caller's: the head is random, and older than this."""
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self._scratch = tempfile.TemporaryDirectory()
        self.trainer = Trainer(
            model,
            TrainingArguments(
                self._scratch.name,
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
            train_dataset=list(rows),
            data_collator=collator,
        )

    def train(self) -> dict[str, float]:
        """Train; return the seconds and CPU seconds (all threads) of `trainer.train()` alone."""
        started, cpu_started = time.perf_counter(), time.process_time()
        self.trainer.train()
        return {
            "seconds": round(time.perf_counter() - started, 1),
            "cpu_seconds": round(time.process_time() - cpu_started, 1),
        }

    def logits(self, rows: Sequence[Row]) -> list[Any]:
        """Return each row's logits, an array, or a tuple of them where the model has several outputs.

        Rows of like length share a batch, which changes nothing but the time; logits of tokens reach as far as the row.
        """
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]))
        inputs = [{key: value for key, value in rows[i].items() if "label" not in key} for i in order]
        out = self.trainer.predict(inputs).predictions
        parts = out if isinstance(out, tuple) else (out,)
        result: list[Any] = [None] * len(rows)
        for place, i in enumerate(order):
            own = tuple(np.asarray(part[place], dtype=np.float32) for part in parts)
            result[i] = own if isinstance(out, tuple) else own[0]
        return result
