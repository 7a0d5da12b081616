"""What a text (or a pair of texts) is labelled with: one label, a set of labels, or a value.

Which of them is meant is worked out from the training data; from then on labels are known by name. Classify and Pair
share this file; what they do not share is how texts become windows.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from bertft.data.content import as_number
from bertft.data.row import Place
from bertft.errors import DataError, UsageError, did_you_mean
from bertft.scoring import classification
from bertft.scoring.calibration import Evidence
from bertft.scoring.outcomes import Kind, Outcomes
from bertft.tasks.base import Logits, Objective, OverWindows, Scale
from bertft.tasks.base import Target as LossTarget
from bertft.tasks.labels import (
    SEPARATORS,
    ProblemType,
    Raw,
    alike,
    find_separator,
    infer_problem_type,
    restored,
    rewritten,
    sorted_labels,
    unseen,
)

Answer = npt.NDArray[np.float64]
"""A prediction: the probability of each label (labels,), or the value (1,)."""

VALUE = "value"
"""The name of a regression head's one output."""

_ENOUGH = 10  # positives that a label must have on dev for a threshold of its own


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """The keys of a recipe's `options:` that all tasks with a label for the whole text have."""

    problem_type: Literal["auto"] | ProblemType = "auto"
    """`auto` reads it off the training data."""
    separator: str | None = None
    """What stands between the labels of a multi-label string; null finds it."""
    class_weights: Literal["auto"] | dict[str, Any] | None = None
    """`auto` weighs labels by how rare they are, or `{label: weight}` (1 where none is given)."""
    label_smoothing: float = 0.0
    focal_gamma: float = 0.0
    """More than 0: the focal loss, which looks away from what is easy."""
    window: int | None = None
    """Tokens per window, specials included; null is the model's length, at most 512."""
    stride: int | None = None
    """Tokens that neighbouring windows share; null is a quarter of the window."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is predicted. `labels` are in the order of the head's outputs; `thresholds` are for sets of labels."""

    problem_type: ProblemType | None = None
    labels: tuple[str, ...] = ()
    separator: str | None = None
    scale: Scale | None = None
    thresholds: tuple[float, ...] = ()
    least: float = 0.0
    """The score below which a label is withheld."""

    @property
    def is_set(self) -> bool:
        """Say whether a row has any number of labels."""
        return self.problem_type == "multi_label_classification"

    @property
    def is_value(self) -> bool:
        """Say whether a row has a number, and no label."""
        return self.problem_type == "regression"

    @property
    def headline(self) -> tuple[str, ...]:
        """The metrics shown first; the first of them chooses the checkpoint."""
        if self.is_value:
            return ("pearson", "spearman", "rmse")
        return ("micro_f1", "macro_f1", "subset_accuracy") if self.is_set else ("accuracy", "macro_f1")

    # -- labels --------------------------------------------------------------------------------------------------------

    def names(self, raw: Raw | None) -> tuple[str, ...]:
        """Return the labels of a row, by the names that training had for them; none for a value."""
        return tuple(dict.fromkeys(map(self._own, self._written(raw))))

    def _own(self, label: str) -> str:
        """Return the label of the model that a file may write in another way: `True` for `true`, `4.0` for `4`."""
        if not self.labels or label in self.labels:
            return label
        same = [own for own in self.labels if alike(own) == alike(label)]
        return same[0] if len(same) == 1 else label

    def _written(self, raw: Raw | None) -> tuple[str, ...]:
        if raw is None or self.is_value:
            return ()
        if not self.is_set:
            return (raw,) if isinstance(raw, str) else raw
        parts = raw if isinstance(raw, tuple) else raw.split(self.separator) if self.separator else self._parted(raw)
        return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))

    def _parted(self, text: str) -> Sequence[str]:
        """Return the known labels that a string is made of, where training had lists and so no sign between labels."""
        splits = ([part.strip() for part in text.split(sign)] for sign in SEPARATORS)
        return next((parts for parts in splits if {*map(self._own, parts)} <= {*self.labels}), [text])

    def gold(self, raw: Raw, place: Place) -> tuple[str, ...] | float:
        """Return the labels of a row, or its value; raises DataError where it has not what the task needs."""
        if self.is_value:
            value = as_number(raw) if isinstance(raw, str) else None
            if value is None:
                advice = "a regression needs a number in every row; `--set options.problem_type=…` chooses another task"
                raise DataError(f"the label {_shown(raw)} is no number", place=place, help=advice)
            return value
        names = self.names(raw)
        if not self.is_set and len(names) != 1:
            advice = "`--set options.problem_type=multi_label_classification` learns sets of labels"
            raise DataError(f"the row has {len(names)} labels, where one is needed", place=place, help=advice)
        return names

    def loss_target(self, raw: Raw, place: Place) -> LossTarget:
        """Return what the loss compares; None for a label that training has not seen."""
        gold = self.gold(raw, place)
        if isinstance(gold, float):
            return (gold - self.scale.mean) / self.scale.deviation if self.scale else gold
        if self.is_set:
            return [float(label in gold) for label in self.labels]
        return self.labels.index(gold[0]) if gold[0] in self.labels else None

    def unknown(self, rows: Iterable[tuple[Raw | None, Place]]) -> list[str]:
        """Return a warning for each label that training has not seen, or not in this writing.

        Raises DataError where it has seen none, or where a row has not what the task needs.
        """
        seen: Counter[str] = Counter()
        where: dict[str, Place] = {}
        other: Counter[tuple[str, str]] = Counter()
        known = 0
        for raw, place in rows:
            if raw is not None:
                self.gold(raw, place)
            for label in self._written(raw):
                own = self._own(label)
                known += own in self.labels
                other[label, own] += own != label
                if own not in self.labels:
                    seen[label] += 1
                    where.setdefault(label, place)
        if seen and not known:
            advice = f"the model's labels are {', '.join(map(repr, self.labels[:9]))}"
            first = next(iter(seen))
            raise DataError(
                f"none of the file's labels was in the training data, first {first!r}", place=where[first], help=advice
            )
        return [*rewritten(+other), *unseen(seen, where, self.labels)]

    # -- answers -------------------------------------------------------------------------------------------------------

    def answer(self, logits: Logits) -> Answer:
        """Return the probabilities or the value of an example's logits (labels,)."""
        wide = logits.astype(np.float64)
        if self.is_value:
            return wide * self.scale.deviation + self.scale.mean if self.scale else wide
        if self.is_set:
            return np.asarray(_sigmoid(wide))
        wide = np.exp(wide - wide.max())
        return np.asarray(wide / wide.sum())

    def chosen(self, answer: Answer) -> tuple[str, ...]:
        """Return the labels of an answer: the likeliest, or those above their thresholds."""
        if self.is_set:
            thresholds = self.thresholds or (0.5,) * len(self.labels)
            return tuple(label for label, p, t in zip(self.labels, answer, thresholds, strict=True) if p >= t)
        return (self.labels[int(answer.argmax())],)

    def tune(self, raws: Sequence[Raw], answers: Sequence[Answer]) -> Target:
        """Return the target with the thresholds, one a label, that give the best micro F1 on development data.

        Labels with fewer than 10 positives share the threshold that is best for all labels together.
        """
        if not self.is_set or not answers:
            return self
        known = [[label for label in self.names(raw) if label in self.labels] for raw in raws]
        truth, scores = classification.indicators(known, self.labels), np.stack(answers)
        if not truth.any():
            return self
        return replace(self, thresholds=tuple(classification.best_thresholds(truth, scores, enough=_ENOUGH)))

    def evidence(self, raws: Sequence[Raw | None], answers: Sequence[Answer]) -> Evidence | None:
        """Return the answers as logits, with gold; None for values."""
        if self.is_value or not answers:
            return None
        least = np.finfo(np.float64)
        scores = np.clip(np.stack(answers), least.tiny, 1 - least.epsneg)
        rows = np.arange(len(answers))
        names = [[label for label in self.names(raw) if label in self.labels] for raw in raws]
        if self.is_set:
            gold = classification.indicators(names, self.labels)
            return Evidence(np.log(scores) - np.log1p(-scores), gold, rows, each=True)
        ids = {label: i for i, label in enumerate(self.labels)}
        return Evidence(np.log(scores), np.array([ids[row[0]] if row else -1 for row in names]), rows)

    def tempered(self, temperature: float) -> Target:
        """Return the target with thresholds for logits that have been divided by a temperature."""
        moved = []
        for threshold in self.thresholds:
            inside = 0 < threshold < 1
            logit = math.log(threshold) - math.log1p(-threshold) if inside else 0.0
            moved.append(float(_sigmoid(np.float64(logit / temperature))) if inside else threshold)
        return replace(self, thresholds=tuple(moved))

    def score(self, golds: Sequence[tuple[Raw | None, Place]], answers: Sequence[Answer]) -> dict[str, Any]:
        """Return the metrics; raises DataError where there is nothing to score or a row has no gold."""
        if not golds:
            raise DataError("there is no row to score")
        truth = [self._truth(raw, place) for raw, place in golds]
        if self.is_value:
            values = [gold for gold in truth if isinstance(gold, float)]
            return classification.value_scores(values, [float(answer[0]) for answer in answers])
        names = [gold for gold in truth if not isinstance(gold, float)]
        chosen = [self.chosen(answer) for answer in answers]
        if not self.is_set:
            return classification.label_scores([gold[0] for gold in names], [guess[0] for guess in chosen])
        return classification.label_set_scores(names, chosen, self.labels)

    def outcomes(
        self,
        golds: Sequence[tuple[Raw | None, Place]],
        inputs: Sequence[tuple[str, ...]],
        answers: Sequence[Answer | None],
    ) -> Outcomes:
        """Return gold and answers side by side; raises DataError where a row has no gold."""
        kind: Kind = "value" if self.is_value else "labels" if self.is_set else "label"
        truth = [self._truth(raw, place) for raw, place in golds]
        guesses = [None if answer is None else self._guess(answer) for answer in answers]
        gold, predicted = ([self.plain(one) for one in side] for side in (truth, guesses))
        return Outcomes(kind, [place for _, place in golds], inputs, gold, predicted, self.labels)

    def _guess(self, answer: Answer) -> tuple[str, ...] | float:
        return float(answer[0]) if self.is_value else self.chosen(answer)

    def raw(self, answer: Answer) -> Raw:
        """Return an answer as a file would have it as a label."""
        guess = self._guess(answer)
        return str(guess) if isinstance(guess, float) else guess if self.is_set else guess[0]

    def plain(self, names: tuple[str, ...] | float | None) -> tuple[str, ...] | float | str | None:
        """Return the labels of a row as metrics compare them: the label itself where there is one."""
        return names if self.is_set or not isinstance(names, tuple) else names[0]

    def _truth(self, raw: Raw | None, place: Place) -> tuple[str, ...] | float:
        if raw is None:
            raise DataError("the row has no label to score against", place=place)
        return self.gold(raw, place)

    def references(
        self, golds: Sequence[tuple[Raw | None, Place]], answers: Sequence[Answer]
    ) -> tuple[list[Any], list[Any]]:
        """Return (references, predictions) as `evaluate` metrics take them: values, label ids, or 0/1 a label.

        A label that the model does not know gets an id behind its own.
        """
        if self.is_value:
            return [self.gold(raw or "", place) for raw, place in golds], [float(answer[0]) for answer in answers]
        names = [self.names(raw) for raw, _ in golds]
        every = [*self.labels, *sorted({label for row in names for label in row} - {*self.labels})]
        chosen = [self.chosen(answer) for answer in answers]
        if self.is_set:
            return classification.indicators(names, every).tolist(), classification.indicators(chosen, every).tolist()
        ids = {label: i for i, label in enumerate(every)}
        return [ids[row[0]] for row in names], [ids[row[0]] for row in chosen]

    def render(self, answer: Answer, *, scores: bool) -> dict[str, Any]:
        """Return the value of the `prediction` field."""
        if self.is_value:
            return {"value": round(float(answer[0]), 4)}
        every = self._rounded(answer)
        labels = self.chosen(answer)
        kept = [label for label in labels if every[label] >= self.least]
        if self.is_set:
            return {"labels": kept, "scores": every if scores else {label: every[label] for label in kept}}
        rest = {"scores": every} if scores else {}
        return {"label": kept[0] if kept else None, "score": every[labels[0]], **rest}

    def _rounded(self, answer: Answer) -> dict[str, float]:
        return {label: round(float(p), 4) for label, p in zip(self.labels, answer, strict=True)}

    def at_least(self, score: float) -> Target:
        """Return the target that withholds labels of a lower score; raises UsageError for values."""
        if self.is_value:
            raise UsageError("--min-score: the answers are values, which have no score")
        return replace(self, least=score)

    def scores_of(self, answer: Answer) -> list[float]:
        """Return the score of each chosen label, as it is printed."""
        if self.is_value:
            return []
        every = self._rounded(answer)
        return [every[label] for label in self.chosen(answer)]

    def verdicts(self, raws: Sequence[Raw | None], answers: Sequence[Answer]) -> list[tuple[float, bool]]:
        """Return the score of each chosen label, and whether the row has it."""
        if self.is_value:
            return []
        return [
            (score, label in gold)
            for gold, answer in zip(map(self.names, raws), answers, strict=True)
            for score, label in zip(self.scores_of(answer), self.chosen(answer), strict=True)
        ]

    def cells(self, answer: Answer) -> dict[str, str]:
        """Return the columns that a table gets; several labels are joined as the training file joins them."""
        if self.is_value:
            return {"value": f"{float(answer[0]):.4f}"}
        every = self._rounded(answer)
        labels = self.chosen(answer)
        kept = [label for label in labels if every[label] >= self.least]
        joint = (self.separator or "|") if self.is_set else ""
        scored = kept if self.is_set else labels
        return {"label": joint.join(kept), "score": joint.join(f"{every[label]:.4f}" for label in scored)}

    # -- the bundle ----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return the target as JSON values."""
        return {
            "problem_type": self.problem_type,
            "labels": list(self.labels),
            "separator": self.separator,
            "thresholds": dict(zip(self.labels, self.thresholds, strict=True)) if self.thresholds else None,
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Target:
        """Return the target of a stored state; raises ValueError, KeyError or TypeError where it is none."""
        if not state:
            return cls()
        thresholds, separator, kind = state.get("thresholds") or {}, state.get("separator"), state["problem_type"]
        labels = restored(state["labels"])
        if kind not in get_args(ProblemType) or not labels:
            raise ValueError(f"{len(labels)} labels of the problem type {kind!r}")
        if separator is not None and (not isinstance(separator, str) or not separator):
            raise ValueError(f"{separator!r} separates no labels")
        each = tuple(float(thresholds[label]) for label in labels) if thresholds else ()
        return cls(kind, labels, separator, None, each)

    @classmethod
    def of_model(cls, labels: Sequence[str], config: Mapping[str, Any]) -> Target:
        """Return the target of a plain transformers model: by its `problem_type`, or by how many labels it has."""
        given = config.get("problem_type")
        if given not in get_args(ProblemType):
            given = "regression" if len(labels) == 1 else "single_label_classification"
        return cls(cast("ProblemType", given), tuple(labels))


def learn(options: TargetOptions, rows: Sequence[tuple[Raw | None, Place]]) -> tuple[Target, list[str]]:
    """Return what the training rows are labelled with, and what is to be said about it.

    Raises DataError where there is nothing to learn (no label, one label only, a value that is no number).
    """
    raws = [raw for raw, _ in rows if raw is not None]
    if not raws:
        raise DataError("there is no labelled row")
    first = rows[0][1]
    separator, given = options.separator, options.problem_type
    if separator == "":
        raise UsageError("options.separator: an empty one separates nothing", help="null finds it")
    kind: ProblemType
    if given == "auto":
        kind, why = infer_problem_type(raws, separator)
    else:
        kind, why = given, "given"
    draft = Target(kind, separator=separator)
    if kind == "multi_label_classification" and separator is None and not any(isinstance(raw, tuple) for raw in raws):
        draft = replace(draft, separator=find_separator([raw for raw in raws if isinstance(raw, str)], strict=False))
    golds = [draft.gold(raw, place) for raw, place in rows if raw is not None]
    note = f"{kind.replace('_', ' ')}: {why}"
    if draft.is_value:
        values = np.array([gold for gold in golds if isinstance(gold, float)])
        deviation = float(values.std())
        if values.min() == values.max():
            raise DataError(f"all values are {values[0]:g}: there is nothing to learn", place=first)
        note += f"; {len(values):,} values from {values.min():g} to {values.max():g}, mean {values.mean():.4g}"
        return replace(draft, labels=(VALUE,), scale=Scale(float(values.mean()), deviation)), [note]
    labels = sorted_labels({label for gold in golds if not isinstance(gold, float) for label in gold})
    if draft.separator:
        note += f"; labels are separated by {draft.separator!r}"
    if len(labels) < (1 if draft.is_set else 2):
        what = f"all rows have the label {labels[0]!r}" if labels else "no row has a label"
        raise DataError(
            f"{what}: there is nothing to learn",
            place=first,
            help="is this the column of the labels? `--columns label=…`",
        )
    return replace(draft, labels=labels), [f"{note}; {len(labels)} labels", *_doubts(labels, golds)]


def _doubts(labels: Sequence[str], golds: Sequence[tuple[str, ...] | float]) -> Iterator[str]:
    """Yield what may be wrong with labels: an empty one, and those that differ only in how they are written."""
    if (empty := golds.count(("",))) > 0:
        yield f"empty labels: {empty:,}, learnt as a label like others"
    same: defaultdict[str, list[str]] = defaultdict(list)
    for label in labels:
        same[alike(label)].append(label)
    for group in same.values():
        if len(group) > 1:
            yield f"the labels {' and '.join(map(repr, group))} are learnt as {len(group)}, though they look like one"


def objective(
    options: TargetOptions, target: Target, raws: Sequence[Raw | None], over_windows: OverWindows | None
) -> Objective:
    """Return the loss of a target; raises UsageError for settings that cannot be, as weights of no label."""
    if not 0 <= options.label_smoothing < 1:
        raise UsageError(f"options.label_smoothing: {options.label_smoothing:g} is not from 0 to less than 1")
    if not 0 <= options.focal_gamma < math.inf:
        raise UsageError(f"options.focal_gamma: {options.focal_gamma:g} is less than 0 or no number")
    if target.is_value:
        for name in ("class_weights", "label_smoothing", "focal_gamma"):
            if getattr(options, name):
                raise UsageError(f"options.{name}: a regression has no labels, it learns values")
        return Objective("values", over_windows=over_windows)
    return Objective(
        "labels" if target.is_set else "classes",
        weights=_weights(options.class_weights, target, raws),
        smoothing=options.label_smoothing,
        focal=options.focal_gamma,
        over_windows=over_windows,
    )


def _weights(
    given: Literal["auto"] | Mapping[str, Any] | None, target: Target, raws: Sequence[Raw | None]
) -> tuple[float, ...] | None:
    """Return a weight a label: `auto` is n / (labels * count), scikit-learn's "balanced" (King and Zeng 2001).

    For sets of labels it is the negatives' number over the positives', which makes both weigh the same.
    """
    if given is None:
        return None
    counts = Counter(label for raw in raws for label in target.names(raw))
    if given == "auto":
        if target.is_set:
            return tuple(max(len(raws) - counts[label], 1) / max(counts[label], 1) for label in target.labels)
        return tuple(len(raws) / (len(target.labels) * max(counts[label], 1)) for label in target.labels)
    named = {str(label): weight for label, weight in given.items()}  # YAML reads the label 1 as a number
    for label, weight in named.items():
        if label not in target.labels:
            advice = did_you_mean(label, target.labels, f"labels are {', '.join(target.labels[:9])}")
            raise UsageError(f"options.class_weights: {label!r} is no label", help=advice)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
            raise UsageError(f"options.class_weights: {weight!r} is no weight of {label!r}")
    return tuple(float(named.get(label, 1.0)) for label in target.labels)


def _sigmoid(logits: Any) -> Any:
    return np.exp(-np.logaddexp(0.0, -logits))  # without overflow, and exact where it is near 0


def _shown(raw: Raw) -> str:
    return repr(raw if isinstance(raw, str) else list(raw))[:60]


def rows_of(pairs: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Raw | None, Place]]:
    """Yield (label, place) of the examples in (example, answer) pairs."""
    return ((example.label, example.place) for example, _ in pairs)
