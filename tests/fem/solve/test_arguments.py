"""Forms, unknowns and conditions that do not belong together are refused before anything is compiled, on every rank."""

from functools import cached_property

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from petsc4py import PETSc

import lse_material as lse
from lse_material.fem import EnergyProblem, MaterialFields, MaterialProblem, QuadratureStress, energy
from lse_material.fem.solve.arguments import check_unknowns
from lse_material.fem.solve.folded_mesh import refuse_folded
from tests.fem.problems import mixed
from tests.materials import saint_venant_kirchhoff

pytestmark = pytest.mark.mpi
WORLD = MPI.COMM_WORLD


class Square:
    """A function u with its energy and residual, and a function w of displacement and pressure."""

    material = saint_venant_kirchhoff(2)

    def __init__(self):
        self.domain = mesh.create_unit_square(WORLD, 1, 1)  # of two cells: one rank of three has none
        self.u = fem.Function(fem.functionspace(self.domain, ("Lagrange", 1, (2,))), name="u")
        self.v = ufl.TestFunction(self.u.function_space)
        self.w = mixed(self.domain, (1, (2,)), 1)
        self.w.name = "w"

    def density(self, u):
        return energy(self.material, ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1)

    @cached_property
    def W(self):
        return self.density(self.u)

    @cached_property
    def R(self):
        return ufl.derivative(self.W, self.u, self.v)

    def refused(self, match, form, u=None, **arguments):
        """By the kind of problem that takes the form."""
        u, kind = self.u if u is None else u, MaterialProblem
        if isinstance(form, ufl.Form) and not form.arguments() and "residual" not in match:
            kind = EnergyProblem
        with pytest.raises(lse.InvalidInputError, match=match):
            kind(form, u, petsc_options_prefix="arguments_", **arguments)


@pytest.fixture(scope="module")
def square():
    return Square()


@pytest.mark.parametrize("parts", [lambda w: w.split(), lambda w: (w.sub(0), w.sub(1))], ids=["split", "sub"])
def test_views_of_the_unknown_are_no_part_of_it_for_ufl(square, parts):
    """Their derivative in w is zero: without a load, any state would count as solved."""
    u, p = parts(square.w)
    W = square.density(u) + p**2 * ufl.dx
    match = r"parts of 'w' as w\.split\(\) or w\.sub\(i\) give them.* Take ufl\.split\(w\)"
    square.refused(match, W, square.w)
    square.refused(match, ufl.derivative(W, square.w), square.w)
    square.refused("no function of a space of its own", square.density(u), u)
    MaterialProblem(
        ufl.derivative(square.density(ufl.split(square.w)[0]), square.w), square.w, petsc_options_prefix="split_"
    )


def test_a_form_of_another_function_than_the_unknown(square):
    other = fem.Function(square.u.function_space, name="other")
    P = QuadratureStress(square.material, ufl.Identity(2) + ufl.grad(square.u), degree=1)
    match = "the unknown 'other' does not occur in the form"
    square.refused(match, square.W, other)
    square.refused(match, square.R, other)
    square.refused(match, ufl.derivative(square.W, other, square.v), other)
    square.refused(match, ufl.inner(P.operator, ufl.grad(square.v)) * P.dx, other, stresses=[P])


def test_forms_of_another_rank_or_another_test_function(square):
    quadratic = fem.functionspace(square.domain, ("Lagrange", 2, (2,)))
    square.refused("the residual has no test function", square.W)
    square.refused("the residual has a test and a trial function", ufl.derivative(square.R, square.u))
    square.refused("a Jacobian has a test function, and needs a test and a trial function", square.R, J=square.R)
    square.refused("the test function is of ", ufl.derivative(square.W, square.u, ufl.TestFunction(quadratic)))


def test_lists_that_are_none(square):
    bc = fem.dirichletbc(np.zeros(2), np.array([], dtype=np.int32), square.u.function_space)
    P = QuadratureStress(square.material, ufl.Identity(2) + ufl.grad(square.u), degree=1)
    square.refused(r"give bcs=\[fem\.dirichletbc", square.R, bcs=bc)
    square.refused(r"stresses=\[P\]", ufl.inner(P.operator, ufl.grad(square.v)) * P.dx, stresses=P)
    assert MaterialProblem(square.R, square.u, bcs=None, petsc_options_prefix="none_").bcs == ()


