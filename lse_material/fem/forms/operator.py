"""A potential inside a form: a UFL operator that FFCx turns into a call of compiled C.

    PotentialComponent(x_0, .., x_(d-1); number, code)      number: which potential, code: W, dW/dx_i, d2W/dx_i dx_j or w_k

Its derivative rule is exact, so an energy can be differentiated twice by ufl.derivative or ufl.diff and used in any integral
or Expression, and UFL's operations on forms (lhs, rhs, system, action, adjoint, replace) take it as any other operator. UFL and
FFCx have no public way to add an operator: this is the one module that reaches into them. Each place is registered below and
has a test of its own (tests/fem/forms/test_operator.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import dolfinx.jit
import dolfinx_external_operator  # noqa: F401  (registers its UFL type, before UFL's lists are brought up to date)
import ffcx.codegeneration.jit
import ffcx.codegeneration.lnodes as lnodes
import ffcx.compiler
import ffcx.ir.analysis.reconstruct
import numpy as np
import ufl
import ufl.classes
import ufl.formatting.ufl2unicode as ufl2unicode
from ffcx.codegeneration.integral_generator import IntegralGenerator
from ufl.algorithms.apply_algebra_lowering import apply_algebra_lowering
from ufl.algorithms.apply_derivatives import GateauxDerivativeRuleset, GenericDerivativeRuleset, apply_derivatives
from ufl.algorithms.check_arities import ArityMismatch
from ufl.algorithms.comparison_checker import ComplexComparisonError
from ufl.algorithms.estimate_degrees import SumDegreeEstimator
from ufl.algorithms.expand_indices import IndexExpander
from ufl.algorithms.transformer import Transformer
from ufl.constantvalue import IntValue, Zero
from ufl.core.expr import Expr
from ufl.core.operator import Operator
from ufl.core.ufl_type import ufl_type
from ufl.corealg.dag_traverser import DAGTraverser
from ufl.corealg.multifunction import MultiFunction
from ufl.variable import Variable

from lse_material.errors import InvalidInputError
from lse_material.fem._mpi import expect_one_material
from lse_material.fem.forms.header import (
    Numbered,
    by_number,
    component_function,
    include_arguments,
    machine_flags,
    numbered,
)
from lse_material.fem.forms.marks import marks_in
from lse_material.fem.forms.strain import parts_of_multiple, pull_back, strain_components
from lse_material.kernel.c_writer import upper_triangle
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.strain import StrainMeasure


@ufl_type(is_scalar=True, num_ops="varying")
class PotentialComponent(Operator):
    """One component of a potential at x: operands x_0 .. x_(d-1), the potential's number, and the component's code."""

    __slots__ = ("numbered",)

    def __init__(self, *operands: Expr) -> None:
        Operator.__init__(self, tuple(ufl.as_ufl(operand) for operand in operands))
        self.numbered: Numbered = by_number(self.number)  # kept as long as an expression needs it

    @property
    def x(self) -> tuple[Expr, ...]:
        """The d inputs."""
        return tuple(self.ufl_operands[:-2])

    @property
    def number(self) -> int:
        """Which potential."""
        return int(self.ufl_operands[-2])

    @property
    def code(self) -> int:
        """Which component: see `lse_material.fem.forms.header.component_function`."""
        return int(self.ufl_operands[-1])

    def at(self, code: int) -> PotentialComponent:
        """Another component at the same x."""
        return PotentialComponent(*self.x, IntValue(self.number), IntValue(code))

    def evaluate(self, x: Any, mapping: Any, component: Any, index_values: Any) -> float:
        """The value where UFL can say those of its inputs, as in W((0.1, 0.2))."""
        potential = self.numbered.potential
        if self.numbered.frozen:
            raise InvalidInputError("the frozen second derivatives of a potential have values in compiled forms only.")
        at = np.array([[float(operand.evaluate(x, mapping, (), index_values)) for operand in self.x]])
        hessian = potential.hessian(at)[0][np.triu_indices(len(self.x))]
        values = (potential.energy(at), potential.gradient(at)[0], hessian, potential.mode_weights(at)[0])
        return float(np.concatenate(values)[self.code])

    def __str__(self) -> str:
        return f"potential_{self.number:016x}[{self.code}]({', '.join(map(str, self.x))})"


def value(potential: SoftMinimum, x: list[Expr]) -> PotentialComponent:
    """W(x) in energy units; differentiate it at will, twice."""
    known = numbered(potential)
    return PotentialComponent(*x, IntValue(known.number), IntValue(0))


def gradient(potential: SoftMinimum, x: list[Expr]) -> list[Expr]:
    """dW/dx_i."""
    W = value(potential, x)
    return [W.at(1 + i) for i in range(potential.size)]


def weights(potential: SoftMinimum, x: list[Expr]) -> list[Expr]:
    """The mode weights; they cannot be differentiated."""
    W, d = value(potential, x), potential.size
    return [W.at(1 + d + d * (d + 1) // 2 + k) for k in range(len(potential.modes))]


def frozen_hessian(W: PotentialComponent) -> list[list[Expr]]:
    """sum_k w_k d2psi_k/dx2 at the x of W, where the mode weights do not change: (d, d), positive semi-definite."""
    d = len(W.x)
    triangle = upper_triangle(d)
    known = numbered(W.numbered.potential, frozen=True)
    frozen = PotentialComponent(*W.x, IntValue(known.number), IntValue(0))
    return [[frozen.at(1 + d + triangle.index((min(i, j), max(i, j)))) for j in range(d)] for i in range(d)]


def _derivative(self: GenericDerivativeRuleset, o: PotentialComponent) -> Expr:
    """The derivative of W in a function by its stress, P : dF; else the chain rule.

    Products of two derivatives, as a second derivative has them, then stand for each component of F, of which a form has few
    arguments, and not for each pair of components of the strain: there is half as much to compile in three dimensions.
    """
    found = _deformation(o) if o.code == 0 and isinstance(self, GateauxDerivativeRuleset) else None
    if found is None:
        return _chain_rule(self, o)
    F, kinematics = found
    first = len(o.x) - kinematics.size
    P = pull_back(kinematics, F, [o.at(1 + first + i) for i in range(kinematics.size)])
    work = _work(self, apply_derivatives(apply_algebra_lowering(P)), F)
    return sum((self(o.x[i]) * o.at(1 + i) for i in range(first)), work)  # of fields


def _work(self: GateauxDerivativeRuleset, P: Expr, F: Variable) -> Expr:
    """P : dF; of F = s G it is s P : dG + (P : G) ds."""
    parts, (i, j) = parts_of_multiple(F.expression()), ufl.indices(2)
    if parts is None:
        dF = self(F)
        return Zero() if isinstance(dF, Zero) else P[i, j] * dF[i, j]
    factor, G = parts
    return factor * _work(self, P, G) + P[i, j] * G[i, j] * self(factor)


def _deformation(W: PotentialComponent) -> tuple[Variable, StrainMeasure] | None:
    """The F of whose components the last inputs of a potential are those of a strain measure, and that measure."""
    for F, kinematics in marks_in(W, StrainMeasure):
        expected = [apply_algebra_lowering(x) for x in strain_components(kinematics, F)]
        if expected == list(W.x[len(W.x) - len(expected) :]):
            return F, kinematics
    return None


@DAGTraverser.postorder
def _chain_rule(self: GenericDerivativeRuleset, o: PotentialComponent, *derivatives: Expr) -> Expr:
    """sum_i d(component)/dx_i dx_i."""
    moving = [i for i, dx in enumerate(derivatives[:-2]) if not isinstance(dx, Zero)]
    if not moving:
        zero = derivatives[0]
        return Zero(zero.ufl_shape, zero.ufl_free_indices, zero.ufl_index_dimensions)
    d = len(o.x)
    triangle = upper_triangle(d)
    if o.code == 0:
        codes = [1 + i for i in range(d)]
    elif o.code <= d:
        i = o.code - 1
        codes = [1 + d + triangle.index((min(i, j), max(i, j))) for j in range(d)]
    else:
        what = "a third derivative of the energy" if o.code <= d + len(triangle) else "a derivative of mode weights"
        raise InvalidInputError(
            f"the form needs {what}, which the compiled operator does not have: use energy(..., expanded=True) or "
            "mode_weights(..., expanded=True), whose plain UFL differentiates as often as you like."
        )
    return functools.reduce(lambda a, b: a + b, [derivatives[i] * o.at(codes[i]) for i in moving])


def _degree(self: SumDegreeEstimator, o: PotentialComponent, *degrees: Any) -> Any:
    """That of x plus 2, as UFL estimates other functions that are no polynomials."""
    return max(degree for degree in degrees if degree is not None) + 2


def _call(o: PotentialComponent, *arguments: Any) -> Any:
    if not _compiling:
        raise InvalidInputError(
            "this form holds a compiled potential (lse.fem.energy), but is being compiled without its header. Compile it "
            "through DOLFINx (fem.form, fem.Expression, NonlinearProblem, MaterialProblem), which needs nothing more, or "
            "use energy(..., expanded=True)."
        )
    call: Callable[..., Any] = lnodes.MathFunction
    return call(component_function(o.number), arguments[:-2] + arguments[-1:])


def _unicode(self: Any, o: PotentialComponent, *operands: str) -> str:
    """As `__str__`, in the pretty printer's text of the inputs."""
    return f"potential_{o.number:016x}[{o.code}]({', '.join(operands[:-2])})"


