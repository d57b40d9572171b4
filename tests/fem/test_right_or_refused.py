"""No result depends on the unit of length, the quadrature rule, or what a solver tried; inverted cells are refused."""

from __future__ import annotations

import itertools

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from petsc4py import PETSc

import lse_material as lse
from lse_material.fem import (
    MULTIGRID,
    ArcLength,
    EnergyProblem,
    MaterialProblem,
    QuadratureStress,
    energy,
    frozen_tangent,
    micromorphic,
    stress,
    with_quadrature_degree,
)
from lse_material.fem.solve.inertia import SymmetricFactor
from lse_material.fem.solve.stability import is_stable, lowest_modes, negative_eigenvalues
from tests.materials import mild_network, quadratic_well, saint_venant_kirchhoff, two_variants

names = itertools.count()


def prefix():
    return f"right_{next(names)}_"


def rectangle(side, n, degree=1, cell=mesh.CellType.triangle):
    domain = mesh.create_rectangle(MPI.COMM_WORLD, [[0.0, 0.0], [side, 0.7 * side]], [n, n], cell)
    return fem.functionspace(domain, ("Lagrange", degree, (2,)))


def rim(V):
    domain = V.mesh
    domain.topology.create_connectivity(1, 2)
    return fem.locate_dofs_topological(V, 1, mesh.exterior_facet_indices(domain.topology))


def grips(V, side):
    """Lower end held, upper end moved by the returned function."""
    ends = [fem.locate_dofs_geometrical(V, lambda x, e=e: np.isclose(x[1] / side, e)) for e in (0.0, 0.7)]
    moved = fem.Function(V)
    return [fem.dirichletbc(np.zeros(2), ends[0], V), fem.dirichletbc(moved, ends[1])], moved


def isotropic(seed=0):
    """A random network of the invariants, stress-free nowhere in particular, whose shear modulus is positive."""
    rng = np.random.default_rng(seed)
    net = lse.ConvexNetwork.from_arrays(
        [np.abs(rng.normal(size=(1, 6))) / 3],
        [np.abs(rng.normal(size=(6, 3))) / 2, np.array([[0.4, 0.2, 1.5]])],
        [rng.normal(size=6), np.zeros(1)],
    )
    return lse.Material(lse.SoftMinimum((net,), 1.0), lse.IsotropicInvariants(2))


# ---- units of length --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [1e-3, 1.0, 1e6])
def test_minima_do_not_depend_on_the_unit_of_length(side):
    """Twins from random starts: the same way down in any unit, with the residual that was asked for."""
    V = rectangle(side, 7)
    u = fem.Function(V)
    material = two_variants(rho=5e-4)
    problem = EnergyProblem(
        energy(material, ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1),
        u,
        bcs=[fem.dirichletbc(np.zeros(2), rim(V), V)],
        petsc_options_prefix=prefix(),
    )
    found = []
    for seed in range(3):
        u.x.array[:] = 0.02 * side * np.random.default_rng(seed).standard_normal(len(u.x.array))
        problem.solve()
        reactions = fem.assemble_vector(problem.F).array
        free = np.ones(len(reactions), dtype=bool)
        free[problem.bcs[0].dof_indices()[0]] = False
        assert np.linalg.norm(reactions[free]) <= 2e-9 * np.linalg.norm(reactions[~free])
        found.append((problem.iterations, problem.energy() / side**2))
    assert problem.fallbacks == 0
    counts, energies = zip(*found)
    reference = test_minima_do_not_depend_on_the_unit_of_length.__dict__.setdefault("seen", found)
    assert counts == pytest.approx([n for n, _ in reference], abs=1)
    assert energies == pytest.approx([e for _, e in reference], rel=1e-9)


