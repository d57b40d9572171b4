"""Fields of cells are what NumPy says of F in them, on any number of ranks."""

import contextlib

import numpy as np
import pytest
import ufl
from dolfinx import fem, io, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.analysis import acoustic_minimum
from lse_material.fem import ExtrapolationMonitor, ExtrapolationWarning, MaterialFields, draw_cells, share_not_elliptic
from tests.materials import mild_material, saint_venant_kirchhoff

BETWEEN = np.sqrt((0.92**2 + 1.10**2) / 2.0)  # the stretch half way between the wells


def two_variants():
    modes = []
    for stretch in ([0.92, 1.10], [1.10, 0.92]):
        c = np.append(0.5 * (np.square(stretch) - 1.0), 0.0)
        K = np.diag([3.0, 3.0, 2.0]) + np.pad(np.ones((2, 2)), (0, 1))
        Q = np.linalg.cholesky(K).T
        modes.append(lse.ConvexNetwork.from_arrays([], [-(K @ c)[None]], [[0.5 * c @ K @ c]], quadratic=Q))
    box = lse.Box(np.array([-0.1, -0.1, -0.1]), np.array([0.2, 0.2, 0.1]))
    return lse.Material(lse.SoftMinimum(tuple(modes), 0.003), lse.GreenLagrange(2), training_box=box)


def body(comm=MPI.COMM_WORLD, n=6):
    domain = mesh.create_rectangle(comm, [[0.0, 0.0], [2.0, 1.0]], [2 * n, n])
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
    return domain, u, ufl.Identity(2) + ufl.grad(u)


@pytest.mark.mpi
def test_an_affine_deformation_has_the_same_values_everywhere():
    material = two_variants()
    _, u, F = body()
    G = np.array([[0.04, 0.03], [-0.02, 0.25]])
    u.interpolate(lambda x: G @ x[:2])
    fields = MaterialFields(material, F)
    values = material.evaluate((np.eye(2) + G)[None])
    x = material.kinematics.strain((np.eye(2) + G)[None])
    for field, exact in (
        (fields.energy, values.energy),
        (fields.stress, values.stress),
        (fields.mode_weights, values.mode_weights),
        (fields.outside, material.training_box.excess(x)),
        (fields.ellipticity, acoustic_minimum(values.tangent).value),
    ):
        size = field.function_space.dofmap.bs
        assert np.abs(field.x.array.reshape(-1, size) - exact.reshape(1, size)).max(initial=0.0) < 1e-12
        assert fields.integral(field) == pytest.approx(2.0 * exact[0], rel=1e-12)
    assert fields.outside.x.array.min(initial=np.inf) > 0.0
    assert fields.phase_fractions() == pytest.approx(values.mode_weights[0])


@pytest.mark.mpi
def test_fields_follow_u_and_say_where_ellipticity_is_lost():
    """x < 1 lies half way between the wells; the rest is pulled far beyond one of them."""
    domain, u, F = body()
    fields = MaterialFields(two_variants(), F, degree=2)
    assert fields.phase_fractions() == pytest.approx([0.5, 0.5])
    e = BETWEEN - 1.0
    u.interpolate(lambda x: np.stack([e * np.minimum(x[0], 1.0) + 0.3 * np.maximum(x[0] - 1.0, 0.0), e * x[1]]))
    fields.update()
    W = lse.fem.energy(fields.materials[None], F)
    exact = domain.comm.allreduce(fem.assemble_scalar(fem.form(W * ufl.dx(degree=2))))
    assert float(fields.integral(fields.energy)) == pytest.approx(exact, rel=1e-12)
    assert fields.phase_fractions() == pytest.approx([0.25, 0.75], abs=1e-3)
    assert share_not_elliptic(fields) == pytest.approx(0.5)


