"""`bertft check`."""

from __future__ import annotations

import gc
from typing import Annotated

import typer

from bertft.cli import options
from bertft.errors import UsageError


def check_command(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="A shipped recipe (`bertft recipes`) or a YAML file.",
            autocompletion=options.recipe_names,
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="FILE", help="The training data: a file, a folder, or hub:owner/name.")
    ] = None,
    dev: Annotated[str | None, typer.Option(metavar="FILE", help="Development data.")] = None,
    test: Annotated[str | None, typer.Option(metavar="FILE", help="Test data.")] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME|DIR", help="The encoder that is to be trained, as in `train`.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 on warnings too.")] = False,
    explain: Annotated[
        str | None, typer.Option(metavar="CODE", help="Say what a code means and what to do, and exit.")
    ] = None,
    limit: options.Limit = None,
    set_: options.Overrides = None,
    columns: options.Columns = None,
    encoding: options.Encoding = None,
    format: options.FormatOption = "auto",
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Find what is wrong with data and a recipe before training.

    Prints what it finds, the worst first, and exits 1 where there are errors.

    Example: bertft check ner --data train.conll --dev dev.conll
    """
    options.set_verbosity(quiet=quiet, verbose=verbose)
    if explain is not None:
        from bertft.check.codes import explain as explained

        print(explained(explain))
        return
    if recipe is None or data is None:
        fact = "a recipe and `--data FILE` are needed" if recipe is None else "`--data FILE` is needed"
        raise UsageError(fact, help="for example `bertft check ner --data train.conll`")
    loaded = options.load_recipe(recipe, set_, columns, model=model, encoding=encoding)
    from bertft.check.findings import counts
    from bertft.training.checks import check

    gc.disable()  # all that is read is kept until the end: there is nothing to collect, and looking takes a tenth
    findings = check(loaded, data=data, dev=dev, test=test, format=format, limit=limit)
    if json:
        from bertft.data.jsonl import encode

        print(encode({"findings": [one.to_json() for one in findings], "counts": counts(findings)}))
    else:
        from bertft.report.findings import finding_list

        print(finding_list(findings))
    found = counts(findings)
    if found["error"] or (strict and found["warning"]):
        raise typer.Exit(1)
