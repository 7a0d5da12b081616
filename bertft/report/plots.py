"""The figures of a report: learning curves, confusions, reliability, and metrics with their intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bertft.console import ERRORS
from bertft.errors import cut
from bertft.report.document import visible
from bertft.report.mistakes import NONE
from bertft.report.svg import ACCENT, FAINT, INK, PAPER, SECOND, drawn
from bertft.report.table import words

CONFUSED = 30
"""Labels that a confusion map has at most."""
_NAME = 22
_MARKERS = "os^Dv"


def curve(name: str, lines: Mapping[str, Sequence[tuple[float, float]]], *, title: str, percent: bool) -> str:
    """Return lines of (epoch, value)."""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for i, (label, points) in enumerate(lines.items()):
            xs = [x for x, _ in points]
            ys = [100 * y if percent else y for _, y in points]
            axes.plot(
                xs,
                ys,
                color=(ACCENT, SECOND, INK)[i % 3],
                linestyle="-" if i < 3 else "--",
                marker=_MARKERS[i % len(_MARKERS)] if len(points) <= 30 else None,
                markersize=4,
                linewidth=1.6,
                label=label,
            )
        axes.set_xlabel("epoch")
        if all(points[-1][0] >= 2 for points in lines.values() if points):
            axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel("percent" if percent else "loss")
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        if len(lines) > 1:
            axes.legend(fontsize=9)

    return drawn(name, draw, title=title, width=4.6, height=2.9)


def ranges(name: str, rows: Sequence[tuple[str, float, Sequence[float] | None]], *, title: str, metric: str) -> str:
    """Return values with their intervals, one below the other; `metric` says in what they are."""
    scale = 1 if metric in ERRORS else 100
    signed = metric.startswith("difference")

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for i, (_, value, bounds) in enumerate(rows):
            if bounds:
                axes.plot([scale * b for b in bounds], [i, i], color=ACCENT, linewidth=4, alpha=0.45)
            axes.plot([scale * value], [i], marker="o", color=ACCENT, markersize=7)
        if signed:
            axes.axvline(0, color=INK, linewidth=1, linestyle="--")
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_yticks(range(len(rows)), [_short(label, 34) for label, *_ in rows], parse_math=False)
        unit = "points" if signed else "percent"
        axes.set_xlabel(f"{words(metric)}, {unit}" if scale == 100 else words(metric), parse_math=False)
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.tick_params(length=0)

    return drawn(name, draw, title=title, width=4.6, height=0.95 + 0.36 * len(rows))


def confusion_map(name: str, cells: Sequence[Mapping[str, Any]], *, title: str) -> tuple[str, int, int]:
    """Return the map, of how many labels it is, and of how many there are: those that are confused most."""
    labels = confused_labels(cells)
    shown = labels[:CONFUSED]
    # gold, then predicted; what is none stands last
    order = sorted((label for label in shown if label is not None), key=_by_name) + [None] * (None in shown)
    at = {label: i for i, label in enumerate(order)}
    counts = {
        (at[cell["gold"]], at[cell["predicted"]]): cell["count"]
        for cell in cells
        if cell["gold"] in at and cell["predicted"] in at
    }
    totals: Counter[int] = Counter()
    for (row, _), count in counts.items():
        totals[row] += count

    def draw(figure: Any) -> None:
        from matplotlib.patches import Rectangle

        axes = figure.add_subplot()
        for (row, column), count in counts.items():
            share = count / totals[row]
            color = ACCENT if row == column else SECOND
            axes.add_patch(
                Rectangle((column, row), 1, 1, facecolor=color, alpha=round(0.2 + 0.8 * share, 3), linewidth=0)
            )
            if len(order) <= 16:
                ink = PAPER if share > 0.55 else INK
                size = 9 if len(order) <= 10 else 7
                axes.text(column + 0.5, row + 0.5, f"{count:,}", ha="center", va="center", fontsize=size, color=ink)
        ticks = [i + 0.5 for i in range(len(order))]
        names = [NONE if label is None else _short(label) for label in order]
        axes.set_xticks(ticks, names, rotation=90 if len(order) > 4 else 0, parse_math=False)
        axes.set_yticks(ticks, names, parse_math=False)
        axes.set_xlim(0, len(order))
        axes.set_ylim(len(order), 0)
        axes.set_xlabel("predicted")
        axes.set_ylabel("gold")
        axes.set_aspect("equal")
        axes.tick_params(length=0, labelsize=9 if len(order) <= 16 else 8)

    side = 2.6 + 0.24 * len(order) if len(order) > 4 else 3.6
    return drawn(name, draw, title=title, width=side, height=side), len(order), len(labels)


def confused_labels(cells: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """Return all labels of a confusion matrix, those first that are most often taken for another, or another for."""
    wrong: Counter[str | None] = Counter()
    there: Counter[str | None] = Counter()
    for cell in cells:
        for side in ("gold", "predicted"):
            there[cell[side]] += cell["count"]
            if cell["gold"] != cell["predicted"]:
                wrong[cell[side]] += cell["count"]
    return sorted(there, key=lambda label: (-wrong[label], -there[label], str(label)))


def reliability(name: str, bins: Sequence[Mapping[str, Any]], *, title: str) -> str:
    """Return how often the model is right, by how sure it is; the size of a point is how many rows it stands for."""
    filled = [one for one in bins if one["count"]]
    most = max((one["count"] for one in filled), default=1)

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.plot([0, 100], [0, 100], color=INK, linewidth=1, linestyle="--")
        points = [(100 * one["confidence"], 100 * one["accuracy"]) for one in filled]
        axes.plot([x for x, _ in points], [y for _, y in points], color=ACCENT, linewidth=1.4)
        for (x, y), one in zip(points, filled, strict=True):
            axes.plot([x], [y], marker="o", color=ACCENT, markersize=3 + 8 * (one["count"] / most) ** 0.5)
        axes.set_xlim(0, 103)
        axes.set_ylim(0, 103)
        axes.set_xlabel("confidence, percent")
        axes.set_ylabel("right, percent")
        axes.grid(color=FAINT, linewidth=0.6)

    return drawn(name, draw, title=title, width=4.2, height=3.6)


def _short(label: str, length: int = _NAME) -> str:
    return cut(visible(" ".join(label.split()) or label), length)


def _by_name(label: str | None) -> tuple[bool, float, str]:
    """Sort labels that are numbers as numbers."""
    try:
        return False, float(label or ""), ""
    except ValueError:
        return True, 0.0, str(label)
