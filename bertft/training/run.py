"""`train`: a recipe and labelled files in, a bundle and its scores out.

A run in progress lives in `OUT.partial/`; `OUT/` appears by rename when everything in it is complete.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from bertft.bundle import card
from bertft.bundle import store as bundle
from bertft.console import is_main_process, say
from bertft.data import formats
from bertft.encoders import load
from bertft.encoders.families import learning_rate
from bertft.encoders.load import Tokenizer
from bertft.errors import UsageError
from bertft.inference.engine import BATCH_TOKENS, Engine
from bertft.inference.evaluate import ExtraMetrics, Labelled, read_labelled, report_counts, score
from bertft.recipe import Recipe, check_options
from bertft.tasks import task_class
from bertft.tasks.base import Counts, Task, Window, WindowSize
from bertft.training.split import hold_out

_CHECKED_ROWS = 200


def train(
    recipe: Recipe,
    *,
    data: str,
    dev: str | None = None,
    test: str | None = None,
    out: str | None = None,
    format: str = "auto",
    limit: int | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Fine-tune the recipe's model on `data` and return `{"model": DIR, "dev": {...}, "test": {...}}`.

    Raises UsageError, DataError or ModelError before training where an argument, a file or the model cannot be used. A
    dry run returns the resolved recipe and statistics instead, under `"recipe"`, `"labels"` and `"tokens"`.
    """
    task_type = task_class(recipe.task)
    recipe = check_options(recipe, task_type.options_class)
    extra = ExtraMetrics(recipe.metrics, trust_remote_code)
    kind = formats.parse_format(format)
    target = Path(out) if out else Path("runs") / f"{recipe.task}-{datetime.now():%Y%m%d-%H%M%S}"
    partial = target.with_name(target.name + ".partial")
    if not dry_run:
        finished = _claim(target, partial, resume=resume, overwrite=overwrite)
        if finished is not None:
            return finished

    task: Task[Any, Any, Any] = task_type.restore(recipe.options, {"labels": []})

    def read(path: str, task: Task[Any, Any, Any]) -> Labelled:
        return read_labelled(task, path, format=kind, encoding=recipe.encoding, columns=recipe.columns, limit=limit)

    train_rows = read(data, task)
    if dev is None:
        kept, held = hold_out(
            train_rows.examples, share=recipe.holdout, seed=recipe.seed, group=task.group, labels=task.labels_of
        )
        say(f"no --dev: {len(held):,} of {len(train_rows.examples):,} rows held out by group, seed {recipe.seed}")
        train_rows = Labelled(kept, {**train_rows.info, "rows": len(kept)})
        dev_rows = Labelled(held, {**train_rows.info, "rows": len(held)})
        task = task.prepare(kept)
    else:
        task = task.prepare(train_rows.examples)
        dev_rows = read(dev, task)
    test_rows = read(test, task) if test else None
    labels = Counter(label for example in train_rows.examples for label in task.labels_of(example))
    say("labels in train: " + ", ".join(f"{label} {n:,}" for label, n in labels.most_common(20)))

    checkpoint = load.resolve(recipe.model)
    config = load.load_config(checkpoint)
    tokenizer = load.load_tokenizer(checkpoint, config)
    tokenizer.words.check([example.words for example in train_rows.examples[:_CHECKED_ROWS]])
    window = bundle.default_window(tokenizer, recipe.options.get("window"), recipe.options.get("stride"))
    trainer = {"learning_rate": learning_rate(config), "report_to": "none", **recipe.trainer}
    recipe = replace(recipe, trainer=_consistent(trainer))
    windows, counts = task.features(train_rows.examples, tokenizer.words, window)
    report_counts(counts)
    if dry_run:
        return _dry_run(recipe, labels, counts, window)

    rows = {"train": train_rows, "dev": dev_rows} | ({"test": test_rows} if test_rows else {})
    with _locked(partial):
        _write_text(partial / "recipe.yaml", recipe.to_yaml())
        model, engine = _fit(
            recipe, task, checkpoint, tokenizer, window, windows, dev_rows, partial, device, resume, counts
        )
        metrics = {name: score(engine, part, extra) for name, part in rows.items() if name != "train"}
        infos = {name: part.info for name, part in rows.items()}
        if is_main_process():
            bundle.write(
                partial / "bundle",
                model=model,
                tokenizer=tokenizer,
                task=task,
                window=window,
                recipe=recipe,
                metrics=metrics,
                data=infos,
                card=card.render(recipe, task, metrics, infos),
            )
            _publish(partial, target)
    return {"model": str(target), **metrics}