def test_they_are_written_and_drawn(tmp_path):
    domain, u, F = body(MPI.COMM_SELF)
    fields = MaterialFields(two_variants(), F)
    with io.XDMFFile(MPI.COMM_SELF, tmp_path / "fields.xdmf", "w") as file:
        file.write_mesh(domain)
        fields.write(file, 0.0)
    text = (tmp_path / "fields.xdmf").read_text()
    assert all(f'Name="{field.name}"' in text for field in fields.functions)
    path = tmp_path / "weights.png"
    draw_cells(fields.mode_weights, path, label="weight of mode 0", displacement=u, limits=(0.0, 1.0))
    assert path.read_bytes().startswith(b"\x89PNG")
    fields.mode_weights.x.array[:6] = np.nan  # cells without a material are left blank
    draw_cells(fields.mode_weights, path, label="weight of mode 0")
    with pytest.raises(OSError, match="no_such_folder"):
        draw_cells(fields.mode_weights, tmp_path / "no_such_folder" / "weights.png", label="")
    with pytest.raises(lse.InvalidInputError, match="the field has 2"):
        draw_cells(fields.mode_weights, path, label="", component=2)
    with pytest.raises(lse.InvalidInputError, match="degree 1"):
        draw_cells(u, path, label="")
    with pytest.raises(lse.InvalidInputError, match="the displacement must be a function of 2 components"):
        draw_cells(fields.mode_weights, path, label="", displacement=fields.energy)
    with pytest.raises(lse.InvalidInputError, match="UFL shape"):
        MaterialFields(two_variants(), ufl.grad(ufl.div(u)))
    with pytest.raises(lse.InvalidInputError, match="give a Material, or a mapping"):
        MaterialFields([two_variants()], F)
    with pytest.raises(lse.InvalidInputError, match="a field of degree 0"):
        fields.integral(1.0)


def test_without_a_box_or_ellipticity_there_are_fewer_fields():
    material = lse.Material(two_variants().potential, lse.GreenLagrange(2))
    fields = MaterialFields(material, body(MPI.COMM_SELF)[2], ellipticity=False)
    assert [field.name for field in fields.functions] == ["energy", "stress", "mode_weights", "det_F"]
    with pytest.raises(lse.InvalidInputError, match="ellipticity=False"):
        share_not_elliptic(fields)


# ---- several materials, submeshes ----------------------------------------------------------------------------------------


def halves(domain):
    """Tags 3 (x < 1), 5 and 6 (x > 1, below and above the middle)."""
    dim = domain.topology.dim
    count = domain.topology.index_map(dim).size_local + domain.topology.index_map(dim).num_ghosts
    cells = np.arange(count, dtype=np.int32)
    middle = mesh.compute_midpoints(domain, dim, cells)
    values = np.where(middle[:, 0] < 1.0, 3, np.where(middle[:, 1] < 0.5, 5, 6)).astype(np.int32)
    return mesh.meshtags(domain, dim, cells, values)


def at(field, tags, *values):
    """Values of a field in the owned cells of some tags."""
    dofmap = field.function_space.dofmap
    owned = field.function_space.mesh.topology.index_map(2).size_local
    cells = tags.indices[np.isin(tags.values, values) & (tags.indices < owned)]
    return field.x.array.reshape(dofmap.index_map.size_local + dofmap.index_map.num_ghosts, dofmap.bs)[
        dofmap.list[cells, 0]
    ]


