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


@pytest.mark.parametrize(("kind", "degree"), KINDS)
def test_the_true_material_meets_all_observations_of_its_own_equilibria(kind, degree):
    V, ends = body(kind, degree)
    material = saint_venant_kirchhoff(V.mesh.geometry.dim, 1.3, 0.7)
    field = FullField(*pulled(V, ends, material, (0.05, 0.1), f"ff_{kind.name}{degree}_"), **ERRORS, modes=20)
    for known in (None, material):
        observed = field.observations(known)
        off = observed.of_stress(material.stress(observed.F)) - observed.values
        assert np.abs(off / observed.errors).max() < 1e-5
    assert field.distances(material).max() < 1e-9


def test_a_wrong_modulus_shows_in_the_forces_and_another_law_in_the_balance():
    V, ends = body(mesh.CellType.triangle, 1)
    material = saint_venant_kirchhoff(2, 1.3, 0.7)
    field = FullField(*pulled(V, ends, material, (0.1,), "ff_wrong_"), **ERRORS, modes=20)
    observed = field.observations()
    forces = np.arange(len(observed)) >= 20  # after the balance in 20 modes

    def off(wrong):
        return (observed.of_stress(wrong.stress(observed.F)) - observed.values) / observed.errors

    assert np.abs(off(saint_venant_kirchhoff(2, 2.6, 1.4))[~forces]).max() < 1e-5  # balance does not know the modulus
    assert np.allclose(
        observed.of_stress(2.0 * material.stress(observed.F))[forces], 2.0 * observed.values[forces], atol=1e-10
    )
    size = np.linalg.norm(field.displacements[0].x.array)
    unlike = observed.of_stress(saint_venant_kirchhoff(2, 0.2, 1.0).stress(observed.F))[~forces]
    assert np.linalg.norm(unlike) > 0.01 * size  # of Poisson's ratio it knows, in units of displacement


def test_a_slightly_wrong_material_is_told_how_far_its_equilibrium_is_to_first_order():
    """phi.(K^-1 f(P')) = phi.(u - u'), up to the square of the change from P to P'."""
    V, ends = body(mesh.CellType.triangle, 1)
    true, change = saint_venant_kirchhoff(2, 1.3, 0.7), 2e-3
    fields, supports = pulled(V, ends, true, (0.1,), "ff_first_")
    wrong = saint_venant_kirchhoff(2, 1.3 * (1.0 + change), 0.7)
    field = FullField(fields, supports, **ERRORS, modes=20)
    observed = field.observations(
        wrong
    )  # about the equilibrium of the wrong law; the true one brings it to the measured field
    balance = np.arange(len(observed)) < 20
    size = np.abs(observed.values[balance]).max()
    off = (observed.of_stress(true.stress(observed.F)) - observed.values)[balance]
    assert size > 1e-5
    assert np.abs(off).max() < 20.0 * change * size


def test_observed_forces_change_with_the_material_as_those_of_its_equilibrium_do():
    """dR = w.df at fixed F: with the displacements inside the body free to follow, to first order."""
    V, ends = body(mesh.CellType.triangle, 1)
    change = 1e-4
    lame = {False: (1.3, 0.7), True: (1.3 * (1.0 + change), 0.7)}  # another Poisson's ratio: the body inside moves
    fields, supports = pulled(V, ends, saint_venant_kirchhoff(2, *lame[False]), (0.1,), "ff_force_")
    other = saint_venant_kirchhoff(2, *lame[True])
    after = np.array([s.forces[0] for s in pulled(V, ends, other, (0.1,), "ff_other_")[1]])
    before = np.array([s.forces[0] for s in supports])
    observed = FullField(fields, supports, **ERRORS, modes=5).observations(saint_venant_kirchhoff(2, *lame[False]))
    found = observed.of_stress(other.stress(observed.F))[5:] - before
    assert np.abs(after - before).max() > 0.1 * change * np.abs(before).max()
    np.testing.assert_allclose(found, after - before, atol=1e-3 * np.abs(after - before).max())


def test_two_wells_meet_their_own_balance_where_the_tangent_is_not_positive():
    """A bar between two wells, all of it on the ridge of the energy: in balance, unstable without the springs."""
    V, ends = body(mesh.CellType.triangle, 1)
    strain = 0.1  # of the second well, along the bar
    wells = [lse.ConvexNetwork((), (np.array([[-e, 0.0, 0.0]]),), (np.array([0.5 * e**2]),), "softplus", np.eye(3))
             for e in (0.0, strain)]  # fmt: skip
    material = lse.Material(lse.SoftMinimum(tuple(wells), 2.2e-3), lse.GreenLagrange(2))
    u = fem.Function(V)
    stretch = np.sqrt(1.0 + strain)
    u.interpolate(lambda x: np.stack([(stretch - 1.0) * x[0], 0.0 * x[1]]))
    F = ufl.Identity(2) + ufl.grad(u)
    residual = fem.assemble_vector(fem.form(ufl.derivative(energy(material, F) * ufl.dx, u, ufl.TestFunction(V)))).array
    assert np.abs(residual).max() < 1e-12  # no stress on the ridge
    supports = [Support(dofs, [1.0 + k]) for k, dofs in enumerate(dofs for end in ends for dofs in end)]
    field = FullField([u], supports, **ERRORS, modes=60)
    observed = field.observations(material)
    off = observed.of_stress(material.stress(observed.F)) - observed.values
    assert np.abs(off[:60] / observed.errors[:60]).max() < 1e-5
    assert np.allclose(observed.F, np.diag([stretch, 1.0]), atol=1e-8)


@pytest.mark.parametrize("side", [1e-6, 1e3])
def test_units_of_length_and_force_do_not_matter(side):
    results = []
    for unit in (1.0, side):
        V, ends = body(mesh.CellType.triangle, 1, unit)
        material = saint_venant_kirchhoff(2, 1.3e5 * unit, 0.7e5 * unit)
        fields, supports = pulled(V, ends, material, (0.1,), f"ff_unit_{unit:g}_".replace(".", "_"), unit)
        errors = {"displacement_error": 1e-4 * unit, "force_error": 1e2 * unit**2}
        field = FullField(fields, supports, **errors, modes=15)
        other = saint_venant_kirchhoff(2, 0.2e5 * unit, 1.0e5 * unit)
        observed = field.observations()
        off = (observed.of_stress(other.stress(observed.F)) - observed.values) / observed.errors
        results.append(np.sort(np.abs(off)))  # eigenvectors have either sign
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5, atol=1e-6)


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
    assert np.abs((observed.of_stress(material.stress(observed.F)) - observed.values) / observed.errors).max() < 1e-5
    direct = FullField(fields, supports, **ERRORS, modes=12).observations()
    key = lambda F: np.sort(np.linalg.det(F))  # noqa: E731
    np.testing.assert_allclose(key(observed.F), key(direct.F), rtol=1e-12)


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
        FullField([u], [left, right], **ERRORS)
    with pytest.raises(lse.InvalidInputError, match="belong to no cell"):
        FullField.from_arrays(np.eye(4)[:, :2], [[0, 1, 2]], np.zeros((1, 4, 2)), [([0], 0, [1.0])], **ERRORS)
