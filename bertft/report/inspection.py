"""What `inspect tokens` and `inspect errors` find, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bertft.data.jsonl import encode
from bertft.errors import cut, inline
from bertft.report.table import aligned

_IGNORED = -100
_SHOWN = 70  # characters of a text
_PIECE = 24  # and of a sub-token's


def token_tables(found: Mapping[str, Any]) -> str:
    """Return each window of a row as a table, a token a line."""
    size, windows = found["window"], found["windows"]
    lines = [
        f"{inline(found['place'])}: task {found['task']}, model {inline(found['model'])}, "
        f"windows of {size['length']} tokens, {size['stride']} shared",
    ]
    if found["labels"]:
        lines.append("labels: " + "  ".join(f"{i} {inline(label)}" for i, label in enumerate(found["labels"])))
    if found["unread"]:
        lines.append(f"{found['unread']:,} sub-tokens are cut off and not read")
    if found["vanished"]:
        lines.append(f"{found['vanished']:,} words vanish in the normaliser and are unknown tokens")
    blocks = ["\n".join(lines)]
    for number, window in enumerate(windows, 1):
        head = f"window {number} of {len(windows)}: {len(window['tokens'])} tokens, attention 1 for each"
        blocks.append(f"{head}{_target(window)}\n{_tokens(found, window)}")
    return "\n\n".join(blocks)


def _target(window: Mapping[str, Any]) -> str:
    match window.get("target"):
        case {"id": number, "label": label}:
            return f"; target {number} {inline(label)}"
        case {"value": value}:
            return f"; target {value:.4f} (a standard score)"
        case {"start": start, "end": end}:
            return f"; target start {start}, end {end}{' (no answer in this window)' if start == end == 0 else ''}"
        case {"labels": labels}:
            return f"; target {', '.join(inline(label) for label, one in labels.items() if one) or 'none'}"
    return ""


def _tokens(found: Mapping[str, Any], window: Mapping[str, Any]) -> str:
    first = window["tokens"][0]
    two = len(found["texts"]) > 1
    head = ["", "token", "characters", "id", *(["text"] if two else []), "word", "offsets"]
    head += [name for name in ("segment", "position") if first[name] is not None]
    labelled, owned = "label_id" in first, "owned" in first
    by_word = any("window" in word for text in found["texts"] for word in text["words"])
    head += [*(["label"] if labelled else []), *(["owner"] if by_word else ["answers"] if owned else [])]
    rows = [tuple(head)]
    for at, token in enumerate(window["tokens"]):
        offsets = "" if token["offsets"] is None else f"{token['offsets'][0]}-{token['offsets'][1]}"
        row = [str(at), _cut(token["token"]), _cut(token["characters"] or ""), str(token["id"])]
        row += [_blank(token["text"])] if two else []
        row += [_blank(token["word"]), offsets]
        row += [str(token[name]) for name in ("segment", "position") if token[name] is not None]
        if labelled:
            label = token["label_id"]
            row.append(str(_IGNORED) if label == _IGNORED else f"{label} {inline(token['label'])}")
        if by_word:
            words = found["texts"][0]["words"]
            row.append("" if token["word"] is None else f"window {words[token['word']]['window'] + 1}")
        elif owned:
            row.append("yes" if token["owned"] else "")
        rows.append(tuple(row))
    return "\n".join(line.rstrip() for line in aligned(rows, left=3).split("\n"))


def _blank(value: object) -> str:
    return "" if value is None else str(value)


def _cut(text: str, length: int = _PIECE) -> str:
    return cut(inline(text), length)


def error_lists(found: Mapping[str, Any]) -> str:
    """Return the most confident mistakes and the likely label errors, each with place and text."""
    mistakes = found["mistakes"]
    blocks = [
        "\n".join(
            (
                f"{counted(mistakes['count'], 'mistake')} in {counted(found['rows'], 'row')}, the surest first",
                *(_mistake(one) for one in mistakes["shown"]),
                *_more(mistakes),
            )
        )
    ]
    if "label_errors" in found:
        doubted = found["label_errors"]
        head = f"{counted(doubted['count'], 'label')} likely wrong (confident learning), the likeliest first"
        if found["trained_on"]:
            head += "; the model was trained on these rows: there may be many more"
        blocks.append("\n".join((head, *(_doubt(one) for one in doubted["shown"]), *_more(doubted))))
    return "\n\n".join(blocks)


def counted(count: int, what: str) -> str:
    """Return `1 row`, `2 rows`."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def _mistake(one: Mapping[str, Any]) -> str:
    kind = f"  {one['kind'].replace('_', ' ')}" if "kind" in one else ""
    return _entry(one, f"{one['score']:.4f}{kind}  gold {_value(one['gold'])}  predicted {_value(one['predicted'])}")


def _doubt(one: Mapping[str, Any]) -> str:
    return _entry(one, f"{one['margin']:.4f}  given {_value(one['given'])}  likely {_value(one['likely'])}")


def _entry(one: Mapping[str, Any], told: str) -> str:
    word = f"  {_cut(one['word'])}" if "word" in one else ""
    return f"  {inline(one['place'])}{word}  {_cut(' | '.join(one['input']), _SHOWN)}\n    {told}"


def _value(value: Any) -> str:
    match value:
        case None:
            return "none"
        case str():
            return inline(value)
        case float():
            return f"{value:.4g}"
        case {"label": label, "text": text}:
            return f"{inline(label)} {inline(repr(text))}"
    return inline(encode(value))


def _more(part: Mapping[str, Any]) -> Sequence[str]:
    rest = part["count"] - len(part["shown"])
    return [f"  … and {rest:,} more; `--show N` lists more"] if rest else []
