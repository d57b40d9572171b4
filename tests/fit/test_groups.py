"""Load paths: whole ones are held back, and what is expected on unseen ones is what then happens."""

import numpy as np
import pytest

import lse_material as lse
from lse_material.fit import Architecture, DataWarning, Training, fit, leave_one_group_out, select, shapes

QUICK = {
    "kinematics": lse.GreenLagrange(2),
    "architecture": Architecture(modes=1, width=3),
    "training": Training(restarts=1, adam_steps=150, lbfgs_steps=150),
    "progress": False,
}


def energy_and_stress(F):
    """Saint Venant-Kirchhoff, with a term of fourth order."""
    E = 0.5 * (np.swapaxes(F, 1, 2) @ F - np.eye(2))
    trace, square = np.trace(E, axis1=1, axis2=2), (E**2).sum((1, 2))
    S = 2.0 * trace[:, None, None] * np.eye(2) + (2.0 + 12.0 * square)[:, None, None] * E
    return trace**2 + square + 3.0 * square**2, F @ S


def paths(count, rows=30, **options):
    """Straight paths from F = I into directions spread over a circle of stretches and shear."""
    angles = np.linspace(0.0, np.pi, count, endpoint=False)
    ways = [np.array([[np.cos(a), 0.3 * np.sin(2 * a)], [0.0, np.sin(a)]]) for a in angles]
    amounts = np.linspace(-0.15, 0.25, rows)
    F = np.concatenate([np.eye(2) + amounts[:, None, None] * way for way in ways])
    W, P = energy_and_stress(F)
    return lse.Samples(F=F, energy=W, stress=P, **options)


def test_whole_paths_are_held_back_and_named():
    data = paths(6, group=np.repeat(["a", "b", "c", "d", "e", "f"], 30))
    result = fit(data, **QUICK)
    (held,) = result.group_errors
    assert held in "abcdef"
    assert result.group_errors[held] == result.validation_errors
    assert f"held back as a whole, {held}: {result.validation_errors.worst:.1%}" in result.summary()
    assert result.error(data.take(np.flatnonzero(data.group == held))).stress < result.validation_errors.stress


def test_paths_are_found_where_they_are_not_given():
    assert len(fit(paths(6), **QUICK).group_errors) == 1


def test_a_random_split_of_few_paths_is_warned_of():
    with pytest.warns(DataWarning, match="3 load paths.*leave_one_group_out"):
        result = fit(paths(3), **QUICK)
    assert result.group_errors == {}
    assert result.validation_errors is not None


def test_rows_at_random_are_split_at_random():
    F = np.eye(2) + np.random.default_rng(0).uniform(-0.2, 0.2, (150, 2, 2))
    W, P = energy_and_stress(F)
    assert fit(lse.Samples(F=F, energy=W, stress=P), **QUICK).group_errors == {}


def test_each_path_is_left_out_and_met_by_a_fit_to_the_others():
    data = paths(5, rows=20, group=np.repeat(range(5), 20))
    left = leave_one_group_out(data, **QUICK)
    assert list(left.errors) == ["0", "1", "2", "3", "4"]
    for label, result in left.results.items():
        unseen = data.take(np.flatnonzero(data.group == int(label)))
        assert result.error(unseen) == left.errors[label]
        assert result.train_errors.stress < left.errors[label].stress
    squares = [(data.stress[data.group == int(k)] ** 2).sum() for k in left.errors]
    pooled = np.sqrt(np.average([e.stress**2 for e in left.errors.values()], weights=squares))
    assert left.stress == pytest.approx(pooled)
    assert left.errors[left.worst].stress == max(e.stress for e in left.errors.values())
    assert f"left out {left.worst}" in left.summary()
    assert left.outside["0"] > 0.0  # pure stretch in 1, farther than any other


