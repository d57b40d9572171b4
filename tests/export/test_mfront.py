"""The exported MFront behaviour. TFEL is not to be had here: the C++ of the file is compiled and compared, the rest is read.

The C++ stands in the block @Includes and calls nothing of TFEL. What the other blocks do with it is checked against the
components that TFEL documents: 11, 22, 33, sqrt2 12, sqrt2 13, sqrt2 23.
"""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest

from lse_material import InvalidInputError, SmallStrain
from lse_material.export import export, source
from tests.export.cases import CASES, case_name, material_of_a_user
from tests.materials import random_deformations, random_material, random_potential, relative_error

CXX = shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")
PAIRS = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]
FACTORS = np.sqrt([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
OBJECTIVE = [case for case in CASES if case[0].objective]


def block(text, name):
    """What stands in the braces of a block."""
    rest = text[text.index(f"@{name}{{") + len(name) + 2 :]
    depth = 1
    for k, letter in enumerate(rest):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if depth == 0:
            return rest[:k]
    raise AssertionError(f"the block {name} does not end")


def called(material, directory, function, inputs):
    """W, six stresses and 6 x 6 derivatives at each input, from the compiled C++ of the file."""
    export(material, directory / "cell.mfront")
    text = block((directory / "cell.mfront").read_text(), "Includes")
    text += (
        f'\nextern "C" void call(const double *a, double *W, double *S, double *K) {{ cell_{function}(a, W, S, K); }}\n'
    )
    (directory / "cell.cpp").write_text(text)
    strict = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"]
    subprocess.run([CXX, *strict, "cell.cpp", "-o", "cell.so"], cwd=directory, check=True)
    call, found = ctypes.CDLL(str(directory / "cell.so")).call, []
    for each in inputs:
        arrays = [np.ascontiguousarray(each), np.empty(1), np.empty(6), np.empty((6, 6))]
        call(*(array.ctypes.data_as(ctypes.c_void_p) for array in arrays))
        found.append((arrays[1][0], *arrays[2:]))
    return [np.array(values) for values in zip(*found)]


def from_tfel(components):
    """Symmetric tensors of (n, 6), or of fourth order of (n, 6, 6)."""
    order = components.ndim - 1
    result = np.zeros((len(components), *(3,) * (2 * order)))
    for n, (i, j) in enumerate(PAIRS):
        for a, b in {(i, j), (j, i)}:
            if order == 1:
                result[:, a, b] = components[:, n] / FACTORS[n]
                continue
            for m, (k, l) in enumerate(PAIRS):
                for c, d in {(k, l), (l, k)}:
                    result[:, a, b, c, d] = components[:, n, m] / (FACTORS[n] * FACTORS[m])
    return result


@pytest.mark.skipif(CXX is None, reason="no C++ compiler")
@pytest.mark.parametrize(("kinematics", "options"), OBJECTIVE, ids=case_name)
def test_the_second_piola_kirchhoff_stress_and_its_derivative_give_those_of_the_package(kinematics, options, tmp_path):
    assert_agreement(random_material(np.random.default_rng(0), kinematics, **options), tmp_path)


@pytest.mark.skipif(CXX is None, reason="no C++ compiler")
@pytest.mark.parametrize("dim", [2, 3])
def test_strain_measures_and_modes_of_a_user_are_written_by_their_formulas(dim, tmp_path):
    assert_agreement(material_of_a_user(dim), tmp_path)


def assert_agreement(material, tmp_path):
    """W, P and A of the package from W, S and dS/dE of the behaviour, at 1,000 random F."""
    dim = material.dim
    F = random_deformations(np.random.default_rng(1), 1000, dim)
    whole = np.tile(np.eye(3), (1000, 1, 1))
    whole[:, :dim, :dim] = F
    W, S, K = called(material, tmp_path, "second_piola", whole)
    S, K = from_tfel(S)[:, :dim, :dim], from_tfel(K)[:, :dim, :dim, :dim, :dim]
    A = np.einsum("niI,nkK,nIJKL->niJkL", F, F, K) + np.einsum("ik,nJL->niJkL", np.eye(dim), S)
    assert relative_error(W, material.energy(F)) < 1e-12
    assert relative_error(F @ S, material.stress(F)) < 1e-12
    assert relative_error(A, material.tangent(F)) < 1e-12


@pytest.mark.skipif(CXX is None, reason="no C++ compiler")
@pytest.mark.parametrize("dim", [2, 3])
def test_small_strain_gives_stress_and_stiffness(dim, tmp_path):
    material = random_material(np.random.default_rng(2), SmallStrain(dim))
    strain = 0.1 * np.random.default_rng(3).normal(size=(30, 6))
    strain[:, [k for k, ij in enumerate(PAIRS) if max(ij) >= dim]] = 0.0
    F = (np.eye(3) + from_tfel(strain))[:, :dim, :dim]
    W, S, K = called(material, tmp_path, "small", strain)
    A = material.tangent(F)
    assert relative_error(W, material.energy(F)) < 1e-12
    assert relative_error(from_tfel(S)[:, :dim, :dim], material.stress(F)) < 1e-12
    assert relative_error(from_tfel(K)[:, :dim, :dim, :dim, :dim], 0.5 * (A + A.swapaxes(3, 4))) < 1e-12


def test_the_behaviour_names_its_hypothesis_and_hands_over_stress_and_tangent():
    finite = source(random_material(np.random.default_rng(4), CASES[0][0]), "mfront", name="cell")
    assert "@DSL DefaultFiniteStrain;\n@Behaviour cell;" in finite
    assert "@ModellingHypothesis PlaneStrain;" in finite
    assert "sig = convertSecondPiolaKirchhoffStressToCauchyStress(S, F1);" in block(finite, "Integrator")
    assert "Dt = K;" in block(finite, "TangentOperator<DS_DEGL>")
    small = source(random_material(np.random.default_rng(4), SmallStrain(3)), "mfront")
    assert "@DSL Default;" in small
    assert "@ModellingHypothesis Tridimensional;" in small
    assert "if (computeTangentOperator_) Dt = K;" in block(small, "Integrator")


def test_what_mfront_cannot_have_is_refused():
    with pytest.raises(InvalidInputError, match="no strain measure, which MFront needs"):
        source(random_potential(np.random.default_rng(0), 3), "mfront")
