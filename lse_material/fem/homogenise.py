"""Homogenised response of a periodic cell that may buckle: W, P and dP/dF of the average F, on stable branches.

    W(F) = 1/|V| min over periodic w of int W_local(F + grad w) dV,    P = dW/dF = average of P_local,
    dP/dF = 1/|V| (K_FF - K_Fw K_ww^-1 K_wF),

|V| the volume of the box, holes included. Beyond a critical F the periodic equilibrium that started at F = I is a saddle; it is
left along its lowest mode. The cell must hold as many unit cells as the pattern needs: microscopic buckling has a wavelength of
its own. G. Geymonat, S. Mueller, N. Triantafyllidis, Arch. Ration. Mech. Anal. 122, 231 (1993); K. Bertoldi et al., J. Mech.
Phys. Solids 56, 2642 (2008), for the porous elastomer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dolfinx.fem.petsc
import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from petsc4py import PETSc
from scipy.optimize import brentq
from slepc4py import SLEPc

from lse_material.checks import Array, float_array, frozen
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fem.inertia import SymmetricFactor
from lse_material.fem.periodic import PeriodicMap

ITERATIONS = 60
ARMIJO = 1e-4
SHORTEST = 1e-6
RAISED = (
    1e-3,
    1e-2,
    1e-1,
    1.0,
    10.0,
)  # multiples of the stiffness in the inner product by which a saddle's tangent is raised
KICKS = 4  # after one solve
HALVINGS = 8

Free = Mapping[tuple[int, int], float]
Snapshot = tuple[PETSc.Vec, Array, PETSc.Vec | None]


@dataclass(frozen=True, eq=False)
class CellState:
    """A homogenised state.

    Attributes:
        F: average deformation gradient, (dim, dim).
        energy: W per volume of the box.
        stress: average first Piola-Kirchhoff stress P, (dim, dim).
        tangent: dP/dF, (dim, dim, dim, dim); None if it was not asked for.
        negative: negative eigenvalues of the cell's tangent; 0 for a minimum.
        kicks: how often a saddle was left on the way from the state before.
        order: amplitude of the fluctuation along the mode in which the cell buckled last, a length; 0 before.
        iterations: of Newton's method, all steps and kicks together.
    """

    F: Array
    energy: float
    stress: Array
    tangent: Array | None
    negative: int
    kicks: int
    order: float
    iterations: int

    @property
    def buckled(self) -> bool:
        """Whether the cell is on a branch that it was kicked to."""
        return abs(self.order) > 1e-6


class PeriodicCell:
    """A cell under an average deformation gradient, or average stresses in place of some of its components.

    Args:
        domain: mesh of a box, with or without holes, opposite sides meshed alike. Mirror-symmetric meshes keep bifurcations
            sharp; any other is itself an imperfection.
        energy: W_local(F), a UFL scalar of a UFL deformation gradient: `lambda F: lse.fem.energy(material, F)`, say.
        degree: of the displacement.
        quadrature_degree: of the energy.
        kick_size: largest displacement with which a saddle is left; a hundredth of the smallest side if left out.
        tolerance: of the residual, as a share of the forces that a strain of 1e-2 makes.

    Attributes:
        u: the displacement (fem.Function).
        F: average deformation gradient at present, (dim, dim).
        volume: of the box.
        solid_volume: of the mesh.
        unknowns: independent ones.

    Raises:
        InvalidInputError: opposite sides are meshed differently.
    """

    def __init__(
        self,
        domain: mesh.Mesh,
        energy: Callable[[Any], Any],
        *,
        degree: int = 2,
        quadrature_degree: int = 4,
        kick_size: float | None = None,
        tolerance: float = 1e-10,
    ) -> None:
        dim = self.dim = domain.geometry.dim
        V = fem.functionspace(domain, ("Lagrange", degree, (dim,)))
        self.comm = domain.comm
        self.map = PeriodicMap(V)
        self.volume, self.unknowns = self.map.volume, self.map.size
        self.kick_size = 0.01 * float(self.map.lengths.min()) if kick_size is None else kick_size
        self.u = fem.Function(V, name="displacement")
        dx = ufl.dx(degree=quadrature_degree)
        W = energy(ufl.Identity(dim) + ufl.grad(self.u)) * dx
        v, du = ufl.TestFunction(V), ufl.TrialFunction(V)
        self._form_signature = W.signature()
        self._energy, self._residual = fem.form(W), fem.form(ufl.derivative(W, self.u, v))
        self._tangent = fem.form(ufl.derivative(ufl.derivative(W, self.u, v), self.u, du))
        self.solid_volume = self.comm.allreduce(fem.assemble_scalar(fem.form(fem.Constant(domain, 1.0) * dx)))
        self._A = dolfinx.fem.petsc.create_matrix(self._tangent)
        self._b = dolfinx.fem.petsc.create_vector(V)
        self._Kq: PETSc.Mat | None = None
        M = dolfinx.fem.petsc.assemble_matrix(
            fem.form((ufl.inner(ufl.grad(v), ufl.grad(du)) + ufl.inner(v, du) / self.map.lengths.max() ** 2) * ufl.dx)
        )
        M.assemble()
        self._M = M.ptap(self.map.T)
        self.q = self.map.T.createVecRight()
        self._free: dict[tuple[int, int], float] = {}
        self._mode: PETSc.Vec | None = None
        self.F = np.eye(dim)
        K = self._stiffness()
        self._stiffness_scale = max(abs(K[i].dot(self._unit(i))) for i in range(dim * dim)) / self.volume
        self._allowed = tolerance * 1e-2 * self._stiffness_scale * self.volume

    def signature(self) -> str:
        """Of mesh and energy, the same for any number of ranks; numbers in the energy count if they are plain numbers."""
        return f"{self._form_signature[:32]} {self.unknowns} {self.volume:.9e} {self.solid_volume:.9e} {self.kick_size:.3e}"

    # ---- states ----------------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Back to F = I without fluctuation."""
        self.q.set(0.0)
        self.F, self._mode, self._free = np.eye(self.dim), None, {}

    def snapshot(self) -> Snapshot:
        """What `restore` takes."""
        return self.q.copy(), self.F.copy(), self._mode

    def restore(self, snapshot: Snapshot) -> None:
        """Back to an earlier state."""
        snapshot[0].copy(self.q)
        self.F, self._mode = snapshot[1].copy(), snapshot[2]

    def equilibrium(self, F: Any, free: Free | None = None) -> int:
        """An equilibrium at F by plain Newton, which stays on its branch, saddle or not; returns the iterations. Collective.

        Args:
            F: average deformation gradient, (dim, dim); where a component is free, its value is not looked at.
            free: (i, J) -> average P_iJ, for components of F that are unknown; hold enough to exclude rotations.

        Raises:
            ConvergenceError: it did not converge in small steps either; the state is as before.
        """
        return self._go(F, free, descend=False)

    def minimum(self, F: Any, free: Free | None = None, *, tangent: bool = True) -> CellState:
        """A stable equilibrium at F, found from the present state: saddles are left along their lowest mode. Collective.

        Arguments and errors are those of `equilibrium`.
        """
        before = self.snapshot()
        iterations = self._go(F, free, descend=True)
        for kicks in range(KICKS + 1):
            if self.negative_eigenvalues() == 0:
                return self.state(tangent=tangent, kicks=kicks, iterations=iterations)
            if kicks < KICKS:
                self._kick()
                iterations += self._newton(descend=True)
        self.restore(before)
        raise ConvergenceError(f"still a saddle after {KICKS} kicks of {self.kick_size:g}: take another kick_size.")

    def state(self, *, tangent: bool = True, kicks: int = 0, iterations: int = 0) -> CellState:
        """The present state, homogenised; collective."""
        negative = self.negative_eigenvalues()
        W = self._potential(loads=False) / self.volume
        P = self.map.gather_average(self._gradient()) / self.volume
        return CellState(
            frozen(self.F.copy()), W, frozen(P), frozen(self._homogenised_tangent()) if tangent else None,
            negative, kicks, self._order(), iterations,
        )  # fmt: skip

    # ---- stability -------------------------------------------------------------------------------------------------------

    def negative_eigenvalues(self) -> int:
        """Of the tangent at the present state, with the free components of F among the unknowns; collective."""
        with SymmetricFactor(self.comm) as factor:
            negative, zero, _ = factor.inertia(self._held(self._assemble()))
        return negative + zero

    def lowest_mode(self) -> tuple[float, PETSc.Vec]:
        """The eigenvalue of the tangent nearest to instability and its mode, as unknowns q; collective."""
        K = self._held(self._assemble())
        with SymmetricFactor(self.comm) as factor:
            wanted = factor.inertia(K)[0] + 1
        M = self._held(self._M.copy(), diagonal=0.0)
        M.setOption(PETSc.Mat.Option.SYMMETRIC, True)  # type: ignore[arg-type]
        eps = SLEPc.EPS().create(self.comm)
        try:
            eps.setOperators(K, M)
            eps.setProblemType(SLEPc.EPS.ProblemType.GHEP)
            eps.setDimensions(wanted)
            eps.setTarget(0.0)
            eps.setWhichEigenpairs(SLEPc.EPS.Which.TARGET_MAGNITUDE)
            eps.setTolerances(1e-10, 500)
            transform = eps.getST()
            transform.setType("sinvert")
            transform.getKSP().setType("preonly")
            transform.getKSP().getPC().setType("cholesky")
            transform.getKSP().getPC().setFactorSolverType("mumps")
            eps.solve()
            if eps.getConverged() < 1:
                raise ConvergenceError("SLEPc found no mode of the cell's tangent.")
            values = [eps.getEigenvalue(i).real for i in range(eps.getConverged())]
            x = K.createVecRight()
            eps.getEigenvector(int(np.argmin(values)), x)
        finally:
            eps.destroy()
        return float(min(values)), self._scaled(x)

    def critical(
        self,
        path: Callable[[float], Any],
        low: float,
        high: float,
        free: Free | None = None,
        *,
        tolerance: float = 1e-8,
    ) -> float:
        """The load between `low` and `high` at which the equilibrium that starts at F = I ceases to be stable; collective.

        The state is then at that load (to `tolerance`).

        Args:
            path: load -> F.
            low: a load at which it is stable.
            high: one at which it is not.
            free: as in `equilibrium`.
            tolerance: of the load.

        Raises:
            InvalidInputError: it is unstable at `low`, or stable at `high`.
        """

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
        return float(brentq(eigenvalue, low, high, xtol=tolerance))

    # ---- solving ---------------------------------------------------------------------------------------------------------

    def _go(self, F: Any, free: Free | None, *, descend: bool) -> int:
        """To F, in smaller steps if need be."""
        target = float_array("F", F, 2)
        if target.shape != (self.dim, self.dim):
            raise InvalidInputError(f"F has shape {target.shape}; the cell is {self.dim}D.")
        free = {} if free is None else dict(free)
        for place, stress in free.items():
            if len(place) != 2 or not all(0 <= i < self.dim for i in place) or not np.isfinite(stress):
                raise InvalidInputError(
                    f"free is {free}; it maps pairs of indices below {self.dim} to finite stresses."
                )
        if len(free) == self.dim**2:
            raise InvalidInputError("every component of F is free: the cell could turn. Hold some.")
        before, self._free = self.snapshot(), free
        start, done, step, iterations = self.F.copy(), 0.0, 1.0, 0
        while done < 1.0:
            here = self.snapshot()
            share = min(done + step, 1.0)
            try:
                iterations += self._step(start + share * (target - start), here, descend=descend)
            except ConvergenceError:
                self.restore(here)
                step *= 0.5
                if step < 0.5**HALVINGS:
                    self.restore(before)
                    raise
                continue
            done, step = share, 1.5 * step
        return iterations

    def _step(self, F: Array, here: Snapshot, *, descend: bool) -> int:
        """To F by plain Newton, which stays on its branch; where that fails, down the energy if it is to descend."""
        self._enter(F)
        try:
            return self._newton(descend=False)
        except ConvergenceError:
            if not descend:
                raise
        self.restore(here)
        self._enter(F)
        return self._newton(descend=True)

    def _enter(self, F: Array) -> None:
        """Set the components of F that are held, and spread the change over the cell by one linear step."""
        change = F - self.F
        for place in self._free:
            change[place] = 0.0
        g, K = self._gradient(), self._assemble()
        moved = self.q.duplicate()
        moved.set(0.0)
        self.map.set_average(moved, change)
        right = self.q.duplicate()
        K.mult(moved, right)
        right.axpy(1.0, g)
        self._hold(right)
        step = self.q.duplicate()
        with SymmetricFactor(self.comm) as factor:
            stable = factor.is_positive(self._held(K))
            if stable:
                factor.solve(right, step)
        before = self.q.copy()
        self.q.axpy(1.0, moved)
        if stable:
            self.q.axpy(-1.0, step)
            if not np.isfinite(self._potential()):
                before.copy(self.q)
                self.q.axpy(1.0, moved)
        if not np.isfinite(self._potential()):
            raise ConvergenceError("the step turns elements inside out.")

    def _newton(self, *, descend: bool) -> int:
        """Newton's method from the present q: on the energy, with a positive tangent, if it is to descend."""
        energy = self._potential()
        step = self.q.duplicate()
        for iteration in range(ITERATIONS):
            g = self._hold(self._gradient())
            norm = g.norm()
            if not np.isfinite(norm):
                raise ConvergenceError("the cell's residual is not finite: an element was turned inside out.")
            if norm <= self._allowed:
                self.F = np.eye(self.dim) + self.map.gather_average(self.q)
                return iteration
            with SymmetricFactor(self.comm) as factor:
                K = self._held(self._assemble())
                if not factor.is_positive(K) and descend:
                    self._raise(K, factor)
                factor.solve(g, step)
            slope, length, before = -g.dot(step), 1.0, self.q.copy()
            hidden = 1e-13 * abs(energy) + 1e-15 * self._stiffness_scale * self.volume
            while True:
                before.copy(self.q)
                self.q.axpy(-length, step)
                new = self._potential()
                if np.isfinite(new) and (not descend or new <= energy + ARMIJO * length * slope + hidden):
                    break
                length *= 0.5
                if length < SHORTEST:
                    raise ConvergenceError(f"no step lowers the cell's energy, residual norm {norm:.3e}.")
            energy = new
        raise ConvergenceError(f"the cell did not converge in {ITERATIONS} iterations.", iterations=ITERATIONS)

    def _raise(self, K: PETSc.Mat, factor: SymmetricFactor) -> None:
        """Factor K + share M, positive definite."""
        M = self._held(self._M.copy(), diagonal=0.0)
        for share in RAISED:
            raised = K.copy()
            raised.axpy(share * self._stiffness_scale, M)
            if factor.is_positive(raised):
                return
        raise ConvergenceError("no multiple of the inner product makes the cell's tangent positive definite.")

    def _kick(self) -> None:
        """Move along the lowest mode to the side of lower energy."""
        _, mode = self.lowest_mode()
        before, energies = self.q.copy(), []
        for sign in (1.0, -1.0):
            before.copy(self.q)
            self.q.axpy(sign * self.kick_size, mode)
            value = self._potential()
            energies.append(value if np.isfinite(value) else np.inf)
        before.copy(self.q)
        if not np.isfinite(min(energies)):
            raise ConvergenceError(f"a kick of {self.kick_size:g} turns elements inside out; take a smaller kick_size.")
        sign = 1.0 if energies[0] <= energies[1] + 1e-9 * abs(energies[1]) else -1.0
        self.q.axpy(sign * self.kick_size, mode)
        self._mode = mode

    # ---- assembly --------------------------------------------------------------------------------------------------------

    def _push(self) -> None:
        x = self.map.T.createVecLeft()
        self.map.T.mult(self.q, x)
        self.u.x.array[: x.getLocalSize()] = x.array_r
        self.u.x.scatter_forward()

    def _potential(self, *, loads: bool = True) -> float:
        """Energy of the cell less the work of the average stresses."""
        self._push()
        value = float(self.comm.allreduce(fem.assemble_scalar(self._energy), MPI.SUM))
        if loads and self._free:
            H = self.map.gather_average(self.q)
            value -= self.volume * sum(P * H[place] for place, P in self._free.items())
        return value

    def _gradient(self) -> PETSc.Vec:
        self._push()
        with self._b.localForm() as local:
            local.set(0.0)
        dolfinx.fem.petsc.assemble_vector(self._b, self._residual)
        self._b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        g = self.q.duplicate()
        self.map.T.multTranspose(self._b, g)
        return g

    def _assemble(self) -> PETSc.Mat:
        """T^T A T at the present q."""
        self._push()
        self._A.zeroEntries()
        dolfinx.fem.petsc.assemble_matrix(self._A, self._tangent)
        self._A.assemble()
        self._Kq = self._A.ptap(self.map.T) if self._Kq is None else self._A.ptap(self.map.T, self._Kq)
        return self._Kq

    def _fixed(self) -> Any:
        """Indices of the components of F that are held, on the rank that owns them."""
        places = [self.dim * i + j for i in range(self.dim) for j in range(self.dim) if (i, j) not in self._free]
        return self.map.average[places] if self.comm.rank == self.comm.size - 1 else self.map.average[:0]

    def _held(self, K: PETSc.Mat, diagonal: float = 1.0) -> PETSc.Mat:
        K = K.copy()
        K.zeroRowsColumns(self._fixed(), diagonal)
        return K

    def _hold(self, g: PETSc.Vec) -> PETSc.Vec:
        """G less the work of the average stresses, 0 where F is held."""
        first = g.getOwnershipRange()[0]
        if self.comm.rank == self.comm.size - 1:
            for (i, j), stress in self._free.items():
                g.array[self.map.average[self.dim * i + j] - first] -= self.volume * stress
            g.array[self._fixed() - first] = 0.0
        return g

    def _unit(self, component: int) -> PETSc.Vec:
        e = self.q.duplicate()
        e.set(0.0)
        H = np.zeros(self.dim**2)
        H[component] = 1.0
        self.map.set_average(e, H)
        return e

    def _stiffness(self) -> list[PETSc.Vec]:
        """The columns of K that belong to F, at the present q."""
        K = self._assemble()
        columns = []
        for component in range(self.dim**2):
            column = self.q.duplicate()
            K.mult(self._unit(component), column)
            columns.append(column)
        return columns

    def _homogenised_tangent(self) -> Array:
        n, free = self.dim**2, self._free
        self._free = {}
        columns = self._stiffness()
        A = np.array([self.map.gather_average(column).reshape(-1) for column in columns])
        assert self._Kq is not None
        with SymmetricFactor(self.comm) as factor:
            factor.inertia(self._held(self._Kq))
            sides = [self._hold(column) for column in columns]
            for j, side in enumerate(sides):
                x = self.q.duplicate()
                factor.solve(side, x)
                for i in range(n):
                    A[i, j] -= sides[i].dot(x)
        self._free = free
        result: Array = (0.5 * (A + A.T) / self.volume).reshape((self.dim,) * 4)
        return result

    def _scaled(self, x: PETSc.Vec) -> PETSc.Vec:
        """A mode with largest entry 1; its sign is that of the entry that is largest."""
        values = x.array_r
        largest = float(values[np.abs(values).argmax()]) if len(values) else 0.0
        x.scale(1.0 / max(self.comm.allgather(largest), key=abs))
        return x

    def _order(self) -> float:
        """The fluctuation along the last kick's mode."""
        if self._mode is None:
            return 0.0
        w, Mm = self.q.copy(), self.q.duplicate()
        self.map.set_average(w, np.zeros((self.dim, self.dim)))
        self._M.mult(self._mode, Mm)
        return float(w.dot(Mm) / self._mode.dot(Mm))
