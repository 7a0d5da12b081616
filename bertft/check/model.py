"""The encoder against the data: unknown pieces, words cut small, scripts and case it has not, texts too long for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bertft.check.findings import Finding, by_share, finding
from bertft.data.row import Place
from bertft.tasks.base import Counts

_UNKNOWN = 0.05  # of the sub-tokens; BERT's on the text it was made from: below 0.001
_PIECES = 2.5  # sub-tokens a word; English in English encoders: 1.1 to 1.7, biomedical text the most
_MANY_PIECES = 1.9  # German or Spanish in an English one
_LETTERS = 0.6  # sub-tokens a letter: words are spelt out
_WINDOWED = 0.5  # of the rows
_CAPITAL, _SMALL = 0.5, 0.25  # shares of capitalised words: of entities at least, of the rest at most
_INDIC = frozenset(
    {"DEVANAGARI", "BENGALI", "TAMIL", "TELUGU", "KANNADA", "MALAYALAM", "GUJARATI", "GURMUKHI", "ORIYA", "SINHALA"}
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of a sample of the rows under the model's tokenizer.

    `words` and `letters` are of the texts; `longest` is the row with the most sub-tokens, which are `most`; `scripts`
    are shares, the largest first.
    """

    path: str
    counts: Counts
    words: int
    letters: int
    longest: Place
    most: int
    window: int
    scripts: Mapping[str, float]
    sampled: bool
    """Whether these are some of the rows only."""


@dataclass(frozen=True, slots=True)
class Case:
    """How many words of entities and of the rest begin with a capital, each as (capitals, words)."""

    entities: tuple[int, int]
    rest: tuple[int, int]

    @property
    def tells(self) -> bool:
        """Whether a capital letter tells an entity."""
        (named, entities), (others, rest) = self.entities, self.rest
        return entities > 0 and rest > 0 and named >= _CAPITAL * entities and others <= _SMALL * rest


def check_model(name: str, reading: Reading, *, case: Case | None, lower_cases: bool) -> list[Finding]:
    """Return what the encoder called `name` cannot do with the rows; `case` is of tagged entities."""
    counts, path = reading.counts, reading.path
    found = []
    unknown = counts.unknown / max(counts.tokens, 1)
    pieces = counts.tokens / max(reading.words, 1)
    script, share = next(iter(reading.scripts.items()), ("LATIN", 1.0))
    spelt = counts.tokens >= _LETTERS * reading.letters
    of = f" (in a sample of {counts.examples:,} rows)" if reading.sampled else ""
    if script != "LATIN" and share > 0.5 and (spelt or unknown > _UNKNOWN):
        message = f"{share:.0%} of the letters are {script.title()}, which {name!r} spells out or does not know: "
        message += f"{unknown:.1%} of the sub-tokens are unknown, {pieces:.1f} stand for a word{of}"
        found.append(finding("model-script", "warning", message, at=path, fix=suggestion(script)))
    elif unknown > _UNKNOWN:
        message = f"{unknown:.1%} of the sub-tokens are unknown to {name!r}{of}"
        found.append(finding("model-unknown", "warning", message, at=path, fix=suggestion(script)))
    elif script == "LATIN" and pieces > _MANY_PIECES:
        message = f"{name!r} cuts a word into {pieces:.1f} sub-tokens on average{of}"
        severity = by_share(int(pieces * 1000), 1000, least=_PIECES)
        found.append(finding("model-pieces", severity, message, at=path, fix=suggestion(script)))
    if counts.vanished:
        message = f"{counts.vanished:,} words vanish in the tokenizer's normaliser{of}"
        found.append(finding("model-vanished", by_share(counts.vanished, reading.words), message, at=path))
    if counts.cut:
        message = f"{counts.cut:,} of {counts.examples:,} rows do not fit into {reading.window} tokens and are cut"
        message += f"{of}; the longest has {reading.most:,}"
        found.append(finding("model-cut", by_share(counts.cut, counts.examples), message, at=reading.longest))
    elif counts.windowed:
        message = f"{counts.windowed:,} of {counts.examples:,} rows are longer than a window of {reading.window} tokens"
        message += f"{of}; the longest has {reading.most:,}"
        severity = by_share(counts.windowed, counts.examples, least=_WINDOWED)
        found.append(finding("model-windowed", severity, message, at=reading.longest))
    if lower_cases and case is not None and case.tells:
        (named, entities), (others, rest) = case.entities, case.rest
        message = (
            f"{name!r} lower-cases its input; {named / entities:.0%} of the entities' words begin with a capital, "
        )
        message += f"{others / rest:.0%} of the others"
        found.append(finding("model-case", "note", message, at=path))
    return found


def suggestion(script: str) -> str:
    """Return which encoders know a script."""
    if script in _INDIC:
        return "choose an encoder of Indian languages: `--model muril`, `--model indicbert-v2`, or xlm-roberta-base"
    if script == "LATIN":
        return "not English? `--model xlm-roberta-base`; else an encoder of the field, or a cased one (bert-base-cased)"
    return "choose a multilingual encoder: `--model xlm-roberta-base`, `--model mbert`"


def case_of(sentences: Sequence[tuple[Sequence[str], Sequence[str]]]) -> Case:
    """Count capitals in sentences of (words, tags), without the first word of each, which has one anyway."""
    counts = {True: [0, 0], False: [0, 0]}
    for words, tags in sentences:
        for word, tag in list(zip(words, tags, strict=True))[1:]:
            if word[0].isalpha():
                cell = counts[tag != "O"]
                cell[0] += word[0].isupper()
                cell[1] += 1
    return Case((counts[True][0], counts[True][1]), (counts[False][0], counts[False][1]))
