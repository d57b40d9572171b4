"""W, gradient and Hessian of a potential per point: the compiled kernel against torch, and against this CPU's peak.

vs_torch_hessian   torch.func: energy, vmap(grad) and vmap(hessian), as one would write it first
vs_torch_closed    the closed forms, batched over points in torch
peak_share         multiply-adds that the formula needs, over those that a loop of fused multiply-adds in registers does
                   in the same time (both measured here, one thread)
max_rel_error      of W, gradient and Hessian against the NumPy floor
"""

from __future__ import annotations

import ctypes
import itertools
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import SIZES, arguments, bars, best, finish, material, potential, processor
from peer_torch import torch_energy

import lse_material as lse
from lse_material.fit import TrainablePotential
from lse_material.kernel import CompiledEvaluator, CompiledPotential
from lse_material.kernel.compiler import compiler

torch.set_num_threads(1)

PEAK = """
typedef double vec __attribute__((vector_size(8 * LANES)));
double peak(long n) {
  vec a[24], b, c;
  for (int k = 0; k < LANES; k++) { b[k] = 0.999999; c[k] = 1e-6; }
  for (int j = 0; j < 24; j++) for (int k = 0; k < LANES; k++) a[j][k] = j + k;
  for (long i = 0; i < n; i++) {
#pragma GCC unroll 24
    for (int j = 0; j < 24; j++) a[j] = a[j] * b + c;
  }
  double s = 0; for (int j = 0; j < 24; j++) for (int k = 0; k < LANES; k++) s += a[j][k];
  return s;
}
"""


def peak() -> float:
    """Multiply-adds per second of one core, in registers."""
    chosen = compiler()
    text = PEAK if chosen.registers >= 32 else PEAK.replace("24", "12")
    with tempfile.TemporaryDirectory() as directory:
        source, library = Path(directory) / "peak.c", Path(directory) / "peak.so"
        source.write_text(text)
        flags = ["-O3", "-ffp-contract=fast", "-fPIC", "-shared", f"-DLANES={chosen.lanes}"]
        subprocess.run([*chosen.command, *flags, str(source), "-o", str(library)], check=True)
        function = ctypes.CDLL(str(library)).peak
        function.argtypes, function.restype = [ctypes.c_long], ctypes.c_double
        n = 2_000_000
        return n * chosen.lanes * (24 if chosen.registers >= 32 else 12) / best(lambda: function(n))


def multiply_adds(p: lse.SoftMinimum) -> int:
    """Of W, gradient and Hessian at a point: forward, reverse, Jacobian of each layer, and one outer product per neuron."""
    d, total = p.size, 0
    h = d * (d + 1) // 2
    for mode in p.modes:
        widths = [w.shape[0] for w in mode.x_weights[:-1]]
        between = sum(m * n for m, n in itertools.pairwise(widths))
        neurons = sum(widths)
        total += 2 * (neurons * d + between) + between * d + neurons * h
    return total


def torch_closed(model: TrainablePotential, x: torch.Tensor) -> Any:
    """The closed forms, batched: Hessian of each mode by a forward Jacobian and weighted outer products."""
    z_weights = [torch.nn.functional.softplus(raw) for raw in model.raw_z_weights]
    last = len(model.x_weights) - 1
    z, J, slopes, curvatures, jacobians = None, None, [], [], []
    for i in range(last):
        weight = model.x_weights[i]
        a = x @ weight.transpose(1, 2) + model.biases[i].unsqueeze(1)
        Ja = weight.unsqueeze(1)
        if z is not None:
            a = a + z @ z_weights[i - 1].transpose(1, 2)
            Ja = Ja + z_weights[i - 1].unsqueeze(1) @ J
        s = torch.sigmoid(a)
        z, slope, curvature = torch.nn.functional.softplus(a), s, s * (1 - s)
        J = slope.unsqueeze(3) * Ja
        slopes.append(slope)
        curvatures.append(curvature)
        jacobians.append(Ja)
    energy = (z @ z_weights[-1].transpose(1, 2)).squeeze(2) + (x @ model.x_weights[last].transpose(1, 2)).squeeze(2)
    energy = energy + model.biases[last]
    above = z_weights[-1].expand(-1, len(x), -1)
    gradient = model.x_weights[last].expand(-1, len(x), -1)
    Q = model.quadratic.transpose(1, 2) @ model.quadratic
    hessian = Q.unsqueeze(1).expand(-1, len(x), -1, -1)
    for i in range(last - 1, -1, -1):
        c = above * curvatures[i]
        hessian = hessian + jacobians[i].transpose(2, 3) @ (c.unsqueeze(3) * jacobians[i])
        t = above * slopes[i]
        gradient = gradient + t @ model.x_weights[i]
        if i:
            above = t @ z_weights[i - 1]
    energy, gradient = energy + 0.5 * ((x @ Q) * x).sum(2), gradient + x @ Q
    rho = model.scaled_rho
    w = torch.softmax(-energy / rho, 0)
    G = (w.unsqueeze(2) * gradient).sum(0)
    e = gradient - G
    H = (w[..., None, None] * (hessian - e.unsqueeze(3) * e.unsqueeze(2) / rho)).sum(0)
    return -rho * torch.logsumexp(-energy / rho, 0), G, H


