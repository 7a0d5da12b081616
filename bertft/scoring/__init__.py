"""Scores: labels and tags in, a dict of floats out. numpy only; the well-known packages do the counting."""
