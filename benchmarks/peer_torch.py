"""The route that FEniCSx users would write today: torch.func over dolfinx_external_operator.

W(F) is a torch function of one deformation gradient; vmap(grad(W)) gives P and vmap(jacfwd(grad(W))) gives dP/dF, each
called by the evaluation loop of dolfinx_external_operator. `benchmarks/assembly.py` compares it with the routes of the
package; run by itself it prints microseconds per point of stress and tangent, and the ratios to the compiled
potential with the strain measure in NumPy (`lse_material.kernel.CompiledEvaluator`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from common import arguments, bars, best, finish, material, processor

import lse_material as lse
from lse_material.fit import TrainablePotential
from lse_material.kernel import CompiledEvaluator

torch.set_num_threads(1)


def torch_energy(law: lse.Material) -> Callable[[torch.Tensor], torch.Tensor]:
    """W of one F (dim, dim), for a material in Green-Lagrange strain."""
    p, dim = law.potential, law.dim
    model = TrainablePotential.from_potential(p).requires_grad_(False)
    shift, scale = torch.tensor(p.input_shift), torch.tensor(p.input_scale)
    pairs = [(0, 0), (1, 1), (0, 1)] if dim == 2 else [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    rows, columns = torch.tensor(pairs).T
    factor = torch.tensor([1.0 if a == b else 2.0**0.5 for a, b in pairs], dtype=torch.float64)
    one = torch.eye(dim, dtype=torch.float64)

    def energy(F: torch.Tensor) -> torch.Tensor:
        E = (F.T @ F - one) / 2
        x = (E[rows, columns] * factor - shift) / scale
        return p.energy_scale * model(x[None])[0][0] + p.energy_shift

    return energy


def functions(law: lse.Material) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """P and dP/dF of F (n, dim, dim), as arrays."""
    P = torch.func.grad(torch_energy(law))
    stress, tangent = torch.func.vmap(P), torch.func.vmap(torch.func.jacfwd(P))
    return lambda F: stress(torch.from_numpy(F)).numpy(), lambda F: tangent(torch.from_numpy(F)).numpy()


def compare(name: str, dim: int, n: int) -> dict[str, float]:
    """Microseconds per point of this route, and how many times the compiled potential with the strain in NumPy."""
    law = material(name, dim)
    F = np.eye(dim) + 0.1 * np.random.default_rng(0).normal(size=(n, dim, dim))
    stress, tangent = functions(law)
    compiled = CompiledEvaluator(law)
    values = compiled.evaluate(F)
    P, A = values.stress, values.tangent
    assert np.abs(P - stress(F)).max() < 1e-11 * np.abs(P).max()
    assert np.abs(A - tangent(F)).max() < 1e-10 * np.abs(A).max()
    torch_stress, torch_tangent = best(lambda: stress(F)) / n, best(lambda: tangent(F)) / n
    kernel = best(lambda: compiled.evaluate(F).tangent) / n
    return {
        "stress_us": torch_stress * 1e6,
        "tangent_us": torch_tangent * 1e6,
        "vs_kernel": (torch_stress + torch_tangent) / kernel,
    }


def main() -> None:
    options = arguments(__doc__)
    names, n = (["N1"], 500) if options.quick else (["N1", "N2", "N3"], 2000)
    figures = {name: {f"{dim}d": compare(name, dim, n) for dim in (2, 3)} for name in names}
    if options.plot:
        table = {name: {dim: values["vs_kernel"] for dim, values in rows.items()} for name, rows in figures.items()}
        bars(options.plot, table, "times the compiled kernel", f"torch.func, {processor()}")
    finish({**figures, "cpu": processor()})


if __name__ == "__main__":
    main()
