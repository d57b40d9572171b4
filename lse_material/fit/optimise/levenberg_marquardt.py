"""Levenberg-Marquardt on the residuals of a fit: second order, in float64, where Adam has brought the weights near.

    (J^T J + mu diag(J^T J)) step = -J^T r,     r the residuals whose squares sum to the loss

K. Levenberg, Quart. Appl. Math. 2, 164 (1944); D. W. Marquardt, J. SIAM 11, 431 (1963). J is formed in chunks of rows.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import vector_to_parameters

from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.optimise.adam import flat
from lse_material.fit.optimise.jacobian import values_and_jacobian
from lse_material.fit.problem.loss import Loss

ROWS_AT_A_TIME = 200  # rows of the Jacobian that are squared at a time: they stay in the cache
LARGEST_DAMPING = 1e10


def levenberg_marquardt(
    model: TrainablePotential,
    loss: Loss,
    iterations: int,
    *,
    free_rho: bool = True,
    rho_weight: float = 0.0,
    target: float = 0.0,
    tolerance: float = 1e-4,
    patience: int = 6,
    after: Callable[[float], object] | None = None,
) -> float:
    """Improve the weights of `model` in place; returns the loss.

    Args:
        model: the potential.
        loss: data and weights of the residuals.
        iterations: at most.
        free_rho: whether the transition scale is fitted too.
        rho_weight: of a term rho_weight ln(rho), a weak pull towards sharp transitions.
        target: the loss at which to stop.
        tolerance: share of the loss that an iteration should win.
        patience: iterations after which less than that makes it stop.
        after: called with the loss after each iteration; False ends the search.

    Raises:
        TimeUpError: the session of the loss has no time left; the model then has the weights of the last iteration.
    """
    names = [name for name, p in model.named_parameters() if p.requires_grad and (free_rho or name != "raw_rho")]
    parameters = [model.get_parameter(name) for name in names]
    pull = rho_weight if "raw_rho" in names else 0.0
    rho = sum(p.numel() for p in parameters[: names.index("raw_rho")]) if pull else 0
    value = _loss(model, loss, pull)
    history, damping, good = [value], 1e-3, flat(parameters)
    try:
        for _ in range(iterations):
            loss.session.expect_time()
            A, b = _restrained(model, loss, names, *normal_equations(model, loss, names))
            if pull:
                (derivative,) = torch.autograd.grad(torch.log(model.scaled_rho), model.raw_rho)
                b[rho] += 0.5 * pull * float(derivative)
            diagonal = A.diagonal().clone()
            diagonal = diagonal.clamp(min=1e-8 * float(diagonal.max()) + 1e-14)
            accepted = False
            while damping < LARGEST_DAMPING and not accepted:
                factor, failed = torch.linalg.cholesky_ex(A + torch.diag(damping * diagonal))
                if not failed:
                    vector_to_parameters(good - torch.cholesky_solve(b[:, None], factor)[:, 0], parameters)
                    trial = _loss(model, loss, pull)
                    accepted = math.isfinite(trial) and trial < value
                damping *= 1.0 if accepted else 4.0
            if not accepted:
                break
            value, good, damping = trial, flat(parameters), max(damping / 5.0, 1e-12)
            history.append(value)
            if (after is not None and after(value) is False) or value < target:
                break
            if len(history) > patience and history[-1 - patience] - value < tolerance * patience * abs(value):
                break
    finally:
        vector_to_parameters(good, parameters)
    return value


def _loss(model: TrainablePotential, loss: Loss, pull: float) -> float:
    with torch.no_grad():
        return float(loss(model) * model.restraint()) + (pull * float(torch.log(model.scaled_rho)) if pull else 0.0)


def _restrained(model: TrainablePotential, loss: Loss, names: list[str], A: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The normal equations of the loss times its restraint, without the product of the changes of both."""
    restraints = model.restraints()
    if not restraints:
        return A, b
    with torch.no_grad():
        factor, value = float(model.restraint()), float(loss(model))
        parts = [(model.get_parameter(name), restraints.get(name)) for name in names]
        weight = torch.cat([(torch.zeros_like(p) if each is None else value * each).reshape(-1) for p, each in parts])
    return factor * A + torch.diag(weight), factor * b + weight * flat([p for p, _ in parts])


def normal_equations(model: TrainablePotential, loss: Loss, names: list[str]) -> tuple[Tensor, Tensor]:
    """J^T J and J^T r, in the order of `names`."""
    size = sum(model.get_parameter(name).numel() for name in names)
    A, b = np.zeros((size, size)), torch.zeros(size, dtype=torch.float64)
    coefficient = loss.growth_coefficient(model)
    along, length = torch.zeros(size, dtype=torch.float64), 0.0

    def linearised(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return values_and_jacobian(model, x, names)

    for residual, J, growth in loss.residuals(linearised, coefficient):
        b += J.T @ residual
        for part in np.split(J.numpy(), range(ROWS_AT_A_TIME, len(J), ROWS_AT_A_TIME)):
            A += part.T @ part
        if growth is not None and coefficient > 0.0:
            along, length = along + J.T @ growth, length + float(growth @ growth)
    if length > 0.0:  # the coefficient follows each step: only what it cannot mend counts
        A -= np.outer(along, along) / length
    return torch.from_numpy(A), b
