"""What the name of a column means: F11, F_xx, "P12 [MPa]", sigma(1,2), sqrt2*E12, dW/dx1, T, path.

A name has one meaning, none, or several: E12 may be the component of the tensor or the engineering shear 2 E12, `stress_xx` may
be any stress. Where a name has several, the user says which it is, by names that then have one meaning each (`declared`).
"""

import re
import unicodedata
from dataclasses import dataclass

from lse_material.errors import InvalidInputError

DEFORMATIONS = ("F", "H", "C", "E", "U", "stretch")
STRESSES = ("P", "S", "sigma", "tau", "Biot")
MEANINGS = {  # of the quantities, for reports and messages
    "F": "deformation gradient",
    "H": "displacement gradient F - I",
    "C": "right Cauchy-Green tensor F^T F",
    "E": "Green-Lagrange strain (C - I) / 2",
    "U": "right stretch tensor",
    "stretch": "principal stretch",
    "P": "first Piola-Kirchhoff stress",
    "S": "second Piola-Kirchhoff stress",
    "sigma": "Cauchy stress",
    "tau": "Kirchhoff stress J sigma",
    "Biot": "Biot stress",
    "W": "energy per reference volume",
    "x": "input of the potential",
    "g": "gradient dW/dx",
    "weight": "weight of the row",
    "group": "group",
    "field": "scalar that W depends on",
    "conjugate": "dW/d",
    "unused": "left alone",
}
FIELDS = ("field ", "conjugate ")  # before the names of scalars


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


_TENSORS = {  # words before two indices, in lower case
    "F": _words("f, defgrad, def grad, deformation gradient, dg, fdl"),
    "H": _words("gradu, grad u, disp grad, displacement gradient"),
    "C": _words("c, right cauchy green"),
    "E": _words("green lagrange, green lagrange strain, green strain, egl"),
    "U": _words("u, right stretch"),
    "P": _words("p, pk1, 1pk, pk1 stress, first piola, first piola kirchhoff, first piola kirchhoff stress, dw/df"),
    "S": _words("pk2, 2pk, pk2 stress, second piola, second piola kirchhoff, second piola kirchhoff stress"),
    "sigma": _words("sigma, sig, cauchy, cauchy stress, true stress, σ"),
    "tau": _words("tau, kirchhoff, kirchhoff stress, τ"),
    "Biot": _words("biot, biot stress"),
}
_ANY_STRAIN = _words("e, eps, epsilon, ε, strain, h, ne")
_LOGARITHMIC = re.compile(
    r"(?:le|hencky|log(?:arithmic)? strain|true strain|ln ?v|ln ?u)[ ,]*[1-3xyz]{2}", re.IGNORECASE
)
_ANY_STRESS = _words("s, t, n, stress, nominal stress, nominal, engineering stress")
# words that make sense before x, y and z alone
_NORMAL = _words("sigma, sig, σ, cauchy, stress, nominal stress, engineering stress, eps, epsilon, ε, strain")
_ANY_STRESS_ALONE = _words("p, stress, nominal stress, nominal, engineering stress")
_ENERGIES = _words("w, ws, psi, ψ, energy, strain energy, strain energy density, energy density, sed")
_ENERGIES += _words("free energy, free energy density, helmholtz energy, elastic energy density")
_ANY_ENERGY = _words("e, u, v, f, a, potential, potential energy, total energy, internal energy, elastic energy")
_GROUPS = _words("group, path, load path, loading path, case, load case, simulation, sim, test")
_GROUPS += _words("experiment, specimen, trajectory, run")
_STATES = ("T", "temp", "temperature", "theta", "θ", "c", "conc", "concentration", "soc", "porosity")
_STRETCHES = _words("lambda, λ, stretch, lam")
_SHEAR = r"(?P<double>2 ?\*? ?)|(?P<mandel>(?:sqrt\(?2\)?|√2) ?[*·]? ?)"
_TENSOR = re.compile(
    rf"(?:{_SHEAR})?(?P<word>[^\W\d]\D*?|[12]pk|pk[12](?: stress)?)[ ,]*(?P<i>[0-9xyz])[ ,]*(?P<j>[0-9xyz])",
    re.IGNORECASE,
)
_VECTOR = re.compile(r"(?P<word>[^\W\d]\D*?)[ ,]*(?P<i>\d+|(?<![^\W_])[xyz]|(?<=[gdfs])[xyz])", re.IGNORECASE)
_UNIT = re.compile(
    r"(.*?)(?:\s*\[([^\[\]]*)\]|\s*\(([^()]*)\)|\s+/\s*(\S+)|\s*,\s+(?![xyzXYZ]{2}\b)([^\d\s]\S*)|[ _]([kMG]?Pa|percent))"
)
_TUPLE = re.compile(r"\('(\w+)', '?(\w)'?, '?(\w)'?\)")  # as pandas writes names of two levels
_OF_DISPLACEMENT = (
    re.compile(  # u_x,y; du_x/dy and du1/dX2; du/dy, dv/dy and dw/dy, but dw/dx can be that of an energy w
        r"u[ ,]*(?P<i>[xyz1-3]),[ ,]*(?P<j>[xyz1-3])|du ?(?P<k>[xyz1-3]) ?/ ?d ?(?P<l>[xyz]) ?(?P<m>[1-3]?)"
        r"|d(?P<w>[uv]|w(?=.*[yz])) ?/ ?d ?(?P<n>[xyz])",
        re.IGNORECASE,
    )
)
_INDEX = re.compile(r"[\[(]([0-9xyz])(?:\s*,\s*|\]\s*\[|\)\s*\(|)([0-9xyz]?)[\])]$", re.IGNORECASE)

