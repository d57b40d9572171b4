"""The free energy of composition and strain of a solid whose lithium-rich phase is distorted, as data and as a fit.

After S. Rudraraju, A. Van der Ven and K. Garikipati, Mechanochemical spinodal decomposition, npj Computational Materials 2,
16012 (2016), arXiv 1508.05930, in two dimensions and with c -> 1 - c, so that the square phase is the poor one:

    W(c, e1, e2, e6) = 16 d_c c^2 (1 - c)^2 + 2 d_e/s_e^2 (e1^2 + e6^2) + d_e/s_e^4 e2^4 + 2 d_e/s_e^2 (1 - 2 c) e2^2

    e1 = (E11 + E22)/sqrt2,   e2 = (E11 - E22)/sqrt2,   e6 = sqrt2 E12

with a well at c = 0 without strain, and two at c = 1 (a little above it) with e2 = +-s_e. Energies are in units of the density
that makes d_c = 2; all numbers are those of the authors' two-dimensional examples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize

import lse_material as lse

D_C, D_E, S_E = 2.0, 0.1, 0.1
NAMES = ("c", "e1", "e2", "e6")
BOX = lse.Box([-0.2, -S_E, -1.5 * S_E, -S_E], [1.2, S_E, 1.5 * S_E, S_E])
WELLS = np.array([[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, S_E, 0.0], [1.0, 0.0, -S_E, 0.0]])  # near them


def polynomial(c: Any, e1: Any, e2: Any, e6: Any) -> Any:
    """W of numbers, arrays or UFL expressions."""
    k = 2.0 * D_E / S_E**2
    chemical = 16.0 * D_C * c**2 * (1.0 - c) ** 2
    return chemical + k * (e1**2 + e6**2) + D_E / S_E**4 * e2**4 + k * (1.0 - 2.0 * c) * e2**2


def gradient(x: np.ndarray) -> np.ndarray:
    """dW/dx at points (n, 4)."""
    c, e1, e2, e6 = x.T
    k = 2.0 * D_E / S_E**2
    potential = 32.0 * D_C * c * (1.0 - c) * (1.0 - 2.0 * c) - 2.0 * k * e2**2
    stress = 4.0 * D_E / S_E**4 * e2**3 + 2.0 * k * (1.0 - 2.0 * c) * e2
    return np.stack([potential, 2.0 * k * e1, stress, 2.0 * k * e6], axis=1)


def samples(n: int, seed: int) -> lse.Samples:
    """Energies, chemical potentials and stresses at points drawn uniformly from the box."""
    x = np.random.default_rng(seed).uniform(BOX.lower, BOX.upper, (n, 4))
    return lse.Samples(x=x, energy=polynomial(*x.T), gradient=gradient(x))


def well(energy: Any, gradient: Any, start: np.ndarray) -> tuple[np.ndarray, float]:
    """The minimum next to `start`, in c and e/s_e, and its energy."""
    scale = np.array([1.0, S_E, S_E, S_E])
    found = minimize(
        lambda y: float(energy((y * scale)[None])[0]),
        start / scale,
        jac=lambda y: gradient((y * scale)[None])[0] * scale,
        method="BFGS",
        options={"gtol": 1e-9},
    )
    return found.x, float(found.fun)


def well_errors(potential: lse.SoftMinimum) -> tuple[float, float]:
    """Largest error of a well's place, in units of the distance between phases in c and e/s_e, and of its energy, over d_e."""
    places, energies = [], []
    for start in WELLS:
        place, energy = well(potential.energy, potential.gradient, start)
        exact, value = well(lambda x: polynomial(*x.T), gradient, start)
        places.append(float(np.linalg.norm(place - exact)) / np.sqrt(2.0))
        energies.append(abs(energy - value) / D_E)
    return max(places), max(energies)
