"""Materials with axes that turn in space: two grains against a hand-written energy, in the form and stored; frozen tangents."""

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse

MU, FIBRE, BULK = 1.0, 4.0, 3.0


def fibrous():
    """mu/2 (|F|^2 - 2 J) + k/2 (|Fa|^2 - 1)^2 + K/2 (J - 1)^2 in two dimensions, by |F|^2 = |Fa|^2 + |cof F a|^2."""
    linear = np.array([[0.5 * MU, 0.5 * MU, 0.0]])
    quadratic = np.diag([np.sqrt(FIBRE), 0.0, np.sqrt(BULK)])
    mode = lse.ConvexNetwork.from_arrays([], [linear], [[0.0]], quadratic=quadratic)
    return lse.Material(lse.SoftMinimum((mode,), 1.0), lse.TransverseInvariants(2))


def by_hand(F, a):
    J, along = ufl.det(F), ufl.dot(F * a, F * a)
    shape = 0.5 * MU * (ufl.tr(F.T * F) - 2.0 * J)
    return shape + 0.5 * FIBRE * (along - 1.0) ** 2 + 0.5 * BULK * (J - 1.0) ** 2


class Bicrystal:
    """A square with fibres along x on the left and turned by 30 degrees on the right, pulled at its top."""

    def __init__(self):
        self.mesh = mesh.create_unit_square(MPI.COMM_WORLD, 6, 6)
        V = fem.functionspace(self.mesh, ("Lagrange", 1, (2,)))
        self.u, self.v = fem.Function(V), ufl.TestFunction(V)
        self.F = ufl.Identity(2) + ufl.grad(self.u)
        self.angle = fem.Function(fem.functionspace(self.mesh, ("DG", 0)))
        right = mesh.locate_entities(self.mesh, 2, lambda x: x[0] > 0.5 - 1e-9)
        self.angle.x.array[right] = np.pi / 6
        self.Q = lse.fem.rotation(self.angle)
        self.bcs = []
        for place, value in ((0.0, (0.0, 0.0)), (1.0, (0.1, 0.3))):
            dofs = fem.locate_dofs_geometrical(V, lambda x, at=place: np.isclose(x[1], at))
            self.bcs.append(fem.dirichletbc(np.array(value), dofs, V))

    def solved(self, what, prefix):
        if isinstance(what, lse.fem.QuadratureStress):
            residual, options = ufl.inner(what.operator, ufl.grad(self.v)) * what.dx, {"stresses": [what]}
        else:
            residual, options = what, {}
        problem = lse.fem.MaterialProblem(residual, self.u, bcs=self.bcs, petsc_options_prefix=prefix, **options)
        problem.solve()
        return self.u.x.array.copy()


@pytest.mark.mpi
def test_two_grains_move_as_those_of_a_hand_written_energy():
    body, material = Bicrystal(), fibrous()
    a = ufl.as_vector([ufl.cos(body.angle), ufl.sin(body.angle)])
    dx = ufl.dx(degree=1)
    expected = body.solved(ufl.derivative(by_hand(body.F, a) * dx, body.u, body.v), "by_hand_")
    assert np.abs(expected).max() == pytest.approx(0.3)
    W = lse.fem.energy(material, body.F, orientation=body.Q)
    P = lse.fem.stress(material, body.F, orientation=body.Q)
    stored = lse.fem.QuadratureStress(material, body.F, degree=1, orientation=body.Q)
    for name, what in (
        ("energy", ufl.derivative(W * dx, body.u, body.v)),
        ("stored", stored),
    ):
        body.u.x.array[:] = 0.0
        found = body.solved(what, f"two_grains_{name}_")
        np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-10)
    own = fem.Function(fem.functionspace(body.mesh, ("DG", 0, (2, 2))))
    own.interpolate(fem.Expression(P, own.function_space.element.interpolation_points))
    np.testing.assert_allclose(stored.stress_function().x.array, own.x.array, atol=1e-10)


