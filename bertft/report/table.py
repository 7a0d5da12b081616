"""Metrics as a table for a terminal: percent, one row a label, support beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bertft.console import shown
from bertft.errors import cut, inline

_AVERAGES = (("micro average", "micro_"), ("macro average", "macro_"))
_FIGURES = ("precision", "recall", "f1")
_NAME = 40
"""Characters of a label; one that is longer would push the figures of all out of sight."""
_CONFUSED = 15
"""So many pairs of labels are shown."""


def score_table(scores: Mapping[str, Any]) -> str:
    """Return the scores per label (most support first), the averages, and all other metrics on a line of their own."""
    lines = _labels(scores) if "per_label" in scores else []
    in_table = {f"{prefix}{figure}" for _, prefix in _AVERAGES for figure in _FIGURES} if lines else set()
    if lines and "f1" in scores:
        in_table |= {*_FIGURES}
    sure: Mapping[str, Sequence[float]] = scores.get("intervals", {})
    other = [
        f"{key} {figure(key, value, sure.get(key))}" if isinstance(value, float) else f"{key} {value:,}"
        for key, value in scores.items()
        if isinstance(value, int | float)
        and (key not in in_table or key in sure or key == "macro_f1")
        and key != "support"
    ]
    extra = [f"{name}: {result}" for name, result in scores.get("extra", {}).items()]
    told = [resampled(scores["bootstrap"])] if sure else []
    return "\n".join((*lines, "  ".join(other), *told, *map(inline, extra)))


def seed_table(found: Mapping[str, Any]) -> str:
    """Return the scores of models of several seeds, one a row, with mean and standard deviation."""
    splits = [name for name in ("dev", "test") if name in found]
    columns = [(split, key) for split in splits for key in found[split]["mean"]]
    rows = [(str(one["seed"]), *(shown(key, one[split][key]) for split, key in columns)) for one in found["scores"]]
    rows += [(name, *(shown(key, found[split][name][key]) for split, key in columns)) for name in ("mean", "sd")]
    told = f"seed {found['best']} is the best by dev {found['metric']}, and is the model"
    return "\n".join((aligned([("seed", *map(" ".join, columns)), *rows]), f"{told}; another run gives the mean"))


def sweep_table(found: Mapping[str, Any]) -> str:
    """Return the trials of a sweep, one a row, and which is the best."""
    trials, metric = found["trials"], found["metric"]
    keys = list(trials[0]["params"])
    rows = [
        (
            str(one["number"]),
            *(setting(one["params"].get(key)) for key in keys),
            "" if one["score"] is None else shown(metric, one["score"]),
            one["state"] + (f", as {one['same_as']}" if "same_as" in one else ""),
            f"{one['seconds']:.0f}",
        )
        for one in trials
    ]
    told = f"trial {found['best']['number']} is the best by dev {metric}, and is the model"
    return "\n".join((aligned([("trial", *keys, metric, "state", "seconds"), *rows]), told))


def recommend_table(found: Mapping[str, Any]) -> str:
    """Return encoders as rows, the recommended one marked with *, and below why the others are not taken."""
    metric = found["metric"]
    rows, reasons = [], []
    for one in found["candidates"]:
        took, score, size = one["latency_ms"], one["score"], one["parameters"]
        rows.append(
            (
                f"{'*' if one['model'] == found['recommended'] else ' '} {inline(one['model'])}",
                "" if score is None else figure(metric, score, one["interval"]),
                "" if one["rows"] is None else f"{one['rows']:,}",
                *(("", "") if took is None else (f"{took['median']:.3g}", f"{took['p95']:.3g}")),
                *(("", "") if size is None else (f"{size / 1e6:.3g} M", f"{one['bytes'] / 1e6:,.0f}")),
            )
        )
        if one["significantly_worse"]:
            by = f"{shown(metric, abs(one['difference']['value']))} from the best, p {one['difference']['p']:.2g}"
            reasons.append(f"{inline(one['model'])}: significantly worse ({by})")
        elif one["reason"]:
            reasons.append(f"{inline(one['model'])}: {inline(one['reason'])}")
    head = ("  encoder", f"dev {metric or 'score'}", "rows", "ms", "95 % ms", "parameters", "MB")
    return "\n".join((aligned([head, *rows]), *reasons))


def setting(value: object) -> str:
    """Return the value of a key as people read it."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return inline(value) if isinstance(value, str) else json.dumps(value)


