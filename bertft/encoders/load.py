"""Resolve `--model` and load what it names: a directory, a short name, or a Hub id (local cache first).

Everything that comes from a hub goes through transformers' own loading code; here its failures become one clear error,
and its load report becomes either silence or an error, never noise.
"""

from __future__ import annotations

import logging
import os
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bertft.console import say
from bertft.encoders import embedded, vetting
from bertft.encoders.families import has_segments, max_positions
from bertft.encoders.known import KNOWN, cached, has_pickle
from bertft.encoders.subwords import (
    SubwordTokenizer,
    drops,
    has_capitals,
    has_marks,
    splits_words,
    with_prefix_space,
)
from bertft.errors import ModelError, did_you_mean, first_line

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_KEEPING: dict[str, tuple[bool, Callable[[str], bool], str]] = {
    # IndicBERT loses its vowel signs to this default of ALBERT's tokenizer (AI4Bharat/Indic-BERT-v1#26)
    "keep_accents": (True, has_marks, "accents and vowel signs"),
    # older cased checkpoints have a vocab.txt and nothing else
    "do_lower_case": (False, has_capitals, "capital letters"),
}
"""Settings of tokenizers that are wrong by default for some vocabularies: what keeps what, and what that is."""
_PICKLE = "pytorch_model.bin"
_SENTENCEPIECE = {"sentencepiece": "sentencepiece", "protobuf": "google.protobuf"}
"""What transformers needs to read a `.model` file where there is no tokenizer.json: packages and their modules."""
_SECONDS = 10.0
"""How long the Hub is waited for."""
NO_LIMIT = 10**9  # transformers writes 1e30 into `model_max_length` where a tokenizer sets no limit


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where an encoder is: `location` is a directory or a Hub id, `name` what the user called it."""

    name: str
    location: str
    is_directory: bool
    allow_pickle: bool = False
    """Whether its weights may be a `pytorch_model.bin`."""

    @property
    def files(self) -> Path | None:
        """The directory that holds its files: its own, or that of the local Hub cache; None where it is in neither."""
        return Path(self.location) if self.is_directory else cached(self.location)


def resolve(name: str, *, allow_pickle: bool = False) -> Checkpoint:
    """Return where `name` is: `embedded`, else an existing path, else a short name of `bertft models`, else a Hub id.

    Weights that are a pickle are taken with `allow_pickle`, and from the Hub where `bertft models` lists the id. Raises
    ModelError for a path that is no model.
    """
    if name == embedded.NAME:
        return Checkpoint(name, str(embedded.locate()), True)
    path = Path(name).expanduser()
    known = KNOWN.get(name)
    if os.path.isdir(path):
        if not (path / "config.json").is_file():
            advice = f"for the published encoder, write `{known.hub_id}`" if known else None
            raise ModelError("this directory is no model: it has no config.json", place=name, help=advice)
        return Checkpoint(name, str(path), True, allow_pickle)
    if os.path.exists(path):
        raise ModelError("this is a file; a model is a directory with config.json and model.safetensors", place=name)
    if os.path.isdir(f"{path}.partial"):
        raise ModelError(
            f"{name!r} is not finished: the run is in {str(path) + '.partial'!r}",
            help="the same `bertft train` command with `--resume` finishes it",
        )
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or name.endswith("/"):
        raise ModelError(f"there is no directory {name!r}", help="a Hub id has the form `owner/name`")
    hub_ids = known.hub_ids if known else (name,)
    snapshot = next((found for hub_id in hub_ids if (found := cached(hub_id))), None)
    allow_pickle = allow_pickle or vetting.is_listed(name)
    return Checkpoint(name, str(snapshot or hub_ids[0]), snapshot is not None, allow_pickle)


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A tokenizer as transformers knows it (to be saved), the same one for us (to be used), and the input limit."""

    pretrained: PreTrainedTokenizerFast
    subwords: SubwordTokenizer
    max_length: int


def load_config(checkpoint: Checkpoint) -> Any:
    """Return the checkpoint's configuration; raises ModelError where there is none, or the checkpoint is not safe."""
    from transformers import AutoConfig

    if not checkpoint.is_directory:
        say(f"looking for {checkpoint.location!r} on the Hub")
    with _loading(checkpoint):
        if not checkpoint.is_directory:
            _call(checkpoint.location)
        else:
            vetting.check_weights(Path(checkpoint.location), checkpoint.name, allow_pickle=checkpoint.allow_pickle)
        vetting.check_names(_files(checkpoint), checkpoint.name)
        return AutoConfig.from_pretrained(checkpoint.location, trust_remote_code=False)


