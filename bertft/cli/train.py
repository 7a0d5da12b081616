"""`bertft train`."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertft.cli import options
from bertft.errors import UsageError

if TYPE_CHECKING:
    from bertft.training.run import Finished


def train_command(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="A shipped recipe (`bertft recipes`) or a YAML file.",
            autocompletion=options.recipe_names,
        ),
    ],
    data: Annotated[str, typer.Option(metavar="FILE", help="The training data: a file, a folder, or hub:owner/name.")],
    dev: Annotated[
        str | None, typer.Option(metavar="FILE", help="Development data; without it 10 % is held out.")
    ] = None,
    test: Annotated[str | None, typer.Option(metavar="FILE", help="Test data, scored at the end.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|DIR",
            help="The encoder: embedded (default), a directory, a name of `bertft models`, a Hub id.",
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Learn from this trained model too; `--model teacher` makes a smaller one of it.",
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(metavar="N,N,…", help="The layers that `--model teacher` keeps, from 0; default every other one."),
    ] = None,
    unlabelled: Annotated[
        str | None, typer.Option(metavar="FILE", help="More texts for --teacher to answer, and to be learnt from.")
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where the model goes; default runs/RECIPE-DATE-TIME.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")] = None,
    limit: options.Limit = None,
    set_: options.Overrides = None,
    columns: options.Columns = None,
    encoding: options.Encoding = None,
    format: options.FormatOption = "auto",
    device: options.Device = "auto",
    folds: Annotated[
        int | None,
        typer.Option(min=2, metavar="K", help="Cross-validate in K folds, then train on all rows: for small data."),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=2, metavar="N", help="Train N models, seeds from --seed on: their mean and sd, and the best one."
        ),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Train in N processes of this machine, one a GPU.")
    ] = None,
    report: options.Report = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the unfinished run of --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what --out holds.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved recipe, labels and token counts; train nothing.")
    ] = False,
    trust_remote_code: options.Trust = False,
    allow_pickle: options.AllowPickle = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Fine-tune an encoder on a labelled file.

    Ends with one JSON line on stdout: the model's directory and its scores.

    Example: bertft train ner --data train.conll --dev dev.conll --test test.conll --out my-ner
    """
    options.set_verbosity(quiet=quiet, verbose=verbose)
    if report is not None:
        from bertft.report.document import check_place

        check_place(report)
    if processes is not None:
        raise typer.Exit(_in_parallel(processes, out=out, device=device))
    from bertft.console import is_main_process, say

    distill = {"distill.teacher": teacher, "distill.layers": None if layers is None else f"[{layers}]"}
    loaded = options.load_recipe(recipe, set_, columns, model=model, seed=seed, encoding=encoding, **distill)
    from bertft.training.run import train

    finished: list[Finished] = []
    result = train(
        loaded,
        data=data,
        dev=dev,
        test=test,
        unlabelled=unlabelled,
        out=out,
        format=format,
        limit=limit,
        device=device,
        folds=folds,
        seeds=seeds,
        resume=resume,
        overwrite=overwrite,
        dry_run=dry_run,
        trust_remote_code=trust_remote_code,
        allow_pickle=allow_pickle,
        observe=finished.append if report is not None else None,
    )
    if not is_main_process():
        return
    from bertft.data.jsonl import encode

    if dry_run:
        print(result["recipe"], end="")
        print("\n".join(f"# {key}: {encode(result[key])}" for key in ("labels", "batches", "tokens")))
        return
    from bertft.report.table import score_table, seed_table

    of = f" (seed {result['seeds']['best']})" if seeds else ""
    for split in ("dev", "test"):
        if split in result:
            title = "all folds, each scored by the model that did not see it" if split == "dev" and folds else split
            say(f"\n{title}{of}\n{score_table(result[split])}")
    if seeds:
        say(f"\n{seed_table(result['seeds'])}")
    if report is not None:
        files = {"data": data, "dev": dev, "test": test, "format": format, "limit": limit}
        _report(report, result["model"], finished, files)
    say(f"\nmodel: {result['model']}  (try: bertft predict {result['model']} FILE)")
    print(encode(result))


def _report(report: str, model: str, finished: list[Finished], files: dict[str, Any]) -> None:
    """Write the report of a training; of a model that an earlier run made, curves are gone: say what shows the rest."""
    from bertft.console import say, warn
    from bertft.report.document import write
    from bertft.report.pages import training_page
    from bertft.training.checks import found_quietly

    if not finished:
        again = shlex.join(["bertft", "eval", model, "--data", "FILE", "--report", report])
        warn(f"no report is written of what an earlier run made: `{again}` makes one")
        return
    (run,) = finished
    page = training_page(
        model,
        run.judged,
        recipe=run.recipe,
        infos=run.infos,
        labels=run.labels,
        history=run.history,
        facts=run.facts,
        metric=run.metric,
        about=run.about,
        found=found_quietly(run.recipe, **files),
    )
    write(report, page)
    say(f"report: {report}")


def _in_parallel(processes: int, *, out: str | None, device: str) -> int:
    """Start this command in several processes and return the exit code."""
    from bertft.training import parallel

    if out is None:
        raise UsageError("several processes need one place to write to", help="name it with `--out`")
    arguments = list(sys.argv[1:])
    at = next(i for i, argument in enumerate(arguments) if argument.partition("=")[0] == "--processes")
    del arguments[at : at + (1 if "=" in arguments[at] else 2)]
    return parallel.start(arguments, processes, device=device)
