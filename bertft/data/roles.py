"""Which field of a record is what: by `--columns`, else by its usual names, else by what stands in the first records.

    sentence1 sentence2 gold_label   →  text_a=sentence1 text_b=sentence2 label=gold_label
    Consumer complaint narrative,Product  →  text=Consumer complaint narrative label=Product
    1 2 3 (a table without a header)   →  text=1 label=2, the column of running text and the one of few values

A record's fields keep their names: `Row.roles` says under which name a role is found, and predictions are written
beside the record's own fields. What cannot be told is an error that shows every field; nothing is taken on a whim.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from bertft.data import content
from bertft.data.content import Record
from bertft.data.row import Place
from bertft.errors import DataError, UsageError, did_you_mean, inline

Wanted = Sequence[Sequence[str]]
"""The alternatives that a task reads. The last role of each is the gold, which only labelled data need."""
Name = str | tuple[str, ...]

ABSENT = ""
"""The name of a role that a record is not to be asked for, although it may have a field of that name."""
EXTRAS = ("id", "group", "title", "answer_start")
ROLES = ("tokens", "tags", "text", "entities", "label", "text_a", "text_b", "question", "context", "answers", *EXTRAS)
"""What `--columns` can name, beside `words`, which is `tokens`."""

# Names without case, blanks and marks (`#1 String` → 1string). Of a tier, every name is as good as any other: a file
# that has two of them does not tell. The first tier that occurs decides: MNLI has `label1`, SNLI `label1` to `label5`,
# and both have `gold_label`.
_TIERS: dict[str, tuple[str, ...]] = {
    "tokens": ("tokens", "words", "token", "wordlist"),
    "tags": ("tags", "nertags labels postags upos upostags chunktags slots slotlabels bio iob seqlabels ner pos"),
    "entities": ("entities", "spans", "label labels annotations ents columnlabel"),
    "text": (
        "text",
        "sentence review body content message comment utterance narrative document tweet post complaint feedback "
        "ticket email transcript reviewtext reviewbody commenttext columndata texte satz texto 本文 文本",
        "abstract article passage paragraph description query question input prompt headline summary string",
    ),
    "label": (
        "goldlabel",
        "label labels",
        "category categories cats intent intents class classes target targets sentiment rating stars score similarity "
        "isduplicate duplicate quality polarity emotion emotions topic topics tag tags entailment relation "
        "relatedness relevance judgement judgment verdict columnlabel outcome product issue kategorie etiqueta",
    ),
    "question": ("question", "query questiontext"),
    "context": ("context", "passage paragraph document article text story contexttext"),
    "answers": ("answers", "answer answertext answerstext goldanswers goldanswer"),
    "answer_start": ("answerstart answersanswerstart answerstarts", "start startposition startchar"),
    "id": ("id", "idx index guid uid pairid rowid exampleid qid"),
    "group": ("group groupid", "documentid docid questionid conversationid threadid articleid"),
    "title": ("title",),
}
_NAMES = {role: tuple(tuple(tier.split()) for tier in tiers) for role, tiers in _TIERS.items()}

# Pairs are known by both names: `question` is a first text beside `sentence` (QNLI), and no text of a pair beside
# `context` when answers are asked for. BoolQ has a `passage` beside an `answer` that is its label, so that comes first.
_PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("1string", "2string"),  # MRPC
    ("texta", "textb"),
    ("text1", "text2"),
    ("string1", "string2"),
    ("s1", "s2"),
    ("question", "passage"),
    ("question", "sentence"),
    ("question", "context"),
    ("question", "answer"),
    ("query", "passage"),
    ("query", "document"),
    ("query", "text"),
    ("claim", "evidence"),
    ("context", "response"),
    ("text", "hypothesis"),
    ("t", "h"),
)
_TWINS = re.compile(r"(.*?)(1|2|a|b|left|right)", re.IGNORECASE)
_SECOND = {"1": "2", "a": "b", "left": "right"}
_NO_CONTENT = frozenset(name for role in EXTRAS for tier in _NAMES[role] for name in tier) | {
    "promptid",
    "genre",
    "source",
    "filename",
    "file",
    "url",
    "author",
    "user",
    "date",
    "split",
    "line",
}
_KNOWN = _NO_CONTENT.union(*_PAIRS, *(tier for tiers in _NAMES.values() for tier in tiers))


class Roles(NamedTuple):
    """The name of each role's field (several: columns of 0 and 1), and the roles that only the content told."""

    names: dict[str, Name]
    guessed: tuple[str, ...] = ()


def is_known(name: str) -> bool:
    """Say whether a name is a usual one, of whatever role: the cells of a header are, those of a record seldom."""
    return _plain(name) in _KNOWN or (_TWINS.fullmatch(name) is not None and _plain(name)[:-1] in _KNOWN)


