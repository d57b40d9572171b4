# %% [markdown]
# # A form and a problem
#
# A fitted material enters a variational form like any other hyperelastic energy. A plate with a hole, made of the
# martensite of [the fit](fit_a_material.md), is pulled inside one of its wells. We solve with Newton's method, twice:
# with the energy in the form, and with the stress stored at quadrature points. The script also runs under `mpirun`.

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

parser = argparse.ArgumentParser(description="A form and a problem")
parser.add_argument("--out", type=Path, default=Path("results/form_and_problem"), help="folder for the files")
options, _ = parser.parse_known_args()
options.out.mkdir(parents=True, exist_ok=True)
CHECKOUT = Path(lse.__file__).parents[1]
COMM = MPI.COMM_WORLD

# %% [markdown]
# ## The material
#
# At a well the stress vanishes. We take the variant that is long along x: its stretches follow from $E = (F^T F -
# I)/2$.

# %%
material = lse.load(CHECKOUT / "demos" / "materials" / "martensite.safetensors")
box = lse.analysis.search_box(material)
well = max(lse.analysis.landscape(material.potential, box.lower, box.upper).wells, key=lambda well: well.x[0])
a, b = np.sqrt(1.0 + 2.0 * well.x[:2])
if COMM.rank == 0:
    print(f"stretches of the variant: {a:.4f} along x, {b:.4f} along y")

# %% [markdown]
# ## The plate
#
# Displacements of degree 2. The left side is fixed along x, the right side moves until the mean stretch is 2 % above
# that of the variant; one node is fixed along y. Newton's method starts from the variant without stress.

# %%
plate = gmsh.read_from_msh(CHECKOUT / "meshes" / "plate_with_hole.msh", COMM, gdim=2)
domain, length = plate.mesh, 2.0
V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
Vx, Vy, Y = V.sub(0), V.sub(1), V.sub(1).collapse()[0]
u, v = fem.Function(V, name="displacement"), ufl.TestFunction(V)
left, right = (plate.facet_tags.find(plate.physical_groups[side].tag) for side in ("left", "right"))
middle = fem.locate_dofs_geometrical((Vy, Y), lambda x: np.isclose(x[0], -length / 2) & np.isclose(x[1], 0.0))[0]
pulled = fem.dirichletbc(length * (a - 1.0 + 0.02), fem.locate_dofs_topological(Vx, 1, right), Vx)
fixed = fem.dirichletbc(0.0, fem.locate_dofs_topological(Vx, 1, left), Vx)
bcs = [fixed, pulled, fem.dirichletbc(0.0, middle, Vy)]


def start(x):
    return np.vstack([(a - 1.0) * (x[0] + length / 2), (b - 1.0) * x[1]])


# %% [markdown]
# ## The energy in the form
#
# `lse.fem.energy` is a UFL scalar, here W(F). UFL derives residual and tangent from it. `MaterialProblem` is DOLFINx's
# `NonlinearProblem`, except that it raises an error, with PETSc's reason and advice, unless it has converged.

# %%
F = ufl.Identity(2) + ufl.grad(u)
W = lse.fem.energy(material, F)
residual = ufl.derivative(W * ufl.dx(degree=2), u, v)
petsc_options = {"snes_atol": 1e-12, "snes_rtol": 1e-14}
problem = lse.fem.MaterialProblem(residual, u, bcs=bcs, petsc_options_prefix="form_", petsc_options=petsc_options)
problem.solver.setConvergenceHistory(reset=True)
u.interpolate(start)
problem.solve()
norms = problem.solver.getConvergenceHistory()[0]
force = problem.reaction(pulled)

# %% [markdown]
# ## The stress at quadrature points
#
# `QuadratureStress` evaluates the material at the quadrature points in one batch and stores what the form needs. Only
# the elastic term and `stresses=` differ. An assembly then takes about 60 % of the time.

# %%
P = lse.fem.QuadratureStress(material, F, degree=2)
stored = lse.fem.MaterialProblem(
    ufl.inner(P.operator, ufl.grad(v)) * P.dx,
    u,
    bcs=bcs,
    stresses=[P],
    petsc_options_prefix="stored_",
    petsc_options=petsc_options,
)
stored.solver.setConvergenceHistory(reset=True)
u.interpolate(start)
stored.solve()
norms_stored = stored.solver.getConvergenceHistory()[0]
if COMM.rank == 0:
    print("residual, energy in the form:", " ".join(f"{r:.1e}" for r in norms))
    print("residual, stored stress:     ", " ".join(f"{r:.1e}" for r in norms_stored))

# %% [markdown]
# ## The picture
#
# `MaterialFields` evaluates what one wants to look at: energy, stress, mode weights, ellipticity. The stress
# concentrates at the hole. Newton's method converges quadratically: each residual is of the order of the square of the
# one before, until rounding is reached.

# %%
fields = lse.fem.MaterialFields(material, F)
fields.update()
figure = Figure(figsize=(11.0, 3.8), layout="constrained")
panel, curve = figure.subplots(1, 2, width_ratios=[1.5, 1.0])
lse.fem.draw_cells(fields.stress, axes=panel, label="P11 in MPa", title="stress", displacement=u, unit="mm")
curve.semilogy(norms, "ks-", markersize=8, markerfacecolor="none", label="energy in the form")
curve.semilogy(norms_stored, "o--", color="tab:orange", markersize=4, label="stress at quadrature points")
curve.set(xlabel="iteration", ylabel="norm of the residual in N per mm", title="Newton's method")
curve.legend(frameon=False)
if COMM.rank == 0:
    figure.savefig(options.out / "form_and_problem.png", dpi=130)

# %% [markdown]
# ## The check
#
# The order of convergence, $\log(r_{n+1}/r_n)/\log(r_n/r_{n-1})$, of the last residuals above rounding is that of exact
# tangents: 2.

# %%
r = np.array([norm for norm in norms if norm > 1e-10])[-3:]
order = float(np.log(r[2] / r[1]) / np.log(r[1] / r[0]))
if COMM.rank == 0:
    print(json.dumps({"newton_order": order, "force": force, "iterations": len(norms) - 1}))
assert order > 1.9, "Newton's method does not converge quadratically"
