"""What a report says of a scored file: its metrics, labels, confusions and parts, as tables, figures and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bertft.console import ERRORS, shown
from bertft.inference.judged import Judged
from bertft.report import plots
from bertft.report.mistakes import NONE, error_name
from bertft.report.table import resampled, words
from bertft.scoring import significance
from bertft.scoring.outcomes import Outcomes

Table = dict[str, Any]
_FIGURES = ("precision", "recall", "f1")
_LABELS, _PAIRS = 500, 50
_ENOUGH = 10  # rows of a label whose score is worth a sentence
_COUNTED = {"entities": "entities", "tags": "words"}
_MATCHES = (
    "strict: same words and label; exact: same words; partial: overlapping words, half credit; type: same label, "
    "overlapping words."
)
_PARTS = {
    "seen_in_train": "whether train has the entity",
    "windowed": "whether it is longer than a window",
    "answerable": "whether there is an answer",
}


def table(
    caption: str,
    head: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    left: int = 1,
    note: str = "",
    wraps: bool = False,
) -> Table:
    """Return a table for the template: a cell is a text, or (text, number to sort by); the second column may wrap."""
    cells = [[cell if isinstance(cell, tuple) else (str(cell), None) for cell in row] for row in rows]
    return {"caption": caption, "note": note, "head": list(head), "rows": cells, "left": left, "wraps": wraps}


def section(name: str, title: str, judged: Judged, scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a page on one scored file, `scores` with details; `name` is for ids."""
    keys = [key for key in judged.task.headline if isinstance(scores.get(key), int | float)]
    counted = _COUNTED.get(judged.outcomes.kind, "rows")
    sure = scores.get("intervals", {})
    figures: list[dict[str, Any]] = []
    tables: list[Table] = []
    if "per_label" in scores:
        tables.append(_per_label(scores, counted))
    if cells := scores.get("confusion"):
        figures.append(_confusion(name, cells, scores.get("errors", {})))
        tables += _confused(cells)
    if calibration := scores.get("calibration"):
        figures += _reliability(name, calibration)
    if errors := scores.get("errors"):
        rows = [(error_name(kind), _count(count)) for kind, count in errors.items()]
        tables.append(table("Kinds of outcome", ("kind", "times"), rows))
    if matches := scores.get("matches"):
        counts = ("correct", "incorrect", "partial", "missed", "spurious")
        head = ("rule", *map(words, _FIGURES), *counts[:-1], error_name("invented"))
        rows = [
            (rule, *(_percent("f1", m[key]) for key in _FIGURES), *(_count(m[key]) for key in counts))
            for rule, m in matches.items()
        ]
        tables.append(table("Entities, by how strictly they are matched", head, rows, note=_MATCHES))
    for part, rows in scores.get("breakdown", {}).items():
        if rows and any(all(key in row for row in rows) for key in keys):
            found = _parts(name, part, rows, keys)
            figures.append(found[0])
            tables.append(found[1])
    return {
        "id": name,
        "title": title,
        "cards": [_card(key, scores[key], sure.get(key)) for key in keys],
        "others": _others(scores, keys, counted),
        "how": resampled(scores["bootstrap"]).strip("[]").replace("in brackets: ", "") if sure else "",
        "figures": figures,
        "tables": tables,
        "sentences": sentences(scores, keys, judged.outcomes),
    }


