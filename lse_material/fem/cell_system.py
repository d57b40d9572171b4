"""Energy, residual, tangent and stability of a periodic cell, as functions of the unknowns q of its `PeriodicMap`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dolfinx.fem.petsc
import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from petsc4py import PETSc
from slepc4py import SLEPc

from lse_material.checks import Array
from lse_material.errors import ConvergenceError
from lse_material.fem.inertia import SymmetricFactor
from lse_material.fem.periodic import PeriodicMap


class CellSystem:
    """The discrete cell. Its arguments are those of `PeriodicCell`.

    Attributes:
        u: the displacement, T q.
        q: fluctuation and average gradient, a PETSc vector.
        free: (i, J) -> average P_iJ, for components of the average gradient that are unknown; the others are held.
        inner_product: of int grad v . grad w + v . w/l^2, in q.
        stiffness_scale: the largest modulus that an affine deformation meets at q = 0.
    """

    def __init__(self, domain: mesh.Mesh, energy: Callable[[Any], Any], degree: int, quadrature_degree: int) -> None:
        dim = self.dim = domain.geometry.dim
        V = fem.functionspace(domain, ("Lagrange", degree, (dim,)))
        self.comm = domain.comm
        self.map = PeriodicMap(V)
        self.volume = self.map.volume
        self.u = fem.Function(V, name="displacement")
        dx = ufl.dx(degree=quadrature_degree)
        W = energy(ufl.Identity(dim) + ufl.grad(self.u)) * dx
        v, du = ufl.TestFunction(V), ufl.TrialFunction(V)
        self._energy_form, self._residual_form = fem.form(W), fem.form(ufl.derivative(W, self.u, v))
        self._tangent_form = fem.form(ufl.derivative(ufl.derivative(W, self.u, v), self.u, du))
        self.solid_volume = float(self.comm.allreduce(fem.assemble_scalar(fem.form(fem.Constant(domain, 1.0) * dx))))
        self.signature = f"{W.signature()[:32]} {self.map.size} {self.volume:.9e} {self.solid_volume:.9e}"
        self._A = dolfinx.fem.petsc.create_matrix(self._tangent_form)
        self._b = dolfinx.fem.petsc.create_vector(V)
        self._Kq: PETSc.Mat | None = None
        product = ufl.inner(ufl.grad(v), ufl.grad(du)) + ufl.inner(v, du) / self.map.lengths.max() ** 2
        M = dolfinx.fem.petsc.assemble_matrix(fem.form(product * ufl.dx))
        M.assemble()
        self.inner_product = M.ptap(self.map.T)
        self.q = self.map.T.createVecRight()
        self.free: dict[tuple[int, int], float] = {}
        columns = self.average_columns()
        self.stiffness_scale = max(abs(K.dot(self._unit(i))) for i, K in enumerate(columns)) / self.volume

    def average(self) -> Array:
        """The average deformation gradient F, (dim, dim)."""
        return np.asarray(np.eye(self.dim) + self.map.gather_average(self.q))

    def push(self) -> None:
        """Set u = T q."""
        x = self.map.T.createVecLeft()
        self.map.T.mult(self.q, x)
        self.u.x.array[: x.getLocalSize()] = x.array_r
        self.u.x.scatter_forward()

    def potential(self, *, loads: bool = True) -> float:
        """Energy of the cell less the work of the average stresses."""
        self.push()
        value = float(self.comm.allreduce(fem.assemble_scalar(self._energy_form), MPI.SUM))
        if loads and self.free:
            H = self.map.gather_average(self.q)
            value -= self.volume * sum(P * H[place] for place, P in self.free.items())
        return value

    def gradient(self) -> PETSc.Vec:
        """T^T b at the present q."""
        self.push()
        with self._b.localForm() as local:
            local.set(0.0)
        dolfinx.fem.petsc.assemble_vector(self._b, self._residual_form)
        self._b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        g = self.q.duplicate()
        self.map.T.multTranspose(self._b, g)
        return g

    def tangent(self) -> PETSc.Mat:
        """T^T A T at the present q."""
        self.push()
        self._A.zeroEntries()
        dolfinx.fem.petsc.assemble_matrix(self._A, self._tangent_form)
        self._A.assemble()
        self._Kq = self._A.ptap(self.map.T) if self._Kq is None else self._A.ptap(self.map.T, self._Kq)
        return self._Kq

    def _fixed(self) -> Any:
        """Indices of the components of F that are held, on the rank that owns them."""
        places = [self.dim * i + j for i in range(self.dim) for j in range(self.dim) if (i, j) not in self.free]
        return self.map.average[places] if self.comm.rank == self.comm.size - 1 else self.map.average[:0]

    def held(self, K: PETSc.Mat, diagonal: float = 1.0) -> PETSc.Mat:
        """A copy of K whose rows and columns of what is held have `diagonal` on the diagonal alone."""
        K = K.copy()
        K.zeroRowsColumns(self._fixed(), diagonal)
        return K

    def hold(self, g: PETSc.Vec) -> PETSc.Vec:
        """G less the work of the average stresses, 0 where F is held."""
        first = g.getOwnershipRange()[0]
        if self.comm.rank == self.comm.size - 1:
            for (i, j), stress in self.free.items():
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

    def average_columns(self) -> list[PETSc.Vec]:
        """The columns of K that belong to the average, at the present q."""
        K = self.tangent()
        columns = []
        for component in range(self.dim**2):
            column = self.q.duplicate()
            K.mult(self._unit(component), column)
            columns.append(column)
        return columns

    def homogenised_tangent(self) -> Array:
        """(K_FF - K_Fw K_ww^-1 K_wF)/|V|, all components of F held: (dim, dim, dim, dim)."""
        n, free = self.dim**2, self.free
        self.free = {}
        columns = self.average_columns()
        A = np.array([self.map.gather_average(column).reshape(-1) for column in columns])
        assert self._Kq is not None
        with SymmetricFactor(self.comm) as factor:
            factor.inertia(self.held(self._Kq))
            sides = [self.hold(column) for column in columns]
            for j, side in enumerate(sides):
                x = self.q.duplicate()
                factor.solve(side, x)
                for i in range(n):
                    A[i, j] -= sides[i].dot(x)
        self.free = free
        result: Array = (0.5 * (A + A.T) / self.volume).reshape((self.dim,) * 4)
        return result

    def _scaled(self, x: PETSc.Vec) -> PETSc.Vec:
        """A mode with largest entry 1; its sign is that of the entry that is largest."""
        values = x.array_r
        largest = float(values[np.abs(values).argmax()]) if len(values) else 0.0
        x.scale(1.0 / max(self.comm.allgather(largest), key=abs))
        return x

    def lowest_mode(self) -> tuple[float, PETSc.Vec]:
        """The eigenvalue of the tangent nearest to instability and its mode, as unknowns q; collective."""
        K = self.held(self.tangent())
        with SymmetricFactor(self.comm) as factor:
            wanted = factor.inertia(K)[0] + 1
        M = self.held(self.inner_product.copy(), diagonal=0.0)
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

    def negative_eigenvalues(self) -> int:
        """Of the tangent at the present state, with the free components of F among the unknowns; collective."""
        with SymmetricFactor(self.comm) as factor:
            negative, zero, _ = factor.inertia(self.held(self.tangent()))
        return negative + zero
