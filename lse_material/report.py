"""A fit as one HTML page: what was fitted, how well, where its wells are, and what speaks against it.

    lse.report.write_report(result, "cell.html", samples)

The page stands alone: pictures are part of it, and it loads nothing. Its figures are also there as JSON, in the element
with the id "figures". Needs matplotlib.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lse_material import plotting
from lse_material._arrays import Array
from lse_material._files import plain, write_atomically
from lse_material.analysis.landscape import Fitted, Landscape, landscape_figures, landscape_rows, landscapes
from lse_material.analysis.validation import check_without_data, compared, inputs_of
from lse_material.data.observations import Observations
from lse_material.data.samples import Samples
from lse_material.errors import InvalidInputError
from lse_material.model.box import Box
from lse_material.model.material import Material, potential_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["write_report"]

DRAWN = 4000  # rows in a picture, at most
DEFORMATIONS = ("uniaxial", "simple_shear")
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 0 auto; padding: 0 1rem 3rem; }
h1 { margin: 1.5rem 0 0; overflow-wrap: anywhere; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
p { max-width: 45rem; } img { width: 100%; max-width: 30rem; height: auto; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: .6rem; margin: 1rem 0; }
.scroll { overflow-x: auto; margin: 1rem 0; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; } th { border-bottom: 1px solid #999; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .6rem; margin: 1rem 0; }
.figures div { border: 1px solid #ccc; border-radius: .3rem; padding: .5rem .7rem; }
.figures b { display: block; font-size: 1.3rem; overflow-wrap: anywhere; } .figures span { color: #555; }
.warning { border-left: .3rem solid #d98200; background: #fff6e6; padding: .4rem .8rem; max-width: 45rem; }
.useless { border-color: #b00020; background: #fdecee; }
"""


def write_report(
    result: Any, path: str | Path, samples: Samples | Observations, *, test: Samples | Observations | None = None
) -> dict[str, Any]:
    """Write the page of a fit, and return its figures.

    It has the errors by rows and by group, the path of errors over the number of modes, the landscape with its wells and
    barriers, stresses along simple deformations, where the data end, the checks that apply, and all warnings.

    Args:
        result: what `lse_material.fit.fit` returned.
        path: of the page, which ends in .html.
        samples: that were fitted.
        test: rows that the fit has not seen.

    Raises:
        InvalidInputError: the path does not end in .html, or the samples are of another kind than the fit.

    >>> x = np.linspace(-1.0, 1.0, 40)[:, None]
    >>> rows = lse.Samples(x=x, energy=(x[:, 0] ** 2 - 0.25) ** 2)
    >>> result = lse.fit.fit(rows, training=lse.fit.Training(restarts=1, adam_steps=200), progress=False)
    >>> figures = lse.report.write_report(result, "wells.html", rows)
    >>> figures["modes"], len(figures["landscapes"][0]["wells"])
    (2, 2)
    """
    path = Path(path)
    if path.suffix != ".html":
        raise InvalidInputError(f"{path} must end in .html.")
    fitted = result.fitted
    found = landscapes(fitted)
    figures = _figures(result, samples, test, found)
    parts = [
        *_head(path.stem, result, figures),
        *_data(fitted, samples, figures),
        *_errors(fitted, samples, figures),
        *_number_of_modes(result, figures),
        *(part for value, (one, land) in found.items() for part in _landscape(fitted, one, land, value, figures)),
        *_checks(figures),
        *_origin(figures),
    ]
    data = json.dumps(plain(figures)).replace("<", "\\u003c")
    page = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(path.stem)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n" + "\n".join(parts) + "\n"
        f'<script type="application/json" id="figures">{data}</script>\n</body>\n</html>\n'
    )
    write_atomically(path, page.encode())
    return figures


