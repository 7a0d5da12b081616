"""A comparison of systems as tables for a terminal: their scores, their differences, and rows that tell them apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertft.console import shown
from bertft.data.jsonl import encode
from bertft.errors import inline
from bertft.report.table import aligned, figure, resampled

_SURE = 0.05
_SHOWN = 70  # characters of an input


def comparison_tables(found: Mapping[str, Any]) -> str:
    """Return the scores of each system, each difference with its p-values, and a sentence on each."""
    keys = list(found["systems"][0]["intervals"])
    scores = [
        (inline(system["name"]), *(figure(key, system[key], system["intervals"][key]) for key in keys))
        for system in found["systems"]
    ]
    metric, tests = found["metric"], list(found["pairs"][0]["p"])
    corrected = len(found["pairs"]) > 1
    differences = [("difference", metric, *(f"p, {test}" for test in tests), *(["corrected"] if corrected else []))]
    for pair in found["pairs"]:
        one = pair["differences"][metric]
        low, high = (_signed(metric, bound) for bound in one["interval"])
        p = [_p(pair["p"][test]) for test in tests]
        if corrected:
            p.append(_p(pair["p_holm"]["randomization"]))
        differences.append((_names(pair), f"{_signed(metric, one['difference'])} [{low}, {high}]", *p))
    blocks = [aligned([("", *keys), *scores]), aligned(differences)]
    said = [_said(pair, metric) for pair in found["pairs"]]
    blocks.append("\n".join((*said, resampled(found["bootstrap"]))))
    for pair in found["pairs"]:
        for side, rows in pair.get("rows", {}).items():
            head = f"only {inline(pair[side[-1]])} has right, not {inline(pair['b' if side[-1] == 'a' else 'a'])}"
            blocks.append("\n".join((f"{head}: {pair['right'][side]:,} rows", *map(_row, rows))))
    return "\n\n".join(blocks)


def _names(pair: Mapping[str, Any]) -> str:
    return f"{inline(pair['b'])} - {inline(pair['a'])}"


def _said(pair: Mapping[str, Any], metric: str) -> str:
    p = pair["p_holm"]["randomization"]
    difference = pair["differences"][metric]["difference"]
    better = ("a" if difference < 0 else "b") if metric != "rmse" else ("b" if difference < 0 else "a")
    right = ""
    if "right" in pair:
        only_a, only_b = pair["right"]["only_a"], pair["right"]["only_b"]
        right = f"; only {inline(pair['a'])} has {only_a:,} rows right, only {inline(pair['b'])} {only_b:,}"
    if p < _SURE:
        return f"{inline(pair[better])} is better: {metric}, p {_p(p)}{right}"
    return f"no difference is shown between {inline(pair['a'])} and {inline(pair['b'])}: {metric}, p {_p(p)}{right}"


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else "<0.0001"


def _signed(metric: str, value: float) -> str:
    return f"{'' if value < 0 else '+'}{shown(metric, value)}"


def _row(row: Mapping[str, Any]) -> str:
    text = inline(" | ".join(row["input"]) if len(row["input"]) <= 2 else " ".join(row["input"]))
    cut = f"{text[:_SHOWN]}…" if len(text) > _SHOWN else text
    told = "  ".join(f"{side}: {inline(encode(row[side]))}" for side in ("gold", "a", "b"))
    return f"  {row['place']}  {cut}\n    {told}"
