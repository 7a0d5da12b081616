"""What a tagger reads around a sentence: sub-tokens of its neighbours in the document, which are not labelled.

Schweter and Akbik 2020, "FLERT: Document-Level Features for Named Entity Recognition", section 3. Rows get their
neighbours' words as they are read, so that a row's context is the same wherever chunks, shards or a resumed run begin.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from bertft.data.conll import is_document_mark
from bertft.data.formats import Input
from bertft.data.row import Row, Words
from bertft.errors import DataError, UsageError
from bertft.tasks.tagged import words_of

FIELD = "document"
"""In records that are no lines of a column file: which document a record is in."""


def in_context(opened: Input, size: int, *, at_once: bool = False) -> Input:
    """Return the input with rows that have their neighbours' words: `size` on each side, or what the document has.

    A document of a column file goes from mark to mark; a file without marks is one. Of other inputs, records that
    stand together and have the same `document` are one, and a record without it is one by itself.

    A row waits for those behind it that it needs: rows that are wanted `at_once` raise UsageError where they would.
    """
    if not size:
        return opened
    columns = opened.format == "conll"
    said = f"context: {size:,} sub-tokens on each side, "
    if not columns or opened.source is None:
        said += f"from rows of the same {FIELD!r}, if they have one"
    else:
        marked = any(is_document_mark(line.content) for line in opened.source.sample(bool))  # what is known of it
        said += "from the same document" if marked else "from the whole file, which begins without document marks"
        said += "; a sentence waits for those behind it" if opened.source.live else ""
    rows = _joined(opened.rows, size, columns=columns, at_once=at_once)
    return replace(opened, rows=rows, description=f"{opened.description}; {said}")


@dataclass(slots=True)
class _Stretch:
    """Sentences that follow each other, and how many words they have; an empty one counts as one."""

    sentences: deque[Words] = field(default_factory=deque)
    size: int = 0

    def push(self, words: Words) -> None:
        self.sentences.append(words)
        self.size += max(1, len(words))

    def pop(self) -> None:
        self.size -= max(1, len(self.sentences.popleft()))

    def trim(self, size: int) -> None:
        """Drop the first ones as long as `size` words are left without them."""
        while self.sentences and self.size - max(1, len(self.sentences[0])) >= size:
            self.pop()

    def words(self) -> tuple[Words, ...]:
        return tuple(filter(None, self.sentences))


def _joined(rows: Iterable[Row], size: int, *, columns: bool, at_once: bool) -> Iterator[Row]:
    document: Hashable = None
    before, after = _Stretch(), _Stretch()
    waiting: deque[tuple[Row, Words]] = deque()  # the first, and what is in `after`

    def complete() -> Row:
        row, own = waiting.popleft()
        found = replace(row, before=before.words(), after=after.words())
        before.push(own)
        before.trim(size)
        if waiting:
            after.pop()
        return found

    failure: DataError | None = None
    try:
        for row in rows:
            name = (row.place.path, row.document) if columns else _named(row)
            if at_once and name is not None:
                raise UsageError(
                    "the model reads what stands behind a sentence, and `--unbuffered` answers before it is there",
                    help="leave it out: a sentence is then answered as soon as its context has come",
                )
            if name is None or name != document:
                while waiting:
                    yield complete()
                before, document = _Stretch(), name
            if name is None:
                yield row
                continue
            words = words_of(row)
            if waiting:
                after.push(words)
            waiting.append((row, words))
            while after.size >= size:
                yield complete()
    except DataError as error:  # rows that were read before it come before it
        failure = error
    while waiting:
        yield complete()
    if failure is not None:
        raise failure


def _named(row: Row) -> Hashable:
    name = row.values.get(FIELD)
    return (row.place.path, name) if isinstance(name, str | int) else None
