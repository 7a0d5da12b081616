"""`train`: a recipe and labelled files in, a bundle and its scores out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertft.bundle import card, store
from bertft.console import is_main_process, muted, say
from bertft.errors import UsageError
from bertft.inference.evaluate import ExtraMetrics, measure, where_it_fails
from bertft.inference.judged import Judged
from bertft.recipe import Recipe, check_options
from bertft.tasks import task_class
from bertft.tasks.base import Task
from bertft.training import parallel, reporters
from bertft.training.calibrate import calibrate, calibrate_on_folds
from bertft.training.directory import RunDirectory, refuse_changes, writing
from bertft.training.plan import Job, plan, without_evaluation
from bertft.training.seeds import Seeds, spread, spread_line

if TYPE_CHECKING:
    from bertft.training.fit import Trained
    from bertft.training.trainer import Watch


@dataclass(frozen=True, slots=True)
class Finished:
    """A training that is done, as a report shows it."""

    recipe: Recipe
    judged: list[Judged]
    """dev and test, those that there are."""
    infos: Mapping[str, Mapping[str, Any]]
    labels: Mapping[str, int]
    history: list[dict[str, Any]]
    facts: Mapping[str, Any]
    metric: str
    """That by which dev chooses the checkpoint."""
    about: Mapping[str, str]
    """What else a reader wants to know: the seed, the model's size, batches, windows, the time."""


