"""Extractive questions: the answer is a piece of a text, or there is none. Rows with `question`, `context`, `answers`.

    [CLS] question [SEP] context [SEP]      start and end logits a token, (tokens, 2)

A context longer than the model is read in overlapping windows, each behind the whole question. A window's target is the
first gold answer, or the first token ([CLS]) where the answer is not wholly in it. A span's score is the sum of its
start and end logits, "no answer" is the span of [CLS] (Devlin et al. 2018, sections 4.2 and 4.3), and the best span of
all windows is compared with the least score that "no answer" has in any of them.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from bertft.data.conll import Unit
from bertft.data.row import Place, Row
from bertft.errors import DataError, ModelError, UsageError
from bertft.scoring.answers import answer_scores, best_threshold, text_scores
from bertft.scoring.calibration import Evidence, Judged
from bertft.scoring.outcomes import Outcomes
from bertft.tasks.base import (
    Counts,
    Encoder,
    Head,
    Logits,
    Objective,
    Parameters,
    Scale,
    Template,
    Window,
    WindowSize,
)
from bertft.tasks.question import Gold, Question, from_row
from bertft.text.spans import best_spans, edges, tokens_of, without_blanks
from bertft.text.windows import cut

Floats = npt.NDArray[np.float64]

_ANSWERABLE, _UNANSWERABLE = "answerable", "unanswerable"
_ROOM = 64
"""Tokens of context that a question leaves in any window: half of them, shared by neighbours, hold an answer of 30."""


@dataclass(frozen=True, slots=True)
class QaOptions:
    """The keys of `options:` in a recipe for this task."""

    max_answer_length: int = 30
    """Tokens that an answer has at most."""
    n_best: int = 20
    """Answers that are kept as candidates; probabilities are shares among them."""
    window: int | None = None
    """Tokens per window, specials and question included; null is the model's length, at most 512."""
    stride: int | None = None
    """Tokens that neighbouring windows share, at most half of the context's; null is a quarter of the window."""

    def __post_init__(self) -> None:
        for name in ("max_answer_length", "n_best"):
            if getattr(self, name) < 1:
                raise UsageError(f"options.{name}: {getattr(self, name)} is not more than 0")


class Candidate(NamedTuple):
    """A span of the context in characters, its score (a sum of two logits, in fp32), and its probability."""

    start: int
    end: int
    score: float
    probability: float


