"""The moves of the search: each makes candidates out of others by adding, dropping, widening or refitting modes."""

from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter

import numpy as np

from lse_material.analysis.stationary import wells
from lse_material.fit.discovery.candidates import Candidate, Discovery, alike, attempt
from lse_material.fit.discovery.independence import independent
from lse_material.fit.discovery.prune import active_weights, prune
from lse_material.fit.discovery.schedule import Refit, Schedule, as_stage
from lse_material.fit.model import edit
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.optimise.adam import adam
from lse_material.fit.problem.loss import Loss
from lse_material.fit.session import TimeUpError

RHO_MARGIN = 1e-4  # of a transition scale from the bounds of its logarithm, as a share of their distance


def sparse_start(search: Discovery) -> Candidate:
    """Adam on `max_modes` random modes with a penalty on the entropy of their usage; the used modes are refitted."""
    s, o = search.schedule, search.sparsity
    model = search.random_start(search.architecture.max_modes)
    model.set_scaled_rho(s.first_rho, RHO_MARGIN)
    rate, usage = o.learning_rate, o.usage_weight

    def first_steps() -> float:
        adam(model, search.train, o.adam_steps, rate, rho_weight=o.rho_weight, usage_weight=usage)
        return 0.0

    try:
        as_stage(model, search.train, first_steps)
    except TimeUpError:
        search.candidate(model, "sparse")  # better than nothing
        raise
    best = search.refitted(edit.without_unused(model, search.train, o.least_usage), s.sparse, "sparse")
    for factor in s.other_scales[: s.first_scales]:
        if best.error <= o.tolerance or not best.model.raw_rho.requires_grad:
            break
        other = with_other_transition_scale(best.model, search.train, factor, s.rescaled)
        best = min(search.refitted(other, s.after_rescaling, "rho"), best, key=attrgetter("error"))
    return best


def add_modes(search: Discovery, candidate: Candidate) -> Candidate:
    """A mode more while the error is above the tolerance: added where the fit is too high, or split off the worst mode."""
    s = search.schedule
    for _ in range(s.most_added):
        if candidate.error <= search.sparsity.tolerance or candidate.modes >= search.architecture.max_modes:
            break
        arguments = candidate.model, search.train, search.rng
        added = attempt(edit.with_mode_added, *arguments)
        split = attempt(edit.with_mode_split, *arguments) if search.constraints.orbit is None else None
        trials = [model for model in (split, added) if model is not None]
        if not trials:
            break
        candidate = search.refitted(search.in_order(trials, s.added_trial)[0], s.added, "add")
    return candidate


def quadratic_modes_suffice(search: Discovery) -> bool:
    """Whether modes without neurons explain the data, exactly or but for noise, which is cheap to find out.

    What they miss is noise if it is within the stated errors, or neither neurons nor another start with neurons lower it.
    """
    s, architecture = search.schedule, search.architecture
    if not (architecture.depth and architecture.quadratic):
        return False
    plain = replace(search, architecture=replace(architecture, depth=0), rng=search.rng.spawn(1)[0])
    add_modes(plain, sparse_start(plain))
    chosen = search.candidates.smallest_acceptable()
    assert chosen is not None
    chosen = search.converged(edit.copy_of(chosen.model), s.without_neurons, "final refit")
    error = chosen.error
    if chosen.explained or error <= s.exact * search.sparsity.tolerance:
        return True
    if chosen.modes > s.many_modes * architecture.max_modes or error >= s.near * search.sparsity.tolerance:
        return False
    wider = edit.widened(chosen.model, architecture, search.rng)
    s.with_neurons.run(wider, search.train)
    return search.validation.worst_error(wider) > s.same * error and sparse_start(search).error > s.same * error


def constant(search: Discovery) -> Candidate | None:
    """A mode of no weights, where validation rows do not tell the best model from it: there is nothing to find then."""
    search.train.session.expect_time()  # what starts have found in too short a time is no noise
    best, given = search.candidates.least, search.architecture
    size = search.train.inputs.shape[1]
    model = TrainablePotential.of(replace(given, modes=1, depth=0), size, constraints=search.constraints)
    squares = search.validation.by_row(model)
    if best.error <= search.schedule.better * search.validation.worst_error(model) or not alike(
        squares, best.squares, search.schedule.significance
    ):
        return None
    return search.candidate(model, "constant")


def drop_mode(search: Discovery, candidate: Candidate) -> Candidate:
    """One mode fewer: each of the cheapest left out in turn, or the two nearest to one convex function merged."""
    s, modes = search.schedule, range(candidate.modes)
    cheapest = np.argsort(edit.losses_without(candidate.model, search.train))[: search.sparsity.trials]
    trials = [edit.select(candidate.model, [j for j in modes if j != k]) for k in cheapest]
    merged = attempt(edit.with_pair_merged, candidate.model, search.train)
    if merged is not None:
        trials.append(merged)
    for trial in search.in_order(trials, s.dropped_trial)[: s.dropped_refits]:
        smaller = search.refitted(trial, s.dropped, "drop")
        if search.candidates.acceptable(smaller) or smaller.error > s.hopeless * search.sparsity.tolerance:
            break
    return smaller


