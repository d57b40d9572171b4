"""Checks of what a material is used for: ellipticity, what it does outside its data, its point group, rows of data.

They complete `lse_material.analysis.verification`, whose checks hold for any material; these ask where it was trained and
on what. Each returns a `Check`.
"""

from typing import Any

import numpy as np

from lse_material._arrays import Array, deformation_gradients, generator, rms
from lse_material.analysis.ellipticity import acoustic_minimum
from lse_material.analysis.landscape import at_middle_of_fields, given_inputs, search_box
from lse_material.analysis.verification import Check, check_convexity, measured, sample_deformations, verify
from lse_material.data.observations import Observations
from lse_material.data.samples import Samples
from lse_material.errors import InvalidInputError
from lse_material.model.material import Material, potential_of
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.strain import StrainAndVolume
from lse_material.model.symmetry import Symmetry

WIDTHS = 2.0  # a box this many times as wide as the training box is where the material is tried outside it
ALLOWED_FALL = 1e-3  # by which W outside may lie below its least value inside, as a share of its range inside
SYMMETRY_TOLERANCE = 1e-9
ROUNDING = 1e-6  # of W, whose range is no less: at one F and its images a symmetric W has none

POINTS = 4096  # that are drawn
FLAT = 1e-9  # of an input, or of 1: a box that is narrower has one value of it

_TINY = np.finfo(np.float64).tiny


def check_without_data(
    fitted: Material | SoftMinimum, symmetry: Symmetry | None = None, *, seed: int = 0
) -> list[Check]:
    """Every check that needs no rows of data: those of this module at the middle of temperatures and designs.

    Args:
        fitted: a material or a potential.
        symmetry: of a material, if not its own.
        seed: of what is drawn.
    """
    tried = at_middle_of_fields(fitted)
    if isinstance(fitted, Material) and isinstance(tried, Material):
        checks, F = list(verify(fitted, seed=seed)), sample_deformations(tried, 256, seed=seed)
        group = symmetry or tried.symmetry
        checks += [] if group is None else [check_symmetry(tried, group, F)]
        checks.append(check_ellipticity(tried, F))
    else:
        checks = [check_convexity(potential_of(fitted), search_box(fitted).random(256, seed))]
    tried = tried if given_inputs(fitted) else fitted
    box = tried.training_box
    return checks if box is None else [*checks, check_extrapolation(tried, (box.lower, box.upper), seed=seed)]


def check_ellipticity(material: Material, F: Any) -> Check:
    """Report the share of deformations F (..., dim, dim) where W is not strongly elliptic. Between wells it must not be.

    It passes if the acoustic tensor is finite.

    >>> lse.analysis.check_ellipticity(material, np.eye(2)).value  # between the wells
    1.0
    """
    array = deformation_gradients(F, material.dim).reshape(-1, material.dim, material.dim)
    least = acoustic_minimum(material.tangent(array)).value
    lost = least <= 0.0
    weights = material.mode_weights(array)
    parts = [
        f"mode {k} {lost[own].mean():.0%} of {own.sum()}"
        for k, own in enumerate(weights.argmax(axis=1) == k for k in range(material.modes))
        if own.any()
    ]
    share = float(lost.mean()) if np.isfinite(least).all() else float("nan")
    return Check(
        "ellipticity",
        bool(np.isfinite(share)),
        share,
        float("inf"),
        f"not elliptic at {lost.sum()} of {len(array)} deformations; where each mode leads: {', '.join(parts)}; least "
        f"eigenvalue of the acoustic tensor {least.min():.3g}.",
    )