def gap(test: Mapping[str, Any], dev: Mapping[str, Any], key: str) -> str:
    """Say how far test is from dev, "" where the intervals of a metric overlap or are not there."""
    bounds = [scores.get("intervals", {}).get(key) for scores in (test, dev)]
    if not all(bounds) or _overlap(*bounds):
        return ""
    here, there = (float(shown(key, scores[key])) for scores in (test, dev))
    far = f"{abs(here - there):.4g}" if key in ERRORS else f"{abs(here - there):.1f} points"
    side = "below" if here < there else "above"
    return f"Test is {far} {side} dev ({shown(key, dev[key])}) in {words(key)}: judge by test."


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def sentences(scores: Mapping[str, Any], keys: Sequence[str], outcomes: Outcomes) -> list[str]:
    """Return what the figures say, in words: how good, how sure, and where it fails."""
    counted = _COUNTED.get(outcomes.kind, "rows")
    said = []
    if keys:
        key, sure = keys[0], scores.get("intervals", {}).get(keys[0])
        unit = "" if key in ERRORS else " %"
        line = f"Its {words(key)} is {shown(key, scores[key])}{unit}"
        if sure:
            low, high = (shown(key, bound) for bound in sure)
            line += f"; on other {scores['bootstrap']['unit']}s like these expect {low} to {high} (95 % interval)"
        said.append(f"{line}.")
    if outcomes.kind == "entities" and scores.get("support"):
        right = significance.rights(outcomes) or []
        unit = outcomes.unit if outcomes.groups is None else "row"
        found, named = (f"{100 * scores[key]:.0f}" for key in ("recall", "precision"))
        said.append(
            f"It finds {found} of 100 entities, and {named} of 100 that it names are right; "
            f"{right.count(False):,} of {len(right):,} {unit}s have a mistake."
        )
    wrong = [cell for cell in scores.get("confusion", ()) if cell["gold"] != cell["predicted"]]
    if wrong:
        first = wrong[0]
        gold, guess = first["gold"], first["predicted"]
        times = f"{first['count']:,} time{'s' * (first['count'] != 1)}"
        if gold is None:
            said.append(f"Its most frequent mistake: “{guess}” where there is nothing, {times}.")
        elif guess is None:
            said.append(f"Its most frequent mistake: “{gold}” is missed, {times}.")
        else:
            said.append(f"Its most frequent mistake: “{gold}” is taken for “{guess}”, {times}.")
    labels = {k: v for k, v in scores.get("per_label", {}).items() if v["support"] >= _ENOUGH}
    if len(labels) > 1:
        weakest = min(labels, key=lambda label: labels[label]["f1"])
        figure, support = shown("f1", labels[weakest]["f1"]), labels[weakest]["support"]
        enough = f"of those with {_ENOUGH} {counted} or more"
        said.append(f"Its weakest label, {enough}: “{weakest}”, F1 {figure} % ({support:,} {counted}).")
    for part, rows in scores.get("breakdown", {}).items():
        some = [row for row in rows if row["rows"] >= _ENOUGH and keys and keys[0] in row]
        if len(some) > 1:
            ordered = sorted(some, key=lambda row: row[keys[0]], reverse=keys[0] in ERRORS)
            low, high = (row["intervals"].get(keys[0]) for row in (ordered[0], ordered[-1]))
            by = _PARTS.get(part, part.replace("_", " "))
            if low and high and not _overlap(low, high):
                figure = shown(keys[0], ordered[0][keys[0]])
                said.append(f"By {by} it is worst at {_of(ordered[0])}: {words(keys[0])} {figure}.")
            else:
                said.append(f"{by[0].upper()}{by[1:]} makes no clear difference.")
    if calibration := scores.get("calibration"):
        sure = calibration.get("intervals", {}).get("ece")
        bounds = f", {shown('ece', sure[0])} to {shown('ece', sure[1])} (95 % interval)" if sure else ""
        off = f"off by {shown('ece', calibration['ece'])} points on average{bounds}"
        said.append(f"Over {_decisions(outcomes)} its confidence is {off}: the expected calibration error, ECE.")
    return said


def _decisions(outcomes: Outcomes) -> str:
    """Return what the model has a confidence in, a decision each."""
    match outcomes.kind:
        case "entities":
            tags = [tag for row in outcomes.gold for sentence in row for tag in sentence]
            return f"words, {100 * tags.count('O') / max(1, len(tags)):.0f} % of them outside entities,"
        case "tags":
            return "words"
        case "labels":
            return "all labels of all texts"
        case "masked":
            return "masked tokens"
    return "pairs of texts" if outcomes.inputs and len(outcomes.inputs[0]) > 1 else "texts"


def _card(key: str, value: float, sure: Sequence[float] | None) -> dict[str, str]:
    bounds = f"{shown(key, sure[0])} to {shown(key, sure[1])}" if sure else ""
    return {"name": words(key), "value": shown(key, value), "unit": "" if key in ERRORS else "%", "sure": bounds}


def _others(scores: Mapping[str, Any], keys: Sequence[str], counted: str) -> list[tuple[str, str]]:
    """Return all other metrics."""
    found = []
    names = {"argmax_f1": "F1 of the likeliest tag of each word, whatever its neighbours", "support": counted}
    for key, value in scores.items():
        if key not in keys and isinstance(value, int | float) and not isinstance(value, bool):
            text = shown(key, value) if isinstance(value, float) else f"{value:,}"
            found.append((names.get(key, words(key)), text))
    return found + [(name, str(result)) for name, result in scores.get("extra", {}).items()]


