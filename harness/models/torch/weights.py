"""Reads the tensors of a `.pth` file without PyTorch, and without running anything in it.

The layout is the one PyTorch wrote before 1.6, which the catalog's file has: a magic number, a
protocol version and facts about the writer, the pickled dictionary of tensors, the pickled keys of
their storages, and then each storage as its element count and its elements, little-endian
(`torch/serialization.py`, `_legacy_save`). A pickle can call anything that its reader's
`find_class` admits, so this reader's admits three kinds of name and nothing else.
"""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from harness.errors import InputError

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype
    elements: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage; offset and strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def read(self, elements: np.ndarray) -> np.ndarray:
        """The tensor as an array of its own. ValueError when it reaches out of its storage."""
        size = int(np.prod(self.shape, dtype=np.int64))
        steps = zip(self.shape, self.strides, strict=True)
        last = self.offset + sum((length - 1) * step for length, step in steps)
        outside = size > 0 and last >= len(elements)
        if outside or min((self.offset, *self.shape, *self.strides)) < 0:
            raise ValueError("a tensor reaches out of its storage")
        view = np.lib.stride_tricks.as_strided(
            elements[self.offset :],
            self.shape,
            [step * elements.itemsize for step in self.strides],
            writeable=False,
        )
        return np.ascontiguousarray(view).reshape(self.shape)


def _rebuild(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> _Tensor:
    """A stand-in for `torch._utils._rebuild_tensor_v2`."""
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


class _TensorsOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in STORAGES:
            return np.dtype(STORAGES[name])
        raise InputError(f"it asks for '{module}.{name}', which is not a tensor's")

    def persistent_load(self, pid: object) -> _Storage:
        match pid:
            case ("storage", np.dtype() as dtype, str(key), _, int(elements), None):
                return _Storage(key, dtype, elements)
        raise ValueError(f"unknown reference {pid!r}")


class _NothingAdmitted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        raise InputError(f"it asks for '{module}.{name}' where plain data is expected")


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Name to array of every tensor in a `.pth` file that holds a state dict.

    Raises InputError when the file is missing, is of another layout, is damaged, or asks for
    anything but tensors; nothing it asks for is run.
    """
    try:
        with path.open("rb") as stream:
            return _read(stream)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except InputError as error:
        raise InputError(f"{path}: refused: {error}") from None
    except Exception as error:  # a damaged pickle raises errors without a common base
        raise InputError(f"{path}: not a sound file of tensors: {error}") from None


def _read(stream: BinaryIO) -> dict[str, np.ndarray]:
    magic = _NothingAdmitted(stream).load()
    if magic != MAGIC_NUMBER or _NothingAdmitted(stream).load() != PROTOCOL_VERSION:
        raise ValueError("it does not start as one that PyTorch wrote before 1.6")
    facts = _NothingAdmitted(stream).load()
    if facts["little_endian"] is not True:
        raise ValueError("its numbers are big-endian")
    tensors = _TensorsOnly(stream).load()
    keys = _NothingAdmitted(stream).load()
    if not isinstance(tensors, OrderedDict):
        raise ValueError(f"expected a dictionary of tensors, found {type(tensors).__name__}")
    wanted = {}
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise ValueError(f"'{name}' is a {type(tensor).__name__}, expected a tensor")
        wanted[tensor.storage.key] = tensor.storage
    elements = {key: _elements(stream, wanted[key]) for key in keys}
    return {name: tensor.read(elements[tensor.storage.key]) for name, tensor in tensors.items()}


def _elements(stream: BinaryIO, storage: _Storage) -> np.ndarray:
    count = int.from_bytes(stream.read(8), "little")
    if count != storage.elements:
        raise ValueError(f"storage {storage.key} has {count} elements, not {storage.elements}")
    size = count * storage.dtype.itemsize
    if size > os.fstat(stream.fileno()).st_size - stream.tell():
        raise ValueError("it ends within a storage")
    found = stream.read(size)
    return np.frombuffer(found, storage.dtype)