def widen_smaller(search: Discovery, candidate: Candidate) -> Candidate | None:
    """One mode fewer with twice the neurons, where the best of that number is near the tolerance."""
    smaller = search.candidates.best[candidate.modes - 1]
    if smaller.error >= search.schedule.near * search.sparsity.tolerance or not search.architecture.depth:
        return None
    wider = edit.widened(smaller.model, search.architecture, search.rng)
    return search.refitted(wider, search.schedule.widened, "widen")


def restart_smaller(search: Discovery, candidate: Candidate) -> Candidate | None:
    """One mode fewer from random starts: leaving one out may have ended in a local minimum. One convex mode has no other."""
    modes = candidate.modes - 1
    return restart(search, modes) if modes * search.constraints.variants > 1 else None


def restart(search: Discovery, modes: int) -> Candidate:
    """The best of some random starts with so many modes."""
    starts = [search.random_start(modes) for _ in range(search.sparsity.trials)]
    best = search.in_order(starts, search.schedule.restarted_trial)[0]
    return search.refitted(best, search.schedule.restarted, "random")


def converge_smaller(search: Discovery, candidate: Candidate) -> Candidate | None:
    """The best with one mode fewer, refitted to convergence if it is near the tolerance: refits that compare end before."""
    smaller = search.candidates.best[candidate.modes - 1]
    if smaller.error >= search.schedule.near * search.sparsity.tolerance:
        return None
    return search.converged(edit.copy_of(smaller.model), search.schedule.final, "converge")


def eliminate(search: Discovery) -> Candidate:
    """Backward elimination: one mode fewer for as long as a move finds an acceptable model, from the fewest so far."""
    candidate = search.candidates.smallest_acceptable()
    assert candidate is not None
    while candidate.modes > 1:
        for move in (drop_mode, widen_smaller, restart_smaller, converge_smaller):
            smaller = move(search, candidate)
            if smaller is not None and search.candidates.acceptable(smaller):
                break
        else:
            break
        candidate = search.candidates.best[candidate.modes - 1]
    return candidate


def final_refit(search: Discovery, candidate: Candidate) -> Candidate:
    """Levenberg-Marquardt to convergence; neurons without effect get new hinges; twice the neurons if they halve the error."""
    s, tolerance = search.schedule, search.sparsity.tolerance
    refitted = search.converged(edit.copy_of(candidate.model), s.final, "final refit")
    candidate = min(refitted, candidate, key=attrgetter("error"))
    for _ in range(s.renewals):
        if candidate.error < s.converged * tolerance:
            break
        renewed = edit.with_dead_neurons_renewed(candidate.model, search.train, search.rng)
        trial = None if renewed is None else search.converged(renewed, s.renewed, "renew")
        if trial is None or trial.error >= candidate.error:
            break
        candidate = trial
    if candidate.error > s.well_fitted * tolerance and search.architecture.depth:
        wider = edit.widened(candidate.model, search.architecture, search.rng)
        trial = search.converged(wider, s.finally_widened, "widen")
        candidate = trial if trial.error < s.better * candidate.error else candidate
    return candidate


def retry(search: Discovery, candidate: Candidate) -> Candidate:
    """Random starts with as many modes, kept if an error is at most half: it may be noise, or a local minimum.

    That of the rows trained on tells them apart: noise is met by none of them.
    """
    several = candidate.modes * search.constraints.variants > 1
    if candidate.error <= search.schedule.noise * search.sparsity.tolerance or not several:
        return candidate
    other = final_refit(search, restart(search, candidate.modes))
    lower = search.train.worst_error(other.model) < search.schedule.better * search.train.worst_error(candidate.model)
    halved = other.error < search.schedule.better * candidate.error
    return other if halved or (lower and other.error < candidate.error) else candidate


def try_more_modes(search: Discovery, candidate: Candidate) -> Candidate:
    """One mode more if that is decisively better: the smaller number only just met the tolerance then."""
    s, larger = search.schedule, search.candidates.best.get(candidate.modes + 1)
    if (
        candidate.error <= s.noise * search.sparsity.tolerance
        or larger is None
        or larger.error > s.better * candidate.error
    ):
        return candidate
    larger = final_refit(search, larger)
    return larger if larger.error <= candidate.error / s.decisive else candidate


def mode_for_each_well(search: Discovery, candidate: Candidate) -> Candidate:
    """More modes while more wells coexist at a temperature than there are modes, if the tolerance is met with them too.

    A well that smoothing makes between two modes is no phase of its own: it cannot appear or vanish where its energy says.
    """
    variants = search.constraints.variants
    while (
        candidate.modes * variants < most_wells(search, candidate) and candidate.modes < search.architecture.max_modes
    ):
        known, limit = search.candidates.best.get(candidate.modes + 1), search.schedule.near * search.sparsity.tolerance
        more = known if known is not None and known.error < limit else restart(search, candidate.modes + 1)
        more = final_refit(search, more)
        if not search.candidates.acceptable(more):
            break
        candidate = more
    return candidate


