"""A periodic cell at every quadrature point of a body (FE2): its average stress, its tangent, and the state of each cell.

The cell of a point is brought from its accepted state to the F of the point. P is the average stress of that stable state,
dP/dF the Schur complement of its tangent, and W its energy per volume of the cell:

    P(F) = average of P_local,    dP/dF = 1/|V| (K_FF - K_Fw K_ww^-1 K_wF)

A trial therefore depends on its F and on the accepted state alone. If the cell dissipates, W is what it stores and what the
step to F costs. Each rank solves the cells of its own points. F. Feyel, J.-L. Chaboche, Comput. Methods Appl. Mech. Eng. 183,
309 (2000); C. Miehe, J. Schotte, J. Schroeder, Comput. Mater. Sci. 16, 372 (1999), for the tangent.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dolfinx import fem
from dolfinx.mesh import EntityMap, Mesh, MeshTags
from mpi4py import MPI
from petsc4py import PETSc

from lse_material._arrays import Array
from lse_material.errors import ConvergenceError, InvalidInputError, LseError
from lse_material.fem._cells import mesh_of
from lse_material.fem._mpi import integral, on_every_rank
from lse_material.fem.homogenise.periodic_cell import PeriodicCell, Snapshot, cell_on
from lse_material.fem.paths.checkpoint import cell_numbers
from lse_material.fem.paths.fingerprint import Fingerprint
from lse_material.fem.quadrature.dissipation import Memory
from lse_material.fem.quadrature.stress import QuadratureStress


@dataclass(frozen=True, eq=False)
class CellValues:
    """Energy (n,), stress (n, dim, dim) and tangent (n, dim, dim, dim, dim) of n cells."""

    energy: Array
    stress: Array
    tangent: Array


class CellStress(QuadratureStress):
    """The stress of a periodic cell that is solved at each quadrature point: a `QuadratureStress` with a cell for a material.

        P = CellStress(make_cell, F, degree=1)
        inner(P.operator, grad(v)) * P.dx

    A body of such points has the energy `P.energy * P.dx`, so that an `EnergyProblem` minimises it, with the form above as its
    `residual`. `MaterialProblem` needs the form alone.

    Cells that buckle remember their branch. A trial starts from the state that was accepted last; `advance` accepts the present
    one. `LoadPath(..., internal=[P])` calls it after each state, and its checkpoints contain the states of all cells. In
    a loop of your own, call it after each solve; without it every solve starts from undeformed cells.

    A cell that is not solved at a trial F makes the trial fail: the line search, trust region or load path takes a smaller
    step. If the solve fails for it, the error names rank, cell, point and F.

    Attributes:
        cell: the cell of this rank, in the state of the point that was solved last.
        order: amplitude of each point's accepted cell along the mode in which it buckled, a length, 0 before; a Function of
            the quadrature space.
        cell_states: how many states of cells this rank has solved.
        paid: energy per volume that each point's cell has dissipated; a Function of the quadrature space.
        functions: states of all cells, by names, for a checkpoint.

    Args:
        make_cell: makes a cell on a communicator, as for `sample`; each rank calls it with MPI.COMM_SELF.
        F, degree, tags, tag, domain, entity_maps: as for `QuadratureStress`.

    Raises:
        InvalidInputError: `make_cell` returns no `PeriodicCell` of this rank alone, or one of another dimension than F; and
            what `QuadratureStress` raises. What `make_cell` raises on any rank is raised on all.

    >>> def make_cell(comm):
    ...     square = mesh.create_unit_square(comm, 2, 2)
    ...     return lse.fem.PeriodicCell(square, lambda F: lse.fem.energy(material, F), degree=1, quadrature_degree=1)
    >>> P = lse.fem.CellStress(make_cell, F, degree=1)
    >>> residual = ufl.inner(P.operator, ufl.grad(v)) * P.dx
    >>> nested = lse.fem.MaterialProblem(residual, u, stresses=[P], bcs=bcs, petsc_options_prefix="nested_")
    >>> pull.value[:] = 0.05, 0.0
    >>> _ = nested.solve()
    >>> P.advance()
    >>> round(float(u.x.array.max()), 6)
    0.05
    """

    def __init__(
        self,
        make_cell: Callable[[MPI.Comm], PeriodicCell],
        F: Any,
        *,
        degree: int,
        tags: MeshTags | None = None,
        tag: int | Sequence[int] | None = None,
        domain: Mesh | None = None,
        entity_maps: Sequence[EntityMap] | None = None,
    ) -> None:
        body = mesh_of(F, domain)
        self.cell: PeriodicCell = on_every_rank(body.comm, lambda: cell_on(MPI.COMM_SELF, make_cell))
        if F.ufl_shape != (self.cell.dim,) * 2:
            raise InvalidInputError(
                f"F has UFL shape {F.ufl_shape} and the cell is {self.cell.dim}D: both must have the same dimension."
            )
        self._nested = _Points(self.cell, body.comm.rank)
        self._energy_type = Memory if self.cell.internal else fem.Function
        super().__init__(self._nested, F, degree=degree, tags=tags, tag=tag, domain=domain, entity_maps=entity_maps)
        self._states = fem.Function(self._space((len(self._nested.start),)), name="cell_states")
        self.order, self.paid = (fem.Function(self._space(()), name=name) for name in ("order", "dissipated"))
        self._dissipated = fem.form(self.paid * self.dx)
        self.reset()
        rows, numbers = self.order.function_space.dofmap.list[self._cells], cell_numbers(self._mesh)[self._cells]
        memory = self._states.x.array.reshape(-1, len(self._nested.start))
        self._nested.remember(memory, self.order.x.array, self.paid.x.array, rows, numbers)

    @property
    def cell_states(self) -> int:
        """How many states of cells this rank has solved."""
        return self._nested.solved

    @property
    def functions(self) -> Mapping[str, fem.Function]:
        """The memory, by names: what a checkpoint must store."""
        return {"cell states": self._states, "order": self.order, "paid": self.paid, "energy": self.energy}

    def fingerprint(self) -> Fingerprint:
        """The fingerprint of the cell, by which a checkpoint of another cell is refused."""
        return self.cell.fingerprint()

    def reset(self) -> None:
        """Return all cells to the undeformed state, for another path."""
        self._states.x.array.reshape(-1, len(self._nested.start))[:] = self._nested.start
        self.order.x.array[:] = self.paid.x.array[:] = 0.0
        self._state.forget()

    def dissipated(self) -> float:
        """The energy that all cells have dissipated so far, the same on every rank; collective."""
        return integral(self._mesh.comm, self._dissipated)

    def advance(self) -> None:
        """Accept the states of the cells at the present F: later trials start from them. Collective.

        Raises:
            ConvergenceError: a cell has no state at the present F, on any rank; nothing is accepted then.
        """
        try:
            on_every_rank(self._mesh.comm, self.update_stress)
        except ConvergenceError as error:
            raise ConvergenceError(f"the present state cannot be accepted: {error}") from error
        self._nested.accept()
        self._store_energy()
        for function in self.functions.values():
            function.x.scatter_forward()


class _Points:
    """The cells of all points of a rank, which take turns in one `PeriodicCell`: an `Evaluator`.

    Attributes:
        start: the state of an undeformed cell in one row: unknowns q, mode in which it buckled (0 before), average F, memory.
        solved: how many states were solved.
    """

    def __init__(self, cell: PeriodicCell, rank: int) -> None:
        self._cell, self._rank = cell, rank
        cell.reset()
        self.start = self._row()
        self.solved = 0
        self._memory = self._trial = np.empty((0, len(self.start)))
        self._order = self._trial_order = self._paid = self._trial_paid = np.empty(0)
        self._found: CellValues | None = None
        self._rows: Array = np.empty(0, dtype=np.int32)
        self._numbers: Array = np.empty(0, dtype=np.int64)
        self._each = 1

    def remember(self, memory: Array, order: Array, paid: Array, rows: Array, numbers: Array) -> None:
        """Take the arrays in which the accepted states lie: a state a row, the order of each, and the energy dissipated.

        `rows` (cells, points of each) are those of the points that are evaluated, in the cells of these numbers.
        """
        self._memory, self._order, self._paid, self._rows = memory, order, paid, rows.ravel()
        self._numbers, self._each = numbers, rows.shape[1]

    def evaluate(self, F: Array) -> CellValues:
        """The stable states at F (n, dim, dim), each from the accepted one of its point.

        Raises ConvergenceError: a cell has no state at its F.
        """
        n, dim = len(F), self._cell.dim
        found = CellValues(np.empty(n), np.empty((n, dim, dim)), np.empty((n, dim, dim, dim, dim)))
        self._trial, self._trial_order, self._trial_paid = np.empty((n, len(self.start))), np.empty(n), np.empty(n)
        inverted = np.flatnonzero(~(np.linalg.det(F) > 0.0))
        if len(inverted):  # before any cell is solved
            raise self._failed(inverted[0], F, "det F must be > 0")
        for i in range(n):
            self._enter(self._memory[self._rows[i]])
            try:
                state = self._cell.minimum(F[i])
            except (LseError, PETSc.Error) as error:
                raise self._failed(i, F, error) from error
            self.solved += 1
            found.energy[i] = state.energy + state.dissipated - self._paid[self._rows[i]]
            found.stress[i], found.tangent[i] = state.stress, state.tangent
            self._trial[i], self._trial_order[i], self._trial_paid[i] = self._row(), state.order, state.dissipated
        self._found = found
        return found

    def accept(self) -> None:
        """Keep the states of the last evaluation; its energies are from now on what these store."""
        assert self._found is not None
        self._found.energy[:] -= self._trial_paid - self._paid[self._rows]
        self._memory[self._rows], self._order[self._rows] = self._trial, self._trial_order
        self._paid[self._rows] = self._trial_paid

    def _failed(self, i: int, F: Array, why: object) -> ConvergenceError:
        where = f"point {i % self._each} of cell {self._numbers[i // self._each]} on rank {self._rank}"
        return ConvergenceError(f"the periodic cell at {where} has no state at F = {F[i].tolist()}: {why}")

    def _row(self) -> Array:
        """The present state of the cell in one row."""
        s = self._cell.snapshot()
        return np.concatenate([s.q, np.zeros(len(s.q)) if s.mode is None else s.mode, s.F.ravel(), *s.memory])

    def _enter(self, row: Array) -> None:
        """Put the cell into a state."""
        shape = self._cell.snapshot()
        sizes = [len(shape.q), len(shape.q), shape.F.size, *map(len, shape.memory)]
        q, mode, F, *memory = np.split(row, np.cumsum(sizes[:-1]))
        kept = tuple(memory)
        F = F.reshape(shape.F.shape)
        self._cell.restore(Snapshot(q, F, mode.copy() if mode.any() else None, {}, kept, kept))
