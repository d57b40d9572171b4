"""Point groups acting on the inputs of a potential: which modes are images of one another, and what leaves a mode as it is.

An orthogonal Q of the reference lattice turns a strain E into Q E Q^T, which is linear in its Mandel components: x -> A x. With
G the group of the parent phase and H its subgroup that leaves one variant as it is, the variants are the cosets r H, and

    Psi_r(x) = 1/|H| sum over a in H of psi(a r^-1 x)

is the energy of variant r made from any psi: the variants are exact images of each other and each has the symmetry H.
K. Bhattacharya, Microstructure of Martensite, Oxford University Press 2003, chapter 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lse_material._arrays import Array, entries, expect_shape, float_array, frozen, whole_number
from lse_material.errors import InvalidInputError
from lse_material.model.strain import MANDEL, from_mandel, mandel

LARGEST = 200  # elements of a group; the cubic one has 24
SAME = 1e-9  # entries of two matrices within which they are the same element


def _turn(axis: Sequence[float], fold: int) -> Array:
    """Rotation by 360/fold degrees about an axis (Rodrigues' formula)."""
    n = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
    angle = 2.0 * np.pi / fold
    K = np.cross(np.eye(3), n)
    return np.asarray(np.eye(3) - np.sin(angle) * K + (1.0 - np.cos(angle)) * K @ K)


def _mirror(normal: Sequence[float]) -> Array:
    n = np.asarray(normal, dtype=float) / np.linalg.norm(normal)
    return np.eye(2) - 2.0 * np.outer(n, n)


GENERATORS: dict[int, dict[str, list[Array]]] = {
    2: {
        "square": [_turn((0, 0, 1), 4)[:2, :2], _mirror((1, 0))],
        "hexagon": [_turn((0, 0, 1), 6)[:2, :2], _mirror((1, 0))],
        "rectangle": [_mirror((1, 0))],
        "rhombus": [_mirror((1, -1))],
        "oblique": [],
    },
    3: {
        "cubic": [_turn((0, 0, 1), 4), _turn((1, 1, 1), 3)],
        "hexagonal": [_turn((0, 0, 1), 6), _turn((1, 0, 0), 2)],
        "tetragonal": [_turn((0, 0, 1), 4), _turn((1, 0, 0), 2)],
        "rhombohedral": [_turn((1, 1, 1), 3), _turn((1, -1, 0), 2)],
        "orthorhombic": [_turn((1, 0, 0), 2), _turn((0, 1, 0), 2)],
        "orthorhombic_110": [_turn((0, 0, 1), 2), _turn((1, 1, 0), 2)],
        "monoclinic": [_turn((0, 0, 1), 2)],
        "monoclinic_110": [_turn((1, 1, 0), 2)],
        "triclinic": [],
    },
}


@dataclass(frozen=True, eq=False)
class Symmetry:
    """A finite group acting on x, and the subgroup that leaves each mode as it is.

    Make one by `Symmetry.crystal("cubic", "tetragonal", dim=3)` or from matrices by `Symmetry.generated`.

    Attributes:
        group: all elements, (m, d, d), the identity first.
        invariance: those that leave a mode as it is, (h, d, d), a subgroup; m/h is the number of variants.
        name: for people.

    Raises:
        InvalidInputError: `invariance` is no part of `group`.

    >>> len(lse.Symmetry.crystal("cubic", "tetragonal", dim=3).variants)
    3
    """

    group: Array
    invariance: Array
    name: str

    def __post_init__(self) -> None:
        group, invariance = (float_array(n, getattr(self, n), 3) for n in ("group", "invariance"))
        for name, elements in (("group", group), ("invariance", invariance)):
            expect_shape(name, elements, (len(elements), *2 * group.shape[1:2]))
        if len(group) == 0 or len(invariance) == 0:
            raise InvalidInputError("group and invariance each hold at least the identity.")
        if any(_place(element, group) is None for element in invariance):
            raise InvalidInputError(f"{self.name}: the variant has a symmetry that the group lacks; give a subgroup.")
        object.__setattr__(self, "group", frozen(group))
        object.__setattr__(self, "invariance", frozen(invariance))

    @classmethod
    def crystal(cls, parent: str, variant: str, *, dim: int) -> Symmetry:
        """Variants with the symmetry `variant` of a lattice with the symmetry `parent`, acting on Mandel strains.

        3D: "cubic", "hexagonal" (axis z), "tetragonal" (z), "rhombohedral" (111), "orthorhombic" (cube edges),
        "orthorhombic_110" (z, 110, 1-10), "monoclinic" (z), "monoclinic_110", "triclinic". 2D: "square", "hexagon",
        "rectangle" (edges), "rhombus" (diagonals), "oblique". Axes are those of F.

        Raises:
            InvalidInputError: an unknown name, or a variant that is no subgroup.
        """
        if dim not in list(GENERATORS):
            raise InvalidInputError(f"dim is {dim!r}; it must be 2 or 3.")
        known = GENERATORS[dim]
        for name in (parent, variant):
            if name not in list(known):
                raise InvalidInputError(f"no symmetry {name!r} in {dim}D; known are {sorted(known)}.")
        actions = ([on_strain(Q) for Q in known[name]] for name in (parent, variant))
        return cls.generated(*actions, size=len(MANDEL[dim]), name=f"{parent} to {variant}, {dim}D")

    @classmethod
    def generated(
        cls,
        generators: Sequence[Array],
        invariance: Sequence[Array] = (),
        *,
        size: int,
        name: str = "given by matrices",
    ) -> Symmetry:
        """The groups that these (size, size) matrices generate.

        Raises:
            InvalidInputError: wrong shapes, or no finite group of at most 200 elements.
        """
        return cls(_closure(generators, size), _closure(invariance, size), name)

    @property
    def size(self) -> int:
        """Number of inputs."""
        return int(self.group.shape[1])

    @cached_property
    def variants(self) -> Array:
        """One element r of each coset r H, (m/h, d, d), the identity first."""
        chosen: list[Array] = []
        taken: list[Array] = []
        for r in self.group:
            if not taken or _place(r, np.array(taken)) is None:
                chosen.append(r)
                taken += [r @ a for a in self.invariance]
        return frozen(np.array(chosen))

    def on(self, size: int, *, first: int = 0) -> Symmetry:
        """The symmetry acting on `size` inputs: the `first` ones (fields) and those after its own (det F) stay as they are."""
        if size == self.size:
            return self

        def beside(group: Array) -> list[Array]:
            wide = np.tile(np.eye(size), (len(group), 1, 1))
            wide[:, first : first + self.size, first : first + self.size] = group
            return list(wide)

        return Symmetry.generated(beside(self.group), beside(self.invariance), size=size, name=self.name)

    def without(self, first: int) -> Symmetry:
        """The symmetry acting on all but the `first` inputs, which it leaves as they are."""
        group, invariance = (list(part[:, first:, first:]) for part in (self.group, self.invariance))
        return Symmetry.generated(group, invariance, size=self.size - first, name=self.name)

    def images(self, x: Array) -> Array:
        """The images of x (n, d) under all elements of the group, (m n, d)."""
        return np.asarray(np.einsum("gij,nj->gni", self.group, x).reshape(-1, self.size))

    def to_dict(self) -> dict[str, Any]:
        """The name and generators of both groups, for JSON."""
        groups = {"group": self.group, "invariance": self.invariance}
        return {"name": self.name, "size": self.size} | {
            key: [element.tolist() for element in _generators(group)] for key, group in groups.items()
        }

    @classmethod
    def from_dict(cls, values: Any) -> Symmetry:
        """The symmetry that `to_dict` has written.

        Raises:
            InvalidInputError: it is not of that form.
        """
        form = {"name": str, "size": int, "group": list, "invariance": list}
        if not isinstance(values, Mapping) or {key: type(value) for key, value in values.items()} != form:
            raise InvalidInputError(f"a symmetry has a name, a size and generators of two groups, not {values!r}.")
        actions = ([float_array(key, element, 2) for element in values[key]] for key in ("group", "invariance"))
        return cls.generated(*actions, size=values["size"], name=values["name"])

    def maps_of(self, variant: int) -> Array:
        """The maps a r^-1, for a in H, that Psi_r is the mean over: (h, d, d)."""
        return self.invariance @ np.linalg.inv(self.variants[variant])


def on_strain(Q: Array) -> Array:
    """The matrix A with mandel(Q E Q^T) = A mandel(E), orthogonal like Q (dim, dim): (d, d)."""
    E = from_mandel(np.eye(len(MANDEL[len(Q)])))
    return mandel(Q @ E @ Q.T).T


def _closure(generators: Sequence[Array], size: int) -> Array:
    """All products of the generators."""
    whole_number("size", size, 1)
    for generator in entries("generators", generators):
        if np.shape(generator) != (size, size) or not np.isfinite(generator).all():
            raise InvalidInputError(f"a generator has shape {np.shape(generator)}; it needs ({size}, {size}), finite.")
        if abs(abs(np.linalg.det(generator)) - 1.0) > SAME * size:
            raise InvalidInputError(
                f"a generator has the determinant {np.linalg.det(generator):.6g}; that of a symmetry is 1 or -1."
            )
    elements = [np.eye(size)]
    position = 0
    while position < len(elements):
        for generator in generators:
            product = np.asarray(generator) @ elements[position]
            if _place(product, np.array(elements)) is None:
                elements.append(product)
        position += 1
        if len(elements) > LARGEST:
            raise InvalidInputError(f"the generators make no group of at most {LARGEST} elements: is each a symmetry?")
    return np.array(elements)


def _generators(group: Array) -> list[Array]:
    """Elements whose products are the whole group."""
    chosen: list[Array] = []
    for element in group:
        if _place(element, _closure(chosen, group.shape[1])) is None:
            chosen.append(element)
    return chosen


def _place(element: Array, elements: Array) -> int | None:
    """Where an element stands among others; None if it does not."""
    near = np.abs(elements - element).max(axis=(1, 2)) < SAME * (1.0 + np.abs(element).max())
    return int(np.argmax(near)) if near.any() else None