@pytest.mark.slow
def test_fields_of_other_units_than_the_displacement_do_not_make_the_way_depend_on_metres():
    """A micromorphic strain is a number, a displacement a length: both enter one trust region, each in its own unit."""
    found = []
    for side in (1.0, 1e-3, 1e6):
        domain = mesh.create_rectangle(MPI.COMM_WORLD, [[0.0, 0.0], [side, side]], [6, 6])
        parts = [basix.ufl.element("Lagrange", "triangle", 1, shape=shape) for shape in ((2,), (2, 2))]
        V = fem.functionspace(domain, basix.ufl.mixed_element(parts))
        w = fem.Function(V)
        u, phi = ufl.split(w)
        Pi = energy(two_variants(rho=5e-4), ufl.Identity(2) + ufl.grad(u)) * ufl.dx
        Pi += micromorphic(ufl.grad(u), phi, length=0.2 * side, modulus=1.0, penalty=20.0) * ufl.dx
        W0 = V.sub(0).collapse()[0]
        domain.topology.create_connectivity(1, 2)
        dofs = fem.locate_dofs_topological((V.sub(0), W0), 1, mesh.exterior_facet_indices(domain.topology))
        bc = fem.dirichletbc(fem.Function(W0), dofs, V.sub(0))
        problem = EnergyProblem(Pi, w, bcs=[bc], petsc_options_prefix=prefix())
        noise = np.random.default_rng(4)
        for space, scale in ((V.sub(0), 0.02 * side), (V.sub(1), 0.05)):
            dofs = space.collapse()[1]
            w.x.array[dofs] = scale * noise.standard_normal(len(dofs))
        problem.solve()
        modes = lowest_modes(problem, 2)
        found.append((problem.iterations, problem.energy() / side**2, *modes.values))
    for other in found[1:]:
        assert other[0] == pytest.approx(found[0][0], abs=1)
        assert other[1:] == pytest.approx(found[0][1:], rel=1e-6)


def test_limit_points_do_not_depend_on_the_unit_of_length():
    """A shallow arch of side 3 m, 3 mm and 3 um: the same limit loads, as dimensionless numbers."""
    found = []
    for side in (3.0, 3e-3, 3e-6):
        domain = mesh.create_rectangle(
            MPI.COMM_WORLD, [[-side / 2, 0.0], [side / 2, 0.03 * side]], [16, 1], mesh.CellType.quadrilateral
        )
        x = domain.geometry.x
        x[:, 1] += 0.05 * side * np.cos(np.pi * x[:, 0] / side)
        V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
        u, X = fem.Function(V), ufl.SpatialCoordinate(domain)
        ends = fem.locate_dofs_geometrical(V, lambda x, s=side: np.isclose(np.abs(x[0]) / s, 0.5))
        material = saint_venant_kirchhoff(2, 0.4, 0.6)
        problem = EnergyProblem(
            energy(material, ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=4),
            u,
            bcs=[fem.dirichletbc(np.zeros(2), ends, V)],
            petsc_options_prefix=prefix(),
        )
        load = -1e-3 / side * ufl.cos(np.pi * X[0] / side) * u[1] * ufl.dx(degree=4)
        path = ArcLength(problem, load, size=0.006 * side)
        path.run(12)
        found.append([point.factor for point in path.limit_points()])
    assert len(found[0]) >= 1
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-8)


def test_what_a_solver_tries_leaves_no_trace_in_what_it_accepts():
    """After a solve whose trials had huge reactions, the next is solved as sharply as by a new problem."""
    V = rectangle(1.0, 6)
    u = fem.Function(V)
    bcs, moved = grips(V, 1.0)
    W = energy(two_variants(rho=1e-3), ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1)
    problem = EnergyProblem(W, u, bcs=bcs, petsc_options_prefix=prefix())
    u.x.array[:] = 0.06 * np.random.default_rng(0).standard_normal(len(u.x.array))  # a rough start, far from rest
    problem.solve()
    u.x.array[:] = 0.0
    moved.interpolate(lambda x: np.vstack([0 * x[0], 0.01 * x[1]]))
    problem.solve()
    b = fem.assemble_vector(problem.F).array
    held = np.concatenate([bc.dof_indices()[0] for bc in bcs])
    reactions = np.linalg.norm(b[held])
    b[held] = 0.0
    assert np.linalg.norm(b) <= 2e-9 * reactions


