"""One mode of a potential that depends on a design: a convex network whose weights are smooth functions of parameters p.

    phi(p) = (1, p, sqrt(1 + (A p + a)^2)),          z = act(W x + B phi),
    psi(p, x) = (V phi)^2.z + (S phi).x + C.phi + |(Q phi) x|^2 / 2

It is convex in x for every p, because z is and its weights are squares; p may act in any way. A stiffness that goes with the
square of a thickness needs no feature. A partially input convex network (B. Amos, L. Xu, J. Z. Kolter, ICML 2017) of one layer
in x and one in p.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from lse_material._arrays import Array, Mask, expect_shape, float_array, frozen
from lse_material.errors import InvalidInputError
from lse_material.model.activations import activated, expect_activation
from lse_material.model.convex_network import ConvexNetwork
from lse_material.model.mode import Mode, expect_inputs, expect_some
from lse_material.model.soft_minimum import SoftMinimum

_AXES = {  # of each tensor: m parameters, r features, q = 1 + m + r, n neurons, d inputs that the mode is convex in, any rows
    "feature_weight": "rm",
    "feature_bias": "r",
    "x_weight": "nd",
    "bias": "nq",
    "z_root": "nq",
    "slope": "dq",
    "level": "q",
    "quadratic": "kdq",
}

_WORDS = {
    "bias": "biases",
    "z_root": "output weights",
    "slope": "linear term",
    "level": "level",
    "quadratic": "quadratic term",
}


def feature(v: Array) -> tuple[Array, Array, Array]:
    """The feature sqrt(1 + v^2) and its first two derivatives."""
    root = np.sqrt(1.0 + v * v)
    return root, v / root, 1.0 / root**3


@dataclass(frozen=True, eq=False)
class DesignNetwork(Mode):
    """One mode whose weights depend on parameters p, its first inputs, through the features phi(p).

    Attributes:
        feature_weight: A (r, m), of m parameters in r features.
        feature_bias: a (r,).
        x_weight: W (n, d).
        bias: B (n, q), q = 1 + m + r.
        z_root: V (n, q).
        slope: S (d, q).
        level: C (q,).
        quadratic: Q (k, d, q), of any number of rows k, also none.
        activation: a name in `lse_material.model.activations.ACTIVATIONS`.

    Raises:
        InvalidInputError: a shape does not fit, or an entry is not finite (named).

    >>> shapes = {"feature_weight": (0, 1), "feature_bias": 0, "x_weight": (0, 1), "bias": (0, 2), "z_root": (0, 2)}
    >>> none = {name: np.zeros(shape) for name, shape in shapes.items()}
    >>> mode = lse.DesignNetwork(**none, slope=[[0.0, 0.0]], level=[0.0, 0.0], quadratic=[[[1.0, 2.0]]])
    >>> mode.energy([[0.0, 1.0], [1.0, 1.0]])  # |(1 + 2 p) x|^2 / 2
    array([0.5, 4.5])
    """

    feature_weight: Array
    feature_bias: Array
    x_weight: Array
    bias: Array
    z_root: Array
    slope: Array
    level: Array
    quadratic: Array
    activation: str = "squared_softplus"

    def __post_init__(self) -> None:
        expect_activation(self.activation)
        arrays = {name: float_array(name, getattr(self, name), len(axes)) for name, axes in _AXES.items()}
        r, m = arrays["feature_weight"].shape
        n, d = arrays["x_weight"].shape
        if m == 0 or d == 0:
            raise InvalidInputError(f"a DesignNetwork has {m} parameters and {d} other inputs; it needs both.")
        sizes = {"r": r, "m": m, "q": 1 + m + r, "n": n, "d": d, "k": len(arrays["quadratic"])}
        for name, axes in _AXES.items():
            expect_shape(name, arrays[name], tuple(sizes[axis] for axis in axes))
            object.__setattr__(self, name, frozen(arrays[name]))

    @property
    def design(self) -> int:
        """Number of parameters."""
        return int(self.feature_weight.shape[1])

    @property
    def size(self) -> int:
        """Number d of inputs, parameters among them."""
        return self.design + int(self.x_weight.shape[1])

    @property
    def convex_inputs(self) -> tuple[int, ...]:
        """All but the parameters."""
        return tuple(range(self.design, self.size))

    @property
    def read_inputs(self) -> tuple[int, ...]:
        """All inputs but the parameters that no weight reads, neither by themselves nor through a feature."""
        m, acting = self.design, self._acting()
        by_feature = (self.feature_weight[acting[m:]] != 0.0).any(axis=0)
        return (*(j for j in range(m) if acting[j] or by_feature[j]), *self.convex_inputs)

    def _acting(self) -> Mask:
        """Of each parameter and each feature whether a weight reads it."""
        reads = [each.reshape(-1, each.shape[-1]) != 0.0 for each in self.by_design.values()]
        return np.asarray(np.concatenate(reads).any(axis=0))

    @property
    def features(self) -> Mask:
        """Which features a weight reads, (r,)."""
        return self._acting()[self.design :]

    @property
    def neurons(self) -> Mask:
        """Which neurons have an output weight, (n,)."""
        return np.asarray(self.z_root.any(axis=1))

    @property
    def by_design(self) -> dict[str, Array]:
        """The weights by parameters and features, of each tensor that has any."""
        return {name: getattr(self, name)[..., 1:] for name, axes in _AXES.items() if axes.endswith("q")}

    def trimmed(self) -> DesignNetwork:
        """The same mode without features that act on nothing, and without neurons and quadratic rows of no weight."""
        return self.with_only(self.features, self.neurons)

    def with_only(self, features: Mask, neurons: Mask) -> DesignNetwork:
        """The mode of some features (r,) and neurons (n,), and of the quadratic rows that are not zero."""
        rows = self.quadratic.reshape(len(self.quadratic), -1).any(axis=1)
        columns = np.append(np.ones(1 + self.design, dtype=bool), features)
        return DesignNetwork(
            self.feature_weight[features],
            self.feature_bias[features],
            self.x_weight[neurons],
            self.bias[neurons][:, columns],
            self.z_root[neurons][:, columns],
            self.slope[:, columns],
            self.level[columns],
            self.quadratic[rows][..., columns],
            self.activation,
        )

    def tensors(self) -> dict[str, Array]:  # noqa: D102
        return {name: getattr(self, name) for name in _AXES}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Array], options: Mapping[str, Any]) -> DesignNetwork:  # noqa: D102
        if set(tensors) != set(_AXES):
            raise InvalidInputError(f"its tensors are {sorted(tensors)}; those of a {cls.type} are {sorted(_AXES)}.")
        return cls(**tensors, activation=options.get("activation", ""))

    def options(self) -> dict[str, Any]:  # noqa: D102
        return {"activation": self.activation}

    def describe(self) -> dict[str, Any]:  # noqa: D102
        return {"type": self.type, "layers": [len(self.x_weight)], "features": len(self.feature_bias)}

    def holding(self, values: Mapping[int, float]) -> DesignNetwork | ConvexNetwork:
        """A `DesignNetwork` of the other parameters, or a `ConvexNetwork` if all are held; other inputs need all of them."""
        expect_some(values, self.size)
        m = self.design
        held = sorted(i for i in values if i < m)
        if len(held) == m:
            network = _at_design(self, [values[i] for i in held])
            rest = {i - m: value for i, value in values.items() if i >= m}
            return network.holding(rest) if rest else network
        if len(held) < len(values):
            raise InvalidInputError(
                "a DesignNetwork can fix inputs that it is convex in where all its parameters are too."
            )
        fixed, columns = np.array([values[i] for i in held]), [1 + i for i in held]

        def folded(weights: Array) -> Array:
            """The weights by the parameters that are held go over into those by 1."""
            rest = np.delete(weights, columns, axis=-1)
            rest[..., 0] += weights[..., columns] @ fixed
            return rest

        parts = {name: folded(getattr(self, name)) for name, axes in _AXES.items() if axes.endswith("q")}
        parts["feature_weight"] = np.delete(self.feature_weight, held, axis=1)
        parts["feature_bias"] = self.feature_bias + self.feature_weight[:, held] @ fixed
        return DesignNetwork.from_tensors({**parts, "x_weight": self.x_weight}, self.options())

    def reading(self, inputs: Any, size: int) -> DesignNetwork:  # noqa: D102
        m, inputs = self.design, expect_inputs(inputs, self.size, size)
        if not np.array_equal(inputs[:m], np.arange(m)):
            raise InvalidInputError("a DesignNetwork reads its parameters: the inputs must begin with those.")
        rest = inputs[m:] - m
        x_weight = np.zeros((len(self.x_weight), size - m))
        slope = np.zeros((size - m, len(self.level)))
        quadratic = np.zeros((len(self.quadratic), size - m, len(self.level)))
        x_weight[:, rest], slope[rest], quadratic[:, rest] = self.x_weight, self.slope, self.quadratic
        return replace(self, x_weight=x_weight, slope=slope, quadratic=quadratic)

    def plus(self, slope: Array, quadratic: Array | None = None, constant: float = 0.0) -> DesignNetwork:
        """The mode with constant + slope.(p, x) + |quadratic (p, x)|^2 / 2 added; the quadratic term may not read p."""
        m, slopes, level = self.design, self.slope.copy(), self.level.copy()
        slopes[:, 0] += slope[m:]
        level[0] += constant
        level[1 : 1 + m] += slope[:m]
        result = replace(self, slope=slopes, level=level)
        if quadratic is None:
            return result
        if quadratic[:, :m].any():
            raise InvalidInputError("a quadratic term in the parameters of a DesignNetwork cannot be added.")
        more = np.zeros((len(quadratic), self.size - m, len(level)))
        more[:, :, 0] = quadratic[:, m:]
        return replace(result, quadratic=np.concatenate([self.quadratic, more]))

    def mean_over(self, maps: Array) -> DesignNetwork:
        """The mode of mean psi(A (p, x)) over maps A (h, d, d) that leave p as it is: copies of the neurons side by side."""
        m, h = self.design, len(maps)
        on_x = maps[:, m:, m:]
        if not np.array_equal(maps[:, :m], np.broadcast_to(np.eye(self.size)[:m], maps[:, :m].shape)):
            raise InvalidInputError("a symmetry must leave the parameters of a DesignNetwork as they are.")
        quadratic = np.concatenate([np.einsum("kda,de->kea", self.quadratic, A) for A in on_x]) / np.sqrt(h)
        if h > 1:  # |(Q phi) x| is that of R for Q = (orthogonal) R, the pairs of x and phi as columns
            columns = self.slope.size
            flat = np.linalg.qr(quadratic.reshape(len(quadratic), columns), mode="r")
            quadratic = np.asarray(flat).reshape(len(flat), *self.slope.shape)
        return replace(
            self,
            x_weight=np.concatenate([self.x_weight @ A for A in on_x]),
            bias=np.tile(self.bias, (h, 1)),
            z_root=np.tile(self.z_root, (h, 1)) / np.sqrt(h),
            slope=on_x.mean(axis=0).T @ self.slope,
            quadratic=quadratic,
        )

    def values(self, x: Array) -> DesignValues:  # noqa: D102
        return DesignValues(self, x)


def _at_design(mode: DesignNetwork, p: Sequence[float]) -> ConvexNetwork:
    """The network of the other inputs at these parameters."""
    parts = DesignValues(mode, np.concatenate([p, np.zeros(mode.size - len(p))])[None])
    return ConvexNetwork(
        (parts.acting[0],),
        (mode.x_weight, parts.slope),
        (mode.bias @ parts.phi[0], parts.phi @ mode.level),
        mode.activation,
        parts.root[0] if len(mode.quadratic) else None,
    )


def independence(potential: SoftMinimum, names: Sequence[str]) -> list[str]:
    """What does not depend on designs, a sentence each; `names` are those of the first inputs."""
    designs = [j for j, kind in enumerate(potential.kinds) if kind == "design"]
    reads = [set(mode.read_inputs) for mode in potential.modes]
    nowhere = set(designs).difference(*reads)
    result = [f"no mode depends on {names[j]}" for j in sorted(nowhere)]
    for k, mode in enumerate(potential.modes):
        unread = [names[j] for j in designs if j not in reads[k] | nowhere]
        result += [f"mode {k} does not depend on {', '.join(unread)}"] if unread else []
        parts: Mapping[str, Array] = getattr(mode, "by_design", {})
        acting = [_WORDS[name] for name, weights in parts.items() if weights.any()]
        if 0 < len(acting) < sum(weights.size > 0 for weights in parts.values()):
            result.append(f"mode {k} depends on the design by its {', '.join(acting)} alone")
    return result


class DesignValues:
    """A design network at one batch of points (n, d): keeps what energy, gradient and Hessian share."""

    def __init__(self, mode: Any, x: Array) -> None:
        m = mode.feature_weight.shape[1]
        self._mode, self._m, self._x = mode, m, x[:, m:]
        features, self._feature_slope, self._feature_curvature = feature(
            x[:, :m] @ mode.feature_weight.T + mode.feature_bias
        )
        self.phi: Array = np.concatenate([np.ones((len(x), 1)), x[:, :m], features], axis=1)
        self._z = activated(mode.activation, self._x @ mode.x_weight.T + self.phi @ mode.bias.T)
        v = self.phi @ mode.z_root.T
        self._f = v * v, 2.0 * v  # the second derivative is 2
        self.acting: Array = self._f[0][:, None, :]
        self.slope: Array = self.phi @ mode.slope.T
        self.root: Array = np.einsum("kda,na->nkd", mode.quadratic, self.phi)
        self._y = np.einsum("nkd,nd->nk", self.root, self._x)
        self.energy: Array = (
            (self._f[0] * self._z[0]).sum(axis=1)
            + (self.slope * self._x).sum(axis=1)
            + self.phi @ mode.level
            + 0.5 * (self._y**2).sum(axis=1)
        )

    @cached_property
    def _by_parameters(self) -> Array:
        """dphi/dp, (n, q, m)."""
        weight = self._mode.feature_weight
        one = np.broadcast_to(np.eye(1 + self._m)[:, 1:], (len(self._x), 1 + self._m, self._m))
        return np.concatenate([one, self._feature_slope[:, :, None] * weight], axis=1)

    @cached_property
    def _of_quadratic(self) -> Array:
        """dy/dphi, (n, k, q)."""
        return np.asarray(np.einsum("kda,nd->nka", self._mode.quadratic, self._x))

    @cached_property
    def _by_features(self) -> Array:
        """dpsi/dphi, (n, q)."""
        mode, (f, df), (z, dz, _) = self._mode, self._f, self._z
        result: Array = (df * z) @ mode.z_root + (f * dz) @ mode.bias + self._x @ mode.slope + mode.level
        result += np.einsum("nk,nka->na", self._y, self._of_quadratic)
        return result

    @cached_property
    def gradient(self) -> Array:
        """(n, d)."""
        along = (self._f[0] * self._z[1]) @ self._mode.x_weight + self.slope
        along = along + np.einsum("nk,nkd->nd", self._y, self.root)
        return np.concatenate([np.einsum("na,nam->nm", self._by_features, self._by_parameters), along], axis=1)

    @cached_property
    def hessian(self) -> Array:
        """(n, d, d)."""
        mode, (f, df), (z, dz, d2z) = self._mode, self._f, self._z
        m, D, J = self._m, self._of_quadratic, self._by_parameters
        w, b, v = mode.x_weight, mode.bias, mode.z_root

        def outer(weight: Array, a: Array, c: Array) -> Array:
            return np.asarray(np.einsum("nj,ja,jb->nab", weight, a, c, optimize=True))

        result = np.empty((len(self._x), m + w.shape[1], m + w.shape[1]))
        result[:, m:, m:] = outer(f * d2z, w, w) + np.swapaxes(self.root, 1, 2) @ self.root
        mixed = outer(df * dz, w, v) + outer(f * d2z, w, b) + mode.slope + np.swapaxes(self.root, 1, 2) @ D
        mixed = mixed + np.einsum("nk,kda->nda", self._y, mode.quadratic)
        crossed = outer(df * dz, v, b)
        features = outer(2.0 * z, v, v) + crossed + np.swapaxes(crossed, 1, 2) + outer(f * d2z, b, b)
        features = features + np.swapaxes(D, 1, 2) @ D
        curved = outer(
            self._by_features[:, 1 + m :] * self._feature_curvature, mode.feature_weight, mode.feature_weight
        )
        result[:, :m, :m] = np.swapaxes(J, 1, 2) @ features @ J + curved
        result[:, m:, :m] = mixed @ J
        result[:, :m, m:] = np.swapaxes(result[:, m:, :m], 1, 2)
        return result
