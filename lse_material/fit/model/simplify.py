"""The same network with fewer arrays: neurons without output or without input leave, as do empty rows of the quadratic term."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lse_material._arrays import Array, Mask
from lse_material.model.activations import activated
from lse_material.model.convex_network import ConvexNetwork


def trimmed(mode: ConvexNetwork) -> ConvexNetwork:
    """A network of the same energy to rounding, whose neurons all read something and all act.

    A neuron without input is a constant, which goes into the biases above; a layer that loses all its neurons leaves a
    network that starts above it.
    """
    x_weights, biases, z_weights = ([a.copy() for a in part] for part in (mode.x_weights, mode.biases, mode.z_weights))
    for i in range(len(z_weights)):  # upwards: constants
        reads = np.asarray(x_weights[i].any(axis=1))
        if i > 0:
            reads = reads | z_weights[i - 1].any(axis=1)
        biases[i + 1] += z_weights[i][:, ~reads] @ activated(mode.activation, biases[i][~reads])[0]
        _keep(reads, i, x_weights, biases, z_weights)
    for i in range(len(z_weights) - 1, -1, -1):  # downwards: neurons that nothing reads
        acts = np.asarray(z_weights[i].any(axis=0))
        _keep(acts, i, x_weights, biases, z_weights)
    while z_weights and z_weights[0].shape[1] == 0:
        del x_weights[0], biases[0], z_weights[0]
    quadratic = mode.quadratic
    if quadratic is not None:
        quadratic = quadratic[quadratic.any(axis=1)]
    return replace(
        mode,
        x_weights=tuple(x_weights),
        biases=tuple(biases),
        z_weights=tuple(z_weights),
        quadratic=None if quadratic is None or len(quadratic) == 0 else quadratic,
    )


def _keep(neurons: Mask, layer: int, x_weights: list[Array], biases: list[Array], z_weights: list[Array]) -> None:
    """Only these neurons of a hidden layer."""
    x_weights[layer], biases[layer] = x_weights[layer][neurons], biases[layer][neurons]
    z_weights[layer] = z_weights[layer][:, neurons]
    if layer > 0:
        z_weights[layer - 1] = z_weights[layer - 1][neurons]