def compare(name: str, d: int, n: int, speed: float) -> dict[str, float]:
    """One network in d inputs."""
    p = potential(name, d)
    rng = np.random.default_rng(1)
    x = p.input_scale * rng.normal(size=(n, d))
    kernel, model = CompiledPotential(p), TrainablePotential.from_potential(p).requires_grad_(False)
    W, g, H = np.empty(n), np.empty((n, d)), np.empty((n, d * (d + 1) // 2))
    xh = torch.tensor((x - p.input_shift) / p.input_scale)
    seconds = best(lambda: kernel.energy_gradient_hessian(x, W, g, H), 1.0) / n
    few = xh[: max(200, n // 20)]
    closed = best(lambda: torch_closed(model, few)) / len(few)
    upper = np.triu_indices(d)
    exact = p.energy(x), p.gradient(x), p.hessian(x)[:, upper[0], upper[1]]
    errors = [np.abs(got - e).max() / np.abs(e).max() for got, e in zip((W, g, H), exact, strict=True)]
    scale = p.energy_scale / np.outer(p.input_scale, p.input_scale)
    peer = torch_closed(model, few)[2].numpy() * scale  # it computes the same
    assert np.abs(peer - p.hessian(x[: len(few)])).max() < 1e-10 * np.abs(exact[2]).max()
    return {
        "us_per_point": seconds * 1e6,
        "vs_torch_hessian": in_deformation_gradient(name, 2 if d == 3 else 3, n),
        "vs_torch_closed": closed / seconds,
        "peak_share": multiply_adds(p) / seconds / speed,
        "max_rel_error": float(max(errors)),
    }


def in_deformation_gradient(name: str, dim: int, n: int) -> float:
    """Time of torch.func.vmap(hessian) of W(F), over that of dP/dF by the compiled potential and the strain in NumPy."""
    law = material(name, dim)
    F = np.eye(dim) + 0.1 * np.random.default_rng(2).normal(size=(n, dim, dim))
    kernel = CompiledEvaluator(law)
    A = kernel.evaluate(F).tangent
    seconds = best(lambda: kernel.evaluate(F).tangent, 1.0) / n
    hessian = torch.func.vmap(torch.func.hessian(torch_energy(law)))
    few = torch.from_numpy(F[: max(200, n // 20)])
    assert np.abs(hessian(few).numpy() - A[: len(few)]).max() < 1e-10 * np.abs(A).max()
    return best(lambda: hessian(few)) / len(few) / seconds


def main() -> None:
    options = arguments(__doc__)
    speed, figures = peak(), {}
    for name in ["N1"] if options.quick else SIZES:
        if name == "N4":
            continue
        n = 2_000 if options.quick else 20_000
        figures[name] = {f"d{d}": compare(name, d, n, speed) for d in (3, 6)}
        print(name, figures[name], flush=True)
    if options.plot:
        keys = ("vs_torch_hessian", "vs_torch_closed")
        table = {f"{n} {d}": {k: v[k] for k in keys} for n, rows in figures.items() for d, v in rows.items()}
        bars(options.plot, table, "times faster", f"W, gradient and Hessian per point, {processor()}", log=True)
    finish({**figures, "peak_gflops": 2e-9 * speed, "cpu": processor()})


if __name__ == "__main__":
    main()
