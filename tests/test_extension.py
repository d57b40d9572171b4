"""What users add in a script of their own works everywhere: a strain measure, through fit, file, form and solve."""

import dataclasses
import json
import runpy
from types import SimpleNamespace

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.analysis import verify
from lse_material.export import export
from lse_material.fem import EnergyProblem, MaterialProblem, QuadratureStress, energy, frozen_tangent
from lse_material.fit import Architecture, Training, fit
from lse_material.model import determinant, exp, inverse, log, mandel, sqrt
from tests.exported import COMPILER, compiled, expected
from tests.materials import central_difference, random_deformations, random_material, relative_error
from tests.translations import (
    assert_agreement,
    by_expanded_ufl,
    by_expanded_ufl_stress,
    by_external_operator,
    by_ufl,
    by_ufl_stress,
)


@dataclasses.dataclass(frozen=True)
class Mixed(lse.StrainMeasure):
    """A mean of the strains (C - 1)/2 and (1 - C^-1)/2; 1/2 is Karni's and Reiner's (C - C^-1)/4."""

    share: float = 0.5

    @property
    def size(self):
        return 3 if self.dim == 2 else 6

    def components(self, F):
        C = F.T @ F
        one = np.eye(self.dim)
        return mandel(0.5 * self.share * (C - one) + 0.5 * (1.0 - self.share) * (one - inverse(C)))


class Logarithmic(lse.StrainMeasure):
    """Volume and shape: ln J, (J^(-2/3) I1 - 3)/2 by root and logarithm, and a bounded function of the first."""

    name = "my logarithmic strain"
    size = 3

    def components(self, F):
        J = determinant(F)
        I1 = sum(F[i][j] ** 2 for i in range(self.dim) for j in range(self.dim)) + (3 - self.dim)
        return [log(J), sqrt(I1 * exp(-2.0 / 3.0 * log(J)) / 3.0 + 1e-2) - np.sqrt(1.01), 1.0 / (1.0 + exp(log(J)))]


class Renamed(lse.GreenLagrange):
    """A child that leaves the components of its parent as they are."""


OWN = (Mixed(2), Mixed(3, 0.2), Logarithmic(2), Logarithmic(3))
every_own = pytest.mark.parametrize("kinematics", OWN, ids=repr)


def karni_reiner(rho=0.005):
    """Two stable states, |x - x_k|^2 in Karni's and Reiner's strain: the square and one stretched along x."""
    wells = Mixed(2).strain(np.array([np.eye(2), np.diag([1.3, 1.0])]))
    modes = [
        lse.ConvexNetwork.from_arrays([], [-2.0 * w[None]], [[w @ w]], quadratic=np.sqrt(2.0) * np.eye(3))
        for w in wells
    ]
    return lse.Material(lse.SoftMinimum(tuple(modes), rho), Mixed(2))


def exported(material, directory, language="numpy"):
    """The module that a material is exported as; it imports nothing of the package."""
    path = directory / f"cell_{language}.py"
    export(material, path, language=language)
    assert "import lse_material" not in path.read_text()
    assert "from lse_material" not in path.read_text()
    return SimpleNamespace(**runpy.run_path(str(path)))


# ---- values and derivatives ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "stretch"), [(1.0, 1.3), (0.0, 0.7), (0.5, 1.6)])
def test_a_stretch_gives_the_strain_that_the_formula_says(share, stretch):
    F = np.diag([stretch, 1.0])[None]
    exact = share * (stretch**2 - 1) / 2 + (1 - share) * (1 - stretch**-2) / 2
    np.testing.assert_allclose(Mixed(2, share).strain(F), [[exact, 0.0, 0.0]], atol=1e-15)


@every_own
def test_derivatives_of_a_strain_of_the_users_own_are_exact(kinematics):
    rng = np.random.default_rng(1)
    F, g = random_deformations(rng, 10, kinematics.dim), rng.normal(size=(10, kinematics.size))
    assert relative_error(central_difference(kinematics.strain, F, 2, 1e-3), kinematics.derivative(F)) < 1e-10
    weighted = central_difference(lambda F: np.einsum("ni,niJK->nJK", g, kinematics.derivative(F)), F, 2, 1e-3)
    assert relative_error(weighted, kinematics.geometric(F, g)) < 1e-10


def test_the_measure_that_is_green_lagranges_has_its_derivatives():
    rng = np.random.default_rng(2)
    F, g = random_deformations(rng, 700, 3), rng.normal(size=(700, 6))
    own, known = Mixed(3, 1.0), lse.GreenLagrange(3)
    for got, exact in (
        (own.strain(F), known.strain(F)),
        (own.derivative(F), known.derivative(F)),
        (own.geometric(F, g), known.geometric(F, g)),
    ):
        np.testing.assert_allclose(got, exact, rtol=0.0, atol=1e-14)


@every_own
def test_a_material_of_it_passes_every_check_of_verify(kinematics):
    checks = verify(random_material(np.random.default_rng(3), kinematics))
    assert [check.name for check in checks if not check.passed] == []
    assert "objectivity" in [check.name for check in checks]


