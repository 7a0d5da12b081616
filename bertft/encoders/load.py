"""Resolve `--model` and load what it names: a directory, the embedded encoder, or a Hub id (local cache first).

Everything that comes from a hub goes through transformers' own loading code; here its failures become one clear error,
and its load report becomes either silence or an error, never noise.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bertft.console import say
from bertft.encoders import embedded
from bertft.encoders.families import max_positions
from bertft.encoders.words import WordTokenizer, splits_words, with_prefix_space
from bertft.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_NO_LIMIT = 10**9  # transformers writes 1e30 into `model_max_length` where a tokenizer sets no limit


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where an encoder is: `location` is a directory or a Hub id, `name` what the user called it."""

    name: str
    location: str
    is_directory: bool


def resolve(name: str) -> Checkpoint:
    """Return where `name` is: `embedded`, else an existing path, else a Hub id. Raises ModelError for a bad path."""
    if name == embedded.NAME:
        return Checkpoint(name, str(embedded.locate()), True)
    path = Path(name).expanduser()
    if os.path.isdir(path):
        if not (path / "config.json").is_file():
            raise ModelError("this directory is no model: it has no config.json", place=name)
        return Checkpoint(name, str(path), True)
    if os.path.exists(path):
        raise ModelError("this is a file; a model is a directory with config.json and model.safetensors", place=name)
    if os.path.isdir(f"{path}.partial"):
        raise ModelError(
            f"{name!r} is not finished: the run is in {str(path) + '.partial'!r}",
            help="the same `bertft train` command with `--resume` finishes it",
        )
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or name.endswith("/"):
        raise ModelError(f"there is no directory {name!r}", help="a Hub id has the form `owner/name`")
    cached = _cached(name)
    return Checkpoint(name, cached, True) if cached else Checkpoint(name, name, False)


def _cached(name: str) -> str | None:
    """Return the snapshot of a Hub id in the local cache, if it has its weights: then no request is made."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        return None
    if not isinstance(config, str):
        return None
    snapshot = Path(config).parent
    return str(snapshot) if any(snapshot.glob("*.safetensors")) or any(snapshot.glob("*.bin")) else None


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A tokenizer as transformers knows it (to be saved), the same one for words (to be used), and the input limit."""

    pretrained: PreTrainedTokenizerFast
    words: WordTokenizer
    max_length: int


def load_config(checkpoint: Checkpoint) -> Any:
    """Return the checkpoint's configuration; raises ModelError where there is none."""
    from transformers import AutoConfig

    if not checkpoint.is_directory:
        say(f"looking for {checkpoint.name!r} on the Hub")
    with _loading(checkpoint):
        return AutoConfig.from_pretrained(checkpoint.location)


def load_tokenizer(checkpoint: Checkpoint, config: Any) -> Tokenizer:
    """Load a tokenizer and probe whether it needs a space before pre-split words; raises ModelError where it fails."""
    from transformers import AutoTokenizer

    with _loading(checkpoint):
        pretrained = AutoTokenizer.from_pretrained(checkpoint.location)
        if getattr(pretrained, "backend_tokenizer", None) is None:
            raise ModelError(
                f"{checkpoint.name!r} has no fast tokenizer (tokenizer.json), which word alignment needs",
                help="convert it with a newer transformers, or choose another encoder",
            )
        if not splits_words(pretrained.backend_tokenizer):
            pretrained = AutoTokenizer.from_pretrained(checkpoint.location, add_prefix_space=True)
        if not splits_words(pretrained.backend_tokenizer):
            # Some tokenizer classes ignore the argument; their saved tokenizer.json then carries the change.
            pretrained._tokenizer = with_prefix_space(pretrained.backend_tokenizer)
    words = WordTokenizer.of(
        pretrained.backend_tokenizer, unk_token=pretrained.unk_token, pad_token=pretrained.pad_token
    )
    limits = [pretrained.model_max_length, max_positions(config)]
    usable = [int(limit) for limit in limits if limit is not None and limit < _NO_LIMIT]
    return Tokenizer(cast("PreTrainedTokenizerFast", pretrained), words, min(usable, default=512))