class Reply(NamedTuple):
    """A prediction, of one window or of all: the best span, if there is one, the best ones, and "no answer".

    `spans` (spans, 3) are the start and end of each in characters, and its score, best first. `total` is the log of the
    sum of all exponentials of scores, of `null_score` too where the model has learnt what no answer is: then `null` is
    its probability, else None.
    """

    first: Candidate | None
    spans: Floats
    total: float
    null_score: float
    null: float | None

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The best spans, best first."""
        return tuple(_candidate(span, self.total) for span in self.spans.tolist())

    @property
    def null_odds(self) -> float:
        """How much better "no answer" scores than the best span, a difference of logits; infinite where no span is."""
        return math.inf if self.first is None else self.null_score - self.first.score


@dataclass(frozen=True, slots=True)
class Qa:
    """The task. `null` says whether training had questions without an answer; None: it has not been prepared."""

    name: ClassVar[str] = "qa"
    options_class: ClassVar[type] = QaOptions
    wanted: ClassVar[tuple[tuple[str, ...], ...]] = (("question", "context", "answers"),)
    presplit: ClassVar[bool] = False
    unit: ClassVar[Unit] = "sentence"
    context: ClassVar[int] = 0
    scale: ClassVar[Scale | None] = None
    best_metric: ClassVar[str] = "f1"
    headline: ClassVar[tuple[str, ...]] = ("exact_match", "f1")

    options: QaOptions = field(default_factory=QaOptions)
    null: bool | None = None
    no_answer_threshold: float = 0.0
    """The null odds above which there is no answer."""
    least: float = 0.0
    """The score below which an answer is withheld."""

    # -- rows to examples ----------------------------------------------------------------------------------------------

    def parse(self, row: Row, *, labelled: bool) -> Question:
        return from_row(row, labelled=labelled)

    def taught(self, example: Question, prediction: Reply) -> Question:
        chosen = self._chosen(prediction)
        answers = (Gold(example.context[chosen.start : chosen.end], chosen.start),) if chosen else ()
        return replace(example, answers=answers)

    def group(self, example: Question) -> tuple[Hashable, ...]:
        return (example.title or example.context,)

    def labels_of(self, example: Question) -> Iterator[str]:
        if example.answers is not None:
            yield _ANSWERABLE if example.answers else _UNANSWERABLE

    def convert(self, examples: Sequence[Question]) -> tuple[list[Question], list[str], list[str]]:
        """Return the examples whose gold is usable, and say what was done to gold answers that were not in place.

        Raises DataError where there is no question, or none with usable gold.
        """
        if not examples:
            raise DataError("there is no record in the file")
        kept = [example for example in examples if example.usable]
        if not kept:
            advice = "an answer is a piece of its context, to the letter; which of several, its `answer_start` says"
            raise DataError("no question has an answer that stands in its context", place=examples[0], help=advice)
        silent = [example for example in kept if example.answers == ()]
        notes = [f"{len(silent):,} of {len(kept):,} questions have no answer"] if silent else []
        notes += _told("answers had no offset and were located in the context", kept, "located")
        warnings = _told("answers are not where their offset says; each was located, as it occurs once", kept, "moved")
        unclear = "not in the context, or more than once and not where the offset says"
        warnings += _told(f"of several answers are {unclear}; they are left out", kept, "lost")
        lost = [example for example in examples if not example.usable and not example.contrary]
        warnings += _told(f"questions are left out, as their answers are {unclear}", lost)
        contrary = [example for example in examples if example.contrary]
        warnings += _told("questions are left out: marked as impossible, but with answers", contrary)
        if self.null is False:
            told = "questions have no answer, but all in the training data had one: the model always answers"
            warnings += _told(told, silent)
        return kept, notes, warnings

    def prepare(self, examples: Iterable[Question]) -> tuple[Self, list[str]]:
        """Learn whether there are questions without an answer; raises DataError where none has one."""
        counts = {_ANSWERABLE: 0, _UNANSWERABLE: 0}
        place: Place | None = None
        for example in examples:
            place = place or example.place
            for label in self.labels_of(example):
                counts[label] += 1
        if not counts[_ANSWERABLE]:
            advice = "is this the field of the answers? name it with `--columns answers=…`"
            raise DataError("no question has an answer: there is nothing to learn", place=place, help=advice)
        null = counts[_UNANSWERABLE] > 0
        what = "can say that there is none" if null else "always answers, as every question has an answer"
        return replace(self, null=null, no_answer_threshold=0.0), [f"the model {what}"]

    # -- examples to windows, logits to predictions --------------------------------------------------------------------

    def head(self) -> Head:
        return Head("AutoModelForQuestionAnswering", ())

    def objective(self, examples: Sequence[Question]) -> Objective:
        return Objective("spans")

    def prepared(self, state: Mapping[str, Any], scale: Scale | None) -> Self:
        return self.restore(asdict(self.options), state)

    def unscaled(self) -> Self:
        return self

    def with_parameters(self, parameters: Parameters) -> Self:
        return self

    def features(
        self, examples: Sequence[Question], encoder: Encoder, window: WindowSize
    ) -> tuple[list[Window], Counts]:
        template = encoder.pair
        _check_room(template, window)
        # many questions share a context
        texts = list(dict.fromkeys(text for example in examples for text in (example.question, example.context)))
        encoded = dict(zip(texts, encoder.encode_texts(texts), strict=True))
        characters: dict[str, tuple[array[int], array[int]]] = {}
        windows: list[Window] = []
        counts = Counts()
        for index, example in enumerate(examples):
            question, context = encoded[example.question], encoded[example.context]
            if example.context not in characters:
                spans = without_blanks(context.offsets, example.context)
                characters[example.context] = spans, edges(spans)
            spans, allowed = characters[example.context]
            asked, room = divide(len(question.ids), len(context.ids), window.length - template.specials)
            ranges = cut(len(context.ids), room=room, stride=min(window.stride, room // 2))
            gold = None
            if example.answers:
                text, at = example.answers[0]
                gold = tokens_of(spans, at, at + len(text))
            first = len(template.before) + asked + len(template.between)
            for start, end in ranges:
                input_ids, segments = template.build(question.ids[:asked], context.ids[start:end])
                target = None
                if example.answers is not None:
                    inside = gold is not None and start <= gold[0] and gold[1] < end
                    target = (gold[0] - start + first, gold[1] - start + first) if gold and inside else (0, 0)
                own = allowed if len(ranges) == 1 else allowed[2 * start : 2 * end]
                windows.append(Window(index, input_ids, segments, target, range(first, first + end - start), own))
            counts += Counts(
                examples=1,
                tokens=len(question.ids) + len(context.ids),
                windows=len(ranges),
                windowed=len(ranges) > 1,
                unknown=question.unknown + context.unknown,
                cut=asked < len(question.ids),
                unread=len(question.ids) - asked,
            )
        return windows, counts

    def with_encoder(self, encoder: Encoder) -> Self:
        return self

    def lessons(
        self, examples: Sequence[Question], encoder: Encoder, window: WindowSize
    ) -> tuple[list[Window], Counts]:
        return self.features(examples, encoder, window)

    def reduce(self, windows: Sequence[Window], logits: Sequence[Logits]) -> list[Reply]:
        whole = [(window.owned, one) for window, one in zip(windows, logits, strict=True) if window.owned]
        parts = [one[owned[0] : owned[-1] + 1] for owned, one in whole] or [np.zeros((0, 2), dtype=np.float32)]
        scores = np.concatenate(parts)  # (context tokens of all windows, start and end)
        flat = array("i")
        for window in windows:
            flat.extend(window.spans)
        flat.extend((-1, -1))  # for the spans that are none, where no window has any context
        characters = np.frombuffer(flat, dtype=np.intc).reshape(-1, 2)
        scores[(characters[:-1] < 0) | ~(scores < np.inf)] = -np.inf  # NaN too: a model that has diverged
        sizes = np.array([len(window.owned) for window in windows])
        inside = np.arange(sizes.max()) < sizes[:, None]
        begins, stops = np.full((2, *inside.shape), -np.inf, dtype=scores.dtype)  # (windows, context tokens) each
        begins[inside], stops[inside] = scores.T
        longest, count = self.options.max_answer_length, self.options.n_best
        first, last, found = best_spans(begins, stops, longest=longest, count=count)
        before = (sizes.cumsum() - sizes)[:, None]
        starts = characters[:, 0].take(before + first, mode="clip")
        ends = characters[:, 1].take(before + last, mode="clip")
        nothing = np.concatenate([one[:1] for one in logits]).sum(axis=1).astype(np.float64)
        return self._replies(np.stack((starts, ends, found), axis=2, dtype=np.float64), nothing)

    def _replies(self, spans: Floats, nothing: Floats) -> list[Reply]:
        """Return the replies whose spans (replies, spans, 3) these are, -inf the score of none, and "no answer"."""
        scores = spans[:, :, 2]
        sizes = (scores > -np.inf).sum(axis=1).tolist()
        totals = np.logaddexp.reduce(scores, axis=1)
        chances: Sequence[float | None] = [None] * len(sizes)
        if self.null:
            totals = np.logaddexp(totals, nothing)
            chances = np.exp(nothing - totals).tolist()
        each = zip(spans[:, 0].tolist(), spans, sizes, totals.tolist(), nothing.tolist(), chances, strict=True)
        return [
            Reply(_candidate(first, total) if size else None, own[:size], total, null, chance)
            for first, own, size, total, null, chance in each
        ]

    def decode(self, example: Question, summaries: Sequence[Reply]) -> Reply:
        if len(summaries) == 1:
            return summaries[0]
        found: dict[tuple[float, float], float] = {}
        for start, end, score in np.concatenate([reply.spans for reply in summaries]).tolist():
            found[start, end] = max(score, found.get((start, end), -math.inf))
        ranked = sorted((-score, *span) for span, score in found.items())[: self.options.n_best]
        spans = np.array([[(start, end, -score) for score, start, end in ranked] or [(0, 0, -math.inf)]])
        return self._replies(spans, np.array([min(reply.null_score for reply in summaries)]))[0]

    # -- predictions to scores and answers -----------------------------------------------------------------------------

    @property
    def _threshold(self) -> float:
        return self.no_answer_threshold if self.null else math.inf

    def _chosen(self, reply: Reply) -> Candidate | None:
        return None if reply.null_odds > self._threshold else reply.first

    def tune(self, pairs: Sequence[tuple[Question, Reply]]) -> Self:
        known = [(example, reply) for example, reply in pairs if example.answers is not None]
        if not self.null or len({bool(example.answers) for example, _ in known}) < 2:
            return self
        return replace(self, no_answer_threshold=best_threshold(*_compared(known)))

    def detailed(self) -> Self:
        return self

    def evidence(self, pairs: Sequence[tuple[Question, Reply]]) -> Evidence | None:
        return None

    def tempered(self, temperature: float) -> Self:
        return self

    def judged(self, pairs: Sequence[tuple[Question, Reply]]) -> Judged | None:
        return None

    def score(self, pairs: Sequence[tuple[Question, Reply]]) -> dict[str, Any]:
        if not pairs:
            raise DataError("there is no question to score")
        for example, _ in pairs:
            if example.answers is None:
                raise DataError("the question has no answers to score against", place=example.place)
        return answer_scores(*_compared(pairs), self._threshold)

    def outcomes(self, pairs: Sequence[tuple[Question, Reply | None]]) -> Outcomes:
        return Outcomes(
            "answer",
            [example.place for example, _ in pairs],
            [(example.question, example.context) for example, _ in pairs],
            [tuple(gold.text for gold in example.answers or ()) for example, _ in pairs],
            [None if reply is None else self._said(example, reply) for example, reply in pairs],
            unit="question",
        )

    def _said(self, example: Question, reply: Reply) -> str | None:
        if reply.null_odds > self._threshold:
            return None
        return example.context[reply.first.start : reply.first.end] if reply.first else ""

    def references(self, pairs: Sequence[tuple[Question, Reply]]) -> tuple[list[Any], list[Any]]:
        """Return what evaluate's `squad` takes, or `squad_v2` where there are questions without an answer."""
        references, predictions = [], []
        version2 = any(not example.answers for example, _ in pairs)
        for example, reply in pairs:
            golds = example.answers or ()
            answers = {"text": [gold.text for gold in golds], "answer_start": [gold.start for gold in golds]}
            references.append({"id": example.id, "answers": answers})
            chosen = self._chosen(reply)
            said = example.context[chosen.start : chosen.end] if chosen else ""
            chance = {"no_answer_probability": reply.null or 0.0} if version2 else {}
            predictions.append({"id": example.id, "prediction_text": said, **chance})
        return references, predictions

    def at_least(self, score: float) -> Self:
        return replace(self, least=score)

    def scores_of(self, prediction: Reply) -> list[float]:
        chosen = self._chosen(prediction)
        return [round(chosen.probability, 4)] if chosen else []

    def _is_withheld(self, chosen: Candidate) -> bool:
        return round(chosen.probability, 4) < self.least

    def verdicts(self, pairs: Sequence[tuple[Question, Reply]]) -> list[tuple[float, bool]]:
        said = [(example, reply) for example, reply in pairs if self._chosen(reply)]
        golds, texts, _ = _compared(said)
        exact, _ = text_scores(golds, texts, version=1 if all(golds) else 2)
        return [(self.scores_of(reply)[0], bool(right)) for (_, reply), right in zip(said, exact, strict=True)]

    def render(self, example: Question, prediction: Reply, *, scores: bool) -> dict[str, Any]:
        chosen = self._chosen(prediction)
        answer: dict[str, Any] = _shown(example, chosen) if chosen else {"answer": None}
        if chosen is not None and self._is_withheld(chosen):
            answer = {"answer": None, "score": answer["score"]}
        if prediction.null is not None or chosen is None:
            answer["no_answer_score"] = _no_answer(prediction)
        if scores:
            odds = prediction.null_odds
            answer["candidates"] = [_shown(example, candidate) for candidate in prediction.candidates]
            answer["null_odds"] = round(odds, 4) if math.isfinite(odds) else None
        return answer

    @property
    def cell_names(self) -> tuple[str, ...]:
        return ("answer", "start", "end", "score")

    def cells(self, example: Question, prediction: Reply) -> dict[str, str]:
        chosen = self._chosen(prediction)
        if chosen is None:
            return {"answer": "", "start": "", "end": "", "score": f"{_no_answer(prediction):.4f}"}
        text, score = example.context[chosen.start : chosen.end], f"{chosen.probability:.4f}"
        if self._is_withheld(chosen):
            return {"answer": "", "start": "", "end": "", "score": score}
        return {"answer": text, "start": str(chosen.start), "end": str(chosen.end), "score": score}

    def columns(self, example: Question, prediction: Reply) -> tuple[list[str], list[str]] | None:
        return None

    # -- the bundle ----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {"null": bool(self.null), "no_answer_threshold": self.no_answer_threshold}

    @classmethod
    def restore(cls, options: Mapping[str, Any], state: Mapping[str, Any]) -> Self:
        null, threshold = state.get("null"), state.get("no_answer_threshold", 0.0)
        if not isinstance(null, bool | None):
            raise ValueError(f"`null` is {null!r}")
        return cls(QaOptions(**options), null, float(threshold))

    @classmethod
    def of_model(cls, labels: Sequence[str], config: Mapping[str, Any]) -> Self:
        return cls(null=True)  # nothing tells whether it learnt of questions without an answer