def _fit(
    recipe: Recipe,
    task: Task[Any, Any, Any],
    checkpoint: load.Checkpoint,
    tokenizer: Tokenizer,
    window: WindowSize,
    windows: Sequence[Window],
    dev: Labelled,
    partial: Path,
    device: str,
    resume: bool,
    counts: Counts,
) -> tuple[Any, Engine]:
    """Train and return the best model (on its device) and an engine around it."""
    from bertft.inference.pytorch import TorchBackend, choose_device, describe, native_bf16

    chosen = choose_device(device)
    if chosen.type == "cuda" and chosen.index and "LOCAL_RANK" not in os.environ:
        raise UsageError(
            f"--device {device}: Trainer takes the first visible GPU",
            help=f"`CUDA_VISIBLE_DEVICES={chosen.index} bertft train …` makes this one the first",
        )
    import transformers
    from transformers.trainer_utils import get_last_checkpoint

    from bertft.training.trainer import EncoderTrainer, Padded, Progress, Windows

    settings = dict(recipe.trainer)
    if not {"bf16", "fp16"} & settings.keys():
        settings["bf16"] = native_bf16(chosen)
    precision = "bf16" if settings.get("bf16") else "fp16" if settings.get("fp16") else "fp32"
    say(f"using {describe(chosen, precision)}")
    transformers.set_seed(recipe.seed)
    head = task.head()
    model, kept = load.load_model(checkpoint, head.architecture, head.labels)
    say(
        f"{checkpoint.name}: {'its head is kept' if kept else 'the head is new'}; {model.num_parameters() / 1e6:.1f} M parameters"
    )
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()  # of saving; the progress line says enough
    arguments = transformers.TrainingArguments(
        output_dir=str(partial / "checkpoints"),
        seed=recipe.seed,
        remove_unused_columns=False,
        label_names=["labels"],
        disable_tqdm=True,
        logging_strategy=settings.pop("logging_strategy", "epoch"),
        metric_for_best_model=settings.pop("metric_for_best_model", f"eval_{task.best_metric}"),
        use_cpu=settings.pop("use_cpu", chosen.type == "cpu"),
        **settings,
    )
    engine = Engine(task, tokenizer.words, window, TorchBackend(model, tokenizer.words.pad), BATCH_TOKENS)
    progress = Progress(counts.words, task.best_metric, arguments.gradient_accumulation_steps)
    callbacks: list[transformers.TrainerCallback] = [progress]
    if recipe.early_stopping is not None and arguments.load_best_model_at_end:
        callbacks.append(transformers.EarlyStoppingCallback(recipe.early_stopping))
    trainer = EncoderTrainer(
        engine=engine,
        dev=dev,
        progress=progress,
        model=model,
        args=arguments,
        train_dataset=Windows(windows),
        eval_dataset=dev.examples,
        data_collator=Padded(tokenizer.words.pad),
        callbacks=callbacks,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    folder = arguments.output_dir
    last = get_last_checkpoint(folder) if resume and Path(folder).is_dir() else None
    if resume:
        say(f"resuming from {last}" if last else "no checkpoint yet: starting from the beginning")
    trainer.train(resume_from_checkpoint=last)
    model.eval()
    return model, engine


def _consistent(trainer: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with best-model selection off where evaluation is off; it could not work."""
    if trainer.get("eval_strategy", "no") != "no" or not trainer.get("load_best_model_at_end"):
        return trainer
    say("evaluation is off: the last model is kept, and early stopping is off")
    return {**trainer, "load_best_model_at_end": False}


def _claim(target: Path, partial: Path, *, resume: bool, overwrite: bool) -> dict[str, Any] | None:
    """Check that `target` may be written; return the result of a finished run that `--resume` asks for."""
    if (target / bundle.MANIFEST).is_file() and resume:
        say(f"{target} is finished")
        return {"model": str(target), **bundle.read_metrics(target)}
    if target.exists() and not overwrite:
        raise UsageError(
            f"{str(target)!r} exists already", help="`--overwrite` replaces it, `--out` names another place"
        )
    if target.exists() and not (target / bundle.MANIFEST).is_file():
        raise UsageError(f"{str(target)!r} is no model that bertft wrote; it is not overwritten")
    if partial.exists() and not (resume or overwrite):
        raise UsageError(
            f"a run into {str(target)!r} was not finished: {str(partial)!r} exists",
            help="`--resume` continues it, `--overwrite` starts again",
        )
    if overwrite and partial.exists() and not resume and is_main_process():
        if (partial / "lock").exists():
            _refuse_locked(partial)
        shutil.rmtree(partial)
    return None


@contextmanager
def _locked(partial: Path) -> Iterator[None]:
    """Make `OUT.partial` and hold its lock: the file `lock`, with the process that owns it."""
    if not is_main_process():
        yield
        return
    try:
        partial.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the directory: {error.strerror}", place=partial) from None
    lock = partial / "lock"
    if lock.exists():
        _refuse_locked(partial)
    _write_text(lock, json.dumps({"pid": os.getpid(), "host": os.uname().nodename}))
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _refuse_locked(partial: Path) -> None:
    """Raise UsageError where the process that holds the lock still runs, or may run on another host."""
    try:
        owner = json.loads((partial / "lock").read_text(encoding="utf-8"))
        pid, host = int(owner["pid"]), str(owner["host"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    if host == os.uname().nodename:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        except PermissionError:
            pass
    raise UsageError(
        f"another run is writing {str(partial)!r}: process {pid} on {host}",
        help=f"wait for it, or remove {str(partial / 'lock')!r} if it is gone",
    )


def _publish(partial: Path, target: Path) -> None:
    """Rename the finished bundle to `target`; a model that was there is removed after that, never before."""
    old = target.with_name(f"{target.name}.old-{os.getpid()}")
    if target.exists():
        target.rename(old)
    (partial / "bundle").rename(target)
    shutil.rmtree(partial)
    shutil.rmtree(old, ignore_errors=True)


def _dry_run(recipe: Recipe, labels: Counter[str], counts: Counts, window: WindowSize) -> dict[str, Any]:
    return {
        "recipe": recipe.to_yaml(),
        "labels": dict(labels.most_common()),
        "tokens": {
            "examples": counts.examples,
            "words": counts.words,
            "tokens": counts.tokens,
            "tokens_per_word": round(counts.tokens / max(counts.words, 1), 3),
            "unknown": counts.unknown,
            "vanished": counts.vanished,
            "windows": counts.windows,
            "windowed": counts.windowed,
            "window": window.length,
            "stride": window.stride,
        },
    }


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
