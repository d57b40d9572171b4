"""Checks of a potential or a material: convexity of every mode, derivatives, symmetry of the tangent, objectivity.

Each check returns a `Check` and raises only when it cannot be made; `verify` makes all that apply. W, P and A have the
same unit, because F has none: errors are shares of one of them, as each check tells.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lse_material._arrays import Array, deformation_gradients, generator, points, whole_number
from lse_material.analysis.ellipticity import acoustic_minimum
from lse_material.errors import InvalidInputError
from lse_material.model.box import Box
from lse_material.model.material import Material
from lse_material.model.soft_minimum import SoftMinimum, expect_potential
from lse_material.model.strain import MANDEL, GreenLagrange, SmallStrain, from_mandel, positive_determinant

CONVEXITY_TOLERANCE = 1e-12  # rounding of an eigenvalue, as a share of the largest
DERIVATIVE_TOLERANCE = 1e-6  # what central differences reach when the step is right
SYMMETRY_TOLERANCE = 1e-12
OBJECTIVITY_TOLERANCE = 1e-10
ELLIPTICITY_TOLERANCE = 1e-12  # rounding of an acoustic tensor's eigenvalue, as a share of the tangent
STEPS = np.logspace(-3.0, -7.0, 9)  # of the differences in F, which has no unit

_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: what was checked, in a few words.
        passed: value <= tolerance; False for a NaN.
        value: the error that was measured, without a unit unless `detail` gives one.
        tolerance: the largest error that passes; infinite where the check only reports.
        detail: one sentence for people.

    >>> print(lse.analysis.check_reference(material).detail)
    at F = I: largest |P| 0.000e+00 MPa, W 4.306853e-03, mode weights 0.5, 0.5.
    """

    name: str
    passed: bool
    value: float
    tolerance: float
    detail: str


def measured(name: str, value: float, tolerance: float, detail: str) -> Check:
    """The check that an error is within a tolerance."""
    return Check(name, bool(value <= tolerance), value, tolerance, detail)


def verify(material: Material, F: Any = None, seed: int = 0) -> tuple[Check, ...]:
    """Make every check that applies to `material`.

    One with fields is checked with them held at four values in its training box (in the middle of the range of a temperature,
    else at 0, if it has none); each check that is returned is the worst of these. With temperatures their concavity is
    checked too.

    Args:
        material: what to check; a strain measure that is not objective gets no objectivity check.
        F: where, (..., dim, dim), det F > 0; `sample_deformations` if None.
        seed: of the deformations and rotations that are drawn.

    >>> all(check.passed for check in lse.analysis.verify(material))
    True
    """
    if material.fields:
        every = [verify(material.at(values), F, seed) for values in _field_values(material, seed)]
        worst = tuple(max(checks, key=lambda c: (not c.passed, c.value)) for checks in zip(*every))
        return (*worst, check_concavity(material, seed=seed)) if material.ranges else worst
    F = sample_deformations(material, seed=seed) if F is None else _deformations(material, F)
    checks = [
        check_convexity(material.potential, material.kinematics.strain(F)),
        check_derivatives(material, F),
        check_symmetry_of_tangent(material, F),
    ]
    if material.kinematics.objective:
        checks.append(check_objectivity(material, F, random_rotations(8, material.dim, seed=seed)))
    if material.kinematics.monotone_inputs is not None:
        checks.append(check_polyconvexity(material, F))
    return (*checks, check_reference(material))


def check_convexity(potential: SoftMinimum, x: Any) -> Check:
    """Every mode has a positive semi-definite Hessian in its convex inputs at points x (..., d).

    The error is that of the worst mode: how far its smallest eigenvalue lies below 0, as a share of its largest over
    all points.

    >>> lse.analysis.check_convexity(material.potential, np.zeros((1, 3))).value
    0.0
    """
    x = points("x", x, expect_potential(potential).size).reshape(-1, potential.size)
    _some("x", x)
    ratios = []
    for mode in potential.modes:
        inputs = list(mode.convex_inputs)
        if not inputs:
            ratios.append(0.0)
            continue
        hessian = mode.hessian((x - potential.input_shift) / potential.input_scale)[:, inputs][:, :, inputs]
        if not np.isfinite(hessian).all():
            ratios.append(np.nan)
            continue
        eigenvalues = np.linalg.eigvalsh(hessian)
        ratios.append(float(eigenvalues.min() / max(np.abs(eigenvalues).max(), _TINY)))
    worst = int(np.argmin(ratios))  # NaN counts as the smallest
    return measured(
        "convexity of every mode",
        float(np.maximum(0.0, -ratios[worst])),
        CONVEXITY_TOLERANCE,
        f"smallest / largest eigenvalue of a mode's Hessian at {len(x)} points: {ratios[worst]:.2e} (mode {worst}).",
    )


