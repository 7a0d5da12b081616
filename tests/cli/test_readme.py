"""What README.md shows is what the commands print."""

from __future__ import annotations

import readme


def test_help_texts_in_the_readme_are_current() -> None:
    fresh = readme.current()
    assert fresh == readme.README.read_text(encoding="utf-8"), "run `python -m tests.readme`"
    assert fresh.count("--help\nUsage: bertft") >= 3