def test_what_is_no_material_and_no_degree(square):
    F = ufl.Identity(2) + ufl.grad(square.u)
    for wrong in ("cell.safetensors", square.material.potential):
        with pytest.raises(lse.InvalidInputError, match=r"no Material: load a file by lse\.load"):
            energy(wrong, F)
    for degree in (2.0, "2", None, True, -1):
        for make in (QuadratureStress, MaterialFields):
            with pytest.raises(lse.InvalidInputError, match=r"quadrature degree is .* whole number"):
                make(square.material, F, degree=degree)
    with pytest.raises(lse.InvalidInputError, match="F is a ndarray, and no UFL tensor"):
        QuadratureStress(square.material, np.eye(2), degree=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"petsc_options_prefix": "two words_"}, "petsc_options_prefix is 'two words_'"),
        ({"petsc_options_prefix": None}, "petsc_options_prefix is None"),
        ({"petsc_options": [("ksp_type", "cg")]}, "it must be a dictionary"),
        ({"petsc_options": {"-ksp_type": "cg"}}, "dashes in front"),
        ({"stresses": None}, "stresses is None"),
        ({"kind": "nest"}, "nest"),
        ({"continuation": 8}, "continuation has 0 axes"),
        ({"continuation": ("x",)}, "continuation cannot be read"),
    ],
)
def test_arguments_of_another_type_are_refused_by_name(square, arguments, message):
    with pytest.raises(lse.InvalidInputError, match=message):
        EnergyProblem(square.W, square.u, **{"petsc_options_prefix": "types_", **arguments})


def test_reactions_modes_and_lengths_refuse_what_they_cannot_take(square):
    problem = MaterialProblem(square.R, square.u, petsc_options_prefix="reaction_")
    for wrong, message in (
        (lambda: problem.reaction(None), "one Dirichlet condition"),
        (lambda: lse.fem.stability.is_stable(problem), "an EnergyProblem, and not a MaterialProblem"),
        (lambda: lse.fem.check_resolution(square.domain, "a"), "length is 'a'"),
        (lambda: lse.fem.check_resolution(None, 1.0), "takes a dolfinx mesh"),
        (lambda: lse.fem.smoothed(square.W, "x"), "factor of the transition scale"),
        (lambda: lse.fem.save_state("state.npz", [square.u]), "names and Functions"),
        (lambda: lse.fem.Motion(square.W, square.u, density="1", petsc_options_prefix="m_"), "density is '1'"),
    ):
        with pytest.raises(lse.InvalidInputError, match=message):
            wrong()


@pytest.mark.parametrize("family", [("RT", 1), ("N1curl", 1), ("DG", 1, (2,))])
def test_gradients_of_functions_that_jump_need_terms_over_facets(square, family):
    w = fem.Function(fem.functionspace(square.domain, family))
    with pytest.raises(lse.InvalidInputError, match="jumps between cells"):
        EnergyProblem(square.density(w), w, petsc_options_prefix="jumps_")
    tied = square.density(w) + ufl.inner(ufl.jump(w), ufl.jump(w)) * ufl.dS(degree=2)
    check_unknowns(ufl.derivative(tied, w), [w])


@pytest.mark.parametrize("cell", ["triangle", "quadrilateral", "tetrahedron", "hexahedron"])
def test_folded_meshes_are_refused_and_mirrored_ones_are_not(cell):
    """An integral takes the absolute volume of a cell, so that a fold would count twice."""
    kind = getattr(mesh.CellType, cell)
    plane = kind in (mesh.CellType.triangle, mesh.CellType.quadrilateral)
    domain = mesh.create_unit_square(WORLD, 4, 4, kind) if plane else mesh.create_unit_cube(WORLD, 4, 4, 4, kind)
    x = domain.geometry.x
    x[:, 0] *= -1.0
    refuse_folded(domain)
    inner = (np.abs(x[:, : domain.geometry.dim] - [-0.5, *[0.5] * (domain.geometry.dim - 1)]) < 1e-9).all(axis=1)
    if kind == mesh.CellType.quadrilateral:
        x[inner, 0] = -0.25  # onto the next node: two cells become triangles
        refuse_folded(domain)
    x[inner, 0] = -1.1
    with pytest.raises(lse.InvalidInputError, match="the mesh is folded near"):
        refuse_folded(domain)


def test_options_on_the_command_line_take_precedence_over_defaults(square):
    database = PETSc.Options()
    database["outside_snes_max_it"] = 3
    try:
        for kind, form in ((EnergyProblem, square.W), (MaterialProblem, square.R)):
            for _ in range(2):  # a later problem of the same prefix finds them, too
                problem = kind(form, square.u, petsc_options_prefix="outside_")
                assert problem.solver.getTolerances()[3] == 3
            problem = kind(form, square.u, petsc_options_prefix="outside_again_")
            assert problem.solver.getTolerances()[3] > 3
    finally:
        database.delValue("outside_snes_max_it")


def test_what_a_problem_was_made_of_cannot_be_replaced(square):
    F = ufl.Identity(2) + ufl.grad(square.u)
    P = QuadratureStress(square.material, F, degree=1)
    problem = MaterialProblem(square.R, square.u, petsc_options_prefix="fixed_")
    for owner, name in ((P, "material"), (P, "degree"), (problem, "bcs")):
        with pytest.raises(AttributeError):
            setattr(owner, name, None)
