"""Which recipe labelled data is for: told by the fields that its first rows have."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from bertft.console import muted
from bertft.data import formats
from bertft.errors import BertftError, DataError, UsageError
from bertft.tasks import task_class

_TASKS = ("qa", "ner", "pair", "classify")
"""Each is also the name of a recipe; what `mlm` reads, any text, tells nothing."""
_ROWS = 50


def recipe_of(
    data: str, *, format: str = "auto", encoding: str | None = None, columns: Mapping[str, str] | None = None
) -> str:
    """Return the name of the recipe whose task alone can read the data.

    Questions with a context and answers are `qa`, whatever else they could be. Raises UsageError where several tasks
    can read it, or none, DataError where there is nothing to read.
    """
    kind = formats.parse_format(format)
    able = []
    wrong: list[BertftError] = []
    for name in _TASKS:
        task = task_class(name).restore({}, {})
        try:
            with muted():
                opened = formats.read(
                    data,
                    wanted=task.wanted,
                    format=kind,
                    encoding=encoding,
                    columns=columns,
                    unit=task.unit,
                    labelled=True,
                    use="train",
                )
                parsed = [task.parse(row, labelled=True) for row in islice(opened.rows, _ROWS) if not row.excluded]
        except (DataError, UsageError) as error:
            wrong.append(error)
            continue
        if parsed:
            able.append(name)
        if name == "qa" and able:
            break
    if len(able) == 1:
        return able[0]
    first = wrong[0] if wrong else None
    if not able and first is not None and {str(error) for error in wrong} == {str(first)}:
        raise first  # whatever the task, the file cannot be read
    fact = f"the data can be for {' or '.join(able)}" if able else "the fields of the data tell no task"
    named = able or ["classify"]
    advice = f"name the recipe, as {' or '.join(f'`bertft recommend {name} …`' for name in named)}"
    raise UsageError(fact, place=data, help=advice if able else f"{advice}, and the fields with `--columns`")
