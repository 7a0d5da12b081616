"""`inspect why`: what each token adds to an answer, by integrated gradients from captum.

Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks" (ICML 2017): the gradient of the answer, averaged
on the straight way from a baseline to the input, times the way. All attributions together are the difference of the
answer at both ends (completeness, section 3). The baseline is the same window, its text replaced by mask (or padding)
tokens, specials kept. The vector of padding is zero in many checkpoints, where a layer normalisation that follows at
once (DeBERTa, ModernBERT) jumps, and no number of steps is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bertft.bundle.store import Bundle
from bertft.console import detail, warn
from bertft.errors import UsageError
from bertft.extras import require
from bertft.inspection.goals import Goal, Term, goal
from bertft.inspection.pieces import Seen, seen
from bertft.inspection.words import by_word, plain
from bertft.tasks.base import Window

if TYPE_CHECKING:
    import torch

Baseline = Literal["pad", "mask"]

STEPS = 50
_MOST_STEPS = 800
_CLOSE = 0.05
"""A share of the difference that attributions may miss; where they miss more, more steps are made."""
_SMALL = 0.01  # a difference of logits that is nothing
_BATCH_TOKENS = 1024  # points of the way that are computed at once, in tokens


class Attributed(NamedTuple):
    """A window's attributions (tokens,), and the answer's part in it at the input, at the baseline, and by steps."""

    values: list[float]
    value: float
    baseline: float
    steps: int

    @property
    def delta(self) -> float:
        """What the attributions miss of the difference."""
        return sum(self.values) - (self.value - self.baseline)


def check_installed() -> None:
    """Raise UsageError where captum is not installed."""
    require("captum", extra="inspect", by="`inspect why`")


def why(
    bundle: Bundle,
    example: Any,
    *,
    label: str | None = None,
    word: str | None = None,
    baseline: Baseline = "mask",
    steps: int | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Return what each token and each word of an example adds to its answer, or to the `label` that is asked for.

    Of a tagger it is the answer for a `word`, or the entity that it belongs to. Without `steps` they are doubled from
    50 until completeness holds within 5 %; a warning says where it does not. Raises UsageError or ModelError for what
    cannot be explained.
    """
    check_installed()
    from bertft.inference.pytorch import TorchBackend
    from bertft.inspection.attention import load

    if bundle.task.head().vocabulary:
        raise UsageError("a masked language model has no label to explain", help="`bertft predict` fills its masks")
    model = load(bundle, device)
    backend = TorchBackend(model, bundle.tokenizer.pad)
    task = bundle.task
    if parameters := backend.parameters():
        task = task.with_parameters(parameters)
    found = seen(task, example, bundle.tokenizer, bundle.window)
    logits = [one for window in found.windows for one in backend.logits([window])]
    prediction = task.decode(example, task.reduce(found.windows, logits))
    asked = goal(task, example, prediction, found, logits, label=label, word=word)
    fill = _fill(bundle, baseline)
    each: dict[int, Attributed] = {}
    for i in dict.fromkeys(term.window for term in asked.terms):
        terms = [term for term in asked.terms if term.window == i]
        special = [token.special for token in found.tokens[i]]
        each[i] = _attributed(model, found.windows[i], special, terms, fill=fill, pad=bundle.tokenizer.pad, steps=steps)
    return _told(found, each, asked, task.render(example, prediction, scores=False))


def _fill(bundle: Bundle, baseline: Baseline) -> int:
    """Return the token that takes the place of a text's own: padding where the vocabulary has no mask."""
    if baseline == "pad":
        return bundle.tokenizer.pad
    masks = map(bundle.tokenizer.backend.token_to_id, ("[MASK]", "<mask>"))
    return next((i for i in masks if i is not None), bundle.tokenizer.pad)