# ---- one quadrature rule ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("cell", [mesh.CellType.triangle, mesh.CellType.quadrilateral])
def test_with_a_plain_dx_the_residual_is_the_derivative_of_the_energy(degree, cell):
    V = rectangle(2.0, 4, degree, cell)
    u = fem.Function(V)
    X = ufl.SpatialCoordinate(V.mesh)
    Pi = energy(two_variants(rho=1e-3), ufl.Identity(2) + ufl.grad(u)) * ufl.dx
    Pi -= ufl.sin(X[0]) * u[1] * ufl.dx + 0.3 * u[0] * ufl.ds
    problem = EnergyProblem(Pi, u, bcs=[fem.dirichletbc(np.zeros(2), rim(V), V)], petsc_options_prefix=prefix())
    rng = np.random.default_rng(degree)
    x, way = 0.005 * rng.standard_normal(len(u.x.array)), rng.standard_normal(len(u.x.array))
    u.x.array[:] = x
    rate, h = fem.assemble_vector(problem.F).array @ way, 1e-6
    values = []
    for sign in (1.0, -1.0):
        u.x.array[:] = x + sign * h * way
        values.append(problem.energy())
    assert (values[0] - values[1]) / (2 * h) == pytest.approx(rate, rel=1e-5)
    u.x.array[:] = x
    A, b = problem.tangent(), [problem.b.duplicate() for _ in range(2)]
    for vector, sign in zip(b, (1.0, -1.0)):
        u.x.array[:] = x + sign * h * way
        problem.residual(vector)
    free = np.ones(len(way), dtype=bool)
    free[problem.bcs[0].dof_indices()[0]] = False
    difference = (b[0].array - b[1].array) / (2 * h)
    direction = A.createVecRight()
    direction.array[:] = np.where(free, way, 0.0)
    held = np.where(free, 0.0, way)
    u.x.array[:] = x
    whole = fem.assemble_matrix(problem.J).to_dense()
    assert np.abs((whole @ way - difference)[free]).max() < 1e-5 * np.abs(difference).max()
    assert np.abs((A * direction).array[free] - (whole @ (way - held))[free]).max() < 1e-12 * np.abs(whole).max()


def test_a_degree_that_the_user_gives_stays():
    V = rectangle(1.0, 2)
    u = fem.Function(V)
    form = ufl.inner(u, u) * ufl.dx(degree=7) + ufl.inner(u, u) * ufl.dx + u[0] ** 2 * ufl.ds
    degrees = [integral.metadata()["quadrature_degree"] for integral in with_quadrature_degree(form).integrals()]
    assert sorted(degrees) == [2, 2, 7]


def test_a_measure_without_tags_has_no_parts():
    """UFL takes dx(2) of it, and DOLFINx integrates over nothing."""
    u = fem.Function(rectangle(1.0, 2))
    W = energy(saint_venant_kirchhoff(2), ufl.Identity(2) + ufl.grad(u))
    for part, name in ((ufl.dx(2), r"dx\(2\)"), (ufl.ds((1, 3)), r"ds\(1\)")):
        with pytest.raises(lse.InvalidInputError, match=f"over {name}, and this measure knows no tags"):
            EnergyProblem(W * ufl.dx + u[0] * part, u, petsc_options_prefix=prefix())


# ---- cells turned inside out ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "material", [two_variants(), saint_venant_kirchhoff(3), isotropic()], ids=["2D", "3D", "invariants"]
)
def test_energy_stress_and_tangents_are_nan_where_a_cell_is_mirrored(material):
    dim = material.dim
    domain = mesh.create_unit_square(MPI.COMM_SELF, 1, 1) if dim == 2 else mesh.create_unit_cube(MPI.COMM_SELF, 1, 1, 1)
    V = fem.functionspace(domain, ("Lagrange", 1, (dim,)))
    u, v, du = fem.Function(V), ufl.TestFunction(V), ufl.TrialFunction(V)
    F = ufl.Identity(dim) + ufl.grad(u)
    stored = QuadratureStress(material, F, degree=1)
    dx = ufl.dx(degree=1)
    plain = MaterialProblem(
        ufl.inner(stored.operator, ufl.grad(v)) * stored.dx, u, stresses=[stored], petsc_options_prefix=prefix()
    )
    energies = [energy(material, F, expanded=expanded) * dx for expanded in (False, True)]
    W = energies[0]
    forms = [
        *energies,
        *(ufl.derivative(E, u, v) for E in energies),
        *(ufl.derivative(ufl.derivative(E, u, v), u, du) for E in energies),
        frozen_tangent(W, u),
        ufl.inner(stress(material, F), ufl.grad(v)) * dx,
        ufl.inner(stress(material, F, expanded=True), ufl.grad(v)) * dx,
    ]
    compiled = [fem.form(form) for form in forms]
    allowed = fem.form(energy(material, F, inverted=True) * dx)

    def sizes():
        found = [
            fem.assemble_scalar(f) if f.rank == 0 else
            np.linalg.norm(fem.assemble_vector(f).array) if f.rank == 1 else
            np.linalg.norm(fem.assemble_matrix(f).to_dense())
            for f in compiled
        ]  # fmt: skip
        stored.update_tangent()
        return [*found, np.linalg.norm(fem.assemble_vector(plain.F).array)]

    u.interpolate(lambda x: np.vstack([*(0 * x[: dim - 1]), -0.3 * x[dim - 1]]))
    assert np.isfinite(sizes()).all()
    for squeeze in (-1.0, -1.3):  # flat, and mirrored
        u.interpolate(lambda x, s=squeeze: np.vstack([*(0 * x[: dim - 1]), s * x[dim - 1]]))
        assert np.isnan(sizes()).all()
    if isinstance(material.kinematics, lse.GreenLagrange):
        assert np.isfinite(fem.assemble_scalar(allowed))


