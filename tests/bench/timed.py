"""Run a program that trains with `transformers.Trainer`, and say what its training steps did.

    python -m tests.bench.timed STATS.json MODULE ARGUMENTS…

Both sides of a comparison go through here, so both are measured alike: `Trainer.train` and `Trainer.training_step` are
wrapped, whatever else MODULE does. The steps before the first fifth of all are not counted: there memory is first
touched and kernels are made. What is written: `examples_per_second` and `tokens_per_second` (without padding),
`padding` (its share of the tokens), `seconds`, `peak_mb` of the process. Of a bertft run that ends where training
would end, since evaluations are turned off by the caller.
"""

import json
import resource
import runpy
import sys
import time
from pathlib import Path
from typing import Any

import transformers

_WARM = 0.2
"""The share of the steps that is not counted."""


class Clock:
    """What has been seen of the steps of one `Trainer.train`."""

    def __init__(self) -> None:
        self.ended = 0.0
        self._steps: list[tuple[float, int, Any, int]] = []  # when it began, its examples, tokens, places

    def step(self, inputs: dict[str, Any]) -> None:
        mask = inputs["attention_mask"]
        examples = len(inputs.get("labels", mask))
        # a tensor: to ask for its value would wait for a GPU
        self._steps.append((time.perf_counter(), examples, mask.sum(), mask.numel()))

    def stats(self) -> dict[str, float]:
        counted = self._steps[int(len(self._steps) * _WARM) :]
        seconds = self.ended - counted[0][0]
        examples, tokens, places = (int(sum(step[i] for step in counted)) for i in (1, 2, 3))
        return {
            "examples_per_second": examples / seconds,
            "tokens_per_second": tokens / seconds,
            "padding": 1 - tokens / places,
            "steps": len(counted),
            "seconds": seconds,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


def main() -> None:
    """Run MODULE as a program, and write the figures even where it leaves by `sys.exit`."""
    stats, module, *arguments = sys.argv[1:]
    clock = Clock()
    train, training_step = transformers.Trainer.train, transformers.Trainer.training_step

    def timed_train(self: Any, *positional: Any, **named: Any) -> Any:
        try:
            return train(self, *positional, **named)
        finally:
            clock.ended = time.perf_counter()

    def timed_step(self: Any, model: Any, inputs: Any, *positional: Any, **named: Any) -> Any:
        clock.step(inputs)
        return training_step(self, model, inputs, *positional, **named)

    transformers.Trainer.train, transformers.Trainer.training_step = timed_train, timed_step
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        Path(stats).write_text(json.dumps(clock.stats()), encoding="utf-8")


if __name__ == "__main__":
    main()