def detail_tables(scores: Mapping[str, Any]) -> str:
    """Return where a model fails: its errors, what it confuses, and its scores by kinds of rows."""
    tables = []
    if errors := scores.get("errors"):
        tables.append("errors: " + "  ".join(f"{kind.replace('_', ' ')} {count:,}" for kind, count in errors.items()))
    if matches := scores.get("matches"):
        head = ("match", *_FIGURES, "correct", "incorrect", "partial", "missed", "spurious")
        rows = [
            (rule, *(f"{100 * m[key]:.1f}" for key in _FIGURES), *(f"{m[key]:,}" for key in head[4:]))
            for rule, m in matches.items()
        ]
        tables.append(aligned([head, *rows]))
    confused = [cell for cell in scores.get("confusion", ()) if cell["gold"] != cell["predicted"]]
    if confused:
        names = [
            tuple("none" if cell[k] is None else inline(cell[k]) for k in ("gold", "predicted")) for cell in confused
        ]
        rows = [(*pair, f"{cell['count']:,}") for pair, cell in zip(names[:_CONFUSED], confused, strict=False)]
        tables.append(aligned([("gold", "predicted", "times"), *rows], left=2))
        if len(confused) > _CONFUSED:
            tables[-1] += f"\n… and {len(confused) - _CONFUSED:,} more pairs; JSON has all"
    if found := scores.get("calibration"):
        tables.append(_calibration(found))
    if curve := scores.get("coverage"):
        rows = [
            (
                f"{one['min_score']:g}",
                f"{100 * one['answered']:.1f}",
                "" if one["accuracy"] is None else f"{100 * one['accuracy']:.1f}",
            )
            for one in curve
        ]
        tables.append(aligned([("--min-score", "answered", "right of these"), *rows]))
    tables += [_parts(name, parts) for name, parts in scores.get("breakdown", {}).items() if parts]
    return "\n\n".join(tables)


def _calibration(found: Mapping[str, Any]) -> str:
    """Return the calibration error, and for each bin of confidence how many decisions are right."""
    sure: Mapping[str, Sequence[float]] = found.get("intervals", {})
    rows = [
        (
            f"{100 * one['low']:.1f}-{100 * one['high']:.1f}",
            f"{100 * one['confidence']:.1f}",
            f"{100 * one['accuracy']:.1f}",
            f"{one['count']:,}",
        )
        for one in found["bins"]
    ]
    errors = "  ".join(f"{key} {figure(key, found[key], sure.get(key))}" for key in ("ece", "nll") if key in found)
    return f"calibration: {errors}\n{aligned([('confidence', 'mean', 'right', 'decisions'), *rows])}"


def _parts(name: str, parts: Sequence[Mapping[str, Any]]) -> str:
    keys = list(parts[0]["intervals"]) or [key for key in parts[0] if isinstance(parts[0][key], float)]
    rows = []
    for part in parts:
        what = inline(part["is"]) if "is" in part else _range(*part["words"])
        figures = (figure(key, part[key], part["intervals"].get(key)) for key in keys)
        rows.append((what, *figures, f"{part.get('entities', part['rows']):,}"))
    head = (name.replace("_", " "), *keys, "entities" if "entities" in parts[0] else "rows")
    return aligned([head, *rows])


def _range(least: int, most: int) -> str:
    return f"{least:,} words" if least == most else f"{least:,}-{most:,} words"


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return rows of cells as lines, the first `left` columns aligned to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def words(key: str) -> str:
    """Return the name of a metric as people write it."""
    return key.replace("_", " ").replace("f1", "F1")


def figure(key: str, value: float, interval: Sequence[float] | None) -> str:
    """Return a metric as people read it, with its interval."""
    low_high = f" [{', '.join(shown(key, bound) for bound in interval)}]" if interval else ""
    return f"{shown(key, value)}{low_high}"


def resampled(bootstrap: Mapping[str, Any]) -> str:
    """Say what the intervals are."""
    units = f"{bootstrap['units']:,} {bootstrap['unit']}s"
    return f"[in brackets: {bootstrap['level']:.0%} intervals, bootstrap over {units}]"


def _labels(scores: Mapping[str, Any]) -> list[str]:
    per_label: Mapping[str, Mapping[str, Any]] = scores["per_label"]
    rows = [
        (cut(inline(label), _NAME), *(f"{100 * s[key]:.1f}" for key in _FIGURES), f"{s['support']:,}")
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
    return aligned([head, *rows]).split("\n")
