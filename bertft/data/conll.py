"""Column files: one token a line, its fields split by tabs or blanks, a blank line after each sentence.

    -DOCSTART- -X- O O                 1   From  from  ADP  IN  _  3  case  3:case  _      When|WRB|O Google|NNP|B-ORG
                                       2-3 didn't ...
    EU NNP B-NP B-ORG                  # a comment
    rejects VBZ B-VP O

On the left the format of the CoNLL-2003 shared task, in the middle CoNLL-U (universaldependencies.org/format.html), on
the right one sentence a line with `|` inside the tokens, as spaCy's `.iob` files have it. How many columns there are,
what splits them and which hold words and tags is worked out from the first lines (`infer`) and can be given.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from bertft.data.row import Line, Place, Row, without_end
from bertft.data.source import LINE_COST, MAX_UNPACKED, Source
from bertft.errors import DataError, UsageError

Separator = Literal["\t", " ", "|"]
Unit = Literal["sentence", "document"]
_Judged = tuple[Line, str, bool]
"""A line, its content, and whether it is a token."""

SAMPLE_LINES = 5000
MAX_TOKEN_BYTES = 100_000
_SHORT = MAX_TOKEN_BYTES // 4  # characters of four bytes at most
MAX_SENTENCE_WORDS = 20_000  # longer than any real sentence: the file has no sentence boundaries, or is no column file

_OPENING = frozenset("#- \t\r\n")
"""With what a line that is no token begins; all others are tokens."""
_BLANKS = re.compile(r"[ \t]+")  # not \s: a no-break space is part of a token
_TAG = re.compile(r"O|[BIESLUM][-_].+|.+[-_][BIESLUM]")
_UNIVERSAL_ID = re.compile(r"\d+([-.]\d+)?")
_UNIVERSAL = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")


@dataclass(frozen=True, slots=True)
class Layout:
    """What splits the fields, how many there are, and which (0-based) hold the words and the tags."""

    separator: Separator
    columns: int
    words: int
    tags: int | None
    universal: bool = False
    known_tags: frozenset[str] = frozenset()
    """Tags of the first lines, which tell a token `#` from a comment where the tags have no prefixes."""

    def split(self, text: str) -> list[str]:
        """Return the fields of a token line."""
        if self.separator == "\t":
            fields = text.split("\t")
            return [field.strip(" ") for field in fields] if " " in text else fields
        fields = text.split(" ")  # several times as fast as the pattern
        return _BLANKS.split(text.strip(" \t")) if "" in fields or "\t" in text else fields

    def items(self, text: str) -> list[list[str]]:
        """Return the fields of each token of a line that holds a sentence."""
        return [item.rsplit("|", self.columns - 1) for item in _BLANKS.split(text.strip(" \t"))]

    def is_token(self, text: str, *, inside: bool) -> bool:
        """Say whether a line is a token: no blank line, comment or document mark.

        `#` opens a comment unless the line has as many fields as a token, and stands `inside` a sentence or has a tag
        where a token has one: in tweets `#` is a token.
        """
        if is_blank(text) or text.startswith("-DOCSTART-"):
            return False
        if not text.startswith("#"):
            return True
        fields = self.split(text)
        if self.separator == "|":
            return fields[0].count("|") >= self.columns - 1
        if self.universal or len(fields) != self.columns:
            return False
        if inside or self.separator == "\t" or self.tags is None:
            return True
        return fields[self.tags] in self.known_tags or bool(_TAG.fullmatch(fields[self.tags]))

    def tokens(self, lines: Iterable[Line]) -> Iterator[tuple[Line, bool]]:
        """Yield each line and whether it is a token."""
        inside = False
        for line in lines:
            token = self.is_token(line.content, inside=inside)
            inside = token or (inside and not is_blank(line.content))
            yield line, token

    def is_word(self, fields: Sequence[str]) -> bool:
        """Say whether a token's fields are a word: the multiword and empty-node lines of CoNLL-U are not."""
        return not self.universal or fields[0].isdigit()

    def __str__(self) -> str:
        what = {"\t": "tab-separated", " ": "blank-separated", "|": "one sentence a line, split by |"}[self.separator]
        tags = "no tags" if self.tags is None else f"tags in column {self.tags + 1}"
        kind = f"CoNLL-U, {_columns(self.columns)}" if self.universal else f"{_columns(self.columns)}, {what}"
        return f"{kind}; words in column {self.words + 1}, {tags}"


def is_blank(text: str) -> bool:
    """Say whether a line ends a sentence: empty, or only blanks and tabs."""
    return not text.strip(" \t\r\n")


