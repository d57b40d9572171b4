"""Calls of the subroutines of an exported UMAT, compiled by gfortran."""

import ctypes
import shutil
import subprocess

import numpy as np

from lse_material.export import export

GFORTRAN = shutil.which("gfortran")
STRICT = ["-std=legacy", "-Wall", "-Wextra", "-Wno-unused-dummy-argument", "-Werror", "-O2", "-shared", "-fPIC"]
VOIGT = {4: [(0, 0), (1, 1), (2, 2), (0, 1)], 6: [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]}  # of Abaqus
LENGTHS = {  # of the arguments in their order, where they are doubles; integers are negative
    "stress": "ntens", "statev": 9, "ddsdde": "ntens2", "sse": 1, "spd": 1, "scd": 1, "rpl": 1, "ddsddt": "ntens",
    "drplde": "ntens", "drpldt": 1, "stran": "ntens", "dstran": "ntens", "time": 2, "dtime": 1, "temp": 1, "dtemp": 1,
    "predef": 1, "dpred": 1, "cmname": 80, "ndi": -1, "nshr": -1, "ntens": -1, "nstatv": -1, "props": 1, "nprops": -1,
    "coords": 3, "drot": 9, "pnewdt": 1, "celent": 1, "dfgrd0": 9, "dfgrd1": 9, "noel": -1, "npt": -1, "layer": -1,
    "kspt": -1, "jstep": -4, "kinc": -1,
}  # fmt: skip
CALCULIX = [
    *(
        "amat",
        "iel",
        "iint",
        "kode",
        "elconloc",
        "emec",
        "emec0",
        "beta",
        "xokl",
        "voj",
        "xkl",
        "vj",
        "ithermal",
        "t1l",
    ),
    *("dtime", "time", "ttime", "icmd", "ielas", "mi", "nstate_", "xstateini", "xstate", "stre", "stiff", "iorien"),
    *("pgauss", "orab", "pnewdt", "ipkon"),
]


def library(material, directory, form="fixed"):
    """The compiled file of a material."""
    directory.mkdir(exist_ok=True)
    path = directory / f"cell_{form}.f"
    export(material, path)
    result = path.with_suffix(".so")
    subprocess.run([GFORTRAN, *STRICT, f"-f{form}-form", str(path), "-o", str(result)], check=True)
    return ctypes.CDLL(str(result))


def umat(compiled, F, strain=None, ntens=6):
    """SSE, STRESS, DDSDDE, PNEWDT and STATEV of UMAT at one F (3, 3) or (2, 2), or at a strain of engineers (ntens,)."""
    values = {}
    for name, length in LENGTHS.items():
        n = {"ntens": ntens, "ntens2": ntens**2}.get(length, length)
        values[name] = np.full(abs(n), 0, dtype=np.int32 if n < 0 else np.float64)
    values["cmname"] = ctypes.create_string_buffer(b"CELL".ljust(80), 80)
    values["ndi"][:], values["nshr"][:], values["ntens"][:], values["pnewdt"][:] = 3, ntens - 3, ntens, 1.0
    values["nstatv"][:] = len(values["statev"])
    whole = np.eye(3)
    whole[: len(F), : len(F)] = F
    values["dfgrd1"][:] = whole.ravel(order="F")
    if strain is not None:
        values["stran"][:], values["dstran"][:] = 0.25 * strain, 0.75 * strain
    pointers = [a if isinstance(a, ctypes.Array) else a.ctypes.data_as(ctypes.c_void_p) for a in values.values()]
    compiled.umat_(*pointers, ctypes.c_size_t(80))
    tangent = values["ddsdde"].reshape(ntens, ntens, order="F")
    return values["sse"][0], values["stress"].copy(), tangent, values["pnewdt"][0], values["statev"]


def umat_user(compiled, F):
    """Second Piola-Kirchhoff stress (6,), its 21 derivatives and 9 states from the user subroutine of CalculiX."""
    integers = ("iel", "iint", "kode", "ithermal", "icmd", "ielas", "mi", "nstate_", "iorien", "ipkon")
    values = {name: np.zeros(32, dtype=np.int32 if name in integers else np.float64) for name in CALCULIX}
    for name, value in {"iel": 1, "iint": 1, "mi": 1, "nstate_": 9}.items():
        values[name][0] = value
    values["amat"] = ctypes.create_string_buffer(b"USERCELL".ljust(80), 80)
    values["xkl"][:9] = F.ravel(order="F")
    strain = 0.5 * (F.T @ F - np.eye(3))
    values["emec"][:6] = [strain[ij] for ij in VOIGT[6]]
    pointers = [a if isinstance(a, ctypes.Array) else a.ctypes.data_as(ctypes.c_void_p) for a in values.values()]
    compiled.umat_user_(*pointers, ctypes.c_size_t(80))
    return values["stre"][:6].copy(), values["stiff"][:21].copy(), values["xstate"][:9].copy()
