"""Derivatives of a model's energy and gradient in all of its weights, row by row, for second-order methods.

With w_k = softmax(-psi_k/rho), G = sum_k w_k g_k, and theta a weight of mode k:

    dPsi/dtheta = w_k dpsi_k/dtheta,      dG/dtheta = w_k ( dg_k/dtheta - (g_k - G)/rho dpsi_k/dtheta )

With a symmetry the sum goes over all variants of the mode, each the mean of the trained mode at the images a x of a point. For
modes of at most one hidden layer the modes' own derivatives are written out, which is many times as fast as differentiating row
by row, which serves the others.
"""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from lse_material.fit.model.constraints import Reference
from lse_material.fit.model.convex_network import activation
from lse_material.fit.model.trainable import TrainablePotential


def values_and_jacobian(model: TrainablePotential, x: Tensor, names: list[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Energy (n,), gradient (n, d), and the derivatives of both in the named parameters, (n, 1 + d, p), at xh (n, d)."""
    with torch.no_grad():
        if is_written_out(model):
            return _written_out(model, x, names)
        energy, gradient, _ = model(x)
    return energy, gradient, differentiated(model, x, names)


def is_written_out(model: TrainablePotential) -> bool:
    """Whether the derivatives are written out, and not differentiated row by row."""
    return model.written_out or (model.layered and model.architecture.depth <= 1)


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
    """Of the soft minimum, less the linear function that takes away the stress at a reference, if there is one."""
    energy, gradient, J = _of_soft_minimum(model, x, names)
    reference = model.constraints.reference
    if reference is not None:
        _, there, J_there = _of_soft_minimum(model, reference.at, names)
        lost, J_lost = model.lost(there, reference)[0], reference.projector[0].T @ J_there[0, 1:]
        energy, gradient = energy - x @ lost, gradient - lost
        J[:, 0] -= x @ J_lost
        J[:, 1:] -= J_lost
    return energy, gradient, J


def _of_soft_minimum(model: TrainablePotential, x: Tensor, names: list[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Of the soft minimum of all variants of the modes."""
    (n, d), k, rho = x.shape, model.architecture.count, model.scaled_rho
    psi, g = model.modes(x)
    w = torch.softmax(-psi / rho, dim=0)
    energy, gradient = -rho * torch.logsumexp(-psi / rho, dim=0), (w.unsqueeze(2) * g).sum(0)
    orbit, rest = model.constraints.orbit, model.constraints.rest
    maps, variants = torch.eye(d, dtype=torch.float64)[None], 1
    if orbit is not None:
        maps, variants = orbit.maps.flatten(0, 1), orbit.variants
    each = len(maps) // variants  # images whose mean is a variant
    weight = w.reshape(k, variants, n).transpose(1, 2).repeat_interleave(each, 2) / each
    away = ((g - gradient) / rho).reshape(k, variants, n, d).transpose(1, 2).repeat_interleave(each, 2)
    images = torch.einsum("iab,nb->nia", maps, x)
    blocks = _of_modes(model, images[None], weight, away, maps)
    if rest is not None:
        lost = _lost_at_rest(model, rest)
        along = torch.einsum("kni,imj->knjm", weight, maps) - torch.einsum("kni,knij,nim->knjm", weight, away, images)
        linear = torch.cat([torch.einsum("kni,nim->knm", weight, images).unsqueeze(2), along], dim=2)
        blocks = {name: block - linear @ lost[name].unsqueeze(1) for name, block in blocks.items()}
    if "raw_rho" in names:
        change, mean = _rho_change(model) / rho, (w * psi).sum(0)
        of_rho = [(energy - mean).unsqueeze(1), ((w * (psi - mean) / rho).unsqueeze(2) * g).sum(0)]
        blocks["raw_rho"] = change * torch.cat(of_rho, dim=1)[None, :, :, None]
    return energy, gradient, torch.cat([blocks[name].permute(1, 2, 0, 3).flatten(2) for name in names], dim=2)


def _lost_at_rest(model: TrainablePotential, rest: Reference) -> dict[str, Tensor]:
    """Derivatives of the gradient that each mode loses so that it has no stress in its natural state, (K, d, m)."""
    k, d = rest.at.shape
    one, zero = torch.ones(k, 1, 1, dtype=torch.float64), torch.zeros(k, 1, 1, d, dtype=torch.float64)
    blocks = _of_modes(model, rest.at[:, None, None], one, zero, torch.eye(d, dtype=torch.float64)[None])
    return {name: rest.projector.transpose(1, 2) @ block[:, 0, 1:] for name, block in blocks.items()}


def _of_modes(model: TrainablePotential, x: Tensor, weight: Tensor, away: Tensor, maps: Tensor) -> dict[str, Tensor]:
    """Sums over the images i of a point: weight_i times the derivatives of psi_k, and of A_i^T g_k - away_i psi_k.

    At images A_i x of n points, (1 or K, n, i, d), with weight (K, n, i), away (K, n, i, d) and the maps A_i, (i, d, d). By the
    name of each parameter but the transition scale: (K, n, 1 + d, m) for the m weights of each mode in it.
    """
    if not model.layered:
        blocks = model.by_weights(x.flatten(1, 2))
        return {n: _of_acting(model, n, _over_images(block, weight, away, maps)) for n, block in blocks.items()}
    first, blocks = model.temperatures, {}
    factor = torch.cat([torch.ones_like(away[..., :1]), -away], dim=3)
    for form in _forms(model, x.flatten(1, 2)):
        e, de, by_t = (p.unflatten(1, (-1, len(maps))) * weight.unsqueeze(3) for p in (form.e, form.de, form.by_t))
        C = factor.unsqueeze(4) * e.unsqueeze(3)  # (K, n, i, 1 + d, r)
        v = torch.einsum("imj,kmr->kijr", maps[:, first:, first:], form.v)
        C[..., 1 + first :, :].addcmul_(v.unsqueeze(1), de.unsqueeze(3))
        if first:
            C[..., 1, :] += by_t
        for name in form.names:
            if name.startswith(("x_weights", "quadratic")):
                block = torch.einsum("kniar,knim->knarm", C, x[..., first:].expand(len(C), -1, -1, -1))
                block[:, :, 1 + first :] += torch.einsum("imj,knir->knjrm", maps[:, first:, first:], e)
                block = block.flatten(3)
            else:
                block = C.sum(2)
            blocks[name] = _of_acting(model, name, block)
    return blocks


def _over_images(block: Tensor, weight: Tensor, away: Tensor, maps: Tensor) -> Tensor:
    """The same sums of derivatives of psi_k and g_k at all images, (K, n i, 1 + d, m)."""
    each = block.unflatten(1, (-1, len(maps))) * weight[..., None, None]
    psi = each[..., 0, :]
    along = torch.einsum("imj,knimr->knjr", maps, each[..., 1:, :]) - (away.unsqueeze(4) * psi.unsqueeze(3)).sum(2)
    return torch.cat([psi.sum(2).unsqueeze(2), along], dim=2)


def _of_acting(model: TrainablePotential, name: str, block: Tensor) -> Tensor:
    """Derivatives in the weights of a name, 0 for those that have been left out."""
    return model.masks[name].reshape(len(block), 1, 1, -1) * block if name in model.masks else block


class _Form(NamedTuple):
    """How a mode depends on affine forms u_r = v_r.x + b_r of its weights: with e_r = dpsi/du_r and de_r/dx = de_r v_r,

    dpsi/db_r = e_r,    dpsi/dv_rm = e_r x_m,    dg_i/db_r = de_r v_ri,    dg_i/dv_rm = de_r v_ri x_m + e_r delta_im
    """

    # of the parameters v and b, or of weights z_r whose own derivatives dpsi/dz_r take the place of e
    names: tuple[str, ...]
    e: Tensor  # (K, n, r)
    de: Tensor  # (K, n, r)
    v: Tensor  # (K, d, r), of the inputs without temperature
    by_t: Tensor  # change of e with temperature, (K, n, r)


def _forms(model: TrainablePotential, x: Tensor) -> Iterator[_Form]:
    """Those of networks of at most one hidden layer at x (1 or K, n, d)."""
    k, last, y = model.architecture.count, model.architecture.depth, x[..., model.temperatures :]
    n, d = y.shape[1:]
    share = model.shares(x).expand(k, n, -1)  # of the output rows; and how these change with t
    change = torch.tensor([-1.0, 1.0], dtype=torch.float64)[-share.shape[2] :]
    nothing = torch.zeros(k, d, len(change), dtype=torch.float64)
    yield _Form(
        (f"x_weights.{last}", f"biases.{last}"), share, torch.zeros_like(share), nothing, change.expand(k, n, -1)
    )
    if model.quadratic is not None:
        Q = (model.quadratic * model.mask("quadratic")).transpose(1, 2)
        u, of_row = y @ Q, share.repeat_interleave(d, 2)
        yield _Form(("quadratic",), of_row * u, of_row, Q, change.repeat_interleave(d) * u)
    if last == 1:
        V = (model.x_weights[0] * model.mask("x_weights.0")).transpose(1, 2)  # (K, d, j)
        raw = model.raw_z_weights[0]  # (K, outputs, j)
        z = torch.nn.functional.softplus(raw, threshold=40.0) * model.mask("raw_z_weights.0")
        value, slope, curvature = activation(model.architecture.activation, y @ V + model.biases[0].unsqueeze(1))
        acting = share @ z
        yield _Form(
            ("x_weights.0", "biases.0"), acting * slope, acting * curvature, V, (change @ z).unsqueeze(1) * slope
        )
        steep = torch.sigmoid(raw)
        now = (share.unsqueeze(3) * steep.unsqueeze(1)).flatten(2)  # (K, n, outputs j)
        later, outputs = (change[:, None] * steep).flatten(1).unsqueeze(1), (1, 1, len(change))
        value, slope = value.repeat(outputs), slope.repeat(outputs)
        yield _Form(("raw_z_weights.0",), now * value, now * slope, V.repeat(outputs), later * value)


def _rho_change(model: TrainablePotential) -> Tensor:
    """drho/draw of its bounded logarithm."""
    low, high = (math.log(bound) for bound in model.scaled_rho_bounds)
    share = torch.sigmoid(model.raw_rho)
    return model.scaled_rho * (high - low) * share * (1.0 - share)