def check_extrapolation(material: Material | SoftMinimum, box: tuple[Array, Array], *, seed: int = 0) -> Check:
    """Outside the training box, up to twice its width, W does not fall below its least value inside.

    A material that does draws a solver away from everything it was trained on. The error is that fall as a share of the
    range of W inside. `Architecture(stiffness=)` makes a fit that cannot fall. F = I and what lies between it and the box count
    as inside: loading begins there, and random F have invariants that stay away from those of F = I.

    Args:
        material: a material or a potential; a growth term is left out.
        box: lower and upper corner (d,) of the x that the fit has seen.
        seed: of the points that are drawn.

    >>> box = material.training_box
    >>> lse.analysis.check_extrapolation(material, (box.lower, box.upper)).passed
    True
    """
    potential = potential_of(material)
    rng = generator(seed)
    lower, upper = box
    if isinstance(material, Material):
        first, at_rest = len(material.fields), material.kinematics.strain(np.eye(material.dim)[None])[0]
        lower = np.append(lower[:first], np.minimum(lower[first:], at_rest))
        upper = np.append(upper[:first], np.maximum(upper[first:], at_rest))
    centre, half = 0.5 * (lower + upper), 0.5 * (upper - lower)
    u = rng.uniform(-1.0, 1.0, (POINTS, potential.size))
    onto = u / np.maximum(np.abs(u).max(axis=1, keepdims=True), _TINY)
    near, far = centre + half * u, centre + half * onto * rng.uniform(1.0, WIDTHS, (len(u), 1))
    flat = half <= FLAT * np.maximum(np.abs(centre), 1.0)
    if isinstance(material, Material) and (flat.any() or not material.kinematics.is_tensor):
        near, far = _of_deformations(material, near, far, centre, half, rng)
    inside, outside = potential.energy(near), potential.energy(far)
    spread = max(float(np.ptp(inside)), _TINY)
    fall = float(np.maximum(0.0, inside.min() - outside.min()) / spread)
    return measured(
        "extrapolation",
        fall,
        ALLOWED_FALL,
        f"least W inside the training box {inside.min():.4g}, outside (to {WIDTHS:g} times its width) {outside.min():.4g}.",
    )


