"""A stress of another row, hysteresis and energies that are no work are named; what is right is not doubted."""

import re

import numpy as np
import pytest

import lse_material as lse
from lse_material.fit.problem.diagnostics import data_warnings
from lse_material.fit.problem.rows import rows_of


def said(F, energy=None, stress=None, group=None):
    samples = lse.Samples(F=F, energy=energy, stress=stress, group=group)
    found = data_warnings(samples, rows_of(samples, lse.GreenLagrange(2), None))
    return " ".join(text for text in found if not re.search("rows for|no shear|same in all rows", text))


def neo_hookean(F, mu=0.7, kappa=1.9):
    """W = mu/2 (|F|^2 - 2) - mu ln J + kappa/2 (ln J)^2 and P."""
    log_J, inverse = np.log(np.linalg.det(F)), np.swapaxes(np.linalg.inv(F), 1, 2)
    W = 0.5 * mu * ((F**2).sum(axis=(1, 2)) - 2.0) - mu * log_J + 0.5 * kappa * log_J**2
    return W, mu * (F - inverse) + kappa * log_J[:, None, None] * inverse


def cycle(rows=35, most=0.22):
    """Stretched, released into compression, and stretched once more."""
    parts = [np.linspace(*ends, rows) for ends in ((0.0, most), (most, -0.5 * most), (-0.5 * most, 0.8 * most))]
    t = np.concatenate([parts[0], parts[1][1:], parts[2][1:]])[:, None, None]
    return np.eye(2) + t * np.array([[1.0, 0.2], [0.0, -0.35]])


def rays(start=0.0, rows=25, most=0.2):
    ways = np.random.default_rng(11).normal(size=(7, 2, 2))
    t = np.linspace(start, most, rows)[:, None, None]
    return np.concatenate([np.eye(2) + t * way / np.linalg.norm(way) for way in ways])


def curve(rows=90):
    s = np.linspace(0.0, 5.0, rows)
    F = np.tile(np.eye(2), (rows, 1, 1))
    F[:, 0, 0] += 0.2 * np.sin(s)
    F[:, 0, 1] += 0.1 * np.sin(1.6 * s)
    return F


def moved(F, W, P, shift):
    """Stresses that stand `shift` rows below their own."""
    n = len(F) - abs(shift)
    a, b = max(shift, 0), max(-shift, 0)
    return F[a : a + n], None if W is None else W[a : a + n], P[b : b + n]


PATHS = {"cycle": cycle, "rays": rays, "rays beside F = I": lambda: rays(0.04), "curve": curve}
CASES = [(name, shift, energies) for name in PATHS for shift in (1, -1, 2) for energies in (True, False)]
CASES = [
    each for each in CASES if each[0] not in ("curve", "rays beside F = I") or each[2]
]  # stresses alone do not tell


@pytest.mark.parametrize(("path", "shift", "with_energies"), CASES)
def test_stresses_of_another_row_are_named_with_their_way_back(path, shift, with_energies):
    F = PATHS[path]()
    W, P = neo_hookean(F)
    text = said(*moved(F, W if with_energies else None, P, shift))
    where = "below" if shift > 0 else "above"
    assert re.search(rf"the stresses of each row stand {abs(shift)} rows? {where} it", text)


@pytest.mark.parametrize("path", PATHS)
def test_energies_of_another_row_are_named(path):
    F = PATHS[path]()
    W, P = neo_hookean(F)
    assert "the energies of each row stand 1 row below it" in said(F[1:], W[:-1], P[1:])


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.04])
@pytest.mark.parametrize("path", PATHS)
def test_right_rows_are_not_doubted(path, noise):
    F, rng = PATHS[path](), np.random.default_rng(4)
    W, P = neo_hookean(F)
    W, P = (values + noise * values.std() * rng.normal(size=values.shape) for values in (W, P))
    for energy in (W, None):
        assert said(F, energy, P) == ""


def test_energies_of_a_rectangle_rule_are_no_shift():
    """A sum of P dF without the half at the ends is half a row off either way."""
    F = curve()
    P = neo_hookean(F)[1]
    W = np.concatenate([[0.0], np.cumsum((P[:-1] * np.diff(F, axis=0)).sum(axis=(1, 2)))])
    assert "stand" not in said(F, W, P)


def test_a_stress_beside_the_undeformed_row_that_has_none():
    F = np.eye(2) + np.linspace(0.0, 0.3, 20)[:, None, None] * np.diag([1.0, 0.0])
    P = neo_hookean(F)[1]
    assert "1 row below it?" in said(F, None, np.roll(P, 1, axis=0))
    assert "1 row above it?" in said(F, None, np.roll(P, -1, axis=0))
    assert said(F, None, P) == said(F, None, P + 0.1 * np.eye(2)) == ""  # one that is not free of stress at F = I


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_hysteresis_is_named_with_its_size(share):
    """Loading with (1 + s) P and unloading with (1 - s) P differ by 2 s P."""
    F = cycle()
    P = neo_hookean(F)[1]
    loading = np.gradient(np.linalg.norm(F - np.eye(2), axis=(1, 2))) > 0.0
    P = P * np.where(loading, 1.0 + share, 1.0 - share)[:, None, None]
    text = said(F, None, P)
    assert "loading and unloading differ" in text
    assert float(re.search(r"differ by (\d+)%", text).group(1)) == pytest.approx(200.0 * share, rel=0.4)


def test_softening_in_a_second_test_is_named():
    """Mullins: the same way once more with 70 % of the stress."""
    F = np.concatenate([cycle()[:35], cycle(most=0.2)[:35]])
    P = neo_hookean(F)[1] * np.repeat([1.0, 0.7], 35)[:, None, None]
    assert "come back to a strain" in said(F, None, P)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda W, P, F: (0.8 * W, P), "change by 0.8 times the work"),
        (lambda W, P, F: (W, F @ np.swapaxes(P, 1, 2) / np.linalg.det(F)[:, None, None]), "symmetric, as Cauchy"),
        (lambda W, P, F: (W, np.swapaxes(P, 1, 2)), "if they were P transposed"),
        (lambda W, P, F: (W, P * [[1.0, 1.0], [-1.0, 1.0]]), "component 21 had the other sign"),
        (lambda W, P, F: (W, P * [[1.0, 1e3], [1.0, 1.0]]), "component 12 counted 0.001 times"),
    ],
    ids=["W per mass", "Cauchy", "transposed", "sign", "unit"],
)
def test_what_stresses_are_is_named(change, words):
    F = rays()
    assert words in said(F, *change(*neo_hookean(F), F))


def test_a_second_piola_kirchhoff_stress_of_a_tension_test_is_named():
    """Nothing but the energy tells: without shear P F^T is symmetric in any case."""
    F = np.eye(2) + np.linspace(0.0, 0.4, 40)[:, None, None] * np.diag([1.0, -0.2])
    W, P = neo_hookean(F)
    assert "if they were the second Piola-Kirchhoff stress" in said(F, W, np.linalg.solve(F, P))


def test_noise_of_repeated_energies_is_no_contradiction():
    F, rng = rays(), np.random.default_rng(0)
    W = neo_hookean(F)[0]
    assert "different energies" not in said(F, W + 0.02 * W.std() * rng.normal(size=len(W)), neo_hookean(F)[1])
    W[25] += 0.3 * W.std()  # the second row that is undeformed
    assert "different energies" in said(F, W, neo_hookean(F)[1])
