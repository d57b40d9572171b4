"""Stresses stored at quadrature points: where they are evaluated, on which mesh, and their own numbers."""

import numpy as np
import pytest
import ufl
from dolfinx import default_scalar_type, fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import MaterialProblem, QuadratureStress, energy, stress
from tests.materials import saint_venant_kirchhoff, two_variants

WORLD = MPI.COMM_WORLD


def square(n=4, comm=WORLD, cell=mesh.CellType.triangle):
    domain = mesh.create_rectangle(comm, [[0.0, 0.0], [1.0, 0.7]], [n, n], cell)
    domain.geometry.x[:, 1] += 0.2 * domain.geometry.x[:, 0] ** 2
    return domain


def in_three(domain):
    """Cells tagged 4, 7 and 9 from left to right."""
    tdim = domain.topology.dim
    count = domain.topology.index_map(tdim).size_local + domain.topology.index_map(tdim).num_ghosts
    cells = np.arange(count, dtype=np.int32)
    x = mesh.compute_midpoints(domain, tdim, cells)[:, 0]
    return mesh.meshtags(domain, tdim, cells, np.select([x < 0.4, x < 0.7], [4, 7], 9).astype(np.int32))


def bent(V):
    u = fem.Function(V)
    u.interpolate(lambda x: 0.04 * np.vstack([x[1] ** 2 - x[0], x[0] * x[1]]))
    return u


def assembled(form):
    b = fem.assemble_vector(fem.form(form))
    b.scatter_reverse(add())
    return b.array


def add():
    from dolfinx.la import InsertMode

    return InsertMode.add


@pytest.mark.mpi
@pytest.mark.parametrize("tag", [4, (4, 9), [9], np.array([7, 4])])
def test_one_tag_and_several_hold_the_cells_that_they_mark_and_no_others(tag):
    domain = square()
    tags, V = in_three(domain), fem.functionspace(domain, ("Lagrange", 2, (2,)))
    u, v = bent(V), ufl.TestFunction(V)
    F = ufl.Identity(2) + ufl.grad(u)
    P = QuadratureStress(two_variants(), F, degree=3, tags=tags, tag=tag)
    problem = MaterialProblem(ufl.inner(P.operator, ufl.grad(v)) * P.dx, u, stresses=[P], petsc_options_prefix="tags_")
    P.update_stress()
    found = fem.assemble_vector(problem.F)
    found.scatter_reverse(add())
    dx = ufl.Measure("dx", domain, subdomain_data=tags, metadata={"quadrature_degree": 3})
    marks = tuple(int(t) for t in np.atleast_1d(tag))
    expected = assembled(ufl.inner(stress(two_variants(), F), ufl.grad(v)) * dx(marks))
    assert np.abs(found.array - expected).max(initial=0.0) < 1e-14
    # a part of its cells is under its rule too
    MaterialProblem(ufl.inner(P.operator, ufl.grad(v)) * dx(marks[0]), u, stresses=[P], petsc_options_prefix="part_")