def _own_component(self: IndexExpander, o: Variable) -> Expr:
    """The component of a variable that is asked for: UFL keeps the first one that it finds for a label."""
    return self.visit(o.ufl_operands[0])


_compiling: list[bool] = []


def _with_headers(compile_objects: Callable[..., Any]) -> Callable[..., Any]:
    """`compile_forms` or `compile_expressions` of FFCx, given the headers of the potentials in what is compiled."""

    @functools.wraps(compile_objects)
    def compile_with_headers(objects: Any, options: Any = None, *args: Any, **kwargs: Any) -> Any:
        options = {} if options is None else options
        if any(ufl.algorithms.extract_type(_expression(item), ufl.ExternalOperator) for item in objects):
            raise InvalidInputError(
                "this form or expression holds a stress stored at points (QuadratureStress), which FFCx cannot compile. "
                "Solve with it by MaterialProblem, look at it by its stress_function(), or use lse.fem.stress, which is UFL."
            )
        numbers = sorted({number for item in objects for number in potentials_in(item)})
        if numbers:
            for item in objects:
                refuse_other_precision(item, options)
            kwargs["cffi_extra_compile_args"] = extended(kwargs.get("cffi_extra_compile_args") or [], numbers)
        if any(_has_several_rules(item) for item in objects):  # not what FFCx has of it without `_with_own_values`
            kwargs["cffi_extra_compile_args"] = [*(kwargs.get("cffi_extra_compile_args") or []), "-DLSE_OWN_VALUES"]
        _compiling.append(True)
        try:
            return compile_objects(objects, options, *args, **kwargs)
        finally:
            _compiling.pop()

    return compile_with_headers


