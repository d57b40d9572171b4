"""Plane stress at points: the third column of F, in which the stress across the plane vanishes, is found at each point.

    F = [[F_2, d_12], [0, d_3]],    P e_3 = dW/dd = 0,    A_2 = A_ff - A_fd A_dd^-1 A_df

with f the four components in the plane. W is minimised in d by Newton's method with the moduli of the eigenvalues of A_dd and
halved steps (J. Nocedal, S. Wright, Numerical Optimization, 2006, ch. 3.4), so that d is a minimum also where W has wells.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lse_material._arrays import Array, Mask, deformation_gradients, expect_shape, float_array
from lse_material.errors import InvalidInputError
from lse_material.kernel import evaluator
from lse_material.model.material import Material
from lse_material.model.strain import SmallStrain

UNDEFORMED = (0.0, 0.0, 1.0)  # third column
MAX_ITERATIONS = 100
MAX_HALVINGS = 40
ROUNDING = 1e-13  # of the forces |A_dd| |d|: a smaller residual is zero
ENERGY_ROUNDING = 1e-14  # of |W| + |A_dd| |d|^2: a smaller increase is none
ARMIJO = 1e-4
FLAT = 1e-8  # of the largest eigenvalue of A_dd: smaller ones are raised to it
LEAVE_SADDLE = 0.02  # length of the step along a direction in which W falls, as a share of |d|
STARTS = np.geomspace(0.4, 2.5, 13)  # of F33, in units of 1 / det F_2
SHEARS = (-0.3, 0.0, 0.3)  # starts of F13 and F23, in the same units
VANISHING = 1e-6  # det F of a point whose energy falls until it has no thickness: that is no solution
EQUAL = 1e-6  # two solutions are one if they differ by less


@dataclass(frozen=True, eq=False)
class PlaneValues:
    """What `PlaneStress` finds at n points; NaN where there is no solution.

    Attributes:
        energy: (n,), per volume of the undeformed body.
        stress: (n, 2, 2).
        tangent: (n, 2, 2, 2, 2), with d following F.
        across: (n, 3), the third column (F13, F23, F33) of F.

    >>> lse.fem.PlaneStress(solid).evaluate(np.eye(2)[None]).across
    array([[0., 0., 1.]])
    """

    energy: Array
    stress: Array
    tangent: Array
    across: Array


class PlaneStress:
    """A material in three dimensions as an evaluator in two, whose stress across the plane vanishes at each point.

    Pass it to `QuadratureStress` in place of a material. P is per undeformed thickness, and the tangent is exact.

    In a `QuadratureStress` the search at a point starts from the third column that was found there last, so that a point stays
    in its well until the well ends. Where two wells have a solution, the result therefore depends on the path; `solutions`
    lists them all. The columns are `across` of the `QuadratureStress`; the checkpoint of a `LoadPath` contains them.

    Args:
        material: in three dimensions, of F alone.

    Raises:
        InvalidInputError: the material is not in three dimensions, or depends on fields.

    >>> plane = lse.fem.PlaneStress(solid)
    >>> P = lse.fem.QuadratureStress(plane, F, degree=1)
    >>> residual = ufl.inner(P.operator, ufl.grad(v)) * P.dx
    >>> values = plane.evaluate(np.diag([1.1, 1.0])[None])
    >>> bool(abs(solid.stress(np.diag([1.1, 1.0, values.across[0, 2]]))[2, 2]) < 1e-12)
    True
    """

    def __init__(self, material: Material) -> None:
        if not isinstance(material, Material) or material.dim != 3:
            kind = (
                f"a material of dimension {material.dim}" if isinstance(material, Material) else type(material).__name__
            )
            raise InvalidInputError(
                f"plane stress is found of a Material in three dimensions, and this is {kind}. One that was fitted to data in "
                "plane stress has the stress across in its data already: use it as it is."
            )
        self._material = evaluator(material.without_fields("PlaneStress"))
        self._small = isinstance(material.kinematics, SmallStrain)

    def evaluate(self, F: Array, across: Array | None = None) -> PlaneValues:
        """Energy, stress and tangent in the plane.

        Args:
            F: (n, 2, 2).
            across: (n, 3), third columns from which the search starts; those of the undeformed material if left out.

        Raises:
            InvalidInputError: a start is of another shape, or not finite.
        """
        F = deformation_gradients(F, 2).reshape(-1, 2, 2)
        start = np.tile(UNDEFORMED, (len(F), 1)) if across is None else float_array("across", across)
        expect_shape("across", start, (len(F), 3))
        return self._solve(F, start)

    def solutions(self, F: Array) -> list[PlaneValues]:
        """The solutions at one F (2, 2) that a grid of starts leads to, lowest energy first.

        Each has arrays of one point. Several mean that the stress depends on the path.
        """
        F = deformation_gradients(F, 2).reshape(2, 2)
        grid = np.stack(np.meshgrid(SHEARS, SHEARS, STARTS, indexing="ij"), axis=-1).reshape(-1, 3)
        values = self._solve(np.tile(F, (len(grid), 1, 1)), grid / max(abs(float(np.linalg.det(F))), FLAT))
        found: list[int] = []
        for i in np.argsort(values.energy):  # NaN last
            new = all(np.abs(values.across[i] - values.across[j]).max() > EQUAL for j in found)
            if np.isfinite(values.energy[i]) and new:
                found.append(int(i))
        parts = (values.energy, values.stress, values.tangent, values.across)
        return [PlaneValues(*(part[i : i + 1] for part in parts)) for i in found]

    def _solve(self, F: Array, start: Array) -> PlaneValues:
        F3 = np.zeros((len(F), 3, 3))
        F3[:, :2, :2], F3[:, :, 2] = F, start
        W, P, A = self._energy(F3), np.full(F3.shape, np.nan), np.full((*F3.shape, 3, 3), np.nan)
        active: Any = np.flatnonzero(np.isfinite(W))  # points that are not at a minimum yet
        for _ in range(MAX_ITERATIONS):
            values = self._material.evaluate(F3[active])
            P[active], A[active] = values.stress, values.tangent
            step, slope, done = _steps(F3[active], P[active], A[active])
            active, step, slope = active[~done], step[~done], slope[~done]
            if not len(active):
                break
            moved = self._search(F3, W, active, step, slope, _forces(F3[active], A[active]))
            W[active[~moved]], active = np.nan, active[moved]
        W[active] = np.nan
        if not self._small:
            W[~(_volume_ratio(F3) > VANISHING)] = np.nan
        P[np.isnan(W)] = A[np.isnan(W)] = F3[np.isnan(W)] = np.nan
        follow = np.linalg.solve(A[:, :, 2, :, 2], A[:, :, 2, :2, :2].reshape(-1, 3, 4)).reshape(-1, 3, 2, 2)
        tangent = A[:, :2, :2, :2, :2] - np.einsum("niJd,ndkL->niJkL", A[:, :2, :2, :, 2], follow)
        return PlaneValues(W, P[:, :2, :2], tangent, F3[:, :, 2])

    def _energy(self, F3: Array) -> Array:
        """W, NaN where det F <= 0."""
        W: Array = self._material.evaluate(F3).energy.copy()
        if not self._small:
            W[~(_volume_ratio(F3) > 0.0)] = np.nan
        return W

    def _search(self, F3: Array, W: Array, points: Any, step: Array, slope: Array, forces: Array) -> Mask:
        """Move each point along its step as far as its energy falls enough; returns which points moved."""
        length, waiting = np.ones(len(points)), np.ones(len(points), dtype=bool)
        hidden = ENERGY_ROUNDING * (np.abs(W[points]) + forces * np.linalg.norm(F3[points], axis=(1, 2)))
        for _ in range(MAX_HALVINGS):
            at = np.flatnonzero(waiting)
            trial = F3[points[at]]
            trial[:, :, 2] += length[at, None] * step[at]
            energy = self._energy(trial)
            lower = energy <= W[points[at]] + ARMIJO * length[at] * slope[at] + hidden[at]
            F3[points[at[lower]]], W[points[at[lower]]] = trial[lower], energy[lower]
            waiting[at[lower]] = False
            length[waiting] *= 0.5
            if not waiting.any():
                break
        return ~waiting


def _volume_ratio(F3: Array) -> Array:
    """det F, NaN where F is no number, (n,)."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.linalg.det(F3))


