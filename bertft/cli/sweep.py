"""`bertft sweep`."""

from __future__ import annotations

from typing import Annotated

import typer

from bertft.cli import options
from bertft.extras import require


def sweep_command(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="A recipe, as of `train`; its `search:` says what is tried.",
            autocompletion=options.recipe_names,
        ),
    ],
    data: Annotated[str, typer.Option(metavar="FILE", help="The training data: a file, a folder, or hub:owner/name.")],
    trials: Annotated[int, typer.Option(min=1, metavar="N", help="How many to run, those that are done included.")],
    dev: Annotated[
        str | None, typer.Option(metavar="FILE", help="Development data; without it 10 % is held out.")
    ] = None,
    test: Annotated[str | None, typer.Option(metavar="FILE", help="Test data; the best model alone is scored.")] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME|DIR", help="The encoder, as of `train`.")] = None,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where the best model goes; default runs/RECIPE-sweep-DATE-TIME.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of every training, and of what is tried.")] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0, metavar="MIN", help="No trial is begun after so many minutes.")
    ] = None,
    limit: options.Limit = None,
    set_: options.Overrides = None,
    columns: options.Columns = None,
    encoding: options.Encoding = None,
    format: options.FormatOption = "auto",
    device: options.Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Continue the unfinished sweep of --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what --out holds.")] = False,
    trust_remote_code: options.Trust = False,
    allow_pickle: options.AllowPickle = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Try settings of a recipe, a training each, and keep the model that is best on dev.

    The recipe's `search:` names keys with ranges or choices; without it learning rate, epochs and warm-up are tried,
    but for what `--set` sets.

    Ends with one JSON line on stdout: the model's directory, its recipe, and all trials.

    Example: bertft sweep classify --data train.csv --test test.csv --trials 20 --out best
    """
    options.set_verbosity(quiet=quiet, verbose=verbose)
    require("optuna", extra="sweep", by="`sweep`")
    loaded = options.load_recipe(recipe, set_, columns, model=model, seed=seed, encoding=encoding)
    from bertft.training.sweep import sweep

    result = sweep(
        loaded,
        data=data,
        dev=dev,
        test=test,
        trials=trials,
        out=out,
        format=format,
        limit=limit,
        device=device,
        timeout=timeout,
        resume=resume,
        overwrite=overwrite,
        trust_remote_code=trust_remote_code,
        allow_pickle=allow_pickle,
        fixed=[setting.partition("=")[0].strip() for setting in set_ or ()],
    )
    from bertft.console import say
    from bertft.data.jsonl import encode
    from bertft.report.table import score_table, sweep_table

    say(f"\n{sweep_table(result)}")
    for split in ("dev", "test"):
        if split in result:
            say(f"\n{split} (trial {result['best']['number']})\n{score_table(result[split])}")
    sure = "test was not looked at before" if "test" in result else "`--test FILE` says how good the model is"
    say(f"\nthe best of {len(result['trials'])} trials on dev looks better there than it is; {sure}")
    say(f"model: {result['model']}  (to train it again: bertft train {result['recipe']} --data …)")
    print(encode(result))
