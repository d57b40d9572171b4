"""Samples made into the problem that is solved: rows to train on and rows held back, scales, losses, constraints, warnings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lse_material.data.samples import Samples
from lse_material.errors import InvalidInputError
from lse_material.fit.model.constraints import Constraints, Orbit, Reference
from lse_material.fit.options import Architecture, Training
from lse_material.fit.problem.diagnostics import data_warnings
from lse_material.fit.problem.loss import Loss
from lse_material.fit.problem.outliers import outlier_warnings, outliers, robust_weights
from lse_material.fit.problem.rows import Scales, rows_of, scales_of
from lse_material.model.growth import Growth
from lse_material.model.strain import IsotropicInvariants, StrainMeasure
from lse_material.model.symmetry import Symmetry

FEWEST_FOR_VALIDATION = 10  # with fewer rows than this every one is used for training
MOST_FOR_VALIDATION = 20_000


@dataclass(frozen=True, eq=False)
class Problem:
    """What a fit solves.

    Attributes:
        samples: the rows that count: those of positive weight.
        used: the rows of them to train on.
        held_back: the others; None if there are too few.
        kinematics: strain measure, for samples of F.
        growth: term of W that is not learnt; "auto" where its coefficient is fitted.
        symmetry: of the parent phase and its variants.
        digest: of all samples as they were given.
        warnings: what the data contradict or leave open, a sentence each.
        scales: that make inputs, energies and gradients of order one.
        constraints: what the potential obeys, in scaled variables.
        train: the loss on the rows used.
        validation: the loss on the rows held back, or the same.
    """

    samples: Samples
    used: Samples
    held_back: Samples | None
    kinematics: StrainMeasure | None
    growth: Growth | Literal["auto"] | None
    symmetry: Symmetry | None
    digest: str
    warnings: tuple[str, ...]
    scales: Scales
    constraints: Constraints
    train: Loss
    validation: Loss


def prepare(
    samples: Samples,
    kinematics: StrainMeasure | None,
    growth: Growth | Literal["auto"] | None,
    symmetry: Symmetry | None,
    architecture: Architecture,
    training: Training,
    rng: np.random.Generator,
) -> Problem:
    """The problem of these samples.

    Raises:
        InvalidInputError: the samples cannot be fitted so.
    """
    if not isinstance(samples, Samples):
        raise InvalidInputError(f"fit takes Samples, not a {type(samples).__name__}: lse.read_samples(path), say.")
    digest, rows = samples.digest(), rows_of(samples, kinematics, growth)
    _check(len(samples), symmetry, kinematics, rows.x.shape[1])
    if samples.fields is not None and architecture.stress_free:
        raise InvalidInputError(
            "stress_free is not defined for data with fields: a state without stress at which values of them?"
        )
    of_outliers: tuple[str, ...] = ()
    if training.robust:
        weight = robust_weights(rows, architecture, training, rng)
        of_outliers = outlier_warnings(outliers(weight, rows.weight))
        rows, samples = replace(rows, weight=weight), replace(samples, weight=weight)
    warnings = (*of_outliers, *data_warnings(samples, rows))
    samples = samples.take(np.flatnonzero(rows.weight > 0.0))
    used, held_back = _split(samples, training.validation, rng)
    rows = rows_of(used, kinematics, growth)
    scales = scales_of(rows, symmetry)
    constraints = _constraints(architecture, symmetry, scales, kinematics)
    weights = training.energy_weight, training.stress_weight
    train = validation = Loss.on(rows, scales, *weights)
    if held_back is not None:
        validation = Loss.on(rows_of(held_back, kinematics, growth), scales, *weights, growth_from=train)
    return Problem(
        samples,
        used,
        held_back,
        kinematics,
        growth,
        symmetry,
        digest,
        warnings,
        scales,
        constraints,
        train,
        validation,
    )


def _split(samples: Samples, share: float, rng: np.random.Generator) -> tuple[Samples, Samples | None]:
    """Rows for training and for validation; None if there are too few to hold any back."""
    n = len(samples)
    held = min(round(share * n), MOST_FOR_VALIDATION) if n >= FEWEST_FOR_VALIDATION else 0
    if held == 0:
        return samples, None
    rows = rng.permutation(n)
    used, held_back = samples.take(rows[held:]), samples.take(rows[:held])
    kinds = [(s.energy is not None, s.stress is not None, s.gradient is not None) for s in (samples, used, held_back)]
    if kinds[1] != kinds[0] or kinds[2] != kinds[0]:  # so few values of one kind that a part has none
        return samples, None
    return used, held_back


def _check(rows: int, symmetry: Symmetry | None, kinematics: StrainMeasure | None, size: int) -> None:
    if rows < 2:
        raise InvalidInputError("one sample does not make a landscape: the fit needs at least 2 rows, and better 50.")
    if symmetry is None:
        return
    if isinstance(kinematics, IsotropicInvariants):
        raise InvalidInputError("IsotropicInvariants are the same in all directions: leave `symmetry` out.")
    if symmetry.size != size:
        raise InvalidInputError(f"the symmetry ({symmetry.name}) acts on {symmetry.size} inputs; the data have {size}.")


def _constraints(
    architecture: Architecture,
    symmetry: Symmetry | None,
    scales: Scales,
    kinematics: StrainMeasure | None,
) -> Constraints:
    """What the potential must obey, in scaled variables."""
    orbit = None if symmetry is None else Orbit.of(symmetry, scales.input_scale)
    if not architecture.stress_free:
        return Constraints(orbit)
    d = len(scales.input_shift)
    x, derivative = np.zeros(d), np.eye(d)
    if kinematics is not None:
        F = np.eye(kinematics.dim)[None]
        x, derivative = kinematics.strain(F)[0], kinematics.derivative(F)[0].reshape(d, -1)
    return Constraints(orbit, Reference.of(x, derivative, scales.input_shift, scales.input_scale))
