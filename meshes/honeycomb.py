"""Mesh a honeycomb, symmetric in every mirror of the hexagon: results/honeycomb.msh.

The cells are regular hexagons with sides of length 1, a corner on top, and walls of one thickness. A cell is cut midway in its
walls: "hexagon", one cell and its half walls, or "rectangle", two cells in a box of sqrt(3) x 3, one in the middle and quarters
of four in the corners; N x M of them. Each cell has twelve mapped patches of quadrilaterals, between neighbouring mirrors: n
along half of a wall, m across half of its thickness. The two outlines have the same mesh, taken periodically.

Lattice vectors: `vectors`. Physical group: surface "solid".

    ./fenicsx python3 meshes/honeycomb.py
    ./fenicsx python3 meshes/honeycomb.py --outline rectangle --cells 2 2 --out results/sheet.msh
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gmsh
import numpy as np

THICKNESS = 0.1
FINENESS = (6, 2)
WIDTH = np.sqrt(3.0)
CELL = {"hexagon": ((WIDTH, 0.0), (WIDTH / 2.0, 1.5)), "rectangle": ((WIDTH, 0.0), (0.0, 3.0))}


def vectors(cells: tuple[int, int] = (1, 1), *, outline: str = "hexagon") -> np.ndarray:
    """Lattice vectors of the mesh, as rows."""
    return np.array(CELL[outline]) * np.array(cells, dtype=float)[:, None]


def patches(cells: tuple[int, int], outline: str, thickness: float) -> list[np.ndarray]:
    """Corners of each patch, (4, 2): inner end of the mirror, outer end, then those of the next mirror."""
    a, b = np.array(CELL[outline])
    origins = [i * a + j * b for i in range(cells[0]) for j in range(cells[1])]
    if outline == "rectangle":
        middle = np.array([WIDTH / 2.0, 1.5])
        ends = [np.array([x, y]) for x in (0.0, WIDTH) for y in (0.0, 3.0)]
        centres = [origin + place for origin in origins for place in (middle, *ends)]
    else:
        centres = origins
    rim, found, known = 1.0 - thickness / WIDTH, [], set()
    box = np.array(cells) * [WIDTH, 3.0]
    for centre in centres:
        for k in range(12):
            angles = np.pi / 6.0 * np.array([k, k + 1])
            reach = np.where(np.arange(k, k + 2) % 2 == 1, 1.0, WIDTH / 2.0)  # a corner, or the middle of a wall
            ends = reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
            corners = centre + np.array([rim * ends[0], ends[0], ends[1], rim * ends[1]])
            key = tuple(np.round(1e6 * corners.mean(axis=0)).astype(int))
            inside = outline == "hexagon" or ((corners > -1e-9) & (corners < box + 1e-9)).all()
            if inside and key not in known:
                known.add(key)
                found.append(corners)
    return found


def build(
    cells: tuple[int, int] = (1, 1),
    *,
    outline: str = "hexagon",
    thickness: float = THICKNESS,
    fineness: tuple[int, int] = FINENESS,
) -> None:
    """Make the mesh in the current gmsh model, which must be empty."""
    if outline not in CELL:
        raise ValueError(f"outline is {outline!r}; it is one of {', '.join(CELL)}.")
    if not 0.0 < thickness < WIDTH:
        raise ValueError(f"thickness is {thickness}; walls leave voids for 0 < thickness < sqrt(3).")
    geo, points, curves, surfaces = gmsh.model.geo, {}, {}, []
    intervals = (fineness[1], fineness[0], fineness[1], fineness[0])

    def point(place: np.ndarray) -> int:
        key = tuple(np.round(1e6 * place).astype(int))
        if key not in points:
            points[key] = geo.addPoint(float(place[0]), float(place[1]), 0.0)
        return points[key]

    def curve(start: int, end: int, count: int) -> int:
        if (end, start) in curves:
            return -curves[end, start]
        if (start, end) not in curves:
            curves[start, end] = geo.addLine(start, end)
            geo.mesh.setTransfiniteCurve(curves[start, end], count + 1)
        return curves[start, end]

    for corners in patches(cells, outline, thickness):
        ends = [point(place) for place in corners]
        loop = [curve(ends[i], ends[(i + 1) % 4], count) for i, count in enumerate(intervals)]
        surface = geo.addPlaneSurface([geo.addCurveLoop(loop)])
        geo.mesh.setTransfiniteSurface(surface)
        geo.mesh.setRecombine(2, surface)
        surfaces.append(surface)
    geo.synchronize()
    gmsh.model.addPhysicalGroup(2, surfaces, name="solid")
    gmsh.model.mesh.generate(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cells", type=int, nargs=2, default=(1, 1), metavar=("N", "M"))
    parser.add_argument("--outline", choices=tuple(CELL), default="hexagon")
    parser.add_argument("--thickness", type=float, default=THICKNESS)
    parser.add_argument("--fineness", type=int, nargs=2, default=FINENESS, metavar=("n", "m"))
    parser.add_argument("--out", type=Path, default=Path("results/honeycomb.msh"))
    options = parser.parse_args()
    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    build(tuple(options.cells), outline=options.outline, thickness=options.thickness, fineness=tuple(options.fineness))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    gmsh.write(str(options.out))
    gmsh.finalize()


if __name__ == "__main__":
    main()
