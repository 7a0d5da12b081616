"""The gold of one file of tags: its scheme detected, its tags as BIO (or plain), and what there is to say of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bertft.data.row import Place
from bertft.errors import DataError
from bertft.tasks.labels import unseen
from bertft.tasks.tagged import Example
from bertft.text.schemes import Scheme, TagStyle, detect, invalid_positions

_TOLD = 10  # spans that do not fit which are named one by one


@dataclass(frozen=True, slots=True)
class GoldReader:
    """How a file's tags are to be read: by a scheme (`auto` detects it), for a model with `labels`, if there is one."""

    scheme: Literal["auto"] | Scheme
    on_bad_tags: Literal["repair", "fail"]
    labels: tuple[str, ...]
    style: TagStyle

    def read(self, examples: Sequence[Example]) -> tuple[list[Example], list[str], list[str]]:
        """Return the file's examples with BIO (or plain) tags, notes and warnings.

        A scheme that was given is the training file's; other files are detected, within what the model has.

        Raises DataError for tags that the scheme does not allow under `on_bad_tags: fail`, and where there are no
        examples. Labels that the model does not know are named; they are scored as missed.
        """
        if not examples:
            raise DataError("there is no record in the file")
        sentences = [tags for example in examples for tags in example.sentences(example.written or ())]
        tagged = any(example.tokenized for example in examples)
        given = None if self.scheme == "auto" or self.labels else self.scheme
        if not tagged:
            given = "BIO"  # as character spans are written in
        style, inconsistent, total = detect(sentences, given)
        if self.labels and self.style.scheme == "plain":
            style, inconsistent = TagStyle("plain"), 0
        elif self.labels and style.scheme == "plain":
            style = TagStyle("IO")  # the model has entities: so has the file, though this one has no `O` to show it
        found = f"scheme: {style.scheme}, {'given' if given else 'detected'}"
        notes = [f"{found}; {inconsistent:,} of {total:,} sentences inconsistent"]
        if not tagged:
            notes = [f"character spans, as tags of {sum(len(example.words) for example in examples):,} words"]
        elif (style.order, style.separator) != ("prefix", "-") and style.scheme not in ("plain", "IO"):
            notes[0] += f"; written as {style.separator.join('BX' if style.order == 'prefix' else 'XB')}"
        if inconsistent:
            notes += self._inconsistent(examples, style)
        converted = [example.converted(style) for example in examples]
        adjusted = [f"{example.place}: {what}" for example in examples for what in example.adjusted]
        warnings = self._unknown_labels(converted)
        if adjusted:
            more = f"\n  and {len(adjusted) - _TOLD} more" if len(adjusted) > _TOLD else ""
            shown = "".join(f"\n  {one}" for one in adjusted[:_TOLD])
            warnings.append(f"{len(adjusted)} character spans do not fit the words:{shown}{more}")
        return converted, notes, warnings

    def _inconsistent(self, examples: Sequence[Example], style: TagStyle) -> list[str]:
        for example in examples:
            offset = 0
            for tags in example.sentences(example.written or ()):
                positions = invalid_positions(tags, style)
                if positions:
                    word = example.words[offset + positions[0]]
                    fact = f"tag {tags[positions[0]]!r} of {word!r} is not allowed there in {style.scheme}"
                    place = example.place_of(offset + positions[0])
                    if self.on_bad_tags == "fail":
                        advice = "`--set options.on_bad_tags=repair` reads such sequences as conlleval does"
                        raise DataError(fact, place=place, help=advice)
                    return [f"the first inconsistency is at {place}: {fact}; such sentences are read as conlleval does"]
                offset += len(tags)
        return []

    def _unknown_labels(self, examples: Sequence[Example]) -> list[str]:
        if not self.labels:
            return []
        plain = self.style.scheme == "plain"
        known = set(self.labels) if plain else {kind for kind in map(kind_of, self.labels) if kind}
        seen: Counter[str] = Counter()
        where: dict[str, Place] = {}
        for example in examples:
            for word, tag in enumerate(example.tags or ()):
                kind = tag if plain else kind_of(tag) if tag[:2] != "I-" else ""
                if kind and kind not in known:
                    seen[kind] += 1
                    where.setdefault(kind, example.place_of(word))
        return unseen(seen, where, sorted(known))


def kind_of(tag: str) -> str:
    """Return the type of a BIO tag, "" for `O`."""
    return "" if tag == "O" else tag[2:]
