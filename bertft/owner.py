"""Who writes something that only one process may: its number and its host, and what another process is told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertft.errors import UsageError


def this_process() -> dict[str, Any]:
    """Return what a lock says of the process that holds it."""
    return {"pid": os.getpid(), "host": os.uname().nodename}


def refused(partial: Path, owner: Mapping[str, Any], *, help: str) -> UsageError:
    """Return the error of a run that finds another one writing, of which as much is known as `owner` says."""
    who = f"process {owner.get('pid', 'unknown')} on {owner.get('host', 'an unknown host')}"
    return UsageError(f"another run is writing {str(partial)!r}: {who}", help=help)