def _forces(F3: Array, A: Array) -> Array:
    """|A| |F|, (n,): the size of forces that cancel where the stress vanishes."""
    return np.linalg.norm(A.reshape(len(A), 81), axis=1) * np.linalg.norm(F3, axis=(1, 2))


def _steps(F3: Array, P: Array, A: Array) -> tuple[Array, Array, Mask]:
    """Steps of the third columns along which W falls, (n, 3), its slopes along them, and which points are at a minimum."""
    g, K = P[:, :, 2], A[:, :, 2, :, 2]
    values, vectors = np.linalg.eigh(0.5 * (K + np.swapaxes(K, 1, 2)))
    largest = np.abs(values).max(axis=1)
    moduli = np.maximum(np.abs(values), FLAT * largest[:, None])
    step = -np.einsum("nij,nj->ni", vectors, np.einsum("nij,ni->nj", vectors, g) / moduli)
    slope = np.einsum("ni,ni->n", step, g)
    still = np.linalg.norm(g, axis=1) <= ROUNDING * _forces(F3, A)
    saddle = still & (values[:, 0] < -FLAT * largest)
    size = LEAVE_SADDLE * np.linalg.norm(F3[:, :, 2], axis=1)
    downhill = vectors[:, :, 0] * size[:, None]
    step[saddle], slope[saddle] = downhill[saddle], (0.5 * values[:, 0] * size**2)[saddle]
    return step, slope, still & ~saddle
