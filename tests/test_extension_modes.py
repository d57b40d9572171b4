"""A mode type that a user adds in a script works everywhere: fit, file, forms, stored stresses, export, solve."""

import runpy

import numpy as np
import pytest
import torch
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material import fit as fitting
from lse_material.analysis import verify, wells
from lse_material.analysis.verification import check_convexity
from lse_material.export import export
from lse_material.fem import EnergyProblem, MaterialProblem, QuadratureStress, energy, potential_energy, stability
from lse_material.fit import Architecture, Sparsity, TrainablePotential, Training, fit
from lse_material.kernel import CompiledPotential, KernelShape, kernel_source, point_header
from lse_material.model import exp
from tests.exported import compiled
from tests.materials import central_difference, random_deformations, random_network, relative_error
from tests.translations import (
    TRANSLATIONS,
    assert_agreement,
    compiled_potential,
    expanded_ufl_potential,
    torch_potential,
    ufl_potential,
)


class Quartic(lse.Mode):
    """psi = level + |R y|^2 / 2 + stiffness |y|^4 / 4 with y = x - centre and stiffness >= 0: convex, with few numbers."""

    def __init__(self, centre, root, stiffness, level):
        self.centre, self.root = np.asarray(centre, dtype=float), np.asarray(root, dtype=float)
        self.stiffness, self.level = float(stiffness), float(level)
        if self.stiffness < 0.0:
            raise lse.InvalidInputError(f"stiffness is {stiffness}; it must be >= 0, or the mode is not convex.")

    @property
    def size(self):
        return len(self.centre)

    def tensors(self):
        return {"centre": self.centre, "root": self.root, "rest": np.array([self.stiffness, self.level])}

    @classmethod
    def from_tensors(cls, tensors, options):
        return cls(tensors["centre"], tensors["root"], *tensors["rest"])

    def formula(self, x):
        y = [xi - ci for xi, ci in zip(x, self.centre)]
        rows = [sum(float(r) * yi for r, yi in zip(row, y)) for row in self.root]
        square = sum(yi * yi for yi in y)
        return self.level + 0.5 * sum(row * row for row in rows) + 0.25 * self.stiffness * square * square

    @property
    def c_text(self):
        d = self.size
        return f"""
void NAME(const double *w, const real *x, real *psi, real *g, real *H)
{{
  const double *R = w + {d}, stiffness = w[{d + d * d}];
  real y[{d}], square = real_of(0.0);
  for (int i = 0; i < {d}; i++) {{ y[i] = x[i] - w[i]; square += y[i] * y[i]; }}
  *psi = w[{d + d * d + 1}] + 0.25 * stiffness * square * square;
  if (g) for (int i = 0; i < {d}; i++) g[i] = stiffness * square * y[i];
  if (H)
    for (int i = 0; i < {d}; i++)
      for (int j = 0; j < {d}; j++)
        H[i * {d} + j] = 2.0 * stiffness * y[i] * y[j] + (double)(i == j) * stiffness * square;
  for (int r = 0; r < {d}; r++) {{
    real row = real_of(0.0);
    for (int i = 0; i < {d}; i++) row += R[r * {d} + i] * y[i];
    *psi += 0.5 * row * row;
    if (g) for (int i = 0; i < {d}; i++) g[i] += R[r * {d} + i] * row;
    if (H) for (int i = 0; i < {d}; i++) for (int j = 0; j < {d}; j++) H[i * {d} + j] += R[r * {d} + i] * R[r * {d} + j];
  }}
}}
"""