@pytest.mark.slow
def test_rows_beyond_the_strains_of_the_others_do_not_count_in_what_is_expected():
    amounts, ways = np.linspace(0.0, 0.2, 30), {"x": [1.0, 0.0], "y": [0.0, 1.0], "xy": [0.8, 0.4], "yx": [0.3, 0.9]}
    F = np.concatenate([np.eye(2) + amounts[:, None, None] * np.diag(way) for way in [*ways.values(), [3.0, 3.0]]])
    W, P = energy_and_stress(F)
    data = lse.Samples(F=F, energy=W, stress=P, group=np.repeat([*ways, "far"], 30))
    left = leave_one_group_out(data, **QUICK)
    assert left.outside["far"] > 0.6
    wrong = size = 0.0
    for label, result in left.results.items():
        of_label, of_others = (data.take(np.flatnonzero(part)) for part in (data.group == label, data.group != label))
        x, seen = (
            np.column_stack([part.inputs(QUICK["kinematics"]), np.linalg.det(part.F)]) for part in (of_label, of_others)
        )
        inside = ((x > seen.min(axis=0) - 1e-9) & (x < seen.max(axis=0) + 1e-9)).all(axis=1)
        assert left.outside[label] == pytest.approx(1.0 - inside.mean())
        difference = (result.material.stress(of_label.F) - of_label.stress)[inside]
        wrong, size = wrong + (difference**2).sum(), size + (of_label.stress[inside] ** 2).sum()
    assert left.expected == pytest.approx(np.sqrt(wrong / size))
    assert left.expected < left.stress
    assert f"unseen path within the data: {left.expected:.1%}" in left.summary()


def test_images_by_the_symmetry_are_strains_of_the_data():
    amounts = np.linspace(0.0, 0.2, 40)
    F = np.concatenate([np.eye(2) + amounts[:, None, None] * np.diag(way) for way in ([1.0, 0.1], [0.1, 1.0])])
    W, P = energy_and_stress(F)
    data = lse.Samples(F=F, energy=W, stress=P, group=np.repeat(["x", "y"], 40))
    square = leave_one_group_out(data, symmetry=lse.Symmetry.crystal("square", "square", dim=2), **QUICK)
    assert square.outside == {"x": 0.0, "y": 0.0}
    assert square.expected == square.stress
    none = leave_one_group_out(data, **QUICK)
    assert min(none.outside.values()) > 0.5
    assert square.expected < 0.2 * none.stress


def test_one_group_cannot_be_left_out():
    with pytest.raises(lse.InvalidInputError, match="no two groups"):
        leave_one_group_out(paths(1, group=np.zeros(30, dtype=int)), **QUICK)


def test_tests_of_a_rubber_are_left_out_in_turn():
    """Neo-Hookean: W of I1 alone, so that each test tells what the others are; only equibiaxial stretches go beyond in I2."""
    l = np.linspace(1.05, 2.5, 6)
    tests = {
        "UT": (lse.Observations.uniaxial, 2),
        "PS": (lse.Observations.planar, 3),
        "ET": (lse.Observations.equibiaxial, 5),
    }
    data = lse.Observations.joined(
        [build(l, 0.4 * (l - l**-power), errors=0.01, group=name) for name, (build, power) in tests.items()]
    )
    options = {
        "kinematics": lse.IsotropicInvariants(3),
        "architecture": Architecture(modes=1, depth=0),
        "training": Training(restarts=1, adam_steps=30, lbfgs_steps=60, validation=0.0),
        "progress": False,
    }
    left = leave_one_group_out(data, **options)
    assert list(left.errors) == ["UT", "PS", "ET"]
    assert left.stress < 0.02
    assert left.worst == "ET"
    assert left.outside["PS"] == 0.0 < left.outside["ET"]
    error = [left.errors[name].stress * np.linalg.norm(data.values[data.group == name]) for name in tests]
    assert left.stress == pytest.approx(np.linalg.norm(error) / np.linalg.norm(data.values))
    chosen = select(data, {"one": options}, members=2, progress=False)
    assert chosen.left_out["one"].stress == left.stress
    assert list(shapes(data, lse.IsotropicInvariants(3))) == ["linear growth, two modes", "one mode", "two modes"]
    with pytest.raises(lse.InvalidInputError, match="no two groups"):
        leave_one_group_out(lse.Observations.uniaxial(l, l), **options)
