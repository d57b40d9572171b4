"""Which modes, and which of their weights, need the designs: what they do not need is left out, with refits in between.

A group of weights is the dependence of all modes on a design, of a mode on all designs, of a mode on one, of one kind of a
mode's weights on all, or a mode's features, without which its weights are affine in the designs. Near a minimum of the loss, of
Hessian A, a group G goes for the least if the others move by

    s = -A^-1[:, G] (A^-1[G, G])^-1 theta_G,      which costs theta_G^T (A^-1[G, G])^-1 theta_G:

the optimal brain surgeon of `lse_material.fit.discovery.prune`, of groups. Cheap groups are tried first. A group stays out if
the errors stay within the bound. The weights that go are zeros in the file: W does not depend on what was left out, exactly.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.utils import vector_to_parameters

from lse_material.fit.discovery.prune import damped_inverse
from lse_material.fit.discovery.schedule import Schedule
from lse_material.fit.model.design_network import BY_DESIGN, TrainableDesign
from lse_material.fit.model.edit import copy_of
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.optimise.adam import flat
from lse_material.fit.optimise.levenberg_marquardt import normal_equations
from lse_material.fit.problem.loss import Loss

Group = dict[str, Tensor]  # which weights go, by the name of their parameter


def independent(
    model: TrainablePotential,
    train: Loss,
    alike: Callable[[TrainablePotential], bool],
    schedule: Schedule,
    target: float,
) -> TrainablePotential:
    """A model whose modes depend on designs only where `alike` needs it, the test of whether a simpler model will do.

    The transition scale stays. A refit stops at the `target` of the loss.
    """
    if not isinstance(model, TrainableDesign):
        return model
    first = model
    for groups in (*_dependences(model), *_parts(model), *_dependences(model)):  # some go only after others
        waiting, removal = groups, _Removal(model, train)
        while waiting := [group for group in waiting if removal.size(group)]:
            group = min(waiting, key=removal.cost)
            waiting = [other for other in waiting if other is not group]
            trial = removal.without(group)
            schedule.independent.run(trial, train, free_rho=False, target=target)
            if alike(trial):
                model, removal = trial, _Removal(trial, train)
    if model is first:
        return model
    refitted = copy_of(model)
    schedule.pruned.run(refitted, train, free_rho=False)
    return refitted if alike(refitted) else model


def _dependences(model: TrainableDesign) -> Iterator[list[Group]]:
    """Groups that are tried together, of all modes on each design first."""
    designs, modes = range(model.architecture.design), range(model.architecture.count)
    yield [_dependence(model, modes, [j]) for j in designs]
    yield [_dependence(model, [k], designs) for k in modes]
    yield [_dependence(model, [k], [j]) for k in modes for j in designs]


def _parts(model: TrainableDesign) -> Iterator[list[Group]]:
    """Groups of one kind of weights of a mode, and of its features."""
    designs, modes = range(model.architecture.design), range(model.architecture.count)
    yield [_columns(model, [k], [name], slice(1, None)) for k in modes for name in BY_DESIGN]
    yield [_columns(model, [k], BY_DESIGN, slice(1 + len(designs), None)) for k in modes]


def _dependence(model: TrainableDesign, modes: list[int] | range, designs: list[int] | range) -> Group:
    """Of some modes on some designs, by themselves and through the features."""
    group = _columns(model, modes, BY_DESIGN, [1 + j for j in designs])
    group["feature_weight"] = torch.zeros_like(model.feature_weight, dtype=torch.bool)
    for k in modes:
        group["feature_weight"][k][:, list(designs)] = True
    return group


def _columns(
    model: TrainableDesign, modes: list[int] | range, names: list[str] | tuple[str, ...], columns: slice | list[int]
) -> Group:
    """Of some modes the weights of some names by these entries of phi."""
    group = {name: torch.zeros_like(model.get_parameter(name), dtype=torch.bool) for name in names}
    for each in group.values():
        for k in modes:
            each[k][..., columns] = True
    return group


class _Removal:
    """What it costs to leave groups of weights out of a model, and the model without one."""

    def __init__(self, model: TrainableDesign, train: Loss) -> None:
        self._model, self._train = model, train
        self._names = [name for name, p in model.named_parameters() if name != "raw_rho"]
        self._theta = flat([model.get_parameter(name) for name in self._names])
        self._acts = torch.cat([model.mask(name).reshape(-1) for name in self._names]) > 0.0
        self._inverse = damped_inverse(normal_equations(model, train, self._names)[0])

    def _entries(self, group: Group) -> Tensor:
        """The weights of a group that act."""
        masks = [group.get(name, torch.zeros_like(self._model.mask(name), dtype=torch.bool)) for name in self._names]
        return torch.nonzero(torch.cat([mask.reshape(-1) for mask in masks]) & self._acts)[:, 0]

    def size(self, group: Group) -> int:
        """How many weights of a group act."""
        return len(self._entries(group))

    def cost(self, group: Group) -> float:
        """About what the loss rises by; inf where it is not known."""
        entries = self._entries(group)
        step = self._forces(entries)
        return float("inf") if step is None else float(self._theta[entries] @ step)

    def _forces(self, entries: Tensor) -> Tensor | None:
        """(A^-1[G, G])^-1 theta_G."""
        if self._inverse is None:
            return None
        solution, failed = torch.linalg.solve_ex(self._inverse[entries][:, entries], self._theta[entries])
        return None if failed else solution

    def without(self, group: Group) -> TrainableDesign:
        """The model without a group: the better one of others that move along, and of others that stay."""
        entries = self._entries(group)
        trials, forces = [self._at_mean(group)], self._forces(entries)
        if forces is not None and self._inverse is not None:
            trials.append(copy_of(self._model))
            moved = self._theta - self._inverse[:, entries] @ forces
            vector_to_parameters(moved, [trials[1].get_parameter(name) for name in self._names])
        for trial in trials:
            trial.leave_out(group)
        with torch.no_grad():
            losses = torch.stack([self._train(trial) for trial in trials]).nan_to_num(torch.inf)
        return trials[int(losses.argmin())]

    def _at_mean(self, group: Group) -> TrainableDesign:
        """A copy whose weights by 1 take up what the group has in the mean."""
        trial = copy_of(self._model)
        with torch.no_grad():
            phi = trial.features(self._train.inputs).mean(1)
            for name in BY_DESIGN:
                if name in group:
                    parameter = trial.get_parameter(name)
                    along = phi.reshape(len(phi), *(1,) * (parameter.ndim - 2), -1)
                    parameter[..., 0] += (parameter * group[name] * trial.mask(name) * along).sum(-1)
        return trial
