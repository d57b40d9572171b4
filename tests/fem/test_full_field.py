"""Displacement fields as observations of stresses: balance and forces of a body whose material is known."""

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import FullField, MaterialProblem, Support, energy
from tests.materials import saint_venant_kirchhoff

SELF = MPI.COMM_SELF
ERRORS = {"displacement_error": 1e-4, "force_error": 1e-3}


def body(kind, degree, side=1.0, n=6):
    """A waisted block, the space of its displacements, and the dofs of its two ends, component by component."""
    if kind in (mesh.CellType.triangle, mesh.CellType.quadrilateral):
        domain = mesh.create_unit_square(SELF, 2 * n, n, kind)
    else:
        domain = mesh.create_unit_cube(SELF, n, 3, 3, kind)
    x = domain.geometry.x
    x[:, 1] *= 1.0 - 0.4 * x[:, 0] * (1.0 - x[:, 0])
    x *= side
    dim = domain.geometry.dim
    V = fem.functionspace(domain, ("Lagrange", degree, (dim,)))
    facets = [
        mesh.locate_entities_boundary(domain, dim - 1, lambda x, at=at: np.isclose(x[0], at)) for at in (0.0, side)
    ]
    ends = [[fem.locate_dofs_topological(V.sub(i), dim - 1, f) for i in range(dim)] for f in facets]
    return V, ends


def pulled(V, ends, material, strains, prefix, side=1.0):
    """Equilibria with the ends pulled apart and sheared, and the supports with their exact reactions."""
    dim = V.mesh.geometry.dim
    u = fem.Function(V)
    left, right = fem.Constant(V.mesh, 0.0), [fem.Constant(V.mesh, 0.0) for _ in range(dim)]
    bcs = [fem.dirichletbc(left, dofs, V.sub(i)) for i, dofs in enumerate(ends[0])]
    bcs += [fem.dirichletbc(right[i], dofs, V.sub(i)) for i, dofs in enumerate(ends[1])]
    degree = max(2 * (V.ufl_element().degree - 1), 1)
    W = energy(material, ufl.Identity(dim) + ufl.grad(u)) * ufl.dx(degree=degree)
    residual = ufl.derivative(W, u, ufl.TestFunction(V))
    problem = MaterialProblem(residual, u, bcs=bcs, petsc_options_prefix=prefix)
    fields, forces = [], []
    for strain in strains:
        right[0].value, right[1].value = strain * side, 0.4 * strain * side
        problem.solve()
        copy = fem.Function(V)
        copy.x.array[:] = u.x.array
        fields.append(copy)
        reaction = fem.assemble_vector(fem.form(residual)).array
        forces.append([reaction[dofs].sum() for end in ends for dofs in end])
    supports = [Support(dofs, np.array(forces)[:, k]) for k, dofs in enumerate(dofs for end in ends for dofs in end)]
    return fields, supports


KINDS = [
    (mesh.CellType.triangle, 1),
    (mesh.CellType.triangle, 2),
    (mesh.CellType.quadrilateral, 1),
    (mesh.CellType.tetrahedron, 1),
]


def off(observed, material):
    """What is wrong with a material, in errors of the observations."""
    return (observed.of_stress(material.stress(observed.F)) - observed.values) / observed.errors


@pytest.mark.parametrize(("kind", "degree"), KINDS)
def test_the_true_material_meets_all_observations_of_its_own_equilibria(kind, degree):
    V, ends = body(kind, degree)
    material = saint_venant_kirchhoff(V.mesh.geometry.dim, 1.3, 0.7)
    fields, supports = pulled(V, ends, material, (0.05, 0.1), f"ff_{kind.name}{degree}_")
    field = FullField(fields, supports, **ERRORS, modes=20, degree=degree)
    assert np.abs(off(field.observations(material), material)).max() < 0.01
    assert np.abs(off(field.observations(), material)).max() < 1.0  # smoothed by less than the error of the measurement
    assert field.distances(material).max() < 1e-9
    np.testing.assert_allclose(field.forces(material).T, [s.forces for s in supports], atol=1e-8)


def at_corners(fields, ends):
    """Fields of any degree at the corners of their cells, in linear elements, and the dofs of the ends there."""
    V = fem.functionspace(fields[0].function_space.mesh, ("Lagrange", 1, (2,)))
    linear = []
    for field in fields:
        linear.append(fem.Function(V))
        linear[-1].interpolate(field)
    x, y = (space.tabulate_dof_coordinates() for space in (V, fields[0].function_space))
    same = np.array([int(np.argmin(np.linalg.norm(y - at, axis=1))) for at in x])
    fine = 2 * np.repeat(same, 2) + np.tile([0, 1], len(x))
    return linear, [np.flatnonzero(np.isin(fine, dofs)) for end in ends for dofs in end]


