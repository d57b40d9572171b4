"""What is wrong with the data, as far as they show it themselves: looked for before a fit, reported in sentences.

A potential has one energy at each point, its energies change as the gradients say, and its Hessian is symmetric.
Each of the three is checked between near rows, in inputs scaled by their spread.
"""

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from lse_material._arrays import Array, Mask, rms
from lse_material.data.groups import Labels
from lse_material.data.samples import Samples
from lse_material.errors import InvalidInputError
from lse_material.fit.problem.load_paths import load_paths
from lse_material.fit.problem.row_shifts import path_errors
from lse_material.fit.problem.rows import Index, Rows, are_determined, input_scales, missed_stress, some_of, spread_of
from lse_material.fit.problem.stress_meaning import ROTATED, rotation_cause, work_warnings
from lse_material.fit.problem.unseen_shears import seen_inputs
from lse_material.model.symmetry import Symmetry

SAME_PLACE = 1e-9  # distance below which two rows lie at the same place
MOST_PAIRS, FEWER = 10**6, 1000  # of such rows that are compared, and the rows that are looked at where there are more
SAME_ENERGY = 1e-6  # difference of their energies that is none, as a share of the spread
SAME_STRESS = 0.1  # the same of their stresses: less is noise of tests that were repeated
NOISES = 5.0  # difference of two values, in standard deviations of their noise, that is none
NEAR = 0.1  # distance, in each direction, over which energies are compared with gradients
PLAUSIBLE = 0.75, 1.33  # change of energy over what the gradients say
CORRELATION = 0.7  # of the two
CLEAR = 0.95  # of the two within one group, which then differ by a factor
SKEW = 0.33  # share of the derivative of the gradients that may be skew; curvature between few rows makes a quarter
NOISY = 0.07  # the same that noise can make: errors of 10 % give 5 to 6 %; below it, near rows must have alike parts
ISOCHORIC = 1e-5  # |J - 1| up to which a row keeps its volume
BROKEN = 0.15  # difference of gradients that a symmetry maps to one another, over their size; noise and small flaws make less
IMAGE = 1e-6  # distance below which a row lies at the image of another, over the largest spread of an input
FEW = 10  # rows for each input
SPREADS = 0.1  # singular value of the places of neighbours, as a share of the largest, along which they spread
ROWS = 3000  # that are looked at, at most, chosen at random


class DataWarning(UserWarning):
    """The data of a fit contradict themselves or leave something open; the message says where.

    >>> import warnings
    >>> wrong = lse.Samples(F=samples.F, energy=samples.energy, stress=-samples.stress)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = lse.fit.fit(wrong, kinematics=lse.GreenLagrange(2), training=quick, progress=False)
    >>> any(issubclass(each.category, lse.fit.DataWarning) for each in caught)
    True
    """


def data_warnings(samples: Samples, rows: Rows, symmetry: Symmetry | None = None) -> tuple[str, ...]:
    """What speaks against these data, a sentence each; rows of weight 0 are passed over.

    `rows` are the samples without growth term. Sentences name them by their number in `samples`.
    """
    rows = _counting(samples, rows)
    unit = input_scales(rows.x, rows.strains, rows.is_tensor)
    unit = np.where(unit > 0.0, unit, 1.0)
    x = (rows.x - rows.x.mean(axis=0)) / unit
    gradient = rows.gradients * unit
    known = are_determined(
        rows.derivative / rows.balance
    )  # where inputs depend on each other, gradients are not those of W alone
    paths = load_paths(samples, _of(rows, known), x, unit)
    noise, pairs = paths.noise(paths.energies), _pairs(x)
    found = [*_few(x), *_still(rows)]
    found += _contradictions(pairs, rows.energy_rows, rows.energy[:, None], "energies", noise)
    of_paths = path_errors(paths)
    found += of_paths
    if not of_paths:
        of_work = work_warnings(paths, samples.F)
        noise = paths.noise(paths.gradient)
        found += _contradictions(pairs, rows.stress_rows[known], gradient[known], "stresses (or gradients)", noise)
        found += _rotated(samples, rows)
        found += of_work or _energies_against_gradients(x, _of(rows, known), gradient[known], samples.group)
        found += _no_gradient(x[rows.stress_rows][known], gradient[known])
    if rows.is_tensor and samples.stress is None:
        found += _across_paths(rows, symmetry)
    if symmetry is not None:
        found += _broken_symmetry(rows.x[rows.stress_rows][known], gradient[known] / unit, symmetry)
    return tuple(found)


def _counting(samples: Samples, rows: Rows) -> Rows:
    """Without the energies and stresses of rows that have no weight, and without stresses that are known in part."""
    energy, stress = (rows.weight[index] > 0.0 for index in (rows.energy_rows, rows.stress_rows))
    if samples.stress_mask is not None:
        stress &= samples.stress_mask[rows.stress_rows]
    return _of(replace(rows, energy_rows=rows.energy_rows[energy], energy=rows.energy[energy]), stress)


