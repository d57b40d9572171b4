"""The materials and spaces of the campaign: few pairs, since forms compile once for each, and many problems of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

import lse_material as lse
from lse_material.model.strain import MANDEL

MATERIALS = Path(__file__).parents[1] / "demos" / "materials"
MEGA = 1e6  # the other unit of stress: Pa for MPa


def wells(
    kinematics: lse.StrainMeasure, modes: int, seed: int, scale: float, *, growth: float = 0.0, unit: float = 1.0
) -> lse.Material:
    """Quadratic wells with random moduli and transformation strains up to 6 %, the first at rest.

    Args:
        kinematics: Green-Lagrange or small strain.
        modes: how many wells.
        seed: of all that is random.
        scale: of the moduli.
        growth: coefficient of a growth term in this scale; 0 for none.
        unit: by which everything that is a stress is multiplied.
    """
    rng = np.random.default_rng(seed)
    n, dim = kinematics.size, kinematics.dim
    trace = np.array([1.0 if a == b else 0.0 for a, b in MANDEL[dim]])
    centres = [np.zeros(n)]
    while len(centres) < modes:
        e = rng.normal(size=n)
        centres.append(e / np.linalg.norm(e) * rng.uniform(0.02, 0.06))
    stiffness = [
        scale * f * (lam * np.outer(trace, trace) + 2.0 * mu * np.eye(n))
        for f, lam, mu in zip(rng.uniform(0.6, 1.6, modes), rng.uniform(0.2, 3.0, modes), rng.uniform(0.3, 1.0, modes))
    ]
    levels = scale * np.r_[0.0, rng.uniform(0.0, 5e-4, modes - 1)]
    networks = tuple(
        lse.ConvexNetwork.from_arrays(
            [], [-(K @ e)[None]], [np.array([0.5 * e @ K @ e + level])], quadratic=np.linalg.cholesky(K).T
        )
        for K, e, level in zip(stiffness, centres, levels)
    )
    rho = scale * rng.uniform(1e-4, 5e-4)
    potential = lse.SoftMinimum(networks, rho, energy_scale=unit)
    return lse.Material(potential, kinematics, lse.Growth(unit * scale * growth) if growth else None)


def invariants(dim: int, modes: int, seed: int, scale: float) -> lse.Material:
    """A rubber of neurons and lines in the invariants, with modes that soften, and a growth term."""
    rng = np.random.default_rng(seed)
    networks = []
    for k in range(modes):
        soft = 0.5**k
        hidden = rng.uniform(0.0, 0.6, (4, 3)) * soft
        networks.append(
            lse.ConvexNetwork.from_arrays(
                [rng.uniform(0.1, 0.4, (1, 4))],
                [hidden, np.array([[0.5, 0.1, 5.0]]) * soft],
                [rng.normal(size=4), np.array([0.02 * k])],
            )
        )
    potential = lse.SoftMinimum(tuple(networks), 0.01, energy_scale=scale)
    return lse.Material(potential, lse.IsotropicInvariants(dim), lse.Growth(0.5 * scale))


def electrode(concentration: float) -> lse.Material:
    """The potential of demos/studies/mechanochemistry at a held concentration, as a material of Green-Lagrange strain.

    Its inputs (e1, e2, e6) are a rotation of the Mandel components.
    """
    held = lse.load_potential(MATERIALS / "mechanochemistry.safetensors").at([concentration])
    r = np.sqrt(0.5)
    change = np.array([[r, r, 0.0], [r, -r, 0.0], [0.0, 0.0, 1.0]]) / held.input_scale[:, None]
    shift = held.input_shift / held.input_scale
    networks = []
    for mode in held.modes:
        rows = [w @ change for w in mode.x_weights]
        biases = [b - w @ shift for w, b in zip(mode.x_weights, mode.biases)]
        quadratic = mode.quadratic
        if quadratic is not None:  # |Q (R x - s)|^2 / 2
            level = quadratic @ shift
            rows[-1] = rows[-1] - (level @ quadratic @ change)[None]
            biases[-1] = biases[-1] + 0.5 * level @ level
            quadratic = quadratic @ change
        networks.append(
            lse.ConvexNetwork.from_arrays(mode.z_weights, rows, biases, activation=mode.activation, quadratic=quadratic)
        )
    potential = lse.SoftMinimum(tuple(networks), held.scaled_rho, energy_scale=held.energy_scale)
    return lse.Material(potential, lse.GreenLagrange(2))


@cache
def material(name: str) -> lse.Material | lse.SoftMinimum:
    """A material of the campaign by its name; a potential of the strain for the bar."""
    gl2, gl3 = lse.GreenLagrange(2), lse.GreenLagrange(3)
    if name in ("porous_cell", "porous_cell_single_mode"):
        return lse.load(MATERIALS / f"{name}.safetensors")
    if name == "snapping_cell":
        return lse.load_potential(MATERIALS / "snapping_cell.safetensors")
    made = {
        "steel": lambda: wells(gl2, 1, 1, 2e5),
        "steel in Pa": lambda: wells(gl2, 1, 1, 2e5, unit=MEGA),
        "two wells": lambda: wells(gl2, 2, 2, 1.0),
        "two wells in Pa": lambda: wells(gl2, 2, 2, 1.0, unit=MEGA),
        "three wells that grow": lambda: wells(gl2, 3, 3, 1e-3, growth=1.0),
        "four wells": lambda: wells(gl2, 4, 4, 1e2),
        "two small wells": lambda: wells(lse.SmallStrain(2), 2, 5, 10.0),
        "small strain": lambda: wells(lse.SmallStrain(3), 1, 6, 7e4),
        "three wells in 3D": lambda: wells(gl3, 3, 7, 50.0),
        "softening rubber": lambda: invariants(2, 2, 8, 0.4),
        "rubber": lambda: invariants(3, 1, 9, 3.0),
        "electrode": lambda: electrode(0.9),
    }
    return made[name]()


@dataclass(frozen=True)
class Pair:
    """A material and a space.

    Attributes:
        name: of the material.
        cell: interval, triangle, quadrilateral, tetrahedron or hexahedron.
        order: of the displacement.
        degree: of the measure; None where it names none.
        modulus: of the order of the material's, in the unit of the material.
        in_pascal: name of the same material in another unit of stress.
    """

    name: str
    cell: str
    order: int
    degree: int | None
    modulus: float
    in_pascal: str = ""


PAIRS = (
    Pair("steel", "triangle", 1, 1, 2e5, "steel in Pa"),
    Pair("steel", "quadrilateral", 2, None, 2e5),
    Pair("two wells", "triangle", 2, 4, 1.0),
    Pair("two wells", "triangle", 1, None, 1.0),
    Pair("two wells in Pa", "triangle", 2, 4, MEGA),
    Pair("three wells that grow", "triangle", 2, None, 1e-3),
    Pair("four wells", "quadrilateral", 1, 2, 1e2),
    Pair("two small wells", "triangle", 2, 2, 10.0),
    Pair("small strain", "tetrahedron", 1, 1, 7e4),
    Pair("three wells in 3D", "tetrahedron", 1, None, 50.0),
    Pair("three wells in 3D", "hexahedron", 1, 2, 50.0),
    Pair("softening rubber", "quadrilateral", 1, 2, 0.4),
    Pair("softening rubber", "triangle", 2, None, 0.4),
    Pair("rubber", "tetrahedron", 1, 1, 3.0),
    Pair("porous_cell", "triangle", 2, 2, 0.5),
    Pair("porous_cell", "quadrilateral", 1, None, 0.5),
    Pair("porous_cell_single_mode", "triangle", 1, 1, 0.5),
    Pair("electrode", "quadrilateral", 1, 2, 20.0),
    Pair("snapping_cell", "interval", 1, 2, 1e-3),
    Pair("snapping_cell", "interval", 2, 4, 1e-3),
)
QUICK = tuple(PAIRS[i] for i in (0, 3, 4, 11, 18))  # of the short form
