"""`bertft push`."""

from __future__ import annotations

from typing import Annotated

import typer

from bertft.cli import options


def push_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A trained model's directory.")],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The repository; made where there is none.")],
    public: Annotated[bool, typer.Option("--public", help="For all to see; without it, for the owner only.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, and list the files with their sizes; send nothing.")
    ] = False,
    message: Annotated[str | None, typer.Option(metavar="TEXT", help="The message of the commit.")] = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Push a model to the Hugging Face Hub, in one commit: its weights, tokenizer, card, recipe and metrics.

    The token is that of `hf auth login`, or HF_TOKEN in the environment. Ends with one JSON line on stdout. Exits 1
    where a file holds what looks like a secret.

    Example: bertft push my-ner me/my-ner --dry-run
    """
    options.set_verbosity(quiet=quiet, verbose=verbose)
    from bertft.bundle.push import push
    from bertft.data.jsonl import encode

    print(encode(push(model, repository, public=public, dry_run=dry_run, message=message)))
