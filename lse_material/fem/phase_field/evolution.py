"""Evolution in time: steps as long as an error estimate allows, a table with mass and energy, checkpoints.

Each step is made twice, whole and in two halves, and the run continues from the halves. For a method of order one,

    error = | state after two halves - state after the whole step |

is the error of the halves to leading order (E. Hairer, S. P. Norsett, G. Wanner, Solving Ordinary Differential Equations I,
II.4). It includes the lag of the mode weights, which estimates from earlier states miss.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import ufl
from dolfinx import fem
from ufl.core.expr import Expr

from lse_material._arrays import positive
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fem.output.extrapolation import ExtrapolationMonitor
from lse_material.fem.paths.fingerprint import Fingerprint, fingerprint
from lse_material.fem.paths.history import History
from lse_material.fem.paths.time_path import Rejected, StepEstimate, TimePath, Trial
from lse_material.fem.phase_field.cahn_hilliard import CahnHilliard
from lse_material.fem.quadrature.dissipation import Memory

SAFETY = 0.8  # share of the step that the error estimate allows
SMALLEST_FACTOR, LARGEST_FACTOR = 0.3, 1.4  # from one step to the next
ENERGY_ROUNDING = 1e-11  # relative to the integrals of absolute values in the energy
COLUMNS = ("time", "dt", "energy", "mass", "supplied", "work", "error", "iterations", "excess")


class _Estimate(StepEstimate):
    """The error of a step of `flow`, in the UFL scalars `compare` or the concentration, and the next step, `next_dt`."""

    def __init__(self, flow: CahnHilliard, compare: Sequence[Expr], dt: float, longest: float) -> None:
        state = flow.state
        self.whole = fem.Function(state.function_space)
        compared = list(compare) or [ufl.split(state)[0]]
        squares = [(value - ufl.replace(value, {state: self.whole})) ** 2 for value in compared]
        super().__init__((state,), sum(squares[1:], squares[0]), dt, longest)


@dataclass(frozen=True, eq=False)
class Evolution(TimePath):
    """A run of a `CahnHilliard` problem from its present state, at time 0.

    Attributes:
        flow: makes the steps.
        dt: the first step to try.
        tolerance: of the error of a step, the root mean square of `compare` over the body.
        compare: UFL scalars of the state of order one; the concentration if left out.
        shortest: the run fails if a step would have to be shorter; 1e-9 of `dt` if 0.
        longest: longest step.
        watch: the training box of the potential, checked after each step.
        observe: name -> number to record after each step, the same on every rank.
        checkpoint: npz file, written every `every` steps; any number of ranks can go on from it.
        every: steps between checkpoints.
        history: what has happened so far. Its table has a row for each state, beginning with the initial one: time; dt;
            energy; mass; mass `supplied` and its `work` since the beginning; the estimated error; Newton iterations of the
            step; `excess` over the training box as a share of its width (0 without `watch`); and what is observed.

    Raises:
        InvalidInputError: an argument is none of these, an observable has a name that the table uses, or the energy has a
            `Dissipation`.

    >>> state = fem.Function(V)
    >>> state.sub(0).interpolate(lambda x: 0.5 + 0.1 * np.cos(np.pi * x[0]))
    >>> c, mu = ufl.split(state)
    >>> energy = (c**2 * (1.0 - c) ** 2 + 0.005 * ufl.inner(ufl.grad(c), ufl.grad(c))) * ufl.dx(degree=4)
    >>> flow = lse.fem.CahnHilliard(energy, state, petsc_options_prefix="flow_")
    >>> run = lse.fem.Evolution(flow, 0.1)
    >>> table = run.run(1.0)
    >>> float(table["time"][-1])
    1.0
    """

    shortest_share = 1e-9

    flow: CahnHilliard
    dt: float
    tolerance: float = 1e-3
    compare: Sequence[Expr] = ()
    shortest: float = 0.0
    longest: float = np.inf
    watch: ExtrapolationMonitor | None = None
    observe: Mapping[str, Callable[[], float]] = field(default_factory=dict)
    checkpoint: Path | str | None = None
    every: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.flow, CahnHilliard):
            raise InvalidInputError(f"an Evolution takes a CahnHilliard problem, and not {type(self.flow).__name__}.")
        if not isinstance(self.compare, Sequence):
            raise InvalidInputError("compare is no list of UFL scalars: give compare=[c], say.")
        if not isinstance(self.watch, (ExtrapolationMonitor, type(None))):
            raise InvalidInputError(f"watch is {self.watch!r}; it must be an ExtrapolationMonitor.")
        positive("tolerance", self.tolerance)
        positive("longest", self.longest, finite=False)
        self._check_steps(self.longest)
        if any(isinstance(f, Memory) for f in self.flow.residual.coefficients()):
            raise InvalidInputError(
                "the energy has the cost of a Dissipation, whose memory does not follow in an Evolution: make the steps in a "
                "loop of your own, `CahnHilliard.step` and then `Dissipation.advance`."
            )
        self.history  # noqa: B018 (it checks the names of what is observed)
        self._estimate  # noqa: B018 (it is compiled, which is collective)

    @cached_property
    def history(self) -> History:
        """What has happened so far."""
        return History(self.flow.state, COLUMNS, self.observe, numbers=("next_dt",), checkpoint=self.checkpoint)

    @property
    def increases(self) -> int:
        """Accepted steps after which the energy had risen by more than the supply brought: only shortest steps are."""
        return self.history.increases

    @cached_property
    def _estimate(self) -> _Estimate:
        return _Estimate(self.flow, self.compare, self.dt, self.longest)

    def _fingerprint(self) -> Fingerprint:
        flow = self.flow
        return fingerprint({"step": flow.residual}, unknown=flow.state, bcs=flow.bcs, without=(flow.before, flow.dt))

    def _try(self, dt: float) -> Trial:
        try:
            supplied, work, iterations = self._two_halves(dt)
        except ConvergenceError as failure:
            return Trial(0.5, Rejected.SOLVER, str(failure))
        error = self._estimate.root_mean_square()
        row = {"supplied": supplied, "work": work, "error": error, "iterations": iterations}
        factor = self._factor(dt, max(error, 1e-300))
        if error > self.tolerance:
            return Trial(factor, Rejected.ERROR, f"its error {error:.3g} exceeds {self.tolerance:.3g}", row)
        rounding = ENERGY_ROUNDING * (self.flow.energy_size() + abs(work))
        if self.flow.energy() > self.table["energy"][-1] + work + rounding:
            return Trial(0.5, Rejected.ENERGY, Rejected.ENERGY.value, row)
        return Trial(factor, row=row)

    def _factor(self, dt: float, error: float) -> float:
        """The ratio of the next step to a step of length dt with this error.

        The error is k dt^2. If k has grown since the step before, it is assumed to grow further (K. Gustafsson, ACM Trans.
        Math. Softw. 20, 496 (1994)).
        """
        growth = 1.0
        before, at_that = self.table["dt"][-1], self.table["error"][-1]
        if before > 0.0 and at_that > 0.0:
            growth = max(error / at_that * (before / dt) ** 2, 1.0)
        return float(np.clip(SAFETY * np.sqrt(self.tolerance / (error * growth)), SMALLEST_FACTOR, LARGEST_FACTOR))

    def _two_halves(self, dt: float) -> tuple[float, float, int]:
        """Make the whole step and its two halves; returns supplied mass, its work and Newton iterations."""
        flow = self.flow
        start = flow.state.x.array.copy()
        flow.step(dt)
        whole, iterations = flow.state.x.array.copy(), flow.iterations
        flow.state.x.array[:] = start
        supplied = work = 0.0
        for guess in (0.5 * (start + whole), whole):
            flow.step(0.5 * dt, guess)
            supplied, work = supplied + flow.supplied(), work + flow.work()
            iterations += flow.iterations
        self._estimate.whole.x.array[:] = whole
        return supplied, work, iterations

    def _accept(self, time: float, dt: float, trial: Trial) -> None:
        self.history.add(
            time=time,
            dt=dt,
            energy=float(self.flow.energy()),
            mass=float(self.flow.mass()),
            supplied=self.history.last("supplied") + trial.row.get("supplied", 0.0),
            work=self.history.last("work") + trial.row.get("work", 0.0),
            error=trial.row.get("error", 0.0),
            iterations=float(trial.row.get("iterations", 0.0)),
            excess=0.0 if self.watch is None else float(self.watch.excess()),
        )
