"""Packages that only some commands need, and that `pip install 'bertft[EXTRA]'` brings."""

from __future__ import annotations

from importlib.util import find_spec

from bertft.errors import UsageError


def require(*packages: str, extra: str, by: str) -> None:
    """Raise UsageError where one of the `packages`, which are needed `by` a command or an option, is not installed."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        fact = f"{by} needs {' and '.join(missing)}, not installed here"
        raise UsageError(fact, help=f"`pip install 'bertft[{extra}]'`")
