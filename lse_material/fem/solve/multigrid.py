"""Large bodies: the trust region without factors of matrices, preconditioned by multigrid on the frozen-weight tangent.

    EnergyProblem(energy, u, bcs=bcs, petsc_options_prefix="block_", petsc_options=MULTIGRID, tolerance=1e-6, fallback=False)

MINRES and GMRES fail on tangents that are far from positive definite. Steihaug's conjugate gradients (`stcg`) stop where the
tangent is not positive. The frozen-weight tangent is always positive, and multigrid coarsens it with the rigid motions as near
null space. P. Vanek, M. Brezina, J. Mandel, Numer. Math. 88, 559 (2001).

Small load steps from a state near a minimum take few iterations. A homogeneous state far beyond its loss of stability must
find its microstructure first; no preconditioner shortens that.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from dolfinx import fem
from dolfinx.fem.petsc import create_vector
from petsc4py import PETSc

from lse_material.fem._lifetime import temporary
from lse_material.fem.solve.fields import Fields
from lse_material.fem.solve.line_search import Operator
from lse_material.fem.solve.options import DIRECT, FAILED_LINEAR

MULTIGRID: Mapping[str, Any] = {
    "ksp_rtol": 1e-2,
    "ksp_max_it": 200,
    "pc_type": "gamg",
    "pc_gamg_threshold": 0.01,
    "pc_gamg_reuse_interpolation": True,
    "mg_levels_ksp_type": "chebyshev",
    "mg_levels_pc_type": "jacobi",
}
FEW = 30  # iterations of conjugate gradients that cost about as much as a new preconditioner
STEP_TOLERANCE = 1e-4  # relative residual of `linear_step`


def is_direct(ksp: PETSc.KSP) -> bool:
    """Whether the preconditioner is a factor of a matrix."""
    return ksp.getPC().getType() in DIRECT


class KeptPreconditioner:
    """Keeps a preconditioner that is no factor through the iterations of a trust region, while linear solves by it are short.

    PETSc makes one anew where its matrix has changed, which the caller therefore leaves as it is. The solver's option
    snes_lag_preconditioner, if it is set, decides instead.
    """

    def __init__(self, snes: PETSc.SNES) -> None:
        A, P = snes.getJacobian()[:2]
        chosen = PETSc.Options(snes.getOptionsPrefix()).hasName("snes_lag_preconditioner")
        possible = snes.getType() == "newtontr" and not is_direct(snes.getKSP()) and A.handle != P.handle
        self._possible, self._made, self._kept = possible and not chosen, False, False

    def restart(self) -> None:
        """At the start of a solve, or where it failed: the next is made anew."""
        self._made = self._kept = False

    def note(self) -> None:
        """It was made in this solve."""
        self._made = self._possible

    def serves(self, ksp: PETSc.KSP) -> bool:
        """Whether the next linear solve takes it as it is; else the caller makes it anew."""
        self._kept = self._made and ksp.getIterationNumber() <= FEW
        self.note()
        return self._kept

    def failed(self, snes: PETSc.SNES) -> bool:
        """Whether a linear solve by one that was kept failed; the next is made anew."""
        reason: Any = snes.getConvergedReason()
        failed = self._kept and reason == FAILED_LINEAR
        if failed:
            self.restart()
        return failed


def prepare_multigrid(snes: PETSc.SNES, V: fem.FunctionSpace, fields: Fields) -> KeptPreconditioner:
    """Tell a preconditioner that is no factor what it needs to know of V; returns whether it is kept. Collective."""
    ksp, P = snes.getKSP(), snes.getJacobian()[1]
    ksp.getPC().setUseAmat(False)  # multigrid would smooth with the tangent, and not be positive where that is not
    if ksp.getPC().getType() == "gamg":
        set_rigid_modes(P, V)
    if not is_direct(ksp):
        keep_dirichlet_values(ksp, fields)
    return KeptPreconditioner(snes)


def set_rigid_modes(P: PETSc.Mat, V: fem.FunctionSpace) -> None:
    """Tell multigrid what the rigid motions are, if V holds displacements by nodes; collective.

    The block size of P must be that of V.
    """
    dim = V.mesh.geometry.dim
    if dim < 2 or V.dofmap.index_map_bs != dim or P.getBlockSize() != dim:
        return
    with temporary(create_vector(V)) as (nodes,):
        nodes.setBlockSize(dim)
        owned = V.dofmap.index_map.size_local
        nodes.array[:] = np.asarray(V.tabulate_dof_coordinates()[:owned, :dim]).reshape(-1)
        with temporary(PETSc.NullSpace().createRigidBody(nodes)) as (modes,):
            P.setNearNullSpace(modes)


def keep_dirichlet_values(ksp: PETSc.KSP, fields: Fields) -> None:
    """Zero the prescribed entries of u in each step that `ksp` finds.

    Multigrid does not respect Dirichlet conditions on single components of a node: its corrections change them, and the energy
    would belong to different boundary conditions.
    """
    prescribed = ~fields.free[0]

    def zero_prescribed(ksp: PETSc.KSP, b: PETSc.Vec, step: PETSc.Vec) -> None:
        step.array[prescribed] = 0.0

    ksp.setPostSolve(zero_prescribed)


def free_part(inverse: Operator, fields: Fields) -> Operator:
    """A preconditioner whose result is zero where u is prescribed."""
    prescribed = ~fields.free[0]

    def precondition(residual: PETSc.Vec, step: PETSc.Vec) -> None:
        inverse(residual, step)
        step.array[prescribed] = 0.0

    return precondition


def linear_step(ksp: PETSc.KSP, A: PETSc.Mat, P: PETSc.Mat | None, b: PETSc.Vec, step: PETSc.Vec) -> bool:
    """step = A^-1 b by conjugate gradients with the preconditioner of `ksp`; False if A was found not to be positive."""
    with temporary(PETSc.KSP().create(A.comm)) as (cg,):
        cg.setType("cg")
        cg.setPC(ksp.getPC())
        cg.setOperators(A, A if P is None else P)
        cg.setTolerances(rtol=STEP_TOLERANCE, max_it=300)
        cg.solve(b, step)
        reason: Any = cg.getConvergedReason()
        return bool(reason > 0)
