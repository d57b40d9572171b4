"""Mesh a square array of circular holes, symmetric in every mirror of the square: porous_cell.msh beside this script.

Hole centres lie on a square grid of distance 1. A domain of N x M cells is cut either midway between holes ("between": whole
holes, the periodic cell) or through hole centres ("through": half holes at its sides, the finite specimen). Each hole is
surrounded by eight mapped patches of quadrilaterals of degree 2: n along each eighth of its rim, m from rim to border.

Physical groups: surface "solid"; lines "left", "right", "bottom", "top", "holes".

    ./fenicsx python3 meshes/porous_cell.py                                     # the 2 x 2 cell of the demos
    ./fenicsx python3 meshes/porous_cell.py --cells 8 8 --cut through --out results/specimen.msh
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import gmsh
import numpy as np

POROSITY = 0.594
FINENESS = (4, 2)


class Patches:
    """Points and curves by their place, so that neighbours share them."""

    def __init__(self, fineness: tuple[int, int]) -> None:
        self.fineness = fineness
        self.points: dict[tuple[int, int], int] = {}
        self.curves: dict[tuple[int, int], int] = {}
        self.surfaces: list[int] = []

    def point(self, place: np.ndarray) -> int:
        key = tuple(int(v) for v in np.round(1e7 * place))
        if key not in self.points:
            self.points[key] = gmsh.model.geo.addPoint(float(place[0]), float(place[1]), 0.0)
        return self.points[key]

    def curve(self, start: int, end: int, intervals: int, centre: int | None = None) -> int:
        if (end, start) in self.curves:
            return -self.curves[end, start]
        if (start, end) not in self.curves:
            geo = gmsh.model.geo
            tag = geo.addLine(start, end) if centre is None else geo.addCircleArc(start, centre, end)
            geo.mesh.setTransfiniteCurve(tag, intervals + 1)
            self.curves[start, end] = tag
        return self.curves[start, end]

    def add(self, hole: np.ndarray, radius: float, eighth: int) -> None:
        """The patch of a hole between the angles 45 eighth and 45 (eighth + 1) degrees."""
        n, m = self.fineness
        centre = self.point(hole)
        rim, border = [], []
        for k in (eighth, eighth + 1):
            direction = np.array([np.cos(k * np.pi / 4), np.sin(k * np.pi / 4)])
            rim.append(self.point(hole + radius * direction))
            border.append(self.point(hole + 0.5 * direction / np.abs(direction).max()))
        curves = [
            self.curve(rim[0], border[0], m),
            self.curve(border[0], border[1], n),
            self.curve(border[1], rim[1], m),
            self.curve(rim[1], rim[0], n, centre),
        ]
        geo = gmsh.model.geo
        surface = geo.addPlaneSurface([geo.addCurveLoop(curves)])
        geo.mesh.setTransfiniteSurface(surface)
        geo.mesh.setRecombine(2, surface)
        self.surfaces.append(surface)


def build(
    cells: tuple[int, int] = (2, 2),
    *,
    porosity: float | Callable[[np.ndarray], float] = POROSITY,
    cut: str = "between",
    fineness: tuple[int, int] = FINENESS,
) -> None:
    """Make the mesh in the current gmsh model, which must be empty: cells[0] x cells[1] long, one corner at the origin.

    A porosity that varies in space is a function of the centre of a hole.
    """
    if cut not in ("between", "through"):
        raise ValueError(f'cut is {cut!r}; it is "between" holes or "through" them.')
    size = np.array(cells, dtype=float)
    patches = Patches(fineness)
    shift = 0.5 if cut == "between" else 0.0
    for i in range(cells[0] + (cut == "through")):
        for j in range(cells[1] + (cut == "through")):
            hole = np.array([i + shift, j + shift])
            radius = float(np.sqrt((porosity(hole) if callable(porosity) else porosity) / np.pi))
            if not 0.0 < radius < 0.5:
                raise ValueError(
                    f"porosity is {np.pi * radius**2:g}; circular holes leave a body for 0 < porosity < pi/4 = 0.785."
                )
            for eighth in range(8):
                angle = (eighth + 0.5) * np.pi / 4
                inside = hole + 0.4 * np.array([np.cos(angle), np.sin(angle)])
                if (inside > 0.0).all() and (inside < size).all():
                    patches.add(hole, radius, eighth)
    gmsh.model.geo.synchronize()
    gmsh.model.addPhysicalGroup(2, patches.surfaces, name="solid")
    sides: dict[str, list[int]] = {name: [] for name in ("left", "right", "bottom", "top", "holes")}
    for _, tag in gmsh.model.getEntities(1):
        low_x, low_y, _, high_x, high_y, _ = gmsh.model.getBoundingBox(1, tag)
        distances = {"left": high_x, "right": size[0] - low_x, "bottom": high_y, "top": size[1] - low_y}
        side = [name for name, distance in distances.items() if distance < 1e-5]
        if side:
            sides[side[0]].append(tag)
        elif gmsh.model.getType(1, tag) == "Circle":
            sides["holes"].append(tag)
    for name, tags in sides.items():
        gmsh.model.addPhysicalGroup(1, tags, name=name)
    gmsh.model.mesh.generate(2)
    gmsh.model.mesh.setOrder(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cells", type=int, nargs=2, default=(2, 2), metavar=("N", "M"))
    parser.add_argument("--porosity", type=float, default=POROSITY)
    parser.add_argument("--cut", choices=("between", "through"), default="between")
    parser.add_argument("--fineness", type=int, nargs=2, default=FINENESS, metavar=("n", "m"))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".msh"))
    options = parser.parse_args()
    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    build(tuple(options.cells), porosity=options.porosity, cut=options.cut, fineness=tuple(options.fineness))
    path = str(options.out)
    gmsh.write(path)
    gmsh.clear()
    gmsh.open(path)  # the centres of the arcs are not in the file: close the gaps that they leave in the numbering
    gmsh.model.mesh.renumberNodes()
    gmsh.write(path)
    gmsh.finalize()


if __name__ == "__main__":
    main()
