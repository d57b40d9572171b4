"""Adam on the loss of a fit, with a penalty on the usage of modes and a weak pull towards sharp transitions for discovery."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.problem.loss import Loss

LAST_RATE = 1e-3  # learning rate at the end
SLOWER = 0.3  # factor of the learning rate after a loss that is not finite
CHECK_EVERY = 10  # steps after which the weights are kept, to come back to after a loss that is not finite
PENALTY_FROM, PENALTY_TO = 0.2, 0.5  # shares of the steps between which the penalty on the usage comes in


def adam(
    model: TrainablePotential,
    loss: Loss,
    steps: int,
    rate: float,
    *,
    batch: int | None = None,
    rho_weight: float = 0.0,
    usage_weight: float = 0.0,
    after: Callable[[int, float], None] | None = None,
) -> None:
    """Improve the weights of `model` in place.

    The learning rate falls along a cosine, in its closed form: a loss that is not finite starts the optimiser anew, with a
    smaller rate, in the middle of it.

    Args:
        model: the potential.
        loss: of the data.
        steps: how many.
        rate: the first learning rate.
        batch: rows of a step, at most; all if left out.
        rho_weight: of ln(rho).
        usage_weight: of twice the entropy of the mode usage.
        after: called with the number of the step and the loss, every `CHECK_EVERY` steps.

    Raises:
        TimeUpError: the session of the loss has no time left, after one step at least.
    """
    parameters = trained(model)
    optimiser = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.99))
    good = flat(parameters)
    for step in range(steps):
        if step:  # the first is always taken: there is then something to keep
            loss.session.expect_time()
        share = step / steps
        optimiser.param_groups[0]["lr"] = LAST_RATE + 0.5 * (rate - LAST_RATE) * (1.0 + math.cos(math.pi * share))
        data, weights = (loss if batch is None else loss.batch(step, batch)).with_mode_weights(model)
        value = data * model.restraint()
        if rho_weight and model.raw_rho.requires_grad:
            value = value + rho_weight * torch.log(model.scaled_rho)
        penalty = usage_weight * min(1.0, max(0.0, (share - PENALTY_FROM) / (PENALTY_TO - PENALTY_FROM)))
        if penalty > 0.0:
            usage = weights.mean(0)
            value = value - 2.0 * penalty * (usage * torch.log(usage + 1e-12)).sum()
        optimiser.zero_grad()
        value.backward()
        if not (math.isfinite(value.item()) and bool(torch.isfinite(flat_gradient(parameters)).all())):
            vector_to_parameters(good.clone(), parameters)
            rate *= SLOWER
            optimiser = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.99))
            continue
        if step % CHECK_EVERY == 0:
            good = flat(parameters)
            if after is not None:
                after(step, data.item())
        optimiser.step()


def trained(model: TrainablePotential) -> list[torch.nn.Parameter]:
    """The parameters that are trained."""
    return [p for p in model.parameters() if p.requires_grad]


def flat(parameters: list[torch.nn.Parameter]) -> Tensor:
    """The weights as one vector, a copy."""
    return parameters_to_vector(parameters).detach()


def flat_gradient(parameters: list[torch.nn.Parameter]) -> Tensor:
    """The gradient of the loss as one vector, zero where it does not depend on a parameter."""
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in parameters])
