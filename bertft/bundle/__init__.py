"""The saved model: a plain Hugging Face directory plus `bertft.json`, `recipe.yaml`, `metrics.json` and a card."""
