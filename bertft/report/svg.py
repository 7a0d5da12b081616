"""A figure of matplotlib as SVG that stands in an HTML page: no inline style (a policy forbids it), the page's colours.

Figures are drawn in stand-in colours, each of which becomes a variable of the page's style; so dark mode has its own.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

INK, FAINT, ACCENT, SECOND, PAPER = "#010203", "#040506", "#070809", "#0a0b0c", "#0d0e0f"
_VARIABLES = {INK: "--ink", FAINT: "--line", ACCENT: "--accent", SECOND: "--second", PAPER: "--paper"}
_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_PIXELS = 4 / 3  # of a point
_SIZE = re.compile(r"([\d.]+)px")
_WHOLE = re.compile(r"(?<=\.\d\d)\d+")
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bertft",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "axes.unicode_minus": False,
}


def drawn(name: str, draw: Callable[[Any], None], *, title: str, width: float, height: float) -> str:
    """Return what `draw` makes of a figure (inches wide and high) as an SVG element; `name` is for its ids alone."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its font cache, the first time
    import matplotlib as mpl
    from matplotlib.figure import Figure

    written = io.StringIO()
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        # the page's own font has the characters that the one which measures has not
        warnings.filterwarnings("ignore", message=r"Glyph \d+")
        warnings.filterwarnings("ignore", message=r"Matplotlib currently does not support")
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    return _inline(written.getvalue(), name, title)


def _inline(text: str, name: str, title: str) -> str:
    root = ElementTree.fromstring(text)  # noqa: S314  (matplotlib has just written it)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        _restyle(element)
        for key, value in list(element.attrib.items()):
            if key == "id":
                element.set(key, f"{name}-{value}")
            elif key == f"{_XLINK}href":
                del element.attrib[key]
                element.set("href", value.replace("#", f"#{name}-"))
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{name}-"))
            elif key in ("d", "x", "y", "points"):
                element.set(key, _WHOLE.sub("", value))
    natural = root.get("viewBox", "0 0 400 300").split()
    root.attrib.clear()
    root.attrib |= {
        "viewBox": " ".join(natural),
        "width": f"{float(natural[2]) * _PIXELS:.0f}",
        "role": "img",
        "aria-label": title,
        "stroke-linejoin": "round",
    }
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def _restyle(element: ElementTree.Element) -> None:
    """Make attributes of an element's style, in the page's colours."""
    for part in element.attrib.pop("style", "").split(";"):
        key, _, value = (side.strip() for side in part.partition(":"))
        if key in ("font", "font-size"):
            if size := _SIZE.search(value):
                element.set("font-size", size[1])
        elif key and not key.startswith(("font-", "-")):
            element.set(key, value)
    for key in ("fill", "stroke"):
        if variable := _VARIABLES.get(element.get(key, "")):
            element.set(key, f"var({variable})")
    if element.tag == "text" and "fill" not in element.attrib:
        element.set("fill", "var(--ink)")
