"""Compiling a material together: once per node, and the same error on every rank."""

import pytest
from mpi4py import MPI

from lse_material.errors import CompilationError
from lse_material.fem.quadrature.evaluators import compile_together
from lse_material.kernel import CompiledPotential, compiler
from tests.materials import two_variants

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