@pytest.mark.parametrize("measure", [lse.GreenLagrange(2), lse.SmallStrain(2), lse.CubicInvariants(2)], ids=repr)
def test_a_turned_material_answers_as_the_turned_body(measure):
    """W_Q(F) = W(Q^T F Q) and P_Q(F) = Q P(Q^T F Q) Q^T, for measures that are not objective too."""
    rng, angle, d = np.random.default_rng(1), 0.4, measure.size
    potential = lse.SoftMinimum(
        (lse.ConvexNetwork.from_arrays([], [rng.normal(size=(1, d))], [[0.0]], quadratic=rng.normal(size=(d, d))),), 1.0
    )
    material = lse.Material(potential, measure)
    Q = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    F = np.array([[1.1, 0.2], [-0.1, 0.95]])
    of_body, turned = ufl.as_matrix(F.tolist()), lse.fem.rotation(angle)
    W = lse.fem.energy(material, of_body, orientation=turned, expanded=True)
    P = lse.fem.stress(material, of_body, orientation=turned, expanded=True)
    assert W(()) == pytest.approx(material.energy(Q.T @ F @ Q), rel=1e-12)
    expected = Q @ material.stress(Q.T @ F @ Q) @ Q.T
    np.testing.assert_allclose([[P[i, j](()) for j in (0, 1)] for i in (0, 1)], expected, rtol=1e-12)


def test_rotations_about_an_axis():
    for axis, image in (((0, 0, 2.0), [0, 1, 0]), ((0, 1, 0), [0, 0, -1]), ((1, 1, 1), [1, 1, 1])):
        Q = lse.fem.rotation(np.pi / 2, axis)
        Q = np.array([[Q[i, j](()) for j in range(3)] for i in range(3)])
        np.testing.assert_allclose(Q.T @ Q, np.eye(3), atol=1e-15)
        start = np.array([1.0, 1.0, 1.0]) if tuple(axis) == (1, 1, 1) else np.array([1.0, 0.0, 0.0])
        np.testing.assert_allclose(Q @ start, image, atol=1e-15)
    with pytest.raises(lse.InvalidInputError, match="it must be three numbers"):
        lse.fem.rotation(0.1, (0, 0, 0))


def test_an_orientation_of_another_shape_is_refused():
    F = ufl.Identity(2)
    with pytest.raises(lse.InvalidInputError, match="orientation has UFL shape"):
        lse.fem.energy(fibrous(), F, orientation=lse.fem.rotation(0.1, (0, 0, 1)))


@pytest.mark.parametrize("measure", [lse.CubicInvariants(2), lse.TransverseInvariants(2, a=(0.6, 0.8))], ids=repr)
def test_frozen_tangents_have_the_curvature_of_invariants(measure):
    """Inputs without derivative at F = I give all stiffness by their curvature: no less than exact there, and >= 0."""
    d = measure.size
    linear = np.append(np.ones(d - 1), 0.0)
    mode = lse.ConvexNetwork.from_arrays([], [linear[None]], [[0.0]], quadratic=0.5 * np.eye(d))
    material = lse.Material(lse.SoftMinimum((mode,), 1.0), measure)
    V = fem.functionspace(mesh.create_unit_square(MPI.COMM_SELF, 2, 2), ("Lagrange", 1, (2,)))
    u, v, du = fem.Function(V), ufl.TestFunction(V), ufl.TrialFunction(V)
    W = lse.fem.energy(material, ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1)
    forms = lse.fem.frozen_tangent(W, u), ufl.derivative(ufl.derivative(W, u, v), u, du)
    frozen, exact = (fem.form(form) for form in forms)
    A, B = (fem.assemble_matrix(form).to_dense() for form in (frozen, exact))
    size = np.abs(B).max()
    assert np.linalg.eigvalsh(A - B).min() > -1e-12 * size
    assert (np.linalg.eigvalsh(A) < 1e-12 * size).sum() == 3  # rigid motions alone
    u.interpolate(lambda x: 0.2 * np.array([x[0] * x[1], np.sin(2.0 * x[0])]))
    A = fem.assemble_matrix(frozen).to_dense()
    np.testing.assert_allclose(A, A.T, atol=1e-13)
    assert np.linalg.eigvalsh(A).min() > -1e-12 * np.abs(A).max()