def train(
    recipe: Recipe,
    *,
    data: str,
    dev: str | None = None,
    test: str | None = None,
    unlabelled: str | None = None,
    out: str | None = None,
    format: str = "auto",
    limit: int | None = None,
    device: str = "auto",
    folds: int | None = None,
    seeds: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    observe: Callable[[Finished], None] | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Fine-tune the recipe's model on `data` and return `{"model": DIR, "dev": {...}, "test": {...}}`.

    With `folds` the rows are cross-validated first: `dev` scores every row by the model that did not see it, `folds`
    has the mean and standard deviation over the folds, and the model is then trained on all rows.

    With `seeds` so many models are trained, from the recipe's seed on: `seeds` has the mean and standard deviation of
    their scores, and the one that is best on dev is the model.

    `observe` is given what a report is made of, once the model is in its place; not of one that an earlier run made.

    A recipe with a teacher learns the teacher's answers to the texts in `unlabelled` too.

    With `watch` the run is a part of another, which has told what there is to say of the data: it is given each
    evaluation's number and score, and may end the run by what it raises.

    A dry run trains nothing and returns `{"recipe": YAML, "labels": counts, "tokens": statistics}`. Raises UsageError,
    DataError or ModelError, before training, where an argument, a file or the model cannot be used.
    """
    if folds is not None and (resume or dev):
        what = "`--dev` has no place" if dev else "there is nothing to resume"
        raise UsageError(f"--folds cross-validates on --data alone: {what}", help="leave one of them out")
    if folds is not None and folds < 2:
        raise UsageError(f"--folds {folds}: there are two at least")
    if seeds is not None and (folds is not None or seeds < 2):
        what = f"{seeds} is not two or more" if folds is None else "folds have no dev on which one model is the best"
        raise UsageError(f"--seeds: {what}", help="leave one of them out")
    if recipe.search:
        say("`search:` is what `bertft sweep` tries; this trains with the recipe's own values")
        recipe = replace(recipe, search={})
    if folds is not None and recipe.distill:
        fact = "--folds: the teacher may have learnt the rows that a fold holds out"
        raise UsageError(fact, help="`--dev` scores a student by rows that neither has learnt")
    recipe = check_options(recipe, task_class(recipe.task).options_class)
    reporters.check(recipe.trainer)
    extra = ExtraMetrics(recipe.metrics, trust_remote_code)
    if out is None and parallel.is_started():
        raise UsageError("several processes need one place to write to", help="name it with `--out`")
    target = Path(out) if out else Path("runs") / f"{recipe.task}-{datetime.now():%Y%m%d-%H%M%S}"
    directory = RunDirectory(target, part=watch is not None)
    if not dry_run:
        finished = resume and directory.is_finished()
        if not finished:
            directory.claim(resume=resume, overwrite=overwrite)
    with muted() if watch else nullcontext():
        job = plan(
            recipe,
            data=data,
            dev=dev,
            test=test,
            format=format,
            limit=limit,
            folds=folds,
            unlabelled=unlabelled,
            device=device,
            allow_pickle=allow_pickle,
        )
    if dry_run:
        return _summary(job)
    inputs = {**inputs_of(job), **({"seeds": seeds} if seeds else {})}
    if finished:
        made = store.read_manifest(directory.target).get("inputs", inputs)
        refuse_another(f"the model in {str(directory.target)!r}", made, inputs)
        say(f"{directory.target} is finished")
        return {"model": str(directory.target), **store.read_metrics(directory.target)}
    with directory.locked(resume=resume):
        directory.begin(job.recipe.to_yaml(), inputs, resume=resume)
        more: dict[str, Any] = {}
        if seeds is not None:
            metrics, more, shown = _of_seeds(job, seeds, directory, inputs, device=device, resume=resume, extra=extra)
        else:
            pairs: list[tuple[Any, Any]] = []
            metrics = {}
            if folds is not None:
                # to choose a checkpoint by the rows that it is then scored on would flatter every fold
                job = replace(job, recipe=without_evaluation(job.recipe))
                more, pairs, metrics["dev"] = _cross_validate(job, folds, directory, device=device, extra=extra)
                say(f"\nall {job.train.info['rows']:,} rows")
            resumable = folds is None
            one = _make(
                job,
                directory.checkpoints,
                pairs,
                device=device,
                resume=resume,
                resumable=resumable,
                extra=extra,
                watch=watch,
            )
            metrics |= one.metrics
            one.write(directory.bundle, job, {**metrics, **more}, inputs)
            shown = job, replace(one, metrics=metrics)
        if is_main_process():
            directory.publish(overwrite=overwrite)
    if observe is not None and shown is not None and is_main_process():
        observe(shown[1].finished(shown[0], resumed=resume))
    return {"model": str(directory.target), **metrics, **more}


@dataclass(frozen=True, slots=True)
class _Made:
    """A trained model, the task with what was chosen on dev, its scores by split, and its `calibration`."""

    trained: Trained
    task: Task[Any, Any, Any]
    metrics: dict[str, Any]
    pairs: dict[str, list[tuple[Any, Any]]]
    """What was predicted, by split; for dev with folds, by the models that did not see a row."""
    judges: dict[str, Task[Any, Any, Any]]
    """The task whose thresholds are those of the answers, by split."""

    def finished(self, job: Job, *, resumed: bool) -> Finished:
        """Return what a report shows; of a run that was interrupted the time is not known."""
        infos = job.infos()
        judged = [
            Judged.of(
                name,
                self.judges[name],
                pairs,
                scores=self.metrics[name],
                info=infos.get(name, infos["train"]),
                about={},
            )
            for name, pairs in self.pairs.items()
        ]
        from bertft.heads import replaced

        trained = self.trained
        size = f"{replaced.size(trained.model) / 1e6:.3g} M parameters"
        about = {"size": size, "seed": str(job.recipe.seed), **job.described()}
        if not resumed and (seconds := next((e["train_runtime"] for e in trained.history if "train_runtime" in e), 0)):
            about["training took"] = f"{seconds:,.0f} s" if seconds < 300 else f"{seconds / 60:,.0f} minutes"
        return Finished(job.recipe, judged, infos, job.labels, trained.history, trained.facts, job.metric, about)

    def write(self, directory: Path, job: Job, metrics: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
        """Write the bundle, with all that is known of it as `metrics`."""
        if not is_main_process():
            return
        infos = job.infos()
        scores = {name: metrics[name] for name in ("dev", "test") if name in metrics}
        last = [*self.pairs][-1]
        judging = replace(self.trained.engine, task=self.judges[last])
        details = where_it_fails(judging, self.pairs[last]) if scores else {}
        written = card.render(
            job.recipe,
            self.task,
            scores,
            infos,
            checkpoint=job.encoder.checkpoint,
            window=job.encoder.window,
            computed=self.trained.facts,
            details=details,
            seeds=inputs.get("seeds"),
        )
        with writing(directory):
            shutil.rmtree(directory, ignore_errors=True)  # of a run that was killed here
            store.write(
                directory,
                model=self.trained.model,
                tokenizer=job.encoder.tokenizer,
                task=self.task,
                window=job.encoder.window,
                recipe=job.recipe,
                metrics=metrics,
                calibration=metrics.get("calibration", {}),
                data=infos,
                inputs=inputs,
                computed=self.trained.facts,
                card=written,
            )


def _make(
    job: Job,
    folder: Path,
    pairs: list[tuple[Any, Any]],
    *,
    device: str,
    resume: bool,
    extra: ExtraMetrics,
    resumable: bool = True,
    watch: Watch | None = None,
) -> _Made:
    """Train a model, with checkpoints in `folder`, and score it; without dev, `pairs` are what it tunes on."""
    from bertft.training.fit import fit

    trained = fit(job, folder, device=device, resume=resume, resumable=resumable, watch=watch)
    metrics: dict[str, Any] = {}
    predicted, judges = {}, {}
    wanted = job.recipe.calibrate == "auto"
    if job.dev:
        found = calibrate(trained.model, trained.engine, job.dev.examples, wanted=wanted)
        predicted["dev"], judges["dev"] = found.pairs, found.task
        metrics["dev"] = {**measure(found.task, found.pairs), **extra.score(found.task, found.pairs)}
    else:
        found = calibrate_on_folds(trained.model, trained.engine.task, pairs, wanted=wanted)
        predicted["dev"], judges["dev"] = pairs, trained.engine.task.tune(pairs)
    task = judges["test"] = found.task
    if job.test:
        tested = predicted["test"] = parallel.evaluate(replace(trained.engine, task=task), job.test.examples)
        metrics["test"] = {**measure(task, tested), **extra.score(task, tested)}
    if found.record:
        metrics["calibration"] = found.record
    return _Made(trained, task, metrics, predicted, judges)


def _of_seeds(
    job: Job,
    count: int,
    directory: RunDirectory,
    inputs: Mapping[str, Any],
    *,
    device: str,
    resume: bool,
    extra: ExtraMetrics,
) -> tuple[dict[str, Any], dict[str, Any], tuple[Job, _Made] | None]:
    """Train a model a seed and leave the best as the bundle; return its scores by split, and `{"seeds": …}`.

    Returns the best with its job too, but where an interrupted run has made it.
    """
    if job.dev is None:
        raise UsageError("--seeds: without dev data there is no best model", help="name some with `--dev`")
    first = job.recipe.seed
    seeds = Seeds.begin(directory, first=first, count=count, metric=job.metric, resume=resume)
    shown = None
    for seed, folder in seeds.remaining():
        one = replace(job, recipe=replace(job.recipe, seed=seed))
        made = _make(one, folder, [], device=device, resume=resume, extra=extra)
        if seeds.add({"seed": seed, **made.metrics}):
            made.write(seeds.bundle(seed), one, made.metrics, inputs)
            shown = one, made
        seeds.save()
    best = seeds.best()
    metrics: dict[str, Any] = {name: scores for name, scores in best.items() if name != "seed"}
    summary = seeds.summary(job.task.headline)
    if is_main_process():
        seeds.finish()
        with writing(directory.bundle):
            store.write_metrics(directory.bundle, {**metrics, "seeds": summary})
    return metrics, {"seeds": summary}, shown


def _cross_validate(
    job: Job, count: int, directory: RunDirectory, *, device: str, extra: ExtraMetrics
) -> tuple[dict[str, Any], list[tuple[Any, Any]], dict[str, Any]]:
    """Train a model a fold; return `{"folds": …}`, each row with the answer of a model that did not see it, and scores.

    Thresholds are chosen on all of these answers; the folds are scored with them.
    """
    from bertft.training.fit import fit

    by_fold = []
    for number, fold in enumerate(job.folds(count), 1):
        rows = fold.named()
        say(f"\nfold {number} of {count}: {len(rows['train'].examples):,} rows, {len(rows['dev'].examples):,} held out")
        engine = fit(fold, directory.partial / f"fold-{number}", device=device, resumable=False).engine
        asked = replace(engine, task=engine.task.detailed()) if job.recipe.calibrate == "auto" else engine
        by_fold.append(parallel.evaluate(asked, rows["dev"].examples))
        shutil.rmtree(directory.partial / f"fold-{number}", ignore_errors=True)
    pairs = [pair for fold in by_fold for pair in fold]
    task = engine.task.tune(pairs)
    every = [task.score(fold) for fold in by_fold]
    scores = [{key: score[key] for key in task.headline} for score in every]
    found = spread(scores, task.headline)
    say(f"{count} folds, mean ± sd: {spread_line(found, task.headline)}")
    return (
        {"folds": {"count": count, **found, "scores": scores}},
        pairs,
        {**measure(task, pairs), **extra.score(task, pairs)},
    )


def refuse_another(what: str, made: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raise UsageError where a run that is finished is another one than is asked for.

    Versions may differ: a newer one would make other weights, but these are done.
    """
    lasting = ("recipe ", "data ", "seeds", "teacher ")
    before, now = ({key: value for key, value in each.items() if key.startswith(lasting)} for each in (made, asked))
    refuse_changes(what, before, now)


def inputs_of(job: Job) -> dict[str, Any]:
    """Return what a resumed run must have in common with the one that was interrupted."""
    settings: dict[str, Any] = {}
    for key, value in asdict(job.recipe).items():
        if key in ("search", "distill") and not value:
            continue
        section = value if isinstance(value, dict) else {}
        settings |= {f"recipe {key}.{name}": inner for name, inner in section.items()} or {f"recipe {key}": value}
    files = {
        f"data {name}": f"sha256 {info['sha256'][:16]}…, {info['rows']} rows" for name, info in job.infos().items()
    }
    made_with = store.versions() | (store.versions(["peft"]) if job.recipe.peft else {})
    versions = {f"version of {name}": version for name, version in made_with.items()}
    teacher = job.teacher.inputs() if job.teacher else {}
    return {**settings, **files, **versions, "processes": int(os.environ.get("WORLD_SIZE", "1")), **teacher}


def _summary(job: Job) -> dict[str, Any]:
    counts = job.counts
    return {
        "recipe": job.recipe.to_yaml(),
        "labels": dict(job.labels.most_common()),
        "batches": {"tokens": job.batch_tokens, "examples": round(job.batch_examples, 1)},
        "tokens": {
            "examples": counts.examples,
            "words": counts.words,
            "tokens": counts.tokens,
            **({"tokens_per_word": round(counts.tokens / counts.words, 3)} if counts.words else {}),
            "unknown": counts.unknown,
            "vanished": counts.vanished,
            "cut": counts.cut,
            "unread": counts.unread,
            "windows": counts.windows,
            "windowed": counts.windowed,
            "window": job.encoder.window.length,
            "stride": job.encoder.window.stride,
        },
    }
