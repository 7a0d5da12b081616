"""What `--report` writes, by command: an evaluation, a training, a comparison; each becomes the HTML of one file."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from typing import Any

from bertft.bundle import store
from bertft.check.codes import CODES
from bertft.check.findings import Finding
from bertft.console import ERRORS, command, shown
from bertft.errors import printable
from bertft.inference.judged import Judged
from bertft.report import plots
from bertft.report.document import render
from bertft.report.mistakes import Listed, disagreements, mistakes
from bertft.report.scored import section, table
from bertft.report.table import words
from bertft.scoring.breakdown import details
from bertft.scoring.outcomes import Outcomes

Infos = Mapping[str, Mapping[str, Any]]
Found = tuple[Sequence[Finding], str]
"""What `check` has found in the data, and why it could not look."""


def evaluation_page(model: str, judged: Judged, *, found: Found, note: str = "") -> str:
    """Return the report of a model on one file; `note` says how its findings were made."""
    part = section("scores", "Scores", judged.scores, judged.task.headline)
    page = {
        "title": f"{_shown(model)} on {_shown(str(judged.info['path']))}",
        "kind": f"Evaluation, task {judged.task.name}",
        "lead": part["sentences"],
        "curves": [],
        "sections": [part],
        "data": _data({judged.name: judged.info}, {judged.name: judged.outcomes}),
        "findings": _findings(found, note),
        "repeat": _repeat({"model": model, **judged.about}),
        "recipe": "",
    }
    return render(page, _list([mistakes(judged)]))


def training_page(
    model: str,
    judged: Sequence[Judged],
    *,
    recipe: Any,
    infos: Infos,
    labels: Mapping[str, int],
    history: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    found: Found,
) -> str:
    """Return the report of a training: its curves, and how good the model is on dev and test."""
    sections = []
    for one in judged:
        scores = {**details(one.outcomes, [*one.scores.get("intervals", {})]), **one.scores}
        sections.append(section(one.name, f"Scores on {one.name}", scores, one.task.headline))
    lead = [f"On {one.name}: {line[0].lower()}{line[1:]}" for one, part in zip(judged, sections, strict=True)
            for line in part["sentences"]]  # fmt: skip
    if any(one.name == "dev" for one in judged):
        lead.append("The checkpoint and its thresholds were chosen on dev, which flatters the dev figures a little.")
    about = {"model": model, "trained from": recipe.starts_from, "seed": str(recipe.seed)}
    page = {
        "title": f"{_shown(model)}, trained from {_shown(recipe.starts_from)}",
        "kind": f"Training, task {recipe.task}",
        "lead": lead,
        "curves": _curves(history, judged[0].task.headline if judged else ()),
        "sections": sections,
        "data": _data(infos, {one.name: one.outcomes for one in judged}, labels=labels),
        "findings": _findings(found),
        "repeat": _repeat({**about, **{key: str(value) for key, value in facts.items() if key != "parts"}}),
        "recipe": recipe.to_yaml(),
    }
    return render(page, _list([mistakes(one, share=len(judged)) for one in judged]))


def comparison_page(found: Mapping[str, Any], outcomes: Sequence[Outcomes], info: Mapping[str, Any]) -> str:
    """Return the report of a comparison: how systems differ, and on which rows."""
    paths, metric = [system["name"] for system in found["systems"]], found["metric"]
    brief = _brief(paths)
    names = list(brief.values())
    keys = list(found["systems"][0]["intervals"])
    head = ("system", *(words(key) for key in keys))
    systems = [
        (brief[system["name"]], *(_bounds(key, system[key], system["intervals"].get(key)) for key in keys))
        for system in found["systems"]
    ]
    tests = list(found["pairs"][0]["p"])
    several = len(found["pairs"]) > 1
    rows = []
    for pair in found["pairs"]:
        p = [(_p(pair["p"][test]), pair["p"][test]) for test in tests]
        if several:
            p.append((_p(pair["p_holm"]["randomization"]), pair["p_holm"]["randomization"]))
        each = (_signed(key, pair["differences"][key]) for key in keys if key in pair["differences"])
        rows.append((f"{brief[pair['b']]} - {brief[pair['a']]}", *each, *p))
    heads = ("difference", *(words(key) for key in keys), *(f"p, {test}" for test in tests))
    tables = [
        table("Each system, with 95 % intervals", head, systems),
        table("Differences, with 95 % intervals", (*heads, *(["p, corrected"] if several else [])), rows),
    ]
    if "right" in found["pairs"][0]:
        both = [
            (f"{brief[pair['a']]} (a), {brief[pair['b']]} (b)", *((f"{n:,}", n) for n in pair["right"].values()))
            for pair in found["pairs"]
        ]
        tables.append(table("Rows that are right", ("pair", "both", "only a", "only b", "neither"), both))
    bars = [(brief[system["name"]], system[metric], system["intervals"].get(metric)) for system in found["systems"]]
    differences = [
        (f"{brief[pair['b']]} - {brief[pair['a']]}", one["difference"], one["interval"])
        for pair in found["pairs"]
        for one in [pair["differences"][metric]]
    ]
    over = metric if metric in ERRORS else f"difference in {words(metric)}"
    figures = [
        _figure("Scores", plots.ranges("systems", bars, title=f"{words(metric)} of each system", metric=metric)),
        _figure("Differences", plots.ranges("differences", differences, title=over, metric=over)),
    ]
    how = found["bootstrap"]
    part = {
        "id": "scores",
        "title": "Scores and differences",
        "cards": [],
        "others": [],
        "how": f"{how['samples']:,} resamples of {how['units']:,} {how['unit']}s, seed {how['seed']}",
        "figures": figures,
        "tables": tables,
        "sentences": [],
    }
    lead = [_verdict({**pair, "a": brief[pair["a"]], "b": brief[pair["b"]]}, metric) for pair in found["pairs"]]
    lead += [
        f"The labels of “{brief[system['name']]}” seem to be permuted: see `permutation` in the JSON."
        for system in found["systems"]
        if "permutation" in system
    ]
    listed = disagreements(names, outcomes)
    page = {
        "title": f"{', '.join(map(_shown, names))} on {_shown(found['data'])}",
        "kind": f"Comparison of {len(names)} systems",
        "lead": lead,
        "curves": [],
        "sections": [part],
        "data": _data({"test": info}, {"test": outcomes[0]}),
        "findings": None,
        "repeat": _repeat({f"system {i}": name for i, name in enumerate(paths, 1)}),
        "recipe": "",
    }
    return render(page, _list([listed] if listed else [], title="Where they differ"))


def _verdict(pair: Mapping[str, Any], metric: str) -> str:
    p, one = pair["p_holm"]["randomization"], pair["differences"][metric]["difference"]
    better, other = (pair["b"], pair["a"]) if (one > 0) != (metric in ERRORS) else (pair["a"], pair["b"])
    low, high = sorted(bound if one > 0 else -bound for bound in pair["differences"][metric]["interval"])
    if p >= 0.05:
        return f"No difference in {words(metric)} is shown between “{pair['a']}” and “{pair['b']}” (p {_p(p)})."
    by = f"{shown(metric, abs(one))} ({shown(metric, low)} to {shown(metric, high)})"
    return f"“{better}” is better than “{other}” by {by} in {words(metric)}, p {_p(p)}."


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else "<0.0001"


def _bounds(key: str, value: float, sure: Sequence[float] | None) -> tuple[str, float]:
    bounds = f" ({shown(key, sure[0])} to {shown(key, sure[1])})" if sure else ""
    return f"{shown(key, value)}{bounds}", value


def _signed(key: str, one: Mapping[str, Any]) -> tuple[str, float]:
    value, low, high = (f"{'+' if x > 0 else ''}{shown(key, x)}" for x in (one["difference"], *one["interval"]))
    return f"{value} ({low} to {high})", one["difference"]


def _figure(title: str, svg: str) -> dict[str, Any]:
    return {"title": title, "svg": svg, "note": "Bars are 95 % intervals.", "wide": False}


# -- curves, data, how to repeat it ------------------------------------------------------------------------------------


def _curves(history: Sequence[Mapping[str, Any]], headline: Sequence[str]) -> list[dict[str, Any]]:
    """Return the learning curves of a Trainer's log."""
    curves = []
    loss = [(float(entry["epoch"]), float(entry["loss"])) for entry in history if "loss" in entry]
    if loss:
        svg = plots.curve("loss", {"loss": loss}, title="training loss by epoch", percent=False)
        curves.append({"title": "Training loss", "svg": svg, "note": "", "wide": False})
    for percent in (True, False):
        lines = {
            words(key): [(float(e["epoch"]), float(e[f"eval_{key}"])) for e in history if f"eval_{key}" in e]
            for key in headline
            if (key not in ERRORS) == percent
        }
        if any(lines.values()):
            svg = plots.curve(f"dev-{percent}", lines, title="metrics on dev by epoch", percent=percent)
            curves.append({"title": f"On dev: {', '.join(lines)}", "svg": svg, "note": "", "wide": False})
    return curves


