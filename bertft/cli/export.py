"""`bertft export`."""

from __future__ import annotations

from typing import Annotated

import typer

from bertft.cli import options


def export_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A trained model's directory.")],
    data: Annotated[str | None, typer.Option(metavar="FILE", help="Labelled data that the score is held on.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Also try int8, kept only where the score holds.")] = False,
    max_drop: Annotated[
        float, typer.Option(help="How far the score may fall, as a fraction of 1 (a loss: how far it may grow).")
    ] = 0.005,
    columns: options.Columns = None,
    encoding: options.Encoding = None,
    format: options.FormatOption = "auto",
    limit: options.Limit = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an export that is there.")] = False,
    allow_pickle: options.AllowPickle = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Export a model to ONNX, and choose what runs it fastest here; `predict` and `eval` then run it so.

    Ends with one JSON line on stdout. Exits 1 where no int8 graph keeps the score.

    Example: bertft export my-ner --int8 --data dev.conll
    """
    options.set_verbosity(quiet=quiet, verbose=verbose)
    from bertft.data.jsonl import encode
    from bertft.export.run import check_gate, export

    found = export(
        model,
        int8=int8,
        data=data,
        max_drop=max_drop,
        format=format,
        encoding=encoding,
        columns=options.parse_columns(columns),
        limit=limit,
        overwrite=overwrite,
        allow_pickle=allow_pickle,
    )
    print(encode(found))
    check_gate(found)
