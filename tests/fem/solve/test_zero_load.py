"""Nothing left to do is no failure, in any unit; and it stops no solve that has something to do."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import MaterialProblem, QuadratureStress, energy
from tests.materials import saint_venant_kirchhoff

ROOT, WORLD = Path(__file__).parents[3], MPI.COMM_WORLD
NUMBER = itertools.count()
UNITS = {
    "m": (1.0, 1.0),
    "mm": (1e3, 1e-6),
    "um": (1e6, 1e-12),
    "soft": (1.0, 1e-12),
    "pascal": (0.02, 3e9),
}  # side, modulus


class Plate:
    """A plate held on its left side, with a traction on its right side or a displacement of it."""

    def __init__(self, route, side, modulus, *, moved=False, **options):
        domain = mesh.create_rectangle(WORLD, [[0.0, 0.0], [side, 0.6 * side]], [5, 3])
        V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
        u, v = fem.Function(V), ufl.TestFunction(V)
        F = ufl.Identity(2) + ufl.grad(u)
        dx, stresses, unknowns, clamped = ufl.dx(degree=4), [], u, V
        self.load, self.displacement = fem.Constant(domain, (0.0, 0.0)), fem.Constant(domain, (0.0, 0.0))
        self.modulus, self.side = modulus, side
        neo = 0.5 * modulus * (ufl.inner(F, F) - 2 - 2 * ufl.ln(ufl.det(F)))
        material = saint_venant_kirchhoff(2, 0.7 * modulus, 0.4 * modulus)
        right = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], side))
        left = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0))
        work = modulus * ufl.inner(self.load, v) * ufl.ds
        if route == "quadrature":
            stresses = [QuadratureStress(material, F, degree=4)]
            residual = ufl.inner(stresses[0].operator, ufl.grad(v)) * stresses[0].dx - work
        elif route == "energy":
            residual = ufl.derivative(energy(material, F) * dx, u, v) - work
        elif route == "neo-Hookean":
            residual = ufl.derivative(neo * dx, u, v) - work
        else:  # displacement and pressure
            Q = fem.functionspace(domain, ("Lagrange", 1))
            p, q = fem.Function(Q), ufl.TestFunction(Q)
            unknowns = [u, p]
            residual = [
                ufl.derivative(neo * dx, u, v) + p * ufl.inner(ufl.cofac(F), ufl.grad(v)) * dx - work,
                q * (ufl.det(F) - 1 - p / (300 * modulus)) * dx,
            ]
            options = {"kind": "mpi", **options}
        bcs = [fem.dirichletbc(np.zeros(2), left, clamped)]
        if moved:
            bcs.append(fem.dirichletbc(self.displacement, right, V))
        self.problem = MaterialProblem(
            residual, unknowns, bcs=bcs, stresses=stresses, petsc_options_prefix=f"plate_{next(NUMBER)}_", **options
        )
        self.u = u

    def largest(self):
        """Of the displacements, in units of the side."""
        return WORLD.allreduce(np.abs(self.u.x.array).max(initial=0.0), MPI.MAX) / self.side


@pytest.mark.mpi
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("route", ["energy", "quadrature", "neo-Hookean", "u-p"])
def test_no_load_a_load_unloading_and_another_look_are_solved_in_any_unit(route, unit):
    plate = Plate(route, *UNITS[unit])
    sizes = []
    for load in (0.0, 0.03, 0.03, 0.0, 0.0, 0.015, 0.0):
        plate.load.value[:] = load, 0.3 * load
        plate.problem.solve()
        assert plate.problem.solver.getConvergedReason() > 0
        sizes.append(plate.largest())
    assert np.abs(np.array(sizes)[[0, 3, 4, 6]]).max() < 1e-10  # snes_rtol
    assert min(sizes[1], sizes[5]) > 0.01
    assert abs(sizes[1] - sizes[2]) < 1e-12
    reference = Plate(route, 1.0, 1.0)
    reference.load.value[:] = 0.03, 0.009
    reference.problem.solve()
    assert abs(reference.largest() - sizes[1]) < 1e-10


@pytest.mark.mpi
@pytest.mark.parametrize("search", ["bt", "basic", "l2"])
@pytest.mark.parametrize("route", ["quadrature", "u-p"])
def test_a_grip_that_returns_and_stays_is_solved_by_any_line_search(route, search):
    plate = Plate(route, 0.25, 40.0, moved=True, petsc_options={"snes_linesearch_type": search})
    for stretch in (0.0, 0.1, 0.1, 0.0, 0.0):
        plate.displacement.value[0] = stretch * plate.side
        plate.problem.solve()
        assert abs(plate.largest() - stretch) < 1e-11


@pytest.mark.parametrize("unit", UNITS)
def test_the_force_of_a_moved_grip_does_not_depend_on_the_unit(unit):
    """Rows of conditions would be lengths beside forces: a small modulus was 'converged' after one step, its force 1 % off."""
    answers = []
    for side, modulus in ((1.0, 1.0), UNITS[unit]):
        plate = Plate("neo-Hookean", side, modulus, moved=True)
        plate.displacement.value[:] = 0.4 * side, 0.1 * side
        plate.problem.solve()
        right = plate.problem.bcs[1]
        force = plate.problem.reaction(right) / (modulus * side)
        answers.append((force, plate.largest(), plate.problem.solver.getIterationNumber()))
    assert answers[1][:2] == pytest.approx(answers[0][:2], rel=1e-11)
    assert answers[1][2] == answers[0][2] > 2


@pytest.mark.parametrize("strain", [1e-6, 1e-12, 1e-20])
def test_a_small_load_is_solved_as_far_as_rounding_lets_it(strain):
    """Linear elasticity in grad(u) alone knows strains of any size: nothing is cut off at rounding of one."""
    domain = mesh.create_unit_square(WORLD, 4, 3)
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    e = ufl.sym(ufl.grad(u))
    load = fem.Constant(domain, (strain, -0.4 * strain))
    residual = ufl.inner(e + ufl.tr(e) * ufl.Identity(2), ufl.grad(v)) * ufl.dx - ufl.inner(load, v) * ufl.dx
    left = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0))
    problem = MaterialProblem(
        residual, u, bcs=[fem.dirichletbc(np.zeros(2), left, V)], petsc_options_prefix=f"small_{strain}_"
    )
    problem.solve()
    scaled = u.x.array / strain
    load.value[:], u.x.array[:] = (1.0, -0.4), 0.0
    problem.solve()
    assert np.abs(scaled - u.x.array).max() < 1e-11 * np.abs(u.x.array).max()


def test_the_tolerances_of_petsc_are_respected():
    def norms(**options):
        plate = Plate("energy", 1.0, 1.0, petsc_options=options)
        plate.load.value[:] = 0.05, 0.02
        found = []
        plate.problem.solver.setMonitor(lambda snes, iteration, norm: found.append(norm))
        plate.problem.solve()
        return np.array(found)

    tight, loose = norms(snes_rtol=1e-12), norms(snes_rtol=1e-3)
    assert tight[-1] < 1e-12 * tight[0]
    assert 1e-12 * loose[0] < loose[-1] <= 1e-3 * loose[0]
    assert np.log(tight[-2] / tight[-3]) / np.log(tight[-3] / tight[-4]) > 1.7  # quadratic to the end
    absolute = norms(snes_atol=0.01 * tight[0], snes_rtol=1e-12)
    assert absolute[-1] <= 0.01 * tight[0]
    assert len(absolute) < len(tight)


@pytest.mark.parametrize("own", [False, True])
def test_a_large_field_does_not_hide_the_step_of_another(own):
    """A temperature of 1e9 beside displacements: steps of 1e-2 are no small steps. PETSc's test alone stops there."""
    domain = mesh.create_unit_square(WORLD, 4, 3)
    V, Q = fem.functionspace(domain, ("Lagrange", 1, (2,))), fem.functionspace(domain, ("Lagrange", 1))
    u, T, v, q = fem.Function(V), fem.Function(Q), ufl.TestFunction(V), ufl.TestFunction(Q)
    F = ufl.Identity(2) + ufl.grad(u)
    neo = 0.5 * (ufl.inner(F, F) - 2 - 2 * ufl.ln(ufl.det(F))) - ufl.inner(ufl.as_vector([0.2, -0.1]), u)
    residual = [ufl.derivative(neo * ufl.dx(degree=2), u, v), (T - 1e9) * q * ufl.dx]
    held = fem.dirichletbc(np.zeros(2), fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0)), V)
    options = {"snes_rtol": 1e-300, "snes_stol": 1e-6, "snes_linesearch_type": "basic"}
    if not own:
        options["snes_convergence_test"] = "default"
    problem = MaterialProblem(
        residual, [u, T], bcs=[held], kind="mpi", petsc_options_prefix=f"large_{own}_", petsc_options=options
    )
    problem.solve()
    found = u.x.array.copy()
    exact = MaterialProblem(residual[0], u, bcs=[held], petsc_options_prefix="without_it_")
    exact.solve()
    error = np.abs(found - u.x.array).max() / np.abs(u.x.array).max()
    assert error < 1e-11 if own else error > 1e-5


