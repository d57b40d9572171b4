# %% [markdown]
# # An inflated actuator
#
# A soft robot's finger is a rubber body with chambers in it. A pump that displaces a given volume drives it: the
# pressure is the answer, not the load. Here the volume of the chambers is prescribed, and their pressure is one more
# unknown, a Lagrange multiplier. The rubber is nearly incompressible. The script also runs under `mpirun`.

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

parser = argparse.ArgumentParser(description="An inflated actuator")
parser.add_argument("--out", type=Path, default=Path("results/inflated_actuator"), help="folder for the files")
options = parser.parse_known_args()[0]
options.out.mkdir(parents=True, exist_ok=True)
COMM = MPI.COMM_WORLD

# %% [markdown]
# ## The body
#
# In plane strain, on squares of side 1: a floor with five hollow teeth on it. A thin pipe, which is not meshed,
# connects their chambers, so that one pressure acts in all. The lower half of the floor is twenty times as stiff:
# the teeth spread when they are inflated, the floor keeps its length, and the finger bends.

# %%
PITCH, LENGTH, HEIGHT = 6, 28, 8


def in_chamber(x):
    """The inner part of each tooth, rims included."""
    along = x[0] % PITCH
    return (along > 0.9) & (along < 3.1) & (x[1] > 1.9) & (x[1] < HEIGHT - 0.9)


grid = mesh.create_rectangle(COMM, [(0, 0), (LENGTH, HEIGHT)], (LENGTH, HEIGHT), mesh.CellType.quadrilateral)
cells = np.arange(grid.topology.index_map(2).size_local, dtype=np.int32)
middle = mesh.compute_midpoints(grid, 2, cells).T
gap = (middle[0] % PITCH > 4.0) & (middle[1] > 2.0)
body = mesh.create_submesh(grid, 2, cells[~gap & ~in_chamber(middle)])[0]

# %% [markdown]
# ## The energy
#
# Displacement u, pressure p and dilatation e of the rubber make a mixed space that does not lock.
# `with_global_unknowns` adds one number to it: the pressure q in the chambers. `enclosed_volume` needs the surface
# of the chambers alone, and `global_constraint` subtracts q times what the volume exceeds the given one by.

# %%
parts = [element("Lagrange", "quadrilateral", 2, shape=(2,)), *[element("DPC", "quadrilateral", 1)] * 2]
space = lse.fem.with_global_unknowns(fem.functionspace(body, mixed_element(parts)))
state = fem.Function(space)
u, p, e, q = ufl.split(state)


def rubber(shear):
    mode = lse.ConvexNetwork.from_arrays([], [[[shear / 2, 0.0, 500.0 * shear]]], [[0.0]])  # linear in the invariants
    return lse.Material(lse.SoftMinimum((mode,), 1.0), lse.IsotropicInvariants(dim=3))


F, y = ufl.Identity(3) + lse.fem.plane_gradient(u), ufl.SpatialCoordinate(body)[1]
soft, stiff = (lse.fem.three_field_energy(rubber(shear), F, p, e) for shear in (1.0, 20.0))
W = ufl.conditional(ufl.lt(y, 1.0), stiff, soft) * ufl.dx(degree=4)
body.topology.create_connectivity(1, 2)
places = in_chamber, lambda x: np.isclose(x[0], LENGTH), lambda x: np.isclose(x[0], 0.0)
chamber, tip, root = (mesh.locate_entities_boundary(body, 1, where) for where in places)
facets, marks = np.r_[chamber, tip], np.r_[np.full_like(chamber, 1), np.full_like(tip, 2)]
order = np.argsort(facets)
ds = ufl.Measure("ds", body, subdomain_data=mesh.meshtags(body, 1, facets[order], marks[order]))

volume = lse.fem.enclosed_volume(u, ds(1))
given = fem.Constant(body, 0.0)
Pi = W + lse.fem.global_constraint(q, volume, given)

V = space.sub(0).collapse()[0]
fixed = fem.dirichletbc(fem.Function(V), fem.locate_dofs_topological((space.sub(0), V), 1, root), space.sub(0))
problem = lse.fem.EnergyProblem(Pi, state, bcs=[fixed], petsc_options_prefix="pumped_")

# %% [markdown]
# ## Inflation
#
# The load of the path is the volume, as a share of that at the start. The bending angle is that of the face at the
# tip: the integral of the deformed tangent along it.


# %%
def total(form):
    return COMM.allreduce(fem.assemble_scalar(form))


first = total(fem.form(volume))
along_tip = [fem.form((1.0 * (i == 1) + ufl.grad(u)[i, 1]) * ds(2)) for i in range(2)]


def pump(share):
    given.value = share * first


observed = {
    "pressure": lambda: float(state.sub(3).collapse().x.array[0]),
    "angle": lambda: float(np.degrees(np.arctan2(total(along_tip[0]), total(along_tip[1])))),
}
path = lse.fem.LoadPath(problem, pump, observed, perturbation_size=0.01, progress=False)
table = path.run(np.linspace(1.0, 1.5, 11))
if COMM.rank == 0:
    print(f"bent by {table['angle'][-1]:.1f} degrees at a pressure of {table['pressure'][-1]:.3f} shear moduli")

# %% [markdown]
# ## The picture

# %%
stretch = fem.Function(fem.functionspace(body, ("DG", 0)))
C = F.T * F
largest = ufl.sqrt((C[0, 0] + C[1, 1]) / 2 + ufl.sqrt((C[0, 0] - C[1, 1]) ** 2 / 4 + C[0, 1] ** 2))
stretch.interpolate(fem.Expression(largest, stretch.function_space.element.interpolation_points))
figure = Figure(figsize=(10.0, 4.2), layout="constrained")
shape, curve = figure.subplots(1, 2)
lse.fem.draw_cells(stretch, axes=shape, label="largest stretch", displacement=state.sub(0).collapse())
curve.plot(table["load"], table["pressure"], "k-")
curve.set(xlabel="volume / volume at the start", ylabel="pressure / shear modulus")
angle = curve.twinx()
angle.plot(table["load"], table["angle"], color="tab:orange", linestyle="--")
angle.set_ylabel("bending angle in degrees (dashed)")
if COMM.rank == 0:
    figure.savefig(options.out / "inflated_actuator.png", dpi=130)

# %% [markdown]
# ## The check
#
# The pressure is the derivative of the rubber's energy by the volume. By a difference of energies, without multipliers:

# %%
pressure, energies = table["pressure"][-1], []
for share in (1.5 - 1e-3, 1.5 + 1e-3):
    pump(share)
    problem.solve()
    energies.append(problem.energy())
error = float(abs((energies[1] - energies[0]) / (2e-3 * first) / pressure - 1.0))
if COMM.rank == 0:
    print(json.dumps({"pressure_error": error, "pressure": pressure, "angle": table["angle"][-1]}))
assert error < 1e-5, "the pressure is not the derivative of the energy"
