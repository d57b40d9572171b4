"""Bodies of revolution, plane strain and plane stress against exact solutions and bodies in three dimensions."""

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from scipy.integrate import solve_bvp

import lse_material as lse
from lse_material.fem import axisymmetric_gradient, circumference, plane_gradient
from tests.fem.problems import clamped, total
from tests.materials import mild_material, quadratic_well, two_variants, well

WORLD = MPI.COMM_WORLD
INNER, OUTER, HEIGHT = 1.0, 2.0, 0.5


def neo_hookean(mu, bulk, dim=3):
    """W = mu/2 (J^(-2/3) I1 - 3) + bulk/2 (J - 1)^2."""
    mode = lse.ConvexNetwork.from_arrays([], [[[mu / 2, 0.0, bulk / 2]]], [[0.0]])
    return lse.Material(lse.SoftMinimum((mode,), 1.0), lse.IsotropicInvariants(dim))


def anisotropic():
    """Two modes without any symmetry, and a growth term."""
    rng = np.random.default_rng(3)
    factor = np.eye(6) + 0.15 * rng.normal(size=(6, 6))
    modes = tuple(quadratic_well(0.02 * rng.normal(size=6), scale * factor @ factor.T) for scale in (1.0, 1.3))
    return lse.Material(lse.SoftMinimum(modes, 0.05), lse.GreenLagrange(3), lse.Growth(0.5))


def rectangle(n, low, high, kind=mesh.CellType.triangle, comm=WORLD):
    return mesh.create_rectangle(comm, [low, high], n, kind)


def component(V, i, where, value=0.0):
    """Component i prescribed where `where` is true."""
    dofs = fem.locate_dofs_geometrical((V.sub(i), V.sub(i).collapse()[0]), where)
    boundary = fem.Function(V.sub(i).collapse()[0])
    boundary.x.array[:] = value
    return fem.dirichletbc(boundary, dofs, V.sub(i))


def exact_force(material, stretch):
    """Radial force on the inner side of a tube whose inner radius is stretched, by the equation of equilibrium in R."""

    def state(R, y):
        F = np.zeros((len(R), 3, 3))
        F[:, 0, 0], F[:, 1, 1], F[:, 2, 2] = y[1], 1.0, y[0] / R
        return material.stress(F), material.tangent(F)

    def change(R, y):
        P, A = state(R, y)
        cross = A[:, 0, 0, 2, 2] * (y[1] - y[0] / R)
        return np.array([y[1], -(cross + P[:, 0, 0] - P[:, 2, 2]) / R / A[:, 0, 0, 0, 0]])

    def ends(a, b):
        return np.array([a[0] - stretch * INNER, state(np.array([OUTER]), b[:, None])[0][0, 0, 0]])

    R = np.linspace(INNER, OUTER, 41)
    found = solve_bvp(change, ends, R, np.array([R + stretch - 1.0, np.ones_like(R)]), tol=1e-9, max_nodes=20000)
    assert found.success
    return -2.0 * np.pi * INNER * HEIGHT * state(np.array([INNER]), found.sol(INNER)[:, None])[0][0, 0, 0]


@pytest.mark.mpi
@pytest.mark.parametrize("stored", [False, True])
def test_a_thick_tube_takes_the_force_of_the_equation_of_equilibrium(stored):
    material = neo_hookean(1.0, 3.0)
    domain = rectangle((16, 2), (INNER, 0.0), (OUTER, HEIGHT))
    V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    inner = component(V, 0, lambda x: np.isclose(x[0], INNER), 0.3)
    bcs = [inner, component(V, 1, lambda x: np.isclose(x[1], 0.0) | np.isclose(x[1], HEIGHT))]
    F, ring = ufl.Identity(3) + axisymmetric_gradient(u), circumference(domain)
    if stored:
        P = lse.fem.QuadratureStress(material, F, degree=4)
        residual = ufl.inner(P.operator, axisymmetric_gradient(v)) * ring * P.dx
        problem = lse.fem.MaterialProblem(residual, u, bcs=bcs, stresses=[P], petsc_options_prefix="stored_tube_")
    else:
        W = lse.fem.energy(material, F) * ring * ufl.dx(degree=4)
        problem = lse.fem.EnergyProblem(W, u, bcs=bcs, petsc_options_prefix="tube_")
    problem.solve()
    assert problem.reaction(inner) == pytest.approx(exact_force(material, 1.3), rel=1e-5)


