"""The examples of each task as the checks want them: records of texts and labels, tagged sentences, questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from bertft.check.answers import check_answers, check_shares
from bertft.check.findings import Finding, Part, Record, bounded, finding
from bertft.check.labels import check_columns, check_labels
from bertft.check.leaks import Keys, check_contexts, check_known, check_leaks, text_keys
from bertft.check.schemes import Tagged, check_entities, check_styles, check_tags
from bertft.check.texts import check_texts
from bertft.data.content import as_number
from bertft.data.row import Place
from bertft.tasks.base import Task

Ids = Mapping[Place, str]
Splits = Sequence[tuple[str, str, Sequence[Any]]]
"""(train, dev or test; path; examples), train first."""


def check_examples(task: Task[Any, Any, Any], splits: Splits, *, ids: Ids) -> list[Finding]:
    """Return what is wrong with the examples of a task that has been prepared."""
    found: list[Finding] = []
    if task.name == "qa":
        return _questions(task, splits)
    parts = [Part(name, path, [*_records(task, examples, ids)]) for name, path, examples in splits]
    is_tagging = task.name == "ner"
    if not is_tagging and not task.scale:
        for part in parts:
            found += check_columns(part)
    swapped = {one.path for one in found}
    if not swapped:
        found += check_labels(parts, whole=not is_tagging)
    found += check_leaks(parts)
    for part in parts:
        found += check_texts(part)
    if is_tagging:
        tagged = [(path, [*_tagged(examples)]) for _, path, examples in splits]
        for _, sentences in tagged:
            found += check_tags(sentences, refused=task.options.on_bad_tags == "fail")
            if sentences and sentences[0].style.scheme not in ("plain",):
                found += check_entities(sentences)
        found += check_styles([(path, sentences[0].style) for path, sentences in tagged if sentences])
    return bounded(found)


def check_train(task: Task[Any, Any, Any], path: str, examples: Sequence[Any]) -> list[Finding]:
    """Return what can be found quickly in the rows of train, and is not said by training anyway."""
    part = Part("train", path, [*_records(task, examples, {})])
    found = check_texts(part)
    if task.name != "qa":
        found += [*check_labels([part], whole=task.name != "ner"), *check_leaks([part], near=False)]
    return found


def keys(task: Task[Any, Any, Any], examples: Sequence[Any]) -> Keys:
    """Return what the texts of train (the contexts of questions) are known by, for `check_between`."""
    return text_keys([x.context if task.name == "qa" else text_of(x) for x in examples])


def check_between(task: Task[Any, Any, Any], splits: Splits, known: Keys) -> list[Finding]:
    """Return the rows of dev and test, one finding a file, whose texts are among the `keys` of train."""
    found = []
    for name, path, examples in splits:
        is_qa = task.name == "qa"
        part = _contexts(name, path, examples) if is_qa else Part(name, path, [*_records(task, examples, {})])
        found += check_known(part, known, code="leak-context" if is_qa else "leak-exact")
    return found


def check_values(task: Task[Any, Any, Any], examples: Sequence[Any]) -> tuple[list[Any], list[Finding]]:
    """Return the examples whose label is what the task takes, and a finding for each other one.

    A value must be a number where the recipe says so, and where nearly all others are different numbers.
    """
    kind = getattr(task.options, "problem_type", None)
    if kind not in ("auto", "regression"):
        return list(examples), []
    numbers = [isinstance(x.label, str) and as_number(x.label) is not None for x in examples]
    distinct = {x.label for x, number in zip(examples, numbers, strict=True) if number}
    if kind == "auto" and (sum(numbers) < _NUMBERS * len(numbers) or len(distinct) < _VALUES):
        return list(examples), []
    found = [
        finding("label-number", "error", f"the label {x.label!r:.60} is no number", at=x.place)
        for x, number in zip(examples, numbers, strict=True)
        if not number
    ]
    return [x for x, number in zip(examples, numbers, strict=True) if number], bounded(found)


_NUMBERS = 0.8  # of the rows
_VALUES = 20


def text_of(example: Any) -> str:
    """Return all that a model reads of an example."""
    for names in (("text",), ("first", "second"), ("question", "context")):
        if hasattr(example, names[0]):
            return " ".join(getattr(example, name) for name in names)
    raise TypeError(type(example).__name__)


def without_gold(example: Any) -> dict[str, None]:
    """Return the fields of an example that hold its gold, each with None."""
    return {name: None for name in ("label", "tags", "answers") if hasattr(example, name)}


def _records(task: Any, examples: Sequence[Any], ids: Ids) -> Iterator[Record]:
    tags = task.name == "ner"
    for x in examples:
        labels = tuple(task.labels_of(x))
        gold = x.tags if tags else labels
        if task.scale is not None:
            gold = (task.target.gold(x.label, x.place) - task.scale.mean) / task.scale.deviation
        yield Record(x.place, text_of(x), gold, labels, ids.get(x.place))


def _tagged(examples: Sequence[Any]) -> Iterator[Tagged]:
    """Yield the sentences of examples that were tagged by word, as the file has them."""
    for x in examples:
        if x.written is None or x.style is None:
            continue
        for start, end in pairwise(accumulate(x.lengths, initial=0)):
            yield Tagged(x.words[start:end], x.written[start:end], x.style, x.numbers[start:end], x.place)


def _questions(task: Any, splits: Splits) -> list[Finding]:
    found: list[Finding] = []
    parts = []
    for name, path, questions in splits:
        found += check_answers(questions, longest=task.options.max_answer_length)
        parts.append(_contexts(name, path, questions))
        asked = Part(name, path, [Record(x.place, x.question, None, (), x.id) for x in questions])
        for part in (parts[-1], asked):
            found += check_texts(part)
    found += check_shares(splits)
    found += check_contexts(parts)
    return bounded(found)


def _contexts(name: str, path: str, questions: Sequence[Any]) -> Part:
    """Return the contexts of questions as records, each once."""
    first = {x.context: Record(x.place, x.context, None, (), x.id) for x in reversed(questions)}
    return Part(name, path, [*reversed(first.values())])