@pytest.mark.mpi
def test_each_material_fills_its_own_cells_whatever_its_number_of_modes():
    domain, u, F = body()
    tags = halves(domain)
    G = np.array([[0.05, 0.02], [0.01, -0.03]])
    u.interpolate(lambda x: G @ x[:2])
    variants, plain = two_variants(), saint_venant_kirchhoff(2)
    three = mild_material(np.random.default_rng(0), lse.GreenLagrange(2), modes=3)
    fields = MaterialFields({3: variants, 5: plain, 6: three}, F, tags=tags, ellipticity=False)
    for tag, material, modes, area in ((3, variants, 2, 1.0), (5, plain, 1, 0.5), (6, three, 3, 0.5)):
        exact = material.evaluate((np.eye(2) + G)[None])
        assert np.abs(at(fields.energy, tags, tag) - exact.energy[0]).max(initial=0.0) < 1e-12
        assert np.abs(at(fields.stress, tags, tag) - exact.stress.reshape(1, 4)).max(initial=0.0) < 1e-12
        weights = at(fields.mode_weights, tags, tag)
        assert np.abs(weights[:, :modes] - exact.mode_weights).max(initial=0.0) < 1e-12
        assert not weights[:, modes:].any()
        assert fields.phase_fractions(tag) == pytest.approx(exact.mode_weights[0])
        assert float(fields.integral(fields.energy, tag)) == pytest.approx(area * exact.energy[0], rel=1e-12)
    whole = sum(a * m.energy(np.eye(2) + G) for m, a in ((variants, 1.0), (plain, 0.5), (three, 0.5)))
    assert float(fields.integral(fields.energy)) == pytest.approx(whole, rel=1e-12)
    assert np.isnan(at(fields.outside, tags, 5, 6)).all()  # no box
    assert (at(fields.outside, tags, 3) == 0.0).all()
    with pytest.raises(lse.InvalidInputError, match="several materials"):
        fields.phase_fractions()
    with pytest.raises(lse.InvalidInputError, match="no material of tag 4"):
        fields.phase_fractions(4)


@pytest.mark.mpi
def test_cells_without_a_material_are_not_counted():
    """x < 1 is in the first variant, the rest, of another material, in the second."""
    domain, u, F = body()
    tags = halves(domain)
    u.interpolate(
        lambda x: np.stack(
            [-0.08 * np.minimum(x[0], 1.0) + 0.1 * np.maximum(x[0] - 1.0, 0.0), 0.1 * x[1] * (x[0] < 1.0 + 1e-9)]
        )
    )
    everywhere = MaterialFields(two_variants(), F, ellipticity=False).phase_fractions()
    left = MaterialFields(two_variants(), F, tags=tags, tag=3, ellipticity=False)
    right = MaterialFields(two_variants(), F, tags=tags, tag=(5, 6), ellipticity=False)
    both = MaterialFields({3: two_variants(), (5, 6): two_variants()}, F, tags=tags, ellipticity=False)
    assert left.phase_fractions()[0] > 0.98
    assert everywhere[0] < 0.6
    assert 0.5 * (left.phase_fractions() + right.phase_fractions()) == pytest.approx(everywhere, rel=1e-12)
    assert both.phase_fractions((5, 6)) == pytest.approx(right.phase_fractions(), rel=1e-12)
    assert np.isnan(at(left.energy, tags, 5, 6)).all()
    assert np.isfinite(at(left.energy, tags, 3)).all()