@pytest.mark.parametrize("kind", [mesh.CellType.triangle, mesh.CellType.quadrilateral])
@pytest.mark.parametrize("degree", [1, 2])
def test_a_cylinder_with_its_axis_deforms_homogeneously(kind, degree):
    material = mild_material(np.random.default_rng(1), lse.IsotropicInvariants(3), growth=lse.Growth(1.0))
    domain = rectangle((3, 4), (0.0, 0.0), (1.0, 2.0), kind)
    V = fem.functionspace(domain, ("Lagrange", degree, (2,)))
    u = fem.Function(V)
    exact = lambda x: (0.08 * x[0], -0.05 * x[1])  # noqa: E731
    F, ring = ufl.Identity(3) + axisymmetric_gradient(u), circumference(domain)
    W = lse.fem.energy(material, F) * ring * ufl.dx(degree=4)
    problem = lse.fem.EnergyProblem(W, u, bcs=[clamped(V, exact)], petsc_options_prefix=f"axis{degree}{kind.name}_")
    problem.solve()
    expected = fem.Function(V)
    expected.interpolate(exact)
    assert np.abs(u.x.array - expected.x.array).max() < 1e-9
    density = material.energy(np.diag([1.08, 0.95, 1.08]))
    assert problem.energy() == pytest.approx(2.0 * np.pi * density, rel=1e-12)
    assert problem.inverted_cells.smallest() == pytest.approx(1.08**2 * 0.95, rel=1e-9)  # on the axis too


def test_a_body_of_revolution_turned_inside_out_at_its_circumference_is_refused():
    domain = rectangle((2, 2), (1.0, 0.0), (2.0, 1.0))
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
    W = lse.fem.energy(neo_hookean(1.0, 1.0), ufl.Identity(3) + axisymmetric_gradient(u))
    u.interpolate(lambda x: (np.full_like(x[0], -2.5), 0.0 * x[0]))  # a translation across the axis
    assert np.isnan(total(W * ufl.dx(degree=1)))


def test_what_is_no_plane_body_is_refused():
    box = mesh.create_unit_cube(WORLD, 1, 1, 1)
    solid = fem.Function(fem.functionspace(box, ("Lagrange", 1, (3,))))
    left = rectangle((2, 2), (-1.0, 0.0), (1.0, 1.0))
    u = fem.Function(fem.functionspace(left, ("Lagrange", 1, (2,))))
    for build in (plane_gradient, axisymmetric_gradient):
        with pytest.raises(lse.InvalidInputError, match="two components on a mesh of dimension 2"):
            build(solid)
    with pytest.raises(lse.InvalidInputError, match=r"reaches to r = -1: a body of revolution is meshed in"):
        axisymmetric_gradient(u)
    with pytest.raises(lse.InvalidInputError, match="reaches to r = -1"):
        circumference(left)
    with pytest.raises(lse.InvalidInputError, match=r"across has UFL shape \(2,\): give the scalar F33 - 1"):
        plane_gradient(u, u)


def test_the_gradient_along_a_surface_is_no_deformation_of_a_solid():
    corners = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.5]])
    surface = mesh.create_mesh(
        MPI.COMM_SELF, np.array([[0, 1, 2]]), basix.ufl.element("Lagrange", "triangle", 1, shape=(3,)), corners
    )
    u = fem.Function(fem.functionspace(surface, ("Lagrange", 1, (3,))))
    F, material = ufl.Identity(3) + ufl.grad(u), neo_hookean(1.0, 1.0)
    for build in (
        lambda: lse.fem.energy(material, F),
        lambda: lse.fem.stress(material, ufl.variable(F)),
        lambda: lse.fem.QuadratureStress(material, F, degree=1),
    ):
        with pytest.raises(lse.InvalidInputError, match="cells of dimension 2 in a space of 3"):
            build()
    director = ufl.CellNormal(surface)
    F = F + ufl.outer(ufl.grad(u)[:, 0], director)  # a shell's: whose director turns
    assert np.isfinite(total(lse.fem.energy(material, F) * ufl.dx(degree=1), MPI.COMM_SELF))