@pytest.mark.parametrize(("degree", "cell"), [(1, "triangle"), (2, "triangle"), (1, "quadrilateral")])
@pytest.mark.parametrize("steps", [1, 6])
def test_no_cell_is_mirrored_however_large_the_load_step(degree, cell, steps):
    """A block pressed by 18 %: through states where the tangent is not positive, which a linear step must not follow."""
    V = rectangle(1.0, 6, degree, getattr(mesh.CellType, cell))
    u = fem.Function(V)
    F = ufl.Identity(2) + ufl.grad(u)
    bcs, moved = grips(V, 1.0)
    material = two_variants(rho=3e-4, stretch=0.06)
    dx = ufl.dx(degree=degree)
    problem = EnergyProblem(energy(material, F) * dx, u, bcs=bcs, petsc_options_prefix=prefix())
    for load in np.linspace(0.0, 0.18, steps + 1)[1:]:
        moved.interpolate(lambda x, s=load: np.vstack([0 * x[0], -s * x[1]]))
        problem.solve()
    points, _ = basix.make_quadrature(V.mesh.basix_cell(), degree)
    cells = np.arange(V.mesh.topology.index_map(2).size_local, dtype=np.int32)
    assert fem.Expression(ufl.det(F), points).eval(V.mesh, cells).min() > 0.0
    A = fem.assemble_matrix(problem.J, bcs=list(bcs)).to_dense()
    assert is_stable(problem) == (np.linalg.eigvalsh((A + A.T) / 2).min() > 0.0)


def test_a_guess_with_inverted_cells_is_brought_nearer_to_rest_and_new_values_that_invert_are_refused(caplog):
    V = rectangle(1.0, 5)
    u = fem.Function(V)
    bcs, moved = grips(V, 1.0)
    W = energy(saint_venant_kirchhoff(2), ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1)
    problem = EnergyProblem(W, u, bcs=bcs, petsc_options_prefix=prefix())
    u.x.array[:] = 0.3 * np.random.default_rng(0).standard_normal(len(u.x.array))
    assert np.isnan(problem.energy())
    problem.solve()
    assert "turned inside out" in caplog.text
    assert np.abs(u.x.array).max() < 1e-8
    moved.interpolate(lambda x: np.vstack([0 * x[0], -1.2 * x[1]]))
    before = u.x.array.copy()
    with pytest.raises(lse.ConvergenceError, match=r"turned inside out.*LoadPath"):
        problem.solve()
    assert np.array_equal(u.x.array, before)


def test_a_curved_cell_inverted_at_a_corner_is_found_for_linear_displacements_too():
    """det F = 1 + du/dx varies with the curved geometry, and is positive at the only quadrature point."""
    nodes = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.62, 0.62], [0.0, 0.5], [0.5, 0.0]])
    cell = basix.ufl.element("Lagrange", "triangle", 2, shape=(2,))
    domain = mesh.create_mesh(MPI.COMM_SELF, np.arange(6)[None, :], cell, nodes)
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
    F = ufl.Identity(2) + ufl.grad(u)
    problem = EnergyProblem(energy(saint_venant_kirchhoff(2), F) * ufl.dx(degree=1), u, petsc_options_prefix=prefix())
    u.interpolate(lambda x: np.vstack([-1.1 * x[0], 0.0 * x[0]]))
    at_centre = float(problem.energy())
    assert np.isfinite(at_centre)
    assert problem.inverted_cells.smallest() < 0.0


