"""Rows that lie far from any potential the others agree on: found, and left out or given less weight.

Iteratively reweighted least squares with the weights of S. Geman and D. E. McClure (Bull. Int. Statist. Inst. 52, 5 (1987)),

    w = 1 / (1 + (r / (4 s))^2)^2,      s = 1.4826 median(r),

r the error of a row relative to the spread of the data, by a potential of as many modes as the fit starts with.
"""

from dataclasses import replace

import numpy as np

from lse_material._arrays import Array
from lse_material.fit.model.constraints import Constraints
from lse_material.fit.model.initialise import random_start
from lse_material.fit.optimise.levenberg_marquardt import levenberg_marquardt
from lse_material.fit.optimise.multistart import multistart
from lse_material.fit.options import Architecture, Training
from lse_material.fit.problem.loss import Loss
from lse_material.fit.problem.parameters import Temperature
from lse_material.fit.problem.rows import Rows, scales_of

REWEIGHTINGS = 8
QUARTER_WEIGHT = 4.0  # error, in units of s, at which a row has a quarter of its weight
LEAST_ERROR = 0.01  # smallest s, in units of the spread of the data: rows on ridges may be as wrong as that
FIRST_RANGE = 8.0  # distance from the median, in interquartile ranges, beyond which a value does not count at first
OUTLIER_WEIGHT = 0.1  # of the weight that a row was given, below which it is an outlier
MOST_NAMED = 10  # outliers whose numbers a warning gives


def robust_weights(
    rows: Rows,
    architecture: Architecture,
    training: Training,
    rng: np.random.Generator,
    temperature: Temperature | None = None,
    constraints: Constraints | None = None,
) -> Array:
    """Weights of the rows, (n,): near 1, less for dubious ones and 0 for outliers, times the weights that they had."""
    given, n = rows.weight, len(rows.x)
    scales, model = scales_of(rows, temperature=temperature), None
    rows = replace(rows, weight=given * _first_weights(rows.in_like_units(scales)))
    modes = architecture.max_modes if architecture.modes == "auto" else architecture.count
    for _ in range(REWEIGHTINGS):
        loss = Loss.on(rows, scales, training.energy_weight, training.stress_weight)
        if model is None:
            start = random_start(replace(architecture, modes=modes), loss, rng, constraints)
            short = replace(training, restarts=1, lbfgs_steps=0)
            model = multistart([start], loss, loss, short, progress=False).model
        levenberg_marquardt(model, loss, 15)
        plain = Loss.on(replace(rows, weight=np.ones(n)), scales, training.energy_weight, training.stress_weight)
        error = np.sqrt(n * plain.by_row(model).numpy())
        s = max(1.4826 * float(np.median(error)), LEAST_ERROR)
        rows = replace(rows, weight=given / (1.0 + (error / (QUARTER_WEIGHT * s)) ** 2) ** 2)
    return np.where(rows.weight < OUTLIER_WEIGHT * given, 0.0, rows.weight)


def outlier_warnings(weight: Array, given: Array) -> tuple[str, ...]:
    """A sentence that names the rows that have lost their weight."""
    rows = np.flatnonzero((weight == 0.0) & (given > 0.0))
    if len(rows) == 0:
        return ()
    names = ", ".join(str(row) for row in rows[:MOST_NAMED]) + (", ..." if len(rows) > MOST_NAMED else "")
    lie = "rows lie" if len(rows) > 1 else "row lies"
    return (f"{len(rows)} {lie} far from what the others say and did not count: {names}.",)


def _first_weights(rows: Rows) -> Array:
    """0 for rows whose energy or size of stress is far from the median, 1 for the others: (n,)."""
    weight = np.ones(len(rows.x))
    for index, values in ((rows.energy_rows, rows.energy), (rows.stress_rows, np.linalg.norm(rows.stress, axis=1))):
        if len(values) > 3:
            low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
            far = np.abs(values - middle) > FIRST_RANGE * (high - low)
            weight[index[far]] = 0.0
    return weight
