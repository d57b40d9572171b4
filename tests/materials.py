"""Materials, deformations and finite differences that many tests use."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from lse_material import (
    Box,
    Caloric,
    ConvexNetwork,
    CubicInvariants,
    DesignNetwork,
    GreenLagrange,
    Growth,
    InterpolatedDesign,
    InterpolatedNetwork,
    IsotropicInvariants,
    Material,
    OrthotropicInvariants,
    PrincipalInvariants,
    Samples,
    SmallStrain,
    SoftMinimum,
    StrainAndVolume,
    StrainMeasure,
    TransverseInvariants,
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
    StrainAndVolume(2),
    StrainAndVolume(3),
    PrincipalInvariants(2),
    PrincipalInvariants(3),
    TransverseInvariants(2, a=(0.6, 0.8)),
    TransverseInvariants(3, a=(1.0, 2.0, -2.0)),
    OrthotropicInvariants(3, a=(1.0, 2.0, -2.0), b=(0.0, 1.0, 1.0)),
    CubicInvariants(2, a=(0.6, 0.8)),
    CubicInvariants(3, a=(1.0, 2.0, -2.0), b=(0.0, 1.0, 1.0)),
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


def measure_name(kinematics: StrainMeasure) -> str:
    """Of a strain measure in the name of a test."""
    return f"{type(kinematics).__name__}{kinematics.dim}" + ("" if getattr(kinematics, "squared_volume", True) else "J")


def line(gradient: float, offset: float = 0.0) -> ConvexNetwork:
    """gradient x + offset."""
    return ConvexNetwork.from_arrays([], [[[gradient]]], [[offset]])


def well(stiffness: float, centre: ArrayLike, depth: float = 0.0) -> ConvexNetwork:
    """depth + stiffness |x - centre|^2 / 2."""
    centre = np.atleast_1d(np.asarray(centre, dtype=float))
    return quadratic_well(centre, stiffness * np.eye(len(centre)), depth)


def two_wells(d: int, rho: float = 0.15, distance: float = 0.8, stiffness: float = 6.0) -> SoftMinimum:
    """Two wells on the first axis, at -distance 0.1 higher than at distance."""
    centre = distance * np.eye(d)[0]
    return SoftMinimum((well(stiffness, centre), well(stiffness, -centre, 0.1)), rho)


def three_wells(rho: float = 0.1) -> SoftMinimum:
    """Wells of different stiffness at the corners of a triangle."""
    corners = [[1.0, 0.0], [-0.7, 0.9], [-0.6, -0.9]]
    modes = [quadratic_well(c, np.diag([3.0 + k, 5.0 - k]), 0.05 * k) for k, c in enumerate(corners)]
    return SoftMinimum(tuple(modes), rho)


def samples_of(potential: SoftMinimum, n: int, seed: int, energy: bool = True, gradient: bool = True) -> Samples:
    """Of a potential at n random points of the box [-1.3, 1.3]^d."""
    x = np.random.default_rng(seed).uniform(-1.3, 1.3, (n, potential.size))
    return Samples(
        x=x,
        energy=potential.energy(x) if energy else None,
        gradient=potential.gradient(x) if gradient else None,
    )


def square_to_rectangle(rho: float, a: float = 0.9, b: float = 1.15) -> Material:
    """Two wells |E - E_k|^2 at the stretches diag(a, b) and diag(b, a); the square F = I lies on their ridge."""
    centres = [mandel(0.5 * (np.diag(stretches) ** 2 - np.eye(2))) for stretches in ([a, b], [b, a])]
    return Material(SoftMinimum(tuple(well(2.0, c) for c in centres), rho), GreenLagrange(2))


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


def quadratic_well(centre, stiffness, depth=0.0):
    """One mode psi = 1/2 (x - c) . K (x - c) + depth, with K = stiffness (symmetric positive definite)."""
    factor = np.linalg.cholesky(stiffness).T
    c = np.asarray(centre)
    gradient = -(stiffness @ c)
    return ConvexNetwork.from_arrays(
        [], [gradient[None]], [np.array([c @ stiffness @ c / 2 + depth])], quadratic=factor
    )


def isotropic_stiffness(dim, lame, shear):
    """lame 1 (x) 1 + 2 shear I in Mandel components."""
    one = np.array([1.0] * dim + [0.0] * (dim * (dim - 1) // 2))
    return lame * np.outer(one, one) + 2 * shear * np.eye(len(one))


def saint_venant_kirchhoff(dim, lame=1.0, shear=1.0, measure=GreenLagrange):
    """W = lame/2 tr(E)^2 + shear E:E with one mode: stress-free at F = I."""
    stiffness = isotropic_stiffness(dim, lame, shear)
    mode = quadratic_well(np.zeros(len(stiffness)), stiffness)
    return Material(SoftMinimum((mode,), scaled_rho=1.0), measure(dim))


def two_variants(rho=0.1, stretch=0.05, dim=2):
    """Two quadratic wells at E11 - E22 = +-2 stretch, as a square-to-rectangle martensite has them."""
    stiffness = isotropic_stiffness(dim, 1.0, 1.0)
    c = np.zeros(len(stiffness))
    c[:2] = stretch, -stretch
    return Material(SoftMinimum((quadratic_well(c, stiffness), quadratic_well(-c, stiffness)), rho), GreenLagrange(dim))


def mild_network(rng, size, widths, activation="squared_softplus", quadratic=True):
    """A network with weights of order one, scaled so that layers neither vanish nor blow up."""
    layers = [*widths, 1]
    return ConvexNetwork.from_arrays(
        [rng.uniform(0, 1, (n, m)) / m for m, n in itertools.pairwise(layers)],
        [rng.normal(size=(n, size)) for n in layers],
        [rng.normal(size=n) for n in layers],
        activation=activation,
        quadratic=rng.normal(size=(size, size)) / 2 if quadratic else None,
    )


def mild_material(rng, kinematics, *, modes=2, widths=(4,), activation="squared_softplus", rho=0.1, growth=None):
    """A material of random networks."""
    size = kinematics.size
    networks = tuple(mild_network(rng, size, widths, activation) for _ in range(modes))
    potential = SoftMinimum(
        networks, rho, rng.normal(size=size) / 5, np.exp(rng.normal(size=size) / 2), energy_scale=1.5, energy_shift=-0.3
    )
    return Material(potential, kinematics, growth)


def material_with_fields(modes=3, dim=2, fields=("concentration", "temperature"), box=True):
    """A material of F, a concentration and a temperature."""
    rng = np.random.default_rng(7)
    d = len(fields) + dim * (dim + 1) // 2
    networks = tuple(mild_network(rng, d, (4, 3)) for _ in range(modes))
    potential = SoftMinimum(networks, 0.5, rng.normal(size=d) / 5, np.exp(rng.normal(size=d) / 2), energy_scale=1.4)
    limits = Box(-0.2 * np.ones(d), 0.2 * np.ones(d)) if box else None
    return Material(potential, GreenLagrange(dim), Growth(0.2), training_box=limits, fields=fields)


def random_interpolated(rng, size, depths=(1, 1), **options):
    """A mode of a temperature, its first input, between two networks of these depths."""
    return InterpolatedNetwork(*(random_network(rng, size - 1, depth=depth, **options) for depth in depths))


def temperature_material(modes=2, dim=2, growth=None, depths=(1, 1)):
    """A material of F and of a temperature between 300 and 400."""
    rng = np.random.default_rng(17)
    size = dim * (dim + 1) // 2
    networks = tuple(InterpolatedNetwork(*(mild_network(rng, size, (4,) * n) for n in depths)) for _ in range(modes))
    shift, scale = np.append(300.0, rng.normal(size=size) / 5), np.append(100.0, np.exp(rng.normal(size=size) / 2))
    potential = SoftMinimum(networks, 0.5, shift, scale, energy_scale=1.4)
    box = Box(np.append(300.0, -0.2 * np.ones(size)), np.append(400.0, 0.2 * np.ones(size)))
    caloric = Caloric(0.02, 300.0)
    return Material(potential, GreenLagrange(dim), growth, training_box=box, fields=("T",), caloric=caloric)


def random_design(rng, design, size, *, width=5, features=3, rows=2, activation="squared_softplus"):
    """A mode of so many parameters, its first inputs, and of `size` other inputs."""
    q = 1 + design + features
    shapes = {"x_weight": (width, size), "bias": (width, q), "z_root": (width, q), "slope": (size, q), "level": (q,)}
    shapes |= {"feature_weight": (features, design), "feature_bias": (features,), "quadratic": (rows, size, q)}
    return DesignNetwork(
        **{name: 0.5 * rng.normal(size=shape) for name, shape in shapes.items()}, activation=activation
    )


def random_interpolated_design(rng, design, size, **options):
    """A mode of a temperature, its first input, of so many parameters, and of `size` other inputs."""
    ends = [random_design(rng, design, size, **options) for _ in range(2)]
    shared = {name: ends[0].tensors()[name] for name in ("feature_weight", "feature_bias", "x_weight", "bias")}
    return InterpolatedDesign(ends[0], replace(ends[1], **shared))


def temperature_and_design_material(modes=2, dim=2, growth=None):
    """A material of F, of a temperature between 250 and 310, and of a porosity."""
    rng, size = np.random.default_rng(23), dim * (dim + 1) // 2
    chosen = tuple(random_interpolated_design(rng, 1, size, width=3, features=1) for _ in range(modes))
    shift = np.concatenate([[250.0, 0.2], rng.normal(size=size) / 5])
    scale = np.concatenate([[60.0, 0.3], np.exp(rng.normal(size=size) / 2)])
    potential = SoftMinimum(chosen, 0.5, shift, scale, energy_scale=1.7)
    box = Box(np.concatenate([[255.0, 0.1], -0.2 * np.ones(size)]), np.concatenate([[305.0, 0.5], 0.2 * np.ones(size)]))
    caloric = Caloric(0.05, 273.0)
    fields = ("T", "porosity")
    return Material(potential, GreenLagrange(dim), growth, training_box=box, fields=fields, caloric=caloric)


def softening(cold, hot):
    """E(T) |e|^2 / 2 at small strain in 2D, E from `cold` at T = 300 to `hot` at T = 400."""
    ends = (quadratic_well(np.zeros(3), stiffness * np.eye(3)) for stiffness in (cold, hot))
    potential = SoftMinimum((InterpolatedNetwork(*ends),), 1.0, [300.0, 0.0, 0.0, 0.0], [100.0, 1.0, 1.0, 1.0])
    return Material(potential, SmallStrain(2), fields=("T",))


def samples_of_material(material: Material, n: int, seed: int) -> Samples:
    """Energies and stresses of random deformations around F = I."""
    F = random_deformations(np.random.default_rng(seed), n, material.dim, 0.08)
    return Samples(F=F, energy=material.energy(F), stress=material.stress(F))
