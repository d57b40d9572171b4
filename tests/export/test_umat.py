"""The exported UMAT, compiled by gfortran in both source forms: W, Cauchy stress and tangent of the package to 1e-12."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.linalg import expm

import lse_material as lse
from lse_material import GreenLagrange, Growth, IsotropicInvariants, SmallStrain
from lse_material.export import export, source
from tests.export.cases import CASES, case_name, material_of_a_user
from tests.export.umat import GFORTRAN, VOIGT, library, umat, umat_user
from tests.materials import (
    central_difference,
    random_deformations,
    random_material,
    random_potential,
    relative_error,
    rotation,
    square_to_rectangle,
)

pytestmark = pytest.mark.skipif(GFORTRAN is None, reason="no gfortran")
OBJECTIVE = [case for case in CASES if case[0].objective]


def cauchy(material, F):
    """Cauchy stress of the package, (n, dim, dim)."""
    return np.einsum("niJ,njJ->nij", material.stress(F), F) / np.linalg.det(F)[:, None, None]


def jaumann(material, F):
    """The tangent of the Jaumann rate of the Kirchhoff stress over J: dP/dF pushed forward, and the rotation of the stress."""
    one, J = np.eye(material.dim), np.linalg.det(F)
    spatial = np.einsum("niJkL,njJ,nlL->nijkl", material.tangent(F), F, F) / J[:, None, None, None, None]
    by_gradient = spatial + np.einsum("nil,jk->nijkl", cauchy(material, F), one)
    return 0.5 * (by_gradient + by_gradient.swapaxes(3, 4))


def in_voigt(tensor, dim):
    """Components (n, ntens) or (n, ntens, ntens), 0 across the plane."""
    ntens = 6 if dim == 3 else 4
    rows = [(k, *ij) for k, ij in enumerate(VOIGT[ntens]) if max(ij) < dim]
    result = np.zeros((len(tensor), *(ntens,) * ((tensor.ndim - 1) // 2)))
    for k, i, j in rows:
        if tensor.ndim == 3:
            result[:, k] = tensor[:, i, j]
            continue
        for m, a, b in rows:
            result[:, k, m] = tensor[:, i, j, a, b]
    return result


def called(material, F, directory, form="fixed"):
    compiled = library(material, directory, form)
    found = [umat(compiled, each, ntens=6 if material.dim == 3 else 4) for each in F]
    return [np.array(values) for values in zip(*found)]


@pytest.mark.parametrize(("kinematics", "options"), OBJECTIVE, ids=case_name)
def test_energy_stress_and_tangent_are_those_of_the_package(kinematics, options, tmp_path):
    material, dim = random_material(np.random.default_rng(0), kinematics, **options), kinematics.dim
    F = random_deformations(np.random.default_rng(1), 1000, dim) @ rotation(0.7, dim)
    W, stress, tangent, *_ = called(material, F, tmp_path)
    assert relative_error(W, material.energy(F)) < 1e-12
    assert relative_error(stress, in_voigt(cauchy(material, F), dim)) < 1e-12
    assert relative_error(tangent, in_voigt(jaumann(material, F), dim)) < 1e-12


@pytest.mark.parametrize("dim", [2, 3])
def test_strain_measures_and_modes_of_a_user_are_written_in_fortran_by_their_formulas(dim, tmp_path):
    material = material_of_a_user(dim)
    F = random_deformations(np.random.default_rng(1), 50, dim)
    W, stress, tangent, *_ = called(material, F, tmp_path)
    assert relative_error(W, material.energy(F)) < 1e-12
    assert relative_error(stress, in_voigt(cauchy(material, F), dim)) < 1e-12
    assert relative_error(tangent, in_voigt(jaumann(material, F), dim)) < 1e-12


@pytest.mark.parametrize("dim", [2, 3])
def test_the_tangent_is_the_derivative_of_the_stress_under_stretches_without_rotation(dim, tmp_path):
    """F -> exp(e) F with symmetric e has no spin, and the Jaumann rate of J sigma is its derivative."""
    material, ntens = random_material(np.random.default_rng(3), IsotropicInvariants(dim), growth=Growth(0.4)), 2 * dim
    compiled = library(material, tmp_path)
    for F in random_deformations(np.random.default_rng(4), 3, dim):
        J, (_, _, tangent, *_) = np.linalg.det(F), umat(compiled, F, ntens=ntens)

        def kirchhoff(e, F=F):
            result = np.empty((len(e), ntens))
            for row, components in zip(result, e):
                d = np.zeros((3, 3))
                for (i, j), component in zip(VOIGT[ntens], components):
                    d[i, j] = d[j, i] = component if i == j else 0.5 * component
                moved = expm(d[:dim, :dim]) @ F
                row[:] = np.linalg.det(moved) * umat(compiled, moved, ntens=ntens)[1]
            return result

        found = central_difference(kirchhoff, np.zeros((1, ntens)), 1, 1e-3)[0] / J
        in_plane = [k for k, ij in enumerate(VOIGT[ntens]) if max(ij) < dim]
        assert relative_error(tangent[:, in_plane], found[:, in_plane]) < 1e-10


@pytest.mark.parametrize("growth", [None, Growth(0.4)], ids=["", "growth"])
@pytest.mark.parametrize("dim", [2, 3])
def test_small_strain_reads_the_strain_and_gives_the_derivatives_in_it(dim, growth, tmp_path):
    material, ntens = random_material(np.random.default_rng(5), SmallStrain(dim), growth=growth), 2 * dim
    compiled = library(material, tmp_path)
    strain = 0.1 * np.random.default_rng(6).normal(size=(20, ntens))
    strain[:, 2] *= dim == 3
    F = np.tile(np.eye(dim), (20, 1, 1))
    for k, (i, j) in enumerate(VOIGT[ntens]):
        if max(i, j) < dim:
            F[:, i, j] += strain[:, k] * (1.0 if i == j else 0.5)
            F[:, j, i] = F[:, i, j]
    W, stress, tangent, *_ = (np.array(v) for v in zip(*(umat(compiled, np.eye(dim), e, ntens) for e in strain)))
    A = material.tangent(F)
    assert relative_error(W, material.energy(F)) < 1e-12
    assert relative_error(stress, in_voigt(material.stress(F), dim)) < 1e-12
    assert relative_error(tangent, in_voigt(0.5 * (A + A.swapaxes(3, 4)), dim)) < 1e-12


def test_a_solid_material_in_plane_and_axisymmetric_elements_gives_the_components_that_these_have(tmp_path):
    compiled = library(random_material(np.random.default_rng(7), IsotropicInvariants(3), growth=Growth(0.2)), tmp_path)
    F = np.array([[1.1, 0.2, 0.0], [-0.1, 0.9, 0.0], [0.0, 0.0, 1.05]])
    (W, stress, tangent, *_), plane = umat(compiled, F), umat(compiled, F, ntens=4)
    assert plane[0] == W
    np.testing.assert_array_equal(plane[1], stress[:4])
    np.testing.assert_array_equal(plane[2], tangent[:4, :4])


def test_state_variables_are_the_mode_weights(tmp_path):
    material = random_material(np.random.default_rng(0), GreenLagrange(2), modes=5)
    F = random_deformations(np.random.default_rng(1), 20, 2)
    states = called(material, F, tmp_path)[4]
    assert relative_error(states[:, :5], material.mode_weights(F)) < 1e-12
    assert (states[:, 5:] == 0.0).all()
    assert "*DEPVAR 5: the state variables are the mode weights" in (tmp_path / "cell_fixed.f").read_text()


def test_fixed_and_free_form_are_one_text_and_give_the_same_bits(tmp_path):
    material = random_material(np.random.default_rng(7), GreenLagrange(3), growth=Growth(0.2))
    F = random_deformations(np.random.default_rng(8), 5, 3)
    for one, other in zip(called(material, F, tmp_path), called(material, F, tmp_path, "free")):
        np.testing.assert_array_equal(one, other)
    lines = (tmp_path / "cell_fixed.f").read_text().splitlines()
    assert max(len(line) for line in lines if not line.startswith("!")) == 73


@pytest.mark.parametrize("kinematics", [GreenLagrange(3), IsotropicInvariants(3)], ids=case_name)
def test_the_subroutine_of_calculix_gives_the_second_piola_kirchhoff_stress_and_its_derivative(kinematics, tmp_path):
    material = random_material(np.random.default_rng(9), kinematics, growth=Growth(0.3))
    compiled = library(material, tmp_path)
    for F in random_deformations(np.random.default_rng(10), 50, 3):
        stress, stiffness, states = umat_user(compiled, F)
        S, C = np.zeros((3, 3)), np.zeros((3, 3, 3, 3))
        upper = [(n, m) for n in range(6) for m in range(n + 1)]
        for (i, j), value in zip(VOIGT[6], stress):
            S[i, j] = S[j, i] = value
        for (n, m), value in zip(upper, stiffness):
            for i, j in {VOIGT[6][n], VOIGT[6][n][::-1]}:
                for k, l in {VOIGT[6][m], VOIGT[6][m][::-1]}:
                    C[i, j, k, l] = C[k, l, i, j] = value
        A = np.einsum("iI,kK,IJKL->iJkL", F, F, C) + np.einsum("ik,JL->iJkL", np.eye(3), S)
        assert relative_error(F @ S, material.stress(F)) < 1e-12
        assert relative_error(A, material.tangent(F)) < 1e-12
        assert relative_error(states[: material.modes], material.mode_weights(F)) < 1e-12


def test_an_inverted_element_asks_for_a_smaller_increment(tmp_path):
    compiled = library(square_to_rectangle(0.1), tmp_path)
    W, stress, _, factor, _ = umat(compiled, np.diag([1.0, -1.0]), ntens=4)
    assert np.isnan(W)
    assert np.isnan(stress[[0, 1, 3]]).all()
    assert factor == 0.25
    assert umat(compiled, np.eye(2), ntens=4)[3] == 1.0


def test_elements_of_another_kind_are_stopped_by_name(tmp_path):
    library(square_to_rectangle(0.1), tmp_path)
    for F33, ntens, message in ((1.1, 4, "F33 must be 1: plane strain"), (1.0, 6, "2D materials take plane strain")):
        code = (
            "import ctypes, numpy as np; from tests.export.umat import umat; "
            f"umat(ctypes.CDLL({str(tmp_path / 'cell_fixed.so')!r}), np.diag([1.0, 1.0, {F33}]), ntens={ntens}); print('ran')"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert message in done.stderr
        assert "ran" not in done.stdout


def test_the_file_may_be_called_umat(tmp_path):
    export(square_to_rectangle(0.1), tmp_path / "umat.f")
    subprocess.run([GFORTRAN, "-std=legacy", "-Werror", "-c", "umat.f"], cwd=tmp_path, check=True)


def test_the_file_calls_nothing_beyond_the_functions_of_fortran(tmp_path):
    library(random_material(np.random.default_rng(0), GreenLagrange(3)), tmp_path)
    subprocess.run([GFORTRAN, "-O0", "-c", "cell_fixed.f"], cwd=tmp_path, check=True)
    found = subprocess.run(["nm", "-u", "cell_fixed.o"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(found.stdout.split()) - {"U"} <= {
        "exp",
        "log",
        "sqrt",
        "_gfortran_error_stop_string",
        "_GLOBAL_OFFSET_TABLE_",
    }


def test_what_a_umat_cannot_be_is_refused(tmp_path):
    with pytest.raises(lse.InvalidInputError, match="no strain measure, which a UMAT needs: make a Material of it"):
        source(random_potential(np.random.default_rng(0), 3), "umat")
    fields = lse.Material(random_potential(np.random.default_rng(0), 4), GreenLagrange(2), fields=("c",))
    with pytest.raises(lse.InvalidInputError, match="too long for Fortran: 48 letters at most"):
        source(square_to_rectangle(0.1), "umat", name=49 * "a")
    with pytest.raises(lse.InvalidInputError, match="also depends on c"):
        export(fields, tmp_path / "cell.f")
