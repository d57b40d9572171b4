"""Plates of materials that transform, and what is measured of them.

The two wells differ by 11 % of strain and in their stiffness; a plate with a hole is pulled until it has transformed. The three
variants lie at 120 degrees of each other in the plane of shears; the plate is moved from each of them towards the next. Steps
are mean displacement gradients, which the ends follow; all other sides are free.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import gmsh
import numpy as np
import ufl
from dolfinx import fem, mesh
from dolfinx.io import gmsh as gmsh_io
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import EnergyProblem, FullField, Support, energy
from lse_material.fit import Architecture, FitResult, Sparsity, Training, fit

LENGTH, HEIGHT, RADIUS = 2.0, 1.0, 0.25
SQRT2 = np.sqrt(2.0)


@dataclass(frozen=True)
class Test:
    """A material and the steps of its test.

    Attributes:
        material: that makes the data.
        wells: Green-Lagrange strains of its wells, (k, 3).
        paths: mean displacement gradients (steps, 2, 2), each path from a state without stress.
    """

    material: lse.Material
    wells: np.ndarray
    paths: tuple[np.ndarray, ...]


def isotropic(modulus: float, poisson: float) -> np.ndarray:
    """Stiffness in plane stress, in Mandel order."""
    first, twice_shear = modulus * poisson / (1.0 - poisson**2), modulus / (1.0 + poisson)
    return first * np.outer([1, 1, 0], [1, 1, 0]) + twice_shear * np.eye(3)


def quadratic_wells(
    wells: np.ndarray, stiffness: Sequence[np.ndarray], heights: Sequence[float], rho: float
) -> lse.Material:
    """Wells (x - c) C (x - c) / 2 + height, of Green-Lagrange strain."""
    modes = []
    for c, C, height in zip(wells, stiffness, heights):
        bias = [0.5 * c @ C @ c + height]
        modes.append(lse.ConvexNetwork.from_arrays([], [-(C @ c)[None]], [bias], quadratic=np.linalg.cholesky(C).T))
    return lse.Material(lse.SoftMinimum(tuple(modes), rho), lse.GreenLagrange(2))


def stretch(x: np.ndarray) -> np.ndarray:
    """U of a Green-Lagrange strain in Mandel order."""
    E = np.array([[x[0], x[2] / SQRT2], [x[2] / SQRT2, x[1]]])
    values, vectors = np.linalg.eigh(np.eye(2) + 2.0 * E)
    return (vectors * np.sqrt(values)) @ vectors.T


def two_wells(steps: int = 14) -> Test:
    """A parent phase and one product, pulled from one to the other."""
    wells = np.array([[0.0, 0.0, 0.0], [0.10, -0.04, 0.02 * SQRT2]])
    material = quadratic_wells(wells, [isotropic(1.0, 0.3), isotropic(0.8, 0.25)], [0.0, 8e-4], 6e-4)
    pull = np.arange(1, steps + 1) * 0.14 / steps
    return Test(material, wells, (pull[:, None, None] * [[1.0, 0.0], [0.0, 0.0]],))


def three_variants(steps: int = 5) -> Test:
    """Three variants of one strain, each moved towards the next."""
    angle = np.deg2rad([0.0, 120.0, 240.0])
    wells = 0.08 * np.stack([np.cos(angle), -np.cos(angle), SQRT2 * np.sin(angle)], axis=1)
    material = quadratic_wells(wells, [isotropic(1.0, 0.3)] * 3, [0.0] * 3, 4e-4)
    stretches = [stretch(x) for x in wells]
    share = np.arange(1, steps + 1)[:, None, None] * 0.6 / steps
    pairs = zip(stretches, [*stretches[1:], stretches[0]])
    return Test(material, wells, tuple((1.0 - share) * U + share * other - np.eye(2) for U, other in pairs))


TESTS = {"two": two_wells, "three": three_variants}


def plate(size: float, *, notched: bool = False) -> mesh.Mesh:
    """A plate with a hole in its middle, or with a notch in each of its long sides, in triangles."""
    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    occ = gmsh.model.occ
    body = occ.addRectangle(-LENGTH / 2, -HEIGHT / 2, 0, LENGTH, HEIGHT)
    centres = ((-0.2, -HEIGHT / 2), (0.2, HEIGHT / 2)) if notched else ((0.0, 0.0),)
    occ.cut([(2, body)], [(2, occ.addDisk(*centre, 0, RADIUS, RADIUS)) for centre in centres])
    occ.synchronize()
    gmsh.option.setNumber("Mesh.MeshSizeMin", size)
    gmsh.option.setNumber("Mesh.MeshSizeMax", size)
    gmsh.model.addPhysicalGroup(2, [tag for _, tag in gmsh.model.getEntities(2)])
    gmsh.model.mesh.generate(2)
    domain = gmsh_io.model_to_mesh(gmsh.model, MPI.COMM_SELF, 0, gdim=2).mesh
    gmsh.finalize()
    return domain


def ends(V: fem.FunctionSpace) -> list[np.ndarray]:
    """Degrees of freedom of the left and of the right end, in x and in y."""
    found = []
    for side in (-LENGTH / 2, LENGTH / 2):
        facets = mesh.locate_entities_boundary(V.mesh, 1, lambda x, side=side: np.isclose(x[0], side))
        found += [fem.locate_dofs_topological(V.sub(i), 1, facets) for i in range(2)]
    return found


def steps_of(
    material: lse.Material, domain: mesh.Mesh, paths: Sequence[np.ndarray]
) -> Iterator[tuple[fem.Function, np.ndarray]]:
    """Of each step the displacement, which the next step changes, and the sums of the forces on the ends, (4,)."""
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u, moved, dofs = fem.Function(V), fem.Function(V), ends(V)
    W = energy(material, ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1)
    bcs = [fem.dirichletbc(moved, np.unique(np.concatenate(dofs) // 2))]
    problem = EnergyProblem(W, u, bcs=bcs, petsc_options_prefix=f"plate_{id(u)}_", predictor=False)
    for path in paths:
        u.x.array[:], before = 0.0, np.zeros((2, 2))
        for G in path:
            moved.interpolate(lambda x, change=G - before: change @ x[:2])
            u.x.array[:] += moved.x.array
            moved.interpolate(lambda x, G=G: G @ x[:2])
            problem.solve()
            reaction, before = problem.forces(), G
            yield u, np.array([reaction[d].sum() for d in dofs])


@dataclass(frozen=True, eq=False)
class Record:
    """A test in a fine mesh: displacements (steps, dofs) in V, and forces (steps, 4)."""

    V: fem.FunctionSpace
    fields: np.ndarray
    forces: np.ndarray

    @classmethod
    def of(cls, test: Test, size: float) -> Record:
        """Simulated in cells of that size."""
        steps = [(u.function_space, u.x.array.copy(), f) for u, f in steps_of(test.material, plate(size), test.paths)]
        return cls(steps[0][0], np.array([u for _, u, _ in steps]), np.array([f for _, _, f in steps]))

    def measured(self, noise: float, seed: int, size: float) -> FullField:
        """At the nodes of another mesh, with noise: that share of the largest displacement, and of the largest force."""
        V = fem.functionspace(plate(size), ("Lagrange", 1, (2,)))
        cells = np.arange(V.mesh.topology.index_map(2).size_local, dtype=np.int32)
        nearby = fem.create_interpolation_data(V, self.V, cells, padding=0.01)
        rng = np.random.default_rng(seed)
        error, force_error = noise * float(np.abs(self.fields).max()), noise * float(np.abs(self.forces).max())
        source, found = fem.Function(self.V), []
        for field in self.fields:
            source.x.array[:] = field
            found.append(fem.Function(V))
            found[-1].interpolate_nonmatching(source, cells, nearby)
            found[-1].x.array[:] += error * rng.normal(size=len(found[-1].x.array))
        forces = self.forces + force_error * rng.normal(size=self.forces.shape)
        supports = [Support(dofs, forces[:, k]) for k, dofs in enumerate(ends(V))]
        return FullField(found, supports, displacement_error=error, force_error=force_error)


def identified(field: FullField, *, seed: int, rounds: int, modes: int | Literal["auto"] = "auto") -> FitResult:
    """A fit to the measured field, which finds the number of modes, and fits to what the material of the one before smooths.

    The rounds end when a fit does not miss its observations, in their errors, by a tenth less than the one before, which is
    taken then: the difference of energy of the phases moves about in later ones, and their wells with it.
    """
    observed = field.observations()
    result = fit(
        observed,
        kinematics=lse.GreenLagrange(2),
        architecture=Architecture(modes=modes, max_modes=4, depth=0),
        training=Training(restarts=4, adam_steps=60, lbfgs_steps=60, validation=0.0),
        sparsity=Sparsity(tolerance=0.7 * observed.noise, restarts=1, adam_steps=100, trials=1, prune=1.0),
        seed=seed,
        progress=False,
    )
    training = Training(restarts=1, adam_steps=0, lbfgs_steps=30, validation=0.0)
    least = np.inf
    for _ in range(rounds):
        observed = field.observations(result.material)
        after = fit(observed, kinematics=lse.GreenLagrange(2), start=result.material, training=training, progress=False)
        assert after.train_errors.stress is not None
        misfit = after.train_errors.stress / observed.noise
        if misfit > 0.9 * least:
            break
        least, result = misfit, after
    return result


def modes_alone(material: lse.Material) -> list[tuple[lse.SoftMinimum, np.ndarray]]:
    """Each mode by itself, and its minimum: it is a well of the material unless another mode is lower there.

    A step of Newton's method finds it, since the modes are quadratic.
    """
    potential, x = material.potential, np.zeros((1, 3))
    alone = [replace(potential, modes=(mode,)) for mode in potential.modes]
    return [(mode, -np.linalg.solve(mode.hessian(x)[0], mode.gradient(x)[0])) for mode in alone]


def with_level(material: lse.Material, change: float) -> lse.Material:
    """The material with the energy of its second mode raised."""
    first, second = material.potential.modes
    bias = second.biases[-1] + change / material.potential.energy_scale
    raised = replace(second, biases=(*second.biases[:-1], bias))
    return replace(material, potential=replace(material.potential, modes=(first, raised)))


def levelled(
    material: lse.Material,
    domain: mesh.Mesh,
    paths: Sequence[np.ndarray],
    forces: np.ndarray,
    *,
    halvings: int = 4,
) -> lse.Material:
    """The material whose forces along these paths are the nearest, by the difference of energy of its two modes alone.

    Balance shows the stiffness and the well of each phase. It shows little of the difference, since no cell stays between the
    wells. The difference decides at which load cells go from one phase to the other, and these loads were measured.

    Args:
        material: of two modes.
        domain: the body that was measured.
        paths: mean displacement gradients.
        forces: sums on its ends, (steps, 4).
        halvings: of the range in which the difference is looked for.
    """

    def miss(change: float) -> float:
        try:
            found = [force for _, force in steps_of(with_level(material, change), domain, paths)]
        except lse.ConvergenceError:
            return np.inf
        return float(np.linalg.norm(np.array(found) - forces))

    alone, minima = zip(*modes_alone(material))
    away = minima[1] - minima[0]
    width = 0.25 * float(away @ alone[0].hessian(minima[0][None])[0] @ away)
    found = {0.0: miss(0.0)}
    for _ in range(halvings):
        best = min(found, key=lambda change: found[change])
        found |= {change: miss(change) for change in best + width * np.array([-1.0, -0.5, 0.5, 1.0])}
        width *= 0.5
    return with_level(material, min(found, key=lambda change: found[change]))


def well_errors(material: lse.Material, wells: np.ndarray) -> np.ndarray:
    """Distance of each well from the nearest minimum of a mode, in units of the strain between the first two: (k,).

    Whether a material has a minimum there depends on the differences of energy too, which balance shows little of.
    """
    found = np.array([minimum for _, minimum in modes_alone(material)])
    distance = np.linalg.norm(found - wells[:, None], axis=2).min(axis=1)
    return distance / np.linalg.norm(wells[1] - wells[0])
