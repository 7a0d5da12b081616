"""Findings as a terminal shows them: by code, each with its place, its sentence and its fix."""

from __future__ import annotations

from collections.abc import Sequence

from bertft.check.codes import CODES
from bertft.check.findings import Finding, counts
from bertft.errors import printable


def finding_list(findings: Sequence[Finding]) -> str:
    """Return findings, which are in order, grouped by code; a fix that several of a group share stands once."""
    groups: dict[str, list[Finding]] = {}
    for one in findings:
        groups.setdefault(one.code, []).append(one)
    lines = []
    for code, group in groups.items():
        lines.append(f"{group[0].severity}: {code}: {CODES[code].what}")
        fixes = {one.fix for one in group}
        for one in group:
            lines.append(f"  {one.place + ': ' if one.place else ''}{one.message}")
            if len(fixes) > 1:
                lines.append(f"    fix: {one.fix}")
        if len(fixes) == 1:
            lines.append(f"  fix: {fixes.pop()}")
        lines.append("")
    total = [f"{count:,} {severity}{'s' * (count != 1)}" for severity, count in counts(findings).items()]
    lines.append(", ".join(total))
    if findings:
        lines[-1] += "; `bertft check --explain CODE` says more"
    return printable("\n".join(lines))
