"""A labelled file and what a model said of it: what a report is made of, beyond the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertft.scoring.outcomes import Outcomes
from bertft.tasks.base import Task


@dataclass(frozen=True, slots=True)
class Judged:
    """The rows of a file, each with its prediction, and how good these are."""

    name: str
    """What the file is for: dev or test."""
    task: Task[Any, Any, Any]
    pairs: Sequence[tuple[Any, Any]]
    scores: Mapping[str, Any]
    info: Mapping[str, Any]
    """The file's path, hash and number of rows."""
    outcomes: Outcomes
    about: Mapping[str, str]
    """What is known of the model: where it ran, what it was made from."""
    columns: Mapping[str, str]
    """The fields that the model's training had its roles from."""

    @classmethod
    def of(
        cls,
        name: str,
        task: Task[Any, Any, Any],
        pairs: Sequence[tuple[Any, Any]],
        *,
        scores: Mapping[str, Any],
        info: Mapping[str, Any],
        about: Mapping[str, str],
        columns: Mapping[str, str] | None = None,
    ) -> Judged:
        """Put a file's rows and scores together."""
        return cls(name, task, pairs, scores, info, task.outcomes(pairs), about, columns or {})
