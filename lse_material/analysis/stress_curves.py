"""Stress, energy and mode weights of a material along simple homogeneous deformations: what a test machine would measure.

    curve = stress_curve(material, "uniaxial")
    curve.amount, curve.stress, curve.mode_weights

The deformation goes as far as the training box reaches.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lse_material._arrays import Array, whole_number
from lse_material.analysis.landscape import at_middle_of_fields, search_box
from lse_material.errors import InvalidInputError
from lse_material.model.material import Material
from lse_material.model.strain import positive_determinant

LARGEST_COMPRESSION, LARGEST_EXTENSION = -0.6, 1.0  # amounts that are tried, until the training box ends
WITHOUT_BOX = 50  # steps of the trial amounts to each side, if the reference state lies at the rim of the box


@dataclass(frozen=True)
class Deformation:
    """A family of homogeneous deformations.

    Attributes:
        title: what is done to the body.
        amount: name of the amount, which is 0 in the reference state.
        gradient: (amount, dim) -> F (dim, dim).
        component: (i, J) of the stress P that does work on the amount.

    >>> lse.analysis.DEFORMATIONS["simple_shear"].gradient(0.1, 2)
    array([[1. , 0.1],
           [0. , 1. ]])
    """

    title: str
    amount: str
    gradient: Callable[[float, int], Array]
    component: tuple[int, int]


@dataclass(frozen=True, eq=False)
class StressCurve:
    """Values along a deformation: amount (n,), energy (n,), stress (n,), mode_weights (n, modes).

    >>> curve = lse.analysis.stress_curve(material, "uniaxial", points=3)
    >>> curve.amount.shape, curve.mode_weights.shape
    ((3,), (3, 2))
    """

    deformation: Deformation
    amount: Array
    energy: Array
    stress: Array
    mode_weights: Array


def _gradient(dim: int, entries: dict[tuple[int, int], float]) -> Array:
    F = np.eye(dim)
    for place, value in entries.items():
        F[place] = value
    return F


DEFORMATIONS = {
    "uniaxial": Deformation(
        "stretch along 1, sides fixed", "stretch - 1", lambda s, dim: _gradient(dim, {(0, 0): 1.0 + s}), (0, 0)
    ),
    "biaxial": Deformation(
        "equal stretch along 1 and 2",
        "stretch - 1",
        lambda s, dim: _gradient(dim, {(0, 0): 1.0 + s, (1, 1): 1.0 + s}),
        (0, 0),
    ),
    "pure_shear": Deformation(
        "stretch along 1, inverse along 2",
        "stretch - 1",
        lambda s, dim: _gradient(dim, {(0, 0): 1.0 + s, (1, 1): 1.0 / (1.0 + s)}),
        (0, 0),
    ),
    "simple_shear": Deformation("simple shear 12", "shear", lambda s, dim: _gradient(dim, {(0, 1): s}), (0, 1)),
}


def stress_curve(material: Material, name: str, points: int = 121) -> StressCurve:
    """Stress at `points` points along a deformation of `DEFORMATIONS`, as far as the training box reaches.

    Fields are at the middle of theirs.

    Raises:
        InvalidInputError: there is no deformation of this name.

    >>> curve = lse.analysis.stress_curve(material, "pure_shear")
    >>> curve.deformation.title, bool((curve.energy >= curve.energy.min()).all())
    ('stretch along 1, inverse along 2', True)
    """
    if name not in DEFORMATIONS:
        raise InvalidInputError(f"there is no deformation {name!r}; there are {', '.join(DEFORMATIONS)}.")
    whole_number("points", points, 1)
    deformation = DEFORMATIONS[name]
    material = at_middle_of_fields(material)
    box, dim = search_box(material), material.dim
    trial = np.linspace(LARGEST_COMPRESSION, LARGEST_EXTENSION, 1601)
    F = np.array([deformation.gradient(s, dim) for s in trial])
    x = material.kinematics.strain(F)
    changing = np.ptp(x, axis=0) > 1e-12
    inside = ((x >= box.lower - 1e-9) & (x <= box.upper + 1e-9))[:, changing].all(axis=1)
    reached = (positive_determinant(F) > 0.0) & inside
    middle = int(np.argmin(np.abs(trial)))
    last = middle + int(np.argmin(np.append(reached[middle + 1 :], False)))
    first = middle - int(np.argmin(np.append(reached[:middle][::-1], False)))
    if first == last:
        first, last = max(0, middle - WITHOUT_BOX), min(len(trial) - 1, middle + WITHOUT_BOX)
    amount = np.linspace(trial[first], trial[last], points)
    values = material.evaluate(np.array([deformation.gradient(s, dim) for s in amount]))
    stress = values.stress[(slice(None), *deformation.component)]
    return StressCurve(deformation, amount, values.energy, stress, values.mode_weights)