@pytest.mark.parametrize("kinematics", [*OWN, Renamed(2)], ids=repr)
def test_forms_and_stored_stresses_say_what_numpy_says(kinematics):
    rng = np.random.default_rng(4)
    material = random_material(rng, kinematics, modes=2, width=3, depth=1, growth=lse.Growth(0.5))
    F = random_deformations(rng, 8, kinematics.dim)
    expanded = (by_expanded_ufl, by_expanded_ufl_stress) if kinematics.dim == 2 else ()  # FFCx takes its time in 3D
    assert_agreement(material, F, by_ufl, by_ufl_stress, by_external_operator, *expanded)


# ---- fit and file -------------------------------------------------------------------------------------------------------


def test_it_is_fitted_saved_and_loaded(tmp_path):
    truth = karni_reiner()
    F = random_deformations(np.random.default_rng(5), 400, 2, 0.3)
    samples = lse.Samples(F=F, energy=truth.energy(F), stress=truth.stress(F))
    result = fit(
        samples,
        kinematics=Mixed(2),
        architecture=Architecture(modes=2, width=4),
        training=Training(restarts=1, adam_steps=200, lbfgs_steps=100),
        progress=False,
    )
    fitted = result.material
    assert relative_error(fitted.stress(F), truth.stress(F)) < 0.05
    lse.save(fitted, tmp_path / "own.safetensors")
    again = lse.load(tmp_path / "own.safetensors", kinematics=[Logarithmic, Mixed])
    assert again.kinematics == Mixed(2)
    np.testing.assert_array_equal(again.tangent(F), fitted.tangent(F))


@every_own
def test_the_file_holds_name_and_parameters_and_says_how_to_read_it(kinematics, tmp_path):
    material = random_material(np.random.default_rng(6), kinematics)
    lse.save(material, tmp_path / "own.safetensors")
    with pytest.raises(
        lse.FormatError, match=rf"{kinematics.name}.*not known.*lse.load\(path, kinematics=\[TheClass\]\)"
    ):
        lse.load(tmp_path / "own.safetensors")
    assert lse.load(tmp_path / "own.safetensors", kinematics=[type(kinematics)]).kinematics == kinematics
    assert lse.load_potential(tmp_path / "own.safetensors").size == kinematics.size
    assert json.loads(json.dumps(kinematics.to_dict()))["type"] == kinematics.name


def test_a_name_that_is_taken_is_refused_and_what_is_built_in_stays_what_it_is(tmp_path):
    class GreenLagrange(Mixed):
        """A measure that bears the name of another."""

    material = random_material(np.random.default_rng(7), GreenLagrange(2))
    with pytest.raises(lse.InvalidInputError, match="give yours another name"):
        lse.save(material, tmp_path / "taken.safetensors")
    lse.save(random_material(np.random.default_rng(7), lse.GreenLagrange(2)), tmp_path / "known.safetensors")
    back = lse.load(tmp_path / "known.safetensors", kinematics=[GreenLagrange])
    assert type(back.kinematics) is lse.GreenLagrange


@every_own
def test_it_is_exported_to_numpy_by_its_own_text(kinematics, tmp_path):
    material = random_material(np.random.default_rng(8), kinematics, growth=lse.Growth(0.5))
    F = random_deformations(np.random.default_rng(9), 6, kinematics.dim)
    for got, exact in zip(exported(material, tmp_path).evaluate(F), expected(material, F)):
        assert relative_error(got, exact) < 1e-12


@every_own
def test_it_is_exported_to_ufl_by_its_own_text(kinematics, tmp_path):
    material = random_material(np.random.default_rng(8), kinematics, modes=2, width=2, depth=1)
    own = exported(material, tmp_path, "ufl")
    for F in random_deformations(np.random.default_rng(9), 3, kinematics.dim):
        assert own.energy(ufl.as_matrix(F.tolist()))(()) == pytest.approx(material.energy(F), rel=1e-12)


@every_own
@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
def test_it_is_exported_to_c_from_its_components(kinematics, tmp_path):
    material, dim = random_material(np.random.default_rng(8), kinematics, growth=lse.Growth(0.5)), kinematics.dim
    F = random_deformations(np.random.default_rng(9), 6, dim)
    export(material, tmp_path / "own.c")
    shapes = [(), (dim,) * 2, (dim,) * 4, (material.modes,)]
    for got, exact in zip(compiled(tmp_path / "own.c", "own", F, shapes), expected(material, F)):
        assert relative_error(got, exact) < 1e-12


# ---- faults -------------------------------------------------------------------------------------------------------------


def test_a_measure_with_another_number_of_components_than_it_says_is_refused():
    class Short(Logarithmic):
        """It says 3."""

        def components(self, F):
            return [log(determinant(F))]

    F = np.eye(2)[None]
    with pytest.raises(lse.InvalidInputError, match=r"Short\.components gives 1 scalars, but its size is 3"):
        Short(2).strain(F)
    with pytest.raises(lse.InvalidInputError, match=r"Short\.components gives 1 scalars"):
        energy(random_material(np.random.default_rng(9), Short(2)), ufl.Identity(2))