def check_concavity(material: Material, n: int = 1000, *, seed: int = 0) -> Check:
    """W is concave in each temperature, so that the heat capacity is >= 0, at `n` random strains and temperatures.

    The error is the largest second derivative, as a share of the largest absolute value of all, in the unit of each field.

    Raises:
        InvalidInputError: the material depends on no temperature.

    >>> ends = [lse.ConvexNetwork.from_arrays([], [np.zeros((1, 3))], [[0.0]], quadratic=c * np.eye(3)) for c in (3.0, 2.0)]
    >>> potential = lse.SoftMinimum((lse.InterpolatedNetwork(*ends),), 1.0, [300.0, 0, 0, 0], [100.0, 1, 1, 1])
    >>> lse.analysis.check_concavity(lse.Material(potential, lse.SmallStrain(2), fields=("T",))).value
    0.0
    """
    if not material.ranges:
        raise InvalidInputError("the material depends on no temperature: nothing to check.")
    potential, m, n = material.potential, len(material.fields), whole_number("n", n, 1)
    box = material.training_box
    if box is None:
        box = Box(potential.input_shift - potential.input_scale, potential.input_shift + potential.input_scale)
    x = box.random(n, seed)
    temperatures = [material.fields.index(name) for name in material.ranges]
    for k, (lower, upper) in zip(temperatures, material.ranges.values()):
        x[:, k] = np.random.default_rng(seed + 1).uniform(lower, upper, n)
    second = np.einsum("nii->ni", potential.hessian(x)[:, :m, :m])[:, temperatures]
    size = np.maximum(np.abs(second).max(axis=0), _TINY)
    worst = float(np.max(np.maximum(second, 0.0) / size)) if np.isfinite(second).all() else np.nan
    return measured(
        "concavity in temperature",
        worst,
        CONVEXITY_TOLERANCE,
        f"largest d2W/dT2 at {n} points: {second.max():.3g} (<= 0 gives a heat capacity >= 0).",
    )


def check_derivatives(material: Material, F: Any) -> Check:
    """P = dW/dF and A = dP/dF by central differences at F (..., dim, dim), det F > 0.

    A central difference errs by h^2 (the third derivative, large where modes meet on a sharp ridge) and by eps/h (rounding), so
    no one step h serves all materials and points. Every point is tested with each of `STEPS`, and the smallest error counts: a
    correct derivative agrees with one step at least, a wrong one with none. The error of P is a share of the largest stress, or
    of the stress that the largest tangent makes with a strain of 1e-3 if that is more (points may all be stress-free wells);
    the error of A is a share of the largest of A and P.

    >>> lse.analysis.check_derivatives(material, np.diag([1.1, 0.95])).passed
    True
    """
    F, material = _deformations(material, F), _without_shift(material)
    values = material.evaluate(F)
    stress, tangent = values.stress, values.tangent
    dim, n = material.dim, len(F)
    best = np.full((2, n), np.inf)
    for h in STEPS:
        from_energy, from_stress = np.empty_like(stress), np.empty_like(tangent)
        for k in range(dim):
            for L in range(dim):
                step = np.zeros((dim, dim))
                step[k, L] = h
                ahead, behind = material.evaluate(F + step), material.evaluate(F - step)
                from_energy[:, k, L] = (ahead.energy - behind.energy) / (2.0 * h)
                from_stress[..., k, L] = (ahead.stress - behind.stress) / (2.0 * h)
        errors = [np.abs(a - b).reshape(n, -1).max(axis=1) for a, b in ((from_energy, stress), (from_stress, tangent))]
        best = np.fmin(best, errors)  # NaN: a step that left det F > 0
    largest_stress, largest_tangent = np.abs(stress).max(), np.abs(tangent).max()
    of_stress = best[0].max() / max(largest_stress, 1e-3 * largest_tangent, _TINY)
    of_tangent = best[1].max() / max(largest_stress, largest_tangent, _TINY)
    return measured(
        "derivatives",
        float(np.maximum(of_stress, of_tangent)),
        DERIVATIVE_TOLERANCE,
        f"relative error against central differences at {n} deformations: P {of_stress:.2e}, A {of_tangent:.2e}.",
    )


