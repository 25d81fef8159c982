"""Runs a kernel with its arguments between pages that nobody may read or write.

A kernel that reads outside its arguments gives the right result as long as some memory happens to
lie there; on another day it crashes. Here none lies there: the kernel runs in a forked process, its
arguments directly behind an inaccessible region and then directly before one, and dies of the first
access outside. Its parallel loops run in the calling thread, because a forked process has no other.

An argument begins at a multiple of 64 bytes, as compiled code assumes. So up to 63 bytes behind it
are accessible: a write to those is found too, a read of them is not, and harms nobody.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import warnings
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from harness.devices.fork_join import in_this_thread

Side = Literal["before", "behind"]
Kernel = Callable[[Sequence[np.ndarray]], object]
"""Runs with some arrays for arguments, outputs included, and writes the outputs where they are."""

_SIDES: tuple[Side, ...] = ("before", "behind")
_ALIGNMENT = 64
_REGION = 1 << 28
"""Bytes of address space without access on each side: far more than an index is off by, as a rule.
They take no memory."""
_CANARY = 0xA5
_SECONDS = 60
_WROTE, _RAISED = 3, 4
_NO_ACCESS, _NO_RESERVE = 0, 0x4000  # PROT_NONE and MAP_NORESERVE of mmap(2)
_MAP_FAILED = ctypes.c_void_p(-1).value


def access_outside(kernel: Kernel, arguments: Sequence[np.ndarray]) -> str | None:
    """How a kernel accesses memory outside its arguments, in words; None where it does not.

    `arguments` are C-contiguous arrays, which the kernel gets copies of.
    """
    for side in _SIDES:
        ended = _forked(kernel, arguments, [side] * len(arguments))
        if ended is None:
            continue
        nowhere: list[Side | None] = [None] * len(arguments)
        if _forked(kernel, arguments, nowhere) is not None:
            return f"{ended} far outside its arguments"
        for at in range(len(arguments)):
            if _forked(kernel, arguments, [*nowhere[:at], side, *nowhere[at + 1 :]]) is not None:
                return f"{ended} {side} argument {at}"
        return f"{ended} {side} its arguments"
    return None


def guarded(array: np.ndarray, side: Side | None) -> np.ndarray:
    """A copy of an array with an inaccessible region directly before or behind it, as `side` says,
    or far from any such region.

    The memory stays mapped as long as the process lives. Raises OSError where none can be had.
    """
    page = mmap.PAGESIZE
    size = -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    room = -(-max(size, 1) // page) * page
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
    length = ctypes.c_size_t(2 * _REGION + room)
    access = mmap.PROT_READ | mmap.PROT_WRITE
    start = library.mmap(None, length, access, flags, -1, ctypes.c_long(0))
    if start == _MAP_FAILED:
        raise OSError(ctypes.get_errno(), "no address space for guard pages")
    first = start + _REGION
    forbidden = {"before": start, "behind": first + room}
    if side is not None:
        region = ctypes.c_void_p(forbidden[side]), ctypes.c_size_t(_REGION)
        if library.mprotect(*region, _NO_ACCESS):
            raise OSError(ctypes.get_errno(), "memory cannot be made inaccessible")
    memory = np.ctypeslib.as_array((ctypes.c_uint8 * room).from_address(first))
    memory[:] = _CANARY
    offset = room - size if side == "behind" else 0
    copy = memory[offset : offset + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _forked(
    kernel: Kernel, arguments: Sequence[np.ndarray], sides: Sequence[Side | None]
) -> str | None:
    """What a kernel does outside its arguments where those have a side that is guarded; None for
    nothing."""
    with warnings.catch_warnings():  # Python warns of threads that the child would miss
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _run(kernel, arguments, sides)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number in (signal.SIGSEGV, signal.SIGBUS):
            return "accesses memory"
        if number == signal.SIGALRM:
            return f"does not end in {_SECONDS} s with guard pages"
        return f"crashes with {signal.Signals(number).name} with guard pages"
    return {0: None, _WROTE: "writes to memory"}.get(
        os.WEXITSTATUS(status), "fails with guard pages"
    )


def _run(kernel: Kernel, arguments: Sequence[np.ndarray], sides: Sequence[Side | None]) -> None:
    """The forked process: never returns."""
    code = _RAISED
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        for number in (signal.SIGSEGV, signal.SIGBUS):
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(_SECONDS)
        given = [guarded(array, side) for array, side in zip(arguments, sides, strict=True)]
        with in_this_thread():
            kernel(given)
        intact = all(
            _is_intact(array) for array, side in zip(given, sides, strict=True) if side is not None
        )
        code = 0 if intact else _WROTE
    finally:
        os._exit(code)


def _is_intact(array: np.ndarray) -> bool:
    """Whether what lies in the pages of an array beside it is as `guarded` left it."""
    page = mmap.PAGESIZE
    start = array.ctypes.data
    first = start // page * page
    end = max(-(-(start + array.nbytes) // page) * page, first + page)
    memory = np.ctypeslib.as_array((ctypes.c_uint8 * (end - first)).from_address(first))
    rest = np.concatenate([memory[: start - first], memory[start - first + array.nbytes :]])
    return bool(np.all(rest == _CANARY))
