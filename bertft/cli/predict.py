"""`bertft predict`."""

from __future__ import annotations

import glob
import os
import re
from typing import Annotated, Literal

import typer

from bertft.cli import options
from bertft.console import resuming
from bertft.data.row import OnError
from bertft.errors import UsageError


def predict_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A trained model: a directory or a Hub id.")],
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE|-]...", help="Inputs; - or none is stdin.")
    ] = None,
    format: options.FormatOption = "auto",
    to: Annotated[
        str, typer.Option(help="auto, jsonl, csv, tsv or conll; auto: tables and column files stay what they are.")
    ] = "auto",
    out: Annotated[str | None, typer.Option(metavar="FILE", help="Write here, not to stdout.")] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with what an interrupted run left of --out; start where there is nothing."
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start again where --out is unfinished.")] = False,
    on_error: Annotated[OnError, typer.Option(help="What a bad record does.")] = "fail",
    field: Annotated[str, typer.Option(help="The name of the field that is added.")] = "prediction",
    scores: Annotated[bool, typer.Option("--scores", help="Add the probability of every answer.")] = False,
    min_score: Annotated[
        float | None,
        typer.Option(min=0, max=1, metavar="X", help="Withhold answers with a score below X (null, or left out)."),
    ] = None,
    columns: options.Columns = None,
    encoding: options.Encoding = None,
    batch_tokens: options.BatchTokens = None,
    device: options.Device = "auto",
    backend: options.Backend = "auto",
    precision: options.Precision = "auto",
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Answer the I-th of N parts of the records; `cat` joins them.")
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="ray: share files out over a Ray cluster, or this machine; --out is a folder."),
    ] = "local",
    workers: Annotated[int | None, typer.Option(min=1, help="Of --engine ray; as many as GPUs, or CPUs.")] = None,
    unbuffered: Annotated[bool, typer.Option("--unbuffered", help="Answer record by record.")] = False,
    allow_pickle: options.AllowPickle = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Answer every record of the inputs, in order, and keep its own fields.

    Lines of text and JSON become JSON Lines; tables and column files get more columns.

    Example: tail -f app.log | bertft predict my-ner | jq -c .prediction.entities
    """
    options.set_verbosity(quiet=quiet, verbose=verbose)
    inputs = files or ["-"]
    for name in inputs:
        there = os.path.exists(name) or os.path.exists(name.rpartition(":")[0])
        if " " in name and not there and not glob.has_magic(name):
            raise UsageError(
                f"there is no file {name[:60]!r}",
                help=f"files are named here; text comes on stdin: `echo {name[:60]!r} | bertft predict {model}`",
            )
    if resume and out is None:
        raise UsageError("--resume continues a file that was not finished", help="`--out FILE` names it")
    if resume and overwrite:
        raise UsageError("--resume continues and --overwrite starts again: one of them")
    from bertft.inference.identity import check_resumable
    from bertft.inference.output import open_out
    from bertft.inference.predict import Options, Shard, predict

    if resume:
        check_resumable(inputs)

    settings = Options(
        format=format,
        to=to,
        encoding=encoding,
        columns=options.parse_columns(columns),
        field=field,
        on_error=on_error,
        scores=scores,
        min_score=min_score,
        device=device,
        batch_tokens=batch_tokens,
        backend=backend,
        precision=precision,
        unbuffered=unbuffered,
        allow_pickle=allow_pickle,
    )
    if engine == "ray":
        if out is None or inputs == ["-"]:
            raise UsageError("--engine ray takes files, and a folder for the answers", help="`--out FOLDER` names it")
        if shard is not None or unbuffered:
            raise UsageError("--engine ray shares the records out by itself", help="leave out --shard and --unbuffered")
        if overwrite:
            raise UsageError(
                "--engine ray writes to a folder of its own", help="leave out --overwrite, remove the folder"
            )
        from bertft.inference.cluster import predict_on_ray

        predict_on_ray(
            model,
            inputs,
            out=out,
            options=settings,
            workers=workers,
            resume=resume,
            again=resuming(without="--overwrite"),
        )
        return
    part = None
    if shard is not None:
        index, count = map(int, found.groups()) if (found := re.fullmatch(r"(\d+)/(\d+)", shard)) else (0, 0)
        if not 1 <= index <= count:
            raise UsageError(f"--shard {shard!r} is not I/N with I from 1 to N", help="for example `--shard 1/4`")
        part = Shard(index, count)

    with open_out(out, resume=resume, overwrite=overwrite, again=resuming(without="--overwrite")) as stream:
        predict(model, inputs, out=stream, options=settings, shard=part)
