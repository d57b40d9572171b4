"""SciPy's L-BFGS-B on the flat vector of weights.

R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, SIAM J. Sci. Comput. 16, 1190 (1995).
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import OptimizeResult, minimize
from torch.nn.utils import vector_to_parameters

from lse_material._arrays import Array
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.optimise.adam import flat, flat_gradient, trained
from lse_material.fit.problem.loss import Loss

STEPS = {"maxcor": 30, "ftol": 1e-12, "gtol": 1e-10}  # pairs that are kept; convergence is to rounding


def lbfgs(model: TrainablePotential, loss: Loss, iterations: int, after: Callable[[float], bool]) -> None:
    """Improve the weights of `model` in place, with three evaluations of the loss for each iteration at most.

    `after` is called with the loss after each iteration; False ends the search.
    """
    parameters = trained(model)

    def value_and_gradient(weights: Array) -> tuple[float, Array]:
        vector_to_parameters(torch.tensor(weights), parameters)
        model.zero_grad()
        value = loss(model) * model.restraint()
        value.backward()
        gradient = flat_gradient(parameters).numpy()
        if not (math.isfinite(value.item()) and np.isfinite(gradient).all()):
            return 1e300, np.zeros_like(weights)  # a step that overflowed: the line search goes back
        return value.item(), gradient

    def after_iteration(intermediate_result: OptimizeResult) -> None:
        loss.session.expect_time()
        vector_to_parameters(torch.tensor(intermediate_result.x), parameters)
        if not after(float(intermediate_result.fun)):
            raise StopIteration

    options = {"maxiter": iterations, "maxfun": 3 * iterations, **STEPS}
    start = flat(parameters).numpy()
    minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", callback=after_iteration, options=options)
