"""PETSc's options for nonlinear problems: defaults, combinations that fail, and the clean-up of PETSc's database."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from petsc4py import PETSc

from lse_material.errors import InvalidInputError
from lse_material.fem._mpi import warn_together

DEFAULT_OPTIONS: Mapping[str, Any] = {
    "snes_type": "newtonls",
    "snes_linesearch_type": "bt",
    "snes_rtol": 1e-10,
    "snes_stol": 1e-12,
    "snes_max_it": 50,
    "ksp_type": "preonly",
    "pc_type": "lu",
    "pc_factor_mat_solver_type": "mumps",
}
TRUST_REGION: Mapping[str, Any] = {
    "snes_type": "newtontr",
    "snes_max_it": 400,
    "snes_stol": 0.0,
    "ksp_type": "stcg",
    "ksp_rtol": 1e-3,
    "pc_type": "cholesky",
    "pc_factor_mat_solver_type": "mumps",
}
SADDLE: Mapping[str, Any] = {  # residuals rise on the way to a saddle
    **DEFAULT_OPTIONS,
    "snes_linesearch_type": "basic",
}
FAILED_LINEAR = int(PETSc.SNES.ConvergedReason.DIVERGED_LINEAR_SOLVE)
DIRECT = ("cholesky", "lu")  # preconditioners that are factors
WORK_SPACES = (100, 400, 1600)  # per cent beyond MUMPS's estimate, which delayed pivots exceed
NEEDS_WORK_SPACE = (-8, -9)  # errors of MUMPS
LINEAR = ("ksponly", "ksptransposeonly")  # one linear solve, whose residual is not tested
WITH_BOUNDS = ("vinewtonrsls", "vinewtonssls")
WITHOUT_JACOBIAN = ("qn", "ngmres", "nrichardson", "ncg", "anderson", "ms")
NEEDS_SEVERAL_GRIDS = ("fas", "ngs", "nasm", "aspin", "composite", "multiblock", "patch", "shell", "python")
PROBE = "lse_material_probe"
_left: dict[str, tuple[str, ...]] = {}  # names of the options that problems have left in the database, by prefix
SYMMETRIC = ("cg", "minres", "symmlq", "stcg", "nash", "gltr", "cholesky", "icc")  # solvers for symmetric matrices


def checked_options(prefix: Any, options: Any) -> dict[str, Any]:
    """The PETSc options of a problem; none for None. Raises InvalidInputError for names with spaces, or dashes in front."""
    if not _is_name(prefix):
        raise InvalidInputError(
            f'petsc_options_prefix is {prefix!r}; it must be a text without spaces, such as "plate_", of this problem alone.'
        )
    if options is not None and not (isinstance(options, Mapping) and all(_is_name(key) for key in options)):
        raise InvalidInputError(
            f"petsc_options is {options!r}; it must be a dictionary of names without spaces and dashes in front, such as "
            '{"ksp_type": "cg", "pc_type": "gamg"}.'
        )
    return dict(options or {})


def _is_name(text: Any) -> bool:
    return isinstance(text, str) and text != "" and not text.startswith("-") and not any(c.isspace() for c in text)


def set_outside(prefix: str) -> dict[str, Any]:
    """Options that the command line, or the script, has set in PETSc's database under a prefix: they take precedence over
    defaults. Those that an earlier problem has left there under this prefix are deleted first."""
    database = PETSc.Options()
    for name in _left.pop(prefix, ()):
        database.delValue(f"{prefix}{name}")
    return {name.removeprefix(prefix): value for name, value in database.getAll().items() if name.startswith(prefix)}


def solver_options(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a problem: those given by the user, and the defaults that are compatible with them.

    Raises InvalidInputError: the solver needs several grids, or its line search a Jacobian that it does not assemble.
    """
    options = {**_without_factors(defaults, given), **given}
    kind, search = str(options.get("snes_type")), options.get("snes_linesearch_type")
    if kind in NEEDS_SEVERAL_GRIDS:
        raise InvalidInputError(
            f"snes_type {kind} needs what a problem on one mesh does not have (grids, subdomains or solvers of its own): take "
            "newtonls or newtontr, or one without Jacobian: qn, ngmres, anderson."
        )
    if kind in WITHOUT_JACOBIAN and search == "bt":
        if "snes_linesearch_type" in given:
            raise InvalidInputError(
                f"the line search bt needs the Jacobian, which snes_type {kind} does not assemble: take "
                "snes_linesearch_type cp, or leave it out."
            )
        del options["snes_linesearch_type"]  # PETSc has one for each of these
    return options


