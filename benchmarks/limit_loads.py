"""Limit loads of two structures that other codes publish, as solids: Lee's frame, and a hinged cylindrical roof.

Lee's frame: a column and a beam of length 120, depth 2 and width 3 with E = 720, nu = 0.3, hinged at both free ends, carry a
dead load on the beam at 24 from the corner. The path snaps through and back: an arc length follows it. S. L. Lee, F. S. Manuel,
E. C. Rossow, J. Eng. Mech. Div. ASCE 94, 521 (1968); J. C. Simo, L. Vu-Quoc, Comput. Methods Appl. Mech. Eng. 58, 79 (1986).
The loads that are handed down, 1.88 and -0.98, are those of few beam elements. Beams that are geometrically exact, and refined
here, have 1.855 and -0.940; the solid is compared with these. It is in plane stress, of quadratic quadrilaterals, Saint
Venant-Kirchhoff.

Roof: radius 2540 mm, half angle 0.1, length 508 mm, thickness 12.7 mm, E = 3102.75 MPa, nu = 0.3, its straight edges hinged at
mid-thickness, its curved edges free, loaded in its centre: limit load 2225.09 N at a deflection of 10.658 mm by K. Y. Sze,
X. H. Liu, S. H. Lo, Finite Elem. Anal. Des. 40, 1551 (2004). Here a quarter of it by quadratic hexahedra, one across the
thickness; the deflection of the centre is prescribed.

One line of JSON: loads, and how far they are from the references. It ends with an error if that is more than 2 %.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import basix.ufl
import numpy as np
import ufl
from common import arguments, finish, processor
from dolfinx import fem, mesh
from mpi4py import MPI
from scipy.interpolate import CubicSpline

from lse_material.fem import ArcLength, EnergyProblem, LoadPath

COMM = MPI.COMM_WORLD
HANDED_DOWN = {"limit": 1.88, "minimum": -0.98}  # of the frame
ROOF = {"limit": 2225.09, "deflection": 10.658}
ALLOWED = 0.02  # relative difference from the references
SPAN, DEPTH, WIDTH, LOADED, MODULUS, NU = 120.0, 2.0, 3.0, 24.0, 720.0, 0.3
RADIUS, HALF_ANGLE, HALF_LENGTH, THICKNESS = 2540.0, 0.1, 254.0, 12.7


def saint_venant_kirchhoff(u: fem.Function, E: float, nu: float, *, plane_stress: bool = False) -> Any:
    """W per volume."""
    F = ufl.Identity(len(u)) + ufl.grad(u)
    strain = 0.5 * (F.T * F - ufl.Identity(len(u)))
    lame = E * nu / (1.0 - nu**2) if plane_stress else E * nu / (1.0 + nu) / (1.0 - 2.0 * nu)
    return 0.5 * lame * ufl.tr(strain) ** 2 + E / 2.0 / (1.0 + nu) * ufl.inner(strain, strain)


def fixed(V: fem.FunctionSpace, i: int, where: Any, value: fem.Constant | float = 0.0) -> fem.DirichletBC:
    """Component i of the displacement is prescribed at nodes."""
    space = V.sub(i).collapse()[0]
    dofs = fem.locate_dofs_geometrical((V.sub(i), space), where)
    given = fem.Function(space)
    given.x.array[:] = value if isinstance(value, float) else value.value
    return fem.dirichletbc(given, dofs, V.sub(i))


def frame_mesh(cells: int) -> mesh.Mesh:
    """The frame by one row of quadrilaterals along each member, `cells` on each fifth of it, and one in the corner."""
    half, fifth = DEPTH / 2.0, SPAN / 5.0
    x = np.concatenate([[-half], np.linspace(half, LOADED, cells + 1), np.linspace(fifth, SPAN, 4 * cells + 1)[1:]])
    y = np.concatenate([np.linspace(0.0, SPAN - half, 5 * cells + 1), [SPAN + half]])
    kept = [(i, j) for j in range(len(y) - 1) for i in range(len(x) - 1) if i == 0 or j == len(y) - 2]
    corners = np.array([[(i + a) + len(x) * (j + b) for b in (0, 1) for a in (0, 1)] for i, j in kept])
    used, cells_of = np.unique(corners, return_inverse=True)
    points = np.stack([x[used % len(x)], y[used // len(x)]], axis=1)
    element = basix.ufl.element("Lagrange", "quadrilateral", 1, shape=(2,))
    first = COMM.rank == 0
    cells_here = cells_of.reshape(-1, 4) if first else np.zeros((0, 4), dtype=np.int64)
    return mesh.create_mesh(COMM, cells_here, element, points if first else points[:0])


def followed(problem: EnergyProblem, u: Any, place: int) -> tuple[dict[str, float], ArcLength]:
    """Limit load and minimum load under a load on the facets where x = LOADED, and the path; u is the displacement."""
    domain = problem.u.function_space.mesh
    domain.topology.create_connectivity(place, domain.topology.dim)
    loaded = mesh.locate_entities(domain, place, lambda x: np.isclose(x[0], LOADED))
    tags = mesh.meshtags(domain, place, loaded, np.ones(len(loaded), dtype=np.int32))
    depth = DEPTH if place == 1 else 1.0
    work = -ufl.avg(u[1]) / depth * ufl.Measure("dS", domain, subdomain_data=tags)(1)
    down = problem.compiled(work)

    def deflection() -> float:
        return float(COMM.allreduce(fem.assemble_scalar(down)))

    path = ArcLength(problem, work, 2.0, {"deflection": deflection})
    while deflection() < 90.0:
        path.run(1)
    peak, trough = path.limit_points()[:2]
    return {"limit": peak.factor, "minimum": trough.factor}, path


def is_end(x: np.ndarray) -> Any:
    """The middles of the hinged ends."""
    return (np.isclose(x[0], 0.0) & np.isclose(x[1], 0.0)) | (np.isclose(x[0], SPAN) & np.isclose(x[1], SPAN))


def frame(cells: int) -> tuple[dict[str, float], ArcLength]:
    """Loads of Lee's frame as a solid, and its path."""
    V = fem.functionspace(frame_mesh(cells), ("Lagrange", 2, (2,)))
    u = fem.Function(V)
    energy = WIDTH * saint_venant_kirchhoff(u, MODULUS, NU, plane_stress=True) * ufl.dx(degree=6)
    bcs = [fixed(V, i, is_end) for i in range(2)]
    return followed(EnergyProblem(energy, u, bcs=bcs, petsc_options_prefix=f"frame_{cells}_"), u, 1)


