"""The problems of the campaign: how a seed draws one, and how it is set up, solved and judged state by state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import ufl
from campaign_materials import PAIRS, QUICK, Pair, material
from dolfinx import fem, mesh
from dolfinx.la import InsertMode
from independent import Assembly, State, negative_eigenvalues
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import (
    ArcLength,
    EnergyProblem,
    LoadPath,
    MaterialProblem,
    PeriodicCell,
    QuadratureStress,
    energy,
    potential_energy,
)

COMM = MPI.COMM_WORLD
RESIDUAL = 1e-8  # of the reactions
DEGREES = 14  # of quadrature, among which one is looked for where a measure names none
STRAIN = 1e-4  # whose forces count as reactions where there are none
SMALL = 0.02  # load up to which a problem with one mode, from rest, is easy
CELLS = {
    "interval": mesh.CellType.interval,
    "triangle": mesh.CellType.triangle,
    "quadrilateral": mesh.CellType.quadrilateral,
    "tetrahedron": mesh.CellType.tetrahedron,
    "hexahedron": mesh.CellType.hexahedron,
}
SOLVERS = ("energy", "material", "stress", "path", "arc", "cell")
SHARES = (0.32, 0.14, 0.14, 0.16, 0.12, 0.12)


@dataclass
class Result:
    """What became of a problem: the energy, over that of a strain of one, is of the last state."""

    unique: bool
    faults: list[str] = field(default_factory=list)
    energy: float = np.nan
    peak: float = 0.0  # largest size of the energy so far
    least: float = np.inf
    corner: float = np.inf
    states: int = 0
    negative: int | None = None


@dataclass(frozen=True)
class Problem:
    """One problem, all of whose numbers are without unit but `size` and `modulus`.

    Attributes:
        seed: of what is random in it.
        solver: one of `SOLVERS`.
        pair: material and space.
        cells: along the shortest side.
        aspect: how much longer the body is along x.
        size: its shortest side, in the unit of length.
        modulus: of the material, in the unit of stress.
        load: grips, rim, traction or body.
        amount: of the load: a strain, or a stress over the modulus.
        steps: in which it is reached.
        back: whether it is taken away again.
        direction: of the load, (dim,) or (dim, dim).
        noise: strain of the random start; 0 for rest.
    """

    seed: int
    solver: str
    pair: Pair
    cells: int
    aspect: int
    size: float
    modulus: float
    load: str
    amount: float
    steps: int
    back: bool
    direction: np.ndarray
    noise: float

    @property
    def name(self) -> str:
        """Of the material, in the unit of stress that is used."""
        return self.pair.name if self.modulus == self.pair.modulus else self.pair.in_pascal

    @property
    def dim(self) -> int:
        """Of the body."""
        return {"interval": 1, "triangle": 2, "quadrilateral": 2}.get(self.pair.cell, 3)

    @property
    def modes(self) -> int:
        """Of the material."""
        found = material(self.name)
        return len(found.modes) if isinstance(found, lse.SoftMinimum) else found.modes

    def text(self) -> str:
        """For people; the solver first."""
        rule = "dx" if self.pair.degree is None else f"dx{self.pair.degree}"
        return (
            f"{self.solver}, {self.name}, {self.pair.cell} {self.pair.order} {rule}, {self.cells} x {self.aspect} cells of a "
            f"body of {self.size:g}, {self.load} {self.amount:.3f} in {self.steps} steps{' and back' if self.back else ''}, "
            f"noise {self.noise:g}"
        )

    def unique(self) -> bool:
        """Whether there is one path to one result."""
        return self.modes == 1 and self.noise == 0.0 and self.amount <= 0.05

    def easy(self) -> bool:
        """Whether nobody may refuse it."""
        return self.unique() and self.amount <= SMALL

    def twins(self) -> Iterator[tuple[str, Problem]]:
        """The same problem in other units."""
        factor = 1e3 if self.size <= 1.0 else 1e-3
        yield f"a body of {factor * self.size:g}", replace(self, size=factor * self.size)
        if self.pair.in_pascal:
            yield "in Pa", replace(self, modulus=1e6 * self.modulus)

    def run(self) -> Result:
        """Solve it.

        Raises:
            LseError: it was refused.
        """
        if self.solver == "cell":
            return run_cell(self)
        body = Body(self)
        {"energy": run_energy, "material": run_material, "stress": run_material, "path": run_path, "arc": run_arc}[
            self.solver
        ](body)
        return body.result


def draw(seed: int, *, quick: bool = False) -> Problem:
    """The problem of a seed; of few pairs and small meshes if it is to be quick."""
    rng = np.random.default_rng([seed, 16])
    solver = str(rng.choice(SOLVERS, p=SHARES))
    fitting = [
        pair
        for pair in (PAIRS if not quick else QUICK)
        if not (solver in ("stress", "cell") and (pair.degree is None or pair.cell == "interval"))
        and not (solver == "cell" and pair.cell in ("tetrahedron", "hexahedron"))
    ]
    pair = fitting[rng.integers(len(fitting))]
    dim = {"interval": 1, "triangle": 2, "quadrilateral": 2}.get(pair.cell, 3)
    most = {1: 24, 2: 4 if quick else 7, 3: 3}[dim]
    load = str(rng.choice(["grips", "rim", "traction", "body"], p=[0.45, 0.2, 0.2, 0.15]))
    load = "traction" if solver == "arc" and load in ("grips", "rim") else load
    load = "rim" if solver == "cell" else load
    choice = rng.integers(4)
    way = [np.eye(dim)[0], -np.eye(dim)[0], np.eye(dim)[-1], rng.normal(size=dim)][choice]
    if load == "rim":
        way = rng.normal(size=(dim, dim))
    amount = float(rng.choice([0.0, rng.uniform(0.0, 0.02), rng.uniform(0.02, 0.2)], p=[0.04, 0.4, 0.56]))
    return Problem(
        seed=seed,
        solver=solver,
        pair=pair,
        cells=int(rng.integers(2 if dim > 1 else 4, most + 1)) if pair.order == 1 else int(rng.integers(2, max(most // 2, 3))),
        aspect=int(rng.integers(1, 4)) if dim < 3 and solver != "cell" else 1,
        size=float(10.0 ** rng.choice([0, -3, 3, -6, 6], p=[0.4, 0.2, 0.2, 0.1, 0.1])),
        modulus=pair.modulus,
        load=load,
        amount=amount * (0.3 if load in ("traction", "body") else 1.0),
        steps=int(rng.integers(1, 11)),
        back=bool(rng.random() < 0.25),
        direction=way / np.linalg.norm(way),
        noise=float(rng.choice([0.0, 0.01, 0.05, 0.15], p=[0.55, 0.15, 0.15, 0.15])) if solver in ("energy", "path") else 0.0,
    )  # fmt: skip


def box(problem: Problem, comm: MPI.Comm = COMM) -> mesh.Mesh:
    """The body: a box, longest along x, one corner at the origin."""
    cells = [problem.cells * problem.aspect, *[problem.cells] * (problem.dim - 1)]
    sides = problem.size * np.array([problem.aspect, *[1.0] * (problem.dim - 1)])
    kind = CELLS[problem.pair.cell]
    if problem.dim == 1:
        return mesh.create_interval(comm, cells[0], [0.0, float(sides[0])])
    make = mesh.create_rectangle if problem.dim == 2 else mesh.create_box
    return make(comm, [np.zeros(problem.dim), sides], cells, kind)


class Body:
    """A body with its forms and loads, and the judge of its states."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.material = problem, material(problem.name)
        domain, dim, pair = box(problem), problem.dim, problem.pair
        self.V = V = fem.functionspace(domain, ("Lagrange", pair.order, () if dim == 1 else (dim,)))
        self.u, self.moved = fem.Function(V), fem.Function(V)
        length = problem.size * problem.aspect

        def on(x: np.ndarray, *places: float) -> np.ndarray:
            found: np.ndarray = np.any([np.isclose(x[0], place, atol=1e-9 * length) for place in places], axis=0)
            return found

        facets = dim - 1
        domain.topology.create_connectivity(facets, dim)
        end = mesh.locate_entities_boundary(domain, facets, lambda x: on(x, length))
        left = mesh.locate_entities_boundary(domain, facets, lambda x: on(x, 0.0))
        rim = mesh.exterior_facet_indices(domain.topology)
        held = {"rim": [rim], "grips": [left, end]}.get(problem.load, [left])
        dofs = [fem.locate_dofs_topological(V, facets, part) for part in held]
        self.bcs = [fem.dirichletbc(self.moved, part) for part in dofs]
        tags = mesh.meshtags(domain, facets, np.sort(end), np.full(len(end), 1, dtype=np.int32))
        shape = () if dim == 1 else (dim,)
        zero = 0.0 if dim == 1 else np.zeros(shape)
        self.traction, self.weight = fem.Constant(domain, zero), fem.Constant(domain, zero)
        self.dx = ufl.dx if pair.degree is None else ufl.dx(degree=pair.degree)
        self.ds = ufl.Measure("ds", domain=domain, subdomain_data=tags)
        inner = ufl.inner
        self.work = inner(self.traction, self.u) * self.ds(1) + inner(self.weight, self.u) * ufl.dx
        if dim == 1:
            self.F: Any = self.u.dx(0)
            density = potential_energy(self.material, [self.F])
        else:
            self.F = ufl.Identity(dim) + ufl.grad(self.u)
            density = energy(self.material, self.F)
        self.stored = density * self.dx
        v = ufl.TestFunction(V)
        self._external = fem.form(inner(self.traction, v) * self.ds(1) + inner(self.weight, v) * ufl.dx)
        self.result = Result(problem.unique())
        self._largest = 0.0
        self._assembly: Assembly | None = None
        self.held = np.zeros(0, dtype=bool)

    def judge_by(self, residual: fem.Form | None) -> None:
        """Take the quadrature rule that the measure names; else that of this residual, which must be one of NumPy's.

        Where the measure names none, the rule is found by comparison, at a displacement like any other and without loads.

        Raises:
            AssertionError: the residual is that of no rule.
        """
        degree = self.problem.pair.degree
        if degree is None:
            assert residual is not None
            degree = self._rule_of(residual)
        self._assembly = Assembly(self.V, self.material, degree)
        self.held = self._assembly.held(self.bcs)

    def _rule_of(self, residual: fem.Form) -> int:
        """The degree whose residual is nearest to this one."""
        before = self.u.x.array.copy()
        self.waves(0.1, seed=0)
        b = fem.assemble_vector(residual)
        b.scatter_reverse(InsertMode.add)
        apart = []
        for degree in range(1, DEGREES + 1):
            assembly = Assembly(self.V, self.material, degree)
            ours, theirs = assembly.state(assembly.whole(self.u.x.array)).residual, assembly.whole(b.array)
            apart.append(float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)))
        self.u.x.array[:] = before
        if not min(apart) <= 1e-11:
            raise AssertionError(f"the residual is that of no quadrature rule up to degree {DEGREES}")
        return int(np.argmin(apart)) + 1

    @property
    def assembly(self) -> Assembly:
        """In NumPy."""
        assert self._assembly is not None
        return self._assembly

    def apply(self, level: float) -> None:
        """Set the load; u stays."""
        p = self.problem
        amount, dim = level * p.amount, p.dim
        if p.load == "grips":
            far = 0.5 * p.size * p.aspect
            way = amount * p.size * p.aspect * p.direction
            self.moved.interpolate(lambda x: np.where(x[0] > far, 1.0, 0.0) * way[:, None])
        elif p.load == "rim":
            self.moved.interpolate(lambda x: amount * p.direction @ x[:dim])
        else:
            which = self.traction if p.load == "traction" else self.weight
            factor = p.modulus / (1.0 if p.load == "traction" else p.size)
            which.value = amount * factor * (p.direction[0] if dim == 1 else p.direction)

    def start(self) -> None:
        """At rest or at random; the Dirichlet values are entered."""
        if self.problem.noise:
            self.waves(self.problem.noise, self.problem.seed)
            for bc in self.bcs:
                bc.set(self.u.x.array, None, 1.0)
            self.u.x.scatter_forward()

    def waves(self, strain: float, seed: int) -> None:
        """A few random waves, the same on any number of ranks and in any unit."""
        p, rng = self.problem, np.random.default_rng([seed, 1])
        waves = rng.normal(size=(20, p.dim)) * np.pi * p.cells / p.size / 2.0
        phases = rng.uniform(0.0, 2.0 * np.pi, 20)
        sizes = rng.normal(size=(p.dim, 20)) * strain / np.sqrt(20.0) / np.linalg.norm(waves, axis=1)
        self.u.interpolate(lambda x: sizes @ np.sin(waves @ x[: p.dim] + phases[:, None]))

    def levels(self) -> list[float]:
        """Shares of the load, one for each step."""
        up = (np.arange(self.problem.steps) + 1.0) / self.problem.steps
        return [*up.tolist(), 0.0] if self.problem.back else up.tolist()

    def external(self) -> np.ndarray:
        """The dead loads as a whole vector."""
        b = fem.assemble_vector(self._external)
        b.scatter_reverse(InsertMode.add)
        return self.assembly.whole(b.array)

    def start_energy(self) -> float:
        """The energy from which a minimiser goes down after `apply`: where the new Dirichlet values have been entered.

        That is by a linear step where the tangent is positive definite. Infinite, which says nothing, where it is not and the
        values change, or where the step turns a cell inside out.
        """
        u = self.assembly.whole(self.u.x.array)
        before = self.u.x.array.copy()
        for bc in self.bcs:
            bc.set(self.u.x.array, None, 1.0)
        change = self.assembly.whole(self.u.x.array) - u
        self.u.x.array[:] = before
        loads = self.external()
        if change.any():
            state, free = self.assembly.state(u, tangent=True), ~self.held
            assert state.tangent is not None
            inner = state.tangent[np.ix_(free, free)]
            if not np.isfinite(inner).all() or np.linalg.eigvalsh(inner).min(initial=np.inf) <= 0.0:
                return np.inf
            change[free] = -np.linalg.solve(inner, (state.residual - loads + state.tangent @ change)[free])
            u = u + change
        state = self.assembly.state(u)
        return np.inf if not self.small() and not state.least > 0.0 else state.energy - float(loads @ u)

    def small(self) -> bool:
        """Whether the material knows no det F."""
        return isinstance(self.material, lse.SoftMinimum) or isinstance(self.material.kinematics, lse.SmallStrain)

    def judge(
        self, where: str, *, energy: float | None = None, start: float = np.inf, stable: bool | int | None = None,
        extra: np.ndarray | float = 0.0,
    ) -> None:  # fmt: skip
        """Look at the present u.

        Args:
            where: of the text of a fault.
            energy: what the solver says it is.
            start: the energy from which it went down.
            stable: whether the package says that it is a minimum, or how many negative eigenvalues it says there are.
            extra: dead loads beside those of the problem, a whole vector.
        """
        u = self.assembly.whole(self.u.x.array)
        state = self.assembly.state(u, tangent=stable is not None)
        loads, result = self.external() + extra, self.result
        faults = result.faults
        residual = state.residual - loads
        reactions = float(np.linalg.norm(residual[self.held]))
        rest = float(np.linalg.norm(residual[~self.held]))
        self._largest = max(self._largest, reactions, float(np.linalg.norm(loads[~self.held])))
        scale = max(self._largest, STRAIN * self.assembly.strain_force)
        if not rest <= RESIDUAL * scale:
            faults.append(f"{where}: residual {rest / scale:.1e} of the reactions")
        judge_shape(self, state, where)
        volume = self.problem.aspect * self.problem.size**self.problem.dim
        unit = self.problem.modulus * volume
        potential = state.energy - float(self.external() @ u)
        hidden = 1e-11 * (abs(state.energy) + abs(float(self.external() @ u))) + 1e-15 * unit
        if energy is not None and not abs(energy - potential) <= 10.0 * hidden:
            faults.append(f"{where}: energy {energy / unit:.12g} is {potential / unit:.12g}")
        if not potential <= start + hidden:
            faults.append(f"{where}: the energy rose from {start / unit:.9g} to {potential / unit:.9g}")
        result.energy, result.states = potential / unit, result.states + 1
        result.peak = max(result.peak, abs(result.energy))
        if stable is not None and state.tangent is not None:
            dense = negative_eigenvalues(state.tangent[np.ix_(~self.held, ~self.held)])
            result.negative = dense
            if dense is not None and stable != ((dense == 0) if isinstance(stable, bool) else dense):
                faults.append(f"{where}: stability {stable!r}, but {dense} negative eigenvalues")


