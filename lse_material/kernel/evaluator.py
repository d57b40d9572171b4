"""Compiled evaluators of a material and of a potential: the same answers as the NumPy floor, a hundred times sooner."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from lse_material.checks import Array, deformation_gradients, points
from lse_material.errors import CompilerNotFoundError, InvalidInputError
from lse_material.kernel.build import build, compiler
from lse_material.kernel.generate import DECLARATIONS, Architecture, source
from lse_material.kernel.text import upper_triangle
from lse_material.kinematics import GreenLagrange
from lse_material.material import Material
from lse_material.potential import SoftMinimum


@functools.cache
def load(library: Path) -> Any:
    """Load a library made by `build`: its functions, as cffi gives them.

    Raises:
        CompilerNotFoundError: cffi is not installed.
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


def kernel_source(architecture: Architecture) -> str:
    """The C text for this architecture and the CPU of this machine; `build` makes a library of it."""
    chosen = compiler()
    return source(architecture, lanes=chosen.lanes, registers=chosen.registers)


class _Kernel:
    """A loaded library, the weights it is called with, and the checks of arrays that it is handed."""

    def __init__(self, architecture: Architecture, data: Array, threads: int) -> None:
        if not isinstance(threads, (int, np.integer)) or threads < 1:
            raise InvalidInputError(f"threads is {threads!r}; it must be a whole number >= 1.")
        self._ffi = _ffi()
        self.library = load(build(kernel_source(architecture)))
        self._data, self._threads = data, int(threads)
        self._weights = self._ffi.from_buffer("double[]", data)

    def __call__(self, name: str, entry: Array, shape: tuple[int, ...], outputs: dict[str, Any]) -> None:
        """Call `name` on points of `shape`; outputs: name -> (array or None, shape per point)."""
        n = self._count(entry, shape)
        arrays = [self._array(key, array, (n, *each)) for key, (array, each) in outputs.items()]
        points = self._ffi.from_buffer("double[]", entry)
        if getattr(self.library, name)(self._weights, n, self._threads, points, *arrays):
            raise MemoryError(f"{name}: no memory for the scratch of {self._threads} threads.")

    def _count(self, entry: Array, shape: tuple[int, ...]) -> int:
        kind = isinstance(entry, np.ndarray) and entry.dtype == np.float64 and entry.flags.c_contiguous
        if not kind or entry.ndim != len(shape) + 1 or entry.shape[1:] != shape:
            raise InvalidInputError(
                f"the points are {_describe(entry)}; the kernel reads a C-contiguous float64 array of shape (n, "
                f"{', '.join(map(str, shape))}): use numpy.ascontiguousarray."
            )
        return len(entry)

    def _array(self, name: str, array: Array | None, shape: tuple[int, ...]) -> Any:
        if array is None:
            return self._ffi.NULL
        kind = isinstance(array, np.ndarray) and array.dtype == np.float64 and array.flags.c_contiguous
        if not kind or array.shape != shape or not array.flags.writeable:
            raise InvalidInputError(
                f"{name} is {_describe(array)}; the kernel writes a C-contiguous, writeable float64 array of shape {shape}."
            )
        return self._ffi.from_buffer("double[]", array)


def _describe(array: Any) -> str:
    if not isinstance(array, np.ndarray):
        return f"a {type(array).__name__}"
    return f"of shape {array.shape}, {array.dtype}, {'' if array.flags.c_contiguous else 'not '}C-contiguous"


