"""Where compiled kernels have their intermediate results, so that these can be guarded too.

TVM's kernels ask for memory through two functions of its runtime. For a network that is run to be
looked at, not to be timed, Python's take their place.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.compiler.api import tvm
from harness.compiler.patches import register_context_symbol
from harness.devices.memory.guard_pages import GuardedMemory, Side
from harness.errors import CellFailure

_ALLOCATE, _FREE = b"__TVMBackendAllocWorkspace", b"__TVMBackendFreeWorkspace"
"""The functions that compiled code calls, by TVM's names."""
_Allocate = ctypes.CFUNCTYPE(
    ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_uint64, ctypes.c_int, ctypes.c_int
)
_Free = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_void_p)

_side: Side | None = None
_allocated: dict[int, GuardedMemory] = {}


def _allocate(device_type: int, device: int, size: int, code: int, bits: int) -> int:
    memory = GuardedMemory.of(size, _side)
    _allocated[memory.address] = memory
    return memory.address


def _free(device_type: int, device: int, address: int) -> int:
    memory = _allocated.pop(address)
    intact = memory.is_intact()
    memory.release()
    return 0 if intact else -1


_OURS = {_ALLOCATE: _Allocate(_allocate), _FREE: _Free(_free)}


@contextmanager
def loading_for_guards() -> Iterator[None]:
    """Code that TVM loads into this process meanwhile gets the memory for its intermediate results
    here, for as long as it is loaded. Its loops have to stay in one thread. Raises CellFailure
    where TVM does not take that."""
    _register(_OURS)
    try:
        yield
    finally:
        runtime = ctypes.CDLL(str(Path(tvm.__file__).parent / "lib" / "libtvm_runtime.so"))
        _register({name: getattr(runtime, name.decode().strip("_")) for name in _OURS})


def _register(functions: Mapping[bytes, Any]) -> None:
    """Have code that TVM loads from now on call these functions."""
    for name, function in functions.items():
        if not register_context_symbol(name, function):
            raise CellFailure("TVM does not take other memory for intermediate results")


@contextmanager
def guarded_temporaries(side: Side | None) -> Iterator[None]:
    """Guard the intermediate results of kernels on one side."""
    global _side
    _side = side
    try:
        yield
    finally:
        _side = None