def _figures(
    result: Any,
    samples: Samples | Observations,
    test: Samples | Observations | None,
    found: Mapping[float | None, tuple[Fitted, Landscape]],
) -> dict[str, Any]:
    """All numbers of the page."""
    fitted, potential = result.fitted, result.potential
    errors = {"training": result.train_errors, "validation": result.validation_errors}
    errors["test"] = None if test is None else result.error(test)
    groups = [] if samples.group is None else list(dict.fromkeys(samples.group.tolist()))
    of_group = {str(g): result.error(samples.take(np.flatnonzero(samples.group == g))) for g in groups}
    x = inputs_of(fitted, samples)
    lands = [{"value": value, **landscape_figures(*each)} for value, each in found.items()]
    return {
        "modes": len(potential.modes),
        "active_modes": result.active_modes,
        "weights": sum(mode.active_parameters for mode in potential.modes),
        "transition_scale": result.transition_scale,
        "transition_scale_interval": result.transition_scale_interval,
        "rows": len(samples),
        "test_rows": None if test is None else len(test),
        "errors": {name: vars(e) for name, e in errors.items() if e is not None},
        "errors_held_back": {name: vars(e) for name, e in result.group_errors.items()},
        "errors_by_group": {name: vars(e) for name, e in of_group.items()},
        "path": [list(pair) for pair in result.path],
        "usage": result.usage,
        "landscapes": lands,
        "inputs": plotting.input_labels(fitted),
        "least": x.min(axis=0),
        "largest": x.max(axis=0),
        "test_rows_outside": None if test is None else _outside(fitted.training_box, inputs_of(fitted, test)),
        "checks": [vars(check) for check in check_without_data(fitted)],
        "warnings": [*result.warnings(), *(f"{text}." for each in lands for text in each["merged"])],
        "useless": result.useless,
        "stopped": result.stopped,
        "seconds": result.seconds,
        "architecture": vars(result.architecture),
        "units": dict(fitted.units),
        "provenance": dict(fitted.provenance),
    }


def _outside(box: Box | None, x: Array) -> int | None:
    return None if box is None else int((~box.holds(x)).sum())


# ---- the parts of the page -----------------------------------------------------------------------------------------------


def _head(name: str, result: Any, figures: Mapping[str, Any]) -> list[str]:
    """Title, the figures that are asked for first, and the warnings."""
    unit = figures["units"].get("energy", "")
    rows = next(kind for kind in ("test", "validation", "training") if kind in figures["errors"])
    judged, interval = figures["errors"][rows], figures["transition_scale_interval"]
    ends = [] if interval is None else [f"{end:.3g}" for end in interval]
    alike = f" ({' to '.join(ends)} fit alike)" if len(set(ends)) > 1 else ""
    cards = {
        f"modes ({figures['active_modes']} active)": figures["modes"],
        f"energy error, {rows} rows": _percent(judged["energy"]),
        f"stress error, {rows} rows": _percent(judged["stress"]),
        "rows fitted": figures["rows"],
        "seconds": f"{figures['seconds']:.0f}",
    }
    if figures["modes"] > 1:
        cards[f"transition scale{alike}"] = f"{figures['transition_scale']:.3g} {unit}"
    boxes = "".join(f"<div><b>{_text(value)}</b><span>{_text(what)}</span></div>" for what, value in cards.items())
    kind = "warning useless" if result.useless else "warning"
    warnings = [f'<p class="{kind}">{_text(text[:1].upper() + text[1:])}</p>' for text in figures["warnings"]]
    what = f"A soft minimum of {figures['modes']} convex modes with {figures['weights']} weights, by lse_material."
    return [
        f"<h1>{_text(name)}</h1>",
        f"<p>{what}</p>",
        f'<div class="figures">{boxes}</div>',
        *(warnings or ["<p>Neither the data nor the fit gave cause for a warning.</p>"]),
    ]


