"""What a masked language model's outputs are worth: losses of tokens that are known, candidates for those that are not.

Besides, of pairs (`text/pairs.py`) whether they are told right, and of texts in which a generator has replaced tokens
(`heads/replaced.py`) how well those are detected.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from bertft.scoring.outcomes import DETECTION
from bertft.tasks.base import Logits, Window
from bertft.text.pairs import Told

_LONGEST_EXPONENT = 700.0
"""Of a perplexity: more is no float."""


class Candidate(NamedTuple):
    """A token for a mask, and its probability."""

    token: str
    score: float


class Detected(NamedTuple):
    """Of so many tokens: the sum of the losses of detection, how many were replaced, were taken for it, and both.

    A token is replaced where the generator has put another one in its place. All tokens of a window are counted,
    special ones too, as in training.
    """

    tokens: int = 0
    loss: float = 0.0
    replaced: int = 0
    found: int = 0
    right: int = 0

    @classmethod
    def of(cls, window: Window, gold: npt.NDArray[np.int64], logits: Logits, filled: Logits) -> Detected:
        """Return that of a window; `gold` are the ids at its owned tokens, the rest is of all its tokens (tokens,)."""
        true = np.zeros(len(window.input_ids), dtype=np.bool_)
        owned = np.asarray(window.owned, dtype=np.int64)
        true[owned] = filled[: len(true)][owned].astype(np.int64) != gold
        told = logits[: len(true)].astype(np.float64)
        losses = np.logaddexp(0, np.where(true, -told, told))  # (tokens,): binary cross-entropy
        found = told > 0
        return cls(len(true), float(losses.sum()), int(true.sum()), int(found.sum()), int((true & found).sum()))

    def scores(self) -> dict[str, float]:
        """Return `rtd_loss`, the mean, and precision, recall and F1 of the replaced tokens, 0 where there are none."""
        precision, recall, f1 = (
            a / b if b else 0.0
            for a, b in (
                (self.right, self.found),
                (self.right, self.replaced),
                (2 * self.right, self.found + self.replaced),
            )
        )
        return {
            "rtd_loss": self.loss / self.tokens,
            "rtd_precision": precision,
            "rtd_recall": recall,
            "rtd_f1": f1,
        }


NOTHING = Detected()


class Summary(NamedTuple):
    """What is kept of a window's logits: of tokens that are known the first two, of others the next two."""

    losses: npt.NDArray[np.float64]
    """(owned,): the negative log-probability of each token."""
    right: npt.NDArray[np.bool_]
    """(owned,): whether it is the likeliest."""
    ids: npt.NDArray[np.int64]
    """(owned, top_k): the likeliest tokens, best first."""
    chances: npt.NDArray[np.float64]
    """(owned, top_k): their probabilities."""
    told: bool | None = None
    """Whether the model is right on the pair."""
    detected: Detected | None = None


@dataclass(frozen=True, slots=True)
class Filled:
    """A prediction: the sum of losses over a text's masked tokens, how many are right, of how many; or candidates.

    So it is of a document's pairs: how many are told right, of how many.
    """

    loss: float = 0.0
    right: int = 0
    total: int = 0
    told: int = 0
    pairs: int = 0
    detected: Detected = NOTHING
    masks: tuple[tuple[Candidate, ...], ...] = ()


def summary(window: Window, scores: Logits, *, told: bool, detects: bool, top_k: int) -> Summary:
    """Return what is kept of the rows of a window's owned tokens, (owned, vocabulary).

    With `told` the first row has what is told of a pair, with `detects` two rows stand before it; see `Head`.
    """
    if detects and window.target is not None:
        (logits, filled), guesses = scores[:2], scores[2:]
        gold = np.asarray(window.target, dtype=np.int64)
        return _of_tokens(window, guesses, top_k)._replace(detected=Detected.of(window, gold, logits, filled))
    if told and window.target is not None:
        label, *rest = cast("Sequence[int]", window.target)
        return _of_tokens(window, scores[1:], top_k, rest)._replace(told=bool(scores[0, :2].argmax() == label))
    return _of_tokens(window, scores, top_k)


def _of_tokens(window: Window, scores: Logits, top_k: int, gold: Any = None) -> Summary:
    target = window.target if gold is None else gold
    highest = scores.max(axis=-1, keepdims=True)  # (owned, 1)
    total = highest + np.log(np.exp(scores - highest).sum(axis=-1, keepdims=True, dtype=np.float64))  # (owned, 1)
    rows = np.arange(len(scores))
    none = np.zeros((len(scores), 0))
    if target is not None:
        known = np.asarray(target, dtype=np.int64)
        right = scores.argmax(axis=-1) == known
        return Summary(total[:, 0] - scores[rows, known], right, none.astype(np.int64), none)
    best = np.argsort(-scores, axis=-1, kind="stable")[:, :top_k]  # (owned, top_k)
    chances = np.exp(scores[rows[:, None], best] - total)
    return Summary(none[:, 0:0].sum(axis=1), np.zeros(0, dtype=np.bool_), best, chances)


def measured(summaries: Sequence[Summary]) -> Filled:
    """Return what the windows of a text of a corpus add up to."""
    told = [one.told for one in summaries if one.told is not None]
    detected = [one.detected for one in summaries if one.detected is not None]
    return Filled(
        math.fsum(float(one.losses.sum()) for one in summaries),
        sum(int(one.right.sum()) for one in summaries),
        sum(len(one.losses) for one in summaries),
        sum(told),
        len(told),
        _sum(detected),
    )


def _sum(detected: Sequence[Detected]) -> Detected:
    counts = [sum(each) for each in zip(*detected, strict=True)] if detected else NOTHING
    return Detected(*cast("Any", counts))


def scores_of(guesses: Sequence[Filled], *, told: Told | None, detects: bool) -> dict[str, Any]:
    """Return the metrics of some texts, of which tokens were masked."""
    total = sum(guess.total for guess in guesses)
    loss = math.fsum(guess.loss for guess in guesses) / total
    scores: dict[str, Any] = {
        "loss": loss,
        "perplexity": math.exp(min(loss, _LONGEST_EXPONENT)),
        "accuracy": sum(guess.right for guess in guesses) / total,
        "support": total,
    }
    if told is not None:
        drawn = sum(guess.pairs for guess in guesses)
        scores |= {f"{told}_accuracy": sum(guess.told for guess in guesses) / drawn, "pairs": drawn}
    if detects:
        detected = _sum([guess.detected for guess in guesses])
        found = detected.scores()
        scores |= {**found, "replaced": detected.replaced, "total_loss": loss + DETECTION * found["rtd_loss"]}
    return scores
