"""Densities fitted to targets of which everything is known."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lse_material import Box, ConvergenceError, ConvexNetwork, InvalidInputError, SoftMinimum
from lse_material.analysis import Density, importance
from lse_material.fit import Architecture, Inference, Training, infer, inference, session
from lse_material.fit.annealing import Counted, annealed, separate_places
from lse_material.fit.inference import evidence_error
from lse_material.fit.session import Session

WEIGHTS = torch.tensor([0.3, 0.7], dtype=torch.float64)
PLACES = torch.tensor([[-2.0, 0.0], [2.0, 1.0]], dtype=torch.float64)


def two_gaussians(x):
    square = ((x[:, None] - PLACES) ** 2).sum(2)
    return torch.logsumexp(torch.log(WEIGHTS) - 0.5 * square / 0.36 - np.log(2.0 * np.pi * 0.36), 1)


def quadrature(log_q):
    """KL(p || q) and the mass of q on the right side."""
    axis = np.linspace(-6.0, 6.0, 241)
    x = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    p = two_gaussians(torch.tensor(x)).numpy()
    cell = (axis[1] - axis[0]) ** 2
    q = log_q(x)
    return float((np.exp(p) * (p - q)).sum() * cell), float(np.exp(q[x[:, 0] > 0.0]).sum() * cell)


def test_two_gaussians_of_unequal_weight_are_found():
    result = infer(
        lambda x: two_gaussians(x) + 5.0,
        [-6.0, -6.0],
        [6.0, 6.0],
        architecture=Architecture(modes=3, width=2, stiffness=1e-3),
        training=Training(restarts=1, adam_steps=150, lbfgs_steps=120, batch=300),
        inference=Inference(particles=400, rounds=1, moves=5),
        seed=0,
    )
    kl, right = quadrature(result.density.log_density)
    assert -0.01 < kl < 0.02  # ln Z is known to some thousandths
    assert right == pytest.approx(0.7, abs=0.03)
    assert result.ess > 0.9
    assert result.log_evidence == pytest.approx(5.0, abs=0.05)


def test_annealed_particles_have_the_weights_of_the_target():
    rng = np.random.default_rng(1)
    box = Box.of([-6.0, -6.0], [6.0, 6.0], 2)
    x = annealed(Counted(two_gaussians, 2), box, Inference(particles=4000, moves=5), rng, Session())[:4000]
    assert (x[:, 0] > 0.0).mean() == pytest.approx(0.7, abs=0.06)
    assert x[x[:, 0] > 0.0].var(axis=0) == pytest.approx([0.36, 0.36], rel=0.15)


def test_a_target_may_end_somewhere():
    def half(x):  # a Gaussian on the right side only
        return torch.where(x[:, 0] > 0.0, -0.5 * (x**2).sum(1), -torch.inf)

    box = Box.of([-4.0, -4.0], [4.0, 4.0], 2)
    x = annealed(Counted(half, 2), box, Inference(particles=1000, moves=5), np.random.default_rng(3), Session())[:1000]
    assert (x[:, 0] > 0.0).all()
    assert x[:, 0].mean() == pytest.approx(np.sqrt(2.0 / np.pi), abs=0.08)


def test_the_gradient_of_a_target_is_exact():
    x = np.random.default_rng(2).normal(size=(4, 2))
    energy, gradient = Counted(lambda t: -0.5 * (t**2).sum(1), 2)(x)
    np.testing.assert_allclose(energy, 0.5 * (x**2).sum(axis=1))
    np.testing.assert_allclose(gradient, x)


def test_a_target_may_change_its_argument_in_place():
    x = np.random.default_rng(5).normal(size=(4, 2))
    energy, gradient = Counted(lambda t: -(t.mul_(3.0) ** 2).sum(1), 2)(x)
    np.testing.assert_allclose(energy, 9.0 * (x**2).sum(axis=1))
    np.testing.assert_allclose(gradient, 18.0 * x)


def test_targets_and_settings_that_cannot_be_are_refused():
    for corner in ([], [1.7e308]):
        with pytest.raises(InvalidInputError, match="no inputs, or one that is wider than any number"):
            infer(two_gaussians, [-c for c in corner], corner)
    with pytest.raises(InvalidInputError, match="need the names of parameters"):
        infer(two_gaussians, [-1.0] * 2, [1.0] * 2, architecture=Architecture(mode_type="DesignNetwork"))
    with pytest.raises(InvalidInputError, match="must return"):
        Counted(lambda x: x, 2)(np.zeros((3, 2)))
    with pytest.raises(InvalidInputError, match="NaN at"):
        Counted(lambda x: x.sum(1) * torch.nan, 2)(np.zeros((3, 2)))
    with pytest.raises(InvalidInputError, match=r"\+inf at"):
        Counted(lambda x: 1.0 / torch.clamp(x.sum(1), min=0.0), 2)(np.zeros((3, 2)))
    with pytest.raises(InvalidInputError, match="a real Tensor"):
        Counted(lambda x: x.sum(1).to(torch.complex128), 2)(np.zeros((3, 2)))
    with pytest.raises(InvalidInputError, match="the same wherever it has mass"):
        infer(
            lambda x: torch.where(x.abs()[:, 0] < 1.0, 0.0 * x[:, 0], -torch.inf),
            [-2.0],
            [2.0],
            inference=Inference(200),
        )
    with pytest.raises(InvalidInputError, match="has no gradient"):
        Counted(lambda x: x.detach().sum(1), 2)(np.zeros((3, 2)))
    box = Box.of([-1.0] * 2, [1.0] * 2, 2)
    with pytest.raises(InvalidInputError, match=r"gradient of the target differs .* detached"):
        infer(lambda x: -(x**2).sum(1) * (x.detach() ** 2).sum(1), [-1.0] * 2, [1.0] * 2)
    with pytest.raises(InvalidInputError, match="a constant has no finite integral"):
        infer(lambda x: 0.0 * x.sum(1), [-1.0] * 2, [1.0] * 2)
    for growing in (lambda x: (x**2).sum(1), lambda x: x.sum(1)):
        with pytest.raises(ConvergenceError, match="no finite integral"):
            infer(growing, [-1.0] * 2, [1.0] * 2, inference=Inference(200))
    with pytest.raises(InvalidInputError, match="-inf at all 100 points of the box"):
        annealed(
            Counted(lambda x: x.sum(1) * 0.0 - torch.inf, 2), box, Inference(100), np.random.default_rng(0), Session()
        )
    for name, value in (("even", 1.0), ("depth", 0.0), ("least", -0.1)):
        with pytest.raises(InvalidInputError, match=f"Inference.{name} is"):
            Inference(**{name: value})
    with pytest.raises(InvalidInputError, match="particles"):
        Inference(particles=5)
    with pytest.raises(InvalidInputError, match="auto"):
        infer(two_gaussians, [-6.0] * 2, [6.0] * 2, architecture=Architecture(modes="auto"))
    with pytest.raises(InvalidInputError, match=r"architecture is 3; it must be a lse.fit.Architecture"):
        infer(two_gaussians, [-6.0] * 2, [6.0] * 2, architecture=3)
    with pytest.raises(InvalidInputError, match="below upper"):
        infer(two_gaussians, [6.0] * 2, [-6.0] * 2)


def known_mixture(components, d, seed):
    """ln p of a random Gaussian mixture times a random constant, and the log of that constant."""
    rng = np.random.default_rng([components, d, seed])
    places = torch.tensor(rng.uniform(-3.0, 3.0, (components, d)))
    spread = [rng.normal(size=(d, d)) for _ in range(components)]
    inverse = [torch.tensor(np.linalg.inv(0.4 * (s @ s.T / d + 0.3 * np.eye(d)))) for s in spread]
    shares = torch.tensor(np.log(rng.dirichlet(np.full(components, 3.0))))
    level = [0.5 * float(torch.linalg.slogdet(Q)[1]) - 0.5 * d * np.log(2.0 * np.pi) for Q in inverse]
    evidence = rng.uniform(-4.0, 4.0)

    def log_p(x):
        square = [torch.einsum("ni,ij,nj->n", x - m, Q, x - m) for m, Q in zip(places, inverse)]
        parts = [s + c - 0.5 * q for s, c, q in zip(shares, level, square)]
        return torch.logsumexp(torch.stack(parts), 0) + evidence

    return log_p, evidence


def quick(target, d, seed, modes, accept=0.9):
    return infer(
        target,
        [-6.0] * d,
        [6.0] * d,
        architecture=Architecture(modes=modes, width=2, stiffness=1e-3),
        training=Training(restarts=1, adam_steps=150, lbfgs_steps=120, batch=300),
        inference=Inference(particles=400, rounds=1, moves=5, attempts=1, accept=accept),
        seed=seed,
    )


@pytest.mark.slow
def test_the_stated_error_of_the_evidence_is_that_of_gaussians_and_mixtures_in_one_to_four_dimensions():
    scaled = []
    for components in (1, 2, 3):
        for d in (1, 2, 3, 4):
            target, evidence = known_mixture(components, d, components + d)
            result = quick(target, d, components + d, modes=3)
            scaled.append(abs(result.log_evidence - evidence) / result.evidence_error)
    scaled = np.array(scaled)  # 12 of them
    assert (scaled < 2.0).mean() >= 0.9  # 95 % of a normal distribution
    assert (scaled < 3.0).all()
    assert (
        np.median(scaled) > 0.2
    )  # and it is not so wide that nothing could lie outside: 0.67 of a normal distribution


def test_the_error_of_the_evidence_has_that_of_the_fitted_density_in_it():
    result = quick(*known_mixture(1, 2, 5)[:1], 2, 5, modes=1)
    assert result.ess > 0.999  # q is the target: the weights alone say nothing
    assert result.evidence_error >= result.density.error > 1e-3


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
def test_a_mode_that_the_density_lacks_shows_in_the_error_of_the_evidence(share):
    # samples of q know the other mode only, with perfectly even weights; the annealed particles know both
    away = np.array([4.5, 0.0])
    weights = np.log([1.0 - share, share])

    def log_p(x):
        parts = [w - 0.5 * ((x - m) ** 2).sum(axis=1) - np.log(2.0 * np.pi) for w, m in zip(weights, (-away, away))]
        return np.logaddexp(*parts) + 1.5

    q = Density.of(
        SoftMinimum((ConvexNetwork.from_arrays([], [[away]], [[0.5 * away @ away]], quadratic=np.eye(2)),), 1.0)
    )
    rng = np.random.default_rng(11)
    particles = rng.normal(size=(2000, 2)) + np.where(rng.random((2000, 1)) < share, away, -away)
    samples = q.sample(2000, seed=2)
    forward = importance(log_p(samples), q.log_density(samples))
    backward = importance(q.log_density(particles), log_p(particles))
    assert forward[2] > 0.999
    assert backward[2] == pytest.approx(1.0 - share, abs=0.05)  # the share of the mass that q has
    missing = 1.5 - forward[0]
    assert missing == pytest.approx(-np.log(1.0 - share), abs=4.0 * q.error)
    error = evidence_error(forward, backward, q.error)
    assert 0.5 * error < missing < 2.0 * error


def test_a_coverage_below_one_comes_with_the_result():
    result = quick(two_gaussians, 2, 0, modes=1, accept=0.0)  # one log-concave mode for two
    assert result.coverage < 0.9
    assert abs(result.log_evidence) < 3.0 * result.evidence_error


def test_a_density_that_misses_its_target_is_refused_with_the_number_of_separate_places():
    peaks = grid_of_peaks(3, 0.05)
    with pytest.raises(ConvergenceError, match="9 separate places, more than the 4 modes"):
        quick(peaks, 2, 0, modes=4)


def grid_of_peaks(side, width):
    """ln of side^2 unnormalised Gaussians of equal weight, 2 apart."""
    axis = 2.0 * torch.arange(side, dtype=torch.float64) - (side - 1)
    places = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    return lambda x: torch.logsumexp(-0.5 * ((x[:, None] - places) ** 2).sum(2) / width**2, 1)


@pytest.mark.parametrize(("side", "width"), [(2, 0.05), (2, 0.005), (5, 0.02)])
def test_narrow_peaks_far_apart_are_all_found(side, width):
    target = grid_of_peaks(side, width)
    result = infer(
        target,
        [-1.0 - side] * 2,
        [1.0 + side] * 2,
        architecture=Architecture(modes=side**2, width=2, stiffness=1e-3),
        training=Training(restarts=1, adam_steps=100, lbfgs_steps=100, batch=500),
        inference=Inference(particles=1000, rounds=1, attempts=2),
    )
    # a proposal that knows the peaks, not the density that was found
    rng = np.random.default_rng(5)
    axis = 2.0 * np.arange(side) - (side - 1)
    places = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    x = places[rng.integers(len(places), size=4000)] + width * rng.normal(size=(4000, 2))
    log_p = target(torch.tensor(x)).numpy() - np.log(side**2 * 2.0 * np.pi * width**2)
    assert importance(result.density.log_density(x), log_p)[2] > 0.9
    evidence = np.log(side**2 * 2.0 * np.pi * width**2)
    assert abs(result.log_evidence - evidence) < 4.0 * result.evidence_error
    assert result.evidence_error < 0.05


@pytest.mark.parametrize("places", [1, 4])
def test_the_number_of_separate_places_of_points(places):
    rng = np.random.default_rng(places)
    centres = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 50.0], [3.0, 50.0]])[:places]
    x = centres[rng.integers(places, size=800)] + 0.02 * rng.normal(size=(800, 2))
    assert separate_places(x) == places


ONE = {
    "architecture": Architecture(modes=1, depth=0, stiffness=1e-3),
    "training": Training(restarts=1, adam_steps=50, lbfgs_steps=50, batch=200),
}
QUICK = Inference(particles=200, rounds=1, moves=3, attempts=1)


def one_gaussian(x):
    return -0.5 * ((x - 1.0) ** 2).sum(1)


def test_a_time_limit_ends_with_the_best_density_so_far(monkeypatch):
    ticks = itertools.count()  # a clock that a second passes on whenever it is looked at
    for module in (session, inference):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    endless = Training(restarts=1, adam_steps=10**6, lbfgs_steps=10**6, patience=10**6, batch=200)
    options = {"architecture": Architecture(modes=2, width=2, stiffness=1e-3), "training": endless}
    found = infer(one_gaussian, [-5.0], [7.0], **options, inference=replace(QUICK, time_limit=150.0))
    assert found.stopped == "the time limit"
    assert found.log_evidence == pytest.approx(0.5 * np.log(2.0 * np.pi), abs=0.1)
    with pytest.raises(ConvergenceError, match="have passed before there was a fit"):
        infer(one_gaussian, [-5.0], [7.0], **ONE, inference=replace(QUICK, time_limit=2.0))


def test_ctrl_c_ends_with_the_best_density_so_far():
    first = infer(one_gaussian, [-5.0], [7.0], **ONE, inference=QUICK)
    seen = 0

    def interrupted(x):
        nonlocal seen
        seen += len(x)
        if seen > first.evaluations:
            raise KeyboardInterrupt
        return one_gaussian(x)

    again = replace(QUICK, attempts=5, least=2.0)
    found = infer(interrupted, [-5.0], [7.0], **ONE, inference=again)
    assert (found.stopped, found.log_evidence) == ("Ctrl-C", first.log_evidence)
    seen = first.evaluations
    with pytest.raises(KeyboardInterrupt):
        infer(interrupted, [-5.0], [7.0], **ONE, inference=again)


def test_a_target_that_ends_abruptly_is_refused_by_what_is_wrong():
    def exponential(x):  # on a square, highest in a corner of it
        return torch.where((x.abs() < 1.0).all(1), -2.0 * x[:, 0], torch.tensor(-torch.inf, dtype=torch.float64))

    with pytest.raises(ConvergenceError, match=r"can be normalised.*ends abruptly"):
        infer(
            exponential,
            [-2.0, -2.0],
            [2.0, 2.0],
            architecture=Architecture(modes=2, width=2, stiffness=1e-3),
            training=ONE["training"],
            inference=QUICK,
        )
