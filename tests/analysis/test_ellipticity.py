"""The weakest plane wave: known in closed form for isotropic bodies, and never above any wave that is tried."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lse_material as lse
from lse_material.analysis import acoustic_minimum
from tests.materials import relative_error


def isotropic(lam, mu, dim):
    I = np.eye(dim)
    return (
        lam * np.einsum("iJ,kL->iJkL", I, I) + mu * np.einsum("ik,JL->iJkL", I, I) + mu * np.einsum("iL,Jk->iJkL", I, I)
    )[None]


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(("lam", "mu"), [(1.0, 0.5), (-3.0, 1.0), (0.3, -0.2)])
def test_an_isotropic_body_has_shear_and_pressure_waves(lam, mu, dim):
    least = acoustic_minimum(isotropic(lam, mu, dim))
    assert least.value[0] == pytest.approx(min(mu, lam + 2.0 * mu), rel=1e-12)
    along = abs(least.direction[0] @ least.polarisation[0])
    assert along == pytest.approx(0.0 if mu < lam + 2.0 * mu else 1.0, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 3]))
def test_no_wave_is_weaker(seed, dim):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(3, dim * dim, dim * dim))
    A = (A + A.transpose(0, 2, 1)).reshape(3, dim, dim, dim, dim)
    least = acoustic_minimum(A)
    m, N = rng.normal(size=(2, 3, 4000, dim))
    m, N = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (m, N))
    waves = np.einsum("niJkL,npi,npJ,npk,npL->np", A, m, N, m, N, optimize=True)
    scale = np.abs(A).max()
    assert (waves.min(axis=1) >= least.value - 1e-9 * scale).all()
    found = np.einsum("niJkL,ni,nJ,nk,nL->n", A, *[least.polarisation, least.direction] * 2)
    assert relative_error(found, least.value) < 1e-10


def test_twins_grow_in_the_direction_of_the_weakest_wave():
    """Halfway between two wells the energy falls fastest along the twinning shear, at 45 degrees to the axes."""
    modes = []
    for stretch in ([0.92, 1.10], [1.10, 0.92]):
        c = np.append(0.5 * (np.square(stretch) - 1.0), 0.0)
        K = np.diag([3.0, 3.0, 2.0]) + np.pad(np.ones((2, 2)), (0, 1))
        Q = np.linalg.cholesky(K).T
        modes.append(lse.ConvexNetwork.from_arrays([], [-(K @ c)[None]], [[0.5 * c @ K @ c]], quadratic=Q))
    material = lse.Material(lse.SoftMinimum(tuple(modes), 0.003), lse.GreenLagrange(2))
    between, at_well = np.eye(2) * np.sqrt((0.92**2 + 1.10**2) / 2.0), np.diag([0.92, 1.10])
    least = acoustic_minimum(material.tangent(np.stack([between, at_well])))
    assert least.value[0] < 0.0 < least.value[1]
    assert abs(least.direction[0]) == pytest.approx([np.sqrt(0.5)] * 2, abs=1e-5)


def test_nan_stays_and_shapes_are_checked():
    A = np.concatenate([isotropic(1.0, 1.0, 2), np.full((1, 2, 2, 2, 2), np.nan)])
    assert np.isnan(acoustic_minimum(A).value).tolist() == [False, True]
    assert acoustic_minimum(np.zeros((0, 3, 3, 3, 3))).value.shape == (0,)
    with pytest.raises(lse.InvalidInputError, match="needs"):
        acoustic_minimum(np.zeros((1, 4, 4)))
