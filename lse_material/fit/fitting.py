"""The fit in three steps: samples become a problem, a search finds the weights, and they are packed into a result."""

import contextlib
import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

import lse_material
from lse_material._arrays import Array, generator
from lse_material._progress import progress_bar
from lse_material.data.observations import Observations
from lse_material.data.samples import Samples
from lse_material.errors import InvalidInputError
from lse_material.fit.discovery.candidates import Candidates, Discovery, silent
from lse_material.fit.discovery.moves import prune_weights
from lse_material.fit.discovery.schedule import Schedule
from lse_material.fit.discovery.search import discover
from lse_material.fit.judgement import judged
from lse_material.fit.model.constraints import Constraints, monotone_inputs, of_states
from lse_material.fit.model.edit import copy_of
from lse_material.fit.model.initialise import random_start
from lse_material.fit.model.trainable import TrainablePotential, trainable_kind
from lse_material.fit.optimise.found import Found, Record
from lse_material.fit.optimise.levenberg_marquardt import levenberg_marquardt
from lse_material.fit.optimise.multistart import multistart
from lse_material.fit.options import Architecture, Sparsity, Training, expect_options
from lse_material.fit.problem.diagnostics import DataWarning
from lse_material.fit.problem.parameters import Parameters, architecture_of, declared
from lse_material.fit.problem.prepare import Problem, prepare
from lse_material.fit.problem.unseen_shears import with_unseen_shears
from lse_material.fit.result import USELESS_ERROR, Errors, FitResult, FitWarning, errors_by_group, errors_of
from lse_material.fit.session import (
    ENDS,
    PROCESSOR,
    Checkpoint,
    Session,
    TimeUpError,
    ctrl_c_interrupts,
    made_on,
    reason_of,
)
from lse_material.model.box import Box
from lse_material.model.convex_network import ConvexNetwork
from lse_material.model.growth import Growth
from lse_material.model.material import Material, potential_of
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.strain import StrainMeasure
from lse_material.model.symmetry import Symmetry

REFIT_ITERATIONS = 60  # of Levenberg-Marquardt on all rows, after a discovery that held some back
SHARE_OF_SEARCH = 0.85  # of the time, where it is limited: the rest is for the refit of what was found
SHARE_OF_NOISE = 0.7  # of observations, that a smaller number of modes may add: half of the squares of their errors
MOST_TOLERANCE = 0.5  # where they are mostly noise
ROUNDING = 1e-9  # of the largest strain, up to which a component of the data does not vary
LAST_ITERATIONS = 5  # of Levenberg-Marquardt on all rows, where a discovery saw only some


