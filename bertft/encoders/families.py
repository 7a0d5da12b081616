"""What differs between encoder families and cannot be probed: each entry with its reason."""

from __future__ import annotations

from typing import Any

# Position ids begin behind the padding id in these, so that many positions fewer are usable: a RoBERTa of 514 takes
# 512 tokens (transformers, `create_position_ids_from_input_ids`).
_POSITIONS_BEHIND_PADDING = frozenset(
    {"camembert", "data2vec-text", "mpnet", "roberta", "xlm-roberta", "xlm-roberta-xl"}
)

# Learning rates of the literature are for encoders of base size (BERT, Devlin et al. 2019, A.3: 2e-5 to 5e-5).
BASE_LEARNING_RATE = 5e-5
# The embedded encoder and others of its width are smaller and want more; `DECISIONS.md` has the runs.
SMALL_LEARNING_RATE = 1e-4
SMALL_WIDTH = 384


def max_positions(config: Any) -> int | None:
    """Return how many tokens the position embeddings allow, specials included; None where nothing limits them."""
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions <= 0:
        return None
    if config.model_type in _POSITIONS_BEHIND_PADDING:
        return positions - (config.pad_token_id if config.pad_token_id is not None else 1) - 1
    return positions


def learning_rate(config: Any) -> float:
    """Return the learning rate to start from when the recipe leaves it open."""
    width = getattr(config, "hidden_size", None) or getattr(config, "dim", None)
    return SMALL_LEARNING_RATE if width is not None and width <= SMALL_WIDTH else BASE_LEARNING_RATE
