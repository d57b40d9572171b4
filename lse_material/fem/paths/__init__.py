"""Sequences of equilibria: load paths, arc length, their history and checkpoints."""
