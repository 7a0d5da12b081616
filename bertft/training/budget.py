"""`--budget 10ms@cpu`: how long an answer may take, and where. Imports nothing heavy."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Self

from bertft.errors import UsageError

_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
_FORM = re.compile(r"(?P<number>[0-9.]+)\s*(?P<unit>[A-Za-zµ]*)\s*(@(?P<device>.*))?")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?|mps")
_EXAMPLE = "for example `10ms@cpu`, `2ms@cuda:0`, or `50ms` on the device that is chosen"


@dataclass(frozen=True, slots=True)
class Budget:
    """The time of one answer, `milliseconds` at most, on a device."""

    milliseconds: float
    device: str = "auto"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the budget that is written as `10ms@cpu`; raises UsageError for what has another form."""
        form = _FORM.fullmatch(text.strip())
        if form is None:
            raise UsageError(f"--budget {text!r} is no time", help=_EXAMPLE)
        number, unit, device = form["number"], form["unit"], form["device"]
        try:
            value = float(number)
        except ValueError:
            raise UsageError(f"--budget {text!r}: {number!r} is no number", help=_EXAMPLE) from None
        if unit not in _UNITS:
            where = "" if device is None else f"@{device}"
            near = unit.lower() if unit.lower() in _UNITS else "ms"
            fact = f"there is no unit {unit!r}" if unit else "the time has no unit"
            raise UsageError(f"--budget {text!r}: {fact}", help=f"did you mean '{number}{near}{where}'?")
        if device is not None and _DEVICE.fullmatch(device) is None:
            known = "devices are cpu, cuda, cuda:N, mps and auto; a GPU is cuda, or mps of Apple's"
            raise UsageError(f"--budget {text!r}: there is no device {device!r}", help=known)
        if not 0 < value < math.inf:
            raise UsageError(f"--budget {text!r}: {number} is not more than 0", help=_EXAMPLE)
        return cls(value * _UNITS[unit], device or "auto")

    def __str__(self) -> str:
        return f"{self.milliseconds:g} ms" + ("" if self.device == "auto" else f" on {self.device}")
