"""The metadata of a model card, as the Hugging Face Hub reads them: what a model is, what of, and how good.

Only what is known stands there: a base model or a data set that has a Hub id, a licence and a language that the base
model's own card names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertft.data import hub
from bertft.encoders import embedded
from bertft.encoders.known import KNOWN
from bertft.encoders.load import Checkpoint
from bertft.errors import inline

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_PIPELINES = {
    "AutoModelForTokenClassification": "token-classification",
    "AutoModelForSequenceClassification": "text-classification",
    "AutoModelForQuestionAnswering": "question-answering",
    "AutoModelForMaskedLM": "fill-mask",
    "AutoModelForPreTraining": "fill-mask",
}
_METRICS = {
    "macro_f1": ("f1", {"average": "macro"}),
    "micro_f1": ("f1", {"average": "micro"}),
    "subset_accuracy": ("accuracy", {}),
    "pearson": ("pearsonr", {}),
    "spearman": ("spearmanr", {}),
}
"""The Hub's names of our metrics, where they are others, and their settings."""
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Base:
    """The encoder that a model was trained from: how people name it, and what is known of it."""

    name: str
    hub_id: str | None = None
    licence: str | None = None
    language: str | None = None


def base(checkpoint: Checkpoint) -> Base:
    """Return what is known of an encoder: from the table of encoders, else from the card beside its weights."""
    directory = Path(checkpoint.name).expanduser()
    listed = next((one for one in KNOWN.values() if checkpoint.name in (one.name, *one.hub_ids)), None)
    if listed is not None and (checkpoint.name == embedded.NAME or not directory.is_dir()):
        language = "en" if listed.languages == "English" else None
        return Base(listed.hub_id.rpartition("/")[2], listed.hub_id, listed.licence.lower(), language)
    found = _card_of(Path(checkpoint.location)) if checkpoint.is_directory else {}
    language = found.get("language")
    if isinstance(language, list) and len(language) == 1:
        language = language[0]
    if language == "multilingual":  # of many, this model may have learnt any
        language = None
    known = {"licence": _identifier(found.get("license")), "language": _identifier(language)}
    if directory.is_dir():
        return Base(_file_name(checkpoint.name), **known)
    return Base(checkpoint.name.rpartition("/")[2], checkpoint.name, **known)


def front(
    *, architecture: str, task: str, base: Base, scores: Mapping[str, Mapping[str, Any]], data: Mapping[str, Any]
) -> str:
    """Return the YAML of a card, without the lines around it; `scores` are the headline metrics of each split."""
    from huggingface_hub import ModelCardData

    pipeline = _PIPELINES.get(architecture, "feature-extraction")
    results = [
        result
        for split, values in scores.items()
        for result in _results(split, values, task=task, pipeline=pipeline, info=data.get(split) or {})
    ]
    sets = dict.fromkeys(name for info in data.values() if (name := _data_set(str(info["path"]))))
    card = ModelCardData(
        library_name="transformers",
        pipeline_tag=pipeline,
        base_model=base.hub_id,
        language=base.language,
        license=base.licence,
        datasets=[*sets] or None,
        metrics=[*dict.fromkeys(result.metric_type for result in results)] or None,
        tags=["bertft"],
        model_name=f"{base.name}-{task}",
        eval_results=results or None,
    )
    return card.to_yaml()


def file_of(info: Mapping[str, Any]) -> str:
    """Return how a card names data: a data set's address, or a file without its folders."""
    path = str(info["path"])
    return inline(path) if path.startswith(hub.PREFIX) else _file_name(path)


def _results(
    split: str, scores: Mapping[str, Any], *, task: str, pipeline: str, info: Mapping[str, Any]
) -> Iterator[EvalResult]:
    from huggingface_hub import EvalResult

    sure, how = scores.get("intervals") or {}, scores.get("bootstrap") or {}
    described = {key: how[key] for key in ("level", "unit", "units", "samples") if key in how}
    for key in scores["headline"]:
        if not math.isfinite(scores[key]):
            continue
        kind, settings = _METRICS.get(key, (key, {}))
        told = {"interval": list(sure[key]), **described} if key in sure else {}
        yield EvalResult(
            task_type=pipeline,
            task_name=task,
            dataset_type=_data_set(str(info.get("path", ""))) or "unknown",
            dataset_name=file_of(info) if info else split,
            dataset_split=split,
            dataset_args={"sha256": info["sha256"], "rows": info["rows"]} if info else None,
            metric_type=kind,
            metric_name=key,
            metric_value=scores[key],
            metric_args={**settings, **told} or None,
        )


def _data_set(path: str) -> str | None:
    """Return the id of a data set of the Hub, None for a file."""
    return hub.address(path).name if path.startswith(hub.PREFIX) else None


def _file_name(path: str) -> str:
    return inline(Path(path).name or Path(path).resolve().name or path)[:_LONGEST]


def _identifier(value: object) -> str | None:
    """Return a licence or a language as the Hub names it; None for what is no such name."""
    return value if isinstance(value, str) and re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,40}", value) else None


def _card_of(directory: Path) -> dict[str, Any]:
    """Return the metadata of the card in a directory; none where there is no card, or none that can be read."""
    from huggingface_hub import metadata_load

    try:
        return dict(metadata_load(directory / "README.md") or {})
    except Exception:  # somebody else's file: what it does not say is not known
        return {}
