"""Tagging: named entities in any scheme, or one plain tag a word. Rows with `tokens` + `tags`, or `text` + `entities`.

What leaves the model is BIO (or plain tags), decoded under the constraint that I-X follows only B-X or I-X.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate, pairwise
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from bertft.data.conll import Unit
from bertft.data.jsonl import encode
from bertft.data.row import Place, Row
from bertft.errors import DataError, UsageError
from bertft.scoring import tagging
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
    Window,
    WindowSize,
)
from bertft.tasks.gold import GoldReader, kind_of
from bertft.tasks.labels import restored
from bertft.tasks.tagged import Example, from_row
from bertft.tasks.windowing import windows_of
from bertft.text.bio import Constraints, LogProbabilities, constraints, marginals, viterbi
from bertft.text.schemes import (
    EntitySpan,
    Scheme,
    TagStyle,
    invalid_positions,
    read_spans,
    style_of_labels,
    write_bio,
)
from bertft.text.words import Span

Floats = npt.NDArray[np.float64]

_WITHHELD = "_"  # what CoNLL-U writes where nothing is said
_DOCUMENTS = 30
"""So many documents stand for a file when it is resampled: sentences of one are alike, and few vary too little."""


@dataclass(frozen=True, slots=True)
class NerOptions:
    """The keys of `options:` in a recipe for this task."""

    scheme: Literal["auto"] | Scheme = "auto"
    """How the data's tags are to be read; `auto` detects it, per file."""
    on_bad_tags: Literal["repair", "fail"] = "repair"
    """`repair` reads a tag sequence that its scheme does not allow as conlleval does; `fail` refuses it."""
    decode: Literal["viterbi", "argmax"] = "viterbi"
    head: Literal["linear", "crf"] = "linear"
    """`crf` also learns which tag follows which (Lample et al. 2016), under BIO's constraints."""
    unit: Unit = "sentence"
    """What the model sees at once, in column files that mark documents."""
    context: int = 0
    """Sub-tokens on each side of a sentence that are read of its neighbours in the document (`tasks/context.py`)."""
    window: int | None = None
    """Tokens per window, specials included; null is the model's length, at most 512."""
    stride: int | None = None
    """Tokens that neighbouring windows share; null is a quarter of the window."""

    def __post_init__(self) -> None:
        if self.head == "crf" and self.unit == "document":
            fact = "options.head: a CRF reads sentences, and `options.unit: document` gives it several at once"
            raise UsageError(fact, help="leave one of them out")
        if self.context < 0:
            raise UsageError(f"options.context: {self.context} is less than 0")
        if self.context and self.unit == "document":
            fact = "options.context: with `options.unit: document` there is nothing around what the model sees"
            raise UsageError(fact, help="leave one of them out")


class Entity(NamedTuple):
    """An entity over words `start` to `end` (half-open); `score` is the mean probability of its words' tags."""

    start: int
    end: int
    label: str
    score: float


class Known(NamedTuple):
    """What an answer is worth where gold is known, (words,) each, as `Judged` has it.

    The confidence is that of the arg max; of a CRF, the marginal probability of the decoded tag.
    """

    confidence: Floats
    right: npt.NDArray[np.bool_]
    log_likelihood: Floats


@dataclass(frozen=True, slots=True)
class Tagging:
    """A prediction: one tag a word, decoded; the arg max of each word; and the entities of the decoded tags."""

    tags: list[str]
    argmax: list[str]
    entities: list[Entity]
    scores: LogProbabilities
    """(words,): the log-probability of each decoded tag."""
    known: Known | None = None
    emissions: LogProbabilities | None = None
    """(words, labels), of a detailed task."""


