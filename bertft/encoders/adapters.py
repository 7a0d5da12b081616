"""Adapters of `peft`: few new weights beside an encoder's own, which stay as they are; merged into them at the end.

The model stays the transformers model that it is: adapters are put into its layers, the head is trained in full. What
is kept unmerged is written as peft writes it, into a folder of its own beside the plain model:

    adapter/adapter_config.json, adapter/adapter_model.safetensors
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertft.errors import ModelError, UsageError, first_line
from bertft.extras import require
from bertft.recipe import MAX_PREFIX, MAX_RANK, Peft

if TYPE_CHECKING:
    import torch

FOLDER = "adapter"
FILES = ("adapter_config.json", "adapter_model.safetensors")
_CONFIG, _WEIGHTS = FILES
_PROMPT = "prompt_embeddings"

_RANK_RATIO = 20
"""LoRA's rates over those of full training, measured on the embedded encoder (`DECISIONS.md`). Hu et al. 2022, "LoRA",
table 9, have 10 for RoBERTa-base: 5e-4, where `encoders/families.py` has 5e-5."""
_IA3_RATE = 3e-3
"""Liu et al. 2022, "Few-Shot Parameter-Efficient Fine-Tuning Is Better and Cheaper than In-Context Learning", 3.5."""
_PREFIX_RATE = 5e-3
"""Liu et al. 2022, "P-Tuning v2": its scripts have 5e-3 to 3e-2 (THUDM/P-tuning-v2, run_script)."""
_PREFIXED = ("bert", "camembert", "electra", "roberta", "xlm-roberta", "xlm-roberta-xl")
"""Families whose attention takes keys and values of past tokens; transformers gives those of others no such place."""

# What gets an adapter, by the ends of the names of the linear layers. LoRA: queries and values (Hu et al. 2022, 4.2 and
# table 5), or the one layer that makes them; (IA)^3: keys, values, and what the second feed-forward layer is given
# (Liu et al. 2022, 3.3), the latter named last. peft has no such entry for ALBERT, DistilBERT, ModernBERT and MPNet.
_BERT = (("query", "value"), ("key", "value"), "output.dense")
_TARGETS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    **dict.fromkeys(("bert", "camembert", "electra", "roberta", "xlm-roberta", "xlm-roberta-xl"), _BERT),
    "albert": (("query", "value"), ("key", "value"), "ffn_output"),
    "deberta": (("in_proj",), ("in_proj",), "output.dense"),
    "deberta-v2": (("query_proj", "value_proj"), ("key_proj", "value_proj"), "output.dense"),
    "distilbert": (("q_lin", "v_lin"), ("k_lin", "v_lin"), "lin2"),
    "modernbert": (("Wqkv",), ("Wqkv",), "mlp.Wo"),
    "mpnet": (("q", "v"), ("k", "v"), "output.dense"),
}
_KEPT = ("r", "lora_alpha", "lora_dropout", "use_dora", "feedforward_modules")
"""What of a stored configuration is read, besides the method and the layers: all of it numbers and names."""


def check(peft: Peft, config: Any) -> None:
    """Raise UsageError where no layers are known of such an encoder, or its attention has no place for a prefix."""
    if peft.method == "prefix":
        if config.model_type not in _PREFIXED:
            raise UsageError(
                f"peft.method: the attention of a {config.model_type} model has no place for a prefix in transformers",
                help=f"lora, dora and ia3 work with it, a prefix with {', '.join(_PREFIXED)}",
            )
        return
    if peft.targets is None and config.model_type not in _TARGETS:
        raise UsageError(
            f"peft: which layers of a {config.model_type} model get an adapter is not known",
            help='name them: `--set peft.targets=["query", "value"]`, the ends of the names of its linear layers',
        )


def learning_rate(peft: Peft | None, full: float) -> float:
    """Return the learning rate to start from, where training in full (no `peft`) starts from `full`."""
    if peft is None:
        return full
    return {"ia3": _IA3_RATE, "prefix": _PREFIX_RATE}.get(peft.method, _RANK_RATIO * full)


def reserved(peft: Peft | None) -> int:
    """Return how many of the encoder's positions are no text's."""
    return peft.tokens if peft is not None and peft.method == "prefix" else 0


def attach(model: Any, peft: Peft) -> None:
    """Put adapters into the encoder's layers, and freeze all but them, the head, and what no checkpoint gave.

    Raises UsageError where `peft.targets` are no layers of the encoder.
    """
    if peft.method == "prefix":
        from bertft.encoders import prefix

        prefix.attach(model, peft.tokens)
        _train_the_rest(model)
        return
    linear = list(_linear(model))
    query_value, key_value, last = _TARGETS.get(model.config.model_type, ((), (), None))
    inner = [name for name in linear if last and _ends(name, [last]) and "attention.output." not in name]
    if peft.targets:
        if unknown := [end for end in peft.targets if not any(_ends(name, [end]) for name in linear)]:
            there = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in linear))
            raise UsageError(f"peft.targets: no linear layer is called {unknown[0]!r}", help=f"there are {there}")
        names = [name for name in linear if _ends(name, peft.targets)]
    elif peft.method == "ia3":
        names = [name for name in linear if _ends(name, key_value) or name in inner]
    else:
        names = [name for name in linear if _ends(name, query_value)]
    settings: dict[str, Any] = {"feedforward_modules": [name for name in inner if name in names]}
    if peft.method != "ia3":
        settings = {"r": peft.r, "lora_alpha": peft.alpha or 2 * peft.r, "lora_dropout": peft.dropout}
        settings["use_dora"] = peft.method == "dora"
    _inject(model, names, settings)
    _train_the_rest(model)


def _train_the_rest(model: Any) -> None:
    """Train what is no part of the encoder, and what no checkpoint gave it."""
    body, new = f"{model.base_model_prefix}.", set(getattr(model, "bertft_new", ()))
    for name, parameter in model.named_parameters():
        if not name.startswith(body) or name in new:
            parameter.requires_grad_(True)


def is_on(model: Any) -> bool:
    """Say whether a model has adapters that are not merged."""
    return hasattr(model, "peft_config") or _prefix(model) is not None


def merge(model: Any) -> None:
    """Add the adapters to the weights beside which they stand: the model is a plain one again."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, BaseTunerLayer)]
    for name, layer in layers:
        layer.merge()
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, layer.get_base_layer())
    del model.peft_config
    model.requires_grad_(True)


