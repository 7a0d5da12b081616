"""Data sets of the Hugging Face Hub, and of its local cache, by an address.

    hub:owner/name        hub:owner/name:split        hub:owner/name:configuration[:split]

The local cache comes first, so what was loaded once needs no network; the Hub is asked for the rest. No code of a data
set is run. In comes the address, out go the splits, as `datasets` has them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

from bertft.data import parts as splits
from bertft.errors import DataError, UsageError

PREFIX = "hub:"


class Address(NamedTuple):
    """A data set's name, and the configuration and the split that were asked for."""

    name: str
    config: str | None
    split: str | None


def address(path: str) -> Address:
    """Return what `hub:owner/name[:config][:split]` says; one word after the name is a split if it reads like one.

    Raises UsageError for what is no such address.
    """
    name, *rest = path.removeprefix(PREFIX).split(":")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or len(rest) > 2 or not all(rest):
        raise UsageError(f"{path!r} names no data set", help="the form is hub:owner/name[:config][:split]")
    if len(rest) == 1 and all(map(splits.is_split, rest[0].split("+"))):
        return Address(name, None, rest[0])
    config, split = (*rest, None, None)[:2]
    return Address(name, config, split)


def load(path: str) -> Mapping[str, Any]:
    """Return the splits of a data set from the local cache, else from the Hub if it answers.

    Raises DataError for what neither has, UsageError for an address that means something else.
    """
    from datasets import load_dataset
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import RepositoryNotFoundError

    name, config, _ = address(path)
    if os.path.isdir(name):
        raise UsageError(f"{name!r} is a directory here", place=path, help=f"name it without {PREFIX!r}")
    with _quiet():
        missing = f"the data set {name!r} is not in the local cache"
        try:
            with _offline():
                return cast("Mapping[str, Any]", load_dataset(name, config))
        except ValueError as error:  # several configurations are in the cache, or none of this name
            cached = re.findall(r"in the cache: \[?'?([^\]\n']+)", str(error))
            if cached and config is None:
                first = cached[0].split(",")[0]
                fact = f"the data set {name!r} has several configurations: {cached[0]}"
                raise DataError(fact, place=path, help=f"name one: {PREFIX}{name}:{first}") from None
            missing = f"the configuration {config!r} of {name!r} is not in the local cache"
        except (ConnectionError, FileNotFoundError):
            pass
        code = f"import datasets; datasets.load_dataset({', '.join(repr(one) for one in (name, config) if one)})"
        advice = f'where there is a network: `python -c "{code}"`; or name a file'
        if constants.HF_HUB_OFFLINE:
            raise DataError(f"{missing}, and the Hub is switched off (HF_HUB_OFFLINE)", place=path, help=advice)
        try:
            HfApi().dataset_info(name, timeout=5)  # `load_dataset` would try for 25 s to reach what cannot be reached
            return cast("Mapping[str, Any]", load_dataset(name, config))
        except RepositoryNotFoundError:
            raise DataError(f"{missing}, and the Hub shows none of that name", place=path, help=advice) from None
        except Exception as error:  # of httpx, of datasets, and whatever a reader of the files raises
            fact = str(error).strip().partition("\n")[0] or type(error).__name__
            raise DataError(f"{missing}, and the Hub did not give it: {fact}", place=path, help=advice) from error


@contextmanager
def _offline() -> Iterator[None]:
    """Keep `datasets` and `huggingface_hub` to the local cache."""
    import datasets.config
    from huggingface_hub import constants

    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep `datasets` from writing bars and warnings to stderr."""
    import datasets

    verbosity, bars = datasets.logging.get_verbosity(), datasets.is_progress_bar_enabled()
    datasets.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(verbosity)
        if bars:
            datasets.enable_progress_bars()
