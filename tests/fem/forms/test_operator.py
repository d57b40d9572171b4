"""The compiled potential inside forms: one test for each place in UFL and FFCx that it reaches into, and its use."""

import os
import subprocess
import sys

import basix.ufl
import ffcx.compiler
import ffcx.options
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from dolfinx.fem import petsc
from dolfinx.fem.petsc import NonlinearProblem
from mpi4py import MPI
from petsc4py import PETSc
from ufl.algorithms.apply_algebra_lowering import apply_algebra_lowering
from ufl.algorithms.apply_derivatives import apply_derivatives
from ufl.algorithms.estimate_degrees import estimate_total_polynomial_degree
from ufl.formatting.ufl2unicode import ufl2unicode

import lse_material as lse
from lse_material.fem import energy, mode_weights, potential_energy, stress
from lse_material.fem.forms import operator
from lse_material.fem.forms.operator import PotentialComponent
from lse_material.fem.forms.strain import multiple
from tests.materials import mild_material, quadratic_well, random_potential, two_variants

WORLD = MPI.COMM_WORLD
H = np.array([[0.1, 0.04], [-0.03, -0.08]])  # a displacement gradient


def deformed(n=3, degree=2, comm=MPI.COMM_SELF):
    """A unit square under u = H x, with F."""
    domain = mesh.create_unit_square(comm, n, n)
    V = fem.functionspace(domain, ("Lagrange", degree, (2,)))
    u = fem.Function(V)
    u.interpolate(lambda x: H @ x[:2])
    return domain, u, ufl.Identity(2) + ufl.grad(u)


def integral(form):
    form = fem.form(form)
    return form.mesh.comm.allreduce(fem.assemble_scalar(form))


# ---- one test for each hook ----------------------------------------------------------------------------------------------


def test_derivative_rule_is_that_of_the_closed_form():
    """UFL's Gateaux derivative, ufl.diff and the derivative in space all follow the chain rule."""
    _, u, _ = deformed()
    x = [u[0], u[1], u[0] * u[1]]
    material = mild_material(np.random.default_rng(0), lse.GreenLagrange(2))
    W = potential_energy(material.potential, x)
    expanded = potential_energy(material.potential, x, expanded=True)
    direction = ufl.as_vector([1.0, -0.5])
    for kind in (
        lambda f: ufl.derivative(f * ufl.dx(degree=3), u, direction),
        lambda f: ufl.derivative(ufl.derivative(f * ufl.dx(degree=3), u, direction), u, direction),
        lambda f: ufl.grad(f)[0] * ufl.dx(degree=3),
        lambda f: ufl.div(ufl.grad(f)) * ufl.dx(degree=3),
    ):
        assert integral(kind(W)) == pytest.approx(integral(kind(expanded)), rel=1e-12)


@pytest.mark.parametrize("measure", [lse.GreenLagrange(2), lse.PrincipalInvariants(2)])
def test_derivatives_by_the_stress_are_those_of_plain_ufl_also_of_fields_and_multiples_of_f(measure):
    _, u, F = deformed(degree=1)
    u.interpolate(lambda x: np.stack([0.1 * x[0] * x[1], 0.05 * x[1] ** 2]))
    potential = random_potential(np.random.default_rng(9), 1 + measure.size, modes=2, depth=1, width=2, quadratic=False)
    material = lse.Material(potential, measure, fields=("c",))
    v, scaled = ufl.TestFunction(u.function_space), multiple(1.0 + 0.1 * F[0, 0], F)
    found = []
    for expanded in (False, True):
        W = energy(material, scaled, fields=[F[0, 1] * u[0]], expanded=expanded, inverted=True)
        first = ufl.derivative(W * ufl.dx(degree=2), u, v)
        found.append((fem.assemble_vector(fem.form(first)).array, assembled_matrix(ufl.derivative(first, u))))
    for compiled, plain in zip(*found):
        assert np.abs(compiled - plain).max() < 1e-12 * np.abs(plain).max()


def assembled_matrix(form):
    return fem.assemble_matrix(fem.form(form)).to_dense()