class TrainableQuartics(TrainablePotential):
    """The same in torch."""

    def set_up(self, architecture, size):
        k = architecture.count
        self.centre = torch.nn.Parameter(torch.zeros(k, 1, size, dtype=torch.float64))
        self.root = torch.nn.Parameter(torch.zeros(k, size, size, dtype=torch.float64))
        self.stiffness_root = torch.nn.Parameter(torch.zeros(k, 1, dtype=torch.float64))
        self.level = torch.nn.Parameter(torch.zeros(k, 1, dtype=torch.float64))

    def evaluate(self, x):
        y, stiffness = x - self.centre, self.stiffness_root**2
        rows, square = y @ self.root.transpose(1, 2), (y * y).sum(2)
        psi = self.level + 0.5 * (rows * rows).sum(2) + 0.25 * stiffness * square * square
        return psi, rows @ self.root + (stiffness * square).unsqueeze(2) * y

    def start(self, centres, energies, rng):
        self.centre.copy_(torch.tensor(centres).unsqueeze(1))
        self.level.copy_(torch.tensor(energies).unsqueeze(1))
        self.root.copy_(torch.tensor(np.eye(self.size) + 0.1 * rng.standard_normal(self.root.shape)))
        self.stiffness_root.fill_(0.3)

    def written(self):
        parts = (self.centre[:, 0], self.root, self.stiffness_root[:, 0] ** 2, self.level[:, 0])
        return tuple(Quartic(*(part[k].numpy() for part in parts)) for k in range(self.architecture.count))

    def read(self, modes):
        for k, mode in enumerate(modes):
            self.centre[k, 0], self.root[k] = torch.tensor(mode.centre), torch.tensor(mode.root)
            self.stiffness_root[k], self.level[k] = np.sqrt(mode.stiffness), mode.level


@pytest.fixture(autouse=True)
def in_torch(monkeypatch):
    monkeypatch.setitem(fitting.MODES, "Quartic", TrainableQuartics)


def random_quartic(rng, size):
    return Quartic(
        0.3 * rng.normal(size=size), rng.normal(size=(size, size)), rng.uniform(0.5, 2.0), 0.1 * rng.normal()
    )


def quartic_material(rho=0.02, stiffness=4.0):
    """Two stable states, the square and one stretched along x."""
    centres = np.array([[0.0, 0.0, 0.0], [0.345, 0.0, 0.0]])
    modes = tuple(Quartic(centre, np.sqrt(2.0) * np.eye(3), stiffness, 0.0) for centre in centres)
    return lse.Material(lse.SoftMinimum(modes, rho), lse.GreenLagrange(2))


# ---- values and derivatives ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 6])
def test_derivatives_follow_from_the_formula_exactly(size):
    rng = np.random.default_rng(size)
    mode, x = random_quartic(rng, size), rng.normal(size=(20, size))
    y = x - mode.centre
    square = (y * y).sum(axis=1)
    exact = mode.level + 0.5 * ((y @ mode.root.T) ** 2).sum(axis=1) + 0.25 * mode.stiffness * square**2
    np.testing.assert_allclose(mode.energy(x), exact, rtol=1e-13)
    slope = y @ mode.root.T @ mode.root + mode.stiffness * square[:, None] * y
    np.testing.assert_allclose(mode.gradient(x), slope, rtol=1e-12, atol=1e-12)
    assert relative_error(central_difference(mode.gradient, x, 1, 1e-3), mode.hessian(x)) < 1e-10
    assert np.linalg.eigvalsh(mode.hessian(x)).min() >= -1e-12


@pytest.mark.parametrize("mixed", [False, True])
def test_every_backend_says_what_numpy_says(mixed):
    """W, P and A to 1e-12, 1e-11 and 1e-10; also beside a convex network in one soft minimum, which torch does not train."""
    rng = np.random.default_rng(5)
    modes = (random_quartic(rng, 3), random_network(rng, 3, width=3, depth=1) if mixed else random_quartic(rng, 3))
    scales = {"input_shift": 0.1 * rng.normal(size=3), "input_scale": rng.uniform(0.5, 2.0, 3), "energy_scale": 1.7}
    material = lse.Material(lse.SoftMinimum(modes, 0.3, **scales), lse.GreenLagrange(2), lse.Growth(0.2))
    F = random_deformations(rng, 8, 2)
    plain = lse.Material(material.potential, material.kinematics)
    for translation in TRANSLATIONS:
        if translation.__name__ == "by_torch":
            if not mixed:
                assert_agreement(plain, F, translation)
        else:
            assert_agreement(material, F, translation)


