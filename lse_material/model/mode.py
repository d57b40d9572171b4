"""What a mode is: a function psi(x), convex in all or in some of its inputs, with its derivatives and its stored arrays.

`lse_material.model.convex_network.ConvexNetwork` is the first mode type. Another one is a subclass of `Mode`, in this package
or in a script. Each backend keeps a table of translations by the name of the type and refuses a type that its table lacks:

    NumPy                `values`, or `formula` on scalars of any kind
    torch                `lse_material.fit.MODES`
    compiled C           `c_text`, or faster: the tables of `lse_material.kernel.modes`
    expanded UFL         `formula`, or `lse_material.fem.forms.expanded.MODES`
    exported C, MFront   `formula` or `c_text`, or `MODES` of `export/c_source.py`
    torch, JAX, UMAT     `formula`, of modes other than the convex network
    exported NumPy, UFL  the source text of the methods that NumPy and UFL use here
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from lse_material._arrays import Array, float_array, points
from lse_material.errors import InvalidInputError
from lse_material.model.hyperdual import HyperDual, on_scalars, variables

CHUNK = 8192  # points evaluated at a time; bounds the memory of intermediate arrays
BUILT_IN: dict[str, type[Mode]] = {}  # the mode types of this package, by name


class Mode(ABC):
    """One mode psi(x) of a soft minimum, in scaled inputs and energies.

    A mode type of your own has `size`, `tensors`, `from_tensors`, and one of `formula` and `values`. It is convex in the inputs
    that `convex_inputs` names: nothing else enforces that, and `lse_material.analysis.verify` checks it.

    >>> class Well(lse.Mode):
    ...     size = 1
    ...
    ...     def __init__(self, stiffness):
    ...         self.stiffness = float(stiffness)
    ...
    ...     def tensors(self):
    ...         return {"stiffness": np.array([self.stiffness])}
    ...
    ...     @classmethod
    ...     def from_tensors(cls, tensors, options):
    ...         return cls(*tensors["stiffness"])
    ...
    ...     def formula(self, x):
    ...         return 0.5 * self.stiffness * x[0] ** 2
    >>> lse.SoftMinimum((Well(2.0),), scaled_rho=0.1).gradient([3.0])
    array([6.])

    Attributes:
        type: the name in files and in the tables of the backends; a class that does not set it bears its own.
        c_text: the mode in C, for the compiled and the exported routes; empty where there is none. One function

                void NAME(const double *w, const real *x, real *psi, real *g, real *H)

            that writes psi and, unless they are NULL, the gradient g[d] and the Hessian H[d*d], at x[d]. w holds the tensors
            one after another, row by row, in the order of `tensors`. `real` is double, or a vector of doubles: use + - * /,
            real_exp and real_log, and real_of(a) to make one of a double; no comparisons. NAME stands for the function's name.

    Raises:
        InvalidInputError: when the class is made, if its type is that of a mode of this package.
    """

    type: ClassVar[str] = "Mode"
    c_text: ClassVar[str] = ""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "type" not in cls.__dict__:
            cls.type = cls.__name__
        if cls.__module__.startswith("lse_material."):
            if "from_tensors" in cls.__dict__:  # not what several types have in common
                BUILT_IN[cls.type] = cls
        elif cls.type in BUILT_IN:
            raise InvalidInputError(f"the mode type {cls.type} is that of lse_material: give yours another name.")

    @property
    @abstractmethod
    def size(self) -> int:
        """Number d of inputs."""

    @property
    def convex_inputs(self) -> tuple[int, ...]:
        """The inputs that the mode is convex in, all of them together; by default every one."""
        return tuple(range(self.size))

    @property
    def affine_inputs(self) -> tuple[int, ...]:
        """Inputs that the mode is affine in where the others are fixed, from 0 to 1: temperatures."""
        return ()

    @property
    def ends(self) -> tuple[Any, ...]:
        """The modes that a mode of a temperature lies between; of any other it alone."""
        return (self,)

    @property
    def periods(self) -> Array:
        """Of each input, (d,); inf, the default, where the mode is not periodic in it."""
        return np.full(self.size, np.inf)

    @property
    def monotone_inputs(self) -> tuple[int, ...]:
        """Inputs in which the mode does not decrease, whatever the others are, as its weights show; none by default."""
        return ()

    @property
    def read_inputs(self) -> tuple[int, ...]:
        """Inputs that the mode depends on, as its weights show; all by default."""
        return tuple(range(self.size))

    @abstractmethod
    def tensors(self) -> dict[str, Array]:
        """The numbers of the mode, by names of letters, digits, underscores and dots: what files and kernels hold."""

    @classmethod
    @abstractmethod
    def from_tensors(cls, tensors: Mapping[str, Array], options: Mapping[str, Any]) -> Mode:
        """The mode that `tensors` and `options` came from.

        Raises:
            InvalidInputError: a tensor is missing, unknown, of a wrong shape, or makes the mode not convex.
        """

    def options(self) -> dict[str, Any]:
        """What `from_tensors` needs beside the tensors; anything that JSON holds."""
        return {}

    def formula(self, x: Sequence[Any]) -> Any:
        """psi of d scalars of any kind: numbers with derivatives, or UFL.

        Use + - * / ** and sqrt, log, exp of `lse_material.model`; neither comparisons nor functions of NumPy on the scalars.
        """
        raise InvalidInputError(
            f"the mode type {self.type} has no formula(x): write it, or values(x) for NumPy and an entry of "
            "lse_material.fem.forms.expanded.MODES for UFL."
        )

    def values(self, x: Array) -> Any:
        """The mode at points (n, d): an object with `energy` (n,), `gradient` (n, d) and `hessian` (n, d, d)."""
        return FormulaValues(self, x)

    def energy(self, x: Any) -> Array:
        """psi(x): x (..., d) -> (...)."""
        return by_chunks(x, self.size, (), lambda chunk: self.values(chunk).energy)

    def gradient(self, x: Any) -> Array:
        """Gradient of psi: x (..., d) -> (..., d)."""
        return by_chunks(x, self.size, (self.size,), lambda chunk: self.values(chunk).gradient)

    def hessian(self, x: Any) -> Array:
        """Hessian of psi: x (..., d) -> (..., d, d), positive semi-definite in the convex inputs."""
        return by_chunks(x, self.size, (self.size, self.size), lambda chunk: self.values(chunk).hessian)

    @property
    def parameters(self) -> int:
        """Number of stored weights."""
        return sum(tensor.size for tensor in self.tensors().values())

    @property
    def active_parameters(self) -> int:
        """Number of stored weights that are not zero."""
        return sum(int(np.count_nonzero(tensor)) for tensor in self.tensors().values())

    def describe(self) -> dict[str, Any]:
        """What a summary says of it, beside the number of weights."""
        return {"type": self.type}

    # ---- what a mode type may offer --------------------------------------------------------------------------------------

    def at(self, first: Any) -> Mode:
        """The mode of the other inputs where the first ones have these values: first (m,), 0 < m < d."""
        if type(self).holding is Mode.holding:
            raise self._cannot("fix its first inputs", "at(first)")
        return self.holding(dict(enumerate(float_array("first", first, 1).tolist())))

    def holding(self, values: Mapping[int, float]) -> Mode:
        """The mode of the other inputs, in their order, where the inputs of these numbers have these values."""
        if set(values) == set(range(len(values))):
            return self.at(np.array([values[i] for i in range(len(values))]))
        raise self._cannot("fix some of its inputs alone", "holding(values)")

    def reading(self, inputs: Any, size: int) -> Mode:
        """The mode of `size` inputs that reads those of the indices `inputs` (d,), and none of the others."""
        raise self._cannot("leave inputs unread", "reading(inputs, size)")

    def plus(self, slope: Array, quadratic: Array | None = None) -> Mode:
        """The mode with slope.x + |quadratic x|^2 / 2 added."""
        raise self._cannot("take up a linear or a quadratic term", "plus(slope, quadratic)")

    def mean_over(self, maps: Array) -> Mode:
        """The mode whose psi is the mean of psi(A x) over the matrices A of `maps` (h, d, d)."""
        raise self._cannot("have variants under a symmetry", "mean_over(maps)")

    def _cannot(self, what: str, method: str) -> InvalidInputError:
        return InvalidInputError(f"the mode type {self.type} cannot {what}: it does not have {method}.")


class FormulaValues:
    """A mode at a batch of points (n, d) by its `formula`; derivatives by hyper-dual numbers."""

    def __init__(self, mode: Any, x: Array) -> None:
        self._mode, self._x = mode, x

    def _at(self, order: int) -> HyperDual:
        def formula(x: Sequence[Any]) -> HyperDual:
            psi = self._mode.formula(x)
            return psi if isinstance(psi, HyperDual) else HyperDual(float(psi), order=order)

        at = variables(list(np.ascontiguousarray(self._x.T)), order)
        with np.errstate(all="ignore"):
            found: HyperDual = on_scalars(f"{type(self._mode).__name__}.formula", formula, at)
        return found

    @cached_property
    def energy(self) -> Array:
        """(n,)."""
        return np.full(len(self._x), self._at(0).value)

    @cached_property
    def gradient(self) -> Array:
        """(n, d)."""
        first, shape = self._at(1).first, self._x.shape
        return np.zeros(shape) if first is None else np.broadcast_to(first.T, shape)

    @cached_property
    def hessian(self) -> Array:
        """(n, d, d)."""
        second, shape = self._at(2).second, (*self._x.shape, self._x.shape[1])
        return np.zeros(shape) if second is None else np.broadcast_to(np.moveaxis(second, 2, 0), shape)


def expect_inputs(inputs: Any, count: int, size: int) -> Array:
    """The indices of `count` different ones of `size` inputs. Raises InvalidInputError: they are others."""
    indices = np.asarray(inputs)
    if indices.shape != (count,) or not set(indices.tolist()) <= set(range(size)) or len(set(indices.tolist())) < count:
        raise InvalidInputError(
            f"the inputs to read are {inputs!r}; a mode of {count} reads as many different ones of 0 .. {size - 1}."
        )
    return indices.astype(int)


def expect_some(values: Mapping[int, float], size: int) -> None:
    """Raise InvalidInputError unless these values are of some, but not of all, of `size` inputs."""
    if not 0 < len(values) < size or not set(values) <= set(range(size)):
        raise InvalidInputError(
            f"{len(values)} of {size} inputs cannot be fixed: it must be at least one, and not all."
        )


def by_chunks(x: Any, size: int, shape: tuple[int, ...], evaluate: Callable[[Array], Array]) -> Array:
    """Evaluate (n, size) -> (n, *shape) chunk by chunk, for x of shape (..., size).

    A NaN in a point makes all values at that point NaN, also those that do not depend on x (the gradient of an affine mode).
    """
    array = points("x", x, size)
    flat = array.reshape(-1, size)
    result = np.empty((len(flat), *shape))
    for start in range(0, len(flat), CHUNK):
        result[start : start + CHUNK] = evaluate(flat[start : start + CHUNK])
    result[np.isnan(flat).any(axis=1)] = np.nan
    return result.reshape((*array.shape[:-1], *shape))
