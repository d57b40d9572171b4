"""Materials that every kind of exported file is tested with, and a strain measure and a mode type of a user's own."""

import dataclasses

import numpy as np

import lse_material as lse
from lse_material import Growth
from lse_material.model import determinant, exp, inverse, log, mandel, sqrt
from tests.materials import STRAIN_MEASURES, measure_name, random_network

WITH_AXES = (("CubicInvariants", 2), ("TransverseInvariants", 3))  # the others are written in the same way
OPTIONS = [
    {},
    {"depth": 0, "growth": Growth(0.7)},
    {"depth": 3, "quadratic": False, "modes": 1},
    {"activation": "squared_softplus", "growth": Growth(0.3), "modes": 5, "rho": 1e-3},
]
# every kind of strain measure and every option, each strain measure with two options
KINDS = [k for k in STRAIN_MEASURES if not k.monotone_inputs or (k.name, k.dim) in WITH_AXES]
CASES = [(k, OPTIONS[(i + j) % 4]) for i, k in enumerate(KINDS) for j in (0, 2 - i % 2)]


def case_name(value):
    return "" if isinstance(value, dict) else measure_name(value)


@dataclasses.dataclass(frozen=True)
class Karni(lse.StrainMeasure):
    """Karni and Reiner's strain (C - C^-1)/4, and the logarithm of the volume."""

    @property
    def size(self):
        return 4 if self.dim == 2 else 7

    def components(self, F):
        C = F.T @ F
        return [*mandel(0.25 * (C - inverse(C))), 0.1 * log(determinant(F))]


class Cosh(lse.Mode):
    """psi = sum_i cosh(s_i x_i) + sqrt(1 + |x|^2): convex, and without an entry in any table of the package."""

    def __init__(self, rates):
        self.rates = np.asarray(rates, dtype=float)

    @property
    def size(self):
        return len(self.rates)

    def tensors(self):
        return {"rates": self.rates}

    @classmethod
    def from_tensors(cls, tensors, options):
        return cls(tensors["rates"])

    def formula(self, x):
        cosh = sum(0.5 * (exp(s * xi) + exp(-s * xi)) for s, xi in zip(self.rates.tolist(), x))
        return cosh + sqrt(1.0 + sum(xi * xi for xi in x))


def material_of_a_user(dim):
    """A strain measure of a user's own, a mode type of a user's own, and networks of unequal depths and activations."""
    rng, kinematics = np.random.default_rng(dim), Karni(dim)
    kinds = ((0, "softplus"), (1, "squared_softplus"), (3, "softplus"))
    networks = [random_network(rng, kinematics.size, depth=n, activation=a, quadratic=n != 1) for n, a in kinds]
    modes = (networks[0], Cosh(rng.uniform(0.5, 1.5, kinematics.size)), *networks[1:])
    return lse.Material(lse.SoftMinimum(modes, 0.4), kinematics, Growth(0.2))
