"""The same network with fewer arrays: neurons without output or without input leave, as do empty rows of the quadratic term."""

import numpy as np

from lse_material._arrays import Array, Mask
from lse_material.model.activations import activated


def trim(x_weights: list[Array], biases: list[Array], z_weights: list[Array], activation: str) -> None:
    """Make a network's arrays those of one of the same energy to rounding, whose neurons all read something and all act.

    A neuron without input is a constant, which goes into the biases above; a layer that loses all its neurons leaves a
    network that starts above it.
    """
    biases[:] = [bias.copy() for bias in biases]
    for i in range(len(z_weights)):  # upwards: constants
        reads = np.asarray(x_weights[i].any(axis=1))
        if i > 0:
            reads = reads | z_weights[i - 1].any(axis=1)
        biases[i + 1] += z_weights[i][:, ~reads] @ activated(activation, biases[i][~reads])[0]
        _keep(reads, i, x_weights, biases, z_weights)
    for i in range(len(z_weights) - 1, -1, -1):  # downwards: neurons that nothing reads
        _keep(np.asarray(z_weights[i].any(axis=0)), i, x_weights, biases, z_weights)
    while z_weights and z_weights[0].shape[1] == 0:
        del x_weights[0], biases[0], z_weights[0]


def without_empty_rows(quadratic: Array | None) -> Array | None:
    """A quadratic term without rows of zeros; None if no other row is left."""
    kept = None if quadratic is None else quadratic[quadratic.any(axis=1)]
    return None if kept is None or len(kept) == 0 else kept


def _keep(neurons: Mask, layer: int, x_weights: list[Array], biases: list[Array], z_weights: list[Array]) -> None:
    """Only these neurons of a hidden layer."""
    x_weights[layer], biases[layer] = x_weights[layer][neurons], biases[layer][neurons]
    z_weights[layer] = z_weights[layer][:, neurons]
    if layer > 0:
        z_weights[layer - 1] = z_weights[layer - 1][neurons]
