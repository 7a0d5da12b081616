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
from bertft.recipe import MAX_RANK, Peft

if TYPE_CHECKING:
    import torch

FOLDER = "adapter"
FILES = ("adapter_config.json", "adapter_model.safetensors")
_CONFIG, _WEIGHTS = FILES

_RANK_RATIO = 10
"""LoRA's rates over those of full training: 5e-4 for RoBERTa-base (Hu et al. 2022, "LoRA", table 9), where
`encoders/families.py` has 5e-5."""
_IA3_RATE = 3e-3
"""Liu et al. 2022, "Few-Shot Parameter-Efficient Fine-Tuning Is Better and Cheaper than In-Context Learning", 3.5."""

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
    """Raise UsageError where no layers are known of such an encoder."""
    if peft.targets is None and config.model_type not in _TARGETS:
        raise UsageError(
            f"peft: which layers of a {config.model_type} model get an adapter is not known",
            help='name them: `--set peft.targets=["query", "value"]`, the ends of the names of its linear layers',
        )


def learning_rate(peft: Peft | None, full: float) -> float:
    """Return the learning rate to start from, where training in full (no `peft`) starts from `full`."""
    if peft is None:
        return full
    return _IA3_RATE if peft.method == "ia3" else _RANK_RATIO * full


def attach(model: Any, peft: Peft) -> None:
    """Put adapters into the encoder's layers, and freeze all but them, the head, and what no checkpoint gave.

    Raises UsageError where `peft.targets` are no layers of the encoder.
    """
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
    body, new = f"{model.base_model_prefix}.", set(getattr(model, "bertft_new", ()))
    for name, parameter in model.named_parameters():
        if not name.startswith(body) or name in new:
            parameter.requires_grad_(True)


def is_on(model: Any) -> bool:
    """Say whether a model has adapters that are not merged."""
    return hasattr(model, "peft_config")


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
    own = re.compile(r"\.(lora|ia3)_\w+(\.|$)")
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
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    save_file({f"base_model.model.{k}": v.cpu().contiguous() for k, v in state.items()}, folder / _WEIGHTS)
    config = model.peft_config["default"]
    config.inference_mode = True
    config.save_pretrained(str(folder))


def merge_own(model: Any, directory: Path) -> None:
    """Merge what `save` wrote into `directory`, if it did, into the plain model.

    Nothing of peft's configuration is believed but numbers and names of layers. Raises ModelError for damaged files, or
    where peft is not installed.
    """
    folder = directory / FOLDER
    if not folder.is_dir():
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
