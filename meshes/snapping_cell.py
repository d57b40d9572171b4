"""Mesh a row, or a stack of rows, of a lattice that snaps: snapping_cell.msh beside this script.

A cell has the width 1. Its two beams rise from feet on its sides, which stand on the bar below, to an apex in the middle, which
carries the bar above: a von Mises truss whose beams are clamped, and curved like half a cosine. Posts are as long as the beams
need to turn over. A row ends midway in both bars, so that rows make a stack and cells a periodic lattice. Quadrilaterals of
degree 1; fineness: along a beam, across it and across half a post.

Physical groups: surface "solid"; lines "left", "right", "bottom", "top".

    ./fenicsx python3 meshes/snapping_cell.py                       # the cell of the demo
    ./fenicsx python3 meshes/snapping_cell.py --rows 6 --out results/chain.msh
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import gmsh
import numpy as np

FINENESS = (12, 1, 2)


@dataclass(frozen=True)
class Shape:
    """Lengths in widths of the cell.

    Attributes:
        rise: of the apex over the feet.
        thickness: of the beams, vertically.
        bow: height of a bump in the middle of each beam, by which it knows to which side it bends.
        bar: thickness of the horizontal bars.
        post: width of the posts.
        clearance: between what approaches when the beams have turned over.
    """

    rise: float = 0.12
    thickness: float = 0.02
    bow: float = 0.004
    bar: float = 0.1
    post: float = 0.1
    clearance: float = 0.03

    def __post_init__(self) -> None:
        if not (min(self.rise, self.thickness, self.bar, self.post) > 0.0 and self.clearance >= 0.0):
            raise ValueError(f"{self}: lengths must be positive.")
        if self.post >= 0.5:
            raise ValueError(f"post is {self.post}; two posts leave room for beams for post < 1/2.")

    def beam(self, share: np.ndarray) -> np.ndarray:
        """Height over the foot, at shares of the way from foot to apex."""
        return self.rise * 0.5 * (1.0 - np.cos(np.pi * share)) + self.bow * 0.5 * (1.0 - np.cos(2.0 * np.pi * share))

    @property
    def height(self) -> float:
        """Of a row, from the middle of one bar to that of the next."""
        return self.bar + 3.0 * self.rise + 2.0 * self.clearance + self.thickness


class Patches:
    """Points and lines by their place, so that neighbours share them."""

    def __init__(self) -> None:
        self.points: dict[tuple[int, int], int] = {}
        self.lines: dict[tuple[int, int], int] = {}
        self.surfaces: list[int] = []

    def point(self, place: tuple[float, float]) -> int:
        key = round(1e7 * place[0]), round(1e7 * place[1])
        if key not in self.points:
            self.points[key] = gmsh.model.geo.addPoint(place[0], place[1], 0.0)
        return self.points[key]

    def line(self, start: int, end: int, intervals: int) -> int:
        if (end, start) in self.lines:
            return -self.lines[end, start]
        if (start, end) not in self.lines:
            tag = self.lines[start, end] = gmsh.model.geo.addLine(start, end)
            gmsh.model.geo.mesh.setTransfiniteCurve(tag, intervals + 1)
        return self.lines[start, end]

    def add(
        self, x: tuple[float, float], left: tuple[float, float], right: tuple[float, float], n: int, m: int
    ) -> None:
        """A patch between two vertical lines: n intervals along it, m across."""
        corners = [(x[0], left[0]), (x[1], right[0]), (x[1], right[1]), (x[0], left[1])]
        p = [self.point(corner) for corner in corners]
        lines = [self.line(p[i], p[(i + 1) % 4], n if i % 2 == 0 else m) for i in range(4)]
        surface = gmsh.model.geo.addPlaneSurface([gmsh.model.geo.addCurveLoop(lines)])
        gmsh.model.geo.mesh.setTransfiniteSurface(surface)
        gmsh.model.geo.mesh.setRecombine(2, surface)
        self.surfaces.append(surface)


def build(rows: int = 1, *, shape: Shape | None = None, fineness: tuple[int, int, int] = FINENESS) -> None:
    """Make the mesh in the current gmsh model, which must be empty: [0, 1] x [0, rows * height]."""
    s = shape or Shape()
    along, across, wide = fineness
    patches, half, post = Patches(), 0.5 * s.bar, 0.5 * s.post
    size = max(s.post / (2.0 * wide), s.thickness / across)  # of elements in posts
    for row in range(rows):
        low = row * s.height
        top, foot = low + s.height, low + half + s.rise + s.clearance
        apex = foot + s.rise
        tall = max(1, round((foot - low - half) / size))
        thick = max(1, round(half / size))
        for mirrored in (False, True):

            def add(x: tuple[float, float], left: tuple[float, float], right: tuple[float, float], n: int, m: int,
                    mirrored: bool = mirrored) -> None:  # fmt: skip
                if mirrored:
                    x, left, right = (1.0 - x[1], 1.0 - x[0]), right, left
                patches.add(x, left, right, n, m)

            for x, n in (((0.0, post), wide), ((post, 0.5 - post), along), ((0.5 - post, 0.5), wide)):
                for y in ((low, low + half), (top - half, top)):
                    add(x, y, y, n, thick)
            for y, m in (((low + half, foot), tall), ((foot, foot + s.thickness), across)):
                add((0.0, post), y, y, wide, m)
            for y, m in (((apex, apex + s.thickness), across), ((apex + s.thickness, top - half), tall)):
                add((0.5 - post, 0.5), y, y, wide, m)
            beam = foot + s.beam(np.arange(along + 1) / along)
            x = np.linspace(post, 0.5 - post, along + 1)
            for i in range(along):
                ends = [(float(y), float(y) + s.thickness) for y in beam[i : i + 2]]
                add((float(x[i]), float(x[i + 1])), ends[0], ends[1], 1, across)
    gmsh.model.geo.synchronize()
    gmsh.model.addPhysicalGroup(2, patches.surfaces, name="solid")
    size_y = rows * s.height
    sides: dict[str, list[int]] = {name: [] for name in ("left", "right", "bottom", "top")}
    for _, tag in gmsh.model.getEntities(1):
        low_x, low_y, _, high_x, high_y, _ = gmsh.model.getBoundingBox(1, tag)
        distances = {"left": high_x, "right": 1.0 - low_x, "bottom": high_y, "top": size_y - low_y}
        for name, distance in distances.items():
            if distance < 1e-5:
                sides[name].append(tag)
    for name, tags in sides.items():
        gmsh.model.addPhysicalGroup(1, tags, name=name)
    gmsh.model.mesh.generate(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--fineness", type=int, nargs=3, default=FINENESS, metavar="n")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".msh"))
    options = parser.parse_args()
    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    build(options.rows, fineness=tuple(options.fineness))
    gmsh.write(str(options.out))
    gmsh.finalize()


if __name__ == "__main__":
    main()
