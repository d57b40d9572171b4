"""Loss of ellipticity: where a plane wave of some direction has no real speed, and wells mix in layers as fine as they can.

    q(A) = min over unit m and N of  m_i N_J A_iJkL m_k N_L,       A = dP/dF

is the lowest eigenvalue of the acoustic tensors Q_ik(N) = A_iJkL N_J N_L. An energy is rank-one convex only where q >= 0
(J. M. Ball, Arch. Rat. Mech. Anal. 63, 337 (1977)); where q < 0 what a mesh shows depends on its size, unless the energy is
regularised (`lse_material.fem.phase_field.regularise`).
"""

from dataclasses import dataclass

import numpy as np

from lse_material._arrays import Array, float_array
from lse_material.errors import InvalidInputError

DIRECTIONS = {2: 90, 3: 400}  # of N, over half of the circle or sphere, from which the best is improved
ROUNDS = 40  # of improvement
CHUNK = 512  # points whose acoustic tensors are held at a time


@dataclass(frozen=True, eq=False)
class AcousticMinimum:
    """The weakest plane wave at n points.

    Attributes:
        value: q, (n,), in the unit of the tangent; negative where ellipticity is lost.
        direction: N, in the reference configuration, (n, dim).
        polarisation: m, (n, dim).

    >>> least = lse.analysis.acoustic_minimum(material.tangent(np.eye(2)[None]))
    >>> least.value.shape, least.direction.shape
    ((1,), (1, 2))
    """

    value: Array
    direction: Array
    polarisation: Array


def acoustic_minimum(A: Array) -> AcousticMinimum:
    """The least of m.Q(N)m: by trying directions N, then by turns the best m for N and the best N for m.

    Args:
        A: tangents dP/dF, (n, dim, dim, dim, dim), index [n, i, J, k, L], dim 2 or 3. NaN gives NaN.

    Raises:
        InvalidInputError: A has another shape.

    >>> F = np.array([np.eye(2), np.diag([1.1, 0.9]) ** 0.5])  # between the wells, and in one
    >>> lse.analysis.acoustic_minimum(material.tangent(F)).value > 0.0
    array([False,  True])
    """
    A = float_array("A", A, 5, finite=False)
    dim = A.shape[-1]
    if dim not in DIRECTIONS or A.shape[1:] != (dim,) * 4:
        raise InvalidInputError(f"A has shape {A.shape}; it needs (n, dim, dim, dim, dim) with dim 2 or 3.")
    n = len(A)
    result = AcousticMinimum(np.full(n, np.nan), np.full((n, dim), np.nan), np.full((n, dim), np.nan))
    finite = np.flatnonzero(np.isfinite(A).all(axis=(1, 2, 3, 4)))
    for start in range(0, len(finite), CHUNK):
        rows = finite[start : start + CHUNK]
        result.value[rows], result.direction[rows], result.polarisation[rows] = _minimum(A[rows])
    return result


def _minimum(A: Array) -> tuple[Array, Array, Array]:
    dim = A.shape[-1]
    tried = _directions(dim)
    n, p = len(A), len(tried)
    pairs = (tried[:, :, None] * tried[:, None, :]).reshape(p, dim * dim)
    # Q(N) of all directions at once: A_(ik)(JL) times N_J N_L
    Q = A.transpose(0, 1, 3, 2, 4).reshape(n, dim * dim, dim * dim) @ pairs.T
    lowest = np.linalg.eigvalsh(Q.transpose(0, 2, 1).reshape(n, p, dim, dim))[:, :, 0]
    N = tried[lowest.argmin(axis=1)]
    for _ in range(ROUNDS):
        values, vectors = np.linalg.eigh(np.einsum("niJkL,nJ,nL->nik", A, N, N, optimize=True))
        m = vectors[:, :, 0]
        N = np.linalg.eigh(np.einsum("niJkL,ni,nk->nJL", A, m, m, optimize=True))[1][:, :, 0]
    values, vectors = np.linalg.eigh(np.einsum("niJkL,nJ,nL->nik", A, N, N, optimize=True))
    return values[:, 0], N, vectors[:, :, 0]


def _directions(dim: int) -> Array:
    """Unit vectors spread evenly over half of the circle, or over half of the sphere (a Fibonacci lattice): (p, dim)."""
    k = np.arange(DIRECTIONS[dim]) + 0.5
    if dim == 2:
        angle = np.pi * k / len(k)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    z, angle = k / len(k), np.pi * (1.0 + np.sqrt(5.0)) * k
    r = np.sqrt(1.0 - z**2)
    return np.stack([r * np.cos(angle), r * np.sin(angle), z], axis=1)
