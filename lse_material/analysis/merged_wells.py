"""Wells that a transition scale has smoothed away: one rho rounds every ridge, also those lower than itself.

A soft minimum lies below the sharp one by up to rho ln K, most on the ridges. Two modes whose minima are parted by a ridge that
is small against rho then share one well. Two equal parabolas with curvature E and minima e apart do for rho >= E e^2/4,
which is twice the height E e^2/8 of the ridge between them.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from lse_material.analysis.stationary import POINTS_BETWEEN_WELLS, follow_eigenvectors, length, mode_minima, same_point
from lse_material.model.box import Box
from lse_material.model.soft_minimum import SoftMinimum, expect_potential

STILL = 1e-6  # slope, in scaled units, of a mode at its minimum


@dataclass(frozen=True)
class MergedModes:
    """Two modes whose minima lie in one well.

    Attributes:
        modes: their numbers.
        ridge: height of the sharp minimum min_k psi_k on the line between their minima, above the higher end, energy units.
            0 if one of them has no well of its own even where rho -> 0.
        transition_scale: of the potential, energy units.

    >>> blunt = lse.SoftMinimum(material.potential.modes, 0.02)
    >>> print(lse.analysis.merged_modes(blunt)[0])
    modes 0 and 1 share a well: the ridge between them, 0.005, is low against the transition scale 0.02
    """

    modes: tuple[int, int]
    ridge: float
    transition_scale: float

    def __str__(self) -> str:
        j, k = self.modes
        if self.ridge <= 0.0:
            return f"modes {j} and {k} share a well at any transition scale: one convex region, or one mode above the other"
        return (
            f"modes {j} and {k} share a well: the ridge between them, {self.ridge:.3g}, is low against the transition scale "
            f"{self.transition_scale:.3g}"
        )


def merged_modes(potential: SoftMinimum, lower: object = None, upper: object = None) -> tuple[MergedModes, ...]:
    """The pairs of modes from whose minima the way down the potential ends in the same well.

    Args:
        potential: any soft minimum; a mode without a minimum (an affine one) is passed over.
        lower: lowest corner (d,) of a box to which searches are confined, such as the training box.
        upper: its highest corner.

    Raises:
        InvalidInputError: a corner is missing or of another length, or the box is empty.

    >>> lse.analysis.merged_modes(material.potential)  # its transition scale 0.001 leaves both wells
    ()
    """
    box = Box.of(lower, upper, expect_potential(potential).size)
    alone = [potential.alone(k) for k in range(len(potential.modes))]
    minima, span = np.array([mode_minima(one, box)[0] for one in alone]), length(potential, box)
    ends, found = follow_eigenvectors(potential, minima, 0, span)
    if box is None:  # a mode without a minimum is not where its slope vanishes
        slopes = [np.linalg.norm(one.gradient(x) * potential.input_scale) for one, x in zip(alone, minima)]
        found = found & (np.array(slopes) <= STILL * potential.energy_scale)
    same = same_point(potential, box) * potential.input_scale
    share, merged = np.linspace(0.0, 1.0, POINTS_BETWEEN_WELLS)[:, None], []
    for j, k in itertools.combinations(range(len(minima)), 2):
        if found[j] and found[k] and np.linalg.norm((ends[j] - ends[k]) / same) <= 1.0:
            line = (1.0 - share) * minima[j] + share * minima[k]
            sharp = np.min([one.energy(line) for one in alone], axis=0)
            ridge = max(float(sharp.max() - max(sharp[0], sharp[-1])), 0.0)
            merged.append(MergedModes((j, k), ridge, potential.transition_scale))
    return tuple(merged)
