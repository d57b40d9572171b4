"""The exported JAX module, which needs JAX alone, gives the numbers of the package to 1e-12, compiled by jit too."""

import numpy as np
import pytest

from lse_material import GreenLagrange, Growth, IsotropicInvariants, Material, SoftMinimum
from lse_material.export import export
from tests.export.cases import CASES, case_name, material_of_a_user
from tests.exported import expected, python_module
from tests.materials import random_deformations, random_material, random_potential, relative_error

jax = pytest.importorskip("jax", reason="JAX is not installed; it is too large to install for these tests alone")


def exported(material, directory):
    export(material, directory / "cell_jax.py", language="jax")
    return python_module(directory / "cell_jax.py")


def values(cell, F):
    """W, P, A and mode weights, each compiled."""
    return [np.asarray(jax.jit(each)(F)) for each in (cell.energy, cell.stress, cell.tangent, cell.mode_weights)]


@pytest.mark.parametrize(("kinematics", "options"), CASES, ids=case_name)
def test_derivatives_by_jax_are_those_of_the_package(kinematics, options, tmp_path):
    material = random_material(np.random.default_rng(0), kinematics, **options)
    F = random_deformations(np.random.default_rng(1), 1000, kinematics.dim)
    for got, value in zip(values(exported(material, tmp_path), F), expected(material, F), strict=True):
        assert got.dtype == np.float64
        assert relative_error(got, value) < 1e-12


@pytest.mark.parametrize("dim", [2, 3])
def test_strain_measures_and_modes_of_a_user_are_exported_by_their_formulas(dim, tmp_path):
    material = material_of_a_user(dim)
    F = random_deformations(np.random.default_rng(1), 40, dim).reshape(5, 8, dim, dim)
    for got, value in zip(values(exported(material, tmp_path), F), expected(material, F), strict=True):
        assert relative_error(got, value) < 1e-12


def test_derivatives_are_right_where_arguments_of_activations_vanish(tmp_path):
    material = random_material(np.random.default_rng(2), GreenLagrange(2), scaled=False, depth=1)
    modes = tuple(type(m)(m.z_weights, m.x_weights, (0.0 * m.biases[0], m.biases[1])) for m in material.potential.modes)
    material = Material(SoftMinimum(modes, 0.3), material.kinematics)
    for got, value in zip(values(exported(material, tmp_path), np.eye(2)), expected(material, np.eye(2)), strict=True):
        assert relative_error(got, np.asarray(value)) < 1e-12


def test_a_plain_potential_is_a_function_of_x(tmp_path):
    potential = random_potential(np.random.default_rng(2), 5, modes=4)
    x = np.random.default_rng(3).normal(size=(9, 5))
    exact = potential.energy(x), potential.gradient(x), potential.hessian(x), potential.mode_weights(x)
    cell = exported(potential, tmp_path)
    functions = cell.potential, cell.potential_gradient, cell.potential_hessian, cell.potential_weights
    for function, value in zip(functions, exact, strict=True):
        assert relative_error(np.asarray(function(x)), value) < 1e-12


def test_it_is_nan_where_the_package_is(tmp_path):
    material = random_material(np.random.default_rng(4), IsotropicInvariants(2), growth=Growth(1.0))
    F = np.array([np.diag([1.0, -1.0]), np.full((2, 2), np.nan), np.eye(2)])
    for value in values(exported(material, tmp_path), F)[:3]:
        assert np.isnan(value.reshape(3, -1)).any(1).tolist() == [True, True, False]
