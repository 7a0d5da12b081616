"""Pure Python on words, tags and windows: no torch, no numpy."""
