"""Strain measures x(F): what a potential takes as input. Each is written once, for scalars of any kind.

`components` is called with hyper-dual numbers for values and derivatives at points, and with UFL scalars for forms. 2D is plane
strain: F has a third diagonal entry 1, which enters the invariants and leaves E33 = 0 out of x.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from lse_material._arrays import Array, classes, deformation_gradients, entries
from lse_material.errors import FormatError, InvalidInputError
from lse_material.model.hyperdual import HyperDual, on_scalars, variables

BUILT_IN: dict[str, type[StrainMeasure]] = {}  # the measures of this package, by name
BLOCK = 512  # points whose derivatives are computed at a time; they stay in the processor's cache

# (row, column) of each component in Mandel order; off-diagonal components carry a factor sqrt(2)
MANDEL: dict[int, tuple[tuple[int, int], ...]] = {
    2: ((0, 0), (1, 1), (0, 1)),
    3: ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)),
}


@dataclass(frozen=True)
class StrainMeasure(ABC):
    """A strain measure x(F) with d = `size` components.

    A measure of your own is a subclass with `size` and `components`:

    >>> class Karni(lse.StrainMeasure):
    ...     size = 3
    ...
    ...     def components(self, F):
    ...         C = F.T @ F
    ...         return lse.model.mandel(0.25 * (C - lse.model.inverse(C)))
    >>> Karni(2).strain(np.diag([2.0, 1.0])[None])
    array([[0.9375, 0.    , 0.    ]])

    It works in fit, in files (`lse.load(path, kinematics=[Karni])`), in forms and at quadrature points. Parameters are
    fields of a frozen dataclass; the file holds them.

    Attributes:
        dim: 2 (plane strain) or 3.
        objective: whether x(Q F) = x(F) for every rotation Q.
        is_tensor: whether the components are those of one tensor: a fit gives them one scale.
        symmetry: of every material with this measure, in words; "" if the measure gives it none.

    Raises:
        InvalidInputError: dim is neither 2 nor 3.
    """

    dim: int
    objective: ClassVar[bool] = True
    is_tensor: ClassVar[bool] = True
    symmetry: ClassVar[str] = ""
    name: ClassVar[str] = "StrainMeasure"  # in files; a class that does not set it bears its own

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__
        if {"components", "strain"} & set(cls.__dict__):  # not those of its parent, of which more is known
            for name in {"labels", "symmetry", "monotone_inputs", "volume_shares"} - set(cls.__dict__):
                setattr(cls, name, vars(StrainMeasure)[name])
        if cls.__module__.startswith("lse_material.") and cls.name:  # none: what several measures have in common
            BUILT_IN[cls.name] = cls

    def __post_init__(self) -> None:
        if not isinstance(self.dim, (int, np.integer)) or self.dim not in (2, 3):
            raise InvalidInputError(f"{type(self).__name__}: dim is {self.dim!r}; it must be 2 (plane strain) or 3.")
        object.__setattr__(self, "dim", int(self.dim))

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of components of x."""

    def components(self, F: Any) -> Sequence[Any] | Array:
        """The components of x as scalars of the kind that F holds: the definition of the measure.

        Args:
            F: (dim, dim), an array of scalars (of dtype object). Use + - * / **, @, `numpy.trace`, the functions of this module
                and sqrt, log, exp of `lse_material.model.hyperdual`; neither comparisons nor functions of NumPy on numbers.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what its components are: write components(F).")

    @property
    def labels(self) -> tuple[str, ...]:
        """What the components are called on axes and in tables; x1, x2, ... unless the measure says more."""
        return tuple(f"x{i + 1}" for i in range(self.size))

    @property
    def monotone_inputs(self) -> tuple[int, ...] | None:
        """The components in which a convex mode must not decrease for W(F) to be polyconvex in its well; None if not known."""
        return None

    @property
    def volume_shares(self) -> tuple[float, ...] | None:
        """c_i for all components but the last, J - 1, where x_i + c_i (J - 1) is convex along exp(t L) F, L symmetric.

        `lse.fem.frozen_tangent` then keeps the curvature of the components. None, the default, where there are no such c.
        """
        return None

    def strain(self, F: Array) -> Array:
        """X: F (..., dim, dim) -> (..., size); NaN where a component is not finite."""
        flat, shape = self._flat(F)
        return self._at(flat, 0)[0].reshape(*shape, self.size)

    def derivative(self, F: Array) -> Array:
        """dx/dF: F (..., dim, dim) -> (..., size, dim, dim); NaN where x is."""
        F, shape = self._flat(F)
        result = np.zeros((len(F), self.size, self.dim**2))
        for start in range(0, len(F), BLOCK):
            part = slice(start, start + BLOCK)
            x, numbers = self._at(F[part], 1)
            for i, number in enumerate(numbers):
                if number.first is not None:
                    result[part, i] = number.first.T
            result[part][np.isnan(x[:, 0])] = np.nan
        return result.reshape(*shape, self.size, self.dim, self.dim)

    def geometric(self, F: Array, g: Array) -> Array:
        """sum_i g_i d2x_i/dF dF: F (..., dim, dim), g (..., size) -> (..., dim, dim, dim, dim), index [n, i, J, k, L]."""
        m = self.dim**2
        F, shape = self._flat(F)
        g = np.broadcast_to(g, (*shape, self.size)).reshape(-1, self.size)
        result = np.empty((len(F), m, m))
        for start in range(0, len(F), BLOCK):
            part = slice(start, start + BLOCK)
            x, numbers = self._at(F[part], 2)
            result[part] = _weighted([number.second for number in numbers], g[part], m)
            result[part][np.isnan(x[:, 0])] = np.nan
        return result.reshape(*shape, *(self.dim,) * 4)

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters, for the file."""
        return {"type": self.name, **{field.name: getattr(self, field.name) for field in fields(self)}}

    def _flat(self, F: Any) -> tuple[Array, tuple[int, ...]]:
        """F as (n, dim, dim), and the axes before its last two."""
        array = deformation_gradients(F, self.dim)
        return array.reshape(-1, self.dim, self.dim), array.shape[:-2]

    def _at(self, F: Array, order: int) -> tuple[Array, list[HyperDual]]:
        """The components at F, as values (n, size) and with their derivatives."""
        at = variables(list(np.ascontiguousarray(np.moveaxis(F, 0, -1)).reshape(self.dim**2, -1)), order)

        def components(F: Any) -> list[HyperDual]:
            found = expect_components(self, self.components(F))
            return [c if isinstance(c, HyperDual) else HyperDual(float(c), order=order) for c in found]

        with np.errstate(all="ignore"):
            numbers = on_scalars(f"{type(self).__name__}.components", components, tensor(at, self.dim))
            x = np.empty((len(F), self.size))
            for i, number in enumerate(numbers):
                x[:, i] = number.value
        x[~np.isfinite(x).all(axis=1)] = np.nan
        return x, numbers