def test_a_tangent_of_three_fields_is_hardly_longer_than_that_of_their_number():
    """gcc takes time that is quadratic in the length. UFL's own derivative makes it 4.5 times as long."""
    domain = mesh.create_unit_cube(MPI.COMM_SELF, 1, 1, 1, mesh.CellType.hexahedron)
    parts = [
        basix.ufl.element("Lagrange", "hexahedron", 1, shape=(3,)),
        *[basix.ufl.element("DG", "hexahedron", 0)] * 2,
    ]
    state = fem.Function(fem.functionspace(domain, basix.ufl.mixed_element(parts)))
    (u, p, e), material = ufl.split(state), two_variants(dim=3)
    F, lengths = ufl.Identity(3) + ufl.grad(u), []
    for W in (energy(material, F), lse.fem.three_field_energy(material, F, p, e)):
        form = ufl.derivative(ufl.derivative(W * ufl.dx(degree=2), state), state)
        lengths.append(generated(form).count("\n"))
    assert lengths[1] < 2.5 * lengths[0], lengths


def generated(form):
    """The C of a form, without compiling it."""
    operator._compiling.append(True)
    try:
        return ffcx.compiler.compile_ufl_objects([form], ffcx.options.get_options({}), namespace="x")[0][1]
    finally:
        operator._compiling.pop()


def test_the_degree_of_quadrature_is_estimated_from_the_inputs():
    _, _, F = deformed(degree=2)  # F is linear in space, E quadratic
    lowered = apply_derivatives(apply_algebra_lowering(energy(two_variants(), F)))  # as UFL does before it estimates
    assert estimate_total_polynomial_degree(lowered) == 2 + 2


def test_scalar_code_is_generated_for_tensors_made_of_components():
    """FFCx takes expressions apart into scalars and puts the operator together again."""
    domain, _, F = deformed()
    material = two_variants()
    P = fem.Expression(stress(material, F), np.array([[0.2, 0.3]])).eval(domain, np.array([0], dtype=np.int32))
    assert np.abs(P.reshape(2, 2) - material.stress(np.eye(2) + H)).max() < 1e-14


def test_generated_code_calls_the_potential_by_name_and_is_refused_without_its_header(tmp_path):
    _, _, F = deformed()
    form = energy(two_variants(), F) * ufl.dx(degree=2)
    assert "_at(" in fem.form(form, jit_options={"cache_dir": tmp_path}).code[1]  # nothing is generated from a cache
    with pytest.raises(lse.InvalidInputError, match=r"without its header.*expanded=True"):
        ffcx.compiler.compile_ufl_objects([form], options=ffcx.options.get_options({}))


def test_forms_and_expressions_are_compiled_with_the_header_and_the_users_own_options():
    domain, _, F = deformed()
    W = energy(two_variants(), F)
    own = {"cffi_extra_compile_args": ["-O1", "-DUSERS_OWN"]}
    exact = two_variants().energy(np.eye(2) + H)
    assert fem.assemble_scalar(fem.form(W * ufl.dx(degree=2), jit_options=own)) == pytest.approx(exact, rel=1e-13)
    value = fem.Expression(W, np.array([[0.2, 0.3]]), jit_options=own).eval(domain, np.array([0], dtype=np.int32))
    assert value.item() == pytest.approx(exact, rel=1e-13)
    arguments = lse.fem.jit_options(W * ufl.dx(degree=2), own)["cffi_extra_compile_args"]
    assert arguments[:2] == own["cffi_extra_compile_args"]
    assert [flag for flag in arguments if flag.startswith("-O")] == ["-O1"]  # gcc takes the last level
    assert "-include" in arguments


def test_ufls_operations_on_forms_take_it_as_any_other_operator():
    """An explicit step, rho (a - b, v) + (P, grad v) = 0: system() parts it, and both sides are those of the expanded form."""
    _, u, F = deformed()
    V = u.function_space
    a, v, b = ufl.TrialFunction(V), ufl.TestFunction(V), ufl.as_vector([0.3, -2.0])
    material = mild_material(np.random.default_rng(4), lse.GreenLagrange(2))
    sides = []
    for expanded in (False, True):
        P = stress(material, F, expanded=expanded)
        form = 2.5 * ufl.inner(a - b, v) * ufl.dx(degree=4) + ufl.inner(P, ufl.grad(v)) * ufl.dx(degree=4)
        for left, right in (ufl.system(form), (ufl.lhs(form), ufl.rhs(form))):
            matrix, vector = fem.assemble_matrix(fem.form(left)), fem.assemble_vector(fem.form(right))
            sides.append((matrix.to_dense(), vector.array))
    mass = fem.assemble_matrix(fem.form(2.5 * ufl.inner(a, v) * ufl.dx(degree=4))).to_dense()
    for matrix, vector in sides:
        assert np.abs(matrix - mass).max() < 1e-14
        assert np.abs(vector - sides[0][1]).max() < 1e-12 * np.abs(vector).max()
    W = energy(material, F) * ufl.dx(degree=4)
    assert integral(ufl.functional(W)) == pytest.approx(integral(W), rel=1e-14)


