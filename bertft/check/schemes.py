"""Tags and spans: sequences that a scheme does not allow, names that are tagged in two ways, spans that cut words."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bertft.check.findings import Finding, Severity, by_share, finding
from bertft.data.row import Place
from bertft.text.schemes import TagStyle, inconsistent, invalid_positions, read_spans

_OFTEN = 5  # times that a name is tagged in one way before another way is odd
_NEARLY = 0.9  # of a name's occurrences
_NAME = 3  # letters of a single word that can be looked for elsewhere
_LISTED = 10  # names that are not tagged alike: each is a matter to look at
_LONG = 20  # words of an entity
_FORMS = 20_000  # the most frequent names are looked for where they are not tagged
_WIDEST = 5  # words of those


class Tagged(NamedTuple):
    """A sentence: its words, its tags as the file has them, how they are written, and the line of each word."""

    words: Sequence[str]
    written: Sequence[str]
    style: TagStyle
    lines: Sequence[int]
    place: Place

    def at(self, word: int) -> Place:
        """Return the place of a word, or that of the record."""
        return Place(self.place.path, self.lines[word]) if self.lines else self.place


class Spans(NamedTuple):
    """A text with character spans as the file has them, and its words."""

    text: str
    spans: Sequence[tuple[int, int, str]]
    words: Sequence[tuple[int, int]]
    place: Place


def check_tags(sentences: Sequence[Tagged], *, refused: bool) -> list[Finding]:
    """Return the tags of a file that may not stand where they do; `refused` where training would stop at them."""
    found: list[Finding] = []
    if not sentences:
        return found
    style = sentences[0].style
    for index in inconsistent([one.written for one in sentences], style):
        one = sentences[index]
        for word in invalid_positions(one.written, style)[:1]:
            before = f" behind {one.written[word - 1]!r}" if word else " at the start of a sentence"
            message = f"tag {one.written[word]!r} of {one.words[word]!r} is not allowed{before} in {style.scheme}"
            found.append(finding("scheme-invalid", "error" if refused else "warning", message, at=one.at(word)))
    return found


def check_styles(styles: Sequence[tuple[str, TagStyle]]) -> list[Finding]:
    """Return a finding where files, each as (path, style), are tagged in different schemes."""
    (_, first), *others = styles
    return [
        finding("scheme-mixed", "note", f"tagged in {style.scheme}, train in {first.scheme}", at=path)
        for path, style in others
        if style.scheme != first.scheme
    ]


def check_entities(sentences: Sequence[Tagged]) -> list[Finding]:
    """Return entities that are tagged otherwise than the same name mostly is, or not at all, and very long ones.

    Names keep their case, as `Apple` and `apple` are not one.
    """
    types: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    where: dict[tuple[tuple[str, ...], str], list[Place]] = defaultdict(list)
    found: list[Finding] = []
    spans_of = []
    for one in sentences:
        spans = read_spans(one.written, one.style)
        spans_of.append(spans)
        for start, end, label in spans:
            form = tuple(one.words[start:end])
            types[form][label] += 1
            where[form, label].append(one.at(start))
            if end - start > _LONG:
                shown = " ".join(form[:6])
                message = f"the {label} {shown!r}… has {end - start} words"
                found.append(finding("scheme-long", "note", message, at=one.at(start)))
    total = sum(map(len, spans_of))
    found += _types(types, where, total)
    return [*found, *_untagged(sentences, spans_of, types)]


def _types(
    types: dict[tuple[str, ...], Counter[str]], where: dict[tuple[tuple[str, ...], str], list[Place]], total: int
) -> Iterator[Finding]:
    odd = []
    for form, counts in types.items():
        (most, high), *rest = counts.most_common()
        if rest and high >= _OFTEN and high >= _NEARLY * counts.total():
            odd += [(high, form, most, label, place) for label, _ in rest for place in where[form, label]]
    severity: Severity = by_share(len(odd), total, least=0.05)
    for high, form, most, label, place in sorted(odd, key=lambda item: -item[0])[:_LISTED]:
        message = f"{' '.join(form)!r} is {label} here, and {most} {high} times elsewhere"
        more = f"; {len(odd):,} such places in all" if len(odd) > _LISTED else ""
        yield finding("scheme-type", severity, message + more, at=place, fix=f"tag it {most} unless it is meant")


def _untagged(
    sentences: Sequence[Tagged],
    spans_of: Sequence[Sequence[tuple[int, int, str]]],
    types: dict[tuple[str, ...], Counter[str]],
) -> Iterator[Finding]:
    ranked = sorted(((c.total(), form) for form, c in types.items() if c.total() >= _OFTEN), reverse=True)[:_FORMS]
    wanted = {
        form: count for count, form in ranked if len(form) <= _WIDEST and (len(form) > 1 or len(form[0]) >= _NAME)
    }
    by_first: defaultdict[str, set[int]] = defaultdict(set)
    for form in wanted:
        by_first[form[0]].add(len(form))
    missed: defaultdict[tuple[str, ...], list[Place]] = defaultdict(list)
    for one, spans in zip(sentences, spans_of, strict=True):
        words = one.words
        if by_first.keys().isdisjoint(words):
            continue
        inside = {word for start, end, _ in spans for word in range(start, end)}
        for start, word in enumerate(words):
            if word not in by_first or start in inside:
                continue
            for width in by_first[word]:
                form = tuple(words[start : start + width])
                if form in wanted and not any(i in inside for i in range(start, start + width)):
                    missed[form].append(one.at(start))
    clear = [
        (wanted[form], form, place)
        for form, places in missed.items()
        if wanted[form] >= _NEARLY * (wanted[form] + len(places))
        for place in places
    ]
    for count, form, place in sorted(clear, key=lambda item: (-item[0], item[1], item[2]))[:_LISTED]:
        most = types[form].most_common(1)[0][0]
        message = f"{' '.join(form)!r} is not tagged here, and {count} times elsewhere, mostly {most}"
        more = f"; {len(clear):,} such places in all" if len(clear) > _LISTED else ""
        yield finding("scheme-untagged", "note", message + more, at=place)


def check_spans(rows: Sequence[Spans]) -> list[Finding]:
    """Return the character spans with white space at an edge, those that cut words, and those that overlap."""
    found = []
    for text, spans, words, place in rows:
        until, before = 0, ""
        opens, closes = {start for start, _ in words}, {end for _, end in words}
        for start, end, label in sorted(spans, key=lambda span: (span[0], -span[1])):
            piece = text[start:end]
            what = f"{label} {piece!r} ({start}-{end})" if len(piece) <= 60 else f"{label} ({start}-{end})"
            if start < until:
                found.append(finding("scheme-overlap", "warning", f"{what} overlaps {before}", at=place))
            elif piece != piece.strip():
                found.append(finding("scheme-space", "warning", f"{what} has white space at its edge", at=place))
            elif start not in opens or end not in closes:
                found.append(finding("scheme-cut", "warning", f"{what} cuts a word", at=place))
            if end > until:
                until, before = end, what
    return found
