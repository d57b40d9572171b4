"""Heat from the same energy as the stress: adiabatic cycles keep energy, a transformation cools by its latent heat."""

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import MaterialProblem, entropy, heat_taken_up, internal_energy, stress
from tests.materials import quadratic_well, temperature_material

CAPACITY, ENTROPY = 0.2, 0.001  # of the body, and by which the states differ


def transforming(scale=0.002):
    """Two states, E11 = 0 and 0.1, which have the same energy at 350; the second has more entropy."""
    stiffness = np.diag([4.0, 4.0, 2.0])
    modes = [
        lse.InterpolatedNetwork(*(quadratic_well([place, 0.0, 0.0], stiffness, level) for level in levels))
        for place, levels in ((0.0, (0.0, 0.0)), (0.1, (50.0 * ENTROPY, -50.0 * ENTROPY)))
    ]
    potential = lse.SoftMinimum(tuple(modes), scale, [300.0, 0.0, 0.0, 0.0], [100.0, 1.0, 1.0, 1.0])
    return lse.Material(potential, lse.SmallStrain(2), fields=("T",), caloric=lse.Caloric(CAPACITY, 300.0))


class Body:
    """A square that is stretched along x, with its temperature among the unknowns, and steps of it."""

    def __init__(self, material, n, conductivity=0.0):
        domain = mesh.create_unit_square(MPI.COMM_WORLD, n, n)
        cell = domain.basix_cell()
        parts = [basix.ufl.element("Lagrange", cell, 1, shape=(2,)), basix.ufl.element("Lagrange", cell, 1)]
        V = fem.functionspace(domain, basix.ufl.mixed_element(parts))
        self.w, self.old = fem.Function(V), fem.Function(V)
        self.w.sub(1).interpolate(lambda x: 350.0 + 2.0 * (conductivity > 0.0) * np.cos(np.pi * x[0]))
        self.old.x.array[:] = self.w.x.array
        (u, T), (u0, T0), (v, q) = ufl.split(self.w), ufl.split(self.old), ufl.TestFunctions(V)
        F, F0 = (ufl.Identity(2) + ufl.grad(each) for each in (u, u0))
        self.P = stress(material, F, fields=[T])
        heat = heat_taken_up(material, F, F0, fields=[T], fields_old=[T0])
        residual = ufl.inner(self.P, ufl.grad(v)) + heat * q + 0.1 * conductivity * ufl.dot(ufl.grad(T), ufl.grad(q))
        self.stretch, zero = fem.Constant(domain, 0.0), fem.Constant(domain, 0.0)
        W, bcs = V.sub(0), []
        for place, component, value in ((0.0, 0, zero), (1.0, 0, self.stretch), (None, 1, zero)):
            facets = mesh.locate_entities_boundary(
                domain, 1, lambda x, p=place: np.isclose(x[1], 0.0) if p is None else np.isclose(x[0], p)
            )
            bcs.append(
                fem.dirichletbc(value, fem.locate_dofs_topological(W.sub(component), 1, facets), W.sub(component))
            )
        dx = ufl.dx(degree=2)
        self.problem = MaterialProblem(
            residual * dx,
            self.w,
            bcs=bcs,
            petsc_options_prefix="thermal_",
            petsc_options={
                "snes_rtol": 1e-13,
                "snes_atol": 1e-12,
                "ksp_type": "preonly",
                "pc_type": "lu",
                "pc_factor_mat_solver_type": "mumps",
            },
        )
        self.forms = [
            fem.form(each * dx) for each in (internal_energy(material, F, fields=[T]), ufl.inner(self.P, F - F0), T)
        ]
        self.entropy = fem.form(entropy(material, F, fields=[T]) * dx)

    def integral(self, form):
        return self.w.function_space.mesh.comm.allreduce(fem.assemble_scalar(form))

    def step(self, stretch):
        """Internal energy, work of the step, and mean temperature."""
        self.old.x.array[:] = self.w.x.array
        self.stretch.value = stretch
        self.problem.solve()
        return [self.integral(form) for form in self.forms]


@pytest.mark.mpi
@pytest.mark.parametrize(("conductivity", "scale"), [(0.0, 0.002), (0.2, 0.02)])  # the second is convex: no bands form
def test_energies_of_a_cycle_add_up_to_the_work_done(conductivity, scale):
    body = Body(transforming(scale), 3, conductivity)
    first = body.integral(body.forms[0])
    entropy_before = body.integral(body.entropy)
    work = 0.0
    for stretch in (0.02, 0.05, 0.08, 0.1, 0.06, 0.03, 0.0):
        energy, done, _ = body.step(stretch)
        work += done
    assert abs(energy - first - work) < 1e-8 * abs(first)
    if conductivity > 0.0:  # W is convex along the path: steps of any length dissipate, and so does conduction
        assert body.integral(body.entropy) > entropy_before
        assert work > 0.0


def test_a_transformation_cools_by_its_latent_heat_over_the_heat_capacity():
    material = transforming()
    body = Body(material, 1)
    for stretch in np.linspace(0.0, 0.1, 81)[1:]:
        _, _, temperature = body.step(stretch)
    assert material.mode_weights(np.diag([1.1, 1.0]), [temperature]).argmax() == 1
    assert 350.0 - temperature == pytest.approx(350.0 * ENTROPY / CAPACITY, rel=0.01)


def test_entropy_and_internal_energy_are_those_of_numpy():
    material = temperature_material()
    domain = mesh.create_unit_square(MPI.COMM_SELF, 1, 1)
    F, T = np.array([[1.05, 0.08], [-0.03, 0.94]]), 342.0
    G, t = ufl.as_matrix(fem.Constant(domain, F)), fem.Constant(domain, T)
    found = [
        fem.assemble_scalar(fem.form(each(material, G, fields=[t]) * ufl.dx(domain)))
        for each in (entropy, internal_energy)
    ]
    S = material.entropy(F, [T])
    np.testing.assert_allclose(found, [S, material.energy(F, [T]) + T * S], rtol=1e-11)
    with pytest.raises(lse.InvalidInputError, match="an entropy is of a material with one temperature"):
        entropy(material.at(T=342.0), G, fields=[])
