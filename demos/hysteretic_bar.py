# %% [markdown]
# # A bar with hysteresis
#
# The bar of *A bar that transforms* loses energy in one jump only: once there is a boundary, it moves back and forth at the
# Maxwell stress, and nothing is lost. Shape-memory alloys do lose energy there, and their stress-strain curves have loops
# within loops. `Dissipation` puts a price on the change of the mode weights and remembers where they were.

# %% tags=["hide"]
import argparse
import itertools
import json
from pathlib import Path

import numpy as np
from dolfinx import fem, mesh
from matplotlib.figure import Figure
from mpi4py import MPI

import lse_material as lse

parser = argparse.ArgumentParser(description="A bar with hysteresis")
parser.add_argument("--quick", action="store_true", help="half as many load steps")
parser.add_argument("--out", type=Path, default=Path("results/hysteretic_bar"), help="folder for the files")
options, _ = parser.parse_known_args()
options.out.mkdir(parents=True, exist_ok=True)
COMM = MPI.COMM_WORLD

# %% [markdown]
# ## Two phases and a price
#
# The energies of the phases are $\tfrac{E}{2} e^2$ and $\tfrac{E}{2} (e - e_T)^2 + \Delta g$. A volume that
# changes from one phase to the other dissipates the energy $D$.

# %%
E, e_T, dg, rho, D = 1.0, 1.0, 0.1, 0.03, 0.06
root = np.array([[np.sqrt(E)]])
first = lse.ConvexNetwork.from_arrays([], [[[0.0]]], [[0.0]], quadratic=root)
second = lse.ConvexNetwork.from_arrays([], [[[-E * e_T]]], [[0.5 * E * e_T**2 + dg]], quadratic=root)
potential = lse.SoftMinimum((first, second), rho)

# %% [markdown]
# ## The energy of a step
#
# A step minimises the stored energy and the cost of the change since the last one. The price of a phase is $D/2$, so that two
# weights that change by one cost $D$. The memory is a function at the quadrature points: the cost brings its own measure `dx`.

# %%
domain = mesh.create_interval(COMM, 100, [0.0, 1.0])
V = fem.functionspace(domain, ("Lagrange", 2))
u = fem.Function(V, name="displacement")
e = u.dx(0)
hysteresis = lse.fem.Dissipation.of_potential(potential, [e], D, degree=4)
stored = lse.fem.potential_energy(potential, [e]) * hysteresis.dx
stored += lse.fem.interior_penalty(u, length=0.05, modulus=E, degree=4)

elongation = fem.Constant(domain, 0.0)
left, right = (fem.locate_dofs_geometrical(V, lambda x, at=at: np.isclose(x[0], at)) for at in (0.0, 1.0))
pulled = fem.dirichletbc(elongation, right, V)
bcs = [fem.dirichletbc(0.0, left, V), pulled]
problem = lse.fem.EnergyProblem(stored + hysteresis.functional, u, bcs=bcs, petsc_options_prefix="bar_")

# %% [markdown]
# ## Loops within a loop
#
# `LoadPath` lets the memory follow after each state that it accepts: `internal=[hysteresis]`.


# %%
def pull(value):
    elongation.value = value


observed = {"stress": lambda: problem.reaction(pulled)}
path = lse.fem.LoadPath(problem, pull, observed, perturbation_size=1e-3, internal=[hysteresis])
turns, step = [0.0, 0.8, 0.4, 0.65, 0.4, 0.8, 1.3, 0.0], 0.05 if options.quick else 0.025
legs = [np.linspace(a, b, round(abs(b - a) / step) + 1)[1:] for a, b in itertools.pairwise(turns)]
table = path.run(np.concatenate([[0.0], *legs]))

# %% [markdown]
# ## Theory
#
# A boundary moves outwards where the stress exceeds the Maxwell stress $\Delta g/e_T$ by $D/e_T$, and back where it falls as
# far below it. At the end of a loop within a loop the bar is in the state in which the loop began.

# %%
plateaus = np.array([dg + D, dg - D]) / e_T
ends = np.cumsum([len(leg) for leg in legs])  # the rows at which the bar turns: 0.8, 0.4, 0.65, 0.4, 0.8, ...
stress = table["stress"]
plateau_error = float(np.abs(stress[ends[[0, 1]]] - plateaus).max() * e_T / D)
loop_error = float(np.abs(stress[ends[[3, 4]]] - stress[ends[[1, 0]]]).max() / (E * e_T))

# %%
figure = Figure(figsize=(7.0, 4.5), layout="constrained")
axes = figure.subplots()
axes.plot(table["load"], stress, "k.-", linewidth=1, markersize=3)
for plateau, colour, sign in zip(plateaus, ("tab:red", "tab:blue"), "+-"):
    axes.axhline(
        plateau, color=colour, linestyle="--", linewidth=1, label=f"$(\\Delta g {sign} D)/e_T = {plateau:.2f}$"
    )
axes.set(xlabel="elongation", ylabel="stress / E", title="Loops within a loop")
axes.legend(frameon=False)
if COMM.rank == 0:
    figure.savefig(options.out / "hysteretic_bar.png", dpi=130)

# %% [markdown]
# ## The check
#
# The plateaus are within one percent of $D/e_T$ of where theory has them, and the loops close.

# %%
if COMM.rank == 0:
    figures = {"plateau_error": plateau_error, "loop_error": loop_error, "dissipated": float(table["dissipated"][-1])}
    print(json.dumps(figures))
assert plateau_error < 0.01, "the plateaus are not at the Maxwell stress +- D/e_T"
assert loop_error < 1e-6, "the loops within the loop do not close"