# ---- the preconditioner ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dim", [2, 3])
def test_the_frozen_weight_tangent_of_invariants_is_positive_definite(dim, seed):
    """At F = I, where it used to vanish, and at random states; at F = I of one mode it is the tangent itself."""
    rng = np.random.default_rng(seed)
    if dim == 2:
        domain = mesh.create_unit_square(MPI.COMM_SELF, 3, 3)
    else:
        domain = mesh.create_unit_cube(MPI.COMM_SELF, 2, 2, 2)
    V = fem.functionspace(domain, ("Lagrange", 1, (dim,)))
    u, v, du = fem.Function(V), ufl.TestFunction(V), ufl.TrialFunction(V)
    linear = lse.ConvexNetwork.from_arrays([], [np.array([[0.4, 0.15, 1.2]])], [np.zeros(1)])
    material = lse.Material(lse.SoftMinimum((linear,), 1.0), lse.IsotropicInvariants(dim), lse.Growth(0.3))
    W = energy(material, ufl.Identity(dim) + ufl.grad(u)) * ufl.dx(degree=1)
    held = fem.dirichletbc(np.zeros(dim), fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0)), V)
    P = fem.form(frozen_tangent(W, u))
    A = fem.form(ufl.derivative(ufl.derivative(W, u, v), u, du))
    dense = [fem.assemble_matrix(form, bcs=[held]).to_dense() for form in (P, A)]
    assert np.abs(dense[0] - dense[1]).max() < 1e-12 * np.abs(dense[1]).max()
    for size in (0.0, 0.02, 0.05):
        u.x.array[:] = size * rng.standard_normal(len(u.x.array))
        dense = fem.assemble_matrix(P, bcs=[held]).to_dense()
        assert np.abs(dense - dense.T).max() < 1e-12 * np.abs(dense).max()
        values = np.linalg.eigvalsh(dense)
        assert values[0] > 1e-4 * values[-1]


@pytest.mark.parametrize("options", [{}, MULTIGRID], ids=["direct", "multigrid"])
def test_a_body_of_invariants_is_solved_in_few_linear_iterations(options):
    """Its frozen-weight tangent stands so near to the tangent that the number of cells does not matter."""
    V = rectangle(1.0, 16)
    u = fem.Function(V)
    bcs, moved = grips(V, 1.0)
    W = energy(isotropic(), ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1)
    problem = EnergyProblem(
        W, u, bcs=bcs, petsc_options_prefix=prefix(), petsc_options=options, tolerance=1e-7, fallback=False
    )
    for load in (0.03, 0.2, -0.05):
        moved.interpolate(lambda x, s=load: np.vstack([0 * x[0], s * x[1]]))
        problem.solve()
        assert problem.solver.getLinearSolveIterations() < 200


def test_a_preconditioner_that_is_not_positive_is_raised():
    """A term of the user's own that is not convex, and a network that is flat: the solver needs no fallback."""
    flat = lse.ConvexNetwork.from_arrays(
        [np.ones((1, 3))], [5.0 * np.eye(3), np.zeros((1, 3))], [np.full(3, -200.0), np.zeros(1)]
    )
    V = rectangle(1.0, 6)
    u = fem.Function(V)
    F = ufl.Identity(2) + ufl.grad(u)
    bcs, moved = grips(V, 1.0)
    own = 0.5 * (ufl.inner(F, F) - 2 - 2 * ufl.ln(ufl.det(F))) + 2.0 * (ufl.det(F) - 1) ** 2
    chi = fem.Function(fem.functionspace(V.mesh, ("DG", 0)))
    chi.interpolate(lambda x: (x[0] < 0.5) * 1.0)
    W = (energy(lse.Material(lse.SoftMinimum((flat,), 1.0), lse.GreenLagrange(2)), F) + chi * own) * ufl.dx(degree=1)
    P = fem.assemble_matrix(fem.form(frozen_tangent(W, u)), bcs=bcs).to_dense()
    assert np.linalg.eigvalsh(P)[0] < 1e-12  # half of the body has no stiffness at all
    problem = EnergyProblem(W, u, bcs=bcs, petsc_options_prefix=prefix())
    for load in (0.03, -0.06):
        moved.interpolate(lambda x, s=load: np.vstack([0 * x[0], s * x[1]]))
        problem.solve()
    assert problem.fallbacks == 0


