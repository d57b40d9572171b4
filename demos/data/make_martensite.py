"""Make `martensite.csv`: energies and stresses of a two-variant martensite, square to rectangle, with 1 % noise.

The closed form is the Landau energy of a square-to-rectangle ferroelastic transformation, below the transition,

    W(E) = A1/2 e1^2 - A2/2 e2^2 + B/4 e2^4 + A3/2 e3^2
    e1 = (E11 + E22)/sqrt(2),   e2 = (E11 - E22)/sqrt(2),   e3 = E12,

T. Lookman, S. R. Shenoy, K. O. Rasmussen, A. Saxena and A. R. Bishop, Phys. Rev. B 67, 024114 (2003), here with the
Green-Lagrange strain E, so that it is objective at finite strain. Its wells, the two rectangles, lie at
e2 = +-sqrt(A2/B) = +-0.1; the square between them is unstable. The moduli are ours, in MPa.

    ./fenicsx python3 demos/data/make_martensite.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import lse_material as lse

A1, A2, A3 = 150.0, 50.0, 200.0  # MPa
WELL = 0.1
B = A2 / WELL**2


def energy_and_stress(F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """W (n,) and P = dW/dF = F S (n, 2, 2) of F (n, 2, 2), in MPa."""
    E = 0.5 * (np.swapaxes(F, 1, 2) @ F - np.eye(2))
    e1 = (E[:, 0, 0] + E[:, 1, 1]) / np.sqrt(2)
    e2 = (E[:, 0, 0] - E[:, 1, 1]) / np.sqrt(2)
    e3 = E[:, 0, 1]
    W = A1 / 2 * e1**2 - A2 / 2 * e2**2 + B / 4 * e2**4 + A3 / 2 * e3**2
    s1, s2, s3 = A1 * e1, -A2 * e2 + B * e2**3, A3 * e3
    S = np.empty_like(E)
    S[:, 0, 0] = (s1 + s2) / np.sqrt(2)
    S[:, 1, 1] = (s1 - s2) / np.sqrt(2)
    S[:, 0, 1] = S[:, 1, 0] = s3 / 2  # dW/dE12 acts on both off-diagonal entries
    return W, F @ S


def deformations(n: int, rng: np.random.Generator) -> np.ndarray:
    """Random F = R U (n, 2, 2): strains that cover both wells and the ridge, and any rotation up to 30 degrees."""
    e1, e2, e3 = rng.uniform(-1, 1, (3, n)) * [[0.07], [0.19], [0.08]]
    E = np.empty((n, 2, 2))
    E[:, 0, 0], E[:, 1, 1] = (e1 + e2) / np.sqrt(2), (e1 - e2) / np.sqrt(2)
    E[:, 0, 1] = E[:, 1, 0] = e3
    stretch2, axes = np.linalg.eigh(2 * E + np.eye(2))
    U = (axes * np.sqrt(stretch2)[:, None, :]) @ np.swapaxes(axes, 1, 2)
    angle = rng.uniform(-np.pi / 6, np.pi / 6, n)
    R = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    return R @ U


def main() -> None:
    rng = np.random.default_rng(2026)
    F = deformations(1000, rng)
    W, P = energy_and_stress(F)
    W = W + 0.01 * W.std() * rng.standard_normal(W.shape)
    P = P + 0.01 * np.sqrt((P**2).mean()) * rng.standard_normal(P.shape)
    units = {"energy": "MPa", "stress": "MPa", "length": "mm"}
    path = Path(__file__).with_name("martensite.csv")
    lse.write_samples(lse.Samples(F=F.round(8), energy=W.round(6), stress=P.round(5), units=units), path)


if __name__ == "__main__":
    main()
