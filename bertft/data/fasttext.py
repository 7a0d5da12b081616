"""fastText: a text a line, and before it its labels, each with a prefix.

    __label__positive Great price.
    __label__baking __label__equipment Which tin is best for a banana bread?

(fasttext.cc/docs/en/supervised-tutorial.html; as there, a label may stand anywhere in the line.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bertft.data.row import Found, Line, Place, Row
from bertft.data.source import Source

PREFIX = "__label__"
_LABEL = re.compile(rf"(?<!\S){PREFIX}(\S+)(\s+|$)")


def is_fasttext(lines: Sequence[Line]) -> bool:
    """Say whether the lines hold fastText data: the first that is not blank has a label, and so have most of them."""
    filled = [text for line in lines if (text := line.content.strip())]
    marked = sum(text.startswith(PREFIX) for text in filled)
    return bool(filled) and filled[0].startswith(PREFIX) and 2 * marked > len(filled)


def read(source: Source) -> Found:
    """Return a row per line that is not blank: `text`, and `label`, a list unless there is just one.

    A line without a label has an empty list.
    """
    return Found("fastText", _rows(source))


def _rows(source: Source) -> Iterator[Row]:
    for line in source.lines():
        if not (content := line.content.strip()):
            continue
        labels = [match[1] for match in _LABEL.finditer(content)]
        values = {"text": _LABEL.sub("", content).strip(), "label": labels[0] if len(labels) == 1 else labels}
        yield Row(Place(source.path, line.number), values, (line,), line.error)
