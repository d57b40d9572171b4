"""Groups are groups, act on strains as rotations do, and have as many variants as crystallography says."""

import json

import numpy as np
import pytest

import lse_material as lse
from lse_material import InvalidInputError, Symmetry
from lse_material.model import mandel
from lse_material.model.symmetry import GENERATORS, on_strain


@pytest.mark.parametrize(
    ("parent", "variant", "dim", "number"),
    [
        ("cubic", "tetragonal", 3, 3),
        ("cubic", "rhombohedral", 3, 4),
        ("cubic", "orthorhombic", 3, 6),
        ("cubic", "orthorhombic_110", 3, 6),
        ("cubic", "monoclinic_110", 3, 12),
        ("cubic", "triclinic", 3, 24),
        ("cubic", "cubic", 3, 1),
        ("hexagonal", "orthorhombic", 3, 3),
        ("tetragonal", "orthorhombic", 3, 2),
        ("square", "rectangle", 2, 2),
        ("square", "rhombus", 2, 2),
        ("hexagon", "rectangle", 2, 3),
        ("square", "oblique", 2, 4),
    ],
)
def test_the_number_of_variants(parent, variant, dim, number):
    """Bhattacharya 2003, table 4.1; in 2D a half turn leaves every strain as it is."""
    symmetry = Symmetry.crystal(parent, variant, dim=dim)
    assert len(symmetry.variants) == number
    assert len(symmetry.variants) * len(symmetry.invariance) == len(symmetry.group)
    assert np.array_equal(symmetry.variants[0], np.eye(symmetry.size))


@pytest.mark.parametrize("dim", [2, 3])
def test_every_named_symmetry_is_a_group_of_orthogonal_maps(dim):
    for name in GENERATORS[dim]:
        group = Symmetry.crystal(name, name, dim=dim).group
        assert np.allclose(group @ group.swapaxes(1, 2), np.eye(group.shape[1]), atol=1e-14)
        products = np.einsum("aij,bjk->abik", group, group).reshape(-1, *group.shape[1:])
        distance = np.abs(products[:, None] - group[None]).max(axis=(2, 3))
        assert (distance.min(axis=1) < 1e-12).all()


def test_the_action_on_strain_is_the_strain_of_the_turned_deformation():
    rng = np.random.default_rng(0)
    for dim in (2, 3):
        Q = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
        F = np.eye(dim) + 0.2 * rng.normal(size=(dim, dim))
        measure = lse.GreenLagrange(dim)
        turned = measure.strain((F @ Q.T)[None])[0]
        assert np.allclose(turned, on_strain(Q) @ measure.strain(F[None])[0], atol=1e-14)
        E = rng.normal(size=(dim, dim))
        assert np.linalg.norm(on_strain(Q) @ mandel(E + E.T)) == pytest.approx(np.linalg.norm(E + E.T))


def test_what_is_no_symmetry_is_refused():
    with pytest.raises(lse.InvalidInputError, match="no symmetry 'cubic' in 2D"):
        Symmetry.crystal("cubic", "tetragonal", dim=2)
    with pytest.raises(lse.InvalidInputError, match="subgroup"):
        Symmetry.crystal("tetragonal", "rhombohedral", dim=3)
    turn = np.array([[np.cos(1.0), -np.sin(1.0)], [np.sin(1.0), np.cos(1.0)]])
    with pytest.raises(lse.InvalidInputError, match="no group"):
        Symmetry.generated([turn], size=2)
    with pytest.raises(lse.InvalidInputError, match=r"shape \(2, 2\)"):
        Symmetry.generated([turn], size=3)


@pytest.mark.parametrize(
    "symmetry",
    [
        Symmetry.crystal("cubic", "orthorhombic_110", dim=3),
        Symmetry.crystal("oblique", "oblique", dim=2),
        Symmetry.generated([np.diag([1.0, -1.0])], size=2, name="mirror"),
    ],
    ids=lambda symmetry: symmetry.name,
)
def test_a_symmetry_is_written_by_its_generators_and_comes_back_as_the_same_groups(symmetry):
    written = json.loads(json.dumps(symmetry.to_dict()))
    again = Symmetry.from_dict(written)
    assert len(written["group"]) <= 3
    assert again.name == symmetry.name
    for one, other in ((symmetry.group, again.group), (symmetry.invariance, again.invariance)):
        assert one.shape == other.shape
        assert all(np.abs(other - element).max(axis=(1, 2)).min() < 1e-14 for element in one)
    assert json.loads(json.dumps(again.to_dict())) == written


@pytest.mark.parametrize(
    "change", [{"size": "2"}, {"group": None}, {"more": 1}, {"group": [[[1.0]]]}, {"group": [["a"]]}]
)
def test_what_is_no_written_symmetry_is_refused(change):
    with pytest.raises(InvalidInputError, match=r"a symmetry has|a generator has|group"):
        Symmetry.from_dict(Symmetry.crystal("square", "rectangle", dim=2).to_dict() | change)


def test_a_symmetry_of_a_strain_leaves_the_volume_beside_it():
    cubic = lse.Symmetry.crystal("cubic", "tetragonal", dim=3)
    wide, measure = cubic.on(7), lse.StrainAndVolume(3)
    assert cubic.on(6) is cubic
    assert (len(wide.group), len(wide.variants)) == (24, 3)
    F = np.eye(3) + 0.2 * np.random.default_rng(0).uniform(-1.0, 1.0, (3, 3))
    Q = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    turned = measure.strain(Q @ F @ Q.T)
    assert np.abs(wide.group @ measure.strain(F) - turned).max(axis=1).min() < 1e-14


def test_a_symmetry_of_a_strain_leaves_fields_before_it():
    square = lse.Symmetry.crystal("square", "rectangle", dim=2)
    wide = square.on(6, first=2)
    assert (len(wide.group), len(wide.variants)) == (4, 2)
    x = np.random.default_rng(0).normal(size=6)
    for A, inner in zip(wide.group, square.group):
        np.testing.assert_array_equal(A @ x, [*x[:2], *(inner @ x[2:5]), x[5]])
    np.testing.assert_array_equal(square.on(5, first=2).without(2).group, square.group)


def test_a_projection_is_no_symmetry_though_its_powers_are_few():
    """P^2 = P is closed under products; but no finite group holds it, for det P = 0."""
    for volume, generator in ((0, np.diag([1.0, 0.0])), (0, np.zeros((2, 2)))):
        with pytest.raises(InvalidInputError, match=f"has the determinant {volume}; that of a symmetry is 1 or -1"):
            Symmetry.generated([generator], size=2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Symmetry.generated(None, size=2), "generators is None; give a list"),
        (lambda: Symmetry.generated([], size=0), "size is 0; it must be a whole number >= 1"),
        (lambda: Symmetry(np.eye(2)[None], np.eye(3)[None], "mixed"), r"invariance has shape \(1, 3, 3\)"),
        (lambda: Symmetry(np.eye(2)[None], np.zeros((0, 2, 2)), "none"), "at least the identity"),
        (lambda: Symmetry.crystal(["cubic"], "tetragonal", dim=3), "no symmetry"),
    ],
)
def test_what_makes_no_group_is_refused(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()
