"""Shear strains that the data do not show: tests along the axes have none, but for rounding.

A network that reads them learns rounding. They are left out of the fit; the modes then get the shear stiffness of an isotropic
material that has their stiffness in the normal strains, averaged over the directions:

    psi_k(x) + mu |x_shear|^2 / 2,      mu = (tr H - 1.H 1 / dim) / (dim - 1),

H the Hessians of the modes in the dim normal strains (Mandel components), averaged over the rows by mode weight. mu >= 0, since
modes are convex.
"""

from dataclasses import replace

import numpy as np

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.problem.rows import Index, Rows, spread_of
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.symmetry import Symmetry

UNSEEN = 1e-4  # size of a shear, and of its stress, as a share of the tensor's, below which the data do not show it
DIM = {3: 2, 6: 3}  # of a symmetric tensor with so many components


def seen_inputs(rows: Rows) -> Index:
    """The inputs that the data show: all but shears that stay zero, without stress, where all normal strains vary."""
    d, size = rows.x.shape[1], rows.strains
    seen = np.ones(d, dtype=bool)
    if not rows.is_tensor or size not in DIM:
        return np.flatnonzero(seen).astype(np.int64)
    of_tensor = slice(d - size, d)
    largest = np.abs(rows.x[:, of_tensor]).max(axis=0)
    stress = np.sqrt((rows.gradients[:, of_tensor] ** 2).mean(axis=0)) if len(rows.stress) else np.zeros(size)
    shown = (largest > UNSEEN * largest.max()) | (stress > UNSEEN * stress.max())
    if (spread_of(rows.x, size)[of_tensor][: DIM[size]] > UNSEEN * largest.max()).all():
        seen[of_tensor][DIM[size] :] = shown[DIM[size] :]
    return np.flatnonzero(seen).astype(np.int64)


def expect_unread(model: TrainablePotential, seen: Index, unseen: Index, d: int) -> None:
    """Raise InvalidInputError where the modes of a model of the seen inputs cannot be made modes of all d."""
    one, zero = np.ones(len(seen)), np.zeros(len(seen))
    mode = model.to_potential(zero, one, 1.0, 0.0).modes[0]
    try:
        mode.reading(seen, d).plus(np.zeros(d), np.eye(d)[unseen])
    except InvalidInputError as error:
        raise InvalidInputError(
            f"the data show no shear in input {', '.join(map(str, unseen))} (counted from 0), so that the fit leaves it out, "
            f"but {error} Add rows with shear, or write the method."
        ) from None


def with_unseen_shears(potential: SoftMinimum, seen: Index, x: Array, tensor: int) -> SoftMinimum:
    """A potential of x[:, seen] as one of all inputs x (n, d) of the data, with isotropic stiffness in the others.

    The last `tensor` inputs are components of the strain.
    """
    d, dim = x.shape[1], DIM[tensor]
    unseen = np.setdiff1d(np.arange(d), seen)
    normal = np.arange(d - tensor, d - tensor + dim)  # the normal strains come first, and all are seen
    unit = potential.input_scale[normal]
    shift, scales = np.zeros(d), np.full(d, unit.max())
    shift[seen], scales[seen] = potential.input_shift, potential.input_scale
    xh = (x[:, seen] - potential.input_shift) / potential.input_scale
    weights = potential.mode_weights(x[:, seen])
    H = sum(np.einsum("n,nij->ij", w, mode.hessian(xh)) for w, mode in zip(weights.T, potential.modes)) / len(x)
    H = H[np.ix_(normal, normal)] * unit.max() ** 2 / np.outer(unit, unit)
    mu = max((np.trace(H) - H.sum() / dim) / (dim - 1), 0.0)
    stiff = np.sqrt(mu) * np.eye(d)[unseen]
    modes = tuple(mode.reading(seen, d).plus(np.zeros(d), stiff) for mode in potential.modes)
    return replace(potential, modes=modes, input_shift=shift, input_scale=scales)


def on_seen_inputs(symmetry: Symmetry, seen: Index) -> Symmetry | None:
    """How a symmetry acts on the seen inputs; None if it mixes them with others, or tells variants apart by others."""
    unseen = np.setdiff1d(np.arange(symmetry.size), seen)
    if np.abs(symmetry.group[:, seen][:, :, unseen]).max(initial=0.0) > 1e-9:
        return None
    group, invariance = (list(part[:, seen][:, :, seen]) for part in (symmetry.group, symmetry.invariance))
    restricted = Symmetry.generated(group, invariance, size=len(seen), name=symmetry.name)
    return restricted if len(restricted.variants) == len(symmetry.variants) else None
