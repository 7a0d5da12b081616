"""What annotation tools export, one record at a time: its own fields, and beside them those that tasks read.

    Label Studio  {"data": {"text": "…"}, "annotations": [{"result": [{"type": "labels", "value": {"start": 0, …}}]}]}
    doccano       {"text": "…", "label": [[0, 5, "LOC"]]}   {"text": "…", "annotations": [{"label": 3, "user": 1}]}
    Prodigy       {"text": "…", "spans": [{"start": 0, "end": 5, "label": "LOC"}], "answer": "accept"}
    spaCy         {"paragraphs": [{"raw": "…", "sentences": [{"tokens": [{"orth": "…", "ner": "O"}]}], "cats": […]}]}

The tasks' fields are `text`, `entities`, `label`, `tokens` and `tags`. Label Studio's formats are in labelstudio.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bertft.data import labelstudio

_SPANS = ("entities", "spans", "label", "labels")
"""Fields in which tools keep spans of characters."""

_MARKS = frozenset({*_SPANS, "annotations", "completions", "answer", "cats", "paragraphs", "annotation_id"})
_VERDICTS = {"accept": "", "reject": "rejected in Prodigy", "ignore": "ignored in Prodigy"}


def normalise(values: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return a record with the fields that tasks read beside its own, and why it is not to be learnt from, else "".

    A record of no annotation tool comes back as it is. A field of its own is replaced only where it is the same thing,
    such as Prodigy's `label`, which `answer` turns into `not LABEL`. A record whose annotations are none of text (boxes
    in an image, a translation) gets no fields, and says so as the reason.
    """
    if _MARKS.isdisjoint(values):
        return values, ""
    if labelstudio.is_task(values):
        return labelstudio.task(values)
    if labelstudio.is_minimal(values):
        return labelstudio.minimal(values)
    if isinstance(values.get("paragraphs"), list) and (documents := list(paragraphs(values))):
        return _joined(values, [document for document, _ in documents])
    if not isinstance(values.get("text"), str):
        return values, ""
    if isinstance(values.get("annotations"), list):
        return _old_doccano(values, values["annotations"])
    if _is_prodigy(values):
        return _prodigy(values)
    return _plain(values), ""


def is_annotated(values: Mapping[str, Any]) -> str:
    """Return which tool's export a record looks like, "" where it looks like none."""
    if labelstudio.is_task(values) or labelstudio.is_minimal(values):
        return "Label Studio"
    if isinstance(values.get("paragraphs"), list) and next(paragraphs(values), None):
        return "spaCy"
    if isinstance(values.get("text"), str):
        if isinstance(values.get("annotations"), list):
            return "doccano"
        if _is_prodigy(values):
            return "Prodigy"
    return ""


