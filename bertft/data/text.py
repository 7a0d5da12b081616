"""Plain text: every line is a record, a blank one too. Predictions are written as JSON Lines."""

from __future__ import annotations

from collections.abc import Iterator

from bertft.data.row import Place, Row
from bertft.data.source import Source


def read(source: Source) -> Iterator[Row]:
    """Yield one row with `text` for each line."""
    for line in source.lines():
        yield Row(Place(source.path, line.number), {"text": line.content}, (line,), line.error)
