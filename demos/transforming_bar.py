# %% [markdown]
# # A bar that transforms
#
# An energy with two wells has equilibria that are no minima, and Newton's method does not avoid them.
# `EnergyProblem` takes the energy itself and goes down to a minimum, and `LoadPath` follows minima through nucleation
# and back. The example is the bar of J. L. Ericksen, J. Elasticity 5, 191 (1975), whose answer is known exactly. The
# script also runs under `mpirun`.

# %% tags=["hide"]
import argparse
import json
from pathlib import Path

import numpy as np
import ufl
from dolfinx import fem, mesh
from matplotlib.figure import Figure
from mpi4py import MPI

import lse_material as lse

parser = argparse.ArgumentParser(description="A bar that transforms")
parser.add_argument("--quick", action="store_true", help="half as many load steps")
parser.add_argument("--out", type=Path, default=Path("results/transforming_bar"), help="folder for the files")
options, _ = parser.parse_known_args()
options.out.mkdir(parents=True, exist_ok=True)
COMM = MPI.COMM_WORLD

# %% [markdown]
# ## Two phases
#
# The bar has length 1 and two phases with the energies $W_1 = \tfrac{E}{2} e^2$ and $W_2 = \tfrac{E}{2} (e - e_T)^2 +
# \Delta g$ of the strain e. Each is a mode, and W is their soft minimum. It is not convex if $\rho < E e_T^2/4$.

# %%
E, e_T, dg, rho = 1.0, 1.0, 0.05, 0.03
root = np.array([[np.sqrt(E)]])
first = lse.ConvexNetwork.from_arrays([], [[[0.0]]], [[0.0]], quadratic=root)
second = lse.ConvexNetwork.from_arrays([], [[[-E * e_T]]], [[0.5 * E * e_T**2 + dg]], quadratic=root)
potential = lse.SoftMinimum((first, second), rho)

# %% [markdown]
# ## The bar
#
# Mixing two phases costs nothing in this energy, so that their layers would be as thin as the mesh allows. A second
# gradient of the displacement gives a boundary between phases a width $l$ and an energy. Displacements are of degree 2,
# and `interior_penalty` adds the second gradient although their first derivatives jump between cells.

# %%
width = 0.02
domain = mesh.create_interval(COMM, 200, [0.0, 1.0])
V = fem.functionspace(domain, ("Lagrange", 2))
u = fem.Function(V, name="displacement")
e = u.dx(0)
energy = lse.fem.potential_energy(potential, [e]) * ufl.dx(degree=6)
energy += lse.fem.interior_penalty(u, length=width, modulus=E, degree=6)

elongation = fem.Constant(domain, 0.0)
left, right = (fem.locate_dofs_geometrical(V, lambda x, at=at: np.isclose(x[0], at)) for at in (0.0, 1.0))
pulled = fem.dirichletbc(elongation, right, V)
bcs = [fem.dirichletbc(0.0, left, V), pulled]
problem = lse.fem.EnergyProblem(energy, u, bcs=bcs, petsc_options_prefix="bar_")

# %% [markdown]
# ## Out and back
#
# `LoadPath` solves one load after another. It needs to know how a load is applied and what to record. At each state it
# counts the negative eigenvalues of the tangent. If there is one, the state is a saddle, and the path leaves it along
# the lowest mode. No imperfection is needed to make the second phase nucleate.


# %%
def pull(value):
    elongation.value = value


# the share of the second phase: its mode weight
share = fem.form(1.0 / (1.0 + ufl.exp((0.5 * E * e_T**2 + dg - E * e_T * e) / rho)) * ufl.dx(degree=6))
observed = {
    "stress": lambda: problem.reaction(pulled),
    "share": lambda: COMM.allreduce(fem.assemble_scalar(share)),
}
out = np.linspace(0.0, 1.3 * e_T, 16 if options.quick else 31)
path = lse.fem.LoadPath(problem, pull, observed, perturbation_size=1e-3)
table = path.run(np.concatenate([out, out[-2::-1]]))

# %% [markdown]
# ## Theory
#
# Two phases coexist at one stress only: that at which the areas between the curve $\sigma(e) = W'(e)$ and the plateau
# are equal. This is the Maxwell stress $\Delta g / e_T$, for any $\rho$.

# %%
maxwell = dg / e_T
strains = np.linspace(0.0, 1.3 * e_T, 400)
homogeneous = potential.gradient(strains[:, None])[:, 0]
two_phases = (table["share"] > 0.2) & (table["share"] < 0.8)
error = float(np.abs(table["stress"][two_phases] - maxwell).max())
lost = float(np.trapezoid(table["stress"], table["load"]))
if COMM.rank == 0:
    print(f"{two_phases.sum()} states with two phases; energy lost in the cycle: {lost:.4f}")

# %% [markdown]
# ## The picture
#
# The stress rises to the limit of the homogeneous bar. Then the second phase nucleates at an end, the stress drops to
# the plateau, and the boundary moves through the bar. On the way back the same happens at another stress: the bar has
# dissipated energy.

# %%
figure = Figure(figsize=(10.0, 4.0), layout="constrained")
stress, fraction = figure.subplots(1, 2)
stress.plot(strains, homogeneous, color="0.6", linewidth=1, label="homogeneous bar")
stress.axhline(maxwell, color="tab:red", linestyle="--", linewidth=1, label="Maxwell stress")
for part, colour, name in ((slice(0, len(out)), "k", "pulled"), (slice(len(out) - 1, None), "tab:orange", "released")):
    stress.plot(table["load"][part], table["stress"][part], "o-", color=colour, markersize=3, label=name)
    fraction.plot(table["load"][part], table["share"][part], "o-", color=colour, markersize=3, label=name)
stress.set(xlabel="elongation", ylabel="stress / E", title="nucleation, plateau, hysteresis")
fraction.set(xlabel="elongation", ylabel="share of the second phase")
stress.legend(frameon=False)
fraction.legend(frameon=False)
if COMM.rank == 0:
    figure.savefig(options.out / "transforming_bar.png", dpi=130)

# %% [markdown]
# ## The check
#
# The stress of all states with two phases is the Maxwell stress, to a thousandth of $E e_T$.

# %%
if COMM.rank == 0:
    print(json.dumps({"plateau_error": error, "failed_steps": path.failed, "energy_lost": lost}))
assert two_phases.any(), "no state has two phases"
assert error < 1e-3 * E * e_T, "the plateau is not at the Maxwell stress"
