"""On real tweets, transformers' own pipeline finds in a saved model the entities that bertft finds."""

from __future__ import annotations

import json
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
    # the pipeline cuts words at blanks only in a tokenizer with continuing-subword marks, as this one
    comparable = same = 0
    for example, prediction in pairs:
        if prediction.argmax != prediction.tags or any(not word.strip() for word in example.words):
            continue
        comparable += 1
        theirs = [(e["start"], e["end"], e["entity_group"]) for e in tagger(example.text)]
        ours = [(example.spans[e.start][0], example.spans[e.end - 1][1], e.label) for e in prediction.entities]
        same += theirs == ours
        if theirs != ours:
            print(json.dumps({"text": example.text, "pipeline": theirs, "bertft": ours}, ensure_ascii=False))
    print(f"arg max valid in {comparable} of {len(pairs)} sentences ({comparable / len(pairs):.1%}); {same} the same")
    assert comparable > 0.8 * len(pairs)
    assert same == comparable
