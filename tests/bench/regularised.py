"""What two ideas would add that training does not have: averaged weights (EMA) and R-Drop.

    python -m tests.bench.regularised --seeds 3 --results regularised.jsonl    # goes on if interrupted
    python -m tests.bench.regularised --sets sst2 --rows 1000 --seeds 1

Each set is cut as `data_sets.py` says. `plain` is the model after the last step of the set's recipe. `ema 0.99` and
`ema 0.999` are that same run's weights averaged over its steps, with a decay that warms up as (1 + t) / (10 + t).
`r-drop` is another run: each batch goes through the model twice, with other dropout masks, and the loss is the mean of
both plus `--alpha` / 4 times the divergences between the two answers, which is half of equation 4 in Wu et al. 2021,
"R-Drop: Regularized Dropout for Neural Networks"; it takes twice the time, and so does `twice the epochs`, which is
`plain` with them. The table has the mean ± standard deviation over seeds of the test score (the dev score where a set
has no test part), and the difference to `plain` by seed.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from typing_extensions import override

from bertft import recipe as recipes
from bertft.inference.evaluate import read_labelled
from bertft.training import fit
from bertft.training.distillation import soft
from bertft.training.plan import plan
from bertft.training.trainer import EncoderTrainer
from tests.bench.data_sets import SETS
from tests.bench.scores import DATA

DECAYS = (0.99, 0.999)
KINDS = ("plain", *(f"ema {decay}" for decay in DECAYS), "twice the epochs", "r-drop")


class Averages(transformers.TrainerCallback):
    """The averages of all weights over the steps, one a decay."""

    def __init__(self) -> None:
        self.of: dict[float, dict[str, torch.Tensor]] = {}

    @override
    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        for decay in DECAYS:
            keep = min(decay, state.global_step / (9 + state.global_step))
            own = self.of.setdefault(decay, {})
            for name, value in model.named_parameters():
                old = own.get(name)
                own[name] = value.detach().clone() if old is None else old.lerp_(value.detach(), 1 - keep)


class Averaged(EncoderTrainer):
    """The project's Trainer, with averages kept beside it."""

    averages: Averages

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        type(self).averages = Averages()
        self.add_callback(self.averages)


class RDrop(EncoderTrainer):
    """The project's Trainer with the loss of R-Drop."""

    alpha = 1.0

    @override
    def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **named: Any) -> Any:
        self._answers: list[torch.Tensor] = []
        whole = dict(inputs)
        first = super().compute_loss(model, inputs, *arguments, **named)
        second = super().compute_loss(model, whole, *arguments, **named)
        one, other = self._answers
        apart = self._divergence(one, other) + self._divergence(other, one)
        return (first + second) / 2 + self.alpha / 4 * apart / self._count

    def _divergence(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return soft(self._objective, one, other, self._labels, mask=self._mask, temperature=1.0)

    @override
    def _loss(self, found: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None) -> torch.Tensor:
        self._answers.append(found.logits.float())
        self._labels, self._count = labels, num_items_in_batch
        return super()._loss(found, labels, num_items_in_batch)


def runs(name: str, seed: int, *, alpha: float, data: Path, rows: int | None) -> dict[str, float]:
    """Return the score of each kind of model on one set."""
    chosen = SETS[name]
    scores = {}
    RDrop.alpha = alpha
    for kind, trainer in (("plain", Averaged), ("twice the epochs", EncoderTrainer), ("r-drop", RDrop)):
        with tempfile.TemporaryDirectory() as scratch:
            files = [str(path) for path in chosen.files(data / name, Path(scratch))]
            last = ["trainer.load_best_model_at_end=false", "trainer.save_strategy=no", "trainer.eval_strategy=no"]
            columns = dict(pair.split("=") for pair in chosen.options[-1].split(",")) if chosen.options else {}
            recipe = recipes.override(recipes.load(chosen.recipe, last), {"seed": seed, "columns": columns})
            if kind == "twice the epochs":
                recipe.trainer["num_train_epochs"] = 2 * recipe.trainer.get("num_train_epochs", 3)
            job = plan(recipe, data=files[0], dev=files[1], test=None, format="auto", limit=rows, folds=None)
            fit.EncoderTrainer = trainer  # type: ignore[misc]
            trained = fit.fit(job, Path(scratch) / "run", device="cpu", resumable=False)
            tested = read_labelled(job.task, files[-1], use="test", columns=columns or None).examples

            def score() -> float:
                pairs, _ = trained.engine.evaluate(tested)  # noqa: B023  (called in this turn of the loop)
                return float(trained.engine.task.score(pairs)[chosen.metric])  # noqa: B023

            scores[kind] = score()
            if trainer is not Averaged:
                continue
            for decay, weights in Averaged.averages.of.items():
                trained.model.load_state_dict(weights, strict=False)
                scores[f"ema {decay}"] = score()
    return scores


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as a Markdown table, a row a data set and kind."""
    lines = ["| data | model | score | against plain, by seed |", "| --- " * 4 + "|"]
    for name in dict.fromkeys(one["set"] for one in results):
        of_set = [one["scores"] for one in results if one["set"] == name]
        for kind in KINDS:
            values = [100 * scores[kind] for scores in of_set]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            gains = ", ".join(f"{100 * (scores[kind] - scores['plain']):+.1f}" for scores in of_set)
            score = f"{statistics.mean(values):.1f}{spread} ({SETS[name].metric}, {len(values)} seeds)"
            lines.append(f"| {name} | {kind} | {score} | {gains if kind != 'plain' else ''} |")
    return "\n".join(lines)


def main() -> None:
    """Do the runs that are not done yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="*", choices=SETS, default=["sst2", "banking77", "wnut17"])
    parser.add_argument("--rows", type=int, help="so many rows to learn from")
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--results", type=Path, default=Path("regularised.jsonl"))
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the data sets")
    args = parser.parse_args()
    results = [json.loads(line) for line in args.results.read_text().splitlines()] if args.results.exists() else []
    for seed in range(1, args.seeds + 1):
        for name in args.sets:
            key = {"set": name, "seed": seed, "alpha": args.alpha, "rows": args.rows}
            if any(key.items() <= one.items() for one in results):
                continue
            results.append({**key, "scores": runs(name, seed, alpha=args.alpha, data=args.data, rows=args.rows)})
            with args.results.open("a") as file:
                print(json.dumps(results[-1]), file=file)
    print(table(results))


if __name__ == "__main__":
    main()
