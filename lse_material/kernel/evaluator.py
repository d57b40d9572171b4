"""A potential as machine code, alone and in a material: the same answers as the NumPy floor, many times sooner."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from lse_material._arrays import Array, deformation_gradients, points, whole_number
from lse_material.errors import CompilerNotFoundError, InvalidInputError
from lse_material.kernel.batch import DECLARATIONS, KernelShape, source
from lse_material.kernel.c_writer import upper_triangle
from lse_material.kernel.compiler import build, compiler
from lse_material.model.material import Material, MaterialValues
from lse_material.model.soft_minimum import SoftMinimum


@functools.cache
def load(library: Path) -> Any:
    """Load a library made by `build`: its functions, as cffi gives them.

    Raises:
        CompilerNotFoundError: cffi is not installed.

    >>> library = lse.kernel.build(lse.kernel.kernel_source(lse.kernel.KernelShape.of(material.potential)))
    >>> callable(lse.kernel.load(library).lse_potential)
    True
    """
    ffi = _ffi()
    return ffi.dlopen(str(library))


@functools.cache
def _ffi() -> Any:
    try:
        import cffi
    except ImportError:
        raise CompilerNotFoundError(
            "compiled kernels are loaded through cffi, which is not installed: pip install 'lse-material[kernel]'."
        ) from None
    ffi = cffi.FFI()
    ffi.cdef(DECLARATIONS)
    return ffi


def kernel_source(architecture: KernelShape) -> str:
    """The C text for this architecture and the CPU of this machine; `build` makes a library of it.

    >>> text = lse.kernel.kernel_source(lse.kernel.KernelShape.of(material.potential))
    >>> text.count("lse_potential(")
    1
    """
    chosen = compiler()
    return source(architecture, lanes=chosen.lanes, registers=chosen.registers)


def _expect_arrays(potential: SoftMinimum, x: Array, *outputs: Any) -> None:
    """Raise InvalidInputError unless x, W, g, H and weights are arrays that C can read and write, or None; for NumPy too."""
    d, K, n = potential.size, len(potential.modes), len(x) if np.ndim(x) else 0
    shapes = {"x": (n, d), "W": (n,), "g": (n, d), "H": (n, d * (d + 1) // 2), "weights": (n, K)}
    for (name, shape), array in zip(shapes.items(), (x, *outputs)):
        written = name != "x"
        if written and array is None:
            continue
        plain = isinstance(array, np.ndarray) and array.dtype == np.float64
        if not plain or not array.flags.c_contiguous or array.shape != shape or (written and not array.flags.writeable):
            does, writeable = ("writes", ", writeable") if written else ("reads", "")
            raise InvalidInputError(
                f"{name} is {_describe(array)}; the kernel {does} a C-contiguous{writeable} float64 array of shape {shape}: "
                "use numpy.ascontiguousarray."
            )


def _describe(array: Any) -> str:
    if not isinstance(array, np.ndarray):
        return f"a {type(array).__name__}"
    return f"of shape {array.shape}, {array.dtype}, {'' if array.flags.c_contiguous else 'not '}C-contiguous"


class CompiledPotential:
    """A `SoftMinimum` as machine code: compiled once, cached on disk, loaded.

    Where the potential is not defined (NaN in x) the values are NaN; nothing is raised.

    Args:
        potential: what to compile.
        threads: OpenMP threads of a call. Leave it 1 under MPI.

    Raises:
        CompilationError: there is no compiler or cffi (`CompilerNotFoundError`), or it fails.

    >>> fast = lse.kernel.CompiledPotential(material.potential)
    >>> x = np.random.default_rng(0).uniform(-0.1, 0.1, (1000, 3))
    >>> bool(np.abs(fast.gradient(x) - material.potential.gradient(x)).max() < 1e-14)
    True
    """

    def __init__(self, potential: SoftMinimum, *, threads: int = 1) -> None:
        architecture = KernelShape.of(potential)
        self.potential, self._threads = potential, whole_number("threads", threads, 1)
        self._ffi, self._library = _ffi(), load(build(kernel_source(architecture)))
        self._data = architecture.pack(potential)
        self._weights = self._ffi.from_buffer("double[]", self._data)

    def energy_gradient_hessian(
        self, x: Array, W: Array | None, g: Array | None = None, H: Array | None = None, weights: Array | None = None
    ) -> None:
        """Write what is not None at x (n, d), into C-contiguous float64 arrays of the caller.

        W (n,), gradient g (n, d), upper triangle of the Hessian H (n, d(d+1)/2), row by row, mode weights (n, K).
        """
        _expect_arrays(self.potential, x, W, g, H, weights)
        pointers = [self._pointer(array) for array in (x, W, g, H, weights)]
        if self._library.lse_potential(self._weights, len(x), self._threads, *pointers):
            raise MemoryError(f"there is no memory for the scratch arrays of {self._threads} threads.")

    def evaluate(self, x: Array) -> CompiledPotentialValues:
        """As `SoftMinimum.evaluate`: values at x (n, d), each computed when asked for."""
        return CompiledPotentialValues(self, points("x", x, self.potential.size).reshape(-1, self.potential.size))

    def energy(self, x: Any) -> Array:
        """W(x), energy units: x (..., d) -> (...)."""
        return self._at(x, "W", ())

    def gradient(self, x: Any) -> Array:
        """dW/dx: x (..., d) -> (..., d)."""
        return self._at(x, "g", (self.potential.size,))

    def hessian(self, x: Any) -> Array:
        """d2W/dx2: x (..., d) -> (..., d, d)."""
        d = self.potential.size
        return _unpacked(self._at(x, "H", (d * (d + 1) // 2,)), d)

    def mode_weights(self, x: Any) -> Array:
        """Softmax(-psi_k / rho), the phase fractions: x (..., d) -> (..., K); rows sum to 1."""
        return self._at(x, "weights", (len(self.potential.modes),))

    def _pointer(self, array: Array | None) -> Any:
        """An array for C; NULL for None."""
        return self._ffi.NULL if array is None else self._ffi.from_buffer("double[]", array)

    def _at(self, x: Any, name: str, shape: tuple[int, ...]) -> Array:
        """One output of the kernel: x (..., d) -> (..., *shape)."""
        array = points("x", x, self.potential.size)
        flat = array.reshape(-1, self.potential.size)
        result = np.empty((len(flat), *shape))
        self.energy_gradient_hessian(flat, **{"W": None, name: result})
        return result.reshape((*array.shape[:-1], *shape))


def _unpacked(triangle: Array, d: int) -> Array:
    """Symmetric matrices (..., d, d) of their upper triangles (..., d(d+1)/2)."""
    p, q = np.array(upper_triangle(d)).T
    result = np.empty((*triangle.shape[:-1], d, d))
    result[..., p, q] = result[..., q, p] = triangle
    return result


class CompiledPotentialValues:
    """A compiled potential at one batch of points (n, d); arrays as `PotentialValues` holds them."""

    def __init__(self, compiled: CompiledPotential, x: Array) -> None:
        self._compiled, self._x = compiled, x

    @functools.cached_property
    def energy(self) -> Array:
        """(n,)."""
        return self._compiled.energy(self._x)

    @functools.cached_property
    def gradient(self) -> Array:
        """(n, d)."""
        return self._compiled.gradient(self._x)

    @functools.cached_property
    def hessian(self) -> Array:
        """(n, d, d). Energy and gradient come with it."""
        n, d = self._x.shape
        W, g, triangle = np.empty(n), np.empty((n, d)), np.empty((n, d * (d + 1) // 2))
        self._compiled.energy_gradient_hessian(self._x, W, g, triangle)
        self.__dict__.setdefault("energy", W)
        self.__dict__.setdefault("gradient", g)
        return _unpacked(triangle, d)

    @functools.cached_property
    def mode_weights(self) -> Array:
        """(n, K)."""
        return self._compiled.mode_weights(self._x)


class CompiledEvaluator:
    """A `Material` of F alone whose potential is machine code; strain measure and growth term stay in NumPy.

    Args and errors are those of `CompiledPotential`.

    >>> P = lse.kernel.CompiledEvaluator(material).evaluate(np.eye(2)[None]).stress
    >>> bool(np.abs(P - material.stress(np.eye(2))).max() < 1e-14)
    True
    """

    def __init__(self, material: Material, *, threads: int = 1) -> None:
        if not isinstance(material, Material):
            raise InvalidInputError(f"CompiledEvaluator takes a Material, not a {type(material).__name__}.")
        self.material = material.without_fields("CompiledEvaluator")
        self.potential = CompiledPotential(material.potential, threads=threads)

    @property
    def dim(self) -> int:
        """2 (plane strain) or 3."""
        return self.material.dim

    def evaluate(self, F: Any) -> MaterialValues:
        """As `Material.evaluate`."""
        array = deformation_gradients(F, self.dim).reshape(-1, self.dim, self.dim)
        return MaterialValues(self.material, array, np.zeros((len(array), 0)), self.potential)


class InterpretedPotential:
    """What stands in for a `CompiledPotential` where there is no compiler: NumPy, with the same call.

    >>> W, x = np.empty(1), np.array([[0.05, -0.05, 0.0]])  # a well
    >>> lse.kernel.InterpretedPotential(material.potential).energy_gradient_hessian(x, W)
    >>> bool(abs(W[0]) < 1e-9)
    True
    """

    def __init__(self, potential: SoftMinimum) -> None:
        self.potential = potential

    def energy_gradient_hessian(
        self, x: Array, W: Array | None, g: Array | None = None, H: Array | None = None, weights: Array | None = None
    ) -> None:
        """As `CompiledPotential.energy_gradient_hessian`."""
        _expect_arrays(self.potential, x, W, g, H, weights)
        values = self.potential.evaluate(x)
        if W is not None:
            W[:] = values.energy
        if g is not None:
            g[:] = values.gradient
        if H is not None:
            p, q = np.array(upper_triangle(self.potential.size)).T
            H[:] = values.hessian[:, p, q]
        if weights is not None:
            weights[:] = values.mode_weights


def evaluator(material: Material, *, threads: int = 1) -> CompiledEvaluator | Material:
    """The material with its potential compiled, or as it is, with one warning per process, where there is no compiler or cffi.

    Both have `evaluate(F)`. `threads` are those of a call of compiled code; leave it 1 under MPI.

    Raises:
        CompilationError: there is a compiler, but it failed.

    >>> fast = lse.kernel.evaluator(material)
    >>> fast.evaluate(np.tile(np.eye(2), (1000, 1, 1))).stress.shape
    (1000, 2, 2)
    """
    try:
        return CompiledEvaluator(material, threads=threads)
    except CompilerNotFoundError as error:
        _warn_once(str(error))
        return material


def potential_evaluator(potential: SoftMinimum, *, warn: bool = True) -> CompiledPotential | InterpretedPotential:
    """As `evaluator`, for a potential: both have `energy_gradient_hessian`. The warning can be left to another rank.

    Raises:
        CompilationError: there is a compiler, but it failed.

    >>> W, x = np.empty(1), np.array([[0.05, -0.05, 0.0]])  # a well
    >>> lse.kernel.potential_evaluator(material.potential).energy_gradient_hessian(x, W)
    >>> bool(abs(W[0]) < 1e-9)
    True
    """
    try:
        return CompiledPotential(potential)
    except CompilerNotFoundError as error:
        if warn:
            _warn_once(str(error))
        return InterpretedPotential(potential)


@functools.cache
def _warn_once(reason: str) -> None:
    warnings.warn(f"materials are evaluated with NumPy, about 100 times slower: {reason}", RuntimeWarning, stacklevel=3)