def _data(infos: Infos, outcomes: Mapping[str, Outcomes], *, labels: Mapping[str, int] | None = None) -> dict[str, Any]:
    files = []
    for name, info in infos.items():
        about = ""
        if name in outcomes and (lengths := sorted(outcomes[name].lengths)):
            about = f"{lengths[0]:,} to {lengths[-1]:,}, median {lengths[len(lengths) // 2]:,}"
        files.append((name, str(info["path"]), (f"{info['rows']:,}", info["rows"]), about, str(info["sha256"])))
    tables = [table("Files", ("for", "file", "rows", "words a row", "sha256"), files, left=2)]
    if labels:
        most = sorted(labels.items(), key=lambda item: -item[1])[:500]
        tables.append(table("Labels in train", ("label", "times"), [(k, (f"{n:,}", n)) for k, n in most]))
    return {"tables": tables}


def _findings(found: Found, note: str = "") -> dict[str, Any]:
    """Return findings grouped by code, as `check` prints them."""
    findings, why_not = found
    groups = []
    for code, group in groupby(sorted(findings, key=lambda one: one.code), key=lambda one: one.code):
        each = list(group)
        groups.append(
            {
                "code": code,
                "severity": each[0].severity,
                "what": CODES[code].what,
                "fix": each[0].fix,
                "each": [f"{one.place + ': ' if one.place else ''}{one.message}" for one in each],
            }
        )
    ranks = ["error", "warning", "note"]
    return {
        "groups": sorted(groups, key=lambda one: ranks.index(str(one["severity"]))),
        "why_not": why_not,
        "note": note,
    }


