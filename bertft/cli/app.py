"""The table of commands."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bertft.cli.check import check_command
from bertft.cli.compare import compare_command
from bertft.cli.embed import embed_command
from bertft.cli.eval import eval_command
from bertft.cli.export import export_command
from bertft.cli.inspect import inspect
from bertft.cli.models import models_command
from bertft.cli.predict import predict_command
from bertft.cli.push import push_command
from bertft.cli.recipes import recipes
from bertft.cli.recommend import recommend_command
from bertft.cli.sweep import sweep_command
from bertft.cli.train import train_command

app = typer.Typer(
    name="bertft",
    help="Fine-tune encoder models on a labelled file, measure them honestly, run them as a Unix filter.",
    epilog="Example: bertft train ner --data train.conll --out my-ner && cat text | bertft predict my-ner | jq .",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("train")(train_command)
app.command("sweep")(sweep_command)
app.command("recommend")(recommend_command)
app.command("check")(check_command)
app.command("eval")(eval_command)
app.command("compare")(compare_command)
app.command("predict")(predict_command)
app.command("embed")(embed_command)
app.command("export")(export_command)
app.command("push")(push_command)
app.command("models")(models_command)
app.add_typer(inspect, name="inspect")
app.add_typer(recipes, name="recipes")


@app.callback(invoke_without_command=True)
def root(  # noqa: D103  (a docstring would replace the help text)
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        from bertft import __version__

        print(f"bertft {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(2)