def _candidate(span: Sequence[float], total: float) -> Candidate:
    start, end, score = span
    return Candidate(int(start), int(end), score, math.exp(score - total))


def _told(what: str, examples: Sequence[Question], count: str | None = None) -> list[str]:
    """Return a sentence on how many examples there are, or things that their field `count` counts; none on none."""
    met = [example for example in examples if count is None or getattr(example, count)]
    number = sum(getattr(example, count) for example in met) if count else len(met)
    return [f"{number:,} {what}; the first: {met[0]}"] if met else []


def _check_room(template: Template, window: WindowSize) -> None:
    if not template.before:
        raise ModelError("the tokenizer puts no [CLS] first, which stands for `no answer`")
    if window.length - template.specials < 2:
        fact = f"a window of {window.length} tokens has no room for a question and a context"
        raise UsageError(fact, help="`--set options.window=N` makes it larger")


def divide(question: int, context: int, room: int) -> tuple[int, int]:
    """Return how many tokens of the question are read, and how many of the context fit behind them.

    The question is read whole unless it leaves the context less than 64 tokens or a quarter of the room, whichever is
    more, but never more than half; its end is cut then. The context's room is at least 1.
    """
    reserved = min(context, max(_ROOM, room // 4), (room + 1) // 2)
    asked = min(question, room - reserved)
    return asked, max(room - asked, 1)


def _compared(
    pairs: Sequence[tuple[Question, Reply]],
) -> tuple[list[list[str]], list[str], list[float]]:
    """Return the gold texts, the best span's text and the null odds of each question."""
    golds = [[gold.text for gold in example.answers or ()] for example, _ in pairs]
    best = [(example.context, reply.first) for example, reply in pairs]
    texts = [context[first.start : first.end] if first else "" for context, first in best]
    return golds, texts, [reply.null_odds for _, reply in pairs]


def _shown(example: Question, candidate: Candidate) -> dict[str, Any]:
    return {
        "answer": example.context[candidate.start : candidate.end],
        "start": candidate.start,
        "end": candidate.end,
        "score": round(candidate.probability, 4),
    }


def _no_answer(reply: Reply) -> float:
    """Return the probability that there is no answer: 1 where there is nothing to answer with."""
    return round(reply.null, 4) if reply.null is not None else 1.0
