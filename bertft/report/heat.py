"""Heat maps on a terminal: words by what they add, tokens by what they attend to. In colour where there is any.

Text comes from files: every piece of it is made printable, so that none of it can drive the terminal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from bertft.errors import inline
from bertft.report.table import aligned

_MORE, _LESS = (194, 157, 120, 83, 46), (224, 217, 210, 203, 197)  # of the 256 colours: green, red, ever stronger
_GREYS = tuple(range(255, 231, -1))
_SHADES = " ░▒▓█"
_LEAST = 0.1  # of the strongest; less than that is not coloured
_STRONGEST = 10
_KEPT = 3
_NAME = 16  # characters of a token's name beside a grid


def in_colour() -> bool:
    """Say whether stdout is a terminal that is to be in colour (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def why_map(found: Mapping[str, Any], *, colour: bool) -> str:
    """Return what is explained and what each word adds to it: as coloured text, else as signed numbers."""
    words = found["words"]
    strongest = max((abs(word["value"]) for word in words), default=0.0)
    lines = [
        f"{inline(found['explains'])}: {found['value']:+.3f}; without the text {found['baseline']:+.3f}",
        f"the words add {sum(word['value'] for word in words):+.3f}"
        f" (not accounted for: {-found['delta']:+.3f}; {max(w['steps'] for w in found['windows'])} steps)",
        "",
    ]
    rows = [(f"{word['value']:+.3f}", inline(word["characters"])) for word in words]
    if not colour:
        return "\n".join((*lines, _column(rows)))
    for number, text in enumerate(found["texts"]):
        lines.append(_coloured(text, [word for word in words if word["text"] == number], strongest))
    order = sorted(range(len(words)), key=lambda i: -abs(words[i]["value"]))[:_STRONGEST]
    return "\n".join((*lines, "", _column([rows[i] for i in order])))


def _column(rows: Sequence[tuple[str, str]]) -> str:
    width = max((len(figure) for figure, _ in rows), default=0)
    return "\n".join(f"{figure.rjust(width)}  {text}" for figure, text in rows)


def _coloured(text: str, words: Sequence[Mapping[str, Any]], strongest: float) -> str:
    parts, at = [], 0
    for word in words:
        parts.append(inline(text[at : word["start"]]))
        parts.append(_shaded(inline(word["characters"]), word["value"], strongest))
        at = word["end"]
    return "".join((*parts, inline(text[at:])))


def _shaded(text: str, value: float, strongest: float) -> str:
    share = abs(value) / strongest if strongest else 0.0
    if share < _LEAST:
        return text
    scale = _MORE if value > 0 else _LESS
    return f"\x1b[30;48;5;{scale[min(len(scale) - 1, int(share * len(scale)))]}m{text}\x1b[0m"


def attention_map(found: Mapping[str, Any], *, colour: bool, width: int) -> str:
    """Return, for each window, a grid of the mean weights: a row for the token that looks, a column for each seen.

    Where a grid is wider than `width`, each token stands with those that it looks at most.
    """
    layers, heads = (which(key[:-1], found[key]) for key in ("layers", "heads"))
    blocks = []
    for number, window in enumerate(found["windows"], 1):
        of = f"window {number} of {len(found['windows'])}, " if len(found["windows"]) > 1 else ""
        names = [inline(token["token"]) for token in window["tokens"]]
        weights = mean_weights(window["weights"])
        wide = max(map(len, names), default=0)
        room = width - min(wide, _NAME) - 5
        cell = 2 if 2 * len(names) <= room else 1
        body = _grid(names, weights, cell, colour=colour) if cell * len(names) <= room else _most(names, weights)
        blocks.append(f"{of}{layers}, {heads}\n{body}")
    return "\n\n".join(blocks)


def which(what: str, numbers: Sequence[int]) -> str:
    """Say which layers or heads are shown."""
    return f"{what} {numbers[0]}" if len(numbers) == 1 else f"mean of {len(numbers)} {what}s"


def mean_weights(weights: Sequence[Any]) -> list[list[float]]:
    """Return the mean (tokens, tokens) of weights (layers, heads, tokens, tokens)."""
    import numpy as np

    mean: list[list[float]] = np.asarray(weights, dtype=np.float64).mean(axis=(0, 1)).tolist()
    return mean


def _grid(names: Sequence[str], weights: Sequence[Sequence[float]], cell: int, *, colour: bool) -> str:
    strongest = max(max(row) for row in weights)
    side = min(max(map(len, names)), _NAME)
    digits = len(str(len(names) - 1))
    lines = [
        f"{'':{side + digits + 2}}" + "".join(str(i).rjust(digits)[place].ljust(cell) for i in range(len(names)))
        for place in range(digits)
    ]
    for i, (name, row) in enumerate(zip(names, weights, strict=True)):
        cells = []
        for value in row:
            share = value / strongest if strongest else 0.0
            if colour:
                cells.append(f"\x1b[48;5;{_GREYS[min(len(_GREYS) - 1, int(share * len(_GREYS)))]}m{' ' * cell}")
            else:
                cells.append(_SHADES[min(len(_SHADES) - 1, int(share * len(_SHADES)))] * cell)
        lines.append(f"{i:{digits}} {name[:side].ljust(side)} " + "".join(cells) + ("\x1b[0m" if colour else ""))
    scale = f"the darkest is {strongest:.3f}" if colour else f"█ is {strongest:.3f}"
    return "\n".join((*lines, f"a row is where its token looks; {scale}"))


def _most(names: Sequence[str], weights: Sequence[Sequence[float]]) -> str:
    rows = [("", "token", "looks at")]
    for i, (name, row) in enumerate(zip(names, weights, strict=True)):
        order = sorted(range(len(row)), key=lambda j: -row[j])[:_KEPT]
        rows.append((str(i), name, "  ".join(f"{row[j]:.3f} {names[j]} ({j})" for j in order)))
    return "\n".join(line.rstrip() for line in aligned(rows, left=3).split("\n"))