def check_symmetry_of_tangent(material: Material, F: Any) -> Check:
    """Major symmetry A[i, J, k, L] = A[k, L, i, J] at F (..., dim, dim): P has an energy. A share of the largest A.

    >>> lse.analysis.check_symmetry_of_tangent(material, np.diag([1.1, 0.95])).passed
    True
    """
    F = _deformations(material, F)
    A = material.evaluate(F).tangent
    error = np.abs(A - A.transpose(0, 3, 4, 1, 2)).max() / np.maximum(np.abs(A).max(), _TINY)
    return measured(
        "symmetry of the tangent",
        float(error),
        SYMMETRY_TOLERANCE,
        f"largest |A_iJkL - A_kLiJ| / |A| at {len(F)} deformations: {error:.2e}.",
    )


def check_objectivity(material: Material, F: Any, rotations: Any) -> Check:
    """W(QF) = W(F), P(QF) = Q P(F) and P F^T = F P^T (no power in a spin) for F (..., dim, dim), Q (m, dim, dim).

    The errors are shares of the largest of W, P and A: P changes by A times the rounding of Q F.

    Raises:
        InvalidInputError: the strain measure is not objective, or a Q is no rotation.

    >>> rotations = lse.analysis.random_rotations(4, 2)
    >>> lse.analysis.check_objectivity(material, np.diag([1.1, 0.95]), rotations).passed
    True
    """
    if not material.kinematics.objective:
        raise InvalidInputError(f"{type(material.kinematics).__name__} is not objective: nothing to check.")
    F = _deformations(material, F)
    Q = deformation_gradients(rotations, material.dim).reshape(-1, material.dim, material.dim)
    _some("rotations", Q)
    off = np.abs(np.swapaxes(Q, 1, 2) @ Q - np.eye(material.dim)).max(axis=(1, 2))
    bad = ~((off < 1e-12) & (positive_determinant(Q) > 0.0))
    if bad.any():
        i = int(np.argmax(bad))
        raise InvalidInputError(f"rotations[{i}] = {Q[i].tolist()} is not a rotation: Q^T Q = I and det Q = 1.")
    material = _without_shift(material)
    values = material.evaluate(F)
    W, P = values.energy, values.stress
    turned = material.evaluate(Q[:, None] @ F)
    scale = max(np.abs(W).max(), np.abs(P).max(), np.abs(values.tangent).max(), _TINY)
    moment = P @ np.swapaxes(F, 1, 2)
    errors = {
        "W": np.abs(turned.energy.reshape(len(Q), -1) - W).max() / scale,
        "P": np.abs(turned.stress.reshape(len(Q), *F.shape) - Q[:, None] @ P).max() / scale,
        "P F^T": np.abs(moment - np.swapaxes(moment, 1, 2)).max() / scale,
    }
    return measured(
        "objectivity",
        float(np.max(list(errors.values()))),
        OBJECTIVITY_TOLERANCE,
        f"errors at {len(F)} deformations and {len(Q)} rotations: "
        + ", ".join(f"{name} {error:.2e}" for name, error in errors.items())
        + ".",
    )


def check_polyconvexity(material: Material, F: Any) -> Check:
    """Modes that are polyconvex by the signs of their weights are elliptic at F (..., dim, dim), each by itself.

    The error is how far the least eigenvalue of an acoustic tensor lies below 0, as a share of the tangent. Modes that are not
    polyconvex are reported and pass.

    Raises:
        InvalidInputError: the strain measure does not say in which inputs modes must not decrease.

    >>> mode = lse.ConvexNetwork.from_arrays([], [[[1.0, 0.0]]], [[0.0]], quadratic=[[0.0, 2.0]])
    >>> rubber = lse.Material(lse.SoftMinimum((mode,), 1.0), lse.PrincipalInvariants(2))
    >>> lse.analysis.check_polyconvexity(rubber, np.diag([3.0, 0.2])).passed
    True
    """
    if material.kinematics.monotone_inputs is None:
        raise InvalidInputError(f"{type(material.kinematics).__name__} does not say when a mode is polyconvex.")
    F, modes, worst = _deformations(material, F), material.polyconvex_modes, np.inf
    for k in modes:
        A = Material(material.potential.alone(k), material.kinematics, material.growth).evaluate(F).tangent
        size = np.abs(A).max(axis=(1, 2, 3, 4))
        worst = np.minimum(worst, (acoustic_minimum(A).value / np.maximum(size, _TINY)).min())
    found = f"least eigenvalue of their acoustic tensors at {len(F)} deformations, as a share of A: {worst:.2e}."
    return measured(
        "polyconvexity",
        float(np.maximum(0.0, -worst)),
        ELLIPTICITY_TOLERANCE,
        f"{len(modes)} of {material.modes} modes are polyconvex by the signs of their weights"
        + (f"; {found}" if modes else "."),
    )


