"""A stress campaign: random boundary value problems, and what is accepted of them judged by an assembly that is not ours.

Each seed draws one problem: a body (2D or 3D, P1, P2, Q1 or Q2; a material of demos/materials or random wells of Green-Lagrange
strain, small strain or invariants, over eight decades of moduli, measure with a degree or without), its size (a metre, or
so much in another unit), loads from 0 to 20 % (grips, a rim, tractions, body forces) in 1 to 10 steps, perhaps back to none, a
start at rest or at random, and a solver: MaterialProblem, with the energy or with QuadratureStress, EnergyProblem, LoadPath,
ArcLength or PeriodicCell. Some of them run on two ranks too.

Of each state that a solver accepts, NumPy (`independent.Assembly`) must say: its residual is at most 1e-8 of the reactions, or
of the forces that a strain of 1e-4 makes if these are larger; det F > 0 at every quadrature point; the same energy and, of
solvers that go down, no more than at the start; as many negative eigenvalues as the package says. Where one mode alone is
loaded from rest the path is unique: the results in other units of length and of stress, and on two ranks, agree to 1e-8. All
else must be an error of the package that says what to do. An easy problem (one mode, from rest, at most 2 %) is not refused.

    ./fenicsx python3 benchmarks/campaign.py                 # some 20 minutes
    ./fenicsx python3 benchmarks/campaign.py --only 17       # a problem that was reported

The last line is one JSON object: {"problems", "solved", "refused", "wrong", ...}; "wrong" lists nothing if all is right.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from campaign_problems import Problem, draw
from mpi4py import MPI

import lse_material as lse

COMM = MPI.COMM_WORLD
SECONDS = 60  # of one problem, before it counts as hanging
AGREE = 1e-8  # of the largest energy on the path: of results that must be the same
TINY = 1e-12  # of the energy of a strain of one: less is that of a body at rest
REMEDY = re.compile(  # a verb that tells the user to do something
    r"\b(take|give|pass|hold|use|check|try|start from|start nearer|look at|raise|add|choose|refine|set|fix|prescribe|perturb|"
    r"minimise the)\b",
    re.I,
)


class HangError(Exception):
    """A problem took longer than it may."""


def alarm(*_: Any) -> None:
    raise HangError(f"not done after {SECONDS} s")


def judged(problem: Problem) -> dict[str, Any]:
    """Run a problem and its twins in other units; the verdict: solved, refused or wrong, and why."""
    record: dict[str, Any] = {"seed": problem.seed, "problem": problem.text()}
    signal.alarm(SECONDS)
    faulthandler.dump_traceback_later(3 * SECONDS, exit=True)  # where not even a signal gets through
    try:
        result = problem.run()
        record |= {"faults": result.faults, "energy": result.energy, "least": result.least, "corner": result.corner}
        record |= {"peak": result.peak, "unique": result.unique, "states": result.states, "negative": result.negative}
        if result.unique and not result.faults:
            for name, twin in problem.twins():
                other = twin.run()
                record["faults"] += [f"{name}: {fault}" for fault in other.faults]
                apart = abs(other.energy - result.energy) / max(result.peak, other.peak, TINY)
                if other.states != result.states or apart > AGREE:
                    record["faults"].append(f"{name}: energies {apart:.1e} apart, {other.states} states")
        record["verdict"] = "wrong" if record["faults"] else "solved"
    except lse.LseError as error:
        text = str(error)
        record |= {"verdict": "refused", "error": f"{type(error).__name__}: {text}", "faults": []}
        if not REMEDY.search(text):
            record |= {"verdict": "wrong", "faults": [f"an error without a remedy: {text}"]}
        elif problem.easy():
            record |= {"verdict": "wrong", "faults": [f"refused, and it is easy: {text}"]}
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        record |= {"verdict": "wrong", "faults": [f"{type(error).__name__} at {place}: {str(error)[:300]}"]}
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
    return record


def run_all(seeds: list[int], note: Callable[[dict[str, Any]], None], *, quick: bool) -> None:
    """Judge them one after another."""
    for seed in seeds:
        if COMM.rank == 0:
            print(f"{seed}: ", end="", file=sys.stderr, flush=True)
        start = time.perf_counter()
        record = judged(draw(seed, quick=quick))
        record["seconds"] = round(time.perf_counter() - start, 2)
        faults = sorted({fault for part in COMM.allgather(record["faults"]) for fault in part})
        if faults:
            record |= {"faults": faults, "verdict": "wrong"}
        if COMM.rank == 0:
            print(f"{record['verdict']} ({record['seconds']} s) {record['problem']}", file=sys.stderr, flush=True)
            for fault in faults[:4]:
                print(f"    {fault}", file=sys.stderr, flush=True)
        note(record)


def on_two_ranks(seeds: list[int], out: Path, seconds: float, *, quick: bool) -> dict[int, dict[str, Any]]:
    """The records of the same problems on two ranks."""
    file = out / "two_ranks.jsonl"
    file.unlink(missing_ok=True)
    outside = ("PMIX_", "PRTE_MCA_ess", "PMI_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(outside)}
    command = ["mpirun", "-n", "2", sys.executable, "-W", "ignore", __file__, "--records", str(file)]
    command += [*(["--quick"] if quick else []), "--only", *map(str, seeds)]
    try:
        subprocess.run(command, env=environment, timeout=seconds, check=False, stdout=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        print("the run on two ranks was stopped.", file=sys.stderr)
    records = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return {record["seed"]: record for record in records}


def compared(one: dict[str, Any], two: dict[str, Any] | None) -> list[str]:
    """What is wrong on two ranks, or other than on one."""
    if two is None:
        return ["on two ranks it did not come to an end"]
    faults = [f"on two ranks: {fault}" for fault in two["faults"]]
    if one["verdict"] == "solved" and one.get("unique"):
        if two["verdict"] == "refused":
            faults.append(f"refused on two ranks alone: {two['error']}")
        elif two["verdict"] == "solved":
            apart = abs(one["energy"] - two["energy"]) / max(one["peak"], two["peak"], TINY)
            if apart > AGREE:
                faults.append(f"on two ranks the energy is {apart:.1e} away")
    return faults


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The last line."""
    verdicts = Counter(record["verdict"] for record in records)
    solved = [record for record in records if record["verdict"] == "solved"]
    kinds = Counter(record["problem"].split(",")[0] for record in records)
    wrong = [record for record in records if record["verdict"] == "wrong"]
    return {
        "problems": len(records),
        "solved": verdicts["solved"],
        "refused": verdicts["refused"],
        "wrong": verdicts["wrong"],
        "wrong_seeds": [record["seed"] for record in wrong],
        "states": sum(record.get("states", 0) for record in solved),
        "unique": sum(bool(record.get("unique")) for record in solved),
        "on_two_ranks": sum("two" in record for record in records),
        "inside_out_at_a_corner": [record["seed"] for record in solved if record["corner"] <= 0.0],
        "by_solver": dict(sorted(kinds.items())),
        "refused_by_solver": dict(
            sorted(Counter(r["problem"].split(",")[0] for r in records if r["verdict"] == "refused").items())
        ),
        "slowest_s": max((record["seconds"] for record in records), default=0.0),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="some 30 problems on small meshes")
    parser.add_argument("--problems", type=int, help="how many (300, quick: 30)")
    parser.add_argument("--seed", type=int, default=0, help="of the first problem; the others follow")
    parser.add_argument("--only", type=int, nargs="+", metavar="SEED", help="these problems")
    parser.add_argument("--two", type=int, default=4, help="every so-manieth problem runs on two ranks too; 0: none")
    parser.add_argument("--records", type=Path, help="append one JSON line per problem to this file")
    parser.add_argument("--out", type=Path, default=Path("results/campaign"), help="folder for the files")
    options = parser.parse_args()
    logging.getLogger("lse_material").setLevel(logging.ERROR)
    signal.signal(signal.SIGALRM, alarm)
    count = options.problems or (30 if options.quick else 300)
    seeds = options.only or list(range(options.seed, options.seed + count))
    file = options.records or options.out / "campaign.jsonl"
    if COMM.rank == 0:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    records: list[dict[str, Any]] = []

    def note(record: dict[str, Any]) -> None:
        records.append(record)
        if COMM.rank == 0:
            with file.open("a") as stream:
                stream.write(json.dumps(record) + "\n")

    run_all(seeds, note, quick=options.quick)
    if COMM.size == 1 and options.two and options.records is None:
        shared = [seed for i, seed in enumerate(seeds) if i % options.two == 0]
        found = on_two_ranks(shared, options.out, 2.0 * SECONDS + 20.0 * len(shared), quick=options.quick)
        for record in records:
            if record["seed"] in shared:
                record["two"] = found.get(record["seed"])
                faults = compared(record, record["two"])
                if faults:
                    record |= {"verdict": "wrong", "faults": record["faults"] + faults}
                    print(f"{record['seed']}: {record['problem']}: {faults[:3]}", file=sys.stderr)
        file.write_text("".join(json.dumps(record) + "\n" for record in records))
    figures = summary(records)
    if COMM.rank == 0:
        for seed in figures["wrong_seeds"]:
            print(f"wrong: {'--quick ' if options.quick else ''}--only {seed}")
        print(json.dumps(figures))
    return 1 if figures["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
