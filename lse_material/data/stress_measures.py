"""From the strains and stresses that people write to F and the first Piola-Kirchhoff stress P.

    P = F S = tau F^-T = J sigma F^-T,    T = (U S + S U) / 2 (Biot),    F = U = sqrt(C) where no rotation is known

S: second Piola-Kirchhoff, sigma: Cauchy, tau: Kirchhoff stress. An objective energy needs no rotation: F and U have the same
strains. Components of stress that are not known are NaN; a sum in which they have the factor 0 does not need them.
"""

import numpy as np

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError

SYMMETRIC = 1e-6  # relative: P U^T of a pure stretch U is symmetric to this


def stretch_of(C: Array) -> Array:
    """U = sqrt(C) (n, dim, dim) of right Cauchy-Green tensors C.

    Raises InvalidInputError: a C that is not positive definite.
    """
    values, vectors = np.linalg.eigh(C)
    if not (values > 0.0).all():
        row = int(np.argmin(values.min(axis=1)))
        raise InvalidInputError(
            f"C = I + 2 E in row {row} has the eigenvalue {values[row].min():.6g}; it must be positive. C = {C[row].tolist()}."
        )
    result: Array = np.einsum("nia,na,nja->nij", vectors, np.sqrt(values), vectors)
    shear_free = np.abs(C - np.einsum("nii->ni", C)[:, None, :] * np.eye(C.shape[-1])).max(axis=(1, 2)) == 0.0
    exact = np.sqrt(np.einsum("nii->ni", C))[:, None, :] * np.eye(C.shape[-1])
    return np.where(shear_free[:, None, None], exact, result)


def first_piola_kirchhoff(measure: str, stress: Array, F: Array, *, rotation_known: bool = True) -> Array:
    """P (n, dim, dim) of stresses "P", "S", "sigma", "tau" or "Biot" at F, NaN where a component is not known.

    The rotation is not known if F is the stretch U of strains that were given without one. Raises InvalidInputError: the stress
    needs it, or components that are missing.
    """
    if measure == "Biot":
        stress, measure = _second_of_biot(stress, F), "S"
    if measure == "S":
        return _product(F, stress)
    shears = ~np.eye(F.shape[-1], dtype=bool)
    sheared = bool(F[:, shears].any())
    if measure in ("sigma", "tau"):
        if not rotation_known and (sheared or np.nan_to_num(stress[:, shears]).any()):
            raise InvalidInputError(
                "Cauchy and Kirchhoff stresses turn with the body, and strains without F do not tell its rotation: give F, or "
                "second Piola-Kirchhoff or Biot stresses."
            )
        J = np.linalg.det(F)[:, None, None] if measure == "sigma" else 1.0
        return _product(J * stress, np.swapaxes(np.linalg.inv(F), 1, 2))
    if sheared and not rotation_known:
        tau = np.einsum("nij,nkj->nik", stress, F)
        skew = np.abs(tau - np.swapaxes(tau, 1, 2)).max()
        if not skew <= SYMMETRIC * np.abs(tau).max():  # NaN too: a part of P does not tell
            raise InvalidInputError(
                "P turns with the body, and strains without F do not tell its rotation (P U^T is not symmetric, U the stretch "
                "of these strains): give F, or second Piola-Kirchhoff stresses."
            )
    return stress


def symmetric(upper: Array, lower: Array, name: str) -> Array:
    """Components of a symmetric tensor from both of their columns, of which one may be NaN.

    Raises InvalidInputError: they differ by more than rounding.
    """
    both = np.isfinite(upper) & np.isfinite(lower)
    size = np.abs(np.where(both, upper, 0.0)).max(initial=0.0)
    if both.any() and np.abs(upper - lower)[both].max() > SYMMETRIC * size:
        row = int(np.argmax(np.where(both, np.abs(upper - lower), 0.0)))
        raise InvalidInputError(
            f"{name} is symmetric, but its components in row {row} are {upper[row]:g} and {lower[row]:g}."
        )
    return np.where(np.isfinite(upper), upper, lower)


def _product(a: Array, b: Array) -> Array:
    """A product of matrices (n, dim, dim) in which nothing times an exact 0 is 0."""
    terms = a[:, :, :, None] * b[:, None, :, :]
    terms[np.broadcast_to((a == 0.0)[:, :, :, None] | (b == 0.0)[:, None, :, :], terms.shape)] = 0.0
    result: Array = terms.sum(axis=2)
    return result


def _second_of_biot(T: Array, F: Array) -> Array:
    """S of T = (U S + S U) / 2, in the principal directions of U: S_ab = 2 T_ab / (l_a + l_b)."""
    known = np.isfinite(T)
    partly = known.any(axis=(1, 2)) & ~known.all(axis=(1, 2))
    if partly.any():
        raise InvalidInputError(f"Biot stresses are converted as a whole; row {int(np.argmax(partly))} has some.")
    values, vectors = np.linalg.eigh(np.swapaxes(F, 1, 2) @ F)
    stretches = np.sqrt(values)
    principal = np.einsum("nia,nij,njb->nab", vectors, T, vectors)
    principal *= 2.0 / (stretches[:, :, None] + stretches[:, None, :])
    result: Array = np.einsum("nia,nab,njb->nij", vectors, principal, vectors)
    return result
