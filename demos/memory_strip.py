# %% [markdown]
# # A strip of a shape-memory alloy
#
# Warm, the alloy is a square austenite; cold, one of two rectangular martensites. Pulling makes martensite too, at a stress
# that rises with temperature. From data at five temperatures to the transition, its latent heat, plateau and self-heating.

# %% tags=["hide"]
import argparse
import json
from pathlib import Path

import numpy as np
import ufl
from basix.ufl import element, mixed_element
from dolfinx import fem, mesh
from matplotlib.figure import Figure
from mpi4py import MPI

import lse_material as lse
from lse_material.fit import Architecture, Temperature, Training, fit

parser = argparse.ArgumentParser(description="A strip of a shape-memory alloy")
parser.add_argument("--quick", action="store_true", help="a shorter fit, and a coarser strip")
parser.add_argument("--out", type=Path, default=Path("results/memory_strip"), help="folder for the files")
options, _ = parser.parse_known_args()
options.out.mkdir(parents=True, exist_ok=True)
COMM = MPI.COMM_WORLD

# %% [markdown]
# ## The data
#
# Landau's polynomial $a(T - T_c)e^2/2 - b e^4/4 + c e^6/6$ in the strain $e = (E_{11} - E_{22})/\sqrt2$, with the heat capacity
# $c_v$. The phases have the same energy at $T_0 = T_c + 3b^2/(16ac)$, with the latent heat $3abT_0/(8c)$. With T as a
# `Temperature` each mode is convex in the strain at every T, and W is concave in T.

# %%
a, b, c, bulk, shear, Tc, cv = 12.5, 1e5, 7.5e6, 2000.0, 600.0, 300.0, 3.0  # MPa and K
T0, T = Tc + 3.0 * b**2 / (16.0 * a * c), np.repeat([305.0, 320.0, 335.0, 350.0, 365.0], 120)
F = np.eye(2) + np.random.default_rng(0).uniform(-0.1, 0.1, (len(T), 2, 2))
E = 0.5 * (np.swapaxes(F, 1, 2) @ F - np.eye(2))
volume, e, twice = (E[:, 0, 0] + E[:, 1, 1]) / 2**0.5, (E[:, 0, 0] - E[:, 1, 1]) / 2**0.5, 2**0.5 * E[:, 0, 1]
W = (bulk * volume**2 + shear * twice**2 + a * (T - Tc) * e**2) / 2 - b * e**4 / 4 + c * e**6 / 6
W -= cv * (T * np.log(T / Tc) - T + Tc)
pull = a * (T - Tc) * e - b * e**3 + c * e**5
S = np.array([[bulk * volume + pull, shear * twice], [shear * twice, bulk * volume - pull]]) / 2**0.5
samples = lse.Samples(F=F, energy=W, stress=F @ np.moveaxis(S, -1, 0), fields=T[:, None], field_names=("T",))
choices = {"kinematics": lse.GreenLagrange(2), "architecture": Architecture(modes=3), "progress": False}
choices["parameters"] = {"T": Temperature(heat_capacity=cv, reference=Tc)}
choices["training"] = Training(restarts=1, lbfgs_steps=800) if options.quick else Training()
material = lse.fem.on_rank_0(COMM, lambda: fit(samples, **choices).material)

# %% [markdown]
# ## Transition and latent heat
#
# At a temperature there is an ordinary material, `material.at(T=...)`. The phases exchange stability where the energies of
# their wells are equal; there they differ in entropy by the latent heat over T.

# %%
levels, gaps = np.linspace(312.0, 324.0, 5), []
for level in levels:
    found = lse.analysis.wells(material.at(T=level).potential, [-0.1] * 3, [0.1] * 3)
    austenite, martensite, *_ = sorted(found, key=lambda well: abs(well.x[0] - well.x[1]))
    gaps.append(martensite.energy - austenite.energy)
transition = float(np.interp(0.0, gaps, levels))
latent_heat = transition * float(np.polyval(np.polyder(np.polyfit(levels, gaps, 2)), transition))

# %% [markdown]
# ## The plateau
#
# Half of the strip is martensite, and its length is held. When it is heated the stress rises by the law of Clausius and
# Clapeyron, $dP/dT$ = (difference of entropies) / (difference of stretches), here those of the two ends.

# %%
length, height = 10.0, 2.0  # mm
strip = mesh.create_rectangle(COMM, [(0.0, 0.0), (length, height)], (24, 3) if options.quick else (48, 6))
V = fem.functionspace(strip, ("Lagrange", 2, (2,)))
u, heat = fem.Function(V, name="displacement"), fem.Constant(strip, 322.0)
F = ufl.Identity(2) + ufl.grad(u)
W = lse.fem.energy(material, F, fields=[heat]) * ufl.dx(degree=4)
W += lse.fem.interior_penalty(u, length=0.5, modulus=a * 20.0, degree=4)


