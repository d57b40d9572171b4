"""Changing the modes of a model: keeping some, adding one, splitting one, merging two, giving all more neurons."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lse_material.fit.model.convex_network import inverse_softplus
from lse_material.fit.model.initialise import random_start
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.options import Architecture
from lse_material.fit.problem.loss import Loss

# raw output weights of new neurons: with little effect, and with so little that a converged fit is not disturbed
LITTLE, HARDLY = inverse_softplus(torch.tensor([0.01, 0.002], dtype=torch.float64)).tolist()


def copy_of(model: TrainablePotential) -> TrainablePotential:
    """A model with the same weights."""
    return select(model, range(model.architecture.count))


def select(model: TrainablePotential, keep: Sequence[int]) -> TrainablePotential:
    """A model of some of the modes, in this order."""
    result = _like(model, replace(model.architecture, modes=len(keep)))
    index = torch.tensor(list(keep))
    _fill(result, lambda name: model.get_parameter(name)[index])
    result.masks = {name: mask[index] for name, mask in model.masks.items()}
    return result


def join(model: TrainablePotential, other: TrainablePotential) -> TrainablePotential:
    """A model of the modes of both, with the transition scale of the first."""
    modes = model.architecture.count + other.architecture.count
    result = _like(model, replace(model.architecture, modes=modes))
    _fill(result, lambda name: torch.cat([part.get_parameter(name) for part in (model, other)]))
    return result


def without_unused(model: TrainablePotential, loss: Loss, least_usage: float) -> TrainablePotential:
    """The modes whose mean weight over the data is above `least_usage`, or the one that is used most."""
    with torch.no_grad():
        usage = loss.with_mode_weights(model)[1].mean(0)
    return select(model, [k for k, u in enumerate(usage.tolist()) if u > least_usage] or [int(usage.argmax())])


def losses_without(model: TrainablePotential, loss: Loss) -> list[float]:
    """The loss if each mode in turn were left out and nothing else changed."""
    modes = range(model.architecture.count)
    with torch.no_grad():
        return [float(loss(select(model, [j for j in modes if j != k]))) for k in modes]


def with_mode_added(model: TrainablePotential, loss: Loss, rng: np.random.Generator) -> TrainablePotential | None:
    """One more bowl where the fit is too high; None where energies are not known everywhere."""
    energies = loss.energies
    if energies is None:
        return None
    x = loss.inputs.numpy()
    with torch.no_grad():
        excess = np.maximum((model(loss.inputs)[0] - energies).numpy(), 0.0) ** 2
    if excess.sum() <= 0.0:
        return None
    place = x[rng.choice(len(x), p=excess / excess.sum())]
    near = np.argsort(((x - place) ** 2).sum(axis=1))[:15]
    lowest = near[np.argmin(energies.numpy()[near])]
    bowl = random_start(replace(model.architecture, modes=1), loss, rng, model.constraints)
    at, orbit = loss.inputs[lowest : lowest + 1], model.constraints.orbit
    if orbit is not None:
        at = torch.tensor(orbit.home(at.numpy()))
    with torch.no_grad():
        if not bowl.layered:
            bowl.start(at.numpy(), energies[lowest : lowest + 1].numpy(), rng)
            return join(model, bowl)
        if bowl.quadratic is not None:
            one = torch.eye(bowl.quadratic.shape[2], dtype=torch.float64).repeat(bowl.outputs, 1)
            bowl.quadratic.copy_(math.sqrt(1.0 + 2.0 * rng.random()) * one[None])
        gradients = None if orbit is not None else loss.gradients
        wanted = torch.zeros_like(at) if gradients is None else 0.5 * gradients[lowest : lowest + 1]
        bowl.settle([0], at, wanted, energies[lowest : lowest + 1])
    return join(model, bowl)


def with_mode_split(model: TrainablePotential, loss: Loss, rng: np.random.Generator) -> TrainablePotential | None:
    """The mode with the largest share of the residual becomes two that lean apart, with the same soft minimum between.

    None for modes that cannot be split: those that are not layered.
    """
    if not model.layered:
        return None
    x = loss.inputs
    with torch.no_grad():
        weights = model(x)[2]
        wrong = loss.pulled_back_residual(model)
        share = (weights * (wrong**2).sum(1, keepdim=True)).sum(0)
        k = int(share.argmax())
        w = weights[:, k : k + 1]
        centre = (w * x).sum(0) / w.sum()
        covariance = (x - centre).T @ (wrong * w) / w.sum()
        values, vectors = torch.linalg.eigh(0.5 * (covariance + covariance.T))
        rho = model.scaled_rho_value
        lean = vectors[:, -1] * (math.sqrt(max(float(values[-1]), 1e-3) * rho) + 0.3 * rng.random())
        result, extra = copy_of(model), select(model, [k])
        for sign, part, index in ((1.0, result, k), (-1.0, extra, 0)):
            part.add_affine(index, sign * lean, rho * math.log(2.0) - float(sign * (lean @ centre)))
            for parameter in part.x_weights:
                noise = rng.standard_normal(parameter[index].shape)
                parameter[index] += 0.02 * torch.tensor(noise)
    return join(result, extra)


def with_pair_merged(model: TrainablePotential, loss: Loss) -> TrainablePotential | None:
    """The two modes whose soft minimum is nearest to one convex quadratic function become that function.

    One convex region that two modes share has no other way to lose one of them than over a ridge of the loss. The neurons of
    the more used one stay, with little effect. None for modes that are not layered, without quadratic terms, with fewer than
    two modes, or with a symmetry.
    """
    k, x = model.architecture.count, loss.inputs
    if not model.layered or model.quadratic is None or k < 2 or model.constraints.orbit is not None:
        return None
    with torch.no_grad():
        psi, weights, rho = model.modes(x)[0], model(x)[2], model.scaled_rho
        fits = {}
        for pair in itertools.combinations(range(k), 2):
            wanted = -rho * torch.logsumexp(-psi[list(pair)] / rho, dim=0)
            share = torch.sqrt(weights[:, list(pair)].sum(1) + 1e-6)
            fits[pair] = nearest_quadratic(model, x, wanted, share)
        pair = min(fits, key=lambda pair: fits[pair][3])
        stays = pair[int(weights[:, list(pair)].mean(0).argmax())]
        result = copy_of(model)
        assert result.quadratic is not None
        result.quadratic[stays], result.x_weights[-1][stays], result.biases[-1][stays], _ = fits[pair]
        for raw in result.raw_z_weights:
            raw[stays] = LITTLE
    return select(result, [j for j in range(k) if j not in pair or j == stays])


def nearest_quadratic(
    model: TrainablePotential, x: Tensor, wanted: Tensor, share: Tensor
) -> tuple[Tensor, Tensor, Tensor, float]:
    """The mode without neurons nearest to `wanted` (n,) at x (n, d) with the weights `share` (n,).

    Returns R upper triangular, gradient and level of |R x|^2 / 2 + gradient.x + level, less the stiffness of every mode, of
    each output row; and the weighted mean square error of the function before it was made convex.
    """
    shares, x = model.shares(x), x[:, model.temperatures :]
    d = x.shape[1]
    a, b = torch.triu_indices(d, d)
    features = torch.cat([torch.where(a == b, 0.5, 1.0) * x[:, a] * x[:, b], x, torch.ones(len(x), 1)], dim=1)
    system, target = share[:, None] * (shares[:, :, None] * features[:, None, :]).flatten(1), share * wanted
    fitted = torch.linalg.lstsq(system, target[:, None], driver="gelsd").solution[:, 0]
    error = float(((system @ fitted - target) ** 2).sum() / (share**2).sum())
    fitted = fitted.reshape(shares.shape[1], -1)
    H = torch.zeros(len(fitted), d, d, dtype=torch.float64)
    H[:, a, b] = H[:, b, a] = fitted[:, : len(a)]
    values, vectors = torch.linalg.eigh(H)
    values = (values - model.architecture.stiffness).clamp(min=1e-6)
    R = torch.linalg.qr(values.sqrt()[:, :, None] * vectors.transpose(1, 2))[1]
    return R.flatten(0, 1), fitted[:, len(a) : -1], fitted[:, -1], error


def widened(model: TrainablePotential, architecture: Architecture, rng: np.random.Generator) -> TrainablePotential:
    """Twice the neurons in every hidden layer, or the layers of `architecture` for modes without any.

    The new neurons start with little effect.
    """
    old = model.architecture
    new = replace(old, width=2 * old.width) if old.depth else replace(architecture, modes=old.count)
    result, lift = _like(model, new), new.depth - old.depth
    sources = {_lifted(name, lift): p.detach() for name, p in model.named_parameters()}
    with torch.no_grad():
        for name, parameter in result.named_parameters():
            if name == "raw_rho":
                continue
            if name.startswith("raw_z_weights"):
                parameter.fill_(LITTLE)
            elif name.startswith(("x_weights", "biases")):
                parameter.copy_(torch.tensor(rng.standard_normal(parameter.shape)) / math.sqrt(model.size))
            if name in sources:
                parameter[tuple(slice(0, n) for n in sources[name].shape)] = sources[name]
    return result


def _lifted(name: str, lift: int) -> str:
    """The name that a layer's parameter has with so many layers more below."""
    kind, _, layer = name.partition(".")
    return f"{kind}.{int(layer) + lift}" if layer else name


