"""The help texts in README.md: `python -m tests.readme` puts them in anew, and a test holds them against `--help`."""

import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
_BLOCK = re.compile(r"```\n\$ bertft (?P<arguments>[^\n]*--help)\n.*?```", re.DOTALL)


def current() -> str:
    """Return README.md with every help block as the commands print it now."""

    def fresh(block: re.Match[str]) -> str:
        command = [sys.executable, "-m", "bertft", *block["arguments"].split()]
        environment = {**os.environ, "COLUMNS": "100"}
        shown = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
        return f"```\n$ bertft {block['arguments']}\n{shown.rstrip()}\n```"

    return _BLOCK.sub(fresh, README.read_text(encoding="utf-8"))


if __name__ == "__main__":
    README.write_text(current(), encoding="utf-8")
