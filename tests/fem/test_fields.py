"""Fields of cells are what NumPy says of F in them, on any number of ranks."""

import numpy as np
import pytest
import ufl
from dolfinx import fem, io, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.ellipticity import acoustic_minimum
from lse_material.fem.fields import MaterialFields, share_not_elliptic
from lse_material.fem.picture import draw_cells

BETWEEN = np.sqrt((0.92**2 + 1.10**2) / 2.0)  # the stretch half way between the wells


def two_variants():
    modes = []
    for stretch in ([0.92, 1.10], [1.10, 0.92]):
        c = np.append(0.5 * (np.square(stretch) - 1.0), 0.0)
        K = np.diag([3.0, 3.0, 2.0]) + np.pad(np.ones((2, 2)), (0, 1))
        Q = np.linalg.cholesky(K).T
        modes.append(lse.ConvexNetwork.from_arrays([], [-(K @ c)[None]], [[0.5 * c @ K @ c]], quadratic=Q))
    box = lse.TrainingBox(np.array([-0.1, -0.1, -0.1]), np.array([0.2, 0.2, 0.1]))
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
    W = lse.fem.energy(fields.material, F)
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
    with pytest.raises(lse.InvalidInputError, match="the field has 2"):
        draw_cells(fields.mode_weights, path, label="", component=2)
    with pytest.raises(lse.InvalidInputError, match="degree 1"):
        draw_cells(u, path, label="")
    with pytest.raises(lse.InvalidInputError, match="UFL shape"):
        MaterialFields(two_variants(), ufl.grad(ufl.div(u)))


def test_without_a_box_or_ellipticity_there_are_fewer_fields():
    material = lse.Material(two_variants().potential, lse.GreenLagrange(2))
    fields = MaterialFields(material, body(MPI.COMM_SELF)[2], ellipticity=False)
    assert [field.name for field in fields.functions] == ["energy", "stress", "mode_weights"]
    with pytest.raises(lse.InvalidInputError, match="ellipticity=False"):
        share_not_elliptic(fields)