@pytest.mark.mpi
def test_fields_of_a_part_take_tags_and_displacements_of_the_whole_and_the_other_way_round():
    domain, u, F = body()
    tags = halves(domain)
    u.interpolate(lambda x: np.stack([0.03 * x[0] ** 2, -0.02 * x[0] * x[1]]))
    part, joined = mesh.create_submesh(domain, 2, tags.indices[tags.values != 3])[:2]
    of_part = fem.Function(fem.functionspace(part, ("Lagrange", 1, (2,))))
    of_part.interpolate(lambda x: np.stack([0.03 * x[0] ** 2, -0.02 * x[0] * x[1]]))
    G = ufl.Identity(2) + ufl.grad(of_part)
    chosen = {"tags": tags, "tag": 6, "ellipticity": False, "entity_maps": [joined]}
    exact = MaterialFields(two_variants(), F, tags=tags, tag=6, ellipticity=False)
    found = [
        MaterialFields(two_variants(), G, **chosen),  # on the part, with tags of the whole
        MaterialFields(two_variants(), F, domain=part, **chosen),  # on the part, of a displacement of the whole
        MaterialFields(two_variants(), G, domain=domain, **chosen),  # on the whole, of a displacement of the part
        MaterialFields(two_variants(), 0.5 * (F + G), domain=domain, **chosen),  # of both
    ]
    for fields in found:
        assert float(fields.integral(fields.energy)) == pytest.approx(float(exact.integral(exact.energy)), rel=1e-12)
        assert fields.phase_fractions() == pytest.approx(exact.phase_fractions(), rel=1e-12)
        assert fields.smallest_det_F() == pytest.approx(exact.smallest_det_F(), rel=1e-12)
    known = MaterialFields(two_variants(), G, domain=domain, entity_maps=[joined], ellipticity=False)
    assert known.integral(known.stress).shape == (2, 2)
    right = MaterialFields(two_variants(), F, tags=tags, tag=(5, 6), ellipticity=False)
    assert known.phase_fractions() == pytest.approx(right.phase_fractions(), rel=1e-12)
    with pytest.raises(lse.InvalidInputError, match="no entity map"):
        MaterialFields(two_variants(), G, tags=tags, tag=6)
    with pytest.raises(lse.InvalidInputError, match="2 meshes"):
        MaterialFields(two_variants(), F + G, entity_maps=[joined])
    with pytest.raises(lse.InvalidInputError, match="a function of F does not live"):
        MaterialFields(two_variants(), G, domain=domain, tags=tags, tag=3, entity_maps=[joined])


@pytest.mark.mpi
def test_tags_that_cannot_be_meant_are_refused_on_every_rank():
    domain, _, F = body()
    tags, material = halves(domain), two_variants()
    domain.topology.create_entities(1)
    facets = mesh.meshtags(domain, 1, np.arange(1, dtype=np.int32), np.ones(1, dtype=np.int32))
    for given, match in (
        ({"tags": tags}, "both tags and tag"),
        ({"tag": 3}, "both tags and tag"),
        ({"tags": facets, "tag": 1}, "give the cell tags"),
        ({"tags": tags, "tag": 4}, r"the tag 4; the tags of its cells are \[3, 5, 6\]"),
        ({"tags": halves(body()[0]), "tag": 3}, "no entity map"),
    ):
        with pytest.raises(lse.InvalidInputError, match=match):
            MaterialFields(material, F, **given)
    for materials, given, match in (
        ({3: material}, {}, "its keys are the tags"),
        ({3: material}, {"tags": tags, "tag": 3}, "its keys are the tags"),
        ({3: material, (3, 5): material}, {"tags": tags}, "no more"),
        ({3: material, 5: saint_venant_kirchhoff(3)}, {"tags": tags}, "UFL shape"),
    ):
        with pytest.raises(lse.InvalidInputError, match=match):
            MaterialFields(materials, F, **given)


# ---- cells turned inside out, distorted cells -----------------------------------------------------------------------------


@pytest.mark.mpi
def test_a_cell_turned_inside_out_has_its_determinant_and_no_energy():
    domain, u, F = body()
    u.interpolate(lambda x: np.stack([np.where(x[0] <= 1.0, -1.5 * x[0], -1.5 + 0.1 * (x[0] - 1.0)), 0.2 * x[1]]))
    fields = MaterialFields(two_variants(), F)
    tags = halves(domain)
    assert at(fields.det_F, tags, 3) == pytest.approx(-0.5 * 1.2, rel=1e-12)
    assert at(fields.det_F, tags, 5, 6) == pytest.approx(1.1 * 1.2, rel=1e-12)
    assert fields.smallest_det_F() == pytest.approx(-0.6, rel=1e-12)
    for field in (fields.energy, fields.stress, fields.mode_weights, fields.outside, fields.ellipticity):
        assert np.isnan(at(field, tags, 3)).all()
        assert np.isfinite(at(field, tags, 5, 6)).all()
    assert np.isnan(fields.phase_fractions()).all()
    small = MaterialFields(saint_venant_kirchhoff(2, measure=lse.SmallStrain), F)
    assert np.isfinite(small.energy.x.array).all()
    u.x.array[:] = np.nan
    fields.update()
    assert np.isnan(fields.smallest_det_F())


