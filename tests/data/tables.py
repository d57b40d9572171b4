"""Tables as people have them: what each holds, or in which words it must be refused.

`READ`: name -> text of the file, options of `read_samples`, and what the samples must be. `REFUSED`: name -> text, options, a
part of the message.
"""

import gzip

import numpy as np

F = np.array([[[1.02, 0.0], [0.0, 0.99]], [[1.03, 0.01], [0.0, 0.98]]])
W = np.array([0.011, 0.021])
P = np.array([[[0.42, 0.0], [0.0, -0.13]], [[0.52, 0.1], [0.1, -0.23]]])
ROWS = {"F": F, "energy": W, "stress": P}
HEAD = "F11,F12,F21,F22,W,P11,P12,P21,P22"
BODY = "1.02,0,0,0.99,0.011,0.42,0,0,-0.13\n1.03,0.01,0,0.98,0.021,0.52,0.1,0.1,-0.23\n"
PLAIN = f"{HEAD}\n{BODY}"
ZERO_BASED = HEAD.replace("1", "0").replace("2", "1")

# the same F with symmetric second Piola-Kirchhoff stresses, so that all measures of stress and strain can be written
S = np.array([[[0.4, 0.05], [0.05, -0.1]], [[0.5, 0.1], [0.1, -0.2]]])
TAU = F @ S @ np.swapaxes(F, 1, 2)
SIGMA = TAU / np.linalg.det(F)[:, None, None]
C = np.swapaxes(F, 1, 2) @ F
E = 0.5 * (C - np.eye(2))
_values, _vectors = np.linalg.eigh(C)
U = np.einsum("nia,na,nja->nij", _vectors, np.sqrt(_values), _vectors)
BIOT = 0.5 * (U @ S + S @ U)
ROOT2 = np.sqrt(2.0)


def table(**columns):
    """A table of columns (n,), to the last bit."""
    rows = zip(*(np.broadcast_to(values, (2,)) for values in columns.values()))
    return "\n".join([",".join(columns), *(",".join(repr(float(v)) for v in row) for row in rows)]) + "\n"


def components(name, tensor, which="11,12,21,22"):
    """Columns of a tensor."""
    return {f"{name}{ij}": tensor[:, int(ij[0]) - 1, int(ij[1]) - 1] for ij in which.split(",")}


def renamed(pattern):
    """The plain table with other names: `pattern` of the letter, the indices (i, j) and their letters (a, b)."""
    names = [
        pattern.format(q=n[0], i=n[1], j=n[2], a="xy"[int(n[1]) - 1], b="xy"[int(n[2]) - 1]) if len(n) == 3 else n
        for n in HEAD.split(",")
    ]
    return ",".join(names) + "\n" + BODY


def inserted(*cells, at=0):
    """The plain table with one more column."""
    lines = [line.split(",") for line in PLAIN.strip().split("\n")]
    return "\n".join(",".join([*line[:at], cell, *line[at:]]) for line, cell in zip(lines, cells)) + "\n"


def in_words(header, body=BODY):
    return f"{header}\n{body}"


F_ = components("F", F)
SYMMETRIC = "11,22,12"
OF_S = {"F": F, "energy": W, "stress": F @ S}
UNROTATED = {"F": U, "energy": W, "stress": U @ S}
IN_3D = np.tile(np.eye(3), (2, 1, 1))
IN_3D[:, :2, :2] = F
ALL = ",".join(f"{i}{j}" for i in "123" for j in "123")
NAMES = HEAD.split(",")
X = {"x": [[0.1, 5.0], [0.2, 6.0]], "energy": [1.0, 2.0]}
GRADIENT = {**X, "gradient": [[3.0, 4.0], [5.0, 7.0]]}

QUOTED = [f'"{name}"' for name in NAMES]
OF_POINTS = BODY.replace(",", " ").split("\n", 1)
COMSOL = {"W": "solid.Ws (J/m^3)"} | {
    f"{q}{i}{j}": f"solid.{'Fdl' if q == 'F' else q}{'xy'[i - 1]}{'XY'[j - 1]} ({'1' if q == 'F' else 'Pa'})"
    for q in "FP"
    for i in (1, 2)
    for j in (1, 2)
}
IN_PERCENT = {"%": 100 * E[:, 0, 0], "percent": 100 * E[:, 1, 1], "": 2.0 * E[:, 0, 1], "MPa": W}  # by its unit

