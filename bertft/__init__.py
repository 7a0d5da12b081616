"""bertft fine-tunes encoder models on a labelled file, says how good they are, and runs them as a Unix filter.

The public functions are imported when they are first used: `import bertft` loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "embed": "bertft.inference.embed",
    "evaluate": "bertft.inference.evaluate",
    "load_recipe": "bertft.recipe:load",
    "open_bundle": "bertft.bundle.store",
    "predict": "bertft.inference.predict",
    "train": "bertft.training.run",
}

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604  (they are resolved by __getattr__)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'bertft' has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(import_module(module), attribute or name)