def beams(cells: int) -> tuple[dict[str, float], ArcLength]:
    """The same by geometrically exact beams, `cells` on each fifth of a member: E. Reissner, ZAMP 23, 795 (1972)."""
    along = np.linspace(0.0, SPAN, 5 * cells + 1)
    points = np.concatenate([np.stack([0.0 * along, along], axis=1), np.stack([along, 0.0 * along + SPAN], axis=1)[1:]])
    lines = np.stack([np.arange(10 * cells), np.arange(10 * cells) + 1], axis=1)
    shape = basix.ufl.element("Lagrange", "interval", 1, shape=(2,))
    domain = mesh.create_mesh(
        COMM, lines if COMM.rank == 0 else lines[:0], shape, points if COMM.rank == 0 else points[:0]
    )
    parts = [basix.ufl.element("Lagrange", "interval", 2, shape=(2,)), basix.ufl.element("Lagrange", "interval", 2)]
    V = fem.functionspace(domain, basix.ufl.mixed_element(parts))
    state = fem.Function(V)
    u, turned = ufl.split(state)
    tangent = ufl.Jacobian(domain)[:, 0]
    tangent = tangent / ufl.sqrt(ufl.inner(tangent, tangent))
    normal = ufl.as_vector([-tangent[1], tangent[0]])
    stretched = tangent + ufl.dot(ufl.grad(u), tangent)
    axial = ufl.cos(turned) * tangent + ufl.sin(turned) * normal
    across = ufl.cos(turned) * normal - ufl.sin(turned) * tangent
    area, curvature = DEPTH * WIDTH, ufl.dot(ufl.grad(turned), tangent)
    energy = 0.5 * MODULUS * area * (ufl.dot(stretched, axial) - 1.0) ** 2 * ufl.dx(degree=2)  # full rules would lock
    energy += 0.5 * MODULUS / 2.0 / (1.0 + NU) * area * ufl.dot(stretched, across) ** 2 * ufl.dx(degree=2)
    energy += 0.5 * MODULUS * area * DEPTH**2 / 12.0 * curvature**2 * ufl.dx(degree=2)
    space = V.sub(0).collapse()[0]
    ends = fem.locate_dofs_geometrical((V.sub(0), space), is_end)
    bcs = [fem.dirichletbc(fem.Function(space), ends, V.sub(0))]
    problem = EnergyProblem(energy, state, bcs=bcs, petsc_options_prefix=f"beams_{cells}_")
    return followed(problem, u, 0)


