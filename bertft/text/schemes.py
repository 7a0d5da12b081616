"""Tags and spans: IOB1, BIO, IOE, BIOES/BILOU, IO and plain tags are read here; what leaves is BIO, or plain.

A tag is a prefix and a type, written `B-PER`, `B_PER`, `PER-B` or `PER_B`; `O` has no type. Tags without prefixes are
IO where there is an `O` (`PER PER O`: entities whose neighbours merge), else plain (parts of speech). Inside the
project tags are always written `B-PER`, `I-PER`, `O`, and a span is half-open in words: `(start, end, type)`.

Reading follows conlleval (Sang and Buchholz, CoNLL-2000 shared task), which gives every tag sequence, also an invalid
one, exactly one reading, and the same one for all of the schemes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple

Scheme = Literal["IOB1", "BIO", "IOE1", "IOE2", "BIOES", "BILOU", "IO", "plain"]
SCHEMES: tuple[Scheme, ...] = ("IOB1", "BIO", "IOE1", "IOE2", "BIOES", "BILOU", "IO", "plain")
Order = Literal["prefix", "suffix"]

# BMES calls the inside M; BILOU calls the end L and the single U.
_CANONICAL = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S"}


class EntitySpan(NamedTuple):
    """Words `start` to `end` (half-open) carry an entity of type `label`."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class TagStyle:
    """How a file writes its tags: the scheme, and where the prefix stands (`B-PER` or `PER-B`) behind which sign."""

    scheme: Scheme
    order: Order = "prefix"
    separator: str = "-"

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES or self.order not in ("prefix", "suffix") or self.separator not in ("-", "_"):
            raise ValueError(f"{self.scheme!r}, {self.order!r} and {self.separator!r} are no way to write tags")

    def split(self, tag: str) -> tuple[str, str]:
        """Return (prefix in BIOES letters, type); ("O", "") for `O`, and ("I", tag) for a tag without a prefix."""
        if tag == "O":
            return "O", ""
        if self.order == "prefix":
            prefix, found, label = tag.partition(self.separator)
        else:
            label, found, prefix = tag.rpartition(self.separator)
        if not found or not label or prefix not in _CANONICAL:
            return "I", tag
        return _CANONICAL[prefix], label

    def canonical(self, tag: str) -> str:
        """Return the tag with its prefix in front, `B-PER`, in the letters of its scheme (BILOU's L and U kept)."""
        prefix, label = self.split(tag)
        if prefix == "O":
            return tag
        if self.scheme == "BILOU":
            prefix = {"E": "L", "S": "U"}.get(prefix, prefix)
        return f"{prefix}-{label}"

    def has_prefix(self, tag: str) -> bool:
        """Say whether the tag is written with a prefix in this style."""
        return tag != "O" and self.split(tag) != ("I", tag)


class Detection(NamedTuple):
    """A detected (or given) style, and how many of the sentences do not follow it."""

    style: TagStyle
    inconsistent: int
    sentences: int


def read_spans(tags: Sequence[str], style: TagStyle) -> list[EntitySpan]:
    """Return the entities of one sentence as conlleval reads them; valid or not, in any scheme.

    An entity ends before a B or S, after an E or S, and where the type changes; any prefix can begin one.
    """
    spans: list[EntitySpan] = []
    start, label, closed = 0, "", True
    for i, tag in enumerate(tags):
        if closed and tag == "O":  # most words
            continue
        prefix, kind = style.split(tag)
        if prefix == "O" or prefix in "BS" or closed or kind != label:
            if not closed:
                spans.append(EntitySpan(start, i, label))
            start, label, closed = i, kind, prefix == "O"
        if prefix in "ES" and not closed:
            spans.append(EntitySpan(start, i + 1, label))
            closed = True
    if not closed:
        spans.append(EntitySpan(start, len(tags), label))
    return spans


def write_bio(spans: Iterable[EntitySpan], length: int) -> list[str]:
    """Return `length` BIO tags for spans that do not overlap."""
    tags = ["O"] * length
    for start, end, label in spans:
        tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
    return tags


def invalid_positions(tags: Sequence[str], style: TagStyle) -> list[int]:
    """Return the words whose tag the scheme does not allow after its left or before its right neighbour."""
    if style.scheme in ("plain", "IO"):
        return []
    split = [("O", ""), *(style.split(tag) for tag in tags), ("O", "")]
    return [
        i
        for i in range(len(tags))
        if (tags[i] != "O" and not style.has_prefix(tags[i])) or not _allowed(style.scheme, *split[i : i + 3])
    ]