def is_document_mark(text: str) -> bool:
    """Say whether a document begins at a line."""
    return text.startswith(("-DOCSTART-", "# newdoc"))


def infer(sample: Sequence[Line]) -> Layout | None:
    """Return the layout that the lines show, or None where they are no column file."""
    texts = [line.content for line in sample]
    filled = [text for text in texts if not is_blank(text) and not text.startswith("-DOCSTART-")]
    plain = [text for text in filled if not text.startswith("#")] or filled
    if not plain:
        return None
    if (inline := _infer_inline(plain)) is not None:
        return inline
    separator: Separator = "\t" if sum("\t" in text for text in plain) > 0.9 * len(plain) else " "
    draft = Layout(separator, 0, 0, None)
    rows = [draft.split(text) for text in plain]
    columns, count = Counter(len(row) for row in rows).most_common(1)[0]
    odd = len(rows) - count
    if (odd > 0.1 * len(rows) and (odd > 2 or count == 1)) or _is_table(texts, rows, separator):
        return None
    rows = [row for row in rows if len(row) == columns]
    # ten columns, or more: what `predict` gives back has one more, and is to be read again
    universal = columns >= 10 and separator == "\t" and all(_UNIVERSAL_ID.fullmatch(row[0]) for row in rows)
    if universal:
        rows = [row for row in rows if row[0].isdigit()] or rows
    indexed = columns > 2 and all(row[0].isdigit() for row in rows) and rows[0][0] in ("0", "1")
    words = 1 if universal or indexed else 0
    tags = _infer_tags(rows, words, universal=universal)
    return _knowing_tags(Layout(separator, columns, words, tags, universal), rows)


def _knowing_tags(layout: Layout, rows: Sequence[Sequence[str]]) -> Layout:
    column = layout.tags
    return layout if column is None else replace(layout, known_tags=frozenset(row[column] for row in rows))


def _infer_tags(rows: Sequence[Sequence[str]], words: int, *, universal: bool) -> int | None:
    """Return the last column that looks like tags of a scheme, else one that looks like a small set of plain tags."""
    columns = len(rows[0])
    for column in range(columns - 1, words, -1):
        if sum(bool(_TAG.fullmatch(row[column])) for row in rows) >= 0.9 * len(rows):
            return column
    if universal:
        return _UNIVERSAL.index("upos")
    distinct = {row[-1] for row in rows}
    few = len(distinct) <= max(100, 0.05 * len(rows)) and distinct not in ({"_"}, {"-X-"})
    return columns - 1 if columns - 1 > words and few else None


def has_scheme_tags(lines: Sequence[Line], layout: Layout) -> bool:
    """Say whether the lines are column data beyond doubt: CoNLL-U, or a column of tags with prefixes or `O`."""
    if layout.universal or layout.separator == "|":
        return True
    rows = [layout.split(line.content) for line, token in layout.tokens(lines) if token]
    tags = [row[layout.tags] for row in rows if layout.tags is not None and len(row) == layout.columns]
    return bool(tags) and sum(bool(_TAG.fullmatch(tag)) for tag in tags) >= 0.9 * len(tags)


def _infer_inline(plain: Sequence[str]) -> Layout | None:
    """Recognise `word|tag word|tag`: every blank-separated item has the same number of `|`, and ends in a tag."""
    items = [item for text in plain[:200] for item in _BLANKS.split(text.strip(" \t"))]
    fields = Counter(item.count("|") for item in items).most_common(1)[0][0] + 1
    tagged = sum("|" in item and bool(_TAG.fullmatch(item.rpartition("|")[2])) for item in items)
    if fields < 2 or tagged < 0.98 * len(items) or len(items) < 2 * len(plain[:200]):
        return None
    return Layout("|", fields, 0, fields - 1)


def _is_table(texts: Sequence[str], rows: Sequence[Sequence[str]], separator: Separator) -> bool:
    """Recognise a table of texts: some rows, no blank line between them, and a column of running text."""
    last = max(i for i, text in enumerate(texts) if not is_blank(text))
    if len(rows) < 5 or any(is_blank(text) for text in texts[:last]):
        return False
    if separator == "\t":
        widest = max(map(len, rows))
        return any(sum(row[c].count(" ") > 1 for row in rows if c < len(row)) > 0.5 * len(rows) for c in range(widest))
    return sum("," in text for text in texts[: last + 1]) > 0.9 * (last + 1)


