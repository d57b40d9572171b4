"""The relaxation of a published energy with two wells on its convex hull and a third above it: fitted, and by a bar.

W(F) = (F - 1)^2 (42 + 77 F + 15 F^2 - 102.5 F^3 + 58.89 F^4 - 12.89 F^5 + F^6), the example in one dimension of M. Koehler,
T. Neumeier, M. A. Peter, D. Peterseim, D. Balzani, arXiv 2405.16866, and of its code. Where a bar may mix phases, W is replaced
by its convex hull: a common tangent from F = 1.0486 to 4.0251, of slope 7.4400. The well at 2.72 is above it.

fit    common tangent of the fitted energy, from the values and slopes of W at 200 stretches
bar    a bar of it is pulled from F = 1, its boundaries between phases cost energy (a second gradient), and it leaves saddles
       along their lowest mode: the smallest and the largest stress at mean stretches from 2.2 to 3.6

One line of JSON: ends and slope, of the polynomial and of the fit, and the stresses, each with its relative difference from
what is published. Ends with an error if one is more than 0.2 % off.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import ufl
from common import arguments, finish
from dolfinx import fem, mesh
from matplotlib.figure import Figure
from mpi4py import MPI
from numpy.polynomial import Polynomial
from scipy.optimize import fsolve

import lse_material as lse
from lse_material.fit import Architecture, Training, fit

PUBLISHED = np.array([1.0486, 4.0251, 7.4400])  # the ends of the common tangent, its slope
W = Polynomial([-1.0, 1.0]) ** 2 * Polynomial([42.0, 77.0, 15.0, -102.5, 58.89, -12.89, 1.0])
RANGE = (0.9, 4.15)
WIDTH = 0.01  # of a boundary, over the length of the bar
ALLOWED = 0.002


def common_tangent(energy: Any, slope: Any) -> np.ndarray:
    """Both ends of the tangent that touches an energy twice, and its slope."""

    def apart(ends: np.ndarray) -> list[float]:
        (Wa, Wb), (Pa, Pb) = energy(ends), slope(ends)
        return [Pa - Pb, Wb - Wa - Pa * (ends[1] - ends[0])]

    ends = fsolve(apart, [1.0, 4.0], xtol=1e-13)
    return np.array([*ends, slope(ends)[0]])


def fitted(rows: int) -> lse.SoftMinimum:
    """One mode for each well, from values and slopes."""
    F = np.linspace(*RANGE, rows)
    samples = lse.Samples(x=F[:, None], energy=W(F), gradient=W.deriv()(F)[:, None])
    training = Training(restarts=2, validation=0.0)
    return fit(samples, architecture=Architecture(modes=3), training=training, progress=False).potential


def bar(potential: lse.SoftMinimum, cells: int, stretches: np.ndarray) -> dict[str, np.ndarray]:
    """Stresses of a bar that is pulled from its first phase."""
    domain = mesh.create_interval(MPI.COMM_WORLD, cells, [0.0, 1.0])
    V = fem.functionspace(domain, ("Lagrange", 2))
    u, elongation = fem.Function(V), fem.Constant(domain, 0.0)
    energy = lse.fem.potential_energy(potential, [1.0 + u.dx(0)]) * ufl.dx(degree=6)
    energy += lse.fem.interior_penalty(u, length=WIDTH, modulus=float(W.deriv(2)(1.0)), degree=6)
    left, right = (fem.locate_dofs_geometrical(V, lambda x, at=at: np.isclose(x[0], at)) for at in (0.0, 1.0))
    pulled = fem.dirichletbc(elongation, right, V)
    problem = lse.fem.EnergyProblem(
        energy, u, bcs=[fem.dirichletbc(0.0, left, V), pulled], petsc_options_prefix="relaxed_"
    )

    def pull(value: float) -> None:
        elongation.value = value - 1.0

    path = lse.fem.LoadPath(problem, pull, {"stress": lambda: problem.reaction(pulled)}, perturbation_size=1e-3)
    return path.run(stretches)


def draw(file: Path, potential: lse.SoftMinimum, tangent: np.ndarray, table: dict[str, np.ndarray]) -> None:
    """The energy with its tangent, and stresses."""
    F = np.linspace(0.92, 4.12, 600)
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(F, W(F), "0.7", linewidth=4, label="polynomial")
    left.plot(F, potential.energy(F[:, None]), "k", linewidth=1, label="fitted, three modes")
    left.plot(tangent[:2], potential.energy(tangent[:2, None]), "o-", color="tab:red", label="common tangent")
    left.set(xlabel="F", ylabel="W", title="an energy and its relaxation", ylim=(-2.0, 45.0))
    right.plot(F, potential.gradient(F[:, None])[:, 0], "0.7", label="dW/dF")
    right.axhline(PUBLISHED[2], color="tab:red", linestyle="--", linewidth=1, label="published")
    right.plot(table["load"], table["stress"], "ko-", markersize=4, linewidth=0.8, label="bar")
    right.set(xlabel="mean F", ylabel="stress", title="a bar that is pulled", ylim=(-60.0, 60.0))
    for axes in (left, right):
        axes.legend(frameon=False)
    figure.savefig(file, dpi=130)


def main() -> int:
    """Print the figures."""
    options = arguments(__doc__)
    potential = fitted(100 if options.quick else 200)
    exact = common_tangent(W, W.deriv())
    found = common_tangent(lambda F: potential.energy(F[:, None]), lambda F: potential.gradient(F[:, None])[:, 0])
    table = bar(potential, 200 if options.quick else 400, np.linspace(1.0, 4.0, 31))
    plateau = table["stress"][(table["load"] > 2.15) & (table["load"] < 3.65)]
    stresses = np.array([plateau.min(), plateau.max()])
    differences = {
        "polynomial": exact / PUBLISHED - 1.0,
        "fit": found / PUBLISHED - 1.0,
        "bar": stresses / PUBLISHED[2] - 1.0,
    }
    values = {"polynomial": exact, "fit": found, "bar": stresses}
    if options.plot:
        draw(options.plot, potential, found, table)
    finish({name: {"values": v.tolist(), "differences": differences[name].tolist()} for name, v in values.items()})
    return int(any(np.abs(d).max() > ALLOWED for d in differences.values()))


if __name__ == "__main__":
    sys.exit(main())