def _call(hub_id: str) -> None:
    """Raise ConnectionError where the Hub does not answer: its client would try for half a minute, for each file."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        HfApi().model_info(hub_id, timeout=_SECONDS)
    except (HfHubHTTPError, HFValidationError):
        return  # what loads the files says what is wrong
    except Exception as error:  # of its HTTP library
        raise ConnectionError(str(error)) from error


def _files(checkpoint: Checkpoint) -> Iterator[Path]:
    """Yield those files of a checkpoint that may name others."""
    from transformers.utils.hub import cached_file

    for name in vetting.FILES:
        if found := cached_file(checkpoint.location, name, _raise_exceptions_for_missing_entries=False):
            yield Path(found)


def load_tokenizer(checkpoint: Checkpoint, config: Any, *, presplit: bool = True) -> Tokenizer:
    """Load a tokenizer; for pre-split words, probe whether it needs a space before them. Raises ModelError."""
    from transformers import AutoTokenizer
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    settings: dict[str, Any] = {}
    with _loading(checkpoint):
        stated = get_tokenizer_config(checkpoint.location)
        pretrained = AutoTokenizer.from_pretrained(checkpoint.location, trust_remote_code=False)
        if getattr(pretrained, "backend_tokenizer", None) is None:
            raise ModelError(
                f"{checkpoint.name!r} has no fast tokenizer (tokenizer.json), which word alignment needs",
                help="convert it with a newer transformers, or choose another encoder",
            )
        for name, (kept, has, what) in _KEEPING.items():
            if (
                getattr(pretrained, name, kept) == kept
                or name in stated
                or not drops(pretrained.backend_tokenizer, has)
            ):
                continue
            settings[name] = kept
            say(f"the vocabulary has {what}, and no file says that the tokenizer removes them: they are kept")
        given = pretrained.model_input_names
        if has_segments(config) and "token_type_ids" not in given:
            # The ALBERT tokenizer of transformers 5 makes no segment ids, though the model has learnt them. The one
            # that is saved does, so that a pair gets the same logits where bertft is not installed.
            settings["model_input_names"] = [*given, "token_type_ids"]
        if settings:
            pretrained = AutoTokenizer.from_pretrained(checkpoint.location, trust_remote_code=False, **settings)
        if presplit and not splits_words(pretrained.backend_tokenizer):
            settings["add_prefix_space"] = True
            pretrained = AutoTokenizer.from_pretrained(checkpoint.location, trust_remote_code=False, **settings)
        if presplit and not splits_words(pretrained.backend_tokenizer):
            # Some tokenizer classes ignore the argument; their saved tokenizer.json then carries the change.
            pretrained._tokenizer = with_prefix_space(pretrained.backend_tokenizer)
    subwords = SubwordTokenizer.of(
        pretrained.backend_tokenizer,
        unk_token=pretrained.unk_token,
        pad_token=pretrained.pad_token,
        presplit=presplit,
    )
    longest = usable_length(pretrained.model_max_length, config)
    return Tokenizer(cast("PreTrainedTokenizerFast", pretrained), subwords, longest)


def usable_length(stated: object, config: Any) -> int:
    """Return how many tokens a model reads at once: what its tokenizer states, and its positions at most."""
    limits = [limit for limit in (stated, max_positions(config)) if isinstance(limit, int | float)]
    return min((int(limit) for limit in limits if limit < NO_LIMIT), default=512)


def load_model(
    checkpoint: Checkpoint, architecture: str, labels: Sequence[str], problem_type: str | None = None
) -> tuple[PreTrainedModel, bool]:
    """Load `AutoModelFor…` named by `architecture` in fp32, with a head for `labels` (none: its outputs have no names).

    Returns the model and whether its head came with the checkpoint (it has one whose labels are the same by name; it is
    then put in the order of `labels`). Raises ModelError where weights of the encoder itself are missing.
    """
    import torch
    import transformers

    auto = getattr(transformers, architecture)
    stored = load_config(checkpoint)
    old = [str(stored.id2label[i]) for i in sorted(stored.id2label)] if stored.id2label else []
    keeps = sorted(old) == sorted(labels) or not labels
    names = old if keeps else labels
    naming: dict[str, Any] = {}
    if labels:
        naming = {"id2label": dict(enumerate(names)), "label2id": {label: i for i, label in enumerate(names)}}
        naming["problem_type"] = problem_type
    elif architecture == "AutoModelForPreTraining":
        naming = {"num_labels": 2}  # ALBERT's head of two texts has as many outputs
    with _loading(checkpoint):
        model, info = auto.from_pretrained(
            checkpoint.location,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            trust_remote_code=False,
            use_safetensors=None if checkpoint.allow_pickle else True,
            **naming,
        )
    directory = checkpoint.files
    if directory and has_pickle(directory):
        _mention_pickle(directory)
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
    if not keeps:  # as many labels as before, but others: the old ones' weights would pass for a new head
        _forget(output_layer(model), getattr(model.config, "initializer_range", 0.02))
    model.bertft_new = unset  # what training in part must train all the same
    kept = keeps and not any(not key.startswith(body) for key in unset)
    if kept and labels and old != list(labels):
        _reorder(model, [old.index(label) for label in labels])
        model.config.id2label = dict(enumerate(labels))
        model.config.label2id = {label: i for i, label in enumerate(labels)}
    model.eval()
    return model, kept


def load_encoder(checkpoint: Checkpoint) -> PreTrainedModel:
    """Load the encoder alone in fp32, whatever head is stored with it. Raises ModelError where weights are missing."""
    import torch
    from transformers import AutoModel

    load_config(checkpoint)
    with _loading(checkpoint):
        model, info = AutoModel.from_pretrained(
            checkpoint.location,
            dtype=torch.float32,
            output_loading_info=True,
            trust_remote_code=False,
            use_safetensors=None if checkpoint.allow_pickle else True,
        )
    missing = sorted(key for key in info["missing_keys"] if "pooler." not in key)  # which makes no vectors here
    if missing:
        fact = f"the checkpoint lacks {len(missing)} weights of the encoder, first {missing[0]!r}"
        raise ModelError(fact, place=checkpoint.name, help="is it complete, and its config.json that of its weights?")
    model.eval()
    return cast("PreTrainedModel", model)


def _forget(layer: torch.nn.Linear, spread: float) -> None:
    """Put random weights into a layer, as transformers initialises a new head."""
    import torch

    with torch.no_grad():
        layer.weight.normal_(0.0, spread)
        if layer.bias is not None:
            layer.bias.zero_()


def output_layer(model: Any) -> torch.nn.Linear:
    """Return the last linear layer of the model's head; raises ModelError where it has none."""
    import torch

    if type(model).__name__.endswith("ForPreTraining") and (layer := model.get_output_embeddings()) is not None:
        return cast("torch.nn.Linear", layer)  # what tells of pairs stands behind it
    body = f"{model.base_model_prefix}."
    layers = [
        layer
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear) and not name.startswith((body, "bertft_"))
    ]
    if not layers:
        raise ModelError(f"{type(model).__name__} has no linear output layer")
    return layers[-1]


