"""Recipes: YAML and `--set` in, a checked `Recipe` out, and back to YAML. Imports neither torch nor transformers.

A recipe holds what a run is, not where its data lies:

    task: ner                 # which task (required)
    model: embedded           # an encoder: embedded, a directory, a Hub id
    seed: 13
    holdout: 0.1              # share of the training rows for dev, when no --dev is given
    early_stopping: 3         # evaluations without a better score before training stops; null: never
    batch_tokens: null        # tokens of a training batch, of all processes; null: see `training/sampling.py`
    calibrate: auto           # fit a temperature on dev, and keep it where it helps; off: never
    checkpoint_minutes: 15    # a checkpoint so often, besides those of `trainer.save_strategy`; null: none
    layer_decay: null         # each layer's learning rate is so much of the next one's, below the head; 1: the same
    freeze: null              # what is not trained: embeddings, or a number: also so many of the lowest layers
    unfreeze: null            # the head alone at first, then so many layers more each epoch, from the top
    peft: {}                  # adapters instead of all weights: {method: lora}; see `Peft`
    distill: {}               # learn from a trained model too: {teacher: MODEL}; see `Distill`
    metrics: []               # more metrics, by name or path, for `evaluate.load`
    options: {}               # the task's own
    trainer: {}               # transformers.TrainingArguments, verbatim
    search: {}                # what `bertft sweep` tries: keys as `--set` has them (`training/space.py`)
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NoReturn

import yaml

from bertft.errors import UsageError, did_you_mean
from bertft.recipe.syntax import Dumper, parse, scalar
from bertft.recipe.values import coerce, trainer_fields, trainer_value

MAX_BYTES = 256 * 1024
"""Of a recipe; PyYAML reads so much in seconds."""
MAX_RANK = 4096
"""Of an adapter; more than the width of any encoder that is fine-tuned with one is no low rank."""
MAX_PREFIX = 256
"""Tokens; half of what most encoders read at once."""
RESERVED = {
    "output_dir": "`--out` names the directory",
    "remove_unused_columns": "bertft builds the model's inputs itself",
    "label_names": "bertft builds the model's inputs itself",
    "do_train": "the command says what to do",
    "do_eval": "the command says what to do",
    "do_predict": "the command says what to do",
    "resume_from_checkpoint": "`--resume` finds the checkpoint",
    "seed": "the recipe's own `seed` (or `--seed`) sets it",
}
_SECTIONS = ("metrics", "columns", "options", "peft", "distill", "trainer", "search")
TEACHER = "teacher"
"""As `model:` the model that `distill:` names: the student has some of its layers."""
_RESERVED_PREFIXES = {"push_to_hub": "a finished model is pushed by hand", "hub_": "a finished model is pushed by hand"}


@dataclass(frozen=True, slots=True)
class Peft:
    """The section `peft:`, which trains adapters beside frozen weights: the package of that name has them."""

    method: Literal["lora", "dora", "ia3", "prefix"]
    """Hu et al. 2022; Liu et al. 2024, "DoRA"; Liu et al. 2022, "(IA)^3": no rank, and none of its settings; Li and
    Liang 2021: a prefix of `tokens`, and no other setting."""
    r: int = 16
    alpha: float | None = None
    """The adapter's output is multiplied by `alpha / r`; None: twice the rank."""
    dropout: float = 0.0
    targets: list[str] | None = None
    """The ends of the names of the layers; None: those that `encoders/adapters.py` has for the family."""
    merge: bool = True
    """Whether the model that is written is a plain one, with the adapters added to its weights; a prefix cannot be."""
    tokens: int = 20
    """Of a prefix; the window has room for so many fewer."""

    @property
    def merges(self) -> bool:
        """Whether the adapters end in the model's own weights."""
        return self.merge and self.method != "prefix"