READ = {
    # programs
    "Tecplot": (
        f'TITLE = "cell"\nVARIABLES = {", ".join(QUOTED)}\nZONE T="a", I=1, F=POINT\n{OF_POINTS[0]}\n'
        f'ZONE T="b"\n I=1, DATAPACKING=POINT\n{OF_POINTS[1]}',
        {},
        ROWS,
    ),
    "Tecplot, a name on each line": (
        "VARIABLES = " + "\n".join(QUOTED) + "\nZONE I=2\n" + "\n".join(OF_POINTS),
        {},
        ROWS,
    ),
    "COMSOL": (
        "% Version: 6.1\n% Table: Global Evaluation\n% t (s)   "
        + "    ".join(COMSOL[name] for name in NAMES)
        + "\n"
        + "\n".join(f"0 {row}" for row in OF_POINTS if row),
        {},
        {**ROWS, "units": {"energy": "J/m^3", "stress": "Pa"}},
    ),
    "COMSOL in words": (
        ",".join(
            f'"First Piola-Kirchhoff stress, {"xy"[int(n[1]) - 1]}{"XY"[int(n[2]) - 1]}-component"'
            if n[0] == "P"
            else f'"Deformation gradient, {"xy"[int(n[1]) - 1]}{"XY"[int(n[2]) - 1]}-component (1)"'
            if n[0] == "F"
            else "Strain energy density"
            for n in NAMES
        )
        + f"\n{BODY}",
        {},
        ROWS,
    ),
    "CamelCase": (PLAIN.replace("F1", "DeformationGradient_1").replace("F2", "DeformationGradient_2"), {}, ROWS),
    "Abaqus": (
        table(**components("DG", F), W=W, **components("S", SIGMA, SYMMETRIC)),
        {"columns": {f"sigma{ij}": f"S{ij}" for ij in SYMMETRIC.split(",")}},
        OF_S,
    ),
    "files put together": (
        f"{PLAIN}\n{HEAD}\n".replace(BODY, BODY[: BODY.index("\n") + 1]) + BODY.split("\n")[1],
        {},
        ROWS,
    ),
    "filled up with zeros": (PLAIN.encode() + bytes(40), {}, ROWS),
    "end of file of DOS": (PLAIN.encode() + b"\x1a", {}, ROWS),
    "gzip": (gzip.compress(PLAIN.encode()), {}, ROWS),
    "units of which each is another one": (
        "E11,E22,2E12,W\n" + ",".join(IN_PERCENT) + "\n" + table(**IN_PERCENT).split("\n", 1)[1],
        {},
        {"F": U, "energy": W, "units": {"energy": "MPa"}},
    ),
    "two levels of pandas": (in_words("F,F,F,F,W,P,P,P,P\n11,12,21,22,,11,12,21,22"), {}, ROWS),
    "two levels of pandas, above those of an index": (
        ",,F,F,F,F,W,P,P,P,P\n,,11,12,21,22,,11,12,21,22\npath,step,,,,,,,,,\n"
        + "".join(f"a,{k},{row}\n" for k, row in enumerate(BODY.strip().split("\n"))),
        {},
        {**ROWS, "group": ["a", "a"]},
    ),
    "Markdown with alignment": (
        f"|{HEAD.replace(',', '|')}|\n|{':---|' * 9}\n" + "".join(f"|{r.replace(',', '|')}|\n" for r in BODY.split()),
        {},
        ROWS,
    ),
    "field report of Abaqus": (
        "Field Output Report\n\nSource 1\n---------\n\nLoc 1 : Integration points\n\n"
        + "  Element  "
        + "  ".join(f"DG.DG{n[1:]}" if n[0] == "F" else n for n in NAMES)
        + "\n  Label  "
        + "  ".join(["@Loc 1"] * 9)
        + f"\n{'-' * 80}\n"
        + "".join(f"  {k}  {row.replace(',', '  ')}\n" for k, row in enumerate(BODY.split())),
        {},
        ROWS,
    ),
    "E0 beside stresses": (inserted("E0 [eV]", "-3.5", "-3.4"), {}, ROWS),
    "tuples of pandas": (
        in_words(",".join(f"\"('{n[0]}', '{n[1]}', '{n[2]}')\"" if len(n) == 3 else n for n in HEAD.split(","))),
        {},
        ROWS,
    ),
    "pk1_stress_00": (in_words(ZERO_BASED.replace("P", "pk1_stress_")), {}, ROWS),
    "u_x,x": (
        table(**{f'"u_{"xy"[i]},{"xy"[j]}"': (F - np.eye(2))[:, i, j] for i in (0, 1) for j in (0, 1)}, W=W),
        {},
        {"F": F, "energy": W},
    ),
    "du/dy": (
        table(**{f"d{'uv'[i]}/d{'xy'[j]}": (F - np.eye(2))[:, i, j] for i in (0, 1) for j in (0, 1)}, W=W),
        {},
        {"F": F, "energy": W},
    ),
    "H12 and H21 that differ": (table(**components("H", F - np.eye(2)), W=W), {}, {"F": F, "energy": W}),
    # dialects
    "decimal commas between semicolons": (PLAIN.replace(",", ";").replace(".", ","), {}, ROWS),
    "decimal commas between tabs": (PLAIN.replace(",", "\t").replace(".", ","), {}, ROWS),
    "decimal commas between blanks": (PLAIN.replace(",", "  ").replace(".", ","), {}, ROWS),
    "quoted decimal commas": (
        PLAIN.replace(".", "@").replace(",", '","').replace("\n", '"\n"').replace("@", ",").join('""')[:-1],
        {},
        ROWS,
    ),
    "Markdown": (
        "| "
        + PLAIN.replace(",", " | ")
        .strip()
        .replace("\n", " |\n|" + "---|" * 9 + "\n| ", 1)
        .replace("\n1.03", " |\n| 1.03")
        + " |\n",
        {},
        ROWS,
    ),
    "apostrophes": (PLAIN.strip().replace(",", "','").replace("\n", "'\n'").join("''") + "\n", {}, ROWS),
    "errors of a spreadsheet": (PLAIN.replace("0.021", "#DIV/0!"), {}, {**ROWS, "energy": [0.011, np.nan]}),
    "bars": (PLAIN.replace(",", " | "), {}, ROWS),
    "a comma and a blank": (PLAIN.replace(",", ", "), {}, ROWS),
    "aligned blanks at both ends": (PLAIN.replace(",", "     ").replace("\n", "   \n  "), {}, ROWS),
    "tabs and blanks": (PLAIN.replace(",", " \t "), {}, ROWS),
    "sep= of a spreadsheet": ("sep=;\n" + PLAIN.replace(",", ";"), {}, ROWS),
    "semicolon at the end": (PLAIN.replace(",", ";").replace("\n", ";\n"), {}, ROWS),
    "separator at the end of rows alone": (f"{HEAD}\n" + BODY.replace("\n", ",\n"), {}, ROWS),
    "header of numpy.savetxt": (f"# {HEAD}\n{BODY}", {}, ROWS),
    "header in the last of several comments": (
        f"# written today\n# {HEAD.replace(',', ' ')}\n" + BODY.replace(",", " "),
        {},
        ROWS,
    ),
    "comments of MATLAB": (f"% a = 3\n{PLAIN}% end\n", {}, ROWS),
    "comments of Fortran": (f"! a\n{PLAIN}", {}, ROWS),
    "header with commas over blanks": (f"{HEAD}\n" + BODY.replace(",", " "), {}, ROWS),
    "lines of an instrument above": (f"Specimen;12\nRate;0.1\n\n{PLAIN.replace(',', ';')}", {}, ROWS),
    "a line of units": (
        f"{HEAD}\n-,-,-,-,MPa,MPa,MPa,MPa,MPa\n{BODY}",
        {},
        {**ROWS, "units": {"energy": "MPa", "stress": "MPa"}},
    ),
    "units in brackets below": (
        f"{HEAD}\n[-],[-],[-],[-],[J/m^3],[Pa],[Pa],[Pa],[Pa]\n{BODY}",
        {},
        {**ROWS, "units": {"energy": "J/m^3", "stress": "Pa"}},
    ),
    "row names of R": (PLAIN.replace("1.02", '"1",1.02').replace("1.03", '"2",1.03'), {}, ROWS),
    "index of pandas": (inserted("", "0", "1"), {}, ROWS),
    "UTF-16": (PLAIN.encode("utf-16"), {}, ROWS),
    "UTF-32": (PLAIN.encode("utf-32"), {}, ROWS),
    "UTF-16 without its mark": (PLAIN.encode("utf-16-le"), {}, ROWS),
    "names, units and remarks": (
        f"{HEAD}\n-,-,-,-,MPa,MPa,MPa,MPa,MPa\n{','.join(['strain'] * 4 + ['energy'] + ['stress'] * 4)}\n{BODY}",
        {},
        {**ROWS, "units": {"energy": "MPa", "stress": "MPa"}},
    ),
    "a line of units, 1 for those without": (
        f"{HEAD}\n1,1,1,1,J/mm3,MPa,MPa,MPa,MPa\n{BODY}",
        {},
        {**ROWS, "energy": 1e3 * W, "units": {"energy": "MPa", "stress": "MPa"}},
    ),
    "a missing value as one text": (
        PLAIN.replace("0.021", "-9999"),
        {"missing": "-9999"},
        {**ROWS, "energy": [0.011, np.nan]},
    ),
    "a field as one text": (
        inserted("Temp", "300", "310"),
        {"fields": "Temp"},
        {**ROWS, "fields": [[300.0], [310.0]], "field_names": ("Temp",)},
    ),
    "VASP": (
        in_words("F11,F12,F21,F22,W [eV/Angstrom^3],P11 [kB],P12 [kB],P21 [kB],P22 [kB]"),
        {},
        {**ROWS, "energy": 1602.176634 * W, "units": {"energy": "kB", "stress": "kB"}},
    ),
    "sigma_x": (table(**F_, W=W, sigma_x=SIGMA[:, 0, 0], sigma_y=SIGMA[:, 1, 1], sigma_xy=SIGMA[:, 0, 1]), {}, OF_S),
    "Windows code page": (
        PLAIN.replace("W,", "W [J/m³],", 1).encode("cp1252"),
        {},
        {**ROWS, "units": {"energy": "J/m³"}},
    ),
    "Fortran's exponent without a letter": (PLAIN.replace("0.011", "0.11-001"), {}, ROWS),
    "thousands and decimal points": (
        PLAIN.replace("0.42", '"4,200.5"'),
        {},
        {**ROWS, "stress": np.where(P == 0.42, 4200.5, P)},
    ),
    "thousands between blanks": (
        PLAIN.replace(",", ";").replace("0.42", "4 200.5"),
        {},
        {**ROWS, "stress": np.where(P == 0.42, 4200.5, P)},
    ),
    "declared decimal comma": ("x1;W\n1,234;5,678\n", {"decimal": ","}, {"x": [[1.234]], "energy": [5.678]}),
    "a declared mark of missing values": (
        PLAIN.replace("0.021", "-9999"),
        {"missing": ["-9999"]},
        {**ROWS, "energy": [0.011, np.nan]},
    ),
    "null, N/A and --": (
        PLAIN.replace("0.021", "null").replace("0.52", "N/A").replace("-0.23", "--"),
        {},
        {**ROWS, "energy": [0.011, np.nan], "stress": np.where(np.isin(P, (0.52, -0.23)), np.nan, P)},
    ),
    # names
    "F_xx": (renamed("{q}_{a}{b}"), {}, ROWS),
    "Fxy": (renamed("{q}{a}{b}"), {}, ROWS),
    "FXX": (renamed("{q}{a}{b}").replace("x", "X").replace("y", "Y"), {}, ROWS),
    "F(1,1)": (renamed('"{q}({i},{j})"'), {}, ROWS),
    "F(1,1) without quotes": (renamed("{q}({i},{j})"), {}, ROWS),
    "F[1][1]": (renamed("{q}[{i}][{j}]"), {}, ROWS),
    "F_{11} of LaTeX": (renamed("${q}_{{{i}{j}}}$"), {}, ROWS),
    "F_1_1": (renamed("{q}_{i}_{j}"), {}, ROWS),
    "F 11": (renamed("{q} {i}{j}"), {}, ROWS),
    "F.11": (renamed("{q}.{i}{j}"), {}, ROWS),
    "subscripts": (in_words("F₁₁,F₁₂,F₂₁,F₂₂,Ψ,P₁₁,P₁₂,P₂₁,P₂₂"), {}, ROWS),
    "counted from 0": (in_words(ZERO_BASED), {}, ROWS),
    "counted from 0 in brackets": (
        in_words("F[0][0],F[0][1],F[1][0],F[1][1],W,P[0][0],P[0][1],P[1][0],P[1][1]"),
        {},
        ROWS,
    ),
    "PK1": (PLAIN.replace("P", "PK1_"), {}, ROWS),
    "first Piola-Kirchhoff in words": (PLAIN.replace("P", "First Piola-Kirchhoff stress "), {}, ROWS),
    "dW/dF": (PLAIN.replace("P", "dW/dF"), {}, ROWS),
    "deformation gradient in words": (PLAIN.replace("F", "Deformation gradient "), {}, ROWS),
    "psi": (PLAIN.replace("W", "psi"), {}, ROWS),
    "strain energy density": (PLAIN.replace("W", "Strain energy density"), {}, ROWS),
    "units in every name": (
        in_words("F11 [-],F12 [-],F21 [-],F22 [-],W (MPa),P11 (MPa),P12 (MPa),P21 (MPa),P22 (MPa)"),
        {},
        {**ROWS, "units": {"energy": "MPa", "stress": "MPa"}},
    ),
    "units after a stroke": (
        in_words("F11,F12,F21,F22,W / kPa,P11 / kPa,P12 / kPa,P21 / kPa,P22 / kPa"),
        {},
        {**ROWS, "units": {"energy": "kPa", "stress": "kPa"}},
    ),
    "units after an underscore": (
        in_words("F11,F12,F21,F22,W_MPa,P11_MPa,P12_MPa,P21_MPa,P22_MPa"),
        {},
        {**ROWS, "units": {"energy": "MPa", "stress": "MPa"}},
    ),
    "energies in another unit": (
        in_words("F11,F12,F21,F22,W [kJ/m^3],P11 [MPa],P12 [MPa],P21 [MPa],P22 [MPa]"),
        {},
        {**ROWS, "energy": 1e-3 * W, "units": {"energy": "MPa", "stress": "MPa"}},
    ),
    "energies with the other sign": (PLAIN.replace("W", "-W"), {}, {**ROWS, "energy": -W}),
    "energies in psi": (
        in_words("F11,F12,F21,F22,W [kpsi],P11 [psi],P12 [psi],P21 [psi],P22 [psi]"),
        {},
        {**ROWS, "energy": 1e3 * W, "units": {"energy": "psi", "stress": "psi"}},
    ),
    "inputs of several units": (
        "x1 [nm],x2 [K],W [eV]\n0.1,5,1\n0.2,6,2\n",
        {},
        {**X, "units": {"x1": "nm", "x2": "K", "energy": "eV"}},
    ),
    "a step and a time": (inserted("step", "1", "2", at=4), {}, ROWS),
    "paths": (inserted("path", "uniaxial", "shear"), {}, {**ROWS, "group": ["uniaxial", "shear"]}),
    "simulations by number": (inserted("Simulation", "3", "3", at=9), {}, {**ROWS, "group": [3, 3]}),
    "weights": (inserted("weight", "1", "2", at=9), {}, {**ROWS, "weight": [1.0, 2.0]}),
    "a temperature that is the same everywhere": (inserted("temperature", "300", "300"), {}, ROWS),
    "a temperature as a field": (
        inserted("T", "300", "310"),
        {"columns": {"field T": "T"}},
        {**ROWS, "fields": [[300.0], [310.0]], "field_names": ("T",)},
    ),
    "dW/dT beside a field": (
        inserted("field T,dW/dT", "300,5", "310,6"),
        {},
        {**ROWS, "fields": [[300.0], [310.0]], "field_names": ("T",), "conjugates": [[5.0], [6.0]]},
    ),
    "a temperature that is not needed": (inserted("T", "300", "310"), {"columns": {"unused": "T"}}, ROWS),
    "no header, columns named": (BODY, {"columns": NAMES}, ROWS),
    "no header, one left alone": (
        BODY.replace("1.02,", "7,1.02,").replace("1.03,", "8,1.03,"),
        {"columns": [None, *NAMES]},
        ROWS,
    ),
    "numbered columns": ("0,1,2,3,4,5,6,7,8\n" + BODY, {"columns": NAMES}, ROWS),
    "column-major, named": (
        "1.02,0,0,0.99,0.011\n1.03,0,0.01,0.98,0.021\n",
        {"columns": ["F11", "F21", "F12", "F22", "W"]},
        {"F": F, "energy": W},
    ),
    "names of one's own": (in_words("a,b,c,d,e,f,g,h,i"), {"columns": dict(zip(NAMES, "abcdefghi"))}, ROWS),
    "stresses of compression": (
        PLAIN.replace("P", "q").replace("0.42", "-0.42"),
        {"columns": {"-P11": "q11"}},
        {"F": F, "energy": W, "stress": np.array([[[0.42, np.nan], [np.nan] * 2], [[-0.52, np.nan], [np.nan] * 2]])},
    ),
    "diagonal components, shears declared": (
        "F11,F22,W\n1.02,0.99,0.011\n",
        {"columns": {"F12": 0, "F21": 0}},
        {"F": F[:1], "energy": W[:1]},
    ),
    # measures
    "S": (table(**F_, W=W, **components("S", S, SYMMETRIC)), {}, OF_S),
    "S with both shears": (table(**F_, W=W, **components("S", S)), {}, OF_S),
    "PK2": (table(**F_, W=W, **components("PK2_", S, SYMMETRIC)), {}, OF_S),
    "sigma": (table(**F_, W=W, **components("sigma", SIGMA, SYMMETRIC)), {}, OF_S),
    "Cauchy with letters": (
        table(**F_, W=W, Cauchy_xx=SIGMA[:, 0, 0], Cauchy_yy=SIGMA[:, 1, 1], Cauchy_xy=SIGMA[:, 0, 1]),
        {},
        OF_S,
    ),
    "σ": (table(**F_, W=W, **components("σ", SIGMA, SYMMETRIC)), {}, OF_S),
    "sigma with 33, which plane strain does not need": (
        table(**F_, W=W, **components("sigma", SIGMA, SYMMETRIC), sigma33=7.0),
        {},
        OF_S,
    ),
    "tau": (table(**F_, W=W, **components("tau", TAU, SYMMETRIC)), {}, OF_S),
    "Biot": (table(**F_, W=W, **components("Biot", BIOT, SYMMETRIC)), {}, OF_S),
    "sqrt2*S12 of Mandel": (
        table(**F_, W=W, S11=S[:, 0, 0], S22=S[:, 1, 1], **{"sqrt2*S12": ROOT2 * S[:, 0, 1]}),
        {},
        OF_S,
    ),
    "displacement gradients": (table(**components("grad_u_", F - np.eye(2)), W=W), {}, {"F": F, "energy": W}),
    "C and S": (table(**components("C", C, SYMMETRIC), W=W, **components("S", S, SYMMETRIC)), {}, UNROTATED),
    "E with both shears and S": (table(**components("E", E), W=W, **components("S", S, SYMMETRIC)), {}, UNROTATED),
    "2E12": (
        table(**components("E", E, "11,22"), **{"2E12": 2.0 * E[:, 0, 1]}, W=W, **components("S", S, SYMMETRIC)),
        {},
        UNROTATED,
    ),
    "sqrt2*E12 of Mandel": (
        table(**components("E", E, "11,22"), **{"sqrt2*E12": ROOT2 * E[:, 0, 1]}, W=W),
        {},
        {"F": U, "energy": W},
    ),
    "E12 declared as the tensor's": (
        table(**components("E", E, SYMMETRIC), W=W),
        {"columns": {"E12": "E12"}},
        {"F": U, "energy": W},
    ),
    "E12 declared as engineering shear": (
        table(**components("E", E, "11,22"), E12=2.0 * E[:, 0, 1], W=W),
        {"columns": {"gamma12": "E12"}},
        {"F": U, "energy": W},
    ),
    "E in percent": (
        table(**{"E11 [%]": 100.0 * E[:, 0, 0], "E22 [%]": 100.0 * E[:, 1, 1], "2E12 [%]": 200.0 * E[:, 0, 1]}, W=W),
        {},
        {"F": U, "energy": W},
    ),
    "U and Biot": (table(**components("U", U, SYMMETRIC), W=W, **components("Biot", BIOT, SYMMETRIC)), {}, UNROTATED),
    "Voigt's numbers, declared": (
        table(**F_, W=W, S1=S[:, 0, 0], S2=S[:, 1, 1], S4=S[:, 0, 1]),
        {"columns": {"S11": "S1", "S22": "S2", "S12": "S4"}},
        OF_S,
    ),
    "stress of a measure that is declared": (
        table(**F_, W=W, **components("stress", SIGMA, SYMMETRIC)),
        {"columns": {"sigma11": "stress11", "sigma22": "stress22", "sigma12": "stress12"}},
        OF_S,
    ),
    "principal stretches": (
        table(lambda1=[1.1, 1.2], lambda2=0.95, lambda3=0.9, W=W),
        {},
        {"F": [np.diag([1.1, 0.95, 0.9]), np.diag([1.2, 0.95, 0.9])], "energy": W},
    ),
    "principal stresses": (
        table(lambda1=[1.1, 1.2], lambda2=0.5, lambda3=2.0, sigma1=3.0, sigma2=4.0, sigma3=5.0),
        {},
        {
            "F": [np.diag([1.1, 0.5, 2.0]), np.diag([1.2, 0.5, 2.0])],
            "stress": [
                np.diag([3.0, 4.0 * 1.1 * 2.0, 5.0 * 1.1 * 0.5]),
                np.diag([3.0, 4.0 * 1.2 * 2.0, 5.0 * 1.2 * 0.5]),
            ],
        },
    ),
    "nine components": (table(**components("F", IN_3D, ALL), W=W), {}, {"F": IN_3D, "energy": W}),
    "plane strain of nine": (table(**components("F", IN_3D, ALL), W=W), {"plane_strain": True}, {"F": F, "energy": W}),
    "plane strain of F33 = 1": (table(**F_, F33=1.0, W=W), {"plane_strain": True}, {"F": F, "energy": W}),
    "F33 with declared shears": (
        table(**F_, F33=1.0, W=W),
        {"columns": {f"F{ij}": 0 for ij in (13, 23, 31, 32)}},
        {"F": IN_3D, "energy": W},
    ),
    # potentials
    "x and y": ("x,y,E\n0.1,5,1\n0.2,6,2\n", {}, X),
    "dihedral angles": ("phi,psi,E\n0.1,5,1\n0.2,6,2\n", {"columns": {"x1": "phi", "x2": "psi", "W": "E"}}, X),
    "dW/dx1": ("x1,x2,W,dW/dx1,dW/dx2\n0.1,5,1,3,4\n0.2,6,2,5,7\n", {}, GRADIENT),
    "gx and gy": ("x,y,W,gx,gy\n0.1,5,1,3,4\n0.2,6,2,5,7\n", {}, GRADIENT),
    "grad_1": ("x_1,x_2,W,grad_1,grad_2\n0.1,5,1,3,4\n0.2,6,2,5,7\n", {}, GRADIENT),
    "forces": ("x1,x2,W,f1,f2\n0.1,5,1,-3,-4\n0.2,6,2,-5,-7\n", {"columns": {"-g1": "f1", "-g2": "f2"}}, GRADIENT),
    "one gradient of two": (
        "x1,x2,W,g1\n0.1,5,1,3\n0.2,6,2,5\n",
        {},
        {**X, "gradient": [[3.0, np.nan], [5.0, np.nan]]},
    ),
    "a stretch as the input": (
        "lambda,P\n1.1,0.2\n1.2,0.4\n",
        {"columns": {"x1": "lambda", "g1": "P"}},
        {"x": [[1.1], [1.2]], "gradient": [[0.2], [0.4]]},
    ),
}

