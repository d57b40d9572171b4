"""Materials that also depend on scalars: conjugates and stresses are derivatives of one energy, on every floor below fit."""

from functools import partial

import numpy as np
import pytest

import lse_material as lse
from lse_material.export import source
from lse_material.kernel import CompiledEvaluator
from tests.materials import material_with_fields, random_deformations

RNG = np.random.default_rng(3)


def deformations(n=6, dim=2):
    return np.eye(dim) + 0.1 * RNG.normal(size=(n, dim, dim)), RNG.normal(size=(n, 2))


def difference(f, x, h=1e-6):
    """Central differences of f: R^m -> R at x (m,)."""
    steps = h * np.eye(len(x))
    return np.array([(f(x + s) - f(x - s)) / (2.0 * h) for s in steps])


def test_stress_conjugates_and_tangent_are_derivatives_of_the_energy():
    m = material_with_fields()
    F, fields = deformations()
    for F0, f0 in zip(F, fields):
        slope = difference(partial(m.energy, F0), f0)
        np.testing.assert_allclose(m.conjugates(F0, f0), slope, rtol=1e-6, atol=1e-7)

        def of_deformation(flat, values=f0):
            return m.energy(flat.reshape(2, 2), values), m.stress(flat.reshape(2, 2), values).ravel()

        slope = difference(lambda flat: of_deformation(flat)[0], F0.ravel())
        np.testing.assert_allclose(m.stress(F0, f0).ravel(), slope, rtol=1e-6, atol=1e-7)
        A = difference(lambda flat: of_deformation(flat)[1], F0.ravel())
        np.testing.assert_allclose(m.tangent(F0, f0).reshape(4, 4), A.T, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(m.mode_weights(F, fields).sum(axis=1), 1.0, atol=1e-14)


def test_one_value_serves_all_points_and_shapes_are_kept():
    m = material_with_fields()
    F = np.broadcast_to(np.eye(2), (3, 4, 2, 2))
    one = m.energy(F, [0.1, 0.2])
    assert one.shape == (3, 4)
    np.testing.assert_array_equal(one, m.energy(F, np.broadcast_to([0.1, 0.2], (3, 4, 2))))
    assert m.conjugates(F, [0.1, 0.2]).shape == (3, 4, 2)


@pytest.mark.parametrize("quadratic", [True, False])
def test_a_material_with_its_fields_held_is_the_same_material(quadratic):
    m = material_with_fields()
    if not quadratic:
        modes = tuple(lse.ConvexNetwork(n.z_weights, n.x_weights, n.biases, n.activation) for n in m.potential.modes)
        m = lse.Material(lse.SoftMinimum(modes, 0.5), m.kinematics, fields=m.fields)
    held = m.at([0.3, -0.4])
    F, _ = deformations()
    for name in ("energy", "stress", "tangent", "mode_weights"):
        np.testing.assert_allclose(getattr(held, name)(F), getattr(m, name)(F, [0.3, -0.4]), rtol=1e-11, atol=1e-12)
    assert held.fields == ()
    assert held.potential.size == 3


def test_the_file_keeps_the_fields(tmp_path):
    m = material_with_fields()
    lse.save(m, tmp_path / "m.safetensors")
    back = lse.load(tmp_path / "m.safetensors")
    assert back.fields == m.fields
    F, fields = deformations()
    np.testing.assert_array_equal(back.energy(F, fields), m.energy(F, fields))


def test_verify_checks_it_with_the_fields_held():
    checks = {check.name: check for check in lse.analysis.verify(material_with_fields())}
    assert all(check.passed for check in checks.values())
    assert checks["derivatives"].value > 0.0


def test_what_needs_a_material_of_deformation_alone_says_so():
    m = material_with_fields()
    with pytest.raises(lse.InvalidInputError, match="also depends on concentration, temperature: give fields="):
        m.energy(np.eye(2))
    with pytest.raises(lse.InvalidInputError, match="fields has shape"):
        m.energy(np.eye(2)[None], np.zeros((2, 2)))
    with pytest.raises(lse.InvalidInputError, match=r"fix them by material\.at"):
        CompiledEvaluator(m)
    with pytest.raises(lse.InvalidInputError, match=r"fix them by material\.at"):
        source(m, "c")
    with pytest.raises(lse.InvalidInputError, match="one each"):
        m.at([0.1])
    with pytest.raises(lse.InvalidInputError, match="depends on F alone"):
        m.at([0.1, 0.2]).energy(np.eye(2), [0.1])
    with pytest.raises(lse.InvalidInputError, match="each name may appear once"):
        material_with_fields(fields=("c", "c"))
    with pytest.raises(lse.InvalidInputError, match="for one"):
        lse.Material(m.potential, m.kinematics, fields="concentration")
    with pytest.raises(lse.InvalidInputError, match="beside the fields c"):
        lse.Material(m.potential, m.kinematics, fields=("c",))


@pytest.mark.parametrize("ending", ["csv", "npz"])
def test_samples_with_fields_are_written_and_read_back(ending, tmp_path):
    m = material_with_fields()
    F, fields = deformations(8)
    mask = np.arange(8) != 3
    samples = lse.Samples(
        F=F,
        energy=m.energy(F, fields),
        stress=m.stress(F, fields),
        conjugates=m.conjugates(F, fields),
        stress_mask=mask,
        fields=fields,
        field_names=m.fields,
    )
    path = tmp_path / f"s.{ending}"
    lse.write_samples(samples, path)
    back = lse.read_samples(path)
    assert back.field_names == m.fields
    for name in ("F", "fields", "energy", "stress", "conjugates", "stress_mask"):
        np.testing.assert_array_equal(getattr(back, name), getattr(samples, name))
    part = samples.take(np.array([3]))
    assert part.stress is None
    assert part.conjugates is None
    assert samples.inputs(m.kinematics).shape == (8, 5)


def test_samples_with_fields_that_do_not_fit_are_refused():
    F = np.eye(2)[None]
    for wrong, message in (
        ({"fields": [[1.0]]}, "fields has shape"),
        ({"field_names": ("c",)}, "no values"),
        ({"fields": [[1.0]], "field_names": ("c",), "conjugates": [[1.0]]}, "and `stress`"),
    ):
        with pytest.raises(lse.InvalidInputError, match=message):
            lse.Samples(F=F, energy=[0.0], **wrong)
    with pytest.raises(lse.InvalidInputError, match="all inputs in x"):
        lse.Samples(x=[[1.0]], energy=[0.0], fields=[[1.0]], field_names=("c",))


def test_a_field_that_is_held_alone_leaves_a_material_of_the_other():
    m, F, T = material_with_fields(), random_deformations(np.random.default_rng(3), 5, 2), 0.15
    for name, k in (("concentration", 0), ("temperature", 1)):
        one, values = m.at(**{name: -0.1}), np.array([T, T])
        values[k] = -0.1
        assert one.fields == (m.fields[1 - k],)
        assert one.training_box.size == 4
        np.testing.assert_allclose(one.stress(F, [T]), m.stress(F, values), rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(one.conjugates(F, [T])[:, 0], m.conjugates(F, values)[:, 1 - k], rtol=1e-11)
