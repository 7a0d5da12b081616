"""The torch backend: token ids in, fp32 logits out, on one device. Also chooses the device and its precision."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bertft.errors import UsageError
from bertft.tasks.base import Logits


@dataclass(frozen=True, slots=True)
class TorchBackend:
    """A transformers model in eval mode. `pad` is the id that fills short sequences up."""

    model: Any
    pad: int

    @torch.inference_mode()
    def logits(self, batch: Sequence[Sequence[int]]) -> list[Logits]:
        """Return for each sequence of token ids its fp32 logits (tokens, labels)."""
        longest = max(map(len, batch))
        input_ids = torch.full((len(batch), longest), self.pad, dtype=torch.long)  # (batch, tokens)
        mask = torch.zeros_like(input_ids)  # (batch, tokens)
        for i, ids in enumerate(batch):
            input_ids[i, : len(ids)] = torch.tensor(ids, dtype=torch.long)
            mask[i, : len(ids)] = 1
        device = self.model.device
        # The class's own forward: within Trainer, accelerate puts an autocast around the instance's, and evaluation
        # would not give the scores that the saved fp32 model gives.
        forward = type(self.model).forward
        out = forward(self.model, input_ids=input_ids.to(device), attention_mask=mask.to(device)).logits
        array = out.float().cpu().numpy()  # (batch, tokens, labels)
        return [np.ascontiguousarray(array[i, : len(ids)]) for i, ids in enumerate(batch)]


def choose_device(name: str) -> torch.device:
    """Return the device of `--device`: `auto` takes CUDA, then Apple's GPU, then the CPU.

    Raises UsageError for a name that is none, or a device that is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"unknown device {name!r}", help="devices are auto, cpu, cuda, cuda:N and mps") from None
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.type, False):
        raise UsageError(f"there is no device {name!r} here", help="`--device auto` takes what there is")
    return device


def describe(device: torch.device, precision: str) -> str:
    """Return the line that says what the run uses: `cuda:0, NVIDIA H200, bf16`."""
    threads = torch.get_num_threads()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{threads} thread{'s' * (threads > 1)}"
    return f"{device}, {name}, {precision}"


def native_bf16(device: torch.device) -> bool:
    """Say whether the device multiplies bf16 matrices in hardware; elsewhere bf16 is emulated and slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        can = torch.cpu.get_capabilities()
        return bool(can.get("avx512_bf16") or can.get("amx_bf16"))
    return False
