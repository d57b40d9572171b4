"""The energy that a transformation dissipates, from loops of measured stress and strain: the price of a `lse.fem.Dissipation`.

    sigma = sigma_M + D / e_T while w grows, sigma_M - D / e_T while it falls,        w = (e - sigma / E) / e_T

for the share w of the second phase, if both have the modulus E and their strains differ by e_T. sigma_M is the Maxwell stress.
The two plateaus are medians of the stress, weighted with the change of w: peaks at which a phase nucleates, and elastic parts,
hardly count, and a play operator on w leaves out what noise makes. A closed loop encloses the area 2 D times the share that it
transforms.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lse_material._arrays import Array, float_array, positive
from lse_material.errors import InvalidInputError


@dataclass(frozen=True, eq=False)
class TransformationPrice:
    """What loops say of a transformation.

    Attributes:
        price: energy per volume that the change from one phase to the other dissipates, D.
        maxwell_stress: the stress in the middle of both plateaus.
        plateaus: stress while the second phase grows, and while it falls.
        transformed: share of the second phase at each row, (n,).

    >>> found = lse.analysis.transformation_price([0.0, 0.1, 0.5, 0.4, 0.2], [0.0, 2.0, 2.0, 1.0, 1.0],
    ...                                            modulus=20.0, strain=0.6)
    >>> found.plateaus, found.maxwell_stress, round(found.price, 12)
    ((2.0, 1.0), 1.5, 0.3)
    """

    price: float
    maxwell_stress: float
    plateaus: tuple[float, float]
    transformed: Array


def transformation_price(
    strains: Any, stresses: Any, *, modulus: float, strain: float, reversible: float = 0.01
) -> TransformationPrice:
    """The price of a transformation, from measured loops.

    Args:
        strains: nominal strain of the specimen, in the order of the test, (n,). The test must go forth and back.
        stresses: nominal stress, (n,).
        modulus: of both phases.
        strain: by which the phases differ, e_T.
        reversible: changes of the share w to and fro that do not count: more than its noise.

    Raises:
        InvalidInputError: shapes differ, a number is not finite or not positive, or the second phase does not grow and fall.

    >>> e = np.array([0.0, 0.1, 0.5, 0.45, 0.15])
    >>> round(lse.analysis.transformation_price(e, [0.0, 1.0, 1.0, 0.5, 0.5], modulus=10.0, strain=0.8).price, 12)
    0.2
    """
    e, sigma = float_array("strains", strains, 1), float_array("stresses", stresses, 1)
    if e.shape != sigma.shape or not (np.isfinite(e).all() and np.isfinite(sigma).all()):
        raise InvalidInputError(
            f"strains have shape {e.shape} and stresses {sigma.shape}: give as many finite numbers of each, in the order of "
            "the test."
        )
    modulus, strain = positive("modulus", modulus), positive("strain", strain)
    reversible = positive("reversible", reversible)
    w = (e - sigma / modulus) / strain
    change, middle = np.diff(_followed(w, reversible)), 0.5 * (sigma[1:] + sigma[:-1])
    plateaus = []
    for sign, verb in ((1.0, "grows"), (-1.0, "falls")):
        weights = np.maximum(sign * change, 0.0)
        if not weights.sum() > 0.0:
            raise InvalidInputError(
                f"the transformed share (e - stress / modulus) / strain never {verb}: give rows of a test that goes forth and "
                "back, the modulus of the phases, and the strain by which they differ."
            )
        order = np.argsort(middle)
        reached = np.cumsum(weights[order])
        plateaus.append(float(middle[order][np.searchsorted(reached, 0.5 * reached[-1])]))
    up, down = plateaus
    return TransformationPrice(0.5 * strain * (up - down), 0.5 * (up + down), (up, down), w)


def _followed(values: Array, reach: float) -> Array:
    """What follows some values to a distance, as a slider follows a spring."""
    found = values.copy()
    for k in range(1, len(values)):
        found[k] = min(max(found[k - 1], values[k] - reach), values[k] + reach)
    return found
