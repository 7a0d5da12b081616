"""What a file contains, as a hash."""

from __future__ import annotations

import hashlib
import os


def of_file(path: str | os.PathLike[str]) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal; raises OSError where it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