def _repeat(about: Mapping[str, str]) -> dict[str, Any]:
    given = command()
    versions = {"python": platform.python_version(), **store.versions()}
    return {
        "command": printable(shlex.join(["bertft", *given])) if given else "",
        "about": [(name, printable(value)) for name, value in about.items()],
        "date": f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}",
        "versions": [(name, version) for name, version in versions.items() if version],
        "platform": platform.platform(),
    }


def _list(lists: Sequence[Listed], *, title: str = "Where it fails") -> dict[str, Any]:
    """Return the lists of rows of a page as one."""
    found = [asdict(one) for one in lists if one.total]
    return {
        "rows": [row for one in found for row in one["rows"]],
        "total": sum(one["total"] for one in found),
        "what": found[0]["what"] if found else "rows that are wrong",
        "order": found[0]["order"] if found else "",
        "there": bool(lists),
        "title": title,
    }


def _brief(paths: Sequence[str]) -> dict[str, str]:
    """Return what a page calls each file or model: the ends of their paths, as much of them as tells them apart."""
    for parts in range(1, max(path.count("/") for path in paths) + 1):
        short = ["/".join(path.rstrip("/").split("/")[-parts:]) for path in paths]
        if len({*short}) == len({*paths}):
            return dict(zip(paths, short, strict=True))
    return {path: path for path in paths}


def _shown(name: str) -> str:
    """Return the end of a long path."""
    text = printable(name)
    return text if len(text) <= 60 else f"…{text[-59:]}"
