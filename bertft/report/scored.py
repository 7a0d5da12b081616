"""What a report says of a scored file: its metrics, labels, confusions and parts, as tables, figures and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bertft.console import ERRORS, shown
from bertft.report import plots
from bertft.report.table import resampled, words

Table = dict[str, Any]
_FIGURES = ("precision", "recall", "f1")
_LABELS, _PAIRS = 500, 50
_ENOUGH = 10  # rows of a label whose score is worth a sentence


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[Any]], *, left: int = 1) -> Table:
    """Return a table for the template: a cell is a text, or (text, number to sort by)."""
    cells = [[cell if isinstance(cell, tuple) else (str(cell), None) for cell in row] for row in rows]
    return {"caption": caption, "head": list(head), "rows": cells, "left": left}


def section(name: str, title: str, scores: Mapping[str, Any], headline: Sequence[str]) -> dict[str, Any]:
    """Return the parts of a page on one scored file; `name` is for ids."""
    keys = [key for key in headline if isinstance(scores.get(key), int | float)]
    sure = scores.get("intervals", {})
    figures: list[dict[str, Any]] = []
    tables: list[Table] = []
    if "per_label" in scores:
        tables.append(_per_label(scores))
    if cells := scores.get("confusion"):
        figures.append(_confusion(name, cells))
        tables += _confused(cells)
    if calibration := scores.get("calibration"):
        figures += _reliability(name, calibration)
    if errors := scores.get("errors"):
        rows = [(kind.replace("_", " "), _count(count)) for kind, count in errors.items()]
        tables.append(table("Kinds of outcome", ("kind", "times"), rows))
    if matches := scores.get("matches"):
        counted = ("correct", "incorrect", "partial", "missed", "spurious")
        rows = [
            (rule, *(_percent("f1", m[key]) for key in _FIGURES), *(_count(m[key]) for key in counted))
            for rule, m in matches.items()
        ]
        tables.append(
            table("Entities, by how strictly they are matched", ("rule", *map(words, _FIGURES), *counted), rows)
        )
    for part, rows in scores.get("breakdown", {}).items():
        if rows and any(all(key in row for row in rows) for key in keys):
            found = _parts(name, part, rows, keys)
            figures.append(found[0])
            tables.append(found[1])
    return {
        "id": name,
        "title": title,
        "cards": [_card(key, scores[key], sure.get(key)) for key in keys],
        "others": _others(scores, keys),
        "how": resampled(scores["bootstrap"]).strip("[]").replace("in brackets: ", "") if sure else "",
        "figures": figures,
        "tables": tables,
        "sentences": sentences(scores, keys),
    }


def sentences(scores: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    """Return what the figures say, in words: how good, how sure, and where it fails."""
    said = []
    if keys:
        key, sure = keys[0], scores.get("intervals", {}).get(keys[0])
        unit = "" if key in ERRORS else " %"
        line = f"Its {words(key)} is {shown(key, scores[key])}{unit}"
        if sure:
            low, high = (shown(key, bound) for bound in sure)
            line += f"; on other {scores['bootstrap']['unit']}s like these expect {low} to {high} (95 % interval)"
        said.append(f"{line}.")
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
        said.append(f"Its weakest label, of those with {_ENOUGH} or more: “{weakest}”, F1 {figure} % ({support:,}).")
    for part, rows in scores.get("breakdown", {}).items():
        some = [row for row in rows if row["rows"] >= _ENOUGH and keys and keys[0] in row]
        if len(some) > 1:
            worst = (max if keys[0] in ERRORS else min)(some, key=lambda row: row[keys[0]])
            said.append(f"By {part.replace('_', ' ')} it is worst at {_of(worst)}: {shown(keys[0], worst[keys[0]])}.")
    if calibration := scores.get("calibration"):
        sure = calibration.get("intervals", {}).get("ece")
        bounds = f", {shown('ece', sure[0])} to {shown('ece', sure[1])} (95 % interval)" if sure else ""
        said.append(f"Its confidence is off by {shown('ece', calibration['ece'])} points on average{bounds} (ECE).")
    return said


def _card(key: str, value: float, sure: Sequence[float] | None) -> dict[str, str]:
    bounds = f"{shown(key, sure[0])} to {shown(key, sure[1])}" if sure else ""
    return {"name": words(key), "value": shown(key, value), "unit": "" if key in ERRORS else "%", "sure": bounds}


def _others(scores: Mapping[str, Any], keys: Sequence[str]) -> list[tuple[str, str]]:
    """Return all other metrics."""
    found = []
    for key, value in scores.items():
        if key not in keys and isinstance(value, int | float) and not isinstance(value, bool):
            text = shown(key, value) if isinstance(value, float) else f"{value:,}"
            found.append((words(key), text))
    return found + [(name, str(result)) for name, result in scores.get("extra", {}).items()]


def _per_label(scores: Mapping[str, Any]) -> Table:
    each = sorted(scores["per_label"].items(), key=lambda item: -item[1]["support"])
    rows = [
        (label, *(_percent("f1", one[key]) for key in _FIGURES), _count(one["support"]))
        for label, one in each[:_LABELS]
    ]
    more = f" (the {_LABELS} most frequent of {len(each):,})" if len(each) > _LABELS else ""
    return table(f"Each label{more}", ("label", *map(words, _FIGURES), "rows"), rows)


def _confusion(name: str, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    svg, count, total = plots.confusion_map(f"{name}-confusion", cells, title="confusion of labels: gold by predicted")
    note = "A row is a gold label, a column what was predicted; the stronger its colour, the larger a share of the row."
    if count < total:
        note += f" The {count} labels that are confused most, of {total:,}."
    return {"title": "What is taken for what", "svg": svg, "note": note, "wide": count > 12}


def _confused(cells: Sequence[Mapping[str, Any]]) -> list[Table]:
    wrong = [cell for cell in cells if cell["gold"] != cell["predicted"]]
    if not wrong:
        return []
    rows = [("none" if c["gold"] is None else c["gold"], "none" if c["predicted"] is None else c["predicted"],
             _count(c["count"])) for c in wrong[:_PAIRS]]  # fmt: skip
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
