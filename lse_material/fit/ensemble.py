"""Several fits of the same data from different random starts: where they differ, the data leave the stress open.

The mean of soft minima is no soft minimum, so the material of an ensemble is one of its members: the one that meets the data
best. A fit that ended in a poor local minimum meets the data a little worse, and unseen load paths much worse. Members that
differ by less than their transition scale are nearly averaged by the soft minimum of all their modes (`Ensemble.joined`).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lse_material._arrays import Array, generator, whole_number
from lse_material.data.observations import Observations
from lse_material.data.samples import Samples
from lse_material.errors import InvalidInputError
from lse_material.fit.fitting import fit
from lse_material.fit.result import FitResult
from lse_material.model.material import Material


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Fits that differ by their random starts.

    Attributes:
        results: the members, the one with the smallest training error first.

    >>> ensemble = lse.fit.fit_ensemble(
    ...     samples, members=2, kinematics=lse.GreenLagrange(2), training=quick, progress=False
    ... )
    >>> bool(ensemble.spread(np.diag([1.05, 1.0])) < ensemble.spread(np.diag([2.0, 1.0])))  # the data end at 1.1
    True
    """

    results: tuple[FitResult, ...]

    @property
    def material(self) -> Material:
        """The material of the member that meets the data best."""
        return self.results[0].material

    def joined(self) -> Material:
        """The soft minimum of all members' modes, from which `fit` goes on: fit(samples, start=ensemble.joined(), ...).

            W = -rho log( mean_e exp(-W_e/rho) ) = mean_e W_e - var_e W_e / (2 rho) + ...

        for members e of one transition scale rho. Theirs differ, and W takes their geometric mean, so that W is fitted on to
        the data: some iterations of L-BFGS are enough, Training(adam_steps=0, lbfgs_steps=60). The errors by which members
        differ on designs and paths that were not fitted cancel in part. W has the modes of all members.

        Raises:
            InvalidInputError: members have scales, growth or caloric terms of their own.

        >>> training = lse.fit.Training(restarts=1, adam_steps=50, lbfgs_steps=20, validation=0.0)
        >>> options = {"kinematics": lse.GreenLagrange(2), "training": training, "progress": False}
        >>> ensemble = lse.fit.fit_ensemble(samples, members=2, **options)
        >>> result = lse.fit.fit(samples, start=ensemble.joined(), **options)
        >>> len(result.material.potential.modes)  # two of each member
        4
        """
        materials = [result.material for result in self.results]
        first, potentials = materials[0], [material.potential for material in materials]
        if any(_scales(material) != _scales(first) for material in materials):
            raise InvalidInputError(
                "members have scales of their own, of the rows that each was fitted to: fit them with Training(validation=0.0)."
            )
        if any((each.growth, each.caloric) != (first.growth, first.caloric) for each in materials):
            raise InvalidInputError(
                "members have growth or caloric terms of their own: give their coefficients, instead of fitting them."
            )
        rho = float(np.exp(np.mean([np.log(p.scaled_rho) for p in potentials])))
        level = first.potential.energy_shift + first.potential.energy_scale * rho * np.log(len(potentials))
        modes = tuple(mode for p in potentials for mode in p.modes)
        potential = replace(first.potential, modes=modes, scaled_rho=rho, energy_shift=level)
        return replace(first, potential=potential, provenance={})

    def averaged(self, samples: Samples, *, seed: int = 0) -> Samples:
        """Samples of the mean W and P of the members, to which a fit from `joined` comes close: one material for their mean.

        They are at the rows of `samples`, and once more at their F, with fields on lines between those of two rows each: there
        the members say more together than the rows, which a longer fit to the rows would follow into their errors.

        Args:
            samples: of F, as the members were fitted to.
            seed: of the fields.

        Raises:
            InvalidInputError: samples of x, or without a field that the members depend on.

        >>> training = lse.fit.Training(restarts=1, adam_steps=50, lbfgs_steps=20, validation=0.0)
        >>> options = {"kinematics": lse.GreenLagrange(2), "training": training, "progress": False}
        >>> ensemble = lse.fit.fit_ensemble(samples, members=2, **options)
        >>> result = lse.fit.fit(ensemble.averaged(samples), start=ensemble.joined(), **options)
        """
        if not isinstance(samples, Samples) or samples.F is None:
            raise InvalidInputError("the mean of an ensemble is taken at samples of F.")
        F, names = samples.F, self.material.fields
        fields = samples.with_fields(names).fields
        if fields is not None:
            rng, n = generator(seed), len(F)
            one, other = (fields[rng.integers(n, size=n)] for _ in range(2))
            share = rng.random((n, 1))
            F, fields = np.concatenate([F, F]), np.concatenate([fields, share * one + (1.0 - share) * other])
        members = [result.material for result in self.results]
        energy = np.mean([material.energy(F, fields) for material in members], axis=0)
        stress = np.mean([material.stress(F, fields) for material in members], axis=0)
        return Samples(F=F, energy=energy, stress=stress, fields=fields, field_names=names, units=samples.units)

    def spread(self, F: Any, fields: Any = None) -> Array:
        """How far P is open, in units of stress: F (..., dim, dim) -> (...), at `fields` (..., m) if W depends on any.

        The standard deviation of the members' P, in the norm sqrt(P : P). It leaves out what all members have in common: the
        errors of the data and of the architecture.
        """
        stresses = np.stack([result.material.stress(F, fields) for result in self.results])
        away: Array = stresses - stresses.mean(axis=0)
        return np.sqrt((away**2).sum(axis=(0, -2, -1)) / (len(stresses) - 1))


def _scales(material: Material) -> tuple[float, ...]:
    """Of inputs and energy."""
    p = material.potential
    return *p.input_shift, *p.input_scale, p.energy_scale, p.energy_shift


def fit_ensemble(samples: Samples | Observations, *, members: int = 5, seed: int = 0, **options: Any) -> Ensemble:
    """Fit `members` times, with the seeds seed, seed + 1, ...

    Args:
        samples: of F, as `fit` takes them.
        members: how many fits; 2 or more.
        seed: of the first.
        options: of `fit`; no checkpoint, since fits cannot share one.

    Raises:
        InvalidInputError: fewer than 2 members, samples of x, or options that `fit` refuses.

    >>> ensemble = lse.fit.fit_ensemble(
    ...     samples, members=2, kinematics=lse.GreenLagrange(2), training=quick, progress=False
    ... )
    >>> len(ensemble.results), ensemble.material is ensemble.results[0].material
    (2, True)
    """
    whole_number("members", members, 2)
    seed = whole_number("seed", seed)
    if options.get("checkpoint") is not None:
        raise InvalidInputError("several fits cannot share one checkpoint: leave `checkpoint` out.")
    if options.get("kinematics") is None:
        raise InvalidInputError("an ensemble is of materials: give samples of F and their strain measure.")
    results = [fit(samples, seed=seed + i, **options) for i in range(members)]
    return Ensemble(tuple(sorted(results, key=lambda result: result.train_errors.worst)))