def judge_shape(body: Body, state: State, where: str) -> None:
    """det F > 0 at the quadrature points, if the material is of finite strain."""
    result = body.result
    if body.small():
        return
    result.least, result.corner = min(result.least, state.least), min(result.corner, state.corner)
    if not state.least > 0.0:
        result.faults.append(f"{where}: det F is {state.least:.3g} at a quadrature point")


# ---- the solvers ---------------------------------------------------------------------------------------------------------


def energy_problem(body: Body) -> EnergyProblem:
    prefix = f"campaign_{body.problem.seed}_"
    problem = EnergyProblem(body.stored - body.work, body.u, bcs=body.bcs, petsc_options_prefix=prefix)
    body.judge_by(problem.F)
    return problem


def run_energy(body: Body) -> None:
    """A loop of the user's own."""
    problem = energy_problem(body)
    body.start()
    for level in body.levels():
        body.apply(level)
        start = body.start_energy()
        problem.solve()
        body.judge(
            f"load {level:.3g}", energy=problem.energy(), start=start, stable=lse.fem.stability.is_stable(problem)
        )


def run_material(body: Body) -> None:
    """Newton's method on the residual, of the energy or of the stored stress."""
    v, stresses = ufl.TestFunction(body.V), []
    if body.problem.solver == "stress":
        stress = QuadratureStress(body.material, body.F, degree=body.problem.pair.degree)
        stored, stresses = ufl.inner(stress.operator, ufl.grad(v)) * stress.dx, [stress]
    else:
        stored = ufl.derivative(body.stored, body.u, v)
    problem = MaterialProblem(
        stored - ufl.derivative(body.work, body.u, v), body.u, bcs=body.bcs, stresses=stresses,
        petsc_options_prefix=f"campaign_{body.problem.seed}_",
    )  # fmt: skip
    body.judge_by(problem.F)
    for level in body.levels():
        body.apply(level)
        problem.solve()
        body.judge(f"load {level:.3g}")


