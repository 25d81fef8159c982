"""The emulated board: a 64-bit Arm system in a folder, whose programs QEMU runs on this machine.

It has Debian's Python and C library for Arm, TVM's runtime for Arm and the packages that a worker
needs. Its Python sees this machine's files, so that the same worker that measures here runs there.
QEMU emulates one named processor: code that needs more than it has ends in SIGILL. A plugin counts
the instructions of a network for comparisons: emulated time is no latency.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import harness
from harness.errors import CellSkipped, InputError, last_line
from harness.files.atomic import write_atomically
from harness.files.cache import cache_folder
from harness.specs.target import TargetSpec

NAME = "arm-emulated"
COUNTS = "LAYEREDGE_COUNTS"
"""The variable that names the file which a process's counts are written to."""
_PACKAGE = "LAYEREDGE_PACKAGE"
"""The variable that names the folder which this package is in."""
_PROCESSOR = "QEMU_CPU"
_ANY = "max"
"""QEMU's name of a processor with everything that it can emulate."""
_SVE_STEP = 128
"""The width of scalable vectors, in bits, is a multiple of this."""
_PROGRAMS = {
    "qemu-aarch64": "qemu-user",
    "mmdebstrap": "mmdebstrap",
    "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu",
    "gcc": "gcc",
}
_TREE = (
    "python3-minimal",
    "libpython3-stdlib",
    "libstdc++6",
    "libgomp1",
    "libgcc-s1",
    "zlib1g",
    "libgcc-12-dev",
)
_PACKAGES = (
    "apache-tvm",
    "apache-tvm-ffi",
    "numpy",
    "psutil",
    "pydantic",
    "pydantic-core",
    "annotated-types",
    "typing-inspection",
    "typing-extensions",
    "pyyaml",
    "ml-dtypes",
    "cloudpickle",
)
_WHEELS = ("_2_28", "_2_27", "_2_24", "_2_17", "2014")
_MADE = "2"
"""Another one for each change of how a board is made."""
_MEGABYTES = 900
_SECONDS = 900

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Board:
    """A board that is ready."""

    folder: Path

    @property
    def python(self) -> Path:
        """A program that is the board's Python."""
        return self.folder / "python"

    def environment(self, spec: TargetSpec, counts: Path) -> dict[str, str]:
        """Environment variables of a process on the board that runs code for a target: one thread
        and no chance in the order of hashes, so that counts are the same each time."""
        return {
            _PROCESSOR: _processor(spec),
            COUNTS: str(counts),
            _PACKAGE: str(Path(harness.__file__).parents[1]),
            "TVM_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0",
        }


def require_board() -> Board:
    """The board. Raises CellSkipped where it was not made, with the command that makes it."""
    folder = _folder()
    if not (folder / "board.json").exists():
        raise CellSkipped(
            f"there is no emulated board here; make it: layeredge devices setup {NAME}"
        )
    found = json.loads((folder / "board.json").read_text(encoding="utf-8"))
    if found != _contents():
        raise CellSkipped(
            "the emulated board has other versions than this installation; make it anew: "
            f"layeredge devices setup {NAME}"
        )
    return Board(folder)


def make_board(tell: Tell) -> Board:
    """Make the board, unless it is there: installs Debian's packages where this process may.

    Takes a minute or two, and 500 MB in the cache folder once made. Raises InputError, with the
    part that is needed, where it cannot be made.
    """
    folder = _folder()
    try:
        return require_board()
    except CellSkipped:
        pass
    _require_programs(tell)
    _require_space(folder.parent)
    part = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        tree = part / "tree"
        tell(f"the tree: Debian's Python for Arm ({_codename()})")
        mode = "root" if os.geteuid() == 0 else "unshare"
        _run(
            "mmdebstrap", f"--mode={mode}", "--arch=arm64", "--variant=extract",
            f"--include={','.join(_TREE)}", _codename(), str(tree),
        )  # fmt: skip
        tell("TVM's runtime for Arm and the worker's other packages")
        _install_packages(tree)
        tell("the plugin that counts instructions")
        source = Path(__file__).with_name("instruction_counter.c")
        _run("gcc", "-O2", "-fPIC", "-shared", "-o", str(part / "counter.so"), str(source))
        _write_python(part, folder)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    tell("a first start")
    _run(str(folder / "python"), "-c", "import tvm, numpy, pydantic")
    write_atomically(folder / "board.json", json.dumps(_contents()))
    return Board(folder)