def with_columns(layout: Layout, columns: Mapping[str, str]) -> Layout:
    """Return the layout with the columns of `tokens` (or `words`) and `tags` as given: from 1, or by CoNLL-U name.

    Raises UsageError for a column that the file has not.
    """
    places: dict[str, int] = {}
    for role, name in columns.items():
        if role not in ("tokens", "words", "tags"):
            continue
        if layout.universal and name.lower() in _UNIVERSAL:
            position = _UNIVERSAL.index(name.lower())
        elif name.isdecimal() and len(name) < 10 and 1 <= int(name) <= layout.columns:
            position = int(name) - 1
        else:
            raise UsageError(
                f"--columns {role}={name}: the file has columns 1 to {layout.columns}",
                help="column files are counted from 1, as `cut -f` does; CoNLL-U columns also have names, as `upos`",
            )
        places["tags" if role == "tags" else "words"] = position
    return replace(layout, **places)  # type: ignore[arg-type]  # the keys are field names of Layout


def sample(source: Source) -> Sequence[Line]:
    """Return the first lines that a layout is inferred from: of a live input no more than its first sentence."""

    def enough(lines: Sequence[Line]) -> bool:
        sentence_ended = is_blank(lines[-1].text) and any(
            not is_blank(line.text) and not line.content.startswith(("#", "-DOCSTART-")) for line in lines
        )
        return len(lines) >= SAMPLE_LINES or (source.live and sentence_ended)

    return source.sample(enough)


def layout_of(source: Source, columns: Mapping[str, str], *, labelled: bool = True) -> Layout:
    """Return the layout of an input from its first lines, with the given columns put in.

    Raises DataError where the input is empty or no column file, UsageError for a column that it has not. In `labelled`
    data a line that cannot be decoded is an error here; else it is one where its record comes.
    """
    lines = sample(source)
    bad = next((line.error for line in lines if line.error is not None), None)
    if bad is not None and labelled:
        raise bad
    if all(is_blank(line.content) for line in lines):
        raise DataError("the file is empty", place=Place(source.path, 1))
    layout = infer(lines)
    if layout is None:
        raise not_a_column_file(source.path, lines)
    chosen = with_columns(layout, columns)
    if chosen.tags != layout.tags and chosen.separator != "|":
        rows = (chosen.split(line.content) for line in lines if not line.content.startswith("#"))
        chosen = _knowing_tags(chosen, [row for row in rows if len(row) == chosen.columns])
    return chosen


def not_a_column_file(path: str, sample: Sequence[Line]) -> DataError:
    """Return the error for a file whose lines are no tokens, naming the recipes that read tables."""
    return DataError(
        "this is no column file (one token a line, a blank line after each sentence); it looks like a table or text: "
        f"{sample[0].content[:60]!r}",
        place=Place(path, sample[0].number),
        help="tables of texts and labels are for `bertft train classify`, tables of two texts for `bertft train pair`",
    )


def read(source: Source, layout: Layout, *, unit: Unit = "sentence", labelled: bool = False) -> Iterator[Row]:
    """Yield a row with `tokens` and `tags` (where there are any) per unit.

    Every line of the file belongs to exactly one row, so that `write` can return the file. A sentence that cannot be
    read gives a row with an error; where the data must be `labelled`, so does a word without a tag.
    """
    block: list[_Judged] = []
    document, words, size = 0, 0, 0
    inside = False
    for line in source.lines():
        text = line.content
        size = size + len(text) + LINE_COST if block else 0
        if size > MAX_UNPACKED:
            raise DataError(
                f"one {unit} of {len(block):,} lines, which is too much to be held",
                place=Place(source.path, block[0][0].number),
                help="blank lines end sentences, lines of -DOCSTART- documents",
            )
        plain = bool(text) and text[0] not in _OPENING
        boundary = not plain and is_document_mark(text)
        if boundary and words:
            yield _row(source.path, block, layout, document, labelled=labelled)
            block, words, inside = [], 0, False
        token = plain or layout.is_token(text, inside=inside)
        inside = token or (inside and not is_blank(text))
        document += boundary
        block.append((line, text, token))
        words += token
        if unit == "sentence" and words and (layout.separator == "|" or (not token and is_blank(text))):
            yield _row(source.path, block, layout, document, labelled=labelled)
            block, words, inside = [], 0, False
        if unit == "sentence" and words > MAX_SENTENCE_WORDS:
            raise DataError(
                f"one sentence of over {MAX_SENTENCE_WORDS} words: the file has no blank lines between sentences",
                place=Place(source.path, block[0][0].number),
                help="for a table of texts use `bertft train classify`; to read on without sentence boundaries, "
                "`--set options.unit=document`",
            )
    if block and (words or not labelled):  # what stands behind the last sentence is no record to learn from
        yield _row(source.path, block, layout, document, labelled=labelled)


