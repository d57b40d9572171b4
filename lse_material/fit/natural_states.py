"""Natural states that are found: the stretches U_k of variants, about which W(F) has the modes psi_k(F U_k^-1).

A fit with guessed stretches gives the weights of the modes. Then weights and stretches are improved together by nonlinear least
squares. With a change dU of U_k,

    dpsi_k = P_k : dF,    dP_k = A_k : dF - P_k dU U_k^-T,    dF = -F U_k^-1 dU

P_k, A_k stress and tangent of mode k alone. A mode has no stress in its natural state: so its weights cannot stand in for U_k.
"""

from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
import torch
from scipy.optimize import least_squares, minimize
from torch.nn.utils import vector_to_parameters

from lse_material._arrays import Array, float_array, rms, whole_number
from lse_material.data.samples import Samples
from lse_material.errors import InvalidInputError
from lse_material.fit.fitting import fit, from_start
from lse_material.fit.optimise.adam import flat
from lse_material.fit.optimise.jacobian import values_and_jacobian
from lse_material.fit.options import Architecture, Training, expect_options
from lse_material.fit.problem.prepare import in_random_order
from lse_material.fit.problem.rows import Scales, weights_of
from lse_material.fit.result import FitResult
from lse_material.fit.session import PROCESSOR, made_on
from lse_material.model.material import Material
from lse_material.model.natural_states import NaturalStates
from lse_material.model.strain import GreenLagrange, StrainMeasure, from_mandel, mandel

ROUNDS = 3  # of fits whose weights start anew, at most: those about wrong stretches have a wrong transition scale
STEPS = 60  # of weights and stretches together in each of them, at most
CONVERGED = 1e-4  # change of the stretches in a round
MOST_ROWS = 2000  # that take part in these steps
LEAST_STRETCH = 0.1  # of a first guess
OVERFLOW = 1e10  # a residual that is not finite


def fit_states(
    samples: Samples,
    measure: StrainMeasure,
    states: int | Any,
    *,
    architecture: Architecture | None = None,
    training: Training | None = None,
    seed: int = 0,
    progress: bool = True,
) -> FitResult:
    """Fit modes about natural states that are not known, or known roughly: a martensite whose U_k are looked for.

    The result's strain measure is a `NaturalStates`, whose stretches, (states, dim, dim), are symmetric.

    Args:
        samples: of F, with energies, stresses, or both; some around every state. None of them need be free of stress.
        measure: what each mode reads of F U_k^-1, `lse.PrincipalInvariants(3)` say.
        states: how many there are, or first guesses of the stretches, (states, dim, dim). Guesses that are not given are the
            minima of the modes of a fit in `GreenLagrange`.
        architecture: shape and type of the modes, of which there is one for each state.
        training: how their weights are found.
        seed: of the random starts and of the validation rows.
        progress: show a bar on a terminal.

    Raises:
        InvalidInputError: the samples are not of F alone or cannot be fitted so, or there is no state.

    >>> few, small = samples.take(np.arange(60)), lse.fit.Architecture(width=2)
    >>> short = lse.fit.Training(restarts=1, adam_steps=10, lbfgs_steps=10)
    >>> guess = [np.diag([1.0, 1.0]), np.diag([1.1, 0.9])]
    >>> options = {"architecture": small, "training": short, "progress": False}
    >>> found = lse.fit.fit_states(few, lse.PrincipalInvariants(2), guess, **options)
    >>> len(found.material.kinematics.stretches)
    2
    """
    if not isinstance(measure, StrainMeasure):
        raise InvalidInputError(
            f"measure is {measure!r}; it must be a strain measure, lse.PrincipalInvariants(3), say."
        )
    if not isinstance(samples, Samples) or samples.F is None or samples.fields is not None:
        raise InvalidInputError("natural states are found from Samples of F, without fields.")
    expect_options(architecture=architecture, training=training, seed=seed)
    training, options = training or Training(), {"seed": seed, "progress": progress}
    if isinstance(states, Integral):
        count = whole_number("states", states, 1)
        if count > len(samples.F):
            raise InvalidInputError(f"states is {count}, and there are only {len(samples.F)} samples of F.")
        guess = _minima(samples, measure.dim, Architecture(modes=count), training, options)
    else:
        guess = float_array("states", states, 3)
    kinematics = NaturalStates(measure.dim, measure, _tuples(guess))
    kinematics = replace(kinematics, stretches=_tuples(_symmetric(np.array(kinematics.stretches))))
    architecture = replace(architecture or Architecture(), modes=len(kinematics.stretches))
    short = replace(training, restarts=1, adam_steps=0)
    for _ in range(ROUNDS):
        result = fit(samples, kinematics=kinematics, architecture=architecture, training=training, **options)  # type: ignore[arg-type]
        before = np.array(kinematics.stretches)
        with made_on(PROCESSOR):
            material, kinematics = _together(result.material, kinematics, samples, training)
        result = fit(samples, kinematics=kinematics, start=material, training=short, **options)  # type: ignore[arg-type]
        if np.abs(np.array(kinematics.stretches) - before).max() < CONVERGED:
            break
    return result


def _tuples(U: Array) -> Any:
    return tuple(tuple(map(tuple, each)) for each in U.tolist())


