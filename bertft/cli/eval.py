"""`bertft eval`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from bertft.cli import options

if TYPE_CHECKING:
    from bertft.inference.judged import Judged


def eval_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A trained model: a directory or a Hub id.")],
    data: Annotated[str, typer.Option(metavar="FILE", help="Labelled data.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON also on a terminal.")] = False,
    detail: Annotated[bool, typer.Option("--detail", help="Show where it fails, too; JSON always has it.")] = False,
    train: Annotated[
        str | None, typer.Option(metavar="FILE", help="Its training data: tells seen entities from new ones.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME|PATH", help="One more metric, for evaluate.load; repeatable.")
    ] = None,
    report: options.Report = None,
    limit: options.Limit = None,
    columns: options.Columns = None,
    encoding: options.Encoding = None,
    format: options.FormatOption = "auto",
    device: options.Device = "auto",
    batch_tokens: options.BatchTokens = None,
    backend: options.Backend = "auto",
    precision: options.Precision = "auto",
    trust_remote_code: options.Trust = False,
    allow_pickle: options.AllowPickle = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Score a model on labelled data: a table on a terminal, one JSON line when piped.

    Example: bertft eval my-ner --data test.conll | jq .f1
    """
    options.set_verbosity(quiet=quiet, verbose=verbose)
    if report is not None:
        from bertft.report.document import check_place

        check_place(report)
    from bertft.inference.evaluate import evaluate

    judged: list[Judged] = []

    scores = evaluate(
        model,
        data,
        format=format,
        encoding=encoding,
        columns=options.parse_columns(columns),
        limit=limit,
        device=device,
        batch_tokens=batch_tokens,
        backend=backend,
        precision=precision,
        metrics=metric or (),
        train=train,
        trust_remote_code=trust_remote_code,
        allow_pickle=allow_pickle,
        observe=judged.append if report is not None else None,
    )
    if report is not None:
        _write(report, model, judged[0], train=train, format=format, limit=limit, columns=columns, encoding=encoding)
    if json or not sys.stdout.isatty():
        from bertft.data.jsonl import encode

        print(encode(scores))
    else:
        from bertft.report.table import detail_tables, score_table

        print(score_table(scores))
        if detail:
            print(f"\n{detail_tables(scores)}")


def _write(
    report: str,
    model: str,
    judged: Judged,
    *,
    train: str | None,
    format: str,
    limit: int | None,
    columns: str | None,
    encoding: str | None,
) -> None:
    from dataclasses import asdict

    from bertft.console import say
    from bertft.recipe import Recipe
    from bertft.report.document import write
    from bertft.report.pages import evaluation_page
    from bertft.training.checks import found_quietly

    task, data = judged.task, str(judged.info["path"])
    named = options.parse_columns(columns) or dict(judged.columns)
    recipe = Recipe(task.name, model=model, columns=named, encoding=encoding, options=asdict(task.options))
    files = {"data": train, "test": data} if train else {"data": data}
    findings, why_not = found_quietly(recipe, **files, format=format, limit=limit)
    of_data = [one for one in findings if not one.code.startswith("train-")]
    as_train = "" if train else "The file is read as if it were training data."
    write(report, evaluation_page(model, judged, found=(of_data, why_not), note=as_train))
    say(f"report: {report}")
