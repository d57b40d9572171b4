# %% [markdown]
# # A potential and its wells
#
# A material with several stable states has an energy with several wells. Here we write such an energy by hand, as a
# soft minimum of convex modes, and look at its landscape: wells, saddles and the barriers between them. Only NumPy and
# Matplotlib are needed.

# %% tags=["hide"]
import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import lse_material as lse

parser = argparse.ArgumentParser(description="A potential and its wells")
parser.add_argument("--out", type=Path, default=Path("results/potential_and_wells"), help="folder for the files")
options, _ = parser.parse_known_args()
options.out.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## Modes
#
# A mode is a convex function of the input x. The simplest one is a parabola about a point c,
#
# $$\psi(x) = \tfrac{k}{2} |x - c|^2 + e = \tfrac{k}{2} |x|^2 - k\,c \cdot x + \tfrac{k}{2} |c|^2 + e,$$
#
# which is a convex network without neurons: a quadratic term, a linear one and a constant.


# %%
def parabola(stiffness, centre, energy):
    """Return stiffness/2 |x - centre|^2 + energy as a mode."""
    c = np.array(centre)
    constant = 0.5 * stiffness * c @ c + energy
    return lse.ConvexNetwork.from_arrays(
        [], [-stiffness * c[None]], [[constant]], quadratic=np.sqrt(stiffness) * np.eye(len(c))
    )


# %% [markdown]
# ## A soft minimum
#
# The energy is the soft minimum of its modes, $W = -\rho \log \sum_k \exp(-\psi_k/\rho)$. The transition scale $\rho$
# has the unit of W: the larger it is, the rounder the ridge between two modes. Three wells at the corners of a
# triangle, one of them lower:

# %%
modes = (parabola(2.0, [-1.0, 0.0], 0.0), parabola(2.0, [1.0, 0.0], 0.0), parabola(2.0, [0.0, 1.5], -0.2))
potential = lse.SoftMinimum(modes, 0.1)
box = lse.Box([-2.0, -1.2], [2.0, 2.6])
land = lse.analysis.landscape(potential, box.lower, box.upper)
for number, well in enumerate(land.wells):
    print(f"well {number}: x = {np.round(well.x, 3)}, W = {well.energy:.4f}")
print("barrier from well i (row) to well j (column):", np.round(land.barriers, 3), sep="\n")

# %% [markdown]
# ## When wells merge
#
# Take two equal wells at a distance $2a$. The saddle between them is half way, by symmetry, with $W = k a^2/2 - \rho
# \log 2$. The wells are where the gradient $k\,(x - a \tanh(k a x / \rho))$ vanishes. For $\rho \ge k a^2$ only $x = 0$
# is left: the ridge has been smoothed away, and W is convex (J. L. Ericksen, J. Elasticity 5, 191 (1975)). The barrier
# that the search finds, against this formula:

# %%
k, a = 2.0, 1.0
scales = np.linspace(0.05, 1.95, 20)
found, exact = [], []
for rho in scales:
    pair = lse.SoftMinimum((parabola(k, [-a], 0.0), parabola(k, [a], 0.0)), rho)
    pair_land = lse.analysis.landscape(pair, [-2.0], [2.0])
    found.append(pair_land.barriers[0, 1])
    x = a
    for _ in range(2000):  # a fixed point, to rounding
        x = a * np.tanh(k * a * x / rho)
    exact.append(0.5 * k * a**2 - rho * np.log(2.0) - pair.energy(np.array([x])))
exact = np.array(exact).ravel()
error = float(np.abs(np.array(found) - exact).max() / exact.max())
print(f"largest difference of the barriers, as a share of the largest barrier: {error:.1e}")

# %% [markdown]
# ## The picture
#
# On the left the landscape: dots are wells, crosses saddles, dotted lines the steepest descents from them, and orange
# lines separate the regions of the modes. On the right the barrier of the pair falls to zero as $\rho$ approaches $k
# a^2 = 2$.

# %%
figure = Figure(figsize=(10.0, 4.2), layout="constrained")
left, right = figure.subplots(1, 2)
lse.plotting.landscape(left, potential, land, box=box)
right.plot(scales, exact, color="0.6", linewidth=3, label="exact")
right.plot(scales, found, "ko", markersize=4, markerfacecolor="none", label="found")
right.axvline(k * a**2, color="tab:red", linestyle="--", label="one well is left")
right.set(xlabel="transition scale", ylabel="barrier", title="two equal wells")
right.legend(frameon=False)
figure.savefig(options.out / "potential_and_wells.png", dpi=150)

# %% [markdown]
# ## The check
#
# The barriers agree with the formula to rounding.

# %%
print(json.dumps({"wells": len(land.wells), "barrier_error": error}))
assert error < 1e-10, "the barriers differ from the formula"