def guess(
    fields: Sequence[str],
    wanted: Wanted,
    sample: Sequence[Record],
    given: Mapping[str, str],
    *,
    labelled: bool,
    place: Place,
    numbered: bool = False,
    by_content: bool = True,
) -> Roles:
    """Return the roles of `fields` for the first alternative of `wanted` that they make up.

    `given` are the names of `--columns`, in a `numbered` table also numbers from 1. Where the records differ in their
    fields, what stands in the first ones says little: then not `by_content`. Raises UsageError for a field that
    is not there, DataError, which lists the fields and shows what to pass, where the roles cannot be told.
    """
    fixed = _given(fields, wanted, given, labelled=labelled, numbered=numbered)
    core = [role for role in fixed if role not in EXTRAS]
    options = [alternative for alternative in wanted if all(role in alternative for role in core)] or list(wanted)
    needs = [tuple(alternative if labelled or len(alternative) == 1 else alternative[:-1]) for alternative in options]
    named = [_by_name(need, fields, sample, fixed) for need in needs]
    for need, found in zip(needs, named, strict=True):
        if len(found) == len(need):
            return Roles({**_extras(need, fields, found, fixed), **_masked(wanted, found, given)})
    filled = [
        _by_content(need, fields, sample, found) if by_content else found
        for need, found in zip(needs, named, strict=True)
    ]
    for need, found, before in zip(needs, filled, named, strict=True):
        if len(found) == len(need):
            names = {**_extras(need, fields, found, fixed), **_masked(wanted, found, given)}
            return Roles(names, tuple(role for role in need if role not in before))
    best = max(range(len(needs)), key=lambda i: len(filled[i]))
    raise _untold(needs[best], fields, sample, filled[best], place)


def _given(
    fields: Sequence[str], wanted: Wanted, given: Mapping[str, str], *, labelled: bool, numbered: bool
) -> dict[str, Name]:
    read = {role for alternative in wanted for role in alternative}
    golds = {alternative[-1] for alternative in wanted if len(alternative) > 1}
    found: dict[str, Name] = {}
    for role, name in given.items():
        if role not in read and role not in EXTRAS:
            advice = f"it reads {' or '.join(' + '.join(alternative) for alternative in wanted)}"
            raise UsageError(f"--columns {role}={name}: this task has no use for {role!r}", help=advice)
        one = _field(name, fields, numbered=numbered)
        several = [_field(part, fields, numbered=numbered) for part in name.split("+")]
        if one is not None:
            found[role] = one
        elif len(several) > 1 and None not in several and role != "label":
            raise UsageError(f"--columns {role}={name}: only labels may stand in several columns")
        elif len(several) > 1 and None not in several:
            found[role] = tuple(part for part in several if part is not None)
        elif labelled or role not in golds:  # data without labels need not have the column of labels
            missing = name.split("+")[several.index(None)]
            listed = f"the fields are {', '.join(map(repr, fields))}"
            near = did_you_mean(missing, fields)
            advice = f"{near} {listed}" if near else listed
            raise UsageError(f"--columns {role}={name}: there is no field {missing!r}", help=advice)
    return found


def _field(name: str, fields: Sequence[str], *, numbered: bool) -> str | None:
    if name in fields:
        return name
    same = [field for field in fields if _plain(field) == _plain(name) != ""]
    if len(same) == 1:
        return same[0]
    number = int(name) if numbered and name.isdecimal() and len(name) < 10 else 0
    return fields[number - 1] if 1 <= number <= len(fields) else None


def _masked(wanted: Wanted, found: Mapping[str, Name], given: Mapping[str, str]) -> dict[str, Name]:
    """Return the rival of a given role as absent: with `--columns text=body` a field `tokens` is not looked at."""
    rivals = {alternative[0] for alternative in wanted} - found.keys()
    return dict.fromkeys(rivals, ABSENT) if any(role in given for role in found) else {}


# -- by name --------------------------------------------------------------------------------------------------------


def _by_name(
    need: Sequence[str], fields: Sequence[str], sample: Sequence[Record], fixed: Mapping[str, Name]
) -> dict[str, Name]:
    """Return those roles of `need` that are given or that exactly one field has the name for."""
    found = {role: fixed[role] for role in need if role in fixed}
    free = [field for field in fields if field not in _used(found)]
    if "text_a" in need and not {"text_a", "text_b"} & found.keys() and (pair := _pair(free, sample)):
        found["text_a"], found["text_b"] = pair
    for role in need:
        free = [field for field in fields if field not in _used(found)]
        if role in _NAMES and role not in found and (name := _one(role, free, sample)) is not None:
            found[role] = name
    return found


def _one(role: str, fields: Sequence[str], sample: Sequence[Record]) -> str | None:
    good = [field for field in fields if content.fits(role, field, sample)]
    for tier in _NAMES[role]:
        if here := [field for field in good if _plain(field) in tier]:
            return here[0] if len(here) == 1 else None
    if role not in ("text", "label"):
        return None
    for tier in _NAMES[role]:  # `consumer complaint narrative`, `review_text`, `productCategory`
        if here := [field for field in good if _words(field)[-1:] and _words(field)[-1] in tier]:
            return here[0] if len(here) == 1 else None
    return None


