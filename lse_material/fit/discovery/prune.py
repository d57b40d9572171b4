"""Leaving out weights and neurons that the data do not need, by the optimal brain surgeon, with refits in between.

The loss near its minimum is L + s^T A s with A = J^T J of its residuals. Taking weight q out costs least if the others move by

    s = -theta_q A^-1 e_q / (A^-1)_qq,      which costs theta_q^2 / (A^-1)_qq.

B. Hassibi and D. G. Stork, NeurIPS 1992. Weights go in the order of cost per weight set free: the output weight of a neuron
takes the neuron's other weights along. Each batch is followed by a Levenberg-Marquardt refit and kept only if the errors
stay within the bound.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lse_material.fit.discovery.candidates import attempt
from lse_material.fit.discovery.schedule import Schedule
from lse_material.fit.model.convex_network import inverse_softplus
from lse_material.fit.model.edit import copy_of, nearest_quadratic
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.optimise.levenberg_marquardt import normal_equations
from lse_material.fit.problem.loss import Loss

RELATIVE_DAMPING = 1e-9  # of A, relative to its diagonal: weights that the data do not see cost nothing
LEAST_Z_WEIGHT = 1e-8  # a z-weight that a move would make negative is left at


def prune(
    model: TrainablePotential,
    train: Loss,
    alike: Callable[[TrainablePotential], bool],
    schedule: Schedule,
    target: float = 0.0,
) -> TrainablePotential:
    """A copy of the model with as few weights as `alike` allows, the test of whether the errors of a smaller model will do.

    The transition scale stays. A refit may stop at the `target` of the loss.
    """
    model = triangular(model)

    def keep_if_alike(trial: TrainablePotential) -> bool:
        nonlocal model
        schedule.pruned.run(trial, train, free_rho=False, target=target)
        kept = alike(trial)
        model = trial if kept else model
        return kept

    if model.architecture.depth and model.quadratic is not None:
        for k in range(model.architecture.count):
            simpler = attempt(_as_quadratic, model, train, k)
            if simpler is not None:
                keep_if_alike(simpler)
    batch = max(1, int(schedule.first_batch * active_weights(model)))
    while batch >= 1:
        trial = copy_of(model)
        freed = _take_out(trial, train, batch)
        if freed == 0:
            break
        if not keep_if_alike(trial):
            batch = min(batch, freed) // 2
    return model


def _as_quadratic(model: TrainablePotential, loss: Loss, mode: int) -> TrainablePotential:
    """One mode without its neurons: the convex quadratic function nearest to it where it dominates."""
    model, x = copy_of(model), loss.inputs
    assert model.quadratic is not None
    with torch.no_grad():
        psi = model.modes(x)[0]
        variant = mode * model.constraints.variants
        wanted, share = psi[variant], torch.sqrt(torch.softmax(-psi / model.scaled_rho, dim=0)[variant] + 1e-6)
        quadratic, gradient, level, _ = nearest_quadratic(model, x, wanted, share)
        model.quadratic[mode], model.x_weights[-1][mode], model.biases[-1][mode] = quadratic, gradient, level
        masks, last = _masks(model), f"x_weights.{len(model.x_weights) - 1}"
        for name, mask in masks.items():
            mask[mode] = 1.0 if name == last else 0.0
        masks["quadratic"][mode] = _upper(model)
    model.masks.update(masks)
    return model


def triangular(model: TrainablePotential) -> TrainablePotential:
    """The same energy with upper triangular quadratic terms: |R x| = |Q x| for Q = (orthogonal) R."""
    model = copy_of(model)
    if model.quadratic is not None:
        with torch.no_grad():
            terms = (model.quadratic * model.mask("quadratic")).unflatten(1, (model.outputs, -1))
            model.quadratic.copy_(torch.linalg.qr(terms)[1].flatten(1, 2))
        model.masks["quadratic"] = _upper(model).expand(model.architecture.count, -1, -1).clone()
    return model


def _upper(model: TrainablePotential) -> Tensor:
    """The mask of upper triangular quadratic terms, one for each output row of a mode."""
    d = model.quadratic.shape[2]
    return torch.ones(d, d, dtype=torch.float64).triu().repeat(model.outputs, 1)


def active_weights(model: TrainablePotential) -> int:
    """The number of weights that act, biases apart."""
    return sum(int(mask.sum()) for mask in _masks(model).values())


def _masks(model: TrainablePotential) -> dict[str, Tensor]:
    """The masks of all weights that may go: biases stay as long as their neuron does."""
    names = [name for name, _ in model.named_parameters() if name != "raw_rho" and not name.startswith("biases")]
    return {name: model.mask(name).clone() for name in names}


def _take_out(model: TrainablePotential, loss: Loss, batch: int) -> int:
    """Take about `batch` weights out and move the others; returns how many went."""
    names = [name for name, p in model.named_parameters() if p.requires_grad and name != "raw_rho"]
    masks = _masks(model)
    theta, chain, alive, gain = [], [], [], []
    parameters = dict(model.named_parameters())
    for name in names:
        p, mask = parameters[name].detach(), masks.get(name)
        positive = name.startswith("raw_z_weights")
        theta.append((torch.nn.functional.softplus(p) if positive else p).reshape(-1))
        chain.append((torch.sigmoid(p).clamp(min=1e-12) if positive else torch.ones_like(p)).reshape(-1))
        alive.append((torch.zeros_like(p) if mask is None else mask).reshape(-1) > 0.0)
        gain.append(_gain(model, name, p).reshape(-1))
    values, stretch, may_go, worth = (torch.cat(part) for part in (theta, chain, alive, gain))
    inverse = damped_inverse(normal_equations(model, loss, names)[0] / stretch[:, None] / stretch[None, :])
    if inverse is None:
        return 0
    gone = torch.zeros_like(may_go)
    freed = 0
    while freed < batch and bool((may_go & ~gone).any()):
        own = inverse.diagonal().clamp(min=1e-300)
        cost = torch.where(may_go & ~gone, values**2 / own / worth, torch.inf)
        q = int(cost.argmin())
        column = inverse[:, q].clone()
        values = values - values[q] / column[q] * column
        inverse = inverse - torch.outer(column, column) / column[q]
        gone[q] = True
        values[gone] = 0.0
        freed += int(worth[q])
    _write(model, names, masks, values, gone)
    return freed


def damped_inverse(A: Tensor) -> Tensor | None:
    """The inverse of normal equations; None if the data see none of the weights."""
    diagonal = A.diagonal()
    A = A + torch.diag(RELATIVE_DAMPING * diagonal.clamp(min=1e-6 * float(diagonal.max())))
    factor, failed = torch.linalg.cholesky_ex(A)
    return None if failed else torch.cholesky_inverse(factor)


def _gain(model: TrainablePotential, name: str, p: Tensor) -> Tensor:
    """How many weights go with each entry: the last z-weight of a neuron takes the neuron along."""
    result = torch.ones_like(p)
    if name.startswith("raw_z_weights"):
        layer = int(name.rsplit(".", 1)[1])
        incoming = model.mask(f"x_weights.{layer}").sum(2) + 1.0
        if layer > 0:
            incoming = incoming + model.mask(f"raw_z_weights.{layer - 1}").sum(2)
        alone = model.mask(name).sum(1, keepdim=True) <= 1.0
        result = result + torch.where(alone, incoming[:, None, :], torch.zeros_like(p))
    return result


def _write(model: TrainablePotential, names: list[str], masks: dict[str, Tensor], values: Tensor, gone: Tensor) -> None:
    """Put values and masks into the model; a neuron without output loses its inputs."""
    parameters, position = dict(model.named_parameters()), 0
    with torch.no_grad():
        for name in names:
            p = parameters[name]
            part = slice(position, position + p.numel())
            position += p.numel()
            new = values[part].reshape(p.shape)
            if name in masks:
                masks[name][gone[part].reshape(p.shape)] = 0.0
            p.copy_(inverse_softplus(new.clamp(min=LEAST_Z_WEIGHT)) if name.startswith("raw_z_weights") else new)
    for layer in range(model.architecture.depth - 1, -1, -1):
        useless = masks[f"raw_z_weights.{layer}"].sum(1) == 0.0
        masks[f"x_weights.{layer}"][useless] = 0.0
        if layer > 0:
            masks[f"raw_z_weights.{layer - 1}"][useless] = 0.0
    model.masks.update(masks)