def test_arguments_far_away_and_missing_ones_agree():
    rng = np.random.default_rng(6)
    potential = lse.SoftMinimum(tuple(random_quartic(rng, 3) for _ in range(3)), 0.1)
    x = rng.normal(size=(9, 3)) * np.logspace(-3, 2, 9)[:, None]
    for translation in (torch_potential, ufl_potential, expanded_ufl_potential, compiled_potential):
        got = translation(potential, x)
        for name, exact in (("W", potential.energy(x)), ("P", potential.gradient(x)), ("A", potential.hessian(x))):
            assert relative_error(got[name], exact) < 1e-10
    x[4, 1] = np.nan
    np.testing.assert_array_equal(np.isnan(compiled_potential(potential, x)["W"]), np.isnan(potential.energy(x)))


def test_it_passes_every_check_and_has_the_wells_that_it_says():
    material = quartic_material()
    assert [check.name for check in verify(material) if not check.passed] == []
    found = wells(material.potential, [-0.3] * 3, [0.6] * 3)
    np.testing.assert_allclose(sorted(well.x[0] for well in found), [0.0, 0.345], atol=1e-3)


# ---- file and export ----------------------------------------------------------------------------------------------------


def test_the_file_is_of_format_2_and_is_read_with_the_class(tmp_path):
    rng, path = np.random.default_rng(7), tmp_path / "quartic.safetensors"
    modes = random_quartic(rng, 3), random_network(rng, 3), random_network(rng, 3, activation="squared_softplus")
    material = lse.Material(lse.SoftMinimum(modes, 0.2), lse.GreenLagrange(2))
    lse.save(material, path)
    assert b'"format":"lse-material/2"' in path.read_bytes()
    with pytest.raises(lse.FormatError, match=r"'Quartic', which is not known.*lse.load\(path, modes=\[TheClass\]\)"):
        lse.load(path)
    back, F = lse.load(path, modes=[Quartic]), random_deformations(rng, 9, 2)
    np.testing.assert_array_equal(back.tangent(F), material.tangent(F))
    assert [mode.type for mode in back.potential.modes] == ["Quartic", "ConvexNetwork", "ConvexNetwork"]
    x = np.zeros((1, 3))
    np.testing.assert_array_equal(lse.load_potential(path, modes=[Quartic]).energy(x), material.potential.energy(x))


def test_a_file_whose_mode_is_not_convex_is_refused_by_the_modes_own_words(tmp_path):
    path = tmp_path / "quartic.safetensors"
    mode = Quartic(np.zeros(3), np.eye(3), 1.0, 0.0)
    mode.stiffness = -1.0
    lse.save(lse.SoftMinimum((mode,), 0.1), path)
    with pytest.raises(lse.FormatError, match=r"mode\.0: stiffness is -1.0; it must be >= 0"):
        lse.load_potential(path, modes=[Quartic])


@pytest.mark.parametrize("mixed", [False, True])
def test_exported_files_give_its_numbers(mixed, tmp_path):
    rng = np.random.default_rng(8)
    modes = (random_quartic(rng, 3), random_quartic(rng, 3), *([random_network(rng, 3)] if mixed else []))
    material = lse.Material(lse.SoftMinimum(modes, 0.3), lse.GreenLagrange(2))
    F = random_deformations(rng, 5, 2)
    exact = material.energy(F), material.stress(F), material.tangent(F), material.mode_weights(F)
    for name in ("cell.py", "cell.c"):
        export(material, tmp_path / name)
    shapes = [(), (2, 2), (2,) * 4, (len(modes),)]
    numpy_module = runpy.run_path(str(tmp_path / "cell.py"))
    for found in (numpy_module["evaluate"](F), compiled(tmp_path / "cell.c", "cell", F, shapes)):
        for got, value in zip(found, exact):
            assert relative_error(got, value) < 1e-12
    export(material, tmp_path / "form.py", language="ufl")
    assert "import lse_material" not in (tmp_path / "form.py").read_text()
    W = runpy.run_path(str(tmp_path / "form.py"))["energy"](ufl.as_matrix(F[0].tolist()))
    assert W(()) == pytest.approx(exact[0][0], rel=1e-12)


