"""What a task is: the protocol that carries a row to features, and logits to a prediction, a score and an answer.

`Row → parse → Example → features → Window → (model) → logits → reduce → summary → decode → Prediction → score | render`

Training, evaluation and prediction use the same methods in the same order, so their results cannot disagree.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from bertft.data.conll import Unit
from bertft.data.row import Row

Logits = npt.NDArray[np.float32]

IGNORED = -100
"""The label id that the loss does not see (PyTorch's `CrossEntropyLoss(ignore_index)` default)."""


@dataclass(frozen=True, slots=True)
class Window:
    """One input of the model: a whole example, or a piece of a long one.

    `input_ids` and `labels` have one entry per token, specials included; `labels` is empty where no gold is known.
    `owned` are the token positions whose logits this window answers for, in the example's order.
    """

    example: int
    input_ids: list[int]
    labels: list[int]
    owned: list[int]


@dataclass(frozen=True, slots=True)
class Counts:
    """What tokenization met, to be said and not lost in silence."""

    examples: int = 0
    words: int = 0
    tokens: int = 0
    owned: int = 0
    """Words that some window answers for: all of them, or some are lost."""
    windows: int = 0
    windowed: int = 0
    """Examples that needed more than one window."""
    vanished: int = 0
    """Words that the tokenizer's normaliser removes; each became one unknown token."""
    unknown: int = 0
    """Unknown tokens, those of vanished words included."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


class EncodedWords(Protocol):
    """A pre-split text as a tokenizer returns it: no specials, not cut."""

    @property
    def ids(self) -> list[int]: ...
    @property
    def first(self) -> list[int]:
        """The position in `ids` of each word's first sub-token: one entry a word."""
        ...

    @property
    def vanished(self) -> int: ...
    @property
    def unknown(self) -> int: ...


class WordEncoder(Protocol):
    """The tokenizer as a task sees it."""

    @property
    def prefix(self) -> tuple[int, ...]: ...
    @property
    def suffix(self) -> tuple[int, ...]: ...
    def encode_words(self, texts: Sequence[Sequence[str]]) -> Sequence[EncodedWords]: ...


@dataclass(frozen=True, slots=True)
class WindowSize:
    """The model's input length in tokens, specials included, and how many tokens neighbouring windows share."""

    length: int
    stride: int


@dataclass(frozen=True, slots=True)
class Head:
    """What the model's head must look like."""

    architecture: str
    labels: tuple[str, ...]
    problem_type: str | None = None


E = TypeVar("E")
S = TypeVar("S")
P = TypeVar("P")


class Task(Protocol[E, S, P]):
    """A task over examples `E`, per-window summaries `S` and predictions `P`. Instances are frozen."""

    name: ClassVar[str]
    architecture: ClassVar[str]
    options_class: ClassVar[type]
    """A frozen dataclass whose fields are the keys of a recipe's `options:`."""

    @property
    def options(self) -> Any: ...
    @property
    def unit(self) -> Unit:
        """What one record of a column file is."""
        ...

    @property
    def best_metric(self) -> str:
        """The metric that says which checkpoint is best; higher is better."""
        ...

    @property
    def headline(self) -> tuple[str, ...]:
        """The metrics shown first, in order."""
        ...

    def parse(self, row: Row, *, labelled: bool) -> E:
        """Return the row as an example; raises DataError with the row's place where it is none."""
        ...

    def group(self, example: E) -> Hashable:
        """Return what examples share that must not be split between training and held-out data."""
        ...

    def labels_of(self, example: E) -> Iterable[str]:
        """Yield the example's gold labels, one for each thing that is counted (an entity, a word)."""
        ...

    def prepare(self, examples: Iterable[E]) -> Self:
        """Return the task with what it learns from the training data in one pass (labels, schemes)."""
        ...

    def convert(self, examples: Sequence[E]) -> tuple[list[E], list[str]]:
        """Return another file's examples with its labels read as this file means them, and what is to be said."""
        ...

    def head(self) -> Head: ...

    def features(
        self, examples: Sequence[E], encoder: WordEncoder, window: WindowSize
    ) -> tuple[list[Window], Counts]: ...

    def reduce(self, example: E, window: Window, logits: Logits) -> S:
        """Return what is kept of one window's logits (tokens, labels)."""
        ...

    def decode(self, example: E, summaries: Sequence[S]) -> P:
        """Return the example's prediction from the summaries of its windows, in order."""
        ...

    def score(self, pairs: Sequence[tuple[E, P]]) -> dict[str, Any]:
        """Return the metrics; raises DataError where an example has no gold."""
        ...

    def references(self, pairs: Sequence[tuple[E, P]]) -> tuple[list[Any], list[Any]]:
        """Return (references, predictions) as `evaluate.Metric.compute` takes them for this kind of task."""
        ...

    def render(self, example: E, prediction: P, *, scores: bool) -> dict[str, Any]:
        """Return the value of the `prediction` field."""
        ...

    def columns(self, example: E, prediction: P) -> tuple[list[str], list[str]]:
        """Return (words, values) for column output."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what a bundle must store to build this task again with `restore`."""
        ...

    @classmethod
    def restore(cls, options: Mapping[str, Any], state: Mapping[str, Any]) -> Self: ...
