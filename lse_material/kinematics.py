"""Strain measures x(F): what a potential takes as input, with first and second derivatives in closed form.

2D is plane strain: F has a third diagonal entry 1, which enters the invariants and leaves E33 = 0 out of x.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lse_material.checks import Array
from lse_material.errors import FormatError, InvalidInputError

# (row, column) of each component in Mandel order; off-diagonal components carry a factor sqrt(2)
MANDEL: dict[int, tuple[tuple[int, int], ...]] = {
    2: ((0, 0), (1, 1), (0, 1)),
    3: ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)),
}


@dataclass(frozen=True)
class Kinematics(ABC):
    """A strain measure x(F) with d = `size` components.

    Attributes:
        dim: 2 (plane strain) or 3.

    Raises:
        InvalidInputError: dim is neither 2 nor 3.
    """

    dim: int
    objective: ClassVar[bool] = True  # x(Q F) = x(F) for every rotation Q

    def __post_init__(self) -> None:
        if not isinstance(self.dim, (int, np.integer)) or self.dim not in (2, 3):
            raise InvalidInputError(f"{type(self).__name__}: dim is {self.dim!r}; it must be 2 (plane strain) or 3.")
        object.__setattr__(self, "dim", int(self.dim))

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of components of x."""

    @abstractmethod
    def strain(self, F: Array) -> Array:
        """X: F (n, dim, dim) -> (n, size)."""

    @abstractmethod
    def derivative(self, F: Array) -> Array:
        """dx/dF: F (n, dim, dim) -> (n, size, dim, dim)."""

    @abstractmethod
    def geometric(self, F: Array, g: Array) -> Array:
        """sum_i g_i d2x_i/dF dF: F (n, dim, dim), g (n, size) -> (n, dim, dim, dim, dim), index [n, i, J, k, L]."""

    def to_dict(self) -> dict[str, Any]:
        """Type and parameters, for the file."""
        return {"type": type(self).__name__, "dim": self.dim}


def mandel(symmetric: Array) -> Array:
    """Mandel components of symmetric tensors: (..., dim, dim) -> (..., d), so that dot products are tensor products."""
    pairs = MANDEL[symmetric.shape[-1]]
    return np.stack([symmetric[..., a, b] * (1.0 if a == b else np.sqrt(2.0)) for a, b in pairs], axis=-1)


def from_mandel(x: Array) -> Array:
    """The symmetric tensors with these Mandel components: (..., d) -> (..., dim, dim)."""
    dim = {3: 2, 6: 3}[x.shape[-1]]
    tensor = np.empty((*x.shape[:-1], dim, dim))
    for i, (a, b) in enumerate(MANDEL[dim]):
        tensor[..., a, b] = tensor[..., b, a] = x[..., i] * (1.0 if a == b else np.sqrt(0.5))
    return tensor


def _mandel_basis(dim: int) -> Array:
    """basis[i, a, b] with x_i = basis[i] : symmetric tensor; (d, dim, dim)."""
    return from_mandel(np.eye(len(MANDEL[dim])))


@dataclass(frozen=True)
class GreenLagrange(Kinematics):
    """Green-Lagrange strain E = (F^T F - I) / 2 in Mandel order, (11, 22, sqrt2*12) or (11, 22, 33, sqrt2*23, 13, 12).

    Objective; W is a function of E, so its stress S = dW/dE is the second Piola-Kirchhoff stress.
    """

    @property
    def size(self) -> int:  # noqa: D102
        return len(MANDEL[self.dim])

    def strain(self, F: Array) -> Array:  # noqa: D102
        C = np.swapaxes(F, -1, -2) @ F
        return mandel(0.5 * (C - np.eye(self.dim)))

    def derivative(self, F: Array) -> Array:  # noqa: D102
        # dE_ab/dF_kL = (delta_aL F_kb + F_ka delta_bL)/2, against a symmetric basis: F_ka basis[i, a, L]
        return F[:, None] @ _mandel_basis(self.dim)

    def geometric(self, F: Array, g: Array) -> Array:  # noqa: D102
        S = from_mandel(g)  # sum_i g_i basis[i]
        result: Array = np.einsum("ik,nJL->niJkL", np.eye(self.dim), S)
        return result


