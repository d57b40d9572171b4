# %% [markdown]
# # Twins of a martensite
#
# A square crystal has become a rectangle in one of two ways, by the stretch $U_1 = \mathrm{diag}(a, b)$ or $U_2 =
# \mathrm{diag}(b, a)$. Neither of them fits into a body whose boundary is fixed half way between the two. Layers of
# both do. We start at random, and the material arranges itself.

# %% tags=["hide"]
import argparse
import json
from pathlib import Path

import basix.ufl
import numpy as np
import ufl
from dolfinx import fem, mesh
from dolfinx.fem.petsc import LinearProblem
from matplotlib.figure import Figure
from mpi4py import MPI

import lse_material as lse

parser = argparse.ArgumentParser(description="Twins of a martensite")
parser.add_argument("--out", type=Path, default=Path("results/twinned_crystal"), help="folder for the files")
options, _ = parser.parse_known_args()
CHECKOUT = Path(lse.__file__).parents[1]
COMM = MPI.COMM_WORLD

# %% [markdown]
# ## Two variants from one network
#
# The fit knows that the parent lattice is a square and each variant a rectangle. It trains one mode, and the other is
# its exact image under the symmetry. Training is serial: rank 0 fits and saves the material, and every rank loads it.


# %%
def train():
    from lse_material.fit import Architecture, Training, fit

    options.out.mkdir(parents=True, exist_ok=True)
    result = fit(
        lse.read_samples(CHECKOUT / "demos" / "data" / "martensite.csv"),
        kinematics=lse.GreenLagrange(dim=2),
        architecture=Architecture(modes=1),
        symmetry=lse.Symmetry.crystal("square", "rectangle", dim=2),
        training=Training(restarts=1, adam_steps=600, lbfgs_steps=300),
        progress=False,
    )
    lse.save(result.material, options.out / "martensite.safetensors")


lse.fem.on_rank_0(COMM, train)
material = lse.load(options.out / "martensite.safetensors")
box = lse.analysis.search_box(material)
well = lse.analysis.landscape(material.potential, box.lower, box.upper).wells[0]
a, b = np.sort(np.sqrt(1.0 + 2.0 * well.x[:2]))

# %% [markdown]
# ## Theory
#
# Two variants fit along a plane with normal n if a rotation Q makes $Q U_2 - U_1 = c \otimes n$ (J. M. Ball, R. D.
# James, Arch. Rat. Mech. Anal. 100, 13 (1987)). Here $n = (1, \pm 1)/\sqrt{2}$ and $\cos\theta = 2ab/(a^2 + b^2)$ for
# the angle of Q. The boundary is at the mean $U_1 + c \otimes n/2$.

# %%
cosine, sine = 2.0 * a * b / (a**2 + b**2), (b**2 - a**2) / (a**2 + b**2)
n = np.array([1.0, 1.0]) / np.sqrt(2.0)
U1, U2 = np.diag([a, b]), np.diag([b, a])
jumps = [np.array([[cosine, -s], [s, cosine]]) @ U2 - U1 for s in (sine, -sine)]
jump = min(jumps, key=lambda J: np.abs(J @ [n[1], -n[0]]).max())  # the one that vanishes along the plane
mean = U1 + 0.5 * np.outer(jump @ n, n) - np.eye(2)
if COMM.rank == 0:
    print(
        f"a = {a:.4f}, b = {b:.4f}; what is left of Q U2 - U1 - c n: {np.abs(jump - np.outer(jump @ n, n)).max():.0e}"
    )

# %% [markdown]
# ## The crystal
#
# Boundaries between layers get a width by a micromorphic field: a tensor $\varphi$ that is tied to grad u by a penalty
# and whose gradient costs energy. Displacement and $\varphi$ are of degree 1 on quadrilaterals.

