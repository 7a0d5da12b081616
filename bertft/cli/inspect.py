"""`bertft inspect`: tokens, attention, why, errors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bertft.cli import options

if TYPE_CHECKING:
    from bertft.bundle.store import Bundle
    from bertft.data.row import Row

inspect = typer.Typer(
    help="Look inside: what a model sees, attends to, answers for, and gets wrong.\n\n"
    "Example: bertft inspect why my-model 'I want my money back'",
    invoke_without_command=True,
    rich_markup_mode=None,
)

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A trained model: a directory or a Hub id.")]
Input = Annotated[
    str,
    typer.Argument(
        metavar="TEXT|FILE:LINE|-",
        help="A text (of a pair or a question: a JSON object), a row of a file, or - for stdin's first.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Out = Annotated[str | None, typer.Option(metavar="FILE", help="Draw a picture, .svg or .png, in place of printing.")]


@inspect.callback()
def without_command(context: typer.Context) -> None:  # noqa: D103  (a docstring would replace the help text)
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(2)


@inspect.command("tokens")
def tokens_command(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A recipe, as of `train`, or a trained model's directory.")
    ],
    row: Annotated[str, typer.Argument(metavar="FILE:LINE", help="A row, by one of its lines; FILE:ID by its id.")],
    model: Annotated[str | None, typer.Option(metavar="NAME|DIR", help="The encoder, as in `train`.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe; repeatable.")
    ] = None,
    columns: options.Columns = None,
    encoding: options.Encoding = None,
    format: options.FormatOption = "auto",
    json: Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Show what the model sees of a row: its sub-tokens and labels.

    FILE is read as training reads it, which learns the labels from it. Where rows have no lines of their own (SQuAD,
    folders), FILE:N is the N-th row. Words and characters count from 0.

    Example: bertft inspect tokens ner train.conll:120
    """
    options.set_verbosity(quiet=quiet, verbose=verbose)
    from bertft.errors import UsageError
    from bertft.inspection import tokens
    from bertft.inspection.rows import Reading

    reading = Reading(format, encoding, options.parse_columns(columns))
    if tokens.is_bundle(recipe):
        if model is not None or set_:
            raise UsageError(f"--{'model' if model else 'set'}: {recipe!r} is a trained model, which has its own")
        found = tokens.tokens_of_model(recipe, row, reading=reading)
    else:
        loaded = options.load_recipe(recipe, set_, columns, model=model)
        found = tokens.tokens_of_recipe(loaded, row, reading=reading)
    if json:
        from bertft.data.jsonl import encode

        print(encode(found))
    else:
        from bertft.report.inspection import token_tables

        print(token_tables(found))


