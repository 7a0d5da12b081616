"""Exported graphs give the model's logits: every family and head, in every engine, at any length and batch size."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from bertft.bundle.exported import GRAPHS, Dtype, EngineName, Export
from bertft.bundle.store import load_weights
from bertft.encoders import load
from bertft.errors import ModelError
from bertft.export import graph
from bertft.inference.load import load_export
from bertft.inference.pytorch import TorchBackend
from bertft.tasks.base import Head, Window
from bertft.text.bio import constraints
from bertft.text.schemes import TagStyle

pytest.importorskip("openvino", reason="needs the extra bertft[export]")
pytest.importorskip("onnxruntime", reason="needs onnxruntime")

LABELS = ("O", "B-A", "I-A")
HEADS = {
    "tags": Head("AutoModelForTokenClassification", LABELS),
    "classes": Head("AutoModelForSequenceClassification", ("a", "b", "c"), "single_label_classification"),
    "mean": Head("AutoModelForSequenceClassification", ("a", "b"), "multi_label_classification", "mean"),
    "attention": Head("AutoModelForSequenceClassification", ("value",), "regression", "attention"),
    "spans": Head("AutoModelForQuestionAnswering", ()),
}
VOCABULARY = {
    "masked": Head("AutoModelForMaskedLM", (), vocabulary=True),
    "mlm+nsp": Head("AutoModelForPreTraining", (), vocabulary=True, told="nsp"),
    "mlm+sop": Head("AutoModelForPreTraining", (), vocabulary=True, told="sop"),
    "rtd": Head("AutoModelForPreTraining", (), vocabulary=True, generator=""),
}
"""Heads that are run on some tokens; one that tells of a pair does so in the row of the first."""
LENGTHS = ((3,), (17, 60, 2), (128, 5), (31,) * 6)


def windows(vocabulary: int, lengths: Sequence[int]) -> list[Window]:
    random = np.random.default_rng(sum(lengths))
    rows = [random.integers(5, vocabulary, length).tolist() for length in lengths]
    return [
        Window(i, row, [int(2 * j >= len(row)) for j in range(len(row))], owned=range(0, len(row), 1 + i % 3))
        for i, row in enumerate(rows)
    ]


def exported(model: Any, folder: Path, engine: EngineName = "openvino", dtype: Dtype = "fp32") -> Export:
    graph.write(model, folder / GRAPHS["fp32"], longest=128)
    return Export(folder, engine, dtype)


def model_of(directory: Path, head: Head) -> Any:
    torch.manual_seed(5)
    model, _ = load_weights(load.resolve(str(directory)), head)
    for name, value in model.named_parameters():
        if re.search(r"bertft_(?!generator)|classifier|qa_outputs|seq_rel|predictions.dense", name):
            torch.nn.init.normal_(value, std=0.5)
    return model.eval()


def case(family: str, head: str) -> Any:
    """A family with a head: slow, but for every head on one family, and for families unlike it."""
    own = head == "tags" and family in ("distilbert", "albert", "mpnet", "modernbert", "deberta-v3")
    return pytest.param(family, head, marks=[] if own or family == "bert-cased" else pytest.mark.slow)


@pytest.mark.parametrize(("family", "head"), [case(family, head) for family in tiny.FAMILIES for head in HEADS])
def test_graphs_give_the_model_s_logits(base: Callable[[str], Path], tmp_path: Path, family: str, head: str) -> None:
    check(model_of(base(family), HEADS[head]), tmp_path)


@pytest.mark.parametrize(
    ("family", "head"),
    [
        ("bert-uncased", "mlm+nsp"),
        ("electra", "rtd"),
        *(
            pytest.param(family, head, marks=pytest.mark.slow)
            for family, head in (("albert", "mlm+sop"), *((family, "masked") for family in tiny.FAMILIES))
        ),
    ],
)
def test_graphs_give_the_rows_of_owned_tokens(
    base: Callable[[str], Path], tmp_path: Path, family: str, head: str
) -> None:
    check(model_of(base(family), VOCABULARY[head]), tmp_path)


def check(model: Any, tmp_path: Path) -> None:
    export = exported(model, tmp_path)
    reference = TorchBackend(model, 1)
    for engine in ("openvino", "onnxruntime"):
        backend = load_export(export, engine, "fp32", 1)  # type: ignore[arg-type]
        for lengths in LENGTHS:
            batch = windows(model.config.vocab_size, lengths)
            for wanted, found in zip(reference.logits(batch), backend.logits(batch), strict=True):
                assert found.dtype == np.float32
                np.testing.assert_allclose(found, wanted, atol=2e-5, rtol=1e-4)


def test_logits_of_a_batch_stay_when_the_next_one_is_run(base: Callable[[str], Path], tmp_path: Path) -> None:
    model = model_of(base("bert-cased"), HEADS["classes"])
    backend = load_export(exported(model, tmp_path), "openvino", "fp32", 1)
    first = backend.logits(windows(50, (9, 4)))
    kept = [found.copy() for found in first]
    backend.logits(windows(50, (8, 5)))
    for before, after in zip(kept, first, strict=True):
        np.testing.assert_array_equal(before, after)


SIGNALLED = """
import signal, sys
from pathlib import Path
from bertft.bundle.exported import Export
from bertft.inference.load import load_export
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
first = load_export(Export(Path(sys.argv[1]), "openvino", "fp32"), "openvino", "fp32", 1)
second = load_export(Export(Path(sys.argv[1]), "openvino", "fp32"), "openvino", "fp32", 1)
del first
del second
signal.raise_signal(signal.SIGTERM)
"""


def test_a_signal_is_handled_when_models_have_been_let_go(base: Callable[[str], Path], tmp_path: Path) -> None:
    exported(model_of(base("bert-cased"), HEADS["classes"]), tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


def test_a_crf_s_scores_go_with_the_graph(base: Callable[[str], Path], tmp_path: Path) -> None:
    head = Head("AutoModelForTokenClassification", LABELS, crf=constraints(LABELS, TagStyle("BIO")))
    model = model_of(base("bert-cased"), head)
    wanted = TorchBackend(model, 1).parameters()
    export = replace(exported(model, tmp_path), decoding=("initial", "transitions"))
    export.save(wanted)
    found = load_export(export, "openvino", "fp32", 1).parameters()
    assert found.keys() == wanted.keys() == {"transitions", "initial"}
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_damaged_graph_is_a_model_error(tmp_path: Path, engine: EngineName) -> None:
    (tmp_path / GRAPHS["fp32"]).write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot read the graph"):
        load_export(Export(tmp_path, engine, "fp32"), engine, "fp32", 0)
