# %% [markdown]
# # A periodic cell
#
# Where do energies with several wells come from? From structures that buckle, for example. A soft solid with a square
# array of holes is compressed. At a critical strain the ligaments between the holes buckle all at once, and the holes
# become ellipses, upright and lying in turn (T. Mullin et al., Phys. Rev. Lett. 99, 084301 (2007)). `PeriodicCell`
# computes energy and stress of such a cell, on the branch that is stable. The script also runs under `mpirun`.

# %% tags=["hide"]
import argparse
import json
from pathlib import Path

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.io import gmsh
from matplotlib.figure import Figure
from mpi4py import MPI

import lse_material as lse

parser = argparse.ArgumentParser(description="A periodic cell")
parser.add_argument("--out", type=Path, default=Path("results/periodic_cell"), help="folder for the files")
options, _ = parser.parse_known_args()
options.out.mkdir(parents=True, exist_ok=True)
CHECKOUT = Path(lse.__file__).parents[1]
COMM = MPI.COMM_WORLD

# %% [markdown]
# ## The solid
#
# It is neo-Hookean and nearly incompressible, in plane strain. Stresses are in units of its shear modulus, lengths in
# distances of holes. The pattern repeats after two holes in each direction, so the cell has 2 x 2 holes.


# %%
def neo_hookean(F):
    J = ufl.det(F)
    return 0.5 * (ufl.inner(F, F) - 2.0 - 2.0 * ufl.ln(J)) + 0.5 * (50.0 - 2.0 / 3.0) * (J - 1.0) ** 2


domain = gmsh.read_from_msh(CHECKOUT / "meshes" / "porous_cell.msh", COMM, gdim=2).mesh
cell = lse.fem.PeriodicCell(domain, neo_hookean)

# %% [markdown]
# ## The critical strain
#
# The average deformation gradient is $F = \mathrm{diag}(F_{11}, 1 - \varepsilon)$, where $F_{11}$ is free: the average
# stress $P_{11}$ is zero. The first state with a vanishing eigenvalue:


# %%
def compression(strain):
    return np.diag([1.0, 1.0 - strain])


free = {(0, 0): 0.0}  # the component of F that is found, and the average stress that goes with it
critical = cell.critical(compression, 0.02, 0.05, free, tolerance=1e-6)
if COMM.rank == 0:
    print(f"the cell buckles at a strain of {100 * critical:.3f} %")

# %% [markdown]
# ## Compression
#
# `minimum` goes to the next average deformation. Where the state has become a saddle, it leaves it along the lowest
# mode.

# %%
cell.reset()
strains = np.linspace(0.0, 0.1, 21)
states = [cell.minimum(compression(strain), free) for strain in strains]
stress = np.array([-state.stress[1, 1] for state in states])
buckled = np.array([state.buckled for state in states])

# %% [markdown]
# ## Material data
#
# Each state is a row for a fit: the average F, the energy per volume W and the average stress P. `lse.fem.sample`
# collects many such paths, on all ranks, and can be interrupted. Two fits of such data are in `demos/materials`.

# %%
samples = lse.Samples(
    F=np.array([state.F for state in states]),
    energy=np.array([state.energy for state in states]),
    stress=np.array([state.stress for state in states]),
)
material = lse.load(CHECKOUT / "demos" / "materials" / "porous_cell.safetensors")
fitted = -material.stress(samples.F)[:, 1, 1]

# %% [markdown]
# ## The picture
#
# Left: the cell at a strain of 10 %, with the local stretch along the load. Right: stress against strain. It rises
# until the cell buckles, and then hardly at all. The fitted material follows it.

# %%
V = fem.functionspace(domain, ("DG", 0))
stretch = fem.Function(V)
stretch.interpolate(fem.Expression(1.0 + ufl.grad(cell.u)[1, 1], V.element.interpolation_points))
figure = Figure(figsize=(10.0, 4.2), layout="constrained")
panel, curve = figure.subplots(1, 2)
lse.fem.draw_cells(stretch, axes=panel, label="F22 in the solid", displacement=cell.u)
curve.plot(100 * strains[~buckled], stress[~buckled], "ks", markersize=5, markerfacecolor="none", label="upright")
curve.plot(100 * strains[buckled], stress[buckled], "ko", markersize=5, label="buckled")
curve.plot(100 * strains, fitted, color="tab:orange", label="fitted material")
curve.axvline(100 * critical, color="0.6", linestyle="--", linewidth=1, label="critical strain")
curve.set(xlabel="compressive strain in %", ylabel="stress / shear modulus")
curve.legend(frameon=False)
if COMM.rank == 0:
    figure.savefig(options.out / "periodic_cell.png", dpi=130)

# %% [markdown]
# ## The check
#
# Averages must be consistent (R. Hill, J. Mech. Phys. Solids 11, 357 (1963)): the power of the average stress is the
# rate of the average energy, $\mathrm{d}W/\mathrm{d}\varepsilon = -P_{22}$. A central difference of W in the buckled
# state:

# %%
step = 1e-4
before, after = (cell.minimum(compression(strains[-1] + d), free).energy for d in (-step, step))
error = float(abs((after - before) / (2.0 * step) / stress[-1] - 1.0))
if COMM.rank == 0:
    print(json.dumps({"hill_mandel_error": error, "critical_strain": critical}))
assert error < 1e-5, "average stress and average energy are not consistent"
assert (buckled == (strains > critical)).all(), "the cell buckles at another strain than the critical one"
