"""Runs a kernel with its arguments and intermediate results between pages that nobody may access.

A kernel that reads outside its arguments gives the right result as long as some memory happens to
lie there; on another day it crashes. Here none lies there: the kernel runs in a forked process,
with inaccessible memory directly before all that it may access and then directly behind, and dies
of the first access outside. Its parallel loops run in the calling thread, because a forked process
has no other.
"""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from harness.compiler.api import tvm
from harness.devices.memory.guard_pages import SIDES, GuardedMemory, Side
from harness.devices.memory.temporaries import guarded_temporaries
from harness.devices.threads.fork_join import in_this_thread

Kernel = Callable[[Sequence[np.ndarray]], object]
"""Runs with some arrays for arguments, outputs included, and writes the outputs where they are."""
_Sides = Sequence[Side | None]
"""On which side each argument is guarded, and last, the intermediate results."""

_SECONDS, _WAITED = 60, 600
"""Limits of processor time and of elapsed time, in seconds. A busy machine stretches the elapsed
time of a good kernel; a deadlocked process uses no processor time."""
_WROTE, _RAISED = 3, 4


def access_outside(kernel: Kernel, arguments: Sequence[np.ndarray]) -> str | None:
    """How a kernel accesses memory outside its arguments, in words; None where it does not.

    `arguments` are C-contiguous arrays, which the kernel gets copies of. Its intermediate results
    are looked at too where `harness.devices.memory.temporaries` gives it the memory for them.
    """
    names = [*(f"argument {at}" for at in range(len(arguments))), "an intermediate result"]
    for side in SIDES:
        ended = _forked(kernel, arguments, [side] * len(names))
        if ended is None:
            continue
        nowhere: list[Side | None] = [None] * len(names)
        if _forked(kernel, arguments, nowhere) is not None:
            return f"{ended} far outside its arguments"
        for at, name in enumerate(names):
            if _forked(kernel, arguments, [*nowhere[:at], side, *nowhere[at + 1 :]]) is not None:
                return f"{ended} {side} {name}"
        return f"{ended} {side} its arguments"
    return None


def on_arrays(kernel: Callable[..., object]) -> Callable[[Sequence[np.ndarray]], object]:
    """A compiled kernel as a function of arrays, which it reads and writes where they are."""
    return lambda arrays: kernel(*map(_in_place, arrays))


def _in_place(array: np.ndarray) -> tvm.runtime.Tensor:
    """An array as a tensor in the same memory. NumPy hands out no types that are extensions, as
    bfloat16: their bits are handed out instead."""
    if array.dtype.kind != "V":
        return tvm.runtime.from_dlpack(array)
    bits = tvm.runtime.from_dlpack(array.view(f"uint{8 * array.itemsize}"))
    return bits._create_view(bits.shape, dtype=str(array.dtype))


def _forked(kernel: Kernel, arguments: Sequence[np.ndarray], sides: _Sides) -> str | None:
    """A kernel's access beside memory that is guarded on some sides; None for none."""
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
        if number in (signal.SIGPROF, signal.SIGALRM):
            seconds = _SECONDS if number == signal.SIGPROF else _WAITED
            return f"does not end in {seconds} s with guard pages"
        return f"crashes with {signal.Signals(number).name} with guard pages"
    return {0: None, _WROTE: "writes to memory"}.get(
        os.WEXITSTATUS(status), "fails with guard pages"
    )


def _run(kernel: Kernel, arguments: Sequence[np.ndarray], sides: _Sides) -> None:
    """The forked process: never returns."""
    code = _RAISED
    try:
        for number in (signal.SIGALRM, signal.SIGPROF, signal.SIGSEGV, signal.SIGBUS):
            signal.signal(number, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, _SECONDS)
        signal.alarm(_WAITED)
        *of_arguments, of_temporaries = sides
        memory = [
            GuardedMemory.of(array.nbytes, side)
            for array, side in zip(arguments, of_arguments, strict=True)
        ]
        given = [held.holding(array) for held, array in zip(memory, arguments, strict=True)]
        with in_this_thread(), guarded_temporaries(of_temporaries):
            kernel(given)
        guarded = [held for held, side in zip(memory, of_arguments, strict=True) if side]
        code = 0 if all(held.is_intact() for held in guarded) else _WROTE
    finally:
        os._exit(code)
