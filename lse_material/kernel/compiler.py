"""From C text to a shared library: the system's compiler, and a cache that processes and machines may share.

A library is named by the hash of its source, the compiler, its flags and everything the compiler says about the CPU it
compiles for, so it is never loaded on another CPU. It is compiled under a file lock into a temporary file and renamed:
concurrent processes compile once and never see half a library.
"""

import fcntl
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lse_material.errors import CompilationError, CompilerNotFoundError

# errno and traps of the C mathematics are not used; multiply-add may be fused. Not -ffast-math: NaN must stay NaN, and
# some compilers then set flush-to-zero for the whole process.
FLAGS = (
    "-std=gnu11",
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fPIC",
    "-shared",
    "-Wno-psabi",
)


@dataclass(frozen=True)
class Compiler:
    """A C compiler and the CPU it compiles for."""

    command: tuple[str, ...]  # how to call it, with the flags that name the CPU
    optional: tuple[str, ...]  # flags to try first and leave out if a library does not come out (OpenMP)
    macros: str  # what it predefines; identifies version and CPU

    @property
    def lanes(self) -> int:
        """Doubles per vector register."""
        return 8 if self._defines("__AVX512F__") else 4 if self._defines("__AVX__") else 2

    @property
    def registers(self) -> int:
        """Vector registers."""
        return 32 if self._defines("__AVX512F__") or self._defines("__aarch64__") else 16

    def _defines(self, macro: str) -> bool:
        return f"#define {macro} " in self.macros


def compiler() -> Compiler:
    """The C compiler: $CC, else cc, gcc or clang on the PATH. Raises CompilerNotFoundError: none of them runs."""
    return _compiler(os.environ.get("CC", ""), os.environ.get("PATH", ""))


@functools.cache
def _compiler(CC: str, PATH: str) -> Compiler:
    names = [CC] if CC else ["cc", "gcc", "clang"]
    for name in names:
        command = tuple(shlex.split(name))
        if not command or shutil.which(command[0], path=PATH) is None:
            continue
        for cpu in (("-march=native",), ()):
            macros = _macros((*command, *cpu))
            if macros is not None:
                optional = ("-fopenmp",) if _macros((*command, "-fopenmp")) is not None else ()
                return Compiler((*command, *cpu), optional, macros)
    raise CompilerNotFoundError(
        f"no C compiler was found: looked for {', '.join(names)} on the PATH. Install one (apt-get install gcc, "
        "conda install c-compiler) or name yours in the environment variable CC."
    )


def _macros(command: tuple[str, ...]) -> str | None:
    """What `command` predefines, None if it does not run or refuses its flags."""
    try:
        call = [*command, "-dM", "-E", "-x", "c", os.devnull]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def cache_directory() -> Path:
    """${XDG_CACHE_HOME:-~/.cache}/lse_material/kernels.

    >>> lse.kernel.cache_directory().name
    'kernels'
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lse_material" / "kernels"


def build(source: str) -> Path:
    """The shared library of `source`, compiled unless the cache holds it.

    Raises:
        CompilerNotFoundError: there is no C compiler.
        CompilationError: the compiler failed, or the cache cannot be written.

    >>> library = lse.kernel.build(lse.kernel.kernel_source(lse.kernel.KernelShape.of(material.potential)))
    >>> library.is_file()
    True
    """
    chosen = compiler()
    identity = "\0".join((source, *chosen.command, *FLAGS, *chosen.optional, chosen.macros))
    directory = cache_directory()
    library = directory / f"lse-{hashlib.sha256(identity.encode()).hexdigest()[:24]}.so"
    if library.exists():
        return library
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(library.with_suffix(".lock")):
            if not library.exists():  # another process may have made it meanwhile
                _compile(chosen, source, library)
    except OSError as error:
        raise CompilationError(
            f"the kernel cache {directory} cannot be used: {error}. Set XDG_CACHE_HOME to a directory you can write."
        ) from None
    return library


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of this file; it falls with the process that holds it, however that ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _compile(chosen: Compiler, source: str, library: Path) -> None:
    """Compile to a temporary directory beside `library`, then rename; the C text is kept beside it for readers."""
    with tempfile.TemporaryDirectory(dir=library.parent) as temporary:
        text, result = Path(temporary) / "kernel.c", Path(temporary) / "kernel.so"
        text.write_text(source)
        for optional in dict.fromkeys((chosen.optional, ())):
            command = [*chosen.command, *FLAGS, *optional, str(text), "-o", str(result)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                os.replace(text, library.with_suffix(".c"))
                os.replace(result, library)
                return
    log = "\n".join(done.stderr.splitlines()[:20])
    raise CompilationError(
        f"the C compiler failed (exit status {done.returncode}) on a generated kernel. Try another compiler through the "
        f"environment variable CC, or evaluate the Material itself, which needs none. The call was\n"
        f"  {shlex.join(command)}\nand it said\n{log}"
    )
