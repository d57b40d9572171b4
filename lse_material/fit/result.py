"""What a fit found: the material, how good it is, and how the search went."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lse_material._arrays import Array, rms
from lse_material.data.observations import Observations
from lse_material.data.samples import Samples
from lse_material.errors import InvalidInputError
from lse_material.fit.optimise.found import Record
from lse_material.fit.options import Architecture, expect_options
from lse_material.fit.problem.rows import weights_of
from lse_material.fit.session import CTRL_C
from lse_material.model.design_network import independence
from lse_material.model.material import Material, potential_of
from lse_material.model.soft_minimum import SoftMinimum

WIDE_INTERVAL = 1.5  # ratio of an interval's ends above which the transition scale counts as not fixed by the data
MISFIT_TOLERANCES = 0.3  # tolerances above which a larger model is reported that fits better
BETTER_FIT = 5.0  # by this factor
AT_BOUND = 1.4  # factor from a bound of its search within which the transition scale was not found; steps are by 1.25
AT_BOUNDS = {
    "largest": "the modes smooth each other everywhere and are no phases",
    "least": "the data show no transition, only kinks",
}
USELESS_ERROR = 0.9  # error on validation rows, over the spread of the data, above which nothing was found
ACTIVE_WEIGHT = 0.01  # mean mode weight over the data above which a mode counts as active


class FitWarning(UserWarning):
    """The time limit, or SIGTERM, has ended a fit; the message is also in `FitResult.warnings`.

    >>> import warnings
    >>> soon = lse.fit.Training(time_limit=0.01)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = lse.fit.fit(samples, kinematics=lse.GreenLagrange(2), training=soon, progress=False)
    >>> [each.category.__name__ for each in caught]
    ['FitWarning']
    """


@dataclass(frozen=True)
class Errors:
    """Relative root mean square errors; None where the data has no such values.

    Attributes:
        energy: RMS of W - W_data over the standard deviation of W_data.
        stress: RMS of P - P_data over the RMS of P_data; or of the gradients in the scaled inputs of the potential.
        conjugates: the same of dW/dfields.

    >>> result.error(samples).stress < 0.05
    True
    """

    energy: float | None
    stress: float | None
    conjugates: float | None = None

    @property
    def worst(self) -> float:
        """The largest of those that are known."""
        return max(error for error in (self.energy, self.stress, self.conjugates) if error is not None)


@dataclass(frozen=True, eq=False)
class FitResult:
    """A fitted potential and the story of its fit.

    Attributes:
        fitted: the material, or a potential where samples of x were fitted.
        usage: mean mode weight over the training data, one entry per mode; sums to 1.
        peak: largest mode weight over the training data, one entry per mode.
        data_warnings: what the data themselves leave open or contradict, a sentence each (see
            `lse_material.fit.problem.diagnostics`).
        variants: modes that a symmetry makes of each trained one; 1 without.
        path: (number of modes, relative error on the validation rows) of the best model of each number that discovery met;
            empty if the number was given.
        transition_scale_interval: smallest and largest transition scale, in energy units, that fit the data alike; None
            if it was not looked for or has no meaning (one mode).
        transition_scale_bounds: between which it was looked for, in energy units.
        tolerance: of the discovery.
        train_errors, validation_errors: on the rows used, and on the validation rows (None if there were none).
        architecture: what was fitted.
        history: losses as the search went.
        seconds: wall time of the fit.
        stopped: what ended it early: Ctrl-C, SIGTERM or the time limit; empty if nothing did.
        misfits: what speaks against the fit, a sentence each (see `lse_material.fit.judgement`).
        useless: whether its error in energy or stress, where it was fitted to them, is as large as the data: no better than a
            mean energy, or than no stress.

    >>> lse.save(result.material, "fitted.safetensors")
    >>> result.active_modes
    2
    """

    fitted: Material | SoftMinimum
    usage: Array
    peak: Array
    data_warnings: tuple[str, ...]
    variants: int
    path: tuple[tuple[int, float], ...]
    transition_scale_interval: tuple[float, ...] | None
    transition_scale_bounds: tuple[float, float]
    tolerance: float
    train_errors: Errors
    validation_errors: Errors | None
    group_errors: Mapping[str, Errors]
    architecture: Architecture
    history: tuple[Record, ...]
    seconds: float
    stopped: str = ""
    misfits: tuple[str, ...] = ()
    useless: bool = False

    @property
    def interrupted(self) -> bool:
        """Whether it was ended early."""
        return bool(self.stopped)

    @property
    def ending(self) -> str:
        """What ended the fit early, as a sentence; empty if nothing did, or Ctrl-C."""
        if self.stopped in ("", CTRL_C):
            return ""
        return f"{self.stopped} ended the search: these are the best weights by then; more time may find better ones."

    @property
    def material(self) -> Material:
        """The material, for samples of F.

        Raises:
            InvalidInputError: the fit was of samples of x, which have no strain measure; use `potential`.
        """
        if isinstance(self.fitted, SoftMinimum):
            raise InvalidInputError("a fit to samples of x gives a potential, not a material: use result.potential.")
        return self.fitted

    @property
    def potential(self) -> SoftMinimum:
        """W as a function of x."""
        return self.fitted if isinstance(self.fitted, SoftMinimum) else self.fitted.potential

    @property
    def active_modes(self) -> int:
        """Number of modes whose mean weight over the data exceeds 1 %."""
        return int((self.usage > ACTIVE_WEIGHT).sum())

    @property
    def transition_scale(self) -> float:
        """Transition scale in energy units."""
        return self.potential.transition_scale

    def error(self, samples: Samples | Observations) -> Errors:
        """Relative errors on `samples`, which must be of the kind that was fitted."""
        expect_options(samples=samples)
        return errors_of(self.fitted, samples)

    def summary(self, test: Samples | None = None) -> str:
        """A few lines for people; with the errors on `test` if it is given."""
        weights = sum(mode.parameters for mode in self.potential.modes)
        modes = len(self.potential.modes)
        lines = [
            f"LSE-ICNN of {modes} mode{'s' if modes > 1 else ''} ({self.active_modes} active), {weights} weights, fitted in "
            f"{self.seconds:.1f} s{f' (interrupted by {self.stopped})' if self.stopped else ''}"
        ]
        if modes > 1:
            lines.append(f"transition scale rho = {self.transition_scale:.4g}" + self._rho_range())
            lines.append("mode usage: " + ", ".join(f"{u:.1%}" for u in self.usage))
        names = (
            self.fitted.fields
            if isinstance(self.fitted, Material)
            else [f"x{i + 1}" for i in range(self.potential.size)]
        )
        lines += [f"{sentence}." for sentence in independence(self.potential, names)]
        if self.path:
            lines.append("error by number of modes: " + ", ".join(f"{k}: {e:.2%}" for k, e in self.path))
        lines += self.warnings()
        of_test = None if test is None else self.error(test)
        of_rows = {"training": self.train_errors, "validation": self.validation_errors, "test": of_test}
        for name, errors in of_rows.items():
            if errors is not None:
                lines.append(
                    f"relative RMS error, {name:10s}: energy {_percent(errors.energy)}, stress {_percent(errors.stress)}"
                    + ("" if errors.conjugates is None else f", conjugates {_percent(errors.conjugates)}")
                )
        if self.group_errors:
            lines += [f"held back as a whole, {group}: {e.worst:.1%}" for group, e in self.group_errors.items()]
            worst, error = self._worst_group, self.group_errors[self._worst_group].worst
            lines.append(f"on a path as unlike the others as {worst} expect {error:.1%} (the fit has seen it since).")
        return "\n".join(lines)

    def warnings(self) -> list[str]:
        """What the data contradict or leave open, also about the number of modes and the transition scale; often nothing."""
        result = [sentence for sentence in (self.ending, *self.data_warnings, *self.misfits) if sentence]
        held_out = self.train_errors if self.group_errors else self.validation_errors or self.train_errors
        known = [error for error in (held_out.energy, held_out.stress) if error is not None]
        if known and min(known) >= USELESS_ERROR:
            result.append(
                f"the fit is useless, and nothing was found: on validation rows the error is {min(known):.0%} of the spread of "
                "the data. They hold no energy landscape of this strain measure, noise hides it, or the search was too short."
            )
        elif self.useless:
            result.append(
                f"the fit is useless: its error is {max(known):.0%} of the data's own size, as that of no stress or of a mean "
                "energy would be."
            )
        if self.group_errors and (error := self.group_errors[self._worst_group].worst) >= USELESS_ERROR:
            result.append(
                f"held back as a whole, the group {self._worst_group} was missed by {error:.0%}: the others do not tell it, or "
                "contradict it (another unit or sign?)."
            )
        if self.active_modes > 1:
            for k, (usage, peak) in enumerate(zip(self.usage, self.peak)):
                if usage > ACTIVE_WEIGHT and peak < 0.5:
                    result.append(f"mode {k} dominates nowhere in the data (at most {peak:.0%}): it smooths others.")
        modes, errors = len(self.potential.modes), dict(self.path)
        fewer, more = modes - self.variants, modes + self.variants
        if fewer in errors and errors[fewer] < 2.0 * self.tolerance:
            met = "met too" if errors[fewer] <= self.tolerance else "missed only just"
            result.append(
                f"with {fewer} the tolerance of {self.tolerance:.2%} is {met} ({errors[fewer]:.2%}): the number of modes is a "
                "matter of the tolerance."
            )
        if errors.get(modes, 0.0) > max(MISFIT_TOLERANCES * self.tolerance, BETTER_FIT * errors.get(more, np.inf)):
            result.append(
                f"{modes} modes are within the tolerance of {self.tolerance:.2%} ({errors[modes]:.2%}), but {more} fit better "
                f"({errors[more]:.2%}): the number of modes is a matter of the tolerance."
            )
        (low, high), bound = self.transition_scale_bounds, self._bound()
        if bound:
            result.append(
                f"the transition scale ({self.transition_scale:.4g}) is at the {bound} value that is looked for, {low:.3g} to "
                f"{high:.3g}: {AT_BOUNDS[bound]}."
            )
        elif (interval := self.transition_scale_interval) and interval[1] > WIDE_INTERVAL * interval[0]:
            result.append("the data do not fix the transition scale: any value of the interval fits them alike.")
        return result

    @property
    def _worst_group(self) -> str:
        """The group held back that is missed most."""
        return max(self.group_errors, key=lambda group: self.group_errors[group].worst)

    def _bound(self) -> str:
        """The bound of its search that the transition scale lies at, as a word; empty if it was found between them."""
        low, high = self.transition_scale_bounds
        if len(self.potential.modes) == 1 or AT_BOUND * low < self.transition_scale < high / AT_BOUND:
            return ""
        return "least" if self.transition_scale < high / AT_BOUND else "largest"

    def _rho_range(self) -> str:
        if self._bound():
            return " (at a bound of its search: not found)"
        if self.transition_scale_interval is None:
            return ""
        return f" ({self.transition_scale_interval[0]:.3g} to {self.transition_scale_interval[1]:.3g} fit alike)"


def errors_of(fitted: Material | SoftMinimum, samples: Samples | Observations) -> Errors:
    """Relative errors of a material on samples of F, or of a potential on samples of x; rows count by their weight.

    Where energies do not vary, or stresses vanish, errors are relative to the scales of the potential.
    """
    stress = _relative(stresses_of(fitted, samples), samples)
    if isinstance(samples, Observations):
        return Errors(None, stress)
    energy = conjugates = None
    potential, m = potential_of(fitted), 0
    if isinstance(fitted, Material):
        m, samples = len(fitted.fields), samples.with_fields(fitted.fields)
    at = (samples.F, samples.fields) if isinstance(fitted, Material) else (samples.x,)
    if samples.energy is not None:
        mask, weight = samples.energy_mask, weights_of(samples)[samples.energy_mask]
        data = samples.energy[mask]
        spread = np.sqrt(np.cov(data, aweights=weight, ddof=0)) if len(data) > 1 else 0.0
        energy = _rms(fitted.energy(*at)[mask] - data, weight) / float(spread or potential.energy_scale)
    if samples.conjugates is not None and isinstance(fitted, Material):
        size = potential.energy_scale * rms(1.0 / potential.input_scale[:m])
        conjugates = _relative((samples.conjugates, fitted.conjugates(*at), size), samples)
    return Errors(energy, stress, conjugates)


def stresses_of(fitted: Material | SoftMinimum, samples: Samples | Observations) -> tuple[Array, Array, float] | None:
    """Stresses as they are known, NaN where they are not, as they are found, and their size where all known ones are 0.

    Or gradients, in the scaled inputs of the potential, whose components may have units of their own; or observed values
    over their errors. None where there are none.

    Raises InvalidInputError: samples of another kind than was fitted.
    """
    if isinstance(samples, Observations):
        if not isinstance(fitted, Material):
            raise InvalidInputError(
                "observations are sums of stresses: their errors are those of a material, not of a potential."
            )
        error = np.ones(len(samples)) if samples.errors is None else samples.errors
        measured, found = (values / error for values in (samples.values, samples.of_stress(fitted.stress(samples.F))))
        return measured, found, rms(found) or 1.0
    samples.inputs(fitted.kinematics if isinstance(fitted, Material) else None)  # refuses samples of another kind
    potential = potential_of(fitted)
    unit = potential.input_scale
    if isinstance(fitted, SoftMinimum):
        if samples.gradient is None:
            return None
        return samples.gradient * unit, fitted.gradient(samples.x) * unit, potential.energy_scale
    if set(samples.field_names) != set(fitted.fields):
        raise InvalidInputError(f"the samples have the fields {samples.field_names}, the material {fitted.fields}.")
    if samples.stress is None:
        return None
    size = potential.energy_scale * rms(1.0 / unit[len(fitted.fields) :])
    return samples.stress, fitted.stress(samples.F, samples.with_fields(fitted.fields).fields), size


def errors_by_group(fitted: Material | SoftMinimum, samples: Samples | Observations | None) -> dict[str, Errors]:
    """Errors on each group of the samples, by its label; empty without groups."""
    if samples is None or samples.group is None:
        return {}
    labels = dict.fromkeys(samples.group.tolist())
    return {str(label): errors_of(fitted, samples.take(np.flatnonzero(samples.group == label))) for label in labels}


def _relative(stresses: tuple[Array, Array, float] | None, samples: Samples | Observations) -> float | None:
    """RMS of what is wrong over that of what is known; None where nothing is."""
    if stresses is None:
        return None
    data, found, size = stresses
    known = np.isfinite(data)
    rows = np.flatnonzero(known.reshape(len(data), -1).any(axis=1))
    weight = np.ones(len(rows)) if isinstance(samples, Observations) else weights_of(samples)[rows]
    data, difference = (np.where(known, values, 0.0)[rows] for values in (data, found - data))
    return _rms(difference, weight) / (_rms(data, weight) or size)


def _rms(values: Array, weight: Array) -> float:
    """Root of the weighted mean square of values (n, ...), 0 if no row has a weight."""
    total = weight.sum()
    squares = (values**2).reshape(len(values), -1).mean(axis=1)
    return float(np.sqrt(weight @ squares / total)) if total > 0.0 else 0.0


def _percent(value: float | None) -> str:
    return "no data" if value is None else f"{value:.3%}"
