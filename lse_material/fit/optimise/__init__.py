"""Optimisers of a loss: Adam, L-BFGS, Levenberg-Marquardt, and several starts at once."""