def _minima(
    samples: Samples, dim: int, architecture: Architecture, training: Training, options: dict[str, Any]
) -> Array:
    """Stretches at the minima of the modes of a fit in Green-Lagrange strains, within the data."""
    measure, stretches = GreenLagrange(dim), []
    rough = fit(samples, kinematics=measure, architecture=architecture, training=training, **options)
    x = samples.inputs(measure)
    for k, weight in enumerate(rough.potential.mode_weights(x).T):
        mode = rough.potential.alone(k)
        best = minimize(
            lambda x, mode=mode: float(mode.energy(x)),
            weight @ x / weight.sum(),
            jac=mode.gradient,
            bounds=list(zip(x.min(axis=0), x.max(axis=0))),
        )
        squares, axes = np.linalg.eigh(np.eye(dim) + 2.0 * from_mandel(best.x))
        stretches.append(axes * np.sqrt(np.maximum(squares, LEAST_STRETCH**2)) @ axes.T)
    return np.array(stretches)


def _symmetric(U: Array) -> Array:
    """The symmetric stretches (U^T U)^(1/2) of given ones, (n, dim, dim)."""
    squares, axes = np.linalg.eigh(np.swapaxes(U, 1, 2) @ U)
    return axes * np.sqrt(squares)[:, None] @ np.swapaxes(axes, 1, 2)


def _together(
    material: Material, states: NaturalStates, samples: Samples, training: Training
) -> tuple[Material, NaturalStates]:
    """The material and its states with the weights and the stretches that fit the samples best, from given ones."""
    if len(samples) > MOST_ROWS:
        samples = in_random_order(samples).take(np.arange(MOST_ROWS))
    F, potential, model = np.asarray(samples.F), material.potential, from_start(material, states)
    names, parameters = zip(*((name, p) for name, p in model.named_parameters() if p.requires_grad))
    acting = torch.cat([model.mask(name).reshape(-1) for name in names]) > 0.0
    weights, U, free = flat(list(parameters)), mandel(np.array(states.stretches)), int(acting.sum())
    basis = from_mandel(np.eye(U.shape[1]))

    def at(c: Array) -> tuple[Material, NaturalStates]:
        weights[acting] = torch.tensor(c[:free])
        vector_to_parameters(weights.clone(), parameters)
        p = model.to_potential(*Scales.of(potential))
        stretched = replace(states, stretches=_tuples(from_mandel(c[free:].reshape(U.shape))))
        return replace(material, potential=p, kinematics=stretched, training_box=None), stretched

    def residual(c: Array) -> Array:
        try:
            material, _ = at(c)
        except InvalidInputError:  # the determinant of a stretch is not positive
            return np.full(len(at_start), OVERFLOW)
        return np.nan_to_num(_weighted(samples, training, material.energy(F), material.stress(F)), nan=OVERFLOW)

    def jacobian(c: Array) -> Array:
        material, measure = at(c)
        p = material.potential
        xh = torch.tensor((measure.strain(F) - p.input_shift) / p.input_scale)
        J = p.energy_scale * values_and_jacobian(model, xh, list(names))[2][..., acting].detach().numpy()
        dW, dP = _derivatives(material, np.array(measure.stretches), F, basis)
        of_stress = np.einsum("ndiJ,ndp->niJp", measure.derivative(F) / p.input_scale[:, None, None], J[:, 1:])
        W, P = np.concatenate([J[:, 0], dW], axis=-1), np.concatenate([of_stress, dP], axis=-1)
        return _weighted(samples, training, W, P, is_derivative=True)

    start = np.concatenate([weights[acting].numpy(), U.ravel()])
    at_start = _weighted(samples, training, material.energy(F), material.stress(F))
    return at(least_squares(residual, start, jac=jacobian, max_nfev=STEPS).x)


def _derivatives(material: Material, stretches: Array, F: Array, basis: Array) -> tuple[Array, Array]:
    """Of energies, (n, p), and stresses, (n, dim, dim, p), in the components of all stretches in a basis."""
    weights, P, rho = material.mode_weights(F), material.stress(F), material.transition_scale
    of_energy, of_stress = [], []
    for k, V in enumerate(np.linalg.inv(stretches)):
        alone = replace(material, potential=material.potential.alone(k))
        Pk, A, w = alone.stress(F), alone.tangent(F), weights[:, k]
        dF = -np.einsum("niJ,JK,mKL->niLm", F, V, basis)
        dW = w[:, None] * np.einsum("niJ,niJm->nm", Pk, dF)
        dP = np.einsum("niJkL,nkLm->niJm", A, dF) - np.einsum("niJ,mJK,LK->niLm", Pk, basis, V)
        of_energy.append(dW)
        of_stress.append(w[:, None, None, None] * dP - (Pk - P)[..., None] * dW[:, None, None] / rho)
    return np.concatenate(of_energy, axis=-1), np.concatenate(of_stress, axis=-1)


def _weighted(samples: Samples, training: Training, W: Array, P: Array, *, is_derivative: bool = False) -> Array:
    """Residuals whose squares add up to the loss of the fit, or derivatives of them, as one array."""
    row, parts = weights_of(samples), []
    for found, data, mask, weight, size in (
        (W, samples.energy, samples.energy_mask, training.energy_weight, np.std),
        (P, samples.stress, samples.stress_known, training.stress_weight, rms),
    ):
        if data is None or mask is None or weight == 0.0:
            continue
        factor = np.sqrt(weight * row / row.mean() / mask.sum()) / size(data[mask])
        factor = np.broadcast_to(factor.reshape(-1, *(1,) * (data.ndim - 1)), data.shape)[mask]
        parts.append((found[mask].T * factor).T if is_derivative else (found - data)[mask] * factor)
    return np.concatenate(parts)
