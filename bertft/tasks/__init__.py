"""The table of tasks. A task is one file; its class is found here by name and imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bertft.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from bertft.tasks.base import Task

TASKS = {
    "classify": "bertft.tasks.classify:Classify",
    "mlm": "bertft.tasks.mlm:Mlm",
    "ner": "bertft.tasks.ner:Ner",
    "pair": "bertft.tasks.pair:ClassifyPair",
    "qa": "bertft.tasks.qa:Qa",
}


def task_class(name: str) -> type[Task[Any, Any, Any]]:
    """Return the class of the task called `name`; raises UsageError for a name that is not in the table."""
    if name not in TASKS:
        raise UsageError(f"unknown task {name!r}", help=did_you_mean(name, TASKS, f"tasks are {', '.join(TASKS)}"))
    module, _, attribute = TASKS[name].partition(":")
    found: type[Task[Any, Any, Any]] = getattr(import_module(module), attribute)
    return found
