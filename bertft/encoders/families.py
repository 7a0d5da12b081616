"""What differs between encoder families and cannot be probed: each entry with its reason."""

from __future__ import annotations

from typing import Any

from bertft.errors import UsageError
from bertft.text.pairs import Told

# Position ids begin behind the padding id in these, so that many positions fewer are usable: a RoBERTa of 514 takes
# 512 tokens (transformers, `create_position_ids_from_input_ids`).
_POSITIONS_BEHIND_PADDING = frozenset(
    {"camembert", "data2vec-text", "mpnet", "roberta", "xlm-roberta", "xlm-roberta-xl"}
)

# Attention scores of DeBERTa-v2, -v3 and mDeBERTa leave the range of fp16 and become NaN: microsoft/DeBERTa#77.
# transformers#24116 scales one of its three products before it is made, not the others, and Microsoft's own recipe
# trains v3-small in fp32 (DeBERTa, experiments/glue/mnli.sh). bf16 has the range of fp32.
_OVERFLOWS_FP16 = frozenset({"deberta-v2"})

# DeBERTa v1 masks its scores with the least number of fp32, which no 16-bit type has: a RuntimeError in both
# (transformers#35336).
_FP32_ONLY = frozenset({"deberta"})

# What `AutoModelForPreTraining` of a family tells of two texts; that of most others is a masked language model alone.
_TELLS: dict[Told, tuple[str, ...]] = {"nsp": ("bert", "ernie", "megatron-bert", "mobilebert"), "sop": ("albert",)}

# Those whose `AutoModelForPreTraining` tells which tokens were replaced.
_DETECTS = ("electra",)

# Learning rates of the literature are for encoders of base size (BERT, Devlin et al. 2019, A.3: 2e-5 to 5e-5).
BASE_LEARNING_RATE = 5e-5
# The embedded encoder and others of its width are smaller and want more; `DECISIONS.md` has the runs.
SMALL_LEARNING_RATE = 1e-4
SMALL_WIDTH = 384
# Encoders of large size diverge at the rates of base ones (RoBERTa, Liu et al. 2019, table 10: 1e-5 to 3e-5), and
# DeBERTa-v3 wants less at any size (Microsoft's recipe for MNLI: 1.5e-5 for base, 4.5e-5 for small).
CAREFUL_LEARNING_RATE = 2e-5
LARGE_WIDTH = 1024
_CAREFUL = frozenset({"deberta-v2"})


def max_positions(config: Any) -> int | None:
    """Return how many tokens the position embeddings allow, specials included; None where nothing limits them."""
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions <= 0:
        return None
    if config.model_type in _POSITIONS_BEHIND_PADDING:
        return positions - (config.pad_token_id if config.pad_token_id is not None else 1) - 1
    return positions


def first_position(config: Any) -> int | None:
    """Return the position id of a window's first token; None where positions are in the attention alone (DeBERTa)."""
    if getattr(config, "position_biased_input", True) is False:
        return None
    if config.model_type in _POSITIONS_BEHIND_PADDING:
        return (config.pad_token_id if config.pad_token_id is not None else 1) + 1
    return 0


def has_segments(config: Any) -> bool:
    """Say whether the family tells the texts of a pair apart by segment ids (`token_type_ids`)."""
    return (getattr(config, "type_vocab_size", None) or 0) > 1


def fp16_safe(config: Any) -> bool:
    """Say whether the family trains in fp16 without its attention scores overflowing."""
    return config.model_type not in _OVERFLOWS_FP16 | _FP32_ONLY


def bf16_safe(config: Any) -> bool:
    """Say whether the family runs in bf16."""
    return config.model_type not in _FP32_ONLY


def tells(told: Told) -> tuple[str, ...]:
    """Return the families (`model_type`) whose head tells this of two texts."""
    return _TELLS[told]


def check_objective(config: Any, told: Told | None, *, detects: bool = False) -> None:
    """Raise UsageError where the family has no head for what is to be told of two texts, or of replaced tokens."""
    family = config.model_type
    able: dict[str, tuple[str, ...]] = {f"mlm+{one}": names for one, names in _TELLS.items()} | {"rtd": _DETECTS}
    wanted = "rtd" if detects else f"mlm+{told}"
    if (told is None and not detects) or family in able[wanted]:
        return
    other = next((f"`options.objective={one}` or " for one, names in able.items() if family in names), "")
    raise UsageError(
        f"options.objective: {family} has no head for {wanted}, which {', '.join(able[wanted])} "
        f"{'have' if len(able[wanted]) > 1 else 'has'}",
        help=f"{other}`options.objective=mlm` trains its masked language model",
    )


def width(config: Any) -> int | None:
    """Return how many numbers an encoder has for a token; None where its configuration does not say."""
    return getattr(config, "hidden_size", None) or getattr(config, "dim", None)


def learning_rate(config: Any) -> float:
    """Return the learning rate to start from when the recipe leaves it open."""
    wide = width(config) or 0
    if wide and wide <= SMALL_WIDTH:
        return SMALL_LEARNING_RATE
    return CAREFUL_LEARNING_RATE if wide >= LARGE_WIDTH or config.model_type in _CAREFUL else BASE_LEARNING_RATE
