"""Where compiled kernels have their intermediate results, so that these can be guarded too.

TVM's kernels ask for memory through two functions of its runtime. For a network that is run to be
looked at, not to be timed, Python's take their place.
"""

from __future__ import annotations

import ctypes
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
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


class _Pool:
    """Memory that is guarded on one side. Pieces that are given back are used again: kernels may
    ask for one in every step of a loop, and mapping guard pages takes longer than most steps."""

    def __init__(self, side: Side | None) -> None:
        self._side = side
        self._used: dict[int, GuardedMemory] = {}
        self._spare: dict[int, list[GuardedMemory]] = defaultdict(list)

    def take(self, size: int) -> int:
        spare = self._spare[size]
        memory = spare.pop() if spare else GuardedMemory.of(size, self._side)
        self._used[memory.address] = memory
        return memory.address

    def give_back(self, address: int) -> bool:
        """Whether nothing was written beside it."""
        memory = self._used.pop(address)
        self._spare[memory.size].append(memory)
        return memory.is_intact()

    def release(self) -> None:
        for memory in chain(self._used.values(), *self._spare.values()):
            memory.release()


_pool = _Pool(None)


def _allocate(device_type: int, device: int, size: int, code: int, bits: int) -> int:
    return _pool.take(size)


def _free(device_type: int, device: int, address: int) -> int:
    return 0 if _pool.give_back(address) else -1


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
    """Guard the intermediate results of kernels on one side, meanwhile."""
    global _pool
    outer, _pool = _pool, _Pool(side)
    try:
        yield
    finally:
        _pool.release()
        _pool = outer
