"""Compiling a material together: once per node, and the same error on every rank."""

from types import SimpleNamespace

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.errors import CompilationError, ConvergenceError, InvalidInputError
from lse_material.fem.quadrature.evaluators import compile_together
from lse_material.kernel import CompiledPotential, compiler
from tests.fem.problems import clamped
from tests.materials import saint_venant_kirchhoff, two_variants

WORLD = MPI.COMM_WORLD


def shared(path):
    """The directory of rank 0, for all."""
    return WORLD.bcast(str(path))


@pytest.mark.mpi
def test_ranks_compile_once_between_them(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", shared(tmp_path))
    compiled, compile_library = [], compiler._compile
    monkeypatch.setattr(compiler, "_compile", lambda *given: (compiled.append(1), compile_library(*given)))
    assert isinstance(compile_together(two_variants().potential, WORLD), CompiledPotential)
    assert WORLD.allreduce(len(compiled)) == 1


@pytest.mark.mpi
@pytest.mark.parametrize("broken", ["first", "last", "every"])
def test_a_compilation_that_fails_on_any_rank_fails_on_every_rank_with_one_message(monkeypatch, broken):
    ranks = {"first": [0], "last": [WORLD.size - 1], "every": list(range(WORLD.size))}[broken]

    def fail(potential, *, warn):
        raise CompilationError(f"rank {WORLD.rank} has no paper")

    if WORLD.rank in ranks:
        monkeypatch.setattr("lse_material.fem.quadrature.evaluators.potential_evaluator", fail)
    with pytest.raises(CompilationError, match=f"rank {ranks[0]} has no paper"):
        compile_together(two_variants().potential, WORLD)
    WORLD.barrier()


class OfMaterial:
    """A material as an evaluator, with or without its energy."""

    def __init__(self, material, *, energy):
        self.material, self.energy = material, energy

    def evaluate(self, F):
        values = self.material.evaluate(F)
        if self.energy:
            return values
        return SimpleNamespace(stress=values.stress, tangent=values.tangent)


@pytest.mark.mpi
def test_an_energy_that_an_evaluator_returns_is_minimised():
    material = saint_venant_kirchhoff(2)
    V = fem.functionspace(mesh.create_unit_square(WORLD, 3, 3), ("Lagrange", 1, (2,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    F = ufl.Identity(2) + ufl.grad(u)
    bcs = [clamped(V, lambda x: np.array([0.1 * x[0] * x[1], -0.1 * x[1]]))]

    def problem(name, given):
        P = lse.fem.QuadratureStress(given, F, degree=1)
        residual = ufl.inner(P.operator, ufl.grad(v)) * P.dx
        options = {"residual": residual, "stresses": [P], "bcs": bcs, "petsc_options_prefix": f"evaluator_{name}_"}
        return lse.fem.EnergyProblem(P.energy * P.dx, u, **options)

    exact = lse.fem.EnergyProblem(
        lse.fem.energy(material, F) * ufl.dx(degree=1), u, bcs=bcs, petsc_options_prefix="evaluator_exact_"
    )
    exact.solve()
    solution, energy = u.x.array.copy(), exact.energy()
    u.x.array[:] = 0.0
    found = problem("stored", OfMaterial(material, energy=True))
    found.solve()
    np.testing.assert_allclose(u.x.array, solution, atol=1e-9)
    assert found.energy() == pytest.approx(energy, rel=1e-12)
    u.x.array[:] = 0.0
    with pytest.raises(ConvergenceError):
        problem("none", OfMaterial(material, energy=False)).solve()
    with pytest.raises(InvalidInputError, match=r"lse\.fem\.energy"):
        _ = lse.fem.QuadratureStress(material, F, degree=1).energy