def test_action_adjoint_energy_norm_and_indices_of_its_tangent():
    _, u, F = deformed()
    V = u.function_space
    v, w = ufl.TestFunction(V), ufl.TrialFunction(V)
    material = mild_material(np.random.default_rng(5), lse.GreenLagrange(2))
    residual = ufl.derivative(energy(material, F) * ufl.dx(degree=4), u, v)
    tangent = ufl.derivative(residual, u, w)
    way = fem.Function(V)
    way.x.array[:] = np.random.default_rng(6).normal(size=way.x.array.size)
    K = fem.assemble_matrix(fem.form(tangent)).to_dense()
    size = np.abs(K).max()
    assert np.abs(fem.assemble_matrix(fem.form(ufl.adjoint(tangent))).to_dense() - K.T).max() < 1e-13 * size
    assert np.abs(fem.assemble_vector(fem.form(ufl.action(tangent, way))).array - K @ way.x.array).max() < 1e-11 * size
    assert integral(ufl.energy_norm(tangent, way)) == pytest.approx(way.x.array @ K @ way.x.array, rel=1e-11)
    for changed in (ufl.algorithms.expand_indices, ufl.algorithms.strip_variables):
        same = fem.assemble_vector(fem.form(changed(ufl.algorithms.expand_derivatives(residual)))).array
        assert np.abs(same - fem.assemble_vector(fem.form(residual)).array).max() < 1e-13 * size


def test_expanded_indices_of_marked_tensors_are_those_of_the_form():
    """UFL keeps one component for all of a variable. Energies of two deformations are marked by one label."""
    _, u, F = deformed(degree=1)
    domain, v = u.function_space.mesh, ufl.TestFunction(u.function_space)
    x = ufl.SpatialCoordinate(domain)
    u.interpolate(lambda x: np.stack([0.1 * x[0] * x[1], 0.05 * x[1] ** 2]))
    material = mild_material(np.random.default_rng(8), lse.IsotropicInvariants(2))
    stretched = F * ufl.as_matrix([[1.0 + 0.1 * x[0], 0.05], [0.0, 1.0]])
    W = (energy(material, F, inverted=True) + energy(material, stretched, inverted=True)) * ufl.dx(degree=2)
    for form in (ufl.derivative(W, u, v), ufl.inner(stress(material, stretched), ufl.grad(v)) * ufl.dx(degree=2)):
        known = fem.assemble_vector(fem.form(form)).array
        expanded = ufl.algorithms.expand_indices(ufl.algorithms.expand_derivatives(form))
        assert np.abs(fem.assemble_vector(fem.form(expanded)).array - known).max() < 1e-13 * np.abs(known).max()


def test_derivatives_in_the_shape_of_the_body_are_those_of_the_expanded_form():
    domain, u, F = deformed()
    X, V = ufl.SpatialCoordinate(domain), fem.functionspace(domain, ("Lagrange", 1, (2,)))
    v, w = ufl.TestFunction(V), ufl.TrialFunction(V)
    material = mild_material(np.random.default_rng(7), lse.GreenLagrange(2))
    u.interpolate(lambda x: np.stack([0.1 * x[0] * x[1], 0.05 * x[1] ** 2]))
    found = []
    for expanded in (False, True):
        W = energy(material, F, expanded=expanded) * ufl.dx(degree=3)
        first = ufl.derivative(W, X, v)
        found.append(
            (
                fem.assemble_vector(fem.form(first)).array,
                fem.assemble_matrix(fem.form(ufl.derivative(first, X, w))).to_dense(),
            )
        )
    for one, other in zip(*found):
        assert np.abs(one - other).max() < 1e-12 * np.abs(one).max()