def _has_several_rules(item: Any) -> bool:
    integrals = item.integrals() if isinstance(item, ufl.Form) else ()
    return len({str(integral.metadata().get("quadrature_degree")) for integral in integrals}) > 1


def _with_own_values(get_var: Callable[..., Any]) -> Callable[..., Any]:
    """`get_var` of FFCx's generator, without the values of other quadrature rules.

    A value that is the same at all points of one rule is computed once, before the loops. FFCx 0.11 then takes it also in the
    loops of the other rules of the integral: of u dx(degree=1) + u^2 dx(degree=2) the second term has u of the centre.
    """

    @functools.wraps(get_var)
    def own_value(self: Any, rule: Any, domain: Any, v: Any) -> Any:
        if rule is None:
            return get_var(self, rule, domain, v)
        known = vars(self).setdefault("_varying", {})
        if (domain, rule) not in known:
            nodes = self.ir.expression.integrand[domain, rule]["factorization"].nodes.values()
            known[domain, rule] = {node["expression"] for node in nodes if node["status"] == "varying"}
        return self.scopes[domain, rule].get(v) if v in known[domain, rule] else get_var(self, rule, domain, v)

    return own_value


def _with_exceptions(generate: Callable[..., Any]) -> Callable[..., Any]:
    """`compile_ufl_objects` of FFCx, raising exceptions where UFL raises what is none.

    UFL's ArityMismatch and ComplexComparisonError derive from BaseException. FFCx then leaves a broken entry in the cache of
    compiled forms, for which the next process waits in vain, and with several ranks all but the first wait for ever.
    """

    @functools.wraps(generate)
    def generate_or_raise(*args: Any, **kwargs: Any) -> Any:
        try:
            return generate(*args, **kwargs)
        except ComplexComparisonError as error:
            raise InvalidInputError(
                f"UFL refuses this form in complex arithmetic: {error} Compare real parts, ufl.real(a) with ufl.real(b)."
            ) from None
        except ArityMismatch as error:
            raise InvalidInputError(
                f"UFL refuses this form: {error} A form must be linear in its test function and in its trial function; in "
                "complex arithmetic it must hold the conjugate of the test function, as ufl.inner(P, ufl.grad(v)) does and "
                "ufl.derivative of an energy does not."
            ) from None

    return generate_or_raise


