"""What `--report` writes, by command: an evaluation, a training, a comparison; each becomes the HTML of one file."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from bertft.bundle import store
from bertft.check.codes import CODES
from bertft.check.findings import Finding
from bertft.console import ERRORS, command, shown
from bertft.encoders import embedded
from bertft.errors import printable
from bertft.inference.judged import Judged
from bertft.report import course, plots
from bertft.report.document import render
from bertft.report.mistakes import Listed, disagreements, listed
from bertft.report.scored import gap, section, table
from bertft.report.table import words
from bertft.scoring.breakdown import details
from bertft.scoring.outcomes import Outcomes

Infos = Mapping[str, Mapping[str, Any]]
Found = tuple[Sequence[Finding], str]
"""What `check` has found in the data, and why it could not look."""
_MARKS = {
    "right": "right",
    "missed": "gold, not predicted",
    "wrong": "predicted, wrong",
    "gold": "gold",
    "predicted": "predicted",
    "gold predicted": "gold and predicted",
}


def evaluation_page(model: str, judged: Judged, *, found: Found, note: str = "") -> str:
    """Return the report of a model on one file; `note` says how its findings were made."""
    part = section("scores", "Scores", judged, judged.scores)
    page = {
        "title": f"{_shown(model)} on {_shown(str(judged.info['path']))}",
        "kind": f"Evaluation, task {judged.task.name}",
        "lead": part["sentences"],
        "curves": [],
        "sections": [part],
        "data": _data({judged.name: judged.info}, {judged.name: judged.outcomes}),
        "findings": _findings(found, note),
        "repeat": _repeat({"model": model, **{k: _encoder(v) for k, v in judged.about.items()}}),
        "recipe": "",
    }
    return render(page, _list(listed([judged])))


def training_page(
    model: str,
    judged: Sequence[Judged],
    *,
    recipe: Any,
    infos: Infos,
    labels: Mapping[str, int],
    history: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    metric: str,
    about: Mapping[str, str],
    found: Found,
) -> str:
    """Return the report of a training: its curves, and how good the model is on test and dev.

    `metric` is that by which dev chooses, and `about` what else is known of the run.
    """
    judged = sorted(judged, key=lambda one: one.name == "dev")  # nothing was chosen on test
    sections = []
    for one in judged:
        scores = {**details(one.outcomes, [*one.scores.get("intervals", {})]), **one.scores}
        sections.append(section(one.name, f"Scores on {one.name}", one, scores))
    lead = [f"On {one.name}: {line[0].lower()}{line[1:]}" for one, part in zip(judged, sections, strict=True)
            for line in part["sentences"]]  # fmt: skip
    by_name = {one.name: one for one in judged}
    if len(by_name) == 2 and (far := gap(by_name["test"].scores, by_name["dev"].scores, judged[0].task.headline[0])):
        lead.insert(0, far)
    kept = course.kept(recipe, history, metric)
    chosen = ["checkpoint"] * bool(kept) + ["thresholds"] * ("dev" in by_name and course.has_thresholds(by_name["dev"]))
    if chosen:
        were = "were" if "thresholds" in chosen else "was"
        lead.append(f"The {' and the '.join(chosen)} {were} chosen on dev, which flatters the dev figures a little.")
    told = {**about, **kept, **{key: str(value) for key, value in facts.items() if key != "parts"}}
    page = {
        "title": f"{_shown(model)}, trained from {_shown(recipe.starts_from)}",
        "kind": f"Training, task {recipe.task}, from {_encoder(recipe.starts_from)}",
        "lead": lead,
        "curves": course.curves(history, judged[0].task.headline if judged else ()),
        "sections": sections,
        "data": _data(infos, {one.name: one.outcomes for one in judged}, labels=labels),
        "findings": _findings(found),
        "repeat": _repeat({"model": model, "trained from": recipe.starts_from, **told}),
        "recipe": recipe.to_yaml(),
    }
    return render(page, _list(listed(judged), more="`bertft eval` lists more"))


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
    differing = disagreements(names, outcomes)
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
    return render(page, _list([differing] if differing else [], title="Where they differ"))


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


# -- data, how to repeat it --------------------------------------------------------------------------------------------


def _data(infos: Infos, outcomes: Mapping[str, Outcomes], *, labels: Mapping[str, int] | None = None) -> dict[str, Any]:
    files = []
    for name, info in infos.items():
        about = "not counted"
        if name in outcomes and (lengths := sorted(outcomes[name].lengths)):
            about = f"{lengths[0]:,} to {lengths[-1]:,}, median {lengths[len(lengths) // 2]:,}"
        file = f"{printable(str(info['path']))}\nsha256 {info['sha256']}"
        files.append((name, file, (f"{info['rows']:,}", info["rows"]), about))
    tables = [table("Files", ("for", "file", "rows", "words a row"), files, left=2, wraps=True)]
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


def _list(lists: Sequence[Listed], *, title: str = "Where it fails", more: str = "") -> dict[str, Any]:
    """Return the lists of rows of a page as one, each file's rows behind those of the one before."""
    found = [one for one in lists if one.total]
    rows = [row for one in found for row in one.rows]
    marks = {part[1] for row in rows for text in row["texts"] for part in text["parts"] if len(part) > 1}
    return {
        "rows": rows,
        "total": sum(one.total for one in found),
        "what": found[0].what if found else "rows that are wrong",
        "notes": _notes(found, more) if found else [],
        "marks": [(kind, said) for kind, said in _MARKS.items() if kind in marks],
        "there": bool(lists),
        "title": title,
    }


def _notes(found: Sequence[Listed], more: str) -> list[str]:
    """Say in which order rows stand, how many of each file are listed, and what their number is."""
    several, order = len(found) > 1, found[0].order
    parts = [
        f"{len(one.rows):,} of {one.total:,} rows{f' of {one.of}' if several else ''}"
        for one in found
        if several or len(one.rows) < one.total
    ]
    told = [f"{order[0].upper()}{order[1:]}{', file by file' if several else ''}"]
    told += [f"listed are {', '.join(parts)}"] * bool(parts)
    if any(len(one.rows) < one.total for one in found):
        room = "the files share the room of the list, and the rest" if several else "the rest"
        told.append(f"{room} is left out{f' ({more})' if more else ''}")
    return ["; ".join(told) + ".", *([found[0].score] if found[0].score else [])]


def _encoder(name: str) -> str:
    if name != embedded.NAME:
        return name
    package = embedded.PACKAGE.replace("_", "-")
    return f"{name} ({package}, the encoder that comes with bertft)"


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