class CompiledMaterial:
    """A `Material` as machine code: compiled once, cached on disk, loaded.

    The methods with outputs write into arrays of the caller (C-contiguous float64) and allocate nothing; W may be None.
    Where W is not defined (J <= 0 with a growth term or invariants, NaN in F) the values are NaN; nothing is raised.

    Args:
        material: what to compile.
        threads: OpenMP threads of a call. Leave it 1 under MPI.

    Raises:
        CompilationError: there is no compiler or cffi (`CompilerNotFoundError`), or it fails.
    """

    def __init__(self, material: Material, *, threads: int = 1) -> None:
        material = material.without_fields("CompiledMaterial")
        growth = material.growth.coefficient if material.growth else 0.0
        architecture = Architecture.of(material.potential, material.kinematics, material.growth is not None)
        self.material = material
        self._kernel = _Kernel(architecture, architecture.pack(material.potential, growth), threads)
        self._square = (material.dim,) * 2

    @property
    def dim(self) -> int:
        """2 (plane strain) or 3."""
        return self.material.dim

    def evaluate(self, F: Any) -> CompiledValues:
        """As `Material.evaluate`: values at F (n, dim, dim), each computed when asked for."""
        return CompiledValues(self, deformation_gradients(F, self.dim).reshape(-1, *self._square))

    def energy(self, F: Array, W: Array) -> None:
        """W (n,) at F (n, dim, dim)."""
        self._first_piola(F, W=W)

    def energy_stress(self, F: Array, W: Array | None, P: Array) -> None:
        """W (n,) or None and P = dW/dF (n, dim, dim)."""
        self._first_piola(F, W=W, P=P)

    def energy_stress_tangent(self, F: Array, W: Array | None, P: Array, A: Array) -> None:
        """W (n,) or None, P (n, dim, dim) and A = dP/dF (n, dim, dim, dim, dim), index [n, i, J, k, L]."""
        self._first_piola(F, W=W, P=P, A=A)

    def mode_weights(self, F: Array, weights: Array) -> None:
        """Mode weights (n, K)."""
        self._first_piola(F, weights=weights)

    def energy_S_D(self, F: Array, W: Array | None, S: Array, D: Array | None) -> None:
        """Second Piola-Kirchhoff stress and material tangent, for `GreenLagrange`.

        Both in Mandel components, so that dW = S . dE and dS = D dE with dE in Mandel components too:
        (11, 22, sqrt2*12) in 2D, (11, 22, 33, sqrt2*23, sqrt2*13, sqrt2*12) in 3D.

        Args:
            F: (n, dim, dim).
            W: (n,) or None.
            S: (n, d), d = 3 or 6.
            D: (n, d(d+1)/2), upper triangle row by row: 00, 01, .. 0(d-1), 11, 12, ..; None for stress only.

        Raises:
            InvalidInputError: another strain measure, or an array that cannot be written.
        """
        if not isinstance(self.material.kinematics, GreenLagrange):
            raise InvalidInputError(
                f"S and D are derivatives in the Green-Lagrange strain; this material is one of "
                f"{type(self.material.kinematics).__name__}: use energy_stress_tangent."
            )
        d = self.material.potential.size
        outputs = {"W": (W, ()), "S": (S, (d,)), "D": (D, (d * (d + 1) // 2,))}
        self._kernel("lse_second_piola", F, self._square, outputs)

    def _first_piola(
        self,
        F: Array,
        *,
        W: Array | None = None,
        P: Array | None = None,
        A: Array | None = None,
        weights: Array | None = None,
    ) -> None:
        square = self._square
        outputs = {"W": (W, ()), "P": (P, square), "A": (A, square * 2), "weights": (weights, (self.material.modes,))}
        self._kernel("lse_first_piola", F, square, outputs)


class CompiledValues:
    """A compiled material at one batch of deformation gradients (n, dim, dim); arrays as `MaterialValues` holds them."""

    def __init__(self, compiled: CompiledMaterial, F: Array) -> None:
        self._compiled, self._F = compiled, F

    @functools.cached_property
    def strain(self) -> Array:
        """(n, d)."""
        return self._compiled.material.kinematics.strain(self._F)

    @functools.cached_property
    def energy(self) -> Array:
        """(n,)."""
        W = np.empty(len(self._F))
        self._compiled.energy(self._F, W)
        return W

    @functools.cached_property
    def stress(self) -> Array:
        """(n, dim, dim). The energy comes with it."""
        W, P = np.empty(len(self._F)), np.empty_like(self._F)
        self._compiled.energy_stress(self._F, W, P)
        self.__dict__.setdefault("energy", W)
        return P

    @functools.cached_property
    def tangent(self) -> Array:
        """(n, dim, dim, dim, dim). Energy and stress come with it."""
        n, dim = self._F.shape[:2]
        W, P, A = np.empty(n), np.empty_like(self._F), np.empty((n, dim, dim, dim, dim))
        self._compiled.energy_stress_tangent(self._F, W, P, A)
        self.__dict__.setdefault("energy", W)
        self.__dict__.setdefault("stress", P)
        return A

    @functools.cached_property
    def mode_weights(self) -> Array:
        """(n, K)."""
        weights = np.empty((len(self._F), self._compiled.material.modes))
        self._compiled.mode_weights(self._F, weights)
        return weights


class CompiledPotential:
    """A `SoftMinimum` as machine code; see `CompiledMaterial`."""

    def __init__(self, potential: SoftMinimum, *, threads: int = 1) -> None:
        architecture = Architecture.of(potential)
        self.potential = potential
        self._kernel = _Kernel(architecture, architecture.pack(potential), threads)

    def energy_gradient_hessian(
        self, x: Array, W: Array | None, g: Array | None = None, H: Array | None = None, weights: Array | None = None
    ) -> None:
        """Write what is not None at x (n, d).

        W (n,), gradient g (n, d), upper triangle of the Hessian H (n, d(d+1)/2), row by row, mode weights (n, K).
        """
        d, K = self.potential.size, len(self.potential.modes)
        outputs = {"W": (W, ()), "g": (g, (d,)), "H": (H, (d * (d + 1) // 2,)), "weights": (weights, (K,))}
        self._kernel("lse_potential", x, (d,), outputs)

    def energy(self, x: Any) -> Array:
        """W(x), energy units: x (..., d) -> (...)."""
        array = points("x", x, self.potential.size)
        flat = array.reshape(-1, self.potential.size)
        W = np.empty(len(flat))
        self.energy_gradient_hessian(flat, W)
        return W.reshape(array.shape[:-1])

    def gradient(self, x: Any) -> Array:
        """dW/dx: x (..., d) -> (..., d)."""
        array = points("x", x, self.potential.size)
        flat = array.reshape(-1, self.potential.size)
        g = np.empty(flat.shape)
        self.energy_gradient_hessian(flat, None, g)
        return g.reshape(array.shape)

    def hessian(self, x: Any) -> Array:
        """d2W/dx2: x (..., d) -> (..., d, d)."""
        d = self.potential.size
        array = points("x", x, d)
        flat = array.reshape(-1, d)
        p, q = np.array(upper_triangle(d)).T
        packed, H = np.empty((len(flat), len(p))), np.empty((len(flat), d, d))
        self.energy_gradient_hessian(flat, None, None, packed)
        H[:, p, q] = H[:, q, p] = packed
        return H.reshape(*array.shape, d)

    def mode_weights(self, x: Any) -> Array:
        """Softmax(-psi_k / rho), the phase fractions: x (..., d) -> (..., K); rows sum to 1."""
        array = points("x", x, self.potential.size)
        flat = array.reshape(-1, self.potential.size)
        weights = np.empty((len(flat), len(self.potential.modes)))
        self.energy_gradient_hessian(flat, None, weights=weights)
        return weights.reshape(*array.shape[:-1], -1)


class InterpretedPotential:
    """What stands in for a `CompiledPotential` where there is no compiler: NumPy, with the same call."""

    def __init__(self, potential: SoftMinimum) -> None:
        self.potential = potential

    def energy_gradient_hessian(
        self, x: Array, W: Array | None, g: Array | None = None, H: Array | None = None, weights: Array | None = None
    ) -> None:
        """As `CompiledPotential.energy_gradient_hessian`."""
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


def evaluator(material: Material, *, threads: int = 1) -> CompiledMaterial | Material:
    """The compiled material, or the material itself with one warning per process where there is no compiler or no cffi.

    Both have `evaluate(F)`.

    Raises:
        CompilationError: there is a compiler, but it failed.
    """
    try:
        return CompiledMaterial(material, threads=threads)
    except CompilerNotFoundError as error:
        _warn_once(str(error))
        return material


def potential_evaluator(potential: SoftMinimum, *, warn: bool = True) -> CompiledPotential | InterpretedPotential:
    """As `evaluator`, for a potential: both have `energy_gradient_hessian`. The warning can be left to another rank.

    Raises:
        CompilationError: there is a compiler, but it failed.
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
