"""Which shape of a material to take, where load paths are few: the one that meets best the paths which it has not seen.

All shapes meet the paths of the data; they differ on others. Each path is left out in turn, for each candidate
(cross-validation by groups). With e_g the relative RMS error of a candidate on the path g, which its fit has not seen, it is
judged by

    m = mean_g ln min(e_g, 1),    exp(m) its typical error.

All paths count alike, and a path that is missed by more than its own stress is no guide, whatever the factor. Paths are few, so
that the least m is in part chance. A constrained shape has fewer ways to go wrong where no path is. So the most constrained
candidate is taken unless a freer one is shown to be better: by Student's t test of the differences over the paths, or by a
typical error of less than half. (It is a form of the one-standard-error rule: L. Breiman et al., Classification and Regression
Trees, 1984.)
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import t as student_t

from lse_material._arrays import Array, generator, whole_number
from lse_material._progress import progress_bar
from lse_material.data.observations import Observations
from lse_material.data.samples import Samples
from lse_material.errors import InvalidInputError
from lse_material.fit.ensemble import Ensemble, fit_ensemble
from lse_material.fit.leave_one_out import LeftOut, leave_one_group_out
from lse_material.fit.options import Architecture, Training, expect_options
from lse_material.fit.problem.held_back import with_groups
from lse_material.fit.problem.parameters import Design, Parameters
from lse_material.model.material import Material
from lse_material.model.strain import GreenLagrange, StrainAndVolume

# Short fits to all rows: long ones follow the flaws of the data on the paths, and move between them.
SHORT = Training(restarts=1, adam_steps=100, lbfgs_steps=300, validation=0.0)
LONGER = Training(restarts=1, adam_steps=300, lbfgs_steps=600, validation=0.0)
# Many cells, many rows: small batches bring Adam nearer than L-BFGS comes in the same time.
OF_DESIGNS = Training(restarts=1, adam_steps=3000, learning_rate=0.02, lbfgs_steps=300, validation=0.0)


CHANCE = 0.05  # of a freer candidate to be taken where both are equally good
MUCH_WORSE = 2.0  # ratio of typical errors from which a candidate is worse, however few the groups
LEAST = 1e-3  # relative error below which candidates are equally good: no data are known better


@dataclass(frozen=True, eq=False)
class Selection:
    """Candidates, and fits to all groups of the most constrained of those that are best on groups left out.

    Attributes:
        left_out: by name of the candidate, in the order given.
        alike: names of those whose typical errors the groups do not tell apart; the first, most constrained one is taken.
        ensemble: fits of that one to all groups.

    >>> paths = lse.Samples(F=samples.F, stress=samples.stress, group=np.arange(200) // 100)
    >>> one, two = (lse.fit.Architecture(modes=modes, width=4) for modes in (1, 2))
    >>> candidates = {"one": {"architecture": one}, "two": {"architecture": two}}
    >>> measure = lse.GreenLagrange(2)
    >>> selection = lse.fit.select(
    ...     paths, candidates, members=2, kinematics=measure, training=quick, progress=False
    ... )
    >>> selection.best  # the data have two wells
    'two'
    """

    left_out: Mapping[str, LeftOut]
    alike: tuple[str, ...]
    ensemble: Ensemble

    @property
    def best(self) -> str:
        """The name of the candidate that is taken."""
        return self.alike[0]

    @property
    def material(self) -> Material:
        """The best fit of the best candidate."""
        return self.ensemble.material

    def summary(self) -> str:
        """A line for each candidate, the least typical error first, and what the one taken misses in each group."""
        typical = {name: typical_error(left_out) for name, left_out in self.left_out.items()}
        lines = [
            f"{name}: typical error {typical[name]:.1%} on a group left out"
            for name in sorted(typical, key=lambda name: typical[name])
        ]
        if len(self.alike) > 1:
            lines.append(f"not told apart by {len(self.left_out[self.best].errors)} groups: {'; '.join(self.alike)}")
        return "\n".join([*lines, f"taken: {self.best}", self.left_out[self.best].summary()])


def select(
    samples: Samples | Observations,
    candidates: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    members: int = 5,
    folds: int | None = None,
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> Selection:
    """Compare candidates by `leave_one_group_out`, and fit the one that is taken to all groups, `members` times.

    Where a material depends on designs, give as groups the cells that were sampled, so that whole designs are left out.

    The measure is the typical error of a group left out, in the stress (see the module): rows beyond the strains of the other
    groups count, since candidates differ there most. Where the groups do not tell candidates apart, the first of them is taken.
    It takes (number of candidates) times (number of groups, or of folds) fits.

    Args:
        samples: of F, with `group`, or with rows that follow load paths; or observations with `group`.
        candidates: options of `fit` by a name of your own, the most constrained first; `shapes(...)` if left out.
        members: of the ensemble of the best; 2 or more.
        folds: into how many parts the groups are dealt at random, where there are many: each part is left out as a whole.
        seed: of the fits, and of the folds.
        progress: show a bar on a terminal, of the fits.
        options: of `fit` that all candidates share, `symmetry` say.

    Raises:
        InvalidInputError: there are no candidates, fewer than two groups or folds, more folds than groups, samples are of x, or
            an option is refused by `fit`.

    >>> paths = lse.Samples(F=samples.F, stress=samples.stress, group=np.arange(200) // 100)
    >>> candidates = {"linear": {"architecture": lse.fit.Architecture(quadratic=False)}, "quadratic": {}}
    >>> measure = lse.GreenLagrange(2)
    >>> selection = lse.fit.select(
    ...     paths, candidates, members=2, kinematics=measure, training=quick, progress=False
    ... )
    >>> sorted(selection.left_out)
    ['linear', 'quadratic']
    """
    whole_number("members", members, 2)
    if folds is not None:
        whole_number("folds", folds, 2)
    expect_options(seed=seed, kinematics=options.get("kinematics"), parameters=options.get("parameters"))
    expect_options(samples=samples, candidates=candidates)
    if samples.F is None:
        raise InvalidInputError("candidates are shapes of materials: give samples of F.")
    if candidates is None:
        candidates = shapes(samples, options.get("kinematics"), options.get("parameters"))
    if not candidates:
        raise InvalidInputError("there are no candidates to compare.")
    for own in candidates.values():
        expect_options(candidates=own)
    choices = {name: {**options, **own, "progress": False} for name, own in candidates.items()}
    parts, left_out = samples if folds is None else _dealt(samples, folds, seed), dict[str, LeftOut]()
    with progress_bar("candidates", len(choices) + 1, show=progress) as advance:
        for name, of_fit in choices.items():
            advance(0, name)
            left_out[name] = leave_one_group_out(parts, seed=seed, **of_fit)
            advance(1, f"{name}: {typical_error(left_out[name]):.1%}")
        alike = unbeaten(left_out)
        ensemble = fit_ensemble(samples, members=members, seed=seed, **choices[alike[0]])
        advance(1, alike[0])
    return Selection(left_out, alike, ensemble)


def _dealt(samples: Samples | Observations, folds: int, seed: int) -> Samples | Observations:
    """The samples with the number of a fold for each group."""
    samples = with_groups(samples) if isinstance(samples, Samples) else samples
    names, number = np.unique(np.zeros(len(samples)) if samples.group is None else samples.group, return_inverse=True)
    if not 2 <= folds <= len(names):
        raise InvalidInputError(
            f"folds is {folds!r}; it must be from 2 to the number of groups, {len(names)}: give Samples.group, the load path "
            "or the cell of each row."
        )
    fold = generator(seed).permutation(len(names)) % folds
    return replace(samples, group=fold[number])


def shapes(
    samples: Samples | Observations, kinematics: Any = None, parameters: Parameters | None = None
) -> dict[str, dict[str, Any]]:
    """The candidates of `select`: sums over fibres, which lattices of beams are, and general networks.

    Args:
        samples: of F; fields beside F leave the sums over fibres out.
        kinematics: strain measure of the networks, `GreenLagrange` if left out; sums over fibres read E and J, and are left
            out with any other one.
        parameters: those of the fit; with designs the candidates are networks of one, two and three modes.

    Returns:
        Options of `fit`, by name.

    Raises:
        InvalidInputError: the samples are of x.

    >>> list(lse.fit.shapes(samples))[:2]
    ['fibres, one mode', 'fibres, two modes']
    """
    if samples.F is None:
        raise InvalidInputError("candidates are shapes of materials: give samples of F.")
    dim = samples.F.shape[-1]
    measure = kinematics or GreenLagrange(dim)
    found: dict[str, dict[str, Any]] = {}
    if any(isinstance(each, Design) for each in (parameters or {}).values()):
        for modes, width, name in ((1, 16, "one mode"), (2, 12, "two modes"), (3, 12, "three modes")):
            found[name] = {"kinematics": measure, "architecture": Architecture(modes, width), "training": OF_DESIGNS}
        return found
    if isinstance(measure, GreenLagrange | StrainAndVolume) and getattr(samples, "fields", None) is None:
        for modes, name in ((1, "one mode"), (2, "two modes")):
            fibres = Architecture(modes=modes, width=12, mode_type="FibreNetwork")
            found[f"fibres, {name}"] = {"kinematics": StrainAndVolume(dim), "architecture": fibres, "training": SHORT}
    linear = Architecture(modes=2, width=12, activation="softplus", quadratic=False)
    found["linear growth, two modes"] = {"kinematics": measure, "architecture": linear, "training": SHORT}
    for modes, name in ((1, "one mode"), (2, "two modes")):
        found[name] = {"kinematics": measure, "architecture": Architecture(modes=modes), "training": LONGER}
    return found


def typical_error(left_out: LeftOut) -> float:
    """Geometric mean over the groups of the relative RMS errors, none counted as more than 1."""
    return float(np.exp(_logarithms(left_out).mean()))


def _logarithms(left_out: LeftOut) -> Array:
    """ln of the relative RMS error of each group, in the stress, or in the energy where there is none."""
    errors = [each.energy if each.stress is None else each.stress for each in left_out.errors.values()]
    return np.log(np.clip(np.array(errors, dtype=float), LEAST, 1.0))


def unbeaten(left_out: Mapping[str, LeftOut]) -> tuple[str, ...]:
    """Candidates that are not shown to be worse than the one of least typical error, in their order."""
    logarithms = {name: _logarithms(each) for name, each in left_out.items()}
    least = min(logarithms.values(), key=np.mean)
    quantile = float(student_t.ppf(1.0 - CHANCE, len(least) - 1))
    found = []
    for name, each in logarithms.items():
        difference = each - least
        by_chance = quantile * difference.std(ddof=1) / np.sqrt(len(difference))
        if difference.mean() <= min(by_chance, np.log(MUCH_WORSE)):
            found.append(name)
    return tuple(found)
