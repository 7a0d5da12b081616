"""The training itself: a job in, the best model and an engine around it out. The only place that builds a Trainer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers

from bertft import signals
from bertft.bundle import store
from bertft.console import ERRORS, is_main_process, say, warn
from bertft.encoders import adapters, depth, prefix
from bertft.encoders.families import bf16_safe, fp16_safe
from bertft.encoders.load import fold_scale
from bertft.errors import ModelError, UsageError, first_line
from bertft.heads import replaced
from bertft.inference.engine import BATCH_TOKENS, Engine
from bertft.inference.pytorch import (
    TorchBackend,
    choose_device,
    describe,
    native_bf16,
    out_of_memory,
    takes_segments,
    visible,
)
from bertft.recipe import Recipe
from bertft.text.masking import Masking
from bertft.training import checkpoints, cpu, layers, parallel, reporters, unpadded
from bertft.training.directory import refuse_changes
from bertft.training.distillation import Distillation
from bertft.training.plan import Job
from bertft.training.progress import Progress
from bertft.training.sampling import TRAINERS_OWN, Batches
from bertft.training.trainer import Collator, Drawn, EncoderTrainer, Pairing, Watch, usable_settings

_LOGGED = 0.02
"""Of all steps: so often the loss is logged, for learning curves and reporters. Each time waits for the device."""
_RENAMED = {
    "gradient_checkpointing": "activation_checkpointing",
    "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
}
"""Settings under the names that everybody knows, of which transformers warns."""
_ON_SIGNAL = "stopping: the checkpoint is written at the end of this step (again to leave without it)"


@dataclass(frozen=True, slots=True)
class Trained:
    """A model with the best dev score, the engine that scored it, in what it was computed, and how it came about."""

    model: Any
    engine: Engine
    facts: dict[str, Any]
    history: list[dict[str, Any]]
    """What Trainer has logged: losses and dev metrics, each with its epoch and step."""


def fit(
    job: Job, folder: Path, *, device: str, resume: bool = False, resumable: bool = True, watch: Watch | None = None
) -> Trained:
    """Train, with checkpoints in `folder`, and return the best model.

    `watch` is given each evaluation's number and its score, and may end the training by what it raises.

    With `resumable`, SIGINT and SIGTERM end it by Interrupted when a checkpoint is written. Raises UsageError for a
    device that is not there or a `resume` in another precision, ModelError for a checkpoint that cannot be trained,
    OutputError where none can be written, GateError for a model that has diverged.
    """
    resumable = resumable and not job.recipe.trainer.get("save_only_model")
    if not resumable:
        if resume:
            say("trainer.save_only_model: nothing is kept to resume from, so this starts at the beginning")
        return _fit(job, folder, None, device=device, resume=False, watch=watch)
    with signals.deferred(_ON_SIGNAL if is_main_process() else "") as request:
        return _fit(job, folder, request, device=device, resume=resume, watch=watch)


def _fit(
    job: Job, folder: Path, request: signals.Request | None, *, device: str, resume: bool, watch: Watch | None
) -> Trained:
    recipe, subwords = job.recipe, job.encoder.tokenizer.subwords
    chosen = choose_device(visible(device))
    transformers.set_seed(recipe.seed)
    head = job.task.head()
    if head.crf is not None and parallel.is_started():
        raise UsageError("options.head: a CRF trains in one process", help="start it without `accelerate launch`")
    model, kept = store.load_weights(job.encoder.checkpoint, head)
    if kept and (scale := job.task.scale) is not None:  # the head gives values, and is to learn standard scores
        fold_scale(model, -scale.mean / scale.deviation, 1 / scale.deviation)
    distillation = None
    if job.teacher is not None:
        distillation = Distillation.load(job.teacher, job.task, model)
        if (chosen_layers := job.teacher.layers) is not None:
            of = model.config.num_hidden_layers
            depth.keep(model, chosen_layers)
            say(f"the student has layers {', '.join(map(str, chosen_layers))} of the teacher's {of}")
    size = f"{replaced.size(model) / 1e6:.3g} M parameters"
    say(f"{job.encoder.checkpoint.name}: {size}; {_of_head(model, kept=kept, told=head.told is not None)}")
    _choose_weights(model, recipe)
    configs = [model.config, *([job.teacher.config] if job.teacher is not None else [])]
    settings, precision = _with_precision(recipe.trainer, chosen, configs)
    if chosen.type == "cpu":
        cpu.speed_up(model)

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()  # of saving; the progress line says enough
    defaults = {
        "disable_tqdm": True,
        "logging_steps": _LOGGED,
        "metric_for_best_model": f"eval_{job.metric}",
        "greater_is_better": job.metric not in ERRORS,
        "use_cpu": chosen.type == "cpu",
        "logging_nan_inf_filter": False,  # it waits for the device each step; `Progress` looks at the losses
        "restore_callback_states_from_checkpoint": True,  # what early stopping has counted
    }
    if job.objective.detects:  # DDP looks for what is used in the model's output, where the generator's is not
        defaults["ddp_find_unused_parameters"] = False
    save_limit = settings.pop("save_total_limit", None)
    for old, new in _RENAMED.items():
        if old in settings:
            settings[new] = settings.pop(old)
    with usable_settings():
        arguments = transformers.TrainingArguments(
            output_dir=str(folder),
            seed=recipe.seed,
            remove_unused_columns=False,
            label_names=["labels"],
            **{**defaults, **settings},
        )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # several GPUs in one process would be DataParallel; `accelerate launch` uses them all
    objective = job.objective
    if arguments.label_smoothing_factor and not objective.smoothing:
        if objective.loss in ("values", "spans", "crf"):
            raise UsageError("trainer.label_smoothing_factor: this task's loss has no labels to smooth")
        objective = replace(objective, smoothing=arguments.label_smoothing_factor)
    batches = _batches(job, arguments)
    backend = TorchBackend(model, subwords.pad)
    engine = Engine(job.task, subwords, job.encoder.window, backend, BATCH_TOKENS[chosen.type])
    progress = Progress(
        amount=job.counts.words or job.counts.tokens,
        unit="words" if job.counts.words else "tokens",
        accumulation=arguments.gradient_accumulation_steps,
        precision=precision,
        place=job.items.place,
    )
    callbacks: list[transformers.TrainerCallback] = [progress]
    if recipe.early_stopping is not None and arguments.load_best_model_at_end:
        callbacks.append(transformers.EarlyStoppingCallback(recipe.early_stopping))
    if recipe.unfreeze is not None:
        unfreezing = layers.Unfreezing(model, recipe.unfreeze)
        callbacks.append(unfreezing)
        if arguments.max_steps <= 0 and (never := unfreezing.never(arguments.num_train_epochs)):
            say(never)
    prefix.check_trainer(model, gradient_checkpointing=bool(arguments.activation_checkpointing))
    if arguments.activation_checkpointing and not model.supports_gradient_checkpointing:
        fact = f"trainer.gradient_checkpointing: transformers has none for {model.config.model_type}"
        raise UsageError(fact, help="smaller batches (`--set batch_tokens=512`) take less memory too")
    dev = job.dev.examples if job.dev else []
    facts: dict[str, Any] = {
        "precision": precision,
        "device": chosen.type,
        "threads": torch.get_num_threads(),
        "parts": 1,
    }
    last = _last(folder, facts, best=arguments.load_best_model_at_end) if resume else None
    with usable_settings():
        trainer = EncoderTrainer(
            engine=engine,
            dev=dev,
            progress=progress,
            objective=objective,
            batches=batches,
            distillation=distillation,
            request=request,
            watch=watch,
            facts=facts,
            save_limit=save_limit,
            layer_decay=recipe.layer_decay,
            save_seconds=None if recipe.checkpoint_minutes is None else 60 * recipe.checkpoint_minutes,
            model=model,
            args=arguments,
            train_dataset=Drawn(job.items, masking=_masking(job), pairing=_pairing(job), seed=recipe.seed),
            eval_dataset=dev,
            data_collator=Collator(
                objective,
                subwords.pad,
                segments=distillation.takes_segments if distillation is not None else takes_segments(model),
            ),
            callbacks=callbacks,
        )
    if chosen.type == "cuda" and precision != "fp32" and not _wrapped(trainer):
        with trainer.accelerator.autocast():
            problem = unpadded.prepare(model)
        trainer.pads = problem is not None
        say(f"batches keep their padding: {problem}" if problem else "batches are computed without their padding")
    trainer.remove_callback(transformers.PrinterCallback)
    reporters.place_logs(trainer.callback_handler.callbacks, folder)
    try:
        trainer.train(resume_from_checkpoint=last)
        trainer.check()
    except ImportError as error:  # an optimizer or a reporter of another package
        raise UsageError(f"the recipe's `trainer:` needs a package: {' '.join(str(error).split())}") from error
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        advice = "smaller batches (`--set batch_tokens=512`), shorter windows or a smaller encoder need less"
        raise ModelError("there is not enough memory for this training", help=advice) from error
    except Exception as error:
        if not reporters.has_failed(error):
            raise
        raise UsageError(
            f"trainer.report_to: {first_line(error)}", help="without it: `--set trainer.report_to=none`"
        ) from error
    model.eval()
    if recipe.adapters is not None and recipe.adapters.merges:
        adapters.merge(model)
    if (scale := job.task.scale) is not None:
        fold_scale(model, scale.mean, scale.deviation)
        engine = replace(engine, task=job.task.unscaled())
    return Trained(model, engine, facts, trainer.state.log_history)


def _of_head(model: Any, *, kept: bool, told: bool) -> str:
    """Say how much of the head came with the checkpoint: of one that also tells of pairs it may be a part."""
    if kept:
        return "its head is kept"
    new = {name for name in model.bertft_new if "predictions" in name}
    if not told or new:
        return "the head is new"
    return "its head of masked tokens is kept, what tells of pairs is new"


def _choose_weights(model: Any, recipe: Recipe) -> None:
    """Freeze what the recipe does not train, put adapters in where it asks for them, and say how much is trained.

    Raises UsageError where the encoder has no such layers, or several processes would have to agree on them.
    """
    if recipe.unfreeze is not None and parallel.is_started():
        raise UsageError("unfreeze: layers are unfrozen in one process", help="start it without `--processes`")
    if adapters.is_on(model):
        fact = "--model: it has a prefix, which is no part of an encoder that could be trained on"
        raise UsageError(fact, help="start from the encoder that it was made for")
    if recipe.adapters is not None:
        adapters.attach(model, recipe.adapters)
    layers.freeze(model, recipe.freeze)
    if recipe.adapters is not None or recipe.freeze is not None:
        say(layers.trainable(model))


def _with_precision(
    trainer: dict[str, Any], device: torch.device, configs: Sequence[Any]
) -> tuple[dict[str, Any], str]:
    """Return the settings, with bf16 where they leave it open and device and families have it, and the precision.

    The families are the model's and its teacher's, which runs in the same one; say what is used. Raises UsageError for
    a precision in which one of them cannot be trained.
    """
    settings = dict(trainer)
    bf16 = all(map(bf16_safe, configs))
    if not {"bf16", "fp16"} & settings.keys():
        settings["bf16"] = native_bf16(device) and bf16
    precision = "bf16" if settings.get("bf16") else "fp16" if settings.get("fp16") else "fp32"
    safe = {"bf16": bf16_safe, "fp16": fp16_safe}.get(precision, lambda _: True)
    for config in configs:
        if not safe(config):
            advice = f"`--set trainer.{precision}=false`" + (" (bf16 works)" if bf16 else "")
            raise UsageError(f"trainer.{precision}: {config.model_type} does not train in {precision}", help=advice)
    say(f"using {describe(device, precision)}")
    return settings, precision


def _wrapped(trainer: EncoderTrainer) -> bool:
    """Say whether what is trained is more than the model as it stands: compiled, or shared out among processes."""
    return trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled or trainer.args.torch_compile


def _masking(job: Job) -> Masking | None:
    """Return how tokens are masked in training; None where none are."""
    subwords, share = job.encoder.tokenizer.subwords, job.objective.share
    if not share or subwords.mask is None:
        return None
    return Masking(subwords.mask, subwords.ordinary, share, only_masks=job.objective.detects)


def _pairing(job: Job) -> Pairing | None:
    """Return how pairs are made in training; None where there are none."""
    told = job.objective.told
    return None if told is None else Pairing(told, job.encoder.tokenizer.subwords.pair)


def _batches(job: Job, arguments: transformers.TrainingArguments) -> Batches | None:
    """Return what makes the batches; None where the recipe names one of Trainer's own ways."""
    if TRAINERS_OWN & job.recipe.trainer.keys():
        return None
    batches = Batches(
        job.items.longest,
        job.items.windows,
        tokens=job.batch_tokens,
        items=arguments.per_device_train_batch_size,
        seed=job.recipe.seed,
        rank=arguments.process_index,
        processes=arguments.world_size,
    )
    rate = f"learning rate {arguments.learning_rate:.2g}"
    size = f" of about {job.batch_tokens:,} tokens" if job.batch_tokens else ""
    say(f"{len(batches):,} batches{size} an epoch, {rate}")
    return batches


def _last(folder: Path, facts: dict[str, Any], *, best: bool) -> str | None:
    """Return the checkpoint to go on from, and take over into `facts` in how many parts its batches were computed.

    Raises UsageError where it was computed in another precision or on another kind of device.
    """
    found, problems = checkpoints.last(folder, best=best)
    for problem in problems:
        warn(problem)
    parallel.wait()  # until all have looked
    if is_main_process():
        checkpoints.clear(folder, after=checkpoints.step(found.folder) if found else 0)
    if found is None:
        say("no checkpoint yet: starting from the beginning")
        return None
    fixed = ("precision", "device")
    refuse_changes(
        f"the run in {str(folder.parent)!r}", {k: found.facts.get(k) for k in fixed}, {k: facts[k] for k in fixed}
    )
    if found.facts["threads"] != facts["threads"]:
        threads = f"{facts['threads']} threads, {found.facts['threads']} before"
        warn(f"the run goes on with {threads}: sums are made in another order, so the weights will differ in last bits")
    facts["parts"] = found.facts["parts"]
    say(f"resuming after step {checkpoints.step(found.folder):,}: {found.folder}")
    return str(found.folder)
