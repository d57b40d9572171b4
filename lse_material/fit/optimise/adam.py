"""Adam for discovery: with a penalty on the usage of modes, and a weak pull towards sharp transitions."""

from __future__ import annotations

import math

import torch

from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.problem.loss import Loss

KEEP_EVERY = 20  # steps after which the weights are kept, to come back to after a loss that is not finite


def adam(
    model: TrainablePotential,
    loss: Loss,
    steps: int,
    rate: float,
    *,
    rho_weight: float = 0.0,
    usage_weight: float = 0.0,
) -> None:
    """Improve the weights of `model` in place, the rate falling along a cosine to 1e-3.

    Args:
        model: the potential.
        loss: of the data.
        steps: how many.
        rate: the largest.
        rho_weight: of ln(rho).
        usage_weight: of twice the entropy of the mode usage; it comes in between a fifth and half of the steps.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.99))
    good = [p.detach().clone() for p in parameters]
    for step in range(steps):
        share = step / steps
        optimiser.param_groups[0]["lr"] = 1e-3 + 0.5 * (rate - 1e-3) * (1.0 + math.cos(math.pi * share))
        value, weights = loss.with_mode_weights(model)
        if model.raw_rho.requires_grad:
            value = value + rho_weight * torch.log(model.scaled_rho)
        ramp = min(1.0, max(0.0, (share - 0.2) / 0.3))
        if usage_weight * ramp > 0.0:
            usage = weights.mean(0)
            value = value - 2.0 * usage_weight * ramp * (usage * torch.log(usage + 1e-12)).sum()
        optimiser.zero_grad()
        value.backward()
        if not (
            math.isfinite(value.item()) and all(p.grad is None or torch.isfinite(p.grad).all() for p in parameters)
        ):
            with torch.no_grad():
                for p, last in zip(parameters, good):
                    p.copy_(last)
            rate *= 0.3
            optimiser = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.99))
            continue
        if step % KEEP_EVERY == 0:
            good = [p.detach().clone() for p in parameters]
        optimiser.step()
