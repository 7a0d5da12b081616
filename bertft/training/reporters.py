"""`trainer.report_to`: packages that follow a training elsewhere, asked for before it; where TensorBoard writes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bertft.console import say
from bertft.errors import UsageError
from bertft.training.directory import TRIALS

PACKAGES = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
    "trackio": ("trackio",),
    "comet_ml": ("comet_ml",),
    "neptune": ("neptune",),
    "clearml": ("clearml",),
    "swanlab": ("swanlab",),
    "codecarbon": ("codecarbon",),
    "dvclive": ("dvclive",),
}
"""What each reporter needs, one of them; transformers knows a few more, and says itself what those need."""


def check(trainer: Mapping[str, Any]) -> None:
    """Raise UsageError where a reporter's package is not installed."""
    asked = trainer.get("report_to") or []
    for name in [asked] if isinstance(asked, str) else asked:
        if name in PACKAGES and not any(map(find_spec, PACKAGES[name])):
            raise UsageError(
                f"trainer.report_to: {name} is not installed",
                help=f"`pip install {PACKAGES[name][0]}`, or leave it out",
            )


def has_failed(error: BaseException) -> bool:
    """Say whether an error is one of a reporter: it is not logged in, or its server is not there."""
    return any(type(error).__module__.partition(".")[0] in names for names in PACKAGES.values())


def place_logs(callbacks: list[Any], folder: Path) -> None:
    """Let TensorBoard write beside the model: what is in `folder`, in OUT.partial, goes with it at the end."""
    for callback in callbacks:
        if type(callback).__name__ == "TensorBoardCallback" and callback.logging_dir is None:
            partial = next((one for one in (folder, *folder.parents) if one.suffix == ".partial"), folder)
            if partial.parent.name == TRIALS:  # of a sweep, whose own directory is around that
                partial = partial.parent.parent
            names = folder.relative_to(partial).parts
            part = [name.removesuffix(".partial") for name in names if name != "checkpoints"]
            logs = partial.with_suffix(".tensorboard")
            callback.logging_dir = str(logs.joinpath(*part, f"{datetime.now():%Y%m%d-%H%M%S}"))
            say(f"to watch it: tensorboard --logdir {logs}")
