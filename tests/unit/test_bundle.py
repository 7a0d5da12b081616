"""What `bertft.json` may hold: whatever else it holds is a damaged model, said before anything is answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from faults import tokenizer

from bertft.bundle.store import MANIFEST, open_bundle
from bertft.errors import ModelError


@pytest.fixture
def bundles(tmp_path: Path) -> dict[str, Path]:
    return {folder.name: folder for folder in tokenizer.bundles(tmp_path)}


def changed(folder: Path, change: dict[str, Any], name: str = MANIFEST) -> str:
    manifest = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**manifest, **change}))
    return str(folder)


@pytest.mark.parametrize("name", ["ner", "classify", "pair", "qa"])
def test_a_bundle_opens(bundles: dict[str, Path], name: str) -> None:
    assert open_bundle(str(bundles[name])).task.name == name


SETS = {"problem_type": "multi_label_classification", "labels": ["a", "b"], "separator": "|", "thresholds": None}
TAGS = {"labels": ["O", "B-PER", "I-PER"], "style": {"scheme": "BIO", "order": "prefix", "separator": "-"}}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ner", {"window": {"length": "x", "stride": 6}}),
        ("ner", {"window": {"length": 24, "stride": []}}),
        ("ner", {"window": {"length": 24, "stride": -1}}),
        ("ner", {"window": {"length": 24, "stride": 22}}),
        ("ner", {"window": {"length": 2, "stride": 0}}),
        ("ner", {"window": {"length": 10**30, "stride": 10**29}}),
        ("ner", {"window": {"length": 24, "stride": 6, "a\nb": 1}}),
        ("ner", {"options": {"window": {}}}),
        ("ner", {"options": {"none": 1}}),
        ("ner", {"options": []}),
        ("ner", {"columns": {"text": []}}),
        ("ner", {"columns": [1]}),
        ("ner", {"task": []}),
        ("ner", {"state": {}}),
        ("classify", {"state": False}),
        ("ner", {"format": {}}),
        ("ner", {"state": {**TAGS, "labels": [["O"]]}}),
        ("ner", {"state": {**TAGS, "labels": ["O", "O"]}}),
        ("ner", {"state": {**TAGS, "labels": []}}),
        ("ner", {"state": {**TAGS, "labels": "O"}}),
        ("ner", {"state": {**TAGS, "style": {"scheme": [], "order": "prefix", "separator": "-"}}}),
        ("ner", {"state": {**TAGS, "style": {"scheme": "BIO", "order": "prefix", "separator": ""}}}),
        ("classify", {"state": {**SETS, "labels": ["a", {}]}}),
        ("classify", {"state": {**SETS, "separator": ""}}),
        ("classify", {"state": {**SETS, "separator": 1}}),
        ("classify", {"state": {**SETS, "problem_type": "none"}}),
        ("classify", {"state": {**SETS, "thresholds": {"a": []}}}),
        ("classify", {"state": {**SETS, "thresholds": {"a": 0.5}}}),
        ("qa", {"state": {"null": [], "no_answer_threshold": 0.5}}),
        ("qa", {"state": {"null": True, "no_answer_threshold": {}}}),
        ("qa", {"options": {"n_best": "x"}}),
    ],
)
def test_values_of_other_types_are_a_damaged_model(bundles: dict[str, Path], name: str, change: dict[str, Any]) -> None:
    with pytest.raises(ModelError) as caught:
        open_bundle(changed(bundles[name], change))
    assert str(caught.value.place).endswith(MANIFEST)
    assert len(str(caught.value).splitlines()) == 2


def test_a_tokenizer_that_panics_is_a_damaged_model(bundles: dict[str, Path]) -> None:
    folder = bundles["qa"]
    template = json.loads((folder / "tokenizer.json").read_text())["post_processor"]
    template["pair"][0]["SpecialToken"]["id"] = "[NONE]"
    with pytest.raises(ModelError, match="damaged"):
        open_bundle(changed(folder, {"post_processor": template}, "tokenizer.json"))
