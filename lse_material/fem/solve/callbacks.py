"""Methods that a solver calls, without a cycle: the solver belongs to the object whose methods it calls."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any


def held_weakly(method: Callable[..., Any]) -> Callable[..., Any]:
    """A bound method for a PETSc solver that its object owns.

    The object is held weakly: a cycle through the solver would leave both to Python's garbage collector, which runs at another
    time on each rank.

    Raises:
        ReferenceError: it is called when the object is gone.
    """
    weak = weakref.WeakMethod(method)
    name = type(getattr(method, "__self__", None)).__name__

    def call(*args: Any, **kargs: Any) -> Any:
        alive = weak()
        if alive is None:
            raise ReferenceError(f"this SNES belongs to a {name} that is gone: keep the problem, not only its solver.")
        return alive(*args, **kargs)

    return call
