"""`bertft compare`."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import typer

from bertft.cli import options


def compare_command(
    systems: Annotated[
        list[str], typer.Argument(metavar="A B...", help="Models, or files of predictions on the same rows.")
    ],
    data: Annotated[str, typer.Option(metavar="FILE", help="Labelled data.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON also on a terminal.")] = False,
    test_metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="The metric that is tested; default the task's first.")
    ] = None,
    show: Annotated[int, typer.Option(min=0, metavar="N", help="List N rows that only one of two has right.")] = 0,
    samples: Annotated[int, typer.Option(min=100, help="Resamples of each test.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resamples.")] = 0,
    task: Annotated[
        Literal["auto", "classify", "pair", "ner", "qa"],
        typer.Option(help="Of files of predictions, where they do not tell."),
    ] = "auto",
    field: Annotated[
        str, typer.Option(help="Where files have their predictions; NAME_label in tables.")
    ] = "prediction",
    report: options.Report = None,
    limit: options.Limit = None,
    columns: options.Columns = None,
    encoding: options.Encoding = None,
    format: options.FormatOption = "auto",
    device: options.Device = "auto",
    batch_tokens: options.BatchTokens = None,
    backend: options.Backend = "auto",
    precision: options.Precision = "auto",
    allow_pickle: options.AllowPickle = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Say which of two or more models is better on the same rows, by how much, and whether that may be chance.

    Files are what `bertft predict` writes, tables with a column pred_label, or column files that end in predicted tags.

    Example: bertft compare my-ner other-ner predictions.conll --data test.conll
    """
    options.set_verbosity(quiet=quiet, verbose=verbose)
    if report is not None:
        from bertft.report.document import check_place

        check_place(report)
    from bertft.inference.compare import Setting, compare

    setting = Setting(
        format=format,
        encoding=encoding,
        columns=options.parse_columns(columns),
        limit=limit,
        task=task,
        field=field,
        device=device,
        batch_tokens=batch_tokens,
        backend=backend,
        precision=precision,
        allow_pickle=allow_pickle,
    )
    seen: list[Any] = []
    found = compare(
        systems,
        data,
        metric=test_metric,
        samples=samples,
        seed=seed,
        show=show,
        setting=setting,
        observe=(lambda *what: seen.extend(what)) if report is not None else None,
    )
    if report is not None:
        from bertft.console import say
        from bertft.report.document import write
        from bertft.report.pages import comparison_page

        outcomes, info = seen
        write(report, comparison_page(found, outcomes, info))
        say(f"report: {report}")
    if json or not sys.stdout.isatty():
        from bertft.data.jsonl import encode

        print(encode(found))
    else:
        from bertft.report.comparison import comparison_tables

        print(comparison_tables(found))