def prescribe(space, i, at, value):
    facets = mesh.locate_entities_boundary(strip, 1, lambda x: np.isclose(x[i], at))
    return fem.dirichletbc(value, fem.locate_dofs_topological(space, 1, facets), space)


def mean(expression):
    return COMM.allreduce(fem.assemble_scalar(fem.form(expression * ufl.dx(degree=2)))) / (length * height)


pulled = prescribe(V.sub(0), 0, length, fem.Constant(strip, 0.045 * length))
bcs = [pulled, prescribe(V.sub(0), 0, 0.0, 0.0), prescribe(V.sub(1), 1, 0.0, 0.0)]
problem = lse.fem.EnergyProblem(W, u, bcs=bcs, petsc_options_prefix="strip_")
u.interpolate(lambda x: [0.014 * np.logaddexp(0.0, 5.0 * (x[0] - 5.0)) + 0.01 * x[0], -0.07 * x[1] * (x[0] > 5.0)])
x = ufl.SpatialCoordinate(strip)
ends = ufl.conditional(x[0] < 1.0, -1.0, ufl.conditional(x[0] > 9.0, 1.0, 0.0))
observed = {
    "stress": lambda: problem.reaction(pulled) / height,
    "slope": lambda: -mean(ends * lse.fem.entropy(material, F, fields=[heat])) / mean(ends * F[0, 0]),
}
path = lse.fem.LoadPath(problem, lambda level: heat.value.fill(level), observed, progress=False)
table = path.run(np.linspace(322.0, 336.0, 15))
slope_error = float(np.abs(np.gradient(table["stress"], table["load"]) / table["slope"] - 1.0)[1:-1].max())

# %% [markdown]
# ## A fast pull
#
# At 350 K the strip transforms without a boundary. Pulled so fast that no heat flows, it keeps its entropy
# $c_v \ln(T/T_c) - a e^2/2$ and grows warmer. `heat_taken_up` is the heat of a step, latent heat included; here it is zero.

# %%
of_T = element("Lagrange", "triangle", 1)
M = fem.functionspace(strip, mixed_element([element("Lagrange", "triangle", 1, shape=(2,)), of_T]))
state, old = fem.Function(M), fem.Function(M)
state.sub(1).interpolate(lambda x: np.full(x.shape[1], 350.0))
(w, T), (w_old, T_old), (v, q) = ufl.split(state), ufl.split(old), ufl.TestFunctions(M)
G, G_old = ufl.Identity(2) + ufl.grad(w), ufl.Identity(2) + ufl.grad(w_old)
taken_up = lse.fem.heat_taken_up(material, G, G_old, fields=[T], fields_old=[T_old])
residual = (ufl.inner(lse.fem.stress(material, G, fields=[T]), ufl.grad(v)) + taken_up * q / 100.0) * ufl.dx(degree=2)
grip, x_of, y_of = fem.Constant(strip, 0.0), M.sub(0).sub(0), M.sub(0).sub(1)
bcs = [prescribe(x_of, 0, length, grip), prescribe(x_of, 0, 0.0, 0.0), prescribe(y_of, 1, 0.0, 0.0)]
coupled = lse.fem.MaterialProblem(residual, state, bcs=bcs, petsc_options_prefix="fast_")
stretches, temperatures = np.linspace(0.0, 0.07, 36), []
for stretch in stretches:
    old.x.array[:], grip.value = state.x.array, stretch * length
    coupled.solve()
    temperatures.append(mean(T))
e = (mean(G[0, 0]) ** 2 - mean(G[1, 1]) ** 2) / 8**0.5
rise, expected = temperatures[-1] - 350.0, 350.0 * np.expm1(0.5 * a * e**2 / cv)
curves = [
    (levels, gaps, "T in K", "W of martensite less that of austenite in MPa"),
    (table["load"], table["stress"], "T in K, length held", "P in MPa"),
    (stretches, temperatures, "elongation / length, pulled fast", "T in K"),
]
figure = Figure(figsize=(10.0, 3.6), layout="constrained")
for axes, (x, y, below, beside) in zip(figure.subplots(1, 3), curves, strict=True):
    axes.plot(x, y, "k.-")
    axes.set(xlabel=below, ylabel=beside)

# %% [markdown]
# ## The check

# %%
ratios = np.array([transition / T0, latent_heat / (3.0 * a * b * T0 / (8.0 * c)), rise / expected])
figures = dict(zip(("transition_error", "latent_heat_error", "rise_error"), abs(ratios - 1.0).tolist(), strict=True))
if COMM.rank == 0:
    figure.savefig(options.out / "memory_strip.png", dpi=130)
    print(json.dumps({**figures, "slope_error": slope_error}))
assert max(slope_error, *figures.values()) < 0.02, "transition, latent heat, plateau or self-heating are wrong"