@pytest.mark.parametrize("degree", [1, 2])
def test_errors_of_noisy_fields_are_independent_and_of_size_one(degree):
    """Squares of the true material's errors have the mean 1, products of neighbours the mean 0, within three deviations."""
    V, ends = body(mesh.CellType.triangle, degree)
    material = saint_venant_kirchhoff(2, 1.3, 0.7)
    fields, supports = pulled(V, ends, material, (0.1,), f"ff_noise{degree}_")
    fields, dofs = at_corners(fields, ends)
    rng = np.random.default_rng(0)
    exact, errors = fields[0].x.array.copy(), {"displacement_error": 1e-3, "force_error": 1e-3}
    squares, products = [], []
    for _ in range(12):
        fields[0].x.array[:] = exact + errors["displacement_error"] * rng.normal(size=len(exact))
        noisy = [Support(d, s.forces + errors["force_error"] * rng.normal(size=1)) for d, s in zip(dofs, supports)]
        wrong = off(FullField(fields, noisy, **errors, modes=40, degree=degree).observations(material), material)
        squares.append(np.mean(wrong**2))
        products.append(np.mean(wrong[1:] * wrong[:-1]))
    deviation = np.sqrt(2.0 / (12 * 40))
    assert abs(np.mean(squares) - 1.0) < 3.0 * deviation
    assert abs(np.mean(products)) < 3.0 / np.sqrt(12 * 39)


def test_quadratic_elements_do_not_put_the_error_of_linear_ones_on_the_material():
    """Displacements of quadratic elements, known at their corners, and forces: linear elements are too stiff for them."""
    V, ends = body(mesh.CellType.triangle, 2, n=4)
    material = saint_venant_kirchhoff(2, 1.3, 0.7)
    fields, supports = pulled(V, ends, material, (0.1, 0.2), "ff_quadratic_")
    corners, dofs = at_corners(fields, ends)
    forces = [support.forces for support in supports]
    linear, quadratic = (
        FullField(corners, [Support(*each) for each in zip(dofs, forces)], **ERRORS, modes=20, degree=degree)
        for degree in (1, None)
    )
    assert np.abs(off(quadratic.observations(material), material)).max() < 0.1
    assert np.abs(off(linear.observations(material), material)).max() > 1.0
    assert quadratic.distances(material).max() < 1e-3 * linear.distances(material).max()
    np.testing.assert_allclose(quadratic.forces(material).T, forces, atol=1e-7)
    assert np.abs(linear.forces(material).T - forces).max() > 1e-3 * np.abs(forces).max()


def test_a_wrong_modulus_and_a_wrong_ratio_of_poisson_are_wrong_by_many_errors():
    V, ends = body(mesh.CellType.triangle, 1)
    material = saint_venant_kirchhoff(2, 1.3, 0.7)
    field = FullField(*pulled(V, ends, material, (0.1,), "ff_wrong_"), **ERRORS, modes=20, degree=1)
    for known in (None, material):
        observed = field.observations(known)
        for wrong in (saint_venant_kirchhoff(2, 2.6, 1.4), saint_venant_kirchhoff(2, 0.2, 1.0)):
            assert np.linalg.norm(off(observed, wrong)) > 10.0 * max(np.linalg.norm(off(observed, material)), 1.0)


def test_about_a_slightly_wrong_material_the_true_one_is_right_to_first_order():
    """r(P) = K (u - u'), up to the square of the change from P to P'."""
    V, ends = body(mesh.CellType.triangle, 1)
    true, change = saint_venant_kirchhoff(2, 1.3, 0.7), 2e-3
    wrong = saint_venant_kirchhoff(2, 1.3 * (1.0 + change), 0.7)
    fields, supports = pulled(V, ends, true, (0.1,), "ff_first_")
    errors = {"displacement_error": 1e-7, "force_error": 1e-7}  # so small that the field stays where it was measured
    observed = FullField(fields, supports, **errors, modes=20, degree=1).observations(wrong)
    assert np.linalg.norm(off(observed, wrong)) > 1.0
    assert np.linalg.norm(off(observed, true)) < 10.0 * change * np.linalg.norm(off(observed, wrong))


