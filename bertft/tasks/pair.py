"""Classify two texts together: inference, paraphrase, answer selection, similarity. Rows: `text_a`, `text_b`, `label`.

They are encoded as a pair (`[CLS] a [SEP] b [SEP]`, with segment ids where the family has them) in one window; where
that is too small, the longer text is cut, and what was cut is counted. All else is as in `tasks/classify.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from bertft.data.row import Place, Row
from bertft.errors import UsageError
from bertft.scoring.classification import ranking_scores
from bertft.scoring.outcomes import Outcomes
from bertft.tasks.base import Counts, Encoder, Pooling, Window, WindowSize
from bertft.tasks.classify import Classify, label_of, text_of
from bertft.tasks.labels import Raw
from bertft.tasks.target import Answer, TargetOptions

_RELEVANT = ("relevant", "correct", "yes", "true", "1", "1.0")


@dataclass(frozen=True, slots=True)
class PairOptions(TargetOptions):
    """The keys of `options:` in a recipe for this task."""

    pooling: Pooling = "cls"
    """What of the tokens the head reads: the first one, their mean, or a learnt attention over them."""
    rank: bool = False
    """Whether rows that share a question (`group`, else `text_a`) are ranked: adds `map` and `mrr`."""
    relevant: str | int | bool | None = None
    """The label of a right answer; null: of two labels `1`, `true`, `yes`, `relevant` or `correct`."""

    @property
    def over_tokens(self) -> Pooling:
        """How tokens are pooled."""
        return self.pooling

    @property
    def over_windows(self) -> None:
        """A pair is one window."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts and, where known, their label; `question` is what rows of one ranking share."""

    place: Place
    first: str
    second: str
    question: str
    label: Raw | None = None


@dataclass(frozen=True, slots=True)
class ClassifyPair(Classify):
    """The task: what is learnt and predicted is as for single texts, what the model reads is not."""

    name: ClassVar[str] = "pair"
    options_class: ClassVar[type] = PairOptions
    wanted: ClassVar[tuple[tuple[str, ...], ...]] = (("text_a", "text_b", "label"),)

    options: Any = field(default_factory=PairOptions)

    @property
    def headline(self) -> tuple[str, ...]:
        # not super(): a slotted dataclass is another class than the one that super() knows
        return ("map", "mrr", self.target.headline[0]) if self.options.rank else self.target.headline

    def parse(self, row: Row, *, labelled: bool) -> Any:
        if row.error is not None:
            raise row.error
        first, second = text_of(row, "text_a"), text_of(row, "text_b")
        group = row.get("group")
        question = first if group is None else str(group)
        return Pair(row.place, first, second, question, label_of(row) if labelled else None)

    def group(self, example: Any) -> tuple[Hashable, ...]:
        return (example.question,) if self.options.rank else ((example.first, example.second),)

    def prepare(self, examples: Iterable[Any]) -> tuple[Self, list[str]]:
        learnt, notes = Classify.prepare(self, examples)
        if learnt.options.rank:
            relevant = learnt.relevant()
            notes.append("ranked by the value" if relevant is None else f"right answers have the label {relevant!r}")
        return learnt, notes

    def features(self, examples: Sequence[Any], encoder: Encoder, window: WindowSize) -> tuple[list[Window], Counts]:
        room = window.length - encoder.pair.specials
        if room < 2:
            raise UsageError(f"options.window: {window.length} tokens have no room for two texts")
        windows: list[Window] = []
        counts = Counts()
        encoded = encoder.encode_texts([text for example in examples for text in (example.first, example.second)])
        for index, example in enumerate(examples):
            first, second = encoded[2 * index], encoded[2 * index + 1]
            a, b = longest_first(len(first.ids), len(second.ids), room)
            input_ids, segments = encoder.pair.build(first.ids[:a], second.ids[:b])
            gold = None if example.label is None else self.target.loss_target(example.label, example.place)
            windows.append(Window(index, input_ids, segments, gold))
            tokens = len(first.ids) + len(second.ids)
            counts += Counts(
                examples=1,
                tokens=tokens,
                windows=1,
                unknown=first.unknown + second.unknown,
                cut=a + b < tokens,
                unread=tokens - a - b,
            )
        return windows, counts

    def score(self, pairs: Sequence[tuple[Any, Answer]]) -> dict[str, Any]:
        scores = Classify.score(self, pairs)
        if not self.options.rank:
            return scores
        groups: dict[str, list[tuple[bool, float]]] = defaultdict(list)
        for (example, _), rank in zip(pairs, self._ranks(pairs), strict=True):
            groups[example.question].append(rank)
        return {**ranking_scores(list(groups.values())), **scores}

    def outcomes(self, pairs: Sequence[tuple[Any, Answer | None]]) -> Outcomes:
        found = replace(Classify.outcomes(self, pairs), unit="pair")
        if not self.options.rank:
            return found
        found = replace(found, unit="question", groups=[example.question for example, _ in pairs])
        if any(answer is None for _, answer in pairs):
            return found
        return replace(
            found, ranks=list(self._ranks([(example, answer) for example, answer in pairs if answer is not None]))
        )

    def _inputs(self, pairs: Sequence[tuple[Any, Any]]) -> list[tuple[str, ...]]:
        return [(example.first, example.second) for example, _ in pairs]

    def _ranks(self, pairs: Sequence[tuple[Any, Answer]]) -> Iterator[tuple[bool, float]]:
        """Yield whether each row is a right answer, and its score."""
        relevant = self.relevant()
        for right, (_, answer) in zip(self.rights([example for example, _ in pairs]), pairs, strict=True):
            yield right, float(answer[0]) if relevant is None else float(answer[self.target.labels.index(relevant)])

    def rights(self, examples: Sequence[Any]) -> Iterator[bool]:
        """Yield whether each row is a right answer."""
        relevant = self.relevant()
        for example in examples:
            gold = self.target.gold(example.label, example.place)
            yield gold > 0 if isinstance(gold, float) else relevant in gold

    def relevant(self) -> str | None:
        """Return the label of right answers; None where a value says how right they are (more than 0 is right)."""
        if self.target.is_value:
            return None
        usual = (label for name in _RELEVANT for label in self.target.labels if label.lower() == name)
        # of more than two labels several may be those of right answers: nothing is guessed then
        guessed = next(usual, None) if len(self.target.labels) == 2 else None
        chosen = guessed if self.options.relevant is None else str(self.options.relevant)
        if chosen not in self.target.labels or self.target.is_set:
            labels = ", ".join(map(repr, self.target.labels[:9]))
            fact = f"which of the labels {labels} is that of a right answer?"
            raise UsageError(
                fact, help="`--set options.relevant=LABEL` says so; `--set options.rank=false` does not rank"
            )
        return chosen


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """Return how many tokens of two texts are kept so that they fit: the longer is cut first, as tokenizers' own
    `longest_first` does it.
    """
    if first + second <= room:
        return first, second
    half = room // 2
    if min(first, second) <= half:
        return (first, room - first) if first <= second else (room - second, second)
    return (half, room - half) if first <= second else (room - half, half)
