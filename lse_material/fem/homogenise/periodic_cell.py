"""Homogenised response of a periodic cell that may buckle: W, P and dP/dF of the average F, on stable branches.

    W(F) = 1/|V| min over periodic w of int W_local(F + grad w) dV,    P = dW/dF = average of P_local,
    dP/dF = 1/|V| (K_FF - K_Fw K_ww^-1 K_wF),

|V| the volume of the cell, voids included. Beyond a critical F the periodic equilibrium that started at F = I is a saddle, and
the cell leaves it along its lowest mode. The cell must contain as many unit cells as the pattern needs, because microscopic
buckling has a wavelength of its own. G. Geymonat, S. Mueller, N. Triantafyllidis, Arch. Ration. Mech. Anal. 122, 231 (1993); K.
Bertoldi et al., J. Mech. Phys. Solids 56, 2642 (2008), for the porous elastomer.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from dolfinx import mesh
from mpi4py import MPI
from petsc4py import PETSc
from scipy.optimize import brentq

from lse_material._arrays import Array, float_array, frozen, positive
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fem.homogenise.cell import CellSystem
from lse_material.fem.paths.fingerprint import Fingerprint, fingerprint
from lse_material.fem.paths.history import advance, memory_of
from lse_material.fem.quadrature.dissipation import Dissipation
from lse_material.fem.quadrature.stress import QuadratureStress
from lse_material.fem.solve.inertia import SymmetricFactor
from lse_material.fem.solve.newton_inertia import perturb

MAX_PERTURBATIONS = 4  # after one solve
MAX_HALVINGS = 8  # of a step of F
BUCKLED_ORDER = 1e-6  # share of the shortest lattice vector: a cell with a larger `order` counts as buckled
EQUAL_ENERGIES = 1e-9  # of the two sides of a saddle, in units of the energy of a perturbation
ZERO_EIGENVALUE = 1e-9  # share of the modulus: a deformation of a smaller eigenvalue costs no energy

Free = Mapping[tuple[int, int], float]
Memories = tuple[Array, ...]  # values of the functions of internal variables on this rank


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A state of a cell."""

    q: Array  # unknowns of this rank
    F: Array  # average deformation gradient
    mode: Array | None  # in which the cell buckled, as unknowns of this rank; None before
    free: dict[tuple[int, int], float]  # components of F that are unknown, and their stresses
    memory: Memories  # of internal variables
    memory_before: Memories  # that at the beginning of the step that led to the state


@dataclass(frozen=True, eq=False)
class CellState:
    """A homogenised state.

    Attributes:
        F: average deformation gradient, (dim, dim).
        energy: W per volume of the cell, what internal variables have dissipated left out.
        stress: average first Piola-Kirchhoff stress P, (dim, dim).
        tangent: dP/dF, (dim, dim, dim, dim); None if it was not asked for. With internal variables it is that of the step
            which led to the state.
        negative: negative eigenvalues of the cell's tangent; 0 for a minimum.
        perturbations: number of saddles left along their lowest mode since the state before.
        order: amplitude of the fluctuation along the mode in which the cell buckled last, a length; 0 before.
        iterations: of Newton's method, all steps together.
        size: length of the shortest lattice vector, the measure of `order`.
        dissipated: energy per volume of the cell that internal variables have dissipated since F = I.

    >>> cell = lse.fem.PeriodicCell(domain, lambda F: lse.fem.energy(material, F), degree=1, quadrature_degree=1)
    >>> state = cell.minimum(np.eye(2))  # a laminate of both wells
    >>> bool(state.energy < material.energy(np.eye(2))), state.buckled
    (True, True)
    """

    F: Array
    energy: float
    stress: Array
    tangent: Array | None
    negative: int
    perturbations: int
    order: float
    iterations: int
    size: float
    dissipated: float = 0.0

    @property
    def buckled(self) -> bool:
        """Whether the cell has left the branch of F = I along a mode: `order` is more than 1e-6 of `size`."""
        return abs(self.order) > BUCKLED_ORDER * self.size


