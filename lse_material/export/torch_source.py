"""A material as one Python file that needs torch alone: a module with W, P and A in closed form, ready for torch.export."""

from collections.abc import Sequence
from textwrap import indent
from typing import Any

from lse_material.export.preamble import description, filled, number
from lse_material.export.python_body import entries_of_F, layers, listed, python_body, python_language, quadratic
from lse_material.export.recorder import recorded_activation, recorded_kinematics, recorded_mode
from lse_material.model.material import Material, potential_of
from lse_material.model.mode import Mode
from lse_material.model.soft_minimum import SoftMinimum

_HEAD = '''
from __future__ import annotations

from typing import List, Tuple

import torch
from torch import Tensor


def table(rows: int, columns: int, values: List[float]) -> Tensor:
    """A matrix, from its rows one after another."""
    return torch.tensor(values, dtype=torch.float64).reshape(rows, columns)


def product(matrix: Tensor, x: Tensor) -> Tensor:
    """matrix x of vectors x (..., d)."""
    return x @ matrix.transpose(0, 1)


def activation(which: int, a: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
    """An activation and its first two derivatives, from those of softplus: s, t, c."""
    s, t = -torch.nn.functional.logsigmoid(-a), torch.sigmoid(a)
    c = t * torch.sigmoid(-a)
@ACTIVATIONS@


class Layer(torch.nn.Module):
    """a = x_weight x + z_weight z + bias; z of the first layer has no entries."""

    def __init__(self, x_weight: Tensor, z_weight: Tensor, bias: Tensor):
        super().__init__()
        self.register_buffer("x_weight", x_weight)
        self.register_buffer("z_weight", z_weight)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return product(self.x_weight, x) + product(self.z_weight, z) + self.bias


class ConvexNetwork(torch.nn.Module):
    """An input convex network: hidden layers, an output layer and the term |quadratic x|^2 / 2."""

    def __init__(self, which: int, hidden: List[Layer], output: Layer, quadratic: Tensor):
        super().__init__()
        self.which = which
        self.hidden = torch.nn.ModuleList(hidden)
        self.output = output
        self.register_buffer("quadratic", quadratic)

    def forward(self, x: Tensor) -> Tensor:
        """psi (...) at x (..., d)."""
        z = x[..., :0]
        for layer in self.hidden:
            z = activation(self.which, layer(x, z))[0]
        return self.output(x, z)[..., 0] + 0.5 * (product(self.quadratic, x) ** 2).sum(-1)

    def values(self, x: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        """psi (...), its gradient (..., d) and its Hessian (..., d, d)."""
        z = x[..., :0]
        dz = z[..., None] * x[..., None, :]  # (..., width, d)
        ddz = dz[..., None] * x[..., None, None, :]
        for layer in self.hidden:
            value, slope, curvature = activation(self.which, layer(x, z))
            da = layer.x_weight + layer.z_weight @ dz
            dda = torch.einsum("nm,...mij->...nij", layer.z_weight, ddz)
            z, dz = value, slope[..., None] * da
            ddz = slope[..., None, None] * dda + curvature[..., None, None] * da[..., :, None] * da[..., None, :]
        gradient = (self.output.x_weight + self.output.z_weight @ dz)[..., 0, :]
        hessian = torch.einsum("nm,...mij->...nij", self.output.z_weight, ddz)[..., 0, :, :]
        quadratic = self.quadratic.transpose(0, 1) @ self.quadratic
        psi = self.output(x, z)[..., 0] + 0.5 * (product(self.quadratic, x) ** 2).sum(-1)
        return psi, gradient + product(quadratic, x), hessian + quadratic
'''

_FORMULA = '''

class @CLASS@(torch.nn.Module):
    """psi of one mode by its formula."""

    def forward(self, x: Tensor) -> Tensor:
        return self.values(x)[0]

    def values(self, x: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
@TEXT@
'''