def _pair(fields: Sequence[str], sample: Sequence[Record]) -> tuple[str, str] | None:
    plain = {_plain(field): field for field in reversed(fields) if content.fits("text_a", field, sample)}
    for first, second in _PAIRS:
        if first in plain and second in plain:
            return plain[first], plain[second]
    twins = []
    for name, field in plain.items():  # q1/q2, headline_a/headline_b: whatever reads as text
        match = _TWINS.fullmatch(name)
        other = plain.get(f"{match[1]}{_SECOND.get(match[2].lower(), '?')}") if match and match[1] else None
        if other is not None and content.is_text(field, sample) and content.is_text(other, sample):
            twins.append((field, other))
    return twins[0] if len(twins) == 1 else None


def _extras(
    need: Sequence[str], fields: Sequence[str], found: Mapping[str, Name], fixed: Mapping[str, Name]
) -> dict[str, Name]:
    """Return `found` and whatever of `id`, `group`, `title` the record has besides."""
    names = {**found, **{role: name for role, name in fixed.items() if role in EXTRAS}}
    for role in EXTRAS:
        free = [field for field in fields if field not in _used(names)]
        fits = role != "answer_start" or "answers" in need
        if fits and role not in names and (name := _one(role, free, ())) is not None:
            names[role] = name
    return names


# -- by content -----------------------------------------------------------------------------------------------------


def _by_content(
    need: Sequence[str], fields: Sequence[str], sample: Sequence[Record], named: Mapping[str, Name]
) -> dict[str, Name]:
    """Return `named` and those roles of `need` for which one field stands out."""
    found = dict(named)
    texts = [role for role in need if role in ("text", "text_a", "text_b") and role not in found]
    if texts and len(found) + len(texts) + ("label" in need and "label" not in found) == len(need):
        found.update(zip(texts, content.texts(len(texts), _open(fields, found), sample), strict=False))
    if "label" in need and "label" not in found and len(found) == len(need) - 1:
        free = _open(fields, found)
        bits = tuple(field for field in free if content.is_bits(field, sample))
        choices = [field for field in free if content.is_label(field, sample)]
        tier = [field for field in choices if any(_plain(field) in names for names in _NAMES["label"])]
        if len(bits) > 1 and not tier:
            found["label"] = bits
        elif len(choices) == 1:
            found["label"] = choices[0]
    return found


def _open(fields: Iterable[str], found: Mapping[str, Name]) -> list[str]:
    """Return the fields that may yet be anything; those that begin with `_` are the marks of programs."""
    free = [field for field in fields if field not in _used(found) and not field.startswith("_")]
    return [field for field in free if _plain(field) not in _NO_CONTENT]


# -- names ----------------------------------------------------------------------------------------------------------


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z]+|\d+|[^\W_a-z\d]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def _used(found: Mapping[str, Name]) -> set[str]:
    return {field for name in found.values() for field in (name if isinstance(name, tuple) else (name,))}


def describe(roles: Mapping[str, Name], wanted: Wanted) -> str:
    """Return `text=body, label=stars` for the roles that a task reads."""
    read = dict.fromkeys(role for alternative in (*wanted, ("group",)) for role in alternative if roles.get(role))
    return ", ".join(f"{role}={_joined(roles[role])}" for role in read)


def _joined(name: Name) -> str:
    return inline(name if isinstance(name, str) else "+".join(name))


def _untold(
    need: Sequence[str], fields: Sequence[str], sample: Sequence[Record], found: Mapping[str, Name], place: Place
) -> DataError:
    missing = [role for role in need if role not in found]
    fact = f"it cannot be told which field is the {' and which the '.join(missing)}"
    shown = dict(found)
    for role in missing:  # an example, of fields that could be it: texts are long, labels are few
        likely = [field for field in _open(fields, shown) if content.fits(role, field, sample)]
        if role == "label":
            likely.sort(key=lambda field: not content.is_label(field, sample))
        elif role not in ("tokens", "tags", "entities"):
            likely.sort(key=lambda field: -content.size(field, sample))
        shown[role] = next(iter(likely), "NAME")
    example = ",".join(f"{role}={_joined(shown[role])}" for role in need)
    lines = [f"name the fields, for example `--columns {example}`; they are", *_sketches(fields, sample)]
    if "label" in missing and any(_one("entities", [f], sample) for f in fields):
        lines.insert(0, "spans of characters are for `bertft train ner`;")
    return DataError(fact, place=place, help="\n     ".join(lines))


def _sketches(fields: Sequence[str], sample: Sequence[Record]) -> Iterator[str]:
    for field in fields[:30]:
        value = next((record[field] for record in sample if record.get(field) not in (None, "")), "")
        yield f"{_short(field)}: {_short(value if isinstance(value, str) else repr(value))}"
    if len(fields) > 30:
        yield f"and {len(fields) - 30} more"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:60]}…"