@dataclass(frozen=True, slots=True)
class Ner:
    """The task. `labels` are in the order of the model's head; `style` says how they are to be read."""

    name: ClassVar[str] = "ner"
    options_class: ClassVar[type] = NerOptions
    wanted: ClassVar[tuple[tuple[str, ...], ...]] = (("tokens", "tags"), ("text", "entities"))
    presplit: ClassVar[bool] = True
    scale: ClassVar[Scale | None] = None

    options: NerOptions = field(default_factory=NerOptions)
    labels: tuple[str, ...] = ()
    style: TagStyle = TagStyle("BIO")  # noqa: RUF009  (frozen)
    learnt: Constraints | None = None
    """The transitions that a CRF has learnt."""
    keeps: bool = False
    """Whether predictions keep all log-probabilities."""
    least: float = 0.0
    """The score below which an entity, or a plain tag, is withheld."""

    @property
    def unit(self) -> Unit:
        return self.options.unit

    @property
    def context(self) -> int:
        return self.options.context

    @property
    def best_metric(self) -> str:
        return "accuracy" if self.style.scheme == "plain" else "f1"

    @property
    def headline(self) -> tuple[str, ...]:
        return ("accuracy", "macro_f1") if self.style.scheme == "plain" else ("f1", "precision", "recall", "accuracy")

    # -- rows to examples ----------------------------------------------------------------------------------------------

    def parse(self, row: Row, *, labelled: bool) -> Example:
        return from_row(row, labelled=labelled)

    def convert(self, examples: Sequence[Example]) -> tuple[list[Example], list[str], list[str]]:
        return GoldReader(self.options.scheme, self.options.on_bad_tags, self.labels, self.style).read(examples)

    def taught(self, example: Example, prediction: Tagging) -> Example:
        return replace(example, tags=tuple(prediction.tags), style=self.style)

    def group(self, example: Example) -> tuple[Hashable, ...]:
        # not both: a sentence that many documents share ("Thanks .") would tie all of them together
        return (("document", example.document) if example.document else example.words,)

    def labels_of(self, example: Example) -> Iterator[str]:
        for tag in example.tags or ():
            if self.style.scheme == "plain":
                yield tag
            elif tag.startswith("B-"):
                yield kind_of(tag)

    def prepare(self, examples: Iterable[Example]) -> tuple[Self, list[str]]:
        """Learn the labels of converted examples; raises DataError where nothing but `O` is tagged."""
        seen: set[str] = set()
        style: TagStyle | None = None
        place: Place | None = None
        for example in examples:
            seen.update(example.tags or ())
            style, place = example.style, place or example.place
        if style is not None and style.scheme == "plain":
            return replace(self, labels=tuple(sorted(seen)), style=TagStyle("plain")), []
        kinds = sorted({kind_of(tag) for tag in seen} - {""})
        if not kinds:
            raise DataError(
                "all tags are `O`: there is nothing to learn",
                place=place,
                help="is this the column of the tags? name it with `--columns tags=N`",
            )
        labels = ("O", *(f"{prefix}-{kind}" for kind in kinds for prefix in "BI"))
        return replace(self, labels=labels, style=TagStyle("BIO")), []

    # -- examples to windows, logits to predictions --------------------------------------------------------------------

    def head(self) -> Head:
        crf = constraints(self.labels, self.style) if self.options.head == "crf" else None
        return Head("AutoModelForTokenClassification", self.labels, crf=crf)

    def objective(self, examples: Sequence[Example]) -> Objective:
        return Objective("crf" if self.options.head == "crf" else "tokens")

    def prepared(self, state: Mapping[str, Any], scale: Scale | None) -> Self:
        return self.restore(asdict(self.options), state)

    def unscaled(self) -> Self:
        return self

    def tune(self, pairs: Sequence[tuple[Example, Tagging]]) -> Self:
        return self

    def with_parameters(self, parameters: Parameters) -> Self:
        return replace(self, learnt=Constraints(parameters["transitions"], parameters["initial"]))

    def features(
        self, examples: Sequence[Example], encoder: Encoder, window: WindowSize
    ) -> tuple[list[Window], Counts]:
        return windows_of(examples, encoder, window, labels=self.labels, context=self.context)

    def with_encoder(self, encoder: Encoder) -> Self:
        return self

    def lessons(self, examples: Sequence[Example], encoder: Encoder, window: WindowSize) -> tuple[list[Window], Counts]:
        return self.features(examples, encoder, window)

    def reduce(self, windows: Sequence[Window], logits: Sequence[Logits]) -> list[LogProbabilities]:
        """Return the log-probabilities (owned words, labels) of each window's logits; for a CRF, the logits."""
        each = [scores[list(window.owned)] for window, scores in zip(windows, logits, strict=True)]
        if self.learnt is not None:
            return each
        own = np.concatenate(each).astype(np.float64)  # (owned of all windows, labels)
        own -= own.max(axis=-1, keepdims=True)
        own -= np.log(np.exp(own).sum(axis=-1, keepdims=True))
        return np.split(own.astype(np.float32), np.cumsum([len(one) for one in each])[:-1])

    def decode(self, example: Example, summaries: Sequence[LogProbabilities]) -> Tagging:
        emissions = np.concatenate(summaries)  # (words, labels)
        best = emissions.argmax(axis=-1)  # (words,)
        path = best.copy()
        allowed = self.learnt
        if allowed is None and self.options.decode == "viterbi" and self.style.scheme == "BIO":
            allowed = constraints(self.labels, self.style)
        if allowed is not None:
            for start, end in pairwise(accumulate(example.lengths, initial=0)):
                path[start:end] = viterbi(emissions[start:end], *allowed)
        if self.learnt is not None:
            for start, end in pairwise(accumulate(example.lengths, initial=0)):
                emissions[start:end] = marginals(emissions[start:end], *self.learnt)
        argmax = [self.labels[i] for i in best]
        tags = [self.labels[i] for i in path]
        scores = emissions[np.arange(len(path)), path]  # (words,)
        known = None
        if example.tags is not None:
            known = self._known(example.tags, emissions, best if self.learnt is None else path)
        kept = emissions if self.keeps else None
        if self.style.scheme == "plain":
            return Tagging(tags, argmax, [], scores, known, kept)
        spans = self._spans(example, tags)
        entities = [
            Entity(start, end, label, float(np.exp(scores[start:end].astype(np.float64)).mean()))
            for start, end, label in spans
        ]
        bio = write_bio(spans, len(tags))
        return Tagging(bio, write_bio(self._spans(example, argmax), len(tags)), entities, scores, known, kept)

    def _known(self, tags: Sequence[str], log_probabilities: LogProbabilities, chosen: npt.NDArray[np.intp]) -> Known:
        gold = self._ids(tags)
        words = np.arange(len(gold))
        wide = log_probabilities.astype(np.float64)
        told = np.where(gold >= 0, wide[words, np.maximum(gold, 0)], np.nan)
        return Known(np.exp(wide[words, chosen]), chosen == gold, told)

    def _ids(self, tags: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the ids of tags, -1 for those that the model does not know."""
        ids = {label: i for i, label in enumerate(self.labels)}
        return np.array([ids.get(tag, -1) for tag in tags], dtype=np.int64)

    def _spans(self, example: Example, tags: Sequence[str]) -> list[EntitySpan]:
        found, offset = [], 0
        for sentence in example.sentences(tags):
            found += [EntitySpan(s + offset, e + offset, k) for s, e, k in read_spans(sentence, self.style)]
            offset += len(sentence)
        return found

    # -- predictions to scores and answers -----------------------------------------------------------------------------

    def references(self, pairs: Sequence[tuple[Example, Tagging]]) -> tuple[list[Any], list[Any]]:
        gold = [tags for example, _ in pairs for tags in example.sentences(example.tags or ())]
        return gold, [tags for example, guess in pairs for tags in example.sentences(guess.tags)]

    def detailed(self) -> Self:
        return replace(self, keeps=True)

    def evidence(self, pairs: Sequence[tuple[Example, Tagging]]) -> Evidence | None:
        """Return the log-probabilities of all words; None for a CRF, whose transitions would not keep pace."""
        if self.options.head == "crf" or not any(example.words for example, _ in pairs):
            return None
        gold = np.concatenate([self._ids(example.tags or ()) for example, _ in pairs])
        logits = np.concatenate([guess.emissions for _, guess in pairs if guess.emissions is not None])
        return Evidence(logits, gold, _rows(pairs))

    def tempered(self, temperature: float) -> Self:
        return self

    def judged(self, pairs: Sequence[tuple[Example, Tagging]]) -> Judged | None:
        known = [guess.known for _, guess in pairs if guess.known is not None]
        if len(known) < len(pairs) or not any(example.words for example, _ in pairs):
            return None
        confidence, right, told = (np.concatenate(part) for part in zip(*known, strict=True))
        return Judged(confidence, right, told, _rows(pairs))

    def score(self, pairs: Sequence[tuple[Example, Tagging]]) -> dict[str, Any]:
        gold: list[list[str]] = []
        predicted: list[list[str]] = []
        argmax: list[list[str]] = []
        written: list[list[str]] = []
        styles: set[TagStyle] = set()
        invalid = 0
        for example, prediction in pairs:
            if example.tags is None or example.written is None or example.style is None:
                raise DataError("the row has no tags to score against", place=example.place)
            style = example.style
            styles.add(style)
            gold += example.sentences(example.tags)
            predicted += example.sentences(prediction.tags)
            argmax += example.sentences(prediction.argmax)
            for tags in example.sentences(example.written):
                invalid += bool(invalid_positions(tags, style))
                written.append([style.canonical(tag) for tag in tags])
        if not any(gold):
            raise DataError("there is no word to score")
        if self.style.scheme == "plain":
            return tagging.tag_scores(gold, predicted)
        scores = tagging.entity_scores(gold, predicted)
        scores["argmax_f1"] = tagging.entity_f1(gold, argmax)
        if invalid:
            scores["strict_f1"] = tagging.strict_f1(written, predicted, styles.pop().scheme)
            scores["invalid_sequences"] = invalid
        return {**scores, "sentences": len(gold)}

    def outcomes(self, pairs: Sequence[tuple[Example, Tagging | None]]) -> Outcomes:
        documents = {example.document for example, _ in pairs}
        whole = any(len(example.lengths) > 1 for example, _ in pairs)
        marked = not whole and 0 not in documents and len(documents) >= _DOCUMENTS
        return Outcomes(
            "tags" if self.style.scheme == "plain" else "entities",
            [example.place for example, _ in pairs],
            [example.words for example, _ in pairs],
            [_by_sentence(example, example.tags or ()) for example, _ in pairs],
            [None if guess is None else _by_sentence(example, guess.tags) for example, guess in pairs],
            self.labels,
            "document" if whole or marked else "sentence",
            [example.document for example, _ in pairs] if marked else None,
        )

    def at_least(self, score: float) -> Self:
        return replace(self, least=score)

    def scores_of(self, prediction: Tagging) -> list[float]:
        if self.style.scheme == "plain":
            return [round(float(p), 4) for p in np.exp(prediction.scores)]
        return [round(entity.score, 4) for entity in prediction.entities]

    def _kept(self, prediction: Tagging) -> tuple[list[Entity], list[str | None]]:
        """Return the entities and tags that are not withheld: a tag that is, is None, or `O` in BIO."""
        scores = self.scores_of(prediction) if self.least else []
        if all(score >= self.least for score in scores):
            return prediction.entities, [*prediction.tags]
        if self.style.scheme == "plain":
            return [], [tag if p >= self.least else None for tag, p in zip(prediction.tags, scores, strict=True)]
        kept = [entity for entity, score in zip(prediction.entities, scores, strict=True) if score >= self.least]
        spans = [EntitySpan(entity.start, entity.end, entity.label) for entity in kept]
        return kept, [*write_bio(spans, len(prediction.tags))]

    def verdicts(self, pairs: Sequence[tuple[Example, Tagging]]) -> list[tuple[float, bool]]:
        found: list[tuple[float, bool]] = []
        for example, guess in pairs:
            gold = example.tags or ()
            if self.style.scheme == "plain":
                right = [a == b for a, b in zip(gold, guess.tags, strict=True)]
            else:
                spans = {*self._spans(example, gold)}
                right = [EntitySpan(*entity[:3]) in spans for entity in guess.entities]
            found += zip(self.scores_of(guess), right, strict=True)
        return found

    def render(self, example: Example, prediction: Tagging, *, scores: bool) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        entities, tags = self._kept(prediction)
        if self.style.scheme != "plain":
            text, spans = (example.text, example.spans) if entities else ("", ())
            answer["entities"] = [_entity(text, spans, entity) for entity in entities]
        by_word = example.tokenized or self.style.scheme == "plain"
        if not example.tokenized and (by_word or scores):  # the words are ours, so they must be told
            answer["tokens"] = [example.text[start:end] for start, end in example.spans]
            answer["offsets"] = [list(span) for span in example.spans]
        if by_word:
            answer["tags"] = tags
        if scores:
            answer["scores"] = [round(float(p), 4) for p in np.exp(prediction.scores)]
        return answer

    @property
    def cell_names(self) -> tuple[str, ...]:
        return ("tags",) if self.style.scheme == "plain" else ("entities",)

    def cells(self, example: Example, prediction: Tagging) -> dict[str, str]:
        answer = self.render(example, prediction, scores=False)
        return {name: encode(answer[name]) for name in self.cell_names}

    def columns(self, example: Example, prediction: Tagging) -> tuple[list[str], list[str]] | None:
        return list(example.words), [_WITHHELD if tag is None else tag for tag in self._kept(prediction)[1]]

    # -- the bundle ----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {"labels": list(self.labels), "style": asdict(self.style)}

    @classmethod
    def restore(cls, options: Mapping[str, Any], state: Mapping[str, Any]) -> Self:
        if not state:
            return cls(NerOptions(**options))
        labels = restored(state["labels"])
        style = TagStyle(**state["style"]) if "style" in state else style_of_labels(labels)
        if not labels:
            raise ValueError("there are no labels")
        return cls(NerOptions(**options), labels, style)

    @classmethod
    def of_model(cls, labels: Sequence[str], config: Mapping[str, Any]) -> Self:
        # By arg max: it may have been trained on IOB1, whose entities the constraints of BIO would forbid.
        return cls.restore({"decode": "argmax"}, {"labels": labels})


def _rows(pairs: Sequence[tuple[Example, Any]]) -> npt.NDArray[np.int64]:
    """Return for each word which of the pairs it is in."""
    return np.repeat(np.arange(len(pairs)), [len(example.words) for example, _ in pairs])


def _by_sentence(example: Example, tags: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(map(tuple, example.sentences(tags)))


def _entity(text: str, spans: Sequence[Span], entity: Entity) -> dict[str, Any]:
    start, end = spans[entity.start][0], spans[entity.end - 1][1]
    score = round(entity.score, 4)
    return {"start": start, "end": end, "label": entity.label, "text": text[start:end], "score": score}