# ---- what holds a body, and what is asked of the solver ---------------------------------------------------------------------


def test_springs_and_inertia_hold_a_body_as_well_as_conditions_do():
    """A square under a body force, held by no condition: what holds it balances the force exactly."""
    domain = mesh.create_unit_square(MPI.COMM_WORLD, 4, 4)
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u = fem.Function(V)
    force, stiffness, inertia = 2e-5, 0.02, 0.05
    W = energy(saint_venant_kirchhoff(2, 2.0, 3.0), ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1)
    for holds, balance in (
        (0.5 * stiffness * ufl.inner(u, u) * ufl.ds, stiffness * u[0] * ufl.ds),
        (0.5 * inertia * ufl.inner(u, u) * ufl.dx, inertia * u[0] * ufl.dx),
    ):
        u.x.array[:] = 0.0
        problem = EnergyProblem(W + holds - force * u[0] * ufl.dx, u, petsc_options_prefix=prefix())
        problem.solve()
        assert domain.comm.allreduce(fem.assemble_scalar(fem.form(balance))) == pytest.approx(force, rel=1e-9)
        assert negative_eigenvalues(problem) == 0


def test_a_body_that_can_slide_is_told_so():
    """Rollers below, pulled along: no load step is small enough. Held at one node it hangs down like a pendulum."""
    V = rectangle(1.0, 4)
    u = fem.Function(V)
    W = energy(saint_venant_kirchhoff(2), ufl.Identity(2) + ufl.grad(u)) * ufl.dx
    below = fem.locate_dofs_geometrical((V.sub(1), V.sub(1).collapse()[0]), lambda x: np.isclose(x[1], 0.0))[0]
    rollers = fem.dirichletbc(0.0, below, V.sub(1))
    sliding = EnergyProblem(W - 1e-3 * u[0] * ufl.ds, u, bcs=[rollers], petsc_options_prefix=prefix())
    with pytest.raises(lse.ConvergenceError, match="can move rigidly without force"):
        sliding.solve()
    corner = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0) & np.isclose(x[1], 0.0))
    held = fem.dirichletbc(np.zeros(2), corner, V)
    hanging = EnergyProblem(W - 1e-4 * u[0] * ufl.dx, u, bcs=[held], petsc_options_prefix=prefix())
    hanging.solve()
    at = ufl.SpatialCoordinate(V.mesh) + u
    centre = [V.mesh.comm.allreduce(fem.assemble_scalar(fem.form(at[i] * ufl.dx))) / 0.7 for i in range(2)]
    assert centre[1] == pytest.approx(0.0, abs=1e-6)  # straight below the node that holds it, seen along the force
    assert centre[0] == pytest.approx(np.hypot(0.5, 0.35), rel=1e-2)


def test_tolerances_of_petsc_are_heard():
    """snes_rtol 0.5 needs fewer iterations than the default; snes_atol above the first residual none."""
    V = rectangle(1.0, 6)
    counts = []
    for options in ({}, {"snes_rtol": 0.5}, {"snes_atol": 1e3}):
        u = fem.Function(V)
        bcs, _ = grips(V, 1.0)
        W = energy(saint_venant_kirchhoff(2), ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1) - 0.1 * u[0] * ufl.ds
        problem = EnergyProblem(W, u, bcs=bcs, petsc_options_prefix=prefix(), petsc_options=options)
        problem.solve()
        counts.append(problem.iterations)
    assert counts[0] > counts[1] > counts[2] == 0


