"""What `inspect why` explains: a sum of logits, of the windows of an example, that stands for one answer.

Of labels it is the logit of the one that is explained less that of the likeliest other: what all logits have in common
says nothing, and the difference is what decides. So every goal is linear in the logits, and long texts are explained as
they are answered: a mean of windows by its mean, a maximum by the window that has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertft.errors import UsageError, did_you_mean
from bertft.inspection.pieces import Seen
from bertft.tasks.base import Logits, Task
from bertft.tasks.target import Target


@dataclass(frozen=True, slots=True)
class Term:
    """One logit of a window, and what it is multiplied by; `position` is None where a window has one answer."""

    window: int
    position: int | None
    output: int
    factor: float


@dataclass(frozen=True, slots=True)
class Goal:
    """What is explained, in words, and the terms that it is the sum of."""

    what: str
    terms: tuple[Term, ...]

    def value(self, logits: Sequence[Logits]) -> float:
        """Return the sum for the logits of all windows."""
        return float(sum(t.factor * float(_one(logits[t.window], t)) for t in self.terms))


def _one(logits: Logits, term: Term) -> Any:
    return logits[term.output] if term.position is None else logits[term.position, term.output]


def goal(
    task: Task[Any, Any, Any],
    example: Any,
    prediction: Any,
    found: Seen,
    logits: Sequence[Logits],
    *,
    label: str | None = None,
    word: str | None = None,
) -> Goal:
    """Return what is to be explained: the prediction, or the `label` that is asked for, of a tagger at a `word`.

    Raises UsageError for a label or a word that is none.
    """
    target = getattr(task, "target", None)
    if word is not None and not task.presplit:
        raise UsageError("--word is for taggers: this model answers for whole texts")
    if task.presplit:
        return _of_words(task, example, prediction, found, logits, label=label, word=word)
    if isinstance(target, Target):
        return _of_text(target, prediction, logits, task.options.over_windows, label=label)
    if label is not None:
        raise UsageError("--label: answers to questions have no labels")
    return _of_answer(task, example, prediction, found, logits)


# -- one answer for a text -------------------------------------------------------------------------------------------


def _of_text(
    target: Target, answer: Any, logits: Sequence[Logits], over_windows: str | None, *, label: str | None
) -> Goal:
    stacked = np.stack(logits)  # (windows, outputs)

    def terms(output: int, sign: float) -> list[Term]:
        if over_windows == "max":
            return [Term(int(stacked[:, output].argmax()), None, output, sign)]
        return [Term(i, None, output, sign / len(stacked)) for i in range(len(stacked))]

    if target.is_value:
        if label is not None:
            raise UsageError("--label: a regression has no labels")
        return Goal("the value", tuple(terms(0, 1.0)))
    chosen = target.chosen(answer)
    index = _index(label, target.labels, chosen[0] if chosen else target.labels[int(np.argmax(answer))])
    if target.is_set:
        return Goal(f"the label {target.labels[index]!r} (its logit)", tuple(terms(index, 1.0)))
    if len(target.labels) == 1:
        return Goal(f"the label {target.labels[0]!r} (its logit)", tuple(terms(0, 1.0)))
    other = _likeliest_other(np.asarray(answer), index)
    what = f"the label {target.labels[index]!r} rather than {target.labels[other]!r} (difference of logits)"
    return Goal(what, (*terms(index, 1.0), *terms(other, -1.0)))


def _index(label: str | None, labels: Sequence[str], otherwise: str) -> int:
    if label is None:
        return labels.index(otherwise)
    if label not in labels:
        raise UsageError(
            f"--label {label!r}: the model has no such label",
            help=did_you_mean(label, labels, f"its labels are {', '.join(labels[:20])}"),
        )
    return labels.index(label)


def _likeliest_other(scores: Any, index: int, kinds: Sequence[str] | None = None) -> int:
    """Return the output with the highest score but for `index`; of `kinds`, but for all of the same."""
    rest = np.array(scores, dtype=np.float64)
    rest[[i for i in range(len(rest)) if i == index or (kinds and kinds[i] == kinds[index])]] = -np.inf
    return int(rest.argmax())


def _type(tag: str) -> str:
    """Return what B-X and I-X have in common: the word is of that type, wherever the entity begins."""
    return tag[2:] if tag[:2] in ("B-", "I-") else tag


# -- an answer for each word -----------------------------------------------------------------------------------------


def _of_words(
    task: Any,
    example: Any,
    tagging: Any,
    found: Seen,
    logits: Sequence[Logits],
    *,
    label: str | None,
    word: str | None,
) -> Goal:
    if not example.words:
        raise UsageError("the text has no words")
    start, end, entity = _words_of(example, tagging, word)
    at = {
        found.tokens[i][position].word: (i, position)
        for i, window in enumerate(found.windows)
        for position in window.owned
    }
    terms: list[Term] = []
    told = []
    for number in range(start, end):
        window, position = at[number]
        index = task.labels.index(tagging.tags[number])
        if label is not None:
            kinds = (label, f"B-{label}") if number == start else (f"I-{label}", label)
            index = _index(next((one for one in kinds if one in task.labels), label), task.labels, "")
        other = _likeliest_other(logits[window][position], index, [_type(one) for one in task.labels])
        share = 1.0 / (end - start)
        terms += [Term(window, position, index, share), Term(window, position, other, -share)]
        told.append(f"{task.labels[index]} rather than {task.labels[other]}")
    text = example.text[example.spans[start][0] : example.spans[end - 1][1]]
    named = f"the {entity} {text!r}" if entity and label is None else f"the word {text!r}"
    return Goal(f"{named}: {', '.join(told)} (difference of logits{', mean' if end - start > 1 else ''})", tuple(terms))


def _words_of(example: Any, tagging: Any, word: str | None) -> tuple[int, int, str]:
    """Return the words that are asked for: those of the entity that a word belongs to, else the word alone."""
    if word is None:
        if tagging.entities:
            best = max(tagging.entities, key=lambda one: one.score)
            return best.start, best.end, best.label
        first = next((i for i, tag in enumerate(tagging.tags) if tag != "O"), 0)
        return first, first + 1, ""
    words = [example.text[start:end] for start, end in example.spans]
    same = [i for i, one in enumerate(words) if one == word] or [
        i for i, one in enumerate(words) if one.casefold() == word.casefold()
    ]
    if same:
        number = same[0]
    elif word.isdecimal() and int(word[:9]) < len(words):
        number = int(word[:9])
    else:
        near = did_you_mean(word, words, f"words count from 0 to {len(words) - 1}, or are named as they are written")
        raise UsageError(f"--word {word!r}: there is no such word in the text", help=near)
    for entity in tagging.entities:
        if entity.start <= number < entity.end:
            return entity.start, entity.end, entity.label
    return number, number + 1, ""


# -- an answer in a text ---------------------------------------------------------------------------------------------


def _of_answer(task: Any, example: Any, reply: Any, found: Seen, logits: Sequence[Logits]) -> Goal:
    shown = task.render(example, reply, scores=False)
    nulls = [float(one[0, 0]) + float(one[0, 1]) for one in logits]
    if shown["answer"] is None:
        window = int(np.argmin(nulls))
        return Goal("that there is no answer (start and end logit)", (Term(window, 0, 0, 1.0), Term(window, 0, 1, 1.0)))
    best: tuple[float, int, int, int] | None = None
    for i, one in enumerate(found.windows):
        spans = list(one.spans)
        starts, ends = spans[0::2], spans[1::2]
        if shown["start"] in starts and shown["end"] in ends:
            first = one.owned[starts.index(shown["start"])]
            last = one.owned[len(ends) - 1 - ends[::-1].index(shown["end"])]
            score = float(logits[i][first, 0]) + float(logits[i][last, 1])
            if best is None or score > best[0]:
                best = score, i, first, last
    if best is None:
        raise UsageError("the answer stands in no window")
    _, i, first, last = best
    return Goal(
        f"the answer {shown['answer']!r} (start and end logit)", (Term(i, first, 0, 1.0), Term(i, last, 1, 1.0))
    )
