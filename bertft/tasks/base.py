"""What a task is: the protocol that carries a row to features, and logits to a prediction, a score and an answer.

`Row → parse → Example → features → Window → (model) → logits → reduce → summary → decode → Prediction → score | render`

Training, evaluation and prediction use the same methods in the same order, so their results cannot disagree.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from bertft.data.conll import Unit
from bertft.data.row import Row
from bertft.scoring.calibration import Evidence, Judged
from bertft.scoring.outcomes import Outcomes
from bertft.text.bio import Constraints
from bertft.text.pairs import Told

Logits = npt.NDArray[np.float32]
Parameters = Mapping[str, npt.NDArray[np.float32]]
"""Weights that a head has besides the model's own, by name (a CRF's transitions)."""

IGNORED = -100
"""The label id that the loss does not see (PyTorch's `CrossEntropyLoss(ignore_index)` default)."""

Target = int | float | tuple[int, int] | Sequence[int] | Sequence[float] | None
"""What the loss compares: a label id a token, one label id, a 0/1 a label, one value, or a (start, end) in tokens."""


@dataclass(frozen=True, slots=True)
class Window:
    """One input of the model: a whole example, or a piece of a long one.

    `input_ids` and `segments` (token type ids) have one entry per token, specials included. `target` is None where no
    gold is known. `owned` are the token positions whose logits this window answers for, in the example's order; `spans`
    the characters of each, where answers are made of characters: its start and end (half-open), one after the other,
    and -1 where no answer starts or ends.
    """

    example: int
    input_ids: list[int]
    segments: list[int]
    target: Target = None
    owned: Sequence[int] = ()
    spans: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """What tokenization met, to be said and not lost in silence."""

    examples: int = 0
    words: int = 0
    """Words of pre-split text; 0 where the text is read as it is."""
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
    cut: int = 0
    """Examples that were cut, because they are read in one window only."""
    unread: int = 0
    """Tokens that were cut off."""

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


class EncodedText(Protocol):
    """A raw text as a tokenizer returns it: no specials, not cut."""

    @property
    def ids(self) -> list[int]: ...
    @property
    def offsets(self) -> list[tuple[int, int]]:
        """The characters (half-open) that each token was made of."""
        ...

    @property
    def words(self) -> Sequence[int | None]:
        """The number of the word that each token is of; empty where it was not asked for."""
        ...

    @property
    def unknown(self) -> int: ...


class Template(Protocol):
    """The special tokens around one text, or two."""

    @property
    def specials(self) -> int: ...
    @property
    def before(self) -> tuple[int, ...]: ...
    @property
    def between(self) -> tuple[int, ...]: ...
    @property
    def after(self) -> tuple[int, ...]: ...
    def build(self, first: Sequence[int], second: Sequence[int] = ()) -> tuple[list[int], list[int]]:
        """Return (input ids, segment ids)."""
        ...


class Encoder(Protocol):
    """The tokenizer as a task sees it."""

    @property
    def single(self) -> Template: ...
    @property
    def pair(self) -> Template: ...
    @property
    def unk(self) -> int: ...
    @property
    def mask(self) -> int | None:
        """The id of the mask token; None where there is none."""
        ...

    @property
    def special(self) -> frozenset[int]:
        """The ids of the special tokens."""
        ...

    @property
    def ordinary(self) -> npt.NDArray[np.int64]:
        """The ids of all other tokens, ascending."""
        ...

    def token(self, number: int) -> str:
        """Return the text that a token stands for."""
        ...

    def encode_words(self, texts: Sequence[Sequence[str]]) -> Sequence[EncodedWords]: ...
    def encode_texts(self, texts: Sequence[str], *, with_words: bool = False) -> Sequence[EncodedText]: ...


@dataclass(frozen=True, slots=True)
class WindowSize:
    """The model's input length in tokens, specials included, and how many tokens neighbouring windows share."""

    length: int
    stride: int


class Scale(NamedTuple):
    """The mean and standard deviation of the training values: the head learns standard scores."""

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Head:
    """What the model's head must look like. `labels` name its outputs; they are empty where outputs have no names."""

    architecture: str
    labels: tuple[str, ...]
    problem_type: str | None = None
    pooling: Pooling = "cls"
    crf: Constraints | None = None
    """The transitions that a CRF on top never takes; None: no CRF."""
    vocabulary: bool = False
    """Whether there is an output for each token of the vocabulary: only owned tokens' are computed."""
    told: Told | None = None
    """What the model also tells of two texts: a window that owns its first token has these outputs there, then 0."""
    generator: str | None = None
    """Of a model that tells which tokens were replaced: the model whose guesses stand in the places of masks, "" for
    the one that is stored with it, or else a new one. The rows of a window's owned tokens are the generator's; where
    it has a target, two stand before them: for each token the output that it was replaced, and the ids that were read,
    then 0."""

    @property
    def detects(self) -> bool:
        """Whether the model tells which tokens were replaced."""
        return self.generator is not None


Loss = Literal["tokens", "classes", "labels", "values", "spans", "crf", "masked"]
Pooling = Literal["cls", "mean", "attention"]
OverWindows = Literal["first", "mean", "max"]


@dataclass(frozen=True, slots=True)
class Objective:
    """What training minimises: cross-entropy over tokens or classes, binary cross-entropy over labels, squares, …"""

    loss: Loss
    weights: tuple[float, ...] | None = None
    """One a label: of its terms in the cross-entropy, or of its positives in the binary one."""
    smoothing: float = 0.0
    focal: float = 0.0
    """Gamma of the focal loss (Lin et al. 2017, eq. 4); 0 is plain cross-entropy."""
    over_windows: OverWindows | None = None
    """How one answer is made of the windows of an example; None: each window has a target of its own."""
    share: float = 0.0
    """Of the tokens that are masked, anew in every epoch; a window's target is then the units of `text/masking.py`."""
    told: Told | None = None
    """What is told of pairs; a window is then a chunk of `text/pairs.py`, from which one is drawn in every epoch."""
    detects: bool = False
    """Whether it is learnt which tokens a generator has put in the places of masked ones."""

    @property
    def per_token(self) -> bool:
        """Whether there is a target a token, not one a window or an example."""
        return self.loss in ("tokens", "crf", "masked")


E = TypeVar("E")
S = TypeVar("S")
P = TypeVar("P")


class Task(Protocol[E, S, P]):
    """A task over examples `E`, per-window summaries `S` and predictions `P`. Instances are frozen."""

    name: ClassVar[str]
    options_class: ClassVar[type]
    """A frozen dataclass whose fields are the keys of a recipe's `options:`; `window` and `stride` are among them."""
    wanted: ClassVar[tuple[tuple[str, ...], ...]]
    """The roles that a row must have, in alternatives; the last of each is the gold."""
    presplit: ClassVar[bool]
    """Whether the tokenizer is given words, not texts."""

    @property
    def options(self) -> Any: ...
    @property
    def unit(self) -> Unit:
        """What one record of a column file is."""
        ...

    @property
    def context(self) -> int:
        """How many sub-tokens on each side are read of what stands around a record in its document."""
        ...

    @property
    def best_metric(self) -> str:
        """The metric that says which checkpoint is best; higher is better, but for those of `console.ERRORS`."""
        ...

    @property
    def headline(self) -> tuple[str, ...]:
        """The metrics shown first, in order."""
        ...

    def parse(self, row: Row, *, labelled: bool) -> E:
        """Return the row as an example; raises DataError with the row's place where it is none."""
        ...

    def taught(self, example: E, prediction: P) -> E:
        """Return the example with what a model has predicted as its gold."""
        ...

    def group(self, example: E) -> tuple[Hashable, ...]:
        """Return keys: examples that share one must not be split between training and held-out data."""
        ...

    def labels_of(self, example: E) -> Iterable[str]:
        """Yield the example's gold labels, one for each thing that is counted (an entity, a word, a text)."""
        ...

    def prepare(self, examples: Iterable[E]) -> tuple[Self, list[str]]:
        """Return the task with what it learns from the training data (labels, schemes), and what is to be said."""
        ...

    def convert(self, examples: Sequence[E]) -> tuple[list[E], list[str], list[str]]:
        """Return a file's examples with its labels read as this file means them, notes, and warnings."""
        ...

    def head(self) -> Head: ...

    def objective(self, examples: Sequence[E]) -> Objective:
        """Return what training minimises on these examples."""
        ...

    @property
    def scale(self) -> Scale | None:
        """How the head's output becomes a value; None where it is one already."""
        ...

    def prepared(self, state: Mapping[str, Any], scale: Scale | None) -> Self:
        """Return the task as `prepare` made it when it had this `state()` and this scale."""
        ...

    def unscaled(self) -> Self:
        """Return the task for a head whose scale has been folded into its last layer."""
        ...

    def with_parameters(self, parameters: Parameters) -> Self:
        """Return the task that decodes with a head's own weights (`Head.crf`)."""
        ...

    def with_encoder(self, encoder: Encoder) -> Self:
        """Return the task that decodes with a tokenizer, where it answers with tokens."""
        ...

    def features(self, examples: Sequence[E], encoder: Encoder, window: WindowSize) -> tuple[list[Window], Counts]:
        """Return the windows of each example, in order, with targets where gold is known."""
        ...

    def lessons(self, examples: Sequence[E], encoder: Encoder, window: WindowSize) -> tuple[list[Window], Counts]:
        """Return the windows that are trained on: those of `features`, unless a task asks otherwise in training."""
        ...

    def reduce(self, windows: Sequence[Window], logits: Sequence[Logits]) -> list[S]:
        """Return what is kept of each window's logits: (tokens, outputs), or (outputs,) of a head over whole texts.

        Of a head over the vocabulary they are (owned tokens, outputs).
        """
        ...

    def decode(self, example: E, summaries: Sequence[S]) -> P:
        """Return the example's prediction from the summaries of its windows, in order."""
        ...

    def tune(self, pairs: Sequence[tuple[E, P]]) -> Self:
        """Return the task with what is chosen on development data (thresholds)."""
        ...

    def detailed(self) -> Self:
        """Return the task whose predictions keep what `evidence` needs, which may be large."""
        ...

    def evidence(self, pairs: Sequence[tuple[E, P]]) -> Evidence | None:
        """Return what a temperature is fitted on, of the `detailed` task; None where none may be."""
        ...

    def tempered(self, temperature: float) -> Self:
        """Return the task for a head whose logits have been divided by a temperature: its labels stay the same."""
        ...

    def judged(self, pairs: Sequence[tuple[E, P]]) -> Judged | None:
        """Return the decisions with their confidence, `row` counting pairs; None where there is no probability."""
        ...

    def score(self, pairs: Sequence[tuple[E, P]]) -> dict[str, Any]:
        """Return the metrics; raises DataError where an example has no gold."""
        ...

    def outcomes(self, pairs: Sequence[tuple[E, P | None]]) -> Outcomes:
        """Return gold and predictions side by side, as `score` compares them; what is predicted is None for None."""
        ...

    def references(self, pairs: Sequence[tuple[E, P]]) -> tuple[list[Any], list[Any]]:
        """Return (references, predictions) as `evaluate.Metric.compute` takes them for this kind of task."""
        ...

    def at_least(self, score: float) -> Self:
        """Return the task that withholds answers of a lower score; raises UsageError where answers have none."""
        ...

    def scores_of(self, prediction: P) -> list[float]:
        """Return the score of each answer in a prediction, as it is printed, of withheld ones too."""
        ...

    def verdicts(self, pairs: Sequence[tuple[E, P]]) -> list[tuple[float, bool]]:
        """Return the score of each answer, and whether it is right."""
        ...

    def render(self, example: E, prediction: P, *, scores: bool) -> dict[str, Any]:
        """Return the value of the `prediction` field."""
        ...

    @property
    def cell_names(self) -> tuple[str, ...]:
        """The columns that a table gets, without the `pred_` that stands before them."""
        ...

    def cells(self, example: E, prediction: P) -> dict[str, str]:
        """Return what stands in these columns, by name."""
        ...

    def columns(self, example: E, prediction: P) -> tuple[list[str], list[str]] | None:
        """Return (words, tags) for column files; None where the task has no tags."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what a bundle must store to build this task again with `restore`."""
        ...

    @classmethod
    def restore(cls, options: Mapping[str, Any], state: Mapping[str, Any]) -> Self:
        """Return the task with `options` and a stored `state`; an empty state is that of a task yet to be prepared."""
        ...

    @classmethod
    def of_model(cls, labels: Sequence[str], config: Mapping[str, Any]) -> Self:
        """Return the task for a model that bertft did not write, from its labels and its configuration."""
        ...