def _of(rows: Rows, stresses: Mask) -> Rows:
    """The rows with some of their stresses."""
    if len(stresses) == len(rows.stress) and stresses.all():
        return rows
    return replace(
        rows,
        stress_rows=rows.stress_rows[stresses],
        stress=rows.stress[stresses],
        derivative=rows.derivative[stresses],
    )


def _few(x: Array) -> list[str]:
    n, d = x.shape
    if n >= FEW * d:
        return []
    return [f"there are {n} rows for {d} inputs: what lies between them is a guess. {FEW * d} or more would be better."]


def _still(rows: Rows) -> list[str]:
    """Inputs that do not vary, and shears that the fit leaves out."""
    unseen = np.setdiff1d(np.arange(rows.x.shape[1]), seen_inputs(rows))
    still = np.setdiff1d(np.flatnonzero(spread_of(rows.x, rows.strains) == 0.0), unseen)
    sentences = (
        (still, "input {} (counted from 0) is the same in all rows, which do not show how W depends on it."),
        (
            unseen,
            "the data show no shear in input {} (counted from 0): without a symmetry, its stiffness is taken from the normal "
            "strains as in an isotropic material. Add rows with shear to learn it.",
        ),
    )
    return [sentence.format(", ".join(map(str, which))) for which, sentence in sentences if len(which)]


def _pairs(x: Array) -> Index:
    """Pairs (p, 2) of rows at the same place; of `FEWER` rows where many lie at few places."""
    direction = np.random.default_rng(0).normal(size=x.shape[1])
    along = x @ (direction / np.linalg.norm(direction))
    order = np.argsort(along)
    near = np.diff(along[order]) <= 2.0 * SAME_PLACE  # all others are alone, which a tree would take long to find
    some = np.union1d(order[:-1][near], order[1:][near])
    if (np.bincount(np.cumsum(~near)).astype(float) ** 2).sum() > MOST_PAIRS:
        some = some_of(some, FEWER)
    return some[cKDTree(x[some]).query_pairs(SAME_PLACE, output_type="ndarray")]


def _contradictions(pairs: Index, of_rows: Index, values: Array, what: str, noise: float) -> list[str]:
    """Pairs of rows with values (n, q) that differ by more than `noise`, the standard deviation of that."""
    spread = float(np.sqrt(((values - values.mean(axis=0)) ** 2).sum(axis=1).mean())) if len(values) > 1 else 0.0
    place = np.full(max(pairs.max(initial=-1), of_rows.max(initial=-1)) + 1, -1)
    place[of_rows] = np.arange(len(of_rows))
    pairs = pairs[(place[pairs] >= 0).all(axis=1)]
    if spread == 0.0 or len(pairs) == 0:
        return []
    first, second = place[pairs].T
    gap = np.linalg.norm(values[first] - values[second], axis=1) / spread
    wrong = gap > max(SAME_ENERGY if what == "energies" else SAME_STRESS, NOISES * noise / spread)
    if not wrong.any():
        return []
    i, j = pairs[int(gap.argmax())]
    return [
        f"{int(wrong.sum())} pair{'s' if wrong.sum() > 1 else ''} of rows at the same place have different {what}, rows {i} "
        f"and {j} (counted from 0) by {gap.max():.2g} of the spread. A potential has one value at each place: "
        "a fit can only take the mean."
    ]


def _rotated(samples: Samples, rows: Rows) -> list[str]:
    """Stress outside the range of (dx/dF)^T: for an objective strain measure, P F^T is not symmetric there."""
    if samples.F is None or len(rows.stress) == 0:
        return []
    size = np.sqrt((rows.stress**2).sum(axis=1).mean()) or 1.0
    missed = np.sqrt((rows.missed**2).sum(axis=1)) / size
    share = rms(missed)
    if share <= ROTATED or (share <= NOISY and not _are_alike(samples.F[rows.stress_rows], rows)):
        return []
    row = int(rows.stress_rows[int(missed.argmax())])
    cause = "Is it P (first Piola-Kirchhoff), and not transposed?"
    some = some_of(np.arange(len(rows.stress)), ROWS)
    F: Array = samples.F[rows.stress_rows[some]]
    stress = rows.stress[some]
    if stress.size == F.size:  # without conjugates
        cause = rotation_cause(stress.reshape(F.shape), F, rows.derivative[some])
    return [
        f"{share:.1%} of the stress (RMS; most in row {row}, counted from 0) belongs to no energy of this strain measure: for "
        f"an objective one P F^T must be symmetric. {cause}"
    ]


