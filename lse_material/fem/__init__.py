"""Materials in DOLFINx: UFL forms, stresses at quadrature points, solves, paths, cells, boundaries of phases, output.

Examples in docstrings take these lines as read:

    >>> import ufl
    >>> from dolfinx import fem, mesh
    >>> from mpi4py import MPI
    >>> domain = mesh.create_unit_square(MPI.COMM_WORLD, 4, 4)
    >>> V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    >>> u, v = fem.Function(V), ufl.TestFunction(V)
    >>> F = ufl.Identity(2) + ufl.grad(u)
    >>> E = 0.5 * (F.T * F - ufl.Identity(2))
    >>> x = [E[0, 0], E[1, 1], np.sqrt(2.0) * E[0, 1]]  # the inputs of the potential
    >>> left, right = (fem.locate_dofs_geometrical(V, lambda x, at=at: np.isclose(x[0], at)) for at in (0.0, 1.0))
    >>> pull = fem.Constant(domain, (0.0, 0.0))
    >>> bcs = [fem.dirichletbc(np.zeros(2), left, V), fem.dirichletbc(pull, right, V)]
    >>> W, dx = lse.fem.energy(material, F), ufl.dx(degree=1)
    >>> problem = lse.fem.EnergyProblem(W * dx, u, bcs=bcs, petsc_options_prefix="square_")
    >>> quadratic = lse.ConvexNetwork.from_arrays([], [np.zeros((1, 6))], [[0.0]], quadratic=np.eye(6))  # E:E / 2
    >>> solid = lse.Material(lse.SoftMinimum((quadratic,), 1.0), lse.GreenLagrange(3))  # in three dimensions
    >>> ends = [lse.ConvexNetwork.from_arrays([], [np.zeros((1, 3))], [[c]], quadratic=np.eye(3)) for c in (0.0, -0.5)]
    >>> gas = lse.Material(lse.SoftMinimum((lse.InterpolatedNetwork(*ends),), 1.0), lse.GreenLagrange(2), fields=("T",))
"""

from lse_material._extras import needed_by

with needed_by("lse_material.fem"):
    from lse_material.fem import _compat  # isort: skip  (refuses a DOLFINx that is too old before anything else)
    from lse_material.fem._mpi import on_rank_0
    from lse_material.fem.dynamics.discrete_gradient import discrete_gradient
    from lse_material.fem.dynamics.dynamics import Dynamics
    from lse_material.fem.dynamics.explicit import ExplicitMotion
    from lse_material.fem.dynamics.motion import Motion
    from lse_material.fem.forms.enclosed_volume import enclosed_volume
    from lse_material.fem.forms.energy import conjugates, energy, mode_weights, potential_energy, rotation, stress
    from lse_material.fem.forms.frozen_tangent import frozen_tangent
    from lse_material.fem.forms.global_unknowns import global_constraint, with_global_unknowns
    from lse_material.fem.forms.incompressible import (
        f_bar_energy,
        pressure_stabilisation,
        three_field_energy,
        two_field_energy,
        volume_constraint,
        with_volume,
    )
    from lse_material.fem.forms.lagged import lagged, mode_energies
    from lse_material.fem.forms.measures import with_quadrature_degree
    from lse_material.fem.forms.operator import jit_options
    from lse_material.fem.forms.reduced import axisymmetric_gradient, circumference, plane_gradient
    from lse_material.fem.forms.smoothed import smoothed
    from lse_material.fem.forms.thermomechanics import entropy, heat_taken_up, internal_energy
    from lse_material.fem.full_field import FullField, Support
    from lse_material.fem.homogenise.cell_stress import CellStress
    from lse_material.fem.homogenise.load_cases import CellPath, CellSamples, sample
    from lse_material.fem.homogenise.periodic_cell import CellState, PeriodicCell
    from lse_material.fem.homogenise.periodic_map import PeriodicMap
    from lse_material.fem.output.draw import Cells, draw_cells, gather_cells
    from lse_material.fem.output.extrapolation import ExtrapolationMonitor, ExtrapolationWarning
    from lse_material.fem.output.fields import MaterialFields, share_not_elliptic
    from lse_material.fem.paths.arclength import ArcLength, LimitPoint
    from lse_material.fem.paths.checkpoint import load_state, save_state
    from lse_material.fem.paths.history import History
    from lse_material.fem.paths.load_path import LoadPath
    from lse_material.fem.paths.time_path import Rejected
    from lse_material.fem.phase_field.cahn_hilliard import CahnHilliard
    from lse_material.fem.phase_field.evolution import Evolution
    from lse_material.fem.phase_field.regularise import (
        MeshWarning,
        check_resolution,
        interior_penalty,
        micromorphic,
        viscous,
    )
    from lse_material.fem.quadrature.derivatives import with_stored_values
    from lse_material.fem.quadrature.dissipation import Dissipation
    from lse_material.fem.quadrature.plane_stress import PlaneStress, PlaneValues
    from lse_material.fem.quadrature.stress import QuadratureStress
    from lse_material.fem.solve import stability
    from lse_material.fem.solve.energy_problem import EnergyProblem
    from lse_material.fem.solve.multigrid import MULTIGRID
    from lse_material.fem.solve.options import OptionWarning
    from lse_material.fem.solve.problem import MaterialProblem
    from lse_material.fem.solve.stability import StabilityWarning

__all__ = [
    "MULTIGRID",
    "ArcLength",
    "CahnHilliard",
    "CellPath",
    "CellSamples",
    "CellState",
    "CellStress",
    "Cells",
    "Dissipation",
    "Dynamics",
    "EnergyProblem",
    "Evolution",
    "ExplicitMotion",
    "ExtrapolationMonitor",
    "ExtrapolationWarning",
    "FullField",
    "History",
    "LimitPoint",
    "LoadPath",
    "MaterialFields",
    "MaterialProblem",
    "MeshWarning",
    "Motion",
    "OptionWarning",
    "PeriodicCell",
    "PeriodicMap",
    "PlaneStress",
    "PlaneValues",
    "QuadratureStress",
    "Rejected",
    "StabilityWarning",
    "Support",
    "axisymmetric_gradient",
    "check_resolution",
    "circumference",
    "conjugates",
    "discrete_gradient",
    "draw_cells",
    "enclosed_volume",
    "energy",
    "entropy",
    "f_bar_energy",
    "frozen_tangent",
    "gather_cells",
    "global_constraint",
    "heat_taken_up",
    "interior_penalty",
    "internal_energy",
    "jit_options",
    "lagged",
    "load_state",
    "micromorphic",
    "mode_energies",
    "mode_weights",
    "on_rank_0",
    "plane_gradient",
    "potential_energy",
    "pressure_stabilisation",
    "rotation",
    "sample",
    "save_state",
    "share_not_elliptic",
    "smoothed",
    "stability",
    "stress",
    "three_field_energy",
    "two_field_energy",
    "viscous",
    "volume_constraint",
    "with_global_unknowns",
    "with_quadrature_degree",
    "with_stored_values",
    "with_volume",
]

del _compat
