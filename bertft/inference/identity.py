"""What a run of `predict` was: its inputs, its model, and the options that its bytes depend on, by name.

Two runs that have all of it in common give the same bytes: one may continue the other.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bertft import digest
from bertft.bundle.exported import fingerprint
from bertft.bundle.store import Bundle, versions
from bertft.errors import DataError, UsageError

_WEIGHTS = frozenset({".safetensors", ".bin", ".onnx", ".data"})
_LEFT_OUT = frozenset({".md", ".blob"})
"""Of a model: the card, and graphs that an engine compiled for one machine."""
_PACKAGES = ("bertft", "numpy", "tokenizers", "torch", "openvino", "onnxruntime")


def once_only(inputs: Sequence[str]) -> str | None:
    """Return the first input that cannot be read again: stdin, a pipe, the Hub; None where there is none."""
    return next((path for path in inputs if _located(path) is None), None)


def check_resumable(inputs: Sequence[str]) -> None:
    """Raise UsageError where an input can be read once only; one that is not there is said elsewhere."""
    path = once_only(inputs)
    if path is not None and _is_stream(path):
        raise UsageError(f"--resume reads its inputs again, and {path!r} is no file", help="write it to a file first")


def identity(bundle: Bundle, inputs: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the identity of a run; None where an input can be read once only. Raises DataError for one that is not.

    Files count by name and content, wherever they are; weights by their size and blocks spread over them.
    """
    if missing := next((path for path in inputs if _located(path) is None and not _is_stream(path)), None):
        raise DataError(f"there is no file {missing!r}", place=missing)
    if once_only(inputs) is not None:
        return None
    run: dict[str, Any] = {}
    for i, path in enumerate(inputs, 1):
        run[f"input {i}"] = os.path.basename(path)
        run[f"the content of input {i}"] = _content(path)
    run |= {f"the model's {name}": value for name, value in _model(bundle).items()}
    run |= {name: value for name, value in options.items() if value is not None}
    return run | versions(_PACKAGES)


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], *, place: str, free: Sequence[str] = ()) -> None:
    """Raise UsageError where the run that left something in `place` was another one, naming what changed.

    Those that are `free` may have.
    """
    if changed := changes(before, now, free=free):
        raise UsageError(
            f"the unfinished answers in {place!r} are of another run: {'; '.join(changed)[:600]}",
            help="give the arguments it was started with, or start again: `--overwrite`, or another `--out`",
        )


def changes(before: Mapping[str, Any], now: Mapping[str, Any], *, free: Sequence[str] = ()) -> list[str]:
    """Return what differs between what two runs were made of, but for the `free` names, as it is told."""
    return [
        f"{name}: {_shown(before.get(name))} before, {_shown(now.get(name))} now"
        for name in {**now, **before}
        if name not in free and before.get(name) != now.get(name)
    ]


def _shown(value: object) -> str:
    """Return a value as it is told: the beginning of a hash."""
    text = "nothing" if value is None else str(value)
    return f"{text[:12]}…" if len(text) == 64 and " " not in text else text


def _located(path: str) -> str | None:
    """Return the file or directory that an input names, with a part (`FILE:PART`) or without; None for others."""
    if path == "-" or path.startswith("hub:"):
        return None
    head = path if os.path.exists(path) else path.rpartition(":")[0]
    return head if os.path.isfile(head) or os.path.isdir(head) else None


def _is_stream(path: str) -> bool:
    return path == "-" or path.startswith("hub:") or os.path.exists(path)


def _content(path: str) -> str:
    """Return the sha256 of a file, or of the names and contents of all files in a directory."""
    place = _located(path) or path
    try:
        if not os.path.isdir(place):
            return digest.of_file(place)
        every = hashlib.sha256()
        for name in _files(Path(place)):
            every.update(f"{name}\0{digest.of_file(Path(place) / name)}\0".encode())
        return every.hexdigest()
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror}", place=place) from None


def _model(bundle: Bundle) -> dict[str, str]:
    """Return a hash of each file of the model that answers depend on."""
    checkpoint = bundle.checkpoint
    directory = checkpoint.files
    if directory is None:
        return {"name": checkpoint.location}
    found = {}
    for name in _files(directory):
        path = directory / name
        if path.suffix in _WEIGHTS:
            found[name] = fingerprint(path)
        elif path.suffix not in _LEFT_OUT:
            found[name] = digest.of_file(path)
    return found


def _files(directory: Path) -> Iterator[str]:
    """Yield the relative paths of all files, in order, without the hidden ones."""
    names = (path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    yield from sorted(str(name) for name in names if not any(part.startswith(".") for part in name.parts))
