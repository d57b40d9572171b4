"""From one cell to materials: samples, and a soft minimum, one convex network and a polyconvex one fitted to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lattice import UNITS, BarStretches, block, energy
from mpi4py import MPI
from scipy.stats import qmc

import lse_material as lse
from lse_material.fem import CellPath, CellSamples, PeriodicCell, on_rank_0, sample

COMM = MPI.COMM_WORLD
LEAST = np.array([-0.0015, -0.27, -0.03])  # U11 - 1, U22 - 1, U12
MOST = np.array([0.0015, 0.03, 0.03])
STEP = 0.01
COLLAPSED = 0.205  # strain up to which the cell is judged: it has collapsed, and carries less than its peak
MIRROR = np.diag([1.0, 1.0, -1.0])  # of the cell, left to right


def make_cell(comm: MPI.Comm) -> PeriodicCell:
    """One cell on the ranks of `comm`."""
    return PeriodicCell(block(comm), energy)


def sampled(count: int, out: Path) -> CellSamples:
    """Compression and tension across the bars with F11 = 1, and `count` straight paths to the border of a box of stretches."""
    ends = [np.array([0.0, end, 0.0]) for end in (LEAST[1], MOST[1])]
    ends += list(LEAST + (MOST - LEAST) * qmc.Halton(3, seed=1).random(count))
    paths = [
        CellPath.straight(np.array([[1.0 + a, g], [g, 1.0 + b]]), max(4, int(np.ceil(abs(b) / STEP))))
        for a, b, g in ends
    ]
    return sample(make_cell, paths, out / "localising_cell.npz", units=UNITS, progress=False)


def in_stretches(samples: lse.Samples) -> lse.Samples:
    """The same rows as energies and gradients in x, each component of which has its own unit.

    P11, the thrust of the beams, is ten times P22: the error of P would be that of P11.
    """
    measure, (F, P) = BarStretches(2), (samples.F, samples.stress)
    assert F is not None
    assert P is not None
    inverse = np.linalg.pinv(measure.derivative(F).reshape(len(F), 3, 4))
    gradient = np.einsum("nqd,nq->nd", inverse, P.reshape(-1, 4))
    return lse.Samples(x=measure.strain(F), energy=samples.energy, gradient=gradient, units=UNITS)


def fitted(found: CellSamples) -> dict[str, lse.Material]:
    """A soft minimum of three modes, a convex network and a polyconvex one; four paths of five are fitted."""
    rows = np.flatnonzero(found.path % 5 != 3)

    def fits() -> list[Any]:
        from lse_material.fit import Architecture, Training, fit

        train, mirror = found.samples.take(rows), lse.Symmetry.generated([MIRROR], [MIRROR], size=3, name="mirror")
        training = Training(restarts=1, adam_steps=300, lbfgs_steps=500)
        results = [
            fit(in_stretches(train), architecture=Architecture(modes=modes, stress_free=True), training=training,
                symmetry=mirror, progress=False).potential
            for modes in (3, 1)
        ]  # fmt: skip
        polyconvex = fit(
            train,
            kinematics=lse.OrthotropicInvariants(2),
            architecture=Architecture(modes=1, stress_free=True, mode_type="PolyconvexNetwork"),
            training=Training(restarts=1, adam_steps=300, lbfgs_steps=200),
            progress=False,
        )
        return [*results, polyconvex.material]

    mixture, convex, polyconvex = on_rank_0(COMM, fits)
    return {
        "mixture": lse.Material(mixture, BarStretches(2)),
        "convex": lse.Material(convex, BarStretches(2)),
        "polyconvex": polyconvex,
    }


def load(folder: Path) -> dict[str, lse.Material]:
    """The three materials as they were saved."""
    names = ("mixture", "convex", "polyconvex")
    return {name: lse.load(folder / f"localising_{name}.safetensors", kinematics=[BarStretches]) for name in names}


def save(materials: dict[str, lse.Material], folder: Path) -> None:
    """Save the three materials."""
    for name, material in materials.items():
        lse.save(material, folder / f"localising_{name}.safetensors")


def quality(materials: dict[str, lse.Material], found: CellSamples) -> dict[str, float]:
    """How the stress of the cell falls, and by how much the materials miss it, as a share of its peak."""
    F, P = found.samples.F, found.samples.stress
    assert F is not None
    assert P is not None
    main = (found.path == 0) & (F[:, 1, 1] > 1.0 - COLLAPSED)
    exact, tangent = -P[main, 1, 1], found.tangent[main, 1, 1, 1, 1]
    peak = int(np.argmax(exact))
    figures = {
        "cell_peak": float(exact[peak]),
        "cell_after_peak": float(exact[peak:].min()),
        "least_tangent": float(tangent.min()),
        "first_tangent": float(tangent[0]),
    }
    for name, material in materials.items():
        stress = -material.stress(F[main])[:, 1, 1]
        figures[f"{name}_error"] = float(np.abs(stress - exact).max() / exact[peak])
        figures[f"{name}_least_tangent"] = float(material.tangent(F[main])[:, 1, 1, 1, 1].min())
    return figures
