"""Noise is not taken for a landscape: no fit of it ends in an error, none finds modes in it, and each says so."""

import numpy as np
import pytest

import lse_material as lse
from lse_material.fit import Architecture, Sparsity, fit
from tests.materials import samples_of, two_wells

SHORT = {
    "architecture": Architecture(modes="auto", max_modes=4, width=3),
    "sparsity": Sparsity(restarts=1, adam_steps=200, trials=2, trial_rows=50),
    "progress": False,
}


def noise(kind, n, d, seed):
    rng = np.random.default_rng(seed)
    values = {"energy": rng.normal(size=n), "gradient": rng.normal(size=(n, d))}
    return lse.Samples(
        x=rng.normal(size=(n, d)), **{name: value for name, value in values.items() if kind in (name, "both")}
    )


@pytest.mark.filterwarnings("ignore::lse_material.fit.DataWarning")
@pytest.mark.parametrize(
    ("kind", "d", "seed"),
    [
        pytest.param(kind, d, seed, marks=[pytest.mark.slow] if seed else [], id=f"{kind} {d}D {seed}")
        for seed in range(2)
        for kind in ("energy", "gradient", "both")
        for d in (1, 2)
    ],
)
def test_pure_noise_has_no_modes_and_the_fit_says_that_it_has_found_nothing(kind, d, seed):
    result = fit(noise(kind, 100, d, seed), **SHORT, seed=seed)
    assert len(result.potential.modes) == 1
    assert any("nothing was found" in text for text in result.warnings())
    assert np.isfinite(result.potential.energy(np.zeros((1, d)))).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::lse_material.fit.DataWarning")
@pytest.mark.parametrize("size", [0.1, 0.3])
@pytest.mark.parametrize(("d", "seed"), [(1, 0), (1, 1), (2, 0), (2, 1)])
def test_wells_are_found_under_noise_that_is_smaller_than_they_are_deep(size, d, seed):
    exact, rng = two_wells(d), np.random.default_rng(seed)
    data = samples_of(exact, 200, seed)
    gradient = data.gradient + size * np.sqrt((data.gradient**2).mean()) * rng.normal(size=data.gradient.shape)
    energy = data.energy + size * data.energy.std() * rng.normal(size=200)
    result = fit(lse.Samples(x=data.x, energy=energy, gradient=gradient), **SHORT, seed=seed)
    assert len(result.potential.modes) == 2
    assert result.error(samples_of(exact, 300, seed + 10)).energy < size
    assert not any("nothing was found" in text for text in result.warnings())
