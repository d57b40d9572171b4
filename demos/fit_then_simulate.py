"""From a data file to a converged simulation: a martensite plate with a hole, pulled through its transformation.

Problem. A martensite of two variants (square to rectangle, finite strain) has an energy with two wells and a ridge between
them. We have 1,000 measured rows of F, W and P with 1 % noise (demos/data/martensite.csv) and want the response of a
plate with a hole that starts in the variant that is short along x and is pulled into the one that is long along x.

The way. Fit an LSE-ICNN of two modes, save it, load it, and solve equilibrium twice: with the energy in the form, as UFL, and
with the stress stored at quadrature points. A viscous term eta grad(du/dt), in UFL, carries the solution across the ridge.

The check. Both routes are translations of one formula: their displacements agree to 1e-9 (relative to the plate's length).

    ./fenicsx python3 demos/fit_then_simulate.py
    ./fenicsx mpirun -n 2 python3 demos/fit_then_simulate.py --quick
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.io import XDMFFile, gmsh
from matplotlib.figure import Figure
from mpi4py import MPI

import lse_material as lse
from lse_material.analysis import wells
from lse_material.fem import MaterialFields, draw_cells, on_rank_0

HERE, COMM = Path(__file__).resolve().parent, MPI.COMM_WORLD
LENGTH, STEPS = 2.0, 60  # of the plate in mm; of the load
VISCOSITY = 60.0  # MPa per unit of du/dt; the unit of time is one load step


def fit_material(file, quick):
    """Fit two modes to four rows of five, save them, and return what the fifth row says of them."""
    from lse_material.fit import Architecture, Training, fit

    train, test = lse.read_samples(HERE / "data" / "martensite.csv").split(0.8, seed=0)
    shape, training = Architecture(modes=2, width=8, depth=1), Training(restarts=1 if quick else 3)
    result = fit(train, kinematics=lse.GreenLagrange(dim=2), architecture=shape, training=training, seed=0)
    print(result.summary(test))
    lse.save(result.material, file)
    names, error = ("active_modes", "rho", "test_error_energy", "test_error_stress"), result.error(test)
    return dict(zip(names, (result.active_modes, result.transition_scale, error.energy, error.stress), strict=True))


def pull(plate, material, route, steps, file, axes=None):
    """Solve; returns the displacement, mean strain and force of each step, and the last residuals of Newton's method."""
    # The wells: (a, b) are the stretches of the variant that is short along x, (b, a) those of the one long along x.
    found = wells(material.potential, material.training_box.lower, material.training_box.upper)
    a, b = np.sqrt(1.0 + 2.0 * min((well.x for well in found if well.inside), key=lambda x: x[0])[:2])
    # The plate, all of it in the first variant, between smooth grips: the left one stands still, the right one is pulled.
    V = fem.functionspace(plate.mesh, ("Lagrange", 2, (2,)))
    u, before, v = fem.Function(V), fem.Function(V), ufl.TestFunction(V)
    u.interpolate(lambda x: np.vstack([(a - 1) * (x[0] + LENGTH / 2), (b - 1) * x[1]]))
    Vx, Vy, Y, elongation = V.sub(0), V.sub(1), V.sub(1).collapse()[0], fem.Constant(plate.mesh, 0.0)
    left, right = (plate.facet_tags.find(plate.physical_groups[side].tag) for side in ("left", "right"))
    middle = fem.locate_dofs_geometrical((Vy, Y), lambda x: np.isclose(x[0], -LENGTH / 2) & np.isclose(x[1], 0))[0]
    grip = fem.dirichletbc(elongation, fem.locate_dofs_topological(Vx, 1, right), Vx)
    bcs = [fem.dirichletbc(0.0, fem.locate_dofs_topological(Vx, 1, left), Vx), grip, fem.dirichletbc(0.0, middle, Vy)]
    # Equilibrium. The two routes differ in the elastic term alone.
    F = ufl.Identity(2) + ufl.grad(u)
    stored = [lse.fem.QuadratureStress(material, F, degree=2)] if route == "quadrature" else []
    form = VISCOSITY * ufl.inner(ufl.grad(u - before), ufl.grad(v)) * ufl.dx(degree=2)
    if stored:
        form += ufl.inner(stored[0].operator, ufl.grad(v)) * stored[0].dx
    else:
        form += ufl.derivative(lse.fem.energy(material, F) * ufl.dx(degree=2), u, v)
    settings = {"petsc_options_prefix": f"{route}_", "petsc_options": {"snes_atol": 1e-12, "snes_rtol": 1e-12}}
    problem = lse.fem.MaterialProblem(form, u, bcs=bcs, stresses=stored, **settings)
    problem.solver.setConvergenceHistory(reset=True)
    # Load steps, with fields for ParaView; the step half way is drawn.
    fields, long = MaterialFields(material, F, ellipticity=False), int(material.mode_weights(np.diag([b, a])).argmax())
    nodal, curve = fem.Function(fem.functionspace(plate.mesh, ("Lagrange", 1, (2,))), name="displacement"), []
    with XDMFFile(COMM, file, "w") as xdmf:
        xdmf.write_mesh(plate.mesh)
        for step, strain in enumerate(np.linspace(a - 1, b - 1 + 0.01, STEPS + 1)[: steps + 1]):
            elongation.value, before.x.array[:] = LENGTH * strain, u.x.array
            problem.solve()
            curve.append((strain, problem.reaction(grip)))
            fields.update()
            nodal.interpolate(u)
            xdmf.write_function(nodal, float(step))
            fields.write(xdmf, float(step))
            if axes is not None and step == steps // 2:
                name = "weight of the mode long along x"
                draw_cells(fields.mode_weights, axes=axes, label=name, displacement=u, component=long, limits=(0, 1))
    return u, np.array(curve), problem.solver.getConvergenceHistory()[0][-3:].tolist()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the short form that the tests run")
    parser.add_argument("--out", type=Path, default=Path("results/fit_then_simulate"), help="directory for the files")
    options, start = parser.parse_args(), time.perf_counter()
    on_rank_0(COMM, lambda: options.out.mkdir(parents=True, exist_ok=True))
    file, steps = options.out / "martensite.safetensors", 15 if options.quick else STEPS
    figures = on_rank_0(COMM, lambda: fit_material(file, options.quick))
    material, plate = lse.load(file), gmsh.read_from_msh(HERE.parent / "meshes" / "plate_with_hole.msh", COMM, gdim=2)
    left, right = Figure(figsize=(11, 3.6), layout="constrained").subplots(1, 2, width_ratios=[1.5, 1])
    u, curve, newton = pull(plate, material, "ufl", steps, options.out / "plate.xdmf", left)
    other, points, newton_other = pull(plate, material, "quadrature", steps, options.out / "plate_quadrature.xdmf")
    left.set(xlabel="x in mm", ylabel="y in mm", title="Half way: the long variant grows from the hole")
    right.plot(100 * curve[:, 0], curve[:, 1], label="energy as UFL")
    right.plot(100 * points[:, 0], points[:, 1], "ko", ms=4, mfc="none", label="stress as external operator")
    right.set(xlabel="mean strain u/L in %", ylabel="force in N per mm of thickness", title="Two routes, one curve")
    right.legend(frameon=False, loc="lower right")
    difference = COMM.allreduce(np.abs(u.x.array - other.x.array).max(initial=0.0) / LENGTH, MPI.MAX)
    figures |= {"route_difference": difference, "newton_last_residuals": {"ufl": newton, "quadrature": newton_other}}
    figures |= {"peak_reaction": float(curve[:, 1].max()), "seconds": round(time.perf_counter() - start, 1)}
    if COMM.rank == 0:
        left.figure.savefig(options.out / "plate.png", dpi=150)
        print(json.dumps(figures))
    raise SystemExit(0 if difference <= 1e-9 else 1)
