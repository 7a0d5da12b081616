"""`bertft eval`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bertft.cli import options


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
    from bertft.inference.evaluate import evaluate

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
    )
    if json or not sys.stdout.isatty():
        from bertft.data.jsonl import encode

        print(encode(scores))
    else:
        from bertft.report.table import detail_tables, score_table

        print(score_table(scores))
        if detail:
            print(f"\n{detail_tables(scores)}")