def test_it_is_printed_and_evaluated_at_a_point():
    domain, _, F = deformed()
    p = mild_material(np.random.default_rng(8), lse.GreenLagrange(2), modes=3).potential
    (W,) = ufl.algorithms.extract_type(energy(two_variants(), F), PotentialComponent)
    for text in (str(2 * W), str(W**2 + 1), str(W("+")), ufl2unicode(W), ufl2unicode((2 * W + 1) * ufl.dx)):
        assert f"potential_{W.number:016x}[0](" in text
    x = ufl.SpatialCoordinate(domain)
    at = np.array([[0.1, 0.2, 0.1 * 0.2]])
    inside = potential_energy(p, [x[0], x[1], x[0] * x[1]])
    exact = [p.energy(at)[0], *p.gradient(at)[0], *p.hessian(at)[0][np.triu_indices(3)], *p.mode_weights(at)[0]]
    assert [inside.at(code)((0.1, 0.2)) for code in range(len(exact))] == pytest.approx(exact, rel=1e-14)


def test_complex_and_single_precision_are_refused_before_anything_is_compiled(tmp_path):
    _, _, F = deformed()
    W, cache = energy(two_variants(), F) * ufl.dx(degree=2), {"cache_dir": tmp_path}
    with pytest.raises(lse.InvalidInputError, match=r"float64, and this form is of float32: make mesh"):
        fem.form(W, dtype=np.float32, jit_options=cache)
    with pytest.raises(lse.InvalidInputError, match=r"complex128.*expanded=True.*conjugates"):
        fem.form(W, dtype=np.complex128, jit_options=cache)
    domain = mesh.create_unit_square(MPI.COMM_SELF, 2, 2, dtype=np.float32)
    single = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))), dtype=np.float32)
    G = ufl.Identity(2) + ufl.grad(single)
    for dtype in (np.float32, np.float64):
        with pytest.raises(lse.InvalidInputError, match="float32"):
            fem.form(energy(two_variants(), G) * ufl.dx(degree=2), dtype=dtype, jit_options=cache)
        with pytest.raises(lse.InvalidInputError, match="float32"):
            fem.Expression(energy(two_variants(), G), np.array([[0.3, 0.3]], dtype=np.float32), dtype=dtype)
    assert not list(tmp_path.iterdir())


OTHERS = [pytest.param(kind(2), marks=pytest.mark.slow) for kind in (lse.SmallStrain, lse.IsotropicInvariants)]


@pytest.mark.parametrize("measure", [lse.GreenLagrange(2), *OTHERS])
def test_what_the_messages_advise_works_in_complex_and_in_single_precision(measure):
    """Residual and tangent of the expanded stress at a real state are those of the real form; float32 to its own rounding."""
    material = mild_material(np.random.default_rng(9), measure, growth=lse.Growth(0.7))
    found = []
    for scalar, real in ((np.float64, np.float64), (np.complex128, np.float64), (np.float32, np.float32)):
        domain = mesh.create_unit_square(MPI.COMM_SELF, 2, 2, dtype=real)
        V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
        u, v, w = fem.Function(V, dtype=scalar), ufl.TestFunction(V), ufl.TrialFunction(V)
        u.interpolate(lambda x: np.stack([0.1 * x[0] * x[1], 0.05 * x[1] ** 2 - 0.02 * x[0]]))
        F = ufl.Identity(2) + ufl.grad(u)
        P = stress(material, F, expanded=True)
        residual = ufl.inner(P, ufl.grad(v)) * ufl.dx(degree=2)
        K = fem.assemble_matrix(fem.form(ufl.derivative(residual, u, w), dtype=scalar)).to_dense()
        W, share = energy(material, F, expanded=True), mode_weights(material, F, expanded=True)[0]
        scalars = [fem.assemble_scalar(fem.form(f * ufl.dx(degree=2), dtype=scalar)) for f in (W, share)]
        found.append((fem.assemble_vector(fem.form(residual, dtype=scalar)).array, K, np.array(scalars)))
    for exact, others in zip(found[0], zip(*found[1:])):
        for other, tolerance in zip(others, (1e-13, 1e-4)):
            assert np.abs(other - exact).max() < tolerance * np.abs(exact).max()


