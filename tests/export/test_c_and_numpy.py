"""Exported files are complete in themselves and give the same numbers as the package, to 1e-12."""

import subprocess
import sys

import numpy as np
import pytest

from lse_material import GreenLagrange, Growth, InvalidInputError, IsotropicInvariants, Material, SoftMinimum
from lse_material.export import export, source
from tests.export.cases import CASES, case_name, material_of_a_user
from tests.exported import COMPILER, compiled, expected, python_module
from tests.materials import (
    random_deformations,
    random_material,
    random_network,
    random_potential,
    relative_error,
    square_to_rectangle,
)


@pytest.mark.parametrize(("kinematics", "options"), CASES, ids=case_name)
def test_the_numpy_file_gives_the_numbers_of_the_package(kinematics, options, tmp_path):
    material = random_material(np.random.default_rng(0), kinematics, **options)
    export(material, tmp_path / "cell.py")
    assert "lse_material" not in (tmp_path / "cell.py").read_text().replace("Written by lse_material", "")
    F = random_deformations(np.random.default_rng(1), 12, kinematics.dim).reshape(3, 4, *(kinematics.dim,) * 2)
    for got, exact in zip(python_module(tmp_path / "cell.py").evaluate(F), expected(material, F)):
        assert relative_error(got, exact) < 1e-12


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
@pytest.mark.parametrize(("kinematics", "options"), CASES, ids=case_name)
def test_the_c_file_gives_the_numbers_of_the_package(kinematics, options, tmp_path):
    material = random_material(np.random.default_rng(0), kinematics, **options)
    export(material, tmp_path / "cell.c")
    dim = kinematics.dim
    F = random_deformations(np.random.default_rng(1), 12, dim)
    shapes = [(), (dim,) * 2, (dim,) * 4, (material.modes,)]
    for got, exact in zip(compiled(tmp_path / "cell.c", "cell", F, shapes), expected(material, F)):
        assert relative_error(got, exact) < 1e-12


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
@pytest.mark.parametrize("dim", [2, 3])
def test_strain_measures_and_modes_of_a_user_are_written_in_c_by_their_formulas(dim, tmp_path):
    material = material_of_a_user(dim)
    F = random_deformations(np.random.default_rng(1), 40, dim)
    export(material, tmp_path / "cell.c")
    shapes = [(), (dim,) * 2, (dim,) * 4, (material.modes,)]
    for got, exact in zip(compiled(tmp_path / "cell.c", "cell", F, shapes), expected(material, F)):
        assert relative_error(got, exact) < 1e-12


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
def test_plain_potentials_are_exported_too(tmp_path):
    potential = random_potential(np.random.default_rng(2), 5, modes=4)
    x = np.random.default_rng(3).normal(size=(9, 5))
    exact = potential.energy(x), potential.gradient(x), potential.hessian(x), potential.mode_weights(x)
    export(potential, tmp_path / "circuit.py")
    export(potential, tmp_path / "circuit.c")
    for got, value in zip(python_module(tmp_path / "circuit.py").evaluate(x), exact):
        assert relative_error(got, value) < 1e-12
    shapes = [(), (5,), (5, 5), (4,)]
    for got, value in zip(compiled(tmp_path / "circuit.c", "circuit_potential", x, shapes), exact):
        assert relative_error(got, value) < 1e-12


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
def test_energies_are_nan_in_c_and_numpy_where_the_package_says_nan(tmp_path):
    material = random_material(np.random.default_rng(4), IsotropicInvariants(2), growth=Growth(1.0))
    export(material, tmp_path / "cell.py")
    export(material, tmp_path / "cell.c")
    F = np.array([np.diag([1.0, -1.0]), np.full((2, 2), np.nan), np.eye(2)])
    exact = material.evaluate(F).energy
    assert np.isnan(exact).tolist() == [True, True, False]
    shapes = [(), (2, 2), (2,) * 4, (3,)]
    for W, P, A, _ in (
        compiled(tmp_path / "cell.c", "cell", F, shapes),
        python_module(tmp_path / "cell.py").evaluate(F),
    ):
        for values in (W, P, A):
            assert np.isnan(values).reshape(3, -1).any(axis=1).tolist() == [True, True, False]


def test_an_exported_file_keeps_no_sign_of_text_that_could_end_its_comment(tmp_path):
    plain = square_to_rectangle(0.1)
    material = Material(
        plain.potential, plain.kinematics, units={"energy": '*/ system("x"); /* """ \n\\'}, provenance={"by": "'''"}
    )
    export(material, tmp_path / "cell.c")
    export(material, tmp_path / "cell.py")
    python_module(tmp_path / "cell.py")
    assert (tmp_path / "cell.c").read_text().split("#include")[0].count("*/") == 1


def test_modes_of_different_depths_and_activations_are_exported(tmp_path):
    rng = np.random.default_rng(5)
    kinds = ((0, "softplus"), (1, "squared_softplus"), (3, "softplus"))
    modes = tuple(random_network(rng, 3, depth=n, activation=name, quadratic=n != 1) for n, name in kinds)
    potential = SoftMinimum(modes, 0.5)
    material = Material(potential, GreenLagrange(2))
    F = random_deformations(rng, 5, 2)
    export(material, tmp_path / "cell.c")
    export(material, tmp_path / "cell.py")
    shapes = [(), (2, 2), (2,) * 4, (3,)]
    for got, exact in zip(python_module(tmp_path / "cell.py").evaluate(F), expected(material, F)):
        assert relative_error(got, exact) < 1e-12
    if COMPILER:
        for got, exact in zip(compiled(tmp_path / "cell.c", "cell", F, shapes), expected(material, F)):
            assert relative_error(got, exact) < 1e-12


def test_what_cannot_be_exported_is_refused(tmp_path):
    material = square_to_rectangle(0.1)
    with pytest.raises(InvalidInputError, match=r"no export to 'fortran'; known are \['c', "):
        source(material, "fortran")
    with pytest.raises(InvalidInputError, match="no identifier"):
        source(material, "c", name="2 cells")
    with pytest.raises(InvalidInputError, match="the ending tells no language"):
        export(material, tmp_path / "cell.f90")


def test_the_exported_files_need_nothing_but_numpy(tmp_path):
    export(square_to_rectangle(0.1), tmp_path / "cell.py")
    code = "import sys, cell; print([m for m in sys.modules if m.split('.')[0] in ('lse_material', 'safetensors')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["double", "int", "exp", "log", "main", "isnan"])
def test_a_name_that_c_has_itself_is_refused(name, tmp_path):
    material = random_material(np.random.default_rng(0), GreenLagrange(2))
    with pytest.raises(InvalidInputError, match=f"the name '{name}' has a meaning in C"):
        export(material, tmp_path / f"{name}.c")
    export(material, tmp_path / f"{name}_well.c")
