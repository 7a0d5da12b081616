"""The model card: what was trained on what, how good it is, how to use it, with bertft and without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertft.console import shown
from bertft.errors import printable
from bertft.recipe import Recipe
from bertft.tasks.base import Task

_PIPELINES = {
    "AutoModelForTokenClassification": "token-classification",
    "AutoModelForSequenceClassification": "text-classification",
    "AutoModelForQuestionAnswering": "question-answering",
}


def render(recipe: Recipe, task: Task[Any, Any, Any], metrics: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Return the card as Markdown."""
    head, state = task.head(), task.state()
    rows = [
        f"| {split} | {', '.join(f'{key} {shown(key, scores[key])}' for key in task.headline)} | {scores['support']} |"
        for split, scores in metrics.items()
    ]
    files = [
        f"| {split} | `{_inert(str(info['path']))}` | {info['rows']} | `{info['sha256'][:16]}` |"
        for split, info in data.items()
    ]
    labels = f"Labels: {', '.join(f'`{_inert(label)}`' for label in head.labels)}." if head.labels else ""
    return "\n".join(
        (
            "---",
            "library_name: transformers",
            f"pipeline_tag: {_PIPELINES.get(head.architecture, 'feature-extraction')}",
            "tags: [bertft]",
            "---",
            "",
            f"# {task.name}, fine-tuned from {_inert(recipe.model)}",
            "",
            *([labels, ""] if labels else []),
            "| split | scores in percent | support |",
            "| --- | --- | --- |",
            *rows,
            "",
            *([_CHOSEN, ""] if any(state.get(key) for key in ("thresholds", "no_answer_threshold")) else []),
            "| split | file | rows | sha256 |",
            "| --- | --- | --- | --- |",
            *files,
            "",
            "## Use",
            "",
            "    bertft predict MODEL input",
            "    bertft eval MODEL --data test-file",
            "",
            *_plain(task),
            "",
            f"Trained with seed {recipe.seed}; `recipe.yaml` repeats the run.",
            "",
        )
    )


_CHOSEN = "The thresholds in `bertft.json` were chosen on dev, which flatters the dev figures, and those of test not."


def _plain(task: Task[Any, Any, Any]) -> list[str]:
    """Say what plain transformers can do with the model, and what it cannot."""
    head = task.head()
    same = f"In plain transformers: `{head.architecture}.from_pretrained(MODEL)` gives the same logits."
    if head.pooling != "cls":
        same = (
            f"**Plain transformers cannot express this model**: its head reads the {head.pooling} over the tokens "
            f"(`options.pooling`), where `{head.architecture}` reads the first one and gives other logits."
        )
    lines = [same]
    if head.crf is not None:
        lines.append(
            "These are a CRF's emissions; its transitions, which `bertft_head.safetensors` has, are not used there."
        )
    lines.append(
        "What it cannot express is in `bertft.json`: how answers are decoded, thresholds, and windows over long texts."
    )
    return [" ".join(lines)]


def _inert(text: str) -> str:
    """Return `text` so that it cannot end a table cell or open markup."""
    return printable(text).translate({ord(c): f"&#{ord(c)};" for c in "|<>`[]\n"})
