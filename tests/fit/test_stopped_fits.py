"""Fits that are ended early keep their best weights and say so; killed ones go on from their last stage."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import lse_material as lse
from lse_material.cli import run
from lse_material.cli.codes import TERMINATED
from lse_material.errors import InvalidInputError
from lse_material.fit import Architecture, FitWarning, Sparsity, Training, fit
from lse_material.fit.discovery import schedule
from lse_material.fit.optimise import multistart
from lse_material.fit.optimise.levenberg_marquardt import levenberg_marquardt
from lse_material.fit.session import ctrl_c_interrupts
from tests.fit.short_fits import SHORT, parameters
from tests.materials import samples_of, two_wells

AUTO = Architecture(modes="auto", max_modes=2, width=2)
SHALLOW = Sparsity(restarts=1, adam_steps=20, trials=1, prune=1.0, tolerance=0.05)
ENDLESS = Training(restarts=2, adam_steps=100_000, lbfgs_steps=100_000, patience=100_000)


@pytest.fixture
def sigint_of_the_system():
    """Ctrl-C ends the process, as after gmsh.initialize."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("sigint_of_the_system")
def test_ctrl_c_interrupts_a_search_also_where_a_library_has_left_it_to_end_the_process():
    with ctrl_c_interrupts():
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


@pytest.mark.parametrize("architecture", [Architecture(), AUTO], ids=["two modes", "auto"])
def test_the_time_limit_ends_a_fit_with_what_it_has_and_says_so(architecture):
    data, endless = samples_of(two_wells(2), 60, 0), Sparsity(adam_steps=400, tolerance=1e-9)
    fit(data, training=SHORT, progress=False)  # torch imports more of itself at its first steps
    began = time.monotonic()
    with pytest.warns(FitWarning, match="the time limit ended the search"):
        result = fit(
            data,
            architecture=architecture,
            training=Training(**{**vars(ENDLESS), "time_limit": 0.4}),
            sparsity=endless,
            progress=False,
        )
    assert time.monotonic() - began < 5.0
    assert result.interrupted
    assert "the time limit" in result.summary()
    assert result.train_errors.worst < 0.5


@pytest.mark.parametrize("architecture", [Architecture(), AUTO], ids=["two modes", "auto"])
def test_a_time_limit_that_leaves_no_time_leaves_one_step(architecture):
    data = samples_of(two_wells(1), 30, 0)
    with pytest.warns(FitWarning, match="the time limit"):
        result = fit(data, architecture=architecture, training=Training(time_limit=1e-6), progress=False)
    assert np.isfinite(result.potential.energy(data.x)).all()


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def killed_after(monkeypatch, module, name, calls):
    """Let a function of a module work so many times, and kill the fit at the next; the value counts its calls."""
    count, function = [0], getattr(module, name)

    def counted(*arguments, **options):
        count[0] += 1
        if count[0] > calls:
            raise Killed
        return function(*arguments, **options)

    monkeypatch.setattr(module, name, counted)
    return count


@pytest.mark.parametrize(
    ("options", "module", "name"),
    [
        ({"training": Training(restarts=3, adam_steps=30, lbfgs_steps=20)}, multistart, "adam"),
        pytest.param(
            {"architecture": AUTO, "sparsity": SHALLOW}, schedule, "levenberg_marquardt", marks=pytest.mark.slow
        ),
    ],
    ids=["three starts", "auto"],
)
@pytest.mark.parametrize("torn", [0, 100], ids=["whole", "a hundred bytes lack"])
def test_a_killed_fit_goes_on_from_its_last_stage_to_the_weights_of_one_that_was_not(
    options, module, name, torn, tmp_path, monkeypatch
):
    data, path = samples_of(two_wells(1), 40, 0), tmp_path / "fit.checkpoint"
    whole = fit(data, **options, progress=False)
    with monkeypatch.context() as patch:
        killed_after(patch, module, name, 2)
        with pytest.raises(Killed):
            fit(data, **options, checkpoint=path, progress=False)
    os.truncate(path, path.stat().st_size - torn)
    with monkeypatch.context() as patch:
        calls = killed_after(patch, module, name, 10_000)
        again = fit(data, **options, checkpoint=path, progress=False)
        with_checkpoint = calls[0]
    with monkeypatch.context() as patch:
        calls = killed_after(patch, module, name, 10_000)
        fit(data, **options, progress=False)
    spared = calls[0] - with_checkpoint  # a torn stage is made again
    assert spared == 2 if torn == 0 else 1 <= spared <= 2
    assert all(np.array_equal(a, b) for a, b in zip(parameters(whole), parameters(again), strict=True))
    assert whole.transition_scale == again.transition_scale
    assert whole.history == again.history
    assert not path.exists()