_POTENTIAL = '''

class Potential(torch.nn.Module):
    """W = energy_scale softmin(psi; rho) + energy_shift of x (..., d), float64."""

    def __init__(self):
        super().__init__()
        self.modes = torch.nn.ModuleList([
@MODES@
        ])
        self.register_buffer("shift", torch.tensor(@SHIFT@, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(@SCALE@, dtype=torch.float64))
        self.rho = @RHO@
        self.energy_scale = @ENERGY_SCALE@
        self.energy_shift = @ENERGY_SHIFT@

    def forward(self, x: Tensor) -> Tensor:
        """W (...)."""
        scaled = (x - self.shift) / self.scale
        psi: List[Tensor] = []
        for mode in self.modes:
            psi.append(mode(scaled))
        energy = -self.rho * torch.logsumexp(torch.stack(psi, -1) / -self.rho, -1)
        return self.energy_scale * energy + self.energy_shift

    def evaluate(self, x: Tensor) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
        """W (...), dW/dx (..., d), d2W/dx2 (..., d, d) and mode weights (..., K), in closed form."""
        scaled = (x - self.shift) / self.scale
        energies: List[Tensor] = []
        gradients: List[Tensor] = []
        hessians: List[Tensor] = []
        for mode in self.modes:
            values = mode.values(scaled)
            energies.append(values[0])
            gradients.append(values[1])
            hessians.append(values[2])
        psi, g, H = torch.stack(energies, -1), torch.stack(gradients, -2), torch.stack(hessians, -3)
        weights = torch.softmax(psi / -self.rho, -1)
        energy = -self.rho * torch.logsumexp(psi / -self.rho, -1)
        gradient = (weights[..., None] * g).sum(-2)
        apart = g - gradient[..., None, :]
        covariance = (weights[..., None, None] * apart[..., :, None] * apart[..., None, :]).sum(-3)
        hessian = (weights[..., None, None] * H).sum(-3) - covariance / self.rho
        hessian = self.energy_scale * hessian / (self.scale[:, None] * self.scale)
        W = self.energy_scale * energy + self.energy_shift
        return W, self.energy_scale * gradient / self.scale, hessian, weights
'''

_KINEMATICS = '''

def strain(F: Tensor) -> Tensor:
    """x (..., d) at F (..., dim, dim)."""
@X@


def strain_derivative(F: Tensor) -> Tensor:
    """dx/dF (..., d, dim^2)."""
@DX@


def growth(F: Tensor) -> Tensor:
    """What a growth term adds to W."""
@GROWTH@


def growth_stress(F: Tensor) -> Tensor:
    """What it adds to P (..., dim^2)."""
@STRESS@


def geometric(F: Tensor, g: Tensor) -> Tensor:
    """sum_i g_i d2x_i/dF dF, and what the growth term adds to A (..., dim^2, dim^2)."""
@GEOMETRIC@


class Material(torch.nn.Module):
    """W(F) per reference volume at F (..., @DIM@, @DIM@), float64."""

    def __init__(self):
        super().__init__()
        self.potential = Potential()

    def forward(self, F: Tensor) -> Tensor:
        """W (...)."""
        return self.potential(strain(F)) + growth(F)

    def evaluate(self, F: Tensor) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
        """W (...), P = dW/dF (..., @DIM@, @DIM@), A = dP/dF (..., @DIM@, @DIM@, @DIM@, @DIM@) and mode weights (..., K)."""
        W, g, H, weights = self.potential.evaluate(strain(F))
        dx = strain_derivative(F)
        P = (g[..., None, :] @ dx)[..., 0, :] + growth_stress(F)
        A = dx.transpose(-2, -1) @ H @ dx + geometric(F, g)
        return W + growth(F), P.reshape(F.shape), A.reshape(F.shape + F.shape[-2:]), weights

    def stress(self, F: Tensor) -> Tensor:
        """P (..., @DIM@, @DIM@)."""
        return self.evaluate(F)[1]

    def tangent(self, F: Tensor) -> Tensor:
        """A (..., @DIM@, @DIM@, @DIM@, @DIM@)."""
        return self.evaluate(F)[2]
'''

