"""Boundaries of phases with a width: gradient terms, Cahn-Hilliard, evolution in time."""