@inspect.command("attention")
def attention_command(
    model: Model,
    text: Input = "-",
    layer: Annotated[
        list[int] | None, typer.Option(metavar="N", help="A layer, from 1; repeatable. Default: the last.")
    ] = None,
    head: Annotated[
        list[int] | None, typer.Option(metavar="N", help="A head, from 1; repeatable. Default: all, their mean shown.")
    ] = None,
    json: Json = False,
    out: Out = None,
    columns: options.Columns = None,
    encoding: options.Encoding = None,
    format: options.FormatOption = "auto",
    device: options.Device = "auto",
    allow_pickle: options.AllowPickle = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Show which tokens attend to which.

    Example: bertft inspect attention my-ner 'Ada Stone lives in Lima.' --layer 2
    """
    options.set_verbosity(quiet=quiet, verbose=verbose)
    from bertft.report import pictures

    pictures.check_out(out)
    from bertft.console import say

    bundle, example, row = _opened(model, text, columns, encoding, format, allow_pickle=allow_pickle)
    from bertft.inspection.attention import attention

    found = {"place": str(row.place), **attention(bundle, example, layers=layer or (), heads=head or (), device=device)}
    if out is not None:
        pictures.draw_attention(found, out)
        say(f"drawn: {out}")
    if json:
        from bertft.data.jsonl import encode

        print(encode(found))
    elif out is None:
        import shutil

        from bertft.report import heat

        print(heat.attention_map(found, colour=heat.in_colour(), width=shutil.get_terminal_size((100, 24)).columns))


@inspect.command("why")
def why_command(
    model: Model,
    text: Input = "-",
    label: Annotated[
        str | None, typer.Option(metavar="L", help="The label to explain; default: the one that is predicted.")
    ] = None,
    word: Annotated[
        str | None, typer.Option(metavar="WORD|N", help="Of a tagger: the word, or its number from 0, or its entity.")
    ] = None,
    baseline: Annotated[
        Literal["mask", "pad"], typer.Option(help="The token that stands for no text at all.")
    ] = "mask",
    steps: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Steps from there to the text; default: as many as it needs.")
    ] = None,
    json: Json = False,
    out: Out = None,
    columns: options.Columns = None,
    encoding: options.Encoding = None,
    format: options.FormatOption = "auto",
    device: options.Device = "auto",
    allow_pickle: options.AllowPickle = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Show what each word adds to an answer.

    By integrated gradients (pip install 'bertft[inspect]'). Explained is the logit of the predicted label less that of
    the likeliest other; of a value the value, of an answer in a text its start and end, of a tagger the entity it is
    surest of, or --word.

    Example: bertft inspect why my-classifier 'I want my money back' --out why.svg
    """
    options.set_verbosity(quiet=quiet, verbose=verbose)
    from bertft.report import pictures

    pictures.check_out(out)
    from bertft.inspection.why import check_installed, why

    check_installed()
    from bertft.console import say

    bundle, example, row = _opened(model, text, columns, encoding, format, allow_pickle=allow_pickle)
    found = {
        "place": str(row.place),
        **why(bundle, example, label=label, word=word, baseline=baseline, steps=steps, device=device),
    }
    if out is not None:
        pictures.draw_why(found, out)
        say(f"drawn: {out}")
    if json:
        from bertft.data.jsonl import encode

        print(encode(found))
    elif out is None:
        from bertft.report import heat

        print(heat.why_map(found, colour=heat.in_colour()))


def _opened(
    model: str, text: str, columns: str | None, encoding: str | None, format: str, *, allow_pickle: bool
) -> tuple[Bundle, Any, Row]:
    """Return a model without its weights, and the text or the row of a file that is looked at, as example and row."""
    from bertft.bundle.store import open_bundle
    from bertft.console import say
    from bertft.inspection.rows import Reading, of_model

    bundle = open_bundle(model, allow_pickle=allow_pickle)
    if bundle.assumed:
        say(bundle.assumed)
    reading = Reading(format, encoding, options.parse_columns(columns), bundle.manifest.get("columns"))
    return bundle, *of_model(bundle, text, reading)


@inspect.command("errors")
def errors_command(
    model: Model,
    data: Annotated[
        str, typer.Option(metavar="FILE", help="Labelled data, best such as the model was not trained on.")
    ],
    show: Annotated[int, typer.Option(min=0, metavar="N", help="List N mistakes and N labels.")] = 20,
    json: Json = False,
    limit: options.Limit = None,
    columns: options.Columns = None,
    encoding: options.Encoding = None,
    format: options.FormatOption = "auto",
    device: options.Device = "auto",
    batch_tokens: options.BatchTokens = None,
    backend: options.Backend = "auto",
    precision: options.Precision = "auto",
    allow_pickle: options.AllowPickle = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """List the surest mistakes, and labels that are likely wrong.

    On rows that the model was trained on, far fewer wrong labels are found than there are: it has learnt them.

    Example: bertft inspect errors my-classifier --data test.csv
    """
    options.set_verbosity(quiet=quiet, verbose=verbose)
    from bertft.inspection.mistakes import errors

    found = errors(
        model,
        data,
        show=show,
        format=format,
        encoding=encoding,
        columns=options.parse_columns(columns),
        limit=limit,
        device=device,
        batch_tokens=batch_tokens,
        backend=backend,
        precision=precision,
        allow_pickle=allow_pickle,
    )
    if json:
        from bertft.data.jsonl import encode

        print(encode(found))
    else:
        from bertft.report.inspection import error_lists

        print(error_lists(found))