def _checked_on_every_rank(ffcx_jit: Callable[..., Any]) -> Callable[..., Any]:
    """`ffcx_jit` of DOLFINx, which compiles on one rank and waits on the others: what can be refused is refused before."""

    @functools.wraps(ffcx_jit)
    def checked(comm: Any, item: Any, form_compiler_options: Any = None, *args: Any, **kwargs: Any) -> Any:
        if isinstance(item, (ufl.Form, tuple)):
            numbers = sorted(potentials_in(item))
            expect_one_material(comm, numbers)
            if numbers:
                refuse_other_precision(item, form_compiler_options or {})
        return ffcx_jit(comm, item, form_compiler_options, *args, **kwargs)

    return checked


def refuse_other_precision(item: Any, options: Mapping[str, Any]) -> None:
    """Refuse to compile potentials, whose C is of doubles, in a form of other scalars or on a mesh of single precision.

    The item is a form, or a pair (expression, points). Without `scalar_type` in the options of FFCx scalars are float64.
    """
    scalar = np.dtype(options.get("scalar_type", np.float64))
    advice = "write the potential out in plain UFL, by expanded=True in energy, stress and mode_weights"
    if np.issubdtype(scalar, np.complexfloating):
        raise InvalidInputError(
            f"compiled potentials are real, float64, and this form is of {scalar}: {advice}, and the stress in a form by "
            "ufl.inner(stress(..., expanded=True), ufl.grad(v)), which conjugates the test function."
        )
    single = [np.dtype(t) for t in _mesh_types(item) if t != np.float64]
    if scalar != np.float64 or single:
        what = f"this form is of {scalar}" if scalar != np.float64 else f"its mesh is of {single[0]}"
        raise InvalidInputError(
            f"compiled potentials are float64, and {what}: make mesh and functions with dtype=numpy.float64, or {advice} on a "
            "mesh and with functions of dtype=numpy.float32."
        )


def _mesh_types(item: Any) -> list[Any]:
    """The types of the coordinates of all meshes in a form, or in a pair (expression, points)."""
    domains = ufl.domain.extract_domains(item[0]) if isinstance(item, tuple) else item.ufl_domains()
    cargo = [domain.ufl_cargo() for domain in domains]
    return [domain.geometry.x.dtype for domain in cargo if domain is not None]