def test_forces_are_those_of_the_equilibria_of_the_material():
    """With the displacements inside the body free to follow another ratio of Poisson."""
    V, ends = body(mesh.CellType.triangle, 1)
    fields, supports = pulled(V, ends, saint_venant_kirchhoff(2, 1.3, 0.7), (0.1,), "ff_force_")
    other = saint_venant_kirchhoff(2, 1.6, 0.7)
    after = [s.forces[0] for s in pulled(V, ends, other, (0.1,), "ff_other_")[1]]
    np.testing.assert_allclose(FullField(fields, supports, **ERRORS, degree=1).forces(other)[0], after, atol=1e-8)


def wells(strain, rho):
    """A well at rest, and one at a strain along x."""
    modes = [lse.ConvexNetwork((), (np.array([[-e, 0.0, 0.0]]),), (np.array([0.5 * e**2]),), "softplus", np.eye(3))
             for e in (0.0, strain)]  # fmt: skip
    return lse.Material(lse.SoftMinimum(tuple(modes), rho), lse.GreenLagrange(2))


def test_two_wells_meet_their_own_balance_where_the_tangent_is_not_positive():
    """A bar between two wells, all of it on the ridge of the energy: in balance, and unstable."""
    V, ends = body(mesh.CellType.triangle, 1)
    material = wells(0.1, 2.2e-3)
    u = fem.Function(V)
    stretch = np.sqrt(1.1)
    u.interpolate(lambda x: np.stack([(stretch - 1.0) * x[0], 0.0 * x[1]]))
    F = ufl.Identity(2) + ufl.grad(u)
    residual = fem.assemble_vector(fem.form(ufl.derivative(energy(material, F) * ufl.dx, u, ufl.TestFunction(V)))).array
    assert np.abs(residual).max() < 1e-12  # no stress on the ridge
    supports = [Support(dofs, [1e-9]) for dofs in (dofs for end in ends for dofs in end)]
    observed = FullField([u], supports, **ERRORS, modes=60, degree=1).observations(material)
    assert np.abs(off(observed, material)).max() < 1e-3
    assert np.allclose(observed.F, np.diag([stretch, 1.0]), atol=1e-4)


def test_cells_that_a_boundary_of_phases_crosses_count_little():
    """Two phases in a bar, the boundary in the middle of a column of cells, whose strain is that of neither."""
    strain, domain = 0.1, mesh.create_unit_square(SELF, 11, 4)
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u = fem.Function(V)
    u.interpolate(lambda x: np.stack([(np.sqrt(1.0 + 2.0 * strain) - 1.0) * np.maximum(x[0] - 0.47, 0.0), 0.0 * x[1]]))
    ends = [fem.locate_dofs_geometrical((V.sub(0), V.sub(0).collapse()[0]), lambda x, at=at: np.isclose(x[0], at))[0]
            for at in (0.0, 1.0)]  # fmt: skip
    field = FullField([u], [Support(dofs, [1e-9]) for dofs in ends], **ERRORS, modes=30, degree=1)
    material = wells(strain, 1e-4)
    observed = field.observations(material)
    stress = np.abs(material.stress(observed.F)).max(axis=(1, 2))
    assert stress.max() > 0.1 * strain  # in the cells that the boundary crosses
    assert np.abs(off(observed, material)).max() < 1.0


@pytest.mark.parametrize("side", [1e-6, 1e3])
def test_units_of_length_and_force_do_not_matter(side):
    results = []
    for unit in (1.0, side):
        V, ends = body(mesh.CellType.triangle, 1, unit)
        material = saint_venant_kirchhoff(2, 1.3e5 * unit, 0.7e5 * unit)
        fields, supports = pulled(V, ends, material, (0.1,), f"ff_unit_{unit:g}_".replace(".", "_"), unit)
        errors = {"displacement_error": 1e-4 * unit, "force_error": 1e2 * unit**2}
        field = FullField(fields, supports, **errors, modes=15, degree=1)
        of_other = off(field.observations(material), saint_venant_kirchhoff(2, 0.2e5 * unit, 1.0e5 * unit))
        results.append(np.sort(np.abs(of_other)))  # eigenvectors have either sign
    np.testing.assert_allclose(results[1], results[0], rtol=1e-4, atol=1e-4)


