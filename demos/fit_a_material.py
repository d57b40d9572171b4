# %% [markdown]
# # A fit
#
# From a table of deformations, energies and stresses to a material with the right number of wells. The table
# `demos/data/martensite.csv` has 1,000 rows of a martensite with two variants (square to rectangle, finite strain),
# with 1 % noise.

# %% tags=["hide"]
import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import lse_material as lse
from lse_material.fit import Architecture, fit

parser = argparse.ArgumentParser(description="A fit")
parser.add_argument("--quick", action="store_true", help="two modes are given, and not found")
parser.add_argument("--out", type=Path, default=Path("results/fit_a_material"), help="folder for the files")
options, _ = parser.parse_known_args()
options.out.mkdir(parents=True, exist_ok=True)
DATA = Path(lse.__file__).parents[1] / "demos" / "data" / "martensite.csv"

# %% [markdown]
# ## The data
#
# A row has the deformation gradient `F11 .. F22` (plane strain), the energy per reference volume `W` and the first
# Piola-Kirchhoff stress `P11 .. P22`. One row of five is kept for a test. The fit itself sets a further part aside, on
# which it compares models (validation).

# %%
samples = lse.read_samples(DATA)
train, test = samples.split(0.8, seed=0)
print(f"{len(train)} rows for the fit, {len(test)} for the test, units {dict(samples.units)}")

# %% [markdown]
# ## The fit
#
# W becomes a function of the Green-Lagrange strain E, so it is objective. With `modes="auto"` the fit also finds the
# number of modes and the transition scale: it starts with too many modes, removes one after another, and takes the
# smallest model that meets the tolerance, which should be near the noise of the data.

# %%
architecture = Architecture(modes=2 if options.quick else "auto")
result = fit(train, kinematics=lse.GreenLagrange(dim=2), architecture=architecture, seed=0, progress=False)
print(result.summary(test))

# %% [markdown]
# ## The file
#
# The material goes into one small file of numbers and text, which never executes code. A copy of it is shipped as
# `demos/materials/martensite.safetensors`, for [the next demo](form_and_problem.md).

# %%
file = options.out / "martensite.safetensors"
lse.save(result.material, file)
material = lse.load(file)
print(f"{file.name}: {file.stat().st_size} bytes, {material.modes} modes")

# %% [markdown]
# ## Its landscape
#
# The data were made from a Landau energy (T. Lookman et al., Phys. Rev. B 67, 024114 (2003)) with $A_2 = 50$ MPa. Its
# wells lie at $E_{11} = -E_{22} = \pm 0.1/\sqrt{2}$, $E_{12} = 0$, and the barrier between them is $A_2\, 0.1^2/4 =
# 0.125$ MPa. The fit knows nothing of this.

# %%
box = lse.analysis.search_box(material)
land = lse.analysis.landscape(material.potential, box.lower, box.upper)
expected = 0.1 / np.sqrt(2.0) * np.array([[-1.0, 1.0, 0.0], [1.0, -1.0, 0.0]])
wells = np.array(sorted((well.x for well in land.wells), key=lambda x: x[0]))
error = float(np.abs(wells - expected).max() / expected.max())
print(f"wells E = {np.round(wells, 4).tolist()}, barrier {land.barriers[0, 1]:.4f} MPa")

# %% [markdown]
# ## The picture
#
# Above: W in the plane of $E_{11}$ and $E_{22}$, with the border between the modes, and the stress under pure shear,
# which falls between the wells; there W is not elliptic. Below: the best error for each number of modes, and the mean
# weight of each mode that was chosen. The second mode lowers the error from 13 % to the noise, and further ones gain
# nothing.

# %%
figure = Figure(figsize=(9.5, 4.0 if options.quick else 7.5), layout="constrained")
axes = figure.subplots(1 if options.quick else 2, 2, squeeze=False)
lse.plotting.landscape(axes[0, 0], material, land)
lse.plotting.stress_curve(axes[0, 1], material, "pure_shear")
if not options.quick:
    lse.plotting.discovery_path(axes[1, 0], axes[1, 1], result)
figure.savefig(options.out / "fit_a_material.png", dpi=130)

# %% [markdown]
# ## The check
#
# The wells lie where they should, to 2 % of their distance from the undeformed state.

# %%
print(json.dumps({"modes": material.modes, "well_error": error, "test_error_stress": result.error(test).stress}))
assert len(wells) == 2, "the fit does not have two wells"
assert error < 0.02, "the wells are not where those of the data are"
