"""The options that several commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bertft.errors import UsageError

if TYPE_CHECKING:
    from bertft.recipe import Recipe


def recipe_names(incomplete: str) -> list[str]:
    """Return the shipped recipes that a shell may complete a name to."""
    from bertft.recipe import shipped

    return sorted(name for name in shipped() if name.startswith(incomplete))


Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe; repeatable.")
]

Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but warnings and errors.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more; show where an error comes from.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Encoding = Annotated[str | None, typer.Option(help="The files' encoding, where it is not UTF-8: latin-1, cp1252, …")]
Columns = Annotated[
    str | None,
    typer.Option(metavar="ROLE=NAME,…", help="Which fields hold what: text=review,label=stars, or tokens=1,tags=4."),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Read no more than this many rows of each file.")]
Trust = Annotated[
    bool, typer.Option("--trust-remote-code", help="Allow metrics beyond the task's own: they are code, and are run.")
]
AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Read weights from a pytorch_model.bin: weights, and nothing else in it.")
]
Backend = Annotated[
    Literal["auto", "torch", "openvino", "onnxruntime"],
    typer.Option(help="What runs the model; auto: what `bertft export` chose, else torch."),
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16"],
    typer.Option(help="auto: the export's; of torch bf16 where it is faster, but fp32 in `eval`, as in training."),
]
BatchTokens = Annotated[int | None, typer.Option(min=1, help="Tokens in a batch, padding included.")]
Report = Annotated[
    str | None,
    typer.Option(metavar="FILE.html", help="Write a report too: one HTML file that needs nothing else."),
]
FormatOption = Annotated[
    str,
    typer.Option(
        "--format",
        help="auto, text, jsonl, json, csv, tsv, conll, squad, parquet, arrow, fasttext, folder, lines, brat.",
    ),
]


def set_verbosity(*, quiet: bool, verbose: bool) -> None:
    """Set what the command says on stderr."""
    from bertft import console

    console.set_level(console.QUIET if quiet else console.VERBOSE if verbose else console.NORMAL)


def load_recipe(name: str, overrides: Sequence[str] | None, columns: str | None, **given: str | int | None) -> Recipe:
    """Load the recipe that a command names, changed by its `--set`, its `--columns`, and other options of its keys."""
    from dataclasses import replace

    from bertft.recipe import load

    keys = [f"{key}={value}" for key, value in given.items() if value is not None]
    loaded = load(name, [*(overrides or ()), *keys])
    chosen = parse_columns(columns)
    return replace(loaded, columns=chosen) if chosen else loaded


def parse_columns(value: str | None) -> dict[str, str]:
    """Return `role=name,role=name` as a dict; raises UsageError for what has another form."""
    columns: dict[str, str] = {}
    for part in (value or "").split(","):
        role, found, name = part.partition("=")
        if not part:
            continue
        if not found or not name or not role:
            raise UsageError(f"--columns {part!r} is not ROLE=NAME", help="for example text=review,label=stars")
        if role in columns:
            raise UsageError(f"--columns: {role} is named twice", help=f"several columns are `{role}=a+b`")
        columns[role] = name
    return columns