def test_arrays_of_nodes_and_cells_give_the_same_as_functions():
    V, ends = body(mesh.CellType.triangle, 1, n=3)
    material = saint_venant_kirchhoff(2, 1.3, 0.7)
    fields, supports = pulled(V, ends, material, (0.05, 0.1), "ff_arrays_")
    domain = V.mesh
    rng = np.random.default_rng(0)
    number = rng.permutation(len(domain.geometry.x))  # nodes in any order
    x = np.empty_like(domain.geometry.x[:, :2])
    x[number] = domain.geometry.x[:, :2]
    cells = number[domain.geometry.dofmaps[0] if hasattr(domain.geometry, "dofmaps") else domain.geometry.dofmap]
    dof_x = V.tabulate_dof_coordinates()
    node = np.array([int(np.argmin(((x - at[:2]) ** 2).sum(axis=1))) for at in dof_x])
    u = np.empty((2, len(x), 2))
    u[:, node] = np.array([field.x.array.reshape(-1, 2) for field in fields])
    made = [(node[support.dofs // 2], int(support.dofs[0] % 2), support.forces) for support in supports]
    field = FullField.from_arrays(x, cells, u, made, **ERRORS, modes=12)
    observed = field.observations()
    assert np.abs(off(observed, material)).max() < 1.0
    direct = FullField(fields, supports, **ERRORS, modes=12).observations()
    key = lambda F: np.sort(np.linalg.det(F))  # noqa: E731
    np.testing.assert_allclose(key(observed.F), key(direct.F), rtol=1e-9)


def test_fields_that_cannot_be_are_refused():
    V, ends = body(mesh.CellType.triangle, 1, n=2)
    u = fem.Function(V)
    u.interpolate(lambda x: np.stack([0.1 * x[0], 0.0 * x[1]]))
    left, right = Support(ends[0][0], [-1.0]), Support(ends[1][0], [1.0])
    other = fem.Function(fem.functionspace(V.mesh, ("Lagrange", 1, (2,))))
    with pytest.raises(lse.InvalidInputError, match="different spaces"):
        FullField([u, other], [left], **ERRORS)
    with pytest.raises(lse.InvalidInputError, match="share a degree of freedom"):
        FullField([u], [left, left], **ERRORS)
    with pytest.raises(lse.InvalidInputError, match="1 forces for 2 steps"):
        FullField([u, u], [left, right], **ERRORS)
    with pytest.raises(lse.InvalidInputError, match="no force that is known and not 0"):
        FullField([u], [Support(ends[0][0], [np.nan]), Support(ends[1][0], [0.0])], **ERRORS)
    with pytest.raises(lse.InvalidInputError, match="no degree of freedom"):
        Support(np.array([], dtype=np.int32), [1.0])
    with pytest.raises(lse.InvalidInputError, match="force_error is 0"):
        FullField([u], [left, right], displacement_error=1.0, force_error=0)
    u.interpolate(lambda x: np.stack([-1.5 * x[0], 0.0 * x[1]]))
    with pytest.raises(lse.InvalidInputError, match=r"step 0 turn a cell inside out \(det F = -0.5"):
        FullField([u], [left, right], **ERRORS).observations()
    with pytest.raises(lse.InvalidInputError, match="belong to no cell"):
        FullField.from_arrays(np.eye(4)[:, :2], [[0, 1, 2]], np.zeros((1, 4, 2)), [([0], 0, [1.0])], **ERRORS)
    with pytest.raises(lse.InvalidInputError, match="nothing has moved in step 1"):
        FullField([u, fem.Function(V)], [left, right], **ERRORS)
    for wrong, said in (({"modes": 2.5}, "modes is 2.5"), ({"degree": 1.5}, "degree is 1.5")):
        with pytest.raises(lse.InvalidInputError, match=said):
            FullField([u], [left, right], **ERRORS, **wrong)
    with pytest.raises(lse.InvalidInputError, match=r"degrees of freedom 0 to \d+, of 0 to"):
        FullField([u], [Support([0, 10**6], [1.0])], **ERRORS)
    with pytest.raises(lse.InvalidInputError, match="are bool; give their numbers"):
        Support(np.ones(4, dtype=bool), [1.0])


@pytest.mark.parametrize(
    ("cells", "support", "said"),
    [
        ([[0, 1, 2]], ([0], -1, [1.0]), "component of support 0 is -1"),
        ([[0, 1, 2]], ([0], 2, [1.0]), "component of support 0 is 2; give one below 2"),
        ([[0, 1, 2]], ([-1], 0, [1.0]), "whole numbers from 0 to 2, or a mask"),
        ([[1, 2, 3]], ([0], 0, [1.0]), "the nodes 1 to 3, and there are the nodes 0 to 2: count from 0"),
        ([[0, 1, 2], [2, 1, 1]], ([0], 0, [1.0]), r"cell 1 has one node twice, \[2, 1, 1\]"),
        ([[0.0, 1.5, 2.0]], ([0], 0, [1.0]), "whole numbers of nodes"),
    ],
)
def test_numbers_that_name_no_node_are_refused(cells, support, said):
    nodes = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    with pytest.raises(lse.InvalidInputError, match=said):
        FullField.from_arrays(nodes, cells, np.ones((1, 3, 2)), [support], **ERRORS)