class PeriodicCell:
    """A cell under an average deformation gradient, some components of which may be replaced by average stresses.

    Args:
        domain: mesh of one cell, a box, a hexagon or another shape that fills space with its translates, with or without
            voids, opposite sides meshed identically. Mirror-symmetric meshes keep bifurcations sharp; any other mesh is itself
            an imperfection.
        energy: W_local(F), a UFL scalar of a UFL deformation gradient: `lambda F: lse.fem.energy(material, F)`, say. Or a
            functional of it for several materials, `lambda F: energy(soft, F) * dx(1) + energy(hard, F) * dx(2)` with the
            cell tags in dx; integrals without a quadrature degree get UFL's estimate.
        degree: of the displacement.
        quadrature_degree: of the energy and its derivatives, if the energy is a scalar.
        perturbation_size: largest displacement of the perturbation that leaves a saddle; a hundredth of the shortest lattice
            vector if left out.
        tolerance: of the residual, as a share of the force on a side of the cell that a strain of 1e-2 makes. Rounding of
            the forces that cancel in the residual is allowed in addition.
        lattice: rows are the lattice vectors, (dim, dim); if left out they are found from the mesh: the edges of the bounding
            box that it fills, or what brings its flat sides onto each other. Fewer rows, along coordinate axes, are those of a
            cell that repeats in these directions only and has free sides: a strip or a plate. W, P and dP/dF are then per
            length or area of these directions (P of a strip is a force), and F, P and dP/dF have the columns J of these
            axes alone; the others of F are those of I, and those of P and dP/dF zero.
        stresses: F -> every `QuadratureStress` of the cell, stored at points, which is faster to assemble than the derivatives
            of the energy that it replaces: `lambda F: [QuadratureStress(material, F, degree=4)]`. The degree is that of the
            energy.
        fields: basix elements of further fields of a mixed energy, which is then a function of F and of these: a pressure,
            `fields=[element("DPC", "quadrilateral", 1)]` with `lambda F, p: two_field_energy(material, F, p, bulk=1e3)`. Plain
            Newton solves it, between states that are stable, and a perturbation that leaves a saddle is doubled until it
            does. Not together with `stresses`.
        internal: F (and `fields`) -> every `Dissipation` of the cell, whose cost is added to the energy: `lambda F:
            [Dissipation(material, F, 0.01, degree=4)]`. Their memory follows each state that `equilibrium` or `minimum` finds,
            and `reset` and `restore` put it back. P is then the stress, and no derivative of W.

    Attributes:
        u: the displacement (fem.Function).
        F: average deformation gradient at present, (dim, dim).
        volume: of the cell, voids included; the length or area of the lattice vectors if they are fewer.
        solid_volume: of the mesh.
        unknowns: number of independent unknowns.
        lattice: rows are the lattice vectors.
        axes: coordinate axes along which the cell repeats.
        internal: every `Dissipation`.

    Raises:
        InvalidInputError: opposite sides are meshed differently, the translates of the mesh do not meet, it falls into pieces,
            the energy has no stiffness at F = I, `stresses` are not its derivative, or it contains a `Dissipation` that is not
            of `internal`.

    >>> cell = lse.fem.PeriodicCell(domain, lambda F: lse.fem.energy(material, F), degree=1, quadrature_degree=1)
    >>> state = cell.equilibrium(np.diag([1.1, 0.9]) ** 0.5)  # everywhere in one well
    >>> bool(np.abs(cell.state().stress).max() < 1e-9)
    True
    """

    def __init__(
        self,
        domain: mesh.Mesh,
        energy: Callable[[Any], Any],
        *,
        degree: int = 2,
        quadrature_degree: int = 4,
        perturbation_size: float | None = None,
        tolerance: float = 1e-10,
        lattice: Any = None,
        stresses: Callable[[Any], Sequence[QuadratureStress]] | None = None,
        fields: Sequence[Any] = (),
        internal: Callable[..., Sequence[Dissipation]] | None = None,
    ) -> None:
        size = 1.0 if perturbation_size is None else perturbation_size
        tolerance, size = positive("tolerance", tolerance), positive("perturbation_size", size)
        if not isinstance(fields, (list, tuple)) or (fields and stresses is not None):
            raise InvalidInputError(
                "give either `fields` of a mixed energy, a list of elements, or `stresses`: these have no mixed form here."
            )
        self._system = CellSystem(
            domain, energy, degree, quadrature_degree, lattice, tolerance, stresses, fields, internal
        )
        self.internal = self._system.internal
        self.comm, self.dim, self.u, self.q = domain.comm, self._system.dim, self._system.u, self._system.q
        self.volume, self.solid_volume = self._system.volume, self._system.solid_volume
        self.unknowns, self.lattice, self.axes = self._system.map.size, self._system.map.lattice, self._system.map.axes
        self.size = float(self._system.map.lengths.min())
        self.perturbation_size = 0.01 * self.size if perturbation_size is None else perturbation_size
        self.tolerance = tolerance
        self._mode: Array | None = None
        self.F = np.eye(self.dim)
        self._memory_before = self._memory()

    def fingerprint(self) -> Fingerprint:
        """The fingerprint of this cell, for any number of ranks; see `lse_material.fem.paths.fingerprint`."""
        options = {
            "perturbation_size": [self.perturbation_size],
            "tolerance": [self.tolerance],
            "lattice": self.lattice,
        }
        memory = memory_of(self.internal).values()
        forms = {"energy": self._system.functional}
        return fingerprint(forms, unknown=self._system.state, without=memory, numbers=options)

    # ---- states ----------------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Return to F = I without fluctuation."""
        self.q.set(0.0)
        self.F, self._mode, self._system.free = np.eye(self.dim), None, {}
        self._system.push()
        for one in self.internal:
            one.reset()
        self._memory_before = self._memory()

    def snapshot(self) -> Snapshot:
        """The present state, for `restore` on as many ranks."""
        q, free = self.q.array_r.copy(), dict(self._system.free)
        return Snapshot(q, self.F.copy(), self._mode, free, self._memory(), self._memory_before)

    def restore(self, snapshot: Snapshot) -> None:
        """Return to an earlier state."""
        self.q.array[:] = snapshot.q
        self.F, self._mode, self._system.free = snapshot.F.copy(), snapshot.mode, dict(snapshot.free)
        self._remember(snapshot.memory)
        self._memory_before = snapshot.memory_before

    def equilibrium(self, F: Any, free: Free | None = None) -> int:
        """An equilibrium at F by plain Newton, which stays on its branch, saddle or not; returns the iterations. Collective.

        Args:
            F: average deformation gradient, (dim, dim); the values of free components do not count.
            free: (i, J) -> average P_iJ, for components of F that are unknown; prescribe enough to exclude rotations.

        Raises:
            ConvergenceError: it did not converge in small steps either; the state is as before.
        """
        iterations = self._go(F, free, descend=False)
        self._memory_before = self._memory()
        self._accept()
        return iterations

    def minimum(self, F: Any, free: Free | None = None, *, tangent: bool = True) -> CellState:
        """A stable equilibrium at F, found from the present state; it leaves saddles along their lowest mode. Collective.

        Arguments and errors are those of `equilibrium`. Without `tangent` the state has no homogenised tangent, and costs less.
        """
        before = self.snapshot()
        self._memory_before = before.memory
        try:
            iterations = self._go(F, free, descend=True)
            for perturbations in range(MAX_PERTURBATIONS + 1):
                if self.negative_eigenvalues() == 0:
                    self._accept()
                    return self.state(tangent=tangent, perturbations=perturbations, iterations=iterations)
                if perturbations < MAX_PERTURBATIONS:
                    self._perturb(self.perturbation_size * (2.0**perturbations if self._system.multipliers else 1.0))
                    iterations += self._solve(descend=True)
            raise ConvergenceError(self._why_no_minimum(), iterations=iterations)
        except BaseException:
            self.restore(before)
            raise

    def state(self, *, tangent: bool = True, perturbations: int = 0, iterations: int = 0) -> CellState:
        """The present state, homogenised; collective."""
        W = self._system.energy() / self.volume
        P = self._system.average_stress()
        paid = sum(one.dissipated() for one in self.internal) / self.volume
        with self._as_before():
            negative = self.negative_eigenvalues()
            A = frozen(self._system.homogenised_tangent()) if tangent else None
        return CellState(
            frozen(self.F.copy()), W, frozen(P), A, negative, perturbations, self._order(), iterations, self.size, paid
        )  # fmt: skip

    # ---- internal variables ----------------------------------------------------------------------------------------------

    def _memory(self) -> Memories:
        return tuple(f.x.array.copy() for f in memory_of(self.internal).values())

    def _remember(self, memory: Memories) -> None:
        for f, values in zip(memory_of(self.internal).values(), memory):
            f.x.array[:] = values

    @contextmanager
    def _as_before(self) -> Iterator[None]:
        """Meanwhile the memory is that of the beginning of the last step: at its end the tangent differs to both sides."""
        now = self._memory()
        self._remember(self._memory_before)
        try:
            yield
        finally:
            self._remember(now)

    def _accept(self) -> None:
        """Let internal variables follow the present state."""
        self._system.push()
        advance(self.internal)

    # ---- stability -------------------------------------------------------------------------------------------------------

    def negative_eigenvalues(self) -> int:
        """Of the tangent at the present state, with the free components of F among the unknowns; collective.

        Eigenvalues that vanish count as negative.
        """
        with self._as_before(), SymmetricFactor(self.comm) as factor:
            negative, zero, _ = factor.inertia(self._system.tangent())
        return negative + zero - self._system.multipliers

    def lowest_mode(self) -> tuple[float, PETSc.Vec]:
        """The lowest eigenvalue of the tangent, a modulus, and its mode, as unknowns q; collective.

        The mode's largest displacement is 1.
        """
        with self._as_before():
            return self._system.lowest_mode()

    def critical(
        self,
        path: Callable[[float], Any],
        low: float,
        high: float,
        free: Free | None = None,
        *,
        tolerance: float = 1e-8,
    ) -> float:
        """The load between `low` and `high` at which the equilibrium that starts at F = I becomes unstable; collective.

        The state is then at that load, on the branch of F = I.

        Args:
            path: load -> F.
            low: a load at which it is stable.
            high: one at which it is not.
            free: as in `equilibrium`.
            tolerance: of the load, as a share of |high - low|.

        Raises:
            InvalidInputError: it is unstable at `low`, or stable at `high`.
        """
        if not positive("tolerance", tolerance) < 1.0:
            raise InvalidInputError(f"tolerance is {tolerance!r}; it is a share of |high - low|, between 0 and 1.")

        @functools.cache
        def eigenvalue(load: float) -> float:
            self.restore(stable)  # a solve that starts near the critical point may leave the branch
            self._go(path(load), free, descend=False)
            return self.lowest_mode()[0]

        self.reset()
        self._go(path(low), free, descend=False)
        stable = self.snapshot()
        ends = eigenvalue(low), eigenvalue(high)
        if not ends[0] > 0.0 > ends[1]:
            raise InvalidInputError(
                f"the lowest eigenvalue is {ends[0]:.3g} at the load {low:g} and {ends[1]:.3g} at {high:g}: it must be "
                "positive at the first and negative at the second."
            )
        load = float(brentq(eigenvalue, low, high, xtol=tolerance * abs(high - low)))
        self.restore(stable)
        self._go(path(load), free, descend=False)
        self._accept()
        return load

    # ---- solving ---------------------------------------------------------------------------------------------------------

    def _go(self, F: Any, free: Free | None, *, descend: bool) -> int:
        """Go to F, in smaller steps where a step fails."""
        target = float_array("F", F, 2).copy()
        if target.shape != (self.dim, self.dim):
            raise InvalidInputError(f"F has shape {target.shape}; the cell is {self.dim}D.")
        others = np.setdiff1d(np.arange(self.dim), self.axes)
        target[:, others] = np.eye(self.dim)[:, others]
        free = self._stresses(free)
        for place in free:
            if place[1] in others:
                raise InvalidInputError(
                    f"free has the component {place} of F, and the cell does not repeat along axis {place[1]}: its sides "
                    "there are free of stress anyhow. Leave it out."
                )
        if not free and len(self.axes) == self.dim and not np.linalg.det(target) > 0.0:
            raise InvalidInputError(
                f"the average F has det F = {np.linalg.det(target):.3g}: it turns the cell inside out. Give one with det F > 0."
            )
        if len(free) == self.dim * len(self.axes):
            raise InvalidInputError("every component of F is free: the cell could rotate. Prescribe some.")
        PETSc.garbage_cleanup(self.comm)  # what Python has dropped on several ranks
        before, self._system.free = self.snapshot(), free
        start, done, step, iterations = self.F.copy(), 0.0, 1.0, 0
        while done < 1.0:
            here = self.snapshot()
            share = min(done + step, 1.0)
            try:
                iterations += self._step(start + share * (target - start), here, descend=descend)
            except ConvergenceError:
                self.restore(here)
                step *= 0.5
                if step < 0.5**MAX_HALVINGS:
                    self.restore(before)
                    raise
                continue
            done, step = share, 1.5 * step
        return iterations

    def _stresses(self, free: Any) -> dict[tuple[int, int], float]:
        """The stresses of free components of F, checked."""
        free = {} if free is None else free
        if not isinstance(free, Mapping) or not set(free) <= set(np.ndindex(self.dim, self.dim)):
            raise InvalidInputError(f"free is {free}; it maps pairs of indices < {self.dim} to finite stresses.")
        stresses = float_array("the stresses of `free`", list(free.values()), 1)
        return {(int(i), int(J)): float(stress) for (i, J), stress in zip(free, stresses)}

    def _step(self, F: Array, here: Snapshot, *, descend: bool) -> int:
        """Go to F by plain Newton, which stays on its branch; if that fails and `descend`, by a descent of the energy."""
        self._system.change_average(F - self.F)
        try:
            return self._solve(descend=False)
        except ConvergenceError:
            if not descend:
                raise
        self.restore(here)
        self._system.change_average(F - self.F)
        return self._solve(descend=True)

    def _solve(self, *, descend: bool) -> int:
        iterations = self._system.solve(descend=descend)
        self.F = self._system.average()
        if len(self.axes) == self.dim and not np.linalg.det(self.F) > 0.0:
            raise ConvergenceError(
                f"the average F of the state has det F = {np.linalg.det(self.F):.3g}: the cell has gone through itself. Take "
                "smaller steps, or prescribe more components of F."
            )
        return iterations

    def _perturb(self, size: float) -> None:
        """Move along the lowest mode to the side of lower energy."""
        _, mode = self.lowest_mode()
        equal = EQUAL_ENERGIES * self._system.energy_scale * (size / self.size) ** 2
        if not perturb(self._system, mode, size, equal):
            raise ConvergenceError(f"a perturbation of {size:g} inverts elements; lower perturbation_size.")
        self._mode = mode.array_r.copy()

    def _why_no_minimum(self) -> str:
        """Why the state is still a saddle."""
        share = self.lowest_mode()[0] / self._system.modulus
        if abs(share) <= ZERO_EIGENVALUE:
            return (
                f"a deformation of the cell costs no energy (lowest eigenvalue {share:.1e} of the modulus): a part on "
                "hinges, a material without stiffness there (slack), or a critical point to the last digit."
            )
        return (
            f"still a saddle after {MAX_PERTURBATIONS} perturbations of {self.perturbation_size:g} along the lowest mode "
            f"(lowest eigenvalue {share:.1e} of the modulus): take another perturbation_size."
        )

    def _order(self) -> float:
        """The fluctuation along the mode of the last perturbation."""
        if self._mode is None:
            return 0.0
        w, mode, image = (self.q.duplicate() for _ in range(3))
        self.q.copy(w)
        self._system.map.set_average(w, np.zeros((self.dim, self.dim)))
        mode.array[:] = self._mode
        self._system.inner_product.mult(mode, image)
        return float(w.dot(image) / mode.dot(image))


def cell_on(comm: MPI.Comm, make_cell: Callable[[MPI.Comm], Any]) -> PeriodicCell:
    """The cell that a function of the user makes on a communicator.

    Raises InvalidInputError: it makes something else, or on other ranks.
    """
    cell = make_cell(comm)
    if not isinstance(cell, PeriodicCell) or cell.comm.size != comm.size:
        found = f"a PeriodicCell on {cell.comm.size} ranks" if isinstance(cell, PeriodicCell) else cell
        raise InvalidInputError(
            f"make_cell returned {found!s:.100}: it must return a PeriodicCell on the communicator that it is given."
        )
    return cell