def _of_deformations(
    material: Material, near: Array, far: Array, centre: Array, half: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Inputs in the box, and outside to `WIDTHS` times its width, that deformations have: invariants depend on each other.

    Where the box knows one volume only, as after incompressible tests, they are those of F with det F = 1. Those that
    were drawn, `near` and `far`, whose fields these have, if deformations around F = I have none.
    """
    dim, first = material.dim, len(material.fields)
    L = 10.0 ** rng.uniform(-3.0, 0.0, (POINTS, 1, 1)) * rng.uniform(-1.0, 1.0, (POINTS, dim, dim))
    logarithms, axes = np.linalg.eigh(L + np.swapaxes(L, 1, 2))
    half = np.maximum(half, FLAT * np.maximum(np.abs(centre), 1.0))
    for logs in (logarithms, logarithms - logarithms.mean(axis=1, keepdims=True)):
        U = (axes * np.exp(logs)[:, None]) @ np.swapaxes(axes, 1, 2)
        x = np.concatenate([far[:, :first], material.kinematics.strain(U)], axis=1)
        away = (np.abs(x - centre) / half).max(axis=1)
        inside, outside = x[away <= 1.0], x[(away > 1.0) & (away <= WIDTHS)]
        if len(inside) and len(outside):
            return inside, outside
    return near, far


def check_symmetry(material: Material, symmetry: Symmetry, F: Any) -> Check:
    """W(x) = W(A x) for every element A of the group, x = x(F) of F (..., dim, dim), as a share of the range of W there.

    Raises:
        InvalidInputError: the group acts on other inputs than the material has.

    >>> square = lse.Symmetry.crystal("square", "rectangle", dim=2)
    >>> lse.analysis.check_symmetry(material, square, lse.analysis.sample_deformations(material)).passed
    True
    """
    if isinstance(material.kinematics, StrainAndVolume):
        symmetry = symmetry.on(material.kinematics.size)
    elif not material.kinematics.is_tensor:
        raise InvalidInputError(
            f"the symmetry ({symmetry.name}) acts on the components of a strain; {type(material.kinematics).__name__} has "
            f"invariants{f', which are {s}' if (s := material.kinematics.symmetry) else ''}."
        )
    if symmetry.size != material.potential.size:
        raise InvalidInputError(
            f"the symmetry ({symmetry.name}) acts on {symmetry.size} inputs; the material has {material.potential.size}."
        )
    x = material.kinematics.strain(deformation_gradients(F, material.dim).reshape(-1, material.dim, material.dim))
    W = material.potential.energy(x)
    images = material.potential.energy(x @ np.swapaxes(symmetry.group, 1, 2))
    off = np.abs(images.reshape(len(symmetry.group), -1) - W).max()
    error = float(off / max(np.ptp(np.append(images, W)), ROUNDING * np.abs(W).max(), _TINY))
    return measured(
        "material symmetry",
        error,
        SYMMETRY_TOLERANCE,
        f"{symmetry.name}: largest |W(Ax) - W(x)| over {len(symmetry.group)} elements {error:.2e} of the range of W.",
    )


def check_data(fitted: Material | SoftMinimum, samples: Samples, *, tolerance: float = 0.05) -> tuple[Check, ...]:
    """How well rows of data are met, and how many lie outside the training box (a report).

    Energies: root mean square of W - W_data over the standard deviation of W_data. Stresses (or gradients of samples of x):
    over the root mean square of the data.

    Args:
        fitted: a material for samples of F, a potential for samples of x.
        samples: the rows, which the fit need not have seen.
        tolerance: the largest relative error that passes.

    Raises:
        InvalidInputError: the samples are of another kind or dimension, or have other fields.

    >>> [check.passed for check in lse.analysis.check_data(material, lse.read_samples("cell.csv"))]
    [True, True, True]
    """
    words = {"energy": ("energies of the data", "W"), "stress": ("stresses of the data", "P")}
    words["gradient"] = ("stresses of the data", "dW/dx")
    x, checks = inputs_of(fitted, samples), []
    for quantity, (data, found) in compared(fitted, samples).items():
        name, letter = words[quantity]
        error = rms(found - data) / (rms(data - data.mean() if quantity == "energy" else data) or 1.0)
        checks.append(measured(name, error, tolerance, f"relative RMS error of {letter}: {error:.3%}."))
    if fitted.training_box is not None:
        outside = fitted.training_box.excess(x) > 0.0
        text = f"{outside.sum()} of {len(samples)} rows lie outside the training box."
        checks.append(measured("rows outside the training box", float(outside.mean()), float("inf"), text))
    return tuple(checks)


def inputs_of(fitted: Material | SoftMinimum, samples: Samples | Observations) -> Array:
    """The inputs of the potential at rows of data, (n, d). Raises InvalidInputError: they are of another kind."""
    if not isinstance(fitted, Material):
        return samples.inputs(None)
    return (samples.with_fields(fitted.fields) if isinstance(samples, Samples) else samples).inputs(fitted.kinematics)


def compared(fitted: Material | SoftMinimum, samples: Samples | Observations) -> dict[str, tuple[Array, Array]]:
    """Values of the data and of a fit, those that are known: by "energy", "stress" or "gradient", or "observed value"."""
    if isinstance(samples, Observations):
        assert isinstance(fitted, Material)
        return {"observed value": (samples.values, samples.of_stress(fitted.stress(samples.F)))}
    at: tuple[Any, ...] = (samples.x,)
    if isinstance(fitted, Material):
        samples = samples.with_fields(fitted.fields)
        at = samples.F, samples.fields
    known = {"energy": samples.energy_mask, "stress": samples.stress_known, "gradient": samples.stress_known}
    given = {name: getattr(samples, name) for name in known}
    return {
        name: (data[known[name]], getattr(fitted, name)(*at)[known[name]])
        for name, data in given.items()
        if data is not None
    }
