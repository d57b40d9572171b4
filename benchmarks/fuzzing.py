"""Damaged files: 2,000 material files and 2,000 tables, each refused with a clear error or read as a valid object.

A fault is any exception but FormatError and InvalidInputError, a message without the name of the file, a read that takes more
than 10 s, a material that is not finite at F = I, samples that hold what samples may not, or code that was run.

One line of JSON: {"material_files": {"tried", "refused", "valid"}, "tables": {...}, "faults", "slowest_seconds"}.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import finish
from mutations import Rng, choose, mutate_csv, mutate_material, mutate_npz

import lse_material as lse

LONGEST = 10.0  # seconds


def materials() -> list[lse.Material]:
    """Small ones of each kind, to be damaged."""
    rng = np.random.default_rng(0)
    result = []
    for kinematics, growth in ((lse.GreenLagrange(2), lse.Growth(0.3)), (lse.IsotropicInvariants(3), None)):
        d = kinematics.size
        modes = tuple(
            lse.ConvexNetwork.from_arrays(
                [rng.uniform(0.0, 0.5, (1, 2))], [rng.normal(size=(n, d)) for n in (2, 1)], [np.zeros(2), np.zeros(1)],
                quadratic=np.eye(d),
            )
            for _ in range(2)
        )  # fmt: skip
        box = lse.Box(np.full(d, -1.0), np.full(d, 1.0))
        potential = lse.SoftMinimum(modes, 0.3, energy_shift=0.1)
        result.append(lse.Material(potential, kinematics, growth, {"energy": "MPa"}, box, {"seed": 1}))
    plain = result[0]
    modes = tuple(lse.InterpolatedNetwork(*plain.potential.modes) for _ in range(2))
    potential = lse.SoftMinimum(modes, 0.3, [300.0, 0.0, 0.0, 0.0], [100.0, 1.0, 1.0, 1.0])
    box, caloric = lse.Box([300.0, -1.0, -1.0, -1.0], [400.0, 1.0, 1.0, 1.0]), lse.Caloric(0.1, 300.0)
    return [*result, lse.Material(potential, plain.kinematics, None, {}, box, {}, ("T",), None, caloric)]


def samples() -> lse.Samples:
    """Twenty rows of F, W, P with missing values."""
    F = np.eye(2) + 0.1 * np.random.default_rng(1).uniform(-1.0, 1.0, (20, 2, 2))
    material = materials()[0]
    mask = np.arange(20) > 2
    return lse.Samples(
        F=F, energy=material.energy(F), stress=material.stress(F), energy_mask=mask, units={"energy": "MPa"}
    )


def sound_material(material: lse.Material) -> bool:
    """It gives finite values at F = I, and its modes are convex there."""
    with np.errstate(all="ignore"):  # one absurd mode may overflow where its weight is zero
        fields = material.potential.input_shift[: len(material.fields)] if material.fields else None
        values = material.evaluate(np.eye(material.dim)[None], fields)
        finite = all(np.isfinite(v).all() for v in (values.energy, values.stress, values.tangent, values.mode_weights))
    networks = [end for mode in material.potential.modes for end in mode.ends]
    return finite and all((w >= 0.0).all() for network in networks for w in network.z_weights)


def sound_samples(read: lse.Samples) -> bool:
    """Every value that is not masked is finite, and every F has a positive determinant."""
    fields = ((read.F, None), (read.x, None), (read.energy, read.energy_mask), (read.stress, read.stress_mask))
    finite = all(np.isfinite(v if m is None else v[m]).all() for v, m in fields if v is not None)
    return len(read) > 0 and finite and (read.F is None or bool((np.linalg.det(read.F) > 0.0).all()))


class Trial:
    """Reads of damaged files, counted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.faults, self.slowest = folder, list[str](), 0.0
        self.proof = folder / "proof"

    def run(
        self, count: int, mutated: Callable[[int], tuple[str, bytes]], read: Callable, sound: Callable
    ) -> dict[str, int]:
        refused = valid = 0
        for seed in range(count):
            name, content = mutated(seed)
            path = self.folder / name
            path.write_bytes(content)
            start = time.perf_counter()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    made = read(path)
                    good = sound(made)
                valid += 1
                if not good:
                    self.faults.append(f"{name}, seed {seed}: read, but not sound")
            except (lse.FormatError, lse.InvalidInputError) as error:
                refused += 1
                if name not in str(error):
                    self.faults.append(f"{name}, seed {seed}: the message does not name the file: {error}")
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                self.faults.append(f"{name}, seed {seed}: {type(error).__name__}: {str(error)[:200]}")
            seconds = time.perf_counter() - start
            self.slowest = max(self.slowest, seconds)
            if seconds > LONGEST:
                self.faults.append(f"{name}, seed {seed}: took {seconds:.0f} s")
            if self.proof.exists():
                self.faults.append(f"{name}, seed {seed}: code was run")
                self.proof.rmdir()
        return {"tried": count, "refused": refused, "valid": valid}


def fuzz(count: int) -> dict[str, Any]:
    """What the docstring of this file says."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trial = Trial(folder)
        good = []
        for material in materials():
            lse.save(material, folder / "good.safetensors")
            good.append((folder / "good.safetensors").read_bytes())
        tables = {}
        for ending in (".csv", ".npz"):
            lse.write_samples(samples(), folder / f"good{ending}")
            tables[ending] = (folder / f"good{ending}").read_bytes()

        def material(seed: int) -> tuple[str, bytes]:
            rng: Rng = np.random.default_rng(seed)
            return "bad.safetensors", mutate_material(choose(rng, good), rng, trial.proof)

        def table(seed: int) -> tuple[str, bytes]:
            rng: Rng = np.random.default_rng(seed)
            if seed % 2:
                return "bad.csv", mutate_csv(tables[".csv"], rng)
            return "bad.npz", mutate_npz(tables[".npz"], rng, trial.proof)

        return {
            "material_files": trial.run(count, material, lse.load, sound_material),
            "tables": trial.run(count, table, lse.read_samples, sound_samples),
            "faults": trial.faults,
            "slowest_seconds": trial.slowest,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="300 of each")
    parser.add_argument("--count", type=int, default=2000, help="files of each kind")
    options = parser.parse_args()
    finish(fuzz(300 if options.quick else options.count))


if __name__ == "__main__":
    main()
