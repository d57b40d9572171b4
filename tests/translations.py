"""A material in each translation: NumPy, which is the meaning of the formula, torch, UFL, stored stresses, compiled C.

Torch computes its own strain measures here and differentiates by itself; UFL is differentiated by ufl.diff and compiled by
FFCx. Errors are relative to the largest entry over the points.
"""

import dolfinx
import numpy as np
import torch
import ufl
from mpi4py import MPI

import lse_material as lse
from lse_material.fit import TrainablePotential
from lse_material.kernel import CompiledEvaluator, CompiledPotential
from tests.materials import relative_error

BOUNDS = {"W": 1e-12, "P": 1e-11, "A": 1e-10}
AS_USERS = {"cffi_extra_compile_args": ["-O2", "-g0"]}  # as DOLFINx compiles where nothing is said


# Each translation returns W (n,), P (n, dim, dim), A (n, dim, dim, dim, dim) of F (n, dim, dim).


def by_numpy(material, F):
    return {"W": material.energy(F), "P": material.stress(F), "A": material.tangent(F)}


def by_torch(material, F):
    p = material.potential
    model = TrainablePotential.from_potential(p)
    shift, scale = torch.tensor(p.input_shift), torch.tensor(p.input_scale)

    def W(f):
        xh = (torch_strain(material.kinematics, f) - shift) / scale
        return p.energy_scale * model(xh[None])[0][0] + p.energy_shift

    f = torch.tensor(F)
    P = torch.func.grad(W)
    values = torch.func.vmap(W)(f), torch.func.vmap(P)(f), torch.func.vmap(torch.func.jacfwd(P))(f)
    return {name: value.detach().numpy() for name, value in zip("WPA", values)}