@pytest.mark.parametrize("growth", [None, lse.Growth(0.7)])
def test_plane_strain_of_a_solid_is_the_material_in_two_dimensions(growth):
    mode = lse.ConvexNetwork.from_arrays([], [[[0.6, 0.2, 0.9]]], [[0.0]], quadratic=0.3 * np.eye(3))
    solid, plane = (lse.Material(lse.SoftMinimum((mode,), 1.0), lse.IsotropicInvariants(dim), growth) for dim in (3, 2))
    domain = rectangle((2, 2), (0.0, 0.0), (1.0, 1.0))
    V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
    u = fem.Function(V)
    u.interpolate(lambda x: (0.1 * x[0] ** 2 - 0.05 * x[1], 0.07 * x[0] * x[1]))
    whole = lse.fem.energy(solid, ufl.Identity(3) + plane_gradient(u)) * ufl.dx(degree=4)
    part = lse.fem.energy(plane, ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=4)
    assert total(whole) == pytest.approx(total(part), rel=1e-13)
    b, c = (fem.assemble_vector(fem.form(ufl.derivative(W, u))).array for W in (whole, part))
    assert np.abs(b - c).max() < 1e-13


def tapered(kind=mesh.CellType.triangle):
    domain = rectangle((6, 3), (0.0, 0.0), (2.0, 1.0), kind)
    domain.geometry.x[:, 1] *= 1.0 - 0.25 * domain.geometry.x[:, 0]
    return domain


def pulled(V, elongation):
    ends = [component(V, 0, lambda x, at=at: np.isclose(x[0], at), value) for at, value in ((0, 0), (2, elongation))]
    return [*ends, component(V, 1, lambda x: np.isclose(x[0], 0.0))]


@pytest.mark.mpi
@pytest.mark.parametrize("vector", [False, True])
def test_a_field_of_thickness_and_stresses_stored_in_the_plane_agree(vector):
    """Two routes to plane stress: a thickness at each point among the unknowns, or found there by itself."""
    material = (
        anisotropic() if vector else neo_hookean(1.0, 2.0)
    )  # without a plane of symmetry F13 and F23 do not vanish
    domain = tapered()
    cell = domain.basix_cell()
    parts = [basix.ufl.element("Lagrange", cell, 1, shape=(2,))]
    parts.append(basix.ufl.element("DG", cell, 0, shape=(3,)) if vector else basix.ufl.element("DG", cell, 0))
    state = fem.Function(fem.functionspace(domain, basix.ufl.mixed_element(parts)))
    u, c = ufl.split(state)
    W = lse.fem.energy(material, ufl.Identity(3) + plane_gradient(u, c)) * ufl.dx(degree=1)
    V = state.function_space.sub(0)
    bcs = []
    for i, at, value in ((0, 0.0, 0.0), (0, 2.0, 0.15), (1, 0.0, 0.0)):
        space, _ = V.sub(i).collapse()
        boundary = fem.Function(space)
        boundary.x.array[:] = value
        dofs = fem.locate_dofs_geometrical((V.sub(i), space), lambda x, at=at: np.isclose(x[0], at))
        bcs.append(fem.dirichletbc(boundary, dofs, V.sub(i)))
    whole = lse.fem.EnergyProblem(W, state, bcs=bcs, petsc_options_prefix=f"thickness{vector}_")
    whole.solve()
    assert lse.fem.stability.is_stable(whole)

    plane_V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    w, v = fem.Function(plane_V), ufl.TestFunction(plane_V)
    P = lse.fem.QuadratureStress(lse.fem.PlaneStress(material), ufl.Identity(2) + ufl.grad(w), degree=1)
    stored = lse.fem.MaterialProblem(
        ufl.inner(P.operator, ufl.grad(v)) * P.dx,
        w,
        bcs=pulled(plane_V, 0.15),
        stresses=[P],
        petsc_options_prefix=f"plane_stress{vector}_",
    )
    stored.solve()
    expected = fem.Function(plane_V)
    expected.interpolate(state.sub(0).collapse())
    assert np.abs(w.x.array - expected.x.array).max() < 1e-8
    assert len(stored.norms) <= 8  # the tangent follows the thickness: convergence is quadratic


