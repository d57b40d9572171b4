"""Random networks, potentials and deformations for the tests of the numpy floor, and finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lse_material import (
    ConvexNetwork,
    GreenLagrange,
    IsotropicInvariants,
    Material,
    SmallStrain,
    SoftMinimum,
    StrainMeasure,
)
from lse_material.model import mandel

STRAIN_MEASURES: tuple[StrainMeasure, ...] = (
    GreenLagrange(2),
    GreenLagrange(3),
    SmallStrain(2),
    SmallStrain(3),
    IsotropicInvariants(2),
    IsotropicInvariants(3),
    IsotropicInvariants(2, squared_volume=False),
    IsotropicInvariants(3, squared_volume=False),
)
OBJECTIVE = tuple(k for k in STRAIN_MEASURES if k.objective)


def random_network(
    rng: np.random.Generator,
    size: int,
    *,
    depth: int = 2,
    width: int = 5,
    activation: str = "softplus",
    quadratic: bool = True,
    equal_widths: bool = False,
) -> ConvexNetwork:
    # every layer of another width, so that a transposed weight cannot pass; the torch model wants equal ones
    widths = [width] * depth + [1] if equal_widths else [*range(width, width + depth), 1]
    return ConvexNetwork(
        z_weights=tuple(rng.uniform(0.0, 0.4, (widths[i], widths[i - 1])) for i in range(1, depth + 1)),
        x_weights=tuple(rng.normal(size=(w, size)) for w in widths),
        biases=tuple(rng.normal(size=w) for w in widths),
        activation=activation,
        quadratic=rng.normal(size=(size + 1, size)) if quadratic else None,
    )


def random_potential(
    rng: np.random.Generator, size: int, *, modes: int = 3, rho: float = 0.3, scaled: bool = True, **network
) -> SoftMinimum:
    scales = {}
    if scaled:
        scales = {
            "input_shift": 0.2 * rng.normal(size=size),
            "input_scale": rng.uniform(0.5, 2.0, size),
            "energy_scale": 1.7,
            "energy_shift": -0.6,
        }
    return SoftMinimum(tuple(random_network(rng, size, **network) for _ in range(modes)), rho, **scales)


def random_material(rng: np.random.Generator, kinematics: StrainMeasure, **options) -> Material:
    growth = options.pop("growth", None)
    return Material(random_potential(rng, kinematics.size, **options), kinematics, growth)


def square_to_rectangle(rho: float, a: float = 0.9, b: float = 1.15) -> Material:
    """Two wells |E - E_k|^2 at the stretches diag(a, b) and diag(b, a); the square F = I lies on their ridge."""
    wells = [mandel(0.5 * (np.diag(stretches) ** 2 - np.eye(2))) for stretches in ([a, b], [b, a])]
    modes = tuple(
        ConvexNetwork.from_arrays([], [-2.0 * w[None]], [[w @ w]], quadratic=np.sqrt(2.0) * np.eye(3)) for w in wells
    )
    return Material(SoftMinimum(modes, rho), GreenLagrange(2))


def random_deformations(rng: np.random.Generator, n: int, dim: int, size: float = 0.15) -> np.ndarray:
    F = np.eye(dim) + size * rng.uniform(-1.0, 1.0, (n, dim, dim))
    assert (np.linalg.det(F) > 0.0).all()
    return F


def rotation(angle: float, dim: int) -> np.ndarray:
    Q = np.eye(dim)
    Q[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return Q


def central_difference(function: Callable, x: np.ndarray, axes: int, step: float) -> np.ndarray:
    """Derivative of `function` with respect to the last `axes` axes of x, appended as last axes; O(step^4).

    The stencil (-f(2h) + 8 f(h) - 8 f(-h) + f(-2h)) / 12h errs by h^4 f^(5) / 30 and, by rounding, by about 1.5 eps f / h:
    h = 1e-3 balances both near 1e-13 for functions and derivatives of size 1.
    """
    shape = x.shape[x.ndim - axes :]
    columns = []
    for index in np.ndindex(*shape):
        e = np.zeros(shape)
        e[index] = step
        columns.append(
            (8.0 * (function(x + e) - function(x - e)) - (function(x + 2.0 * e) - function(x - 2.0 * e)))
            / (12.0 * step)
        )
    stacked = np.stack(columns, axis=-1)
    return stacked.reshape(*stacked.shape[:-1], *shape)


def relative_error(got: np.ndarray, exact: np.ndarray) -> float:
    """Largest difference as a share of the largest exact entry."""
    assert got.shape == exact.shape
    return float(np.abs(got - exact).max() / np.abs(exact).max())
