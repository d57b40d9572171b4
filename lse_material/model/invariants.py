"""Invariants of isotropic, transversely isotropic, orthotropic and cubic materials, in which modes can be polyconvex.

Each of their inputs is a polyconvex function of F: convex in F, cof F and J = det F together (J. M. Ball, Arch. Rat. Mech.
Anal. 63, 337 (1977)). A mode that is convex in the inputs, and does not decrease in any but the last, J - 1, is then
polyconvex, and so elliptic at every F with J > 0. Any other convex mode is objective and has the symmetry of the material, too.
The inputs follow J. Schroeder and P. Neff, Int. J. Solids Struct. 40, 401 (2003), and D. K. Klein et al., J. Mech. Phys. Solids
159, 104703 (2022), whose invariants they are up to multiples of J - 1: these make the stress of all but the fibres' inputs
vanish at F = I, and let the inputs differ there. Energies that are quadratic in E are so in the inputs. x = 0 for rotations.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lse_material._arrays import float_array
from lse_material.errors import InvalidInputError
from lse_material.model.strain import StrainMeasure, adjugate, determinant

_WHOLE = {"|F|² - 3 - 2(J-1)": 2.0, "|cof F|² - 3 - 4(J-1)": 4.0}
_FIBRE = {"|Fa|² - 1": 0.0, "|cof F a|² - 1 - 2(J-1)": 2.0}
PARALLEL = 1e-9  # cosine of the angle between two axes up to which they count as perpendicular


def squared_norm(v: Any) -> Any:
    """v.v of an array of scalars of any kind; of a matrix the sum of its squared entries."""
    return (v * v).sum()


class StructuralInvariants(StrainMeasure):
    """What these invariants have in common: x_i = y_i - c_i (J - 1), in which modes must not decrease, and J - 1 at the end.

    y_i are convex functions of F, or of cof F, that vanish at F = I.
    """

    is_tensor: ClassVar[bool] = False
    name: ClassVar[str] = ""
    inputs: ClassVar[dict[int, dict[str, float]]]  # of each dimension: what the x_i are called, and their c_i

    @property
    def labels(self) -> tuple[str, ...]:  # noqa: D102
        return *self.inputs[self.dim], "J-1"

    @property
    def volume_shares(self) -> tuple[float, ...]:  # noqa: D102
        return tuple(self.inputs[self.dim].values())

    @abstractmethod
    def invariants(self, F: Any, cofactors: Any) -> Sequence[Any]:
        """The y_i, scalars of any kind."""

    @property
    def size(self) -> int:  # noqa: D102
        return len(self.inputs[self.dim]) + 1

    @property
    def monotone_inputs(self) -> tuple[int, ...]:  # noqa: D102
        return tuple(range(self.size - 1))

    def components(self, F: Any) -> Sequence[Any]:  # noqa: D102
        volume = determinant(F) - 1.0
        y = self.invariants(F, adjugate(F).T)
        return *(yi - c * volume if c else yi for yi, c in zip(y, self.inputs[self.dim].values())), volume


@dataclass(frozen=True)
class PrincipalInvariants(StructuralInvariants):
    """Of isotropic materials: x = (|F|^2 - 3 - 2 (J - 1), |cof F|^2 - 3 - 4 (J - 1), J - 1); in 2D the first and the last.

    Guarantees: objective, isotropic (complete), and polyconvex if the mode does not decrease in the inputs before J - 1. The
    stress at F = I is a pressure, dW/dx of J - 1. See `Architecture.stiffness` for coercive modes, `Growth` for J -> 0.

    >>> lse.PrincipalInvariants(3).strain(np.diag([1.2, 1.0, 1.0])[None]).round(4)
    array([[0.04, 0.08, 0.2 ]])
    """

    symmetry: ClassVar[str] = "isotropic"
    inputs: ClassVar[dict[int, dict[str, float]]] = {2: {"|F|² - 2 - 2(J-1)": 2.0}, 3: _WHOLE}

    def invariants(self, F: Any, cofactors: Any) -> Sequence[Any]:  # noqa: D102
        shape = squared_norm(F) - self.dim
        return (shape, squared_norm(cofactors) - 3.0) if self.dim == 3 else (shape,)


@dataclass(frozen=True)
class TransverseInvariants(StructuralInvariants):
    """Of transversely isotropic materials with fibres along a: those of `PrincipalInvariants` in 3D, and two of the fibres:

        x = (|F|^2 - 3 - 2 (J - 1), |cof F|^2 - 3 - 4 (J - 1), |F a|^2 - 1, |cof F a|^2 - 1 - 2 (J - 1), J - 1)

    |F a| is the stretch of the fibres, |cof F a| that of the areas across them. In 2D, with a in the plane, the last three
    say all. Guarantees: objective, transversely isotropic (complete), and polyconvex if the mode does not decrease in the
    inputs before J - 1. The stress at F = I is a pressure and a tension along a, in which the two fibre inputs are opposite.

    Attributes:
        a: direction of the fibres at F = I, normalised; the first axis if left out. Where it differs from point to point:
            `lse.fem.energy(..., orientation=)`.

    Raises:
        InvalidInputError: a is no direction of this dimension.

    >>> lse.TransverseInvariants(2, a=(0, 1)).strain(np.diag([1.0, 1.2])[None]).round(4)
    array([[ 0.44, -0.4 ,  0.2 ]])
    """

    a: tuple[float, ...] = ()
    symmetry: ClassVar[str] = "transversely isotropic"
    inputs: ClassVar[dict[int, dict[str, float]]] = {2: _FIBRE, 3: {**_WHOLE, **_FIBRE}}

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "a", _axes(self.dim, self.a, ())[0])

    def invariants(self, F: Any, cofactors: Any) -> Sequence[Any]:  # noqa: D102
        a = np.array(self.a)
        fibre = squared_norm(F @ a) - 1.0, squared_norm(cofactors @ a) - 1.0
        return (squared_norm(F) - 3.0, squared_norm(cofactors) - 3.0, *fibre) if self.dim == 3 else fibre


@dataclass(frozen=True)
class InvariantsOfAxes(StructuralInvariants):
    """What invariants of two perpendicular axes have in common: a and b, checked and normalised."""

    a: tuple[float, ...] = ()
    b: tuple[float, ...] = ()
    name: ClassVar[str] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, axis in zip("ab", _axes(self.dim, self.a, self.b)):
            object.__setattr__(self, name, axis)


@dataclass(frozen=True)
class OrthotropicInvariants(InvariantsOfAxes):
    """Of orthotropic materials with the axes a, b and c = a x b, for each of which there are two inputs, and J - 1 at the end:

        x = (|F a|^2 - 1, |F b|^2 - 1, |F c|^2 - 1,
             |cof F a|^2 - 1 - 2 (J - 1), |cof F b|^2 - 1 - 2 (J - 1), |cof F c|^2 - 1 - 2 (J - 1), J - 1)

    In 2D those of a say all: x is that of `TransverseInvariants`. Guarantees: objective, orthotropic (complete), and polyconvex
    if the mode does not decrease in the inputs before J - 1. At F = I there may be tensions along the axes.

    Attributes:
        a, b: two axes at F = I, normalised; the coordinate axes if left out. In 2D b is perpendicular to a.

    Raises:
        InvalidInputError: a or b is no direction of this dimension, or they are not perpendicular.

    >>> lse.OrthotropicInvariants(3).strain(np.diag([1.2, 1.0, 1.0])[None]).round(4)
    array([[ 0.44,  0.  ,  0.  , -0.4 ,  0.04,  0.04,  0.2 ]])
    """

    symmetry: ClassVar[str] = "orthotropic"
    inputs: ClassVar[dict[int, dict[str, float]]] = {
        2: _FIBRE,
        3: {f"|F{n}|² - 1": 0.0 for n in "abc"} | {f"|cof F {n}|² - 1 - 2(J-1)": 2.0 for n in "abc"},
    }

    def invariants(self, F: Any, cofactors: Any) -> Sequence[Any]:  # noqa: D102
        axes = frame(self.a, self.b) if self.dim == 3 else [np.array(self.a)]
        return *(squared_norm(F @ n) - 1.0 for n in axes), *(squared_norm(cofactors @ n) - 1.0 for n in axes)


@dataclass(frozen=True)
class CubicInvariants(InvariantsOfAxes):
    """Of cubic materials with the edges a, b and c = a x b; sums are over the edges n, and over the four body diagonals d:

        x = (|F|^2 - 3 - 2 (J - 1), |cof F|^2 - 3 - 4 (J - 1), sum |F n|^4 - 3 - 4 (J - 1),
             sum |cof F n|^4 - 3 - 8 (J - 1), sum |F d|^4 - 4 - 16/3 (J - 1), J - 1)

    2D (square): x = (|F|^2 - 2 - 2 (J - 1), sum |F n|^4 - 2 - 4 (J - 1), sum |F d|^4 - 2 - 4 (J - 1), J - 1). The diagonals are
    there for polyconvex modes that resist shear along the edges more than stretch. Guarantees: objective, cubic (complete in
    2D; in 3D with all three elastic constants), and polyconvex if the mode does not decrease in the inputs before J - 1. The
    stress at F = I is a pressure.

    Attributes:
        a, b: two edges at F = I, normalised; the coordinate axes if left out. In 2D b is perpendicular to a.

    Raises:
        InvalidInputError: a or b is no direction of this dimension, or they are not perpendicular.

    >>> lse.CubicInvariants(2).strain(np.diag([1.2, 1.0])[None]).round(4)
    array([[0.04  , 0.2736, 0.1768, 0.2   ]])
    """

    symmetry: ClassVar[str] = "cubic"
    inputs: ClassVar[dict[int, dict[str, float]]] = {
        2: {"|F|² - 2 - 2(J-1)": 2.0, "Σ|Fn|⁴ - 2 - 4(J-1)": 4.0, "Σ|Fd|⁴ - 2 - 4(J-1)": 4.0},
        3: {
            **_WHOLE,
            "Σ|Fn|⁴ - 3 - 4(J-1)": 4.0,
            "Σ|cof F n|⁴ - 3 - 8(J-1)": 8.0,
            "Σ|Fd|⁴ - 4 - 16/3(J-1)": 16.0 / 3.0,
        },
    }

    def invariants(self, F: Any, cofactors: Any) -> Sequence[Any]:  # noqa: D102
        axes = frame(self.a, self.b)
        lengths = fourth_powers(F, axes) - self.dim
        if self.dim == 2:
            diagonals = [np.sqrt(0.5) * (axes[0] + s * axes[1]) for s in (1.0, -1.0)]
            return squared_norm(F) - 2.0, lengths, fourth_powers(F, diagonals) - 2.0
        signs = [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)]
        diagonals = [np.sqrt(1.0 / 3.0) * (axes[0] + s * axes[1] + t * axes[2]) for s, t in signs]
        whole = squared_norm(F) - 3.0, squared_norm(cofactors) - 3.0
        return *whole, lengths, fourth_powers(cofactors, axes) - 3.0, fourth_powers(F, diagonals) - 4.0


def fourth_powers(A: Any, directions: Sequence[Any]) -> Any:
    """Sum of |A n|^4 over some directions n."""
    return squared_norm(np.array([squared_norm(A @ n) for n in directions], dtype=object))


def frame(a: Sequence[float], b: Sequence[float]) -> list[Any]:
    """The axes a and b, and in 3D the one perpendicular to both."""
    return [np.array(a), np.array(b), *([np.cross(a, b)] if len(a) == 3 else [])]


def _axes(dim: int, a: Any, b: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Two perpendicular unit vectors; coordinate axes for those that are left out."""
    first = _direction("a", a, dim) if len(np.atleast_1d(a)) else np.eye(dim)[0]
    if len(np.atleast_1d(b)):
        second = _direction("b", b, dim)
    elif dim == 2:
        second = np.array([-first[1], first[0]]) + 0.0  # no -0
    else:  # of the coordinate axes after the one that a is nearest to, the part across a
        other = np.eye(3)[(int(np.abs(first).argmax()) + 1) % 3]
        second = _direction("b", other - (other @ first) * first, 3)
    if abs(first @ second) > PARALLEL:
        raise InvalidInputError(f"the axes a = {first.tolist()} and b = {second.tolist()} must be perpendicular.")
    return tuple(first.tolist()), tuple(second.tolist())


def _direction(name: str, value: Any, dim: int) -> Any:
    """A unit vector; one that is so to rounding stays as it is."""
    vector = float_array(f"the axis {name}", value, 1)
    if len(vector) != dim or not vector.any():
        raise InvalidInputError(f"axis {name} is {value!r}; it must be a direction with {dim} components, not all 0.")
    largest = np.abs(vector).max()
    if not 1e-100 < largest < 1e100:  # or its square would over- or underflow
        vector = vector / largest
    length = float(np.linalg.norm(vector))
    return vector if abs(length - 1.0) < 1e-15 else vector / length
