"""Scores and findings made readable."""
