"""`inspect errors`: a model's most confident mistakes on labelled rows, and rows whose label is likely the mistake.

Of texts with one label each row is judged, of sets each label of it, of taggers each word. Values and answers to
questions have mistakes, but no classes among which a likelier one could stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bertft.bundle.store import open_bundle
from bertft.console import say, warn
from bertft.data import formats
from bertft.data.row import Place
from bertft.errors import UsageError
from bertft.inference.engine import LOOK_AHEAD
from bertft.inference.evaluate import read_labelled, report_counts
from bertft.inference.load import BackendName, Precision, engine
from bertft.scoring.answers import text_scores
from bertft.scoring.confident import doubts
from bertft.scoring.spans import aligned
from bertft.tasks.base import Counts, Task
from bertft.tasks.target import Target
from bertft.text.bio import marginals
from bertft.text.schemes import TagStyle, read_spans

Found = dict[str, Any]

SHOWN = 20


def errors(
    model: str,
    data: str,
    *,
    show: int = SHOWN,
    format: str = "auto",
    encoding: str | None = None,
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    device: str = "auto",
    batch_tokens: int | None = None,
    backend: BackendName = "auto",
    precision: Precision = "auto",
    allow_pickle: bool = False,
) -> Found:
    """Return the mistakes of a model on a labelled file, surest first, and its likely label errors, `show` of each.

    Raises ModelError, DataError or UsageError for a model, a file or an argument that cannot be used.
    """
    kind = formats.parse_format(format)
    bundle = open_bundle(model, allow_pickle=allow_pickle)
    if bundle.assumed:
        say(bundle.assumed)
    if bundle.task.head().vocabulary:
        raise UsageError("a masked language model makes no mistakes by row", help="`bertft eval` says how well it does")
    labelled = read_labelled(
        bundle.task,
        data,
        use="test",
        format=kind,
        encoding=encoding,
        columns=columns,
        preferred=bundle.manifest.get("columns"),
        limit=limit,
    )
    learnt = bundle.manifest.get("data", {}).get("train", {}).get("sha256")
    seen = learnt is not None and learnt == labelled.info["sha256"]
    if seen:
        warn(
            f"{data}: the model was trained on these rows: it has learnt their labels, the wrong ones too, and finds "
            "fewer errors than there are; take rows that it has not seen"
        )
    ready = engine(
        bundle, device=device, batch_tokens=batch_tokens, backend=backend, precision=precision, measuring=True
    )
    predictions: list[Any] = []
    classes: list[Any] = []
    counts = Counts()
    task = ready.task
    parameters = ready.backend.parameters()
    for start in range(0, len(labelled.examples), LOOK_AHEAD):
        some = labelled.examples[start : start + LOOK_AHEAD]
        made, summaries, more = ready.evidence(some)
        predictions += made
        counts += more
        if task.presplit:
            classes += [_by_word(parameters, example, parts) for example, parts in zip(some, summaries, strict=True)]
    report_counts(counts)
    pairs = list(zip(labelled.examples, predictions, strict=True))
    mistakes = sorted(_mistakes(task, pairs), key=lambda one: -one["score"])
    wrong = _label_errors(task, pairs, classes)
    found: Found = {
        "rows": len(pairs),
        "trained_on": seen,
        "mistakes": {"count": len(mistakes), "shown": mistakes[:show]},
    }
    if wrong is not None:
        found["label_errors"] = {"count": len(wrong), "shown": wrong[:show]}
    return found


def _by_word(parameters: Any, example: Any, parts: Sequence[Any]) -> Any:
    """Return the probability of each tag for each word, (words, labels)."""
    scores = np.concatenate(parts).astype(np.float64)  # log-probabilities, or what goes into a CRF
    if parameters:
        start = 0
        for length in example.lengths:
            scores[start : start + length] = marginals(
                scores[start : start + length].astype(np.float32), parameters["transitions"], parameters["initial"]
            )
            start += length
    return np.exp(scores)


# -- mistakes --------------------------------------------------------------------------------------------------------


def _mistakes(task: Task[Any, Any, Any], pairs: Sequence[tuple[Any, Any]]) -> Iterator[Found]:
    outcomes = task.outcomes(pairs)
    rows = zip(pairs, outcomes.inputs, outcomes.gold, outcomes.predicted, strict=True)
    for (example, prediction), inputs, gold, predicted in rows:
        match outcomes.kind:
            case "entities":
                yield from _entities(example, prediction)
            case "tags":
                yield from _tags(example, prediction)
            case "answer":
                if text_scores([gold], [predicted or ""], version=2)[0][0] < 1:
                    sure = task.render(example, prediction, scores=False)
                    score = sure.get("score", sure.get("no_answer_score", 0.0))
                    yield _mistake(example, inputs, list(gold) or None, predicted, score)
            case "value":
                if gold != predicted:
                    yield _mistake(example, inputs, gold, predicted, abs(gold - predicted))
            case "labels":
                if {*gold} != {*predicted}:
                    target: Target = getattr(task, "target")  # noqa: B009  (tasks with labels have one)
                    yield _mistake(example, inputs, list(gold), list(predicted), _surest(target, gold, prediction))
            case _:
                if gold != predicted:
                    yield _mistake(example, inputs, gold, predicted, float(np.max(prediction)))


def _surest(target: Target, gold: Sequence[str], answer: Any) -> float:
    """Return how sure the model is of the wrong label that it is surest of, or of leaving out a right one."""
    chosen = target.chosen(answer)
    by_name = zip(target.labels, map(float, answer), strict=True)
    return max(
        (p if label in chosen else 1 - p for label, p in by_name if (label in chosen) != (label in gold)), default=1.0
    )


def _entities(example: Any, tagging: Any) -> Iterator[Found]:
    """Yield the entities of a text that are wrong, with the score of what was said in their place."""
    style = TagStyle("BIO")
    score_of = {one[:3]: one.score for one in tagging.entities}
    offset = 0
    for gold, said in zip(example.sentences(example.tags), example.sentences(tagging.tags), strict=True):
        for kind, wanted, guess in aligned(read_spans(gold, style), read_spans(said, style)):
            if kind == "right":
                continue
            one = wanted or guess
            if one is None:
                continue
            if guess is not None:
                score = score_of[guess.start + offset, guess.end + offset, guess.label]
            else:
                own = tagging.scores[one.start + offset : one.end + offset]
                score = float(np.exp(np.asarray(own, dtype=np.float64)).mean())
            gold_entity, guessed = (_entity(example, entity, offset) for entity in (wanted, guess))
            yield {**_mistake(example, (), gold_entity, guessed, score, word=one.start + offset), "kind": kind}
        offset += len(gold)


def _entity(example: Any, one: Any, offset: int) -> Found | None:
    if one is None:
        return None
    start, end = example.spans[one.start + offset][0], example.spans[one.end + offset - 1][1]
    return {"label": one.label, "text": example.text[start:end]}


def _tags(example: Any, tagging: Any) -> Iterator[Found]:
    for word, (gold, said) in enumerate(zip(example.tags, tagging.tags, strict=True)):
        if gold != said:
            yield {**_mistake(example, (), gold, said, float(np.exp(tagging.scores[word])), word=word)}


def _mistake(
    example: Any, inputs: Sequence[str], gold: Any, predicted: Any, score: float, *, word: int | None = None
) -> Found:
    place: Place = example.place if word is None else example.place_of(word)
    named = {"id": example.id} if hasattr(example, "id") else {}
    text = [example.text] if word is not None else list(inputs)
    marked = {} if word is None else {"word": example.text[slice(*example.spans[word])]}
    return {
        "place": str(place),
        **named,
        "input": text,
        **marked,
        "gold": gold,
        "predicted": predicted,
        "score": round(float(score), 4),
    }


# -- label errors ----------------------------------------------------------------------------------------------------


def _label_errors(
    task: Task[Any, Any, Any], pairs: Sequence[tuple[Any, Any]], classes: Sequence[Any]
) -> list[Found] | None:
    """Return what confident learning doubts, surest first; None where there are no classes."""
    target = getattr(task, "target", None)
    if task.presplit:
        return _of_words(task, pairs, classes)
    if not isinstance(target, Target) or target.is_value:
        return None
    outcomes = task.outcomes(pairs)
    found: list[Found] = []
    if not target.is_set:
        if len(target.labels) < 2:
            return None
        rows = [i for i, gold in enumerate(outcomes.gold) if gold in target.labels]
        given = np.array([target.labels.index(outcomes.gold[i]) for i in rows], dtype=np.int64)
        probabilities = np.array([pairs[i][1] for i in rows], dtype=np.float64).reshape(len(rows), len(target.labels))
        for one in doubts(probabilities, given):
            row = rows[one.row]
            labels = target.labels[one.given], target.labels[one.likely]
            found.append(_doubt(pairs[row][0], outcomes.inputs[row], *labels, one.margin))
        return found
    answers = np.array([answer for _, answer in pairs], dtype=np.float64)  # (rows, labels)
    for index, label in enumerate(target.labels):
        has = np.array([label in gold for gold in outcomes.gold], dtype=np.int64)
        for one in doubts(np.stack((1 - answers[:, index], answers[:, index]), axis=1), has):
            pair = (f"with {label}", f"without {label}") if one.given else (f"without {label}", f"with {label}")
            found.append(_doubt(pairs[one.row][0], outcomes.inputs[one.row], *pair, one.margin))
    return sorted(found, key=lambda one: -one["margin"])


def _of_words(task: Any, pairs: Sequence[tuple[Any, Any]], classes: Sequence[Any]) -> list[Found]:
    """Return the words whose tag is doubted; of types, so that where an entity begins is no matter of its own."""
    kinds = [label if task.style.scheme == "plain" or label == "O" else label[2:] for label in task.labels]
    names = list(dict.fromkeys(kinds))
    column = np.array([names.index(kind) for kind in kinds])
    words = [(row, word) for row, (example, _) in enumerate(pairs) for word in range(len(example.words))]
    gold = [_kind(task, pairs[row][0].tags[word]) for row, word in words]
    known = [i for i, kind in enumerate(gold) if kind in names]
    every = np.concatenate(classes) if classes else np.zeros((0, len(kinds)))
    merged = np.zeros((len(every), len(names)))
    for label, name in enumerate(column):
        merged[:, name] += every[:, label]
    given = np.array([names.index(gold[i]) for i in known], dtype=np.int64)
    found = []
    for one in doubts(merged[known], given):
        row, word = words[known[one.row]]
        labels = names[one.given], names[one.likely]
        found.append(_doubt(pairs[row][0], (), *labels, one.margin, word=word))
    return found


def _kind(task: Any, tag: str) -> str:
    return tag if task.style.scheme == "plain" or tag == "O" else tag[2:]


def _doubt(
    example: Any, inputs: Sequence[str], given: str, likely: str, margin: float, *, word: int | None = None
) -> Found:
    shown = _mistake(example, inputs, given, likely, 0.0, word=word)
    kept: Found = {key: shown[key] for key in ("place", "input", "word") if key in shown}
    return {**kept, "given": given, "likely": likely, "margin": round(margin, 4)}
