"""The torch floor: fitting an LSE-ICNN to energies and stresses."""

from __future__ import annotations

from lse_material.fit.data import DataWarning
from lse_material.fit.fitting import fit
from lse_material.fit.network import TorchPotential
from lse_material.fit.options import Architecture, Sparsity, Training
from lse_material.fit.result import Errors, FitResult

__all__ = ["Architecture", "DataWarning", "Errors", "FitResult", "Sparsity", "TorchPotential", "Training", "fit"]