def _are_alike(F: Array, rows: Rows) -> bool:
    """Whether near rows miss alike parts of their stress, F^-1 P; independent noise gives a correlation of about n^-1/2."""
    if len(F) < 2:
        return True
    some = some_of(np.arange(len(F)), ROWS)
    missed = np.linalg.solve(F[some], rows.missed[some].reshape(len(some), *F.shape[1:])).reshape(len(some), -1)
    at = F[some].reshape(len(some), -1)
    nearest = cKDTree(at).query(at, 2)[1][:, 1]
    return bool((missed * missed[nearest]).sum() > 3.0 / np.sqrt(len(some)) * (missed**2).sum())


def expect_pressure(samples: Samples, rows: Rows) -> None:
    """Raise InvalidInputError where all rows keep their volume and the strain measure gives no pressure to balance the stress.

    The isochoric invariants at J = 1 give stresses without pressure; those of an incompressible test have one, that of the
    free surfaces.
    """
    if samples.F is None or samples.fields is not None or len(rows.stress) == 0:
        return
    F = samples.F[rows.stress_rows]
    if np.abs(np.linalg.det(F) - 1.0).max() > ISOCHORIC:
        return
    of_pressure = np.swapaxes(np.linalg.inv(F), 1, 2).reshape(len(F), 1, -1)
    missed, with_pressure = (
        float(np.linalg.norm(missed_stress(rows.stress, derivative)) / (np.linalg.norm(rows.stress) or 1.0))
        for derivative in (rows.derivative, np.concatenate([rows.derivative, of_pressure], axis=1))
    )
    if missed > ROTATED and with_pressure < 0.5 * missed:
        raise InvalidInputError(
            "all rows keep their volume (J = 1), and this strain measure gives no pressure there: no energy of it gives "
            "these stresses. If they come from incompressible tests, give them as such, by lse.Observations.uniaxial(stretch, "
            "stress) for one, which eliminates the pressure; or take GreenLagrange."
        )


def _energies_against_gradients(x: Array, rows: Rows, gradient: Array, group: Labels | None) -> list[str]:
    """Energy differences of near rows against the mean of their gradients times the way between them (the trapezoidal rule).

    Where one group alone is at fault, it is named.
    """
    both, first, second = np.intersect1d(rows.energy_rows, rows.stress_rows, return_indices=True)
    both, first, second = (part[some_of(np.arange(len(both)), ROWS)] for part in (both, first, second))
    n, d = len(both), x.shape[1]
    if n < FEW * d:
        return []
    W, g, at = rows.energy[first], gradient[second], x[both]
    rank = min(max(round(n * NEAR**d), 3), n - 1)
    near: Index = cKDTree(at).query(at, rank + 1)[1][:, max(rank - 2, 1) :]
    i = np.repeat(np.arange(n), near.shape[1])
    j = near.ravel()
    change, expected = W[j] - W[i], 0.5 * ((g[i] + g[j]) * (at[j] - at[i])).sum(axis=1)
    if change.any() != expected.any():
        zero, others = ("gradients", "energies") if change.any() else ("energy differences", "gradients")
        return [
            f"all {zero} are 0, and the {others} are not: is the column of another quantity, or was it not written?"
        ]
    if group is not None:
        label = group[both]
        of_group = {each: (label[i] == each) & (label[j] == each) for each in np.unique(label)}
        by_group = {each: _agreement(change[at], expected[at]) for each, at in of_group.items() if at.sum() >= FEW * d}
        off = [g for g, (c, r) in by_group.items() if c > CLEAR and not PLAUSIBLE[0] <= r <= PLAUSIBLE[1]]
        rest = ~np.isin(label[i], off) & ~np.isin(label[j], off)
        agreement = _agreement(change[rest], expected[rest])
        if off and agreement[0] >= CORRELATION and PLAUSIBLE[0] <= agreement[1] <= PLAUSIBLE[1]:
            return [
                f"in the group {g} the energies change by {by_group[g][1]:.3g} times what the gradients say, in others as they "
                "say: are its units those of the others?"
                for g in off
            ]
    correlation, ratio = _agreement(change, expected)
    if (correlation >= CORRELATION and PLAUSIBLE[0] <= ratio <= PLAUSIBLE[1]) or correlation == 0.0:
        return []
    if correlation <= -CORRELATION:
        advice = "The gradients point the other way: is the sign right (dW/dx, not the force -dW/dx)?"
    elif correlation >= CORRELATION:
        advice = "They differ by a factor: are the units of energies and gradients the same?"
    else:
        advice = "They have little to do with each other: are the rows and components in the same order?"
    return [
        f"between near rows the energies change by {ratio:.3g} times what the gradients say (correlation {correlation:.2f}). "
        + advice
    ]


