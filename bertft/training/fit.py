"""The training itself: a job in, the best model and an engine around it out. The only place that builds a Trainer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.trainer_utils import get_last_checkpoint

from bertft.console import say
from bertft.encoders import load
from bertft.errors import UsageError
from bertft.inference.engine import Engine
from bertft.inference.pytorch import TorchBackend, choose_device, describe, native_bf16
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
    try:
        arguments = transformers.TrainingArguments(
            output_dir=str(checkpoints),
            seed=recipe.seed,
            remove_unused_columns=False,
            label_names=["labels"],
            **{**defaults, **settings},
        )
    except (ValueError, ImportError) as error:
        raise UsageError(f"the recipe's `trainer:` does not fit together: {' '.join(str(error).split())}") from error
    engine = Engine(job.task, words, job.window, TorchBackend(model, words.pad))
    progress = Progress(job.counts.words, arguments.gradient_accumulation_steps)
    callbacks: list[transformers.TrainerCallback] = [progress]
    if recipe.early_stopping is not None and arguments.load_best_model_at_end:
        callbacks.append(transformers.EarlyStoppingCallback(recipe.early_stopping))
    trainer = EncoderTrainer(
        engine=engine,
        dev=job.splits.dev,
        progress=progress,
        model=model,
        args=arguments,
        train_dataset=Windows(job.windows),
        eval_dataset=job.splits.dev.examples,
        data_collator=Padded(words.pad),
        callbacks=callbacks,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    last = None
    if resume:
        last = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
        say(f"resuming from {last}" if last else "no checkpoint yet: starting from the beginning")
    trainer.train(resume_from_checkpoint=last)
    model.eval()
    return model, engine


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