@dataclass(frozen=True)
class SmallStrain(Kinematics):
    """Small strain eps = (F + F^T)/2 - I in Mandel order. Linear in F: not objective, for small rotations only."""

    objective: ClassVar[bool] = False

    @property
    def size(self) -> int:  # noqa: D102
        return len(MANDEL[self.dim])

    def strain(self, F: Array) -> Array:  # noqa: D102
        return mandel(0.5 * (F + np.swapaxes(F, -1, -2)) - np.eye(self.dim))

    def derivative(self, F: Array) -> Array:  # noqa: D102
        basis = _mandel_basis(self.dim)
        return np.broadcast_to(basis, (len(F), *basis.shape))

    def geometric(self, F: Array, g: Array) -> Array:  # noqa: D102
        return np.zeros((len(F), *(self.dim,) * 4))


@dataclass(frozen=True)
class IsotropicInvariants(Kinematics):
    """Isochoric invariants and volume change: x = (J^(-2/3) I1 - 3, J^(-4/3) I2 - 3, (J - 1)^2).

    I1 and I2 are those of C = F^T F, in 2D of the plane-strain tensor with C33 = 1. Objective and isotropic. These are
    the inputs of NN-EUCLID (Thakolkaran et al., JMPS 169, 105076, 2022). x vanishes in the reference state. NaN where
    J <= 0.

    Attributes:
        squared_volume: the third input is (J - 1)^2, or J - 1 if False.
    """

    squared_volume: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.squared_volume, bool):
            raise InvalidInputError(f"squared_volume is {self.squared_volume!r}; it must be True or False.")

    @property
    def size(self) -> int:  # noqa: D102
        return 3

    def to_dict(self) -> dict[str, Any]:  # noqa: D102
        return {**super().to_dict(), "squared_volume": self.squared_volume}

    def strain(self, F: Array) -> Array:  # noqa: D102
        J, I1, I2 = self._invariants(F)
        volume = (J - 1.0) ** 2 if self.squared_volume else J - 1.0
        return np.stack([J ** (-2 / 3) * I1 - 3.0, J ** (-4 / 3) * I2 - 3.0, volume], axis=1)

    def derivative(self, F: Array) -> Array:  # noqa: D102
        J, I1, I2 = self._invariants(F)
        dJ, dI1, dI2 = self._first(F, I1)
        rows = [
            _outer(J ** (-2 / 3), dI1) + _outer(-2 / 3 * J ** (-5 / 3) * I1, dJ),
            _outer(J ** (-4 / 3), dI2) + _outer(-4 / 3 * J ** (-7 / 3) * I2, dJ),
            _outer(2.0 * (J - 1.0), dJ) if self.squared_volume else dJ,
        ]
        return np.stack(rows, axis=1)

    def geometric(self, F: Array, g: Array) -> Array:  # noqa: D102
        J, I1, I2 = self._invariants(F)
        dJ, dI1, dI2 = self._first(F, I1)
        eye = np.eye(self.dim)
        C, B = np.swapaxes(F, 1, 2) @ F, F @ np.swapaxes(F, 1, 2)
        identity = np.einsum("ik,JL->iJkL", eye, eye)
        d2I2 = 2.0 * (
            2.0 * np.einsum("niJ,nkL->niJkL", F, F)
            + I1[:, None, None, None, None] * identity
            - np.einsum("ik,nJL->niJkL", eye, C)
            - np.einsum("niL,nkJ->niJkL", F, F)
            - np.einsum("JL,nik->niJkL", eye, B)
        )
        g1, g2, g3 = g.T
        # the chain rule through (J, I1, I2): weights of d2J, d2I1, d2I2 and of the products of first derivatives
        wJ = g1 * (-2 / 3) * J ** (-5 / 3) * I1 + g2 * (-4 / 3) * J ** (-7 / 3) * I2
        wJJ = g1 * (10 / 9) * J ** (-8 / 3) * I1 + g2 * (28 / 9) * J ** (-10 / 3) * I2
        if self.squared_volume:
            wJ, wJJ = wJ + g3 * 2.0 * (J - 1.0), wJJ + 2.0 * g3
        else:
            wJ = wJ + g3
        cross = _outer(g1 * (-2 / 3) * J ** (-5 / 3), dI1) + _outer(g2 * (-4 / 3) * J ** (-7 / 3), dI2)
        product = np.einsum("niJ,nkL->niJkL", cross + _outer(0.5 * wJJ, dJ), dJ)
        result: Array = (
            _outer(2.0 * g1 * J ** (-2 / 3), identity[None])
            + _outer(g2 * J ** (-4 / 3), d2I2)
            + _outer(wJ, determinant_second_derivative(F))
            + product
            + np.moveaxis(product, (1, 2), (3, 4))
        )
        return result

    def _invariants(self, F: Array) -> tuple[Array, Array, Array]:
        J = positive_determinant(F)
        C = np.swapaxes(F, 1, 2) @ F
        plane = 1.0 if self.dim == 2 else 0.0
        I1 = np.trace(C, axis1=1, axis2=2) + plane
        I2 = 0.5 * (I1**2 - (C * C).sum(axis=(1, 2)) - plane)
        return J, I1, I2

    def _first(self, F: Array, I1: Array) -> tuple[Array, Array, Array]:
        C = np.swapaxes(F, 1, 2) @ F
        return cofactor(F), 2.0 * F, 2.0 * (_outer(I1, F) - F @ C)