def _agreement(change: Array, expected: Array) -> tuple[float, float]:
    """The correlation of two ways to the same differences, and the first over the second; zeros if one of them is 0."""
    product, squares = float(change @ expected), float(expected @ expected)
    size = float(np.sqrt((change @ change) * squares))
    return (product / size, product / squares) if size > 0.0 else (0.0, 0.0)


def _no_gradient(x: Array, gradient: Array) -> list[str]:
    """Skew part of the derivative of the gradients, from a linear regression around each row.

    Neighbours on one load path show the derivative along the path only, and say nothing of its symmetry: what counts is the
    derivative within the directions in which the neighbours spread.
    """
    some = some_of(np.arange(len(x)), ROWS)
    x, gradient = x[some], gradient[some]
    n, d = x.shape
    count = 3 * d + 2
    if d == 1 or n < max(FEW * d, count + 1):
        return []
    near: Index = cKDTree(x).query(x, count + 1)[1]
    away, change = x[near[:, 1:]] - x[:, None], gradient[near[:, 1:]] - gradient[:, None]
    sizes, axes = np.linalg.svd(away, full_matrices=False)[1:]
    spreads = sizes > SPREADS * sizes[:, :1]
    within = np.where(spreads[:, :, None], axes, 0.0)  # (n, d, d): the directions in which the neighbours spread
    derivative = within @ np.linalg.pinv(away, rcond=SPREADS) @ change @ within.swapaxes(1, 2)
    skew = 0.5 * (derivative - derivative.swapaxes(1, 2))
    size = (derivative**2).sum(axis=(1, 2))
    usable = (spreads.sum(axis=1) > 1) & (size > 0.0)
    if usable.sum() < FEW * d:
        return []
    share = float(np.sqrt(np.median((skew**2).sum(axis=(1, 2))[usable] / size[usable])))
    if share <= SKEW:
        return []
    return [
        f"the stresses (or gradients) are the gradient of no energy: {share:.0%} of their derivative is skew in the "
        "median (a gradient: 0; what curvature between few rows explains: a quarter). Are their components in the order of "
        "the inputs?"
    ]


def _across_paths(rows: Rows, symmetry: Symmetry | None) -> list[str]:
    """Energies alone, at strains that lie on lines or surfaces, do not show dW/dx across these.

    A symmetry shows it in the directions that the operations which leave the rows where they are do not leave alone.
    """
    columns = slice(rows.x.shape[1] - rows.strains, None)
    group = np.eye(rows.x.shape[1])[None] if symmetry is None else symmetry.group
    kept = [A for A in group if np.abs(rows.x @ A.T - rows.x).max() <= IMAGE * rows.x.std(axis=0).max()]
    varied = np.flatnonzero(spread_of(rows.x, rows.strains)[columns])
    if len(varied) == 0:
        return []
    directions = round(float(np.mean(kept, axis=0)[columns, columns][varied, varied].sum()))
    x = rows.x[some_of(np.arange(len(rows.x)), ROWS), columns][:, varied]
    x = np.unique((x / rows.x[:, columns][:, varied].std(axis=0)).round(6), axis=0)
    count = 3 * len(varied) + 2
    if len(x) <= count:
        return []
    away = x[cKDTree(x).query(x, count + 1)[1][:, 1:]] - x[:, None]
    sizes = np.linalg.svd(away, compute_uv=False)
    spread = int(np.median((sizes > SPREADS * sizes[:, :1]).sum(axis=1)))
    if spread >= directions:
        return []
    return [
        f"there are energies alone, and near most rows their strains vary in {spread} of {directions} directions: stresses "
        "across these are a guess. Give stresses too, rows beside the paths, or the symmetry of the material."
    ]


def _broken_symmetry(x: Array, gradient: Array, symmetry: Symmetry) -> list[str]:
    """W(A x) = W(x) for all A of the group, so that A^T dW/dx(A x) = dW/dx(x): compared where A x is a row, or x itself."""
    if len(x) < 2:
        return []
    near, tree, some, wrong, size = IMAGE * x.std(axis=0).max(), cKDTree(x), some_of(np.arange(len(x)), ROWS), 0.0, 0.0
    for A in symmetry.group[1:]:
        distance, image = tree.query(x[some] @ A.T, distance_upper_bound=near)
        met = np.isfinite(distance)
        own, other = gradient[some[met]], gradient[image[met]] @ A
        wrong, size = wrong + ((other - own) ** 2).sum(), size + (own**2).sum()
    if wrong <= BROKEN**2 * size:
        return []
    return [
        f"the stresses contradict the symmetry that is given ({symmetry.name}): at strains that it maps to one another they "
        f"differ by {np.sqrt(wrong / size):.0%} of their size. Check the axes of F, or give the smaller group of the material."
    ]
