"""The exported UFL file, which imports nothing of the package, gives its energies, stresses and tangents to 1e-12."""

import importlib.util

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from lse_material import GreenLagrange, Growth, IsotropicInvariants, SmallStrain
from lse_material.export import export
from tests.materials import random_deformations, random_material, random_potential, relative_error


def imported(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def values_of(expression, constant, rows):
    """Values of a UFL expression of one constant."""
    domain = mesh.create_unit_square(MPI.COMM_SELF, 1, 1, mesh.CellType.quadrilateral)
    constant = constant(domain)
    made = fem.Expression(expression(constant), np.array([[0.5, 0.5]]))
    results = []
    for row in rows:
        constant.value = row
        results.append(made.eval(domain, np.array([0], dtype=np.int32)).ravel().copy())
    return np.array(results)


@pytest.mark.parametrize(
    ("kinematics", "options"),
    [
        (GreenLagrange(2), {"modes": 2, "rho": 0.05, "growth": Growth(0.4)}),
        (IsotropicInvariants(3), {"modes": 2, "activation": "squared_softplus", "depth": 1}),
        (SmallStrain(3), {"modes": 1, "depth": 1, "quadratic": False}),
        (IsotropicInvariants(2, squared_volume=False), {"modes": 2, "depth": 0}),
    ],
    ids=["2D", "invariants", "small", "plane invariants"],
)
def test_the_ufl_file_gives_energy_and_stress(kinematics, options, tmp_path):
    material = random_material(np.random.default_rng(0), kinematics, **{"width": 2, **options})
    export(material, tmp_path / "cell.py", language="ufl")
    cell = imported(tmp_path / "cell.py")
    dim = kinematics.dim
    F = random_deformations(np.random.default_rng(1), 4, dim)

    def everything(constant):
        variable = ufl.variable(constant)
        P = ufl.diff(cell.energy(variable), variable)
        return ufl.as_vector([cell.energy(constant), *(P[i, j] for i in range(dim) for j in range(dim))])

    got = values_of(everything, lambda domain: fem.Constant(domain, np.zeros((dim, dim))), F)
    assert relative_error(got[:, 0], material.energy(F)) < 1e-12
    assert relative_error(got[:, 1:], material.stress(F).reshape(len(F), -1)) < 1e-12


def test_the_ufl_file_gives_tangents_and_mode_weights_also_where_arguments_vanish(tmp_path):
    material = random_material(np.random.default_rng(2), GreenLagrange(2), modes=2, width=2, depth=1, scaled=False)
    export(material, tmp_path / "cell.py", language="ufl")
    cell = imported(tmp_path / "cell.py")
    F = np.concatenate([np.eye(2)[None], random_deformations(np.random.default_rng(3), 3, 2)])

    def everything(constant):
        variable = ufl.variable(constant)
        A = ufl.diff(ufl.diff(cell.energy(variable), variable), variable)
        weights = cell.mode_weights(constant)
        entries = [A[i, J, k, L] for i, J, k, L in np.ndindex(2, 2, 2, 2)]
        return ufl.as_vector([weights[0], weights[1], *entries])

    got = values_of(everything, lambda domain: fem.Constant(domain, np.zeros((2, 2))), F)
    assert relative_error(got[:, :2], material.mode_weights(F)) < 1e-12
    assert relative_error(got[:, 2:], material.tangent(F).reshape(4, 16)) < 1e-12


def test_the_ufl_file_of_a_plain_potential(tmp_path):
    potential = random_potential(np.random.default_rng(4), 3, modes=2, width=2, depth=1)
    export(potential, tmp_path / "circuit.py", language="ufl")
    circuit = imported(tmp_path / "circuit.py")
    x = np.random.default_rng(5).normal(size=(5, 3))
    got = values_of(
        lambda c: ufl.as_vector([circuit.potential([c[0], c[1], c[2]])]), lambda d: fem.Constant(d, np.zeros(3)), x
    )
    assert relative_error(got[:, 0], potential.energy(x)) < 1e-12
