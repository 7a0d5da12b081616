"""`--seeds N`: the same job with N seeds, how far their scores are apart, and the model that is best on dev.

OUT.partial/seeds.json         the scores of the seeds that are done, which `--resume` does not train again
OUT.partial/bundle-14/         the best model of them so far
OUT.partial/checkpoints/15/    the checkpoints of the seed that is trained
"""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bertft.console import ERRORS, is_main_process, say, shown
from bertft.errors import ModelError
from bertft.training.directory import SEEDS, RunDirectory, writing

Scores = dict[str, Any]
"""What one seed came to: `seed`, and the metrics of `dev` and, where there is one, `test`."""


def spread(scores: Sequence[Mapping[str, float]], keys: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return `mean` and `sd` (of a sample, so by n - 1) of each metric over two models or more."""
    return {
        name: {key: of([score[key] for score in scores]) for key in keys}
        for name, of in (("mean", statistics.mean), ("sd", statistics.stdev))
    }


def spread_line(found: Mapping[str, Mapping[str, float]], keys: Sequence[str]) -> str:
    """Return what `spread` found as people read it."""
    return "  ".join(f"{key} {shown(key, found['mean'][key])} ± {shown(key, found['sd'][key])}" for key in keys)


@dataclass(slots=True)
class Seeds:
    """The seeds of one run, as far as they are done."""

    directory: RunDirectory
    first: int
    count: int
    metric: str
    """The dev metric by which one model is better than another."""
    done: list[Scores] = field(default_factory=list)

    @classmethod
    def begin(cls, directory: RunDirectory, *, first: int, count: int, metric: str, resume: bool) -> Seeds:
        """Begin, or with `resume` go on behind the seeds that are done; raises ModelError where those are damaged."""
        found = cls(directory, first, count, metric)
        if resume and (path := directory.partial / SEEDS).is_file():
            try:
                found.done = [dict(one) for one in json.loads(path.read_text(encoding="utf-8"))]
                found.best()
            except (ValueError, KeyError, TypeError):
                raise ModelError("cannot be read", place=path, help="`--overwrite` starts again") from None
        return found

    def remaining(self) -> Iterator[tuple[int, Path]]:
        """Yield each seed that is not done yet, and the folder for its checkpoints."""
        known = {one["seed"] for one in self.done}
        for number, seed in enumerate(range(self.first, self.first + self.count), 1):
            say(f"\nseed {seed}, {number} of {self.count}" + ("  (done before)" if seed in known else ""))
            if seed not in known:
                yield seed, self.directory.checkpoints / str(seed)

    def best(self) -> Scores:
        """Return the scores of the seed that is best on dev; of equal ones the first."""
        sign = -1 if self.metric in ERRORS else 1
        return max(self.done, key=lambda one: sign * float(one["dev"][self.metric]))

    def bundle(self, seed: int) -> Path:
        """Return where the model of a seed is kept while it is the best."""
        return self.directory.partial / f"bundle-{seed}"

    def add(self, scores: Scores) -> bool:
        """Note what a seed came to, and say whether its model is the best so far, which is to be written then."""
        self.done.append(scores)
        return self.best() is scores

    def save(self) -> None:
        """Write down what is done, when the best model is on the disk, and remove what is no longer needed."""
        if not is_main_process():
            return
        path = self.directory.partial / SEEDS
        with writing(path):
            new = path.with_name(f".{SEEDS}")
            new.write_text(json.dumps(self.done), encoding="utf-8")
            new.replace(path)
        kept = self.bundle(self.best()["seed"])
        for old in self.directory.partial.glob("bundle-*"):
            if old != kept:
                shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(self.directory.checkpoints / str(self.done[-1]["seed"]), ignore_errors=True)

    def finish(self) -> None:
        """Make the best model the run's."""
        best = self.bundle(self.best()["seed"])
        if best.exists():  # else a run that was killed behind this had come so far
            with writing(self.directory.bundle):
                shutil.rmtree(self.directory.bundle, ignore_errors=True)
                best.rename(self.directory.bundle)

    def summary(self, headline: Sequence[str]) -> dict[str, Any]:
        """Return `count`, the `best` seed and by which `metric`, `mean` and `sd` of each split, and all `scores`."""
        splits = [name for name in ("dev", "test") if name in self.done[0]]
        scores = [
            {"seed": one["seed"], **{name: {key: one[name][key] for key in headline} for name in splits}}
            for one in self.done
        ]
        spreads: dict[str, Any] = {name: spread([one[name] for one in scores], headline) for name in splits}
        best = self.best()["seed"]
        return {"count": self.count, "metric": self.metric, "best": best, **spreads, "scores": scores}
