"""A bundle that was pushed to the Hugging Face Hub: all its files, so that it is opened as the directory it was.

transformers loads of a repository what it knows; how bertft decodes stands in files beside that.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bertft.console import say
from bertft.encoders.known import has_weights
from bertft.encoders.load import Checkpoint
from bertft.errors import ModelError, first_line

_FILES = ["*.json", "*.jinja", "*.md", "*.model", "*.safetensors", "*.txt", "*.yaml", "onnx/*"]
"""No pickles: `onnx/*.bin` are OpenVINO's, which nothing unpickles."""
_SECONDS = 5.0
_AGAIN = "the same command goes on where this one stopped; `hf auth login` for a private model"


def downloaded(checkpoint: Checkpoint, manifest: str) -> Checkpoint:
    """Return where a bundle of the Hub lies in the local cache, now; `checkpoint` itself where its id names no bundle.

    Raises ModelError where there is one that cannot be downloaded.
    """
    from huggingface_hub import HfApi, snapshot_download

    with _quiet():
        try:
            found = HfApi().model_info(checkpoint.location, timeout=_SECONDS)
        except Exception:  # no network, no such id: what loads it as another model says what is wrong
            return checkpoint
        if manifest not in {file.rfilename for file in found.siblings or ()}:
            return checkpoint
        say(f"downloading {checkpoint.location!r} from the Hub")
        try:
            folder = snapshot_download(checkpoint.location, allow_patterns=_FILES)
        except Exception as error:  # of the client and of its HTTP library
            fact = f"cannot download {checkpoint.name!r} from the Hub: {first_line(error)}"
            raise ModelError(fact, help=_AGAIN) from error
        if not has_weights(Path(folder)):  # what is in the cache passes for the snapshot where the Hub fails
            raise ModelError(f"the Hub did not give all of {checkpoint.name!r}", help=_AGAIN)
    return replace(checkpoint, location=folder, is_directory=True)


@contextmanager
def _quiet() -> Iterator[None]:
    log = logging.getLogger("huggingface_hub")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
