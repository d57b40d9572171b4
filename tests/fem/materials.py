"""Materials for the tests of this folder, made in closed form or at random."""

from __future__ import annotations

import itertools

import numpy as np

import lse_material as lse


def quadratic_well(centre, stiffness, depth=0.0):
    """One mode psi = 1/2 (x - c) . K (x - c) + depth, with K = stiffness (symmetric positive definite)."""
    factor = np.linalg.cholesky(stiffness).T
    c = np.asarray(centre)
    slope = -(stiffness @ c)
    return lse.ConvexNetwork.from_arrays(
        [], [slope[None]], [np.array([c @ stiffness @ c / 2 + depth])], quadratic=factor
    )


def isotropic_stiffness(dim, lame, shear):
    """lame 1 (x) 1 + 2 shear I in Mandel components."""
    one = np.array([1.0] * dim + [0.0] * (dim * (dim - 1) // 2))
    return lame * np.outer(one, one) + 2 * shear * np.eye(len(one))


def saint_venant_kirchhoff(dim, lame=1.0, shear=1.0, measure=lse.GreenLagrange):
    """W = lame/2 tr(E)^2 + shear E:E with one mode: stress-free at F = I."""
    stiffness = isotropic_stiffness(dim, lame, shear)
    mode = quadratic_well(np.zeros(len(stiffness)), stiffness)
    return lse.Material(lse.SoftMinimum((mode,), scaled_rho=1.0), measure(dim))


def two_variants(rho=0.1, stretch=0.05, dim=2):
    """Two quadratic wells at E11 - E22 = +-2 stretch, as a square-to-rectangle martensite has them."""
    stiffness = isotropic_stiffness(dim, 1.0, 1.0)
    c = np.zeros(len(stiffness))
    c[:2] = stretch, -stretch
    return lse.Material(
        lse.SoftMinimum((quadratic_well(c, stiffness), quadratic_well(-c, stiffness)), rho), lse.GreenLagrange(dim)
    )


def random_network(rng, size, widths, activation="squared_softplus", quadratic=True):
    """A network with weights of order one, scaled so that layers neither vanish nor blow up."""
    layers = [*widths, 1]
    return lse.ConvexNetwork.from_arrays(
        [rng.uniform(0, 1, (n, m)) / m for m, n in itertools.pairwise(layers)],
        [rng.normal(size=(n, size)) for n in layers],
        [rng.normal(size=n) for n in layers],
        activation=activation,
        quadratic=rng.normal(size=(size, size)) / 2 if quadratic else None,
    )


def random_material(rng, kinematics, *, modes=2, widths=(4,), activation="squared_softplus", rho=0.1, growth=None):
    """A material of random networks."""
    size = kinematics.size
    networks = tuple(random_network(rng, size, widths, activation) for _ in range(modes))
    potential = lse.SoftMinimum(
        networks, rho, rng.normal(size=size) / 5, np.exp(rng.normal(size=size) / 2), energy_scale=1.5, energy_shift=-0.3
    )
    return lse.Material(potential, kinematics, growth)