@pytest.mark.parametrize("kind", ["complex", "argument", "comparison"])
def test_what_ufl_refuses_is_an_exception_and_leaves_no_broken_entry(tmp_path, kind):
    """UFL raises a BaseException: FFCx would leave an entry in its cache for which the next attempt waits in vain."""
    _, u, F = deformed(n=1, degree=1)
    v, w = ufl.TestFunction(u.function_space), ufl.TrialFunction(u.function_space)
    material, dtype = two_variants(), np.complex128
    if kind == "complex":
        form, match = ufl.derivative(energy(material, F, expanded=True) * ufl.dx(degree=1), u, v), "conjugate"
    elif kind == "argument":
        P = stress(material, ufl.Identity(2) + ufl.grad(w))
        form, match, dtype = ufl.inner(P, ufl.grad(v)) * ufl.dx(degree=1), "linear in its test function", np.float64
    else:
        form, match = ufl.conditional(ufl.lt(u[0], 0.1), 1.0, 2.0) * ufl.dx(degree=1), "real parts"
    for _ in range(2):
        with pytest.raises(lse.InvalidInputError, match=match):
            fem.form(form, dtype=dtype, jit_options={"cache_dir": tmp_path, "timeout": 1})
    assert not list(tmp_path.glob("*.c"))


@pytest.mark.mpi
def test_what_cannot_be_compiled_is_refused_on_every_rank():
    _, _, F = deformed(comm=WORLD)
    with pytest.raises(lse.InvalidInputError, match="float64"):
        fem.form(energy(two_variants(), F) * ufl.dx(degree=2), dtype=np.complex128)


@pytest.mark.mpi
@pytest.mark.parametrize("stored", [False, True])
def test_ranks_with_different_materials_are_refused_together(stored):
    """Without this the energy would be a sum of the energies of two bodies."""
    if WORLD.size == 1:
        pytest.skip("one rank")
    _, _, F = deformed(comm=WORLD)
    last = WORLD.size - 1
    material = two_variants(rho=0.1 if WORLD.rank < last else 0.2)
    use = {
        True: lambda: lse.fem.QuadratureStress(material, F, degree=2),
        False: lambda: fem.form(energy(material, F) * ufl.dx(degree=2)),
    }[stored]
    with pytest.raises(lse.InvalidInputError, match=f"rank {last} has another material than rank 0.*on_rank_0"):
        use()
    same = lse.fem.on_rank_0(WORLD, lambda: material)
    exact = two_variants(rho=0.1).energy(np.eye(2) + H)
    assert integral(energy(same, F) * ufl.dx(degree=2)) == pytest.approx(exact, rel=1e-12)


# ---- its use ----------------------------------------------------------------------------------------------------------------


def test_every_kind_of_integral_takes_it():
    """Cells, outer facets and inner facets (where both sides are evaluated in turn), two materials in one form."""
    domain, u, F = deformed()
    soft, hard = two_variants(rho=0.1), two_variants(rho=0.02, stretch=0.1)
    for W in (energy(soft, F), energy(soft, F) - 2 * energy(hard, F) ** 2):
        v, n = ufl.TestFunction(u.function_space), ufl.FacetNormal(domain)
        P = ufl.derivative(W * ufl.dx(degree=2), u, v)
        assert np.isfinite(fem.assemble_vector(fem.form(P)).array).all()
        inside = integral(ufl.jump(W) ** 2 * ufl.dS(degree=2) + ufl.avg(W) * ufl.dS(degree=2))
        length = integral(fem.Constant(domain, 1.0) * ufl.dS(degree=2))
        value = integral(W * ufl.dx(degree=2))  # W is the same everywhere, and the square has area 1
        assert inside == pytest.approx(value * length, rel=1e-12)
        assert integral(W * n[0] ** 2 * ufl.ds(degree=2)) == pytest.approx(2 * value, rel=1e-12)


def test_inner_facets_see_each_side_with_its_own_deformation():
    domain = mesh.create_unit_square(MPI.COMM_SELF, 2, 2)
    D = fem.functionspace(domain, ("DG", 0, (2, 2)))
    G = fem.Function(D)
    G.x.array[:] = (np.eye(2) + H).ravel()[None].repeat(8, 0).ravel() + 0.05 * np.sin(np.arange(32))
    v, w = ufl.TestFunction(D), ufl.TrialFunction(D)
    material = mild_material(np.random.default_rng(1), lse.GreenLagrange(2))
    matrices = []
    for expanded in (False, True):
        W = energy(material, G, expanded=expanded)
        form = ufl.derivative(ufl.derivative((W("+") - W("-")) ** 2 * ufl.dS(degree=1), G, v), G, w)
        matrices.append(fem.assemble_matrix(fem.form(form)).to_dense())
    assert np.abs(matrices[0] - matrices[1]).max() < 1e-12 * np.abs(matrices[1]).max()


