"""A finite-element assembly in NumPy that shares no line with the package's forms: what accepted states are judged by.

Shape functions are those of Basix, the constitutive law is `Material.evaluate` (or a `SoftMinimum` of one strain): the formula
itself, neither UFL, nor compiled code, nor PETSc. Meshes are straight, and small: vectors and matrices are dense and whole on
every rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import basix
import numpy as np
from dolfinx import fem
from mpi4py import MPI

import lse_material as lse
from lse_material.fem._compat import geometry_dofmap

EIGENVALUE = 1e-9  # of the largest one: a lowest eigenvalue nearer to zero than that has no sign


class Law:
    """W, P and dP/dF of a material, or of a potential of the strain of a bar."""

    def __init__(self, material: lse.Material | lse.SoftMinimum) -> None:
        self.material = material

    def __call__(self, F: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """F (n, dim, dim) -> W (n,), P (n, dim, dim), A (n, dim, dim, dim, dim)."""
        n, dim = F.shape[:2]
        if isinstance(self.material, lse.SoftMinimum):
            values: Any = self.material.evaluate(F.reshape(n, 1) - 1.0)
            return values.energy, values.gradient.reshape(n, 1, 1), values.hessian.reshape(n, 1, 1, 1, 1)
        values = self.material.evaluate(F)
        return values.energy, values.stress, values.tangent.reshape(n, dim, dim, dim, dim)


@dataclass(frozen=True, eq=False)
class State:
    """What the assembly says of a displacement.

    Attributes:
        energy: the stored energy.
        residual: its derivative, one entry for each global degree of freedom.
        tangent: its second derivative, if it was asked for.
        least: the smallest det F at a quadrature point.
        corner: the smallest det F at a corner of a cell.
        stress: integral of P over the body, (dim, dim).
    """

    energy: float
    residual: np.ndarray
    tangent: np.ndarray | None
    least: float
    corner: float
    stress: np.ndarray


class Assembly:
    """Residual and tangent of int W(F) dx on a Lagrange space of displacements, by one quadrature rule.

    Args:
        V: scalar space on an interval, or a space of vectors.
        material: of F, or of the strain of a bar.
        degree: of the quadrature rule.
    """

    def __init__(self, V: fem.FunctionSpace, material: lse.Material | lse.SoftMinimum, degree: int) -> None:
        domain = V.mesh
        self.comm, self.dim, self.law = domain.comm, domain.geometry.dim, Law(material)
        index_map, self.block = V.dofmap.index_map, V.dofmap.bs
        self.size = index_map.size_global * self.block
        cells = domain.topology.index_map(domain.topology.dim).size_local
        element, cell = V.element.basix_element, V.element.basix_element.cell_type
        points, weights = basix.make_quadrature(cell, degree)
        corners = basix.geometry(cell)
        straight = basix.create_element(basix.ElementFamily.P, cell, 1)
        nodes = domain.geometry.x[geometry_dofmap(domain)[:cells]][:, :, : self.dim]
        self._gradients, self._weights = _gradients(element, straight, nodes, points, weights)
        self._at_corners, _ = _gradients(element, straight, nodes, corners, np.ones(len(corners)))
        local = V.dofmap.list[:cells]
        shape = (cells, local.shape[1], self.block)
        numbers = index_map.local_to_global(local.ravel().astype(np.int32)).reshape(local.shape)
        self.dofs = (numbers[:, :, None] * self.block + np.arange(self.block)).reshape(shape)
        owned = index_map.size_local
        self._owned = np.arange(owned * self.block) + index_map.local_range[0] * self.block
        x = V.tabulate_dof_coordinates()[:owned, : self.dim]
        self.places = np.zeros((index_map.size_global, self.dim))
        self.places[slice(*index_map.local_range)] = x
        self.places = self.comm.allreduce(self.places)
        low, high = self.places.min(axis=0), self.places.max(axis=0)
        self.length = float((high - low).max())
        identity = np.eye(self.dim)[None]
        stiffness = np.sqrt((self.law(identity)[2] ** 2).sum())
        forces = stiffness * np.einsum("cqnj,cq->cn", np.abs(self._gradients), self._weights)
        self.strain_force = float(np.linalg.norm(self._scattered(np.repeat(forces[:, :, None], self.block, axis=2))))
        self.stiffness = float(stiffness)

    def whole(self, local: np.ndarray) -> np.ndarray:
        """A vector of this rank as the whole one, on every rank; collective."""
        result = np.zeros(self.size)
        result[self._owned] = local[: len(self._owned)]
        self.comm.Allreduce(MPI.IN_PLACE, result)
        return result

    def held(self, bcs: list[fem.DirichletBC]) -> np.ndarray:
        """Which degrees of freedom the conditions hold; collective."""
        local = np.zeros(len(self._owned))
        for bc in bcs:
            dofs, owned = bc.dof_indices()
            local[dofs[:owned]] = 1.0
        return self.whole(local) > 0.5

    def state(self, u: np.ndarray, *, tangent: bool = False) -> State:
        """Everything at the displacement u, a whole vector; collective. Where W is not defined the energy is NaN."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self._state(u, tangent)

    def _state(self, u: np.ndarray, tangent: bool) -> State:
        local, grad, w = u[self.dofs], self._gradients, self._weights
        F = self._deformation(local, grad)
        W, P, A = self.law(F.reshape(-1, self.dim, self.dim))
        P, A = P.reshape(F.shape), A.reshape(*F.shape, self.dim, self.dim)
        forces = np.einsum("cqij,cqnj,cq->cni", P, grad, w)
        matrix = None
        if tangent:
            matrix = np.zeros((self.size, self.size))
            if len(local):
                half = np.einsum("cqijkl,cqnj,cq->cqnikl", A, grad, w)
                blocks = np.einsum("cqnikl,cqml->cnimk", half, grad)
                n = local.shape[1] * self.block
                rows = self.dofs.reshape(-1, n)
                np.add.at(matrix, (rows[:, :, None], rows[:, None, :]), blocks.reshape(-1, n, n))
            self.comm.Allreduce(MPI.IN_PLACE, matrix)
        corners = self._deformation(local, self._at_corners)
        least = [float(np.linalg.det(f).min(initial=np.inf)) for f in (F, corners)]
        energy = float(np.sum(W.reshape(w.shape) * w))
        return State(
            self.comm.allreduce(energy),
            self._scattered(forces),
            matrix,
            self.comm.allreduce(least[0], MPI.MIN),
            self.comm.allreduce(least[1], MPI.MIN),
            self.comm.allreduce(np.einsum("cqij,cq->ij", P, w)),
        )

    def _deformation(self, local: np.ndarray, gradients: np.ndarray) -> np.ndarray:
        result: np.ndarray = np.eye(self.dim) + np.einsum("cni,cqnj->cqij", local, gradients)
        return result

    def _scattered(self, values: np.ndarray) -> np.ndarray:
        result = np.zeros(self.size)
        np.add.at(result, self.dofs.ravel(), values.ravel())
        self.comm.Allreduce(MPI.IN_PLACE, result)
        return result


def _gradients(
    element: Any, straight: Any, nodes: np.ndarray, points: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of the shape functions (cells, points, functions, dim) and weights times volumes (cells, points)."""
    slopes = straight.tabulate(1, points)[1:, :, :, 0]
    J = np.einsum("cni,dqn->cqid", nodes, slopes)
    reference = element.tabulate(1, points)[1:, :, :, 0]
    gradients = np.einsum("dqn,cqdj->cqnj", reference, np.linalg.inv(J))
    return gradients, np.abs(np.linalg.det(J)) * weights


def negative_eigenvalues(matrix: np.ndarray) -> int | None:
    """Of a symmetric matrix; None where one of them is too near to zero for its sign to mean anything."""
    values = np.linalg.eigvalsh(0.5 * (matrix + matrix.T))
    doubtful = np.abs(values) < EIGENVALUE * np.abs(values).max(initial=0.0)
    return None if doubtful.any() else int((values < 0.0).sum())