def run_path(body: Body) -> None:
    """A LoadPath that leaves saddles."""
    problem = energy_problem(body)
    body.start()

    def look() -> float:
        level = path.table["load"][-1] if path.table["load"] else 0.0
        body.judge(f"path, after load {level:.3g}", energy=problem.energy(), stable=True)
        return 0.0

    perturbation = 0.02 * body.problem.size / body.problem.cells
    path = LoadPath(problem, body.apply, {"judged": look}, perturbation_size=perturbation, progress=False)
    path.run(body.levels())


def run_arc(body: Body) -> None:
    """A dead load by arc length."""
    problem = energy_problem(body)
    p, dim = body.problem, body.problem.dim
    domain = body.V.mesh
    way = p.direction[0] if dim == 1 else p.direction
    force = fem.Constant(domain, p.modulus * way / (1.0 if p.load == "traction" else p.size))
    measure = body.ds(1) if p.load == "traction" else ufl.dx
    work = ufl.inner(force, body.u) * measure
    unit = fem.form(ufl.inner(force, ufl.TestFunction(body.V)) * measure)
    b = fem.assemble_vector(unit)
    b.scatter_reverse(InsertMode.add)
    load = body.assembly.whole(b.array)
    path = ArcLength(problem, work, 0.02 * p.size)
    high = max(p.amount, 1e-3)
    for _ in range(p.steps):
        path.run(1, high=high)
        factor = path.table["factor"][-1]
        body.judge(
            f"factor {factor:.6g}", energy=path.table["energy"][-1], stable=int(path.table["negative"][-1]),
            extra=factor * load,
        )  # fmt: skip
        if factor >= high:
            break
    body.result.unique = body.result.unique and path.table["factor"][-1] >= high


