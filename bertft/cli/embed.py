"""`bertft embed`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from bertft.cli import options
from bertft.console import resuming
from bertft.data.row import OnError
from bertft.errors import UsageError


def embed_command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="An encoder or a trained model: embedded, a directory, a Hub id.")
    ],
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE|-]...", help="Inputs; - or none is stdin.")
    ] = None,
    format: options.FormatOption = "auto",
    to: Annotated[
        Literal["jsonl", "npy", "parquet"],
        typer.Option(help="jsonl: one more field; npy: an array of fp32; parquet: the fields and a column."),
    ] = "jsonl",
    pooling: Annotated[
        Literal["auto", "cls", "mean", "max"],
        typer.Option(help="What of the tokens a vector is; auto: what the encoder's files say, else the mean."),
    ] = "auto",
    normalize: Annotated[
        bool | None, typer.Option("--normalize/--no-normalize", help="Vectors of length 1; else as its files say.")
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="FILE", help="Write here, not to stdout.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what an interrupted run left of --out, of JSON Lines.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start again where --out is unfinished.")] = False,
    on_error: Annotated[OnError, typer.Option(help="What a bad record does.")] = "fail",
    field: Annotated[str, typer.Option(help="The name of the field that is added.")] = "embedding",
    columns: options.Columns = None,
    encoding: options.Encoding = None,
    batch_tokens: options.BatchTokens = None,
    device: options.Device = "auto",
    precision: Annotated[Literal["fp32", "bf16"], typer.Option(help="In what matrix products are computed.")] = "fp32",
    unbuffered: Annotated[bool, typer.Option("--unbuffered", help="Answer record by record.")] = False,
    allow_pickle: options.AllowPickle = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Make every text a vector, for search and clustering.

    Texts that are longer than the encoder takes are cut, and counted.

    Example: bertft embed embedded notes.txt --to npy --out notes.npy
    """
    options.set_verbosity(quiet=quiet, verbose=verbose)
    inputs = files or ["-"]
    if resume and (out is None or to != "jsonl" or overwrite):
        raise UsageError("--resume goes on with JSON Lines in a file", help="with `--out FILE`, without `--overwrite`")
    from bertft.inference.identity import check_resumable
    from bertft.inference.output import open_out

    if resume:
        check_resumable(inputs)
    from bertft.inference.embed import embed
    from bertft.inference.predict import Options

    how = Options(
        format=format,
        encoding=encoding,
        columns=options.parse_columns(columns),
        field=field,
        on_error=on_error,
        device=device,
        batch_tokens=batch_tokens,
        precision=precision,
        unbuffered=unbuffered,
        allow_pickle=allow_pickle,
    )
    with open_out(out, resume=resume, overwrite=overwrite, again=resuming(without="--overwrite")) as file:
        chosen = None if pooling == "auto" else pooling
        embed(model, inputs, out=file, to=to, pooling=chosen, normalize=normalize, options=how)