def inconsistent(sentences: Sequence[Sequence[str]], style: TagStyle) -> list[int]:
    """Return which of many sentences `invalid_positions` finds tags in; sequences that recur are judged once."""
    distinct = {*map(tuple, sentences)}
    met: set[tuple[str, ...]] = set()
    for tags in distinct:
        met.update(zip(("O", *tags), tags, (*tags[1:], "O"), strict=False))
    wrong = {three for three in met if 1 in invalid_positions(three, style)}
    if not wrong:
        return []
    odd = {tags for tags in distinct if not wrong.isdisjoint(zip(("O", *tags), tags, (*tags[1:], "O"), strict=False))}
    return [i for i, tags in enumerate(sentences) if tuple(tags) in odd]


def _allowed(scheme: Scheme, left: tuple[str, str], this: tuple[str, str], right: tuple[str, str]) -> bool:
    prefix, label = this
    if prefix == "O":
        return True
    after_same = left[1] == label and left[0] != "O"
    before_same = right[1] == label and right[0] != "O"
    match scheme:
        case "IOB1":  # B only where it separates two entities of one type
            return prefix == "I" or (prefix == "B" and after_same)
        case "BIO":
            return prefix == "B" or (prefix == "I" and after_same)
        case "IOE1":  # E only where it separates two entities of one type
            return prefix == "I" or (prefix == "E" and before_same)
        case "IOE2":
            return prefix == "E" or (prefix == "I" and before_same)
        case _:  # BIOES, BILOU
            open_left = after_same and left[0] in "BI"
            open_right = before_same and right[0] in "IE"
            opens, closes = prefix in "BI", prefix in "IE"
            return opens == open_right and closes == open_left


def detect(sentences: Sequence[Sequence[str]], scheme: Scheme | None = None) -> Detection:
    """Return the style of all the sentences' tags; with `scheme` given, only how it is written is detected.

    Two schemes that use the same letters (IOB1 and BIO, IOE1 and IOE2) are told apart by which leaves fewer sentences
    inconsistent; on a tie the one that is named second, the more usual one, is taken.
    """
    counts = Counter(chain.from_iterable(sentences))
    order, separator = _writing(counts)
    probe = TagStyle("BIO", order, separator)
    prefixed = [tag for tag in counts if probe.has_prefix(tag)]
    letters = {probe.split(tag)[0] for tag in prefixed}
    written = {(tag[0] if order == "prefix" else tag[-1]) for tag in prefixed}
    typed = sum(n for tag, n in counts.items() if tag != "O")
    candidates: tuple[Scheme, ...]
    if scheme is not None:
        candidates = (scheme,)
    elif sum(counts[tag] for tag in prefixed) < 0.9 * typed or not prefixed:
        candidates = ("IO",) if counts["O"] else ("plain",)
    elif "S" in letters or {"B", "E"} <= letters:
        candidates = ("BILOU",) if written & {"L", "U"} else ("BIOES",)
    elif "E" in letters:
        candidates = ("IOE1", "IOE2")
    else:
        candidates = ("IOB1", "BIO")
    best: Detection | None = None
    for candidate in candidates:
        style = TagStyle(candidate, order, separator)
        wrong = len(inconsistent(sentences, style))
        if best is None or wrong <= best.inconsistent:
            best = Detection(style, wrong, len(sentences))
    if best is None:
        raise ValueError("no scheme to choose from")
    return best


def style_of_labels(labels: Sequence[str]) -> TagStyle:
    """Return the style of a model's label set; without sentences, it is BIO, not IOB1, if every I has its B."""
    style = detect([[label] for label in labels]).style
    if style.scheme in ("IOB1", "BIO"):
        split = {style.split(label) for label in labels}
        begins = all(("B", kind) in split for prefix, kind in split if prefix == "I")
        return TagStyle("BIO" if begins else "IOB1", style.order, style.separator)
    return style


def _writing(counts: Counter[str]) -> tuple[Order, str]:
    """Return the order and separator that explain most of the tags; `B-PER` on a tie."""
    best: tuple[Order, str] = ("prefix", "-")
    most = 0
    orders: tuple[Order, ...] = ("prefix", "suffix")
    for order in orders:
        for separator in "-_":
            style = TagStyle("BIO", order, separator)
            explained = sum(n for tag, n in counts.items() if style.has_prefix(tag))
            if explained > most:
                best, most = (order, separator), explained
    return best