def _data(fitted: Fitted, samples: Samples | Observations, figures: Mapping[str, Any]) -> list[str]:
    """How many rows there are, the ranges of the inputs, and where the rows end."""
    ranges = zip(figures["inputs"], figures["least"], figures["largest"])
    table = _table(["input", "least", "largest"], [[name, f"{low:.4g}", f"{high:.4g}"] for name, low, high in ranges])
    groups = len(figures["errors_by_group"])
    text = f"{figures['rows']} rows{f' in {groups} groups' if groups else ''}. Outside the dashed ranges W is a guess."
    if figures["test_rows_outside"] is not None:
        text += f" {figures['test_rows_outside']} of {figures['test_rows']} test rows lie outside."
    pictures = _pictures(_rows(fitted, inputs_of(fitted, samples)), "rows of data and where they end")
    return ["<h2>Data</h2>", f"<p>{text}</p>", table, pictures]


def _errors(fitted: Fitted, samples: Samples | Observations, figures: Mapping[str, Any]) -> list[str]:
    """Errors as a table, and the fitted values against those of the data."""
    named = {
        **{f"{name} rows": e for name, e in figures["errors"].items()},
        **{f"held back as a whole: {name}": e for name, e in figures["errors_held_back"].items()},
        **{f"group {name}": e for name, e in figures["errors_by_group"].items()},
    }
    kinds = [kind for kind in ("energy", "stress", "conjugates") if any(e[kind] is not None for e in named.values())]
    table = _table(["", *kinds], [[name, *(_percent(e[kind]) for kind in kinds)] for name, e in named.items()])
    text = (
        "Relative root mean square errors: of energies over the standard deviation of the data, of stresses (or gradients) "
        "over their root mean square."
    )
    return [
        "<h2>Errors</h2>",
        f"<p>{text}</p>",
        table,
        _pictures(_parity(fitted, samples), "fitted values against data"),
    ]


def _number_of_modes(result: Any, figures: Mapping[str, Any]) -> list[str]:
    """The path of errors over the number of modes, or the usage of a given number."""
    usage = [[f"mode {k}", _percent(u)] for k, u in enumerate(figures["usage"])]
    parts = ["<h2>Modes</h2>"]
    if result.path:
        (error, left), (of_modes, right) = _axes(), _axes()
        plotting.discovery_path(left, right, result)
        table = _table(["number of modes", "error"], [[count, _percent(e)] for count, e in figures["path"]])
        parts += [_pictures([error, of_modes], "error against the number of modes, and usage of the modes"), table]
    else:
        parts.append("<p>The number of modes was given, not looked for.</p>")
    return [*parts, "<p>Mean mode weight over the data:</p>", _table(["", "usage"], usage)]


def _landscape(
    fitted: Fitted, left: Fitted, land: Landscape, value: float | None, figures: Mapping[str, Any]
) -> list[str]:
    """Sections with wells, stress curves, and the tables of wells and barriers."""
    (of,) = (each for each in figures["landscapes"] if each["value"] == value)
    unit = figures["units"].get("energy", "")
    labels = plotting.labels_left(fitted, left)
    head = ["well", f"W {unit}", f"at ({', '.join(labels)})", "mode", "least curvature", "stable", "inside the data"]
    wells, barriers = landscape_rows(of)
    for row, well in zip(wells, of["wells"]):
        row.insert(-1, "yes" if well["least_curvature"] > 0.0 else "NO")
    title = "Landscape" if value is None else f"Landscape at {value:g}"
    parts = [f"<h2>{title}</h2>", _pictures(_sections_and_curves(left, land, labels), title)]
    parts.append(_table(head, wells) if wells else "<p>No well was found.</p>")
    if barriers:
        parts.append(_table(["from", "to", f"barrier {unit}", f"back {unit}", ""], barriers))
    return parts


def _checks(figures: Mapping[str, Any]) -> list[str]:
    rows = [["passed" if c["passed"] else "FAILED", c["name"], c["detail"]] for c in figures["checks"]]
    return ["<h2>Checks</h2>", _table(["", "check", "what was found"], rows)]


