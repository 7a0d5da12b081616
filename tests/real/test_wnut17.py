"""On real tweets, transformers' own pipeline finds in a saved model the entities that bertft finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_pipeline_first_finds_the_same_entities(shared: Path, tmp_path: Path) -> None:
    data = shared / "data" / "wnut17"
    model = tmp_path / "model"
    command = [sys.executable, "-m", "bertft", "train", "ner", "--data", str(data / "wnut17train.conll")]
    command += ["--dev", str(data / "emerging.dev.conll"), "--out", str(model), "--set", "trainer.num_train_epochs=2"]
    subprocess.run(command, check=True, stdout=subprocess.PIPE)

    import transformers

    from bertft.bundle.store import open_bundle
    from bertft.inference.evaluate import read_labelled
    from bertft.inference.load import engine

    bundle = open_bundle(str(model))
    labelled = read_labelled(bundle.task, str(data / "emerging.dev.conll"))
    pairs, _ = engine(bundle, device="cpu").evaluate(labelled.examples)
    tagger = transformers.pipeline("token-classification", model=str(model), aggregation_strategy="first", device="cpu")
    words = bundle.tokenizer.backend.pre_tokenizer
    # The pipeline's words are the pre-tokenizer's: `spider-man` is three of them, and the last two, which no label was
    # ever trained on, are read like words. Where each word is one pre-token the two cannot differ.
    valid = same = whole = 0
    differ = []
    for example, prediction in pairs:
        if prediction.argmax != prediction.tags:
            continue
        valid += 1
        theirs = [(e["start"], e["end"], e["entity_group"]) for e in tagger(example.text)]
        ours = [(example.spans[e.start][0], example.spans[e.end - 1][1], e.label) for e in prediction.entities]
        same += theirs == ours
        if all(len(words.pre_tokenize_str(word)) == 1 for word in example.words):
            whole += 1
            differ += [(example.text, theirs, ours)] if theirs != ours else []
    print(f"arg max valid in {valid} of {len(pairs)} sentences ({valid / len(pairs):.1%}), {same} of them the same")
    print(f"all words are one pre-token in {whole} of those; {len(differ)} of them differ")
    assert valid > 0.9 * len(pairs)
    assert same >= 0.99 * valid
    assert whole > 0.2 * len(pairs)
    assert not differ
