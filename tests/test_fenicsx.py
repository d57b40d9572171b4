"""What ./fenicsx promises, with stand-ins for the slow programs it calls and, where it costs nothing, with the real ones."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOLS = """bash cat chmod chroot cksum cut dirname env flock grep head id ln ls mkdir mv pwd readlink rm sh sha256sum sleep tail
touch tr true"""

PYTHON_WITHOUT_DOLFINX = "#!/bin/bash\nexit 1\n"

# Stands for a python3 with DOLFINx: identifies itself, makes a .venv of one file, and `pip` writes its arguments down.
PYTHON_WITH_DOLFINX = r"""#!/bin/bash
case "$1 ${2:-}" in
  "- ") cat >/dev/null; echo "/stub 3.12 dolfinx ${STUB_DOLFINX:-0.11}" ;;
  "-m venv") for dir; do :; done; mkdir -p "$dir/bin"; cp "$0" "$dir/bin/python3"; echo venv >>"$CALLS" ;;
  "-m pip") echo "$*" >>"$CALLS"; sleep "${STUB_SLEEP:-0}" || exit 1
            [ -z "${STUB_ERROR:-}" ] || { echo "ERROR: $STUB_ERROR"; exit 1; } ;;
  -c*) case $2 in *sys.prefix*) ;; *) echo "${0%/*}" ;; esac ;;
esac
"""

# As mmdebstrap does, it survives SIGTERM itself and ends when its children are killed.
MMDEBSTRAP = r"""#!/bin/bash
trap : TERM INT HUP
echo $$ >>"$CALLS"
for target; do :; done
mkdir -p "$target/etc"
echo "I: making $target"
sleep "${STUB_SLEEP:-0}" || exit 1
[ -z "${STUB_ERROR:-}" ] || { echo "E: $STUB_ERROR"; echo "I: cleaning"; exit 25; }
touch "$target/whole"
"""

# A root file system with just enough in it for ./fenicsx to run there.
MMDEBSTRAP_TINY = r"""#!/bin/bash
set -e
for target; do :; done
mkdir -p "$target"/{etc,tmp,usr/bin,usr/lib}
ln -s usr/bin "$target/bin"
for tool in $TOOLS cp; do
  program=$(PATH=/usr/bin:/bin:/usr/sbin:/sbin type -P $tool)
  [ -e "$target/usr/bin/$tool" ] || cp -L "$program" "$target/usr/bin/$tool"
  for library in $(ldd "$program" | grep -o '/[^ ]*'); do
    mkdir -p "$target${library%/*}"
    [ -e "$target$library" ] || cp -L "$library" "$target$library"
  done
done
cp "$STUB_PYTHON" "$target/usr/bin/python3"
"""

# No namespace: what would run in one runs as it is, and entering the root file system only says so.
UNSHARE = r"""#!/bin/bash
until [ "$1" = private ]; do shift; done
shift
if [ "$1" != /bin/bash ]; then exec "$@"; fi
[ -e "$FENICSX_ROOTFS/whole" ] && echo "entered $FENICSX_ROOTFS"
"""

# mount(8) is missing from some root file systems, the system call is not.
MOUNT = """import ctypes, os, sys
BIND, RECURSIVE, UNBINDABLE = 4096, 16384, 1 << 17
flag = {"--bind": BIND, "--rbind": BIND | RECURSIVE, "--make-unbindable": UNBINDABLE}[sys.argv[1]]
source, target = sys.argv[2], sys.argv[-1]
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(flag), None):
    raise OSError(ctypes.get_errno(), "mount", target)
