"""Fixtures: tiny base checkpoints, one tiny trained tagger per family, and the shared folder beside the repository."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny
from hypothesis import HealthCheck, settings

from bertft import console

# before torch is imported: tiny models are slower on many threads than on one
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

settings.register_profile(
    "bertft", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.load_profile("bertft")


@dataclass(frozen=True, slots=True)
class Trained:
    """A tagger that was trained on `data` until it knew it by heart: its directory and what `train` returned."""

    directory: Path
    data: Path
    result: dict[str, Any]


@pytest.fixture(autouse=True)
def verbosity() -> None:
    """Let each test begin at the level that a new process has: `-q` of one must not silence the next."""
    console.set_level(console.NORMAL)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what tests tokenize out of the home directory, and what others left there out of the tests."""
    os.environ["BERTFT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True, scope="session")
def imported() -> None:
    """Import what most tests need, and collect garbage as seldom as the command line does."""
    import torch  # noqa: F401
    from transformers import Trainer  # noqa: F401

    gc.set_threshold(100_000)


@pytest.fixture(autouse=True, scope="module")
def kept(imported: None) -> None:
    """Keep the garbage collector from what has come to stay: it would walk through that at the end of each training."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of public data and tokenizers that stands beside the repository."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the public data and tokenizers of {folder}, which this machine has not")
    return folder


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from a family's name to its base checkpoint, built once."""
    folder = tmp_path_factory.mktemp("base")

    def build(family: str) -> Path:
        directory = folder / family
        return directory if directory.exists() else tiny.build(family, directory)

    return build


@pytest.fixture(scope="session")
def train_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 tagged sentences as a column file."""
    path = tmp_path_factory.mktemp("data") / "train.conll"
    path.write_text(tiny.conll(tiny.sentences()), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(
    base: Callable[[str], Path], train_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Trained]:
    """Return a function from a family's name to a tagger of that family, trained once through `bertft.train`."""
    folder = tmp_path_factory.mktemp("trained")
    known: dict[str, Trained] = {}

    def train(family: str) -> Trained:
        if family not in known:
            from bertft.recipe import load
            from bertft.training.run import train

            settings = {
                "model": base(family),
                "trainer.num_train_epochs": 60,
                "trainer.learning_rate": 5e-3,
                "trainer.eval_strategy": "no",
                "trainer.save_strategy": "no",
                "trainer.bf16": "false",
            }
            recipe = load("ner", [f"{key}={value}" for key, value in settings.items()])
            out = folder / family
            result = train(
                recipe, data=str(train_file), dev=str(train_file), test=str(train_file), out=str(out), device="cpu"
            )
            known[family] = Trained(out, train_file, result)
        return known[family]

    return train