def _folder() -> Path:
    return cache_folder() / "boards" / NAME


def _contents() -> dict[str, str]:
    """The versions that a board of this installation has."""
    return {NAME: _MADE} | {name: version(name) for name in _PACKAGES}


def _require_programs(tell: Tell) -> None:
    """Raise InputError where a program is missing and cannot be installed."""
    if platform.machine() not in ("x86_64", "aarch64"):
        raise InputError(
            f"the emulated board needs an x86 or Arm machine, not {platform.machine()}"
        )
    missing = [package for name, package in _PROGRAMS.items() if shutil.which(name) is None]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise InputError(
            f"the emulated board needs {', '.join(missing)}; as root: apt-get install "
            f"{' '.join(missing)}"
        )
    tell(f"Debian's {', '.join(missing)}")
    _run("apt-get", "update", "-qq")
    _run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing)


def _require_space(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free / 1e6
    if free < _MEGABYTES:
        raise InputError(
            f"{folder}: making the emulated board takes {_MEGABYTES} MB, and {free:.0f} MB are "
            "free; name another folder with LAYEREDGE_CACHE"
        )


def _install_packages(tree: Path) -> None:
    """Unpack the wheels for Arm of this installation's packages."""
    python = _interpreter(tree).name.removeprefix("python")
    tag = python.replace(".", "")
    platforms = [f"--platform=manylinux{each}_aarch64" for each in _WHEELS]
    _run(
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile",
        "--only-binary=:all:", "--target", str(tree / "opt" / "site"),
        "--python-version", python, "--implementation=cp",
        f"--abi=cp{tag}", "--abi=abi3", "--abi=none", *platforms,
        *(f"{name}=={version(name)}" for name in _PACKAGES),
    )  # fmt: skip


def _interpreter(tree: Path) -> Path:
    """Debian's Python in a tree, by its full name: no link in the tree leads out of it so."""
    found = sorted((tree / "usr" / "bin").glob("python3.[0-9]*"))
    return next(path for path in found if path.name.removeprefix("python3.").isdigit())


def _write_python(part: Path, folder: Path) -> None:
    """The program that runs the board's Python: its own name for it too, so that processes it
    starts with `sys.executable` is emulated again. It keeps its bytecode in a folder of its own,
    whatever this machine's Python does: reading the sources is most of an emulated start."""
    tree, name = folder / "tree", _interpreter(part / "tree").name
    search = f"{tree}/opt/site:${_PACKAGE}"
    script = part / "python"
    script.write_text(
        "#!/bin/sh\n"
        f"exec qemu-aarch64 -plugin {folder}/counter.so,out=${{{COUNTS}:-/dev/null}} \\\n"
        f"  -L {tree} -0 {folder}/python -E PYTHONHOME={tree}/usr -E PYTHONPATH={search} \\\n"
        f"  -E PYTHONPYCACHEPREFIX={folder}/bytecode -U PYTHONDONTWRITEBYTECODE \\\n"
        f'  -U LD_LIBRARY_PATH {tree}/usr/bin/{name} "$@"\n'
    )
    script.chmod(0o755)


def _processor(spec: TargetSpec) -> str:
    """The processor that QEMU emulates. Scalable vectors are as wide as the described processor's:
    how many instructions a loop takes depends on it."""
    if spec.tvm.mcpu in _emulated_processors():
        return str(spec.tvm.mcpu)
    bits = spec.hardware.simd_bits
    return f"{_ANY},sve-max-vq={max(1, bits // _SVE_STEP)}" if bits else _ANY


@cache
def _emulated_processors() -> frozenset[str]:
    """The processors that QEMU knows by name."""
    done = subprocess.run(["qemu-aarch64", "-cpu", "help"], capture_output=True, text=True)
    return frozenset(line.strip() for line in done.stdout.splitlines())


def _codename() -> str:
    """This Debian's name, for a tree of the same one."""
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    names = dict(line.split("=", 1) for line in lines if "=" in line)
    return names.get("VERSION_CODENAME", "bookworm").strip('"')


def _run(*command: str) -> None:
    """Run a program. Raises InputError with its last line where it fails."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"the emulated board: {command[0]}: {error}") from None
    if done.returncode:
        said = last_line(done.stderr or done.stdout)
        raise InputError(f"the emulated board: {Path(command[0]).name} failed: {said}")
