"""Equilibria and minima: problems, minimisers, preconditioners, stability."""
