"""Mesh a plate with a central hole, mirror-symmetric about both axes: plate_with_hole.msh beside this script.

Physical groups: surface "plate"; lines "left", "right", "hole". Lengths in mm: 2 x 1, hole of radius 0.2.

    ./fenicsx python3 meshes/plate_with_hole.py
"""

from __future__ import annotations

from pathlib import Path

import gmsh

LENGTH, HEIGHT, RADIUS = 2.0, 1.0, 0.2
FAR, NEAR = 0.07, 0.03  # element sizes at the corners and at the hole


def main() -> None:
    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    geo = gmsh.model.geo
    corner = (LENGTH / 2, HEIGHT / 2)
    centre = geo.addPoint(0, 0, 0)
    a = geo.addPoint(RADIUS, 0, 0, NEAR)
    b = geo.addPoint(corner[0], 0, 0, FAR)
    c = geo.addPoint(*corner, 0, FAR)
    d = geo.addPoint(0, corner[1], 0, NEAR)
    e = geo.addPoint(0, RADIUS, 0, NEAR)
    lines = [geo.addLine(a, b), geo.addLine(b, c), geo.addLine(c, d), geo.addLine(d, e), geo.addCircleArc(e, centre, a)]
    quarter = geo.addPlaneSurface([geo.addCurveLoop(lines)])
    surfaces = [(2, quarter)]
    for plane in ((1, 0, 0, 0), (0, 1, 0, 0)):  # mirror the quarter, then the half
        copies = geo.copy(surfaces)
        geo.symmetrize(copies, *plane)
        surfaces += copies
    geo.synchronize()
    gmsh.model.mesh.generate(2)
    gmsh.model.mesh.removeDuplicateNodes()
    gmsh.model.addPhysicalGroup(2, [tag for _, tag in surfaces], name="plate")
    sides = {"left": [], "right": [], "hole": []}
    for _, tag in gmsh.model.getEntities(1):
        x_min, y_min, _, x_max, y_max, _ = gmsh.model.getBoundingBox(1, tag)
        if abs(x_max + corner[0]) < 1e-4:
            sides["left"].append(tag)
        elif abs(x_min - corner[0]) < 1e-4:
            sides["right"].append(tag)
        elif max(-x_min, x_max, -y_min, y_max) < RADIUS + 1e-4:
            sides["hole"].append(tag)
    for name, tags in sides.items():
        gmsh.model.addPhysicalGroup(1, tags, name=name)
    path = str(Path(__file__).with_suffix(".msh"))
    gmsh.write(path)
    gmsh.clear()
    gmsh.open(path)  # the centres of the arcs are not in the file: close the gaps that they leave in the numbering
    gmsh.model.mesh.renumberNodes()
    gmsh.write(path)
    gmsh.finalize()


if __name__ == "__main__":
    main()