def test_a_measure_that_numpy_alone_knows_is_evaluated_but_neither_saved_nor_put_into_a_form(tmp_path):
    class Squares(lse.StrainMeasure):
        """Written for arrays, without components."""

        size = 3

        def strain(self, F):
            return (F[:, 0, :1] - 1.0) ** np.arange(1, 4)

    material = random_material(np.random.default_rng(10), Squares(2))
    assert np.isfinite(material.energy(1.2 * np.eye(2)))
    for use in (lambda: energy(material, ufl.Identity(2)), lambda: lse.save(material, tmp_path / "no.safetensors")):
        with pytest.raises(lse.InvalidInputError, match=r"Squares has no translation.*Write components\(F\)"):
            use()
    with pytest.raises(NotImplementedError, match=r"write components\(F\)"):
        material.stress(np.eye(2))


def test_where_a_component_is_not_finite_all_is_nan():
    F = np.array([np.diag([-1.0, 1.0]), np.diag([0.0, 1.0]), np.eye(2)])
    own = Logarithmic(2)
    for values in (own.strain(F), own.derivative(F), own.geometric(F, np.ones((3, 3)))):
        np.testing.assert_array_equal(np.isnan(values.reshape(3, -1)).all(axis=1), [True, True, False])


# ---- solves -------------------------------------------------------------------------------------------------------------


def stretched(material, route, *, amount=0.05, n=4):
    """A block pulled at its right side, on rollers left and below, free elsewhere: uniaxial stress.

    Returns:
        The problem after its solve, and the deformation gradient, the same everywhere.
    """
    V = fem.functionspace(mesh.create_unit_square(MPI.COMM_WORLD, n, n), ("Lagrange", 1, (2,)))
    u = fem.Function(V)
    F = ufl.Identity(2) + ufl.grad(u)
    bcs = []
    for axis, place, value in ((0, 0.0, 0.0), (0, 1.0, amount), (1, 0.0, 0.0)):
        facets = mesh.locate_entities_boundary(V.mesh, 1, lambda x, a=axis, p=place: np.isclose(x[a], p))
        dofs = fem.locate_dofs_topological(V.sub(axis), 1, facets)
        bcs.append(fem.dirichletbc(value, dofs, V.sub(axis)))
    prefix = f"extension_{route}_{type(material.kinematics).__name__}_"
    if route == "stored":
        P = QuadratureStress(material, F, degree=2)
        residual = ufl.inner(P.operator, ufl.grad(ufl.TestFunction(V))) * P.dx
        problem = MaterialProblem(residual, u, bcs=bcs, stresses=[P], petsc_options_prefix=prefix)
    else:
        W = energy(material, F, expanded=route == "expanded") * ufl.dx(degree=2)
        problem = EnergyProblem(W, u, bcs=bcs, petsc_options_prefix=prefix)
    problem.solve()
    area = [fem.assemble_scalar(fem.form(F[i, j] * ufl.dx)) for i in range(2) for j in range(2)]
    return problem, np.array([V.mesh.comm.allreduce(entry) for entry in area]).reshape(2, 2)


@pytest.mark.mpi
@pytest.mark.parametrize("route", ["energy", "expanded", "stored"])
def test_a_pulled_block_is_free_of_stress_at_its_free_sides(route):
    material = karni_reiner()
    problem, F = stretched(material, route)
    P = material.stress(F)
    assert F[0, 0] == pytest.approx(1.05, abs=1e-12)
    assert P[0, 0] > 1e-3
    np.testing.assert_allclose([P[1, 1], P[0, 1], P[1, 0]], 0.0, atol=1e-8)
    if route != "stored":
        assert problem.energy() == pytest.approx(material.energy(F), rel=1e-10)


def test_invariants_of_the_users_own_converge_where_their_slope_vanishes():
    """At F = I the shape's strain has no slope: all stiffness is in g d2x, of which the frozen tangent keeps nothing."""
    Q = np.array([[4.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    mode = lse.ConvexNetwork.from_arrays([], [np.array([[0.0, 3.0, 0.0]])], [[0.0]], quadratic=Q)
    material = lse.Material(lse.SoftMinimum((mode,), 0.1), Logarithmic(2))
    _, F = stretched(material, "energy")
    P = material.stress(F)
    np.testing.assert_allclose([P[1, 1], P[0, 1], P[1, 0]], 0.0, atol=1e-8)


def test_the_frozen_tangent_of_an_own_measure_is_symmetric_and_not_negative():
    material = karni_reiner()
    V = fem.functionspace(mesh.create_unit_square(MPI.COMM_SELF, 3, 3), ("Lagrange", 1, (2,)))
    u = fem.Function(V)
    u.interpolate(lambda x: 0.1 * np.array([x[0] * x[1], np.sin(2.0 * x[0])]))
    form = frozen_tangent(energy(material, ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=2), u)
    A = fem.assemble_matrix(fem.form(form)).to_dense()
    np.testing.assert_allclose(A, A.T, atol=1e-14)
    assert np.linalg.eigvalsh(A).min() > -1e-12
