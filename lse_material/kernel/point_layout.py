"""Weights of one mode in the memory of a header: rows of lanes, which are neurons."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lse_material._arrays import Array
from lse_material.kernel.c_writer import groups, upper_triangle
from lse_material.kernel.modes import ModeShape, reduced_quadratic
from lse_material.model.convex_network import ConvexNetwork

CHAINS = 8  # independent sums that keep the multiply-add units busy


def whole(count: int, lanes: int) -> int:
    """Vectors of this many lanes that hold `count` numbers."""
    return -(-count // lanes)


def runs(layouts: list[PointLayout]) -> list[tuple[int, int]]:
    """Successive modes of one layout, as many as are taken together: (first, count)."""
    result, k = [], 0
    while k < len(layouts):
        count = 1
        while k + count < len(layouts) and layouts[k + count] == layouts[k] and count < layouts[k].together:
            count += 1
        result.append((k, count))
        k += count
    return result


@dataclass(frozen=True)
class PointLayout:
    """Order of the weights of one mode: rows of lanes, padded with zeros to whole vectors.

    Attributes:
        shape: of the mode.
        lanes: doubles per vector.
    """

    shape: ModeShape
    lanes: int

    @classmethod
    def of(cls, mode: ConvexNetwork, lanes: int) -> PointLayout:
        """The layout of `mode`."""
        return cls(ModeShape.of(mode), lanes)

    def blocks(self, layer: int) -> int:
        """Vectors that hold the neurons of a hidden layer."""
        return whole(self.shape.widths[layer], self.lanes)

    def padded(self, layer: int) -> int:
        """Neurons of a hidden layer, up to whole vectors."""
        return self.blocks(layer) * self.lanes

    @property
    def together(self) -> int:
        """How many modes of this layout to take at a time, so that short layers give enough independent sums."""
        return max(1, CHAINS // max([self.blocks(layer) for layer in range(len(self.shape.widths))], default=1))

    def groups(self, layer: int, count: int) -> list[tuple[str, int]]:
        """Loops over the vectors of a layer of `count` modes, as many at a time as give enough independent sums."""
        return groups(self.blocks(layer), max(1, CHAINS // count))

    def activated_together(self, count: int) -> set[tuple[str, int]]:
        """Of `count` modes: (activation, vectors) for all that its loops activate together."""
        layers = range(len(self.shape.widths))
        return {(self.shape.activation, count * blocks) for n in layers for _, blocks in self.groups(n, count)}

    @property
    def neurons(self) -> int:
        """Hidden neurons with padding."""
        return sum(self.padded(layer) for layer in range(len(self.shape.widths)))

    def start(self, layer: int) -> int:
        """Where the neurons of a layer start."""
        return sum(self.padded(below) for below in range(layer))

    @cached_property
    def _rows(self) -> dict[str, tuple[int, int]]:
        """Name -> (rows, length of a row); "forward" holds the columns of a z-weight, "backward" its rows."""
        d, last, rows = self.shape.size, len(self.shape.widths), {}
        for layer, width in enumerate(self.shape.widths):
            rows[f"bias.{layer}"] = (1, self.padded(layer))
            rows[f"x_weight.{layer}"] = (d, self.padded(layer))
            if layer:
                rows[f"forward.{layer}"] = (self.shape.widths[layer - 1], self.padded(layer))
                rows[f"backward.{layer}"] = (width, self.padded(layer - 1))
        if last:
            rows["products"] = (len(upper_triangle(d)), self.padded(0))
            rows["output"] = (1, self.padded(last - 1))
        rows["x_output"] = (1, d + 1)  # x-weights, then the bias
        if self.shape.quadratic:
            rows["quadratic"] = (self.shape.quadratic, d)
            rows["quadratic.products"] = (1, len(upper_triangle(d)))
        return rows

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Where each array starts: on a vector boundary."""
        result, at = {}, 0
        for name, (count, length) in self._rows.items():
            result[name] = at
            at += whole(count * length, self.lanes) * self.lanes
        return {**result, "end": at}

    def pack(self, mode: ConvexNetwork) -> Array:
        """The weights of `mode` in this order: (offsets["end"],)."""
        p, q = np.array(upper_triangle(self.shape.size)).T
        last = len(self.shape.widths)
        arrays = {"x_output": np.append(mode.x_weights[-1][0], mode.biases[-1])}
        for layer in range(last):
            arrays[f"bias.{layer}"] = mode.biases[layer]
            arrays[f"x_weight.{layer}"] = mode.x_weights[layer].T
            if layer:
                arrays[f"forward.{layer}"] = mode.z_weights[layer - 1].T
                arrays[f"backward.{layer}"] = mode.z_weights[layer - 1]
        if last:
            arrays["products"] = (mode.x_weights[0][:, p] * mode.x_weights[0][:, q]).T
            arrays["output"] = mode.z_weights[-1]
        if mode.quadratic is not None and self.shape.quadratic:
            arrays["quadratic"] = reduced_quadratic(mode.quadratic)
            arrays["quadratic.products"] = (mode.quadratic.T @ mode.quadratic)[p, q]
        result = np.zeros(self.offsets["end"])
        for name, (count, length) in self._rows.items():
            rows = result[self.offsets[name] :][: count * length].reshape(count, length)
            array = np.atleast_2d(arrays[name])
            rows[:, : array.shape[1]] = array
        return result
