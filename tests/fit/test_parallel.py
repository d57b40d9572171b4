"""Fits in several processes are those in one, bit by bit; processes that cannot be had are reported, or not asked for."""

import multiprocessing
import os
import subprocess
import sys
import time

import numpy as np
import pytest

import lse_material as lse
from lse_material.fit import Architecture, Sparsity, Training, fit
from lse_material.fit.optimise import parallel
from tests.fit.short_fits import SHORT, parameters
from tests.materials import samples_of, two_wells

ONCE = Sparsity(
    restarts=2, adam_steps=20, tolerance=1e-6, trials=1, prune=1.0, trial_rows=20
)  # hopeless: all starts are made
SMALL = Architecture(modes="auto", max_modes=2, width=1)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [Architecture(width=2), SMALL], ids=["two modes", "auto"])
def test_starts_in_two_processes_are_those_in_one(architecture):
    data = samples_of(two_wells(1), 30, 0)
    options = {"architecture": architecture, "sparsity": ONCE, "progress": False}
    one, two = (fit(data, training=Training(2, 20, lbfgs_steps=20, processes=n), **options) for n in (1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(parameters(one), parameters(two), strict=True))
    assert one.transition_scale == two.transition_scale
    assert one.path == two.path


def test_a_rank_of_several_starts_no_processes(monkeypatch):
    """Functions of a test cannot be sent to another process: that this works shows that none was asked for."""
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    assert list(parallel.one_after_another(lambda i: 2 * i, [1, 2, 3], 2)) == [2, 4, 6]


def test_in_one_process_no_more_is_done_than_is_asked_for():
    done = []
    results = parallel.one_after_another(done.append, [1, 2, 3], 1)
    next(results)
    assert done == [1]


def is_there(pid):
    """Whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_the_end_of_a_fit_ends_its_own_processes_only():
    """One that the user starts while a fit is under way goes on."""
    results = parallel.one_after_another(abs, [-1, -2, -3], 2)
    assert next(results) == 1
    before = set(multiprocessing.active_children())
    own = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(100.0,))
    own.start()
    results.close()
    end = time.monotonic() + 20.0  # the pool's own thread waits for them too: `join` and `is_alive` may miss their end
    while time.monotonic() < end and any(is_there(process.pid) for process in before):
        time.sleep(0.05)
    assert not any(is_there(process.pid) for process in before)
    assert own.is_alive()
    own.terminate()


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_so(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import numpy as np\nimport lse_material as lse\nfrom lse_material.fit import Training, fit\n"
        "x = np.linspace(-1.0, 1.0, 20)[:, None]\n"
        "fit(lse.Samples(x=x, energy=x[:, 0] ** 2), training=Training(adam_steps=1, lbfgs_steps=1, processes=2))\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", script], capture_output=True, text=True, timeout=200)
    assert done.returncode != 0
    assert "call fit below" in done.stderr


def test_no_processes_is_refused():
    with pytest.raises(lse.InvalidInputError, match="processes"):
        Training(processes=0)
    assert SHORT.processes == 1
