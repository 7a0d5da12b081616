"""`bertft recommend`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from bertft.cli import options
from bertft.errors import GateError, UsageError


def recommend_command(
    data: Annotated[str, typer.Option(metavar="FILE", help="The training data: a file, a folder, or hub:owner/name.")],
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="A recipe, as of `train`; without one, that of the only task that can read the data.",
            autocompletion=options.recipe_names,
        ),
    ] = None,
    dev: Annotated[
        str | None, typer.Option(metavar="FILE", help="Development data; without it 10 % is held out.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME[@DEVICE]",
            help="What 19 of 20 answers, one at a time, may take: 10ms@cpu, 2ms@cuda:0, 50ms.",
        ),
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="About how long it measures.")] = 5.0,
    models: Annotated[
        str | None,
        typer.Option(metavar="A,B,…", help="These encoders, as of `train --model`, and not all that are here."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON also on a terminal.")] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the rows, and of every training.")] = None,
    limit: options.Limit = None,
    set_: options.Overrides = None,
    columns: options.Columns = None,
    encoding: options.Encoding = None,
    format: options.FormatOption = "auto",
    device: options.Device = "auto",
    allow_pickle: options.AllowPickle = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Find the encoder for some data: the fastest on this machine that is not significantly worse than the best.

    Those that are installed or in the local Hub cache are timed, and trained for a moment on the same rows; what does
    not meet the budget is not trained. Ends with a table, or JSON when piped, and the command to run.

    Example: bertft recommend --data train.csv --budget 10ms@cpu
    """
    options.set_verbosity(quiet=quiet, verbose=verbose)
    from bertft.training.budget import Budget

    most = Budget.parse(budget) if budget is not None else None
    named = None if models is None else list(dict.fromkeys(name.strip() for name in models.split(",") if name.strip()))
    if named == []:
        raise UsageError(f"--models {models!r} names none", help="for example `--models embedded,roberta-base`")
    name = recipe if recipe is not None else _guessed(data, format=format, columns=columns, encoding=encoding)
    loaded = options.load_recipe(name, set_, columns, seed=seed, encoding=encoding)
    if named is None:
        from bertft.encoders.here import names

        named = list(dict.fromkeys([*names(), loaded.model]))
    from bertft.training.recommend import recommend

    result = recommend(
        loaded,
        data=data,
        names=named,
        dev=dev,
        budget=most,
        minutes=minutes,
        format=format,
        limit=limit,
        device=device,
        allow_pickle=allow_pickle,
    )
    given: dict[str, Any] = {"--dev": dev, "--seed": seed, "--columns": columns, "--encoding": encoding}
    given |= {"--format": None if format == "auto" else format, "--device": None if device == "auto" else device}
    result = {**result, "recipe": name, "command": None}
    if result["recommended"] is not None:
        more = ["--allow-pickle"] if allow_pickle else []
        result["command"] = _command(name, data, result["recommended"], set_ or [], given, more)
    _print(result, as_json=json)
    if result["recommended"] is None:
        raise _refusal(result, most)


def _guessed(data: str, *, format: str, columns: str | None, encoding: str | None) -> str:
    """Return the recipe that the data is for, and say that it was assumed."""
    from bertft.check.recipe_of import recipe_of
    from bertft.console import say

    if data == "-":
        raise UsageError("what stdin is for cannot be told before it is read", help="name the recipe")
    name = recipe_of(data, format=format, encoding=encoding, columns=options.parse_columns(columns))
    say(f"no RECIPE: {data} is data for `{name}`, which is assumed")
    return name


def _command(
    recipe: str, data: str, model: str, overrides: Sequence[str], given: Mapping[str, Any], more: Sequence[str]
) -> str:
    """Return the command that trains the recommended encoder on all rows, as a shell takes it."""
    parts = ["bertft", "train", recipe, "--data", data, "--model", model]
    parts += [part for key, value in given.items() if value is not None for part in (key, str(value))]
    parts += [part for one in overrides for part in ("--set", one)]
    return shlex.join([*parts, *more])


def _print(result: Mapping[str, Any], *, as_json: bool) -> None:
    from bertft.console import say

    rows = result["rows"]
    if 0 < rows["used"] < rows["train"]:
        after = f"after {rows['used']:,} of {rows['train']:,} rows and {result['seconds'] / 60:.1f} minutes"
        say(f"\nscores are those of a short training, {after}: the whole one comes to more")
    if result["command"]:
        say("times are torch's; `bertft export` makes a trained model faster on a CPU")
    if as_json or not sys.stdout.isatty():
        from bertft.data.jsonl import encode

        print(encode(result))
        return
    from bertft.report.table import recommend_table

    print(recommend_table(result))
    if result["command"]:
        print(f"\n{result['command']}")


def _refusal(result: Mapping[str, Any], budget: object) -> GateError:
    """Return what is wrong where no encoder is recommended."""
    measured = [one for one in result["candidates"] if one["latency_ms"]]
    if budget is None or any(one["meets_budget"] for one in measured):
        return GateError("no encoder could be trained", help="more time (`--minutes`) or memory, or smaller `--models`")
    best = min(measured, key=lambda one: one["latency_ms"]["p95"])
    took = best["latency_ms"]
    return GateError(
        f"no encoder here meets the budget of {budget}: {best['model']} is the nearest, with {took['p95']:.3g} ms "
        f"(half of the answers: {took['median']:.3g} ms)",
        help="a smaller encoder, shorter windows (`--set options.window=64`) or another device; and a trained model "
        "becomes faster by `bertft export`",
    )