def torch_strain(kinematics, f):
    dim, root2 = kinematics.dim, 2.0**0.5
    one = torch.eye(dim, dtype=f.dtype)
    pairs = [(0, 0), (1, 1), (0, 1)] if dim == 2 else [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    # written out: vmap of jacfwd of the gradient of torch.det is wrong (torch 2.14)
    J = (f[0] * torch.linalg.cross(f[1], f[2])).sum() if dim == 3 else f[0, 0] * f[1, 1] - f[0, 1] * f[1, 0]
    if isinstance(kinematics, lse.IsotropicInvariants):
        C = torch.block_diag(f.T @ f, torch.ones(1, 1, dtype=f.dtype)) if dim == 2 else f.T @ f
        I1 = torch.trace(C)
        I2 = (I1**2 - torch.trace(C @ C)) / 2
        volume = (J - 1) ** 2 if kinematics.squared_volume else J - 1
        return torch.stack([J ** (-2 / 3) * I1 - 3, J ** (-4 / 3) * I2 - 3, volume])
    if kinematics.monotone_inputs:
        return torch_invariants(kinematics, f, J)
    e = (f + f.T) / 2 - one if isinstance(kinematics, lse.SmallStrain) else (f.T @ f - one) / 2
    volume = [J - 1] if isinstance(kinematics, lse.StrainAndVolume) else []
    return torch.stack([*(e[a, b] * (1.0 if a == b else root2) for a, b in pairs), *volume])


def torch_invariants(kinematics, f, J):
    """Those of structural tensors, by C and cof C = J^2 C^-1 instead of stretches of fibres and areas."""
    dim, volume, C = kinematics.dim, J - 1, f.T @ f
    areas = J**2 * torch.linalg.inv(C)
    whole = [torch.trace(C) - dim - 2 * volume, torch.trace(areas) - 3 - 4 * volume][: dim - 1]
    if isinstance(kinematics, lse.PrincipalInvariants):
        return torch.stack([*whole, volume])
    axes = [torch.tensor(axis, dtype=f.dtype) for axis in (kinematics.a, getattr(kinematics, "b", kinematics.a))]
    axes = [*axes, torch.linalg.cross(*axes)] if dim == 3 else axes
    along, across = ([n @ A @ n for n in axes] for A in (C, areas))
    if isinstance(kinematics, lse.CubicInvariants):
        sums = [sum(x**2 for x in along) - dim - 4 * volume, sum(x**2 for x in across) - 3 - 8 * volume][: dim - 1]
        signs = torch.cartesian_prod(*[torch.tensor([1.0, -1.0], dtype=f.dtype)] * dim)[: 2 ** (dim - 1)]
        diagonals = [(s[:, None] * torch.stack(axes)).sum(0) / dim**0.5 for s in signs]
        share = 4 if dim == 2 else 16 / 3
        sums.append(sum((d @ C @ d) ** 2 for d in diagonals) - len(signs) - share * volume)
        return torch.stack([*whole, *sums, volume])
    fibres = dim if isinstance(kinematics, lse.OrthotropicInvariants) and dim == 3 else 1
    own = [x - 1 for x in along[:fibres]] + [x - 1 - 2 * volume for x in across[:fibres]]
    with_whole = isinstance(kinematics, lse.TransverseInvariants) and dim == 3
    return torch.stack([*(whole if with_whole else []), *own, volume])


def cellwise(F):
    """A mesh of at least len(F) cells and a tensor function that is F[i] in cell i."""
    n, dim, _ = F.shape
    if dim == 2:
        mesh = dolfinx.mesh.create_rectangle(
            MPI.COMM_SELF, [[0, 0], [1, 1]], [n, 1], dolfinx.mesh.CellType.quadrilateral
        )
    else:
        box = [[0, 0, 0], [1, 1, 1]]
        mesh = dolfinx.mesh.create_box(MPI.COMM_SELF, box, [n, 1, 1], dolfinx.mesh.CellType.hexahedron)
    f = dolfinx.fem.Function(dolfinx.fem.functionspace(mesh, ("DG", 0, (dim, dim))))
    f.x.array[:] = F.ravel()
    return mesh, f


def by_ufl(material, F, explicit=False, expanded=False):
    n = len(F)
    mesh, f = cellwise(F)
    f = ufl.variable(f)
    W = lse.fem.energy(material, f, expanded=expanded)
    P = lse.fem.stress(material, f, expanded=expanded) if explicit else ufl.diff(W, f)
    return values_in_cells({"W": W, "P": P, "A": ufl.diff(P, f)}, mesh, n)


def values_in_cells(expressions, mesh, n, jit_options=None):
    """Each expression in the middle of the first n cells; all are compiled as one."""
    indices = {name: list(np.ndindex(e.ufl_shape)) for name, e in expressions.items()}
    components = [e[i] if i else e for name, e in expressions.items() for i in indices[name]]
    middle = np.full((1, mesh.topology.dim), 0.5)
    compiled = dolfinx.fem.Expression(ufl.as_vector(components), middle, jit_options=jit_options)
    values = np.split(
        compiled.eval(mesh, np.arange(n, dtype=np.int32)).reshape(n, -1),
        np.cumsum([len(i) for i in indices.values()])[:-1],
        axis=1,
    )
    return {name: v.reshape(n, *e.ufl_shape) for v, (name, e) in zip(values, expressions.items(), strict=True)}


def by_ufl_stress(material, F):
    return by_ufl(material, F, explicit=True)


def by_expanded_ufl(material, F):
    return by_ufl(material, F, expanded=True)


def by_expanded_ufl_stress(material, F):
    return by_ufl(material, F, explicit=True, expanded=True)


def by_external_operator(material, F):
    """P and A assembled cell by cell, over cells of area 1/n."""
    n, dim, _ = F.shape
    _, f = cellwise(F)
    P = lse.fem.QuadratureStress(material, f, degree=1)
    v = ufl.TestFunction(f.function_space)
    problem = lse.fem.MaterialProblem(
        n * ufl.inner(P.operator, v) * P.dx, f, stresses=[P], petsc_options_prefix="agreement_"
    )
    P.update_tangent()
    values = dolfinx.fem.assemble_vector(problem.F).array
    tangent = dolfinx.fem.assemble_matrix(problem.J).to_scipy().toarray().reshape(n, dim * dim, n, dim * dim)
    return {"P": values.reshape(F.shape), "A": np.einsum("npnq->npq", tangent).reshape(n, dim, dim, dim, dim)}


def by_compiled_c(material, F):
    values = CompiledEvaluator(material).evaluate(F)
    return {"W": values.energy, "P": values.stress, "A": values.tangent}


def assert_agreement(material, F, *translations):
    exact = by_numpy(material, F)
    for name in exact:
        assert np.isfinite(exact[name]).all()
    for translation in translations:
        for name, value in translation(material, F).items():
            error = relative_error(value, exact[name])
            assert error < BOUNDS[name], f"{name} {translation.__name__} differs from NumPy by {error:.1e}"


TRANSLATIONS = (
    by_torch,
    by_ufl,
    by_ufl_stress,
    by_expanded_ufl,
    by_expanded_ufl_stress,
    by_external_operator,
    by_compiled_c,
)


# ---- of a potential: W (n,), P = dW/dx (n, d), A (n, d, d) at x (n, d) ----


def torch_potential(potential, x):
    model, xt = TrainablePotential.from_potential(potential), torch.tensor(x)
    hessian = torch.func.jacfwd(lambda point: model(point[None])[1][0])
    W, g, _ = model(xt)
    return {"W": W.detach().numpy(), "P": g.detach().numpy(), "A": torch.func.vmap(hessian)(xt).detach().numpy()}


def expanded_ufl_potential(potential, x):
    return ufl_potential(potential, x, expanded=True)


def ufl_potential(potential, x, expanded=False):
    n, d = x.shape
    mesh = dolfinx.mesh.create_interval(MPI.COMM_SELF, n, (0.0, 1.0))
    f = dolfinx.fem.Function(dolfinx.fem.functionspace(mesh, ("DG", 0, (d,))))
    f.x.array[:] = x.ravel()
    point = ufl.variable(f)
    W = lse.fem.potential_energy(potential, [point[i] for i in range(d)], expanded=expanded)
    g = ufl.diff(W, point)

    expressions = {"W": W, "P": g, "A": ufl.diff(g, point)}
    return values_in_cells(expressions, mesh, n, None if expanded else AS_USERS)


def compiled_potential(potential, x):
    compiled = CompiledPotential(potential)
    return {"W": compiled.energy(x), "P": compiled.gradient(x), "A": compiled.hessian(x)}