# ---- fit ----------------------------------------------------------------------------------------------------------------


def test_it_is_fitted_to_its_own_data_saved_and_loaded(tmp_path):
    truth = quartic_material(rho=0.05)
    F = random_deformations(np.random.default_rng(9), 300, 2, 0.3)
    samples = lse.Samples(F=F, energy=truth.energy(F), stress=truth.stress(F))
    result = fit(
        samples,
        kinematics=lse.GreenLagrange(2),
        architecture=Architecture(modes=2, mode_type="Quartic"),
        training=Training(restarts=2, adam_steps=300, lbfgs_steps=400),
        progress=False,
    )
    assert {type(mode) for mode in result.potential.modes} == {Quartic}
    assert relative_error(result.material.stress(F), truth.stress(F)) < 0.02
    lse.save(result.material, tmp_path / "fit.safetensors")
    again = lse.load(tmp_path / "fit.safetensors", modes=[Quartic])
    np.testing.assert_array_equal(again.stress(F), result.material.stress(F))


def test_discovery_finds_its_number_of_modes_without_the_moves_of_networks():
    rng = np.random.default_rng(10)
    truth = lse.SoftMinimum(tuple(Quartic([at], [[2.0]], 1.0, 0.0) for at in (-1.0, 1.0)), 0.1)
    x = rng.uniform(-2.0, 2.0, (200, 1))
    result = fit(
        lse.Samples(x=x, energy=truth.energy(x), gradient=truth.gradient(x)),
        architecture=Architecture(modes="auto", max_modes=3, mode_type="Quartic"),
        sparsity=Sparsity(restarts=1, adam_steps=300),
        progress=False,
    )
    assert len(result.potential.modes) == 2
    assert relative_error(result.potential.gradient(x), truth.gradient(x)) < 0.02


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (Architecture(2, mode_type="Quartic", stiffness=0.1), "Quartic cannot take up a linear or a quadratic term"),
        (Architecture(2, mode_type="Unknown"), r"Unknown has no translation into torch.*lse_material\.fit\.MODES"),
    ],
)
def test_what_the_type_cannot_do_is_refused_by_its_name(architecture, message):
    x = np.random.default_rng(11).normal(size=(30, 2))
    quick = Training(restarts=1, adam_steps=2, lbfgs_steps=2)
    with pytest.raises(lse.InvalidInputError, match=message):
        fit(lse.Samples(x=x, energy=(x**2).sum(axis=1)), architecture=architecture, training=quick, progress=False)


def test_unseen_shears_that_the_type_cannot_leave_unread_are_refused_before_the_fit(monkeypatch):
    truth = quartic_material(rho=0.05)
    F = np.eye(2) + np.random.default_rng(12).uniform(-0.2, 0.2, (60, 2, 1)) * np.eye(2)
    samples = lse.Samples(F=F, energy=truth.energy(F))
    monkeypatch.setattr("lse_material.fit.fitting.multistart", None)  # nothing is fitted
    with pytest.raises(
        lse.InvalidInputError, match=r"no shear in input 2 .*Quartic cannot leave inputs unread.*reading"
    ):
        fit(samples, kinematics=lse.GreenLagrange(2), architecture=Architecture(2, mode_type="Quartic"), progress=False)


# ---- solve --------------------------------------------------------------------------------------------------------------


