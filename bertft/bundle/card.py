"""The model card: what was trained on what, how good it is, how to use it, with bertft and without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertft.errors import printable
from bertft.recipe import Recipe
from bertft.tasks.base import Task


def render(recipe: Recipe, task: Task[Any, Any, Any], metrics: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Return the card as Markdown."""
    labels = task.head().labels
    rows = [
        f"| {split} | {', '.join(f'{key} {100 * scores[key]:.1f}' for key in task.headline)} | {scores['support']} |"
        for split, scores in metrics.items()
    ]
    files = [
        f"| {split} | `{_inert(str(info['path']))}` | {info['rows']} | `{info['sha256'][:16]}` |"
        for split, info in data.items()
    ]
    return "\n".join(
        (
            "---",
            "library_name: transformers",
            "pipeline_tag: token-classification",
            "tags: [bertft]",
            "---",
            "",
            f"# {task.name}, fine-tuned from {_inert(recipe.model)}",
            "",
            f"Labels: {', '.join(f'`{_inert(label)}`' for label in labels)}.",
            "",
            "| split | scores in percent | support |",
            "| --- | --- | --- |",
            *rows,
            "",
            "| split | file | rows | sha256 |",
            "| --- | --- | --- | --- |",
            *files,
            "",
            "## Use",
            "",
            "    bertft predict MODEL text.txt",
            "    bertft eval MODEL --data test.conll",
            "",
            f"In plain transformers: `{task.head().architecture}.from_pretrained(MODEL)` gives the same logits. What "
            "it cannot express is in `bertft.json`: how answers are decoded, and the windows over long texts.",
            "",
            f"Trained with seed {recipe.seed}; `recipe.yaml` repeats the run.",
            "",
        )
    )


def _inert(text: str) -> str:
    """Return `text` so that it cannot end a table cell or open markup."""
    return printable(text).translate({ord(c): f"&#{ord(c)};" for c in "|<>`[]\n"})