def _weighted(seconds: list[Array | None], g: Array, m: int) -> Array:
    """sum_i g_i seconds_i, (n, m, m): what is the same at all points in one product of matrices."""
    same = [i for i, second in enumerate(seconds) if second is not None and second.shape[2] == 1]
    constant = np.reshape([seconds[i] for i in same], (len(same), m * m))
    result: Array = (g[:, same] @ constant).reshape(len(g), m, m)
    others = [second * weight for second, weight in zip(seconds, g.T) if second is not None and second.shape[2] != 1]
    return result + np.moveaxis(sum(others), 2, 0) if others else result


def tensor(scalars: Sequence[Any], dim: int) -> Any:
    """dim^2 scalars of any kind, row by row, as an array (dim, dim) that `StrainMeasure.components` takes.

    >>> lse.model.tensor([1.0, 2.0, 3.0, 4.0], 2).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    result = np.empty((dim, dim), dtype=object)
    for i, scalar in enumerate(scalars):
        result[divmod(i, dim)] = scalar
    return result


def expect_components(kinematics: StrainMeasure, found: Any) -> tuple[Any, ...]:
    """The components; InvalidInputError: they are no list, or not as many as the measure says."""
    what = f"{type(kinematics).__name__}.components"
    components = entries(what, found)
    if len(components) != kinematics.size:
        raise InvalidInputError(f"{what} gives {len(components)} scalars, but its size is {kinematics.size}.")
    return components


def right_cauchy_green(F: Any) -> Any:
    """C = F^T F of an array (dim, dim) of scalars of any kind; as F.T @ F, in two thirds of the time, since C is symmetric.

    >>> lse.model.right_cauchy_green(np.array([[1.0, 0.5], [0.0, 1.0]])).astype(float)
    array([[1.  , 0.5 ],
           [0.5 , 1.25]])
    """
    dim = len(F)
    C = np.empty((dim, dim), dtype=object)
    for a in range(dim):
        for b in range(a, dim):
            C[a, b] = C[b, a] = sum((F[k, a] * F[k, b] for k in range(1, dim)), F[0, a] * F[0, b])
    return C


def determinant(A: Any) -> Any:
    """The determinant of an array (2, 2) or (3, 3) of scalars of any kind.

    >>> float(lse.model.determinant(np.diag([2.0, 3.0])))
    6.0
    """
    if len(A) == 2:
        return A[0, 0] * A[1, 1] - A[0, 1] * A[1, 0]
    return sum(
        A[0, j] * (A[1, (j + 1) % 3] * A[2, (j + 2) % 3] - A[1, (j + 2) % 3] * A[2, (j + 1) % 3]) for j in range(3)
    )


def inverse(A: Any) -> Any:
    """The inverse of an array (2, 2) or (3, 3) of scalars of any kind.

    >>> lse.model.inverse(np.array([[2.0, 1.0], [1.0, 1.0]])).astype(float)
    array([[ 1., -1.],
           [-1.,  2.]])
    """
    return adjugate(A) * (1.0 / determinant(A))


def adjugate(A: Any) -> Any:
    """det A times the inverse of an array (2, 2) or (3, 3) of scalars of any kind; cof F is `adjugate(F).T`.

    >>> lse.model.adjugate(np.diag([2.0, 3.0])).astype(float)
    array([[ 3., -0.],
           [-0.,  2.]])
    """
    if len(A) == 2:
        return tensor([A[1, 1], -A[0, 1], -A[1, 0], A[0, 0]], 2)
    cyclic = [(1, 2), (2, 0), (0, 1)]
    return tensor([A[j, k] * A[m, n] - A[j, n] * A[m, k] for k, n in cyclic for j, m in cyclic], 3)


def mandel(symmetric: Array) -> Array:
    """Mandel components of symmetric tensors: (..., dim, dim) -> (..., d), so that dot products are tensor products.

    They may also be of one tensor of scalars of any kind (dtype object).

    >>> lse.model.mandel(np.array([[1.0, 0.5], [0.5, 2.0]])).round(4)
    array([1.    , 2.    , 0.7071])
    """
    pairs, root2 = MANDEL[symmetric.shape[-1]], float(np.sqrt(2.0))
    if symmetric.dtype != object:
        return np.stack([symmetric[..., a, b] * (1.0 if a == b else root2) for a, b in pairs], axis=-1)
    result = np.empty(len(pairs), dtype=object)
    for i, (a, b) in enumerate(pairs):
        result[i] = symmetric[a, b] if a == b else symmetric[a, b] * root2
    return result


def _mandel_labels(letter: str, dim: int) -> tuple[str, ...]:
    return tuple(("" if a == b else "√2 ") + f"{letter}{a + 1}{b + 1}" for a, b in MANDEL[dim])


def from_mandel(x: Array) -> Array:
    """The symmetric tensors with these Mandel components: (..., d) -> (..., dim, dim).

    >>> lse.model.from_mandel(np.array([1.0, 2.0, np.sqrt(2.0)])).round(4)
    array([[1., 1.],
           [1., 2.]])
    """
    dim = {3: 2, 6: 3}[x.shape[-1]]
    tensor = np.empty((*x.shape[:-1], dim, dim))
    for i, (a, b) in enumerate(MANDEL[dim]):
        tensor[..., a, b] = tensor[..., b, a] = x[..., i] * (1.0 if a == b else np.sqrt(0.5))
    return tensor


@dataclass(frozen=True)
class GreenLagrange(StrainMeasure):
    """Green-Lagrange strain E = (F^T F - I) / 2 in Mandel order: (11, 22, sqrt2*12), or in 3D
    (11, 22, 33, sqrt2*23, sqrt2*13, sqrt2*12).

    Objective; W is a function of E, so its stress S = dW/dE is the second Piola-Kirchhoff stress.

    >>> lse.GreenLagrange(2).strain(np.array([[[1.2, 0.0], [0.0, 1.0]]])).round(4)
    array([[0.22, 0.  , 0.  ]])
    """

    @property
    def size(self) -> int:  # noqa: D102
        return len(MANDEL[self.dim])

    @property
    def labels(self) -> tuple[str, ...]:  # noqa: D102
        return _mandel_labels("E", self.dim)

    def components(self, F: Any) -> Sequence[Any] | Array:  # noqa: D102
        return mandel(0.5 * (right_cauchy_green(F) - np.eye(self.dim)))


@dataclass(frozen=True)
class SmallStrain(StrainMeasure):
    """Small strain eps = (F + F^T)/2 - I in Mandel order. Linear in F: not objective, for small rotations only.

    >>> lse.SmallStrain(2).strain(np.array([[[1.2, 0.0], [0.0, 1.0]]])).round(4)
    array([[0.2, 0. , 0. ]])
    """

    objective: ClassVar[bool] = False

    @property
    def monotone_inputs(self) -> tuple[int, ...]:  # noqa: D102
        return ()

    @property
    def size(self) -> int:  # noqa: D102
        return len(MANDEL[self.dim])

    @property
    def labels(self) -> tuple[str, ...]:  # noqa: D102
        return _mandel_labels("ε", self.dim)

    def components(self, F: Any) -> Sequence[Any] | Array:  # noqa: D102
        return mandel(0.5 * (F + F.T) - np.eye(self.dim))


@dataclass(frozen=True)
class StrainAndVolume(StrainMeasure):
    """Green-Lagrange strain and change of volume, x = (E in Mandel order, J - 1). Objective.

    E alone determines J, but not linearly: modes that are convex in both may resist a change of volume by itself, as pores that
    close do. A symmetry of the lattice acts on E and leaves J.

    >>> lse.StrainAndVolume(2).strain(np.array([[[1.2, 0.0], [0.0, 1.0]]])).round(4)
    array([[0.22, 0.  , 0.  , 0.2 ]])
    """

    is_tensor: ClassVar[bool] = False

    @property
    def size(self) -> int:  # noqa: D102
        return len(MANDEL[self.dim]) + 1

    @property
    def labels(self) -> tuple[str, ...]:  # noqa: D102
        return *_mandel_labels("E", self.dim), "J-1"

    def components(self, F: Any) -> Sequence[Any] | Array:  # noqa: D102
        return *mandel(0.5 * (right_cauchy_green(F) - np.eye(self.dim))), determinant(F) - 1.0


@dataclass(frozen=True)
class IsotropicInvariants(StrainMeasure):
    """Isochoric invariants and volume change: x = (J^(-2/3) I1 - 3, J^(-4/3) I2 - 3, (J - 1)^2).

    I1 and I2 are those of C = F^T F, in 2D of the plane-strain tensor with C33 = 1. Objective and isotropic. These are the
    inputs of NN-EUCLID (Thakolkaran et al., JMPS 169, 105076, 2022). x vanishes in the reference state. NaN where J <= 0.

    Attributes:
        squared_volume: the third input is (J - 1)^2, or J - 1 if False.

    >>> lse.IsotropicInvariants(3).strain(np.diag([1.2, 1.0, 1.0])[None]).round(4)
    array([[0.0463, 0.0427, 0.04  ]])
    """

    squared_volume: bool = True
    is_tensor: ClassVar[bool] = False
    symmetry: ClassVar[str] = "isotropic"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.squared_volume, bool):
            raise InvalidInputError(f"squared_volume is {self.squared_volume!r}; it must be True or False.")

    @property
    def size(self) -> int:  # noqa: D102
        return 3

    @property
    def labels(self) -> tuple[str, ...]:  # noqa: D102
        return "J^(-2/3) I1 - 3", "J^(-4/3) I2 - 3", "(J-1)²" if self.squared_volume else "J-1"

    def components(self, F: Any) -> Sequence[Any] | Array:  # noqa: D102
        C, J = right_cauchy_green(F), determinant(F)
        plane = 1.0 if self.dim == 2 else 0.0
        I1 = np.trace(C) + plane
        I2 = 0.5 * (I1**2 - (C * C).sum() - plane)
        return J ** (-2 / 3) * I1 - 3.0, J ** (-4 / 3) * I2 - 3.0, (J - 1.0) ** 2 if self.squared_volume else J - 1.0


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
    return np.asarray(np.einsum("ikm,JLN,nmN->niJkL", e, e, F))


def expect_one_definition(kinematics: StrainMeasure, into: str) -> None:
    """Raise InvalidInputError if a measure is more, or other, than its `components` say; `into` says what was wanted."""
    kind = type(kinematics)
    if kind.components is StrainMeasure.components or any(
        getattr(kind, method) is not getattr(StrainMeasure, method) for method in ("strain", "derivative", "geometric")
    ):
        raise InvalidInputError(
            f"the strain measure {kind.__name__} has no translation into {into}: it is not defined by components(F) alone. "
            "Write components(F) on scalars of any kind, and leave strain, derivative and geometric as they are."
        )


def strain_measure_from_dict(data: Any, own: Sequence[type[StrainMeasure]] = ()) -> StrainMeasure:
    """The strain measure that `StrainMeasure.to_dict` described, built in or one of `own`; FormatError if it is neither."""
    known: dict[str, type[StrainMeasure]] = {
        kind.name: kind for kind in classes("kinematics", own, StrainMeasure)
    } | BUILT_IN
    if not isinstance(data, dict) or not isinstance(data.get("type"), str) or data["type"] not in known:
        raise FormatError(
            f"the strain measure {data!r} is not known; this version reads {sorted(known)}. If it is a class of your own, pass "
            "it: lse.load(path, kinematics=[TheClass])."
        )
    options = {key: value for key, value in data.items() if key != "type"}
    try:
        return known[data["type"]](**options)
    except (TypeError, InvalidInputError) as error:
        raise FormatError(f"the strain measure {data!r} cannot be built: {error}") from None
