"""What a check says (`Finding`), about what (`Record`, `Part`), and how findings are put in order and bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from bertft.check.codes import CODES
from bertft.data.row import Place

Severity = Literal["error", "warning", "note"]
_RANK: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}

LISTED = 20
"""Findings of one code in one file that are listed one by one."""
SHARE = 0.01
"""Of a file's rows: what fewer of them have cannot move a score by more than a point, and is a note."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or worth a look. `line` is 0 where it is about a whole file, `path` "" about none."""

    code: str
    severity: Severity
    path: str
    line: int
    id: str | None
    message: str
    fix: str

    @property
    def place(self) -> str:
        """The place as it is printed; "" where there is none."""
        return f"{self.path}:{self.line}" if self.line else self.path

    def to_json(self) -> dict[str, Any]:
        """Return the finding as `check --json` prints it: no path and no line are null."""
        return {**asdict(self), "path": self.path or None, "line": self.line or None}


@dataclass(frozen=True, slots=True)
class Record:
    """An example as the checks see it, whatever its task.

    `text` is what duplicates are found by, `gold` what its equals should share (a value in standard deviations), and
    `labels` are what is counted of it.
    """

    place: Place
    text: str
    gold: Hashable = None
    labels: tuple[str, ...] = ()
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one file: `name` is train, dev or test."""

    name: str
    path: str
    records: Sequence[Record]


def finding(
    code: str,
    severity: Severity,
    message: str,
    *,
    at: Place | str = "",
    id: str | None = None,
    fix: str | None = None,
) -> Finding:
    """Return a finding at a place or in a file; the fix is the code's own where none is given."""
    path, line = at if isinstance(at, Place) else (at, 0)
    return Finding(code, severity, path, line, id, message, CODES[code].fix if fix is None else fix)


def by_share(count: int, total: int, *, least: float = SHARE) -> Severity:
    """Return `warning` where so many of the rows are enough to matter, else `note`."""
    return "warning" if count >= least * total else "note"


def bounded(findings: Iterable[Finding], listed: int = LISTED) -> list[Finding]:
    """Return the first findings of each code and file; the last of them says how many there are in all."""
    kept: list[Finding] = []
    seen: Counter[tuple[str, str]] = Counter()
    last: dict[tuple[str, str], int] = {}
    for one in findings:
        key = (one.code, one.path)
        seen[key] += 1
        if seen[key] <= listed:
            last[key] = len(kept)
            kept.append(one)
    for key, count in seen.items():
        if count > listed:
            at = last[key]
            more = f"{kept[at].message}; {count:,} such findings in all, of which the first {listed} are listed"
            kept[at] = replace(kept[at], message=more)
    return kept


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings by severity, then by place."""
    return sorted(findings, key=lambda one: (_RANK[one.severity], one.path, one.line, one.code))


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """Return how many findings there are of each severity."""
    found = Counter(one.severity for one in findings)
    return {severity: found[severity] for severity in _RANK}