@pytest.mark.mpi
def test_a_quadratic_cell_inverted_at_a_corner_alone_shows():
    """u_x = -a x (1 - x/2) + ... has its least slope at x = 0, where no quadrature point of degree 1 lies."""
    domain = mesh.create_rectangle(MPI.COMM_WORLD, [[0.0, 0.0], [2.0, 1.0]], [1, 1])
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 2, (2,))))
    u.interpolate(lambda x: np.stack([-1.3 * (x[0] - 0.25 * x[0] ** 2), 0.0 * x[1]]))
    fields = MaterialFields(two_variants(), ufl.Identity(2) + ufl.grad(u), degree=1)
    assert fields.smallest_det_F() == pytest.approx(1.0 - 1.3, rel=1e-12)
    assert np.isfinite(fields.energy.x.array).all()  # 1 - 1.3 (1 - x/2) > 0 at x = 2/3 and 4/3


def test_a_corner_on_the_axis_does_not_count():
    """F_33 = 1 + u_r/r is 0/0 on the axis; off it, it is 1.1."""
    domain = mesh.create_rectangle(MPI.COMM_SELF, [[0.0, 0.0], [1.0, 1.0]], [2, 2])
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
    u.interpolate(lambda x: np.stack([0.1 * x[0], -0.05 * x[1]]))
    g, r = ufl.grad(u), ufl.SpatialCoordinate(domain)[0]
    F = ufl.as_tensor([[1 + g[0, 0], g[0, 1], 0], [g[1, 0], 1 + g[1, 1], 0], [0, 0, 1 + u[0] / r]])
    fields = MaterialFields(saint_venant_kirchhoff(3), F, degree=2)
    assert fields.smallest_det_F() == pytest.approx(1.1**2 * 0.95, rel=1e-12)
    assert np.isfinite(fields.energy.x.array).all()


@pytest.mark.mpi
@pytest.mark.parametrize("shape", [mesh.CellType.quadrilateral, mesh.CellType.hexahedron])
def test_means_over_distorted_cells_are_over_their_volume(shape):
    """The mean of a cell is the integral of the energy over its volume: where corners are moved, points differ in weight."""
    flat = shape == mesh.CellType.quadrilateral
    dim = 2 if flat else 3
    make = mesh.create_unit_square if flat else mesh.create_unit_cube
    domain = make(MPI.COMM_WORLD, *[2] * dim, cell_type=shape)
    X = domain.geometry.x
    X[:, :dim] += 0.25 * np.sin(3.0 * X[:, :dim] + np.roll(5.0 * X[:, :dim], 1, axis=1)) * X[:, :dim] * (1 - X[:, :dim])
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (dim,))))
    u.interpolate(lambda x: 0.1 * np.sin(2.0 * x[:dim] + x[:dim][::-1] ** 2))
    F = ufl.Identity(dim) + ufl.grad(u)
    material = saint_venant_kirchhoff(dim)
    fields = MaterialFields(material, F, degree=3, ellipticity=False)
    W = lse.fem.energy(material, F)
    exact = domain.comm.allreduce(fem.assemble_scalar(fem.form(W * ufl.dx(degree=3))))
    assert float(fields.integral(fields.energy)) == pytest.approx(exact, rel=1e-12)
    DG = fields.energy.function_space
    v = ufl.TestFunction(DG)
    mean = fem.assemble_vector(fem.form(W * v * ufl.dx(degree=3))).array
    volume = fem.assemble_vector(fem.form(v * ufl.dx(degree=3))).array
    owned = DG.dofmap.index_map.size_local
    assert fields.energy.x.array[:owned] == pytest.approx(mean[:owned] / volume[:owned], rel=1e-12)