def run_cell(problem: Problem) -> Result:
    """A periodic cell under an average F, with or without a hole in it, and with or without a stress prescribed."""
    rng = np.random.default_rng([problem.seed, 2])
    found, dim, size = material(problem.name), problem.dim, problem.size
    assert isinstance(found, lse.Material)
    cells = 2 * (problem.cells // 2) + 1
    domain = box(replace(problem, cells=max(cells, 3)))
    if rng.random() < 0.5:
        domain = with_hole(domain, size, max(cells, 3))
    pair = problem.pair
    cell = PeriodicCell(domain, lambda F: energy(found, F), degree=pair.order, quadrature_degree=pair.degree or 4)
    assembly = Assembly(cell.u.function_space, found, pair.degree or 4)
    T = periodic_map(assembly.places, dim, size)
    result = Result(problem.unique())
    free = {(0, 0): 0.0} if rng.random() < 0.4 else {}
    small = isinstance(found.kinematics, lse.SmallStrain)
    unit = problem.modulus * size**dim
    held = np.zeros(T.shape[1], dtype=bool)
    held[T.shape[1] - dim**2 :] = True
    for i, j in free:
        held[T.shape[1] - dim**2 + dim * i + j] = False
    levels = (np.arange(problem.steps) + 1.0) / problem.steps
    for level in [*levels, 0.0] if problem.back else levels:
        where = f"load {level:.3g}"
        told = cell.minimum(np.eye(dim) + level * problem.amount * problem.direction, free)
        state = assembly.state(assembly.whole(cell.u.x.array), tangent=True)
        assert state.tangent is not None
        forces, K = T.T @ state.residual, T.T @ state.tangent @ T
        result.states, result.energy = result.states + 1, state.energy / unit
        result.peak = max(result.peak, abs(result.energy))
        result.least, result.corner = min(result.least, state.least), min(result.corner, state.corner)
        scale = max(float(np.linalg.norm(state.stress)) / size, STRAIN * assembly.strain_force)
        rest = float(np.linalg.norm(forces[: -dim * dim]))
        average = forces[-dim * dim :].reshape(dim, dim) / size**dim
        faults = result.faults
        if not rest <= RESIDUAL * scale:
            faults.append(f"{where}: residual {rest / scale:.1e} of the reactions")
        for place, stress in free.items():
            if not abs(average[place] - stress) * size**dim / size <= RESIDUAL * scale:
                faults.append(f"{where}: P{place} is {average[place] / problem.modulus:.3e}, not {stress}")
        if not np.abs(average - told.stress).max() * size**dim / size <= RESIDUAL * scale:
            faults.append(f"{where}: the average stress is {told.stress.tolist()}, by NumPy {average.tolist()}")
        if not abs(told.energy * size**dim - state.energy) <= 1e-11 * abs(state.energy) + 1e-14 * unit:
            faults.append(f"{where}: energy {told.energy * size**dim / unit:.12g} is {state.energy / unit:.12g}")
        if not (small or state.least > 0.0):
            faults.append(f"{where}: det F is {state.least:.3g} at a quadrature point")
        result.negative = dense = negative_eigenvalues(K[np.ix_(~held, ~held)])
        if dense is not None and dense != told.negative:
            faults.append(f"{where}: {told.negative} negative eigenvalues are {dense}")
        faults += tangent_faults(where, told.tangent, K, held, free, size, dim)
    return result


def tangent_faults(
    where: str, told: np.ndarray | None, K: np.ndarray, held: np.ndarray, free: dict[tuple[int, int], float],
    size: float, dim: int,
) -> list[str]:  # fmt: skip
    """dP/dF of the cell against the Schur complement in NumPy, where the cell is far from its critical points."""
    if told is None or free:
        return []
    inner, outer = K[np.ix_(~held, ~held)], K[np.ix_(~held, held)]
    values = np.abs(np.linalg.eigvalsh(inner))
    if values.min() < 1e-6 * values.max():
        return []
    exact = (K[np.ix_(held, held)] - outer.T @ np.linalg.solve(inner, outer)) / size**dim
    apart = float(np.abs(told.reshape(exact.shape) - exact).max() / np.abs(exact).max())
    return [] if apart <= 1e-8 else [f"{where}: dP/dF is {apart:.1e} away"]


def with_hole(domain: mesh.Mesh, size: float, cells: int) -> mesh.Mesh:
    """The cell without the squares in its middle."""
    dim = domain.topology.dim
    owned = domain.topology.index_map(dim).size_local
    middle = mesh.compute_midpoints(domain, dim, np.arange(owned, dtype=np.int32))[:, :dim] / size
    kept = np.flatnonzero(np.abs(middle - 0.5).max(axis=1) > 0.5 / cells).astype(np.int32)
    made: mesh.Mesh = mesh.create_submesh(domain, dim, kept)[0]
    return made


def periodic_map(places: np.ndarray, dim: int, size: float) -> np.ndarray:
    """u = T (w, H): w at the independent nodes but one, H = F - I row by row; nodes of a box with a corner at the origin."""
    unit = np.round(places / size * 1e6).astype(np.int64)
    keys = [tuple(row) for row in np.where(unit == 10**6, 0, unit)]
    numbers = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    first = next(iter(numbers))
    count = len(numbers) - 1
    T = np.zeros((len(places) * dim, count * dim + dim * dim))
    for node, key in enumerate(keys):
        for i in range(dim):
            row = node * dim + i
            if key != first:
                T[row, (numbers[key] - 1) * dim + i] = 1.0
            T[row, count * dim + dim * i : count * dim + dim * (i + 1)] = places[node]
    return T