def test_a_checkpoint_of_another_fit_is_refused_and_left_as_it_is(tmp_path):
    data, path = samples_of(two_wells(1), 40, 0), tmp_path / "fit.checkpoint"
    with pytest.warns(FitWarning):
        fit(data, training=Training(**{**vars(ENDLESS), "time_limit": 0.5}), checkpoint=path, progress=False)
    content = path.read_bytes()
    with pytest.raises(InvalidInputError, match="not the checkpoint of this fit"):
        fit(data, training=SHORT, seed=1, checkpoint=path, progress=False)
    assert path.read_bytes() == content
    path.write_text("a table\n1.0\n")
    with pytest.raises(InvalidInputError, match="not the checkpoint of this fit"):
        fit(data, training=SHORT, checkpoint=path, progress=False)
    assert path.read_text() == "a table\n1.0\n"


@pytest.mark.slow
def test_more_time_goes_on_where_the_time_limit_ended_a_fit(tmp_path):
    data, path = samples_of(two_wells(2), 60, 0), tmp_path / "fit.checkpoint"
    options = {"architecture": AUTO, "checkpoint": path, "progress": False}
    whole = fit(data, architecture=AUTO, progress=False)
    for limit in (0.2 * whole.seconds, 0.4 * whole.seconds, 0.0):
        try:
            last = fit(data, training=Training(time_limit=limit), **options)
        except FitWarning:
            assert path.exists()
    assert all(np.array_equal(a, b) for a, b in zip(parameters(whole), parameters(last), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("modes", ["2", "auto"])
def test_sigterm_saves_the_best_so_far_with_an_exit_code_of_its_own(modes, tmp_path):
    lse.write_samples(samples_of(two_wells(2), 60, 0), tmp_path / "rows.npz")
    out = tmp_path / "fitted.safetensors"
    command = [sys.executable, "-m", "lse_material", "fit", str(tmp_path / "rows.npz"), "-o", str(out)]
    endless = ["--training-restarts", "1000", "--sparsity-tolerance", "1e-9", "--sparsity-restarts", "100"]
    stages = ["--checkpoint", str(tmp_path / "stages"), "--modes", modes, *endless, "--training-adam-steps", "100"]
    with subprocess.Popen([*command, *stages], stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (
            (tmp_path / "stages").exists() and os.path.getsize(tmp_path / "stages") > 4000
        ):
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        printed = process.communicate(timeout=60.0)[0]
    assert process.returncode == TERMINATED
    assert "SIGTERM ended the search" in printed
    assert lse.load_potential(out).size == 2
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_fit_on_the_command_line_leaves_the_handler_of_sigterm_as_it_was(tmp_path):
    lse.write_samples(samples_of(two_wells(1), 30, 0), tmp_path / "rows.npz")
    before = signal.getsignal(signal.SIGTERM)
    short = ["--training-adam-steps", "3", "--training-restarts", "1", "--training-lbfgs-steps", "2", "--modes", "1"]
    run(["fit", str(tmp_path / "rows.npz"), "-o", str(tmp_path / "p.safetensors"), *short])
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_finished_second_order_search_is_not_made_once_more(tmp_path, monkeypatch):
    calls = []

    def cut_off(*_, **__):
        raise KeyboardInterrupt

    def counted(*arguments, **options):
        calls.append(1)
        return levenberg_marquardt(*arguments, **options)

    samples = samples_of(two_wells(2), 60, 1)
    options = {"training": SHORT, "progress": False, "checkpoint": tmp_path / "c"}
    monkeypatch.setattr(multistart, "levenberg_marquardt", counted)
    with monkeypatch.context() as patch:
        patch.setattr(multistart, "lbfgs", cut_off)
        assert fit(samples, **options).stopped == "Ctrl-C"
    again = fit(samples, **options)
    assert len(calls) == 1
    once = fit(samples, training=SHORT, progress=False)
    assert again.history == once.history
    np.testing.assert_array_equal(again.potential.energy(samples.x), once.potential.energy(samples.x))


def test_a_discovery_that_had_no_time_does_not_say_that_there_is_nothing():
    samples = samples_of(two_wells(2), 60, 1)
    auto = Architecture(modes="auto", depth=1, quadratic=False)
    with pytest.warns(FitWarning, match="the time limit ended the search"):
        found = fit(samples, architecture=auto, training=Training(time_limit=1e-6), progress=False)
    assert found.stopped == "the time limit"
