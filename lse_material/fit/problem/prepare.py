"""Samples made into the problem that is solved: rows to train on and validation rows, scales, losses, constraints, warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from lse_material.data.observations import Observations
from lse_material.data.samples import Samples
from lse_material.errors import InvalidInputError
from lse_material.fit.model.constraints import Constraints, Orbit, Reference, monotone_inputs, of_states
from lse_material.fit.model.trainable import TrainablePotential, trainable_kind
from lse_material.fit.options import Architecture, Training
from lse_material.fit.problem.diagnostics import data_warnings, expect_pressure
from lse_material.fit.problem.held_back import has_enough_groups, path_warnings, split, split_observations, with_groups
from lse_material.fit.problem.loss import Loss
from lse_material.fit.problem.outliers import outlier_warnings, robust_weights
from lse_material.fit.problem.parameters import Temperature
from lse_material.fit.problem.periods import Periods
from lse_material.fit.problem.rows import Index, Rows, Scales, rows_of, scales_of
from lse_material.fit.problem.sums import Sums, scales_of_observations
from lse_material.fit.problem.unseen_shears import expect_unread, on_seen_inputs, seen_inputs
from lse_material.fit.session import Session
from lse_material.model.growth import Growth
from lse_material.model.material import Material, potential_of
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.strain import StrainAndVolume, StrainMeasure
from lse_material.model.symmetry import Symmetry

PARTS_FROM = 300  # rows, from which parts of them stand for all: batches, and the rows on which candidates are compared
FEW_ROWS = 200  # below which those held back are missed by a discovery: 12 of 60 are the corners of a grid, say


@dataclass(frozen=True, eq=False)
class Problem:
    """What a fit solves."""

    samples: Samples | Observations  # the rows that count: those of positive weight; or observations
    used: Samples | Observations  # the rows of them to train on
    validation_samples: Samples | Observations | None  # the others; None if there are too few
    kinematics: StrainMeasure | None  # strain measure, for samples of F
    growth: Growth | Literal["auto"] | None  # term of W that is not learnt; "auto" where its coefficient is fitted
    symmetry: Symmetry | None  # of the parent phase and its variants
    temperature: Temperature | None  # among the fields, which is then their first; None without
    digest: str  # of all samples as they were given
    warnings: tuple[str, ...]  # what the data contradict or leave open, a sentence each
    seen: Index  # the inputs that the data show, which alone are fitted
    scales: Scales  # that make inputs, energies and gradients of order one
    constraints: Constraints  # what the potential obeys, in scaled variables
    train: Loss  # the loss on the rows used
    validation: Loss  # the loss on the validation rows, or the same
    # the loss on all rows, where whole groups were held back or rows are few: the final fit is to these too
    everything: Loss | None = None
    periods: Periods | None = None  # of the inputs, where some are periodic: the fit is in their cosines and sines

    def within(self, session: Session) -> Problem:
        """The same problem, solved in this session."""
        train = replace(self.train, session=session)
        validation = train if self.validation is self.train else self.validation
        everything = None if self.everything is None else replace(self.everything, session=session)
        return replace(self, train=train, validation=validation, everything=everything)


def prepare(
    samples: Samples | Observations,
    kinematics: StrainMeasure | None,
    growth: Growth | Literal["auto"] | None,
    symmetry: Symmetry | None,
    architecture: Architecture,
    training: Training,
    rng: np.random.Generator,
    *,
    start: Material | SoftMinimum | None = None,
    temperature: Temperature | None = None,
    periods: Sequence[float | None] | None = None,
) -> Problem:
    """The problem of these samples, in the scales of `start` if any. Raises InvalidInputError: they cannot be fitted so."""
    if periods is not None and (getattr(samples, "x", None) is None or symmetry or start or architecture.stress_free):
        raise InvalidInputError("periods are of samples of x, and take neither symmetry nor start nor stress_free.")
    symmetry = on_all_inputs(symmetry, samples, kinematics)
    if isinstance(samples, Observations):
        return _prepare_observations(samples, kinematics, growth, symmetry, architecture, training, rng, start)
    circles = None if periods is None else Periods.of(periods, samples.inputs(None))

    def rows_from(part: Samples) -> Rows:
        rows = rows_of(part, kinematics, growth, temperature)
        return rows if circles is None else circles.on_circles(rows)

    digest, rows = samples.digest(), rows_from(samples)
    _check(len(samples), symmetry, kinematics, rows.x.shape[1], None if circles else start)
    expect_pressure(samples, rows)
    if (samples.fields is not None or temperature is not None) and architecture.stress_free:
        raise InvalidInputError("stress_free is not defined for data with fields: at which values of them?")
    of_outliers: tuple[str, ...] = ()
    monotone = _monotone(architecture, kinematics, rows.x.shape[1])
    if training.robust:
        weight = robust_weights(rows, architecture, training, rng, temperature, Constraints(monotone=monotone))
        of_outliers = outlier_warnings(weight, rows.weight)
        rows, samples = replace(rows, weight=weight), replace(samples, weight=weight)
    samples = with_groups(samples)
    found = data_warnings(samples, rows, symmetry), path_warnings(samples, training.validation)
    warnings = (*of_outliers, *found[0], *found[1], *(circles.warnings(samples.inputs(None)) if circles else ()))
    samples = samples.take(np.flatnonzero(rows.weight > 0.0))
    used, validation_samples = split(samples, samples.inputs(kinematics), training.validation, rng)
    seen, acting, monotone = _inputs_in_use(rows, kinematics, symmetry, start is not None, architecture, monotone)
    parts = min(PARTS_FROM, training.batch, training.rows)
    used = in_random_order(used, parts)
    rows = rows_from(used).with_inputs(seen)
    scales = scales_of(rows, acting, temperature) if start is None else Scales.of(potential_of(start))
    constraints = _constraints(architecture, acting, scales, kinematics, seen, monotone)
    weights = training.energy_weight, training.stress_weight
    train = validation = Loss.on(rows, scales, *weights)
    everything = None
    if validation_samples is not None:
        others = rows_from(validation_samples).with_inputs(seen)
        validation = Loss.on(others, scales, *weights, growth_from=train)
        if has_enough_groups(samples.group) or (architecture.modes == "auto" and len(samples) < FEW_ROWS):
            everything = Loss.on(rows_from(in_random_order(samples, parts)).with_inputs(seen), scales, *weights)
    return Problem(
        samples,
        used,
        validation_samples,
        kinematics,
        growth,
        symmetry,
        temperature,
        digest,
        warnings,
        seen,
        scales,
        constraints,
        train,
        validation,
        everything,
        circles,
    )


def _inputs_in_use(
    rows: Rows,
    kinematics: StrainMeasure | None,
    symmetry: Symmetry | None,
    goes_on: bool,
    architecture: Architecture,
    monotone: Any,
) -> tuple[Index, Symmetry | None, Any]:
    """The inputs that the rows show, the symmetry that acts on them, and which of them modes must not decrease in."""
    seen, acting, d = seen_inputs(rows), symmetry, rows.x.shape[1]
    trainable_kind(architecture.mode_type).expect_inputs(kinematics, d, len(seen))
    if symmetry is not None:
        acting = on_seen_inputs(symmetry, seen)
    if goes_on or (symmetry is not None and acting is None):  # the inputs of a start stay as they are
        return np.arange(d), symmetry, monotone
    if len(seen) < d:
        monotone = None if monotone is None else monotone[seen]
        one = TrainablePotential.of(
            replace(architecture, modes=1), len(seen), constraints=Constraints(monotone=monotone)
        )
        expect_unread(one, seen, np.setdiff1d(np.arange(d), seen), d)
    return seen, acting, monotone


def in_random_order(samples: Samples, parts: int = PARTS_FROM) -> Samples:
    """The samples, shuffled if they are as many as `parts`.

    Rows that follow each other lie on one load path; a part of the rows must be like the whole.
    """
    if len(samples) < parts:
        return samples
    return samples.take(np.random.default_rng(0).permutation(len(samples)))


def _prepare_observations(
    observations: Observations,
    kinematics: StrainMeasure | None,
    growth: Growth | Literal["auto"] | None,
    symmetry: Symmetry | None,
    architecture: Architecture,
    training: Training,
    rng: np.random.Generator,
    start: Material | SoftMinimum | None,
) -> Problem:
    """The problem of sums of stresses, of which whole groups are held back where there are enough."""
    if training.robust:
        raise InvalidInputError("robust fits need stresses row by row; observations have errors: leave robust out.")
    x = observations.inputs(kinematics)
    assert kinematics is not None
    _check(len(observations), symmetry, kinematics, x.shape[1], start)
    used, validation_samples = split_observations(observations, training.validation, rng)
    seen = np.arange(kinematics.size)
    trainable_kind(architecture.mode_type).expect_inputs(kinematics, kinematics.size, len(seen))
    scales = scales_of_observations(used, kinematics) if start is None else Scales.of(potential_of(start))
    monotone = _monotone(architecture, kinematics, x.shape[1])
    constraints = _constraints(architecture, symmetry, scales, kinematics, seen, monotone)

    def loss(part: Observations, growth_from: Loss | None = None) -> Loss:
        sums = Sums.of(part, kinematics, growth, scales)
        return Loss.on_sums(kinematics.strain(part.F), sums, scales, growth_from=growth_from)

    train = loss(used)
    return Problem(
        observations,
        used,
        validation_samples,
        kinematics,
        growth,
        symmetry,
        None,
        observations.digest(),
        (),
        seen,
        scales,
        constraints,
        train,
        train if validation_samples is None else loss(validation_samples, train),
    )


def on_all_inputs(
    symmetry: Symmetry | None, samples: Samples | Observations, kinematics: StrainMeasure | None
) -> Symmetry | None:
    """A symmetry of strains acting on the fields before them and on det F behind them too, which it leaves as they are."""
    if symmetry is None or kinematics is None:
        return symmetry
    fields = getattr(samples, "fields", None)
    first = 0 if fields is None else fields.shape[1]
    of_strain = kinematics.size - isinstance(kinematics, StrainAndVolume)
    return symmetry.on(first + kinematics.size, first=first) if symmetry.size == of_strain else symmetry


def _check(
    rows: int,
    symmetry: Symmetry | None,
    kinematics: StrainMeasure | None,
    size: int,
    start: Material | SoftMinimum | None,
) -> None:
    if rows < 2:
        raise InvalidInputError("one sample does not make a landscape: the fit needs at least 2 rows, and better 50.")
    if start is not None and (inputs := potential_of(start).size) != size:
        raise InvalidInputError(f"`start` is of {inputs} inputs (fields and strains, or x); the data have {size}.")
    if symmetry is None:
        return
    if kinematics is not None and kinematics.symmetry:
        name = type(kinematics).__name__
        raise InvalidInputError(f"every mode of {name} is {kinematics.symmetry} already: leave `symmetry` out.")
    if symmetry.size != size:
        raise InvalidInputError(f"the symmetry ({symmetry.name}) acts on {symmetry.size} inputs; the data have {size}.")


def _monotone(architecture: Architecture, kinematics: StrainMeasure | None, inputs: int) -> torch.Tensor | None:
    """Of polyconvex modes, in which of all inputs they must not decrease."""
    return monotone_inputs(kinematics, inputs) if architecture.mode_type == "PolyconvexNetwork" else None


def _constraints(
    architecture: Architecture,
    symmetry: Symmetry | None,
    scales: Scales,
    kinematics: StrainMeasure | None,
    seen: Index,
    monotone: Any,
) -> Constraints:
    """What the potential must obey, in scaled variables of the seen inputs."""
    d = len(scales.input_shift)
    constraints = Constraints(
        None if symmetry is None else Orbit.of(symmetry, scales.input_scale),
        unit=torch.tensor(scales.input_scale),
        monotone=monotone,
        **of_states(kinematics, d - kinematics.size if kinematics else 0, scales.input_shift, scales.input_scale),
    )
    if constraints.reads is not None and (architecture.modes != len(constraints.reads) or architecture.stress_free):
        raise InvalidInputError(
            f"there are {len(constraints.reads)} natural states, with a mode for each: give Architecture(modes=) that number, "
            "and leave stress_free out: each mode is free of stress in its own state."
        )
    if not architecture.stress_free:
        return constraints
    x, derivative = np.zeros((1, d)), np.eye(d)[None]
    if kinematics is not None:
        F = np.eye(kinematics.dim)[None]
        x, derivative = kinematics.strain(F)[:, seen], kinematics.derivative(F).reshape(1, kinematics.size, -1)[:, seen]
    return replace(constraints, reference=Reference.of(x, derivative, scales.input_shift, scales.input_scale))
