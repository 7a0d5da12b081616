"""Labels: unseen, rare, misspelt, lopsided ones; and columns that were taken for labels and are none."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from bertft.check.findings import LISTED, Finding, Part, Record, Severity, bounded, finding
from bertft.data.content import as_number
from bertft.errors import did_you_mean

_FEW = 3  # rows of a label, fewer than which are rare beyond doubt; `_SOME` are few
_SOME = 10
_MOST = 0.95  # a label with so large a share leaves the others next to nothing
_TIMES = 50  # the commonest label over the rarest
_TYPO = 0.02  # the share of the other label that a misspelt one has at most
_TYPO_LENGTH = 5  # shorter labels differ in a letter and are right: `PER`, `PERT`
_NEAR = 0.85  # of `difflib`: a letter of seven
_SHIFT = 0.25  # total variation between two distributions of labels
_SHIFT_ROWS = 200
_MANY = 0.5  # labels over rows
_COMPARED = 200  # the commonest labels, which others may be misspellings of


def check_labels(parts: Sequence[Part], *, whole: bool) -> list[Finding]:
    """Return what is wrong with the labels of `parts`, train first; `whole` rows have labels, not words or spans."""
    train, *others = parts
    if not any(record.labels for record in train.records):
        return []
    counts = _count(train)
    firsts = _firsts(train)
    found = [*_odd(train, whole=whole), *_rare(train, counts, firsts), *_misspelt(counts, firsts)]
    found += _lopsided(train, counts, whole=whole)
    for part in others:
        found += _unseen(part, counts)
        found += _shifted(part, counts)
    return bounded(found)


def check_columns(part: Part) -> list[Finding]:
    """Say where labels read like texts while texts repeat like labels, or hardly any label comes twice."""
    records = [record for record in part.records if record.labels]
    if len(records) < _SOME:
        return []
    labels = [" ".join(record.labels) for record in records]
    texts = [record.text for record in records]
    long = sum(len(label.split()) for label in labels) / len(labels)
    short = sum(len(text.split()) for text in texts) / len(texts)
    first = records[0]
    if long >= 2 * short and long > 3 and len({*texts}) <= 0.2 * len(texts) and len({*labels}) > 0.5 * len(labels):
        message = f"labels have {long:.0f} words on average, the first {labels[0][:40]!r}; texts have {short:.0f} and "
        message += f"repeat {len({*texts})} values: the columns are swapped"
        return [finding("label-swapped", "error", message, at=first.place)]
    distinct = len({*labels})
    if distinct > _MANY * len(labels) and len(first.labels) == 1:
        message = f"{distinct:,} different labels in {len(labels):,} rows, the first {labels[0][:40]!r}"
        return [finding("label-many", "error", message, at=first.place)]
    return []


def _count(part: Part) -> Counter[str]:
    return Counter(label for record in part.records for label in record.labels)


def _firsts(part: Part) -> dict[str, Record]:
    """Return the first record of each label."""
    found: dict[str, Record] = {}
    for record in part.records:
        for label in record.labels:
            found.setdefault(label, record)
    return found


def _odd(part: Part, *, whole: bool) -> Iterator[Finding]:
    if not whole:
        return
    for record in part.records:
        if record.labels == ("",):
            yield finding("label-empty", "warning", "the label is empty", at=record.place, id=record.id)


def _rare(part: Part, counts: Counter[str], firsts: Mapping[str, Record]) -> Iterator[Finding]:
    for label, count in sorted(counts.items(), key=lambda item: item[1]):
        if count >= _SOME or len(counts) < 2 or len(part.records) < 2 * _SOME:
            return
        # a label that most others are as rare as is no exception: the set is small
        severity: Severity = "warning" if count < _FEW else "note"
        message = f"label {label!r} stands {count} time{'s' * (count > 1)} in the file"
        yield finding("label-rare", severity, message, at=firsts[label].place)


def _misspelt(counts: Counter[str], firsts: Mapping[str, Record]) -> Iterator[Finding]:
    ranked = [label for label, _ in counts.most_common()]
    compared = ranked[:_COMPARED]
    common = {_plain(label): label for label in reversed(ranked)}
    for label in ranked:
        same = common[_plain(label)]
        if same != label:
            yield _typo(firsts, label, same, counts)
        elif len(label) >= _TYPO_LENGTH and as_number(label) is None:
            others = [other for other in compared if counts[label] <= _TYPO * counts[other] and other != label]
            near = [
                other
                for other in difflib.get_close_matches(label, others, n=3, cutoff=_NEAR)
                if re.sub(r"\d", "", label) != re.sub(r"\d", "", other)  # `level 1` and `level 2` are two
            ]
            if near:
                yield _typo(firsts, label, near[0], counts)


def _typo(firsts: Mapping[str, Record], label: str, other: str, counts: Counter[str]) -> Finding:
    message = f"label {label!r} ({counts[label]:,}) looks like {other!r} ({counts[other]:,})"
    return finding("label-typo", "warning", message, at=firsts[label].place, fix=f"did you mean {other!r}?")


def _plain(label: str) -> str:
    return re.sub(r"[\s_-]+", "", label).casefold()


def _lopsided(part: Part, counts: Counter[str], *, whole: bool) -> Iterator[Finding]:
    rows = sum(bool(record.labels) for record in part.records)
    (most, high), (least, low) = counts.most_common(1)[0], counts.most_common()[-1]
    if len(counts) == 1:
        if whole:
            message = f"all {rows:,} rows have the label {most!r}"
            yield finding("label-single", "error", message, at=part.records[0].place)
    elif whole and high >= _MOST * rows and rows >= 2 * _SOME:
        message = f"label {most!r} has {high / rows:.1%} of the {rows:,} rows"
        yield finding("label-imbalance", "warning", message, at=part.path)
    elif high >= _TIMES * low:
        message = f"label {most!r} is {high / low:.0f} times as frequent as {least!r} ({high:,} and {low:,})"
        yield finding("label-imbalance", "note", message, at=part.path)


def _unseen(part: Part, known: Counter[str]) -> Iterator[Finding]:
    counts = _count(part)
    total = sum(counts.values())
    unseen = {label: n for label, n in counts.items() if label not in known}
    firsts = _firsts(part)
    severe = sum(unseen.values()) > 0.5 * total
    for number, (label, count) in enumerate(sorted(unseen.items(), key=lambda item: -item[1])):
        message = f"label {label!r} ({count:,} times in {part.name}) does not occur in train"
        near = did_you_mean(label, known) if number < LISTED else None  # the others are counted only
        at = firsts[label]
        severity: Severity = "error" if severe else "warning"
        yield finding("label-unseen", severity, message, at=at.place, id=at.id, fix=near)


def _shifted(part: Part, known: Counter[str]) -> Iterator[Finding]:
    counts = _count(part)
    here, there = sum(counts.values()), sum(known.values())
    if min(here, there) < _SHIFT_ROWS or len(known) < 2:
        return
    shifts = {label: counts[label] / here - known[label] / there for label in {*counts, *known}}
    total = sum(map(abs, shifts.values())) / 2
    if total >= _SHIFT:
        label = max(shifts, key=lambda name: abs(shifts[name]))
        message = f"labels of {part.name} are distributed otherwise than in train: {label!r} has "
        message += f"{counts[label] / here:.0%} there and {known[label] / there:.0%} in train"
        yield finding("label-shift", "note", message, at=part.path)
