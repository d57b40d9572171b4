"""What one rank does for all."""

import pytest
from mpi4py import MPI

from lse_material.fem import on_rank_0

WORLD = MPI.COMM_WORLD


@pytest.mark.mpi
def test_the_result_and_the_error_of_rank_0_are_everybodys():
    calls = []
    assert on_rank_0(WORLD, lambda: calls.append(1) or 42) == 42
    assert len(calls) == (WORLD.rank == 0)
    with pytest.raises(ZeroDivisionError):
        on_rank_0(WORLD, lambda: 1 // 0)
    WORLD.barrier()
