"""How well does a fit meet load paths that it has not seen? Lattice cells of other people, beside networks of the same size.

`unseen_paths.py FOLDER` takes the folder with lattice_bcc_train.csv, lattice_bcc_test.csv, lattice_x_train.csv and
lattice_parametric.npz (CPShub/sim-data, CC BY 4.0; Fernandez et al. 2020, Klein et al. 2022). BCC: fitted to five paths, judged
on three others. X: each path of the file is left out in turn. Parametric: every tenth cell is fitted to twelve of its sixteen
paths and judged on four, which are drawn. Without a folder a cell is made up: beams along <111> and <100>, stiff in tension and
soft in compression.

Methods: the shape that `lse.fit.select` takes by leaving paths out (with --quick only if it is named); sums over fibres and of
the volume, in one mode and in two; the best of five short fits of two modes of linear growth (softplus, no quadratic term), and
one longer fit; two modes as they are by default; a single convex network; and a plain network (neither convex nor a soft
minimum) of as many weights. "cubic" methods know the symmetry.

One line of JSON: {cell: {method: {path: relative RMS of P, "all": of all unseen paths together, "train": of those seen}}},
medians of the seeds. "worst" is the worst seed of "all"; "predicted" is what leave_one_group_out expects of two fibre modes.
"parametric" has for each method the median of "all" over the cells, with the first seed.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import finish

import lse_material as lse
from lse_material.fit import Architecture, DataWarning, Training, fit, fit_ensemble, leave_one_group_out, select
from lse_material.model.strain import mandel

Array = np.ndarray
Stress = Callable[[Array], Array]
Method = Callable[[lse.Samples, int], Stress]
CUBIC = lse.Symmetry.crystal("cubic", "cubic", dim=3)
STRAIN, STRAIN_AND_VOLUME = lse.GreenLagrange(dim=3), lse.StrainAndVolume(dim=3)


# beams pull with a force that stays finite: modes that grow no faster than E are better guesses beyond the data
LINEAR = Architecture(modes=2, width=12, activation="softplus", quadratic=False)


# longer fits follow the flaws of the data on the paths, and move between them
SHORT = Training(restarts=1, adam_steps=100, lbfgs_steps=300, validation=0.0)
MEMBERS = 5
FIBRES = {modes: Architecture(modes=modes, width=12, mode_type="FibreNetwork") for modes in (1, 2)}


def best_of(members: int, training: Training, architecture: Architecture) -> Method:
    """The best of several fits with cubic symmetry."""

    def method(samples: lse.Samples, seed: int) -> Stress:
        choices = options(training, CUBIC, architecture)
        return fit_ensemble(samples, members=members, seed=members * seed, **choices).material.stress

    return method


def fitted(
    training: Training, symmetry: lse.Symmetry | None, architecture: Architecture, strain: lse.StrainMeasure = STRAIN
) -> Method:
    """What the package does."""

    def method(samples: lse.Samples, seed: int) -> Stress:
        return fit(samples, seed=seed, **options(training, symmetry, architecture, strain)).material.stress

    return method


def options(
    training: Training, symmetry: lse.Symmetry | None, architecture: Architecture, strain: lse.StrainMeasure = STRAIN
) -> dict[str, Any]:
    """Of `fit`."""
    return {
        "kinematics": strain,
        "symmetry": symmetry,
        "architecture": architecture,
        "training": training,
        "progress": False,
    }


def selected(samples: lse.Samples, seed: int) -> Stress:
    """The shape that `lse.fit.select` takes."""
    selection = select(samples, symmetry=CUBIC, seed=MEMBERS * seed, members=MEMBERS, progress=False)
    print(selection.summary(), file=sys.stderr)
    return selection.material.stress


def plain(steps: int, group: Array, width: int = 24) -> Method:
    """A network of one hidden layer, W = mean over the group of w.softplus(V A E + b), fitted to energies and stresses."""

    def method(samples: lse.Samples, seed: int) -> Stress:
        torch.manual_seed(seed)
        F = samples.F
        scale, size = STRAIN.strain(F).std(), np.sqrt((samples.stress**2).mean())
        level, turns = samples.energy.std(), torch.tensor(group)
        hidden, last = torch.nn.Linear(6, width).double(), torch.nn.Linear(width, 1).double()

        def energy_and_stress(F: Array) -> tuple[torch.Tensor, torch.Tensor]:
            x = torch.tensor(STRAIN.strain(F) / scale, requires_grad=True)
            images = torch.einsum("gij,nj->gni", turns, x)
            W = last(torch.nn.functional.softplus(2.0 * hidden(images)))[..., 0].mean(0)
            (gradient,) = torch.autograd.grad(W.sum(), x, create_graph=True)
            D = torch.tensor(STRAIN.derivative(F) / scale)
            return W, torch.einsum("nd,ndij->nij", gradient, D) * level / size

        W, P = torch.tensor(samples.energy / level), torch.tensor(samples.stress / size)
        parameters = [*hidden.parameters(), *last.parameters()]
        optimiser = torch.optim.LBFGS(parameters, max_iter=steps, history_size=30, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            optimiser.zero_grad()
            energy, stress = energy_and_stress(F)
            loss = ((energy - W) ** 2).mean() + ((stress - P) ** 2).mean()
            loss.backward()
            return loss

        optimiser.step(closure)
        return lambda F: energy_and_stress(F)[1].detach().numpy() * size

    return method


def relative(stress: Stress, samples: lse.Samples) -> dict[str, float]:
    """Relative RMS error of P on each path, and on all together."""
    wrong, known = ((stress(samples.F) - samples.stress) ** 2).sum((1, 2)), (samples.stress**2).sum((1, 2))
    parts = {str(name): samples.group == name for name in dict.fromkeys(samples.group.tolist())}
    parts["all"] = np.ones(len(samples), dtype=bool)
    return {name: float(np.sqrt(wrong[part].sum() / known[part].sum())) for name, part in parts.items()}


def unseen(method: Method, train: lse.Samples, test: lse.Samples, seeds: int) -> dict[str, float]:
    """Medians over the seeds of the errors on the test paths."""
    found = []
    for seed in range(seeds):
        stress = method(train, seed)
        found.append({**relative(stress, test), "train": relative(stress, train)["all"]})
        print({name: round(error, 4) for name, error in found[-1].items()}, file=sys.stderr, flush=True)
    medians = {name: float(np.median([errors[name] for errors in found])) for name in found[0]}
    return {**medians, "worst": max(errors["all"] for errors in found)}


def left_out(method: Method, samples: lse.Samples) -> dict[str, float]:
    """Each path met by a fit to the others; "all" of them together."""
    wrong, size, found = 0.0, 0.0, {}
    for name in dict.fromkeys(samples.group.tolist()):
        part = samples.group == name
        test = samples.take(np.flatnonzero(part))
        found[str(name)] = relative(method(samples.take(np.flatnonzero(~part)), 0), test)["all"]
        square = float((test.stress**2).sum())
        wrong, size = wrong + found[str(name)] ** 2 * square, size + square
    return {**found, "all": float(np.sqrt(wrong / size))}


def made_up(names: list[str], rows: int) -> lse.Samples:
    """Paths of a cell of beams: W = sum over directions n of f(n.E n), f'' falling from 1 to 0.2 under compression."""
    directions = [n for n in itertools.product((1.0, -1.0), repeat=3) if n[0] > 0.0] + [*np.eye(3)]
    beams = mandel(np.stack([np.outer(n, n) / np.dot(n, n) for n in directions]))

    def energy(x: Array) -> Array:
        s = x @ beams.T
        return 0.1 * s**2 + 0.4 * (0.5 * s * np.sqrt(s**2 + 0.01) + 0.5 * s**2)

    def slope(x: Array) -> Array:
        s = x @ beams.T
        return 0.2 * s + 0.4 * (0.5 * (2.0 * s**2 + 0.01) / np.sqrt(s**2 + 0.01) + s)

    t = np.linspace(-0.25, 0.35, rows)[:, None, None]
    ways = {
        "uniaxial": np.diag([1.0, -0.2, -0.2]),
        "biaxial": np.diag([1.0, 1.0, -0.4]),
        "planar": np.diag([1.0, 0.0, -0.3]),
        "volumetric": np.eye(3),
        "shear": np.outer([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
        "test1": np.diag([1.0, 0.5, -0.4]),
        "test2": np.diag([1.0, -0.2, -0.1]) + 0.6 * np.outer([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
    }
    F = np.concatenate([np.eye(3) + t * ways[name] for name in names])
    x = STRAIN.strain(F)
    P = np.einsum("nd,ndij->nij", slope(x) @ beams, STRAIN.derivative(F))
    return lse.Samples(F=F, energy=energy(x).sum(1), stress=P, group=np.repeat(names, rows))


def cells(folder: Path | None, thin: int) -> Iterator[tuple[str, lse.Samples, lse.Samples | None]]:
    """Name, paths to fit, and paths to judge (None: each in turn)."""
    if folder is None:
        yield (
            "made_up",
            made_up(["uniaxial", "biaxial", "planar", "volumetric", "shear"], 40),
            made_up(["test1", "test2"], 40),
        )
        return
    for name, test in (("bcc", "lattice_bcc_test.csv"), ("x", None)):
        train = lse.read_samples(folder / f"lattice_{name}_train.csv")
        judged = None if test is None else lse.read_samples(folder / test)
        yield name, train.take(np.arange(0, len(train), thin)), judged


def parametric_cells(folder: Path, thin: int) -> Iterator[tuple[lse.Samples, lse.Samples]]:
    """Paths to fit and paths to judge, of every tenth cell."""
    table = np.load(folder / "lattice_parametric.npz")
    for number in np.unique(table["cell"])[::10]:
        rows = np.flatnonzero(table["cell"] == number)[::thin]
        F, stress = (table[name][rows].reshape(-1, 3, 3).astype(float) for name in ("F", "stress"))
        group = table["scenario"][rows].astype(str)
        samples = lse.Samples(F=F, energy=table["energy"][rows].astype(float), stress=stress, group=group)
        judged = np.isin(group, np.random.default_rng(int(number)).permutation(np.unique(group))[:4])
        yield samples.take(np.flatnonzero(~judged)), samples.take(np.flatnonzero(judged))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="with the lattice_*.csv files")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--thin", type=int, default=3, help="take every so many rows to fit to")
    parser.add_argument("--cells", nargs="+", default=["made_up", "bcc", "x", "parametric"])
    parser.add_argument("--methods", nargs="+", help="those alone")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", DataWarning)
    seeds, steps = (1, 250) if args.quick else (args.seeds, 500)
    training = Training(restarts=1, adam_steps=steps, lbfgs_steps=steps)
    identity = np.eye(6)[None]
    methods: dict[str, Method] = {
        "fibres_cubic": fitted(SHORT, CUBIC, FIBRES[1], STRAIN_AND_VOLUME),
        "two_fibre_modes_cubic": fitted(SHORT, CUBIC, FIBRES[2], STRAIN_AND_VOLUME),
        "best_of_linear_cubic": best_of(2 if args.quick else MEMBERS, SHORT, LINEAR),
        "two_linear_modes_cubic": fitted(training, CUBIC, LINEAR),
        "two_modes_cubic": fitted(training, CUBIC, Architecture(modes=2)),
        "two_modes": fitted(training, None, Architecture(modes=2)),
        "one_mode_cubic": fitted(training, CUBIC, Architecture(modes=1)),
        "selected_cubic": selected,
        "plain_cubic": plain(2 * steps, CUBIC.group),
        "plain": plain(2 * steps, identity),
    }
    named = args.methods or [name for name in methods if not (args.quick and name == "selected_cubic")]
    methods = {name: method for name, method in methods.items() if name in named}
    table: dict[str, Any] = {}
    for cell, train, test in cells(args.folder, args.thin):
        if cell not in args.cells:
            continue
        table[cell] = {}
        for name, method in methods.items():
            print(cell, name, file=sys.stderr, flush=True)
            table[cell][name] = left_out(method, train) if test is None else unseen(method, train, test, seeds)
        if test is not None and "two_fibre_modes_cubic" in methods:
            of_fibres = options(SHORT, CUBIC, FIBRES[2], STRAIN_AND_VOLUME)
            table[cell]["predicted"] = leave_one_group_out(train, **of_fibres).expected
    if args.folder is not None and "parametric" in args.cells:
        errors = [
            {name: unseen(method, train, test, 1)["all"] for name, method in methods.items()}
            for train, test in parametric_cells(args.folder, args.thin)
        ]
        table["parametric"] = {name: float(np.median([of_cell[name] for of_cell in errors])) for name in methods}
    finish(table)
    made = table.get("made_up")
    if (
        made
        and {"two_modes_cubic", "two_modes"} <= set(made)
        and made["two_modes_cubic"]["all"] > made["two_modes"]["all"]
    ):
        sys.exit("the symmetry of the cell does not help on unseen paths")


if __name__ == "__main__":
    main()
