"""Trainable potentials: parameters, constraints, first values, changes of modes and neurons."""
