"""Balance of a body whose displacements were measured, as equations for stresses, with their errors.

At the measured displacements u_m = u + noise, and with the stresses P of a material at F, the forces B P on the free degrees of
freedom vanish, and those on a support sum to the measured force R. About a displacement u_0, with the stiffness K there,

    B P(F_0) + K (u_m - u_0) - R  =  error,        S = error_u^2 K K^T + B V B^T + error_R^2,

S the covariance of the error, up to the square of u - u_0. To weigh the equations by the inverse of S is to compare
displacements, since K^-1 takes a force that is left over to a displacement. V is the covariance of errors of the stresses
themselves. All cells have a small one. In cells next to a boundary between phases it is as large as the stresses of the modes
differ: the strain of a cell that a boundary crosses is that of neither phase.

The best u_0 for a material has the least (u_0 - u_m)^2 / error_u^2 + f V_f^-1 f, f what is left over in balance at u_0 and V_f
the rest of S. The Gauss-Newton method finds it as u_m - error_u^2 K^T S^-1 (f + K (u_m - u_0)). K has frozen mode weights: with
the true tangent, which is negative between wells, the iteration takes cells from one phase to the other and back. (Total least
squares, and finite element model updating: S. Avril et al., Exp. Mech. 48, 381 (2008).)
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse as sparse
from petsc4py import PETSc
from scipy.sparse.linalg import LinearOperator, eigsh

from lse_material._arrays import Array, rms
from lse_material.model.material import Material
from lse_material.model.soft_minimum import SoftMinimum

Index = npt.NDArray[np.int32]

STRESS_ERRORS = (0.01, 0.03, 0.1, 0.3, 1.0)  # of a cell, in RMS stresses: the first that meets balance to its errors
MET = 1.2  # mean square of the equations over their errors that counts as met
BISECTIONS = 20  # of the logarithm of the error of stresses of a linear elastic body, over `DECADES`
DECADES = 12
ITERATIONS, CONVERGED = 8, 0.05  # of the Gauss-Newton method; largest change, in errors of the displacement
DENSE = 3  # equations in units of the combinations that are wanted, up to which all eigenvectors are found at once


@dataclass(frozen=True, eq=False)
class Equations:
    """Balance about a displacement, as a matrix of stresses.

    Attributes:
        F: deformation gradients at the quadrature points, (n, dim, dim).
        of_stress: takes stresses (n dim dim) to forces, (m, n dim dim).
        values: what the forces should be, (m,).
        covariance: of their errors, (m, m).
        misfit: mean square of what is left over, over its error; about 1 for a right material.
    """

    F: Array
    of_stress: sparse.csr_array
    values: Array
    covariance: sparse.csc_array
    misfit: float = np.nan

    def combined(self, count: int) -> tuple[Array, Array]:
        """The `count` combinations of least error, divided by it: as a matrix of stresses (k, n dim dim), and values (k,)."""
        m = len(self.values)
        if m <= DENSE * count:
            variance, vectors = scipy.linalg.eigh(
                self.covariance.toarray(), subset_by_index=(0, min(count, m) - 1), driver="evr"
            )
        else:
            inverse = LinearOperator((m, m), _solver(self.covariance))
            variance, vectors = eigsh(self.covariance, count, sigma=0.0, v0=np.ones(m), OPinv=inverse)
        weights = (vectors / np.sqrt(variance)).T
        return (self.of_stress.T @ weights.T).T, weights @ self.values


class FieldBalance:
    """The equations of a body, at quadrature points.

    Args:
        forces: the matrix that takes stresses at the points, row by row, to forces on the degrees of freedom.
        volumes: of the points, (n,).
        supports: degrees of freedom of each; all others are free of force.
        displacement_error: standard deviation of the displacement of each degree of freedom, (dofs,).
        force_error: standard deviation of the force of a support.
    """

    def __init__(
        self,
        forces: sparse.csr_array,
        volumes: Array,
        supports: Sequence[Index],
        *,
        displacement_error: Array,
        force_error: float,
    ) -> None:
        self._B, self._volumes = forces, volumes
        self.dim = round((forces.shape[1] / len(volumes)) ** 0.5)
        self._variance, self._force_variance = displacement_error**2, force_error**2
        free = np.setdiff1d(np.arange(forces.shape[0]), np.concatenate(supports))
        equation = np.concatenate(
            [np.arange(len(free)), np.repeat(np.arange(len(supports)), [*map(len, supports)]) + len(free)]
        )
        shape = len(free) + len(supports), forces.shape[0]
        self._sums = sparse.csr_array((np.ones(len(equation)), (equation, np.concatenate([free, *supports]))), shape)
        self._free = len(free)
        touched = abs(forces) @ sparse.kron(sparse.eye_array(len(volumes)), np.ones((self.dim**2, 1)), format="csr")
        touched.data[:] = 1.0
        at_dof = sparse.diags_array(1.0 / touched.sum(axis=1)) @ touched
        self._nearby = (sparse.diags_array(1.0 / touched.sum(axis=0)) @ touched.T @ at_dof).tocsr()
        identity = np.eye(self.dim)
        swap = np.einsum("il,jk->ijkl", identity, identity)
        tangent = np.einsum("ij,kl->ijkl", identity, identity) + np.einsum("ik,jl->ijkl", identity, identity) + swap
        self._elastic = np.broadcast_to(tangent.reshape(self.dim**2, -1), (len(volumes), self.dim**2, self.dim**2))

    def deformation_gradients(self, u: Array) -> Array:
        """F at the points, (n, dim, dim)."""
        gradient = (self._B.T @ u).reshape(-1, self.dim, self.dim) / self._volumes[:, None, None]
        return np.eye(self.dim) + gradient

    def smoothed(self, measured: Array, forces: Array) -> tuple[Array, Equations, float]:
        """A measured field smoothed by a linear elastic body, the equations there, and the RMS stress of that body.

        Its modulus follows from the forces, and the error of its stresses from how badly it is in balance.

        Args:
            measured: displacement of all degrees of freedom.
            forces: of the supports; NaN where they are not known.
        """
        known, right = self._known(forces)
        sums = self._sums[known]
        K = self._stiffness(self._elastic)
        of_elastic, of_supports = sums @ (K @ measured), right != 0.0
        of_supports[: self._free] = False
        modulus = float(np.abs(right[of_supports]).sum() / np.abs(of_elastic[of_supports]).sum())
        tangent, left = modulus * (sums @ K), modulus * of_elastic - right
        least, of_stress = self._covariance(known, tangent), sums @ self._B
        same = (of_stress @ of_stress.T).tocsc()
        high = np.log(modulus * self._elastic_stress(measured))
        low = high - DECADES * np.log(10.0)
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            S = least + np.exp(2.0 * middle) * same
            multipliers = _solver(S)(left)
            low, high = (middle, high) if left @ multipliers > len(left) else (low, middle)
        u = measured - self._variance * (tangent.T @ multipliers)
        return u, Equations(self.deformation_gradients(u), of_stress, right, S), modulus * self._elastic_stress(u)

    def _elastic_stress(self, u: Array) -> float:
        """RMS stress of the linear elastic body."""
        strain = (self.deformation_gradients(u) - np.eye(self.dim)).reshape(len(self._volumes), -1, 1)
        return rms(self._elastic @ strain)

    def filtered(
        self, material: Material, u: Array, measured: Array, forces: Array, stress: float
    ) -> tuple[Array, Equations]:
        """The displacement that goes best with a material and with what was measured, from u on, and the equations there.

        Args:
            material: of F alone.
            u: where to begin.
            measured: displacement of all degrees of freedom.
            forces: of the supports; NaN where they are not known.
            stress: its size.
        """
        for error in STRESS_ERRORS:
            found = self._filtered(material, u, measured, forces, error * stress)
            if found[1].misfit < MET:
                break
        return found

    def _filtered(
        self, material: Material, u: Array, measured: Array, forces: Array, error: float
    ) -> tuple[Array, Equations]:
        known, right = self._known(forces)
        sums = self._sums[known]
        of_stress = sums @ self._B
        same = error**2 * np.eye(self.dim**2)
        for iteration in range(ITERATIONS + 1):
            F = self.deformation_gradients(u)
            tangent, covariance = _of_phases(material, F, self._nearby)
            CK = sums @ self._stiffness(tangent)
            S = self._covariance(known, CK) + (of_stress @ _blocks(covariance + same) @ of_stress.T).tocsc()
            left = of_stress @ material.stress(F).ravel() - right + CK @ (measured - u)
            multipliers = _solver(S)(left)
            step = measured - self._variance * (CK.T @ multipliers) - u
            if iteration == ITERATIONS or np.abs(step / self._variance**0.5).max() < CONVERGED:
                break
            while np.linalg.det(self.deformation_gradients(u + step)).min() < 0.5 * min(np.linalg.det(F).min(), 1.0):
                step *= 0.5
            u = u + step
        misfit = float(left @ multipliers) / len(left)
        return u, Equations(F, of_stress, right - CK @ (measured - u), S, misfit)

    def _known(self, forces: Array) -> tuple[npt.NDArray[np.int64], Array]:
        """The equations whose right-hand sides are known, and these."""
        right = np.concatenate([np.zeros(self._free), forces])
        known = np.flatnonzero(np.isfinite(right))
        return known, right[known]

    def _stiffness(self, tangent: Array) -> sparse.csr_array:
        """K of tangents dP/dF at the points, (n, dim dim, dim dim)."""
        return (self._B @ _blocks(tangent / self._volumes[:, None, None]) @ self._B.T).tocsr()

    def _covariance(self, known: npt.NDArray[np.int64], tangent: sparse.csr_array) -> sparse.csc_array:
        """Of the equations, without errors of stresses."""
        of_forces = np.where(known >= self._free, self._force_variance, 0.0)
        return (tangent @ sparse.diags_array(self._variance) @ tangent.T + sparse.diags_array(of_forces)).tocsc()


def _of_phases(material: Material, F: Array, nearby: sparse.csr_array) -> tuple[Array, Array]:
    """Tangents with frozen mode weights, and covariances of stresses near boundaries of phases: (n, dim dim, dim dim) each."""
    potential, n = material.potential, len(F)
    x = material.kinematics.strain(F)
    of_strain = material.kinematics.derivative(F).reshape(n, x.shape[1], -1)
    modes = np.stack([np.einsum("nd,ndq->nq", g, of_strain) for g in _gradients(potential, x)], axis=1)
    weights = potential.mode_weights(x)
    phase = np.eye(weights.shape[1])[weights.argmax(axis=1)]
    tangent = material.tangent(F).reshape(n, modes.shape[2], -1)
    return tangent + _spread(modes, weights) / potential.transition_scale, _spread(modes, nearby @ phase)


def _gradients(potential: SoftMinimum, x: Array) -> Iterator[Array]:
    """Of each mode by itself, (n, d)."""
    for k in range(len(potential.modes)):
        yield potential.alone(k).gradient(x)


def _spread(values: Array, weights: Array) -> Array:
    """Covariance of values (n, k, q) with weights (n, k) whose sums are 1: (n, q, q)."""
    away = values - np.einsum("nk,nkq->nq", weights, values)[:, None]
    return np.einsum("nk,nkq,nkr->nqr", weights, away, away)


def _solver(matrix: sparse.csc_array) -> Callable[[Array], Array]:
    """Solves with a symmetric matrix, which MUMPS factors."""
    csr = matrix.indptr.astype(PETSc.IntType), matrix.indices.astype(PETSc.IntType), matrix.data
    A = PETSc.Mat().createAIJ(matrix.shape, csr=csr, comm=PETSc.COMM_SELF)
    A.setOption(PETSc.Mat.Option.SYMMETRIC, True)  # type: ignore[arg-type]
    factor = PETSc.PC().create(PETSc.COMM_SELF)
    factor.setOperators(A)
    factor.setType("cholesky")
    factor.setFactorSolverType("mumps")
    factor.setUp()
    right, left = A.createVecRight(), A.createVecLeft()

    def solve(values: Array) -> Array:
        right.array[:] = values.ravel()
        factor.apply(right, left)
        return np.array(left.array)

    return solve


def _blocks(values: Array) -> sparse.csr_array:
    n = len(values)
    return sparse.bsr_array((values, np.arange(n), np.arange(n + 1))).tocsr()