@dataclass(frozen=True, slots=True)
class Distill:
    """The section `distill:`, by which a student learns from a trained model (`training/distillation.py`).

    The loss is `alpha * soft + (1 - alpha) * hard + hidden * cosine`: the teacher's answers, the labels of the data,
    and how far the two models' last hidden states point apart.
    """

    teacher: str
    """A bundle, a plain Hugging Face directory or a Hub id, with a head for the same labels."""
    layers: list[int] | None = None
    """Of a student that is made of the teacher: the layers that are kept, from 0; None: every other one."""
    temperature: float = 2.0
    """What both models' logits are divided by in the soft part (Hinton et al. 2015)."""
    alpha: float = 0.5
    hidden: float = 1.0
    """Where both are as wide (Sanh et al. 2019, section 3); else there is no such part."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a training run is; see the module for the keys."""

    task: str
    model: str = "embedded"
    seed: int = 13
    holdout: float = 0.1
    early_stopping: int | None = 3
    batch_tokens: int | None = None
    checkpoint_minutes: float | None = 15.0
    calibrate: Literal["auto", "off"] = "auto"
    layer_decay: float | None = None
    freeze: int | Literal["embeddings"] | None = None
    unfreeze: int | None = None
    peft: dict[str, Any] = field(default_factory=dict)
    distill: dict[str, Any] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    encoding: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    search: dict[str, Any] = field(default_factory=dict)

    @property
    def adapters(self) -> Peft | None:
        """The section `peft`, None where all weights are trained."""
        return Peft(**self.peft) if self.peft else None

    @property
    def distillation(self) -> Distill | None:
        """The section `distill`, None where there is no teacher."""
        return Distill(**self.distill) if self.distill else None

    @property
    def starts_from(self) -> str:
        """The model whose weights training begins with: `model`, or the teacher's."""
        return str(self.distill["teacher"]) if self.distill and self.model == TEACHER else self.model

    def to_yaml(self) -> str:
        """Return YAML that `load` reads back to an equal recipe."""
        values = dataclasses.asdict(self)
        values["metrics"] = list(self.metrics)
        if not self.search:
            del values["search"]
        text: str = yaml.dump(values, Dumper=Dumper, sort_keys=False, allow_unicode=True)
        # written raw, some would be the end of a line to PyYAML, others (bidi controls) lie about what stands there
        if not text.replace("\n", "").isprintable():
            text = yaml.dump(values, Dumper=Dumper, sort_keys=False)
        return text


def shipped() -> dict[str, str]:
    """Return the recipes that come with bertft: name → YAML text."""
    folder = files("bertft") / "recipes"
    if not folder.is_dir():  # an editable install: the folder stands beside the package
        folder = Path(__file__).parents[2] / "recipes"
    return {
        entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".yaml")
    }


def shipped_text(name: str) -> str:
    """Return the YAML text of the shipped recipe called `name`; raises UsageError where there is none."""
    known = shipped()
    if name not in known:
        advice = did_you_mean(name, known, f"recipes are {', '.join(known)}; a file needs the ending .yaml")
        raise UsageError(f"unknown recipe {name!r}", help=advice)
    return known[name]


