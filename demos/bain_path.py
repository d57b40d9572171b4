# %% [markdown]
# # Energies of an ab-initio path
#
# Electronic structure codes give energies of cells, and often nothing else. Iron is the classical case: stretched along one
# axis and compressed along the others, the body-centred cell becomes a face-centred one (E. C. Bain, Trans. AIME 70, 25
# (1924)). Here 60 such energies become a material with two wells.

# %% tags=["hide"]
import argparse
import json
import warnings
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import lse_material as lse
from lse_material.fit import Architecture, fit

parser = argparse.ArgumentParser(description="Energies of an ab-initio path")
parser.add_argument("--quick", action="store_true", help="two modes are given, and not found")
parser.add_argument("--out", type=Path, default=Path("results/bain_path"), help="folder for the files")
options, _ = parser.parse_known_args()
options.out.mkdir(parents=True, exist_ok=True)
BCC_VOLUME = 11.6  # of an atom, cubic angstrom: W is per reference volume, that of F = I
EV_PER_CUBIC_ANGSTROM = 160.2  # GPa

# %% [markdown]
# ## The data
#
# A code writes a, c and the energy per atom. The numbers here are made up, of the size that such calculations give: the
# face-centred cell lies 100 meV above the body-centred one, and the barrier on the way back is 2 meV. The deformation
# gradient is F = diag(a, a, c) over the edges of the body-centred cell, and W the energy over its volume.

# %%
FCC = 0.5 * np.log(2.0)  # ln(c/a) of the face-centred cell


def energy(a, c):
    """eV per atom of a cell with the edges a, a, c, in units of those of the body-centred one."""
    way, volume = np.log(c / a) / FCC, np.log(a * a * c)
    between = 0.1 * way**2 * (3.0 - 2.0 * way) + 0.48 * way**2 * (1.0 - way) ** 2
    beyond = 1.2 * np.minimum(way, 0.0) ** 2 + 2.0 * np.maximum(way - 1.0, 0.0) ** 2
    return between + beyond + 5.0 * (volume - 0.03 * np.tanh(3.0 * (way - 0.5))) ** 2


shape, volume = np.meshgrid(np.linspace(-0.12, FCC + 0.12, 15), np.linspace(-0.05, 0.06, 4), indexing="ij")
a, c = np.exp((volume - shape) / 3.0).ravel(), np.exp((volume + 2.0 * shape) / 3.0).ravel()
F = np.zeros((len(a), 3, 3))
F[:, 0, 0], F[:, 1, 1], F[:, 2, 2] = a, a, c
samples = lse.Samples(
    F=F, energy=energy(a, c) / BCC_VOLUME * EV_PER_CUBIC_ANGSTROM, units={"energy": "GPa", "stress": "GPa"}
)
print(f"{len(samples)} energies, {np.ptp(samples.energy):.2f} GPa from the lowest to the highest")

# %% [markdown]
# ## The fit
#
# The table has no shear, so the fit says that it takes the shear stiffness from the normal strains. Energies of calculations
# have little noise: a tolerance of 0.5 % is not too little. With few rows, those that were held back to choose the number
# of modes are fitted too in the end.

# %%
warnings.simplefilter("ignore", lse.fit.DataWarning)  # it is part of the summary
architecture = Architecture(modes=2 if options.quick else "auto")
result = fit(samples, kinematics=lse.GreenLagrange(dim=3), architecture=architecture, seed=0, progress=False)
print(result.summary())
lse.save(result.material, options.out / "iron.safetensors")

# %% [markdown]
# ## Along the path
#
# Stresses come with the energies: the material knows P = dW/dF. The minima of W along the path are the two lattices.

# %%
way = np.linspace(-0.12, FCC + 0.12, 401)
swell = 0.03 * np.tanh(3.0 * (way / FCC - 0.5))
a, c = np.exp((swell - way) / 3.0), np.exp((swell + 2.0 * way) / 3.0)
F = np.zeros((len(way), 3, 3))
F[:, 0, 0], F[:, 1, 1], F[:, 2, 2] = a, a, c
to_meV = 1e3 * BCC_VOLUME / EV_PER_CUBIC_ANGSTROM
found, exact = to_meV * result.material.energy(F), 1e3 * energy(a, c)
first, second = int(np.argmin(found)), int(np.argmin(np.where(way > 0.9 * FCC, found, np.inf)))
difference = float(found[second] - found[first])
barrier = float(found[first:second].max() - found[second])
print(f"c/a = {np.exp(way[second]):.3f} lies {difference:.1f} meV above c/a = {np.exp(way[first]):.3f}")
print(f"the barrier on the way back is {barrier:.1f} meV")

# %%
figure = Figure(figsize=(9.0, 3.6), layout="constrained")
left, right = figure.subplots(1, 2)
left.plot(np.exp(way), exact, "o", color="0.7", markersize=4, markevery=8, label="calculated")
left.plot(np.exp(way), found, color="black", label="material")
left.set(xlabel="c/a", ylabel="energy [meV/atom]")
left.legend(frameon=False)
right.plot(np.exp(way), result.material.stress(F)[:, 2, 2], color="black", label="P33")
right.set(xlabel="c/a", ylabel="stress P33 [GPa]")
weights = right.twinx()
for k, weight in enumerate(result.material.mode_weights(F).T):
    weights.plot(np.exp(way), weight, color="tab:orange", linestyle=("-", "--", ":")[k % 3], label=f"mode {k}")
weights.set(ylabel="mode weight", ylim=(-0.02, 1.25))
weights.legend(frameon=False, ncols=2, loc="upper center")
figure.savefig(options.out / "bain_path.png", dpi=130)

# %% [markdown]
# ## The check
#
# The difference of the two lattices is met to 2 meV, the barrier to 1 meV, and W to 0.5 % of its spread (2 % with `--quick`).

# %%
error = float(np.abs(difference - 100.0))
figures = {"modes": result.material.modes, "difference_error_meV": error, "barrier_meV": barrier}
figures["energy_error"] = result.error(samples).energy
print(json.dumps(figures))
assert result.material.modes == 2, "the fit does not have two modes"
assert error < 2.0, "the difference of the lattices is missed"
assert abs(barrier - 1.9) < 1.0, "the barrier is missed"
assert figures["energy_error"] < (0.02 if options.quick else 0.005), "the energies are missed"
