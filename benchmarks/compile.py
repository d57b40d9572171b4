"""Seconds to compile residual and Jacobian from an empty cache: the compiled operator, plain UFL, stored values.

Each measurement is a process of its own with an empty cache; its start and imports are not counted. Plain UFL is measured
where it is of use (N1, and N2 in 2D) and null elsewhere, or beyond the time limit.

`two_variants_2d` is a material as a fit leaves it: both variants of a square-to-rectangle martensite, found and pruned from
demos/data/martensite.csv; with its weights and errors over those without pruning.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import SIZES, arguments, bars, finish, processor

LIMIT = 120.0  # seconds
DATA = Path(__file__).parents[1] / "demos" / "data" / "martensite.csv"

SCRIPT = """
import sys, time
sys.path.insert(0, {here!r})
import ufl
from common import material
from dolfinx import fem, mesh
from mpi4py import MPI
import lse_material as lse

dim, name, route = {dim}, {name!r}, {route!r}
law = lse.load(name) if name.endswith(".safetensors") else material(name, dim)
domain = (mesh.create_unit_square if dim == 2 else mesh.create_unit_cube)(MPI.COMM_SELF, *(2,) * dim)
V = fem.functionspace(domain, ("Lagrange", 1, (dim,)))
u, v, w = fem.Function(V), ufl.TestFunction(V), ufl.TrialFunction(V)
F, dx = ufl.Identity(dim) + ufl.grad(u), ufl.dx(degree=2)
lse.fem  # loaded when first named, which is none of the compiling
t = time.perf_counter()
if route == "stored":
    P = lse.fem.QuadratureStress(law, F, degree=2)
    lse.fem.MaterialProblem(ufl.inner(P.operator, ufl.grad(v)) * P.dx, u, stresses=[P], petsc_options_prefix="c_")
    P.update_tangent()
else:
    residual = ufl.derivative(lse.fem.energy(law, F, expanded=route == "expanded") * dx, u, v)
    fem.form(residual), fem.form(ufl.derivative(residual, u, w))
print(time.perf_counter() - t)
"""


def seconds(name: str, dim: int, route: str) -> float | None:
    """Wall seconds in a fresh process with an empty cache; None beyond the limit."""
    script = SCRIPT.format(here=str(Path(__file__).parent), dim=dim, name=name, route=route)
    with tempfile.TemporaryDirectory() as cache:
        try:
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", script],
                env={**os.environ, "XDG_CACHE_HOME": cache},
                capture_output=True,
                text=True,
                check=True,
                timeout=LIMIT,
            )
        except subprocess.TimeoutExpired:
            return None
    return float(done.stdout.split()[-1])


def two_variants(file: Path) -> dict[str, float]:
    """Fit and save the material; weights that are not zero, and errors on fresh rows, over those without pruning."""
    import lse_material as lse
    from lse_material import Symmetry
    from lse_material.fit import Architecture, Sparsity, fit

    train, test = lse.read_samples(DATA).split(0.8, seed=0)
    options = {"kinematics": lse.GreenLagrange(2), "symmetry": Symmetry.crystal("square", "rectangle", dim=2)}
    auto = Architecture(modes="auto", max_modes=3)
    pruned, whole = (
        fit(train, architecture=auto, sparsity=Sparsity(prune=factor), progress=False, **options)
        for factor in (1.5, 1.0)
    )
    lse.save(pruned.material, file)
    weights = [sum(mode.active_parameters for mode in result.potential.modes) for result in (pruned, whole)]
    errors = [result.error(test) for result in (pruned, whole)]
    return {
        "modes": len(pruned.potential.modes),
        "weights": weights[0],
        "weights_share": weights[0] / weights[1],
        "energy_error": errors[0].energy,
        "energy_error_ratio": errors[0].energy / errors[1].energy,
        "stress_error": errors[0].stress,
        "stress_error_ratio": errors[0].stress / errors[1].stress,
    }


def main() -> None:
    options = arguments(__doc__)
    figures: dict[str, Any] = {}
    for name in ["N1"] if options.quick else SIZES:
        for dim in (2,) if options.quick else (2, 3):
            row = {"form_operator_s": seconds(name, dim, "operator"), "stored_s": seconds(name, dim, "stored")}
            small = name == "N1" or (name, dim) == ("N2", 2)
            row["expanded_s"] = seconds(name, dim, "expanded") if small and not options.quick else None
            figures[f"{name}_{dim}d"] = row
            print(name, dim, row, flush=True)
    if not options.quick:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "variants.safetensors"
            row = two_variants(file)
            routes = {"form_operator": "operator", "stored": "stored", "expanded": "expanded"}
            row |= {f"{name}_s": seconds(str(file), 2, route) for name, route in routes.items()}
        figures["two_variants_2d"] = row
        print("two variants", row, flush=True)
    if options.plot:
        table = {key: {k: v or 0.0 for k, v in row.items() if k.endswith("_s")} for key, row in figures.items()}
        bars(options.plot, table, "seconds", f"Cold compilation of residual + Jacobian, {processor()}")
    finish({**figures, "limit_s": LIMIT, "cpu": processor()})


if __name__ == "__main__":
    main()
