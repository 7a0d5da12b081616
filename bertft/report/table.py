"""Metrics as a table for a terminal: percent, one row a label, support beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertft.errors import printable


def score_table(scores: Mapping[str, Any]) -> str:
    """Return the scores per label (most support first) and the averages, in percent."""
    per_label: Mapping[str, Mapping[str, Any]] = scores["per_label"]
    rows = [
        (printable(label), *(f"{100 * s[key]:.1f}" for key in ("precision", "recall", "f1")), f"{s['support']:,}")
        for label, s in sorted(per_label.items(), key=lambda item: -item[1]["support"])
    ]
    if "f1" in scores:
        for name, prefix in (("micro average", ""), ("macro average", "macro_")):
            values = (f"{100 * scores[prefix + key]:.1f}" for key in ("precision", "recall", "f1"))
            rows.append((name, *values, f"{scores['support']:,}"))
    head = ("", "precision", "recall", "f1", "support")
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]
    other = [
        f"{key} {100 * value:.1f}" if isinstance(value, float) else f"{key} {value:,}"
        for key, value in scores.items()
        if isinstance(value, int | float)
        and key not in ("f1", "precision", "recall", "support")
        and "macro_" not in key
    ]
    if "f1" not in scores:
        other.append(f"macro_f1 {100 * scores['macro_f1']:.1f}")
    extra = [f"{name}: {result}" for name, result in scores.get("extra", {}).items()]
    return "\n".join((*lines, "  ".join(other), *map(printable, extra)))
