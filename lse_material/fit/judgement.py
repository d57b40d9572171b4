"""Whether a fit is good for anything: its errors against the size of the data, against their noise, and from start to start.

Noise at one row says nothing of the next. What a fit misses of a smooth landscape is alike at near rows. With the residuals r_i
and those of the nearest row, r_j(i), the correlation

    c = sum_i r_i . r_j(i) / sum_i |r_i|^2

is near 0 for noise, and near 1 where the fit misses more than that.
"""

from collections.abc import Mapping

import numpy as np
from scipy.spatial import cKDTree

from lse_material._arrays import Array
from lse_material.data.observations import Observations
from lse_material.data.samples import Samples
from lse_material.fit.optimise.found import Found
from lse_material.fit.problem.prepare import Problem, in_random_order
from lse_material.fit.result import stresses_of
from lse_material.model.material import Material, potential_of
from lse_material.model.soft_minimum import SoftMinimum

MISFIT = 0.1  # relative error from which it is looked at whether it is noise, if no number of modes was looked for
MISFIT_TOLERANCES, LEAST_MISFIT = 3.0, 0.05  # the same where one was: in tolerances, but not less than this
PATTERN = 0.3  # correlation of errors at near rows from which they are no noise
FEW = 20  # rows, of which no correlation is taken
FAR = 1e6  # distance of values of two tests, in units of the inputs' spread
ROWS = 3000  # at most, of which it is taken
APART = 2.0  # ratio of the errors of the two best starts from which the best was found by chance
GOOD = 0.02  # relative error below which that does not matter


def judged(
    fitted: Material | SoftMinimum, problem: Problem, found: Found, errors: Mapping[str, float], tolerance: float
) -> tuple[str, ...]:
    """What speaks against a fit, a sentence each.

    `errors` are relative, of the data that had a weight in the fit, "energy" and "stress"; `tolerance` is of a discovery.
    """
    limit = max(MISFIT_TOLERANCES * tolerance, LEAST_MISFIT) if found.errors else MISFIT
    sentences = []
    for kind, error in errors.items():
        pattern = correlation(fitted, problem, kind) if error > limit else 0.0
        if pattern > PATTERN:
            sentences.append(
                f"the fit misses {error:.0%} of the {kind}, at near rows alike (correlation {pattern:.2f}): this is no noise. "
                "The modes are too few or too small, the search was too short, or a column means something else (another "
                "sign, order, unit or shear)."
            )
    return (*sentences, *_by_chance(found, max(errors.values(), default=0.0)))


def correlation(fitted: Material | SoftMinimum, problem: Problem, kind: str) -> float:
    """Of the errors in energy or stress at near rows; 0 where rows are few, or values read stresses at many points."""
    samples = problem.samples
    if isinstance(samples, Observations):
        wrong, x = _of_values(fitted, samples, problem)
    else:
        if len(samples) > ROWS:
            samples = in_random_order(samples).take(np.arange(ROWS))
        wrong, x = _wrong(fitted, samples, kind), samples.inputs(problem.kinematics)
    known = np.isfinite(wrong).all(axis=1)
    if known.sum() < FEW:
        return 0.0
    wrong = wrong[known]
    x = x[known] / potential_of(fitted).input_scale
    if isinstance(samples, Observations) and samples.group is not None:  # near values of one test
        number = np.unique(samples.group, return_inverse=True)[1]
        x = np.column_stack([x, FAR * number])
    nearest = cKDTree(x).query(x, 2)[1][:, 1]
    size = float((wrong**2).sum())
    return float((wrong * wrong[nearest]).sum()) / size if size > 0.0 else 0.0


def _of_values(fitted: Material | SoftMinimum, observed: Observations, problem: Problem) -> tuple[Array, Array]:
    """Errors of observations, (n, 1), and the x that each is at; no rows if a value reads stresses at several points."""
    point = observed.column // observed.dim**2
    first = np.full(len(observed), -1)
    first[observed.row] = point
    stresses = stresses_of(fitted, observed)
    if stresses is None or (first[observed.row] != point).any():
        return np.zeros((0, 1)), np.zeros((0, 1))
    return (stresses[1] - stresses[0])[:, None], observed.inputs(problem.kinematics)[first]


def _wrong(fitted: Material | SoftMinimum, samples: Samples, kind: str) -> Array:
    """Errors of the rows, (n, q), NaN where a row has no value; stresses in the frame of the undeformed body, F^-1 P."""
    if kind == "energy":
        at = (samples.F, samples.fields) if isinstance(fitted, Material) else (samples.x,)
        return np.subtract(fitted.energy(*at), samples.energy)[:, None]  # type: ignore[arg-type]
    stresses = stresses_of(fitted, samples)
    assert stresses is not None
    data, found, _ = stresses
    known = np.isfinite(data)
    wrong = np.where(known, found - data, 0.0)
    wrong = wrong if samples.F is None else np.linalg.solve(samples.F, wrong)
    rows = known.reshape(len(samples), -1)
    return np.where(rows.any(axis=1, keepdims=True), wrong.reshape(rows.shape), np.nan)


def _by_chance(found: Found, error: float) -> list[str]:
    """Whether one of several starts has ended far below all others."""
    ends = {record.phase: record.validation for record in found.history if record.phase.startswith("adam")}
    ends_in_order = np.sqrt(sorted(value for value in ends.values() if np.isfinite(value)))
    if len(ends_in_order) < 2 or error < GOOD or ends_in_order[1] < APART * ends_in_order[0]:
        return []
    return [
        f"of {len(ends)} random starts one has ended at an error of {ends_in_order[0]:.1%}, the next at "
        f"{ends_in_order[1]:.1%}: the best was met by chance. More Training.restarts, or another seed, may find a better one."
    ]
