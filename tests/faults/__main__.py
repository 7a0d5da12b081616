"""Counted faults: what bertft is put through, and what of it was lost, wrong or said with a traceback.

    python -m tests.faults                 # every campaign, hours
    python -m tests.faults kills --quick   # one of them, a few minutes
    python -m tests.faults --json          # ends with one JSON line of all counts

Each campaign is a module beside this one with `run(*, quick: bool, seed: int) -> Counts`. It prints what it does; a
count of `failures` other than 0 makes the exit code 1.
"""

import argparse
import json
import sys
import time
from importlib import import_module

CAMPAIGNS = ("kills", "signals", "disk", "memory", "fuzz", "soak", "determinism")

Counts = dict[str, int | float]
"""What was counted, by name; `failures` is among them."""


def main() -> int:
    """Run the campaigns that are named, all without a name, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Counted faults.")
    parser.add_argument("campaigns", nargs="*", metavar="CAMPAIGN", help=", ".join(CAMPAIGNS))
    parser.add_argument("--quick", action="store_true", help="less of everything: minutes")
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    chosen = parser.parse_args()
    if unknown := set(chosen.campaigns) - set(CAMPAIGNS):
        parser.error(f"there is no campaign {', '.join(sorted(unknown))}; there are {', '.join(CAMPAIGNS)}")
    seen: dict[str, Counts] = {}
    for name in chosen.campaigns or CAMPAIGNS:
        print(f"\n{name}", flush=True)
        started = time.monotonic()
        seen[name] = import_module(f"tests.faults.{name}").run(quick=chosen.quick, seed=chosen.seed)
        seen[name]["seconds"] = round(time.monotonic() - started)
        print("  " + "  ".join(f"{key} {value:,}" for key, value in seen[name].items()), flush=True)
    if chosen.json:
        print(json.dumps(seen))
    return 1 if any(counts["failures"] for counts in seen.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
