"""Discovery of the number of modes and of the transition scale, by sparse regression and refits.

An over-complete soft minimum is trained with a penalty on the entropy of the usage u_k = mean over the data of the mode
weight w_k, so that few modes carry the data; unused modes are dropped. This is done for modes without neurons (convex
quadratic functions) first, and for networks unless those explain the data. Then modes are left out one after another, each
time with a refit, for as long as the error on validation rows stays within the tolerance. The model that remains is refitted to
convergence, its transition scale is lowered as far as the data do not contradict, and weights that are not needed are pruned.
"""

import math
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace

from lse_material.fit.discovery import moves
from lse_material.fit.discovery.candidates import Candidates, Discovery, silent
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.optimise.parallel import one_after_another
from lse_material.fit.session import TimeUpError

Interval = tuple[float, float]


def discover(search: Discovery, processes: int) -> tuple[TrainablePotential, Interval | None]:
    """The whole search: the model that was chosen, and the interval of transition scales that fit the data alike."""
    if moves.quadratic_modes_suffice(search):  # fewer modes by more weights would be no simpler
        search = replace(search, architecture=replace(search.architecture, depth=0))
    else:
        start_networks(search, processes)
    nothing = moves.constant(search)
    if nothing is not None:
        return nothing.model, None
    candidate = moves.eliminate(search)
    candidate = moves.final_refit(search, candidate)
    candidate = moves.retry(search, candidate)
    candidate = moves.try_more_modes(search, candidate)
    candidate = moves.mode_for_each_well(search, candidate)
    candidate, interval = moves.lower_transition_scale(search, candidate)
    return moves.prune_weights(search, candidate), interval


def start_networks(search: Discovery, processes: int) -> None:
    """Random starts until one meets the tolerance or two end alike: what is missed is the data's own then."""
    same, least = search.schedule.same, math.inf
    with closing(errors_of_starts(search, processes)) as errors:
        for error in errors:
            if error <= search.sparsity.tolerance or same * least < error < least / same:
                break
            least = min(error, least)


def errors_of_starts(search: Discovery, processes: int) -> Generator[float]:
    """The error of each random start, which draws random numbers of its own, some at once if `processes` are more than one."""
    starts = [replace(search, rng=rng) for rng in search.rng.spawn(search.sparsity.restarts)]
    if processes > 1:
        own = (Candidates(search.sparsity.tolerance, search.schedule) for _ in starts)
        starts = [replace(start, candidates=candidates, report=silent) for start, candidates in zip(starts, own)]
    with closing(one_after_another(first_step, starts, processes)) as done:
        for error, candidates in done:
            search.candidates.add(*candidates.best.values())
            yield error


def first_step(search: Discovery) -> tuple[float, Candidates]:
    """A sparse start, with modes added if it misses the tolerance; its error, and all candidates so far."""
    try:
        return moves.add_modes(search, moves.sparse_start(search)).error, search.candidates
    except TimeUpError:  # the next refit raises it too, in this process or in that of the search
        return math.inf, search.candidates
