"""Put a bundle's weights on a device and make it an engine."""

from __future__ import annotations

from bertft.bundle.store import Bundle
from bertft.console import say
from bertft.errors import UsageError
from bertft.inference.engine import BATCH_TOKENS, Engine
from bertft.inference.pytorch import TorchBackend, choose_device, describe


def engine(bundle: Bundle, *, device: str = "auto", batch_tokens: int | None = None) -> Engine:
    """Load the weights and return the engine; raises ModelError, or UsageError for a device that is not there."""
    if batch_tokens is not None and batch_tokens < 1:
        raise UsageError(f"--batch-tokens {batch_tokens}: a batch holds at least one token")
    chosen = choose_device(device)
    model = bundle.load_model().to(chosen)
    say(f"using {describe(chosen, 'fp32')}")
    backend = TorchBackend(model, bundle.tokenizer.pad)
    return Engine(bundle.task, bundle.tokenizer, bundle.window, backend, batch_tokens or BATCH_TOKENS)
