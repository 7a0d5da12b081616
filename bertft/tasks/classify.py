"""Classify texts: one label, a set of labels, or a value (`tasks/target.py`). Rows with `text` and `label`.

A text longer than the model is read in overlapping windows, in training (at most 8 of them a step), evaluation and
prediction alike; its one answer is made of the windows' logits, in the loss too.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self, cast

import numpy as np

from bertft.data.conll import Unit
from bertft.data.row import Place, Row
from bertft.errors import DataError
from bertft.scoring.calibration import Evidence, Judged
from bertft.scoring.outcomes import Outcomes
from bertft.tasks import target as targets
from bertft.tasks.base import (
    Counts,
    Encoder,
    Head,
    Logits,
    Objective,
    OverWindows,
    Parameters,
    Pooling,
    Scale,
    Window,
    WindowSize,
)
from bertft.tasks.labels import Raw, raw_label
from bertft.tasks.target import Answer, Target, TargetOptions
from bertft.text.windows import cut


@dataclass(frozen=True, slots=True)
class ClassifyOptions(TargetOptions):
    """The keys of `options:` in a recipe for this task."""

    pooling: Pooling | OverWindows = "cls"
    """What of the tokens the head reads: `cls` (or what the family's own head reads: ModernBERT's may read the mean),
    `mean` or `attention`. `first` and `max` are read as `window_pooling`."""
    window_pooling: OverWindows = "mean"
    """How a long text's windows give one answer: only the first is read, or the mean or maximum of their logits."""

    @property
    def over_tokens(self) -> Pooling:
        """How tokens are pooled."""
        return "cls" if self.pooling in ("first", "max") else cast("Pooling", self.pooling)

    @property
    def over_windows(self) -> OverWindows:
        """How windows are pooled."""
        return cast("OverWindows", self.pooling) if self.pooling in ("first", "max") else self.window_pooling


@dataclass(frozen=True, slots=True)
class Text:
    """A text and, where known, its label as the file has it."""

    place: Place
    text: str
    label: Raw | None = None