def test_single_precision_and_complex():
    domain = mesh.create_rectangle(MPI.COMM_SELF, [[0.0, 0.0], [2.0, 1.0]], [2, 2], dtype=np.float32)
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u = fem.Function(V, dtype=np.float32)
    u.interpolate(lambda x: np.stack([0.05 * x[0], -0.02 * x[1]]))
    fields = MaterialFields(two_variants(), ufl.Identity(2) + ufl.grad(u))
    exact = two_variants().energy(np.diag([1.05, 0.98]))
    assert float(fields.integral(fields.energy)) == pytest.approx(2.0 * exact, rel=1e-4)
    z = fem.Function(fem.functionspace(body(MPI.COMM_SELF)[0], ("Lagrange", 1, (2,))), dtype=np.complex128)
    with pytest.raises(lse.InvalidInputError, match="complex"):
        MaterialFields(two_variants(), ufl.Identity(2) + ufl.grad(z))


@pytest.mark.mpi
def test_a_box_is_watched_in_the_cells_of_its_material():
    domain, u, F = body()
    tags = halves(domain)
    u.interpolate(lambda x: np.stack([0.3 * np.maximum(x[0] - 1.0, 0.0), 0.0 * x[0]]))
    box = lse.Box([-0.05], [0.1])
    assert ExtrapolationMonitor([F[0, 0] - 1.0], box, tags=tags, tag=3).excess() < 1e-12
    watch = ExtrapolationMonitor([F[0, 0] - 1.0], box, names=["stretch"], tags=tags, tag=(5, 6))
    warns = pytest.warns(ExtrapolationWarning, match=r"stretch is 0\.3, outside")
    with warns if domain.comm.rank == 0 else contextlib.nullcontext():  # which warns for all
        assert watch.excess() == pytest.approx(0.2 / 0.15, rel=1e-12)
    with pytest.raises(lse.InvalidInputError, match="both tags and tag"):
        ExtrapolationMonitor([F[0, 0]], box, tag=3)
    with pytest.raises(lse.InvalidInputError, match="no training box"):
        ExtrapolationMonitor([F[0, 0]], None)


@pytest.mark.filterwarnings("ignore::lse_material.fem.ExtrapolationWarning")
def test_single_precision_is_watched_and_complex_numbers_are_not():
    domain = mesh.create_unit_square(MPI.COMM_SELF, 3, 2, dtype=np.float32)
    V = fem.functionspace(domain, ("Lagrange", 1))
    u = fem.Function(V, dtype=np.float32)
    u.interpolate(lambda x: 0.7 * x[0] - 0.2)
    assert ExtrapolationMonitor([u.dx(0)], lse.Box([-0.1], [0.3])).excess() == pytest.approx(1.0, rel=1e-5)
    with pytest.raises(lse.InvalidInputError, match="complex functions"):
        ExtrapolationMonitor([ufl.real(fem.Function(V, dtype=np.complex64))], lse.Box([-0.1], [0.3]))


@pytest.mark.mpi
def test_strains_outside_the_data_are_those_of_the_points_on_all_ranks():
    _, u, F = body(n=2)
    u.interpolate(lambda x: np.array([0.05 * x[0] ** 2, 0.0 * x[0]]))
    box = lse.Box([-0.01], [0.1])
    monitor = ExtrapolationMonitor([F[0, 0] - 1.0], box, degree=1, tolerance=0.1)
    x, outside = monitor.inputs(), monitor.outside()
    assert x.shape == (16, 1)
    assert (np.diff(x[:, 0]) >= 0.0).all()
    np.testing.assert_allclose(x[:, 0].mean(), 0.1, rtol=1e-12)  # of the interpolant's gradient over the body
    np.testing.assert_array_equal(outside, x[x[:, 0] > 0.1 + 0.1 * 0.11])
    assert 0 < len(outside) < 16
    assert len(ExtrapolationMonitor([F[0, 0] - 1.0], lse.Box([-1.0], [1.0])).outside()) == 0