def _origin(figures: Mapping[str, Any]) -> list[str]:
    named = {**figures["provenance"], **figures["architecture"]}
    rows = [[key, f"{value:.4g}" if isinstance(value, float) else value] for key, value in named.items()]
    return ["<h2>Where it comes from</h2>", _table(["", ""], rows)]


# ---- pictures ------------------------------------------------------------------------------------------------------------


def _axes() -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4, 3.6), layout="constrained")
    return figure, figure.subplots()


def _parity(fitted: Fitted, samples: Samples | Observations) -> list[Figure]:
    """Fitted energies and stresses (or gradients) against those of the data."""
    figures = []
    for name, values in compared(fitted, samples).items():
        x, y = map(_thinned, values)
        ends = min(x.min(), y.min()), max(x.max(), y.max())
        figure, axes = _axes()
        axes.plot(ends, ends, color="0.7", linewidth=1.0)
        axes.plot(x, y, ".", color="tab:blue", markersize=3, alpha=0.6)
        unit = plotting.unit_label(fitted, name)
        axes.set(xlabel=f"{name} of the data{unit}", ylabel=f"fitted {name}{unit}")
        figures.append(figure)
    return figures


def _sections_and_curves(fitted: Fitted, land: Landscape, labels: Sequence[str]) -> list[Figure]:
    """Sections of the landscape; of a material stresses along simple deformations too."""
    sections: list[Sequence[int]] = [*plotting.planes(potential_of(fitted), land)] or [(0,)]
    figures = [_drawn(plotting.landscape, fitted, land, inputs=inputs, labels=labels) for inputs in sections]
    if isinstance(fitted, Material):
        figures += [_drawn(plotting.stress_curve, fitted, name) for name in DEFORMATIONS]
    return figures


def _drawn(draw: Callable[..., None], *arguments: Any, **options: Any) -> Figure:
    figure, axes = _axes()
    draw(axes, *arguments, **options)
    return figure


def _rows(fitted: Fitted, x: Array) -> list[Figure]:
    """Where the rows lie, in up to three planes of inputs, with the training box; along the only input a histogram."""
    names, box = plotting.input_labels(fitted), fitted.training_box
    if x.shape[1] == 1:
        figure, axes = _axes()
        axes.hist(x[:, 0], bins=40, color="tab:blue")
        axes.set(xlabel=names[0], ylabel="rows")
        return [figure]
    spread = np.ptp(x, axis=0) / potential_of(fitted).input_scale
    figures, some = [], _thinned(x)
    for a, b in sorted(combinations(range(x.shape[1]), 2), key=lambda ab: -min(spread[ab[0]], spread[ab[1]]))[:3]:
        figure, axes = _axes()
        axes.plot(some[:, a], some[:, b], ".", color="tab:blue", markersize=3, alpha=0.6)
        if box is not None:
            (left, low), (right, high) = box.lower[[a, b]], box.upper[[a, b]]
            axes.plot([left, right, right, left, left], [low, low, high, high, low], color="0.4", linestyle="--")
        axes.set(xlabel=names[a], ylabel=names[b])
        figures.append(figure)
    return figures


def _thinned(values: Array) -> Array:
    """At most `DRAWN` rows, evenly taken."""
    return values[:: -(-len(values) // DRAWN)]


# ---- HTML ----------------------------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    return html.escape(str(value))


def _percent(value: float | None) -> str:
    return "no data" if value is None else f"{value:.3%}"


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    head = f"<tr>{''.join(f'<th>{_text(name)}</th>' for name in header)}</tr>\n" if any(header) else ""
    body = "\n".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table>{head}{body}</table></div>'


def _pictures(figures: Sequence[Figure], alt: str) -> str:
    """Pictures, beside each other where the window is wide."""
    text, images = html.escape(alt, quote=True), []
    for figure in figures:
        written = io.BytesIO()
        figure.savefig(written, format="png", dpi=130)
        data = base64.b64encode(written.getvalue()).decode()
        images.append(f'<img alt="{text}" src="data:image/png;base64,{data}">')
    return f'<div class="pictures">{"".join(images)}</div>'
