"""A temperature or a design among the inputs: what it costs, and how well fits meet what depends on a temperature.

at_temperature   W, gradient and Hessian per point where T is fixed (folded into the network), over the plain network
field            the same with T as an input, derivatives in T among the results, over the plain network
stored           residual and Jacobian on P1 triangles with T a function, by stored stresses, over the plain material
form_operator    the same by the compiled operator in the form
design           these four of a design with four features, in networks of as many neurons in one layer
both             these four of a temperature and such a design
modulus          relative error of P for E(T) e^2/2, E falling by half, between the temperatures of the data; and of a fit
                 whose modes are convex in T and e together
landau           a (T - T*) e^2/2 - b e^4/4 + c e^6/6 at six temperatures, over seeds: modes, worst error of the transition
                 temperature as a share of the range, of the latent heat and of the slope of the plateau stress of a bar with T
                 (Clausius-Clapeyron), seconds
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import ufl
from assembly import Body
from common import arguments, best, finish, material, potential, processor
from dolfinx import fem

import lse_material as lse
from lse_material.analysis import wells
from lse_material.fit import Architecture, Temperature, Training, fit
from lse_material.kernel import CompiledPotential

A, B, C = 1.0, 8.0, 20.0  # of the Landau energy, T* = 0
RANGE, TRANSITION = (0.2, 1.0), 3.0 * B**2 / (16.0 * A * C)


def of_temperature(plain: lse.SoftMinimum) -> lse.SoftMinimum:
    """The same networks, which double their output weights from T = 0 to 1."""
    modes = tuple(
        lse.InterpolatedNetwork(
            n,
            lse.ConvexNetwork(
                (*n.z_weights[:-1], 2.0 * n.z_weights[-1]), n.x_weights, n.biases, n.activation, n.quadratic
            ),
        )
        for n in plain.modes
    )
    shift, scale = np.append(0.0, plain.input_shift), np.append(1.0, plain.input_scale)
    return lse.SoftMinimum(modes, plain.scaled_rho, shift, scale)


def of_design(plain: lse.SoftMinimum) -> lse.SoftMinimum:
    """Networks of as many neurons in one layer, whose weights depend on a design between 0 and 1."""
    rng, n, d, q = np.random.default_rng(0), sum(map(len, plain.modes[0].biases[:-1])), plain.size, 6

    def mode() -> lse.DesignNetwork:
        shapes: dict[str, Any] = {"feature_weight": (4, 1), "feature_bias": 4, "x_weight": (n, d), "bias": (n, q)}
        shapes |= {"z_root": (n, q), "slope": (d, q), "level": q, "quadratic": (d, d, q)}
        random = {name: 0.1 * rng.normal(size=shape) for name, shape in shapes.items()}
        plain_mode = lse.DesignNetwork(**random, activation=plain.modes[0].activation)
        at = np.append(0.5, np.zeros(d))[None]
        random["level"][0] -= plain_mode.energy(at)[0]
        random["slope"][:, 0] -= plain_mode.gradient(at)[0, 1:]
        return lse.DesignNetwork(**random, activation=plain_mode.activation)

    modes = tuple(mode() for _ in plain.modes)
    return lse.SoftMinimum(
        modes, plain.scaled_rho, np.append(0.0, plain.input_shift), np.append(1.0, plain.input_scale)
    )


def of_both(plain: lse.SoftMinimum) -> lse.SoftMinimum:
    """The same, which double their output weights from T = 0 to 1."""
    p = of_design(plain)
    modes = tuple(lse.InterpolatedDesign(mode, replace(mode, z_root=np.sqrt(2.0) * mode.z_root)) for mode in p.modes)
    return replace(p, modes=modes, input_shift=np.append(0.0, p.input_shift), input_scale=np.append(1.0, p.input_scale))


def per_point(plain: lse.SoftMinimum, parametric: lse.SoftMinimum, seconds: float) -> dict[str, float]:
    """Times of the batch kernel where the parameters are fixed, and as fields, over that of the plain network."""
    n, d, rng = 4000, plain.size, np.random.default_rng(0)
    x, fields = 0.1 * rng.normal(size=(n, d)), parametric.size - d
    with_t = np.column_stack([rng.uniform(size=(n, fields)), x])
    cases = {"plain": (plain, x), "at": (parametric.at(np.full(fields, 0.3)), x), "field": (parametric, with_t)}
    calls = {}
    for name, (each, at) in cases.items():
        m = each.size
        compiled, outputs = CompiledPotential(each), [np.empty(n), np.empty((n, m)), np.empty((n, m * (m + 1) // 2))]
        assert np.allclose(compiled.hessian(at[:20]), each.hessian(at[:20]), rtol=1e-9, atol=1e-9)
        calls[name] = functools.partial(compiled.energy_gradient_hessian, np.ascontiguousarray(at), *outputs)
    times = dict.fromkeys(calls, np.inf)
    for _, (name, call) in itertools.product(range(3), calls.items()):  # in turn, for the machine may change its pace
        times[name] = min(times[name], best(call, seconds))
    return {name: times[name] / times["plain"] for name in ("at", "field")}


def assembled(plain: lse.Material, parametric: lse.SoftMinimum, quick: bool, seconds: float) -> dict[str, float]:
    """Times of residual and Jacobian on P1 triangles, over those of the plain material by the same route."""
    body = Body("tri_P1", quick)
    T = fem.Function(fem.functionspace(body.mesh, ("Lagrange", 1)))
    T.interpolate(lambda x: 0.2 + 0.5 * x[0])
    names = ("T", "porosity")[: parametric.size - plain.potential.size]
    warm = lse.Material(parametric, plain.kinematics, fields=names)
    result = {}
    for route in ("stored", "form_operator"):
        calls = []
        for law, fields in ((plain, []), (warm, [T] * len(names))):
            if route == "stored":
                P = lse.fem.QuadratureStress(law, body.F, fields=fields, degree=body.degree)
                form = ufl.inner(P.operator, ufl.grad(body.v)) * P.dx
                problem = lse.fem.MaterialProblem(form, body.u, stresses=[P], petsc_options_prefix="temperature_")
                calls.append(body.assembler(problem.F, problem.J, (P.update_tangent, P.update_tangent)))
            else:
                W = lse.fem.energy(law, body.F, fields=fields) * body.dx
                residual = ufl.derivative(W, body.u, body.v)
                calls.append(body.assembler(residual, ufl.derivative(residual, body.u, body.w)))
        times = [np.inf, np.inf]
        for _, k in itertools.product(range(3), range(2)):
            times[k] = min(times[k], best(calls[k], seconds, body.move))
        result[route] = times[1] / times[0]
    return result


def modulus(seed: int = 0) -> dict[str, float]:
    """Errors of stresses between the temperatures of the data."""
    rng = np.random.default_rng(seed)

    def samples(temperatures: tuple[float, ...]) -> lse.Samples:
        T, F = np.repeat(temperatures, 60), np.eye(2) + 0.1 * rng.uniform(-1.0, 1.0, (60 * len(temperatures), 2, 2))
        E, e = 2.0 - (T - 300.0) / 100.0, 0.5 * (F + np.swapaxes(F, 1, 2)) - np.eye(2)
        W = 0.5 * E * (e**2).sum(axis=(1, 2))
        return lse.Samples(F=F, energy=W, stress=E[:, None, None] * e, fields=T[:, None], field_names=("T",))

    data, test = samples((300.0, 325.0, 350.0, 375.0, 400.0)), samples((310.0, 360.0, 390.0))
    options: dict[str, Any] = {"kinematics": lse.SmallStrain(2), "progress": False}
    ours = fit(data, architecture=Architecture(1, depth=0), parameters={"T": Temperature()}, **options)
    convex = fit(data, architecture=Architecture(1), training=Training(restarts=1), **options)
    return {"temperature": ours.error(test).stress or 0.0, "jointly_convex": convex.error(test).stress or 0.0}


def landau_samples(seed: int) -> lse.Samples:
    """Energies and stresses at six temperatures, at random strains."""
    rng = np.random.default_rng(seed)
    T = np.repeat(np.linspace(*RANGE, 6), 60)
    e = rng.uniform(-0.8, 0.8, len(T))
    known = np.tile([False, True], (len(T), 1))
    W, slope = landau_energy(T, e), A * T * e - B * e**3 + C * e**5
    gradient = np.column_stack([np.zeros(len(T)), slope])
    return lse.Samples(x=np.column_stack([T, e]), energy=W, gradient=gradient, stress_known=known)


def landau_energy(T: Any, e: Any) -> Any:
    """W of temperature and strain."""
    return A * T * e**2 / 2 - B * e**4 / 4 + C * e**6 / 6


def plateau(energy: Callable[[Any], Any]) -> float:
    """The stress at which austenite and martensite of a bar are in equilibrium: both have the least W - stress e."""
    e = np.linspace(0.0, 0.8, 16_001)
    W, low, high = energy(e), 0.0, 2.0
    for _ in range(50):
        stress = 0.5 * (low + high)
        enthalpy = W - stress * e
        low, high = (stress, high) if enthalpy[e < 0.3].min() < enthalpy[e > 0.3].min() else (low, stress)
    return stress


def landau(seed: int) -> dict[str, float]:
    """A fit by discovery: number of modes, and errors where austenite and martensite have the same energy."""
    start = time.process_time()
    result = fit(
        landau_samples(seed),
        architecture=Architecture("auto"),
        parameters={"x1": Temperature()},
        seed=seed,
        progress=False,
    )
    seconds, p, low, high = time.process_time() - start, result.potential, *RANGE

    def states(T: float) -> tuple[Any, Any]:
        found = wells(p.at([T]), [-0.8], [0.8])
        middle = min(found, key=lambda well: abs(well.x[0]))
        return middle, min((well for well in found if well is not middle), key=lambda well: well.energy)

    low, high = TRANSITION - 0.1, TRANSITION + 0.1
    for _ in range(30):
        T = 0.5 * (low + high)
        austenite, martensite = states(T)
        low, high = (low, T) if austenite.energy < martensite.energy else (T, high)
    entropies = [-p.gradient([[T, well.x[0]]])[0, 0] for well in (austenite, martensite)]
    exact = A * 3.0 * B / (4.0 * C) / 2.0
    fitted, wanted = (
        [plateau(lambda e, T=T, W=W: W(T, e)) for T in (TRANSITION + 0.03, TRANSITION + 0.13)]
        for W in (lambda T, e: p.energy(np.column_stack([np.full_like(e, T), e])), landau_energy)
    )
    return {
        "modes": len(p.modes),
        "transition": abs(T - TRANSITION) / (RANGE[1] - RANGE[0]),
        "latent_heat": abs(T * (entropies[0] - entropies[1]) / (TRANSITION * exact) - 1.0),
        "clausius_clapeyron": abs(np.diff(fitted)[0] / np.diff(wanted)[0] - 1.0),
        "seconds": seconds,
    }


def main() -> None:
    options = arguments(__doc__)
    seconds = 0.1 if options.quick else 0.5
    plain, law = potential("N2", 3), material("N2", 2)
    of_kind = {
        kind: per_point(plain, make(plain), seconds) | assembled(law, make(law.potential), options.quick, seconds)
        for kind, make in (("temperature", of_temperature), ("design", of_design), ("both", of_both))
    }
    figures: dict[str, Any] = of_kind.pop("temperature") | of_kind
    figures["at_temperature"] = figures.pop("at")
    figures["modulus"] = modulus()
    rows = []
    for seed in range(0 if options.quick else 10):
        rows.append(landau(seed))
        print(seed, rows[-1], flush=True)
    if rows:
        figures["landau"] = {"modes": [row["modes"] for row in rows]}
        figures["landau"] |= {key: max(row[key] for row in rows) for key in rows[0] if key != "modes"}
    finish({**figures, "cpu": processor()})


if __name__ == "__main__":
    main()