def fit(
    samples: Samples | Observations,
    *,
    kinematics: StrainMeasure | None = None,
    architecture: Architecture | None = None,
    training: Training | None = None,
    sparsity: Sparsity | None = None,
    growth: Growth | Literal["auto"] | None = None,
    parameters: Parameters | None = None,
    symmetry: Symmetry | None = None,
    start: Material | SoftMinimum | None = None,
    periods: Sequence[float | None] | None = None,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> FitResult:
    """Fit a soft minimum of input convex networks to energies and/or stresses (or gradients).

    The same seed gives the same weights, bit by bit, on the same machine. Ctrl-C and the time limit keep the best so far.

    Args:
        samples: rows of F with energy and/or stress, or of x with energy and/or gradient; missing rows are left out. Or
            observations: values that are sums of stresses, of rubber tests or displacement fields, say.
        kinematics: strain measure, for samples of F only.
        architecture: number and shape of the modes; `Architecture()` if left out.
        training: how to search for the weights of a given number of modes, the share of rows held back, and the weights of
            energies and stresses; `Training()` if left out.
        sparsity: how to discover the number of modes, with modes="auto"; `Sparsity()`, at observations' errors, if left out.
            With modes="auto", or if it is given, modes do not depend on designs that the data do not need: see
            `FitResult.summary`.
        growth: a term of W that the network need not learn. With "auto" its coefficient, >= 0, is fitted along.
        parameters: which of the fields is a temperature, {"T": Temperature()}, and which are designs, {"porosity": Design()};
            modes are convex in the others and the strain. Of samples of x they are the first inputs, "x1" and so on, the
            temperature first. A fit from `start` keeps the temperature of the start, and what its modes do not depend on.
        symmetry: of the parent phase and of its variants: each mode then stands for all its variants, which share its
            weights. The numbers of modes in `architecture` count such families.
        start: an earlier fit, whose modes, weights, scales, growth and caloric terms this one begins with; `architecture` is
            then left out. What is polyconvex stays so.
        periods: of the inputs x, a number where W is periodic, in a dihedral angle say, and None elsewhere. The fit is periodic
            to rounding; its modes are convex in cosine and sine.
        seed: of the random starts and of the validation rows.
        checkpoint: file of the stages that are done. If it is there, the fit goes on from the last of them: after a kill, or
            with more time; data, options and seed must be the same. It is removed at the fit's end.
        progress: show a bar on a terminal.

    Returns:
        The result. Without energies W is fixed to be 0 at F = I and the first row's fields (or at the first x).

    Raises:
        InvalidInputError: the samples cannot be fitted so, or the checkpoint is that of another fit.

    Warns:
        DataWarning: the data contradict themselves or leave something open; also in the result's `data_warnings`.
        FitWarning: the time limit has ended the search; also in the result's `warnings()`.

    >>> result = lse.fit.fit(samples, kinematics=lse.GreenLagrange(2), training=quick, seed=1, progress=False)
    >>> result.validation_errors.energy < 0.05
    True
    """
    began = time.monotonic()
    expect_options(architecture=architecture, training=training, sparsity=sparsity, kinematics=kinematics, seed=seed)
    expect_options(samples=samples, symmetry=symmetry, growth=growth, parameters=parameters, checkpoint=checkpoint)
    seed = int(seed)
    with made_on(PROCESSOR):
        training, leave_out, sparsity = training or Training(), sparsity is not None, sparsity or _sparsity(samples)
        first = None if start is None else from_start(start, kinematics, architecture, symmetry)
        growth = start.growth if growth is None and isinstance(start, Material) else growth
        samples, temperature, designs = declared(parameters, samples, start, periods)
        architecture = architecture_of(architecture, temperature, designs) if first is None else first.architecture
        architecture = trainable_kind(architecture.mode_type).adapted(architecture)
        rng = generator(seed)
        inputs: dict[str, Any] = {"start": start, "periods": periods, "temperature": temperature}
        problem = prepare(samples, kinematics, growth, symmetry, architecture, training, rng, **inputs)
        for text in problem.warnings:
            warnings.warn(text, DataWarning, stacklevel=2)
        of_fit = architecture, training, sparsity, growth, kinematics and kinematics.to_dict(), symmetry, periods, seed
        stages = None if checkpoint is None else Checkpoint(checkpoint, _name(problem.digest, *of_fit, temperature))
        problem = problem.within(Session(began + (training.time_limit or math.inf), stages))
        with ctrl_c_interrupts():
            found = _search(problem, first, architecture, training, sparsity, rng, progress)
            if leave_out and not (found.errors or found.stopped) and architecture.design:
                found = _without_dependences(problem, found, training, sparsity, rng)
            result = _finished(problem, found, sparsity.tolerance, training, seed, progress)
    if stages is not None and not result.stopped:
        stages.path.unlink(missing_ok=True)
    if result.ending:
        warnings.warn(result.ending, FitWarning, stacklevel=2)
    return replace(result, seconds=time.monotonic() - began)


def _sparsity(samples: Samples | Observations) -> Sparsity:
    """The default, whose tolerance is not finer than the errors of observations."""
    return Sparsity(tolerance=min(max(Sparsity().tolerance, SHARE_OF_NOISE * _noise(samples)), MOST_TOLERANCE))


def _noise(samples: Samples | Observations) -> float:
    """The relative error that is stated; 0 where none is."""
    return samples.noise if isinstance(samples, Observations) else 0.0


def _search(
    problem: Problem,
    first: TrainablePotential | None,
    architecture: Architecture,
    training: Training,
    sparsity: Sparsity,
    rng: np.random.Generator,
    progress: bool,
) -> Found:
    """Weights from an earlier fit, of a number of modes that is to be found, or of one that is given."""
    train, constraints = problem.train, problem.constraints
    if first is not None:
        starts = [first]
    elif architecture.modes == "auto":
        return _discover(problem, architecture, training, sparsity, rng, progress)
    else:
        starts = [random_start(architecture, train, rng, constraints) for _ in range(training.restarts)]
    return multistart(starts, train, problem.validation, training, progress=progress)


def _name(*of_fit: Any) -> str:
    """What tells a fit from others in its checkpoint: all but how long and in how many processes it may search."""
    same = (replace(each, time_limit=0.0, processes=1) if isinstance(each, Training) else each for each in of_fit)
    return " ".join(map(str, same))


def from_start(
    start: Material | SoftMinimum,
    kinematics: StrainMeasure | None,
    architecture: Architecture | None = None,
    symmetry: Symmetry | None = None,
) -> TrainablePotential:
    """The weights of an earlier fit, to be trained further.

    Raises InvalidInputError: it is of another strain measure, or what is asked for beside it would change it.
    """
    if not isinstance(start, Material | SoftMinimum):
        raise InvalidInputError(
            f"`start` is a {type(start).__name__}; it must be the material (or the potential) of an earlier fit: "
            "result.material, or lse.load(path)."
        )
    if architecture is not None or symmetry is not None:
        raise InvalidInputError("a fit from `start` keeps its modes: leave `architecture` and `symmetry` out.")
    if kinematics is not None and isinstance(start, SoftMinimum):
        raise InvalidInputError(
            "`start` is a potential, which samples of x begin with: give the material, result.material."
        )
    if (start.kinematics if isinstance(start, Material) else None) != kinematics:
        raise InvalidInputError(f"`start` is not a fit with the strain measure {kinematics}: give the same as there.")
    potential = potential_of(start)
    if "periodic" in potential.kinds:
        raise InvalidInputError("`start` is periodic: such a fit does not go on. Fit anew, with `periods`.")
    plain = all(mode.type == ConvexNetwork.type for mode in potential.modes)  # what polyconvex modes are written as
    polyconvex = plain and isinstance(start, Material) and start.is_polyconvex
    monotone = monotone_inputs(kinematics, potential.size) if polyconvex else None
    shift, scale = potential.input_shift, potential.input_scale
    states = of_states(kinematics, potential.size - kinematics.size, shift, scale) if kinematics else {}
    constraints = Constraints(unit=torch.tensor(scale), monotone=monotone, **states)
    return TrainablePotential.from_potential(potential, constraints)


def _finished(
    problem: Problem, found: Found, tolerance: float, training: Training, seed: int, progress: bool
) -> FitResult:
    """The result, fitted on to all rows where groups were held back or rows are few, with the errors that it had on them."""
    try:
        result = _package(problem, found, tolerance, seed)
    except KeyboardInterrupt as end:
        return _package(problem, replace(found, stopped=reason_of(end)), tolerance, seed)
    everything, model = problem.everything, copy_of(found.model)
    if everything is None or found.stopped or (result.useless and not result.group_errors):
        return result
    last = replace(found, model=model)
    try:
        if result.path:
            levenberg_marquardt(model, everything, REFIT_ITERATIONS)
        else:
            more = multistart([model], everything, everything, replace(training, adam_steps=0), progress=progress)
            last = replace(more, history=(*found.history, *more.history))
        problem = replace(problem, used=problem.samples, train=everything, validation_samples=None)
        after = _package(problem, last, tolerance, seed)
    except ENDS as end:
        return replace(result, stopped=reason_of(end))
    return replace(after, validation_errors=result.validation_errors, group_errors=result.group_errors)


def _discover(
    problem: Problem,
    architecture: Architecture,
    training: Training,
    sparsity: Sparsity,
    rng: np.random.Generator,
    progress: bool,
) -> Found:
    """The search for the number of modes. Ctrl-C and the time limit keep the best number so far.

    Raises KeyboardInterrupt: it came before anything was found.
    """
    train, validation, schedule = problem.train, problem.validation, Schedule()
    some = train.part(slice(0, training.rows))
    candidates = Candidates(sparsity.tolerance, schedule)
    history: list[Record] = []
    with progress_bar("discovery", None, show=progress) as bar:

        def report(step: str, error: float) -> None:
            history.append(Record(step, len(history), error, error))
            bar(1, f"{step}: validation error {error:.2e}")

        limited = replace(some, session=some.session.part(SHARE_OF_SEARCH))
        noise = _noise(problem.used), _noise(problem.validation_samples or problem.used)
        search = Discovery(
            architecture, limited, validation, problem.constraints, sparsity, rng, report, schedule, candidates, noise
        )
        interval, stopped = None, ""
        try:
            model, interval = discover(search, training.processes)
        except ENDS as end:
            stopped, chosen = reason_of(end), candidates.smallest_acceptable()
            if chosen is None:
                raise
            model = copy_of(chosen.model)
            if isinstance(end, TimeUpError):
                with contextlib.suppress(*ENDS):
                    schedule.final.run(model, some)
    with contextlib.suppress(*ENDS):
        if len(some.inputs) < len(train.inputs):
            levenberg_marquardt(model, train, LAST_ITERATIONS)
    return Found(model, tuple(history), stopped, candidates.errors, interval)


def _without_dependences(
    problem: Problem, found: Found, training: Training, sparsity: Sparsity, rng: np.random.Generator
) -> Found:
    """The same number of modes, which depend on designs only where the data need it."""
    train, schedule, model = problem.train.part(slice(0, training.rows)), Schedule(), found.model
    candidates, constraints = Candidates(sparsity.tolerance, schedule), problem.constraints
    search = Discovery(
        model.architecture, train, problem.validation, constraints, sparsity, rng, silent, schedule, candidates
    )
    try:
        return replace(found, model=prune_weights(search, search.candidate(model, "given")))
    except ENDS as end:
        return replace(found, stopped=reason_of(end))


def _package(problem: Problem, found: Found, tolerance: float, seed: int) -> FitResult:
    """The result: a material for samples of F, a potential for samples of x, with errors and the story of the fit."""
    scale, variants, potential = problem.scales.energy_scale, problem.constraints.variants, _potential(problem, found)
    x = problem.samples.inputs(problem.kinematics)
    fitted: Material | SoftMinimum = potential
    if problem.kinematics is not None:
        fitted = _material(problem, found, potential, problem.kinematics)
    box = _training_box(problem, x) if problem.periods is None else problem.periods.box(x)
    fitted = replace(fitted, units=problem.samples.units, training_box=box)
    train_errors = errors_of(fitted, problem.used)
    fitted = replace(fitted, provenance=_provenance(problem, train_errors, seed))
    held_back = None if problem.validation_samples is None else errors_of(fitted, problem.validation_samples)
    by_group = {} if problem.everything is None else errors_by_group(fitted, problem.validation_samples)
    of_rows = train_errors if held_back is None or by_group else held_back  # a group may be unlike all others
    judged_by = {
        kind: error
        for kind, error, weight in zip(("energy", "stress"), (of_rows.energy, of_rows.stress), problem.train.weights)
        if error is not None and weight
    }
    low, high = found.model.scaled_rho_bounds
    weights, interval = potential.mode_weights(x), found.scaled_rho_interval
    return FitResult(
        fitted=fitted,
        usage=weights.mean(axis=0),
        train_errors=train_errors,
        validation_errors=held_back,
        peak=weights.max(axis=0),
        group_errors=by_group,
        data_warnings=problem.warnings,
        variants=variants,
        path=tuple((variants * modes, error) for modes, error in found.errors.items()),
        transition_scale_interval=None if interval is None else tuple(scale * rho for rho in interval),
        transition_scale_bounds=(scale * low, scale * high),
        tolerance=tolerance,
        architecture=found.model.architecture,
        history=found.history,
        seconds=0.0,
        stopped=found.stopped,
        misfits=judged(fitted, problem, found, judged_by, tolerance),
        useless=max(judged_by.values()) >= USELESS_ERROR,
    )


def _potential(problem: Problem, found: Found) -> SoftMinimum:
    """The potential in the units of the data; where these have no energies it vanishes at a reference point."""
    samples, kinematics, potential = problem.samples, problem.kinematics, found.model.to_potential(*problem.scales)
    x = samples.inputs(kinematics)
    if problem.periods is not None:
        potential = problem.periods.potential(potential)
    if kinematics is not None and len(problem.seen) < x.shape[1]:
        potential = with_unseen_shears(potential, problem.seen, x, kinematics.size)
    if len(problem.train.known_energies):
        return potential
    reference = samples.inputs(None)[:1] if kinematics is None else kinematics.strain(np.eye(kinematics.dim)[None])
    if isinstance(samples, Samples) and samples.fields is not None:
        reference = np.concatenate([samples.fields[:1], reference], axis=1)
    return replace(potential, energy_shift=potential.energy_shift - float(potential.energy(reference)[0]))


def _material(problem: Problem, found: Found, potential: SoftMinimum, kinematics: StrainMeasure) -> Material:
    """The material of a potential, with its growth and caloric terms."""
    samples, growth = problem.samples, problem.growth
    coefficient = problem.train.growth_coefficient(found.model)
    if growth == "auto":
        growth = Growth(coefficient) if coefficient > 0.0 else None
    caloric, temperature = None, problem.temperature
    if temperature is not None:
        caloric = temperature.caloric
        if caloric is not None and temperature.heat_capacity == "auto":
            caloric = replace(caloric, heat_capacity=coefficient) if coefficient > 0.0 else None
    fields = samples.field_names if isinstance(samples, Samples) else ()
    return Material(potential, kinematics, growth, fields=fields, symmetry=problem.symmetry, caloric=caloric)


def _training_box(problem: Problem, x: Array) -> Box:
    """Of all images of x. Strains that vary by rounding alone get a width: the rounding of another F is no new state."""
    known = x if problem.symmetry is None else problem.symmetry.images(x)
    lower, upper = known.min(axis=0), known.max(axis=0)
    if problem.kinematics is None:
        return Box(lower, upper)
    first = known.shape[1] - problem.kinematics.size
    slack = ROUNDING * np.abs(known[:, first:]).max()
    flat = (upper - lower <= slack) & (np.arange(len(lower)) >= first)
    return Box(lower - slack * flat, upper + slack * flat)


def _provenance(problem: Problem, errors: Errors, seed: int) -> dict[str, Any]:
    """What the file says of where the material comes from."""
    provenance = {
        "package": f"lse_material {lse_material.__version__}",
        "date": date.today().isoformat(),
        "data": problem.digest,
        "rows": len(problem.samples),
        "seed": seed,
        "error_energy": errors.energy,
        "error_stress": errors.stress,
    }
    if isinstance(problem.samples, Samples) and problem.samples.conjugates is not None:
        provenance["error_conjugates"] = errors.conjugates
    return provenance