def test_mode_weights_are_those_of_the_material_and_are_not_differentiated():
    domain, u, F = deformed()
    material = mild_material(np.random.default_rng(2), lse.GreenLagrange(2), modes=3)
    w = fem.Expression(mode_weights(material, F), np.array([[0.2, 0.3]])).eval(domain, np.array([0], dtype=np.int32))
    assert np.abs(w.ravel() - material.mode_weights(np.eye(2) + H)).max() < 1e-14
    with pytest.raises(lse.InvalidInputError, match=r"derivative of mode weights.*expanded=True"):
        fem.form(ufl.derivative(mode_weights(material, F)[0] * ufl.dx(degree=2), u))


def test_a_third_derivative_names_the_way_out():
    _, u, F = deformed()
    v = ufl.TestFunction(u.function_space)
    form = energy(two_variants(), F) * ufl.dx(degree=2)
    for _ in range(3):
        form = ufl.derivative(form, u, u if form.arguments() else v)
    with pytest.raises(lse.InvalidInputError, match=r"third derivative.*expanded=True"):
        fem.form(form)


def test_nan_in_gives_nan_out():
    _, u, F = deformed()
    u.x.array[:] = np.nan
    v, w = ufl.TestFunction(u.function_space), ufl.TrialFunction(u.function_space)
    W = energy(two_variants(), F) * ufl.dx(degree=2)
    assert np.isnan(fem.assemble_scalar(fem.form(W)))
    residual = ufl.derivative(W, u, v)
    assert np.isnan(fem.assemble_vector(fem.form(residual)).array).all()
    values = fem.assemble_matrix(fem.form(ufl.derivative(residual, u, w))).data
    assert np.isnan(values[values != 0.0]).all()


def test_a_point_at_zero_strain_is_evaluated_and_not_read_from_an_empty_memory():
    mode = quadratic_well(np.full(3, 0.1), np.eye(3), depth=0.7)
    material = lse.Material(lse.SoftMinimum((mode,), 1.0), lse.GreenLagrange(2))
    domain = mesh.create_unit_square(MPI.COMM_SELF, 1, 1)
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
    value = fem.assemble_scalar(fem.form(energy(material, ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1)))
    assert value == pytest.approx(0.7 + 0.03 / 2, rel=1e-14)


WARM = """
import sys, numpy as np, ufl
from mpi4py import MPI
from dolfinx import fem, mesh
import lse_material as lse
from lse_material.kernel import compiler
import ffcx.codegeneration.jit as jit
compiled, libraries, compile_library = [], [], compiler._compile
compiler._compile = lambda *arguments: (libraries.append(1), compile_library(*arguments))[1]
objects = jit._compile_objects
jit._compile_objects = lambda *args, **kwargs: (compiled.append(1), objects(*args, **kwargs))[1]
mode = lse.ConvexNetwork.from_arrays([], [np.zeros((1, 3))], [np.zeros(1)], quadratic=np.eye(3))
material = lse.Material(lse.SoftMinimum((mode,), scaled_rho=1.0), lse.GreenLagrange(2))
domain = mesh.create_unit_square(MPI.COMM_SELF, 2, 2)
u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
F, v = ufl.Identity(2) + ufl.grad(u), ufl.TestFunction(u.function_space)
fem.form(ufl.derivative(lse.fem.energy(material, F) * ufl.dx(degree=2), u, v))
lse.fem.QuadratureStress(material, F, degree=2)
print(len(compiled), len(libraries))
"""


@pytest.mark.slow
def test_a_second_process_compiles_nothing(tmp_path):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    counts = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", WARM], env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        counts.append([int(word) for word in done.stdout.split()])
    assert min(counts[0]) > 0  # forms; kernels
    assert counts[1] == [0, 0]


@pytest.mark.mpi
def test_ranks_share_one_header_and_integrate_the_same_energy():
    _, _, F = deformed(n=6, comm=WORLD)
    material = mild_material(np.random.default_rng(3), lse.GreenLagrange(2), modes=3, widths=(8, 8))
    exact = material.energy(np.eye(2) + H)
    assert integral(energy(material, F) * ufl.dx(degree=2)) == pytest.approx(exact, rel=1e-12)