def plain_state(model: Any) -> dict[str, torch.Tensor]:
    """Return the weights without those of adapters, under the names that a plain model has for them."""
    own = re.compile(r"\.(lora|ia3)_\w+(\.|$)|^prefix_encoder\.")
    return {
        name.replace(".base_layer.", "."): value
        for name, value in model.state_dict().items()
        if not (is_on(model) and own.search(name))
    }


def save(model: Any, directory: Path) -> None:
    """Write the adapters of a model into their folder, as peft reads them on top of the plain model."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder = directory / FOLDER
    folder.mkdir(exist_ok=True)
    if (prefix := _prefix(model)) is not None:
        save_file({_PROMPT: prefix.embedding.weight.detach().cpu().contiguous()}, folder / _WEIGHTS)
        _prefix_config(model, prefix).save_pretrained(str(folder))
        return
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    save_file({f"base_model.model.{k}": v.cpu().contiguous() for k, v in state.items()}, folder / _WEIGHTS)
    config = model.peft_config["default"]
    config.inference_mode = True
    config.save_pretrained(str(folder))


def prefix_of(directory: Path) -> int:
    """Return how many positions the prefix in a model's directory takes, 0 where it has none that can be read."""
    try:
        stored = json.loads((directory / FOLDER / _CONFIG).read_text(encoding="utf-8"))
        tokens = stored["num_virtual_tokens"] if stored["peft_type"] == "PREFIX_TUNING" else 0
    except (OSError, ValueError, KeyError, TypeError):  # `put_own` says what is wrong
        return 0
    return tokens if type(tokens) is int else 0


