"""What was read and tokenized once is kept, by content: a second run on the same file starts at once.

    ~/.cache/bertft/items/KEY/      (or under $BERTFT_CACHE, $XDG_CACHE_HOME/bertft)
        prepared.json               what was learnt of the file: labels, counts, what was said
        ids.npy, …                  the items, which training maps into memory

The key is a hash of the file's bytes, the tokenizer, the window, and all that says how the file is read. An entry is
written beside its place and renamed, so it is whole or not there; the oldest are removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bertft import __version__, digest
from bertft.check.leaks import Keys
from bertft.console import detail, is_main_process, say, warn
from bertft.tasks.base import Counts, Objective, Scale, Task
from bertft.training.items import Items

LEAST_BYTES = 2**20
"""Of a file that is kept: a smaller one is read in a second or two."""
_ENTRIES = 8
_TEXTS = "texts.npy"
_FORMAT = 3  # to be raised with every change of how rows are read or cut


@dataclass(frozen=True, slots=True)
class Prepared:
    """A training file, read: the task that has learnt of it, what is drawn from it, and what there is to say."""

    task: Task[Any, Any, Any]
    info: dict[str, Any]
    """The file's path, hash and number of rows, as `Labelled` has them."""
    objective: Objective
    items: Items
    counts: Counts
    labels: Counter[str]
    notes: list[str]
    """On what training leaves out."""
    said: Sequence[tuple[str, str]] = ()
    """What was said of the file when it was read."""
    texts: Keys = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    """What the rows' texts are known by (`check/leaks.py`)."""

    def repeat(self, path: str) -> None:
        """Say again what was said when the file, which may have moved, was read."""
        for how, line in self.said:
            (warn if how == "warn" else say)(line.replace(self.info["path"], path))


def key(path: str, tokenizer: str, settings: Mapping[str, Any]) -> str:
    """Return the name of the entry for a file, a tokenizer (as JSON) and how the file is read.

    A file's suffix says its format, and files beside it may hold its labels or their names, so they are part of it.
    """
    every = hashlib.sha256()
    name, folder = os.path.basename(path), os.path.dirname(path) or "."
    beside = sorted(
        (entry.name, entry.stat().st_size, entry.stat().st_mtime_ns)
        for entry in os.scandir(folder)
        if entry.is_file() and entry.name != name
    )
    every.update(json.dumps([name.partition(".")[2], beside]).encode())
    every.update(digest.of_file(path).encode())
    every.update(json.dumps([_FORMAT, __version__, settings], sort_keys=True, default=str).encode())
    every.update(hashlib.sha256(tokenizer.encode()).digest())
    return every.hexdigest()[:32]


def read(name: str, task: Task[Any, Any, Any]) -> Prepared | None:
    """Return an entry, None where there is none, or it cannot be read. `task` is as the recipe says it."""
    folder = _folder() / name
    try:
        stored = json.loads((folder / "prepared.json").read_text(encoding="utf-8"))
        objective = stored["objective"]
        if objective["weights"] is not None:
            objective["weights"] = tuple(objective["weights"])
        found = Prepared(
            task.prepared(stored["task"], Scale(*stored["scale"]) if stored["scale"] else None),
            stored["info"],
            Objective(**objective),
            Items.load(folder),
            Counts(*stored["counts"]),
            Counter(stored["labels"]),
            stored["notes"],
            [(how, line) for how, line in stored["said"]],
            np.load(folder / _TEXTS),
        )
        os.utime(folder)
    except (OSError, ValueError, KeyError, TypeError):  # not there, torn, or of another version
        return None
    detail(f"read and tokenized before: {folder}")
    return found


def write(name: str, prepared: Prepared) -> None:
    """Keep an entry; a cache that cannot be written is no reason to stop."""
    if not is_main_process():
        return
    folder = _folder()
    stored = {
        "task": prepared.task.state(),
        "scale": prepared.task.scale,
        "info": prepared.info,
        "objective": asdict(prepared.objective),
        "counts": [getattr(prepared.counts, field) for field in Counts.__slots__],
        "labels": dict(prepared.labels),
        "notes": prepared.notes,
        "said": prepared.said,
    }
    scratch = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder, prefix="."))
        prepared.items.save(scratch)
        np.save(scratch / _TEXTS, prepared.texts)
        (scratch / "prepared.json").write_text(json.dumps(stored), encoding="utf-8")
        shutil.rmtree(folder / name, ignore_errors=True)  # what could not be read
        scratch.rename(folder / name)
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.stat().st_mtime)[:-_ENTRIES]:
            shutil.rmtree(entry, ignore_errors=True)
    except OSError as error:
        detail(f"what was tokenized is not kept: {error.strerror or error}")
        if scratch is not None:
            with suppress(OSError):
                shutil.rmtree(scratch)


def _folder() -> Path:
    given = os.environ.get("BERTFT_CACHE")
    base = given or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "bertft")
    return Path(base) / "items"