def check_reference(material: Material) -> Check:
    """Report the largest component of P at F = I, in energy units per volume.

    It passes if it is finite: a material whose wells are variants may well be under stress in its reference state.

    >>> lse.analysis.check_reference(material).value < 1e-9  # no stress at F = I, by symmetry
    True
    """
    values = material.evaluate(np.eye(material.dim)[None])
    unit = material.units.get("stress", material.units.get("energy", "energy units"))
    stress = float(np.abs(values.stress).max())
    weights = ", ".join(f"{w:.3g}" for w in values.mode_weights[0])
    return Check(
        "reference state",
        bool(np.isfinite(stress) and np.isfinite(values.energy[0])),
        stress,
        np.inf,
        f"at F = I: largest |P| {stress:.3e} {unit}, W {values.energy[0]:.6e}, mode weights {weights}.",
    )


def sample_deformations(material: Material, n: int = 64, *, seed: int = 0) -> Array:
    """Deformation gradients (n, dim, dim), det F > 0, where the material was trained, or around F = I if unknown.

    For Green-Lagrange and small strains they are uniform in the training box (as far as det F > 0), turned at random
    where the strain measure does not see it. Other strain measures take, of random F around I, those that lie in the
    box or next to it.

    >>> lse.analysis.sample_deformations(material, 10).shape
    (10, 2, 2)
    """
    rng, n = generator(seed), whole_number("n", n)
    dim, box = material.without_fields("sample_deformations").dim, material.training_box
    F: Array
    turn = random_rotations(16 * n, dim, seed=seed)
    if box is not None and type(material.kinematics) in (GreenLagrange, SmallStrain):
        strain = from_mandel(rng.uniform(box.lower, box.upper, (16 * n, len(MANDEL[dim]))))
        if isinstance(material.kinematics, SmallStrain):
            F = np.eye(dim) + strain
            F = F[positive_determinant(F) > 0.0][:n]
        else:  # F = Q sqrt(I + 2 E)
            stretches, axes = np.linalg.eigh(np.eye(dim) + 2.0 * strain)
            possible = (stretches > 0.0).all(axis=1)
            root, axes = np.sqrt(stretches[possible]), axes[possible]
            F = (turn[possible] @ (axes * root[:, None]) @ np.swapaxes(axes, 1, 2))[:n]
        if len(F) == n:
            return F
        # a box of strains that hardly any deformation has: fall through to the nearest ones
    size = 10.0 ** rng.uniform(-3.0, -0.5, (16 * n, 1, 1))
    F = np.eye(dim) + size * rng.uniform(-1.0, 1.0, (16 * n, dim, dim))
    F = F[positive_determinant(F) > 0.05]
    if box is None:
        return F[:n]
    nearest = np.argsort(box.excess(material.kinematics.strain(F)), kind="stable")[:n]
    return F[nearest]


def random_rotations(n: int, dim: int, *, seed: int = 0) -> Array:
    """Rotations (n, dim, dim), uniformly distributed: the orthogonal factor of a Gaussian matrix.

    >>> Q = lse.analysis.random_rotations(3, 2)
    >>> np.linalg.det(Q).round(12)
    array([1., 1., 1.])
    """
    q, r = np.linalg.qr(generator(seed).normal(size=(whole_number("n", n), dim, dim)))
    rotations: Array = q * np.sign(np.einsum("nii->ni", r))[:, None, :]
    rotations[np.linalg.det(rotations) < 0.0, :, 0] *= -1.0
    return rotations


def _field_values(material: Material, seed: int) -> Array:
    """Values of the fields, (n, m): lower and upper ends of the training box, its middle, and a place at random."""
    box, m, ranges = material.training_box, len(material.fields), material.ranges
    if box is None:
        return np.array([[np.mean(ranges.get(name, 0.0)) for name in material.fields]])
    lower, upper = box.lower[:m].copy(), box.upper[:m].copy()
    for name, between in ranges.items():
        k = material.fields.index(name)
        lower[k], upper[k] = np.clip((lower[k], upper[k]), *between)
    at_random = generator(seed).uniform(lower, upper)
    return np.stack([lower, 0.5 * (lower + upper), at_random, upper])


def _deformations(material: Material, F: Any) -> Array:
    array = deformation_gradients(F, material.dim).reshape(-1, material.dim, material.dim)
    _some("F", array)
    material.energy(array)  # raises where det F <= 0, naming the point
    return array


def _without_shift(material: Material) -> Material:
    """The material less the constant of its energy, which may be so large that its rounding hides all errors."""
    return replace(material, potential=replace(material.potential, energy_shift=0.0))


def _some(name: str, array: Array) -> None:
    if len(array) == 0:
        raise InvalidInputError(f"{name} holds no points (shape {array.shape}): there is nothing to check.")