def energies_in(form: Any, purpose: str) -> list[PotentialComponent]:
    """Return the compiled energies of a form, in one order on every rank, or raise InvalidInputError at a derivative of one."""
    found = sorted(ufl.algorithms.extract_type(form, PotentialComponent), key=repr)
    if any(W.code for W in found):
        raise InvalidInputError(f"the energy holds a stress or mode weights of a compiled potential; {purpose}.")
    return found


def potentials_in(item: Any) -> set[int]:
    """Numbers of the potentials in a form, an expression, or a pair (expression, points)."""
    return {o.number for o in ufl.algorithms.extract_type(_expression(item), PotentialComponent)}


def _expression(item: Any) -> Any:
    return item[0] if isinstance(item, tuple) else item


def extended(arguments: list[str], numbers: list[int]) -> list[str]:
    """Compiler arguments with those of the potentials added, each once."""
    flags = machine_flags(arguments) if numbers else []
    result = [*arguments, *(flag for flag in flags if flag not in arguments)]
    for number in numbers:
        include, header = include_arguments(number)
        if header not in result:
            result += [include, header]
    return result


def jit_options(item: Any, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The `jit_options` with which DOLFINx compiles `item`: `options`, with the headers of its potentials added.

    DOLFINx is given them by itself; this is for looking at them, or for passing them on to other compilers of C. Forms with a
    potential are compiled with -O3 for this CPU, unless `cffi_extra_compile_args` has a level other than DOLFINx's own -O2.

    Args:
        item: a UFL form or expression.
        options: as DOLFINx takes them; its defaults if left out.

    >>> expression = fem.Expression(W, np.array([[0.3, 0.3]]), jit_options=lse.fem.jit_options(W))
    >>> expression.eval(domain, np.array([0], dtype=np.int32)).round(6)
    array([[0.004307]])
    """
    result = dolfinx.jit.get_options(dict(options or {}))
    result["cffi_extra_compile_args"] = extended(result["cffi_extra_compile_args"], sorted(potentials_in(item)))
    return result


# ---- the places in UFL, FFCx and DOLFINx -----------------------------------------------------------------------------


def refresh_visitors() -> None:
    """Bring UFL's lists of types up to date: with this operator, and with that of dolfinx_external_operator.

    UFL's visitors keep one handler for each type that was registered when the first of their class was made; a form compiled
    before then ends in `IndexError: list index out of range`. Its transformers (lhs, rhs, system, expand_indices) and the
    precedences of its printer read a list made at its own import. UFL fills the caches again when they are needed.
    """
    ufl.classes.all_ufl_classes.update(Expr._ufl_all_classes_)
    for visitor in (MultiFunction, Transformer):
        visitor._handlers_cache.clear()
    ufl2unicode._precrules.__init__()  # the only visitor that UFL keeps


GenericDerivativeRuleset.__dict__["process"].register(PotentialComponent)(_derivative)
setattr(SumDegreeEstimator, PotentialComponent._ufl_handler_name_, _degree)
setattr(ufl2unicode.Expression2UnicodeHandler, PotentialComponent._ufl_handler_name_, _unicode)
setattr(IndexExpander, Variable._ufl_handler_name_, _own_component)
reconstruct = ffcx.ir.analysis.reconstruct
reconstruct._reconstruct_call_lookup[PotentialComponent] = reconstruct.handle_scalar_nary
lnodes._ufl_call_lookup[PotentialComponent] = _call
for _name in ("compile_forms", "compile_expressions"):
    setattr(ffcx.codegeneration.jit, _name, _with_headers(getattr(ffcx.codegeneration.jit, _name)))
IntegralGenerator.get_var = _with_own_values(IntegralGenerator.get_var)  # type: ignore[method-assign]
ffcx.compiler.compile_ufl_objects = _with_exceptions(ffcx.compiler.compile_ufl_objects)
dolfinx.jit.ffcx_jit = _checked_on_every_rank(dolfinx.jit.ffcx_jit)
refresh_visitors()
