"""Files of programs that are no tables: told by their first bytes or their name, with Python that makes a table of them."""

import re
from pathlib import Path

_OF_MATLAB = (  # rows first, and vectors without their second dimension
    "rows = lambda a: numpy.moveaxis(a, -1, 0) if a.ndim == 3 and a.shape[0] == a.shape[1] "
    "else a.ravel() if 1 in a.shape else a; "
)
# what it is, first bytes, endings, Python
_KINDS: tuple[tuple[str, bytes, str, str], ...] = (
    (
        "a MATLAB file of version 7.3",
        b"MATLAB 7.3",
        "",
        f"import h5py, numpy; {_OF_MATLAB}f = h5py.File({{path}}); "
        "numpy.savez({npz}, **{{k: rows(f[k][()].T) for k in f if hasattr(f[k], 'shape')}})",
    ),
    (
        "a MATLAB file",
        b"MATLAB 5.0",
        "",
        f"import numpy, scipy.io; {_OF_MATLAB}f = scipy.io.loadmat({{path}}); "
        "numpy.savez({npz}, **{{k: rows(f[k]) for k in f if k[0] != '_'}})",
    ),
    (
        "an HDF5 file",
        b"\x89HDF",
        "",
        "import h5py, numpy; f = h5py.File({path}); "
        "numpy.savez({npz}, **{{k: f[k][()] for k in f if hasattr(f[k], 'shape')}})",
    ),
    (
        "a file of torch",
        b"",
        ".pt .pth",
        "import numpy, torch; f = torch.load({path}); numpy.savez({npz}, **{{k: f[k].numpy() for k in f}})",
    ),
    (
        "a pickle, which can run any code (trust only your own)",
        b"\x80",
        ".pkl .pickle",
        "import pandas; pandas.DataFrame(pandas.read_pickle({path})).to_csv({csv}, index=False)",
    ),
    (
        "a database",
        b"SQLite format 3",
        "",
        "import pandas, sqlite3; db = sqlite3.connect({path}); "
        "pandas.read_sql('select * from TABLE', db).to_csv({csv}, index=False)",
    ),
    (
        "a mesh with fields",
        b"",
        ".vtu .vtk .vtp .xdmf",
        "import meshio, numpy; f = meshio.read({path}).cell_data; numpy.savez({npz}, **{{k: f[k][0] for k in f}})",
    ),
    ("a page of HTML", b"", ".html .htm", "import pandas; pandas.read_html({path})[0].to_csv({csv}, index=False)"),
    (
        "YAML",
        b"",
        ".yaml .yml",
        "import pandas, yaml; pandas.DataFrame(yaml.safe_load(open({path}))).to_csv({csv}, index=False)",
    ),
)
_ODB = "It is an output database of Abaqus: write a field report of DG, SENER and S (Report > Field Output), and read that."
_PRINTED = re.compile(r"E L E M E N T {3}O U T P U T|THE FOLLOWING TABLE IS PRINTED")  # in a .dat of Abaqus
_ROW = r"'^[ ]*\d+[ ]+\d+[ ]+[-+]?\d*\..*'"  # element, point, and a number


def remedy(content: bytes, path: str) -> str:
    """What a file is that is no table, and a line of Python that makes one of it; empty if it is of no known kind."""
    ending, stem = Path(path).suffix.lower(), Path(path).stem
    if ending == ".odb":
        return _ODB
    if _PRINTED.search(content[:1_000_000].decode(errors="replace")):
        return (
            "It is printed output of Abaqus, a table in each increment. Python makes one of its rows, import re; from pathlib "
            f"import Path; Path('rows.txt').write_text('\\n'.join(re.findall(r{_ROW}, Path({path!r}).read_text(), re.M))), "
            "which is read by columns=[None, None, 'F11', ...]: names of its columns, None for element and point."
        )
    for name, first, endings, code in _KINDS:
        if (first and content.startswith(first)) or ending in endings.split():
            line = code.format(path=repr(path), npz=repr(f"{stem}.npz"), csv=repr(f"{stem}.csv"))
            return f"It is {name}: Python makes a table of it, {line}"
    return ""