Index = tuple[int, ...] | str


@dataclass(frozen=True)
class Meaning:
    """One component of a quantity: `factor` times the column. Indices of tensors and vectors as in the name."""

    quantity: str
    index: Index = ()
    factor: float = 1.0

    def __str__(self) -> str:
        if self.quantity == "group":
            return "group"
        index = f" {self.index}" if isinstance(self.index, str) else "".join(map(str, self.index))
        shear = {0.5: "2", 0.5**0.5: "sqrt2*", -1.0: "-"}.get(self.factor, "")
        return f"{shear}{self.quantity}{index}"


_FIRST = {quantity: Meaning(quantity, (1,) if quantity in ("g", "x", "stretch") else (1, 1)) for quantity in MEANINGS}
_MEANINGS_OF_WORDS = {  # whole names without indices
    **dict.fromkeys(("weight", "weights"), (Meaning("weight"),)),
    **dict.fromkeys(_GROUPS, (Meaning("group"),)),
    **{letter: (Meaning("x", (k + 1,)),) for k, letter in enumerate("xyz")},
    **dict.fromkeys(("g", "gradient", "grad", "dw/dx", "dwdx"), (_FIRST["g"],)),
    **dict.fromkeys(_ANY_ENERGY, (Meaning("W"), Meaning("unused"))),
    **dict.fromkeys(_STRETCHES, (_FIRST["stretch"], _FIRST["x"])),
    **dict.fromkeys(_ANY_STRESS_ALONE, (_FIRST["P"], _FIRST["g"], Meaning("unused"))),
    "stress": (_FIRST["P"], _FIRST["sigma"], _FIRST["g"], Meaning("unused")),
    **dict.fromkeys(_TENSORS["sigma"], (_FIRST["sigma"], Meaning("unused"))),
    **dict.fromkeys(("engineering strain", "nominal strain"), (_FIRST["H"],)),
}


def component_names(quantity: str, dim: int, *, transposed: bool = False) -> list[str]:
    """Names of the components of a tensor, row by row or column by column: F11, F12, ..."""
    pairs = [(i, j) for i in range(1, dim + 1) for j in range(1, dim + 1)]
    return [f"{quantity}{j}{i}" if transposed else f"{quantity}{i}{j}" for i, j in pairs]


