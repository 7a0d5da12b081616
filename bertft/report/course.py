"""How a training went, by Trainer's log: its learning curves, which checkpoint was kept, how long it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bertft.console import ERRORS
from bertft.inference.judged import Judged
from bertft.report import plots
from bertft.report.table import words

History = Sequence[Mapping[str, Any]]


def curves(history: History, headline: Sequence[str]) -> list[dict[str, Any]]:
    """Return the learning curves: the loss, and the metrics on dev."""
    found = []
    loss = [(float(entry["epoch"]), float(entry["loss"])) for entry in history if "loss" in entry]
    if loss:
        svg = plots.curve("loss", {"loss": loss}, title="training loss by epoch", percent=False)
        found.append({"title": "Training loss", "svg": svg, "note": "", "wide": False})
    for percent in (True, False):
        lines = {
            words(key): [(float(e["epoch"]), float(e[f"eval_{key}"])) for e in history if f"eval_{key}" in e]
            for key in headline
            if (key not in ERRORS) == percent
        }
        if any(lines.values()):
            svg = plots.curve(f"dev-{percent}", lines, title="metrics on dev by epoch", percent=percent)
            found.append({"title": f"On dev: {', '.join(lines)}", "svg": svg, "note": "", "wide": False})
    return found


def kept(recipe: Any, history: History, metric: str) -> dict[str, str]:
    """Return which checkpoint is the model, `{}` where it is the last one whatever dev says.

    It is the first of those with the best metric, as Trainer chooses.
    """
    scored = [entry for entry in history if f"eval_{metric}" in entry]
    if not scored or not recipe.trainer.get("load_best_model_at_end"):
        return {}
    best = (min if metric in ERRORS else max)(scored, key=lambda entry: entry[f"eval_{metric}"])
    epoch, of, step = best["epoch"], max(entry["epoch"] for entry in history), best["step"]
    return {"kept": f"epoch {epoch:.3g} of {of:.3g}, step {step:,}: the best {words(metric)} on dev"}


def has_thresholds(dev: Judged) -> bool:
    """Say whether a task has thresholds that dev chooses: those of sets of labels, and of questions without answers."""
    outcomes = dev.outcomes
    return outcomes.kind == "labels" or (outcomes.kind == "answer" and not all(outcomes.gold) and any(outcomes.gold))
