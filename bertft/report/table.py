"""Metrics as a table for a terminal: percent, one row a label, support beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bertft.console import shown
from bertft.errors import inline

_AVERAGES = (("micro average", "micro_"), ("macro average", "macro_"))
_FIGURES = ("precision", "recall", "f1")


def score_table(scores: Mapping[str, Any]) -> str:
    """Return the scores per label (most support first), the averages, and all other metrics on a line of their own."""
    lines = _labels(scores) if "per_label" in scores else []
    in_table = {f"{prefix}{figure}" for _, prefix in _AVERAGES for figure in _FIGURES} if lines else set()
    if lines and "f1" in scores:
        in_table |= {*_FIGURES}
    sure: Mapping[str, Sequence[float]] = scores.get("intervals", {})
    other = [
        f"{key} {_figure(key, value, sure.get(key))}" if isinstance(value, float) else f"{key} {value:,}"
        for key, value in scores.items()
        if isinstance(value, int | float)
        and (key not in in_table or key in sure or key == "macro_f1")
        and key != "support"
    ]
    extra = [f"{name}: {result}" for name, result in scores.get("extra", {}).items()]
    told = [_resampled(scores["bootstrap"])] if sure else []
    return "\n".join((*lines, "  ".join(other), *told, *map(inline, extra)))


def _figure(key: str, value: float, interval: Sequence[float] | None) -> str:
    low_high = f" [{', '.join(shown(key, bound) for bound in interval)}]" if interval else ""
    return f"{shown(key, value)}{low_high}"


def _resampled(bootstrap: Mapping[str, Any]) -> str:
    units = f"{bootstrap['units']:,} {bootstrap['unit']}s"
    return f"[in brackets: {bootstrap['level']:.0%} intervals, bootstrap over {units}]"


def _labels(scores: Mapping[str, Any]) -> list[str]:
    per_label: Mapping[str, Mapping[str, Any]] = scores["per_label"]
    rows = [
        (inline(label), *(f"{100 * s[key]:.1f}" for key in _FIGURES), f"{s['support']:,}")
        for label, s in sorted(per_label.items(), key=lambda item: -item[1]["support"])
    ]
    for name, prefix in _AVERAGES:
        # a tagger's micro average has no prefix: it is what the shared tasks call F1
        keys = [f"{prefix}{figure}" for figure in _FIGURES]
        if prefix == "micro_" and "f1" in scores:
            keys = list(_FIGURES)
        if all(key in scores for key in keys):
            rows.append((name, *(f"{100 * scores[key]:.1f}" for key in keys), f"{scores['support']:,}"))
    head = ("", *_FIGURES, "support")
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    return [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]