@pytest.mark.mpi
@pytest.mark.parametrize("route", ["energy", "stored"])
def test_a_pulled_block_is_free_of_stress_at_its_free_sides(route):
    material = quartic_material()
    V = fem.functionspace(mesh.create_unit_square(MPI.COMM_WORLD, 4, 4), ("Lagrange", 1, (2,)))
    u = fem.Function(V)
    F, bcs = ufl.Identity(2) + ufl.grad(u), []
    for axis, place, value in ((0, 0.0, 0.0), (0, 1.0, 0.05), (1, 0.0, 0.0)):
        facets = mesh.locate_entities_boundary(V.mesh, 1, lambda x, a=axis, p=place: np.isclose(x[a], p))
        bcs.append(fem.dirichletbc(value, fem.locate_dofs_topological(V.sub(axis), 1, facets), V.sub(axis)))
    if route == "stored":
        P = QuadratureStress(material, F, degree=2)
        residual = ufl.inner(P.operator, ufl.grad(ufl.TestFunction(V))) * P.dx
        problem = MaterialProblem(residual, u, bcs=bcs, stresses=[P], petsc_options_prefix="own_mode_stored_")
    else:
        W = energy(material, F) * ufl.dx(degree=2)
        problem = EnergyProblem(W, u, bcs=bcs, petsc_options_prefix="own_mode_energy_")
    problem.solve()
    if route == "energy":
        assert stability.is_stable(problem)
    entries = [fem.assemble_scalar(fem.form(F[i, j] * ufl.dx)) for i in range(2) for j in range(2)]
    stretch = np.array([V.mesh.comm.allreduce(entry) for entry in entries]).reshape(2, 2)
    P = material.stress(stretch)
    assert stretch[0, 0] == pytest.approx(1.05, abs=1e-12)
    assert P[0, 0] > 1e-3
    np.testing.assert_allclose([P[1, 1], P[0, 1], P[1, 0]], 0.0, atol=1e-8)


# ---- what a type does not have ------------------------------------------------------------------------------------------


class OnlyInNumPy(lse.Mode):
    """|x|^2 / 2 by arrays."""

    size = 3

    def tensors(self):
        return {"none": np.zeros(1)}

    @classmethod
    def from_tensors(cls, tensors, options):
        return cls()

    def values(self, x):
        class Values:
            energy, gradient, hessian = 0.5 * (x**2).sum(axis=1), x, np.tile(np.eye(3), (len(x), 1, 1))

        return Values()


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        (lambda p: potential_energy(p, [ufl.as_ufl(0.1)] * 3, expanded=True), r"has no formula\(x\)"),
        (lambda p: potential_energy(p, [ufl.as_ufl(0.1)] * 3), "has no translation into C: give it c_text"),
        (CompiledPotential, "has no translation into C: give it c_text"),
        (lambda p: kernel_source(KernelShape.of(p)), "has no translation into C: give it c_text"),
        (lambda p: point_header(p, lanes=4), "has no translation into C: give it c_text"),
        (TrainablePotential.from_potential, "has no translation into torch"),
        (lambda p: export(p, "no.c"), "has no translation into C: give it c_text"),
        (lambda p: export(p, "no.py", language="ufl"), r"has no translation into exported UFL: write formula\(x\)"),
        (lambda p: p.at([0.0]), r"cannot fix its first inputs: it does not have at\(first\)"),
    ],
)
def test_a_backend_that_lacks_the_type_says_its_name_and_what_to_provide(backend, message):
    potential = lse.SoftMinimum((OnlyInNumPy(),), 0.1)
    np.testing.assert_array_equal(potential.energy(np.ones((1, 3))), [1.5])
    with pytest.raises(lse.InvalidInputError, match=rf"OnlyInNumPy {message}"):
        backend(potential)


def test_a_type_cannot_bear_the_name_of_one_of_the_package():
    with pytest.raises(lse.InvalidInputError, match="ConvexNetwork is that of lse_material: give yours another name"):

        class Imitation(lse.ConvexNetwork):
            type = "ConvexNetwork"


class Softening(lse.Mode):
    """exp(-t) x^2 / 2 of (t, x): convex in x at every t, and not in both together."""

    size, convex_inputs = 2, (1,)

    def tensors(self):
        return {"rate": np.array([1.0])}

    @classmethod
    def from_tensors(cls, tensors, options):
        return cls()

    def formula(self, x):
        return 0.5 * exp(-x[0]) * x[1] ** 2


def test_a_mode_is_checked_for_convexity_in_the_inputs_that_it_says():
    x = np.random.default_rng(12).normal(size=(50, 2))
    assert check_convexity(lse.SoftMinimum((Softening(),), 0.1), x).passed

    class Wrong(Softening):
        convex_inputs = (0, 1)

    assert not check_convexity(lse.SoftMinimum((Wrong(),), 0.1), x).passed
