"""What to expect on load paths that nobody has measured: each one left out in turn, and met by a fit to the others.

A path may be the only one with a shear or with a change of volume. Without it the fit extrapolates, and its error there says
nothing about a fit that has seen the path. So the error to expect is that of the rows that stay within the strains of the other
paths; rows beyond count apart, and `lse-material check` names such states of a simulation.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lse_material._arrays import Mask
from lse_material.data.observations import Observations
from lse_material.data.samples import Samples
from lse_material.errors import InvalidInputError
from lse_material.fit.fitting import fit
from lse_material.fit.options import expect_options
from lse_material.fit.problem.diagnostics import DataWarning
from lse_material.fit.problem.held_back import rows_outside, with_groups
from lse_material.fit.problem.prepare import on_all_inputs
from lse_material.fit.problem.rows import weights_of
from lse_material.fit.result import Errors, FitResult, stresses_of
from lse_material.model.strain import StrainMeasure
from lse_material.model.symmetry import Symmetry


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Errors on groups that the fit to the others has not seen.

    Attributes:
        errors: by label of the group left out.
        results: the fit to the other groups, by the same label.
        outside: share of the rows of each group that leave the strains of the others: the box of x, over all images by the
            symmetry, or the range of det F.
        stress: RMS of the stress (or gradient) error of all groups together over the RMS of the data; None without stresses.
        expected: the same of the rows that stay within the strains of the others: what to expect of a fit to all groups on an
            unseen path within its data. None if no row does.

    >>> paths = lse.Samples(F=samples.F, stress=samples.stress, group=np.arange(200) // 100)
    >>> left_out = lse.fit.leave_one_group_out(paths, kinematics=lse.GreenLagrange(2), training=quick, progress=False)
    >>> sorted(left_out.errors)
    ['0', '1']
    """

    errors: Mapping[str, Errors]
    results: Mapping[str, FitResult]
    outside: Mapping[str, float]
    stress: float | None
    expected: float | None

    @property
    def worst(self) -> str:
        """The group whose stress (or energy, without stresses) is missed most."""

        def missed(group: str) -> float:
            errors = self.errors[group]
            return next((e for e in (errors.stress, errors.energy) if e is not None), 0.0)

        return max(self.errors, key=missed)

    def summary(self) -> str:
        """A line for each group, and one for all."""
        lines = []
        for group, errors in self.errors.items():
            known, far = {"energy": errors.energy, "stress": errors.stress}, self.outside[group]
            parts = [f"{name} {e:.1%}" for name, e in known.items() if e is not None]
            beyond = f"; {far:.0%} of its rows leave the strains of the others" if far else ""
            lines.append(f"left out {group}: {', '.join(parts)}{beyond}")
        if self.stress is not None:
            lines.append(f"all that were left out: stress {self.stress:.1%}")
        if self.expected is not None:
            lines.append(f"rows within strains of others, as on an unseen path within the data: {self.expected:.1%}")
        lines.append(f"worst: {self.worst}; expect as much on a path as unlike the others as that one.")
        return "\n".join(lines)


def leave_one_group_out(samples: Samples | Observations, **options: Any) -> LeftOut:
    """Fit as many times as there are groups, each time without one of them, and see how well the fit meets it.

    Args:
        samples: with `group`, or with rows that follow load paths; or observations with `group`, the tests of a rubber say.
        options: of `fit`, `progress=False` included.

    Raises:
        InvalidInputError: there are fewer than two groups.

    >>> paths = lse.Samples(F=samples.F, stress=samples.stress, group=np.arange(200) // 100)
    >>> left_out = lse.fit.leave_one_group_out(paths, kinematics=lse.GreenLagrange(2), training=quick, progress=False)
    >>> left_out.stress < 0.1  # on the half of the rows that each fit has not seen
    True
    """
    if options.get("checkpoint") is not None:
        raise InvalidInputError("several fits cannot share one checkpoint: leave `checkpoint` out.")
    expect_options(samples=samples)
    if isinstance(samples, Samples):
        samples = with_groups(samples)
        samples = samples.take(np.flatnonzero(weights_of(samples)))
    if samples.group is None or len(set(samples.group.tolist())) < 2:
        raise InvalidInputError(
            "there are no two groups, of which one could be left out: give `group`, the load path or test of each row."
        )
    errors, results, outside, every, within = {}, {}, {}, [], []
    for label in dict.fromkeys(samples.group.tolist()):
        others, left_out = (
            samples.take(np.flatnonzero(part)) for part in (samples.group != label, samples.group == label)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # they are in the results
            result = fit(others, **options)
        errors[str(label)], results[str(label)] = result.error(left_out), result
        far = _beyond(left_out, others, options.get("kinematics"), options.get("symmetry"))
        outside[str(label)] = float(far.mean())
        every.append(_squares(result, left_out))
        if not far.all():
            within.append(_squares(result, left_out.take(np.flatnonzero(~far))))
    return LeftOut(errors, results, outside, _relative(every), _relative(within))


def _beyond(
    samples: Samples | Observations,
    others: Samples | Observations,
    kinematics: StrainMeasure | None,
    symmetry: Symmetry | None,
) -> Mask:
    """Which rows leave the strains of the others: the box of x over all images by the symmetry, or the range of det F."""
    x, seen = (part.inputs(kinematics) for part in (samples, others))
    symmetry = on_all_inputs(symmetry, samples, kinematics)
    if symmetry is not None:
        seen = symmetry.images(seen)
    beyond = rows_outside(x, seen)
    if samples.F is not None and others.F is not None:
        beyond |= rows_outside(np.linalg.det(samples.F)[:, None], np.linalg.det(others.F)[:, None])
    if isinstance(samples, Samples):
        return beyond
    far = beyond[samples.column // samples.dim**2]  # of values, each of which reads stresses at some points
    return np.bincount(samples.row, weights=far, minlength=len(samples)) > 0.0


def _squares(result: FitResult, samples: Samples | Observations) -> tuple[float, float]:
    """Sum of the squares of what is wrong with the stresses (or gradients), and of the data; zeros without any."""
    stresses = stresses_of(result.fitted, samples)
    if stresses is None:
        return 0.0, 0.0
    data, found, _ = stresses
    return float(np.nansum((found - data) ** 2)), float(np.nansum(data**2))


def _relative(squares: list[tuple[float, float]]) -> float | None:
    """Root of the ratio of the sums of both; None where there is nothing."""
    wrong, size = np.sum(squares or [(0.0, 0.0)], axis=0)
    return float(np.sqrt(wrong / size)) if size > 0.0 else None
