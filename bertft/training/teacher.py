"""The model that a student learns from: opened and held against the student before torch is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertft import digest
from bertft.bundle import store
from bertft.bundle.store import Bundle
from bertft.encoders import adapters, load
from bertft.encoders.families import max_positions
from bertft.encoders.subwords import SubwordTokenizer
from bertft.errors import UsageError, inline
from bertft.recipe import TEACHER, Distill, Recipe
from bertft.tasks.base import Task

_WEIGHTS = ("*.safetensors", "*.bin")
_OTHER_LABELS = 5


@dataclass(frozen=True, slots=True)
class Teacher:
    """A trained model without its weights, and what of it the student is to learn."""

    bundle: Bundle
    config: Any
    settings: Distill
    layers: list[int] | None
    """Those of the teacher that the student is made of; None where it is another encoder."""

    @classmethod
    def open(cls, recipe: Recipe, *, allow_pickle: bool = False) -> Teacher | None:
        """Return the teacher that a recipe names, None where it names none.

        Raises ModelError where that is no trained model, UsageError for layers that it has not.
        """
        settings = recipe.distillation
        if settings is None:
            return None
        from bertft.encoders import depth

        bundle = store.open_bundle(settings.teacher, allow_pickle=allow_pickle)
        config = load.load_config(bundle.checkpoint)
        if recipe.model == TEACHER and adapters.prefix_of(Path(bundle.checkpoint.location)):
            raise UsageError(
                "--model teacher: it has a prefix, which is of all its layers",
                help="name the encoder that the student starts from with `--model`",
            )
        layers = depth.chosen(settings.layers, config) if recipe.model == TEACHER else None
        return cls(bundle, config, settings, layers)

    def check(self, task: Task[Any, Any, Any], subwords: SubwordTokenizer, *, window: int) -> None:
        """Raise UsageError where a student for this task, with windows of that many tokens, cannot learn from it."""
        name = inline(self.bundle.checkpoint.name)
        own, head = self.bundle.task.head(), task.head()
        if (own.architecture, own.problem_type) != (head.architecture, head.problem_type):
            kind = f"{self.bundle.task.name}{f', {own.problem_type}' if own.problem_type else ''}"
            wanted = f"{task.name}{f', {head.problem_type}' if head.problem_type else ''}"
            raise UsageError(f"--teacher: {name} is for another task ({kind}) than this ({wanted})")
        if task.name == "mlm":
            advice = "a teacher and its student classify, tag, or answer questions"
            raise UsageError("--teacher: masked words are not learnt from a teacher", help=advice)
        if own.crf is not None or head.crf is not None:
            whose = "the teacher" if own.crf is not None else "the student"
            raise UsageError(
                f"--teacher: {whose} has a CRF, which answers for sentences; what is learnt are answers for words",
                help="distil without `options.head: crf`",
            )
        if set(own.labels) != set(head.labels):
            lacking = _named(set(head.labels) - set(own.labels))
            more = _named(set(own.labels) - set(head.labels))
            facts = ([f"the data has {lacking}"] if lacking else []) + ([f"the teacher has {more}"] if more else [])
            raise UsageError(
                f"--teacher: {name} has other labels: only {', only '.join(facts)}",
                help="train the teacher on the same labels",
            )
        if self.layers is None and (differs := self.bundle.tokenizer.difference(subwords)):
            raise UsageError(
                f"--teacher: the student cuts text into other tokens than {name}: {differs}",
                help="name an encoder with the teacher's vocabulary, or `--model teacher`",
            )
        longest = max_positions(self.config)
        if longest is not None:
            longest -= adapters.prefix_of(Path(self.bundle.checkpoint.location))
        if longest is not None and window > longest:
            raise UsageError(
                f"--teacher: {name} reads {longest} tokens at once, and the student {window}",
                help=f"`--set options.window={longest}`",
            )

    def may_know(self, rows: Mapping[str, Any], recipe: Recipe) -> bool:
        """Say whether the teacher may have learnt rows that are held out of a file, of which `rows` tells.

        It has not where the same rows were held out of its own training.
        """
        manifest = self.bundle.manifest
        data, inputs = manifest.get("data", {}), manifest.get("inputs", {})
        files = [data.get(split, {}).get("sha256") for split in ("train", "dev")]
        same = (manifest.get("seed"), inputs.get("recipe holdout")) == (recipe.seed, recipe.holdout)
        read = sum(data.get(split, {}).get("rows", 0) for split in ("train", "dev"))
        return files != [rows["sha256"]] * 2 or not same or read != rows["rows"]

    def inputs(self) -> Mapping[str, str]:
        """Return what a resumed run must have in common with the first, by name: the weights."""
        directory = self.bundle.checkpoint.files
        files = sorted(path for end in _WEIGHTS for path in directory.glob(end)) if directory else []
        return {f"teacher {path.name}": f"sha256 {digest.of_file(path)}" for path in files}


def _named(labels: set[str]) -> str:
    shown = ", ".join(inline(label) for label in sorted(labels)[:_OTHER_LABELS])
    return f"{shown} and {len(labels) - _OTHER_LABELS} more" if len(labels) > _OTHER_LABELS else shown
