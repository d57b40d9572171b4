"""The compiled kernel says what the NumPy floor says, compiles once, and fails with a reason."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

import lse_material as lse
from lse_material import kernel
from lse_material.errors import CompilationError, CompilerNotFoundError
from lse_material.kernel import (
    CompiledEvaluator,
    CompiledPotential,
    InterpretedPotential,
    evaluator,
    potential_evaluator,
)
from lse_material.kernel.evaluator import _warn_once
from tests.materials import (
    STRAIN_MEASURES,
    random_deformations,
    random_material,
    random_potential,
    relative_error,
    square_to_rectangle,
)


@pytest.mark.parametrize("kinematics", STRAIN_MEASURES, ids=repr)
@pytest.mark.parametrize(("activation", "growth"), [("softplus", None), ("squared_softplus", lse.Growth(0.7))])
def test_compiled_energy_stress_and_tangent_are_those_of_the_material(kinematics, activation, growth):
    rng = np.random.default_rng(kinematics.size)
    material = random_material(rng, kinematics, activation=activation, growth=growth)
    F = random_deformations(rng, 37, kinematics.dim)
    values, exact = CompiledEvaluator(material).evaluate(F), material.evaluate(F)
    assert relative_error(values.energy, exact.energy) < 1e-13
    assert relative_error(values.stress, exact.stress) < 1e-13
    assert relative_error(values.tangent, exact.tangent) < 1e-12
    assert np.abs(values.mode_weights - exact.mode_weights).max() < 1e-13


@pytest.mark.parametrize("rho", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("activation", ["softplus", "squared_softplus"])
@pytest.mark.parametrize("d", [1, 3, 6])
def test_far_and_near_points_are_as_accurate_as_any(d, activation, rho):
    """Decade by decade of |x| from 1e-3 to 1e3, as a share of the largest value in the decade."""
    rng = np.random.default_rng(d)
    potential = random_potential(rng, d, rho=rho, activation=activation, scaled=False)
    compiled = CompiledPotential(potential)
    for decade in range(-3, 3):
        direction = rng.normal(size=(50, d))
        x = direction / np.linalg.norm(direction, axis=1)[:, None] * 10.0 ** (decade + rng.uniform(size=(50, 1)))
        assert relative_error(compiled.energy(x), potential.energy(x)) < 1e-13
        assert relative_error(compiled.gradient(x), potential.gradient(x)) < 1e-13
        assert relative_error(compiled.hessian(x), potential.hessian(x)) < 1e-12


@pytest.mark.parametrize("rho", [1e-4, 1e-2])
def test_wells_and_ridges_are_as_accurate_as_any(rho):
    """At the wells the stress vanishes; on the ridge between them both modes weigh 1/2 and the tangent is of size 1/rho."""
    material = square_to_rectangle(rho)
    ridge = np.stack([np.diag([1.0 + s, 1.0 + s]) for s in np.linspace(-0.1, 0.1, 9)])
    ridge[:, 0, 1] = ridge[:, 1, 0] = np.linspace(0.0, 0.2, 9)
    wells = np.stack([np.diag([0.9, 1.15]), np.diag([1.15, 0.9])])
    values = CompiledEvaluator(material).evaluate(np.concatenate([ridge, wells]))
    exact = material.evaluate(np.concatenate([ridge, wells]))
    assert np.allclose(exact.mode_weights[:9], 0.5, rtol=0, atol=1e-10)
    assert relative_error(values.energy, exact.energy) < 1e-13
    assert relative_error(values.stress, exact.stress) < 1e-13
    assert np.abs(values.stress[9:]).max() < 1e-14 + exact.mode_weights[9:].min()  # what the other well still adds
    assert relative_error(values.tangent, exact.tangent) < 1e-12


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 300])
def test_any_number_of_points_on_any_number_of_threads_gives_the_same_bits(n):
    rng = np.random.default_rng(0)
    potential = random_potential(rng, 3)
    x = rng.normal(size=(300, 3))
    W, g, H, w = np.empty(n), np.empty((n, 3)), np.empty((n, 6)), np.empty((n, 3))
    CompiledPotential(potential, threads=2).energy_gradient_hessian(x[:n].copy(), W, g, H, w)
    whole = CompiledPotential(potential)
    assert np.array_equal(W, whole.energy(x)[:n])
    assert np.array_equal(g, whole.gradient(x)[:n])
    assert np.array_equal(w, whole.mode_weights(x)[:n])
    assert np.array_equal(H[:, 1], whole.hessian(x)[:n, 0, 1])


def test_nan_stays_at_its_point_and_is_never_a_number():
    rng = np.random.default_rng(1)
    potential = random_potential(rng, 3)
    x = rng.normal(size=(11, 3))
    x[4, 1] = np.nan
    compiled = CompiledPotential(potential)
    for got, exact in (
        (compiled.energy(x), potential.energy),
        (compiled.gradient(x), potential.gradient),
        (compiled.hessian(x), potential.hessian),
        (compiled.mode_weights(x), potential.mode_weights),
    ):
        assert np.isnan(got[4]).all()
        others = np.arange(11) != 4
        assert relative_error(got[others], exact(x[others])) < 1e-12


def test_deformations_turned_inside_out_give_nan_with_a_growth_term():
    material = random_material(np.random.default_rng(0), lse.GreenLagrange(2), growth=lse.Growth(1.0))
    F = np.stack([np.eye(2), np.diag([1.0, -1.0]), np.diag([1.0, 0.0])])
    values = CompiledEvaluator(material).evaluate(F)
    for array in (values.energy, values.stress, values.tangent):
        assert np.isfinite(array[0]).all()
        assert np.isnan(array[1]).all()


def test_the_interpreted_potential_takes_the_same_call():
    rng = np.random.default_rng(3)
    potential = random_potential(rng, 3)
    x = rng.normal(size=(9, 3))
    arrays = [[np.empty(9), np.empty((9, 3)), np.empty((9, 6)), np.empty((9, 3))] for _ in range(2)]
    for each, values in zip((CompiledPotential(potential), InterpretedPotential(potential)), arrays):
        each.energy_gradient_hessian(x, *values)
    for got, exact in zip(*arrays):
        assert relative_error(got, exact) < 1e-12


# ---- arrays, compiler, cache ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "g", "message"),
    [
        (np.zeros((4, 3), dtype=np.float32), np.empty((4, 3)), "float32"),
        (np.zeros((4, 6))[:, ::2], np.empty((4, 3)), "not C-contiguous"),
        (np.zeros((4, 2)), np.empty((4, 3)), r"shape \(4, 2\)"),
        (np.zeros((4, 3)), np.empty((5, 3)), r"g is of shape \(5, 3\)"),
        (np.zeros((4, 3)), [0.0], "g is a list"),
        (None, np.empty((0, 3)), "x is a NoneType"),
    ],
)
def test_arrays_that_c_cannot_use_are_refused(x, g, message):
    potential = random_potential(np.random.default_rng(0), 3)
    for each in (CompiledPotential(potential), InterpretedPotential(potential)):
        with pytest.raises(lse.InvalidInputError, match=message):
            each.energy_gradient_hessian(x, None, g)


def test_values_at_points_are_those_of_the_material_for_any_kind_of_array():
    potential = random_potential(np.random.default_rng(4), 3)
    fast = CompiledPotential(potential)
    for x in ([0.25, -1.0, 2.0], [[1, 2, 3], [0, 0, 0]], np.ones((2, 2, 3), dtype=np.float32)):
        for name in ("energy", "gradient", "hessian", "mode_weights"):
            np.testing.assert_allclose(
                getattr(fast.evaluate(x), name), getattr(potential.evaluate(x), name), rtol=1e-11, atol=1e-12
            )


def test_what_is_no_potential_is_not_compiled():
    """The growth term of a material is not in its potential: its energy would be lost without a word."""
    material = random_material(np.random.default_rng(0), lse.GreenLagrange(2), growth=lse.Growth(1.0))
    for call in (CompiledPotential, kernel.potential_evaluator, kernel.KernelShape.of, kernel.point_function):
        with pytest.raises(lse.InvalidInputError, match="Material is no potential"):
            call(material)
    with pytest.raises(lse.InvalidInputError, match="takes a Material, not a SoftMinimum"):
        evaluator(material.potential)
    for lanes in (0, 3, "4"):
        with pytest.raises(lse.InvalidInputError, match="a vector has one of"):
            kernel.point_header(material.potential, lanes=lanes)


def test_where_there_is_no_compiler_numpy_serves_with_one_warning(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    _warn_once.cache_clear()
    material = random_material(np.random.default_rng(0), lse.GreenLagrange(2))
    with pytest.raises(CompilerNotFoundError, match="no-such-compiler"):
        CompiledEvaluator(material)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert evaluator(material) is material
        assert isinstance(potential_evaluator(material.potential), InterpretedPotential)
    (warning,) = caught
    assert "evaluated with NumPy" in str(warning.message)
    _warn_once.cache_clear()


def test_a_compiler_that_fails_says_what_was_called_and_leaves_nothing(monkeypatch, tmp_path):
    compiler = tmp_path / "broken-cc"
    compiler.write_text('#!/bin/sh\ncase "$*" in *-dM*) exec gcc "$@";; esac\necho "out of paper" >&2\nexit 3\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    material = random_material(np.random.default_rng(0), lse.GreenLagrange(2))
    with pytest.raises(CompilationError, match=r"(?s)exit status 3.*broken-cc.*out of paper"):
        CompiledEvaluator(material)
    left = [path.suffix for path in kernel.cache_directory().iterdir()]
    assert set(left) <= {".lock"}


PROCESS = """
import numpy as np, lse_material as lse
from lse_material import kernel
from lse_material.kernel import compiler
compiled, compile_library = [], compiler._compile
compiler._compile = lambda *arguments: (compiled.append(1), compile_library(*arguments))[1]
mode = lse.ConvexNetwork.from_arrays([], [np.zeros((1, 3))], [np.zeros(1)], quadratic=np.eye(3))
assert kernel.CompiledPotential(lse.SoftMinimum((mode,), scaled_rho=1.0)).energy(np.ones(3)) == 1.5
print(len(compiled))
"""


def test_processes_at_once_compile_once_and_later_ones_never(tmp_path):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", PROCESS], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    counts = [int(process.communicate(timeout=120)[0]) for process in running]
    assert sum(counts) == 1
    later = subprocess.run(
        [sys.executable, "-c", PROCESS], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert int(later.stdout) == 0


def test_other_weights_of_the_same_architecture_use_the_same_library(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for seed in range(3):
        CompiledPotential(random_potential(np.random.default_rng(seed), 2))
    assert len([path for path in kernel.cache_directory().iterdir() if path.suffix == ".so"]) == 1


@pytest.mark.parametrize("lanes", [2, 4, 8])
def test_the_generated_text_compiles_without_a_warning_for_vectors_of_any_cpu(lanes, tmp_path):
    rng = np.random.default_rng(0)
    potential = random_potential(rng, 3)
    header, program = tmp_path / "point.h", tmp_path / "program.c"
    header.write_text(kernel.point_header(potential, lanes=lanes))
    name = kernel.point_function(potential)
    program.write_text(
        f'#include <stdio.h>\n#include "{header}"\n#include "{header}"\n'
        f"int main(void) {{ double x[3] = {{0.1, -0.2, 0.3}}, w[3], g[3], H[6]; double W = {name}(x, w, g, H);\n"
        'printf("%.17g %.17g %.17g %.17g", W, w[1], g[2], H[5]); return 0; }\n'
    )
    flags = ["-std=c11", "-O2", "-march=native", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *flags, str(program), "-o", str(tmp_path / "program")], check=True)
    done = subprocess.run([str(tmp_path / "program")], capture_output=True, text=True, check=True)
    x = np.array([[0.1, -0.2, 0.3]])
    exact = [
        potential.energy(x)[0],
        potential.mode_weights(x)[0, 1],
        potential.gradient(x)[0, 2],
        potential.hessian(x)[0, 2, 2],
    ]
    assert np.allclose([float(word) for word in done.stdout.split()], exact, rtol=1e-12, atol=0)


def test_numpy_alone_needs_no_compiler():
    """Importing the kernel neither compiles nor looks for a compiler."""
    code = (
        "import lse_material.kernel.compiler as c, sys; print(c._compiler.cache_info().misses, 'cffi' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "False"]


def test_no_warning_is_given_where_there_is_a_compiler():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(evaluator(random_material(np.random.default_rng(0), lse.GreenLagrange(2))), CompiledEvaluator)
