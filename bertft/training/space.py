"""A recipe's `search:` block: which values of which keys a sweep tries. Keys are those of `--set`.

search:
  trainer.learning_rate: {low: 1e-5, high: 3e-4, log: true}   # a range; whole numbers where both ends are
  trainer.num_train_epochs: [2, 3, 4]                         # choices
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bertft.errors import UsageError, did_you_mean
from bertft.recipe import Recipe, check_options, override
from bertft.tasks import task_class

if TYPE_CHECKING:
    from optuna.trial import Trial

_SAME_DEV = "the rows of dev and their score are the same in all trials"
_FIXED = {
    "task": "a sweep is of one task",
    "seed": "`bertft train --seeds N` compares seeds; the best of them is luck",
    "search": "it is this block",
    **dict.fromkeys(
        (
            *("holdout", "columns", "encoding", "metrics"),
            *("trainer.metric_for_best_model", "trainer.greater_is_better"),
            *("options.rank", "options.relevant", "options.unit", "options.scheme", "options.on_bad_tags"),
            *("options.objective", "options.mlm_probability", "options.whole_word"),
        ),
        _SAME_DEV,
    ),
}
"""What a sweep does not search, and why."""
_RATES, _EPOCHS, _WARM_UP = 4.0, (2 / 3, 1.0, 5 / 3), 0.2
"""The default space: so many times the learning rate up and down, shares of the epochs, and warm-up up to this."""

Value = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Choice:
    """Some values."""

    values: tuple[Value, ...]

    def suggest(self, trial: Trial, key: str) -> Value:
        """Return the trial's value."""
        return trial.suggest_categorical(key, self.values)

    def samples(self) -> Iterator[Value]:
        """Yield values by which to find out whether all are of the key's type."""
        yield from self.values

    def __str__(self) -> str:
        return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in self.values)


@dataclass(frozen=True, slots=True)
class Range:
    """All numbers from `low` to `high`; whole ones where both are."""

    low: float
    high: float
    log: bool = False
    """Whether to draw them evenly on a logarithmic scale."""

    @property
    def _is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def suggest(self, trial: Trial, key: str) -> float:
        """Return the trial's value."""
        if self._is_whole:
            return trial.suggest_int(key, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(key, self.low, self.high, log=self.log)

    def samples(self) -> Iterator[Value]:
        """Yield values by which to find out whether all are of the key's type."""
        yield from (self.low, self.high)
        if not self._is_whole:
            yield self.low + (self.high - self.low) / 3.7  # no whole number, whatever the ends are

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{' (log)' if self.log else ''}"


Space = dict[str, Choice | Range]


def parse(recipe: Recipe) -> Space:
    """Return what the recipe's `search:` says, with every value checked; empty where there is none.

    All that is wrong is collected and raised as one UsageError.
    """
    plain = replace(recipe, search={})
    options = task_class(recipe.task).options_class
    space: Space = {}
    problems: list[UsageError] = []
    for key, written in recipe.search.items():
        try:
            reason = _FIXED.get(key, _FIXED.get(key.partition(".")[0]))
            if (recipe.task, key) == ("mlm", "model"):
                reason = "encoders with other vocabularies have other losses"
            if reason:
                raise UsageError(f"search.{key} cannot be searched: {reason}")
            way = _way(key, written)
            for value in way.samples():
                check_options(override(plain, {key: value}), options)
        except UsageError as error:
            problems.append(error)
        else:
            space[key] = way
    if problems:
        raise UsageError("\n".join(f"search: {one.fact}" for one in problems), help=problems[0].help)
    return space


def default(recipe: Recipe, *, fixed: Collection[str] = ()) -> Space:
    """Return what is tried where a recipe says nothing: around its learning rate and its epochs, and the warm-up.

    Not those of them that are `fixed`; raises UsageError where all are.
    """
    rate = float(recipe.trainer["learning_rate"])
    space: Space = {"trainer.learning_rate": Range(_rounded(rate / _RATES), _rounded(rate * _RATES), log=True)}
    if recipe.trainer.get("max_steps", -1) <= 0:
        epochs = float(recipe.trainer.get("num_train_epochs", 3))
        space["trainer.num_train_epochs"] = Choice(tuple(sorted({max(1, round(epochs * part)) for part in _EPOCHS})))
    space["trainer.warmup_steps"] = Range(0.0, _WARM_UP)
    left = {key: way for key, way in space.items() if key not in fixed}
    if not left:
        raise UsageError(
            f"nothing is left to try: {', '.join(space)} are set", help="a recipe's `search:` names what is"
        )
    return left


def _way(key: str, written: object) -> Choice | Range:
    """Return one entry of `search:`; raises UsageError."""
    if isinstance(written, list):
        if not written or not all(value is None or isinstance(value, Value) for value in written):
            raise UsageError(f"{key}: choices are single values, one at least")
        if len({str(value) for value in written}) < len(written):
            raise UsageError(f"{key}: a choice stands twice")
        return Choice(tuple(written))
    if not isinstance(written, Mapping):
        raise UsageError(f"{key}: {written!r:.100} is no range and no choices", help=f"`--set {key}=…` sets one value")
    names = ("low", "high", "log")
    for name in written:
        if name not in names:
            advice = did_you_mean(str(name), names, f"a range has {', '.join(names)}")
            raise UsageError(f"{key}: unknown key {name!r:.100}", help=advice)
    given: Mapping[str, Any] = {**dict.fromkeys(names), **written}
    low, high, log = given["low"], given["high"], given["log"]
    if not _is_number(low) or not _is_number(high) or not isinstance(log, bool | None):
        raise UsageError(f"{key}: a range is {{low: NUMBER, high: NUMBER}}, with `log: true` or without")
    if not low < high or (log and low <= 0):
        raise UsageError(f"{key}: low is less than high" + (", and more than 0 with `log: true`" if log else ""))
    return Range(low, high, log=bool(log))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _rounded(rate: float) -> float:
    return float(f"{rate:.2g}")
