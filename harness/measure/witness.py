"""Looks at the kernels of a network from within its library, as they are called one by one."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

Witness = Callable[[str, Sequence[np.ndarray]], None]
"""Is given a kernel's name and its operands, results included, in the memory where they are."""

_FUNCTION = "layeredge_witness"
_TYPES = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 6: "bool"}
"""NumPy's names by DLPack's codes."""


class _Tensor(ctypes.Structure):
    """DLPack's `DLTensor`."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("axes", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_CALLBACK = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.POINTER(ctypes.POINTER(_Tensor)), ctypes.c_int
)


def has_witness(library: Path) -> bool:
    """Whether a library calls its kernels from a function that can be looked into."""
    return hasattr(ctypes.CDLL(str(library)), _FUNCTION)


@contextmanager
def witnessed(library: Path, witness: Witness) -> Iterator[None]:
    """Inside, inferences of a library that is loaded call `witness` before each kernel. An error of
    it is raised at the end."""
    raised: list[Exception] = []

    def call(name: bytes, operands: Any, count: int) -> None:
        try:
            witness(name.decode(), [_array(operands[at].contents) for at in range(count)])
        except Exception as error:  # C could not pass it on
            raised.append(error)

    function = getattr(ctypes.CDLL(str(library)), _FUNCTION)
    kept = _CALLBACK(call)
    function(kept)
    try:
        yield
    finally:
        function(None)
    if raised:
        raise raised[0]


def _array(tensor: _Tensor) -> np.ndarray:
    """A tensor in the same memory."""
    name = _TYPES[tensor.code] + ("" if tensor.code == 6 else str(tensor.bits))
    dtype, shape = np.dtype(name), [tensor.shape[at] for at in range(tensor.axes)]
    size = math.prod(shape) * dtype.itemsize
    memory = (ctypes.c_uint8 * size).from_address((tensor.data or 0) + tensor.byte_offset)
    found: np.ndarray = np.frombuffer(memory, np.uint8).view(dtype).reshape(shape)
    return found