def with_dead_neurons_renewed(
    model: TrainablePotential, loss: Loss, rng: np.random.Generator
) -> TrainablePotential | None:
    """New random hinges for neurons of one hidden layer without effect over the data; None if there are none."""
    if not model.layered or model.architecture.depth != 1:
        return None
    result, x = copy_of(model), loss.inputs[:, model.temperatures :]
    with torch.no_grad():
        weight, bias = result.x_weights[0], result.biases[0]
        acting = torch.nn.functional.softplus(result.raw_z_weights[0]).amax(1)
        spread = torch.sigmoid(x @ weight.transpose(1, 2) + bias.unsqueeze(1)).std(1)
        effect = acting * spread * weight.norm(dim=2)
        dead = effect < 0.02 * effect.amax(1, keepdim=True).clamp(min=1e-3)
        if not dead.any():
            return None
        for k, j in torch.nonzero(dead).tolist():
            direction = torch.tensor(rng.standard_normal(x.shape[1])) * (1.5 / math.sqrt(x.shape[1]))
            weight[k, j] = direction
            bias[k, j] = -(direction @ x[int(rng.integers(len(x)))])
            result.raw_z_weights[0][k, :, j] = HARDLY
    return result


def _like(model: TrainablePotential, architecture: Architecture) -> TrainablePotential:
    middle = math.sqrt(math.prod(model.scaled_rho_bounds))
    result = type(model)(
        architecture,
        model.size,
        scaled_rho=middle,
        scaled_rho_bounds=model.scaled_rho_bounds,
        constraints=model.constraints,
    )
    with torch.no_grad():
        result.raw_rho.copy_(model.raw_rho)
    return result


def _fill(model: TrainablePotential, values: Callable[[str], Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "raw_rho":
                parameter.copy_(values(name))