def most_wells(search: Discovery, candidate: Candidate) -> int:
    """The largest number of wells within the data at one of some temperatures; 0 for modes that know no temperature.

    Designs are those of the row that is nearest to their mean.
    """
    if not candidate.model.temperatures:
        return 0
    first, inputs = 1 + candidate.model.architecture.design, search.train.inputs.numpy()
    designs, x = inputs[:, 1:first], inputs[:, first:]
    middle = designs[((designs - designs.mean(axis=0)) ** 2).sum(axis=1).argmin()]
    potential = candidate.model.to_potential()
    low, high = x.min(axis=0), x.max(axis=0)
    high = np.maximum(high, low + 1e-9 * max(float(np.abs(x).max()), 1e-300))
    at_some = (potential.at([t, *middle]) for t in np.linspace(0.0, 1.0, search.schedule.temperatures))
    return max(sum(well.inside for well in wells(each, low, high)) for each in at_some)


def rescale(search: Discovery, candidate: Candidate) -> Candidate:
    """Another transition scale if it halves the error: where few rows lie on ridges, the loss has local minima in it."""
    s, tolerance = search.schedule, search.sparsity.tolerance
    floor = s.exact * tolerance
    for factor in s.other_scales:
        if not floor < candidate.error < s.noise * tolerance:
            break
        model = with_other_transition_scale(candidate.model, search.train, factor, s.rescaled)
        s.other_scale.run(model, search.train)
        if search.validation.worst_error(model) < max(s.better * candidate.error, floor):
            candidate = search.candidate(model, "rho")
    return candidate


def lower_transition_scale(search: Discovery, candidate: Candidate) -> tuple[Candidate, tuple[float, float] | None]:
    """The smallest transition scale that fits the data alike, and the interval of all that do; None for one mode."""
    if not candidate.model.raw_rho.requires_grad:
        return candidate, None
    s, candidate = search.schedule, rescale(search, candidate)
    passes = fits_alike(search, candidate, search.sparsity.rho_slack, lambda model: f"rho {model.scaled_rho_value:.2g}")
    sharpest, smoothest = (
        profile_transition_scale(candidate.model, search.train, factor, s, passes) for factor in (s.lower, s.higher)
    )
    return search.candidate(sharpest, "rho"), (sharpest.scaled_rho_value, smoothest.scaled_rho_value)


def with_other_transition_scale(
    model: TrainablePotential, train: Loss, factor: float, refit: Refit, target: float = 0.0
) -> TrainablePotential:
    """The model refitted with a transition scale that is `factor` times as large, until the loss is `target`."""
    trial = edit.copy_of(model)
    trial.set_scaled_rho(factor * model.scaled_rho_value, RHO_MARGIN)
    refit.run(trial, train, free_rho=False, target=target)
    return trial


def profile_transition_scale(
    model: TrainablePotential,
    train: Loss,
    factor: float,
    schedule: Schedule,
    alike: Callable[[TrainablePotential], bool],
) -> TrainablePotential:
    """The transition scale changed by `factor` at a time for as long as the refitted models are `alike`."""
    low, high = model.scaled_rho_bounds
    while schedule.margin * low < factor * model.scaled_rho_value < high / schedule.margin:
        trial = with_other_transition_scale(model, train, factor, schedule.rescaled, schedule.profile_target)
        if not alike(trial):
            break
        model = trial
    return model


def prune_weights(search: Discovery, candidate: Candidate) -> TrainablePotential:
    """Weights, neurons and dependences on designs left out while the errors stay within the factor that is allowed."""
    factor, s, exact = search.sparsity.prune, search.schedule, search.schedule.exact * search.sparsity.tolerance
    if factor <= 1.0:
        return candidate.model
    passes = fits_alike(search, candidate, factor, lambda model: f"{active_weights(model)} weights")
    if candidate.model.layered:
        return prune(candidate.model, search.train, passes, s, s.prune_target * exact**2)
    limit = max(factor * search.train.worst_error(candidate.model), exact)
    return independent(candidate.model, search.train, passes, s, s.prune_target * limit**2)


def fits_alike(
    search: Discovery, candidate: Candidate, factor: float, label: Callable[[TrainablePotential], str]
) -> Callable[[TrainablePotential], bool]:
    """A test of whether a model fits as well as a candidate: errors within `factor` of the candidate's, or of an exact fit.

    Where the error is near the tolerance or above it is mostly noise, and a factor would hide a misfit of that size: the
    validation rows must then not tell the two apart, by one standard error of the mean difference of their squares. Models
    that pass are reported under their label.
    """
    floor, losses = search.schedule.exact * search.sparsity.tolerance, (search.validation, search.train)
    limits = [max(factor * loss.worst_error(candidate.model), floor) for loss in losses]
    noisy = candidate.error > search.schedule.noise * search.sparsity.tolerance

    def passes(model: TrainablePotential) -> bool:
        errors = [loss.worst_error(model) for loss in losses]
        passed = all(error <= limit for error, limit in zip(errors, limits)) and (
            not noisy or alike(search.validation.by_row(model), candidate.squares, 1.0)
        )
        if passed:
            search.report(label(model), errors[0])
        return passed

    return passes
