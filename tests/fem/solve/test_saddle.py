"""Mixed energies with wells: the multipliers are eliminated, and the path goes from minimum to minimum."""

import numpy as np
import pytest
import ufl
from dolfinx import fem

import lse_material as lse
from lse_material.fem import LoadPath
from lse_material.fem.solve.saddle import EliminatedEnergy
from tests.fem.cook import LOAD, Cook, neo_hookean
from tests.fem.problems import total
from tests.materials import two_variants

BULK = 1e4  # shear modulus 1


def wells(n, kind, **options):
    return Cook(n, kind, two_variants(rho=0.002), bulk=BULK, stabilised=False, **options)


@pytest.mark.mpi
@pytest.mark.parametrize("kind", ["P2-P1", "Q1-P0"])
def test_a_path_through_wells_goes_down_and_ends_in_minima(kind):
    cook = wells(4, kind)
    assert lse.fem.stability.negative_eigenvalues(cook.problem) > 0  # F = I lies between the wells everywhere
    observed = {"tip": cook.tip, "negative": lambda: lse.fem.stability.negative_eigenvalues(cook.problem)}
    path = LoadPath(cook.problem, cook.apply, observed, perturbation_size=0.05, progress=False)
    before = cook.problem.energy()
    table = path.run([0.0, 0.01, 0.02, 0.03])
    assert table["energy"][0] < before
    assert (table["negative"] == 0).all()
    assert table["tip"][-1] > table["tip"][0] + 1.0
    J = ufl.det(cook.F)
    dx = ufl.dx(degree=4, domain=cook.domain)
    comm = cook.domain.comm
    change, size = (comm.allreduce(fem.assemble_scalar(fem.form(f * dx))) for f in ((J - 1.0), 1.0 + 0.0 * J))
    assert abs(change / size) < 1e-5  # the volume is kept


def test_newtons_method_alone_may_stop_at_a_saddle():
    cook = wells(4, "P2-P1", fallback=False)
    cook.problem.solve()  # F = I is an equilibrium by symmetry
    assert lse.fem.stability.negative_eigenvalues(cook.problem) > 0


@pytest.mark.parametrize("kind", ["P2-P1", "Q1-P0", "P1-P1"])
def test_eliminated_fields_follow_the_displacement_and_the_gradient_is_that_of_the_rest(kind):
    """E(u) = Pi(u, y(u)) with dPi/dy = 0: dE/du = dPi/du."""
    cook = Cook(3, kind)
    problem, rng = cook.problem, np.random.default_rng(0)
    eliminated = EliminatedEnergy(problem)
    x, direction, gradient = (problem.x.duplicate() for _ in range(3))
    u = problem.fields.fields[0]
    x.set(0.0)
    direction.set(0.0)
    free = u.dofs[problem.fields.is_free(u)]
    x.array[free] = 0.1 * rng.uniform(-1, 1, len(free))
    direction.array[free] = rng.uniform(-1, 1, len(free))

    def energy(step):
        moved = x.copy()
        moved.axpy(step, direction)
        eliminated.set_iterate(moved)
        return eliminated.value()

    h = 1e-3
    difference = (8 * (energy(h) - energy(-h)) - (energy(2 * h) - energy(-2 * h))) / (12 * h)
    energy(0.0)
    eliminated.residual(gradient)
    norms = problem.fields.norms(gradient)
    assert (norms[1:] <= problem.fields.rounding(problem.tangent())[1:]).all()
    assert gradient.dot(direction) == pytest.approx(difference, rel=1e-7)


def test_an_infinite_bulk_modulus_finds_minima_among_wells_too():
    """The displacement does not determine the pressure then: minima of augmented Lagrangians lead to that of the energy."""
    cook = Cook(3, "P2-P1", two_variants(rho=0.002), bulk=np.inf)
    assert lse.fem.stability.negative_eigenvalues(cook.problem) > 0
    cook.apply(0.01)
    cook.problem.solve()
    assert cook.problem.fallbacks == 1
    assert lse.fem.stability.is_stable(cook.problem)
    volume = ufl.det(cook.F) - 1.0
    pressure = ufl.split(cook.state)[1]
    mean = pressure - total(pressure * ufl.dx) / total(ufl.as_ufl(1.0) * ufl.dx(domain=cook.domain))
    assert abs(total(volume * mean * ufl.dx(degree=4))) < 1e-10 * total(abs(mean) * ufl.dx(degree=4))
    assert abs(total(volume * ufl.dx(degree=4))) < 1e-10 * total(ufl.as_ufl(1.0) * ufl.dx(domain=cook.domain))


@pytest.mark.parametrize(("length", "modulus"), [(1e-6, 1e6), (1e3, 1e-6)])
def test_units_of_length_and_stress_change_nothing(length, modulus):
    """Pressures and displacements differ by 18 orders of magnitude more or less, and the steps are the same."""
    found = []
    for size, stress in ((1.0, 1.0), (length, modulus)):
        potential = neo_hookean().potential
        scaled = lse.SoftMinimum(potential.modes, 1.0, energy_scale=stress)
        cook = Cook(6, "P2-P1", lse.Material(scaled, lse.IsotropicInvariants(2)))
        cook.domain.geometry.x[:] *= size
        cook.apply(LOAD * stress)
        prefix = f"units_{size}_{stress}_"
        problem = lse.fem.EnergyProblem(cook.energy, cook.state, bcs=cook.bcs, petsc_options_prefix=prefix)
        problem.solve()
        lowest = lse.fem.stability.lowest_modes(problem, 2).values / stress
        found.append((problem.iterations, problem.fallbacks, cook.state.sub(0).collapse().x.array / size, lowest))
    assert found[0][:2] == found[1][:2]
    for one, other in zip(found[0][2:], found[1][2:], strict=True):
        assert np.abs(other - one).max() < 1e-9 * np.abs(one).max()


def test_arc_length_follows_a_mixed_energy():
    cook = Cook(4, "P2-P1")
    u = ufl.split(cook.state)[0]
    tags = [i.subdomain_data() for i in cook.energy.integrals() if i.integral_type() == "exterior_facet"]
    work = LOAD * u[1] * ufl.Measure("ds", cook.domain, subdomain_data=tags[0])(1)
    path = lse.fem.ArcLength(cook.problem, work, size=1.0, observe={"tip": cook.tip})
    table = path.run(3)
    assert (table["negative"] == 0).all()
    alone = Cook(4, "P2-P1")
    alone.apply(LOAD * table["factor"][-1])
    alone.problem.solve()
    assert table["tip"][-1] == pytest.approx(alone.tip(), rel=1e-8)


def test_continuation_of_a_mixed_energy_is_refused():
    cook = Cook(2, "P2-P1", neo_hookean())
    with pytest.raises(lse.InvalidInputError, match="mixed energy has no minimum"):
        lse.fem.EnergyProblem(cook.energy, cook.state, bcs=cook.bcs, petsc_options_prefix="mixed_", continuation=(2.0,))
