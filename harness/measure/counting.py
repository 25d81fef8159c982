"""Counts the instructions of an inference, in a process that QEMU emulates.

`harness/devices/emulated/instruction_counter.c` counts those within the compiled library only. It
is told the library's addresses by system calls that no operating system has.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

from harness.records.compiled_code import InstructionCount

_RANGE, _RESET, _WRITE = 0x4C450001, 0x4C450002, 0x4C450003


class InstructionCounter:
    """Counts the instructions of one loaded library. It must be made before the library has run:
    code is looked at when it is first translated."""

    def __init__(self, library: Path, counts: Path) -> None:
        self._counts = counts
        call = ctypes.CDLL(None).syscall
        call.argtypes = [ctypes.c_long, ctypes.c_ulong, ctypes.c_ulong]
        self._call = call
        call(_RANGE, *_addresses(library))

    def count(self, run: Callable[[], object]) -> InstructionCount:
        """The instructions of one run."""
        self._call(_RESET, 0, 0)
        run()
        self._call(_WRITE, 0, 0)
        total, load_store, simd, branch = map(int, self._counts.read_text().split())
        return InstructionCount(total=total, load_store=load_store, simd=simd, branch=branch)


def _addresses(library: Path) -> tuple[int, int]:
    """Where a library lies in this process's memory: its first address, and the one after its
    last."""
    found = [
        tuple(int(part, 16) for part in line.split()[0].split("-"))
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(str(library.resolve()))
    ]
    if not found:
        raise ValueError(f"{library} is not loaded")
    return min(begin for begin, _ in found), max(end for _, end in found)