def put_own(model: Any, directory: Path) -> None:
    """Merge what `save` wrote into `directory`, if it did, into the plain model; a prefix is put on it.

    Nothing of peft's configuration is believed but numbers and names of layers. Raises ModelError for damaged files, or
    where peft is not installed.
    """
    folder = directory / FOLDER
    if not folder.is_dir():
        return
    if _put_prefix(model, folder):
        return
    try:
        check_installed("the adapter of this model")
    except UsageError as error:
        raise ModelError(error.fact, place=folder, help=error.help) from None
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    try:
        stored = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        kept = {key: stored[key] for key in _KEPT if stored.get(key) is not None}
        lists = (stored["target_modules"], kept.get("feedforward_modules", []))
        if not all(isinstance(names, list) and all(isinstance(n, str) for n in names) for names in lists):
            raise TypeError("the layers are no list of names")
        if not all(isinstance(value, int | float) for key, value in kept.items() if key != "feedforward_modules"):
            raise TypeError("a setting is no number")
        if kept.get("r", 1) > MAX_RANK:
            raise ValueError(f"a rank of {kept['r']}")
        if stored["peft_type"] not in ("LORA", "IA3"):
            raise ValueError(f"{stored['peft_type']!r:.100} is no adapter that bertft writes")
        state = load_file(folder / _WEIGHTS)
        names = [name for name in _linear(model) if _ends(name, stored["target_modules"])]
        _inject(model, names, kept if stored["peft_type"] == "LORA" else {"feedforward_modules": lists[1]})
        found: Any = set_peft_model_state_dict(
            model, {k.removeprefix("base_model.model."): v for k, v in state.items()}
        )
        if odd := [*found.unexpected_keys, *(key for key in found.missing_keys if re.search(r"\.(lora|ia3)_", key))]:
            raise ValueError(f"{odd[0]!r:.200} is of no layer, or missing")
        merge(model)
    except Exception as error:  # a damaged file fails in as many ways as it has values
        raise ModelError(f"the adapter is damaged: {first_line(error)}", place=folder) from error
    model.eval()


def _prefix(model: Any) -> Any:
    """Return the prefix of a model, None where it has none."""
    from bertft.encoders import prefix

    return prefix.of(model)


def _prefix_config(model: Any, prefix: Any) -> Any:
    """Return the configuration by which peft puts the prefix on the plain model."""
    from peft import PrefixTuningConfig

    return PrefixTuningConfig(
        task_type="FEATURE_EXTRACTION",  # the head is the plain model's: those of other types want one in the adapter
        inference_mode=True,
        num_virtual_tokens=prefix.embedding.num_embeddings,
        token_dim=model.config.hidden_size,
        num_transformer_submodules=1,
        num_attention_heads=prefix.heads,
        num_layers=prefix.layers,
        encoder_hidden_size=model.config.hidden_size,
    )


def _put_prefix(model: Any, folder: Path) -> bool:
    """Put the prefix in a folder on a model; say whether it holds one. Raises ModelError for damaged files."""
    from safetensors.torch import load_file

    try:
        stored = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        if stored["peft_type"] != "PREFIX_TUNING":
            return False
        tokens = stored["num_virtual_tokens"]
        if type(tokens) is not int or not 0 < tokens <= MAX_PREFIX:
            raise ValueError(f"a prefix of {tokens!r:.100} tokens")
        check(Peft("prefix", tokens=tokens), model.config)
        found = load_file(folder / _WEIGHTS)[_PROMPT]
        attach(model, Peft("prefix", tokens=tokens))
        _prefix(model).embedding.load_state_dict({"weight": found.float()})
    except Exception as error:  # a damaged file fails in as many ways as it has values
        raise ModelError(f"the adapter is damaged: {first_line(error)}", place=folder) from error
    model.requires_grad_(True)
    model.eval()
    return True


def check_installed(what: str) -> None:
    """Raise UsageError where the package peft is missing, which `what` needs."""
    require("peft", extra="peft", by=what)


def _inject(model: Any, names: Sequence[str], settings: Mapping[str, Any]) -> None:
    """Put adapters with the settings of peft's configuration into the layers of these names."""
    from peft import IA3Config, LoraConfig, inject_adapter_in_model

    kind: Any = IA3Config if "feedforward_modules" in settings else LoraConfig
    config = kind(target_modules=list(names), **settings)
    inject_adapter_in_model(config, model)
    config.target_modules = list(names)  # peft may have cut them to ends, of which those below are no part
    model.peft_config = {"default": config}


def _linear(model: Any) -> Iterator[str]:
    """Yield the names of the encoder's linear layers."""
    import torch

    body = f"{model.base_model_prefix}."
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name.startswith(body) and ".pooler" not in name:
            yield name


def _ends(name: str, ends: Sequence[str]) -> bool:
    return any(name == end or name.endswith(f".{end}") for end in ends)
