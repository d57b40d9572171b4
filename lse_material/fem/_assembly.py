"""Forms assembled for every rank: functionals, and vectors with what other ranks add to the entries of this one."""

from __future__ import annotations

from typing import Any

from dolfinx import fem
from dolfinx.la import InsertMode
from mpi4py import MPI

from lse_material._arrays import Array


def integral(comm: Any, form: fem.Form) -> float:
    """The value of a functional, the same on every rank; collective."""
    return float(comm.allreduce(fem.assemble_scalar(form), MPI.SUM))


def assembled(form: fem.Form) -> Array:
    """The vector of a linear form; entries of ghosts are this rank's part alone. Collective."""
    b = fem.assemble_vector(form)
    b.scatter_reverse(InsertMode.add)
    return b.array