def held_square():
    """A square whose sides are moved a little, with its conditions."""
    _, u, F = deformed(n=4, degree=1)
    V = u.function_space
    sides = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0) | np.isclose(x[0], 1))
    rim = fem.Function(V)
    rim.x.array[:] = 0.3 * u.x.array
    u.x.array[:] = 0.0
    return u, F, fem.dirichletbc(rim, sides)


def test_nonlinear_problem_of_dolfinx_and_a_minimiser_of_petsc_find_the_same_state():
    """DOLFINx's own problem takes the form as it is, and so does TAO, from energy, gradient and Hessian."""
    material = quadratic_well(np.zeros(3), np.diag([3.0, 3.0, 2.0]))
    material = lse.Material(lse.SoftMinimum((material,), 1.0), lse.GreenLagrange(2))
    u, F, bc = held_square()
    residual = ufl.derivative(energy(material, F) * ufl.dx(degree=2), u, ufl.TestFunction(u.function_space))
    options = {"snes_rtol": 1e-12, "ksp_type": "preonly", "pc_type": "lu"}
    NonlinearProblem(residual, u, bcs=[bc], petsc_options_prefix="plain_", petsc_options=options).solve()
    newton = u.x.array.copy()

    u, F, bc = held_square()
    v, w = ufl.TestFunction(u.function_space), ufl.TrialFunction(u.function_space)
    W = energy(material, F) * ufl.dx(degree=2)
    residual = ufl.derivative(W, u, v)
    forms = fem.form(W), fem.form(residual), fem.form(ufl.derivative(residual, u, w))
    held = bc.dof_indices()[0]
    bc.set(u.x.array)

    def place(x):
        u.x.array[:] = x.array_r
        bc.set(u.x.array)

    def value_and_gradient(tao, x, g):
        place(x)
        g.array_w[:] = fem.assemble_vector(forms[1]).array
        g.array_w[held] = 0.0
        return fem.assemble_scalar(forms[0])

    def hessian(tao, x, H, P):
        place(x)
        H.zeroEntries()
        petsc.assemble_matrix(H, forms[2], bcs=[bc])
        H.assemble()

    x = PETSc.Vec().createWithArray(u.x.array.copy(), comm=MPI.COMM_SELF)
    H = petsc.create_matrix(forms[2])
    tao = PETSc.TAO().create(MPI.COMM_SELF)
    tao.setType("nls")
    tao.setObjectiveGradient(value_and_gradient, x.duplicate())
    tao.setHessian(hessian, H)
    tao.setTolerances(gatol=1e-12, grtol=0.0)
    tao.solve(x)
    assert tao.getConvergedReason() > 0
    assert np.abs(x.array - newton).max() < 1e-9


IN_SPACE = [pytest.param(cell, marks=pytest.mark.slow) for cell in ("tetrahedron", "hexahedron")]


@pytest.mark.parametrize("cell", ["triangle", "quadrilateral", *IN_SPACE])
def test_integrals_of_different_rules_add_up(cell):
    """A rule of one point beside others: each integral of a form is what it is alone."""
    kind = mesh.CellType[cell]
    plane = kind in (mesh.CellType.triangle, mesh.CellType.quadrilateral)
    domain = mesh.create_unit_square(WORLD, 2, 2, kind) if plane else mesh.create_unit_cube(WORLD, 2, 2, 2, kind)
    domain.geometry.x[:, 0] *= 1.0 + 0.5 * domain.geometry.x[:, 1]
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1)))
    u.interpolate(lambda x: 1.0 + np.sin(3 * x[0] + x[1]))
    v, X = ufl.TestFunction(u.function_space), ufl.SpatialCoordinate(domain)
    rough, fine = ufl.dx(degree=1, domain=domain), ufl.dx(degree=4, domain=domain)
    terms = [u, u**2, ufl.inner(ufl.grad(u), ufl.grad(u)), X[0] ** 2]
    for first, second in [(a, b) for a in terms for b in terms]:
        whole = integral(first * fine + second * rough)
        assert abs(whole - integral(first * fine) - integral(second * rough)) < 1e-13 * abs(whole)
    pair = [ufl.derivative(u**3 * dx, u, v) for dx in (fine, rough)]
    parts = [fem.assemble_vector(fem.form(form)).array for form in pair]
    assert np.allclose(fem.assemble_vector(fem.form(pair[0] + pair[1])).array, parts[0] + parts[1], rtol=1e-13, atol=0)
