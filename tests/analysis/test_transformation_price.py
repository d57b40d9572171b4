"""The price of a transformation is that of the loops that it makes, with noise, minor loops and nucleation peaks."""

import numpy as np
import pytest

import lse_material as lse
from lse_material.analysis import transformation_price

MODULUS, STRAIN, MAXWELL, PRICE = 40.0, 0.07, 0.9, 0.02


def loops():
    """Strain and stress of a specimen that transforms by 0.8, with a minor loop, from 0.1 on."""
    shares = [0.1]
    sigma = [0.0]
    off = PRICE / STRAIN
    for start, end in ((0.1, 0.7), (0.7, 0.4), (0.4, 0.6), (0.6, 0.4), (0.4, 0.9), (0.9, 0.1)):
        stress = MAXWELL + np.sign(end - start) * off
        elastic = np.linspace(sigma[-1], stress, 20)[1:]
        shares += [start] * len(elastic) + list(np.linspace(start, end, 60)[1:])
        sigma += [*elastic, *[stress] * 59]
    sigma, shares = np.array(sigma), np.array(shares)
    return sigma / MODULUS + STRAIN * shares, sigma


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_the_price_is_found_from_nested_loops_with_noise(noise):
    e, sigma = loops()
    sigma = sigma + noise * MAXWELL * np.random.default_rng(3).normal(size=len(sigma))
    found = transformation_price(e, sigma, modulus=MODULUS, strain=STRAIN)
    assert found.price == pytest.approx(PRICE, rel=1e-12 if noise == 0.0 else 0.01)
    assert found.maxwell_stress == pytest.approx(MAXWELL, rel=1e-12 if noise == 0.0 else 0.005)


def test_a_peak_of_nucleation_hardly_counts():
    e, sigma = loops()
    sigma[18:22] *= 1.6
    assert transformation_price(e, sigma, modulus=MODULUS, strain=STRAIN).price == pytest.approx(PRICE, rel=0.01)


def test_what_is_no_loop_is_refused():
    e, sigma = loops()
    up = slice(0, 79)
    with pytest.raises(lse.InvalidInputError, match="never falls"):
        transformation_price(e[up], sigma[up], modulus=MODULUS, strain=STRAIN)
    with pytest.raises(lse.InvalidInputError, match=r"stresses \(3,\)"):
        transformation_price(e, sigma[:3], modulus=MODULUS, strain=STRAIN)
    with pytest.raises(lse.InvalidInputError, match=r"modulus is -1"):
        transformation_price(e, sigma, modulus=-1.0, strain=STRAIN)