def test_plane_stress_is_that_of_a_thin_body():
    """A sheet in three dimensions, free above and below, under a homogeneous deformation of its rim."""
    material = two_variants(dim=3)
    H = np.array([[0.08, 0.01], [0.01, -0.02]])  # in tension from one of the wells: a sheet buckles under compression
    found = lse.fem.PlaneStress(material).evaluate(np.eye(2)[None] + H)
    sheet = mesh.create_box(WORLD, [[0, 0, 0], [1, 1, 0.01]], [2, 2, 1], mesh.CellType.hexahedron)
    V = fem.functionspace(sheet, ("Lagrange", 1, (3,)))
    u = fem.Function(V)
    rim = lambda x: np.isclose(x[0] * (1 - x[0]) * x[1] * (1 - x[1]), 0.0)  # noqa: E731
    bcs = [component(V, 2, lambda x: np.isclose(x[2], 0.0))]
    for i in range(2):
        space, _ = V.sub(i).collapse()
        boundary = fem.Function(space)
        boundary.interpolate(lambda x, i=i: H[i] @ x[:2])
        bcs.append(fem.dirichletbc(boundary, fem.locate_dofs_geometrical((V.sub(i), space), rim), V.sub(i)))
    F = ufl.Identity(3) + ufl.grad(u)
    problem = lse.fem.EnergyProblem(
        lse.fem.energy(material, F) * ufl.dx(degree=2), u, bcs=bcs, petsc_options_prefix="thin_"
    )
    problem.solve()
    assert problem.energy() / 0.01 == pytest.approx(found.energy[0], rel=1e-6)
    across = [total(F[i, 2] * ufl.dx(degree=2)) / 0.01 for i in range(3)]
    assert np.abs(across - found.across[0]).max() < 1e-6


def test_the_energy_of_a_plane_body_in_two_wells_goes_down_to_a_minimum():
    """A thickness that has two wells of its own: the minimiser leaves the barrier between them."""
    centres = np.zeros((2, 6))
    centres[:, 2] = 0.1, -0.1
    material = lse.Material(lse.SoftMinimum(tuple(well(2.0, c) for c in centres), 1e-4), lse.GreenLagrange(3))
    domain = rectangle((2, 2), (0.0, 0.0), (1.0, 1.0))
    cell = domain.basix_cell()
    parts = [basix.ufl.element("Lagrange", cell, 1, shape=(2,)), basix.ufl.element("DG", cell, 0)]
    state = fem.Function(fem.functionspace(domain, basix.ufl.mixed_element(parts)))
    u, c = ufl.split(state)
    W = lse.fem.energy(material, ufl.Identity(3) + plane_gradient(u, c)) * ufl.dx(degree=1)
    V = state.function_space.sub(0)
    space, _ = V.collapse()
    domain.topology.create_connectivity(1, 2)
    facets = mesh.exterior_facet_indices(domain.topology)
    rim = fem.dirichletbc(fem.Function(space), fem.locate_dofs_topological((V, space), 1, facets), V)
    problem = lse.fem.EnergyProblem(W, state, bcs=[rim], petsc_options_prefix="two_thicknesses_")
    assert not lse.fem.stability.is_stable(problem)
    lse.fem.stability.solve_to_minimum(problem, size=0.01)
    thickness = state.sub(1).collapse().x.array
    stretches = np.sqrt(1.0 + 2.0 * np.array([-0.1, 0.1])) - 1.0
    assert np.abs(thickness[:, None] - stretches).min(axis=1).max() < 1e-3
