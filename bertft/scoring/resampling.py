"""Metrics of resampled files: what each unit (sentence, text, question, document) adds to them is counted once.

A resample is then a weight a unit, and its metrics are sums. Units of which gold and prediction are the same are one
kind, drawn together: a file of 100,000 labels has some dozens of kinds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bertft.scoring import spans
from bertft.scoring.answers import text_scores
from bertft.scoring.classification import ranking_scores
from bertft.scoring.outcomes import DETECTION, Kind, Outcomes

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Metrics = dict[str, Floats]
Statistic = Callable[[Floats], Metrics]
"""Weights (samples, n) of n rows or kinds of units to metrics (samples,) each; NaN where nothing can be measured."""

_BLOCK = 250_000
"""Weights that are held at a time, so that they stay in the cache."""
_FEW = 8
"""Where a file has so many times fewer kinds than units, kinds are drawn, not units."""
_CONSTANT = 1e-20
"""A variance, of values whose own is 1, that is rounding."""


@dataclass(frozen=True, slots=True)
class Units:
    """The units of a file under one system or several: the kind of each, (systems, units), and what kinds amount to."""

    kinds: Ints
    count: int
    statistic: Statistic

    @property
    def size(self) -> int:
        """How many units there are."""
        return int(self.kinds.shape[1])

    def observed(self, system: int = 0) -> dict[str, float]:
        """Return the metrics of the file as it is."""
        weights = np.bincount(self.kinds[system], minlength=self.count).astype(np.float64)
        return {name: float(values[0]) for name, values in self.statistic(weights[None]).items()}

    def bootstrap(self, samples: int, seed: int) -> list[Metrics]:
        """Return for each system its metrics, (samples,) each, on as many units drawn anew: the same for all."""
        joint, _, times = self._joint()

        def drawn(rng: np.random.Generator, count: int) -> Iterator[Floats]:
            weights = draw(rng, times, count)
            return (self._spread(weights, kinds) for kinds in joint)

        return self._blocks(samples, seed, drawn)

    def randomized(self, samples: int, seed: int) -> list[Metrics]:
        """Return the metrics of two systems whose answers are exchanged, unit by unit, by the toss of a coin."""
        joint, _, times = self._joint()

        def drawn(rng: np.random.Generator, count: int) -> Iterator[Floats]:
            swapped = rng.binomial(times, 0.5, size=(count, len(times))).astype(np.float64)
            for mine, other in (joint, joint[::-1]):
                yield self._spread(times - swapped, mine) + self._spread(swapped, other)

        return self._blocks(samples, seed, drawn)

    def pair(self, first: int, second: int) -> Units:
        """Return the units under two of the systems."""
        return Units(self.kinds[[first, second]], self.count, self.statistic)

    def _joint(self) -> tuple[Ints, Ints, Ints]:
        """Return the combinations of kinds, (systems, combinations), which each unit has, and how many have each."""
        found: dict[tuple[int, ...], int] = {}
        columns = zip(*self.kinds.tolist(), strict=True)
        which = np.array([found.setdefault(column, len(found)) for column in columns], dtype=np.int64)
        return np.array(list(found), dtype=np.int64).T, which, np.bincount(which, minlength=len(found))

    def _spread(self, weights: Floats, kinds: Ints) -> Floats:
        """Return weights of combinations, (samples, combinations), as weights of kinds."""
        from scipy.sparse import csr_array

        if len(kinds) == self.count and np.array_equal(kinds, np.arange(self.count)):
            return weights
        ones = (np.ones(len(kinds)), (np.arange(len(kinds)), kinds))
        return np.asarray(weights @ csr_array(ones, shape=(len(kinds), self.count)))

    def _blocks(
        self, samples: int, seed: int, drawn: Callable[[np.random.Generator, int], Iterator[Floats]]
    ) -> list[Metrics]:
        rng = np.random.default_rng(seed)
        size = max(1, _BLOCK // max(self.size, self.count))
        found = [
            [self.statistic(weights) for weights in drawn(rng, min(size, samples - start))]
            for start in range(0, samples, size)
        ]
        return [
            {key: np.concatenate([one[key] for one in blocks]) for key in blocks[0]}
            for blocks in zip(*found, strict=True)
        ]


def draw(rng: np.random.Generator, times: Ints, samples: int) -> Floats:
    """Return how often each kind is met, (samples, kinds), when as many units as there are of all kinds are drawn."""
    size = int(times.sum())
    if _FEW * len(times) < size:
        return rng.multinomial(size, times / size, size=samples).astype(np.float64)
    drawn = rng.integers(size, size=(samples, size), dtype=np.int64)  # units
    if len(times) < size:
        drawn = np.repeat(np.arange(len(times)), times)[drawn]
    drawn += np.arange(samples)[:, None] * len(times)
    return np.bincount(drawn.ravel(), minlength=samples * len(times)).reshape(samples, -1).astype(np.float64)


def units(systems: Sequence[Outcomes]) -> Units:
    """Return the units of a file under systems that answered the same rows; raises ValueError where there is none."""
    first = systems[0]
    silent = first.kind == "answer" and not all(first.gold)
    members: dict[Hashable, list[int]] = defaultdict(list)
    for row in range(len(first.gold)):
        members[row if first.groups is None else first.groups[row]].append(row)
    if not members:
        raise ValueError("there is no unit")
    found: dict[tuple[Any, ...], int] = {}
    kinds = []
    for system in systems:
        rows = _reduced(system, silent=silent)
        if system.ranks is not None:
            rows = [(*row, *rank) for row, rank in zip(rows, system.ranks, strict=True)]
        kinds.append([found.setdefault(tuple(rows[i] for i in group), len(found)) for group in members.values()])
    return Units(np.array(kinds, dtype=np.int64), len(found), _of_groups(first, list(found), silent=silent))


def _reduced(outcomes: Outcomes, *, silent: bool) -> list[tuple[Any, ...]]:
    """Return what each row adds to the metrics."""
    both = list(zip(outcomes.gold, outcomes.predicted, strict=True))
    if outcomes.kind == "entities":
        return [spans.counts(gold, guess) for gold, guess in both]
    if outcomes.kind == "answer":
        guesses = [guess or "" for guess in outcomes.predicted]
        exact, f1 = text_scores(outcomes.gold, guesses, version=2 if silent else 1)
        if silent:  # who says that there is no answer is right where there is none, and nowhere else
            for i, (gold, guess) in enumerate(both):
                exact[i], f1[i] = (not gold, not gold) if guess is None else (exact[i], f1[i])
        return [*zip(map(bool, outcomes.gold), exact.tolist(), f1.tolist(), strict=True)]
    if outcomes.kind == "masked":
        return list(outcomes.predicted)
    return both


def _of_groups(outcomes: Outcomes, groups: Sequence[Sequence[tuple[Any, ...]]], *, silent: bool) -> Statistic:
    """Return the statistic of kinds of units, each a group of rows."""
    rows = [row for group in groups for row in group]
    owner = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    ranked = outcomes.ranks is not None
    of_rows = _statistic(outcomes.kind, [row[:2] for row in rows] if ranked else rows, outcomes.labels, silent=silent)
    of_ranks = _ranking([[(row[2], row[3]) for row in group] for group in groups]) if ranked else None

    def statistic(weights: Floats) -> Metrics:
        metrics = of_rows(weights if len(rows) == len(groups) else weights[:, owner])
        return {**of_ranks(weights), **metrics} if of_ranks else metrics

    return statistic


def _statistic(kind: Kind, rows: Sequence[tuple[Any, ...]], labels: Sequence[str], *, silent: bool) -> Statistic:
    match kind:
        case "label":
            return _label([(g,) for g, _ in rows], [(p,) for _, p in rows])
        case "tags":
            gold, guess = ([[tag for tags in row[side] for tag in tags] for row in rows] for side in (0, 1))
            return _label(gold, guess)
        case "labels":
            return _label_sets(rows, labels)
        case "entities":
            return _entities(np.array(rows, dtype=np.float64))
        case "answer":
            return _answers(np.array(rows, dtype=np.float64), silent=silent)
        case "masked":
            return _masked(np.array(rows, dtype=np.float64), labels)
        case "value":
            return _values(np.array(rows, dtype=np.float64))


def _ratio(a: Floats, b: Floats) -> Floats:
    """Return a / b, 0 where there is nothing to divide by."""
    return np.asarray(np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b > 0))


def _mean(total: Floats, count: Floats) -> Floats:
    """Return a mean, NaN of a resample that has nothing to take it of: it says nothing of the metric."""
    return np.asarray(np.divide(total, count, out=np.full(np.broadcast(total, count).shape, np.nan), where=count > 0))


def _counted(rows: Sequence[Sequence[str]], ids: dict[str, int]) -> Any:
    """Return how often each row has each label, sparse (rows, labels)."""
    from scipy.sparse import csr_array

    where = [(i, ids[label]) for i, row in enumerate(rows) for label in row]
    at = np.array(where, dtype=np.int64).reshape(-1, 2).T
    return csr_array((np.ones(at.shape[1]), (at[0], at[1])), shape=(len(rows), len(ids)))  # equal places add up


def _label(gold: Sequence[Sequence[str]], guess: Sequence[Sequence[str]]) -> Statistic:
    """Return `accuracy` and `macro_f1` of rows that have one label, or one a word."""
    ids = {label: i for i, label in enumerate(dict.fromkeys(label for row in (*gold, *guess) for label in row))}
    right = [[a for a, b in zip(one, other, strict=True) if a == b] for one, other in zip(gold, guess, strict=True)]
    there, found, hits = (_counted(rows, ids) for rows in (gold, guess, right))

    def statistic(weights: Floats) -> Metrics:
        true, all_of = weights @ hits, weights @ there  # (samples, labels)
        both = all_of + weights @ found
        accuracy = _ratio(true.sum(axis=1), all_of.sum(axis=1))
        return {"accuracy": accuracy, "macro_f1": _ratio(_ratio(2 * true, both).sum(axis=1), (both > 0).sum(axis=1))}

    return statistic


def _label_sets(rows: Sequence[tuple[Any, ...]], labels: Sequence[str]) -> Statistic:
    gold, guess = [row[0] for row in rows], [row[1] for row in rows]
    ids = {label: i for i, label in enumerate(dict.fromkeys((*labels, *(a for row in (*gold, *guess) for a in row))))}
    there, found, hits = (_counted(some, ids) for some in (gold, guess, [[*{*a} & {*b}] for a, b in rows]))
    same = np.array([{*a} == {*b} for a, b in rows], dtype=np.float64)
    known = np.arange(len(ids)) < len(labels)

    def statistic(weights: Floats) -> Metrics:
        true, all_of = weights @ hits, weights @ there
        both = all_of + weights @ found
        counted = known | (all_of > 0)  # as the metric has it: labels that the model does not know count where they are
        return {
            "micro_f1": _ratio(2 * true.sum(axis=1), both.sum(axis=1)),
            "macro_f1": _ratio(_ratio(2 * true, both).sum(axis=1), counted.sum(axis=1)),
            "subset_accuracy": _ratio(weights @ same, weights.sum(axis=1)),
        }

    return statistic


def _entities(rows: Floats) -> Statistic:
    def statistic(weights: Floats) -> Metrics:
        right, found, there = (weights @ rows).T
        return {
            "f1": _ratio(2 * right, found + there),
            "precision": _ratio(right, found),
            "recall": _ratio(right, there),
        }

    return statistic


def _answers(rows: Floats, *, silent: bool) -> Statistic:
    answerable, exact, f1 = rows.T

    def statistic(weights: Floats) -> Metrics:
        metrics = {}
        for kind, members in (("", np.ones(len(rows))), ("has_ans_", answerable), ("no_ans_", 1 - answerable)):
            if silent or not kind:
                total = weights @ members
                metrics[f"{kind}exact" if kind else "exact_match"] = _mean(weights @ (exact * members), total)
                metrics[f"{kind}f1"] = _mean(weights @ (f1 * members), total)
        return metrics

    return statistic


def _masked(rows: Floats, told: Sequence[str]) -> Statistic:
    """Return `loss`, `perplexity` and `accuracy` of (masked tokens, sum of losses, guessed tokens), (rows, 3).

    Where something was `told` of pairs, rows have two columns more, (pairs, told right): its `…_accuracy`. Of replaced
    tokens (`rtd`) they are (tokens, sum of losses, replaced, taken for it, both): `rtd_loss`, `total_loss`, `rtd_f1`.
    """

    def statistic(weights: Floats) -> Metrics:
        total, losses, right, *more = (weights @ rows).T
        loss = _mean(losses, total)
        found = {"loss": loss, "perplexity": np.exp(np.minimum(loss, 700.0)), "accuracy": _mean(right, total)}
        if "rtd" in told:
            tokens, lost, replaced, taken, both = more
            detection = _mean(lost, tokens)
            found |= {"rtd_loss": detection, "total_loss": loss + DETECTION * detection}
            return {**found, "rtd_f1": _ratio(2 * both, replaced + taken)}
        return {**found, **{f"{name}_accuracy": _mean(more[1], more[0]) for name in told}}

    return statistic


def _values(rows: Floats) -> Statistic:
    """Return `pearson`, `spearman` (0 where a side is constant) and `rmse` of (gold, predicted), (rows, 2)."""
    squares = (rows[:, 0] - rows[:, 1]) ** 2
    x, y = (_standard(side) for side in rows.T)
    moments = np.stack([x, y, x * x, y * y, x * y], axis=1)
    ranked = [_Ranks.of(side) for side in rows.T]

    def statistic(weights: Floats) -> Metrics:
        total = weights.sum(axis=1)
        a, b, aa, bb, ab = _ratio((weights @ moments).T, total)
        pearson = _correlation(aa - a * a, bb - b * b, ab - a * b)
        p, q = (ranks.resampled(weights) for ranks in ranked)
        aa, bb, ab = (_ratio(np.einsum("sr,sr,sr->s", weights, *two), total**3) for two in ((p, p), (q, q), (p, q)))
        return {
            "pearson": pearson,
            "spearman": _correlation(aa, bb, ab),
            "rmse": np.sqrt(_ratio(weights @ squares, total)),
        }

    return statistic


def _standard(values: Floats) -> Floats:
    """Return standard scores: sums of their squares lose no digits."""
    deviation = values.std()
    return np.asarray((values - values.mean()) / (deviation if deviation else 1.0))


def _correlation(xx: Floats, yy: Floats, xy: Floats) -> Floats:
    """Return the correlation of two variances, of about 1, and a covariance; 0 where a side is constant."""
    varies = (xx > _CONSTANT) & (yy > _CONSTANT)
    return np.asarray(np.where(varies, xy / np.sqrt(np.where(varies, xx * yy, 1.0)), 0.0))


@dataclass(frozen=True, slots=True)
class _Ranks:
    """The order of values: the place of each among the distinct ones."""

    place: Ints
    order: Ints
    starts: Ints

    @classmethod
    def of(cls, values: Floats) -> _Ranks:
        _, place = np.unique(values, return_inverse=True)
        order = np.argsort(place, kind="stable")
        return cls(place, order, np.flatnonzero(np.diff(place[order], prepend=-1)))

    def resampled(self, weights: Floats) -> Floats:
        """Return the ranks of the values in resamples, less the mean rank, (samples, rows): ties share theirs."""
        equal = weights[:, self.order]
        if len(self.starts) < len(self.order):
            equal = np.add.reduceat(equal, self.starts, axis=1)  # (samples, distinct values)
        ranks = np.cumsum(equal, axis=1) - equal / 2 - weights.sum(axis=1, keepdims=True) / 2
        return np.asarray(ranks[:, self.place])


def _ranking(groups: Sequence[Sequence[tuple[bool, float]]]) -> Statistic:
    """Return `mrr` and `map` of questions, of those that have a right answer."""
    each = [ranking_scores([group]) for group in groups]
    table = np.array([(1 - one["questions_without_answer"], one["mrr"], one["map"]) for one in each], dtype=np.float64)

    def statistic(weights: Floats) -> Metrics:
        asked, reciprocal, average = (weights @ table).T
        return {"mrr": _mean(reciprocal, asked), "map": _mean(average, asked)}

    return statistic
