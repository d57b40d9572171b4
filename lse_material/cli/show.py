"""`lse-material show`: what is in a file, and what its landscape looks like."""

import time
from typing import Annotated, Any

import numpy as np
import typer

from lse_material._arrays import Array
from lse_material.analysis.landscape import field_to_vary, landscape_figures, landscape_rows, landscapes
from lse_material.cli.files import MaterialFile, read
from lse_material.cli.output import Json, figure, print_json, print_table, vector
from lse_material.model.design_network import independence
from lse_material.model.material import Material, potential_of
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.strain import MANDEL, from_mandel

POINTS = 2000


def show(
    file: MaterialFile,
    barriers: Annotated[bool, typer.Option(help="Look for wells and the barriers between them.")] = True,
    json: Json = False,
) -> None:
    """Show modes, transition scale, units, provenance, wells and barriers, training box, weights and cost per point.

    Wells and barriers are those of the potential, as a function of its inputs and without a growth term; of one that depends on
    a temperature or on a design at both ends of its range and in the middle.
    """
    fitted = read(file)
    figures = {"file": str(file), **_contents(fitted)}
    field = field_to_vary(fitted)
    if barriers and field is not None:
        figures["landscapes"] = [
            {"field": field, "value": value, **landscape_figures(one, land)}
            for value, (one, land) in landscapes(fitted).items()
        ]
    elif barriers:
        ((one, land),) = landscapes(fitted).values()
        figures |= landscape_figures(one, land)
    figures["microseconds_per_point"] = _cost(fitted)
    if json:
        print_json(figures)
    else:
        _print(figures)


def _contents(fitted: Material | SoftMinimum) -> dict[str, Any]:
    potential, box = potential_of(fitted), fitted.training_box
    modes = [{**mode.describe(), "weights": mode.active_parameters} for mode in potential.modes]
    figures: dict[str, Any] = {
        "modes": modes,
        "transition_scale": potential.transition_scale,
        "inputs": potential.size,
        "periods": potential.input_scale * potential.modes[0].periods,
        "activation": potential.modes[0].options().get("activation"),
        "weights": sum(m.active_parameters for m in potential.modes),
        "weights_stored": sum(m.parameters for m in potential.modes),
        "units": dict(fitted.units),
        "training_box": None if box is None else [box.lower.tolist(), box.upper.tolist()],
        "provenance": dict(fitted.provenance),
    }
    if isinstance(fitted, Material):
        figures |= {
            "kinematics": fitted.kinematics.to_dict(),
            "fields": list(fitted.fields),
            "kinds": fitted.kinds,
            "independence": independence(potential, fitted.fields),
            "ranges": {name: list(between) for name, between in fitted.ranges.items()},
            "caloric": None if fitted.caloric is None else fitted.caloric.to_dict(),
            "symmetry": None if fitted.symmetry is None else fitted.symmetry.name,
            "objective": fitted.kinematics.objective,
            "symmetry_of_measure": fitted.kinematics.symmetry or None,
            "polyconvex_modes": list(fitted.polyconvex_modes),
            "growth": None if fitted.growth is None else fitted.growth.coefficient,
            "reference": _reference(fitted),
        }
    return figures


def _reference(material: Material) -> dict[str, float]:
    """W and P at F = I, and the least curvature of W over strains there; fields are at the middle of theirs.

    It is the well of a material of invariants: these have no stationary point there, but end.
    """
    from lse_material.analysis import at_middle_of_fields

    material = at_middle_of_fields(material)
    one, strains = np.eye(material.dim), from_mandel(np.eye(len(MANDEL[material.dim])))
    curvature = np.einsum("aij,ijkl,bkl->ab", strains, material.tangent(one), strains)
    return {
        "energy": float(material.energy(one)),
        "largest_stress": float(np.abs(material.stress(one)).max()),
        "least_curvature": float(np.linalg.eigvalsh(0.5 * (curvature + curvature.T))[0]),
    }