@pytest.mark.mpi
def test_measures_and_tags_that_are_not_the_stress_own_are_refused_on_every_rank():
    domain, other = square(), square(5)
    tags, V = in_three(domain), fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    F = ufl.Identity(2) + ufl.grad(u)
    P = QuadratureStress(two_variants(), F, degree=2, tags=tags, tag=4)
    power = ufl.inner(P.operator, ufl.grad(v))
    options = {"stresses": [P], "petsc_options_prefix": "measure_"}
    dx = ufl.Measure("dx", domain, subdomain_data=tags, metadata={"quadrature_degree": 2})
    total = domain.topology.index_map(2).size_global
    with pytest.raises(lse.InvalidInputError, match=rf"over {total} cells, but it is not evaluated in \d+ of them"):
        MaterialProblem(power * ufl.dx(degree=2), u, **options)
    with pytest.raises(lse.InvalidInputError, match="which are not of its tags"):
        MaterialProblem(power * dx((4, 7)), u, **options)
    with pytest.raises(lse.InvalidInputError, match="degree 3"):
        MaterialProblem(power * ufl.dx(degree=3), u, **options)
    with pytest.raises(lse.InvalidInputError, match="type exterior_facet"):
        MaterialProblem(power * ufl.ds(degree=2), u, **options)
    rule = {"quadrature_degree": 2, "quadrature_scheme": "vertex"}
    vertex = ufl.Measure("dx", domain, subdomain_data=tags, metadata=rule)
    with pytest.raises(lse.InvalidInputError, match="scheme 'vertex'"):
        MaterialProblem(power * vertex(4), u, **options)
    make = dict(material=two_variants(), F=F, degree=1)
    with pytest.raises(lse.InvalidInputError, match=r"no cell of this mesh has the tag 5; .* are \[4, 7, 9\]"):
        QuadratureStress(**make, tags=tags, tag=(4, 5))
    with pytest.raises(lse.InvalidInputError, match="several that differ"):
        QuadratureStress(**make, tags=tags, tag=(4, 4))
    with pytest.raises(lse.InvalidInputError, match="another mesh"):
        QuadratureStress(**make, tags=in_three(other), tag=4)
    if WORLD.size > 1:
        with pytest.raises(
            lse.InvalidInputError, match=r"\(degree, tag\) is \(1, \[4\]\) on rank 0 and \(1, \[7\]\) on rank 1"
        ):
            QuadratureStress(**make, tags=tags, tag=4 if WORLD.rank == 0 else 7)
    facets = mesh.meshtags(domain, 1, np.arange(3, dtype=np.int32), np.full(3, 4, dtype=np.int32))
    with pytest.raises(lse.InvalidInputError, match="entities of dimension 1; a material fills cells, of dimension 2"):
        QuadratureStress(**make, tags=facets, tag=4)
    for tag in (4.0, "4", True):
        with pytest.raises(lse.InvalidInputError, match="tags are whole numbers"):
            QuadratureStress(**make, tags=tags, tag=tag)
    with pytest.raises(lse.InvalidInputError, match=r"dolfinx\.mesh\.meshtags"):
        QuadratureStress(**make, tags=tags.values, tag=4)
    whole = QuadratureStress(**make)
    with pytest.raises(lse.InvalidInputError, match=r"over dx\(4\), and this measure knows no tags"):
        MaterialProblem(
            ufl.inner(whole.operator, ufl.grad(v)) * whole.dx(4), u, stresses=[whole], petsc_options_prefix="u_"
        )


@pytest.mark.mpi
@pytest.mark.parametrize("on", ["the part", "the whole"])
def test_displacement_and_integral_may_live_on_different_meshes(on):
    """u on a part of the mesh and the integral over the whole one's cells, and the other way round."""
    domain = square()
    tags = in_three(domain)
    part, entity_map = mesh.create_submesh(domain, 2, tags.find(4))[:2]
    home, ground = (part, domain) if on == "the part" else (domain, part)
    V = fem.functionspace(home, ("Lagrange", 2, (2,)))
    u, v = bent(V), ufl.TestFunction(V)
    F = ufl.Identity(2) + ufl.grad(u)
    where = {"tags": tags, "tag": 4} if ground is domain else {}
    P = QuadratureStress(two_variants(), F, degree=3, domain=ground, entity_maps=[entity_map], **where)
    residual = ufl.inner(P.operator, ufl.derivative(F, u, v)) * P.dx
    problem = MaterialProblem(residual, u, stresses=[P], petsc_options_prefix="meshes_", entity_maps=[entity_map])
    P.update_tangent()
    W = energy(two_variants(), F)
    here = ufl.Measure("dx", home, subdomain_data=None if home is part else tags, metadata={"quadrature_degree": 3})
    over = here if home is part else here(4)
    for own, exact in (
        (fem.assemble_vector(problem.F), fem.assemble_vector(fem.form(ufl.derivative(W * over, u, v)))),
        (
            fem.assemble_matrix(problem.J),
            fem.assemble_matrix(fem.form(ufl.derivative(ufl.derivative(W * over, u, v), u))),
        ),
    ):
        own.scatter_reverse(add()) if hasattr(own, "array") else own.scatter_reverse()
        exact.scatter_reverse(add()) if hasattr(exact, "array") else exact.scatter_reverse()
        a, b = (x.array if hasattr(x, "array") else x.to_dense() for x in (own, exact))
        assert np.abs(a - b).max(initial=0.0) < 1e-13


def test_coefficients_on_several_meshes_need_a_domain():
    domain = square(2, MPI.COMM_SELF)
    part = mesh.create_submesh(domain, 2, np.arange(3, dtype=np.int32))[0]
    u, w = (fem.Function(fem.functionspace(m, ("Lagrange", 1, (2,)))) for m in (domain, part))
    with pytest.raises(lse.InvalidInputError, match="live on 2 meshes: give domain="):
        QuadratureStress(two_variants(), ufl.Identity(2) + ufl.grad(u) + ufl.grad(w), degree=1)
    with pytest.raises(lse.InvalidInputError, match="F is the same number everywhere"):
        QuadratureStress(two_variants(), ufl.Identity(2), degree=1, domain=domain)


