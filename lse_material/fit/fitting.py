"""The fit itself: samples in, a potential or material out."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from datetime import date
from typing import Literal

import numpy as np

import lse_material
from lse_material.data.samples import Samples
from lse_material.errors import InvalidInputError
from lse_material.fit.discovery.search import Discovery
from lse_material.fit.model.constraints import Constraints, Orbit, Reference
from lse_material.fit.model.initialise import random_start
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.optimise.lbfgs import discover, search
from lse_material.fit.optimise.levenberg_marquardt import levenberg_marquardt
from lse_material.fit.options import Architecture, Sparsity, Training
from lse_material.fit.problem.diagnostics import DataWarning, data_warnings
from lse_material.fit.problem.loss import Loss
from lse_material.fit.problem.outliers import outlier_warnings, outliers, robust_weights
from lse_material.fit.problem.rows import Scales, rows_of, scales_of
from lse_material.fit.result import FitResult, errors_of
from lse_material.model.box import Box
from lse_material.model.growth import Growth
from lse_material.model.material import Material
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.strain import IsotropicInvariants, StrainMeasure
from lse_material.model.symmetry import Symmetry

FEWEST_FOR_VALIDATION = 10  # with fewer rows than this every one is used for training
MOST_FOR_VALIDATION = 20_000
LAST_POLISH = 5  # iterations on all rows, where the search saw only some


def fit(
    samples: Samples,
    *,
    kinematics: StrainMeasure | None = None,
    architecture: Architecture | None = None,
    training: Training | None = None,
    sparsity: Sparsity | None = None,
    growth: Growth | Literal["auto"] | None = None,
    symmetry: Symmetry | None = None,
    seed: int = 0,
    progress: bool = True,
) -> FitResult:
    """Fit a soft minimum of input convex networks to energies and/or stresses (or gradients).

    The same seed gives the same weights, bit by bit, on the same machine. Ctrl-C keeps the best weights so far.

    Args:
        samples: rows of F with energy and/or stress, or of x with energy and/or gradient; missing rows are left out.
        kinematics: strain measure, for samples of F only.
        architecture: number and shape of the modes; `Architecture()` if left out.
        training: how to search for the weights of a given number of modes; `Training()` if left out. The share of rows
            held back and the weights of energies and stresses hold for discovery too.
        sparsity: how to discover the number of modes, with Architecture(modes="auto"); `Sparsity()` if left out.
        growth: a term of W that the network need not learn; it becomes part of the material. With "auto" its coefficient, >= 0,
            is fitted along; 0 leaves the material without.
        symmetry: of the parent phase and of its variants: each mode then stands for all its variants, which share its
            weights and are equivalent to rounding. The numbers of modes in `architecture` count such families.
        seed: of the random starts and of the rows held back.
        progress: show a bar on a terminal.

    Returns:
        The result. Without energies W is fixed to be 0 at F = I and the first row's fields (or at the first x).

    Raises:
        InvalidInputError: the samples cannot be fitted so; the message says why.

    Warns:
        DataWarning: the data contradict themselves or leave something open; also in the result's `data_warnings`.
    """
    start = time.perf_counter()
    architecture, training = architecture or Architecture(), training or Training()
    if not isinstance(samples, Samples):
        raise InvalidInputError(f"fit takes Samples, not a {type(samples).__name__}: lse.read_samples(path), say.")
    digest, rng = samples.digest(), np.random.default_rng(seed)
    everything = rows_of(samples, kinematics, growth)
    _check(len(samples), symmetry, kinematics, everything.x.shape[1])
    of_outliers: tuple[str, ...] = ()
    if training.robust:
        weight = robust_weights(everything, architecture, training, rng)
        of_outliers = outlier_warnings(outliers(weight, everything.weight))
        everything, samples = replace(everything, weight=weight), replace(samples, weight=weight)
    found_warnings = (*of_outliers, *data_warnings(samples, everything))
    for text in found_warnings:
        warnings.warn(text, DataWarning, stacklevel=2)
    samples = samples.take(np.flatnonzero(everything.weight > 0.0))
    used, held_back = _split(samples, training.validation, rng)
    rows = rows_of(used, kinematics, growth)
    scales = scales_of(rows, symmetry)
    if samples.fields is not None and architecture.stress_free:
        raise InvalidInputError(
            "stress_free is not defined for data with fields: a state without stress at which values of them?"
        )
    constraints = _constraints(architecture, symmetry, scales, kinematics)
    weights = training.energy_weight, training.stress_weight
    train = Loss.on(rows, scales, *weights)
    validation = (
        train
        if held_back is None
        else Loss.on(rows_of(held_back, kinematics, growth), scales, *weights, growth_from=train)
    )
    path: tuple[tuple[int, float], ...] = ()
    interval = None
    if architecture.modes == "auto":
        some = train.part(slice(0, training.rows))
        found = Discovery(architecture, some, validation, sparsity or Sparsity(), rng, constraints)
        found.processes = training.processes
        model, state = discover(found, progress=progress)
        if len(some.inputs) < len(train.inputs):
            levenberg_marquardt(model, train, LAST_POLISH)
        path = tuple((constraints.variants * modes, error) for modes, (error, _) in sorted(found.best.items()))
        if model.raw_rho.requires_grad:
            interval = tuple(scales.energy_scale * rho for rho in found.transition_scale_interval)
    else:
        starts = [random_start(architecture, train, rng, constraints) for _ in range(training.restarts)]
        model, state = search(starts, train, validation, training, progress=progress)

    potential = _potential(model, scales, samples, kinematics, rows.energy.size > 0)
    x = samples.inputs(kinematics)
    material = None
    if kinematics is not None:
        box = Box(x.min(axis=0), x.max(axis=0))
        if growth == "auto":
            coefficient = train.growth_coefficient(model)
            growth = Growth(coefficient) if coefficient > 0.0 else None
        material = Material(potential, kinematics, growth, samples.units, box, fields=samples.field_names)
    train_errors = errors_of(material or potential, used)
    if material is not None:
        provenance = {
            "package": f"lse_material {lse_material.__version__}",
            "date": date.today().isoformat(),
            "data": digest,
            "rows": len(samples),
            "seed": seed,
            **({} if symmetry is None else {"symmetry": symmetry.name}),
            "error_energy": train_errors.energy,
            "error_stress": train_errors.stress,
            **({} if samples.conjugates is None else {"error_conjugates": train_errors.conjugates}),
        }
        material = replace(material, provenance=provenance)
    return FitResult(
        fitted=material or potential,
        usage=potential.mode_weights(x).mean(axis=0),
        train_errors=train_errors,
        validation_errors=None if held_back is None else errors_of(material or potential, held_back),
        peak=potential.mode_weights(x).max(axis=0),
        data_warnings=found_warnings,
        variants=constraints.variants,
        path=path,
        transition_scale_interval=interval,
        tolerance=(sparsity or Sparsity()).tolerance,
        architecture=model.architecture,
        history=tuple(state.history),
        seconds=time.perf_counter() - start,
        interrupted=state.interrupted,
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


def _potential(
    model: TrainablePotential, scales: Scales, samples: Samples, kinematics: StrainMeasure | None, has_energy: bool
) -> SoftMinimum:
    scale = scales.input_scale
    potential = model.to_potential(scales.input_shift, scale, scales.energy_scale, scales.energy_shift)
    if has_energy:
        return potential
    reference = samples.inputs(None)[:1] if kinematics is None else kinematics.strain(np.eye(kinematics.dim)[None])
    if samples.fields is not None:
        reference = np.concatenate([samples.fields[:1], reference], axis=1)
    return replace(potential, energy_shift=potential.energy_shift - float(potential.energy(reference)[0]))
