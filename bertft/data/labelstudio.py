"""Label Studio's exports, one task at a time: JSON as it stands in the database, and JSON-min.

    {"id": 1, "data": {"text": "…"}, "annotations": [{"was_cancelled": false, "result": [
        {"from_name": "ner", "type": "labels", "value": {"start": 0, "end": 5, "labels": ["LOC"]}}]}]}
    {"text": "…", "id": 1, "ner": [{"start": 0, "end": 5, "labels": ["LOC"]}], "annotator": 1, "annotation_id": 7, …}

(labelstud.io/guide/export). Out go the task's own fields, those of its `data`, and `text`, `entities` and `label`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bertft.errors import inline

_SCALARS = {"choices": "choices", "rating": "rating", "number": "number", "textarea": "text", "taxonomy": "taxonomy"}
"""Type of a result, and under which key its `value` has what was chosen."""

_REFERENCE = re.compile(r"\w+://|/|<\w+>/|\w+:\w+:|\S+\.(jpe?g|png|gif|wav|mp3|mp4|flac|pdf)$")


def is_task(values: Mapping[str, Any]) -> bool:
    """Say whether a record is a task of the full export."""
    annotations = _annotations(values)
    return annotations is not None and all(isinstance(one, dict) and "result" in one for one in annotations)


def _annotations(values: Mapping[str, Any]) -> list[Any] | None:
    found = values.get("annotations", values.get("completions"))
    return found if isinstance(found, list) and isinstance(values.get("data"), dict) else None


def annotators(values: Mapping[str, Any]) -> int:
    """Return how many annotations a task has that were not skipped."""
    return sum(not one.get("was_cancelled") for one in _annotations(values) or ()) if is_task(values) else 0


def task(values: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return a task's fields, and why it is not to be learnt from.

    Of several annotations the one marked as ground truth counts, else the first that was not skipped.
    """
    data: dict[str, Any] = values["data"]
    text = _text(data)
    fields = {**data, **values, **({"text": text} if text is not None else {})}
    annotations = _annotations(values) or []
    valid = [one for one in annotations if not one.get("was_cancelled")]
    if not valid:
        return fields, "skipped in Label Studio" if annotations else "not annotated in Label Studio"
    result = max(valid, key=lambda one: bool(one.get("ground_truth")))["result"]
    results = [one for one in result if isinstance(one, dict)] if isinstance(result, list) else []
    found = _results(results)
    if results and not found:
        kinds = sorted({str(one.get("type")) for one in results})
        return fields, f"annotated in Label Studio with {', '.join(map(inline, kinds))}, which is no label of a text"
    own = {name: value for name, value in found.items() if name not in fields or name in ("label", "entities")}
    return {**fields, **own, **({} if results else {"entities": []})}, ""


def _text(data: Mapping[str, Any]) -> str | None:
    """Return the text of a task: the field of that name, else the only one with words in it."""
    if isinstance(data.get("text"), str):
        return str(data["text"])
    texts = [value for value in data.values() if isinstance(value, str) and not _REFERENCE.match(value)]
    return texts[0] if len(texts) == 1 else None


def _results(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return `entities` of the labelled spans, and of whole-text results one field per control and, if one, `label`."""
    spans = [entity for one in results for entity in _entities(one)]
    chosen: dict[str, Any] = {}
    for one in results:
        value, kind = one.get("value"), str(one.get("type"))
        if isinstance(value, dict) and kind in _SCALARS and not {"x", "start"} & value.keys():
            chosen[str(one.get("from_name"))] = _single(value.get(_SCALARS[kind]))
    labels = [
        chosen[str(one.get("from_name"))]
        for one in results
        if one.get("type") in ("choices", "rating", "number", "taxonomy") and str(one.get("from_name")) in chosen
    ]
    return {
        **chosen,
        **({"entities": spans} if spans else {}),
        **({"label": labels[0]} if len(labels) == 1 else {}),
    }


def _entities(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a span of text once for each of its labels; regions of sound and of HTML have no whole offsets."""
    match result:
        case {"type": "labels", "value": {"start": int(start), "end": int(end), "labels": list(labels)} as value}:
            said = {"text": value["text"]} if isinstance(value.get("text"), str) else {}
            return [{"start": start, "end": end, "label": label, **said} for label in labels]
    return []


def _single(value: Any) -> Any:
    """Return the only item of a list, else the list; a path in a taxonomy is one label."""
    if isinstance(value, dict) and isinstance(value.get("choices"), list):
        value = value["choices"]
    if isinstance(value, list):
        value = ["/".join(map(str, item)) if isinstance(item, list) else item for item in value]
        return value[0] if len(value) == 1 else value
    return value


def is_minimal(values: Mapping[str, Any]) -> bool:
    """Say whether a record is one of JSON-min."""
    return "annotation_id" in values and "annotator" in values


def minimal(values: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return a record of JSON-min with `entities`, and with `label` where there is one result that can be it.

    The task's data come first, then its `id`, the results, and from `annotator` on what is known of the annotation.
    """
    names = list(values)
    end = names.index("annotator")
    start = names.index("id") + 1 if "id" in names[:end] else end
    results = names[start:end]
    found: dict[str, Any] = {}
    spans = [name for name in results if _are_regions(values[name])]
    if len(spans) == 1:
        regions = values[spans[0]]
        found["entities"] = [{**region, "label": label} for region in regions for label in region["labels"]]
    choices = [name for name in results if name not in spans and isinstance(values[name], str | int | float | dict)]
    if len(choices) == 1 and isinstance(label := _single(values[choices[0]]), str | int | float | list):
        found["label"] = label
    text = _text({name: values[name] for name in names[:start]})
    return {**values, **found, **({"text": text} if text is not None else {})}, ""


def _are_regions(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) and {"start", "end"} <= one.keys() for one in value)
        and all(isinstance(one.get("labels"), list) for one in value)
    )