# -- spans and categories, as several tools write them --------------------------------------------------------------


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Add `entities` and `label` to a text with spans or categories."""
    found: dict[str, Any] = {}
    for name in _SPANS:
        spans = values.get(name)
        if isinstance(spans, dict) and name == "spans" and len(spans) == 1:  # spaCy's span groups
            spans = next(iter(spans.values()))
        if isinstance(spans, list) and all(map(_is_span, spans)):  # [] too: doccano's texts without entities
            found["entities"] = list(map(_entity, spans))
            break
    cats = values.get("cats")
    if isinstance(cats, dict) and all(isinstance(score, int | float) for score in cats.values()):
        found["label"] = [name for name, score in cats.items() if score >= 0.5]
    elif isinstance(cats, list) and all(isinstance(name, str) for name in cats):
        found["label"] = cats
    if "label" in found and "label" in values and not _are_spans(values["label"]):
        del found["label"]  # the record's own label
    return {**values, **found} if found else values


def _are_spans(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_span, value))


def _is_span(item: object) -> bool:
    match item:
        case {"start": int(), "end": int()} | {"start_offset": int(), "end_offset": int()}:
            return True
        case [int(), int(), str()]:
            return True
    return False


def _entity(item: Any) -> Any:
    """Return a span with the names and types that tasks expect; whatever else it is stays, for an error to name it."""
    match item:
        case {"start_offset": start, "end_offset": end, "label": label}:
            return {"start": start, "end": end, "label": _name(label)}
    return item


def _name(label: Any) -> Any:
    return str(label) if isinstance(label, int) else label


# -- doccano before version 1.3 -------------------------------------------------------------------------------------


def _old_doccano(values: dict[str, Any], annotations: list[Any]) -> tuple[dict[str, Any], str]:
    """Take the annotations of the first user; labels are the numbers of the project, which another file names."""
    ours = [one for one in annotations if isinstance(one, dict)]
    ours = [one for one in ours if one.get("user") == ours[0].get("user")]
    if any("start_offset" in one for one in ours) or not annotations:
        return {**values, "entities": list(map(_entity, ours))}, ""
    labels = [_name(one["label"]) for one in ours if "label" in one]
    if not labels:
        return values, "annotated with texts in doccano (sequence to sequence)"
    return {**values, "label": labels[0] if len(labels) == 1 else labels}, ""


# -- Prodigy --------------------------------------------------------------------------------------------------------


def _is_prodigy(values: Mapping[str, Any]) -> bool:
    if not isinstance(answer := values.get("answer"), str) or answer not in _VERDICTS:
        return False
    return not {"_task_hash", "_input_hash", "spans", "label", "options", "accept"}.isdisjoint(values)


def _prodigy(values: dict[str, Any]) -> tuple[dict[str, Any], str]:
    verdict, label, spans = values["answer"], values.get("label"), values.get("spans")
    if isinstance(label, str) and not spans:  # a yes or no to one category
        return {**values, "label": f"not {label}" if verdict == "reject" else label}, (
            _VERDICTS[verdict] if verdict == "ignore" else ""
        )
    if isinstance(chosen := values.get("accept"), list) and "options" in values:
        config = values.get("config")
        several = isinstance(config, dict) and config.get("choice_style") == "multiple"
        single = len(chosen) == 1 and not several
        return {**values, "label": chosen[0] if single else chosen}, _VERDICTS[verdict]
    kept = [
        span
        for span in (spans if isinstance(spans, list) else [])
        if not (isinstance(span, dict) and span.get("answer") in ("reject", "ignore"))
    ]
    return {**values, "entities": kept}, _VERDICTS[verdict]


# -- spaCy 2's JSON -------------------------------------------------------------------------------------------------


def paragraphs(values: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], tuple[int, ...]]]:
    """Yield each paragraph of a document in spaCy 2's JSON, with the lengths of its sentences.

    A paragraph is what spaCy makes one `Doc` of. It has `text`; `tokens` with `tags` (BILUO) and `pos` where every
    token has them; `label` where it has categories.
    """
    for paragraph in values.get("paragraphs", ()):
        if not isinstance(paragraph, dict) or not ("raw" in paragraph or "sentences" in paragraph):
            continue
        sentences = paragraph.get("sentences")
        lists = [s.get("tokens") for s in sentences if isinstance(s, dict)] if isinstance(sentences, list) else []
        tokens = [
            [t for t in tokens if isinstance(t, dict) and t.get("orth")]
            for tokens in lists
            if isinstance(tokens, list) and tokens
        ]
        flat = [token for sentence in tokens for token in sentence]
        found: dict[str, Any] = {"id": values["id"]} if "id" in values and len(values["paragraphs"]) == 1 else {}
        words = [str(token["orth"]) for token in flat]
        found["text"] = paragraph["raw"] if isinstance(paragraph.get("raw"), str) else " ".join(words)
        if words:
            found["tokens"] = words
        for name, key in (("tags", "ner"), ("pos", "tag")):
            column = [token.get(key) for token in flat]
            if column and all(isinstance(tag, str) and tag not in ("", "-") for tag in column):  # `-`: not annotated
                found[name] = column
        if isinstance(cats := paragraph.get("cats"), list) and cats:
            scores = dict(score for c in cats if (score := _score(c)) is not None)
            found["label"] = [name for name, score in scores.items() if score >= 0.5]
        yield found, tuple(len(sentence) for sentence in tokens if sentence)


def _score(category: object) -> tuple[str, float] | None:
    match category:
        case {"label": str(label), "value": int() | float() as value}:
            return label, value
    return None


def _joined(values: dict[str, Any], documents: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """Return the paragraphs of a document as one record; categories of several paragraphs cannot be one."""
    if len(documents) == 1:
        return {**values, **documents[0]}, ""
    found: dict[str, Any] = {"text": "\n".join(document["text"] for document in documents)}
    for name in ("tokens", "tags", "pos"):
        if all(name in document for document in documents):
            found[name] = [item for document in documents for item in document[name]]
    return {**values, **found}, ""