_VALUES = '''

class Values(@CLASS@):
    """The same, whose call is `evaluate`: what to give to torch.export or torch.jit, for all values at once."""

    def forward(self, @INPUT@: Tensor) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.evaluate(@INPUT@)
'''


def torch_source(material: Material | SoftMinimum, name: str) -> str:
    """A file with `Material()`, or `Potential()` for a plain potential: W when called, all values by `evaluate`."""
    p = potential_of(material)
    names = list(dict.fromkeys(mode.options()["activation"] for mode in p.modes if mode.type == "ConvexNetwork"))
    kind, argument = ("Material", "F") if isinstance(material, Material) else ("Potential", "x")
    use = [
        f"Use: W = {kind}()({argument}), all values by {kind}().evaluate({argument}), {argument} of float64.",
        f"Without Python: torch.export.export(Values(), ({argument},)), or torch.jit.script(Values()).",
    ]
    text = '"""' + "\n".join([*description(material, name), *use]) + '\n"""\n' + _HEAD
    text = text.replace("@ACTIVATIONS@", _activations(names or ["softplus"]))
    modes = []
    for k, mode in enumerate(p.modes):
        if mode.type == "ConvexNetwork":
            modes.append(_network(mode, names.index(mode.options()["activation"])))
            continue
        text += filled(_FORMULA, {"CLASS": f"Mode{k}", "TEXT": indent(_formula(mode), "    ")})
        modes.append(f"Mode{k}()")
    replacements = {
        "MODES": indent(",\n".join(modes) + ",", " " * 12),
        "SHIFT": listed(p.input_shift),
        "SCALE": listed(p.input_scale),
        "RHO": number(p.scaled_rho),
        "ENERGY_SCALE": number(p.energy_scale),
        "ENERGY_SHIFT": number(p.energy_shift),
        "CLASS": kind,
        "INPUT": argument,
    }
    text += _POTENTIAL
    if isinstance(material, Material):
        text += _KINEMATICS
        replacements |= {**_kinematics(material), "DIM": str(material.dim)}
    return filled(text + _VALUES, replacements)


def _activations(names: Sequence[str]) -> str:
    lines = []
    for i, name in enumerate(names):
        recorder, *values = recorded_activation(name, "stc")
        results = dict(zip(("value", "slope", "curvature"), values))
        found = [*recorder.written(results, python_language("torch"))[0], f"return {', '.join(results)}  # {name}"]
        last = i == len(names) - 1
        lines += found if last else [f"if which == {i}:", *(f"    {line}" for line in found)]
    return indent("\n".join(lines), "    ")


def _network(mode: Any, which: int) -> str:
    """A convex network as a call of its class."""
    *hidden, output = ("Layer(\n" + indent(f"{layer}[0],", "    ") + "\n)" for layer in layers(mode))
    listed_hidden = "[\n" + indent("".join(f"{layer},\n" for layer in hidden), "    ") + "]"
    return "ConvexNetwork(\n" + indent(f"{which},\n{listed_hidden},\n{output},\n{quadratic(mode)},", "    ") + "\n)"


def _formula(mode: Mode) -> str:
    """The body of `values` of a mode that has a formula."""
    names = [f"x{i + 1}" for i in range(mode.size)]
    recorder, psi, gradient, hessian = recorded_mode(mode, names, "exported torch")
    inputs = {name: f"x[..., {i}]" for i, name in enumerate(names)}
    return python_body(recorder, inputs, "torch", psi, gradient, hessian)


def _kinematics(material: Material) -> dict[str, str]:
    """The bodies of strain, growth and their derivatives."""
    inputs = entries_of_F(material.dim)
    g = {f"g{i + 1}": f"g[..., {i}]" for i in range(material.kinematics.size)}
    k = recorded_kinematics(material, list(inputs), list(g))
    of_F = {"X": k.x, "DX": k.dx, "GROWTH": k.energy, "STRESS": k.stress}
    bodies = {key: python_body(k.recorder, inputs, "torch", value) for key, value in of_F.items()}
    return {**bodies, "GEOMETRIC": python_body(k.recorder, {**inputs, **g}, "torch", k.geometric)}