"""

APT_GET = "#!/bin/bash\necho 'E: no network'\nexit 100\n"
REFUSED = "#!/bin/bash\nexit 1\n"


class Machine:
    """A checkout with a space in its path, a cache, and a PATH that holds the tools named above and stand-ins."""

    def __init__(self, directory: Path) -> None:
        self.checkout = directory / "my checkout"
        self.bin = directory / "bin"
        self.home = directory / "home"
        self.cache = self.home / ".cache" / "lse_material"
        self.calls = directory / "calls"
        for path in (self.checkout, self.bin, self.home):
            path.mkdir()
        self.calls.touch()
        shutil.copy2(ROOT / "fenicsx", self.checkout / "fenicsx")
        (self.checkout / "pyproject.toml").write_text("[project]\nname = 'stub'\n")
        self.link(*TOOLS.split())
        self.environment = {"PATH": str(self.bin), "HOME": str(self.home), "CALLS": str(self.calls), "LC_ALL": "C"}

    def link(self, *tools: str) -> None:
        for tool in tools:
            program = shutil.which(tool)
            assert program, f"{tool} is not on the PATH"
            (self.bin / tool).symlink_to(program)

    def stub(self, name: str, text: str) -> Path:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def start(self, *command: str, cwd: str | Path = ROOT, **environment: str) -> subprocess.Popen[str]:
        # env: a shell that started pytest in the background would hand down SIGINT ignored
        return subprocess.Popen(
            ["/usr/bin/env", "--default-signal=INT", str(self.checkout / "fenicsx"), *command],
            cwd=cwd,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str, cwd: str | Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*command, cwd=cwd, **environment)
        out, err = process.communicate(timeout=30)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def root_file_systems(self) -> list[Path]:
        return sorted(self.cache.glob("rootfs-*"))

    def take_calls(self) -> list[str]:
        lines = self.calls.read_text().splitlines()
        self.calls.write_text("")
        return lines


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited 20 s in vain"
        time.sleep(0.02)


@pytest.fixture
def machine(tmp_path) -> Machine:
    """A machine without DOLFINx on which a root file system can be made."""
    machine = Machine(tmp_path)
    machine.stub("python3", PYTHON_WITHOUT_DOLFINX)
    machine.stub("mmdebstrap", MMDEBSTRAP)
    machine.stub("unshare", UNSHARE)
    machine.stub("apt-get", APT_GET)
    return machine


@pytest.fixture
def fenicsx_machine(tmp_path) -> Machine:
    """A machine whose python3 has DOLFINx."""
    machine = Machine(tmp_path)
    machine.stub("python3", PYTHON_WITH_DOLFINX)
    machine.link("cp")
    return machine


# ---- help and advice ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_costs_nothing(machine, arguments):
    result = machine.run(*arguments)
    assert result.returncode == 0
    assert result.stdout.startswith("usage: ./fenicsx CMD")
    assert result.stderr == ""
    assert not machine.cache.exists()


@pytest.mark.parametrize("refused", ["unshare", "sudo"], ids=["namespaces", "installing mmdebstrap"])
def test_advice_of_six_lines_where_no_root_file_system_can_be_made(machine, refused):
    machine.stub(refused, REFUSED)
    if refused == "sudo":
        (machine.bin / "mmdebstrap").unlink()
    result = machine.run("true")
    assert result.returncode == 1
    advice = result.stderr[result.stderr.index("fenicsx: no Python with DOLFINx") :]
    assert len(advice.splitlines()) <= 6
    for way in ("conda env create", "docker run", "apt-get install"):
        assert way in advice
    if refused == "sudo" and os.geteuid() == 0:
        assert "E: no network" in result.stderr
    assert machine.root_file_systems() == []


# ---- the root file system -------------------------------------------------------------------------------------------


def test_a_failed_build_shows_the_error_and_leaves_nothing(machine):
    result = machine.run("true", STUB_ERROR="Unable to locate package nonsense")
    assert result.returncode == 1
    assert "E: Unable to locate package nonsense" in result.stderr
    assert str(machine.cache / "build.log") in result.stderr
    assert "I: making" in (machine.cache / "build.log").read_text()
    assert machine.root_file_systems() == []
    assert machine.run("true").stdout.startswith("entered")


def test_a_finished_build_is_used_again(machine):
    for _ in range(2):
        result = machine.run("true")
        assert result.stdout == f"entered {machine.root_file_systems()[0]}\n"
    assert len(machine.take_calls()) == 1


@pytest.mark.parametrize(
    ("stop", "number"),
    [(os.killpg, signal.SIGINT), (os.killpg, signal.SIGTERM), (os.kill, signal.SIGTERM)],
    ids=["ctrl-c", "group", "script only"],
)
def test_an_interrupted_build_leaves_nothing_half_made(machine, stop, number):
    process = machine.start("true", STUB_SLEEP="60")
    wait_until(lambda: any(path.name.endswith(".partial") for path in machine.root_file_systems()))
    stop(process.pid, number)
    process.communicate(timeout=20)
    assert process.returncode == -number
    assert machine.root_file_systems() == []
    (pid,) = machine.take_calls()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
    assert machine.run("true").stdout.startswith("entered")


def test_a_build_whose_caller_was_killed_is_waited_for_and_made_again(machine):
    with machine.start("true", STUB_SLEEP="2") as process:
        wait_until(machine.root_file_systems)
        process.kill()
    time.sleep(0.6)  # until the killed script's own short-lived children are gone too
    result = machine.run("true")
    assert "waiting" in result.stderr
    assert result.stdout == f"entered {machine.root_file_systems()[0]}\n"
    assert [path.suffix for path in machine.root_file_systems()] == [""]
    assert len(machine.take_calls()) == 2


def test_two_calls_at_once_build_once(machine):
    processes = [machine.start("true", STUB_SLEEP="1") for _ in range(2)]
    outputs = [process.communicate(timeout=20)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs == [f"entered {machine.root_file_systems()[0]}\n"] * 2
    assert len(machine.take_calls()) == 1


def test_a_root_file_system_without_dolfinx_is_named_not_entered_for_ever(machine):
    result = machine.run("true", FENICSX_ROOTFS="/somewhere/rootfs-1")
    assert result.returncode == 1
    assert "/somewhere/rootfs-1" in result.stderr


def may_mount() -> bool:
    unshare = shutil.which("unshare")
    command = [unshare or "", "--mount", "--propagation", "private", "true"]
    return unshare is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(
    not may_mount(),
    reason="this user may not mount anything here, so ./fenicsx does not make a root file system here either",
)
def test_inside_a_root_file_system(machine, tmp_path):
    """Real namespaces, mounts and chroot around a tiny root file system."""
    machine.stub("mmdebstrap", MMDEBSTRAP_TINY)
    (machine.bin / "unshare").unlink()
    machine.link("unshare", "ldd", "cp")
    if shutil.which("mount"):
        machine.link("mount")
    else:
        (tmp_path / "mount.py").write_text(MOUNT)
        machine.stub("mount", f'#!/bin/bash\nexec "{sys.executable}" -I "{tmp_path}/mount.py" "$@"\n')
    stub_python = machine.stub("python3-with-dolfinx", PYTHON_WITH_DOLFINX)
    machine.environment |= {"TOOLS": TOOLS, "STUB_PYTHON": str(stub_python)}
    run = machine.run

    first = run("bash", "-c", 'pwd; printf "%s|" "$@"; exit 7', "x", "a  b", "c'd\"e", "$HOME", "")
    assert first.returncode == 7, first.stderr
    assert first.stdout == f"{ROOT}\na  b|c'd\"e|$HOME||"
    (rootfs,) = machine.root_file_systems()

    # the caller's files are where they were, and the rest is the root file system's
    assert run("bash", "-c", f'echo seen >"{tmp_path}/written"; ls /usr').stdout.split() == ["bin", "lib"]
    assert (tmp_path / "written").read_text() == "seen\n"

    # wherever it is called from
    for directory in ("/", "/usr"):
        assert run("pwd", cwd=directory).stdout == f"{directory}\n"
    with tempfile.TemporaryDirectory(dir="/var/tmp") as elsewhere:
        (Path(elsewhere) / "here").touch()
        for _ in range(2):
            assert run("ls", cwd=elsewhere).stdout == "here\n"

    # neither outside nor inside does the root file system show what is mounted in it: removing it removes no file of the host
    for name in ("dev", "proc", "tmp"):
        assert list((rootfs / name).iterdir()) == []
        assert run("ls", "-A", str(rootfs / name)).stdout == ""
    assert str(rootfs) not in Path("/proc/mounts").read_text()

    assert run("no-such-command").returncode == 127
    with machine.start("bash", "-c", "echo ready; exec sleep 60") as process:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.wait(timeout=20) == -signal.SIGTERM


# ---- the .venv --------------------------------------------------------------------------------------------------------


def test_the_editable_install_follows_pyproject_and_python(fenicsx_machine):
    machine = fenicsx_machine
    machine.run("true")
    venv, pip = machine.take_calls()
    assert venv == "venv"
    assert pip.startswith(f"-m pip install --editable {machine.checkout}[")

    machine.run("true")
    assert machine.take_calls() == []

    pyproject = machine.checkout / "pyproject.toml"
    pyproject.write_text(pyproject.read_text() + "version = '1'\n")
    machine.run("true")
    assert machine.take_calls() == [pip]

    machine.run("true", STUB_DOLFINX="0.12")
    assert machine.take_calls() == [venv, pip]


def test_a_failed_or_interrupted_install_is_done_again(fenicsx_machine):
    machine = fenicsx_machine
    result = machine.run("true", STUB_ERROR="No matching distribution")
    assert result.returncode == 1
    assert "No matching distribution" in result.stderr
    assert str(machine.checkout / ".venv.log") in result.stderr
    assert len(machine.take_calls()) == 2

    process = machine.start("true", STUB_SLEEP="60")
    wait_until(lambda: len(machine.calls.read_text().splitlines()) == 2)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    machine.take_calls()

    assert machine.run("true").returncode == 0
    assert len(machine.take_calls()) == 2


def test_two_calls_at_once_install_once(fenicsx_machine):
    for process in [fenicsx_machine.start("true", STUB_SLEEP="0.5") for _ in range(2)]:
        process.communicate(timeout=20)
        assert process.returncode == 0
    assert len(fenicsx_machine.take_calls()) == 2


def test_packages_of_a_virtual_environment_are_kept(tmp_path):
    """In the dolfinx container python3 is itself a virtual environment: a .venv made from it must see its packages."""
    machine = Machine(tmp_path)
    parent = tmp_path / "parent"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(parent)], check=True, timeout=30)
    python = str(parent / "bin" / "python3")
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.run([python, "-c", query], capture_output=True, text=True, check=True).stdout.strip())
    (packages / "dolfinx.py").write_text("__version__ = '0.11.0'\n")
    (tmp_path / "path" / "pip").mkdir(parents=True)
    for name in ("__init__.py", "__main__.py"):  # a pip that installs nothing
        (tmp_path / "path" / "pip" / name).touch()
    path = f"{parent}/bin:{machine.bin}"
    command = ("python3", "-c", "import dolfinx, sys; print(dolfinx.__file__, sys.prefix, sep='\\n')")
    result = machine.run(*command, PATH=path, PYTHONPATH=str(tmp_path / "path"))
    assert result.stdout.splitlines() == [str(packages / "dolfinx.py"), str(machine.checkout / ".venv")], result.stderr


# ---- this checkout, this environment ------------------------------------------------------------------------------------


def run_here(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    unset = ("MPLBACKEND", "PYVISTA_OFF_SCREEN", "DISPLAY", "WAYLAND_DISPLAY")
    # what ./fenicsx set for this very run must not hide what it sets
    env = {k: v for k, v in os.environ.items() if k not in unset and not k.startswith(("OMPI_", "PRTE_"))} | environment
    return subprocess.run([str(ROOT / "fenicsx"), *command], env=env, capture_output=True, text=True, timeout=60)


def test_exit_status():
    assert run_here("bash", "-c", "exit 7").returncode == 7
    assert run_here("no-such-command").returncode == 127


def test_a_second_call_starts_in_two_seconds():
    run_here("true")
    start = time.monotonic()
    assert run_here("true").returncode == 0
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_the_command(number):
    command = ["env", "--default-signal=INT", str(ROOT / "fenicsx"), "bash", "-c", "echo ready; exec sleep 60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(timeout=10) == -number


def test_arguments_pass_unchanged():
    arguments = ["two  words", "it's", 'say "hi"', "$HOME `id` \\n", "*", "", "--", "-n", "é"]
    result = run_here("python3", "-c", "import json, sys; print(json.dumps(sys.argv[1:]))", *arguments)
    assert json.loads(result.stdout) == arguments


def test_defaults_give_way_to_the_user():
    show = ("bash", "-c", "echo $MPLBACKEND $PYVISTA_OFF_SCREEN")
    assert run_here(*show).stdout.split() == ["agg", "true"]
    assert run_here(*show, MPLBACKEND="svg", PYVISTA_OFF_SCREEN="false").stdout.split() == ["svg", "false"]
    assert run_here(*show, DISPLAY=":0").stdout.split() == []


def test_more_ranks_than_cores():
    ranks = (os.cpu_count() or 1) + 1
    result = run_here("mpirun", "-n", str(ranks), "echo", "rank")
    assert result.stdout.split() == ["rank"] * ranks, result.stderr
    assert result.stderr == ""