def load_model(checkpoint: Checkpoint, architecture: str, labels: Sequence[str]) -> tuple[PreTrainedModel, bool]:
    """Load `AutoModelFor…` named by `architecture` in fp32, with a head for `labels`.

    Returns the model and whether its head came with the checkpoint (it has one whose labels are the same by name; it is
    then put in the order of `labels`). Raises ModelError where weights of the encoder itself are missing.
    """
    import torch
    import transformers

    auto = getattr(transformers, architecture)
    with _loading(checkpoint):
        stored = transformers.AutoConfig.from_pretrained(checkpoint.location)
        old = [str(stored.id2label[i]) for i in sorted(stored.id2label)] if stored.id2label else []
        keeps = sorted(old) == sorted(labels) and len(labels) > 0
        names = old if keeps else labels
        model, info = auto.from_pretrained(
            checkpoint.location,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            id2label=dict(enumerate(names)),
            label2id={label: i for i, label in enumerate(names)},
        )
    body = f"{model.base_model_prefix}."
    unset = set(info["missing_keys"])
    unset |= {entry[0] if isinstance(entry, tuple) else entry for entry in info["mismatched_keys"]}
    missing = sorted(key for key in unset if key.startswith(body) and ".pooler." not in key)
    if missing:
        raise ModelError(
            f"the checkpoint lacks {len(missing)} weights of the encoder or has them in another size, "
            f"first {missing[0]!r}",
            place=checkpoint.name,
            help="is it complete, and is its config.json for the same architecture?",
        )
    kept = keeps and not any(not key.startswith(body) for key in unset)
    if kept and old != list(labels):
        _reorder(model, [old.index(label) for label in labels])
        model.config.id2label = dict(enumerate(labels))
        model.config.label2id = {label: i for i, label in enumerate(labels)}
    model.eval()
    return model, kept


def _reorder(model: Any, order: list[int]) -> None:
    """Permute the rows of the classification layer, so that label `i` is what was label `order[i]`."""
    import torch

    linear = model.classifier
    if not isinstance(linear, torch.nn.Linear):
        raise ModelError("the checkpoint's labels are in another order, and its head cannot be reordered")
    with torch.no_grad():
        linear.weight.copy_(linear.weight[order].clone())
        if linear.bias is not None:
            linear.bias.copy_(linear.bias[order].clone())


@contextmanager
def _loading(checkpoint: Checkpoint) -> Iterator[None]:
    """Silence transformers while it loads, and turn what it raises into one ModelError."""
    import transformers

    log: Any = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    hub_log = logging.getLogger("huggingface_hub")
    hub_level = hub_log.level
    log.set_verbosity_error()
    log.disable_progress_bar()
    hub_log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ModelError:
        raise
    except Exception as error:  # a damaged model fails in as many ways as it has files
        raise _explained(checkpoint, error) from error
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
        hub_log.setLevel(hub_level)


def _explained(checkpoint: Checkpoint, error: Exception) -> ModelError:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if checkpoint.is_directory:
        return ModelError(f"cannot load the model: {first[:300]}", place=checkpoint.name)
    if not isinstance(error, OSError):
        return ModelError(f"cannot load {checkpoint.name!r} from the Hub: {first[:300]}")
    offline = " (offline mode is on: HF_HUB_OFFLINE)" if os.environ.get("HF_HUB_OFFLINE") else ""
    return ModelError(
        f"{checkpoint.name!r} is no directory, is not in the local Hub cache, and the Hub did not give it{offline}",
        help="name a directory; check the id's spelling and your connection (for a private model log in with "
        "`hf auth login`); to train without a network, use `--model embedded`",
    )
