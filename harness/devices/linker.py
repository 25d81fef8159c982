"""The compiler that links a compiled network into a library, on this machine or across."""

from __future__ import annotations

import platform
import shutil

from harness.errors import CellFailure

_ALIASES = {"arm64": "aarch64", "amd64": "x86_64"}


def linker(triple: str | None) -> str:
    """The program that links code for a target triple, this machine's where there is none. Raises
    CellFailure, with the package to install, if it is missing."""
    processor = processor_of(triple)
    if processor == processor_of(None):
        found = shutil.which("g++") or shutil.which("cc")
        if found is None:
            raise CellFailure(
                "no C compiler to link the compiled model; install one: apt-get install g++"
            )
        return found
    name = f"{processor}-linux-gnu-g++"
    found = shutil.which(name)
    if found is None:
        package = f"g++-{processor.replace('_', '-')}-linux-gnu"
        raise CellFailure(
            f"no compiler to link code for {triple}: '{name}' is not on the PATH; install it: "
            f"apt-get install {package}"
        )
    return found


def processor_of(triple: str | None) -> str:
    """The kind of processor that code for a target triple is of, such as `aarch64`; this machine's
    where there is none."""
    return _name(triple.partition("-")[0] if triple else platform.machine())


def _name(machine: str) -> str:
    return _ALIASES.get(machine.lower(), machine.lower())
