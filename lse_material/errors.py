"""The exceptions of the package. Each message says what was wrong, where, and what to do."""


class LseError(Exception):
    """Base class of everything this package raises on purpose.

    >>> try:
    ...     lse.GreenLagrange(dim=4)
    ... except lse.LseError as error:
    ...     print(error)
    GreenLagrange: dim is 4; it must be 2 (plane strain) or 3.
    """


class InvalidInputError(LseError, ValueError):
    """A value given by the user cannot be used: wrong shape, not finite, not convex, not physical.

    >>> lse.GreenLagrange(dim=4)
    Traceback (most recent call last):
        ...
    lse_material.errors.InvalidInputError: GreenLagrange: dim is 4; it must be 2 (plane strain) or 3.
    """


class FormatError(LseError, ValueError):
    """A file is not what it should be: truncated, foreign, malformed, or of a newer format.

    >>> try:
    ...     lse.load("cell.csv")
    ... except lse.FormatError as error:
    ...     print(str(error)[:42])
    cell.csv is not a whole .safetensors file
    """


class ConvergenceError(LseError, RuntimeError):
    """A nonlinear solve stopped without a solution.

    Attributes:
        reason: the solver's own code (a negative ``SNESConvergedReason``), 0 if there is none.
        iterations: iterations done before it stopped.

    >>> try:
    ...     raise lse.ConvergenceError("the line search failed", reason=-6, iterations=12)
    ... except lse.ConvergenceError as error:
    ...     print(error.reason, error.iterations)
    -6 12
    """

    def __init__(self, message: str, *, reason: int = 0, iterations: int = 0) -> None:
        super().__init__(message)
        self.reason = reason
        self.iterations = iterations


class CompilationError(LseError, RuntimeError):
    """A generated kernel could not be compiled; the message names the compiler, its call and what it said."""


class CompilerNotFoundError(CompilationError):
    """There is no C compiler, or no cffi to load what it makes."""
