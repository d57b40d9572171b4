"""`lse-material fit`: data in, a material file out. Its options are the fields of Architecture, Training and Sparsity."""

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from lse_material._files import expect_place
from lse_material.cli import tables
from lse_material.cli.codes import OK, SIGTERM, TERMINATED, USELESS, need, search_then_save
from lse_material.cli.files import read_symmetry
from lse_material.cli.options import number, option, with_options
from lse_material.cli.output import Json, print_json
from lse_material.cli.tables import ColumnsOption, DecimalOption, GroupOption, PlaneStrainOption, SheetOption
from lse_material.data.samples import Samples
from lse_material.errors import InvalidInputError
from lse_material.material_file import save
from lse_material.model.strain import BUILT_IN

PREFIXES = {"Architecture": "", "Training": "training_", "Sparsity": "sparsity_"}
KINEMATICS = {  # green-lagrange, ...: those that need no more than the dimension
    re.sub("(?<!^)(?=[A-Z])", "-", name).lower(): kind
    for name, kind in BUILT_IN.items()
    if all(field.default is not MISSING for field in fields(kind)[1:])
}
KinematicsOption = Annotated[
    str | None, option(metavar="|".join(KINEMATICS), help="Strain measure, for rows of F: green-lagrange if left out.")
]
TemperatureOption = Annotated[str | None, option(metavar="COLUMN", help="The column with the temperature of each row.")]
HeatCapacityOption = Annotated[
    str | None, option(metavar="c|auto", help="That the energies hold, at fixed strain; auto fits it.")
]
DesignOption = Annotated[
    list[str] | None,
    option(
        metavar="COLUMN",
        help="A column with a design of each row, more than once: a porosity, on which the weights of all modes depend.",
    ),
]


def fit_command() -> Callable[..., Any]:
    """`fit` with an option for every field of the dataclasses of the fit. Raises as `need`."""
    floor = need("lse_material.fit", "fitting")
    return with_options(fit, {prefix: getattr(floor, name) for name, prefix in PREFIXES.items()})