def energy_options(prefix: str, given: Any, *, saddle: bool) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """The options that a user has chosen for an `EnergyProblem`, and its defaults for them; `saddle` if the energy is mixed.

    Raises InvalidInputError: the solver is one for bounds on u; or as `checked_options`.
    """
    given = checked_options(prefix, given)
    chosen = {**set_outside(prefix), **given}
    if chosen.get("snes_type") in WITH_BOUNDS:
        raise InvalidInputError(
            f"snes_type {chosen['snes_type']} keeps u within bounds, of which the convergence test and the minimiser of an "
            "EnergyProblem know nothing: take MaterialProblem(ufl.derivative(energy, u), u, ...), or a penalty in the energy."
        )
    defaults = TRUST_REGION if chosen.get("snes_type", "newtontr") == "newtontr" else DEFAULT_OPTIONS
    return chosen, SADDLE if saddle else defaults


def _without_factors(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The defaults without options of factors, if the user's preconditioner is none: incomplete factors refuse MUMPS."""
    if given.get("pc_type", "lu") in DIRECT:
        return defaults
    return {key: value for key, value in defaults.items() if not key.startswith("pc_factor_")}


class OptionWarning(UserWarning):
    """A PETSc option that was given has no effect: it is misspelt, or belongs to a solver that was not chosen.

    The first process alone prints it; where a filter makes it an error, all processes raise it. To say nothing:

    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", lse.fem.OptionWarning)
    ...     _ = problem.solve()
    """


def warn_of_unread_options(solver: PETSc.SNES, given: Sequence[str], *, stacklevel: int) -> None:
    """Warn of the options that a user has given for a solver, and that nothing has read so far; collective."""
    database, prefix, comm = PETSc.Options(), solver.getOptionsPrefix(), solver.comm.tompi4py()
    known = database.getAll()
    here = [name for name in given if f"{prefix}{name}" in known and not database.used(f"{prefix}{name}")]
    unread = sorted(set().union(*comm.allgather(here)))
    if unread:
        text = (
            f"PETSc has not read {unread} of petsc_options: misspelt, or options of another solver than the one chosen."
        )
        warn_together(comm, text, OptionWarning, stacklevel=stacklevel)


def needs_symmetry(ksp: PETSc.KSP) -> bool:
    """Whether a linear solver takes symmetric matrices only."""
    return ksp.getType() in SYMMETRIC or ksp.getPC().getType() in SYMMETRIC


def mumps_error(ksp: PETSc.KSP) -> int:
    """MUMPS's INFOG(1) of a factorisation: negative where it failed; 0 where MUMPS is not the solver."""
    pc = ksp.getPC()
    if pc.getType() not in ("lu", "cholesky") or pc.getFactorSolverType() != "mumps":
        return 0
    return int(pc.getFactorMatrix().getMumpsInfog(1))


def run_with_work_space(ksp: PETSc.KSP, run: Callable[[], int]) -> int:
    """Run a nonlinear solver from where it shall start, and anew while MUMPS, in its linear solver, lacks work space.

    As `run`, it returns PETSc's reason. Collective.
    """
    reason = run()
    for share in WORK_SPACES:
        if reason != FAILED_LINEAR or mumps_error(ksp) not in NEEDS_WORK_SPACE:
            break
        _give_work_space(ksp, share)
        reason = run()
    return reason


def _give_work_space(ksp: PETSc.KSP, share: int) -> None:
    """Make MUMPS repeat its analysis with `share` per cent of additional work space, also for later factors. Collective."""
    prefix = ksp.getOptionsPrefix() or ""
    PETSc.Options().setValue(f"{prefix}mat_mumps_icntl_14", str(share))
    _left[prefix] = (*_left.get(prefix, ()), "mat_mumps_icntl_14")
    ksp.getPC().reset()


@contextmanager
def in_database(prefix: str, options: Mapping[str, Any]) -> Iterator[None]:
    """Note the options that are put into PETSc's database for a problem, and clean it after an error.

    They stay there, and would apply to a later problem of this prefix too. And after PETSc has refused an option, DOLFINx's
    prefix stays in front of all later options, which then have no effect.

    Raises InvalidInputError: PETSc refused an option.
    """
    database = PETSc.Options()
    before = _pushed_prefix()
    try:
        yield
    except PETSc.Error as error:
        if _pushed_prefix() != before:
            database.prefixPop()
        for name in options:
            database.delValue(f"{prefix}{name}")
        raise InvalidInputError(f"PETSc refused to set up {prefix!r} with {dict(options)}: {error}") from error
    _left[prefix] = tuple(options)


def _pushed_prefix() -> str:
    """The prefix that PETSc adds to the name of an option that is set now."""
    database = PETSc.Options()
    before = set(database.getAll())
    database.setValue(PROBE, "1")
    (name,) = set(database.getAll()) - before
    database.delValue(PROBE)
    database.delValue(name)
    return name.removesuffix(PROBE)