def _row(path: str, block: Sequence[_Judged], layout: Layout, document: int, *, labelled: bool) -> Row:
    lines = tuple([line for line, _, _ in block])
    place = Place(path, next((line.number for line, _, token in block if token), lines[0].number))
    try:
        words = _words(path, block, layout)
        tokens = [fields[layout.words] for _, fields in words]
        if max(map(len, tokens), default=0) > _SHORT:
            _check_sizes(path, words, layout)
        values = {"tokens": tokens}
        if layout.tags is not None:
            values["tags"] = tags = [fields[layout.tags] for _, fields in words]
            if labelled and "" in tags:
                bare = tags.index("")
                raise DataError(f"the word {tokens[bare]!r} has no tag", place=Place(path, words[bare][0]))
    except DataError as error:
        return Row(place, lines=lines, error=error, document=document)
    numbers = tuple([number for number, _ in words])
    ends = [line.number for line, text, token in block if layout.separator == "|" or (not token and is_blank(text))]
    cuts = [0, *(bisect_right(numbers, end) for end in ends), len(numbers)]
    sentences = tuple([end - start for start, end in pairwise(cuts) if end > start])
    return Row(place, values, lines, document=document, sentences=sentences, numbers=numbers)


def _words(path: str, block: Sequence[_Judged], layout: Layout) -> list[tuple[int, list[str]]]:
    """Return the line and the fields of each word; raises DataError for a line that cannot be read."""
    if layout.separator == "|":
        split = [(line, fields) for line, text, token in block if token for fields in layout.items(text)]
    else:
        split = [(line, layout.split(text)) for line, text, token in block if token]
    for line, fields in split:
        if line.error is not None:
            raise line.error
        if len(fields) != layout.columns:
            raise _odd_line(fields, layout, Place(path, line.number))
    return [(line.number, fields) for line, fields in split if layout.is_word(fields)]


def _odd_line(fields: Sequence[str], layout: Layout, place: Place) -> DataError:
    if layout.separator == "|":
        fact = f"{'|'.join(fields)!r} has {len(fields)} fields, the file {layout.columns}"
        return DataError(fact, place=place)
    return DataError(
        f"the line has {_columns(len(fields))}, the file has {_columns(layout.columns)}",
        place=place,
        help="every token line needs the same number of columns; a blank line ends a sentence",
    )


def _columns(count: int) -> str:
    return f"{count} column{'' if count == 1 else 's'}"


def _check_sizes(path: str, words: Sequence[tuple[int, Sequence[str]]], layout: Layout) -> None:
    for number, fields in words:
        word = fields[layout.words]
        if len(word.encode("utf-8", "surrogateescape")) > MAX_TOKEN_BYTES:
            fact = f"a token of {len(word):,} characters"
            raise DataError(fact, place=Place(path, number), help="is this a column file?")


def write(row: Row, layout: Layout, tags: Sequence[str] | None) -> str:
    """Return the row's lines with one more field on each token line, every other byte kept.

    `tags` are in the order of the row's words; None (a record that failed) writes `_`, and so do the lines of CoNLL-U
    that are no words. White space in a tag, which would make more fields of it, is written as `_`.
    """
    out: list[str] = []
    values = map(_one_field, tags if tags is not None else ())
    for line, token in layout.tokens(row.lines):
        content = line.content
        if not token:
            out.append(line.text)
        elif layout.separator == "|":
            out.append(re.sub(r"[^ \t\r\n]+", lambda item: f"{item[0]}|{next(values, '_')}", line.text))
        else:
            body = without_end(line.text)
            fields = layout.split(content)
            word = len(fields) == layout.columns and layout.is_word(fields)
            out.append(f"{body}{layout.separator}{next(values, '_') if word else '_'}{line.text[len(body) :]}")
    return "".join(out)


def write_words(place: Place, words: Sequence[str], tags: Sequence[str]) -> str:
    """Return a sentence of a row that was no column file: word, tab, tag, and a blank line.

    Raises DataError for a word that a column cannot hold: an empty one, or one with a tab or a line break in it.
    """
    for word in words:
        if not word or not {"\t", "\n", "\r"}.isdisjoint(word):
            raise DataError(f"the token {word!r} cannot stand in a column file", place=place, help="`--to jsonl` can")
    return "".join(f"{word}\t{_one_field(tag)}\n" for word, tag in zip(words, tags, strict=True)) + "\n"


def _one_field(tag: str) -> str:
    return re.sub(r"\s+", "_", tag)
