"""`bertft predict` in this process, timed as the peers are: without loading, and with it until the first answer.

python -m tests.bench.own STATS.json MODEL FILE [options of predict…]
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from bertft.cli import main as bertft
from bertft.inference import predict


def main() -> None:
    """Predict, and write `rows_per_second` (loading left out), `peak_mb` and `rows`."""
    stats, *arguments = sys.argv[1:]
    ready: list[float] = []
    rows = 0
    load, answer = predict.engine, predict.Filter.answer

    def timed_load(*positional: Any, **named: Any) -> Any:
        loaded = load(*positional, **named)
        ready.append(time.perf_counter())
        return loaded

    def counted(self: Any, *positional: Any, **named: Any) -> Any:
        nonlocal rows
        yield from answer(self, *positional, **named)
        rows += self.answered

    predict.engine, predict.Filter.answer = timed_load, counted
    code = bertft(["predict", *arguments])
    seconds = time.perf_counter() - ready[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    Path(stats).write_text(json.dumps({"rows_per_second": rows / seconds, "rows": rows, "peak_mb": peak}))
    sys.exit(code)


if __name__ == "__main__":
    main()
