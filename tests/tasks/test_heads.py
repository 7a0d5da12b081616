"""What `AutoModelFor*` heads have not: pooling, and the CRF, against computations of their own."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from bertft import heads
from bertft.bundle import store
from bertft.encoders import load
from bertft.heads.crf import Crf
from bertft.tasks.base import Head
from bertft.text.bio import Constraints, constraints, marginals, viterbi
from bertft.text.schemes import TagStyle

BASE = Callable[[str], Path]
families = pytest.mark.parametrize("family", tiny.FAMILIES)
poolings = pytest.mark.parametrize("pooling", ["mean", "attention"])

# -- pooling -----------------------------------------------------------------------------------------------------------

LABELS = ("a", "b", "c")

# The logits of each family's head for a pooled vector (rows, width): its layers, without the encoder and the hook.
HEADS: dict[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "bert": lambda m, x: m.classifier(torch.tanh(m.bert.pooler.dense(x))),
    "distilbert": lambda m, x: m.classifier(torch.relu(m.pre_classifier(x))),
    "electra": lambda m, x: m.classifier.out_proj(functional.gelu(m.classifier.dense(x))),
    "roberta": lambda m, x: m.classifier.out_proj(torch.tanh(m.classifier.dense(x))),
    "xlm-roberta": lambda m, x: m.classifier.out_proj(torch.tanh(m.classifier.dense(x))),
    "mpnet": lambda m, x: m.classifier.out_proj(torch.tanh(m.classifier.dense(x))),
    "albert": lambda m, x: m.classifier(torch.tanh(m.albert.pooler(x))),
    "modernbert": lambda m, x: m.classifier(m.head.norm(functional.gelu(m.head.dense(x)))),
    "deberta": lambda m, x: m.classifier(functional.gelu(m.pooler.dense(x))),
    "deberta-v2": lambda m, x: m.classifier(functional.gelu(m.pooler.dense(x))),
}


def loaded(directory: Path, head: Head) -> tuple[Any, bool]:
    return store.load_weights(load.resolve(str(directory)), head)


def pooled(base: BASE, family: str, pooling: Any) -> Any:
    torch.manual_seed(0)
    model, _ = loaded(base(family), Head("AutoModelForSequenceClassification", LABELS, None, pooling))
    if pooling == "attention":
        torch.nn.init.normal_(model.bertft_pooling.weight)
    return model


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    """Two rows of 9 and 5 tokens, padded: ids and mask."""
    ids = torch.randint(5, 60, (2, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    return ids, mask


def by_hand(model: Any, ids: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Return the logits of a hooked model, computed without its hook and without padding."""
    encoder = model.base_model
    hooks, encoder._forward_hooks = encoder._forward_hooks, type(encoder._forward_hooks)()
    rows = []
    for row, length in zip(ids, mask.sum(1).tolist(), strict=True):
        hidden = encoder(row[None, :length], attention_mask=mask[:1, :length]).last_hidden_state[0]  # (tokens, width)
        weights = torch.full((length,), 1 / length)
        if pooling == "attention":
            scores = (hidden * model.bertft_pooling.weight[0]).sum(1).exp()
            weights = scores / scores.sum()
        rows.append(sum(weight * vector for weight, vector in zip(weights, hidden, strict=True)))
    encoder._forward_hooks = hooks
    return HEADS[model.config.model_type](model, torch.stack(rows))


@families
@poolings
def test_pooling_equals_an_independent_computation(base: BASE, family: str, pooling: str) -> None:
    model = pooled(base, family, pooling)
    ids, mask = inputs()
    with torch.inference_mode():
        found = model(ids, attention_mask=mask).logits
        torch.testing.assert_close(found, by_hand(model, ids, mask, pooling), rtol=0, atol=1e-6)
        heads_own = AutoModelForSequenceClassification.from_pretrained(base(family), num_labels=3).eval()
        heads_own.load_state_dict(model.state_dict(), strict=False)
        assert not torch.allclose(found, heads_own(ids, attention_mask=mask).logits, atol=1e-4)


@families
@poolings
def test_gradients_reach_every_token_and_the_scorer(base: BASE, family: str, pooling: str) -> None:
    model = pooled(base, family, pooling)
    ids, mask = inputs()
    embeddings: list[torch.Tensor] = []
    layer = model.get_input_embeddings()
    layer.register_forward_hook(lambda module, args, out: (out.retain_grad(), embeddings.append(out))[0])
    model(ids, attention_mask=mask).logits[:, 0].sum().backward()
    gradient = embeddings[0].grad.abs().sum(2)  # (rows, tokens)
    assert (gradient[mask == 1] > 0).all()
    if pooling == "attention":
        assert model.bertft_pooling.weight.grad.abs().sum() > 0


@families
@poolings
def test_saved_pooling_gives_the_same_logits_and_plain_transformers_reads_the_rest(
    base: BASE, family: str, pooling: Any, tmp_path: Path
) -> None:
    model = pooled(base, family, pooling)
    heads.save(model, tmp_path)
    again, kept = loaded(tmp_path, Head("AutoModelForSequenceClassification", LABELS, None, pooling))
    assert kept
    ids, mask = inputs()
    with torch.inference_mode():
        left, right = (one(ids, attention_mask=mask).logits for one in (model, again))
    assert torch.equal(left, right)
    assert (tmp_path / heads.FILE).exists() == (pooling == "attention")
    _, info = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())


