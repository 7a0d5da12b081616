"""Write a bundle, and open one: also a plain Hugging Face directory or Hub id, whose task its architecture names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertft.bundle import generator
from bertft.bundle.download import downloaded
from bertft.encoders import adapters, load
from bertft.encoders.load import Checkpoint
from bertft.encoders.subwords import SubwordTokenizer
from bertft.errors import ModelError, UsageError, first_line, inline
from bertft.recipe import Recipe, check_options
from bertft.tasks import task_class
from bertft.tasks.base import Head, Task, WindowSize

if TYPE_CHECKING:
    from bertft.encoders.load import Tokenizer
    from bertft.encoders.stored import Stored

FORMAT = 1
MANIFEST = "bertft.json"
MAX_WINDOW = 512
"""Tokens a window has at most by default: attention costs grow with its square, context rarely helps beyond."""

_PACKAGES = ("bertft", "torch", "transformers", "tokenizers", "accelerate", "numpy")
"""What a model's weights depend on."""
_LONGEST_WINDOW = 2**20
"""Tokens that no encoder reads at once."""

# What a plain Hugging Face model is used for, by the ending of the name of its architecture.
_TASK_OF_ARCHITECTURE = {
    "ForTokenClassification": "ner",
    "ForSequenceClassification": "classify",
    "ForQuestionAnswering": "qa",
    "ForMaskedLM": "mlm",
    "BertForPreTraining": "mlm",
    "AlbertForPreTraining": "mlm",
    "ErnieForPreTraining": "mlm",
}


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened model without its weights: the task, the tokenizer, the window, and where the weights are."""

    checkpoint: Checkpoint
    task: Task[Any, Any, Any]
    tokenizer: SubwordTokenizer
    window: WindowSize
    manifest: dict[str, Any] = field(default_factory=dict)
    assumed: str | None = None
    """What was assumed about a model that bertft did not write."""

    def load_model(self) -> Any:
        """Load the weights: a transformers model in fp32 and eval mode. Raises ModelError where it has no such head."""
        head = self.task.head()
        if head.detects and not generator.stands_in(Path(self.checkpoint.location)):
            files = " and ".join(f"{generator.FOLDER}/{name}" for name in generator.FILES)
            raise ModelError(f"the model needs its generator, {files}", place=self.checkpoint.name)
        model, kept = load_weights(self.checkpoint, head)
        if not kept:
            raise ModelError("the model has no trained head: it can be trained, not used", place=self.checkpoint.name)
        return model


def load_weights(checkpoint: Checkpoint, head: Head) -> tuple[Any, bool]:
    """Load a checkpoint's model with `head` on it; say whether the head, all of it, came with the checkpoint.

    Raises ModelError where weights of the encoder itself are missing.
    """
    from bertft import heads

    model, kept = load.load_model(checkpoint, head.architecture, head.labels, head.problem_type)
    heads.attach(model, pooling=head.pooling, crf=head.crf, vocabulary=head.vocabulary and not head.detects)
    if head.generator is not None:
        generator.put_beside(model, checkpoint, head.generator)
    directory = Path(checkpoint.location)
    if (directory / MANIFEST).is_file():
        adapters.put_own(model, directory)
    return model, heads.load_own(model, directory) and kept


def default_window(
    tokenizer: Tokenizer | Stored, length: int | None, stride: int | None, *, reserved: int = 0
) -> WindowSize:
    """Return the window of the options, or the model's length (at most 512) with a quarter of it shared.

    Of the model's length so many positions are `reserved` for what is no text. Raises UsageError for a window that is
    longer than the rest, or has no room, or is all shared.
    """
    specials = tokenizer.subwords.single.specials
    longest = tokenizer.max_length - reserved
    chosen = length if length is not None else min(longest, MAX_WINDOW)
    shared = stride if stride is not None else (chosen - specials) // 4
    if chosen > longest:
        less = f", less {reserved} of the prefix" if reserved else ""
        raise UsageError(f"options.window: {chosen} tokens are more than the model's {tokenizer.max_length}{less}")
    if chosen <= specials:
        raise UsageError(f"options.window: {chosen} tokens have no room besides the {specials} special ones")
    if not 0 <= shared < chosen - specials:
        raise UsageError(
            f"options.stride: {shared} tokens shared of a window with room for {chosen - specials}",
            help="the stride must be less than the window without its special tokens",
        )
    return WindowSize(chosen, shared)


def write(
    directory: Path,
    *,
    model: Any,
    tokenizer: Tokenizer,
    task: Task[Any, Any, Any],
    window: WindowSize,
    recipe: Recipe,
    metrics: Mapping[str, Any],
    data: Mapping[str, Any],
    inputs: Mapping[str, Any],
    computed: Mapping[str, Any],
    calibration: Mapping[str, Any],
    card: str,
) -> None:
    """Write all files of a bundle into `directory` (made where it is missing).

    `data` is what was read, `inputs` all that the result follows from, `computed` how: precision, device, threads;
    `calibration` is what was fitted on dev (`training/calibrate.py`).
    """
    from bertft import heads
    from bertft.heads import replaced

    directory.mkdir(parents=True, exist_ok=True)
    heads.save(model, directory, adapters.plain_state(model))
    replaced.save(model, directory / generator.FOLDER)
    if adapters.is_on(model):
        adapters.save(model, directory)
    tokenizer.pretrained.save_pretrained(directory)
    manifest = {
        "format": FORMAT,
        "task": task.name,
        "options": asdict(task.options),
        "state": task.state(),
        "window": asdict(window),
        "unk_token": tokenizer.pretrained.unk_token,
        "pad_token": tokenizer.pretrained.pad_token,
        "model": recipe.model,
        "columns": recipe.columns,
        "encoding": recipe.encoding,
        "seed": recipe.seed,
        "data": dict(data),
        "versions": versions() | (versions(["peft"]) if recipe.peft else {}),
        "computed": dict(computed),
        "calibration": dict(calibration),
        "inputs": dict(inputs),
    }
    write_manifest(directory, manifest)
    write_metrics(directory, metrics)
    (directory / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    (directory / "README.md").write_text(card, encoding="utf-8")


def write_metrics(directory: Path, metrics: Mapping[str, Any]) -> None:
    """Write `metrics.json` of a bundle."""
    _write_json(directory / "metrics.json", metrics)


def write_manifest(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Write `bertft.json` of a bundle."""
    _write_json(directory / MANIFEST, manifest)