def load(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Return the recipe of a YAML path, or the shipped one called `name`, with `KEY=VALUE` overrides put in.

    All that is wrong is collected and raised as one UsageError.
    """
    path = Path(name)
    is_path = path.suffix in (".yaml", ".yml") or len(path.parts) > 1
    if is_path:
        try:
            with path.open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
            text = raw.decode()
        except OSError as error:
            raise UsageError(f"cannot read the recipe: {error.strerror}", place=name) from None
        except UnicodeDecodeError:
            raise UsageError("the recipe is not UTF-8 text", place=name) from None
        if len(raw) > MAX_BYTES:
            fact = f"the recipe is larger than {MAX_BYTES // 1024} KiB, which none needs to be"
            raise UsageError(fact, place=f"{name}:1", help="is this the data file? `--data` names that")
    else:
        text = shipped_text(name)
    values, lines = parse(text, name)
    for override in overrides:
        lines.pop(_override(values, override), None)
    return _build(values, lines, name)


def override(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe with values for keys as `--set` names them; raises UsageError for those that cannot be."""
    values = dataclasses.asdict(recipe)
    values["metrics"] = list(recipe.metrics)
    for key, value in settings.items():
        _put(values, key, value)
    return _build(values, {}, recipe.task)


def check_options(recipe: Recipe, options_class: type) -> Recipe:
    """Return the recipe with its `options` checked against the fields of the task's options class, defaults put in.

    Raises UsageError for a key or value that the class has not.
    """
    hints = typing.get_type_hints(options_class)
    problems = []
    checked = {f.name: f.default for f in dataclasses.fields(options_class)}
    for key, value in recipe.options.items():
        if key not in hints:
            problems.append(_unknown(f"options.{key}", key, hints))
            continue
        try:
            checked[key] = coerce(value, hints[key])
        except ValueError as error:
            problems.append(f"options.{key}: {error}")
    if problems:
        raise UsageError("; ".join(problems))
    return dataclasses.replace(recipe, options=checked)


def _override(values: dict[str, Any], override: str) -> str:
    """Put KEY=VALUE into the recipe's values and return KEY."""
    key, found, value = override.partition("=")
    if not found or not key:
        raise UsageError(f"--set {override!r} is not KEY=VALUE", help="for example `--set trainer.num_train_epochs=5`")
    _put(values, key, value)
    return key


def _put(values: dict[str, Any], key: str, value: object) -> None:
    section, _, rest = key.partition(".")
    if rest:
        if values.get(section) is None:
            values[section] = {}
        inner = values[section]
        if not isinstance(inner, dict):
            raise UsageError(f"--set {key}: {section} is no section")
        inner[rest] = value
    else:
        values[section] = value


def _build(values: dict[str, Any], lines: Mapping[str, int], name: str) -> Recipe:
    hints = typing.get_type_hints(Recipe)
    problems: list[tuple[str, str]] = []
    known: dict[str, Any] = {}
    for key, value in values.items():
        if key not in hints:
            trainers = f"unknown key {key!r}; it is `trainer.{key}`"
            problems.append((key, trainers if _is_trainer_s(key) else _unknown(key, key, hints)))
            continue
        if value is None and key in _SECTIONS:
            continue
        try:
            known[key] = coerce(value, hints[key])
            if key == "metrics":
                known[key] = tuple(coerce(metric, str) for metric in known[key])
            elif key == "columns":
                known[key] = {str(role): str(name) for role, name in known[key].items() if name is not None}
            elif key == "search":
                known[key] = {name: scalar(way) if isinstance(way, str) else way for name, way in known[key].items()}
        except ValueError as error:
            problems.append((key, f"{key}: {error}"))
    for key, value in list((known.get("trainer") or {}).items()):
        if (reason := _reserved(key)) is not None:
            problems.append((f"trainer.{key}", f"trainer.{key} is reserved: {reason}"))
        elif key not in trainer_fields():
            problems.append((f"trainer.{key}", _unknown(f"trainer.{key}", key, trainer_fields())))
        else:
            try:
                known["trainer"][key] = trainer_value(key, value)
            except ValueError as error:
                problems.append((f"trainer.{key}", f"trainer.{key}: {error}"))
    if known.get("peft"):
        known["peft"], wrong = _peft(known["peft"])
        problems += wrong
    if known.get("distill"):
        known["distill"], wrong = _distill(known["distill"])
        problems += wrong
    if "task" not in known and "task" not in values:
        problems.append(("task", "the recipe names no `task`"))
    if problems:
        _fail(problems, lines, name)
    recipe = Recipe(**known)
    if not 0 < recipe.holdout < 1:
        _fail([("holdout", f"holdout: {recipe.holdout} is not between 0 and 1")], lines, name)
    if recipe.batch_tokens is not None and recipe.batch_tokens < 1:
        _fail([("batch_tokens", f"batch_tokens: {recipe.batch_tokens} is not more than 0")], lines, name)
    if recipe.checkpoint_minutes is not None and recipe.checkpoint_minutes < 0:
        _fail([("checkpoint_minutes", f"checkpoint_minutes: {recipe.checkpoint_minutes} is less than 0")], lines, name)
    if recipe.batch_tokens is not None and "per_device_train_batch_size" in recipe.trainer:
        fact = "batch_tokens and trainer.per_device_train_batch_size both say how large a batch is; set one of them"
        _fail([("batch_tokens", fact)], lines, name)
    if recipe.layer_decay is not None and not 0 < recipe.layer_decay <= 1:
        _fail([("layer_decay", f"layer_decay: {recipe.layer_decay} is not more than 0 and at most 1")], lines, name)
    for key, number in (("freeze", recipe.freeze), ("unfreeze", recipe.unfreeze)):
        if isinstance(number, int) and number < 1:
            _fail([(key, f"{key}: {number} is not 1 or more; null is none")], lines, name)
        if number is not None and recipe.peft:
            fact = f"{key}: with adapters (`peft`) the encoder is frozen anyway; leave one of them out"
            _fail([(key, fact)], lines, name)
    if recipe.model == TEACHER and not recipe.distill and not Path(TEACHER).is_dir():
        _fail([("model", "model: no teacher is named; `--teacher MODEL` names it")], lines, name)
    if recipe.distill.get("layers") is not None and recipe.model != TEACHER:
        fact = f"distill.layers: they are the teacher's, and the student is made of {recipe.model!r}; "
        _fail([("distill.layers", fact + f"`--model {TEACHER}` makes it of the teacher")], lines, name)
    if not 0 <= recipe.seed < 2**32:
        _fail([("seed", f"seed: {recipe.seed} is not between 0 and {2**32 - 1}")], lines, name)
    return recipe


def _peft(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the section `peft` with its defaults put in, and what is wrong with it: key and sentence."""
    hints = typing.get_type_hints(Peft)
    found: dict[str, Any] = {f.name: f.default for f in dataclasses.fields(Peft) if f.name != "method"}
    problems = []
    for key, value in values.items():
        try:
            if key not in hints:
                problems.append((f"peft.{key}", _unknown(f"peft.{key}", key, hints)))
                continue
            found[key] = coerce(value, hints[key])
            ends = found[key] if key == "targets" else None
            if ends is not None and not (ends and all(isinstance(end, str) for end in ends)):
                raise ValueError(f"{value!r:.200} is no list of names")
        except ValueError as error:
            problems.append((f"peft.{key}", f"peft.{key}: {error}"))
    if problems:
        return found, problems
    if "method" not in found:
        return found, [("peft", f"peft names no method; methods are {', '.join(typing.get_args(hints['method']))}")]
    if found["method"] == "prefix":
        for key in ("r", "alpha", "dropout", "targets"):
            del found[key]
            if key in values:
                problems.append((f"peft.{key}", f"peft.{key}: a prefix has `tokens`, and no other setting"))
        if "merge" in values and found["merge"]:
            problems.append(("peft.merge", "peft.merge: a prefix changes no weights, so none can have it merged in"))
        found["merge"] = False
        if not 0 < found["tokens"] <= MAX_PREFIX:
            problems.append(("peft.tokens", f"peft.tokens: {found['tokens']} is not between 1 and {MAX_PREFIX}"))
        return found, problems
    del found["tokens"]
    if "tokens" in values:
        problems.append(("peft.tokens", f"peft.tokens: only a prefix has some, and the method is {found['method']}"))
    if found["method"] == "ia3":
        for key in ("r", "alpha", "dropout"):
            del found[key]
            if key in values:
                problems.append((f"peft.{key}", f"peft.{key}: ia3 has no rank, and none of its settings"))
        return found, problems
    if not 0 < found["r"] <= MAX_RANK:
        problems.append(("peft.r", f"peft.r: {found['r']} is not between 1 and {MAX_RANK}"))
    if found["alpha"] is not None and not 0 < found["alpha"] < math.inf:
        problems.append(("peft.alpha", f"peft.alpha: {found['alpha']} is no number above 0"))
    if not 0 <= found["dropout"] < 1:
        problems.append(("peft.dropout", f"peft.dropout: {found['dropout']} is not between 0 and 1"))
    return found, problems


def _distill(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the section `distill` with its defaults put in, and what is wrong with it: key and sentence."""
    hints = typing.get_type_hints(Distill)
    found: dict[str, Any] = {f.name: f.default for f in dataclasses.fields(Distill) if f.name != "teacher"}
    problems = []
    for key, value in values.items():
        try:
            if key not in hints:
                problems.append((f"distill.{key}", _unknown(f"distill.{key}", key, hints)))
                continue
            found[key] = coerce(value, hints[key])
            if key == "layers" and value is not None:
                found[key] = [coerce(number, int) for number in found[key]]
        except ValueError as error:
            problems.append((f"distill.{key}", f"distill.{key}: {error}"))
    if problems:
        return found, problems
    if not found.get("teacher"):
        problems.append(("distill", "distill names no teacher; `--teacher MODEL` names it"))
    layers = found["layers"]
    if layers is not None and (not layers or layers[0] < 0 or any(a >= b for a, b in pairwise(layers))):
        problems.append(
            ("distill.layers", f"distill.layers: {layers} does not name layers, counted from 0, each once and in order")
        )
    if not 0 < found["temperature"] < math.inf:
        problems.append(("distill.temperature", f"distill.temperature: {found['temperature']} is no number above 0"))
    if not 0 <= found["alpha"] <= 1:
        problems.append(("distill.alpha", f"distill.alpha: {found['alpha']} is not between 0 and 1"))
    if not 0 <= found["hidden"] < math.inf:
        problems.append(("distill.hidden", f"distill.hidden: {found['hidden']} is less than 0, or no number"))
    return found, problems


def _reserved(key: str) -> str | None:
    """Return why a key of `trainer:` cannot be set, None where it can."""
    return RESERVED.get(key) or next((why for p, why in _RESERVED_PREFIXES.items() if key.startswith(p)), None)


def _is_trainer_s(key: str) -> bool:
    return key in trainer_fields() and _reserved(key) is None


def _fail(problems: Sequence[tuple[str, str]], lines: Mapping[str, int], name: str) -> NoReturn:
    key, fact = problems[0]
    fact, _, advice = fact.partition("; ")
    place = f"{name}:{lines[key]}" if key in lines else name if key == "task" else None
    more = "".join(f"\n{text}" for _, text in problems[1:])
    raise UsageError(fact + more, place=place, help=advice or None)


def _unknown(shown: str, key: str, known: Mapping[str, Any]) -> str:
    return f"unknown key {shown!r:.200}; {did_you_mean(key, known, 'keys are ' + ', '.join(list(known)[:12]))}"
