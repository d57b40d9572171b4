"""Impact on a bistable bar: the jump conditions across the boundary between its phases.

A bar at rest (length, density and modulus 1) is pulled at one end with a constant velocity V. A wave of strain runs ahead
with the speed of sound, and a boundary behind which the bar is in the second phase follows it. Mass and momentum balance across
it if

    [v] + s [e] = 0,     [sigma] + s [v] = 0,

s the speed of the boundary, [q] the value of q ahead of it less that behind. The boundary moves forward only with a driving
force [W] - mean(sigma) [e] >= 0. R. Abeyaratne, J. K. Knowles, Evolution of Phase Transitions, Cambridge 2006. The boundary has
a width by a second gradient of the displacement and by damping; steps conserve energy (`Motion`).

    impact.py [--quick] [--plot FILE]    {V: {"speed": s, "mass": relative error, "momentum": ..., "driving_force": ...}}
"""

from __future__ import annotations

import sys

import numpy as np
import ufl
from common import arguments, finish
from dolfinx import fem, mesh
from matplotlib.figure import Figure
from mpi4py import MPI

import lse_material as lse

TRANSFORMATION, OFFSET, SCALE = 0.5, 0.02, 0.004
WIDTH, VISCOSITY = 0.008, 0.008
TIMES = (0.6, 0.8)  # at which the boundary is located; the wave ahead reaches the other end at 1
Profile = tuple[
    float, np.ndarray, np.ndarray, np.ndarray, np.ndarray
]  # time; place, strain, velocity and stress of each cell


def potential() -> lse.SoftMinimum:
    """Two phases of the same modulus."""
    root = np.array([[1.0]])
    level = 0.5 * TRANSFORMATION**2 + OFFSET
    first = lse.ConvexNetwork.from_arrays([], [[[0.0]]], [[0.0]], quadratic=root)
    second = lse.ConvexNetwork.from_arrays([], [[[-TRANSFORMATION]]], [[level]], quadratic=root)
    return lse.SoftMinimum((first, second), SCALE)


def profiles(speed: float, cells: int) -> tuple[list[Profile], float]:
    """The bar at both times, and how far its energy is from being balanced, relative to the work."""
    W = potential()
    domain = mesh.create_interval(MPI.COMM_SELF, cells, [0.0, 1.0])
    V = fem.functionspace(domain, ("Lagrange", 2))
    u, end = fem.Function(V), fem.Constant(domain, 0.0)
    energy = lse.fem.potential_energy(W, [u.dx(0)]) * ufl.dx(degree=6)
    energy += lse.fem.interior_penalty(u, length=WIDTH, modulus=1.0, degree=6)
    left, right = (fem.locate_dofs_geometrical(V, lambda x, at=at: np.isclose(x[0], at)) for at in (0.0, 1.0))
    motion = lse.fem.Motion(
        energy,
        u,
        density=1.0,
        bcs=[fem.dirichletbc(end, left, V), fem.dirichletbc(0.0, right, V)],
        damping=lambda v: 0.5 * VISCOSITY * v.dx(0) ** 2 * ufl.dx,
        petsc_options_prefix="impact_",
    )
    motion.velocity.x.array[left] = -speed

    def pull(t: float) -> None:
        end.value = -speed * t

    run = lse.fem.Dynamics(motion, 0.004, supports=pull, progress=False)
    order = np.argsort(V.tabulate_dof_coordinates()[:, 0])[::2]  # of the ends of cells
    x = V.tabulate_dof_coordinates()[order, 0]
    found = []
    for time in TIMES:
        table = run.run(time)
        strain = np.diff(u.x.array[order]) / np.diff(x)
        ends = motion.velocity.x.array[order]
        stress = W.gradient(strain[:, None])[:, 0]
        found.append((time, 0.5 * (x[1:] + x[:-1]), strain, 0.5 * (ends[1:] + ends[:-1]), stress))
    balance = table["kinetic"] + table["energy"] + table["dissipated"] - table["work"]
    return found, float(np.ptp(balance) / table["work"][-1])


def boundary(profile: Profile) -> float:
    """Where the strain is between the phases."""
    _, x, strain, *_ = profile
    k = int(np.flatnonzero(strain < 0.5 * TRANSFORMATION)[0])
    return float(np.interp(-0.5 * TRANSFORMATION, -strain[k - 1 : k + 1], x[k - 1 : k + 1]))


def jumps(found: list[Profile]) -> dict[str, float]:
    """How far both sides are from the jump conditions, relative to the jumps of velocity and stress."""
    places = [boundary(profile) for profile in found]
    s = (places[1] - places[0]) / (TIMES[1] - TIMES[0])
    time, x, strain, velocity, stress = found[1]
    behind = (x > 0.3 * places[1]) & (x < places[1] - 0.1)
    ahead = (x > places[1] + 0.08) & (x < time - 0.1)
    e, v, sigma = (np.array([q[behind].mean(), q[ahead].mean()]) for q in (strain, velocity, stress))
    driving = float(np.diff(potential().energy(e[:, None]))[0] - sigma.mean() * np.diff(e)[0])
    (de,), (dv,), (dsigma,) = np.diff(e), np.diff(v), np.diff(sigma)
    return {
        "speed": float(s),
        "mass": float((dv + s * de) / dv),
        "momentum": float((dsigma + s * dv) / dsigma),
        "driving_force": driving,
    }


def draw(file: str, cases: dict[float, list[Profile]]) -> None:
    """Strain and velocity along the bar."""
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    for speed, found in cases.items():
        _, x, strain, velocity, _ = found[1]
        for ax, values in zip(axes, (strain, velocity)):
            ax.plot(x, values, linewidth=1.3, label=f"V = {speed:g} c")
    axes[0].set(xlabel="place / length", ylabel="strain", title=f"a boundary follows the wave (time {TIMES[1]:g})")
    axes[1].set(xlabel="place / length", ylabel="velocity / speed of sound c", title="jump conditions join both")
    axes[0].legend(frameon=False)
    figure.savefig(file, dpi=130)


def main() -> int:
    """Print the figures."""
    options = arguments(__doc__)
    speeds, cells = ((0.35,), 200) if options.quick else ((0.3, 0.35, 0.45), 400)
    figures, cases = {}, {}
    for speed in speeds:
        cases[speed], balance = profiles(speed, cells)
        figures[f"{speed:g}"] = {**jumps(cases[speed]), "balance": balance}
    if options.plot:
        draw(options.plot, cases)
    finish(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