@pytest.mark.mpi
def test_cells_in_which_the_displacement_does_not_live_have_no_stress():
    domain = square()
    part, entity_map = mesh.create_submesh(domain, 2, in_three(domain).find(4))[:2]
    F = ufl.Identity(2) + ufl.grad(fem.Function(fem.functionspace(part, ("Lagrange", 1, (2,)))))
    for where in ({}, {"tags": in_three(domain), "tag": (4, 7)}):
        with pytest.raises(lse.InvalidInputError, match="a function of F does not live"):
            QuadratureStress(two_variants(), F, degree=1, domain=domain, entity_maps=[entity_map], **where)


def test_an_f_without_functions_has_the_stress_of_the_material():
    domain, F = square(2), np.array([[1.04, 0.02], [-0.01, 0.97]])
    P = QuadratureStress(two_variants(), fem.Constant(domain, F), degree=1, domain=domain).stress_function()
    np.testing.assert_allclose(P.x.array.reshape(-1, 4), np.tile(two_variants().stress(F).ravel(), (8, 1)), atol=1e-15)


@pytest.mark.mpi
@pytest.mark.parametrize("cell", [mesh.CellType.triangle, mesh.CellType.quadrilateral])
@pytest.mark.parametrize("degree", [0, 1, 2])
def test_the_stress_as_a_function_is_its_projection_in_each_cell(cell, degree):
    """Moments of P with every polynomial of the function's degree are kept; so is P itself where it is such a polynomial."""
    domain = square(cell=cell)
    tags, V = in_three(domain), fem.functionspace(domain, ("Lagrange", 2, (2,)))
    u = bent(V)
    F = ufl.Identity(2) + ufl.grad(u)
    P = QuadratureStress(two_variants(), F, degree=4, tags=tags, tag=(4, 7))
    function = P.stress_function(degree)
    q = ufl.TestFunction(function.function_space)
    dx = ufl.Measure("dx", domain, subdomain_data=tags, metadata={"quadrature_degree": 4})
    expected = assembled(ufl.inner(stress(two_variants(), F), q) * dx((4, 7)))
    assert np.abs(assembled(ufl.inner(function, q) * dx) - expected).max(initial=0.0) < 1e-14
    u.x.array[:] *= -1.0
    again = assembled(ufl.inner(P.stress_function(degree), q) * dx)
    assert np.abs(again - assembled(ufl.inner(stress(two_variants(), F), q) * dx((4, 7)))).max(initial=0.0) < 1e-14


def test_an_evaluators_stress_has_its_function_too_and_a_rule_that_cannot_tell_is_refused():
    V = fem.functionspace(square(2), ("Lagrange", 1, (2,)))
    u = bent(V)
    F = ufl.Identity(2) + ufl.grad(u)
    P, Q = (QuadratureStress(m, F, degree=2) for m in (two_variants(), Own()))
    assert np.abs(P.stress_function().x.array - Q.stress_function().x.array).max() < 1e-14
    assert np.abs(P.stress_function().x.array).max() > 1e-3
    with pytest.raises(lse.InvalidInputError, match="make the stress with degree=4"):
        P.stress_function(2)
    with pytest.raises(lse.InvalidInputError, match=r"MaterialProblem, look at it by its stress_function\(\)"):
        fem.Expression(P.operator, np.array([[0.3, 0.3]]))
    with pytest.raises(lse.InvalidInputError, match="stored at points"):
        fem.form(ufl.inner(P.operator, F) * P.dx)


class Own:
    """An evaluator."""

    def evaluate(self, F):
        return two_variants().evaluate(F)


def test_single_precision_is_refused_with_the_remedy():
    domain = mesh.create_unit_square(WORLD, 2, 2, dtype=np.float32)
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u, v = fem.Function(V, dtype=np.float32), ufl.TestFunction(V)
    F = ufl.Identity(2) + ufl.grad(u)
    with pytest.raises(lse.InvalidInputError, match=r"float32.*dtype=np\.float64"):
        QuadratureStress(saint_venant_kirchhoff(2), F, degree=1)
    with pytest.raises(lse.InvalidInputError, match=r"float32.*dtype=np\.float64"):
        MaterialProblem(ufl.inner(F, ufl.grad(v)) * ufl.dx, u, petsc_options_prefix="single_")


@pytest.mark.skipif(np.issubdtype(default_scalar_type, np.complexfloating), reason="PETSc is complex")
def test_complex_functions_are_refused_in_a_real_build():
    V = fem.functionspace(square(2), ("Lagrange", 1, (2,)))
    u = fem.Function(V, dtype=np.complex128)
    with pytest.raises(lse.InvalidInputError, match=r"complex128.*real build of PETSc"):
        MaterialProblem(
            ufl.inner(ufl.grad(u), ufl.grad(ufl.TestFunction(V))) * ufl.dx, u, petsc_options_prefix="complex_"
        )
