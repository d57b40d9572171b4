"""Derivatives of a model's energy and gradient in all of its weights, row by row, for second-order methods.

With w_k = softmax(-psi_k/rho), G = sum_k w_k g_k, and theta a weight of mode k:

    dPsi/dtheta = w_k dpsi_k/dtheta,      dG/dtheta = w_k ( dg_k/dtheta - (g_k - G)/rho dpsi_k/dtheta )

For modes of at most one hidden layer, without constraints, the modes' own derivatives are written out: twice as fast as
differentiating row by row, which serves the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from lse_material.fit.model.trainable import TrainablePotential
from lse_material.model.activations import ACTIVATIONS


def values_and_jacobian(model: TrainablePotential, x: Tensor, names: list[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Energy (n,), gradient (n, d), and the derivatives of both in the named parameters, (n, 1 + d, p), at xh (n, d)."""
    with torch.no_grad():
        if is_written_out(model):
            return _written_out(model, x, names)
        energy, gradient, _ = model(x)
    return energy, gradient, differentiated(model, x, names)


def is_written_out(model: TrainablePotential) -> bool:
    """Whether the derivatives are written out, and not differentiated row by row."""
    constraints = model.constraints
    plain = constraints.orbit is None and constraints.reference is None and constraints.rest is None
    return bool(plain and model.layered and model.architecture.depth <= 1)


def differentiated(model: TrainablePotential, x: Tensor, names: list[str]) -> Tensor:
    """By reverse differentiation of each row."""
    parameters = dict(model.named_parameters())
    free = {name: parameters[name].detach() for name in names}
    held = {name: p.detach() for name, p in parameters.items() if name not in free}

    def potential(weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
        energy, gradient, _ = torch.func.functional_call(model, {**held, **weights}, (x[None],))
        return torch.cat([energy, gradient[0]])

    parts = torch.func.vmap(torch.func.jacrev(potential), in_dims=(None, 0))(free, x)
    return torch.cat([parts[name].reshape(len(x), 1 + model.size, -1) for name in names], dim=2)


def _written_out(model: TrainablePotential, x: Tensor, names: list[str]) -> tuple[Tensor, Tensor, Tensor]:
    """A mode depends on its weights through affine forms u_r = v_r.x + b_r: with e_r = dpsi/du_r,

    dpsi/db_r = e_r,    dpsi/dv_rm = e_r x_m,    dg_i/db_r = de_r/dx_i,    dg_i/dv_rm = de_r/dx_i x_m + e_r delta_im
    """
    psi, g = model.modes(x)
    n, d, rho, first = len(x), model.size, model.scaled_rho, model.temperatures
    w = torch.softmax(-psi / rho, dim=0)
    energy, gradient = -rho * torch.logsumexp(-psi / rho, dim=0), (w.unsqueeze(2) * g).sum(0)
    wide, away = w[:, :, None, None], ((g - gradient) / rho).unsqueeze(3)
    forms = _forms(model, x)
    J = torch.empty(n, 1 + d, sum(model.get_parameter(name).numel() for name in names), dtype=torch.float64)
    start = 0
    for name in names:
        stop = start + model.get_parameter(name).numel()
        if name == "raw_rho":
            slope, mean = _rho_slope(model) / rho, (w * psi).sum(0)
            J[:, 0, start] = slope * (energy - mean)
            J[:, 1:, start] = slope / rho * ((w * (psi - mean)).unsqueeze(2) * g).sum(0)
            start = stop
            continue
        e, de = forms[name]  # (K, n, r), (K, 1 or n, d, r)
        part = J[:, :, start:stop].unflatten(2, (len(w), -1)).permute(2, 0, 1, 3)  # (K, n, 1 + d, m): a view
        C = torch.cat([(wide[:, :, 0] * e).unsqueeze(2), wide * (de - away * e.unsqueeze(2))], dim=2)
        if name.startswith(("x_weights", "quadratic")):
            block = part.unflatten(3, (-1, d - first))
            torch.mul(C.unsqueeze(4), x[:, None, None, first:], out=block)
            for i in range(d - first):
                block[:, :, 1 + first + i, :, i] += wide[:, :, 0] * e
        else:
            part.copy_(C)
        if name in model.masks:
            part *= model.masks[name].reshape(len(w), 1, 1, -1)
        start = stop
    return energy, gradient, J


def _forms(model: TrainablePotential, x: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """e (K, n, r) and de/dx (K, 1 or n, d, r) of the forms that each parameter acts through; of itself, for output weights."""
    k, n, last, y = model.architecture.count, len(x), model.architecture.depth, x[:, model.temperatures :]
    d = y.shape[1]
    # of the output rows: their shares (n or 1, outputs), and how these change with t
    share = model.shares(x) if model.temperatures else torch.ones(1, 1, dtype=torch.float64)
    change = torch.tensor([-1.0, 1.0], dtype=torch.float64)[-share.shape[1] :]

    def form(e: Tensor, along: Tensor, by_t: Tensor) -> tuple[Tensor, Tensor]:
        if not model.temperatures:
            return e, along
        return e, torch.cat([by_t.expand(k, n, -1).unsqueeze(2), along.expand(k, n, d, -1)], dim=2)

    one = form(share.expand(k, n, -1), torch.zeros(k, 1, d, len(change), dtype=torch.float64), change)
    forms = {f"x_weights.{last}": one, f"biases.{last}": one}
    if model.quadratic is not None:
        Q = model.quadratic * model.mask("quadratic")
        u, of_row = y @ Q.transpose(1, 2), share.repeat_interleave(d, 1)
        forms["quadratic"] = form(
            of_row * u, of_row[:, None] * Q.transpose(1, 2).unsqueeze(1), change.repeat_interleave(d) * u
        )
    if last == 1:
        V = (model.x_weights[0] * model.mask("x_weights.0")).transpose(1, 2)  # (K, d, j)
        raw = model.raw_z_weights[0]  # (K, outputs, j)
        z = torch.nn.functional.softplus(raw, threshold=40.0) * model.mask("raw_z_weights.0")
        value, slope, curvature = _activation(model.architecture.activation, y @ V + model.biases[0].unsqueeze(1))
        acting = share @ z
        along = (acting * curvature).unsqueeze(2) * V.unsqueeze(1)
        forms["x_weights.0"] = forms["biases.0"] = form(acting * slope, along, (change @ z).unsqueeze(1) * slope)
        steep = torch.sigmoid(raw)
        now, later = share[:, :, None] * steep[:, None], change[:, None] * steep[:, None]  # (K, 1 or n, outputs, j)
        along = now.unsqueeze(2) * (slope.unsqueeze(2) * V.unsqueeze(1)).unsqueeze(3)
        of_value = (part * value.unsqueeze(2) for part in (now, later))
        forms["raw_z_weights.0"] = form(next(of_value).flatten(2), along.flatten(3), next(of_value).flatten(2))
    return forms


def _rho_slope(model: TrainablePotential) -> Tensor:
    """drho/draw of its bounded logarithm."""
    low, high = (math.log(bound) for bound in model.scaled_rho_bounds)
    share = torch.sigmoid(model.raw_rho)
    return model.scaled_rho * (high - low) * share * (1.0 - share)


def _activation(name: str, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """An activation of `lse_material.model.activations`, its slope and its second derivative."""
    f, s, t = ACTIVATIONS[name], torch.nn.functional.softplus(a, threshold=40.0), torch.sigmoid(a)
    return f.value(s), f.slope(s, t), f.curvature(s, t, t * (1.0 - t))
