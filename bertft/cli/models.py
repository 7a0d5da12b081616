"""`bertft models`: the encoders that have a short name, and when to choose which."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from bertft.cli import options


def models_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """List encoders by the short names that --model takes, with their sizes, licences and uses.

    Any other encoder is named by its directory or its Hub id. Those marked with * need no network: they are installed,
    or lie in the local Hub cache.

    Example: bertft models --json | jq -r '.[] | select(.parameters < 50e6) | .name'
    """
    options.set_verbosity(quiet=quiet, verbose=verbose)
    from bertft.encoders.known import KNOWN

    encoders = KNOWN.values()
    if as_json:
        rows = [
            {
                "name": encoder.name,
                "hub_id": encoder.hub_id,
                "parameters": round(encoder.parameters * 1e6),
                "max_length": encoder.max_length,
                "case": encoder.case,
                "languages": encoder.languages,
                "licence": encoder.licence,
                "when": encoder.when,
                "is_here": encoder.is_here,
            }
            for encoder in encoders
        ]
        print(json.dumps(rows, ensure_ascii=False))
        return
    print(f"  {'name':18}{'params':>7}  {'tokens':>6}  {'case':9}{'licence':12}hub id")
    for encoder in encoders:
        mark = "*" if encoder.is_here else " "
        print(
            f"{mark} {encoder.name:18}{encoder.parameters:>5.0f} M  {encoder.max_length:>6}  {encoder.case:9}"
            f"{encoder.licence:12}{encoder.hub_id}"
        )
        print(f"      {encoder.languages}: {encoder.when}")
