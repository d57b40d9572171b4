"""Inertia: steps in time that conserve energy and momenta."""
