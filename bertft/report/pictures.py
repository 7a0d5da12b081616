"""Heat maps as SVG or PNG, by matplotlib: the same bytes for the same figures."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bertft.errors import OutputError, UsageError, cut, inline
from bertft.extras import require
from bertft.report.heat import mean_weights, which

_COLUMNS = 90  # characters of a line of text
_LINE, _CHARACTER = 0.26, 0.0775  # inches; a character of 9 points is 0.0753 wide
_PALE = 1.8  # the colours reach so much further than the values, as dark ones hide the text
_KINDS = (".svg", ".png")


def check_out(out: str | None) -> None:
    """Raise UsageError for a picture that cannot be made: of another kind, or without matplotlib."""
    if out is None:
        return
    if Path(out).suffix.lower() not in _KINDS:
        raise UsageError(f"--out {out!r} is no .svg or .png", help="`--json` writes figures to stdout")
    require("matplotlib", extra="inspect", by="a picture")


def draw_why(found: Mapping[str, Any], out: str) -> None:
    """Draw the texts with each word on the colour of what it adds; raises OutputError where `out` cannot be written."""
    lines = list(_lines(found))
    strongest = max((abs(word["value"]) for word in found["words"]), default=0.0) or 1.0
    with _figure(out, ((_COLUMNS + 4) * _CHARACTER, _LINE * (len(lines) + 4))) as figure:
        from matplotlib import colormaps, colors

        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(-2, _COLUMNS + 2)
        axes.set_ylim(len(lines) + 3, -1)
        sums = f"{found['value']:+.3f}; without the text {found['baseline']:+.3f}; green adds, red takes away"
        for i, line in enumerate((cut(inline(found["explains"]), _COLUMNS), sums)):
            axes.text(0, i, line, fontsize=9, va="center", parse_math=False)
        shade, scale = colormaps["RdYlGn"], colors.Normalize(-_PALE * strongest, _PALE * strongest)
        for i, parts in enumerate(lines, 3):
            for at, text, value in parts:
                box = {"facecolor": shade(scale(value)), "edgecolor": "none", "pad": 1.5} if value is not None else None
                axes.text(at, i, text, fontsize=9, family="monospace", va="center", bbox=box, parse_math=False)


def _lines(found: Mapping[str, Any]) -> Iterator[list[tuple[int, str, float | None]]]:
    """Yield lines of (column, text, value): words with what they add, and what stands between them."""
    for number, text in enumerate(found["texts"]):
        line: list[tuple[int, str, float | None]] = []
        column = at = 0
        parts: list[tuple[str, float | None]] = []
        for word in (word for word in found["words"] if word["text"] == number):
            parts += [(text[at : word["start"]], None), (word["characters"], word["value"])]
            at = word["end"]
        for part, value in (*parts, (text[at:], None)):
            shown = inline(part) if value is not None else inline(" ".join(part.split("\n")))
            if column and column + len(shown.rstrip()) > _COLUMNS:
                yield line
                line, column = [], 0
                shown = shown.lstrip() if value is None else shown
            if shown.strip():
                line.append((column, shown, value))
            column += len(shown)
        yield line


def draw_attention(found: Mapping[str, Any], out: str) -> None:
    """Draw a grid for each window; raises OutputError where `out` cannot be written."""
    windows = found["windows"]
    sizes = [max(2.0, 0.2 * len(window["tokens"])) for window in windows]
    with _figure(out, (max(sizes) + 2.5, sum(sizes) + 1.6 * len(windows))) as figure:
        every = figure.subplots(len(windows), squeeze=False, gridspec_kw={"height_ratios": sizes})
        for number, (axes, window) in enumerate(zip(every[:, 0], windows, strict=True), 1):
            names = [cut(inline(token["token"]), 20) for token in window["tokens"]]
            drawn = axes.imshow(mean_weights(window["weights"]), cmap="Blues", vmin=0)
            axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7, parse_math=False)
            axes.set_yticks(range(len(names)), names, fontsize=7, parse_math=False)
            axes.set_title(_title(found, number), fontsize=9)
            figure.colorbar(drawn, ax=axes, shrink=0.6)
        figure.tight_layout()


def _title(found: Mapping[str, Any], number: int) -> str:
    layers, heads = (which(key[:-1], found[key]) for key in ("layers", "heads"))
    of = f", window {number} of {len(found['windows'])}" if len(found["windows"]) > 1 else ""
    return f"where rows look: {layers}, {heads}{of}"


@contextmanager
def _figure(out: str, size: Sequence[float]) -> Iterator[Any]:
    """Yield a figure of so many inches, and write it to `out`."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "bertft", "svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # of a character that the font has not: a box stands there
        figure = Figure(figsize=(float(size[0]), float(size[1])))
        yield figure
        kind = Path(out).suffix[1:].lower()
        try:
            metadata = {"Date": None} if kind == "svg" else None
            figure.savefig(out, format=kind, dpi=120, metadata=metadata)
        except OSError as error:
            raise OutputError.of(error, out) from None