def test_preonly_solves_with_the_tangent_itself():
    """Newton's method on the tangent converges quadratically, to a saddle as well."""
    V = rectangle(1.0, 6)
    u = fem.Function(V)
    F = ufl.Identity(2) + ufl.grad(u)
    W = energy(two_variants(rho=1e-3), F) * ufl.dx(degree=1)
    problem = EnergyProblem(
        W,
        u,
        bcs=[fem.dirichletbc(np.zeros(2), rim(V), V)],
        petsc_options_prefix=prefix(),
        petsc_options={
            "snes_type": "newtonls",
            "snes_linesearch_type": "basic",
            "ksp_type": "preonly",
            "pc_type": "lu",
        },
        fallback=False,
    )
    u.x.array[:] = 1e-6 * np.random.default_rng(1).standard_normal(len(u.x.array))
    problem.solve()
    assert problem.iterations <= 5
    assert negative_eigenvalues(problem) > 0  # the state between the wells
    with SymmetricFactor(problem.A.comm) as factor:
        assert factor.inertia(problem.convex_tangent())[0] == 0


# ---- eigenvalues --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0.0, 40.0, 130.0])
def test_the_lowest_modes_are_the_lowest_wherever_zero_lies(shift):
    """int |grad u|^2 - shift u^2 on a rectangle: eigenvalues are known, many below zero, some far from it."""
    domain = mesh.create_rectangle(MPI.COMM_WORLD, [[0.0, 0.0], [1.0, 0.8]], [14, 14])
    V = fem.functionspace(domain, ("Lagrange", 2))
    u = fem.Function(V)
    domain.topology.create_connectivity(1, 2)
    held = fem.locate_dofs_topological(V, 1, mesh.exterior_facet_indices(domain.topology))
    Pi = 0.5 * (ufl.inner(ufl.grad(u), ufl.grad(u)) - shift * u**2) * ufl.dx
    problem = EnergyProblem(Pi, u, bcs=[fem.dirichletbc(0.0, held, V)], petsc_options_prefix=prefix())
    square = np.sort([np.pi**2 * (i**2 + (j / 0.8) ** 2) for i in range(1, 9) for j in range(1, 9)])
    exact = (square - shift) / (square + 1.0 / (1.0 + 0.64))
    for count in (1, 5):
        assert lowest_modes(problem, count).values == pytest.approx(exact[:count], abs=2e-3)
    assert negative_eigenvalues(problem) == int((square < shift).sum())


def test_modes_of_the_dense_pencil_and_of_the_sparse_one_are_the_same():
    """Random potentials at a random state, against NumPy."""
    rng = np.random.default_rng(3)
    modes = tuple(mild_network(rng, 3, (4,)) for _ in range(2))
    material = lse.Material(lse.SoftMinimum(modes, 0.2), lse.GreenLagrange(2))
    V = rectangle(1.0, 4)
    u = fem.Function(V)
    problem = EnergyProblem(
        energy(material, ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1),
        u,
        bcs=[fem.dirichletbc(np.zeros(2), rim(V), V)],
        petsc_options_prefix=prefix(),
    )
    u.x.array[:] = 0.02 * rng.standard_normal(len(u.x.array))
    m, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    M = fem.assemble_matrix(
        fem.form((ufl.inner(ufl.grad(m), ufl.grad(v)) + ufl.inner(m, v) / 1.49) * ufl.dx)
    ).to_dense()
    A = fem.assemble_matrix(problem.J).to_dense()
    free = np.ones(len(A), dtype=bool)
    free[problem.bcs[0].dof_indices()[0]] = False
    L = np.linalg.inv(np.linalg.cholesky(M[np.ix_(free, free)]))
    exact = np.linalg.eigvalsh(L @ A[np.ix_(free, free)] @ L.T)
    assert lowest_modes(problem, 6).values == pytest.approx(exact[:6], rel=1e-7, abs=1e-9)


def test_quadratic_wells_are_what_they_are_said_to_be():
    """The factory of these tests: zero energy and stress at its centre."""
    mode = quadratic_well(np.array([0.1, -0.05, 0.0]), np.diag([2.0, 3.0, 1.0]))
    material = lse.Material(lse.SoftMinimum((mode,), 1.0), lse.SmallStrain(2))
    assert material.energy(np.diag([1.1, 0.95])) == pytest.approx(0.0, abs=1e-15)
    assert PETSc.ScalarType == np.float64
