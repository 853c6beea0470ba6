"""Doubt about the weights: other ways to learn them, one file per method."""