def _attributed(
    model: Any,
    window: Window,
    special: Sequence[bool],
    terms: Sequence[Term],
    *,
    fill: int,
    pad: int,
    steps: int | None,
) -> Attributed:
    """Return the attributions of a window, with as many steps as completeness needs, or `steps`."""
    count = steps or STEPS
    while True:
        found = integrated(model, window, special, terms, fill=fill, pad=pad, steps=count)
        enough = abs(found.delta) <= max(_CLOSE * abs(found.value - found.baseline), _SMALL)
        if enough or steps is not None or 2 * count > _MOST_STEPS:
            break
        detail(f"{count} steps miss {found.delta:+.4f} of {found.value - found.baseline:+.4f}: twice as many are made")
        count *= 2
    if not enough:
        warn(
            f"the attributions miss {found.delta:+.3f} of a difference of {found.value - found.baseline:+.3f} after "
            f"{count} steps: take them as rough, or try `--steps {2 * count}`"
        )
    return found


def integrated(
    model: Any, window: Window, special: Sequence[bool], terms: Sequence[Term], *, fill: int, pad: int, steps: int
) -> Attributed:
    """Return the integrated gradients of a sum of logits on the way from `fill` tokens to a window's own.

    Points of the way are those of Gauss-Legendre quadrature. Tokens that are `special` stay as they are.
    """
    import torch
    from captum.attr import LayerIntegratedGradients

    from bertft.inspection.attention import inputs

    given = inputs(model, window, pad)
    ids = given.pop("input_ids")  # (1, tokens)
    names = list(given)
    kept = torch.tensor([special], device=ids.device)  # (1, tokens)
    start = torch.where(kept, ids, fill)
    layer = model.get_input_embeddings()

    def answer(ids: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        """Return the sum for each point (points,)."""
        found = model(input_ids=ids, **dict(zip(names, rest, strict=True)))
        return _summed(found, terms)

    with torch.enable_grad():
        size = max(1, _BATCH_TOKENS // ids.shape[1])
        values = LayerIntegratedGradients(answer, layer).attribute(
            ids,
            baselines=start,
            additional_forward_args=tuple(given.values()),
            n_steps=steps,
            internal_batch_size=size,
        )
    with torch.no_grad():
        value = float(answer(ids, *given.values()))
        # not the model on other ids: RoBERTa would number the positions of padding anew, which is not the way's start
        vectors = layer(start)
        hook = layer.register_forward_hook(lambda *_: vectors)
        try:
            base = float(answer(ids, *given.values()))
        finally:
            hook.remove()
    model.zero_grad(set_to_none=True)
    return Attributed(values.sum(dim=-1)[0].tolist(), value, base, steps)


def _summed(found: Any, terms: Sequence[Term]) -> torch.Tensor:
    """Return the sum of factors times logits of a batch of points, (points,)."""
    from bertft.inference.pytorch import outputs

    logits = outputs(found).float()  # (points, tokens, outputs) or (points, outputs)
    parts = [t.factor * (logits[:, t.output] if t.position is None else logits[:, t.position, t.output]) for t in terms]
    total: torch.Tensor = sum(parts[1:], start=parts[0])
    return total


def _told(found: Seen, each: dict[int, Attributed], asked: Goal, prediction: dict[str, Any]) -> dict[str, Any]:
    pairs = [
        (token, value) for i, one in each.items() for token, value in zip(found.tokens[i], one.values, strict=True)
    ]
    return {
        "explains": asked.what,
        "prediction": prediction,
        "value": sum(one.value for one in each.values()),
        "baseline": sum(one.baseline for one in each.values()),
        "delta": sum(one.delta for one in each.values()),
        "texts": [source.text for source in found.texts],
        "words": by_word(found, pairs),
        "windows": [
            {
                "window": i,
                "steps": one.steps,
                "value": one.value,
                "baseline": one.baseline,
                "delta": one.delta,
                "tokens": [
                    {**plain(found, token), "value": value}
                    for token, value in zip(found.tokens[i], one.values, strict=True)
                ],
            }
            for i, one in each.items()
        ],
    }
