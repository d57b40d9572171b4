"""Periodic cells: average stress and tangent, load cases, samples of a cell."""