def test_what_is_no_solution_is_still_a_failure():
    plate = Plate("energy", 1.0, 1e-12, petsc_options={"snes_max_it": 2})
    plate.load.value[0] = 0.3
    with pytest.raises(lse.ConvergenceError, match="MAX_IT"):
        plate.problem.solve()
    assert plate.largest() == 0.0


@pytest.mark.parametrize("traction", [0.002, 0.01, 0.02])
def test_a_body_whose_dead_load_is_taken_off_comes_back_without_a_warning(traction, caplog):
    """Its energy, which loads made negative, ends at the rounding of what it was."""
    domain = mesh.create_unit_square(WORLD, 8, 8)
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
    material = lse.load(ROOT / "demos" / "materials" / "porous_cell.safetensors")
    load, right = fem.Constant(domain, (0.0, 0.0)), ufl.gt(ufl.SpatialCoordinate(domain)[0], 1.0 - 1e-9)
    W = energy(material, ufl.Identity(2) + ufl.grad(u)) - float(material.energy(np.eye(2)))
    left = fem.locate_dofs_geometrical(u.function_space, lambda x: np.isclose(x[0], 0.0))
    problem = lse.fem.EnergyProblem(
        W * ufl.dx(degree=2) - ufl.conditional(right, ufl.inner(load, u), 0.0) * ufl.ds,
        u,
        bcs=[fem.dirichletbc(np.zeros(2), left, u.function_space)],
        petsc_options_prefix=f"unloaded_{next(NUMBER)}_",
    )
    for share in (1.0, 2.0, 1.0, 0.5, 0.1, 0.0, -0.5, 0.0):
        load.value[:] = share * traction * np.array([1.0, 0.3])
        problem.solve()
    assert np.abs(u.x.array).max() < 1e-9
    assert not caplog.records
