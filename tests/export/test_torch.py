"""The exported torch module, which needs torch alone, gives the numbers of the package to 1e-12, exported or scripted too."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from lse_material import GreenLagrange, Growth, InvalidInputError, IsotropicInvariants, Material, Mode, SoftMinimum
from lse_material.export import export, source
from tests.export.cases import CASES, case_name, material_of_a_user
from tests.exported import expected, python_module
from tests.materials import random_deformations, random_material, random_potential, relative_error, square_to_rectangle


def exported(material, directory):
    export(material, directory / "cell_torch.py", language="torch")
    return python_module(directory / "cell_torch.py")


def assert_equal_to_package(values, exact):
    for got, value in zip(values, exact, strict=True):
        assert got.dtype == torch.float64
        assert relative_error(got.detach().numpy(), value) < 1e-12


@pytest.mark.parametrize(("kinematics", "options"), CASES, ids=case_name)
def test_closed_forms_and_derivatives_by_torch_are_those_of_the_package(kinematics, options, tmp_path):
    material = random_material(np.random.default_rng(0), kinematics, **options)
    cell = exported(material, tmp_path).Material()
    F = random_deformations(np.random.default_rng(1), 1000, kinematics.dim)
    exact, x = expected(material, F), torch.tensor(F, requires_grad=True)
    assert_equal_to_package(cell.evaluate(x), exact)
    W = cell(x)
    (P,) = torch.autograd.grad(W.sum(), x)
    assert_equal_to_package([W, P], exact[:2])
    A = torch.func.vmap(torch.func.jacfwd(torch.func.grad(cell)))(torch.tensor(F[:20]))
    assert relative_error(A.numpy(), exact[2][:20]) < 1e-11


@pytest.mark.parametrize("dim", [2, 3])
def test_strain_measures_and_modes_of_a_user_are_exported_by_their_formulas(dim, tmp_path):
    material = material_of_a_user(dim)
    F = random_deformations(np.random.default_rng(1), 40, dim).reshape(5, 8, dim, dim)
    exact, cell = expected(material, F), exported(material, tmp_path).Material()
    assert_equal_to_package(cell.evaluate(torch.tensor(F)), exact)
    assert_equal_to_package(
        [cell(torch.tensor(F)), cell.stress(torch.tensor(F)), cell.tangent(torch.tensor(F))], exact[:3]
    )


@pytest.mark.filterwarnings("ignore:.*is deprecated.*")  # of torch itself, while it exports
def test_a_program_by_torch_export_is_saved_and_takes_any_number_of_points(tmp_path):
    material = random_material(np.random.default_rng(0), GreenLagrange(2), growth=Growth(0.4), modes=2, depth=1)
    F = torch.tensor(random_deformations(np.random.default_rng(1), 30, 2))
    n = torch.export.Dim("n")
    program = torch.export.export(exported(material, tmp_path).Values(), (F[:5],), dynamic_shapes=({0: n},))
    torch.export.save(program, tmp_path / "cell.pt2")
    loaded = torch.export.load(tmp_path / "cell.pt2").module()
    assert_equal_to_package(loaded(F), expected(material, F.numpy()))


def test_torchscript_gives_the_same(tmp_path):
    material = random_material(np.random.default_rng(0), IsotropicInvariants(3), growth=Growth(0.4))
    F = torch.tensor(random_deformations(np.random.default_rng(1), 30, 3))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.jit.*")  # torch 2.14 calls it unsupported on Python 3.14; it works
        torch.jit.script(exported(material, tmp_path).Values()).save(tmp_path / "cell.pt")
        loaded = torch.jit.load(tmp_path / "cell.pt")
    assert_equal_to_package(loaded(F), expected(material, F.numpy()))


def test_autograd_is_right_where_arguments_of_activations_vanish(tmp_path):
    material = random_material(np.random.default_rng(2), GreenLagrange(2), scaled=False, depth=1)
    modes = tuple(type(m)(m.z_weights, m.x_weights, (0.0 * m.biases[0], m.biases[1])) for m in material.potential.modes)
    material = Material(SoftMinimum(modes, 0.3), material.kinematics)
    F = torch.eye(2, dtype=torch.float64)
    cell = exported(material, tmp_path).Material()
    A = torch.func.jacfwd(torch.func.grad(cell))(F)
    assert_equal_to_package([torch.func.grad(cell)(F), A], [material.stress(F.numpy()), material.tangent(F.numpy())])


def test_a_plain_potential_is_a_module_of_x(tmp_path):
    potential = random_potential(np.random.default_rng(2), 5, modes=4)
    x = np.random.default_rng(3).normal(size=(9, 5))
    exact = potential.energy(x), potential.gradient(x), potential.hessian(x), potential.mode_weights(x)
    circuit = exported(potential, tmp_path).Potential()
    assert_equal_to_package(circuit.evaluate(torch.tensor(x)), exact)
    assert_equal_to_package([circuit(torch.tensor(x))], exact[:1])


def test_it_is_nan_where_the_package_is(tmp_path):
    material = random_material(np.random.default_rng(4), IsotropicInvariants(2), growth=Growth(1.0))
    F = np.array([np.diag([1.0, -1.0]), np.full((2, 2), np.nan), np.eye(2)])
    for values in exported(material, tmp_path).Material().evaluate(torch.tensor(F))[:3]:
        assert values.reshape(3, -1).isnan().any(1).tolist() == [True, True, False]


def test_the_file_needs_torch_alone(tmp_path):
    exported(square_to_rectangle(0.1), tmp_path)
    code = (
        "import sys, cell_torch; print([m for m in sys.modules if m.split('.')[0] in ('lse_material', 'safetensors')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    text = (tmp_path / "cell_torch.py").read_text()
    assert {line for line in text.splitlines() if "import " in line} == {
        "from __future__ import annotations",
        "from typing import List, Tuple",
        "import torch",
        "from torch import Tensor",
    }


class Unwritten(Mode):
    """A mode of a user's own without a formula."""

    size = 3

    def tensors(self):
        return {"c": np.ones(1)}

    @classmethod
    def from_tensors(cls, tensors, options):
        return cls()


def test_a_mode_without_a_formula_is_refused_by_name():
    with pytest.raises(
        InvalidInputError, match=r"mode type Unwritten has no translation into exported torch: write form"
    ):
        source(SoftMinimum((Unwritten(),), 1.0), "torch")
