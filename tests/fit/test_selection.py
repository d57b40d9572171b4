"""The shape of a material is chosen by load paths that its fits have not seen."""

import numpy as np
import pytest

import lse_material as lse
from lse_material.fit import Architecture, Design, Errors, LeftOut, Training, select, shapes
from lse_material.fit.selection import typical_error, unbeaten

SQUARE = lse.Symmetry.crystal("square", "square", dim=2)
QUICK = Training(restarts=1, adam_steps=30, lbfgs_steps=60, validation=0.0)
ANY = {"kinematics": lse.GreenLagrange(2), "architecture": Architecture(modes=1, width=4)}


def lattice(ends):
    """A square cell with two diagonals, of beams that are softer in compression: W = sum over beams of g(n.E n)."""
    beams = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]])
    beams /= np.linalg.norm(beams, axis=1)[:, None]
    t = np.linspace(0.0, 1.0, 12)[:, None, None]
    F = np.concatenate([np.eye(2) + t * (end - np.eye(2)) for end in np.asarray(ends)])
    E = 0.5 * (np.swapaxes(F, -1, -2) @ F - np.eye(2))
    s = np.einsum("bi,nij,bj->nb", beams, E, beams)
    root = np.sqrt(s**2 + 0.01)
    W = (0.5 * s**2 + 0.4 * s * root).sum(1)
    S = np.einsum("nb,bi,bj->nij", s + 0.4 * (root + s**2 / root), beams, beams)
    return lse.Samples(F=F, energy=W, stress=F @ S, group=np.repeat(np.arange(len(ends)), 12))


TENSION, COMPRESSION = np.array([[1.3, 0.1], [0.0, 0.95]]), np.diag([0.75, 1.0])
PATHS = [TENSION, TENSION[::-1, ::-1], COMPRESSION]


@pytest.fixture(scope="module")
def selection():
    candidates = {"no symmetry": ANY, "square": {**ANY, "symmetry": SQUARE}}
    return select(lattice(PATHS), candidates, members=2, training=QUICK, progress=False)


def test_the_symmetry_of_the_cell_is_what_left_out_paths_tell(selection):
    """Tension along x is tension along y, turned: a fit that knows it has seen the path that is left out."""
    assert selection.best == "square"
    judged = lattice([COMPRESSION[::-1, ::-1]])  # not in the data
    wrong = np.linalg.norm(selection.material.stress(judged.F) - judged.stress) / np.linalg.norm(judged.stress)
    assert wrong < 0.05 < selection.left_out["no symmetry"].stress


def test_the_best_is_fitted_to_all_paths(selection):
    data = lattice(PATHS)
    worst = max(errors.stress for errors in selection.left_out["square"].errors.values())
    assert len(selection.ensemble.results) == 2
    assert selection.material is selection.ensemble.material
    assert selection.ensemble.results[0].error(data).stress < worst


def test_the_summary_ranks_the_candidates(selection):
    first, second, taken = selection.summary().splitlines()[:3]
    assert first.startswith(f"square: typical error {typical_error(selection.left_out['square']):.1%}")
    assert second.startswith("no symmetry:")
    assert taken == "taken: square"


def missed(*errors):
    """Groups that were missed by these relative errors in the stress."""
    return LeftOut({str(g): Errors(None, e) for g, e in enumerate(errors)}, {}, {}, None, None)


@pytest.mark.parametrize(
    ("constrained", "freer", "found"),
    [
        ((0.1, 0.1, 0.1, 0.1), (0.07, 0.07, 0.07, 0.3), ("constrained", "freer")),  # better on most, much worse on one
        ((0.1, 0.1, 0.1, 0.1), (0.07, 0.07, 0.06, 0.08), ("freer",)),  # better by more than the scatter
        ((0.3, 0.3), (0.2, 0.01), ("freer",)),  # better by more than a factor of 2
        ((0.1, 0.1), (0.1, 0.9), ("constrained",)),
        ((0.1, 2.0), (0.1, 50.0), ("constrained", "freer")),  # neither is a guide to the second group
    ],
)
def test_a_freer_shape_is_taken_where_it_is_shown_to_be_better(constrained, freer, found):
    assert unbeaten({"constrained": missed(*constrained), "freer": missed(*freer)}) == found


def test_groups_count_alike_whatever_their_stresses():
    assert typical_error(missed(0.02, 0.08)) == pytest.approx(0.04)
    assert typical_error(missed(0.25, 7.0)) == pytest.approx(0.5)  # not more than all of the stress of a group


def test_fibres_are_candidates_of_strains_alone():
    data = lattice(PATHS[:2])
    assert [name for name in shapes(data) if "fibres" in name] == ["fibres, one mode", "fibres, two modes"]
    assert not [name for name in shapes(data, lse.IsotropicInvariants(2)) if "fibres" in name]
    charged = lse.Samples(F=data.F, energy=data.energy, fields=np.zeros((len(data), 1)), field_names=("c",))
    assert not [name for name in shapes(charged) if "fibres" in name]


def test_what_cannot_be_compared_is_refused():
    points = lse.Samples(x=np.zeros((4, 1)), energy=np.zeros(4))
    for compare in (select, shapes):
        with pytest.raises(lse.InvalidInputError, match="give samples of F"):
            compare(points)
    with pytest.raises(lse.InvalidInputError, match="no candidates"):
        select(lattice(PATHS[:2]), {}, progress=False)


def cells(designs, seed=0):
    """A bar of stiffness p^2 on either side of a barrier, at designs p that are the groups."""
    rng = np.random.default_rng(seed)
    p, F = np.repeat(designs, 12), np.eye(2) + 0.1 * rng.uniform(-1.0, 1.0, (12 * len(designs), 2, 2))
    E = 0.5 * (np.swapaxes(F, -1, -2) @ F - np.eye(2))
    W, S = 0.5 * p**2 * (E**2).sum(axis=(1, 2)), (p**2)[:, None, None] * E
    group = np.repeat(np.arange(len(designs)), 12)
    return lse.Samples(F=F, energy=W, stress=F @ S, fields=p[:, None], field_names=("thickness",), group=group)


@pytest.mark.slow
def test_cells_are_left_out_whole_where_there_are_parameters():
    """A stiffness that goes with a thickness squared is met at thicknesses between those of the data."""
    data, parameters = cells(np.linspace(0.5, 1.5, 9)), {"thickness": Design()}
    shape = {"kinematics": lse.GreenLagrange(2), "architecture": Architecture(modes=1, width=2)}
    training = Training(restarts=1, adam_steps=60, lbfgs_steps=150, validation=0.0)
    chosen = select(
        data,
        {"convex": shape, "design": {**shape, "parameters": parameters}},
        folds=3,
        members=2,
        training=training,
        progress=False,
    )
    assert chosen.best == "design"
    assert sorted(chosen.left_out["design"].errors) == ["0", "1", "2"]
    assert chosen.left_out["design"].stress < 0.05
    between = cells([0.8, 1.3], seed=1)
    assert chosen.ensemble.results[0].error(between).stress < 0.02
    assert chosen.ensemble.spread(between.F, between.fields).shape == (24,)
    assert list(shapes(data, parameters=parameters)) == ["one mode", "two modes", "three modes"]


def test_more_folds_than_groups_are_refused():
    with pytest.raises(lse.InvalidInputError, match="folds is 4; it must be from 2 to the number of groups, 3"):
        select(lattice(PATHS), {"any": ANY}, folds=4, progress=False)
