"""The training itself: a job in, the best model and an engine around it out. The only place that builds a Trainer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers

from bertft.console import say
from bertft.encoders import load
from bertft.errors import DataError, UsageError
from bertft.inference.engine import Engine
from bertft.inference.pytorch import TorchBackend, choose_device, describe, native_bf16
from bertft.tasks.base import IGNORED
from bertft.training.plan import Job
from bertft.training.trainer import EncoderTrainer, Padded, Progress, Windows


def fit(job: Job, checkpoints: Path, *, device: str, resume: bool) -> tuple[Any, Engine]:
    """Train and return the model with the best dev score, and the engine that scored it.

    Raises UsageError for a device that is not there, ModelError for a checkpoint that cannot be trained.
    """
    recipe, words = job.recipe, job.tokenizer.words
    chosen = choose_device(_visible(device))
    settings = dict(recipe.trainer)
    if not {"bf16", "fp16"} & settings.keys():
        settings["bf16"] = native_bf16(chosen)
    precision = "bf16" if settings.get("bf16") else "fp16" if settings.get("fp16") else "fp32"
    say(f"using {describe(chosen, precision)}")

    transformers.set_seed(recipe.seed)
    head = job.task.head()
    model, kept = load.load_model(job.checkpoint, head.architecture, head.labels)
    size = f"{model.num_parameters() / 1e6:.3g} M parameters"
    say(f"{job.checkpoint.name}: {size}; {'its head is kept' if kept else 'the head is new'}")

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()  # of saving; the progress line says enough
    defaults = {
        "disable_tqdm": True,
        "logging_strategy": "epoch",
        "metric_for_best_model": f"eval_{job.task.best_metric}",
        "use_cpu": chosen.type == "cpu",
    }
    with _settings():
        arguments = transformers.TrainingArguments(
            output_dir=str(checkpoints),
            seed=recipe.seed,
            remove_unused_columns=False,
            label_names=["labels"],
            **{**defaults, **settings},
        )
    windows = [window for window in job.windows if any(label != IGNORED for label in window.labels)]
    if len(windows) < len(job.windows):  # a batch of only such windows has no loss: 0/0
        say(f"{len(job.windows) - len(windows):,} windows own no word with a known label and are left out of training")
    if not windows:
        raise DataError("no window has a word to learn from", place=job.splits.train.info["path"])
    engine = Engine(job.task, words, job.window, TorchBackend(model, words.pad))
    progress = Progress(job.counts.words, arguments.gradient_accumulation_steps)
    callbacks: list[transformers.TrainerCallback] = [progress]
    if recipe.early_stopping is not None and arguments.load_best_model_at_end:
        callbacks.append(transformers.EarlyStoppingCallback(recipe.early_stopping))
    with _settings():
        trainer = EncoderTrainer(
            engine=engine,
            dev=job.splits.dev,
            progress=progress,
            model=model,
            args=arguments,
            train_dataset=Windows(windows),
            eval_dataset=job.splits.dev.examples,
            data_collator=Padded(words.pad),
            callbacks=callbacks,
        )
    trainer.remove_callback(transformers.PrinterCallback)
    last = None
    if resume:
        last = _last_checkpoint(checkpoints)
        say(f"resuming from {last}" if last else "no checkpoint yet: starting from the beginning")
    try:
        trainer.train(resume_from_checkpoint=last)
    except ImportError as error:  # an optimizer or a reporter of another package
        raise UsageError(f"the recipe's `trainer:` needs a package: {' '.join(str(error).split())}") from error
    model.eval()
    return model, engine


def _last_checkpoint(checkpoints: Path) -> str | None:
    """Return the newest checkpoint that was written to its end: Trainer writes its state last."""
    whole = [path.parent for path in checkpoints.glob("checkpoint-*/trainer_state.json")]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


@contextmanager
def _settings() -> Iterator[None]:
    """Turn what Trainer says of settings that do not fit together, or need another package, into a UsageError."""
    try:
        yield
    except (ValueError, ImportError, RuntimeError, TypeError) as error:
        raise UsageError(f"the recipe's `trainer:` cannot be used: {' '.join(str(error).split())[:500]}") from error


def _visible(device: str) -> str:
    """Return `device` as Trainer can use it: of several GPUs it takes the first it sees, so only that one is shown."""
    if device.startswith("cuda:") and "LOCAL_RANK" not in os.environ and not torch.cuda.is_initialized():
        index = device.removeprefix("cuda:")
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        names = [name for name in seen.split(",") if name]
        if index.isdigit() and index != "0" and (not names or int(index) < len(names)):
            os.environ["CUDA_VISIBLE_DEVICES"] = names[int(index)] if names else index
            return "cuda:0"
    return device
