"""`check` on published data: what it warns of there is so, and each warning is named here with what it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bertft.recipe import load
from bertft.training.checks import check

Name = str
SETS: dict[Name, tuple[str, tuple[str | None, ...], dict[str, str], set[str]]] = {
    "wnut17": (
        "ner",
        ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"),
        {},
        {"text-html"},  # 248 tweets of train have `&lt;`, `&gt;`, `&amp;`
    ),
    "sciie-scierc-ner": ("ner", ("train.txt", "dev.txt", "test.txt"), {}, set()),
    "bc5cdr-iob2": ("ner", ("train.tsv", "devel.tsv", "test.tsv"), {}, set()),
    "bc5cdr-iobes": ("ner", ("train.tsv", "devel.tsv", "test.tsv"), {}, set()),
    "snips": ("slots", ("train", "valid", "test"), {}, {"leak-exact"}),  # 13 of 700 commands of dev, 17 of test
    "ud-en-ewt": ("pos", tuple(f"en_ewt-ud-{part}.conllu" for part in ("train", "dev", "test")), {}, set()),
    "ud-te": (
        "pos",
        tuple(f"te_mtg-ud-{part}.conllu" for part in ("train", "dev", "test")),
        {},
        {"model-script"},  # the embedded encoder is English
    ),
    "sst2": (
        "classify",
        ("train.tsv", "dev.tsv", "test-labeled.tsv"),
        {"text": "sentence", "label": "label"},
        {"leak-within"},  # train is of phrases, many of them parts of one another
    ),
    "banking77": (
        "classify",
        ("train.csv", None, "test.csv"),
        {"text": "text", "label": "category"},
        {"leak-near"},  # 108 questions of test differ from one of train in case, a comma or a last word
    ),
    "clinc150": ("classify", ("data_full.json",), {}, {"leak-near"}),  # 90 of 4,500 of test, as in BANKING77
    "goemotions": ("multilabel", ("train.tsv", "dev.tsv", "test.tsv"), {"text": "1", "label": "2"}, set()),
    "stsb": (
        "similarity",
        ("sts-train.csv", "sts-dev.csv", "sts-test.csv"),
        {"text_a": "6", "text_b": "7", "label": "5"},
        set(),
    ),
    "mnli-subset": ("nli", ("train.json", "dev.json"), {}, set()),
    "squad2-cs224n": ("qa-v2", ("dev-v2.0.json",), {}, set()),
    "squadshifts": ("qa", ("new_wiki_v1.0.json",), {}, {"qa-duplicate"}),  # 200 questions stand there twice
    "xquad": ("qa", ("xquad.en.json",), {}, set()),
    "prodigy-ner-drugs": (
        "ner",
        ("drugs_training.jsonl", "drugs_eval.jsonl"),
        {},
        {"text-html"},  # `&amp;` in 15 of 1,477
    ),
}


LONG = ("bc5cdr-iobes", "goemotions")  # as another set is, and ten seconds long


@pytest.mark.parametrize("name", [pytest.param(one, marks=pytest.mark.slow if one in LONG else ()) for one in SETS])
def test_what_is_warned_of_in_published_data_is_so(name: Name, shared: Path) -> None:
    recipe, files, columns, known = SETS[name]
    data, dev, test = [str(shared / "data" / name / file) if file else None for file in (*files, None, None)][:3]
    assert data is not None
    found = check(replace(load(recipe), columns=columns), data=data, dev=dev, test=test)
    assert {one.code for one in found if one.severity == "warning"} == known
    assert [one for one in found if one.severity == "error"] == []