def test_a_head_whose_own_weights_are_missing_is_new(base: BASE, tmp_path: Path) -> None:
    heads.save(pooled(base, "bert-cased", "attention"), tmp_path)
    (tmp_path / heads.FILE).unlink()
    _, kept = loaded(tmp_path, Head("AutoModelForSequenceClassification", LABELS, None, "attention"))
    assert not kept


@families
def test_the_output_layer_is_found_scaled_and_reordered(base: BASE, family: str, tmp_path: Path) -> None:
    model, _ = loaded(base(family), Head("AutoModelForSequenceClassification", LABELS))
    ids, mask = inputs()
    with torch.inference_mode():
        before = model(ids, attention_mask=mask).logits
        load.fold_scale(model, 3.0, 2.0)
        torch.testing.assert_close(model(ids, attention_mask=mask).logits, 2 * before + 3, rtol=0, atol=1e-5)
        heads.save(model, tmp_path)
        turned, kept = loaded(tmp_path, Head("AutoModelForSequenceClassification", LABELS[::-1]))
        assert kept
        found = turned(ids, attention_mask=mask).logits.flip(1)
        torch.testing.assert_close(found, 2 * before + 3, rtol=0, atol=1e-5)


# -- the CRF -----------------------------------------------------------------------------------------------------------

TAGS = ("O", "B-X", "I-X", "B-Y")
STYLE = TagStyle("BIO")
BIO = constraints(TAGS, STYLE)
SCORES = st.floats(-4, 4, width=32)


def learnt(draw: Callable[[Any], Any]) -> Constraints:
    """Return penalties of BIO with scores on top, as a CRF has them."""
    transitions = draw(arrays.arrays(np.float32, (4, 4), elements=SCORES))
    return Constraints(BIO.transitions + transitions, BIO.initial + draw(arrays.arrays(np.float32, 4, elements=SCORES)))


@st.composite
def sequences(draw: Any) -> tuple[npt.NDArray[np.float32], Constraints]:
    words = draw(st.integers(1, 4))
    return draw(arrays.arrays(np.float32, (words, 4), elements=SCORES)), learnt(draw)


def enumerated(emissions: npt.NDArray[np.float32], given: Constraints) -> dict[tuple[int, ...], float]:
    """Return the score of every path."""
    return {
        path: float(given.initial[path[0]])
        + sum(float(emissions[i, label]) for i, label in enumerate(path))
        + sum(float(given.transitions[a, b]) for a, b in itertools.pairwise(path))
        for path in itertools.product(range(4), repeat=len(emissions))
    }


def crf_of(given: Constraints) -> Crf:
    """Return a CRF whose scores are these."""
    crf = Crf(*BIO)
    with torch.no_grad():
        unit = 1 / float((_scores_with_ones(crf) - torch.from_numpy(BIO.initial))[0])
        crf.transitions.copy_(torch.from_numpy(given.transitions - BIO.transitions) * unit)
        crf.initial.copy_(torch.from_numpy(given.initial - BIO.initial) * unit)
    return crf


def _scores_with_ones(crf: Crf) -> torch.Tensor:
    """Return the initial scores where all weights are 1: how much a weight counts."""
    torch.nn.init.ones_(crf.initial)
    return crf.scores()[1]


@given(sequence=sequences(), data=st.data())
def test_negative_log_likelihood_equals_enumeration(
    sequence: tuple[npt.NDArray[np.float32], Constraints], data: st.DataObject
) -> None:
    emissions, given_scores = sequence
    scores = enumerated(emissions, given_scores)
    allowed = [path for path, score in scores.items() if score > -5_000]
    path = data.draw(st.sampled_from(allowed))
    expected = np.logaddexp.reduce(list(scores.values())) - scores[path]
    padding = data.draw(st.integers(0, 2))
    words = len(path)
    batch = torch.from_numpy(np.pad(emissions, ((0, padding), (0, 0)), constant_values=9))[None]
    labels = torch.tensor([[*path, *[3] * padding]])
    mask = torch.tensor([[True] * words + [False] * padding])
    found = crf_of(given_scores).negative_log_likelihood(batch, labels, mask)
    assert found.item() == pytest.approx(expected, abs=1e-5, rel=1e-5)


