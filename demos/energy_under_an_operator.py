# %% [markdown]
# # An energy under an operator
#
# A user of dolfinx-external-operator asked (its issue 27): the energy comes from outside UFL and takes invariants; it is
# to be mixed with other terms of UFL, differentiated twice, and solved by SNES. An external operator cannot be
# differentiated twice yet (UFL issue 449). A potential of this package can: it is an operator of UFL with derivatives of
# its own. Here the energy of a foam over its volume comes from a table, and the rest is UFL.

# %% tags=["hide"]
import argparse
import json
from pathlib import Path

import dolfinx.fem.petsc
import numpy as np
import ufl
from dolfinx import fem, mesh
from matplotlib.figure import Figure
from mpi4py import MPI

import lse_material as lse
from lse_material.fit import Architecture, Training, fit

parser = argparse.ArgumentParser(description="An energy under an operator")
parser.add_argument("--out", type=Path, default=Path("results/energy_under_an_operator"), help="folder for the files")
options, _ = parser.parse_known_args()
options.out.mkdir(parents=True, exist_ok=True)
COMM = MPI.COMM_WORLD

# %% [markdown]
# ## The potential
#
# 60 energies and pressures of a foam that has two states, open at J = 1 and densified near J = 0.7. Two convex modes take
# them; any soft minimum will do, of a fit or [written by hand](potential_and_wells.md). Every rank makes the same fit.

# %%
stored = np.polynomial.Polynomial([1.0, -1.0]) ** 2 * (np.polynomial.Polynomial([-0.7, 1.0]) ** 2 + 0.002) * 400.0
volume = np.linspace(0.6, 1.15, 60)
samples = lse.Samples(x=volume[:, None], energy=stored(volume), gradient=stored.deriv()(volume)[:, None])
training = Training(restarts=1, adam_steps=300, lbfgs_steps=300, validation=0.0)
psi = fit(samples, architecture=Architecture(modes=2), training=training, progress=False).potential
error = np.abs(psi.gradient(volume[:, None])[:, 0] - stored.deriv()(volume)).max() / np.ptp(stored.deriv()(volume))
if COMM.rank == 0:
    print(f"largest error of the pressure: {error:.2%} of its range")

# %% [markdown]
# ## The energy
#
# The operator takes the invariant J. It stands beside shear in plain UFL and a spring on the top. `ufl.derivative` is
# used twice, as in any script, and DOLFINx's own `NonlinearProblem` gives both forms to SNES.

# %%
domain = mesh.create_unit_square(COMM, 12, 12)
V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
u, v, w = fem.Function(V, name="displacement"), ufl.TestFunction(V), ufl.TrialFunction(V)
top = mesh.locate_entities_boundary(domain, 1, lambda x: np.isclose(x[1], 1.0))
bottom = mesh.locate_entities_boundary(domain, 1, lambda x: np.isclose(x[1], 0.0))
tags = mesh.meshtags(domain, 1, np.sort(top), np.ones(len(top), dtype=np.int32))
ds = ufl.Measure("ds", domain=domain, subdomain_data=tags)

deformation = ufl.Identity(2) + ufl.grad(u)
J = ufl.det(deformation)
mu, stiffness, pushed = 10.0, 40.0, fem.Constant(domain, 0.0)
shear = 0.5 * mu * (ufl.inner(deformation, deformation) - 2.0 - 2.0 * ufl.ln(J))
E = (lse.fem.potential_energy(psi, [J]) + shear) * ufl.dx(degree=4) + 0.5 * stiffness * (u[1] + pushed) ** 2 * ds(1)
residual = ufl.derivative(E, u, v)
tangent = ufl.derivative(residual, u, w)

# %% [markdown]
# ## The solve
#
# The spring pushes the top of the block down while its foot is fixed, in five steps.

# %%
fixed = fem.dirichletbc(np.zeros(2), fem.locate_dofs_topological(V, 1, bottom), V)
petsc_options = {"snes_rtol": 1e-12, "snes_atol": 1e-12, "ksp_type": "preonly", "pc_type": "lu",
                 "pc_factor_mat_solver_type": "mumps", "snes_error_if_not_converged": True}  # fmt: skip
problem = dolfinx.fem.petsc.NonlinearProblem(
    residual, u, J=tangent, bcs=[fixed], petsc_options_prefix="foam_", petsc_options=petsc_options
)
for step in range(1, 6):
    pushed.value = 0.02 * step
    problem.solve()
    if COMM.rank == 0:
        print(f"pushed {pushed.value:.2f}: {problem.solver.getIterationNumber()} Newton iterations")

# %% [markdown]
# ## The check
#
# Along a direction d, the energy less its Taylor polynomial with residual and tangent is of third order in the step.
# Were the second derivative of the operator zero, as for an external operator, it would be of second order.

# %%
d = fem.Function(V)
d.interpolate(lambda x: (np.sin(3.0 * x[1]), np.cos(2.0 * x[0]) * x[1]))
linear, quadratic = ufl.action(residual, d), ufl.action(ufl.action(tangent, d), d)


def value(form):
    return COMM.allreduce(fem.assemble_scalar(fem.form(form)))


at, energies = u.x.array.copy(), []
start, first, second = value(E), value(linear), value(quadratic)
steps = 0.04 * 0.5 ** np.arange(5)
energy = fem.form(E)
for h in steps:
    u.x.array[:] = at + h * d.x.array
    energies.append(COMM.allreduce(fem.assemble_scalar(energy)))
u.x.array[:] = at
rest = np.abs(np.array(energies) - start - steps * first - 0.5 * steps**2 * second)
order = float(np.log2(rest[-2] / rest[-1]))

# %%
figure = Figure(figsize=(11.0, 3.6), layout="constrained")
table, picture, curve = figure.subplots(1, 3)
table.plot(volume, stored(volume), "k.", label="table")
table.plot(volume, psi.energy(volume[:, None]), color="tab:orange", label="two modes")
table.set(xlabel="J", ylabel="energy per volume", title="the foam")
table.legend(frameon=False)
volumes = fem.Function(fem.functionspace(domain, ("DG", 0)))
volumes.interpolate(fem.Expression(J, volumes.function_space.element.interpolation_points))
lse.fem.draw_cells(volumes, axes=picture, label="J", title="pushed block", displacement=u)
curve.loglog(steps, rest, "ko-", label=f"order {order:.2f}")
curve.set(xlabel="step", ylabel="energy less Taylor polynomial", title="two derivatives")
curve.legend(frameon=False)
if COMM.rank == 0:
    figure.savefig(options.out / "energy_under_an_operator.png", dpi=130)
    print(json.dumps({"order": order, "energy": start, "error": float(error)}))
assert order > 2.8, "the tangent is not the second derivative of the energy"
