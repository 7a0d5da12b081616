"""`sweep`: a recipe's `search:` tried out, a training a trial; the best by dev is the model.

OUT.partial/trials.journal     Optuna's: the trials with their parameters and scores
OUT.partial/trials/4/          the best model so far
OUT.partial/trials/7.partial/  the trial that is trained
OUT/sweep.json                 all trials, beside the best model; OUT/recipe.yaml makes it again
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import optuna

from bertft.bundle import card, store
from bertft.console import ERRORS, detail, say, shown, warn
from bertft.data import formats
from bertft.encoders import load
from bertft.errors import BertftError, GateError, ModelError, OutputError, UsageError
from bertft.inference.evaluate import ExtraMetrics, measure, read_labelled, where_it_fails
from bertft.inference.load import engine
from bertft.inference.pytorch import visible
from bertft.recipe import Recipe, check_options, override
from bertft.recipe import load as load_recipe
from bertft.tasks import task_class
from bertft.training import parallel, space
from bertft.training.directory import TRIALS, RunDirectory, writing
from bertft.training.plan import plan
from bertft.training.run import inputs_of, refuse_another, train
from bertft.training.trials import Trials

_JOURNAL = f"{TRIALS}.journal"
_FOUND = "sweep.json"


def sweep(
    recipe: Recipe,
    *,
    data: str,
    trials: int,
    dev: str | None = None,
    test: str | None = None,
    out: str | None = None,
    format: str = "auto",
    limit: int | None = None,
    device: str = "auto",
    timeout: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    fixed: Collection[str] = (),
) -> dict[str, Any]:
    """Train so many models with parameters out of the recipe's `search`, and keep the one that is best on dev.

    Of a recipe without `search`, keys that are `fixed` stay as they are.

    Returns `{"model": DIR, "recipe": FILE, "metric": NAME, "best": {…}, "trials": […], "dev": {…}, "test": {…}}`; test
    is scored by the best model alone. No trial is begun later than `timeout` minutes from now.

    Raises UsageError, DataError or ModelError, before the first trial, for what cannot be used; GateError where no
    trial has a score: each has diverged, or its parameters cannot be trained with.
    """
    wanted = space.parse(recipe)
    plain = check_options(replace(recipe, search={}), task_class(recipe.task).options_class)
    extra = ExtraMetrics(recipe.metrics, trust_remote_code)
    if parallel.is_started():
        raise UsageError("a sweep runs in one process", help="several sweeps can run side by side, each with its --out")
    directory = RunDirectory(Path(out) if out else Path("runs") / f"{recipe.task}-sweep-{datetime.now():%Y%m%d-%H%M%S}")
    finished = resume and directory.is_finished()
    if not finished:
        directory.claim(resume=resume, overwrite=overwrite)
    files: dict[str, Any] = {"data": data, "dev": dev, "format": format, "limit": limit, "allow_pickle": allow_pickle}
    job = plan(plain, test=test, folds=None, **files)
    if not wanted:
        wanted = space.default(job.recipe, fixed=fixed)
        say("the recipe has no `search:`; this is tried:")
    for key, way in wanted.items():
        say(f"  {key}: {way}")
    tried = {key: str(way) for key, way in wanted.items()}
    inputs = inputs_of(replace(job, recipe=replace(job.recipe, search=tried)))
    if finished:
        return _found(directory.target, inputs)
    metric = job.metric
    del job  # each trial reads its own
    with directory.locked(resume=resume):
        directory.begin(recipe.to_yaml(), inputs, resume=resume)
        journal = directory.partial / _JOURNAL
        found = Trials.open(journal, space=wanted, minimize=metric in ERRORS, seed=recipe.seed)
        run = partial(train, device=device, trust_remote_code=trust_remote_code, **files)
        started = time.monotonic()
        while (done := len(found.finished())) < trials:
            if timeout is not None and time.monotonic() - started >= 60 * timeout and found.best():
                say(f"\n{timeout:g} minutes are over: {done} of {trials} trials are done")
                break
            _trial(found, plain, metric, directory.partial / TRIALS, run, of=trials)
        best = found.best()
        if best is None:
            rows = found.table()
            if reason := next((one["reason"] for one in rows if "reason" in one), None):
                raise GateError(f"none of {len(rows)} trials was trained to its end; one of them: {reason}")
            advice = "a lower learning rate, or a longer warm-up, keeps training from that"
            raise GateError(f"all {len(rows)} trials have diverged", help=advice)
        with writing(directory.bundle):
            shutil.rmtree(directory.bundle, ignore_errors=True)
            shutil.copytree(directory.partial / TRIALS / str(best.number), directory.bundle)
            if test is not None:
                _test(directory.bundle, test, format=format, limit=limit, device=device, extra=extra)
            rows = found.table()
            _confess(directory.bundle, rows)
            result = {
                "metric": metric,
                "best": {"number": best.number, "params": best.params, "score": best.value},
                "trials": rows,
            }
            text = json.dumps({**result, "inputs": inputs}, indent=2, ensure_ascii=False)
            (directory.bundle / _FOUND).write_text(text + "\n", encoding="utf-8")
        directory.publish(overwrite=overwrite)
    return _result(directory.target, result)


def _trial(
    found: Trials, recipe: Recipe, metric: str, folder: Path, run: Callable[..., dict[str, Any]], *, of: int
) -> None:
    """Run the next trial, or the one that was interrupted, and keep its model if it is the best so far."""
    trial, params = found.next()
    told = ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in params.items()
    )
    say(f"\ntrial {trial.number}, {trial.number + 1} of {of}: {told}")
    if (same := found.like(trial)) is not None:
        say(f"as trial {same.number}, which is not done again")
        found.copy(trial, same)
        return
    place = RunDirectory(folder / str(trial.number))
    begun = place.partial.exists() or place.target.exists()
    started, before = time.monotonic(), trial.user_attrs.get("seconds", 0.0)
    score, pruned, reason = None, False, None
    try:
        made = run(override(recipe, params), out=str(place.target), resume=begun, watch=partial(found.judge, trial))
        score = float(made["dev"][metric])
        say(f"trial {trial.number}: dev {metric} {shown(metric, score)}")
    except optuna.TrialPruned:
        pruned = True
        say(f"trial {trial.number} falls behind the others: it is not trained to its end")
    except GateError as error:
        warn(f"trial {trial.number}: {error.fact}")
    except OutputError:
        raise
    except BertftError as error:  # the recipe itself has passed: it is what this trial tries
        reason = error.fact
        warn(f"trial {trial.number} cannot be trained: {reason}")
    finally:
        trial.set_user_attr("seconds", before + time.monotonic() - started)
    found.end(trial, score, pruned=pruned, reason=reason)
    best = found.best()
    for old in folder.iterdir() if folder.is_dir() else ():
        if best is None or old.name != str(best.number):
            shutil.rmtree(old, ignore_errors=True)
            detail(f"removed: {old}")


def _test(model: Path, path: str, *, format: str, limit: int | None, device: str, extra: ExtraMetrics) -> None:
    """Score the finished model on test rows, as `train` would have, and put that into its files."""
    bundle, recipe = store.open_bundle(str(model)), load_recipe(str(model / "recipe.yaml"))
    kind = formats.parse_format(format)
    rows = read_labelled(
        bundle.task, path, use="test", format=kind, encoding=recipe.encoding, columns=recipe.columns, limit=limit
    )
    ready = engine(bundle, device=visible(device), backend="torch", measuring=True)
    pairs, _ = ready.evaluate(rows.examples)
    scores = {**measure(bundle.task, pairs), **extra.score(bundle.task, pairs)}
    metrics = {**store.read_metrics(model), "test": scores}
    infos = {**bundle.manifest["data"], "test": rows.info}
    store.write_metrics(model, metrics)
    store.write_manifest(model, {**bundle.manifest, "data": infos})
    text = card.render(
        recipe,
        bundle.task,
        {name: metrics[name] for name in ("dev", "test")},
        infos,
        checkpoint=load.resolve(recipe.starts_from),
        window=bundle.window,
        computed=bundle.manifest["computed"],
        details=where_it_fails(ready, pairs),
    )
    (model / "README.md").write_text(text, encoding="utf-8")


def _confess(model: Path, trials: list[dict[str, Any]]) -> None:
    """Say in the model's card of how many it is the best."""
    path = model / "README.md"
    count = sum("same_as" not in one for one in trials)
    fact = f"It is the best on dev of the {count} trials in `{_FOUND}`, which flatters the dev figures."
    path.write_text(card.with_limit(path.read_text(encoding="utf-8"), fact), encoding="utf-8")


def _found(target: Path, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a finished sweep has come to; raises UsageError where it was another one."""
    path = target / _FOUND
    if not path.is_file():
        raise UsageError(f"the model in {str(target)!r} is not of a sweep", help="`--out` names another place")
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
        made = dict(found.pop("inputs"))
    except (ValueError, KeyError, TypeError):
        raise ModelError("cannot be read", place=path, help="`--overwrite` starts again") from None
    refuse_another(f"the sweep in {str(target)!r}", made, inputs)
    say(f"{target} is finished")
    return _result(target, found)


def _result(target: Path, found: Mapping[str, Any]) -> dict[str, Any]:
    return {"model": str(target), "recipe": str(target / "recipe.yaml"), **found, **store.read_metrics(target)}
