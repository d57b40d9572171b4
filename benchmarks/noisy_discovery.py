"""Does a discovery find nothing where there is nothing, and the wells that noise does not hide? 20 data sets, none may fail.

Twelve are pure noise: energies, gradients, or both, of 100 rows in 1D and 2D, two seeds of each. Four have the energies of
two wells and gradients that are pure noise. Four have two wells in both under noise of 10 and 30 %.

One line of JSON: {kind: {found: modes of each, useless: how many the fit calls so, seconds}}, and failed, the number of
exceptions.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from common import finish

import lse_material as lse

QUICK = 3  # data sets of the short form
ROWS = 100


def two_wells(d: int) -> lse.SoftMinimum:
    """Quadratic wells at +-1 along the first axis."""
    modes = [
        lse.ConvexNetwork.from_arrays([], [[[-c, *[0.0] * (d - 1)]]], [[0.5]], quadratic=np.eye(d)) for c in (-1.0, 1.0)
    ]
    return lse.SoftMinimum(tuple(modes), 0.05)


def data_sets() -> Iterator[tuple[str, lse.Samples]]:
    """The kind and the rows of each."""
    for seed in range(2):
        for d in (1, 2):
            rng = np.random.default_rng(10 * seed + d)
            x, noise = rng.normal(size=(ROWS, d)), (rng.normal(size=ROWS), rng.normal(size=(ROWS, d)))
            yield "noise in energies", lse.Samples(x=x, energy=noise[0])
            yield "noise in gradients", lse.Samples(x=x, gradient=noise[1])
            yield "noise in both", lse.Samples(x=x, energy=noise[0], gradient=noise[1])
            W = two_wells(d)
            energy, gradient = W.energy(x), W.gradient(x)
            yield "two wells, gradients of noise", lse.Samples(x=x, energy=energy, gradient=gradient.std() * noise[1])
            size = (0.1, 0.3)[seed]
            noisy = energy + size * energy.std() * noise[0], gradient + size * gradient.std() * noise[1]
            yield "two wells under noise", lse.Samples(x=x, energy=noisy[0], gradient=noisy[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"the first {QUICK} only")
    options = parser.parse_args()
    warnings.simplefilter("ignore", lse.fit.DataWarning)
    table: dict[str, dict[str, Any]] = {}
    failed = 0
    for kind, samples in list(data_sets())[: QUICK if options.quick else None]:
        row = table.setdefault(kind, {"found": [], "useless": 0, "seconds": 0.0})
        start = time.perf_counter()
        try:
            result = lse.fit.fit(samples, architecture=lse.fit.Architecture(modes="auto"), progress=False)
        except Exception:  # any is what is counted here
            traceback.print_exc()
            failed += 1
            continue
        row["found"].append(len(result.potential.modes))
        row["useless"] += int(result.useless)
        row["seconds"] += time.perf_counter() - start
    right = all(found == 1 for kind, row in table.items() if kind.startswith("noise") for found in row["found"])
    finish({**table, "failed": failed})
    sys.exit(0 if right and not failed else 1)


if __name__ == "__main__":
    main()
