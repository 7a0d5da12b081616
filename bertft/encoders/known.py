"""The encoders that `bertft models` lists, with the short names that `--model` takes for them.

Parameters are those of the encoder without a head, counted from its configuration; all else is from the model cards and
papers. Imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from bertft.encoders import embedded


@dataclass(frozen=True, slots=True)
class KnownEncoder:
    """A published encoder. `parameters` are millions, `max_length` is in tokens."""

    name: str
    hub_id: str
    parameters: float
    max_length: int
    case: Literal["cased", "uncased"]
    languages: str
    licence: str
    when: str

    @property
    def is_here(self) -> bool:
        """Say whether it can be used without a network: it is installed, or lies in the local Hub cache."""
        if self.name == embedded.NAME:
            return find_spec(embedded.PACKAGE) is not None
        return any(cached(hub_id) is not None for hub_id in self.hub_ids)

    @property
    def hub_ids(self) -> tuple[str, ...]:
        """The id, and the one without an owner under which older caches have some of them."""
        return (self.hub_id, self.hub_id.rpartition("/")[2])


KNOWN = {
    encoder.name: encoder
    for encoder in (
        KnownEncoder(
            embedded.NAME, "sentence-transformers/all-MiniLM-L6-v2", 22.7, 512, "uncased", "English", "Apache-2.0",
            "the default; comes with bertft, small and fast",
        ),
        KnownEncoder(
            "bert-base-cased", "google-bert/bert-base-cased", 108.3, 512, "cased", "English", "Apache-2.0",
            "names and tags, where case says something; the baseline of most papers",
        ),
        KnownEncoder(
            "bert-base-uncased", "google-bert/bert-base-uncased", 109.5, 512, "uncased", "English", "Apache-2.0",
            "text whose case says little (chats, transcripts); the baseline of most papers",
        ),
        KnownEncoder(
            "roberta-base", "FacebookAI/roberta-base", 124.6, 512, "cased", "English", "MIT",
            "accuracy: BERT's architecture, trained on ten times the text",
        ),
        KnownEncoder(
            "distilbert", "distilbert/distilbert-base-uncased", 66.4, 512, "uncased", "English", "Apache-2.0",
            "serving: half of BERT's layers; 60 % faster, with 97 % of its GLUE score (its paper)",
        ),
        KnownEncoder(
            "distilbert-cased", "distilbert/distilbert-base-cased", 65.2, 512, "cased", "English", "Apache-2.0",
            "serving, for names and tags",
        ),
        KnownEncoder(
            "albert-base", "albert/albert-base-v2", 11.7, 512, "uncased", "English", "Apache-2.0",
            "a small file: all layers share their weights; it runs no faster than BERT",
        ),
        KnownEncoder(
            "electra-small", "google/electra-small-discriminator", 13.5, 512, "uncased", "English", "Apache-2.0",
            "little memory and time; above a BERT of that size (its paper)",
        ),
        KnownEncoder(
            "electra-base", "google/electra-base-discriminator", 108.9, 512, "uncased", "English", "Apache-2.0",
            "classification and question answering; above BERT of the same size (its paper)",
        ),
        KnownEncoder(
            "deberta-v3-small", "microsoft/deberta-v3-small", 141.3, 512, "cased", "English", "MIT",
            "DeBERTa at half the layers; two thirds of its parameters are its vocabulary",
        ),
        KnownEncoder(
            "deberta-v3-base", "microsoft/deberta-v3-base", 183.8, 512, "cased", "English", "MIT",
            "the last point of accuracy; slower than BERT, not for fp16",
        ),
        KnownEncoder(
            "modernbert-base", "answerdotai/ModernBERT-base", 149.0, 8192, "cased", "English, code", "Apache-2.0",
            "long documents in one window (`options.window=8192`), and code",
        ),
        KnownEncoder(
            "modernbert-large", "answerdotai/ModernBERT-large", 394.8, 8192, "cased", "English, code", "Apache-2.0",
            "long documents and code, with a GPU",
        ),
        KnownEncoder(
            "mpnet-base", "microsoft/mpnet-base", 109.5, 512, "uncased", "English", "MIT",
            "pairs and similarity: what all-mpnet-base-v2 was made from",
        ),
        KnownEncoder(
            "xlm-roberta-base", "FacebookAI/xlm-roberta-base", 278.0, 512, "cased", "100 languages", "MIT",
            "what is not English; also to train in one language and use in another",
        ),
        KnownEncoder(
            "mbert", "google-bert/bert-base-multilingual-cased", 177.9, 512, "cased", "104 languages", "Apache-2.0",
            "less memory than XLM-R, which is mostly above it (XLM-R's paper)",
        ),
        KnownEncoder(
            "muril", "google/muril-base-cased", 237.6, 512, "cased", "16 Indian languages, English", "Apache-2.0",
            "also as written in Latin letters; above mBERT there (its paper)",
        ),
        KnownEncoder(
            "indicbert", "ai4bharat/indic-bert", 33.4, 512, "uncased", "11 Indian languages, English", "MIT",
            "a small file (it is an ALBERT)",
        ),
        KnownEncoder(
            "indicbert-v2", "ai4bharat/IndicBERTv2-MLM-only", 278.0, 512, "cased", "23 Indian languages, English",
            "MIT", "the most of them here",
        ),
    )
}  # fmt: skip


def cached(hub_id: str) -> Path | None:
    """Return the snapshot of a Hub id in the local cache, if it has its weights: then no request is made."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(hub_id, "config.json")
    except HFValidationError:
        return None
    snapshot = Path(config).parent if isinstance(config, str) else None
    return snapshot if snapshot and has_weights(snapshot) else None


def has_weights(directory: Path) -> bool:
    """Say whether a directory holds weights that transformers reads."""
    return has_safetensors(directory) or has_pickle(directory)


def has_safetensors(directory: Path) -> bool:
    """Say whether a directory's weights are safetensors, in one file or in several that an index names."""
    return _any(directory, "model.safetensors")


def has_pickle(directory: Path) -> bool:
    """Say whether a directory's weights are a `pytorch_model.bin`, and nothing better."""
    return _any(directory, "pytorch_model.bin") and not has_safetensors(directory)


def _any(directory: Path, name: str) -> bool:
    return any((directory / f"{name}{more}").is_file() for more in ("", ".index.json"))
