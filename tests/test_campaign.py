"""The stress campaign: its judge sees what is wrong, and its short form finds nothing wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
from campaign import REMEDY
from campaign_materials import PAIRS, material
from campaign_problems import Body, Problem, draw, energy_problem
from dolfinx import fem, mesh
from independent import Assembly, negative_eigenvalues
from mpi4py import MPI

from tests.scripts import run_benchmark


def problem(**changes):
    """Steel in a grip, on a few triangles."""
    values = {
        "seed": 1, "solver": "energy", "pair": PAIRS[0], "cells": 2, "aspect": 1, "size": 1e-3, "modulus": 2e5, "load": "grips",
        "amount": 0.01, "steps": 2, "back": False, "direction": np.array([0.6, 0.8]), "noise": 0.0,
    }  # fmt: skip
    return Problem(**(values | changes))


@pytest.mark.parametrize("cell", ["triangle", "quadrilateral", "tetrahedron", "hexahedron"])
@pytest.mark.parametrize("order", [1, 2])
def test_a_homogeneous_state_is_exact_in_the_assembly_of_the_judge(cell, order):
    kind = mesh.CellType[cell]
    dim = 2 if cell in ("triangle", "quadrilateral") else 3
    sides = np.array([1.5, 0.5, 0.7])[:dim]
    make = mesh.create_rectangle if dim == 2 else mesh.create_box
    domain = make(MPI.COMM_SELF, [np.zeros(dim), sides], [2] * dim, kind)
    V = fem.functionspace(domain, ("Lagrange", order, (dim,)))
    found = material("three wells that grow" if dim == 2 else "three wells in 3D")
    assembly = Assembly(V, found, 2)
    H = 0.05 * np.random.default_rng(order).normal(size=(dim, dim))
    u = fem.Function(V)
    u.interpolate(lambda x: H @ x[:dim])
    state = assembly.state(u.x.array, tangent=True)
    F = np.eye(dim) + H
    volume = sides.prod()
    assert state.energy == pytest.approx(volume * found.energy(F), rel=1e-12)
    assert np.allclose(state.stress, volume * found.stress(F), rtol=1e-11, atol=1e-12 * assembly.stiffness)
    assert state.least == pytest.approx(np.linalg.det(F), rel=1e-12)
    assert state.corner == pytest.approx(np.linalg.det(F), rel=1e-12)
    # forces in the inside vanish
    inside = ((assembly.places > 1e-9) & (assembly.places < sides - 1e-9)).all(axis=1)
    forces = state.residual.reshape(-1, dim)
    assert np.abs(forces[inside]).max(initial=0.0) < 1e-12 * assembly.stiffness
    # the tangent is the derivative of the residual
    way = np.random.default_rng(5).normal(size=assembly.size) * 1e-6
    ahead, behind = (assembly.state(u.x.array + s * way).residual for s in (1.0, -1.0))
    assert np.allclose(
        0.5 * (ahead - behind), state.tangent @ way, rtol=0.0, atol=1e-6 * np.abs(state.tangent @ way).max()
    )


def test_what_the_judge_says_of_a_right_state_and_of_wrong_ones():
    body = Body(problem())
    solver = energy_problem(body)
    body.apply(1.0)
    start = body.start_energy()
    solver.solve()
    right = solver.energy()
    body.judge("right", energy=right, start=start, stable=True)
    assert body.result.faults == []
    assert 1.0 < body.result.least < 1.01  # it is pulled
    state = body.u.x.array.copy()

    body.judge("energy", energy=right * (1.0 + 1e-9))
    body.judge("start", energy=right, start=right * (1.0 - 1e-9))
    body.judge("stable", energy=right, stable=3)
    free = np.flatnonzero(~body.held)
    body.u.x.array[free[0]] += 1e-9 * body.problem.size
    body.judge("residual")
    body.u.x.array[:] = state
    body.u.x.array[free] += 0.6 * body.problem.size
    body.judge("inside out")
    told = [fault.split(":")[0] for fault in body.result.faults]
    assert told[:4] == ["energy", "start", "stable", "residual"]
    assert any("det F is -" in fault for fault in body.result.faults if fault.startswith("inside out"))


def test_a_seed_draws_one_problem_of_every_kind():
    for seed in range(200):
        drawn = draw(seed)
        assert drawn.text() == draw(seed).text()
        assert 0.0 <= drawn.amount <= 0.2
        assert 1 <= drawn.steps <= 10
    solvers = {draw(seed).solver for seed in range(200)}
    assert solvers == {"energy", "material", "stress", "path", "arc", "cell"}


def test_eigenvalues_too_near_to_zero_have_no_sign():
    assert negative_eigenvalues(np.diag([-1.0, 2.0, -3.0])) == 2
    assert negative_eigenvalues(np.diag([1.0, 2.0, 1e-12])) is None


def test_a_remedy_tells_the_user_to_do_something():
    assert REMEDY.search("the solve failed: take smaller load steps.")
    assert not REMEDY.search("the minimiser found no lower energy along a direction of descent after 3 iterations.")


@pytest.mark.slow
def test_nothing_is_wrong_in_the_short_campaign(tmp_path):
    figures = run_benchmark("campaign", "--out", str(tmp_path))
    assert figures["problems"] == 30
    assert figures["wrong"] == 0
    assert figures["solved"] >= 25
    assert figures["unique"] >= 3  # also solved in other units
    assert figures["on_two_ranks"] == 8
    records = [json.loads(line) for line in (tmp_path / "campaign.jsonl").read_text().splitlines()]
    assert all(record["two"] is not None for record in records[::4])
    assert Path(tmp_path / "two_ranks.jsonl").exists()
