"""One material W(F; t1, t2, t3) of many lattice cells: whole cells are left out of the fit, and their stresses predicted.

The file has `F` (n, 9), `stress` P (n, 9), `energy` (n,), `cell` (n,), and `parameters` (cells, 4) = E, t1, t2, t3 of every
cell: the parametric beam lattices of CPShub/sim-data (CC BY 4.0), of which nothing is part of this project.

test             relative RMS of P on the cells left out, for each draw of them: of one soft minimum of the modes of fits from
                 several random starts, fitted to the mean of these, also at designs between those of the cells
parabola         the same of a parabola in the squares of t1, t2, t3 for each row of the load paths by itself, which knows
                 nothing between the rows: what the cells' own scatter leaves
jointly_convex   the same of one mode that is convex in t1, t2, t3 and the strain together
plain_network    the same of a network of the same inputs, with gradient, that is convex in nothing
seconds          of each fit, by this process
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import finish, processor

import lse_material as lse
from lse_material.fit import Architecture, Design, FitResult, Training, fit, fit_ensemble

NAMES, LEFT_OUT = ("t1", "t2", "t3"), 10
LBFGS_STEPS, LAST_STEPS = 500, 60  # of a member, and of the members joined
ENERGIES = 0.01  # their weight: the work of the stresses says nothing more, and the stiffest cells' is nearly all of it


def samples(data: dict[str, Any], cells: Any, every: int) -> lse.Samples:
    """The rows of some cells, one in `every`."""
    rows = np.flatnonzero(np.isin(data["cell"], cells))[::every]
    F, P, W = (np.asarray(data[name][rows], dtype=float) for name in ("F", "stress", "energy"))
    cell = data["cell"][rows]
    parameters = data["parameters"][cell, 1:]
    return lse.Samples(
        F=F.reshape(-1, 3, 3), energy=W, stress=P.reshape(-1, 3, 3), fields=parameters, field_names=NAMES, group=cell
    )


def relative(stress: Any, data: lse.Samples) -> float:
    """Relative RMS error of a stress."""
    assert data.stress is not None
    return float(np.linalg.norm(stress - data.stress) / np.linalg.norm(data.stress))


def soft_minimum(train: lse.Samples, test: lse.Samples, architecture: Architecture, options: Any) -> float:
    """The error of members whose modes depend on the design, joined and fitted to their mean."""
    training = Training(restarts=1, learning_rate=0.02, lbfgs_steps=LBFGS_STEPS, validation=0.0, energy_weight=ENERGIES)
    training = replace(training, adam_steps=options.steps, rows=2 * len(train), batch=512)
    shared: dict[str, Any] = {"kinematics": lse.GreenLagrange(3), "progress": False}
    shared["parameters"] = {name: Design() for name in NAMES}
    own: dict[str, Any] = {"architecture": architecture, "training": training, "seed": 10 * options.seed}
    ensemble = fit_ensemble(train, members=options.members, **own, **shared)
    print("members", [round(relative(r.material.stress(test.F, test.fields), test), 4) for r in ensemble.results])
    last = replace(training, adam_steps=0, lbfgs_steps=LAST_STEPS)
    return error_of(fit(ensemble.averaged(train), start=ensemble.joined(), training=last, **shared), test)


def jointly_convex(train: lse.Samples, test: lse.Samples, options: Any) -> float:
    """The error of one mode that is convex in the design and the strain."""
    training = Training(restarts=1, adam_steps=3 * options.steps, learning_rate=0.02, lbfgs_steps=300, validation=0.0)
    training = replace(training, energy_weight=ENERGIES)
    architecture = Architecture(1, options.modes * options.width)
    measure, training = lse.GreenLagrange(3), replace(training, rows=len(train), batch=512)
    result = fit(train, kinematics=measure, architecture=architecture, training=training, progress=False)
    return error_of(result, test)


def error_of(result: FitResult, test: lse.Samples) -> float:
    """Of cells left out; that of the rows fitted is printed."""
    assert result.train_errors.stress is not None
    print("rows fitted", round(result.train_errors.stress, 4), flush=True)
    return relative(result.material.stress(test.F, test.fields), test)


def plain_network(train: lse.Samples, test: lse.Samples, options: Any) -> float:
    """The error of W = N(E, t), two hidden layers of 4 `width` neurons, by Adam and L-BFGS on the same rows."""
    measure, torch_of = lse.GreenLagrange(3), torch.tensor
    torch.manual_seed(options.seed)
    n = 4 * options.width
    layers = [torch.nn.Linear(a, b, dtype=torch.float64) for a, b in ((9, n), (n, n), (n, 1))]
    network = torch.nn.Sequential(layers[0], torch.nn.Softplus(), layers[1], torch.nn.Softplus(), layers[2])
    assert train.stress is not None
    assert train.energy is not None
    x = train.inputs(measure)
    shift, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 0.1 * x[:, 3:].std(axis=0).max())
    unit, size = train.energy.std(), np.sqrt((train.stress**2).mean())

    def response(data: lse.Samples) -> Callable[[], tuple[Any, Any]]:
        assert data.F is not None
        at = torch_of((data.inputs(measure) - shift) / scale, requires_grad=True)
        derivative = torch_of(measure.derivative(data.F).reshape(len(data), 6, 9) / scale[3:, None] * unit / size)

        def values() -> tuple[Any, Any]:
            W = network(at)[:, 0]
            (g,) = torch.autograd.grad(W.sum(), at, create_graph=True)
            return W, (g[:, None, 3:] @ derivative)[:, 0]

        return values

    rng, everything = np.random.default_rng(options.seed), np.arange(len(train))
    adam = torch.optim.Adam(network.parameters(), lr=3e-3)
    second = torch.optim.LBFGS(network.parameters(), max_iter=300, history_size=30, line_search_fn="strong_wolfe")

    def loss_of(rows: Any) -> Callable[[], Any]:
        some = train.take(rows)
        assert some.stress is not None
        assert some.energy is not None
        values, W, P = response(some), torch_of(some.energy / unit), torch_of(some.stress.reshape(-1, 9) / size)

        def loss() -> Any:
            network.zero_grad()
            energy, stress = values()
            value = ENERGIES * ((energy - W) ** 2).mean() + ((stress - P) ** 2).mean()
            value.backward()
            return value

        return loss

    for _ in range(0, 3 * options.steps, 10):  # ten steps on the same rows: to take them costs as much as a step
        loss = loss_of(rng.choice(everything, min(512, len(train)), replace=False))
        for _ in range(10):
            adam.step(loss)
    second.step(loss_of(everything))
    return relative(response(test)()[1].detach().numpy().reshape(-1, 3, 3) * size, test)


def parabola(data: dict[str, Any], inside: Any, left_out: Any) -> float:
    """The error of a + b.t^2 for each row of the paths by itself, of cells whose paths have the same rows."""
    stress = {
        cell: np.asarray(data["stress"][data["cell"] == cell], dtype=float).ravel() for cell in [*inside, *left_out]
    }
    if len({len(each) for each in stress.values()}) > 1:
        return float("nan")
    basis = {cell: np.append(1.0, data["parameters"][cell, 1:] ** 2) for cell in stress}
    of_inside = np.array([basis[cell] for cell in inside])
    weights = np.linalg.lstsq(of_inside, np.array([stress[cell] for cell in inside]), rcond=None)[0]
    exact = np.array([stress[cell] for cell in left_out])
    wrong = np.array([basis[cell] for cell in left_out]) @ weights - exact
    return float(np.linalg.norm(wrong) / np.linalg.norm(exact))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path, help="lattice_parametric.npz")
    parser.add_argument("--seed", type=int, default=0, help="of the first draw of cells, and of the fits")
    parser.add_argument("--draws", type=int, default=1, help="how many times ten cells are drawn")
    parser.add_argument("--every", type=int, default=10, help="one row in so many is fitted")
    parser.add_argument("--modes", type=int, default=2)
    parser.add_argument("--width", type=int, default=20)
    parser.add_argument("--members", type=int, default=6, help="fits that are joined")
    parser.add_argument("--steps", type=int, default=1000, help="of Adam")
    parser.add_argument("--baseline", action="store_true", help="fit a jointly convex mode and a plain network too")
    parser.add_argument("--quick", action="store_true", help="a small mode and few steps")
    options = parser.parse_args()
    if options.quick:
        options.modes, options.width, options.members, options.steps = 1, 2, 2, 150
    data = dict(np.load(options.file, allow_pickle=False))
    cells = np.unique(data["cell"])
    few = options.quick  # neurons, which need a quadratic term beside them
    shape = Architecture(options.modes, options.width, activation="softplus", quadratic=few, features=0)
    fits: dict[str, Callable[[Any, Any], float]] = {
        "test": lambda train, test: soft_minimum(train, test, shape, options)
    }
    if options.baseline:
        fits["jointly_convex"] = lambda train, test: jointly_convex(train, test, options)
        fits["plain_network"] = lambda train, test: plain_network(train, test, options)
    figures: dict[str, Any] = {"cells_left_out": LEFT_OUT, "parabola": []}
    for draw in range(options.seed, options.seed + options.draws):
        left_out = np.random.default_rng(draw).permutation(cells)[:LEFT_OUT]
        inside = np.setdiff1d(cells, left_out)
        train, test = samples(data, inside, options.every), samples(data, left_out, 1)
        figures["rows"] = len(train)
        figures["parabola"].append(parabola(data, inside, left_out))
        for name, error in fits.items():
            start = time.process_time()
            figures.setdefault(name, []).append(error(train, test))
            figures.setdefault(f"seconds_{name}", []).append(time.process_time() - start)
            print(draw, name, figures[name][-1], flush=True)
    finish({**figures, "cpu": processor()})


if __name__ == "__main__":
    main()
