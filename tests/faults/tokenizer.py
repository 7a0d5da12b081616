"""A tokenizer and bundles without weights, small enough to be opened ten thousand times."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, processors

from bertft.encoders.subwords import SubwordTokenizer
from bertft.tasks import task_class
from bertft.tasks.target import Target

_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def _backend() -> Tokenizer:
    letters = [letter for c in "abcdefghijklmnopqrstuvwxyzABCOLNP0123456789" for letter in (c, f"##{c}")]
    vocabulary = {token: i for i, token in enumerate((*_SPECIALS, "Ann", "Oslo", *letters))}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return backend


def encoder() -> SubwordTokenizer:
    """Return a tokenizer of letters."""
    return SubwordTokenizer.of(_backend(), unk_token="[UNK]", pad_token="[PAD]")


def bundles(folder: Path) -> list[Path]:
    """Write a bundle of each kind into `folder`, without weights, and return where they are."""
    states = {
        "ner": {"labels": ["O", "B-PER", "I-PER"], "style": {"scheme": "BIO", "order": "prefix", "separator": "-"}},
        "classify": Target("multi_label_classification", ("a", "b"), "|", None, (0.5, 0.25)).state(),
        "pair": Target("single_label_classification", ("no", "yes")).state(),
        "qa": {"null": True, "no_answer_threshold": 0.5},
    }
    found = []
    for name, state in states.items():
        place = folder / name
        place.mkdir(parents=True)
        manifest = {
            "format": 1,
            "task": name,
            "options": asdict(task_class(name).options_class()),
            "state": state,
            "window": {"length": 24, "stride": 6},
            "unk_token": "[UNK]",
            "pad_token": "[PAD]",
            "model": "embedded",
            "columns": {"text": "text"},
            "encoding": None,
            "seed": 13,
            "data": {"train": {"path": "a.csv", "sha256": "0", "rows": 3}},
            "versions": {"bertft": "0"},
        }
        (place / "bertft.json").write_text(json.dumps(manifest), encoding="utf-8")
        (place / "config.json").write_text('{"architectures": ["BertForTokenClassification"]}', encoding="utf-8")
        _backend().save(str(place / "tokenizer.json"))
        found.append(place)
    return found
