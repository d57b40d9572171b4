"""Wells, saddles, paths and basins against landscapes whose geometry is known, whatever the axes and the units."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

import lse_material as lse
from lse_material import analysis
from lse_material.analysis.landscape import landscapes
from lse_material.analysis.stationary import mode_minima
from tests.materials import line, random_potential, well

SQUARE = ([-0.5, -0.5], [1.5, 1.5])


def wells_at(places, *, stiffness=2.0, rho=0.05, depths=None, **scales):
    depths = np.zeros(len(places)) if depths is None else depths
    return lse.SoftMinimum(tuple(well(stiffness, p, e) for p, e in zip(places, depths)), rho, **scales)


@pytest.mark.parametrize("rho", [1e-3, 1e-2, 0.2])
def test_the_saddle_between_two_equal_wells(rho):
    # in the middle, by symmetry: k a^2 / 8 - rho log 2 high, with the curvatures k - k^2 a^2 / (4 rho) and k
    k, a = 2.0, 1.0
    p = wells_at([[0.0, 0.0], [a, 0.0]], stiffness=k, rho=rho)
    found = analysis.wells(p)
    (saddle,) = analysis.saddles(p)
    assert [point.index for point in (*found, saddle)] == [0, 0, 1]
    np.testing.assert_allclose(saddle.x, [0.5 * a, 0.0], atol=1e-9)
    assert saddle.energy == pytest.approx(k * a**2 / 8.0 - rho * np.log(2.0), rel=1e-12)
    np.testing.assert_allclose(saddle.eigenvalues, [k - (k * a) ** 2 / (4.0 * rho), k], rtol=1e-9)
    assert analysis.barrier(p, *found) == pytest.approx(saddle.energy - found[0].energy, rel=1e-12)


@pytest.mark.parametrize("length", [1e-9, 120.0, 1e6])
def test_inputs_may_be_of_any_size_without_a_scale_of_their_own(length):
    """A hand-written potential of an angle in degrees, or of a length in metres: saddle in the middle, as above."""
    k, a, rho = 2.0, 1.0, 0.05
    p = wells_at([[-0.4 * a * length, 0.0], [0.6 * a * length, 0.0]], stiffness=k / length**2, rho=rho)
    for box in ((None, None), (np.full(2, -length), np.full(2, length))):
        land = analysis.landscape(p, *box, starts=4)
        assert len(land.wells) == 2
        (saddle,) = land.saddles
        np.testing.assert_allclose(saddle.x / length, [0.1 * a, 0.0], atol=1e-9)
        assert saddle.energy == pytest.approx(k * a**2 / 8.0 - rho * np.log(2.0), rel=1e-12)
        np.testing.assert_allclose(land.barriers, (saddle.energy - land.wells[0].energy) * (1.0 - np.eye(2)), rtol=1e-9)


@pytest.mark.parametrize("size", [10.0, 1e5, 1e7])
def test_a_box_that_is_far_larger_than_the_landscape_has_the_same_wells(size):
    p = wells_at([[0.1, 0.0], [0.4, 0.2], [0.2, 0.7]], stiffness=8.0, rho=0.01)
    box = np.full(2, -size), np.full(2, 1.2 * size)
    free, boxed = analysis.wells(p), analysis.wells(p, *box)
    assert len(free) == len(boxed) == 3
    np.testing.assert_allclose(sorted(w.energy for w in boxed), sorted(w.energy for w in free), atol=1e-9)
    assert len(analysis.merged_modes(p, *box)) == 0


@pytest.mark.parametrize(
    "ask",
    [
        lambda p: analysis.wells(p, [-1.0, -1.0], [1.0, 1.0], starts=2.5),
        lambda p: analysis.wells(p, [-1.0, -1.0], [1.0, 1.0], starts=-1),
        lambda p: analysis.stationary_point(p, [0.0, 0.0], 3),
        lambda p: analysis.stationary_point(p, [0.0, 0.0], -1),
        lambda p: analysis.stationary_point(p, [0.0, 0.0], 0, radius=0.0),
        lambda p: analysis.minimum_energy_path(p, [0.0, 0.0], [1.0, 0.0], images=7.5),
        lambda p: analysis.random_rotations(-1, 2),
    ],
)
def test_numbers_that_count_nothing_are_refused(ask):
    with pytest.raises(lse.InvalidInputError, match=r"must be|inputs has"):
        ask(wells_at([[0.0, 0.0], [1.0, 0.0]]))


@pytest.mark.parametrize(("stiff", "unit"), [(1.0, 1.0), (9.0, 1.0), (9.0, 1e2), (4.0, 1e5), (4.0, 1e9)])
def test_wells_that_mirror_each_other_aslant_have_the_exact_barrier(stiff, unit):
    """W = min of (x - a).K (x - a) / 2 at both wells: d.K d / 8 - rho ln 2 between them, d = (1.2, 0.8), in any units."""
    k, rho, scale = np.array([2.0, 2.0 * stiff]), 0.03, np.array([1.0 / unit, unit])
    places = np.array([[-0.6, 2.0], [0.6, 2.8]])
    modes = [
        lse.ConvexNetwork.from_arrays([], [-(k * a)[None]], [[0.5 * a @ (k * a)]], quadratic=np.diag(np.sqrt(k)))
        for a in places
    ]
    p = lse.SoftMinimum(tuple(modes), rho, np.zeros(2), scale)
    exact = k @ [1.2**2, 0.8**2] / 8.0 - rho * np.log(2.0)
    assert analysis.barrier(p, *(places * scale)) == pytest.approx(exact, rel=1e-9)
    land = analysis.landscape(p, [-1.0, 1.0] * scale, [1.0, 4.0] * scale, starts=8)
    np.testing.assert_allclose(land.barriers, exact * (1.0 - np.eye(2)), rtol=1e-9)


def test_a_mode_that_falls_for_ever_has_no_minimum_however_far_one_looks():
    falling = lse.ConvexNetwork.from_arrays([[[1.0]]], [[[1.0]], [[0.0]]], [[0.0], [0.0]], activation="softplus")
    p = lse.SoftMinimum((falling, well(2.0, [500.0])), 0.1)
    np.testing.assert_allclose(mode_minima(p), [[500.0]], rtol=1e-12)


@pytest.mark.parametrize("rho", [1e-3, 0.05, 0.15])
def test_a_triangle_of_wells_has_three_passes_and_a_top(rho):
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(0.75)]])
    p = wells_at(corners, rho=rho)
    land = analysis.landscape(p, *SQUARE, starts=16)
    assert (len(land.wells), len(land.saddles)) == (3, 3)
    assert sorted(tuple(sorted(pair)) for pair in land.links) == [(0, 1), (0, 2), (1, 2)]
    np.testing.assert_allclose(land.barriers[~np.eye(3, dtype=bool)], land.barriers[0, 1], rtol=1e-9)
    (top,) = analysis.saddles(p, *SQUARE, index=2, starts=8)
    np.testing.assert_allclose(top.x, corners.mean(axis=0), atol=1e-8)


@settings(max_examples=4)
@given(seed=st.integers(0, 1000))
def test_stationary_points_are_stationary_and_of_their_index(seed):
    p = random_potential(np.random.default_rng(seed), 3, modes=4)
    box = -4.0 * np.ones(3), 4.0 * np.ones(3)
    for index, points in ((0, analysis.wells(p, *box, starts=12)), (1, analysis.saddles(p, *box, starts=12))):
        for point in points:
            stiffest = np.abs(point.eigenvalues).max()
            assert np.linalg.norm(p.gradient(point.x)) < 1e-8 * stiffest
            assert (np.linalg.eigvalsh(p.hessian(point.x)) < 0.0).sum() == index
            assert point.inside == bool((np.abs(point.x) <= 4.0).all())


@settings(max_examples=3)
@given(seed=st.integers(0, 1000))
def test_neither_axes_nor_units_change_the_barriers(seed):
    rng = np.random.default_rng(seed)
    places = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.3], [0.2, 1.0, 0.0]])
    p = wells_at(places, depths=[0.0, 0.03, 0.07])
    Q, s = np.linalg.qr(rng.normal(size=(3, 3)))[0], rng.uniform(1e-3, 1e3, 3)
    turned = wells_at(places @ Q.T, depths=[0.0, 0.03, 0.07])
    stretched = lse.SoftMinimum(p.modes, p.scaled_rho, input_scale=s, energy_scale=1e3)
    expected = analysis.landscape(p).barriers
    np.testing.assert_allclose(analysis.landscape(turned).barriers, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(analysis.landscape(stretched, scale=s).barriers, 1e3 * expected, rtol=1e-9, atol=1e-9)


def test_a_path_has_no_slope_across_itself():
    p = wells_at([[0.0, 0.0], [1.0, 0.4], [0.3, 1.1]], rho=0.15, depths=[0.0, 0.1, 0.05])
    found = analysis.wells(p)
    path = analysis.minimum_energy_path(p, found[0], found[1])
    slope = p.gradient(path.x)
    tangent = np.gradient(path.x, path.length, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    across = slope - (slope * tangent).sum(axis=1, keepdims=True) * tangent
    assert np.linalg.norm(across, axis=1).max() < 0.02 * np.linalg.norm(slope, axis=1).max()
    np.testing.assert_allclose(path.x[[0, -1]], [found[0].x, found[1].x], atol=1e-6)
    assert path.energy.max() == path.saddle.energy
    assert path.barrier - path.reverse_barrier == pytest.approx(found[1].energy - found[0].energy, abs=1e-12)


def test_a_path_past_a_third_well_goes_through_it():
    p = wells_at([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]], depths=[0.0, 0.1, 0.05])
    path = analysis.minimum_energy_path(p, [0.1, 0.1], [1.9, 0.0], images=41)
    assert [round(point.x[0], 2) for point in path.wells] == [0.0, 1.0, 2.0]
    assert path.barrier == max(s.energy for s in path.saddles) - path.wells[0].energy


def test_two_ways_round_a_hill_are_told_apart_by_leading_the_string():
    # four wells on the corners of a square: from one corner to the opposite one by either neighbour
    corners = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
    p = wells_at(corners, depths=[0.0, 0.02, 0.0, 0.1])
    for corner in (1, 3):
        path = analysis.minimum_energy_path(p, corners[0], corners[2], through=[corners[corner]])
        np.testing.assert_allclose(path.wells[1].x, corners[corner], atol=1e-2)


def test_points_flow_to_the_well_on_their_side_of_the_ridge():
    p = wells_at([[0.0, 0.0], [1.0, 0.0]], rho=0.02)
    x = np.random.default_rng(0).uniform(-1.0, 2.0, (200, 2))
    found = sorted(analysis.wells(p), key=lambda point: point.x[0])
    assert (analysis.basins(p, x, found) == (x[:, 0] > 0.5)).all()
    assert (analysis.basins(p, x[:5], found[:1])[x[:5, 0] > 0.5] == -1).all()


def test_valleys_that_are_level_along_a_line_count_once():
    k, rho, along = 10.0, 1e-3, np.array([np.cos(0.7), np.sin(0.7)])
    of_x = [lse.ConvexNetwork.from_arrays([], [-k * c * along[None]], [[0.5 * k * c**2]], quadratic=np.sqrt(k) * along[None])
            for c in (-1.0, 1.0)]  # fmt: skip
    land = analysis.landscape(lse.SoftMinimum(tuple(of_x), rho), [-2.0, -2.0], [2.0, 2.0])
    np.testing.assert_allclose(sorted(well.x @ along for well in land.wells), [-1.0, 1.0], atol=1e-9)
    assert land.links == ((0, 1),)
    assert land.saddles[0].energy == pytest.approx(0.5 * k - rho * np.log(2.0), rel=1e-9)


def test_a_landscape_without_a_floor_has_no_well_there():
    p = lse.SoftMinimum((well(1.0, [0.0]), line(-1.0, 10.0)), 0.1)  # falls for ever beyond the ridge
    land = analysis.landscape(p, [-2.0], [8.0], starts=8)
    assert [round(float(point.x[0]), 6) for point in land.wells] == [0.0]
    assert land.saddles == ()  # the pass there leads to no well
    with pytest.raises(lse.ConvergenceError, match="flows to no well"):
        analysis.minimum_energy_path(p, [0.0], [9.0])


def test_what_cannot_be_searched_is_refused():
    p = wells_at([[0.0, 0.0], [1.0, 0.0]])
    with pytest.raises(lse.InvalidInputError, match="both its lower and its upper"):
        analysis.wells(p, [0.0, 0.0])
    with pytest.raises(lse.InvalidInputError, match="below upper"):
        analysis.wells(p, [0.0, 0.0], [1.0, 0.0])
    with pytest.raises(lse.InvalidInputError, match="index is 0"):
        analysis.saddles(p, index=0)
    with pytest.raises(lse.InvalidInputError, match="same well"):
        analysis.minimum_energy_path(p, [0.1, 0.0], [-0.1, 0.0])
    with pytest.raises(lse.InvalidInputError, match="images is 2"):
        analysis.minimum_energy_path(p, [0.0, 0.0], [1.0, 0.0], images=2)


ASKED = {
    "wells": analysis.wells,
    "saddles": analysis.saddles,
    "landscape": analysis.landscape,
    "merged_modes": analysis.merged_modes,
    "stationary_point": lambda W: analysis.stationary_point(W, [0.0, 0.0, 0.0], 0),
    "descend": lambda W: analysis.descend(W, [0.0, 0.0, 0.0]),
    "barrier": lambda W: analysis.barrier(W, [0.0, 0.0, 0.0], [0.1, 0.0, 0.0]),
    "Density": analysis.Density.of,
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_a_material_whose_energy_is_more_than_its_potential_is_refused(ask):
    """W has a growth term and depends on F: its landscape is not that of the potential alone."""
    material = lse.Material(wells_at([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), lse.GreenLagrange(2), growth=lse.Growth(1.0))
    with pytest.raises(lse.InvalidInputError, match=r"Material is no potential.* material\.potential"):
        ask(material)


@pytest.mark.parametrize("inputs", [(0, 1), (2, 0), (1,)])
def test_a_section_shows_wells_and_saddles_where_they_are(inputs):
    p = wells_at([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    box = lse.Box([-0.5] * 3, [1.5] * 3)
    land = analysis.landscape(p, box.lower, box.upper)
    axes = Figure().subplots()
    lse.plotting.landscape(axes, p, land, inputs=inputs, box=box)
    drawn = {marker: [line.get_xdata()[0] for line in axes.lines if line.get_marker() == marker] for marker in "ox"}
    assert drawn["o"] == [well.x[inputs[0]] for well in land.wells]
    assert drawn["x"] == [saddle.x[inputs[0]] for saddle in land.saddles]
    assert axes.get_xlim() == (-0.5, 1.5)
    with pytest.raises(lse.InvalidInputError, match="choose one or two"):
        lse.plotting.landscape(axes, p, land, inputs=(0, 3))


@pytest.mark.parametrize("name", analysis.DEFORMATIONS)
def test_the_stress_of_a_curve_is_the_change_of_its_energy(name):
    """dW/ds = P : dF/ds, and of the four families only one component of F, or two that are alike, change with s."""
    material = lse.Material(wells_at([[0.0, 0.0, 0.0], [0.1, -0.1, 0.0]]), lse.GreenLagrange(2))
    curve = analysis.stress_curve(material, name, points=4001)
    F = np.array([curve.deformation.gradient(s, 2) for s in curve.amount])
    power = np.einsum("niJ,niJ->n", material.stress(F), np.gradient(F, curve.amount, axis=0))
    change = np.gradient(curve.energy, curve.amount)
    assert power[1:-1] == pytest.approx(change[1:-1], abs=1e-4 * np.abs(change).max())
    i, J = curve.deformation.component
    assert np.array_equal(curve.stress, material.stress(F)[:, i, J])
    box = analysis.search_box(material)
    assert box.excess(material.kinematics.strain(F)).max() < 1e-2


def stiffening(designs):
    """|(1 + p) E|^2 / 2 - p E11 at small strain: a well at E11 = p / (1 + p)^2 for every design p of the first field."""
    q = 1 + designs
    root, slope = np.zeros((3, 3, q)), np.zeros((3, q))
    root[:, :, 0], root[:, :, 1], slope[0, 1] = np.eye(3), np.eye(3), -1.0
    none = {"feature_weight": (0, designs), "feature_bias": 0, "x_weight": (0, 3), "bias": (0, q), "z_root": (0, q)}
    mode = lse.DesignNetwork(
        **{name: np.zeros(size) for name, size in none.items()}, slope=slope, level=np.zeros(q), quadratic=root
    )
    fields, box = (
        ("p", "q")[:designs],
        lse.Box(np.append(np.ones(designs), [-1.0] * 3), np.append(np.full(designs, 3.0), [1.0] * 3)),
    )
    return lse.Material(lse.SoftMinimum((mode,), 1.0), lse.SmallStrain(2), fields=fields, training_box=box)


def test_wells_of_a_design_are_those_of_the_strain_where_it_is_given():
    found = landscapes(stiffening(1))
    assert list(found) == [1.0, 2.0, 3.0]
    for p, (fixed, land) in found.items():
        assert fixed.fields == ()
        (only,) = land.wells
        np.testing.assert_allclose(only.x, [p / (1.0 + p) ** 2, 0.0, 0.0], atol=1e-9)
    assert analysis.field_to_vary(stiffening(2)) is None
    ((fixed, land),) = landscapes(stiffening(2)).values()  # both at the middle
    np.testing.assert_allclose(land.wells[0].x, [2.0 / 9.0, 0.0, 0.0], atol=1e-9)
    with pytest.raises(lse.InvalidInputError, match="no field 'r'; its fields are"):
        analysis.at_values(stiffening(1), "r")