def name_and_unit(text: str) -> tuple[str, str]:
    """A column name without its unit, and the unit: "P11 [MPa]" is P11 in MPa."""
    text = text.strip().strip("\"'")
    if text.startswith(FIELDS):
        return text, ""
    if (match := re.fullmatch(r"(.*\S)\s+\(1\)", text)) and _TENSOR.fullmatch(_plain(match[1])):
        return match[1], "1"
    if not _INDEX.search(text) and not _TUPLE.fullmatch(text) and (match := _UNIT.fullmatch(text)):
        return match[1].strip(), next(unit for unit in match.groups()[1:] if unit is not None).strip()
    return text, ""


def meanings(name: str) -> tuple[Meaning, ...]:
    """What a name in a header, without its unit, can mean: nothing, one thing, or several."""
    if name.startswith(FIELDS):
        quantity, _, of = name.partition(" ")
        return (Meaning(quantity, of.strip()),)
    if name[:1] in ("-", "−"):
        return tuple(Meaning(m.quantity, m.index, -m.factor) for m in meanings(name[1:]))
    if match := _OF_DISPLACEMENT.fullmatch(re.sub(r"[${}\\_\s]+", " ", name).strip()):
        return _of_displacement(match)
    name = _plain(name)
    word = name.lower()
    if _joined(word) in map(_joined, _ENERGIES):
        return (Meaning("W"),)
    if name in _STATES:
        return (Meaning("field", name), Meaning("unused"))
    if word in _MEANINGS_OF_WORDS:
        return _MEANINGS_OF_WORDS[word]
    if (match := _TENSOR.fullmatch(name)) and match["i"].isalpha() == match["j"].isalpha():
        found = _tensor(match["word"].strip(), _indices(match), _shear_factor(match))
        if found:
            return found
    match = _VECTOR.fullmatch(name)
    return _vector(match["word"].strip(), match["i"]) if match else ()


def declared(name: str) -> Meaning:
    """The one meaning of a name by which a user says what a column is. Raises InvalidInputError: it is no such name."""
    sign, plain = (-1.0, name[1:]) if name.startswith("-") else (1.0, name)
    if name == "unused":
        return Meaning("unused")
    match = _TENSOR.fullmatch(_plain(plain))
    words = {"gamma": ("E", 0.5), "γ": ("E", 0.5), **{q: (q, 1.0) for q in (*DEFORMATIONS, *STRESSES)}}
    if match and match["word"] in words:
        quantity, factor = words[match["word"]]
        return Meaning(quantity, _indices(match), sign * factor * _shear_factor(match))
    found = meanings(plain)
    if found and (len(found) == 1 or found[0].quantity == "stretch"):
        return Meaning(found[0].quantity, found[0].index, sign * found[0].factor)
    raise InvalidInputError(
        f"columns names {name!r}, which is no quantity: F11, H11 (F - I), C11, E11, gamma12 (2 E12), U11, stretch1, P11, S11, "
        "sigma11, tau11, Biot11 and their like; W, x1, g1, weight, group, field NAME, conjugate NAME, unused."
    )


def is_logarithmic(name: str) -> bool:
    """Whether a name is that of a component of the logarithmic strain ln U, or ln V: LE11 of Abaqus."""
    return bool(_LOGARITHMIC.fullmatch(_plain(name)))


def _plain(name: str) -> str:
    """A name without marks of LaTeX, code and programs, and case of subscripts: F_{11}, F(1,1), F[1][1], F-11 are F 1 1."""
    name = unicodedata.normalize("NFKC", name).strip()
    name = re.sub(r"[${}\\]", "", name)
    name = _TUPLE.sub(r"\1 \2 \3", name)
    name = _INDEX.sub(lambda m: f" {m[1]} {m[2]}", name)
    name = re.sub(r"^v_(?=[A-Z])", "", name)  # variables of LAMMPS
    name = re.sub(r"^solid\d*\.|[- ]component$|^(\w+)\W+(?=\1\d)", "", name)  # of COMSOL; S of S.S11
    return re.sub(r"[\s_.:\-]+", " ", name).strip()