@given(sequence=sequences())
def test_marginals_and_the_best_path_equal_enumeration(
    sequence: tuple[npt.NDArray[np.float32], Constraints],
) -> None:
    emissions, given_scores = sequence
    scores = enumerated(emissions, given_scores)
    total = np.logaddexp.reduce(list(scores.values()))
    expected = np.zeros(emissions.shape)
    for path, score in scores.items():
        for i, label in enumerate(path):
            expected[i, label] += np.exp(score - total)
    found = np.exp(marginals(emissions, *given_scores).astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    best = tuple(viterbi(emissions, *given_scores).tolist())
    assert scores[best] == pytest.approx(max(scores.values()), abs=1e-4)


@given(sequence=sequences())
def test_what_is_forbidden_is_never_taken(sequence: tuple[npt.NDArray[np.float32], Constraints]) -> None:
    emissions, given_scores = sequence
    path = viterbi(emissions, *given_scores)
    assert BIO.initial[path[0]] == 0
    assert not BIO.transitions[path[:-1], path[1:]].any()
    chances = np.exp(marginals(emissions, *given_scores))
    assert chances[0, TAGS.index("I-X")] == 0


def test_a_window_that_begins_inside_an_entity_has_a_loss_like_others() -> None:
    crf = Crf(*BIO)
    emissions = torch.zeros(1, 2, 4)
    inside = torch.tensor([[TAGS.index("I-X"), TAGS.index("O")]])
    loss = crf.negative_log_likelihood(emissions, inside, torch.ones(1, 2, dtype=torch.bool))
    # all labels can come first; of the pairs, those of O and B-Y before I-X are forbidden
    assert loss.item() == pytest.approx(np.log(16 - 2), abs=1e-5)


def test_gradients_are_the_marginals_less_the_truth() -> None:
    torch.manual_seed(0)
    crf = Crf(*BIO).double()
    emissions = torch.randn(2, 4, 4, requires_grad=True)
    labels = torch.tensor([[1, 2, 0, 3], [0, 1, 2, 2]])
    mask = torch.tensor([[True, True, True, False], [True] * 4])
    crf.negative_log_likelihood(emissions, labels, mask).sum().backward()
    gradient = emissions.grad.numpy()
    for row, length in enumerate((3, 4)):
        values = {key: value.astype(np.float32) for key, value in crf.arrays().items()}
        chances = np.exp(marginals(emissions[row, :length].detach().numpy(), **values))
        truth = np.eye(4)[labels[row, :length].numpy()]
        np.testing.assert_allclose(gradient[row, :length], chances - truth, rtol=0, atol=1e-5)
    assert not gradient[0, 3].any()


def test_training_lowers_the_loss_and_learns_an_order() -> None:
    """Emissions say nothing, so that only the transitions can learn: O and B-Y take turns."""
    crf = Crf(*BIO)
    labels = torch.tensor([[0, 3] * 4])
    mask = torch.ones(1, 8, dtype=torch.bool)
    optimizer = torch.optim.AdamW(crf.parameters(), lr=1e-3)
    losses = []
    for _ in range(300):
        loss = crf.negative_log_likelihood(torch.zeros(1, 8, 4), labels, mask).sum()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.2 * losses[0]
    assert viterbi(np.zeros((8, 4), np.float32), **crf.arrays()).tolist() == labels[0].tolist()


@pytest.mark.parametrize("family", ["bert-cased", "roberta", "deberta-v3"])
def test_a_saved_crf_reads_as_plain_emissions_and_comes_back(base: BASE, family: str, tmp_path: Path) -> None:
    head = Head("AutoModelForTokenClassification", TAGS, crf=BIO)
    model, kept = loaded(base(family), head)
    assert not kept
    torch.nn.init.normal_(model.bertft_crf.transitions)
    heads.save(model, tmp_path)
    plain, info = AutoModelForTokenClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    ids, mask = inputs()
    with torch.inference_mode():
        left, right = (one.eval()(ids, attention_mask=mask).logits for one in (model, plain))
    assert torch.equal(left, right)
    again, kept = loaded(tmp_path, head)
    assert kept
    for key, value in heads.decoding_parameters(model).items():
        np.testing.assert_array_equal(heads.decoding_parameters(again)[key], value)


@pytest.mark.parametrize(
    ("task", "options"),
    [("ner", {"head": "crf"}), ("classify", {"pooling": "attention"}), ("pair", {"pooling": "mean"})],
)
def test_heads_are_trained_evaluated_and_used(base: BASE, tmp_path: Path, task: str, options: dict[str, Any]) -> None:
    from bertft.inference.evaluate import evaluate
    from bertft.recipe import Recipe
    from bertft.training.run import train

    sentences = [[list(column) for column in zip(*sentence, strict=True)] for sentence in tiny.sentences()]
    rows = [
        {
            "ner": {"tokens": words, "tags": tags},
            "classify": {"text": " ".join(words), "label": words[1]},
            "pair": {"text_a": words[0], "text_b": " ".join(words[1:]), "label": words[1]},
        }[task]
        for words, tags in sentences
    ]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    trainer = {
        "num_train_epochs": 60,
        "learning_rate": 5e-3,
        "eval_strategy": "no",
        "save_strategy": "no",
        "bf16": False,
    }
    recipe = Recipe(task=task, model=str(base("bert-cased")), options=options, trainer=trainer)
    out = tmp_path / "model"
    result = train(recipe, data=str(data), dev=str(data), out=str(out), device="cpu")
    assert result["dev"]["f1" if task == "ner" else "accuracy"] > 0.95
    assert evaluate(str(out), str(data), device="cpu").items() >= result["dev"].items()
    assert (out / heads.FILE).is_file() == (options != {"pooling": "mean"})
