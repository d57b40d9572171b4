"""What several tests of fits share: a short training, losses, trainable potentials with random weights."""

import contextlib
import os
import signal
import threading

import numpy as np
import torch

from lse_material.fit import Architecture, TrainablePotential, Training
from lse_material.fit.problem.loss import Loss
from lse_material.fit.problem.rows import rows_of, scales_of

SHORT = Training(restarts=1, adam_steps=20, lbfgs_steps=20)


def parameters(result):
    """All weights of a fit."""
    return [array for mode in result.potential.modes for array in (*mode.x_weights, *mode.biases, *mode.z_weights)]


def loss_of(samples):
    """The loss of energies and gradients, each with weight 1."""
    rows = rows_of(samples, None, None)
    return Loss.on(rows, scales_of(rows), 1.0, 1.0)


def random_trainable(seed, size=2, scale=1.0, rho=0.3, **architecture):
    """A trainable potential whose weights are all random."""
    torch.manual_seed(seed)
    potential = TrainablePotential.of(Architecture(**architecture), size, scaled_rho=rho)
    with torch.no_grad():
        for p in potential.parameters():
            if p.requires_grad and p.ndim > 0:
                p.copy_(scale * torch.randn_like(p))
    return potential


@contextlib.contextmanager
def ctrl_c_after(seconds):
    """Interrupt what runs inside after some time, as Ctrl-C does."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def arrays_in(path):
    """Number of whole arrays, one after another, in a file that may be in the making."""
    number = 0
    with contextlib.suppress(OSError, ValueError, EOFError), path.open("rb") as file:
        while True:
            np.lib.format.read_array(file, allow_pickle=False)
            number += 1
    return number


@contextlib.contextmanager
def ctrl_c_after_stages(path, count):
    """Interrupt what runs inside, as Ctrl-C does, when the checkpoint has so many stages."""
    over = threading.Event()

    def watch():
        while not over.wait(0.01):
            if arrays_in(path) > count:  # the first is the header
                os.kill(os.getpid(), signal.SIGINT)
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
