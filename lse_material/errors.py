"""The exceptions of the package. Each message says what was wrong, where, and what to do."""

from __future__ import annotations


class LseError(Exception):
    """Base class of everything this package raises on purpose."""


class InvalidInputError(LseError, ValueError):
    """A value given by the user cannot be used: wrong shape, not finite, not convex, not physical."""


class FormatError(LseError, ValueError):
    """A file is not what it should be: truncated, foreign, malformed, or of a newer format."""


class ConvergenceError(LseError, RuntimeError):
    """A nonlinear solve stopped without a solution.

    Attributes:
        reason: the solver's own code (a negative ``SNESConvergedReason``), 0 if there is none.
        iterations: iterations done before it stopped.
    """

    def __init__(self, message: str, *, reason: int = 0, iterations: int = 0) -> None:
        super().__init__(message)
        self.reason = reason
        self.iterations = iterations


class CompilationError(LseError, RuntimeError):
    """A generated kernel could not be compiled; the message names the compiler, its call and what it said."""


class CompilerNotFoundError(CompilationError):
    """There is no C compiler, or no cffi to load what it makes."""
