"""Which tokens a masked language model has to guess, and what it is shown in their places.

Devlin et al., "BERT" (NAACL 2019), section 3.1: 15 % of the tokens are chosen, and of those 80 % become the mask token,
10 % a random token, 10 % stay. A unit is what is chosen as one: a token, or all tokens of a word.

Where a generator's guesses take the places of what was chosen, all of it becomes the mask token (Clark et al.,
"ELECTRA", ICLR 2020, section 2), and each guess is drawn by a number of `draws`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

FIXED = -100
"""The unit of a token that is never chosen; what `tasks/base.py` calls IGNORED."""
_MASKED, _REPLACED = 0.8, 0.9
"""Below the first, chance makes a chosen token the mask token, below the second another one."""


@dataclass(frozen=True, slots=True)
class Masking:
    """How tokens are masked: `mask` is the mask token's id, `ordinary` are the ids of all that is no special token."""

    mask: int
    ordinary: Ints
    share: float = 0.15
    only_masks: bool = False
    """Whether all that is chosen becomes the mask token."""

    def apply(self, ids: Sequence[int], units: Sequence[int], random: np.random.Generator) -> tuple[Ints, Ints]:
        """Return the ids that are shown, and the positions, ascending, of the tokens that were chosen."""
        shown, unit = np.array(ids, dtype=np.int64), np.asarray(units, dtype=np.int64)
        free = np.flatnonzero(unit != FIXED)
        kinds, which = np.unique(unit[free], return_inverse=True)
        chosen = free[(random.random(len(kinds)) < self.share)[which]]
        if self.only_masks:
            shown[chosen] = self.mask
            return shown, chosen
        fate, others = random.random(len(chosen)), random.integers(len(self.ordinary), size=len(chosen))
        shown[chosen] = np.where(
            fate < _MASKED, self.mask, np.where(fate < _REPLACED, self.ordinary[others], shown[chosen])
        )
        return shown, chosen

    def apply_to_some(
        self, ids: Sequence[int], units: Sequence[int], random: np.random.Generator
    ) -> tuple[Ints, Ints] | None:
        """Return what `apply` does, and where chance has chosen nothing, one unit masked; None where there is none."""
        shown, chosen = self.apply(ids, units, random)
        free = np.unique([unit for unit in units if unit != FIXED])
        if not len(free):
            return None
        if not len(chosen):
            chosen = np.flatnonzero(np.asarray(units) == random.choice(free))
            shown[chosen] = self.mask
        return shown, chosen


def seed_of(ids: Sequence[int]) -> int:
    """Return a number that follows from token ids alone, so that chance does not depend on what stands beside them."""
    return int.from_bytes(blake2b(np.array(ids, dtype=np.int32).tobytes(), digest_size=8).digest(), "little")


def draws(ids: Sequence[int]) -> npt.NDArray[np.float32]:
    """Return a number from 0 to below 1 for each token of a window, (tokens,): always the same for the same window.

    So a generator's guesses do not depend on how a step is cut into batches, nor on where a run was interrupted.
    """
    return np.random.default_rng(seed_of(ids)).random(len(ids), dtype=np.float32)
