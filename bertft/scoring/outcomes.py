"""Gold and predictions side by side, in the one form that intervals, breakdowns and comparisons of models work on."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

DETECTION = 50.0
"""What the loss of detection weighs beside the generator's (Clark et al. 2020, "ELECTRA", section 2 and table 6)."""

Kind = Literal["label", "labels", "value", "tags", "entities", "answer", "masked"]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What was to be found in each row of a file, and what was.

    `gold` and `predicted` hold, a row, by `kind`:

    * label: a label.                  * labels: a tuple of labels.          * value: a number.
    * tags, entities: a tuple of sentences, each a tuple of tags; those of entities are valid BIO.
    * masked: the text; of its masked tokens how many there are, the sum of their losses, and how many were guessed;
      then, where `labels` has what was told of pairs, how many pairs there are, and of how many it was right; or where
      it is `rtd`, how many tokens were told apart, the sum of those losses, how many were replaced, were taken for it,
      and both.
    * answer: gold texts, empty where there is no answer; the predicted text, None for no answer.

    `inputs` are the row's texts, or its words where it has tags.
    """

    kind: Kind
    places: Sequence[object]
    inputs: Sequence[tuple[str, ...]]
    gold: Sequence[Any]
    predicted: Sequence[Any]
    labels: tuple[str, ...] = ()
    """The labels that the model knows."""
    unit: str = "text"
    """What is drawn anew in a resample: a row, or all rows of a group."""
    groups: Sequence[Hashable] | None = None
    """The group of each row; None where each row is one of its own."""
    ranks: Sequence[tuple[bool, float]] | None = None
    """Where the rows of a group are ranked: whether a row is a right answer, and its score."""

    def select(self, rows: Sequence[int]) -> Outcomes:
        """Return the outcomes of some rows."""
        return replace(
            self,
            places=[self.places[i] for i in rows],
            inputs=[self.inputs[i] for i in rows],
            gold=[self.gold[i] for i in rows],
            predicted=[self.predicted[i] for i in rows],
            groups=None if self.groups is None else [self.groups[i] for i in rows],
            ranks=None if self.ranks is None else [self.ranks[i] for i in rows],
        )

    @property
    def lengths(self) -> list[int]:
        """The words of each row."""
        if self.kind in ("tags", "entities"):
            return [len(words) for words in self.inputs]
        return [sum(len(text.split()) for text in texts) for texts in self.inputs]