def positive_determinant(F: Array) -> Array:
    """J = det F, NaN where it is not positive: (n, dim, dim) -> (n,)."""
    J = np.einsum("nJ,nJ->n", F[:, 0], cofactor(F)[:, 0])
    return np.where(J > 0.0, J, np.nan)


def cofactor(F: Array) -> Array:
    """dJ/dF, without a division: (n, dim, dim) -> (n, dim, dim)."""
    if F.shape[-1] == 2:
        return np.stack([np.stack([F[:, 1, 1], -F[:, 1, 0]], 1), np.stack([-F[:, 0, 1], F[:, 0, 0]], 1)], 1)
    rows = [np.cross(F[:, (i + 1) % 3], F[:, (i + 2) % 3]) for i in range(3)]
    return np.stack(rows, axis=1)


def determinant_second_derivative(F: Array) -> Array:
    """d2J/dF dF: (n, dim, dim) -> (n, dim, dim, dim, dim)."""
    if F.shape[-1] == 2:
        e = np.array([[0.0, 1.0], [-1.0, 0.0]])
        return np.broadcast_to(np.einsum("ik,JL->iJkL", e, e), (len(F), 2, 2, 2, 2))
    e = np.zeros((3, 3, 3))
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        e[i, j, k], e[i, k, j] = 1.0, -1.0
    result: Array = np.einsum("ikm,JLN,nmN->niJkL", e, e, F)
    return result


def _outer(scalar: Array, tensor: Array) -> Array:
    """Pointwise scalar (n,) times tensor (n, ...)."""
    return scalar.reshape(-1, *(1,) * (tensor.ndim - 1)) * tensor


def known_measure(kinematics: Kinematics, into: str) -> str:
    """The name of a strain measure that other floors write out again.

    A subclass may define another strain, which the translation of its parent would not give: it counts as unknown.

    Raises:
        InvalidInputError: it is none of those of this module; `into` says in the message what was wanted.
    """
    known = (GreenLagrange, SmallStrain, IsotropicInvariants)
    if type(kinematics) not in known:
        names = ", ".join(sorted(kind.__name__ for kind in known))
        raise InvalidInputError(
            f"the strain measure {type(kinematics).__name__} has no translation into {into}; known are {names}."
        )
    return type(kinematics).__name__


def kinematics_from_dict(data: Any) -> Kinematics:
    """The strain measure that `Kinematics.to_dict` described; FormatError if it is not one."""
    known: dict[str, type[Kinematics]] = {c.__name__: c for c in (GreenLagrange, SmallStrain, IsotropicInvariants)}
    if not isinstance(data, dict) or not isinstance(data.get("type"), str) or data["type"] not in known:
        raise FormatError(f"the strain measure {data!r} is not known; this version reads {sorted(known)}.")
    options = {key: value for key, value in data.items() if key != "type"}
    try:
        return known[data["type"]](**options)
    except (TypeError, InvalidInputError) as error:
        raise FormatError(f"the strain measure {data!r} cannot be built: {error}") from None