def roof(cells: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Limit load of the roof, its deflection there, and the table of its path."""
    low, high = (0.0, 0.0, -THICKNESS / 2.0), (HALF_ANGLE, HALF_LENGTH, THICKNESS / 2.0)
    domain = mesh.create_box(COMM, [low, high], (cells, cells, 1), mesh.CellType.hexahedron)
    angle, radius = domain.geometry.x[:, 0].copy(), RADIUS + domain.geometry.x[:, 2]
    domain.geometry.x[:, 0], domain.geometry.x[:, 2] = radius * np.sin(angle), radius * np.cos(angle)
    V = fem.functionspace(domain, ("Lagrange", 2, (3,)))
    u, down = fem.Function(V), fem.Constant(domain, 0.0)
    small = 1e-6 * THICKNESS

    def hinge(x: np.ndarray) -> np.ndarray:
        middle = np.abs(np.hypot(x[0], x[2]) - RADIUS) < small
        return middle & np.isclose(np.arctan2(x[0], x[2]), HALF_ANGLE)

    centre = fem.locate_dofs_geometrical(
        (V.sub(2), V.sub(2).collapse()[0]), lambda x: (np.abs(x[0]) < small) & (np.abs(x[1]) < small)
    )
    pressed = fem.dirichletbc(down, centre[0], V.sub(2))
    planes = [fixed(V, i, lambda x, i=i: np.abs(x[i]) < small) for i in range(2)]
    bcs = [pressed, *planes, *(fixed(V, i, hinge) for i in range(3))]
    energy = saint_venant_kirchhoff(u, 3102.75, NU) * ufl.dx(degree=6)
    problem = EnergyProblem(energy, u, bcs=bcs, petsc_options_prefix=f"roof_{cells}_")

    def press(deflection: float) -> None:
        down.value = -deflection

    path = LoadPath(problem, press, {"force": lambda: -4.0 * problem.reaction(pressed)}, progress=False)
    table = path.run(np.linspace(2.0, 16.0, 8).tolist())
    curve = CubicSpline([0.0, *table["load"]], [0.0, *table["force"]])
    peak = next(float(w) for w in curve.derivative().roots(extrapolate=False) if curve(w, 2) < 0.0)
    return {"limit": float(curve(peak)), "deflection": peak}, table


def draw(file: Path, paths: dict[str, ArcLength], table: dict[str, Any]) -> None:
    """The paths, and the published loads."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8.0, 3.4), layout="constrained")
    for (name, path), style in zip(paths.items(), ("k.", "0.6")):
        left.plot(path.table["deflection"], path.table["factor"], style, label=name)
    left.set(xlabel="deflection under the load", ylabel="load", title="Lee's frame")
    left.legend(frameon=False)
    right.plot([0.0, *table["load"]], [0.0, *table["force"]], "k.-", label="solid")
    right.plot(ROOF["deflection"], ROOF["limit"], "ro", markersize=9, fillstyle="none", label="Sze et al.")
    right.set(xlabel="deflection of the centre (mm)", ylabel="load (N)", title="hinged roof, 12.7 mm")
    right.legend(frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)


def main() -> None:
    options = arguments(__doc__)
    (solid, path), (theory, curve) = frame(6 if options.quick else 16), beams(4 if options.quick else 8)
    found, table = roof(5 if options.quick else 12)
    figures: dict[str, Any] = {"frame": solid, "beams": theory, "roof": found}
    for name, value in theory.copy().items():
        solid[f"{name}_error"] = solid[name] / value - 1.0
        solid[f"{name}_from_handed_down"] = solid[name] / HANDED_DOWN[name] - 1.0
    found["limit_error"] = found["limit"] / ROOF["limit"] - 1.0
    if options.plot and COMM.rank == 0:
        draw(options.plot, {"solid": path, "exact beams": curve}, table)
    if COMM.rank == 0:
        finish({**figures, "cpu": processor()}, digits=6)
    errors = [abs(value) for part in (solid, found) for name, value in part.items() if name.endswith("_error")]
    if not max(errors) <= ALLOWED:
        raise SystemExit(f"a load is {max(errors):.1%} off its reference.")


if __name__ == "__main__":
    main()