def _cost(fitted: Material | SoftMinimum) -> dict[str, float | None]:
    """Of energy and both derivatives: by NumPy, and compiled if a C compiler is there."""
    from lse_material.analysis import at_middle_of_fields
    from lse_material.errors import CompilationError, InvalidInputError
    from lse_material.kernel import CompiledEvaluator, CompiledPotential

    fitted = at_middle_of_fields(fitted) if isinstance(fitted, Material) else fitted
    rng = np.random.default_rng(0)
    if isinstance(fitted, Material):
        at = np.eye(fitted.dim) + 0.02 * rng.uniform(-1.0, 1.0, (POINTS, fitted.dim, fitted.dim))
    else:
        at = fitted.input_shift + fitted.input_scale * rng.normal(size=(POINTS, fitted.size))

    second = "tangent" if isinstance(fitted, Material) else "hessian"
    cost: dict[str, float | None] = {"numpy": _time(fitted, at, second), "compiled": None}
    try:
        compiled = CompiledEvaluator(fitted) if isinstance(fitted, Material) else CompiledPotential(fitted)
        cost["compiled"] = _time(compiled, at, second)
    except (CompilationError, InvalidInputError):  # no compiler, or a mode type without translation into C
        pass
    return cost


def _time(evaluator: Any, at: Array, second: str) -> float:
    """Microseconds per point, of energy and second derivatives, by name: the best of three."""
    best = np.inf
    for _ in range(3):
        start = time.perf_counter()
        values = evaluator.evaluate(at)
        _ = getattr(values, second), values.energy
        best = min(best, time.perf_counter() - start)
    return float(best / POINTS * 1e6)


def _modes_in_words(f: dict[str, Any]) -> str:
    modes = f["modes"]
    if all("layers" in m for m in modes):
        return f"{len(modes)}, {f['activation']}, hidden layers {[m['layers'] for m in modes]}"
    return f"{len(modes)}, {', '.join(dict.fromkeys(m.get('type', 'ConvexNetwork') for m in modes))}"


def _print(f: dict[str, Any]) -> None:
    kinematics = f.get("kinematics")
    energy = f["units"].get("energy", "")
    what = "plain potential" if kinematics is None else ", ".join(str(v) for v in kinematics.values())
    cost = f["microseconds_per_point"]
    speed = f"{figure(cost['numpy'], 3)} by NumPy, {figure(cost['compiled'], 3)} compiled"
    rows: list[list[Any]] = [
        ["inputs", f"{f['inputs']} ({what})"],
        ["modes", _modes_in_words(f)],
        ["weights", f"{f['weights']} that are not zero of {f['weights_stored']}"],
        ["transition scale", f"{figure(f['transition_scale'])} {energy}"],
        ["cost", f"{speed} us per point (energy and both derivatives)"],
    ]
    if kinematics is not None:
        at_rest = [figure(value) for value in f["reference"].values()]
        rows += [
            ["fields", ", ".join(_field(f, name) for name in f["fields"]) or "none"],
            *(["", sentence] for sentence in f["independence"]),
            ["symmetry", f["symmetry"] or f["symmetry_of_measure"] or "not given"],
            ["objective", "yes" if f["objective"] else "no: for small rotations"],
            ["polyconvex", f"{len(f['polyconvex_modes'])} of {len(f['modes'])} modes, by their weights"],
            ["growth", "none" if f["growth"] is None else f"{figure(f['growth'])} (J - 1 - ln J)"],
            ["at F = I", f"W {at_rest[0]}, largest |P| {at_rest[1]}, least curvature over strains {at_rest[2]}"],
            *([["heat capacity", f"{figure(f['caloric']['heat_capacity'])} beside the modes"]] if f["caloric"] else []),
        ]
    box = f["training_box"]
    periods = [figure(p) if np.isfinite(p) else "none" for p in f["periods"]]
    rows += [["periods", ", ".join(periods)]] if set(periods) != {"none"} else []
    rows += [
        ["units", ", ".join(f"{k} {v}" for k, v in f["units"].items()) or "not given"],
        ["training box", "not known" if box is None else f"{vector(box[0])}  to  {vector(box[1])}"],
        *[[key, value] for key, value in f["provenance"].items()],
    ]
    print_table(f["file"], ["", ""], rows)
    for land in f.get("landscapes", [f] if "wells" in f else []):
        if "value" in land:
            print(f"\n{land['field']} = {figure(land['value'])}")
        _print_landscape(land)


def _field(f: dict[str, Any], name: str) -> str:
    """A field in words: its name, kind and range."""
    between = f["ranges"].get(name)
    return f"{name} ({f['kinds'][name]}{'' if between is None else f', {figure(between[0])} to {figure(between[1])}'})"


def _print_landscape(f: dict[str, Any]) -> None:
    wells, barriers = landscape_rows(f)
    print()
    print_table("", ["well", "W", "x", "mode", "least curvature", "in the training box"], wells)
    if barriers:
        print()
        print_table("", ["from", "to", "barrier", "back", ""], barriers)
    for remark in f["merged"]:
        print(f"\n{remark}.")