REFUSED = {
    "u11": (table(**components("u", U), W=W), {}, "'u11' can be read in 2 ways"),
    "a stress of no measure": (
        table(**F_, W=W, my_stress_xx=1.0, my_stress_yy=1.0),
        {},
        "'my_stress_xx', 'my_stress_yy'.*are named as components of a stress, but of which",
    ),
    "engineering or tensor shear": (
        table(**components("E", E, SYMMETRIC), W=W),
        {},
        r"'E12' can be read in 2 ways.*\"E12\": \"E12\".*\"2E12\": \"E12\"",
    ),
    "gamma": (table(**components("E", E, "11,22"), gamma12=0.1, W=W), {}, "'gamma12' can be read in 2 ways"),
    "strain of any kind": (
        table(eps11=0.1, eps22=0.1, eps12=0.01, W=W),
        {},
        "'eps11' can be read in 2 ways.*Green-Lagrange.*displacement gradient",
    ),
    "strains in lower case": (table(e11=0.1, e22=0.1, e12=0.01, s11=0.1, W=W), {}, "'e11' can be read in"),
    "stress of any kind": (table(**F_, W=W, stress_xx=1.0), {}, "'stress_xx' can be read in 3 ways.*P11.*sigma11.*S11"),
    "T11": (table(**F_, W=W, T11=1.0), {}, "'T11' can be read in 3 ways"),
    "s11": (table(**F_, W=W, s11=1.0), {}, "'s11' can be read in 3 ways"),
    "Voigt's numbers": (
        table(**F_, W=W, S1=1.0, S2=1.0, S3=1.0),
        {},
        "'S1' can be a component of the second Piola.* in an order",
    ),
    "compression counted positive": (
        in_words("F11,F12,F21,F22,W,P11 (compression positive),P12 (compression positive),P21,P22"),
        {},
        "'P11 .compression positive.' can be read in 2 ways.*\"-P11\"",
    ),
    "a mean below the rows": (
        inserted("id", "1", "2") + "mean" + ",1" * 9 + "\n",
        {},
        "line 4: 'mean' names a summary",
    ),
    "logarithmic strains": (table(LE11=0.1, LE22=0.1, LE12=0.01, W=W), {}, "are logarithmic strains.*U11"),
    "S of Abaqus": (
        table(**components("DG", F), W=W, **components("S", SIGMA, SYMMETRIC)),
        {},
        "'S11' can be read in 2 ways.*second Piola-Kirchhoff.*sigma11",
    ),
    "SX of ANSYS": (
        table(**F_, W=W, SX=1.0, SY=1.0, SXY=0.1),
        {},
        "'SX' can be read in 3 ways.*sigma11.*'SXY'",
    ),
    "Pxx of LAMMPS": (
        table(**F_, PotEng=-3.5, W=W, Pxx=1.0, Pyy=1.0, Pxy=0.1),
        {},
        '\'Pxx\' can be read in 2 ways.*"-sigma11": "Pxx".*minus the Cauchy stress',
    ),
    "stress_x": (table(**F_, W=W, stress_x=1.0), {}, "'stress_x' can be read in 3 ways"),
    "a group without its label": (inserted("path", "a", "NaN"), {}, "line 3, column path: the label of the group"),
    "a sheet of a text": (PLAIN, {"sheet": "first"}, "no spreadsheet"),
    "a spreadsheet with the name of a text": (
        b"PK\x03\x04" + bytes(30),
        {},
        "zip archive: a spreadsheet ends in .xlsx",
    ),
    "S.S11 of Abaqus": (
        table(**F_, W=W, **{f"S.S{ij}": 1.0 for ij in (11, 22, 12)}),
        {},
        "'S.S11' can be read in 2 ways",
    ),
    "components numbered by ParaView": (
        table(**{f"F:{k}": F.reshape(2, 4)[:, k] for k in range(4)}, W=W),
        {},
        "the order of .*'F12': 'F:1'.*'F21': 'F:1'",
    ),
    "Tecplot in blocks": (f"VARIABLES = {', '.join(QUOTED)}\nZONE I=2, F=BLOCK\n{BODY}", {}, "line 2: zones in blocks"),
    "gzip that is cut off": (gzip.compress(PLAIN.encode())[:-12], {}, "not a whole gzip file"),
    "strains in percent without a unit": (
        table(E11=-60.0, E22=10.0, E12=0.0, W=W),
        {},
        "Strains in percent have the unit",
    ),
    "F1 to F4": (table(F1=1.0, F2=0.0, F3=0.0, F4=1.0, W=W), {}, "the order of .*'F12': 'F2'.*'F21': 'F2'"),
    "Cauchy stress without a rotation": (
        table(**components("E", E), W=W, **components("sigma", SIGMA, SYMMETRIC)),
        {},
        "turn with the body",
    ),
    "P without a rotation": (table(**components("E", E), W=W, **components("P", F @ S)), {}, "P turns with the body"),
    "F33 of a plane table": (table(**F_, F33=1.0, W=W), {}, "lack F13, F23, F31, F32.*plane_strain=True"),
    "plane strain that is none": (table(**F_, F33=1.01, W=W), {"plane_strain": True}, "no plane strain"),
    "one stretch and one stress": (
        "stretch,stress\n1.1,0.2\n1.2,0.4\n",
        {},
        r"read_observations\(path, test=\"uniaxial\"\)",
    ),
    "two stretches": (table(lambda1=1.1, lambda2=0.9, W=W), {}, "alone do not tell the deformation"),
    "decimal commas or thousands": ("x1;W\n1,234;5,678\n", {}, "is 1.234 if the comma is a decimal mark and 1234 if"),
    "both decimal marks": (
        "x1;W\n1,2;5\n1.2;6\n",
        {},
        "line 3, column x1: '1.2' has another decimal mark than the table",
    ),
    "decimal commas between commas": (
        "x1,W\n1,5,2,5\n1,6,2,6\n",
        {},
        "a header of 2 names; the lines below have 4 cells",
    ),
    "counted from 0 and from 1": (
        "F00,F01,F10,F11,W,P11\n1,0,0,1,0,2\n1.1,0,0,1,1,2\n",
        {},
        '\'P11\' can be read in 2 ways.*"P11": "P11".*"P22": "P11"',
    ),
    "strains of image correlation": (
        "x,y,exx,eyy,exy\n1,2,.1,.1,.01\n2,3,.1,.1,.02\n",
        {},
        "'exx' can be read in 2 ways",
    ),
    "shear stress of engineers": (
        table(**F_, W=W, sigma_xx=1.0, sigma_yy=1.0, tau_xy=0.5),
        {},
        "'tau_xy' can be read in 2 ways.*Kirchhoff.*Cauchy",
    ),
    "a nominal shear": (
        table(**F_, W=W, **{"nominal stress 11": 1.0, "nominal stress 12": 1.0}),
        {},
        "'nominal stress 12' can be read in",
    ),
    "energies that are no densities": (
        PLAIN.replace("W", "W [J]").replace("P11", "P11 [MPa]"),
        {},
        "W is in J and the stresses",
    ),
    "inputs or a temperature": ("x1,x2,T,W\n1,2,300,4\n1,3,310,4\n", {}, '\'T\' can be read in 2 ways.*"x3": "T"'),
    "no header": (BODY, {}, "there is no header line"),
    "numbers of columns": ("0,1,2,3,4,5,6,7,8\n" + BODY, {}, "there is no header line"),
    "two energies": (inserted("energy", "1", "2"), {}, "are both W"),
    "two groups": (inserted("path", "a", "b").replace("F11", "case,F11").replace("1.0", "c,1.0"), {}, "are both group"),
    "a varying temperature": (inserted("temperature", "300", "310"), {}, "'temperature' can be read in 2 ways"),
    "nothing that is known": (PLAIN.replace("W", "q").replace("P", "q"), {}, "no column with values is an energy"),
    "forces by letters": ("x,W,fx\n0.1,1,2\n1,2,3\n", {}, "'fx' can be read in 2 ways"),
    "forces or gradients": ("x1,W,f1\n0,1,2\n1,2,3\n", {}, "'f1' can be read in 2 ways.*\"-g1\""),
    "total energies": (PLAIN.replace("W", "Total energy"), {}, "'Total energy' can be read in 2 ways"),
    "-9999 for missing": (PLAIN.replace("0.021", "-9999"), {}, "1 values -9999.*missing="),
    "units that differ": (
        in_words("F11,F12,F21,F22,W,P11 [MPa],P12 [kPa],P21 [MPa],P22 [MPa]"),
        {},
        r"units \['MPa', 'kPa'\]",
    ),
    "F in millimetres": (PLAIN.replace("F11", "F11 [mm]"), {}, "has no unit"),
    "x1 and x3": ("x1,x3,W\n1,2,3\n2,3,4\n", {}, "numbered 1 to 2"),
    "a line of words": (PLAIN + HEAD[::-1] + "\n", {}, "is not a number"),
    "a line too short": (PLAIN + "1,2,3\n", {}, "line 4: 3 cells"),
    "shears that contradict each other": (table(**F_, W=W, S11=1.0, S22=1.0, S12=0.5, S21=-0.5), {}, "S is symmetric"),
    "a column that is not there": (PLAIN, {"columns": {"P11": "sigma"}}, "names 'sigma', which .* has not"),
    "a quantity that there is not": (PLAIN, {"columns": {"Q11": "F11"}}, "names 'Q11', which is no quantity"),
    "an array where a column is": (PLAIN, {"columns": {"F": "F11"}}, "names 'F', which is no quantity"),
    "too few names": (BODY, {"columns": NAMES[1:]}, "columns names 8 columns; .* has 9"),
    "a cell with a line break": (
        PLAIN.replace("0.021", '"0.021\n0.022"'),
        {},
        "line 3, column W: '0.021.n0.022' is not a number",
    ),
    "dates": (PLAIN.replace("0.021", "2024-05-01"), {}, "line 3, column W: '2024-05-01' is not a number"),
    "a value with its unit": (PLAIN.replace("0.021", "0.021 MPa"), {}, "'0.021 MPa' is not a number"),
}