@dataclass(frozen=True, slots=True)
class Classify:
    """The task. `options` are those of a recipe, `target` is what training has learnt about the labels."""

    name: ClassVar[str] = "classify"
    options_class: ClassVar[type] = ClassifyOptions
    wanted: ClassVar[tuple[tuple[str, ...], ...]] = (("text", "label"),)
    presplit: ClassVar[bool] = False
    unit: ClassVar[Unit] = "sentence"
    context: ClassVar[int] = 0

    options: Any = field(default_factory=ClassifyOptions)
    target: Target = field(default_factory=Target)

    @property
    def best_metric(self) -> str:
        # a correlation is soon near 1 while the values are still far off
        return "rmse" if self.headline[0] == "pearson" else self.headline[0]

    @property
    def headline(self) -> tuple[str, ...]:
        return self.target.headline

    # -- rows to examples ----------------------------------------------------------------------------------------------

    def parse(self, row: Row, *, labelled: bool) -> Any:
        if row.error is not None:
            raise row.error
        return Text(row.place, text_of(row, "text"), label_of(row) if labelled else None)

    def taught(self, example: Any, prediction: Answer) -> Any:
        return replace(example, label=self.target.raw(prediction))

    def group(self, example: Any) -> tuple[Hashable, ...]:
        return (example.text,)

    def labels_of(self, example: Any) -> Iterator[str]:
        return iter(self.target.names(example.label))

    def prepare(self, examples: Iterable[Any]) -> tuple[Self, list[str]]:
        learnt, notes = targets.learn(self.options, [(example.label, example.place) for example in examples])
        return replace(self, target=learnt), notes

    def convert(self, examples: Sequence[Any]) -> tuple[list[Any], list[str], list[str]]:
        if not examples:
            raise DataError("there is no record in the file")
        rows = [(example.label, example.place) for example in examples]
        return list(examples), [], self.target.unknown(rows) if self.target.problem_type else []

    # -- examples to windows, logits to predictions --------------------------------------------------------------------

    def head(self) -> Head:
        return Head(
            "AutoModelForSequenceClassification", self.target.labels, self.target.problem_type, self.options.over_tokens
        )

    def objective(self, examples: Sequence[Any]) -> Objective:
        labels = [example.label for example in examples]
        return targets.objective(self.options, self.target, labels, self.options.over_windows)

    @property
    def scale(self) -> Scale | None:
        return self.target.scale

    def prepared(self, state: Mapping[str, Any], scale: Scale | None) -> Self:
        return replace(self, target=replace(Target.restore(state), scale=scale))

    def unscaled(self) -> Self:
        return replace(self, target=replace(self.target, scale=None))

    def with_parameters(self, parameters: Parameters) -> Self:
        return self

    def features(self, examples: Sequence[Any], encoder: Encoder, window: WindowSize) -> tuple[list[Window], Counts]:
        room = window.length - encoder.single.specials
        windows: list[Window] = []
        counts = Counts()
        encoded = encoder.encode_texts([example.text for example in examples])
        for index, (example, text) in enumerate(zip(examples, encoded, strict=True)):
            gold = None if example.label is None else self.target.loss_target(example.label, example.place)
            ranges = cut(len(text.ids), room=room, stride=window.stride)
            read = ranges[:1] if self.options.over_windows == "first" else ranges
            for start, end in read:
                input_ids, segments = encoder.single.build(text.ids[start:end])
                windows.append(Window(index, input_ids, segments, gold))
            counts += Counts(
                examples=1,
                tokens=len(text.ids),
                windows=len(read),
                windowed=len(read) > 1,
                unknown=text.unknown,
                cut=len(read) < len(ranges),
                unread=len(text.ids) - read[-1][1],
            )
        return windows, counts

    def with_encoder(self, encoder: Encoder) -> Self:
        return self

    def lessons(self, examples: Sequence[Any], encoder: Encoder, window: WindowSize) -> tuple[list[Window], Counts]:
        return self.features(examples, encoder, window)

    def reduce(self, windows: Sequence[Window], logits: Sequence[Logits]) -> list[Logits]:
        return list(logits)

    def decode(self, example: Any, summaries: Sequence[Logits]) -> Answer:
        logits = np.stack(summaries).astype(np.float64)  # (windows, labels)
        return self.target.answer(logits.max(axis=0) if self.options.over_windows == "max" else logits.mean(axis=0))

    # -- predictions to scores and answers -----------------------------------------------------------------------------

    def tune(self, pairs: Sequence[tuple[Any, Answer]]) -> Self:
        known = [(example.label, answer) for example, answer in pairs if example.label is not None]
        return replace(self, target=self.target.tune([label for label, _ in known], [answer for _, answer in known]))

    def detailed(self) -> Self:
        return self

    def evidence(self, pairs: Sequence[tuple[Any, Answer]]) -> Evidence | None:
        return self.target.evidence([example.label for example, _ in pairs], [answer for _, answer in pairs])

    def tempered(self, temperature: float) -> Self:
        return replace(self, target=self.target.tempered(temperature))

    def judged(self, pairs: Sequence[tuple[Any, Answer]]) -> Judged | None:
        found = self.evidence(pairs)
        return None if found is None else found.judged()

    def score(self, pairs: Sequence[tuple[Any, Answer]]) -> dict[str, Any]:
        return self.target.score(list(targets.rows_of(pairs)), [answer for _, answer in pairs])

    def outcomes(self, pairs: Sequence[tuple[Any, Answer | None]]) -> Outcomes:
        return self.target.outcomes(list(targets.rows_of(pairs)), self._inputs(pairs), [answer for _, answer in pairs])

    def _inputs(self, pairs: Sequence[tuple[Any, Any]]) -> list[tuple[str, ...]]:
        return [(example.text,) for example, _ in pairs]

    def references(self, pairs: Sequence[tuple[Any, Answer]]) -> tuple[list[Any], list[Any]]:
        return self.target.references(list(targets.rows_of(pairs)), [answer for _, answer in pairs])

    def at_least(self, score: float) -> Self:
        return replace(self, target=self.target.at_least(score))

    def scores_of(self, prediction: Answer) -> list[float]:
        return self.target.scores_of(prediction)

    def verdicts(self, pairs: Sequence[tuple[Any, Answer]]) -> list[tuple[float, bool]]:
        return self.target.verdicts([example.label for example, _ in pairs], [answer for _, answer in pairs])

    def render(self, example: Any, prediction: Answer, *, scores: bool) -> dict[str, Any]:
        return self.target.render(prediction, scores=scores)

    @property
    def cell_names(self) -> tuple[str, ...]:
        return ("value",) if self.target.is_value else ("label", "score")

    def cells(self, example: Any, prediction: Answer) -> dict[str, str]:
        return self.target.cells(prediction)

    def columns(self, example: Any, prediction: Answer) -> tuple[list[str], list[str]] | None:
        return None

    # -- the bundle ----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return self.target.state()

    @classmethod
    def restore(cls, options: Mapping[str, Any], state: Mapping[str, Any]) -> Self:
        return cls(cls.options_class(**options), Target.restore(state))

    @classmethod
    def of_model(cls, labels: Sequence[str], config: Mapping[str, Any]) -> Self:
        return cls(cls.options_class(), Target.of_model(labels, config))


def text_of(row: Row, role: str) -> str:
    """Return the text of a role; raises DataError where the row has none."""
    value = row.get(role)
    if not isinstance(value, str):
        fields = ", ".join(map(repr, list(row.values)[:20]))
        name = row.roles.get(role, role)
        fact = f"`{role}` is no text but {str(value)[:40]!r}"
        if value is None:
            fact = f"the field {name!r} is null" if name in row.values else f"the row has no `{role}`"
        advice = f"the fields are {fields}; name the right one with `--columns {role}=…`" if row.values else None
        raise DataError(fact, place=row.place, help=advice)
    return value.encode("utf-8", "replace").decode()  # halves of surrogate pairs, which a tokenizer cannot read


def label_of(row: Row) -> Raw:
    """Return the label of a row; raises DataError where it has none."""
    if row.roles.get("label", "label") == "label" and "label" not in row.values:
        raise DataError("the row has no label", place=row.place, help="name its field with `--columns label=…`")
    return raw_label(row.get("label"), row.place)