def fit(
    data: Annotated[
        list[Path],
        typer.Argument(metavar="DATA...", help="Tables of F or x, W, P; each of several a group.", show_default=False),
    ],
    output: Annotated[Path, option("--output", "-o", help="The new .safetensors file.")],
    columns: ColumnsOption = None,
    group: GroupOption = None,
    decimal: DecimalOption = None,
    sheet: SheetOption = None,
    plane_strain: PlaneStrainOption = False,
    kinematics: KinematicsOption = None,
    growth: Annotated[
        str | None, option(metavar="c|auto", help="Coefficient of c (J - 1 - ln J), in energy units; auto fits it.")
    ] = None,
    temperature: TemperatureOption = None,
    heat_capacity: HeatCapacityOption = None,
    design: DesignOption = None,
    symmetry: Annotated[str | None, option(help="Point group, PARENT:VARIANT, as square:rectangle.")] = None,
    test: Annotated[
        float,
        typer.Option(help="Share of the rows kept out of the fit and reported on.", min=0.0, max=0.9, callback=number),
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the starts and of the rows held back.", min=0)] = 0,
    periods: Annotated[
        str | None, option(metavar="P1,none,...", help="Of the inputs x: 360,none if x1 is an angle.")
    ] = None,
    checkpoint: Annotated[Path | None, option(help="File of finished stages, from which a killed fit goes on.")] = None,
    report: Annotated[
        Path | None, option(metavar="FILE.html", help="Write a page with errors, landscape and warnings.")
    ] = None,
    even_if_useless: Annotated[bool, typer.Option("--even-if-useless", help="End with 0 whatever the error.")] = False,
    json: Json = False,
    *,
    chosen: Mapping[str, Any],
) -> int:
    """Fit a material to energies and stresses. Ctrl-C, SIGTERM and the time limit keep the best so far.

    The material is saved in any case. Exit code 6 if it is useless: if its error is as large as the data; 143 if SIGTERM ended
    the search.
    """
    floor: Any = need("lse_material.fit", "fitting")
    _expect_places({output: ".safetensors", report: ".html"})
    if report is not None:
        need("matplotlib.figure", "a report")
    readings: list[Any] = []
    dialect: dict[str, Any] = {"decimal": decimal, "plane_strain": plane_strain, "report": readings.append}
    named = [*(design or []), *([temperature] if temperature else [])]
    named = [name for name in named if not re.fullmatch(r"x\d+", name)]  # inputs x are what they are
    samples = tables.read(data, columns, group, sheet, fields=named, **dialect)
    kept, held = samples.split(1.0 - test, seed=seed) if test > 0.0 else (samples, None)
    choices = {name.lower(): made for name, made in chosen.items()} | {
        "parameters": _parameters(floor, temperature, heat_capacity, design)
    }
    choices |= _physics(samples, kinematics, growth, symmetry, periods)
    if not json:
        print(*readings, _plan(kept, held, chosen), sep="\n")
    with warnings.catch_warnings(), search_then_save() as end_of_search:
        for kind in (floor.DataWarning, floor.FitWarning):  # they are part of the summary
            warnings.simplefilter("ignore", kind)
        result = floor.fit(kept, **choices, seed=seed, checkpoint=checkpoint, progress=not json)
        end_of_search()
        save(result.fitted, output)
    _tell(result, output, report, kept, held, json)
    code = USELESS if result.useless and not even_if_useless else OK
    return TERMINATED if result.stopped == SIGTERM else code


def _expect_places(endings: Mapping[Path | None, str]) -> None:
    """Refuse files that could not be written, before the fit; keys that are None are no files."""
    for path, ending in endings.items():
        if path is not None and (path.suffix != ending or not path.parent.is_dir()):
            raise InvalidInputError(f"{path} must end in {ending} and lie in a folder that is there.")
        if path is not None:
            expect_place(path)


def _tell(result: Any, output: Path, report: Path | None, kept: Samples, held: Samples | None, json: bool) -> None:
    """Print what was found, and write the page of it."""
    if not json:
        print(f"{result.summary(held)}\nwrote {output}")
    if report is not None:
        from lse_material.report import write_report

        write_report(result, report, kept, test=held)
        if not json:
            print(f"wrote {report}")
    if json:
        print_json({"file": str(output), **_figures(result, held)})


def _plan(kept: Samples, held: Samples | None, chosen: Mapping[str, Any]) -> str:
    """What the fit will do, and how long it may take."""
    architecture, training, sparsity = (chosen[name] for name in PREFIXES)
    what = f"fit to {len(kept)} rows" + ("" if held is None else f" ({len(held)} are kept for the test)")
    if architecture.modes == "auto":
        text = (
            f"{what}: the number of modes is found, beginning with {architecture.max_modes}, for an error of "
            f"{sparsity.tolerance:.1%}. With 600 rows that took 2 to 52 s on one core; more rows take longer"
        )
    else:
        text = (
            f"{what}, number of modes {architecture.modes}: {training.restarts} times {training.adam_steps} steps from a "
            f"random start, then at most {training.lbfgs_steps} of L-BFGS from the best. A terminal shows the time that is left"
        )
    limit = f", at the latest after {training.time_limit:g} s" if training.time_limit else ""
    return f"{text}{limit}. Ctrl-C ends the search and keeps the best weights so far."


def _parameters(
    floor: Any, temperature: str | None, heat_capacity: str | None, design: list[str] | None
) -> dict[str, Any] | None:
    found: dict[str, Any] = {name: floor.Design() for name in design or []}
    if heat_capacity is not None and not temperature:
        raise InvalidInputError("--heat-capacity needs --temperature: the column with the temperature of each row.")
    if temperature in found:
        raise InvalidInputError(f"the column {temperature!r} is given as a temperature and as a design; choose one.")
    if temperature:
        known = heat_capacity in (None, "auto")
        capacity = heat_capacity if known else _number("--heat-capacity", str(heat_capacity))
        found[temperature] = floor.Temperature(heat_capacity=capacity)
    return found or None


def _physics(
    samples: Samples, kinematics: str | None, growth: str | None, symmetry: str | None, periods: str | None
) -> dict[str, Any]:
    """The arguments of the fit that only rows of F have, or only rows of x."""
    import lse_material as lse

    if samples.dim is None:
        if symmetry or growth is not None or kinematics is not None:
            raise InvalidInputError("rows of x take neither --symmetry, --growth nor --kinematics: those act on F.")
        parts = [part.strip() for part in periods.split(",")] if periods else []
        return {"periods": [None if part == "none" else _number("--periods", part) for part in parts] or None}
    if periods:
        raise InvalidInputError("rows of F take no --periods: those are of inputs x.")
    kinematics = kinematics or "green-lagrange"
    if kinematics not in KINEMATICS:
        raise InvalidInputError(f"--kinematics is {kinematics!r}; it must be one of {', '.join(KINEMATICS)}.")
    return {
        "kinematics": KINEMATICS[kinematics](dim=samples.dim),
        "growth": growth if growth in (None, "auto") else lse.Growth(_number("--growth", growth)),
        "symmetry": read_symmetry(symmetry, samples.dim) if symmetry else None,
    }


def _figures(result: Any, held: Samples | None) -> dict[str, Any]:
    errors = {"training": result.train_errors, "validation": result.validation_errors}
    errors["test"] = None if held is None else result.error(held)
    return {
        "modes": len(result.potential.modes),
        "active_modes": result.active_modes,
        "transition_scale": result.transition_scale,
        "weights": sum(mode.active_parameters for mode in result.potential.modes),
        "errors": {name: vars(e) for name, e in errors.items() if e is not None},
        "warnings": result.warnings(),
        "seconds": result.seconds,
        "interrupted": result.interrupted,
        "useless": result.useless,
    }


def _number(option: str, text: str) -> float:
    try:
        return float(str(text))
    except ValueError:
        words = "auto to fit it" if option in ("--growth", "--heat-capacity") else "none for an input without"
        raise InvalidInputError(f"{option} is {text!r}; it must be a number, or {words}.") from None