def open_bundle(name: str, *, allow_pickle: bool = False) -> Bundle:
    """Open a bundle, a plain Hugging Face directory or a Hub id; raises ModelError where it is none of them.

    `allow_pickle` also takes weights that are a pickle, with `weights_only=True`.
    """
    checkpoint = load.resolve(name, allow_pickle=allow_pickle)
    if not checkpoint.is_directory:
        checkpoint = downloaded(checkpoint, MANIFEST)
    manifest = Path(checkpoint.location) / MANIFEST
    if checkpoint.is_directory and manifest.is_file():
        return _open_own(checkpoint, manifest)
    return _open_plain(checkpoint)


def versions(packages: Sequence[str] = _PACKAGES) -> dict[str, str | None]:
    """Return the versions of packages, None of one that is not installed."""
    return {name: _version(name) for name in packages}


def read_metrics(directory: Path) -> dict[str, Any]:
    """Return the metrics of a finished run."""
    return _read(directory / "metrics.json")


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return what `bertft.json` says of a finished run."""
    return _read(directory / MANIFEST)


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot be read: {error}", place=path) from None
    return found


def _open_own(checkpoint: Checkpoint, path: Path) -> Bundle:
    from tokenizers import Tokenizer as Backend

    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] > FORMAT:
            raise ModelError("the model was written by a newer bertft", place=path, help="`pip install -U bertft`")
        kind = task_class(manifest["task"])
        options = check_options(Recipe(kind.name, options=manifest["options"]), kind.options_class).options
        if not isinstance(manifest["state"], dict) or not manifest["state"]:
            raise ValueError("what the task has learnt is missing")
        task = kind.restore(options, manifest["state"])
        backend = Backend.from_file(str(path.parent / "tokenizer.json"))
        words = SubwordTokenizer.of(
            backend, unk_token=manifest["unk_token"], pad_token=manifest["pad_token"], presplit=task.presplit
        )
        window = _window(**manifest["window"], specials=words.single.specials)
        columns = manifest.get("columns") or {}
        if not all(isinstance(name, str) for pair in columns.items() for name in pair):
            raise ValueError("the columns are no names")
    except ModelError:
        raise
    except BaseException as error:  # any fault means a damaged bundle, and tokenizers panics with no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        fact = f"the model directory is damaged: {type(error).__name__}: {first_line(error)}"
        raise ModelError(fact, place=path) from error
    return Bundle(checkpoint, task, words, window, manifest)


def _window(*, length: int, stride: int, specials: int) -> WindowSize:
    """Return a stored window; raises ValueError or TypeError where it has no room."""
    if not specials < length <= _LONGEST_WINDOW or not 0 <= stride < length - specials:
        raise ValueError(f"a window of {length} tokens, {stride} of them shared")
    return WindowSize(int(length), int(stride))


def _open_plain(checkpoint: Checkpoint) -> Bundle:
    config = load.load_config(checkpoint)
    architectures = config.architectures or ["none"]
    name = next((task for end, task in _TASK_OF_ARCHITECTURE.items() if architectures[0].endswith(end)), None)
    if name is None:
        raise ModelError(
            f"{checkpoint.name!r} is {architectures[0]}, which has no trained head for any task",
            help=f"train one on it: `bertft train RECIPE --data FILE --model {checkpoint.name}`",
        )
    labels = [str(config.id2label[i]) for i in sorted(config.id2label)]
    task = task_class(name).of_model(labels, config.to_dict())
    tokenizer = load.load_tokenizer(checkpoint, config, presplit=task.presplit)
    names = f", labels {', '.join(map(inline, task.head().labels[:9]))}" if task.head().labels else ""
    assumed = f"{checkpoint.name} has no {MANIFEST}: taken for task {name}{names}"
    if name == "ner":
        assumed += ", arg max decoding"
    window = default_window(tokenizer, task.options.window, task.options.stride)
    return Bundle(checkpoint, task, tokenizer.subwords, window, {}, assumed)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