def _joined(words: str) -> str:
    """Words without blanks between them and in lower case: DeformationGradient is deformation gradient."""
    return words.replace(" ", "").lower()


def _indices(match: re.Match[str]) -> tuple[int, int]:
    return _number(match["i"]), _number(match["j"])


def _number(index: str) -> int:
    """1 of x, 2 of y, 3 of z, and numbers as they are."""
    return "xyz".index(index.lower()) + 1 if index.isalpha() else int(index)


def _shear_factor(match: re.Match[str]) -> float:
    return 0.5 if match["double"] else 0.5**0.5 if match["mandel"] else 1.0


def _tensor(word: str, index: tuple[int, ...], factor: float = 1.0) -> tuple[Meaning, ...]:
    """Meanings of a name with two indices."""
    if word == "u":
        return Meaning("U", index, factor), Meaning("H", index, factor)
    for quantity, words in _TENSORS.items():
        if _joined(word) in map(_joined, words):
            return (Meaning(quantity, index, factor),)
    if word == "E":
        tensor = Meaning("E", index, factor)
        return (tensor,) if index[0] == index[1] or factor != 1.0 else (tensor, Meaning("E", index, 0.5))
    if word == "S":
        return (Meaning("S", index, factor),)
    if word.lower() in ("gamma", "γ"):
        return Meaning("E", index, 0.5), Meaning("H", index, 0.5)
    if word.lower() in _ANY_STRAIN:
        shear = () if index[0] == index[1] or factor != 1.0 else (Meaning("E", index, 0.5),)
        return Meaning("E", index, factor), *shear, Meaning("H", index, factor)
    if word.lower() in ("nominal", "nominal stress", "engineering stress") and index[0] == index[1]:
        return (Meaning("P", index),)
    if word.lower() in _ANY_STRESS:
        return tuple(Meaning(quantity, index) for quantity in ("P", "sigma", "S"))
    return ()


def _of_displacement(match: re.Match[str]) -> tuple[Meaning, ...]:
    """u_x,y and its like: a component of F - I. A name whose indices are a letter and a number has no meaning."""
    i, j = (
        match["i"] or match["k"] or "xyz"["uvw".index(match["w"].lower())],
        match["j"] or match["m"] or match["l"] or match["n"],
    )
    if i.isalpha() != j.isalpha():
        return ()
    return (Meaning("H", (_number(i), _number(j))),)


def _vector(word: str, letter: str) -> tuple[Meaning, ...]:
    """Meanings of a name with one index."""
    index = (_number(letter),)
    lower = word.lower()
    if lower == "x" and letter.isdigit():
        return (Meaning("x", index),)
    if lower in ("g", "grad", "gradient", "dw/d", "dw/dx", "dwdx", "de/dx", "dpsi/dx", "du/dx", "dv/dx"):
        return (Meaning("g", index),)
    if lower in ("force", "f"):
        return Meaning("g", index), Meaning("g", index, -1.0)
    if lower in _STRETCHES:
        return (Meaning("stretch", index),)
    if letter.isalpha() and lower in ("s", *_NORMAL):  # the normal component: sigma_x is sigma11
        return _tensor("s" if lower == "s" else word, index * 2)
    stresses = {"S": ("s",), "sigma": _TENSORS["sigma"], "tau": _TENSORS["tau"], "P": _ANY_STRESS_ALONE}
    for quantity, words in {"E": _ANY_STRAIN, **stresses}.items():
        if lower in words and letter.isdigit():  # Voigt's notation in some order, or principal values
            return Meaning(quantity, index), Meaning("unused")
    return ()