def _per_label(scores: Mapping[str, Any], counted: str) -> Table:
    each = sorted(scores["per_label"].items(), key=lambda item: -item[1]["support"])
    rows = [
        (label, *(_percent("f1", one[key]) for key in _FIGURES), _count(one["support"]))
        for label, one in each[:_LABELS]
    ]
    more = f" (the {_LABELS} most frequent of {len(each):,})" if len(each) > _LABELS else ""
    return table(f"Each label{more}", ("label", *map(words, _FIGURES), counted), rows)


def _confusion(name: str, cells: Sequence[Mapping[str, Any]], errors: Mapping[str, int]) -> dict[str, Any]:
    svg, count, total = plots.confusion_map(f"{name}-confusion", cells, title="confusion of labels: gold by predicted")
    note = "A row is a gold label, a column what was predicted; the stronger its colour, the larger a share of the row."
    if boundary := errors.get("boundary"):
        same = errors["right"] + boundary
        note += f" The diagonal has {same:,} entities of the right label; {boundary:,} of them have a wrong boundary."
    if count < total:
        note += f" The {count} labels that are confused most, of {total:,}."
    return {"title": "What is taken for what", "svg": svg, "note": note, "wide": count > 12}


def _confused(cells: Sequence[Mapping[str, Any]]) -> list[Table]:
    wrong = [cell for cell in cells if cell["gold"] != cell["predicted"]]
    if not wrong:
        return []
    rows = [
        (*(NONE if c[side] is None else c[side] for side in ("gold", "predicted")), _count(c["count"]))
        for c in wrong[:_PAIRS]
    ]
    more = f" (the {_PAIRS} most frequent of {len(wrong):,})" if len(wrong) > _PAIRS else ""
    return [table(f"Confusions{more}", ("gold", "predicted", "times"), rows, left=2)]


def _reliability(name: str, calibration: Mapping[str, Any]) -> list[dict[str, Any]]:
    note = f"Expected calibration error {shown('ece', calibration['ece'])}"
    if sure := calibration.get("intervals", {}).get("ece"):
        note += f" ({shown('ece', sure[0])} to {shown('ece', sure[1])})"
    note += ". Below the dashed line the model is surer than it should be."
    bins = calibration.get("bins") or []
    if not any(one["count"] for one in bins):
        return []
    svg = plots.reliability(f"{name}-reliability", bins, title="how often it is right, by how sure it is")
    return [{"title": "Is it right as often as it is sure?", "svg": svg, "note": note, "wide": False}]


def _parts(
    name: str, part: str, rows: Sequence[Mapping[str, Any]], keys: Sequence[str]
) -> tuple[dict[str, Any], Table]:
    shown_keys = [key for key in keys if all(key in row for row in rows)]
    key = shown_keys[0]
    values = [(_of(row), row[key], row["intervals"].get(key)) for row in rows]
    title = f"{words(key)} by {part.replace('_', ' ')}"
    what = "entities" if "entities" in rows[0] else "rows"
    cells = [
        (_of(row), *(_figure(one, row[one], row["intervals"].get(one)) for one in shown_keys), _count(row[what]))
        for row in rows
    ]
    svg = plots.ranges(f"{name}-{part}", values, title=title, metric=key)
    heading = title[0].upper() + title[1:]
    figure = {"title": heading, "svg": svg, "note": "Bars are 95 % intervals.", "wide": False}
    return figure, table(heading, (part.replace("_", " "), *map(words, shown_keys), what), cells)


def _of(row: Mapping[str, Any]) -> str:
    if "is" in row:
        return str(row["is"])
    least, most = row["words"]
    return f"{least:,} words" if least == most else f"{least:,}-{most:,} words"


def _figure(key: str, value: float, sure: Sequence[float] | None) -> tuple[str, float]:
    bounds = f" ({shown(key, sure[0])} to {shown(key, sure[1])})" if sure else ""
    return f"{shown(key, value)}{bounds}", value


def _percent(key: str, value: float) -> tuple[str, float]:
    return shown(key, value), value


def _count(value: int) -> tuple[str, int]:
    return f"{value:,}", value