def fold_scale(model: Any, mean: float, deviation: float) -> None:
    """Change the output layer so that it gives `deviation * output + mean`; a layer without bias adds no mean."""
    import torch

    layer = output_layer(model)
    with torch.no_grad():
        layer.weight.mul_(deviation)
        if layer.bias is not None:
            layer.bias.mul_(deviation).add_(mean)


def _reorder(model: Any, order: list[int]) -> None:
    """Permute the rows of the output layer, so that label `i` is what was label `order[i]`."""
    import torch

    layer = output_layer(model)
    with torch.no_grad():
        layer.weight.copy_(layer.weight[order].clone())
        if layer.bias is not None:
            layer.bias.copy_(layer.bias[order].clone())


@cache
def _mention_pickle(directory: Path) -> None:
    """Say once of a directory that its weights are a pickle."""
    say(f"{directory / _PICKLE} is a pickle; it is read with weights_only=True and saved as safetensors")


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
    if not checkpoint.is_directory:
        # Or transformers asks a service on the Hub to convert such a model, in a thread, after it has been loaded.
        os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
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
    if isinstance(error, pickle.UnpicklingError):
        return ModelError(
            f"{_PICKLE} holds something else than weights, or is damaged; nothing of it was run or loaded",
            place=checkpoint.name,
            help="use a checkpoint with model.safetensors",
        )
    if "trust_remote_code" in str(error):
        return vetting.refused_code(checkpoint.name, "auto_map")
    if "cannot be loaded with `safetensors`" in str(error):
        return vetting.refused_pickle(_PICKLE, checkpoint.name)
    lacking = [package for package, module in _SENTENCEPIECE.items() if not _installed(module)]
    if lacking and any(word in str(error).lower() for word in ("sentencepiece", "tiktoken", "protobuf")):
        return ModelError(
            f"the tokenizer is a SentencePiece model, and to read it {' and '.join(lacking)} must be installed",
            place=checkpoint.name,
            help="`pip install 'bertft[sentencepiece]'`; a trained model does not need it any more",
        )
    first = first_line(error)
    if checkpoint.is_directory:
        return ModelError(f"cannot load the model: {first}", place=checkpoint.name)
    if not isinstance(error, OSError):
        return ModelError(f"cannot load {checkpoint.name!r} from the Hub: {first}")
    near = did_you_mean(checkpoint.name, KNOWN) if checkpoint.name not in KNOWN else None
    what = f"{checkpoint.location}, which is" if checkpoint.name in KNOWN else "no directory, is"
    offline = " (offline mode is on: HF_HUB_OFFLINE)" if os.environ.get("HF_HUB_OFFLINE") else ""
    return ModelError(
        f"{checkpoint.name!r} is {what} not in the local Hub cache, and the Hub did not give it{offline}",
        help=f"{near + ' ' if near else ''}name a directory; check the id's spelling and your connection (for a "
        "private model log in with `hf auth login`); to train without a network, use `--model embedded`",
    )


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that the module is in
        return False