# %%
modulus, cells = 100.0, 40
domain = mesh.create_unit_square(COMM, cells, cells, mesh.CellType.quadrilateral)
parts = [basix.ufl.element("Lagrange", domain.basix_cell(), 1, shape=shape) for shape in ((2,), (2, 2))]
V = fem.functionspace(domain, basix.ufl.mixed_element(parts))
w = fem.Function(V)
u, phi = ufl.split(w)
F = ufl.Identity(2) + ufl.grad(u)
density = lse.fem.energy(material, F)
density += lse.fem.micromorphic(ufl.grad(u), phi, length=0.0125, modulus=modulus, penalty=10.0 * modulus)

U, _ = V.sub(0).collapse()
boundary = fem.Function(U)
boundary.interpolate(lambda x: mean @ x[:2])
domain.topology.create_connectivity(1, 2)
dofs = fem.locate_dofs_topological((V.sub(0), U), 1, mesh.exterior_facet_indices(domain.topology))
bcs = [fem.dirichletbc(boundary, dofs, V.sub(0))]
problem = lse.fem.EnergyProblem(density * ufl.dx(degree=2), w, bcs=bcs, petsc_options_prefix="twins_")

# %% [markdown]
# ## A random start
#
# The mean deformation plus forty small random waves. `solve_to_minimum` solves, and leaves saddles along their lowest
# mode until no eigenvalue of the tangent is negative.

# %%
rng = np.random.default_rng(1)
waves, phases = 40.0 * rng.normal(size=(40, 2)), rng.uniform(0.0, 2.0 * np.pi, 40)
sizes = 2e-3 * rng.normal(size=(2, 40)) / np.sqrt(20.0)
w.sub(0).interpolate(lambda x: mean @ x[:2] + sizes @ np.sin(waves @ x[:2] + phases[:, None]))
w.sub(1).interpolate(lambda x: np.tile(mean.reshape(-1, 1), x.shape[1]))
lse.fem.stability.solve_to_minimum(problem, size=1e-2)
negative = lse.fem.stability.negative_eigenvalues(problem)

# %% [markdown]
# ## The layers
#
# Their normal is the direction in which the mode weight changes most: the first eigenvector of the mean of $\nabla w_1
# \otimes \nabla w_1$, away from the boundary.

# %%
S = fem.functionspace(domain, ("Lagrange", 1))
p, q = ufl.TrialFunction(S), ufl.TestFunction(S)
share = lse.fem.mode_weights(material, F)[0]
mass, load = p * q * ufl.dx, share * q * ufl.dx(degree=2)
g = ufl.grad(LinearProblem(mass, load, petsc_options_prefix="weight_", petsc_options={"ksp_rtol": 1e-10}).solve())
x = ufl.SpatialCoordinate(domain)
inside = ufl.conditional(ufl.lt(ufl.max_value(abs(x[0] - 0.5), abs(x[1] - 0.5)), 0.35), 1.0, 0.0)
T = [[COMM.allreduce(fem.assemble_scalar(fem.form(g[i] * g[j] * inside * ufl.dx))) for j in (0, 1)] for i in (0, 1)]
normal = np.linalg.eigh(np.array(T))[1][:, 1]
angle = float(np.degrees(np.arctan2(normal[1], normal[0])) % 180.0)
error = min(abs(angle - 45.0), abs(angle - 135.0))

# %% [markdown]
# ## The picture, and the check
#
# The normal of the layers is that of theory, 45 or 135 degrees, to one degree, and the state is a minimum.

# %%
fields = lse.fem.MaterialFields(material, F)
fields.update()
axes = Figure(figsize=(5.6, 4.6), layout="constrained").subplots()
lse.fem.draw_cells(fields.mode_weights, axes=axes, label="mode weight", displacement=w.sub(0).collapse())
if COMM.rank == 0:
    axes.figure.savefig(options.out / "twinned_crystal.png", dpi=130)
    print(json.dumps({"normal_error_deg": error, "negative_eigenvalues": negative}))
assert negative == 0, "the state is no minimum"
assert error < 1.0, "the layers have another normal than theory"
