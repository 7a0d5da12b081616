"""`bertft recipes`: list, show and copy the recipes that come with bertft."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bertft.cli import options
from bertft.errors import UsageError

recipes = typer.Typer(
    help="List the shipped recipes; show or copy one.\n\nExample: bertft recipes copy ner my-ner.yaml",
    invoke_without_command=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A shipped recipe.")]


@recipes.callback()
def list_recipes(  # noqa: D103  (a docstring would replace the help text)
    context: typer.Context, quiet: options.Quiet = False, verbose: options.Verbose = False
) -> None:
    options.set_verbosity(quiet=quiet, verbose=verbose)
    if context.invoked_subcommand is None:
        from bertft.recipe import shipped

        for name, text in shipped().items():
            print(f"{name:12} {text.splitlines()[0].lstrip('# ').removeprefix(f'{name}: ')}")


@recipes.command()
def show(name: Name, quiet: options.Quiet = False, verbose: options.Verbose = False) -> None:
    """Print a recipe.

    Example: bertft recipes show ner
    """
    options.set_verbosity(quiet=quiet, verbose=verbose)
    from bertft.recipe import shipped_text

    print(shipped_text(name), end="")


@recipes.command()
def copy(
    name: Name,
    dest: Annotated[
        str | None, typer.Argument(metavar="[DEST]", help="A file or directory; default NAME.yaml.")
    ] = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Copy a recipe to a file of your own, to be changed and trained with.

    Example: bertft recipes copy ner my-ner.yaml
    """
    options.set_verbosity(quiet=quiet, verbose=verbose)
    from bertft.recipe import shipped_text

    text = shipped_text(name)
    path = Path(dest or f"{name}.yaml")
    if path.is_dir():
        path /= f"{name}.yaml"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError("the file exists already", place=path, help="name another one") from None
    except OSError as error:
        raise UsageError(f"cannot write the recipe: {error.strerror}", place=path) from None
    print(path)
