"""Data to a material: fitting an LSE-ICNN to energies and stresses, or to samples of a density; needs torch.

Examples in docstrings take these lines as read:

    >>> samples = lse.read_samples("cell.csv")
    >>> quick = lse.fit.Training(restarts=1, adam_steps=100, lbfgs_steps=100)
    >>> result = lse.fit.fit(samples, kinematics=lse.GreenLagrange(2), training=quick, progress=False)
"""

from lse_material._extras import needed_by

with needed_by("lse_material.fit"):
    from lse_material.fit.ensemble import Ensemble, fit_ensemble
    from lse_material.fit.fitting import fit
    from lse_material.fit.inference import Inferred, infer
    from lse_material.fit.leave_one_out import LeftOut, leave_one_group_out
    from lse_material.fit.model import design_network
    from lse_material.fit.model.fibre_network import TrainableFibres  # noqa: F401  (it enters MODES)
    from lse_material.fit.model.polyconvex_network import TrainablePolyconvex  # noqa: F401
    from lse_material.fit.model.trainable import MODES, TrainablePotential
    from lse_material.fit.natural_states import fit_states
    from lse_material.fit.options import Architecture, Inference, Sparsity, Training
    from lse_material.fit.problem.diagnostics import DataWarning
    from lse_material.fit.problem.parameters import Design, Temperature
    from lse_material.fit.result import Errors, FitResult, FitWarning
    from lse_material.fit.selection import Selection, select, shapes

__all__ = [
    "MODES",
    "Architecture",
    "DataWarning",
    "Design",
    "Ensemble",
    "Errors",
    "FitResult",
    "FitWarning",
    "Inference",
    "Inferred",
    "LeftOut",
    "Selection",
    "Sparsity",
    "Temperature",
    "TrainablePotential",
    "Training",
    "fit",
    "fit_ensemble",
    "fit_states",
    "infer",
    "leave_one_group_out",
    "select",
    "shapes",
]

del design_network  # its modes stand in MODES
