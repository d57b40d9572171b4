"""What does not depend on a design is found: closed forms in which only some modes and weights do."""

import numpy as np
import pytest
import torch

import lse_material as lse
from lse_material.fit import Architecture, Design, Sparsity, TrainablePotential, Training, fit
from lse_material.fit.discovery.independence import independent
from lse_material.fit.discovery.schedule import Schedule
from lse_material.fit.optimise.levenberg_marquardt import levenberg_marquardt
from lse_material.fit.problem.loss import Loss
from lse_material.fit.problem.rows import Scales, rows_of
from lse_material.kernel import CompiledPotential
from lse_material.model.design_network import independence
from tests.materials import relative_error, samples_of


def well(centre, stiffness, by_first):
    """|K (x - c)|^2 / 2 with K = `stiffness` (1 + `by_first` p), of the designs (p, q), on q of which nothing depends."""
    K = np.zeros((2, 2, 5))  # phi = (1, p, q, features); two features of no weight
    K[:, :, 0], K[:, :, 1] = stiffness * np.eye(2), stiffness * by_first * np.eye(2)
    slope, level = np.zeros((2, 5)), np.zeros(5)
    slope[:, 0] = -(stiffness**2) * np.asarray(centre)
    level[0] = 0.5 * stiffness**2 * np.sum(np.square(centre))
    nothing = {"x_weight": np.zeros((1, 2)), "bias": np.zeros((1, 5)), "z_root": np.zeros((1, 5))}
    return lse.DesignNetwork(np.eye(2), np.zeros(2), **nothing, slope=slope, level=level, quadratic=K)


def found(exact, seed):
    """The model that is left of one with weights everywhere, trained on values of `exact`."""
    rows = rows_of(samples_of(exact, 100, seed), None, None)
    loss = Loss.on(rows, Scales(np.zeros(4), np.ones(4), 1.0, 0.0), 1.0, 1.0)
    torch.manual_seed(seed)
    architecture = Architecture(len(exact.modes), 1, 0, mode_type="DesignNetwork", design=2)
    model = TrainablePotential.of(architecture, 4, scaled_rho=0.1)
    with torch.no_grad():
        model.read(exact.modes)
        model.masks = {}
        for p in model.parameters():
            p.add_(0.03 * torch.randn_like(p)) if p.ndim else None
    levenberg_marquardt(model, loss, 40)
    limit = max(1.5 * loss.worst_error(model), 1e-4)
    return independent(model, loss, lambda trial: loss.worst_error(trial) <= limit, Schedule(), 0.4 * limit**2), loss


def two_wells(by_first, of_other=0.0):
    """One well whose stiffness depends on the first design, and one that does so by `of_other`."""
    return lse.SoftMinimum((well([-1.0, 0.0], 1.5, of_other), well([1.0, 0.0], 1.0, by_first)), 0.1)


@pytest.fixture(scope="module")
def one_of_two():
    """What is found where one of two modes depends on one of two designs."""
    return found(two_wells(0.4), 0)


def test_the_mode_that_does_not_depend_on_a_design_and_the_design_of_no_effect_are_found(one_of_two):
    model, loss = one_of_two
    assert loss.worst_error(model) < 1e-4
    potential = model.to_potential()
    assert [mode.read_inputs for mode in potential.modes] == [(2, 3), (0, 2, 3)]
    assert independence(potential, ["p", "q"])[:2] == ["no mode depends on q", "mode 0 does not depend on p"]
    x = np.random.default_rng(1).normal(size=(50, 4))
    other = x.copy()
    other[:, 1] = 1e3 * np.random.default_rng(2).normal(size=50)
    np.testing.assert_array_equal(potential.energy(x), potential.energy(other))
    assert not potential.gradient(other)[:, 1].any()
    assert relative_error(CompiledPotential(potential).hessian(x), potential.hessian(x)) < 1e-10  # of unlike shapes


def test_a_fit_from_such_a_potential_keeps_what_it_does_not_depend_on(one_of_two):
    model, _ = one_of_two
    again = TrainablePotential.from_potential(model.to_potential())
    with torch.no_grad():
        for p in again.parameters():
            p.add_(torch.randn_like(p))
    read = [[mode.read_inputs for mode in m.to_potential().modes] for m in (model, again)]
    assert read[0] == read[1] != [(0, 1, 2, 3)] * 2


def test_nothing_is_left_out_where_all_modes_depend_on_the_design():
    potential = found(two_wells(0.4, 0.3), 0)[0].to_potential()
    assert [mode.read_inputs for mode in potential.modes] == [(0, 2, 3)] * 2


def test_a_fit_of_a_given_number_of_modes_says_what_they_do_not_depend_on():
    """E(p) e^2/2, E = 1 + p^2/2, with a second design of no effect."""
    rng = np.random.default_rng(0)
    p, q, e = rng.uniform(-1.0, 1.0, (3, 80))
    E = 1.0 + 0.5 * p**2
    known = np.tile([False, False, True], (80, 1))
    samples = lse.Samples(
        x=np.column_stack([p, q, e]),
        energy=0.5 * E * e**2,
        gradient=np.column_stack([p, q, E * e]),
        stress_known=known,
    )
    result = fit(
        samples,
        architecture=Architecture(modes=1, width=1),
        parameters={"x1": Design(), "x2": Design()},
        training=Training(restarts=1, adam_steps=100, lbfgs_steps=60),
        sparsity=Sparsity(),
        progress=False,
    )
    assert result.validation_errors.worst < 0.02
    assert result.potential.modes[0].read_inputs == (0, 2)
    assert "no mode depends on x2." in result.summary()
